//! The rules as stories on a small network.

use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber, SectorSize};

use crate::testing::{HashVerifier, Network, order_terms, piece};
use crate::*;

pub(super) const CLIENT: u8 = 1;
pub(super) const STORER: u8 = 2;
pub(super) const OTHER: u8 = 3;
pub(super) const MIB: u64 = 1 << 20;

/// A period of 96 epochs, of which 12 answer a challenge: short enough to tell of many.
pub(super) fn story() -> LedgerParams {
    LedgerParams {
        epochs_per_deadline: 2,
        post_challenge_lead: 10,
        deal_epochs_min: 96,
        replacements_max: 0,
        ..LedgerParams::devnet()
    }
}

pub(super) fn network() -> Network {
    Network::new(story(), 4)
}

/// Numbers small enough that everything runs out within a few hundred blocks.
pub(super) fn hasty() -> LedgerParams {
    LedgerParams {
        prove_commit_window: 20,
        ticket_age_max: 50,
        beacon_window: 400,
        activation_window: 60,
        record_retention: 30,
        fault_periods_max: 3,
        ..story()
    }
}

pub(super) fn one_piece(network: &Network) -> OrderTerms {
    order_terms(network.state.params(), vec![piece(1, 4 * MIB)], 1_000)
}

pub(super) fn bid(provider: ProviderId, order: OrderId, price: u64) -> Command {
    Command::PlaceBid { provider, order, price_per_epoch: Amount(price) }
}

/// A network with one provider and one deal assigned to it, of account 2 and at 700 per epoch.
pub(super) fn with_deal(params: LedgerParams) -> (Network, ProviderId, DealId) {
    let mut network = Network::new(params, 4);
    let provider = network.register(STORER);
    let terms = one_piece(&network);
    let order = network.order(CLIENT, terms);
    network.command(STORER, bid(provider, order, 700));
    let deals = network.deals_of_order(order);
    (network, provider, deals[0])
}

/// The same, sealed and active in sector 1.
pub(super) fn with_active_deal(params: LedgerParams) -> (Network, ProviderId, DealId) {
    let (mut network, provider, deal) = with_deal(params);
    network.seal(STORER, provider, 1, &[deal]);
    (network, provider, deal)
}

pub(super) fn deal_closure(network: &Network, deal: DealId) -> Closure {
    match &network.state.deal(deal).expect("still kept").status {
        DealStatus::Closed(closure) => closure.clone(),
        other => panic!("expected a closed deal, got {other:?}"),
    }
}

pub(super) fn balance(network: &Network, n: u8) -> u64 {
    network.state.account(&Network::address(n)).balance.0
}

#[test]
fn a_dataset_is_ordered_sealed_proven_paid_and_let_go() {
    let (mut network, provider, deal) = with_active_deal(network().state.params().clone());
    let DealStatus::Active { sector, start, end, .. } = network.state.deal(deal).unwrap().status else { panic!() };
    assert_eq!((sector, end.0 - start.0), (SectorNumber(1), 192));
    // The bid's deposit is back, the sector's is locked, the whole price is in escrow.
    assert_eq!(network.state.treasury().bid_deposits, Amount::ZERO);
    assert_eq!(network.state.treasury().sector_deposits, network.state.params().sector_deposit);
    assert_eq!(network.state.treasury().escrow, Amount(700 * 192));

    let first = network.prove_next(STORER, provider);
    let (before, fee) = (balance(&network, STORER), network.state.params().transaction_fee.0);
    // Anybody may settle; what is proven is paid, what is open waits.
    network.command(OTHER, Command::Settle { deal });
    assert_eq!(balance(&network, STORER) - before, 700 * (first.0 - start.0));
    assert!(matches!(
        network.rejection(OTHER, Command::Settle { deal }),
        Rejection::NothingToSettle { settled_until, .. } if settled_until == first
    ));
    let second = network.prove_next(STORER, provider);
    assert_eq!(second.0 - first.0, network.state.params().proving_period());
    assert_eq!(network.state.sector(provider, sector).unwrap().proving().unwrap().posts_accepted, 2);

    // Nobody settles again: the ledger does, when the deal's last epoch is accounted.
    while !network.state.deal(deal).unwrap().is_closed() {
        network.prove_next(STORER, provider);
        let closes_at = network.state.post_duties(provider)[0].deadline.closes_at;
        network.advance_to(Epoch(closes_at.0 + 1));
    }
    let closure = deal_closure(&network, deal);
    assert_eq!((closure.code, closure.reason), (302, CloseReason::Completed));
    assert!(closure.epoch >= end && !closure.text.is_empty());
    let record = network.state.deal(deal).unwrap();
    assert_eq!((record.paid, record.escrow), (Amount(700 * 192), Amount::ZERO));
    // Commands of the provider: register, bid, pre-commit, prove-commit, and its window PoSts.
    let posts = network.state.sector(provider, sector).unwrap().proving().unwrap().posts_accepted;
    let locked = network.state.treasury().collateral.0 + network.state.params().sector_deposit.0;
    // Proven space is rewarded besides; some of that is free by now.
    let freed = |event: &Event| match event {
        Event::Reward(RewardEvent::Rewarded { free, .. }) => free.0,
        Event::Reward(RewardEvent::Vested { amount, .. }) => amount.0,
        _ => 0,
    };
    let rewards: u64 = network.events.iter().map(freed).sum();
    assert_eq!(balance(&network, STORER), 1_000_000_000_000 - locked - fee * (4 + posts) + 700 * 192 + rewards);
}

