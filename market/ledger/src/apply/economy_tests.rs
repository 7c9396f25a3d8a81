//! Stories of rails, rewards and scores, told through commands. `Network::block` checks the invariants after each block:
//! money, the schedule of rewards, every index.

use std::collections::BTreeMap;

use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber};

use crate::economy::{CheckerParams, CheckerRejection, NEUTRAL_REPUTATION, RewardStream};
use crate::emission::{EmissionParams, part_of};
use crate::payments::{RailId, RailRejection, VestingRule};
use crate::scores::Fraction;
use crate::scores::ballot::{BallotRejection, Opinions, RoundCalendar};
use crate::scores::checks::CheckPlan;
use crate::scores::receipts::{CheckFailure, CheckReceipt, CheckResult, SignedCheckReceipt};
use crate::testing::{FUNDS, Network, SALT, order_terms, piece};
use crate::*;

const CLIENT: u8 = 1;
const PROVIDER: u8 = 2;
const STRANGER: u8 = 3;
pub(super) const ROUND: u64 = 12;

pub(super) fn params() -> LedgerParams {
    let economy = EconomyParams {
        rounds: RoundCalendar { round_epochs: ROUND, commit_epochs: 2, reveal_epochs: 2, open_epochs: 2 },
        vesting: VestingRule { free_bp: 2_500, duration_epochs: 400, bucket_epochs: 20 },
        checks: CheckPlan { targets: 4, samples: 5, range_bytes: 1 << 10 },
        // Receipts have a story of their own.
        checkers: CheckerParams {
            checkers_max: 20,
            exit_epochs: 30,
            unopened_burn_bp: 0,
            ..EconomyParams::devnet().checkers
        },
        group_providers: 1,
        emission: EmissionParams { settlement_burn_bp: 200, service_match_bp: 200, ..EconomyParams::devnet().emission },
        ..EconomyParams::devnet()
    };
    LedgerParams { challenge_delay: 2, bid_window: 2, fault_periods_max: 3, economy, ..LedgerParams::devnet() }
}

fn burnt_of(amount: u64) -> u64 {
    part_of(Amount(amount), 200).0
}

fn balance(network: &Network, n: u8) -> u64 {
    network.state.account(&Network::address(n)).balance.0
}

fn rail(command: RailCommand) -> Command {
    Command::Rail(command)
}

fn fund(network: &mut Network, n: u8, amount: u64) {
    network.command(n, rail(RailCommand::Deposit { account: Network::address(n), amount: Amount(amount) }));
}

fn open(network: &mut Network, n: u8, rate: u64, lockup_period: u64, target: RailTarget) -> RailId {
    let (payee, rate, lockup_fixed) = (Network::address(PROVIDER), Amount(rate), Amount::ZERO);
    let open = RailCommand::Open { payee, rate, lockup_period, lockup_fixed, target };
    match network.command(n, rail(open))[..] {
        [Event::Rail(RailEvent::Opened { rail, .. })] => rail,
        ref other => panic!("expected a rail, got {other:?}"),
    }
}

/// A provider with a sector without deals, and a rail of 10 an epoch bound to it.
fn streaming() -> (Network, ProviderId, RailId) {
    let mut network = Network::new(params(), 4);
    let provider = network.register(PROVIDER);
    network.seal(PROVIDER, provider, 1, &[]);
    fund(&mut network, CLIENT, 100_000);
    let rail = open(&mut network, CLIENT, 10, 50, RailTarget::Sector { provider, sector: SectorNumber(1) });
    (network, provider, rail)
}

fn settled(network: &mut Network, id: RailId) -> payments::Settlement {
    match network.command(STRANGER, rail(RailCommand::Settle { rail: id }))[..] {
        [Event::Rail(RailEvent::Settled { settlement, .. })] => settlement,
        ref other => panic!("expected a settlement, got {other:?}"),
    }
}

