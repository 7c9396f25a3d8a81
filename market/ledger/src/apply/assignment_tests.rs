//! Requirements of orders, as stories on a small network.

use cairn_protocol::{Amount, Epoch, ProviderId};

use super::tests::{CLIENT, OTHER, STORER, balance, bid, hasty, network, one_piece, story};
use crate::close::CloseReason;
use crate::scores::Fraction;
use crate::testing::Network;
use crate::*;

const AUDITOR: u8 = 4;

fn set(provider: ProviderId, pairs: &[(&str, &str)]) -> Command {
    let attributes = Attributes::new(pairs.iter().copied());
    Command::Market(MarketCommand::SetAttributes { provider, attributes })
}

fn sign(provider: ProviderId, pairs: &[(&str, &str)]) -> Command {
    let attributes = Attributes::new(pairs.iter().copied());
    Command::Market(MarketCommand::SignAttributes { provider, attributes })
}

fn order(network: &mut Network, copies: u32, requirements: Requirements) -> OrderId {
    let terms = OrderTerms { copies, requirements, ..one_piece(network) };
    network.order(CLIENT, terms)
}

fn winners(network: &mut Network, order: OrderId) -> Vec<ProviderId> {
    let deals = network.deals_of_order(order);
    deals.iter().map(|deal| network.state.deal(*deal).unwrap().provider).collect()
}

fn closed_bid(network: &Network, order: OrderId, provider: ProviderId) -> CloseReason {
    match &network.state.bid(order, provider).unwrap().status {
        BidStatus::Closed(closure) => closure.reason,
        other => panic!("expected a closed bid, got {other:?}"),
    }
}

#[test]
fn owners_set_attributes_and_anyone_signs_them() {
    let mut network = network();
    let provider = network.register(STORER);
    let pairs = [("region", "eu"), ("disk", "nvme")];
    assert!(matches!(network.rejection(OTHER, set(provider, &pairs)), Rejection::NotOwner { .. }));
    let bad = network.rejection(STORER, set(provider, &[("Region", "eu")]));
    assert!(matches!(bad, Rejection::Market(MarketRejection::BadAttribute { .. })));
    network.command(STORER, set(provider, &pairs));
    assert_eq!(network.state.region_of(provider).as_deref(), Some("eu"));
    assert_eq!(network.state.attributes_of(provider).iter().collect::<Vec<_>>(), [("disk", "nvme"), ("region", "eu")]);

    let nobody = ProviderId(7);
    assert!(matches!(network.rejection(AUDITOR, sign(nobody, &pairs)), Rejection::UnknownProvider { .. }));
    let nothing = network.rejection(AUDITOR, sign(provider, &[]));
    assert!(matches!(nothing, Rejection::Market(MarketRejection::NothingSigned { .. })));
    let (deposit, fee) =
        (network.state.params().market.attestation_deposit.0, network.state.params().transaction_fee.0);
    let free = |network: &Network| network.state.account(&Network::address(AUDITOR)).balance.0;
    let before = free(&network);
    network.command(AUDITOR, sign(provider, &pairs[..1]));
    assert_eq!(before - free(&network), deposit + fee, "what is kept has a deposit");
    network.command(AUDITOR, sign(provider, &pairs));
    network.command(AUDITOR, sign(provider, &pairs[..1]));
    network.command(OTHER, sign(provider, &pairs));
    assert_eq!(network.state.treasury().attestations, Amount(2 * deposit), "one, however often it is signed anew");
    let signed: Vec<(Address, usize)> =
        network.state.attestations_of(provider).map(|(auditor, entry)| (auditor, entry.attributes.len())).collect();
    let mut expected = vec![(Network::address(AUDITOR), 1), (Network::address(OTHER), 2)];
    expected.sort();
    assert_eq!(signed, expected);
    network.command(AUDITOR, sign(provider, &[]));
    assert_eq!(before - free(&network), 4 * fee, "the deposit is back");
    let everything = Command::Transfer { to: Network::address(OTHER), amount: Amount(free(&network) - 2 * fee) };
    network.command(AUDITOR, everything);
    let poor = network.rejection(AUDITOR, sign(provider, &pairs));
    assert!(matches!(poor, Rejection::InsufficientFunds { .. }), "{poor}");
    network.command(OTHER, sign(provider, &[]));
    assert_eq!(network.state.treasury().attestations, Amount::ZERO);
    network.command(STORER, set(provider, &[]));
    assert!(network.state.attestations.is_empty() && network.state.attributes.is_empty(), "nothing is left behind");
}