#[test]
fn a_sector_leaves_when_it_expires_and_records_are_forgotten() {
    let (mut network, provider, deal) = with_active_deal(hasty());
    let expiration = network.state.sector(provider, SectorNumber(1)).unwrap().expiration;
    while network.state.sector(provider, SectorNumber(1)).unwrap().proving().is_some() {
        network.prove_next(STORER, provider);
        let closes_at = network.state.post_duties(provider)[0].deadline.closes_at;
        network.advance_to(Epoch(closes_at.0 + 1));
    }
    assert!(network.state.epoch() >= expiration);
    let closes: Vec<_> = network.events.iter().filter(|e| matches!(e, Event::SectorClosed { .. })).collect();
    assert!(matches!(closes[..], [Event::SectorClosed { burnt: Amount(0), closure, .. }] if closure.code == 402));
    assert_eq!(network.state.treasury().sector_deposits, Amount::ZERO);
    assert_eq!(network.state.provider(provider).unwrap().obligations, 0);

    network.advance_to(Epoch(network.state.epoch().0 + 150));
    assert!(network.state.sector(provider, SectorNumber(1)).is_none() && network.state.deal(deal).is_none());
    assert_eq!((network.state.orders().count(), network.state.queue.len()), (0, 0));
    assert_eq!((network.state.bids.len(), network.state.partitions.len()), (0, 0));
    // With nothing open, all collateral may leave.
    let amount = network.state.provider(provider).unwrap().collateral;
    network.command(STORER, Command::WithdrawCollateral { provider, amount });
    assert_eq!(network.state.treasury().collateral, Amount::ZERO);
}

#[test]
fn assignment_takes_the_cheapest_of_different_owners() {
    let mut network = network();
    let providers = [network.register(2), network.register(2), network.register(3), network.register(4)];
    let mut terms = order_terms(network.state.params(), vec![piece(1, 4 * MIB), piece(2, MIB), piece(3, MIB)], 1_000);
    terms.copies = 3;
    let before = balance(&network, CLIENT);
    let duration = terms.duration_epochs;
    let order = network.order(CLIENT, terms);
    for (account, provider, price) in [(2, 0, 100), (2, 1, 50), (3, 2, 1_000), (4, 3, 77)] {
        network.command(account, bid(providers[provider], order, price));
    }
    let deals = network.deals_of_order(order);
    assert_eq!(deals.len(), 9, "three copies of three pieces");
    let winners: Vec<ProviderId> = deals.iter().step_by(3).map(|d| network.state.deal(*d).unwrap().provider).collect();
    assert_eq!(winners, [providers[1], providers[3], providers[2]], "cheapest first, one per owner");
    let rates: Vec<u64> = deals.iter().map(|d| network.state.deal(*d).unwrap().rate.0).collect();
    assert_eq!(rates, [34, 8, 8, 53, 12, 12, 668, 166, 166], "by size, what rounding leaves to the first");
    let fee = network.state.params().transaction_fee.0;
    assert_eq!(before - balance(&network, CLIENT), (50 + 77 + 1_000) * duration + fee, "the rest is back");
    let outbid = network.state.bid(order, providers[0]).unwrap();
    assert!(matches!(&outbid.status, BidStatus::Closed(closure) if closure.reason == CloseReason::Outbid));
}