#[test]
fn a_rail_pays_for_proven_epochs_and_not_for_faulted_ones() {
    let (mut network, provider, id) = streaming();
    let opened = network.state.epoch();
    let waits = network.rejection(STRANGER, rail(RailCommand::Settle { rail: id }));
    assert_eq!(waits, Rejection::NothingToSettleOnRail { rail: id, settled_until: opened });
    let challenge = network.prove_next(PROVIDER, provider);
    let owed = challenge.since(opened) * 10;
    let settlement = settled(&mut network, id);
    assert_eq!((settlement.paid.0, settlement.burnt.0), (owed - burnt_of(owed), burnt_of(owed)));
    let payee = network.state.rails().account(&Network::address(PROVIDER)).funds;
    assert_eq!(payee, settlement.paid);
    network.command(PROVIDER, rail(RailCommand::Withdraw { amount: payee }));
    // The next deadline is missed: its epochs go back to the payer, whoever asks.
    let period = network.state.params().proving_period();
    network.advance_to(Epoch(challenge.0 + 2 * period));
    let settlement = settled(&mut network, id);
    assert_eq!((settlement.paid, settlement.unlocked), (Amount::ZERO, Amount(period * 10)));
}

#[test]
fn a_rail_ends_with_its_sector_and_with_its_money() {
    let (mut network, provider, id) = streaming();
    let challenge = network.prove_next(PROVIDER, provider);
    // Nobody proves any more: the sector is terminated, the rail ends with it, and nobody had to ask for anything.
    let periods = u64::from(network.state.params().fault_periods_max) + 2;
    let epochs = periods * network.state.params().proving_period();
    fund(&mut network, CLIENT, 10 * epochs);
    network.advance_to(Epoch(challenge.0 + epochs));
    assert!(network.state.rails().rail(id).is_none(), "closed");
    let ended = |event: &Event| {
        matches!(event,
        Event::Rail(RailEvent::Ending { closure, .. }) if closure.code == 803 && closure.reason == CloseReason::RailSectorClosed)
    };
    assert!(network.events.iter().any(ended));
    let account = network.state.rails().account(&Network::address(CLIENT));
    assert_eq!((account.lockup, account.rate), (Amount::ZERO, Amount::ZERO));

    // An unbound rail whose payer runs dry pays its lockup period and is gone.
    let mut network = Network::new(params(), 4);
    fund(&mut network, CLIENT, 10 * 50 + 10 * 7);
    let id = open(&mut network, CLIENT, 10, 50, RailTarget::Nothing);
    let opened = network.state.epoch();
    network.advance_to(Epoch(opened.0 + 7 + 50 + 2));
    assert!(network.state.rails().rail(id).is_none());
    let owed = 10 * 57;
    assert_eq!(network.state.rails().account(&Network::address(PROVIDER)).funds, Amount(owed - burnt_of(owed)));
    assert!(
        network
            .events
            .iter()
            .any(|e| matches!(e, Event::Rail(RailEvent::Ending { closure, .. }) if closure.code == 802))
    );
}

#[test]
fn rails_are_refused_by_rule() {
    let (mut network, provider, id) = streaming();
    let target = RailTarget::Sector { provider, sector: SectorNumber(1) };
    let terms = |payee: u8, rate: u64, target| {
        let (payee, rate) = (Network::address(payee), Amount(rate));
        rail(RailCommand::Open { payee, rate, lockup_period: 10, lockup_fixed: Amount::ZERO, target })
    };
    let mut refused = |n: u8, command| network.rejection(n, command);
    assert!(matches!(refused(CLIENT, terms(STRANGER, 1, target)), Rejection::NotOwner { .. }));
    assert!(matches!(refused(CLIENT, terms(PROVIDER, 0, target)), Rejection::ZeroAmount { .. }));
    let other = RailTarget::Sector { provider, sector: SectorNumber(2) };
    assert!(matches!(refused(CLIENT, terms(PROVIDER, 1, other)), Rejection::UnknownSector { .. }));
    let deal = RailTarget::Deal(DealId(1));
    assert!(matches!(refused(CLIENT, terms(PROVIDER, 1, deal)), Rejection::UnknownDeal { .. }));
    let poor = refused(STRANGER, terms(PROVIDER, 1, target));
    assert!(matches!(poor, Rejection::Rail(RailRejection::NotFunded { .. })));
    let floor = refused(CLIENT, rail(RailCommand::Withdraw { amount: Amount(100_000) }));
    assert!(matches!(floor, Rejection::Rail(RailRejection::NotFunded { .. })), "lockup is a floor");
    let strange = refused(STRANGER, rail(RailCommand::Terminate { rail: id }));
    assert!(matches!(strange, Rejection::Rail(RailRejection::NotAllowed { .. })));
    network.command(PROVIDER, rail(RailCommand::Terminate { rail: id }));
    let most = network.state.params().economy.sector_rails_max;
    for _ in 1..most {
        network.command(CLIENT, terms(PROVIDER, 1, target));
    }
    assert!(matches!(network.rejection(CLIENT, terms(PROVIDER, 1, target)), Rejection::OutOfRange { .. }));
}