#[test]
fn a_bidder_says_what_the_order_asks_for_and_auditors_vouch_for_it() {
    let mut network = Network::new(LedgerParams { bid_window: 40, ..story() }, 4);
    let provider = network.register(STORER);
    let [first, second, third] = [OTHER, AUDITOR, 9].map(Network::address);
    let lists = |mut list: Vec<Address>| {
        list.sort();
        list
    };
    let attributes = Attributes::new([("disk", "nvme")]);
    let plain = Requirements { attributes: attributes.clone(), ..Default::default() };
    let any = Requirements { signed_by_any: lists(vec![first, third]), ..plain.clone() };
    let all = Requirements { signed_by_all: lists(vec![first, second]), ..plain.clone() };
    let region = Requirements { regions: RegionRule::Required, signed_by_all: vec![first], ..Default::default() };
    let orders = [plain, any, all, region].map(|wanted| order(&mut network, 1, wanted));
    let refused = |network: &mut Network, index: usize| match network.rejection(STORER, bid(provider, orders[index], 5))
    {
        Rejection::Market(rejection) => rejection,
        other => panic!("expected a refused bidder, got {other}"),
    };
    assert!(matches!(refused(&mut network, 0), MarketRejection::AttributeMissing { got: None, .. }));
    network.command(STORER, set(provider, &[("disk", "tape"), ("region", "eu")]));
    assert!(matches!(refused(&mut network, 0), MarketRejection::AttributeMissing { got: Some(_), .. }));
    network.command(STORER, set(provider, &[("disk", "nvme"), ("region", "eu")]));
    network.command(STORER, bid(provider, orders[0], 5));

    network.command(OTHER, sign(provider, &[("disk", "tape")]));
    assert!(matches!(refused(&mut network, 1), MarketRejection::SignedByNone { .. }), "another value is signed");
    network.command(OTHER, sign(provider, &[("disk", "nvme")]));
    network.command(STORER, bid(provider, orders[1], 5));
    assert!(matches!(refused(&mut network, 2), MarketRejection::NotSigned { auditor, .. } if auditor == second));
    network.command(AUDITOR, sign(provider, &[("disk", "nvme")]));
    network.command(STORER, bid(provider, orders[2], 5));
    // A region that an order insists on must be signed too.
    assert!(matches!(refused(&mut network, 3), MarketRejection::NotSigned { auditor, .. } if auditor == first));
    network.command(OTHER, sign(provider, &[("region", "eu")]));
    network.command(STORER, bid(provider, orders[3], 5));
}

#[test]
fn requirements_are_refused_by_rule() {
    let mut network = network();
    let mut refuse = |requirements| {
        let terms = OrderTerms { requirements, ..one_piece(&network) };
        let quoted = network.state.quote_order(&Network::address(CLIENT), &terms).unwrap_err();
        let rejection = network.rejection(CLIENT, Command::PlaceOrder(terms));
        assert_eq!(quoted, rejection, "the quote says the same");
        rejection
    };
    let auditors = |count: u8| (1..=count).map(|n| Address([n; 32])).collect::<Vec<_>>();
    let attributes = Attributes::new([("disk", "nvme")]);
    let none = Requirements { signed_by_any: auditors(1), ..Default::default() };
    assert_eq!(refuse(none), Rejection::Market(MarketRejection::NothingToSign));
    let many = Requirements { signed_by_all: auditors(9), attributes: attributes.clone(), ..Default::default() };
    assert!(matches!(refuse(many), Rejection::OutOfRange { got: 9, .. }));
    let twice = vec![Address([1; 32]); 2];
    let unsorted = Requirements { signed_by_any: twice, attributes, ..Default::default() };
    assert!(matches!(refuse(unsorted), Rejection::NotAscending { .. }));
    let bad = Requirements { attributes: Attributes::new([("", "x")]), ..Default::default() };
    assert!(matches!(refuse(bad), Rejection::Market(MarketRejection::BadAttribute { .. })));
}