#[test]
fn too_few_bids_fill_what_they_can() {
    let mut network = network();
    let provider = network.register(STORER);
    let mut terms = one_piece(&network);
    terms.copies = 2;
    let order = network.order(CLIENT, terms);
    network.command(STORER, bid(provider, order, 1_000));
    network.deals_of_order(order);
    let OrderStatus::Matched { copies_missing, .. } = network.state.order(order).unwrap().status else { panic!() };
    assert_eq!(copies_missing, 1);
    assert_eq!(network.state.treasury().escrow, Amount(1_000 * 192));
}

#[test]
fn an_order_that_nobody_fills_returns_its_deposit() {
    let mut network = network();
    let before = balance(&network, CLIENT);
    let terms = one_piece(&network);
    let order = network.order(CLIENT, terms);
    assert_eq!(network.state.treasury().escrow, Amount(1_000 * 192));
    network.advance_to(network.state.order(order).unwrap().bids_close_at);
    assert!(matches!(&network.state.order(order).unwrap().status,
        OrderStatus::Closed(closure) if closure.code == 101));
    assert_eq!(before - balance(&network, CLIENT), network.state.params().transaction_fee.0);
}

#[test]
fn a_client_cancels_before_assignment_only() {
    let mut network = network();
    let provider = network.register(STORER);
    let terms = one_piece(&network);
    let order = network.order(CLIENT, terms.clone());
    network.command(STORER, bid(provider, order, 10));
    let cancel = Command::CancelOrder { order };
    assert!(matches!(network.rejection(OTHER, cancel.clone()), Rejection::NotClient { .. }));
    network.command(CLIENT, cancel.clone());
    assert_eq!((network.state.treasury().escrow, network.state.treasury().bid_deposits), (Amount(0), Amount(0)));
    assert!(matches!(network.rejection(CLIENT, cancel), Rejection::OrderNotOpen { .. }));
    assert!(matches!(network.rejection(STORER, bid(provider, order, 10)), Rejection::OrderNotOpen { .. }));
    assert!(matches!(
        network.rejection(CLIENT, Command::CancelOrder { order: OrderId(99) }),
        Rejection::UnknownOrder { .. }
    ));
}

#[test]
fn orders_are_refused_by_rule() {
    let mut network = network();
    let good = one_piece(&network);
    let mut refuse = |change: fn(&mut OrderTerms)| {
        let mut terms = good.clone();
        change(&mut terms);
        network.rejection(CLIENT, Command::PlaceOrder(terms))
    };
    assert!(matches!(refuse(|t| t.duration_epochs = 1), Rejection::OutOfRange { .. }));
    assert!(matches!(refuse(|t| t.copies = 0), Rejection::OutOfRange { .. }));
    assert!(matches!(refuse(|t| t.copies = 9), Rejection::OutOfRange { .. }));
    assert!(matches!(refuse(|t| t.pieces.clear()), Rejection::OutOfRange { .. }));
    assert!(matches!(refuse(|t| t.transfer_url = "ftp://x".into()), Rejection::BadUrl { .. }));
    assert!(matches!(refuse(|t| t.transfer_url = format!("http://{}", "x".repeat(600))), Rejection::BadUrl { .. }));
    assert!(matches!(refuse(|t| t.pieces[0].payload_bytes *= 2), Rejection::BadPiece { index: 0, .. }));
    assert!(matches!(refuse(|t| t.pieces[0].piece.size.0 = 100), Rejection::BadPiece { .. }));
    assert!(matches!(refuse(|t| t.pieces[0].payload_bytes = u64::MAX), Rejection::BadPiece { .. }));
    assert!(matches!(refuse(|t| t.price_per_epoch_max = Amount(u64::MAX)), Rejection::Overflow { .. }));
    assert!(matches!(refuse(|t| t.price_per_epoch_max = Amount(u64::MAX / 200)), Rejection::InsufficientFunds { .. }));
}

#[test]
fn bids_are_refused_by_rule() {
    let mut network = network();
    let provider = network.register(STORER);
    let terms = order_terms(network.state.params(), vec![piece(1, MIB), piece(2, 16 * MIB)], 1_000);
    let large = network.order(CLIENT, terms);
    let terms = one_piece(&network);
    let order = network.order(CLIENT, terms);
    assert!(matches!(network.rejection(STORER, bid(provider, large, 1)), Rejection::PieceTooLarge { index: 1, .. }));
    assert!(matches!(network.rejection(STORER, bid(provider, order, 1_001)), Rejection::PriceAboveCap { .. }));
    assert!(matches!(network.rejection(OTHER, bid(provider, order, 1)), Rejection::NotOwner { .. }));
    let nobody = ProviderId(5);
    assert!(matches!(network.rejection(OTHER, bid(nobody, order, 1)), Rejection::UnknownProvider { .. }));
    network.command(STORER, bid(provider, order, 5));
    assert!(matches!(network.rejection(STORER, bid(provider, order, 4)), Rejection::DuplicateBid { .. }));
}