#[test]
fn proven_space_is_rewarded_and_rewards_vest() {
    let mut network = Network::new(params(), 4);
    network.command(4, Command::Bond { amount: Amount(5_000_000) });
    let provider = network.register(PROVIDER);
    network.seal(PROVIDER, provider, 1, &[]);
    let challenge = network.prove_next(PROVIDER, provider);
    let round = network.state.round_at(network.state.epoch());
    let counted = network.state.provider_rewards(provider).space;
    let activated = network.state.sector(provider, SectorNumber(1)).unwrap().proving().unwrap().activated_at;
    assert_eq!(counted, (round, challenge.since(activated) * ((8 << 20) / 2_048)));
    let nothing = network.rejection(STRANGER, Command::ClaimRewards { provider: None });
    assert!(matches!(nothing, Rejection::Claim(_)));
    network.advance_to(Epoch((round + 1) * ROUND));
    // The only prover of the round gets its whole space stream, a quarter of it at once.
    let emission = &network.state.params().economy.emission;
    let stream = emission.split(Amount(ROUND * emission.first_reward.0)).space;
    let before = balance(&network, PROVIDER);
    let not_owner = network.rejection(STRANGER, Command::ClaimRewards { provider: Some(provider) });
    assert!(matches!(not_owner, Rejection::NotOwner { .. }));
    let events = network.command(PROVIDER, Command::ClaimRewards { provider: Some(provider) });
    let [Event::Reward(RewardEvent::Rewarded { stream: RewardStream::Space, amount, free, .. })] = events[..] else {
        panic!("expected a reward: {events:?}")
    };
    assert_eq!((amount, free), (stream, part_of(stream, 2_500)));
    let fee = network.state.params().transaction_fee.0;
    assert_eq!(balance(&network, PROVIDER), before + free.0 - fee);
    let locked = network.state.vesting(&Network::address(PROVIDER)).locked();
    assert_eq!(locked.0, amount.0 - free.0);
    // Halfway through the line half is free.
    let start = (network.state.epoch().0 / 20 + 1) * 20;
    network.advance_to(Epoch(start + 199));
    let events = network.command(PROVIDER, Command::ClaimRewards { provider: None });
    let [Event::Reward(RewardEvent::Vested { amount: vested, .. })] = events[..] else { panic!("{events:?}") };
    assert_eq!(vested.0, locked.0 / 2);
    // The validator has been paid for every round, and what nobody earned will never be.
    let paid = |e: &&Event| matches!(e, Event::Reward(RewardEvent::Rewarded { stream: RewardStream::Validating, .. }));
    assert_eq!(network.events.iter().filter(paid).count() as u64, network.state.round_at(network.state.epoch()));
    network.advance_to(Epoch((params().economy.reward_rounds_kept + 3) * ROUND));
    assert!(network.state.emitted().1 > Amount::ZERO);
}

/// A network whose providers each serve one active deal; accounts 2 and so on own them.
fn serving(providers: u8, accounts: u8) -> (Network, Vec<ProviderId>) {
    serving_with(params(), providers, accounts)
}

pub(super) fn serving_with(params: LedgerParams, providers: u8, accounts: u8) -> (Network, Vec<ProviderId>) {
    let mut network = Network::new(params, accounts);
    let mut ids = Vec::new();
    for n in 0..providers {
        let owner = PROVIDER + n;
        let provider = network.register(owner);
        let mut terms = order_terms(network.state.params(), vec![piece(n, 1 << 20)], 100);
        terms.duration_epochs = 20_000;
        let order = network.order(CLIENT, terms);
        network.command(owner, Command::PlaceBid { provider, order, price_per_epoch: Amount(50) });
        let deals = network.deals_of_order(order);
        network.seal(owner, provider, 1, &deals);
        ids.push(provider);
    }
    (network, ids)
}

