//! Validators on loopback: they agree, go on without one of them and take it back, let others in and out, and read torn
//! logs.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use blst::min_sig::SecretKey;
use cairn_consensus::drand::SIGNATURE_TAG;
use cairn_consensus::{
    BeaconConfig, CaughtUp, Checkpoint, DrandNetwork, History, HttpOptions, HttpRounds, NodeOptions, SnapshotOptions,
    Validators, development_validator_key, snapshot, system_clock,
};
use cairn_ledger::testing::Network;
use cairn_ledger::{Command, Outcome, address_of};
use cairn_protocol::{Amount, Epoch};
use sha2::{Digest, Sha256};
use support::{Cluster, PATIENCE, Running, SECRET, check_stores, free_ports, options, serve_snapshots};

fn transfer(amount: u64) -> Command {
    Command::Transfer { to: Network::address(8), amount: Amount(amount) }
}

#[test]
fn transactions_of_everybody_are_decided_everywhere() {
    let cluster = Cluster::start(4);
    cluster.reach(2);
    let ids: Vec<_> = (0..4u32)
        .map(|number| {
            let key = Network::key(number as u8 + 1);
            cluster.node(number).handle.submit_command(&key, transfer(u64::from(number) + 1)).expect("taken")
        })
        .collect();
    for number in 0..4 {
        for id in &ids {
            let receipt = cluster.node(number).handle.wait_for_receipt(id, PATIENCE).expect("readable");
            assert_eq!(receipt.expect("decided").outcome, Outcome::Applied);
        }
    }
    let height = cluster.node(0).height() + 4;
    cluster.reach(height);
    let handle = &cluster.node(0).handle;
    let makers: std::collections::BTreeSet<_> =
        (1..=height).map(|h| handle.block(Epoch(h)).unwrap().unwrap().header.proposer).collect();
    assert!(makers.len() >= 3, "the turn goes round: {makers:?}");
    assert!(cluster.finish(&ids) >= height);
}

#[test]
fn one_that_is_away_is_not_waited_for_and_catches_up() {
    let mut cluster = Cluster::start(4);
    cluster.reach(3);
    cluster.stop(2);
    let absent = address_of(&development_validator_key(&SECRET, 2));
    let away_since = cluster.node(0).height();
    let id = cluster.node(0).handle.submit_command(&Network::key(1), transfer(1)).expect("taken");
    // One turn may be lost, and one more until the absence is on record; then nobody waits for it any more.
    let on_record = away_since + 8;
    for height in on_record..on_record + 12 {
        cluster.reach(height);
        let state = cluster.node(0).handle.state();
        let first = Validators::after(&state).proposer(state.epoch().0 + 1, 0).address;
        assert_ne!(first, absent, "the first turn at height {}", state.epoch().0 + 1);
    }
    cluster.restart(2);
    let height = cluster.node(0).height() + 3;
    cluster.reach(height);
    let receipt = cluster.node(2).handle.receipt(&id).expect("readable");
    assert_eq!(receipt.expect("caught up").outcome, Outcome::Applied);
    assert!(cluster.finish(&[id]) >= height);
}