#[test]
fn the_number_of_bids_is_bounded() {
    let params = LedgerParams { order_bids_max: 1, ..story() };
    let mut network = Network::new(params, 4);
    let (first, second) = (network.register(2), network.register(3));
    let terms = one_piece(&network);
    let order = network.order(CLIENT, terms);
    network.command(2, bid(first, order, 5));
    assert!(matches!(network.rejection(3, bid(second, order, 4)), Rejection::TooManyBids { limit: 1, .. }));
}

#[test]
fn collateral_has_a_floor() {
    let mut network = network();
    let least = network.state.params().collateral_min;
    let register = |collateral, endpoint: &str| Command::RegisterProvider {
        sector_size: SectorSize::MIB8,
        collateral,
        endpoint: endpoint.to_owned(),
    };
    let low = network.rejection(STORER, register(Amount(least.0 - 1), "http://p/"));
    assert!(matches!(low, Rejection::CollateralTooLow { .. }));
    assert!(matches!(network.rejection(STORER, register(least, "p")), Rejection::BadUrl { .. }));
    let rich = network.rejection(STORER, register(Amount(u64::MAX), "http://p/"));
    assert!(matches!(rich, Rejection::InsufficientFunds { .. }));

    let provider = network.register(STORER);
    let terms = one_piece(&network);
    let order = network.order(CLIENT, terms);
    network.command(STORER, bid(provider, order, 5));
    let withdraw = |amount| Command::WithdrawCollateral { provider, amount: Amount(amount) };
    let nine = least.0 * 9;
    assert!(matches!(network.rejection(STORER, withdraw(nine + 1)), Rejection::CollateralTooLow { .. }));
    assert!(matches!(network.rejection(STORER, withdraw(nine * 9)), Rejection::InsufficientFunds { .. }));
    assert!(matches!(network.rejection(OTHER, withdraw(1)), Rejection::NotOwner { .. }));
    assert!(matches!(network.rejection(STORER, withdraw(0)), Rejection::ZeroAmount { .. }));
    network.command(STORER, withdraw(nine));
    network.command(OTHER, Command::AddCollateral { provider, amount: Amount(3) });
    assert_eq!(network.state.provider(provider).unwrap().collateral, Amount(least.0 + 3));
}

#[test]
fn pre_commits_are_refused_by_rule() {
    let (mut network, provider, deal) = with_deal(hasty());
    let rival = network.register(OTHER);
    let good = network.pre_commit(provider, 1, &[deal]);
    let mut refuse = |account: u8, change: &dyn Fn(&mut PreCommit)| {
        let mut pre_commit = good.clone();
        change(&mut pre_commit);
        network.rejection(account, Command::PreCommit(pre_commit))
    };
    assert!(matches!(refuse(OTHER, &|_| ()), Rejection::NotOwner { .. }));
    assert!(matches!(refuse(OTHER, &|p| p.provider = rival), Rejection::NotDealProvider { .. }));
    assert!(matches!(refuse(STORER, &|p| p.ticket_epoch = Epoch(1_000)), Rejection::BadTicketEpoch { .. }));
    assert!(matches!(refuse(STORER, &|p| p.ticket_epoch = Epoch(0)), Rejection::BadTicketEpoch { .. }));
    assert!(matches!(refuse(STORER, &|p| p.expiration.0 = 100), Rejection::OutOfRange { .. }));
    assert!(matches!(refuse(STORER, &|p| p.expiration.0 = u64::MAX), Rejection::OutOfRange { .. }));
    assert!(matches!(refuse(STORER, &|p| p.deals = vec![DealId(9)]), Rejection::UnknownDeal { .. }));
    assert!(matches!(refuse(STORER, &|p| p.deals = vec![deal, deal]), Rejection::NotAscending { .. }));
    assert!(matches!(refuse(STORER, &|p| p.deals = vec![deal; 65]), Rejection::OutOfRange { .. }));
    let good = network.pre_commit(provider, 1, &[deal]);
    network.command(STORER, Command::PreCommit(good.clone()));
    assert!(matches!(network.rejection(STORER, Command::PreCommit(good.clone())), Rejection::SectorExists { .. }));
    let again = PreCommit { sector: SectorNumber(2), ..good };
    assert!(matches!(network.rejection(STORER, Command::PreCommit(again)), Rejection::DealNotAssigned { .. }));
}

