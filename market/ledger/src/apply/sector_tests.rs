//! The life of proven sectors, as stories on a small network.

use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber};

use super::tests::{CLIENT, MIB, OTHER, STORER, balance, bid, deal_closure, hasty, network, story, with_active_deal};
use crate::close::CloseReason;
use crate::sector_rules::TERMINATION_WORK_MAX;
use crate::testing::{Network, order_terms, piece};
use crate::*;

fn terminate(provider: ProviderId, sectors: &[u64]) -> Command {
    let sectors = sectors.iter().map(|n| SectorNumber(*n)).collect();
    Command::Sector(SectorCommand::Terminate { provider, sectors })
}

fn extend(provider: ProviderId, sectors: &[u64], expiration: u64) -> Command {
    let sectors = sectors.iter().map(|n| SectorNumber(*n)).collect();
    Command::Sector(SectorCommand::Extend { provider, sectors, expiration: Epoch(expiration) })
}

fn update(update: SectorUpdate) -> Command {
    Command::Sector(SectorCommand::Update(update))
}

fn health(network: &Network, provider: ProviderId, number: u64) -> Health {
    network.state.sector(provider, SectorNumber(number)).unwrap().proving().unwrap().health
}

fn closure(network: &Network, provider: ProviderId, number: u64) -> (Amount, Closure) {
    let closed = network.events.iter().find_map(|event| match event {
        Event::SectorClosed { provider: p, sector, burnt, closure } if (*p, sector.0) == (provider, number) => {
            Some((*burnt, closure.clone()))
        }
        _ => None,
    });
    closed.expect("the sector is closed")
}

/// An empty sector, and `count` deals of 2 MiB that wait for its provider.
fn with_room(params: LedgerParams, count: u8) -> (Network, ProviderId, Vec<DealId>) {
    let mut network = Network::new(params, 4);
    let provider = network.register(STORER);
    network.seal(STORER, provider, 1, &[]);
    network.prove_next(STORER, provider);
    let pieces = (1..=count).map(|tag| piece(tag, 2 * MIB)).collect();
    let terms = order_terms(network.state.params(), pieces, 900);
    let order = network.order(CLIENT, terms);
    network.command(STORER, bid(provider, order, 900));
    let deals = network.deals_of_order(order);
    (network, provider, deals)
}

/// The next instance that is to be proven, its challenge drawn now.
fn next_duty(network: &mut Network, provider: ProviderId) -> PostDuty {
    loop {
        let duty = network.state.post_duties(provider).remove(0);
        network.advance_to(if duty.proven { duty.deadline.closes_at } else { duty.deadline.challenge_epoch });
        if !duty.proven {
            return duty;
        }
    }
}

#[test]
fn an_owner_ends_sectors_for_the_fee() {
    let (mut network, provider, deal) = with_active_deal(LedgerParams { deal_epochs_min: 480, ..story() });
    network.seal(STORER, provider, 2, &[]);
    network.prove_next(STORER, provider);
    network.command(OTHER, Command::Settle { deal });
    assert!(matches!(network.rejection(OTHER, terminate(provider, &[1])), Rejection::NotOwner { .. }));
    assert!(matches!(network.rejection(STORER, terminate(provider, &[2, 1])), Rejection::NotAscending { .. }));
    assert!(matches!(network.rejection(STORER, terminate(provider, &[1, 9])), Rejection::UnknownSector { .. }));
    assert!(network.state.sector(provider, SectorNumber(1)).unwrap().proving().is_some(), "all or nothing");

    let (client, storer) = (balance(&network, CLIENT), balance(&network, STORER));
    let (burnt, escrow) = (network.state.treasury().burnt.0, network.state.treasury().escrow.0);
    network.command(STORER, terminate(provider, &[1, 2]));
    let params = network.state.params().clone();
    // Young sectors: 1.05 fault fees each, which is more than 2 % of the deposit.
    let (fee, first) = (52_500, closure(&network, provider, 1));
    assert_eq!((first.0, first.1.code), (Amount(fee), 405));
    assert_eq!(network.state.treasury().burnt.0 - burnt, 2 * fee + params.transaction_fee.0);
    assert_eq!(balance(&network, STORER) - storer, 2 * (params.sector_deposit.0 - fee) - params.transaction_fee.0);
    assert_eq!(deal_closure(&network, deal).reason, CloseReason::SectorTerminated);
    assert_eq!(balance(&network, CLIENT) - client, escrow, "what is not earned is back");
    assert_eq!((network.state.partitions.len(), network.state.treasury().sector_deposits), (0, Amount::ZERO));
    assert!(matches!(network.rejection(STORER, terminate(provider, &[1])), Rejection::WrongHealth { .. }));
    // A place that was left is taken again, and proven.
    network.seal(STORER, provider, 3, &[]);
    network.prove_next(STORER, provider);
}