#[test]
fn who_stakes_votes_and_who_takes_it_back_stops() {
    let mut cluster = Cluster::start(4);
    cluster.reach(2);
    let genesis = cluster.genesis.clone();
    // A fifth node, with the key of account 5, follows without a vote.
    let key = Network::key(5);
    let mut addresses = cluster.addresses.clone();
    addresses.extend(free_ports(1));
    let newcomer = NodeOptions { validator: Some(key.clone()), ..options(4, &addresses) };
    let dir = cluster.dir.path().join("newcomer");
    cluster.nodes.push(Some(Running::start(&dir, &genesis, newcomer)));
    cluster.reach(4);

    let stake = Amount(5_000_000);
    let change = |command: Command| {
        let id = cluster.node(4).handle.submit_command(&key, command).expect("taken");
        let receipt = cluster.node(0).handle.wait_for_receipt(&id, PATIENCE).expect("readable").expect("decided");
        assert_eq!(receipt.outcome, Outcome::Applied);
        receipt.epoch.0
    };
    let signers = |height: u64| -> Vec<_> {
        let commit = cluster.node(0).handle.commit(Epoch(height)).expect("readable").expect("kept");
        commit.signatures.iter().map(|signature| signature.validator).collect()
    };
    let bonded_at = change(Command::Bond { amount: stake });
    // Five of nine votes are its own, so nothing is decided without it.
    cluster.reach(bonded_at + 6);
    for height in bonded_at + 1..=bonded_at + 6 {
        assert!(signers(height).contains(&Network::address(5)), "height {height}");
    }
    let unbonded_at = change(Command::Unbond { amount: stake });
    cluster.reach(unbonded_at + 3);
    for height in unbonded_at + 1..=unbonded_at + 3 {
        assert!(!signers(height).contains(&Network::address(5)), "height {height}");
    }
    cluster.nodes.pop().flatten().expect("it runs").stop().expect("it ends well");
    let dirs: Vec<_> = (0..4).map(|number| cluster.store_dir(number)).chain([dir]).collect();
    (0..4).for_each(|number| cluster.stop(number));
    check_stores(&genesis, &dirs, &[]);
}

#[test]
fn a_torn_tail_of_the_log_of_votes_heals() {
    let mut cluster = Cluster::start(4);
    cluster.reach(3);
    for number in 0..4 {
        cluster.stop(number);
        let log = cluster.store_dir(number).join("votes.wal");
        let length = std::fs::metadata(&log).expect("a log").len();
        let file = std::fs::OpenOptions::new().write(true).open(&log).expect("a log");
        // Into the last entry, or, for one of them, into the header.
        file.set_len(if number == 3 { 7 } else { length.saturating_sub(5) }).expect("cut");
    }
    (0..4).for_each(|number| cluster.restart(number));
    let height = (0..4).map(|number| cluster.node(number).height()).max().expect("four") + 4;
    cluster.reach(height);
    assert!(cluster.finish(&[]) >= height);
}

#[test]
fn a_late_node_joins_by_snapshot_where_value_sync_no_longer_reaches() {
    let short = |_: u32, options: &mut NodeOptions| {
        options.history = History { blocks: 10, snapshot_every: 8, ..History::default() };
    };
    let cluster = Cluster::start_with(4, BTreeMap::new(), short);
    let early = cluster.node(0).handle.submit_command(&Network::key(1), transfer(7)).expect("taken");
    cluster.reach(30);
    let server = &cluster.node(1).handle;
    assert!(server.block(Epoch(5)).expect("readable").is_none() && server.receipt(&early).expect("readable").is_none());
    let (listening, stop) = serve_snapshots(server.clone());
    let light = server.store().light(Epoch(8)).expect("readable").expect("a light block");
    let checkpoint = Checkpoint::Block { height: Epoch(8), block: light.header.id() };

    let dir = cluster.dir.path().join("late");
    let taken = snapshot::catch_up(&dir, &cluster.genesis, &SnapshotOptions::new(vec![listening], checkpoint));
    let CaughtUp::Installed { height, .. } = taken.expect("a snapshot") else { panic!("it is needed") };
    assert!(height >= Epoch(24));
    let mut addresses = cluster.addresses.clone();
    addresses.extend(free_ports(1));
    let mut late = NodeOptions { validator: None, ..options(4, &addresses) };
    short(4, &mut late);
    let late = Running::start(&dir, &cluster.genesis, late);
    let goal = cluster.node(0).height() + 5;
    late.reach(goal);
    let state = late.handle.state();
    state.check_invariants().expect("invariants hold");
    assert_eq!(state.account(&Network::address(1)).nonce, 1, "what the state is about was before the snapshot");
    let id = late.handle.submit_command(&Network::key(1), transfer(1)).expect("taken");
    assert!(cluster.node(3).handle.wait_for_receipt(&id, PATIENCE).expect("readable").is_some());
    late.reach(cluster.node(3).height());
    let head = late.handle.head();
    cluster.reach(head.height.0);
    assert_eq!(cluster.node(2).handle.store().block_id(head.height).expect("readable"), Some(head.id()));
    late.stop().expect("it ends well");
    drop(stop);
    for number in 0..4 {
        let store = cluster.node(number).handle.store().oldest().expect("readable");
        assert!(store.0 + 10 > cluster.node(number).height() - 10, "the history is bounded");
    }
}