#[test]
fn prove_commits_are_refused_by_rule() {
    let (mut network, provider, deal) = with_deal(story());
    let unknown = Command::ProveCommit { provider, sector: SectorNumber(1), pieces: vec![], proof: vec![] };
    assert!(matches!(network.rejection(STORER, unknown), Rejection::UnknownSector { .. }));
    let pre_commit = network.pre_commit(provider, 1, &[deal]);
    network.command(STORER, Command::PreCommit(pre_commit));
    let manifest = network.manifest(&[deal]);
    let prove = |pieces: Vec<ManifestPiece>, proof: Vec<u8>| Command::ProveCommit {
        provider,
        sector: SectorNumber(1),
        pieces,
        proof,
    };
    assert!(matches!(network.rejection(STORER, prove(manifest.clone(), vec![])), Rejection::SeedNotReady { .. }));
    let seed_epoch = network.state.sector(provider, SectorNumber(1)).unwrap().seed_epoch;
    network.advance_to(seed_epoch);
    let refused = network.rejection(STORER, prove(vec![], vec![]));
    assert!(matches!(refused, Rejection::ManifestMismatch { .. }), "{refused}");
    let twice = [manifest.clone(), manifest.clone()].concat();
    assert!(matches!(network.rejection(STORER, prove(twice, vec![])), Rejection::ManifestMismatch { .. }));
    let mut other = manifest.clone();
    other[0].piece = piece(9, 4 * MIB).piece;
    assert!(matches!(network.rejection(STORER, prove(other, vec![])), Rejection::ManifestMismatch { .. }));
    let mut more = manifest.clone();
    more.push(ManifestPiece { piece: piece(9, MIB).piece, deal: None });
    assert!(matches!(network.rejection(STORER, prove(more.clone(), vec![])), Rejection::WrongCommD { .. }));
    more.extend(vec![more[1]; 8]);
    assert!(matches!(network.rejection(STORER, prove(more, vec![])), Rejection::Proof(_)), "does not fit the sector");
    assert!(matches!(network.rejection(STORER, prove(manifest.clone(), vec![7; 32])), Rejection::Proof(_)));
    let good = network.prove_commit(provider, 1, &[deal]);
    assert!(matches!(network.rejection(OTHER, good.clone()), Rejection::NotOwner { .. }));
    network.command(STORER, good.clone());
    assert!(matches!(network.rejection(STORER, good), Rejection::NotPreCommitted { .. }));
}

#[test]
fn a_pre_commit_that_is_not_proven_burns_its_deposit_and_frees_its_deals() {
    let (mut network, provider, deal) = with_deal(hasty());
    let pre_commit = network.pre_commit(provider, 1, &[deal]);
    network.command(STORER, Command::PreCommit(pre_commit));
    let burnt = network.state.treasury().burnt.0;
    network.advance_to(Epoch(network.state.epoch().0 + 25));
    let sector = network.state.sector(provider, SectorNumber(1)).unwrap();
    assert!(matches!(&sector.status, SectorStatus::Closed(closure) if closure.code == 401));
    assert_eq!(network.state.treasury().burnt.0 - burnt, network.state.params().sector_deposit.0);
    // The deal may go into another sector.
    network.seal(STORER, provider, 2, &[deal]);
    assert!(matches!(network.state.deal(deal).unwrap().status, DealStatus::Active { .. }));
}

#[test]
fn a_deal_that_is_not_activated_returns_to_the_client_and_burns_the_bid_deposit() {
    let (mut network, provider, deal) = with_deal(hasty());
    let before = balance(&network, CLIENT);
    network.advance_to(Epoch(network.state.epoch().0 + 60));
    assert_eq!(deal_closure(&network, deal).code, 301);
    assert_eq!(balance(&network, CLIENT) - before, 700 * 192);
    assert_eq!(network.state.treasury().bid_deposits, Amount::ZERO);
    assert_eq!(network.state.provider(provider).unwrap().obligations, 0);
    assert!(network.events.iter().any(|event| matches!(event,
        Event::BidClosed { burnt, closure, .. } if closure.code == 204 && !burnt.is_zero())));
}

