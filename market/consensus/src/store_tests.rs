//! What opening says about stores that are not as they should be.

use cairn_ledger::testing::Network;
use cairn_protocol::Amount;

use super::*;
use crate::genesis::Allocation;

fn genesis() -> Genesis {
    let allocation = Allocation { address: Network::address(1), amount: Amount(1_000_000) };
    Genesis::devnet(7, [3; 32], vec![allocation])
}

fn genesis_head(genesis: &Genesis) -> Head {
    Head::of_genesis(genesis).unwrap()
}

fn open(dir: &Path) -> Result<(Store, Head), StoreError> {
    Store::open(dir, &genesis(), genesis_head(&genesis()))
}

/// Makes a store, changes it behind its back, and returns what opening says then.
fn opened_after(damage: impl FnOnce(&Store)) -> StoreError {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    damage(&store);
    drop(store);
    open(dir.path()).unwrap_err()
}

fn account_key() -> Vec<u8> {
    [&[cairn_ledger::state::columns::ACCOUNTS], &codec::encode(&Network::address(1))[..]].concat()
}

#[test]
fn reopens_with_the_same_head() {
    let dir = tempfile::tempdir().unwrap();
    let (store, first) = open(dir.path()).unwrap();
    drop(store);
    let (_, again) = open(dir.path()).unwrap();
    assert_eq!((first.header, first.state), (again.header, again.state));
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let _open = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Database { what: "open", .. })));
}

#[test]
fn another_network_or_format_is_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let other = Genesis { time_ms: 8, ..genesis() };
    let error = Store::open(dir.path(), &other, genesis_head(&other)).unwrap_err();
    assert!(matches!(error, StoreError::WrongGenesis { .. }), "{error}");
    let error = opened_after(|store| store.db.put_cf(store.family(META), KEY_FORMAT, b"something else").unwrap());
    assert!(matches!(&error, StoreError::WrongFormat { got, .. } if got == "something else"), "{error}");
    let error = opened_after(|store| store.db.delete_cf(store.family(META), KEY_FORMAT).unwrap());
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn damage_is_named() {
    let lost = opened_after(|store| store.db.delete_cf(store.family(STATE), account_key()).unwrap());
    assert!(matches!(lost, StoreError::WrongStateRoot { height: Epoch(0), .. }), "{lost}");
    let garbled = opened_after(|store| store.db.put_cf(store.family(STATE), account_key(), [0xff]).unwrap());
    assert!(matches!(&garbled, StoreError::Damaged { what, .. } if what == "state"), "{garbled}");
    let column = opened_after(|store| store.db.put_cf(store.family(STATE), [99, 1], [0]).unwrap());
    assert!(column.to_string().contains("unknown state column 99"), "{column}");
    let head = opened_after(|store| store.db.delete_cf(store.family(META), KEY_HEAD).unwrap());
    assert!(head.to_string().contains("head: missing"), "{head}");
    let singletons = opened_after(|store| store.db.delete_cf(store.family(STATE), [0]).unwrap());
    assert!(singletons.to_string().contains("singleton"), "{singletons}");
    let empty = opened_after(|store| store.db.put_cf(store.family(STATE), [], [0]).unwrap());
    assert!(empty.to_string().contains("empty key"), "{empty}");
}

#[test]
fn damaged_files_do_not_open() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    std::fs::write(dir.path().join("CURRENT"), "MANIFEST-999999\n").unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Database { what: "open", .. })));
}