#[test]
fn clocks_that_jump_do_not_stop_the_chain() {
    static OFFSETS_MS: [AtomicI64; 4] = [const { AtomicI64::new(0) }; 4];
    let cluster = Cluster::start_with(4, BTreeMap::new(), |number, options| {
        options.clock = Arc::new(move || {
            let offset = OFFSETS_MS[number as usize].load(Ordering::Relaxed);
            system_clock().saturating_add_signed(offset)
        });
    });
    const HOUR_MS: i64 = 3_600_000;
    let set = |number: usize, offset| OFFSETS_MS[number].store(offset, Ordering::Relaxed);
    let go_on = |blocks| {
        let height = (0..4).map(|number| cluster.node(number).height()).max().expect("four") + blocks;
        cluster.reach(height);
    };
    go_on(3);
    // One is an hour ahead: its own blocks are refused, those of the others are not.
    set(0, HOUR_MS);
    go_on(6);
    let last = cluster.node(1).handle.head().time_ms;
    assert!(last < system_clock() + 60_000, "nobody followed it");
    set(0, 0);
    // All are an hour ahead, and the chain with them; then all are right again, and the chain's time stands still.
    (0..4).for_each(|number| set(number, HOUR_MS));
    go_on(3);
    (0..4).for_each(|number| set(number, 0));
    go_on(6);
    let ahead = cluster.node(1).handle.head().time_ms;
    assert!(ahead > system_clock() + HOUR_MS as u64 / 2);
    cluster.finish(&[]);
}

/// Answers `/CHAIN/public/ROUND` with any round that is out, signed by the key whose seed is 7; a liar's signatures are of
/// the round before.
fn drand_relay(is_liar: bool) -> (String, DrandNetwork) {
    let key = SecretKey::key_gen(&[7; 32], &[]).expect("a long seed");
    let public_key = key.sk_to_pk().to_bytes();
    let network = DrandNetwork { chain_hash: [5; 32], public_key, period_s: 1, genesis_time_s: 0 };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
            while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {}
            let path = line.split(' ').nth(1).expect("a path");
            let round: u64 = path.rsplit('/').next().expect("a round").parse().unwrap_or(1);
            let message = Sha256::digest((round - u64::from(is_liar)).to_be_bytes());
            let signature = hex::encode(key.sign(&message, SIGNATURE_TAG, &[]).to_bytes());
            let body = format!(r#"{{"round":{round},"randomness":"","signature":"{signature}"}}"#);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    (url, network)
}

#[test]
fn a_production_network_takes_its_randomness_from_relays_and_not_from_liars() {
    let ((liar, network), (honest, _)) = (drand_relay(true), drand_relay(false));
    let mut genesis = support::genesis(1);
    genesis.network = cairn_consensus::Network::Production;
    genesis.beacon = BeaconConfig::Drand(network.clone());
    let rounds = HttpRounds::start(&network, HttpOptions::new(vec![liar, honest])).expect("relays");
    let validator = Some(development_validator_key(&SECRET, 0));
    let options = NodeOptions { validator, rounds: Some(Arc::new(rounds)), ..NodeOptions::default() };
    let dir = tempfile::tempdir().expect("a directory");
    let node = Running::start(dir.path(), &genesis, options);
    node.reach(3);
    for height in 1..=3 {
        let block = node.handle.block(Epoch(height)).expect("readable").expect("kept");
        let shown = block.drand.expect("a round");
        assert_eq!(network.round_at(block.header.time_ms), Some(shown.round));
    }
    node.stop().expect("it ends well");
}