#[test]
fn a_sector_activates_without_a_deal_that_ran_out_meanwhile() {
    let params = LedgerParams { activation_window: 12, ..hasty() };
    let (mut network, provider, deal) = with_deal(params);
    let manifest = network.manifest(&[deal]);
    let pre_commit = network.pre_commit(provider, 1, &[deal]);
    network.command(STORER, Command::PreCommit(pre_commit));
    network.advance_to(Epoch(network.state.epoch().0 + 15));
    assert_eq!(deal_closure(&network, deal).code, 301);
    let statement = network.state.porep_statement(provider, SectorNumber(1)).unwrap();
    let proof = HashVerifier::proof_of(&statement);
    network.command(STORER, Command::ProveCommit { provider, sector: SectorNumber(1), pieces: manifest, proof });
    assert!(network.state.sector(provider, SectorNumber(1)).unwrap().proving().is_some());
}

#[test]
fn a_missed_deadline_faults_costs_and_pays_nothing_until_recovered() {
    let params = LedgerParams { deal_epochs_min: 480, ..story() };
    let (mut network, provider, deal) = with_active_deal(params);
    let sector = SectorNumber(1);
    let DealStatus::Active { start, .. } = network.state.deal(deal).unwrap().status else { panic!() };
    let proven = network.prove_next(STORER, provider);
    let collateral = network.state.provider(provider).unwrap().collateral.0;
    let answered = network.state.post_duties(provider).remove(0).deadline;
    network.advance_to(answered.closes_at);
    let missed = network.state.post_duties(provider).remove(0).deadline;
    network.advance_to(missed.closes_at);
    let health = |network: &Network| network.state.sector(provider, sector).unwrap().proving().unwrap().health;
    assert!(matches!(health(&network), Health::Faulty { missed: 1, .. }));
    assert_eq!(network.state.provider(provider).unwrap().collateral.0, collateral, "the first miss is free");
    let again = network.state.post_duties(provider).remove(0).deadline;
    network.advance_to(again.closes_at);
    assert!(matches!(health(&network), Health::Faulty { missed: 2, .. }));
    assert_eq!(network.state.provider(provider).unwrap().collateral.0, collateral - 50_000);

    // A faulty sector is in no proof until it is declared recovering.
    let duty = network.state.post_duties(provider).remove(0);
    assert!(duty.sectors.is_empty());
    let declare = Command::DeclareRecovery { provider, sectors: vec![sector] };
    network.command(STORER, declare.clone());
    assert!(matches!(network.rejection(STORER, declare), Rejection::WrongHealth { .. }));
    let recovered = network.prove_next(STORER, provider);
    assert_eq!(health(&network), Health::Active);
    let after = network.prove_next(STORER, provider);
    network.command(OTHER, Command::Settle { deal });
    let paid = network.state.deal(deal).unwrap().paid.0;
    assert_eq!(paid, 700 * (proven.0 - start.0 + after.0 - recovered.0), "nothing from the miss to the recovery");
}

#[test]
fn declared_faults_let_the_rest_of_the_partition_be_proven() {
    let (mut network, provider, _) = with_active_deal(story());
    network.seal(STORER, provider, 2, &[]);
    let duty = network.state.post_duties(provider).remove(0);
    assert_eq!(duty.sectors, [SectorNumber(1), SectorNumber(2)], "a partition is filled before another is made");
    let faults = |sectors: &[u64]| Command::DeclareFaults {
        provider,
        sectors: sectors.iter().map(|n| SectorNumber(*n)).collect(),
    };
    assert!(matches!(network.rejection(STORER, faults(&[2, 1])), Rejection::NotAscending { .. }));
    assert!(matches!(network.rejection(STORER, faults(&[])), Rejection::OutOfRange { .. }));
    assert!(matches!(network.rejection(STORER, faults(&[7])), Rejection::UnknownSector { .. }));
    network.prove_next(STORER, provider);
    network.command(STORER, faults(&[2]));
    let duty = network.state.post_duties(provider).remove(0);
    network.advance_to(duty.deadline.closes_at);
    let challenged = network.state.post_duties(provider).remove(0);
    network.advance_to(challenged.deadline.challenge_epoch);
    assert!(matches!(network.rejection(STORER, faults(&[1])), Rejection::DeadlineLocked { .. }));
    network.prove_next(STORER, provider);
    network.advance_to(challenged.deadline.closes_at);
    let missed = |n| network.state.sector(provider, SectorNumber(n)).unwrap().proving().unwrap().health;
    assert_eq!(missed(1), Health::Active);
    assert!(matches!(missed(2), Health::Faulty { missed: 1, .. }));
}

