//! Orders, bids, and the deals that come of them.
//!
//! Assignment, when the bid window ends, or the reveal window if there are sealed bids:
//!
//! 0. Close the bids that are still sealed; their deposits are burnt.
//! 1. Choose the winners ([`super::assignment`]).
//! 2. A winner gets one deal per piece. Its price is divided among them by padded size, rounded down, and what rounding
//!    leaves goes to the first; so the deals of a copy cost exactly the bid.
//! 3. What the deals do not need of the order's deposit goes back to the client, all other bids get their
//!    deposits back.

use cairn_protocol::{Amount, ProviderId, UnpaddedBytes};

use super::assignment::Ranking;
use super::providers::check_url;
use super::{Step, in_range};
use crate::close::{CloseReason, Closure};
use crate::event::Event;
use crate::ids::{Address, Commitment, DealId, OrderId, Salt};
use crate::order::{Bid, BidStatus, Deal, DealStatus, Order, OrderStatus, OrderTerms, Replaced, SealedBid};
use crate::queue::Due;
use crate::rejection::Rejection;
use crate::state::State;
use crate::treasury::Pot;

impl State {
    /// What an order with these terms locks; the one home of the rules that terms must obey.
    pub(crate) fn order_deposit(&self, terms: &OrderTerms) -> Result<Amount, Rejection> {
        self.check_terms(terms)?;
        let copy = terms.price_per_epoch_max.checked_mul(terms.duration_epochs);
        copy.and_then(|copy| copy.checked_mul(u64::from(terms.copies)))
            .ok_or_else(|| Rejection::Overflow { what: "price cap x duration x copies".to_owned() })
    }

    fn check_terms(&self, terms: &OrderTerms) -> Result<(), Rejection> {
        let params = &self.meta.params;
        in_range("duration_epochs", terms.duration_epochs, params.deal_epochs_min, params.deal_epochs_max)?;
        in_range("copies", u64::from(terms.copies), 1, u64::from(params.copies_max))?;
        in_range("number of pieces", terms.pieces.len() as u64, 1, u64::from(params.order_pieces_max))?;
        check_url("transfer_url", &terms.transfer_url)?;
        terms.requirements.check()?;
        for (index, piece) in terms.pieces.iter().enumerate() {
            let least = UnpaddedBytes::piece_for(piece.payload_bytes).map(UnpaddedBytes::to_padded);
            if least != Some(piece.piece.size) {
                let (size, payload_bytes) = (piece.piece.size.0, piece.payload_bytes);
                return Err(Rejection::BadPiece { index: index as u32, size, payload_bytes });
            }
        }
        Ok(())
    }
}