/// Lets a round be scored: every checker commits and reveals its levels. Starts and ends in the quiet phase.
fn vote(network: &mut Network, votes: &BTreeMap<u8, Vec<(ProviderId, u16)>>) {
    let round = network.state.round_at(network.state.epoch());
    let opinions = |levels: &Vec<(ProviderId, u16)>| Opinions {
        round,
        levels: levels.clone(),
        receipts_root: [7; 32],
        receipts: 0,
    };
    network.advance_to(Epoch((round + 1) * ROUND - 1));
    let chain = network.state.chain();
    let commit = |(n, levels): (&u8, &Vec<_>)| {
        let commitment = opinions(levels).commitment(chain, Network::address(*n), &SALT);
        network.transaction(*n, 0, Command::Check(CheckCommand::Commit { commitment }))
    };
    let commits: Vec<_> = votes.iter().map(commit).collect();
    assert!(network.block(&commits).receipts.iter().all(|receipt| receipt.outcome == Outcome::Applied));
    network.advance_to(Epoch((round + 1) * ROUND + 1));
    let reveal = |(n, levels): (&u8, &Vec<_>)| {
        let reveal = CheckCommand::Reveal { opinions: opinions(levels), salt: SALT };
        network.transaction(*n, 0, Command::Check(reveal))
    };
    let reveals: Vec<_> = votes.iter().map(reveal).collect();
    assert!(network.block(&reveals).receipts.iter().all(|receipt| receipt.outcome == Outcome::Applied));
    network.advance_to(Epoch((round + 1) * ROUND + ROUND - 2));
}

fn stake(network: &mut Network, n: u8, amount: u64) {
    network.command(n, Command::Check(CheckCommand::Stake { amount: Amount(amount) }));
}

/// Goes to the quiet phase of the next round, on which those who have stake now may vote.
fn next_round(network: &mut Network) {
    let round = network.state.round_at(network.state.epoch()) + 1;
    network.advance_to(Epoch(round * ROUND + 8));
}

/// Levels between 0.90 and 0.94 that honest checkers measure.
fn measured(round: usize, checker: usize) -> u16 {
    Fraction::of(900 + ((round * 7_919 + checker * 104_729) % 41) as u64, 1_000).to_u16()
}

/// Reputations of an honest provider and of the cartel's friend after each round: ten honest checkers, ten of a cartel
/// with `percent` of the stake that call the honest provider `slander` and the friend `praise`.
fn cartel(percent: u64, rounds: usize, slander: u16, praise: u16) -> Vec<(Fraction, Fraction)> {
    let (mut network, providers) = serving(2, 24);
    for n in 5..25u8 {
        let part = if n < 15 { percent } else { 100 - percent };
        stake(&mut network, n, part * 1_000_000);
    }
    next_round(&mut network);
    let mut history = Vec::new();
    for round in 0..rounds {
        let levels = |n: u8| match n < 15 {
            true => vec![(providers[0], slander), (providers[1], praise)],
            false => vec![(providers[0], measured(round, n.into())), (providers[1], 0)],
        };
        vote(&mut network, &(5..25u8).map(|n| (n, levels(n))).collect());
        history.push((network.state.reputation_of(providers[0]), network.state.reputation_of(providers[1])));
    }
    history
}

#[test]
fn through_commands_too_forty_nine_percent_cannot_and_fifty_one_can() {
    const ROUNDS: usize = 12;
    let honest = cartel(49, ROUNDS, Fraction::of(92, 100).to_u16(), 0);
    let slandered = cartel(49, ROUNDS, 0, u16::MAX);
    let spread = Fraction::of(940, 1_000).raw() - Fraction::of(899, 1_000).raw();
    let mut most = 0;
    for ((with, friend), (without, unpraised)) in slandered.iter().zip(&honest) {
        most = most.max(with.raw().abs_diff(without.raw()));
        assert_eq!(friend, unpraised, "praise of a minority is clipped away");
    }
    assert!(most <= spread);
    let taken = cartel(51, ROUNDS, 0, u16::MAX);
    let (last_honest, last_taken) = (honest[ROUNDS - 1], taken[ROUNDS - 1]);
    assert!(last_taken.0 < Fraction::of(2, 10) && last_taken.1 > Fraction::of(8, 10), "half of the stake is trusted");
    println!(
        "after {ROUNDS} rounds through commands: honest provider {} without slander, {} with 49 % of it (moved by at most \
         {}, bound {}), {} with 51 %; the friend {} and {}",
        last_honest.0,
        slandered[ROUNDS - 1].0,
        Fraction::from_raw(most).unwrap(),
        Fraction::from_raw(spread).unwrap(),
        last_taken.0,
        slandered[ROUNDS - 1].1,
        last_taken.1,
    );
}