#[test]
fn the_fee_of_an_old_sector_is_its_share_and_a_poor_deposit_is_helped_by_the_collateral() {
    let sectors = SectorRules { termination_periods: 10, ..SectorRules::with_extensions_of(1) };
    let params = LedgerParams { sector_deposit: Amount(10_000_000), deal_epochs_min: 960, sectors, ..story() };
    let (mut network, provider, _) = with_active_deal(params);
    let activated_at = network.state.sector(provider, SectorNumber(1)).unwrap().proving().unwrap().activated_at;
    for _ in 0..5 {
        network.prove_next(STORER, provider);
        let closes_at = network.state.post_duties(provider)[0].deadline.closes_at;
        network.advance_to(closes_at);
    }
    network.command(STORER, terminate(provider, &[1]));
    let age = network.state.epoch().since(activated_at);
    assert_eq!(closure(&network, provider, 1).0, Amount((850_000u64 * age).div_ceil(10 * 96)));
    assert!((4 * 96..10 * 96).contains(&age));

    let params = LedgerParams { sector_deposit: Amount(1_000), ..story() };
    let (mut network, provider, _) = with_active_deal(params);
    let collateral = network.state.provider(provider).unwrap().collateral.0;
    network.command(STORER, terminate(provider, &[1]));
    assert_eq!(closure(&network, provider, 1).0, Amount(1_000), "all of the deposit");
    assert_eq!(collateral - network.state.provider(provider).unwrap().collateral.0, 52_500 - 1_000);
}

#[test]
fn a_challenged_sector_is_not_ended_and_the_work_of_one_command_is_bounded() {
    let mut network = network();
    let provider = network.register(STORER);
    network.seal(STORER, provider, 1, &[]);
    let duty = network.state.post_duties(provider).remove(0);
    network.advance_to(duty.deadline.challenge_epoch);
    assert!(matches!(network.rejection(STORER, terminate(provider, &[1])), Rejection::DeadlineLocked { .. }));
    network.prove_next(STORER, provider);

    // One command ends as many sectors and deals as a limit says, and a single sector always.
    let live = network.state.sector(provider, SectorNumber(1)).unwrap().clone();
    let numbers: Vec<u64> = (1..=TERMINATION_WORK_MAX + 1).collect();
    for &number in &numbers[1..] {
        let empty = Sector { deposit: Amount::ZERO, ..live.clone() };
        network.state.sectors.insert((provider, SectorNumber(number)), empty);
    }
    let place = live.proving().unwrap();
    let all = numbers.iter().map(|number| SectorNumber(*number)).collect();
    network.state.partitions.update(&(provider, place.deadline, place.partition), |members| members.sectors = all);
    network.state.providers.update(&provider, |p| p.obligations += TERMINATION_WORK_MAX);
    let refused = network.rejection(STORER, terminate(provider, &numbers));
    assert!(matches!(refused, Rejection::OutOfRange { got: 513, most: 512, .. }), "{refused}");
    network.command(STORER, terminate(provider, &numbers[1..]));
    network.command(STORER, terminate(provider, &[1]));
}

