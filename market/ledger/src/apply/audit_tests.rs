//! Receipts behind opinions: opened, withheld, made up.

use cairn_protocol::{Amount, Epoch, ProviderId};

use super::economy_tests::{ROUND, params, serving_with};
use crate::economy::CheckerRejection;
use crate::scores::ballot::Opinions;
use crate::scores::quality::{Served, quality};
use crate::scores::receipts::{CheckResult, OpenedReceipt, SignedCheckReceipt, receipts_root};
use crate::testing::{Network, SALT};
use crate::*;

const STAKE: u64 = 100_000_000;

/// A checker of the story, and what it has measured or made up.
struct Story {
    n: u8,
    receipts: Vec<SignedCheckReceipt>,
    opinions: Opinions,
}

fn audited_params() -> LedgerParams {
    let mut params = params();
    params.economy.checkers.unopened_burn_bp = 500;
    (params.economy.rounds.round_epochs, params.economy.rounds.open_epochs) = (ROUND, 4);
    params
}

/// What all bytes of a range hash to in this story.
fn truth(slot: u32) -> [u8; 32] {
    [slot as u8 + 1; 32]
}

/// Receipts of all tasks of account `n`, served well, with contents by slot.
fn measured(network: &Network, n: u8, content: impl Fn(u32) -> [u8; 32]) -> Story {
    let (chain, key, economy) = (network.state.chain(), Network::key(n), &network.state.params().economy);
    let served = Served { ttfb_ms: 1, total_ms: 1, bytes: 1 << 20 };
    let tasks = network.state.check_tasks(Network::address(n));
    let sign = |task: crate::scores::checks::CheckTask| {
        let result = CheckResult::Served { served, content: content(task.slot) };
        crate::scores::receipts::CheckReceipt { task, result }.sign(chain, &key)
    };
    let receipts: Vec<_> = tasks.into_iter().map(sign).collect();
    let mut providers: Vec<ProviderId> = receipts.iter().map(|signed| signed.receipt.task.provider).collect();
    providers.sort();
    providers.dedup();
    let level = |provider: &ProviderId| {
        let own = receipts.iter().filter(|signed| signed.receipt.task.provider == *provider);
        let checks: Vec<_> = own.map(|signed| signed.receipt.served()).collect();
        Some((*provider, quality(&checks, &economy.quality)?.to_u16()))
    };
    let opinions = Opinions {
        round: network.state.round_at(network.state.epoch()),
        levels: providers.iter().filter_map(level).collect(),
        receipts_root: receipts_root(&receipts),
        receipts: receipts.len() as u32,
    };
    Story { n, receipts, opinions }
}

fn opening(network: &Network, story: &Story) -> Vec<OpenedReceipt> {
    let audit = network.state.audit(story.opinions.round, Network::address(story.n)).expect("it was drawn");
    let about = |at: &usize| story.receipts[*at].receipt.task.provider == audit.provider;
    (0..story.receipts.len()).filter(about).map(|at| OpenedReceipt::open(&story.receipts, at).unwrap()).collect()
}

fn check(command: CheckCommand) -> Command {
    Command::Check(command)
}

/// Two providers and checkers 5, 6 and 7, whose receipts of one round are drawn.
fn drawn(contents: [fn(u32) -> [u8; 32]; 3]) -> (Network, Vec<Story>) {
    let (mut network, _) = serving_with(audited_params(), 2, 8);
    for n in 5..8 {
        network.command(n, check(CheckCommand::Stake { amount: Amount(STAKE) }));
    }
    let round = network.state.round_at(network.state.epoch()) + 1;
    network.advance_to(Epoch(round * ROUND - 1));
    network.block(&[]);
    let stories: Vec<Story> = (5..8).zip(contents).map(|(n, content)| measured(&network, n, content)).collect();
    assert!(stories.iter().all(|story| !story.opinions.levels.is_empty()));
    network.advance_to(Epoch((round + 1) * ROUND - 1));
    let early = check(CheckCommand::Open { receipts: vec![OpenedReceipt::open(&stories[0].receipts, 0).unwrap()] });
    assert!(matches!(network.clone().rejection(5, early), Rejection::Checker(_)), "nothing is drawn yet");
    network.block(&commits(&network, &stories));
    network.advance_to(Epoch((round + 1) * ROUND + 1));
    let reveals: Vec<_> = stories
        .iter()
        .map(|story| {
            let reveal = CheckCommand::Reveal { opinions: story.opinions.clone(), salt: SALT };
            network.transaction(story.n, 0, check(reveal))
        })
        .collect();
    let outcome = network.block(&reveals);
    assert!(outcome.receipts.iter().all(|receipt| receipt.outcome == Outcome::Applied), "{outcome:?}");
    network.advance_to(Epoch((round + 1) * ROUND + 4));
    (network, stories)
}

fn commits(network: &Network, stories: &[Story]) -> Vec<SignedTransaction> {
    let commit = |story: &Story| {
        let commitment = story.opinions.commitment(network.state.chain(), Network::address(story.n), &SALT);
        network.transaction(story.n, 0, check(CheckCommand::Commit { commitment }))
    };
    stories.iter().map(commit).collect()
}