#[test]
fn copies_go_to_different_regions() {
    let mut network = Network::new(LedgerParams { bid_window: 40, ..story() }, 5);
    let providers = [network.register(2), network.register(3), network.register(4), network.register(5)];
    for (account, region) in [(2, "eu"), (3, "eu"), (4, "us")] {
        network.command(account, set(providers[account as usize - 2], &[("region", region)]));
    }
    let rules = [RegionRule::Declared, RegionRule::Required, RegionRule::Any];
    let placed = rules.map(|regions| order(&mut network, 3, Requirements { regions, ..Default::default() }));
    for (index, order) in placed.into_iter().enumerate() {
        for (account, price) in [(2, 50), (3, 60), (4, 70), (5, 80)] {
            let place = bid(providers[account as usize - 2], order, price);
            if (index, account) == (1, 5) {
                let nowhere = network.rejection(account, place);
                assert!(matches!(nowhere, Rejection::Market(MarketRejection::RegionMissing { .. })));
            } else {
                network.command(account, place);
            }
        }
    }
    let [p2, p3, p4, p5] = providers;
    assert_eq!(winners(&mut network, placed[0]), [p2, p4, p5], "one in eu; who names no region is not held to it");
    assert_eq!(winners(&mut network, placed[1]), [p2, p4], "one in eu, one in us, no third region");
    assert_eq!(winners(&mut network, placed[2]), [p2, p3, p4], "the cheapest");
    assert_eq!(closed_bid(&network, placed[0], p3), CloseReason::Outbid);
}

#[test]
fn reputation_is_a_floor_and_a_weight() {
    let mut network = network();
    let providers = [network.register(2), network.register(3), network.register(4)];
    network.state.set_reputation(providers[1], Fraction::ONE);
    network.state.set_reputation(providers[2], Fraction::of(1, 10));
    let half = Requirements { reputation_min: Fraction::of(1, 2), ..Default::default() };
    let placed = order(&mut network, 1, half);
    let low = network.rejection(4, bid(providers[2], placed, 1));
    assert!(matches!(low, Rejection::Market(MarketRejection::ReputationTooLow { .. })));
    // The newcomer counts half as dear again: 100 is as much as 150 with a full reputation.
    network.command(2, bid(providers[0], placed, 100));
    network.command(3, bid(providers[1], placed, 149));
    assert_eq!(winners(&mut network, placed), [providers[1]]);
    let deal = network.deals_of_order(placed)[0];
    assert_eq!(network.state.deal(deal).unwrap().rate, Amount(149), "what was bid is paid");
    let placed = order(&mut network, 1, Requirements::default());
    network.command(2, bid(providers[0], placed, 100));
    network.command(3, bid(providers[1], placed, 151));
    assert_eq!(winners(&mut network, placed), [providers[0]]);
}

#[test]
fn who_does_not_meet_the_requirements_any_more_loses_and_has_its_deposit_back() {
    let mut network = network();
    let (first, second) = (network.register(STORER), network.register(OTHER));
    let wanted = Requirements { attributes: Attributes::new([("disk", "nvme")]), ..Default::default() };
    for (account, provider) in [(STORER, first), (OTHER, second)] {
        network.command(account, set(provider, &[("disk", "nvme")]));
    }
    let placed = order(&mut network, 1, wanted.clone());
    network.command(STORER, bid(first, placed, 1));
    network.command(OTHER, bid(second, placed, 1_000));
    network.command(STORER, set(first, &[("disk", "tape")]));
    assert_eq!(winners(&mut network, placed), [second]);
    assert_eq!(closed_bid(&network, placed, first), CloseReason::RequirementsNotMet);
    // And when nobody is left, everything is back.
    let (before, locked) = (balance(&network, OTHER), network.state.treasury().bid_deposits);
    let placed = order(&mut network, 1, wanted);
    network.command(OTHER, bid(second, placed, 1_000));
    network.command(OTHER, set(second, &[]));
    network.advance_to(network.state.order(placed).unwrap().bids_close_at);
    assert!(matches!(&network.state.order(placed).unwrap().status, OrderStatus::Closed(c) if c.code == 101));
    assert_eq!(before - balance(&network, OTHER), 2 * network.state.params().transaction_fee.0);
    assert_eq!(
        (network.state.treasury().bid_deposits, network.state.provider(first).unwrap().obligations),
        (locked, 0)
    );
}