impl Step<'_> {
    pub(super) fn place_order(&mut self, terms: &OrderTerms) -> Result<(), Rejection> {
        let deposit = self.state.order_deposit(terms)?;
        self.state.lock(self.sender, Pot::Escrow, deposit)?;
        self.insert_order(self.sender, terms.clone(), deposit, None);
        Ok(())
    }

    /// Opens an order whose deposit is in escrow.
    fn insert_order(
        &mut self,
        client: Address,
        terms: OrderTerms,
        deposit: Amount,
        replaces: Option<Replaced>,
    ) -> OrderId {
        let order = OrderId(self.state.meta.next_order);
        self.state.meta.next_order += 1;
        let bids_close_at = self.later(self.now(), self.state.meta.params.bid_window);
        let record = Order {
            client,
            holders: if replaces.is_none() { vec![Vec::new(); terms.pieces.len()] } else { Vec::new() },
            terms,
            deposit,
            replaces,
            replacing: 0,
            placed_at: self.now(),
            bids_close_at,
            bids: 0,
            sealed_bids: 0,
            reveals_close_at: self.later(bids_close_at, self.state.meta.params.reveal_window),
            status: OrderStatus::Open,
        };
        self.state.orders.insert(order, record);
        self.state.schedule(bids_close_at, Due::BidWindowClose(order));
        self.emit(Event::OrderPlaced { order, client, deposit, bids_close_at });
        order
    }

    /// Orders a dropped deal again, out of what its escrow still holds; returns how much of that it takes. The deal is
    /// as it was before it closed.
    pub(super) fn replace_deal(&mut self, id: DealId, deal: &Deal, reason: CloseReason) -> Amount {
        let params = &self.state.meta.params;
        let duration_epochs = match (reason, &deal.status) {
            (CloseReason::NotActivated, _) => deal.duration_epochs,
            (CloseReason::SectorTerminated, DealStatus::Active { end, .. }) => end.since(self.now()),
            _ => return Amount::ZERO,
        };
        if duration_epochs < params.deal_epochs_min || deal.round >= params.replacements_max {
            return Amount::ZERO;
        }
        let deposit = deal.rate.checked_mul(duration_epochs).filter(|deposit| *deposit <= deal.escrow);
        let deposit = deposit.expect("escrow covers the epochs that are not settled");
        let first = self.state.order(deal.group).expect("an order outlives its deals");
        let terms = OrderTerms {
            root: first.terms.root,
            pieces: vec![deal.piece],
            duration_epochs,
            price_per_epoch_max: deal.rate,
            copies: 1,
            transfer_url: first.terms.transfer_url.clone(),
            requirements: first.terms.requirements.clone(),
        };
        let Deal { group, piece_index, round, provider: dropped_by, client, .. } = *deal;
        let replaced = Replaced { deal: id, dropped_by, group, piece_index, round: round + 1 };
        self.state.orders.update(&group, |first| first.replacing += 1);
        let order = self.insert_order(client, terms, deposit, Some(replaced));
        self.emit(Event::DealReplaced { deal: id, order });
        deposit
    }

    /// The provider holds the copy no more.
    pub(super) fn drop_copy(&mut self, deal: &Deal) {
        let provider = deal.provider;
        let release = |first: &mut Order| first.holders[deal.piece_index as usize].retain(|held| *held != provider);
        self.state.orders.update(&deal.group, release).expect("an order outlives its deals");
        self.forget_when_unneeded(deal.group);
    }

    /// A replacement order is not open any more.
    fn end_replacing(&mut self, replaced: Option<Replaced>) {
        if let Some(Replaced { group, .. }) = replaced {
            let count = |first: &mut Order| first.replacing = first.replacing.checked_sub(1).expect("counted");
            self.state.orders.update(&group, count).expect("an order outlives its replacements");
            self.forget_when_unneeded(group);
        }
    }

    fn forget_when_unneeded(&mut self, order: OrderId) {
        if self.state.order(order).is_some_and(|record| !record.is_needed()) {
            self.state.schedule(self.retained_until(), Due::ForgetOrder(order));
        }
    }

    /// The order, if it takes bids.
    fn open_order(&self, order: OrderId) -> Result<Order, Rejection> {
        let found = self.state.order(order).ok_or(Rejection::UnknownOrder { order })?;
        if found.status != OrderStatus::Open || self.now() >= found.bids_close_at {
            return Err(Rejection::OrderNotOpen { order });
        }
        Ok(found.clone())
    }

    pub(super) fn cancel_order(&mut self, order: OrderId) -> Result<(), Rejection> {
        let record = self.open_order(order)?;
        if record.client != self.sender {
            return Err(Rejection::NotClient { order, client: record.client });
        }
        let bidders: Vec<ProviderId> = self.state.bids_on(order).map(|(provider, _)| provider).collect();
        for provider in bidders {
            self.close_bid(order, provider, CloseReason::OrderCancelled, false);
        }
        self.close_order(order, record, CloseReason::CancelledByClient);
        Ok(())
    }

    fn close_order(&mut self, order: OrderId, mut record: Order, reason: CloseReason) {
        let refunded = std::mem::take(&mut record.deposit);
        self.state.release(Pot::Escrow, record.client, refunded);
        let closure = Closure::new(reason, self.now());
        record.status = OrderStatus::Closed(closure.clone());
        let replaces = record.replaces;
        self.state.orders.insert(order, record);
        self.end_replacing(replaces);
        self.state.schedule(self.retained_until(), Due::ForgetOrder(order));
        self.emit(Event::OrderClosed { order, refunded, closure });
    }

    pub(super) fn place_bid(
        &mut self,
        provider: ProviderId,
        order: OrderId,
        price_per_epoch: Amount,
    ) -> Result<(), Rejection> {
        let record = self.biddable_order(provider, order)?;
        check_price(&record, price_per_epoch)?;
        self.take_bid(provider, order, record, price_per_epoch, BidStatus::Open)?;
        self.emit(Event::BidPlaced { order, provider, price_per_epoch });
        Ok(())
    }

    pub(super) fn commit_bid(
        &mut self,
        provider: ProviderId,
        order: OrderId,
        commitment: Commitment,
    ) -> Result<(), Rejection> {
        let mut record = self.biddable_order(provider, order)?;
        let reveal_until = record.reveals_close_at;
        if record.sealed_bids == 0 {
            self.state.schedule(reveal_until, Due::RevealWindowClose(order));
        }
        record.sealed_bids += 1;
        self.take_bid(provider, order, record, Amount::ZERO, BidStatus::Sealed { commitment })?;
        self.emit(Event::BidSealed { order, provider, commitment, reveal_until });
        Ok(())
    }

    pub(super) fn reveal_bid(
        &mut self,
        provider: ProviderId,
        order: OrderId,
        price_per_epoch: Amount,
        salt: &Salt,
    ) -> Result<(), Rejection> {
        self.owned_provider(provider)?;
        let record = self.state.order(order).ok_or(Rejection::UnknownOrder { order })?;
        let nothing_sealed = Rejection::NothingSealed { order, provider };
        let bid = self.state.bid(order, provider).ok_or_else(|| nothing_sealed.clone())?;
        let BidStatus::Sealed { commitment: expected } = bid.status else { return Err(nothing_sealed) };
        let (from, until, now) = (record.bids_close_at, record.reveals_close_at, self.now());
        if !(from..until).contains(&now) {
            return Err(Rejection::NotRevealing { order, from, until, now });
        }
        let shown = SealedBid { order, provider, price_per_epoch };
        let got = shown.commitment(self.state.meta.chain, self.sender, salt);
        if got != expected {
            return Err(Rejection::WrongReveal { expected, got });
        }
        check_price(record, price_per_epoch)?;
        let reveal = |bid: &mut Bid| (bid.price_per_epoch, bid.status) = (price_per_epoch, BidStatus::Open);
        self.state.bids.update(&(order, provider), reveal);
        self.emit(Event::BidRevealed { order, provider, price_per_epoch });
        Ok(())
    }

    /// The order, if it takes bids and the sender's provider may bid on it.
    fn biddable_order(&self, provider: ProviderId, order: OrderId) -> Result<Order, Rejection> {
        let bidder = self.committing_provider(provider)?;
        let record = self.open_order(order)?;
        self.check_bidder(order, &record, provider)?;
        if self.state.bid(order, provider).is_some() {
            return Err(Rejection::DuplicateBid { order, provider });
        }
        let limit = self.state.meta.params.order_bids_max;
        if record.bids >= limit {
            return Err(Rejection::TooManyBids { order, limit });
        }
        let sector_bytes = bidder.sector_size.bytes();
        let too_large = |(_, piece): &(usize, &crate::order::OrderPiece)| piece.piece.size.0 > sector_bytes;
        if let Some((index, piece)) = record.terms.pieces.iter().enumerate().find(too_large) {
            let (index, size) = (index as u32, piece.piece.size.0);
            return Err(Rejection::PieceTooLarge { index, size, provider, sector_bytes });
        }
        Ok(record)
    }

    /// Locks the deposit and records the bid.
    fn take_bid(
        &mut self,
        provider: ProviderId,
        order: OrderId,
        mut record: Order,
        price_per_epoch: Amount,
        status: BidStatus,
    ) -> Result<(), Rejection> {
        let deposit = self.state.meta.params.bid_deposit;
        self.state.lock(self.sender, Pot::BidDeposits, deposit)?;
        record.bids += 1;
        self.state.orders.insert(order, record);
        let bid = Bid { price_per_epoch, deposit, placed_at: self.now(), status };
        self.state.bids.insert((order, provider), bid);
        self.add_obligations(provider, 1);
        Ok(())
    }

    /// Ends a bid; its deposit returns to the owner, or is burnt.
    pub(super) fn close_bid(&mut self, order: OrderId, provider: ProviderId, reason: CloseReason, burn: bool) {
        let closure = Closure::new(reason, self.now());
        let status = BidStatus::Closed(closure.clone());
        let close = |bid: &mut Bid| {
            bid.status = status;
            std::mem::take(&mut bid.deposit)
        };
        let deposit = self.state.bids.update(&(order, provider), close).expect("a bid outlives its deals");
        if burn {
            self.state.burn(Pot::BidDeposits, deposit);
        } else {
            self.state.release(Pot::BidDeposits, self.owner_of(provider), deposit);
        }
        self.end_obligation(provider);
        let burnt = if burn { deposit } else { Amount::ZERO };
        self.emit(Event::BidClosed { order, provider, burnt, closure });
    }

    /// One deal fewer to wait for: the last one returns the bid deposit.
    pub(super) fn bid_deal_activated(&mut self, order: OrderId, provider: ProviderId) {
        let count = |bid: &mut Bid| match &mut bid.status {
            BidStatus::Won { deals_pending } => {
                *deals_pending -= 1;
                *deals_pending == 0
            }
            BidStatus::Sealed { .. } | BidStatus::Open | BidStatus::Closed(_) => false,
        };
        if self.state.bids.update(&(order, provider), count).expect("a bid outlives its deals") {
            self.close_bid(order, provider, CloseReason::DealsActive, false);
        }
    }

    /// Assigns an order whose bid window ended, unless sealed bids are to be revealed; returns the weight of the work.
    pub(super) fn close_bid_window(&mut self, order: OrderId) -> u64 {
        let waits = self.state.order(order).is_some_and(|record| record.sealed_bids > 0);
        if waits { 1 } else { self.assign_order(order) }
    }

    /// Assigns an order; returns the weight of the work.
    pub(super) fn assign_order(&mut self, order: OrderId) -> u64 {
        let Some(record) = self.state.order(order).filter(|o| o.status == OrderStatus::Open).cloned() else {
            return 1;
        };
        let unrevealed = self.close_unrevealed(order);
        let Ranking { winners, losers, unfit } = self.rank_bids(order, &record);
        let deals = winners.len() * record.terms.pieces.len();
        let weight = 1 + unrevealed + (deals + losers.len() + unfit.len()) as u64;
        if winners.is_empty() {
            self.close_order(order, record, CloseReason::NoBids);
        } else {
            self.match_order(order, record, &winners);
        }
        for (providers, reason) in [(losers, CloseReason::Outbid), (unfit, CloseReason::RequirementsNotMet)] {
            for provider in providers {
                self.close_bid(order, provider, reason, false);
            }
        }
        weight
    }

    /// Step 0; returns how many there were.
    fn close_unrevealed(&mut self, order: OrderId) -> u64 {
        let sealed = |(_, bid): &(ProviderId, &Bid)| matches!(bid.status, BidStatus::Sealed { .. });
        let late: Vec<ProviderId> = self.state.bids_on(order).filter(sealed).map(|(provider, _)| provider).collect();
        for &provider in &late {
            self.close_bid(order, provider, CloseReason::NotRevealed, true);
        }
        late.len() as u64
    }

    /// Steps 2 and 3, but for the other bids.
    fn match_order(&mut self, order: OrderId, mut record: Order, winners: &[(ProviderId, Amount)]) {
        let mut deals = Vec::new();
        let mut refunded = std::mem::take(&mut record.deposit);
        for &(provider, price_per_epoch) in winners {
            self.emit(Event::BidWon { order, provider, price_per_epoch });
            let copy_cost = price_per_epoch.checked_mul(record.terms.duration_epochs);
            refunded = copy_cost
                .and_then(|cost| refunded.checked_sub(cost))
                .expect("a bid is at most the cap that the deposit was made of");
            deals.extend(self.create_deals(order, &record, provider, price_per_epoch));
            let status = BidStatus::Won { deals_pending: record.terms.pieces.len() as u32 };
            self.state.bids.update(&(order, provider), |bid| bid.status = status);
        }
        self.state.release(Pot::Escrow, record.client, refunded);
        let copies_missing = record.terms.copies - winners.len() as u32;
        record.status = OrderStatus::Matched { deals: deals.clone(), copies_missing, epoch: self.now() };
        let replaces = record.replaces;
        self.state.orders.insert(order, record);
        for deal in &deals {
            let Deal { group, piece_index, provider, .. } = *self.state.deal(*deal).expect("made above");
            let hold = |first: &mut Order| first.holders[piece_index as usize].push(provider);
            self.state.orders.update(&group, hold).expect("an order outlives its deals");
        }
        self.end_replacing(replaces);
        // Bids wait for activation, so the order is kept for that long beyond the usual.
        let forget_at = self.later(self.retained_until(), self.state.meta.params.activation_window + 1);
        self.state.schedule(forget_at, Due::ForgetOrder(order));
        self.emit(Event::OrderMatched { order, deals, copies_missing, refunded });
    }

    fn create_deals(&mut self, order: OrderId, record: &Order, provider: ProviderId, price: Amount) -> Vec<DealId> {
        let activate_by = self.later(self.now(), self.state.meta.params.activation_window);
        let rates = divide_price(price, &record.terms);
        self.add_obligations(provider, rates.len() as u64);
        let mut ids = Vec::with_capacity(rates.len());
        let replaces = record.replaces;
        for (index, (piece, rate)) in record.terms.pieces.iter().zip(rates).enumerate() {
            let deal = DealId(self.state.meta.next_deal);
            self.state.meta.next_deal += 1;
            let duration_epochs = record.terms.duration_epochs;
            let escrow = rate.checked_mul(duration_epochs).expect("part of the order's deposit");
            let new = Deal {
                order,
                group: replaces.map_or(order, |replaced| replaced.group),
                piece_index: replaces.map_or(index as u32, |replaced| replaced.piece_index),
                round: replaces.map_or(0, |replaced| replaced.round),
                client: record.client,
                provider,
                piece: *piece,
                rate,
                duration_epochs,
                escrow,
                paid: Amount::ZERO,
                status: DealStatus::Assigned { activate_by },
            };
            self.state.deals.insert(deal, new);
            self.state.schedule(activate_by, Due::DealActivation(deal));
            self.emit(Event::DealAssigned { deal, order, provider, escrow, activate_by });
            ids.push(deal);
        }
        ids
    }

    /// Removes the bids of an order that is over, and the order unless deals need it; returns the weight of the work.
    pub(super) fn forget_order(&mut self, order: OrderId) -> u64 {
        let bidders: Vec<ProviderId> = self.state.bids_on(order).map(|(provider, _)| provider).collect();
        for provider in &bidders {
            self.state.bids.remove(&(order, *provider));
        }
        if self.state.order(order).is_some_and(|record| !record.is_needed()) {
            self.state.orders.remove(&order);
        }
        1 + bidders.len() as u64
    }
}

fn check_price(order: &Order, price_per_epoch: Amount) -> Result<(), Rejection> {
    let cap = order.terms.price_per_epoch_max;
    if price_per_epoch > cap { Err(Rejection::PriceAboveCap { cap, got: price_per_epoch }) } else { Ok(()) }
}

/// The price of a copy, divided among its pieces by padded size; the sum is exactly the price.
fn divide_price(price: Amount, terms: &OrderTerms) -> Vec<Amount> {
    let total: u128 = terms.pieces.iter().map(|piece| u128::from(piece.piece.size.0)).sum();
    let share = |size: u64| (u128::from(price.0) * u128::from(size) / total) as u64;
    let mut rates: Vec<Amount> = terms.pieces.iter().map(|piece| Amount(share(piece.piece.size.0))).collect();
    let divided: u64 = rates.iter().map(|rate| rate.0).sum();
    rates[0].0 += price.0 - divided;
    rates
}
