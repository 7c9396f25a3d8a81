//! The hot store: what a restart finds after every kind of interruption.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use cairn_content::{
    CommitError, Dataset, DatasetKind, HotStore, ImportOptions, Placement, ReadError, StoreError, VerifyError,
};
use cairn_protocol::UnpaddedBytes;
use tempfile::TempDir;

use crate::support::{sample, two_workers, write};

const MAX: UnpaddedBytes = UnpaddedBytes(127 << 14);
const ONE: NonZeroUsize = NonZeroUsize::MIN;

/// A client's folder and an empty store.
fn set_up() -> (TempDir, Arc<HotStore>) {
    let dir = tempfile::tempdir().unwrap();
    sample(&dir.path().join("input"));
    let store = Arc::new(HotStore::open(&dir.path().join("store")).unwrap());
    (dir, store)
}

fn reopen(dir: &TempDir) -> Arc<HotStore> {
    Arc::new(HotStore::open(&dir.path().join("store")).unwrap())
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() { copy_tree(&from, &to) } else { fs::copy(&from, &to).map(drop).unwrap() }
    }
}

#[test]
fn a_copy_belongs_to_the_store_and_survives_a_restart() {
    let (dir, store) = set_up();
    let input = dir.path().join("input");
    let dataset = store.import(&input, Some("photos"), Placement::Copy, &two_workers()).unwrap();
    assert_eq!(dataset.root(), Dataset::import(&input, &two_workers()).unwrap().root());
    let pieces = store.add_pieces(&dataset.root(), MAX).unwrap();
    assert!(pieces.len() > 1);
    fs::remove_dir_all(&input).unwrap();

    let store = reopen(&dir);
    assert!(store.damaged().is_empty());
    assert_eq!(store.find("photos").unwrap().root(), dataset.root());
    assert_eq!(store.find(&dataset.root().to_string()).unwrap().root(), dataset.root());
    assert_eq!(store.datasets().len(), 1);
    let again = store.add_pieces(&dataset.root(), MAX).unwrap();
    for (before, after) in pieces.iter().zip(&again) {
        assert_eq!(before.commitment, after.commitment);
        let piece = store.piece(&after.commitment.comm_p).unwrap();
        assert_eq!(piece.layout.commitment().unwrap(), before.commitment);
    }
    for (id, source) in dataset.blocks() {
        assert_eq!(store.block(&id.cid()).unwrap().read().unwrap(), source.read().unwrap());
    }
    assert!(names(&dir.path().join("store/staging")).is_empty());
}

/// A dataset that fits one piece is the same piece under both limits.
#[test]
fn two_limits_may_share_a_piece() {
    let (dir, store) = set_up();
    let root = store.import(&dir.path().join("input"), None, Placement::Copy, &two_workers()).unwrap().root();
    let limits = [127 << 16, 127 << 17].map(UnpaddedBytes);
    let [small, large] = limits.map(|max| store.add_pieces(&root, max).unwrap());
    assert_eq!(small[0].commitment, large[0].commitment);
    for store in [&store, &reopen(&dir)] {
        for max in limits {
            let pieces = store.pieces_of(&root, max);
            assert_eq!((pieces.len(), pieces[0].max), (1, max));
        }
        assert_eq!(store.pieces().len(), 1);
    }
}

#[test]
fn the_store_can_be_moved() {
    let (dir, store) = set_up();
    let dataset = store.import(&dir.path().join("input"), None, Placement::Copy, &two_workers()).unwrap();
    assert_eq!(dataset.name(), "input");
    drop(store);
    fs::rename(dir.path().join("store"), dir.path().join("moved")).unwrap();
    let store = HotStore::open(&dir.path().join("moved")).unwrap();
    for (_, source) in store.get(&dataset.root()).unwrap().blocks() {
        source.read().unwrap();
    }
}

#[test]
fn a_reference_reads_the_clients_files_and_notices_changes() {
    let (dir, store) = set_up();
    let input = dir.path().join("input");
    let dataset = store.import(&input, None, Placement::Reference, &two_workers()).unwrap();
    let piece = store.add_pieces(&dataset.root(), UnpaddedBytes(127 << 20)).unwrap().remove(0);
    let kept = names(&dir.path().join("store/datasets").join(dataset.root().to_string()));
    assert_eq!(kept.len(), 3, "index, pieces and their groups, no files: {kept:?}");
    let store = reopen(&dir);
    let file = dataset.file("readme.md").unwrap();
    assert_eq!(&dataset.slice(file).read().unwrap()[..], &fs::read(input.join("readme.md")).unwrap()[..]);

    write(&input.join("readme.md"), 78, Some(4));
    assert!(matches!(dataset.slice(file).open(), Err(ReadError::Changed { got, .. }) if got.size == 78));
    let error = store.piece(&piece.commitment.comm_p).unwrap().layout.commitment().unwrap_err();
    assert!(error.to_string().contains("readme.md has changed since it was imported"), "{error}");
    assert!(piece.layout.reader().read_to_end(&mut Vec::new()).is_err());

    store.remove(&dataset.root()).unwrap();
    assert!(store.get(&dataset.root()).is_none() && store.piece(&piece.commitment.comm_p).is_none());
    assert!(store.block(&dataset.root()).is_none());
    assert!(input.join("readme.md").exists(), "the client's files are left alone");
    assert!(reopen(&dir).datasets().is_empty());
    assert!(matches!(store.remove(&dataset.root()), Err(StoreError::Unknown { .. })));
}

