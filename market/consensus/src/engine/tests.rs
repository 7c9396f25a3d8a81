//! A proposer that lies, among three that do not.

use std::sync::Arc;

use cairn_ledger::testing::{HashVerifier, Network};
use cairn_ledger::{Command, StateRoot, address_of};
use cairn_protocol::{Amount, Epoch};

use crate::block::Block;
use crate::genesis::development_validator_key;
use crate::node::LedgerNode;
use support::{Cluster, PATIENCE, Running, SECRET, options};

#[path = "../../tests/support/mod.rs"]
mod support;

/// Validator 0 tampers with each of its blocks; the others must go on, without any of them.
fn outlives(tamper: fn(&mut Block)) {
    let mut cluster = Cluster::start(4);
    cluster.stop(0);
    let options = options(0, &cluster.addresses);
    let mut liar = LedgerNode::open(&cluster.store_dir(0), &cluster.genesis, options, Arc::new(HashVerifier)).unwrap();
    liar.tamper = Some(tamper);
    cluster.nodes[0] = Some(Running::run(liar));
    let since = cluster.node(1).height().max(cluster.node(2).height()) + 1;
    let pay = Command::Transfer { to: Network::address(8), amount: Amount(1) };
    let id = cluster.node(1).handle.submit_command(&Network::key(1), pay).unwrap();
    assert!(cluster.node(2).handle.wait_for_receipt(&id, PATIENCE).unwrap().is_some());
    cluster.reach(since + 9);
    let liar = address_of(&development_validator_key(&SECRET, 0));
    for height in since..since + 9 {
        let block = cluster.node(1).handle.block(Epoch(height)).unwrap().unwrap();
        assert_ne!(block.header.proposer, liar, "block {height}");
    }
    cluster.finish(&[id]);
}

#[test]
fn a_wrong_state_root_is_never_decided() {
    outlives(|block| block.header.state_root = StateRoot([1; 32]));
}

#[test]
fn a_time_far_ahead_is_never_decided() {
    outlives(|block| block.header.time_ms += 3_600_000);
}