#[test]
fn opinions_make_reputations_and_earn_both_sides() {
    let (mut network, providers) = serving(3, 8);
    let (good, bad, idle) = (providers[0], providers[1], providers[2]);
    assert_eq!(network.state.reputation_of(good), NEUTRAL_REPUTATION);
    stake(&mut network, 6, 20_000_000);
    stake(&mut network, 7, 20_000_000);
    next_round(&mut network);
    let says = vec![(good, u16::MAX), (bad, 0)];
    let round = network.state.round_at(network.state.epoch());
    vote(&mut network, &[(6, says.clone()), (7, says)].into());
    let score = *network.state.score_of(good).unwrap();
    assert_eq!((score.quality, score.round), (Fraction::ONE, round));
    assert!(score.reputation > NEUTRAL_REPUTATION && network.state.reputation_of(bad) < NEUTRAL_REPUTATION);
    assert_eq!(network.state.reputation_of(idle), NEUTRAL_REPUTATION, "of whom nobody knows anything");
    // The checkers have shared their stream, group by group.
    let paid = |n: u8| -> u64 {
        let to = Network::address(n);
        let of = |e: &Event| match e {
            Event::Reward(RewardEvent::Rewarded { to: who, stream: RewardStream::Checking, amount, .. })
                if *who == to =>
            {
                amount.0
            }
            _ => 0,
        };
        network.events.iter().map(of).sum()
    };
    let emission = &network.state.params().economy.emission;
    let stream = emission.split(Amount(ROUND * emission.first_reward.0)).checkers.0;
    assert_eq!(paid(6), paid(7));
    assert!(paid(6) + paid(7) <= stream && paid(6) + paid(7) > stream - 10, "{} of {stream}", paid(6) + paid(7));
    assert!(network.state.reward_round(round).unwrap().scored);

    // Paid volume of a round, times a good score, is matched: at most what the payment burnt.
    let duty = |network: &mut Network, owner, provider| network.prove_next(owner, provider);
    duty(&mut network, PROVIDER, good);
    let deal = network.state.deals_of(good).next().unwrap().0;
    let events = network.command(STRANGER, Command::Settle { deal });
    let [Event::DealSettled { paid: gross, .. }] = events[..] else { panic!("{events:?}") };
    let round = network.state.round_at(network.state.epoch());
    vote(&mut network, &[(6, vec![(good, u16::MAX)]), (7, vec![(good, u16::MAX)])].into());
    let claim = network.state.provider_rewards(good).service.expect("scored with volume");
    assert_eq!((claim.round, claim.volume), (round, gross));
    network.advance_to(Epoch(network.state.epoch().0 + 2));
    network.command(PROVIDER, Command::ClaimRewards { provider: Some(good) });
    let matched = network.events.iter().rev().find_map(|e| match e {
        Event::Reward(RewardEvent::Rewarded { stream: RewardStream::Service, amount, .. }) => Some(*amount),
        _ => None,
    });
    assert_eq!(matched, Some(part_of(gross, network.state.params().economy.emission.service_match_bp)));
}

#[test]
fn tasks_are_drawn_among_active_deals() {
    let (mut network, providers) = serving(2, 6);
    assert!(network.state.check_tasks(Network::address(6)).is_empty(), "no stake, no tasks");
    stake(&mut network, 6, 20_000_000);
    stake(&mut network, PROVIDER, 20_000_000);
    let round = network.state.round_at(network.state.epoch()) + 1;
    assert!(network.state.check_tasks(Network::address(6)).is_empty(), "nobody saw it when the round began");
    network.advance_to(Epoch(round * ROUND));
    let late = network.rejection(6, Command::Check(CheckCommand::Commit { commitment: Commitment([0; 32]) }));
    assert!(matches!(late, Rejection::Ballot(BallotRejection::CameLater { .. })), "{late:?}");
    let tasks = network.state.check_tasks(Network::address(6));
    assert_eq!(tasks.len(), network.state.params().economy.checks.slots() as usize);
    assert!(tasks.iter().all(|task| task.round == round && providers.contains(&task.provider)));
    let root = network.state.order(OrderId(1)).unwrap().terms.root;
    assert!(tasks.iter().all(|task| task.root == root));
    let own = network.state.check_tasks(Network::address(PROVIDER));
    assert!(own.iter().all(|task| task.provider == providers[1]));
    assert_ne!(own.len(), 0);
}