#[test]
fn a_touched_file_is_read_again_after_verification() {
    let (dir, store) = set_up();
    let input = dir.path().join("input");
    let dataset = store.import(&input, None, Placement::Reference, &two_workers()).unwrap();
    let piece = store.add_pieces(&dataset.root(), UnpaddedBytes(127 << 20)).unwrap().remove(0);
    let path = input.join("readme.md");
    let bytes = fs::read(&path).unwrap();
    let touched = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    OpenOptions::new().write(true).open(&path).unwrap().set_modified(touched).unwrap();
    assert!(matches!(dataset.slice(dataset.file("readme.md").unwrap()).open(), Err(ReadError::Changed { .. })));
    store.verify(&dataset.root(), ONE, &|_, _| {}).unwrap();
    let after = store.piece(&piece.commitment.comm_p).unwrap();
    assert_eq!(after.layout.commitment().unwrap(), piece.commitment);
    assert_eq!(reopen(&dir).piece(&piece.commitment.comm_p).unwrap().layout.commitment().unwrap(), piece.commitment);

    let mut damaged = bytes;
    damaged[5] ^= 1;
    fs::write(&path, damaged).unwrap();
    let error = store.verify(&dataset.root(), ONE, &|_, _| {}).unwrap_err();
    assert!(matches!(error, StoreError::Verify(VerifyError::Leaf { offset: 0, .. })), "{error}");
}

#[test]
fn a_fetch_resumes_and_becomes_visible_only_when_it_is_right() {
    let (dir, store) = set_up();
    let input = dir.path().join("input");
    let root = Dataset::import(&input, &two_workers()).unwrap().root();
    let staging = store.begin(&root).unwrap();
    assert!(matches!(store.begin(&root), Err(StoreError::Busy { .. })));
    copy_tree(&input, &staging.files_dir());
    fs::remove_file(staging.files_dir().join("val/empty")).unwrap();
    fs::write(staging.scratch_dir().join("leaves"), b"notes").unwrap();
    let error = staging.commit(None, ONE, &|_, _| {}).unwrap_err();
    assert!(matches!(&error, CommitError::Root { expected, .. } if *expected == root), "{error}");
    assert!(store.get(&root).is_none());

    let store = reopen(&dir);
    assert!(store.get(&root).is_none(), "nothing half done is visible after a restart");
    let staging = store.begin(&root).unwrap();
    assert!(staging.files_dir().join("train/0.tar").exists(), "the fetch resumes");
    write(&staging.files_dir().join("val/empty"), 0, None);
    let dataset = staging.commit(Some("fetched"), ONE, &|_, _| {}).unwrap();
    assert_eq!((dataset.root(), dataset.name()), (root, "fetched"));
    assert!(matches!(store.begin(&root), Err(StoreError::Present { .. })));
    for (_, source) in dataset.blocks() {
        source.read().unwrap();
    }
    assert!(names(&dir.path().join("store/staging")).is_empty());
    assert_eq!(names(dataset.base().parent().unwrap()), ["dataset.cbor", "files"]);
    assert_eq!(reopen(&dir).find("fetched").unwrap().root(), root);
}

#[test]
fn a_damaged_byte_in_a_fetched_file_never_becomes_visible() {
    let (dir, store) = set_up();
    let input = dir.path().join("input");
    let root = Dataset::import(&input, &two_workers()).unwrap().root();
    let staging = store.begin(&root).unwrap();
    copy_tree(&input, &staging.files_dir());
    let path = staging.files_dir().join("train/0.tar");
    let mut bytes = fs::read(&path).unwrap();
    bytes[2_000_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(staging.commit(None, ONE, &|_, _| {}), Err(CommitError::Root { .. })));
    store.begin(&root).unwrap().abandon().unwrap();
    assert!(names(&dir.path().join("store/staging")).is_empty());
}

#[test]
fn a_fetched_single_file_is_a_file() {
    for bytes in [0, 3, (1 << 20) + 1] {
        let (dir, store) = set_up();
        let input = dir.path().join("shard.tar");
        write(&input, bytes, Some(1));
        let root = Dataset::import(&input, &ImportOptions::default()).unwrap().root();
        let staging = store.begin(&root).unwrap();
        fs::copy(&input, staging.files_dir().join("any-name")).unwrap();
        let dataset = staging.commit(None, ONE, &|_, _| {}).unwrap();
        assert_eq!((dataset.kind(), dataset.root()), (DatasetKind::File, root));
        assert_eq!(dataset.file("").unwrap().path, "any-name");
        let loaded = reopen(&dir).get(&root).unwrap();
        assert_eq!(loaded.kind(), DatasetKind::File);
        assert_eq!(loaded.files(), dataset.files());
    }
}