/// Two copies, both dropped; `regions` of the four providers.
fn both_dropped(regions: [&str; 4]) -> (Network, Vec<ProviderId>, Vec<OrderId>) {
    let params = LedgerParams { activation_window: 12, replacements_max: 1, ..hasty() };
    let mut network = Network::new(params, 5);
    let providers: Vec<ProviderId> = (2..6).map(|n| network.register(n)).collect();
    for (n, region) in (2..6).zip(regions) {
        network.command(n, set(providers[n as usize - 2], &[("region", region)]));
    }
    let first = order(&mut network, 2, Requirements::default());
    network.command(2, bid(providers[0], first, 700));
    network.command(3, bid(providers[1], first, 900));
    let deals = network.deals_of_order(first);
    assert_eq!(deals.len(), 2);
    let DealStatus::Assigned { activate_by } = network.state.deal(deals[0]).unwrap().status else { panic!() };
    network.advance_to(activate_by);
    let replacements = network.events.iter().filter_map(|event| match event {
        Event::DealReplaced { order, .. } => Some(*order),
        _ => None,
    });
    let replacements = replacements.collect();
    (network, providers, replacements)
}

/// A provider bids on the replacements of both copies. It wins the first; its other bid was once left open for ever.
#[test]
fn one_who_won_the_other_copy_meanwhile_has_its_deposit_back() {
    let (mut network, providers, orders) = both_dropped(["a", "b", "c", "d"]);
    for &order in &orders {
        network.command(4, bid(providers[2], order, 5));
    }
    network.advance_to(Epoch(network.state.order(orders[1]).unwrap().bids_close_at.0));
    assert!(matches!(network.state.order(orders[0]).unwrap().status, OrderStatus::Matched { .. }));
    assert!(matches!(&network.state.order(orders[1]).unwrap().status, OrderStatus::Closed(c) if c.code == 101));
    assert_eq!(closed_bid(&network, orders[1], providers[2]), CloseReason::RequirementsNotMet);
    assert_eq!(network.state.treasury().bid_deposits, network.state.params().bid_deposit, "that of the first");
}

#[test]
fn a_replacement_goes_to_a_region_without_a_copy() {
    let (mut network, providers, orders) = both_dropped(["a", "b", "c", "c"]);
    network.command(4, bid(providers[2], orders[0], 5));
    network.command(5, bid(providers[3], orders[1], 6));
    network.advance_to(Epoch(network.state.order(orders[1]).unwrap().bids_close_at.0));
    assert!(matches!(network.state.order(orders[0]).unwrap().status, OrderStatus::Matched { .. }));
    assert_eq!(closed_bid(&network, orders[1], providers[3]), CloseReason::RequirementsNotMet, "c has a copy by now");

    // One copy is stored in region a, the other is dropped: nobody else in a may take it, and the order asks the same.
    let params = LedgerParams { activation_window: 12, replacements_max: 1, ..hasty() };
    let mut network = Network::new(params, 5);
    let providers: Vec<ProviderId> = (2..6).map(|n| network.register(n)).collect();
    for (n, region) in (2..6).zip(["a", "b", "a", "b"]) {
        network.command(n, set(providers[n as usize - 2], &[("region", region)]));
    }
    let first = order(&mut network, 2, Requirements { regions: RegionRule::Required, ..Default::default() });
    network.command(2, bid(providers[0], first, 700));
    network.command(3, bid(providers[1], first, 900));
    let deals = network.deals_of_order(first);
    network.seal(2, providers[0], 1, &deals[..1]);
    let DealStatus::Assigned { activate_by } = network.state.deal(deals[1]).unwrap().status else { panic!() };
    network.advance_to(activate_by);
    let again = OrderId(first.0 + 1);
    assert_eq!(network.state.order(again).unwrap().terms.requirements.regions, RegionRule::Required);
    let taken = network.rejection(4, bid(providers[2], again, 5));
    assert!(
        matches!(taken, Rejection::Market(MarketRejection::RegionTaken { ref region, .. }) if region == "a"),
        "{taken}"
    );
    network.command(5, bid(providers[3], again, 5));
    assert_eq!(winners(&mut network, again), [providers[3]]);
}