#[test]
fn window_posts_are_refused_by_rule() {
    let (mut network, provider, _) = with_active_deal(story());
    let duty = network.state.post_duties(provider).remove(0);
    let post = |deadline, partition, epoch: Epoch, proof: Vec<u8>| Command::SubmitWindowPost {
        provider,
        deadline,
        partition,
        challenge_epoch: epoch,
        proof,
        skipped: Vec::new(),
    };
    let (deadline, challenge) = (duty.deadline.deadline, duty.deadline.challenge_epoch);
    assert!(matches!(
        network.rejection(STORER, post((deadline + 1) % 48, 0, challenge, vec![])),
        Rejection::UnknownPartition { .. }
    ));
    assert!(matches!(network.rejection(STORER, post(99, 9, challenge, vec![])), Rejection::UnknownPartition { .. }));
    assert!(matches!(
        network.rejection(STORER, post(deadline, 0, Epoch(challenge.0 + 96), vec![])),
        Rejection::WrongChallenge { .. }
    ));
    network.advance_to(challenge);
    assert!(matches!(network.rejection(STORER, post(deadline, 0, challenge, vec![1])), Rejection::Proof(_)));
    let good = network.window_post(provider, &duty);
    assert!(matches!(network.rejection(OTHER, good.clone()), Rejection::NotOwner { .. }));
    network.command(STORER, good.clone());
    assert!(matches!(network.rejection(STORER, good.clone()), Rejection::AlreadyProven { .. }));
    network.advance_to(duty.deadline.closes_at);
    let late = network.rejection(STORER, good);
    assert!(matches!(late, Rejection::WrongChallenge { .. }), "{late}");
    let next = network.state.post_duties(provider).remove(0).deadline;
    let early = network.rejection(STORER, post(deadline, 0, next.challenge_epoch, vec![]));
    assert!(matches!(early, Rejection::DeadlineNotOpen { .. }), "{early}");
}

#[test]
fn a_sector_that_stays_faulty_is_terminated() {
    let (mut network, _, deal) = with_active_deal(hasty());
    let (client, burnt) = (balance(&network, CLIENT), network.state.treasury().burnt.0);
    let params = network.state.params().clone();
    network.advance_to(Epoch(network.state.epoch().0 + 3 * params.proving_period() + 12));
    assert!(network.events.iter().any(|event| matches!(event,
        Event::SectorClosed { burnt, closure, .. } if closure.code == 403 && *burnt == Amount(52_500))));
    let closed = network.events.iter().find_map(|event| match event {
        Event::DealClosed { deal: closed, closure, .. } if *closed == deal => Some(closure.code),
        _ => None,
    });
    // The deal lasts two periods, none of them proven: it ends by itself before its sector is terminated.
    assert_eq!(closed, Some(302));
    assert_eq!(balance(&network, CLIENT) - client, 700 * 192, "all escrow is back");
    // Three missed deadlines, the first free; then 1.05 fault fees, which is more than 8.5 % of 1,000,000 x 3 / 140.
    assert_eq!(network.state.treasury().burnt.0 - burnt, 2 * params.fault_fee.0 + 52_500);
    assert_eq!(network.state.treasury().sector_deposits, Amount::ZERO, "the rest of the deposit is back");
}

#[test]
fn a_sector_whose_fee_cannot_be_paid_is_terminated_with_its_deals() {
    let params = LedgerParams { fault_fee: Amount(60_000_000), fault_periods_max: 9, ..hasty() };
    let (mut network, provider, deal) = with_active_deal(params);
    network.advance_to(Epoch(network.state.epoch().0 + 316));
    assert_eq!(network.state.provider(provider).unwrap().collateral, Amount::ZERO);
    assert!(network.events.iter().any(|event| matches!(event,
        Event::SectorClosed { closure, .. } if closure.code == 404)));
    assert!(network.events.iter().any(|event| matches!(event,
        Event::DealClosed { deal: closed, closure, .. } if *closed == deal && [302, 303].contains(&closure.code))));
}

