//! A validator that lies, among three that do not.

use std::sync::Arc;
use std::time::Instant;

use cairn_ledger::testing::{HashVerifier, Network};
use cairn_ledger::{
    Command, Event, Outcome, PorepStatement, ProofRejection, ProofVerifier, Rejection, StateRoot, WindowPostStatement,
    address_of,
};
use cairn_protocol::{Amount, CommD, Epoch, PieceInfo, SectorSize};

use crate::engine::liar::SaidTwice;
use crate::evidence::Evidence;
use crate::genesis::development_validator_key;
use crate::node::{LedgerNode, Mischief};
use crate::validators::Validators;
use support::{Cluster, PATIENCE, Running, SECRET, options};

#[path = "../../tests/support/mod.rs"]
mod support;

/// Validator 0 misbehaves when it proposes; the others must go on, without any of its blocks.
fn outlives(mischief: Mischief) {
    let mut cluster = Cluster::start(4);
    cluster.stop(0);
    let options = options(0, &cluster.addresses);
    let mut liar = LedgerNode::open(&cluster.store_dir(0), &cluster.genesis, options, Arc::new(HashVerifier)).unwrap();
    liar.mischief = mischief;
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
    let tamper: fn(&mut crate::block::Block) = |block| block.header.state_root = StateRoot([1; 32]);
    outlives(Mischief { tamper: Some(tamper), ..Mischief::default() });
}

#[test]
fn a_time_far_ahead_is_never_decided() {
    let tamper: fn(&mut crate::block::Block) = |block| block.header.time_ms += 3_600_000;
    outlives(Mischief { tamper: Some(tamper), ..Mischief::default() });
}

#[test]
fn a_block_that_is_announced_and_withheld_costs_its_proposer_the_turn() {
    outlives(Mischief { withhold: true, ..Mischief::default() });
}

/// Believes every proof.
struct Gullible;

impl ProofVerifier for Gullible {
    fn comm_d(&self, size: SectorSize, pieces: &[PieceInfo]) -> Result<CommD, ProofRejection> {
        HashVerifier.comm_d(size, pieces)
    }

    fn verify_porep(&self, _: &PorepStatement, _: &[u8]) -> Result<(), ProofRejection> {
        Ok(())
    }

    fn verify_window_post(&self, _: &WindowPostStatement, _: &[u8]) -> Result<(), ProofRejection> {
        Ok(())
    }
}

/// A validator whose software takes a forged proof proposes a block in which a sector is active that is not. The others
/// refuse that block; theirs, in which the proof fails, it holds to be wrong, so it stands still.
#[test]
fn a_forged_proof_is_believed_by_nobody_else() {
    let mut cluster = Cluster::start(4);
    cluster.stop(0);
    let options = options(0, &cluster.addresses);
    let liar = LedgerNode::open(&cluster.store_dir(0), &cluster.genesis, options, Arc::new(Gullible)).unwrap();
    cluster.nodes[0] = Some(Running::run(liar));
    cluster.reach(2);
    let handle = cluster.node(1).handle.clone();
    let applied = |command: Command| {
        let id = handle.submit_command(&Network::key(2), command).unwrap();
        handle.wait_for_receipt(&id, PATIENCE).unwrap().expect("decided")
    };
    let (sector_size, endpoint) = (SectorSize::KIB2, "http://127.0.0.1:1/".to_owned());
    let registered = applied(Command::RegisterProvider { sector_size, collateral: Amount(100_000_000), endpoint });
    assert_eq!(registered.outcome, Outcome::Applied);
    let state = handle.state();
    let (provider, _) = state.providers_of(Network::address(2)).next().expect("registered");
    let network = Network { state: cairn_ledger::State::clone(&state), events: Vec::new() };
    let mut announced = network.pre_commit(provider, 1, &[]);
    // The block that takes it in is not the next one.
    announced.expiration.0 += 10_000;
    let committed = applied(Command::PreCommit(announced));
    assert_eq!(committed.outcome, Outcome::Applied);
    let ready = committed.epoch.0 + state.params().challenge_delay + 1;
    (1..4).for_each(|number| cluster.node(number).reach(ready));
    let sector = cairn_protocol::SectorNumber(1);
    let forged = applied(Command::ProveCommit { provider, sector, pieces: vec![], proof: vec![7; 192] });
    assert!(matches!(forged.outcome, Outcome::Failed(Rejection::Proof(_))), "{:?}", forged.outcome);
    let height = forged.epoch.0 + 4;
    (1..4).for_each(|number| cluster.node(number).reach(height));
    let liar = cluster.nodes[0].take().expect("it was started");
    assert!(liar.height() < forged.epoch.0);
    // It votes for nothing that it holds to be wrong, and waits for a block that will not come.
    let _ = liar.stop();
    drop(handle);
    cluster.finish(&[forged.transaction]);
}

/// What two machines with one key do to each other: everything that they say for one block, they say for another too.
fn loses_stake_and_vote_once(said_twice: SaidTwice) {
    let mut cluster = Cluster::start(4);
    cluster.reach(2);
    cluster.stop(0);
    let liar = address_of(&development_validator_key(&SECRET, 0));
    let stake = cluster.genesis.validators[0].stake;
    let options = options(0, &cluster.addresses);
    let mut twins = LedgerNode::open(&cluster.store_dir(0), &cluster.genesis, options, Arc::new(HashVerifier)).unwrap();
    twins.mischief.said_twice = Some(said_twice);
    cluster.nodes[0] = Some(Running::run(twins));

    let honest = cluster.node(1).handle.clone();
    let started = Instant::now();
    while honest.state().validator(&liar).is_some_and(|validator| validator.power() > 0) {
        assert!(started.elapsed() < PATIENCE, "not punished by height {}", honest.head().height);
        let _ = honest.wait_for_height(Epoch(honest.head().height.0 + 1), PATIENCE);
    }
    // Nobody is accused of the same height again, and the chain goes on without the liar.
    let height = honest.head().height.0 + 5;
    (1..4).for_each(|number| cluster.node(number).reach(height));
    let mut punished = Vec::new();
    for at in (1..=honest.head().height.0).map(Epoch) {
        for evidence in honest.block(at).unwrap().expect("kept").evidence {
            let what = match evidence {
                Evidence::Votes { .. } => SaidTwice::Votes,
                Evidence::Proposals { .. } => SaidTwice::Proposals,
            };
            let (height, validator) = evidence.offence();
            assert!(what == said_twice && validator == liar && height < at, "{evidence:?} in block {at}");
            punished.push(height);
        }
    }
    assert!(!punished.is_empty() && punished.is_sorted_by(|one, next| one < next), "once for each: {punished:?}");
    let events = honest.events_since(Epoch(0), u64::MAX).unwrap();
    let slashed = events.iter().flat_map(|block| &block.events).filter_map(|event| match event {
        Event::Slashed { validator, height, .. } => Some((*validator, *height)),
        _ => None,
    });
    assert!(slashed.eq(punished.iter().map(|height| (liar, *height))));
    let state = honest.state();
    let left = state.validator(&liar).expect("what is left is still leaving");
    assert!(left.locked() < u128::from(stake.0));
    assert!(Validators::after(&state).get(&liar).is_none());
    state.check_invariants().unwrap();
    drop(honest);
    cluster.finish(&[]);
}

#[test]
fn who_signs_twice_loses_stake_and_vote_once() {
    loses_stake_and_vote_once(SaidTwice::Votes);
}

#[test]
fn who_proposes_twice_loses_stake_and_vote_once() {
    loses_stake_and_vote_once(SaidTwice::Proposals);
}