fn stake_of(network: &Network, n: u8) -> u64 {
    network.state.checker(&Network::address(n)).expect("has stake").stake.0
}

#[test]
fn who_opens_is_heard_and_who_does_not_pays_and_is_not() {
    let (mut network, stories) = drawn([truth, truth, truth]);
    let round = stories[0].opinions.round;
    let problem = |network: &mut Network, n: u8, receipts: Vec<OpenedReceipt>| match network
        .rejection(n, check(CheckCommand::Open { receipts }))
    {
        Rejection::Checker(CheckerRejection::BadOpening { problem, .. }) => problem,
        other => panic!("{other}"),
    };
    let good = opening(&network, &stories[0]);
    // Somebody else's receipts, changed ones, too few, out of order.
    let mut foreign = network.clone();
    assert_eq!(problem(&mut foreign, 6, good.clone()), "one is about something else than what was assigned");
    let mut changed = good.clone();
    changed[0].signed.receipt.result = CheckResult::Failed(crate::scores::receipts::CheckFailure::Stalled);
    assert_eq!(problem(&mut network.clone(), 5, changed), "one is not under the root");
    let few = problem(&mut network.clone(), 5, good[..4].to_vec());
    assert_eq!(few, "they do not make the quality that it revealed");
    let backwards: Vec<_> = good.iter().rev().cloned().collect();
    assert_eq!(problem(&mut network.clone(), 5, backwards), "they are not ascending");

    let mut both = Vec::new();
    for story in &stories[..2] {
        let receipts = opening(&network, story);
        both.push(network.transaction(story.n, 0, check(CheckCommand::Open { receipts })));
    }
    let outcome = network.block(&both);
    assert!(outcome.receipts.iter().all(|receipt| receipt.outcome == Outcome::Applied), "{:?}", outcome.receipts);
    assert_eq!(problem(&mut network.clone(), 5, good), "they are open already");
    network.advance_to(Epoch((round + 2) * ROUND - 1));
    assert_eq!([5, 6, 7].map(|n| stake_of(&network, n)), [STAKE, STAKE, STAKE - STAKE / 20]);
    let paid = |n: u8| {
        let of = |event: &Event| matches!(event, Event::Reward(RewardEvent::Rewarded { to, stream: crate::economy::RewardStream::Checking, .. }) if *to == Network::address(n));
        network.events.iter().filter(|event| of(event)).count()
    };
    assert!(paid(5) > 0 && paid(6) > 0 && paid(7) == 0, "who shows nothing is not paid");
    let scored = network.events.iter().any(
        |event| matches!(event, Event::Score(ScoreEvent::RoundScored { round: of, complete: true }) if *of == round),
    );
    assert!(scored);
}

#[test]
fn made_up_bytes_are_refuted_by_more_than_half_and_by_nobody_less() {
    let (mut network, stories) = drawn([truth, truth, |_| [0xee; 32]]);
    let (round, forger) = (stories[0].opinions.round, Network::address(7));
    let openings: Vec<_> = stories
        .iter()
        .map(|story| {
            let receipts = opening(&network, story);
            network.transaction(story.n, 0, check(CheckCommand::Open { receipts }))
        })
        .collect();
    let outcome = network.block(&openings);
    assert!(outcome.receipts.iter().all(|receipt| receipt.outcome == Outcome::Applied), "what is made up fits itself");
    let exhibit = network.state.audit(round, forger).unwrap().exhibit.clone().expect("it was served, it says");
    let content = truth(exhibit.task.slot);
    let refute = |checker, content| check(CheckCommand::Refute { round, checker, content });
    let bad = |rejection| matches!(rejection, Rejection::Checker(CheckerRejection::BadRefutation { .. }));
    assert!(bad(network.rejection(7, refute(forger, content))), "not one's own");
    assert!(bad(network.rejection(5, refute(forger, [0xee; 32]))), "it says that itself");
    assert!(bad(network.rejection(5, refute(Network::address(4), content))), "nobody");
    assert!(matches!(network.rejection(4, refute(forger, content)), Rejection::Checker(_)), "no stake, no voice");
    network.command(5, refute(forger, content));
    assert!(bad(network.rejection(5, refute(forger, content))), "once");
    assert_eq!(stake_of(&network, 7), STAKE, "a third of the stake is not more than half");
    // A lie about an honest one, by the forger alone and with others who say something else, moves nothing.
    network.command(7, refute(Network::address(5), [0xaa; 32]));
    network.command(6, refute(Network::address(5), [0xbb; 32]));
    assert_eq!(stake_of(&network, 5), STAKE);
    let events = network.command(6, refute(forger, content));
    assert!(matches!(events[..], [Event::Score(ScoreEvent::Refuted { .. })]), "{events:?}");
    assert_eq!(stake_of(&network, 7), STAKE - STAKE / 5);
    assert!(network.state.ballot(round, forger).is_none(), "it is not heard");
    // What is over is forgotten.
    network.advance_to(Epoch((round + 3) * ROUND + 1));
    assert_eq!(network.state.audits().count(), 0);
    assert!(network.state.refutation(round, forger, Network::address(5)).is_none());
}