#[test]
fn importing_twice_changes_nothing_and_names_are_unique() {
    let (dir, store) = set_up();
    let input = dir.path().join("input");
    let first = store.import(&input, Some("a"), Placement::Copy, &two_workers()).unwrap();
    let second = store.import(&input, Some("b"), Placement::Reference, &two_workers()).unwrap();
    assert!(Arc::ptr_eq(&first, &second), "the owned copy stays");
    write(&dir.path().join("other"), 5, Some(5));
    let other = dir.path().join("other");
    let taken = store.import(&other, Some("a"), Placement::Copy, &two_workers()).unwrap_err();
    assert!(matches!(taken, StoreError::NameTaken { root, .. } if root == first.root()));
    let odd = store.import(&other, Some("a/b"), Placement::Copy, &two_workers()).unwrap_err();
    assert!(matches!(odd, StoreError::Name { .. }));
    assert!(names(&dir.path().join("store/staging")).is_empty(), "failed imports leave nothing");
}

#[test]
fn a_moved_reference_takes_the_place_of_the_old_one() {
    let (dir, store) = set_up();
    let dataset = store.import(&dir.path().join("input"), None, Placement::Reference, &two_workers()).unwrap();
    let piece = store.add_pieces(&dataset.root(), MAX).unwrap().remove(0);
    fs::rename(dir.path().join("input"), dir.path().join("moved")).unwrap();
    assert!(matches!(piece.layout.commitment(), Err(ReadError::Io { .. })));
    store.import(&dir.path().join("moved"), None, Placement::Reference, &two_workers()).unwrap();
    let piece = store.piece(&piece.commitment.comm_p).unwrap();
    assert_eq!(piece.layout.commitment().unwrap(), piece.commitment);
}

/// A crash can leave anything under `staging/`, and a full disk or a bad sector anything in a file that was not synced.
#[test]
fn torn_files_are_named_and_do_not_take_the_others_down() {
    let (dir, store) = set_up();
    let sound = store.import(&dir.path().join("input"), None, Placement::Copy, &two_workers()).unwrap();
    write(&dir.path().join("other"), 3_000_000, Some(5));
    let torn = store.import(&dir.path().join("other"), None, Placement::Copy, &two_workers()).unwrap();
    let pieces = store.add_pieces(&torn.root(), MAX).unwrap();
    let folder = dir.path().join("store/datasets").join(torn.root().to_string());
    for name in ["dataset.cbor", &format!("pieces-{}.cbor", MAX.0)] {
        let whole = fs::read(folder.join(name)).unwrap();
        for length in [0, 7, 30, 52, whole.len() / 2, whole.len() - 1] {
            fs::write(folder.join(name), &whole[..length]).unwrap();
            let store = reopen(&dir);
            assert!(store.get(&sound.root()).is_some() && store.get(&torn.root()).is_none(), "{name} cut to {length}");
            assert_eq!(store.damaged().len(), 1);
            assert!(store.damaged()[0].reason.contains(name), "{}", store.damaged()[0].reason);
        }
        fs::write(folder.join(name), &whole).unwrap();
    }
    for left_over in ["import-0", "removed-3"] {
        fs::create_dir_all(dir.path().join("store/staging").join(left_over).join("files/x")).unwrap();
    }
    fs::write(folder.join("dataset.cbor.partial"), b"half").unwrap();
    let store = reopen(&dir);
    assert!(store.damaged().is_empty());
    assert_eq!(store.pieces_of(&torn.root(), MAX).len(), pieces.len());
    assert!(names(&dir.path().join("store/staging")).is_empty());
    assert!(store.import(&dir.path().join("input"), None, Placement::Copy, &two_workers()).is_ok());
}

/// The three states that a crash during a commit can leave, made by hand.
#[test]
fn every_state_of_an_interrupted_commit_is_recovered() {
    let (dir, store) = set_up();
    let input = dir.path().join("input");
    let root = Dataset::import(&input, &two_workers()).unwrap().root();
    let staging = store.begin(&root).unwrap();
    copy_tree(&input, &staging.files_dir());
    let index = staging.files_dir().parent().unwrap().join("dataset.cbor");
    fs::write(&index, b"torn").unwrap();
    drop(staging);

    let store = reopen(&dir);
    assert!(store.get(&root).is_none() && store.damaged().is_empty(), "before the rename nothing is visible");
    let staging = store.begin(&root).unwrap();
    fs::remove_dir_all(staging.scratch_dir()).unwrap();
    drop(staging);
    let dataset = store.begin(&root).unwrap().commit(None, ONE, &|_, _| {}).unwrap();
    assert_eq!(reopen(&dir).get(&root).unwrap().files(), dataset.files(), "after the rename everything is");
}