#[test]
fn sectors_are_prolonged_within_limits() {
    let params = LedgerParams {
        sectors: SectorRules::with_extensions_of(800),
        sector_epochs_max: 1_500,
        deal_epochs_min: 96,
        ..hasty()
    };
    let mut network = Network::new(params, 4);
    let provider = network.register(STORER);
    for number in [1, 2] {
        network.seal(STORER, provider, number, &[]);
    }
    let sector = |network: &Network, n| network.state.sector(provider, SectorNumber(n)).unwrap().clone();
    let old = sector(&network, 1).expiration.0;
    assert!(matches!(network.rejection(OTHER, extend(provider, &[1], old + 1)), Rejection::NotOwner { .. }));
    assert!(matches!(network.rejection(STORER, extend(provider, &[1], old)), Rejection::OutOfRange { .. }));
    let now = network.state.epoch().0;
    assert!(matches!(network.rejection(STORER, extend(provider, &[1], now + 900)), Rejection::OutOfRange { .. }));
    network.command(STORER, extend(provider, &[1, 2], now + 700));
    assert_eq!([1, 2].map(|n| sector(&network, n).expiration.0), [now + 700; 2]);

    // It lives past its old expiration, proven all the time.
    while network.state.epoch().0 < old + 200 {
        network.prove_next(STORER, provider);
        let closes_at = network.state.post_duties(provider)[0].deadline.closes_at;
        network.advance_to(closes_at);
    }
    assert_eq!(health(&network, provider, 1), Health::Active);
    // The whole life has a limit too.
    let last = sector(&network, 1).pre_committed_at.0 + 1_500;
    while network.state.epoch().0 + 800 <= last {
        if network.state.epoch().0 + 300 > sector(&network, 1).expiration.0 {
            let further = network.state.epoch().0 + 500;
            network.command(STORER, extend(provider, &[1, 2], further));
        }
        network.prove_next(STORER, provider);
        let closes_at = network.state.post_duties(provider)[0].deadline.closes_at;
        network.advance_to(closes_at);
    }
    assert!(matches!(network.rejection(STORER, extend(provider, &[1], last + 1)), Rejection::OutOfRange { .. }));
    network.command(STORER, extend(provider, &[1], last));

    // A faulty sector is not prolonged; neither is one that is to leave.
    let duty = next_duty(&mut network, provider);
    network.advance_to(duty.deadline.closes_at);
    assert!(matches!(health(&network, provider, 2), Health::Faulty { .. }));
    let further = sector(&network, 2).expiration.0 + 1;
    assert!(matches!(network.rejection(STORER, extend(provider, &[2], further)), Rejection::WrongHealth { .. }));
}

#[test]
fn a_sector_past_its_expiration_is_not_prolonged() {
    let params = LedgerParams { deal_epochs_min: 96, ..hasty() };
    let mut network = Network::new(params, 4);
    let provider = network.register(STORER);
    network.seal(STORER, provider, 1, &[]);
    let expiration = network.state.sector(provider, SectorNumber(1)).unwrap().expiration;
    loop {
        let duty = network.state.post_duties(provider).remove(0);
        if duty.deadline.closes_at > expiration {
            break;
        }
        network.prove_next(STORER, provider);
        network.advance_to(duty.deadline.closes_at);
    }
    network.advance_to(Epoch(expiration.0 - 1));
    let late = network.rejection(STORER, extend(provider, &[1], expiration.0 + 500));
    assert!(matches!(late, Rejection::Sector(SectorRejection::Expired { .. })), "{late}");
}

#[test]
fn skipped_sectors_become_faulty_and_the_others_are_proven() {
    let (mut network, provider, deal) = with_active_deal(LedgerParams { deal_epochs_min: 960, ..story() });
    network.seal(STORER, provider, 2, &[]);
    let duty = network.state.post_duties(provider).remove(0);
    network.advance_to(duty.deadline.challenge_epoch);
    let skip = |network: &Network, skipped: &[u64]| {
        let skipped: Vec<SectorNumber> = skipped.iter().map(|n| SectorNumber(*n)).collect();
        let duty = network.state.post_duties(provider).remove(0);
        network.window_post_skipping(provider, &duty, &skipped)
    };
    let not_skippable = |rejection| matches!(rejection, Rejection::Sector(SectorRejection::NotSkippable { .. }));
    assert!(matches!(network.rejection(STORER, skip(&network.clone(), &[2, 1])), Rejection::NotAscending { .. }));
    assert!(not_skippable(network.rejection(STORER, skip(&network.clone(), &[7]))));
    assert!(matches!(network.rejection(STORER, skip(&network.clone(), &[1, 2])), Rejection::NothingToProve { .. }));
    // A proof of both is none of one.
    let Command::SubmitWindowPost { proof, deadline, partition, challenge_epoch, .. } = skip(&network, &[]) else {
        unreachable!()
    };
    let skipped = vec![SectorNumber(1)];
    let wrong = Command::SubmitWindowPost { provider, deadline, partition, challenge_epoch, proof, skipped };
    assert!(matches!(network.rejection(STORER, wrong), Rejection::Proof(_)));

    let burnt = network.state.treasury().burnt.0;
    let command = skip(&network, &[1]);
    network.command(STORER, command);
    assert_eq!(health(&network, provider, 2), Health::Active);
    assert!(matches!(health(&network, provider, 1), Health::Faulty { missed: 1, .. }));
    assert_eq!(
        network.state.treasury().burnt.0 - burnt,
        100,
        "the fee of the transaction alone: the first miss is free"
    );
    network.command(OTHER, Command::Settle { deal });
    assert_eq!(network.state.deal(deal).unwrap().paid, Amount::ZERO);
    // The close of the same deadline counts nothing twice.
    network.advance_to(duty.deadline.closes_at);
    assert!(matches!(health(&network, provider, 1), Health::Faulty { missed: 1, .. }));

    // Declared repaired, and skipped again: the second miss in a row costs the fee.
    network.command(STORER, Command::DeclareRecovery { provider, sectors: vec![SectorNumber(1)] });
    let duty = network.state.post_duties(provider).remove(0);
    assert_eq!(duty.sectors.len(), 2);
    network.advance_to(duty.deadline.challenge_epoch);
    let burnt = network.state.treasury().burnt.0;
    let command = skip(&network, &[1]);
    network.command(STORER, command);
    assert!(matches!(health(&network, provider, 1), Health::Faulty { missed: 2, .. }));
    assert_eq!(network.state.treasury().burnt.0 - burnt, 50_000 + 100);
}

