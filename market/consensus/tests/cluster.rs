//! Four validators on loopback: they agree, go on without one of them, and take it back.

mod support;

use cairn_ledger::testing::Network;
use cairn_ledger::{Command, Outcome};
use cairn_protocol::{Amount, Epoch};
use support::{Cluster, PATIENCE};

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
fn one_that_was_away_costs_no_rounds_and_catches_up() {
    let mut cluster = Cluster::start(4);
    cluster.reach(3);
    cluster.stop(2);
    let away_since = cluster.node(0).height();
    let id = cluster.node(0).handle.submit_command(&Network::key(1), transfer(1)).expect("taken");
    // One turn may be lost, and one more until the absence is on record; then nobody waits for it any more.
    let on_record = away_since + 8;
    cluster.reach(on_record + 12);
    cluster.restart(2);
    let height = cluster.node(0).height() + 3;
    cluster.reach(height);
    let receipt = cluster.node(2).handle.receipt(&id).expect("readable");
    assert_eq!(receipt.expect("caught up").outcome, Outcome::Applied);
    let rounds: Vec<u32> = (on_record..on_record + 12)
        .map(|height| cluster.node(0).handle.commit(Epoch(height)).expect("readable").expect("kept").round)
        .collect();
    assert!(rounds.iter().all(|round| *round == 0), "rounds while one was away: {rounds:?}");
    assert!(cluster.finish(&[id]) >= height);
}