#[test]
fn silence_after_a_commitment_and_contradictions_cost_stake() {
    let (mut network, providers) = serving(1, 8);
    stake(&mut network, 6, 20_000_000);
    stake(&mut network, 7, 20_000_000);
    next_round(&mut network);
    next_round(&mut network);
    let round = network.state.round_at(network.state.epoch());
    let early = network.rejection(6, Command::Check(CheckCommand::Commit { commitment: Commitment([0; 32]) }));
    assert!(matches!(early, Rejection::Ballot(BallotRejection::WrongPhase { .. })), "{early:?}");
    let stranger =
        network.rejection(STRANGER, Command::Check(CheckCommand::Commit { commitment: Commitment([0; 32]) }));
    assert!(matches!(stranger, Rejection::Checker(CheckerRejection::UnknownChecker { .. })));
    network.advance_to(Epoch((round + 1) * ROUND - 1));
    network.command(6, Command::Check(CheckCommand::Commit { commitment: Commitment([0; 32]) }));
    network.advance_to(Epoch((round + 1) * ROUND + 4));
    assert_eq!(network.state.checker(&Network::address(6)).unwrap().stake, Amount(19_800_000), "one percent");
    assert_eq!(network.state.checker(&Network::address(7)).unwrap().stake, Amount(20_000_000), "silence alone is free");

    let task = |slot| scores::checks::CheckTask {
        round: round + 1,
        checker: Network::address(7),
        slot,
        provider: providers[0],
        root: TransactionId([5; 32]).cid(),
        point: 1,
        length: 1,
    };
    let sign = |slot, failure| -> SignedCheckReceipt {
        let receipt = CheckReceipt { task: task(slot), result: CheckResult::Failed(failure) };
        receipt.sign(network.state.chain(), &Network::key(7))
    };
    let (first, second) = (sign(1, CheckFailure::Stalled), sign(1, CheckFailure::WrongContent));
    let other = sign(2, CheckFailure::WrongContent);
    let report = |first: &SignedCheckReceipt, second: &SignedCheckReceipt| {
        let (first, second) = (Box::new(first.clone()), Box::new(second.clone()));
        Command::Check(CheckCommand::ReportContradiction { first, second })
    };
    network.command(7, Command::Check(CheckCommand::Unstake { amount: Amount(10_000_000) }));
    for (a, b) in [(&first, &first), (&first, &other)] {
        let nothing = network.rejection(STRANGER, report(a, b));
        assert!(matches!(nothing, Rejection::Checker(CheckerRejection::NoContradiction { .. })));
    }
    let (before, fee) = (balance(&network, STRANGER), network.state.params().transaction_fee.0);
    network.command(STRANGER, report(&first, &second));
    assert_eq!(balance(&network, STRANGER), before + 2_000_000 - fee, "what was leaving is lost too");
    assert!(network.state.checker(&Network::address(7)).is_none());
    assert!(matches!(network.rejection(STRANGER, report(&first, &second)), Rejection::Checker(_)), "once");
    network.advance_to(Epoch(network.state.epoch().0 + 40));
    assert_eq!(network.state.treasury().checker_stake, Amount(19_800_000));
}

#[test]
fn seats_go_to_the_larger_stake_and_stake_leaves_late() {
    let mut params = params();
    params.economy.checkers.checkers_max = 2;
    let mut network = Network::new(params, 5);
    let stake_of = |amount: u64| Command::Check(CheckCommand::Stake { amount: Amount(amount) });
    assert!(matches!(
        network.rejection(1, stake_of(9_999_999)),
        Rejection::Checker(CheckerRejection::StakeTooLow { .. })
    ));
    network.command(1, stake_of(10_000_000));
    network.command(2, stake_of(30_000_000));
    assert!(matches!(network.rejection(3, stake_of(10_000_000)), Rejection::Checker(CheckerRejection::NoSeat { .. })));
    network.command(3, stake_of(10_000_001));
    assert!(network.state.checker(&Network::address(1)).is_none());
    assert_eq!(network.state.treasury().checker_stake, Amount(50_000_001), "still locked");
    let too_much = Command::Check(CheckCommand::Unstake { amount: Amount(25_000_000) });
    assert!(matches!(network.rejection(2, too_much), Rejection::Checker(CheckerRejection::StakeTooLow { .. })));
    network.advance_to(Epoch(network.state.epoch().0 + 30));
    let fees = 2 * network.state.params().transaction_fee.0;
    assert_eq!(balance(&network, 1), FUNDS.0 - fees);
}