#[test]
fn a_sector_that_is_skipped_too_often_is_terminated() {
    let mut network = Network::new(LedgerParams { fault_periods_max: 2, ..story() }, 4);
    let provider = network.register(STORER);
    for number in [1, 2] {
        network.seal(STORER, provider, number, &[]);
    }
    for round in 0..2 {
        let duty = network.state.post_duties(provider).remove(0);
        network.advance_to(duty.deadline.challenge_epoch);
        let command = network.window_post_skipping(provider, &duty, &[SectorNumber(1)]);
        network.command(STORER, command);
        network.advance_to(duty.deadline.closes_at);
        if round == 0 {
            network.command(STORER, Command::DeclareRecovery { provider, sectors: vec![SectorNumber(1)] });
        }
    }
    assert_eq!(closure(&network, provider, 1).1.reason, CloseReason::FaultyTooLong);
    assert_eq!(network.state.post_duties(provider)[0].sectors, [SectorNumber(2)]);
}

#[test]
fn deals_go_onto_a_full_sector_and_are_paid() {
    let (mut network, provider, deals) = with_room(story(), 3);
    let before = network.state.sector(provider, SectorNumber(1)).unwrap().clone();
    let good = network.update(provider, 1, &deals);
    let mut wrong = good.clone();
    wrong.proof[0] ^= 1;
    assert!(matches!(network.rejection(STORER, update(wrong)), Rejection::Proof(_)));
    network.command(STORER, update(good.clone()));
    let after = network.state.sector(provider, SectorNumber(1)).unwrap().clone();
    assert_eq!((after.comm_r, &after.deals), (good.comm_r, &deals));
    assert_ne!(after.comm_d, before.comm_d);
    let (place, old) = (after.proving().unwrap(), before.proving().unwrap());
    assert_eq!((place.deadline, place.partition, place.activated_at), (old.deadline, old.partition, old.activated_at));
    assert_eq!((after.deposit, after.expiration), (before.deposit, before.expiration));
    assert_eq!(network.state.treasury().bid_deposits, Amount::ZERO, "as after a prove-commit");

    // The next challenge is about the new replica.
    let duty = next_duty(&mut network, provider);
    let statement = network.state.window_post_statement(provider, duty.deadline.deadline, 0).unwrap();
    assert_eq!(statement.sectors, [(SectorNumber(1), good.comm_r)]);
    while deals.iter().any(|deal| !network.state.deal(*deal).unwrap().is_closed()) {
        network.prove_next(STORER, provider);
        let closes_at = network.state.post_duties(provider)[0].deadline.closes_at;
        network.advance_to(Epoch(closes_at.0 + 1));
    }
    let paid: u64 = deals.iter().map(|deal| network.state.deal(*deal).unwrap().paid.0).sum();
    assert_eq!(paid, 900 * 192);
    // What is updated once holds data, also when its deals are over.
    let again = network.rejection(STORER, update(good));
    assert!(matches!(again, Rejection::Sector(SectorRejection::HoldsData { .. })), "{again}");
}