#[test]
fn admission_has_no_effect_and_failure_costs_nonce_and_fee() {
    let mut network = network();
    let transfer = |amount| Command::Transfer { to: Network::address(OTHER), amount: Amount(amount) };
    let root_after = |network: &Network| network.state.accounts.root();
    let before = root_after(&network);
    let mut forged = network.transaction(CLIENT, 0, transfer(5));
    forged.signature.0[1] ^= 1;
    let gap = network.transaction(CLIENT, 1, transfer(5));
    let mut elsewhere = network.transaction(CLIENT, 0, transfer(5)).transaction;
    elsewhere.chain = ChainId([1; 32]);
    let elsewhere = elsewhere.sign(&Network::key(CLIENT));
    let stranger = network.transaction(77, 0, transfer(5));
    let outcome = network.block(&[forged, gap, elsewhere, stranger]);
    let refused = |index: usize| match &outcome.receipts[index].outcome {
        Outcome::Refused(rejection) => rejection.clone(),
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(0), AdmissionRejection::BadSignature { .. }));
    assert!(matches!(refused(1), AdmissionRejection::WrongNonce { expected: 0, got: 1, .. }));
    assert!(matches!(refused(2), AdmissionRejection::WrongChain { .. }));
    assert!(matches!(refused(3), AdmissionRejection::UnknownSender { .. }));
    assert_eq!(root_after(&network), before);

    let balance_before = balance(&network, CLIENT);
    assert!(matches!(network.rejection(CLIENT, transfer(u64::MAX)), Rejection::InsufficientFunds { .. }));
    let account = network.state.account(&Network::address(CLIENT));
    assert_eq!((account.nonce, balance_before - account.balance.0), (1, 100));

    // One that leaves nothing for the next fee.
    let all = account.balance.0 - 100;
    let first = network.transaction(CLIENT, 0, transfer(all));
    let second = network.transaction(CLIENT, 1, transfer(1));
    let outcome = network.block(&[first, second]);
    assert_eq!(outcome.receipts[0].outcome, Outcome::Applied);
    assert!(matches!(&outcome.receipts[1].outcome, Outcome::Refused(AdmissionRejection::FeeUnpaid { .. })));
}

#[test]
fn blocks_that_cannot_follow_change_nothing() {
    let mut params = story();
    (params.block_transactions_max, params.transaction_bytes_max, params.block_bytes_max) = (2, 600, 1_000);
    let mut network = Network::new(params, 4);
    network.block(&[]);
    let root = network.state.root();
    let good = network.next_context();
    let mut apply = |context: BlockContext, transactions: &[SignedTransaction]| {
        network.state.apply_block(&context, transactions, &HashVerifier).unwrap_err()
    };
    let later = BlockContext { epoch: Epoch(3), ..good };
    assert!(matches!(apply(later, &[]), BlockRejection::WrongEpoch { .. }));
    assert!(matches!(apply(BlockContext { time_ms: 0, ..good }, &[]), BlockRejection::TimeBackwards { .. }));
    let long = |network: &Network, bytes: usize| {
        let endpoint = "x".repeat(bytes);
        let command = Command::RegisterProvider { sector_size: SectorSize::MIB8, collateral: Amount(1), endpoint };
        network.transaction(CLIENT, 0, command)
    };
    let fresh = Network::new(story(), 1);
    let three = vec![long(&fresh, 10); 3];
    assert!(matches!(apply(good, &three), BlockRejection::TooManyTransactions { limit: 2, got: 3 }));
    assert!(matches!(apply(good, &[long(&fresh, 900)]), BlockRejection::TooManyBytes { .. }));
    assert_eq!(network.state.root(), root);
    let outcome = network.block(&[long(&network, 500)]);
    assert!(matches!(&outcome.receipts[0].outcome, Outcome::Refused(AdmissionRejection::TooLarge { .. })));
}

#[test]
fn beacons_are_kept_for_their_window() {
    let mut network = Network::new(hasty(), 1);
    network.advance_to(Epoch(450));
    assert_eq!(network.state.beacons.len(), 400);
    assert!(network.state.beacon(Epoch(50)).is_none() && network.state.beacon(Epoch(51)).is_some());
    assert!(network.state.ticket(ProviderId(1_000), Epoch(50)).is_none());
}

#[test]
fn late_queue_work_has_the_effect_of_punctual_work() {
    // One entry per block: the queue falls behind by design, and everything still ends.
    let params = LedgerParams { queue_weight_per_block: 1, ..hasty() };
    let (mut network, provider, deal) = with_active_deal(params);
    for number in 2..6 {
        network.seal(STORER, provider, number, &[]);
    }
    for _ in 0..3 {
        let terms = one_piece(&network);
        network.order(CLIENT, terms);
    }
    network.advance_to(Epoch(network.state.epoch().0 + 600));
    assert!(network.state.deal(deal).is_none_or(|record| record.is_closed()));
    assert_eq!(network.state.open_orders().count(), 0);
    assert_eq!(network.state.treasury().escrow, Amount::ZERO);
}
