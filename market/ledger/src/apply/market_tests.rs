//! Sealed bids and replacement orders, as stories on a small network.

use cairn_protocol::{Amount, Epoch, ProviderId};

use super::tests::{CLIENT, OTHER, STORER, balance, bid, deal_closure, hasty, network, one_piece, with_deal};
use crate::testing::Network;
use crate::*;

const SALT: Salt = Salt([7; 32]);

fn sealed(provider: ProviderId, order: OrderId, price: u64) -> SealedBid {
    SealedBid { order, provider, price_per_epoch: Amount(price) }
}

fn commit(network: &Network, account: u8, bid: SealedBid) -> Command {
    let commitment = bid.commitment(network.state.chain(), Network::address(account), &SALT);
    Command::CommitBid { provider: bid.provider, order: bid.order, commitment }
}

fn reveal(bid: SealedBid) -> Command {
    let SealedBid { order, provider, price_per_epoch } = bid;
    Command::RevealBid { provider, order, price_per_epoch, salt: SALT }
}

#[test]
fn sealed_bids_are_revealed_after_the_window_and_the_cheapest_wins() {
    let mut network = network();
    let providers = [network.register(2), network.register(3), network.register(4)];
    let terms = one_piece(&network);
    let order = network.order(CLIENT, terms);
    let first = sealed(providers[0], order, 40);
    network.command(2, commit(&network, 2, first));
    network.command(3, bid(providers[1], order, 41));
    let silent = sealed(providers[2], order, 1);
    network.command(4, commit(&network, 4, silent));
    assert!(matches!(network.rejection(2, reveal(first)), Rejection::NotRevealing { .. }));
    let record = network.state.order(order).unwrap().clone();
    assert_eq!((record.bids, record.sealed_bids), (3, 2));
    assert!(network.state.bid(order, providers[0]).unwrap().price_per_epoch.is_zero(), "nobody sees the price");

    network.advance_to(record.bids_close_at);
    assert_eq!(network.state.order(order).unwrap().status, OrderStatus::Open, "it waits for the reveals");
    assert!(matches!(network.rejection(3, bid(providers[1], order, 5)), Rejection::OrderNotOpen { .. }));
    assert!(matches!(network.rejection(CLIENT, Command::CancelOrder { order }), Rejection::OrderNotOpen { .. }));
    let cheaper = SealedBid { price_per_epoch: Amount(39), ..first };
    assert!(matches!(network.rejection(2, reveal(cheaper)), Rejection::WrongReveal { .. }));
    assert!(matches!(network.rejection(3, reveal(first)), Rejection::NotOwner { .. }));
    network.command(2, reveal(first));
    assert!(matches!(network.rejection(2, reveal(first)), Rejection::NothingSealed { .. }));

    let burnt = network.state.treasury().burnt;
    network.advance_to(record.reveals_close_at);
    let deals = network.deals_of_order(order);
    assert_eq!(network.state.deal(deals[0]).unwrap().provider, providers[0]);
    assert_eq!(network.state.deal(deals[0]).unwrap().rate, Amount(40));
    let deposit = network.state.params().bid_deposit;
    assert_eq!(network.state.treasury().burnt, burnt.checked_add(deposit).unwrap(), "silence costs the deposit");
    let late = network.state.bid(order, providers[2]).unwrap();
    assert!(matches!(&late.status, BidStatus::Closed(c) if (c.code, c.reason) == (205, CloseReason::NotRevealed)));
    assert!(matches!(network.rejection(4, reveal(silent)), Rejection::NothingSealed { .. }));
}

#[test]
fn nobody_can_reveal_a_copied_commitment() {
    let mut network = network();
    let (first, second) = (network.register(2), network.register(3));
    let terms = one_piece(&network);
    let order = network.order(CLIENT, terms);
    let own = commit(&network, 2, sealed(first, order, 40));
    let Command::CommitBid { commitment, .. } = own else { unreachable!() };
    network.command(2, own);
    network.command(3, Command::CommitBid { provider: second, order, commitment });
    network.advance_to(network.state.order(order).unwrap().bids_close_at);
    network.command(2, reveal(sealed(first, order, 40)));
    assert!(matches!(network.rejection(3, reveal(sealed(second, order, 40))), Rejection::WrongReveal { .. }));
}

#[test]
fn an_order_whose_sealed_bids_stay_silent_returns_its_deposit() {
    let mut network = network();
    let provider = network.register(STORER);
    let terms = one_piece(&network);
    let order = network.order(CLIENT, terms.clone());
    let above = sealed(provider, order, terms.price_per_epoch_max.0 + 1);
    network.command(STORER, commit(&network, STORER, above));
    let again = commit(&network, STORER, above);
    assert!(matches!(network.rejection(STORER, again), Rejection::DuplicateBid { .. }));
    network.advance_to(network.state.order(order).unwrap().bids_close_at);
    assert!(matches!(network.rejection(STORER, reveal(above)), Rejection::PriceAboveCap { .. }));
    network.advance_to(network.state.order(order).unwrap().reveals_close_at);
    let closed = network.state.order(order).unwrap();
    assert!(matches!(&closed.status, OrderStatus::Closed(closure) if closure.reason == CloseReason::NoBids));
    assert_eq!((network.state.treasury().escrow, network.state.treasury().bid_deposits), (Amount(0), Amount(0)));
    assert_eq!(network.state.provider(provider).unwrap().obligations, 0);
}