#[test]
fn updates_are_refused_by_rule() {
    let (mut network, provider, deals) = with_room(story(), 2);
    let rival = network.register(OTHER);
    let good = network.update(provider, 1, &deals);
    let mut refuse = |account: u8, change: &dyn Fn(&mut SectorUpdate)| {
        let mut changed = good.clone();
        change(&mut changed);
        network.rejection(account, update(changed))
    };
    let entry = good.pieces[0];
    assert!(matches!(refuse(OTHER, &|_| ()), Rejection::NotOwner { .. }));
    assert!(matches!(refuse(OTHER, &|u| u.provider = rival), Rejection::UnknownSector { .. }));
    assert!(matches!(refuse(STORER, &|u| u.sector.0 = 7), Rejection::UnknownSector { .. }));
    assert!(matches!(refuse(STORER, &|u| u.pieces.clear()), Rejection::OutOfRange { .. }));
    let nobody = refuse(STORER, &|u| u.pieces.iter_mut().for_each(|entry| entry.deal = None));
    assert!(matches!(nobody, Rejection::Sector(SectorRejection::NoDeals { .. })));
    assert!(matches!(refuse(STORER, &|u| u.pieces[0].deal = Some(DealId(99))), Rejection::UnknownDeal { .. }));
    assert!(matches!(refuse(STORER, &|u| u.pieces.push(entry)), Rejection::ManifestMismatch { .. }));
    let other = refuse(STORER, &|u| u.pieces[0].piece = piece(9, MIB).piece);
    assert!(matches!(other, Rejection::ManifestMismatch { .. }));
    let large = ManifestPiece { piece: piece(9, 8 * MIB).piece, deal: None };
    assert!(matches!(refuse(STORER, &|u| u.pieces.push(large)), Rejection::Proof(_)), "does not fit");
    let more = ManifestPiece { piece: piece(9, MIB).piece, deal: None };
    assert!(matches!(refuse(STORER, &|u| u.pieces.push(more)), Rejection::Proof(_)), "another statement");
    assert!(matches!(refuse(STORER, &|u| u.comm_r.0[0] ^= 1), Rejection::Proof(_)));

    // While the sector is challenged its replica stays what it is.
    let duty = next_duty(&mut network, provider);
    assert!(matches!(network.rejection(STORER, update(good.clone())), Rejection::DeadlineLocked { .. }));
    network.advance_to(duty.deadline.closes_at);
    assert!(matches!(network.rejection(STORER, update(good.clone())), Rejection::WrongHealth { .. }), "it is faulty");
    // A sector with data takes none.
    network.seal(STORER, provider, 2, &deals);
    let full = SectorUpdate { sector: SectorNumber(2), ..good };
    assert!(matches!(network.rejection(STORER, update(full)), Rejection::Sector(SectorRejection::HoldsData { .. })));
}

#[test]
fn a_deal_that_would_outlive_the_sector_is_refused() {
    let params = LedgerParams { deal_epochs_min: 96, prove_commit_window: 20, beacon_window: 20_000, ..story() };
    let (mut network, provider, deals) = with_room(params, 1);
    let now = network.state.epoch().0;
    let expiration = network.state.sector(provider, SectorNumber(1)).unwrap().expiration.0;
    assert!(now + 192 > expiration, "the sector was made for shorter deals");
    let early = network.update(provider, 1, &deals);
    let refused = network.rejection(STORER, update(early.clone()));
    assert!(matches!(refused, Rejection::Sector(SectorRejection::DealTooLong { .. })), "{refused}");
    // One epoch short is too short; then it fits, and the deal runs to its end.
    let needed = |network: &Network, ahead: u64| network.state.epoch().0 + ahead + 192 + 12;
    let short = needed(&network, 1);
    network.command(STORER, extend(provider, &[1], short));
    let refused = network.rejection(STORER, update(early.clone()));
    assert!(matches!(refused, Rejection::Sector(SectorRejection::DealTooLong { .. })), "{refused}");
    let enough = needed(&network, 2);
    network.command(STORER, extend(provider, &[1], enough));
    network.command(STORER, update(early));
    while !network.state.deal(deals[0]).unwrap().is_closed() {
        network.prove_next(STORER, provider);
        let closes_at = network.state.post_duties(provider)[0].deadline.closes_at;
        network.advance_to(Epoch(closes_at.0 + 1));
    }
    assert_eq!(deal_closure(&network, deals[0]).reason, CloseReason::Completed);
}