#[test]
fn a_cancelled_order_returns_sealed_bids() {
    let mut network = network();
    let provider = network.register(STORER);
    let terms = one_piece(&network);
    let order = network.order(CLIENT, terms);
    network.command(STORER, commit(&network, STORER, sealed(provider, order, 5)));
    let before = balance(&network, STORER);
    network.command(CLIENT, Command::CancelOrder { order });
    assert_eq!(balance(&network, STORER), before + network.state.params().bid_deposit.0);
    network.advance_to(Epoch(network.state.epoch().0 + 100));
    assert!(network.state.treasury().bid_deposits.is_zero());
}

/// The replacement of a dropped deal, as the last event of its kind names it.
fn replacement_of(network: &Network, dropped: DealId) -> OrderId {
    let found = network.events.iter().rev().find_map(|event| match event {
        Event::DealReplaced { deal, order } if *deal == dropped => Some(*order),
        _ => None,
    });
    found.expect("the deal is replaced")
}

#[test]
fn a_dropped_deal_is_ordered_again_until_it_is_given_up() {
    let params = LedgerParams { activation_window: 12, replacements_max: 2, ..hasty() };
    let mut network = Network::new(params, 4);
    let providers = [network.register(2), network.register(3), network.register(4)];
    let before = balance(&network, CLIENT);
    let mut terms = one_piece(&network);
    terms.copies = 2;
    let first = network.order(CLIENT, terms);
    network.command(2, bid(providers[0], first, 700));
    network.command(3, bid(providers[1], first, 900));
    let deals = network.deals_of_order(first);
    // The second seals; the first never does.
    network.seal(3, providers[1], 1, &deals[1..]);
    let DealStatus::Assigned { activate_by } = network.state.deal(deals[0]).unwrap().status else { panic!() };
    network.advance_to(activate_by);
    let order = replacement_of(&network, deals[0]);
    let record = network.state.order(order).unwrap().clone();
    assert_eq!((record.deposit, record.terms.price_per_epoch_max), (Amount(700 * 192), Amount(700)));
    assert_eq!((record.client, record.terms.copies), (Network::address(CLIENT), 1));
    let Replaced { deal, dropped_by, group, piece_index, round } = record.replaces.unwrap();
    assert_eq!((deal, dropped_by, group, piece_index, round), (deals[0], providers[0], first, 0, 1));
    // Neither who dropped it nor who holds the other copy may take it.
    assert!(matches!(network.rejection(2, bid(providers[0], order, 5)), Rejection::HoldsCopy { .. }));
    assert!(matches!(network.rejection(3, bid(providers[1], order, 5)), Rejection::HoldsCopy { .. }));
    network.command(4, bid(providers[2], order, 600));
    let again = network.deals_of_order(order)[0];
    let replaced = network.state.deal(again).unwrap().clone();
    assert_eq!((replaced.group, replaced.round, replaced.rate), (first, 1, Amount(600)));
    assert_eq!(network.state.order(first).unwrap().holders, vec![vec![providers[1], providers[2]]]);

    // The new one fails too; in the second round nobody bids, and the money is back.
    let DealStatus::Assigned { activate_by } = replaced.status else { panic!() };
    network.advance_to(activate_by);
    let last = replacement_of(&network, again);
    network.advance_to(network.state.order(last).unwrap().bids_close_at);
    let closed = network.state.order(last).unwrap();
    assert!(matches!(&closed.status, OrderStatus::Closed(closure) if closure.reason == CloseReason::NoBids));
    let (fee, escrow) = (network.state.params().transaction_fee.0, network.state.treasury().escrow.0);
    assert_eq!(before - balance(&network, CLIENT), fee + 900 * 192, "the other copy alone is paid for");
    assert!(escrow <= 900 * 192 && network.state.order(first).unwrap().is_needed());
}

#[test]
fn a_terminated_sectors_deal_is_ordered_again_for_the_rest_of_its_time() {
    let params = LedgerParams { fault_fee: Amount(60_000_000), replacements_max: 1, ..hasty() };
    let mut network = Network::new(params, 4);
    let (provider, heir) = (network.register(STORER), network.register(OTHER));
    let mut terms = one_piece(&network);
    terms.duration_epochs = 960;
    let first = network.order(CLIENT, terms);
    network.command(STORER, bid(provider, first, 700));
    let deal = network.deals_of_order(first)[0];
    network.seal(STORER, provider, 1, &[deal]);
    let DealStatus::Active { end, .. } = network.state.deal(deal).unwrap().status else { panic!() };
    while !network.state.deal(deal).unwrap().is_closed() {
        network.block(&[]);
    }
    assert_eq!(deal_closure(&network, deal).reason, CloseReason::SectorTerminated);
    let order = replacement_of(&network, deal);
    let record = network.state.order(order).unwrap().clone();
    assert_eq!(record.terms.duration_epochs, end.since(network.state.epoch()));
    network.command(OTHER, bid(heir, order, 700));
    let again = network.deals_of_order(order)[0];
    network.seal(OTHER, heir, 1, &[again]);
    assert!(matches!(network.state.deal(again).unwrap().status, DealStatus::Active { .. }));
    assert_eq!(network.state.order(first).unwrap().holders, vec![vec![heir]]);
}

#[test]
fn a_client_may_cancel_a_replacement() {
    let params = LedgerParams { activation_window: 12, replacements_max: 1, ..hasty() };
    let (mut network, _, deal) = with_deal(params);
    let DealStatus::Assigned { activate_by } = network.state.deal(deal).unwrap().status else { panic!() };
    network.advance_to(activate_by);
    let order = replacement_of(&network, deal);
    network.command(CLIENT, Command::CancelOrder { order });
    assert_eq!(network.state.treasury().escrow, Amount::ZERO);
    network.advance_to(Epoch(network.state.epoch().0 + 100));
    assert_eq!((network.state.orders().count(), network.state.queue.len()), (0, 0), "the whole chain is forgotten");
}
