//! What deals cost, who gets them, and what they are paid for.

use std::collections::{BTreeMap, BTreeSet};

use cairn_ledger::{Address, BidStatus, CloseReason, DealId, Event, Order, OrderId, State};
use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber};

use super::Checker;
use crate::observation::Observation;

/// What a sector's proofs have shown, kept in the plainest way: spans of epochs.
#[derive(Default)]
pub(super) struct Shown {
    activated_at: u64,
    healthy: bool,
    spans: Vec<(u64, u64)>,
}

impl Shown {
    fn prove(&mut self, from: u64, until: u64) {
        match self.spans.last_mut() {
            Some((_, end)) if *end == from => *end = until,
            _ => self.spans.push((from, until)),
        }
    }

    /// Proven epochs in `from..until`.
    pub(super) fn epochs(&self, from: u64, until: u64) -> u64 {
        self.spans.iter().map(|(start, end)| (*end).min(until).saturating_sub((*start).max(from))).sum()
    }

    /// Takes note of what an event shows. What a sector has shown is kept after it left.
    pub(super) fn read(
        sectors: &mut BTreeMap<(ProviderId, SectorNumber), Self>,
        event: &Event,
        seen: &Observation,
    ) -> Result<(), String> {
        match event {
            Event::SectorActivated { provider, sector, .. } => {
                let shown = Self { activated_at: seen.now().0, healthy: true, spans: Vec::new() };
                sectors.insert((*provider, *sector), shown);
            }
            Event::SectorFaulted { provider, sector, .. } => {
                sectors.entry((*provider, *sector)).and_modify(|shown| shown.healthy = false);
            }
            Event::SectorRecovered { provider, sector } => {
                sectors.entry((*provider, *sector)).and_modify(|shown| shown.healthy = true);
            }
            Event::WindowPostAccepted { provider, challenge_epoch, sectors: proven, .. } => {
                let since = challenge_epoch.0.saturating_sub(seen.after.params().proving_period());
                for sector in proven {
                    let shown = sectors.get_mut(&(*provider, *sector)).ok_or("a proof of an unknown sector")?;
                    if shown.healthy {
                        shown.prove(since.max(shown.activated_at), challenge_epoch.0);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// See [`super::PROMISES`]. A proof at a challenge shows the period before it, unless the sector was faulty in it.
pub struct PayOnlyProven {
    sectors: BTreeMap<(ProviderId, SectorNumber), Shown>,
    deals: BTreeMap<DealId, (ProviderId, SectorNumber, Epoch)>,
}

impl PayOnlyProven {
    pub(super) fn new(_: &State) -> Self {
        Self { sectors: BTreeMap::new(), deals: BTreeMap::new() }
    }

    fn read(&mut self, event: &Event, seen: &Observation) -> Result<(), String> {
        Shown::read(&mut self.sectors, event, seen)?;
        match event {
            Event::DealActivated { deal, provider, sector, start, .. } => {
                self.deals.insert(*deal, (*provider, *sector, *start));
            }
            Event::DealSettled { deal, from, until, proven_epochs, paid } => {
                return self.settled(*deal, (*from, *until), (*proven_epochs, *paid), seen);
            }
            Event::DealClosed { deal, .. } => drop(self.deals.remove(deal)),
            _ => {}
        }
        Ok(())
    }

    fn settled(
        &mut self,
        deal: DealId,
        (from, until): (Epoch, Epoch),
        (epochs, paid): (u64, Amount),
        seen: &Observation,
    ) -> Result<(), String> {
        let (provider, sector, settled) = self.deals.get_mut(&deal).ok_or(format!("{deal} is paid and not active"))?;
        if *settled != from {
            return Err(format!("{deal} is paid from epoch {from}, it was paid until {settled}"));
        }
        *settled = until;
        let proven = self.sectors.get(&(*provider, *sector)).map_or(0, |shown| shown.epochs(from.0, until.0));
        let rate = seen.after.deal(deal).or(seen.before.deal(deal)).map_or(0, |record| record.rate.0);
        if (proven, u128::from(proven) * u128::from(rate)) == (epochs, u128::from(paid.0)) {
            return Ok(());
        }
        Err(format!("{deal} at {rate}: {proven} epochs of {from}..{until} are proven, {epochs} are paid with {paid}"))
    }
}

impl Checker for PayOnlyProven {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        seen.outcome.events.iter().try_for_each(|event| self.read(event, seen))
    }
}

/// See [`super::PROMISES`].
pub struct PricesKept;

impl PricesKept {
    pub(super) fn new(_: &State) -> Self {
        Self
    }

    fn matched(order: OrderId, deals: &[DealId], refunded: Amount, seen: &Observation) -> Result<(), String> {
        let (Some(record), Some(before)) = (seen.after.order(order), seen.before.order(order)) else {
            return Err(format!("{order} is matched and not there"));
        };
        let mut cost = 0;
        let (mut dearest_winner, mut cheapest_loser) = (Amount::ZERO, None);
        let mut reputation_best = cairn_ledger::scores::Fraction::ZERO;
        let mut owners = BTreeSet::new();
        let owner = |provider| seen.after.provider(provider).map(|record| record.owner);
        let taken = taken_owners(record, seen);
        for (provider, bid) in seen.after.bids_on(order) {
            match &bid.status {
                BidStatus::Won { .. } => {
                    cost += u128::from(bid.price_per_epoch.0) * u128::from(record.terms.duration_epochs);
                    dearest_winner = dearest_winner.max(bid.price_per_epoch);
                    let best = seen.after.reputation_of(provider).max(seen.before.reputation_of(provider));
                    reputation_best = reputation_best.max(best);
                    owners.insert(owner(provider));
                    let own = deals.iter().filter_map(|deal| seen.after.deal(*deal));
                    let rates: u128 = own.filter(|deal| deal.provider == provider).map(|deal| deal.rate).sum();
                    if rates != u128::from(bid.price_per_epoch.0) {
                        return Err(format!("{provider} bid {}, its deals cost {rates}", bid.price_per_epoch));
                    }
                }
                BidStatus::Closed(closure)
                    if closure.reason == CloseReason::Outbid
                        && cheapest_loser.is_none_or(|(price, _)| bid.price_per_epoch < price) =>
                {
                    cheapest_loser = Some((bid.price_per_epoch, provider));
                }
                _ => {}
            }
        }
        if let Some((price, loser)) = cheapest_loser
            && price < dearest_winner
            && !owners.contains(&owner(loser))
            && !taken.contains(&owner(loser))
            && seen.after.region_of(loser).or(seen.before.region_of(loser)).is_none()
            && seen.after.reputation_of(loser).min(seen.before.reputation_of(loser)) >= reputation_best
        {
            return Err(format!("{order}: {loser} bid {price} and lost to {dearest_winner}"));
        }
        let (locked, returned) = (u128::from(before.deposit.0), u128::from(refunded.0));
        match locked == cost + returned && dearest_winner <= record.terms.price_per_epoch_max {
            true => Ok(()),
            false => Err(format!("{order}: {locked} was locked, bids cost {cost}, {returned} returned")),
        }
    }
}

/// Owners that an order may not go to: holders of other copies, and who dropped this one.
fn taken_owners(record: &Order, seen: &Observation) -> BTreeSet<Option<Address>> {
    let Some(replaced) = record.replaces else { return BTreeSet::new() };
    let group = seen.before.order(replaced.group);
    let holders = group.and_then(|first| first.holders.get(replaced.piece_index as usize)).into_iter().flatten();
    let providers = holders.copied().chain([replaced.dropped_by]);
    providers.map(|provider| seen.before.provider(provider).map(|record| record.owner)).collect()
}

impl Checker for PricesKept {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        for event in &seen.outcome.events {
            if let Event::OrderMatched { order, deals, refunded, .. } = event {
                Self::matched(*order, deals, *refunded, seen)?;
            }
        }
        // What the ledger quotes for an order is what it locks.
        for (offer, receipt) in seen.receipts() {
            let Some(Event::OrderPlaced { deposit, client, .. }) = receipt.events.first() else { continue };
            if let cairn_ledger::Command::PlaceOrder(terms) = &offer.signed.transaction.command {
                let quoted = seen.before.quote_order(client, terms).map(|quote| quote.deposit);
                if quoted.as_ref() != Ok(deposit) {
                    return Err(format!("quoted {quoted:?}, locked {deposit}"));
                }
            }
        }
        Ok(())
    }
}

/// See [`super::PROMISES`].
pub struct CopiesApart {
    owners: BTreeMap<ProviderId, Address>,
    /// Who holds which piece of which first order.
    holders: BTreeMap<(OrderId, u32), BTreeMap<DealId, Address>>,
    places: BTreeMap<DealId, (OrderId, u32)>,
    dropped_by: BTreeMap<OrderId, Address>,
}

impl CopiesApart {
    pub(super) fn new(_: &State) -> Self {
        Self { owners: BTreeMap::new(), holders: BTreeMap::new(), places: BTreeMap::new(), dropped_by: BTreeMap::new() }
    }

    fn assigned(
        &mut self,
        deal: DealId,
        order: OrderId,
        provider: ProviderId,
        seen: &Observation,
    ) -> Result<(), String> {
        let owner = self.owners[&provider];
        if self.dropped_by.get(&order) == Some(&owner) {
            return Err(format!("{deal} replaces a deal that {provider} dropped"));
        }
        let record = seen.after.deal(deal).ok_or(format!("{deal} is assigned and not there"))?;
        let place = (record.group, record.piece_index);
        let holders = self.holders.entry(place).or_default();
        if let Some((other, _)) = holders.iter().find(|(_, holder)| **holder == owner) {
            return Err(format!("{deal} and {other} are copies of one piece, both with {owner}"));
        }
        holders.insert(deal, owner);
        self.places.insert(deal, place);
        Ok(())
    }

    fn read(&mut self, event: &Event, seen: &Observation) -> Result<(), String> {
        match *event {
            Event::ProviderRegistered { provider, owner } => drop(self.owners.insert(provider, owner)),
            // The dropped deal closes after its replacement is ordered.
            Event::DealReplaced { deal, order } => {
                let holder = self.places.get(&deal).and_then(|place| self.holders[place].get(&deal));
                let holder = holder.ok_or(format!("{deal} is ordered again and nobody held it"))?;
                self.dropped_by.insert(order, *holder);
            }
            Event::OrderMatched { order, .. } | Event::OrderClosed { order, .. } => {
                self.dropped_by.remove(&order);
            }
            Event::DealAssigned { deal, order, provider, .. } => return self.assigned(deal, order, provider, seen),
            Event::DealClosed { deal, .. } => {
                if let Some(place) = self.places.remove(&deal) {
                    self.holders.entry(place).or_default().remove(&deal);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Checker for CopiesApart {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        seen.outcome.events.iter().try_for_each(|event| self.read(event, seen))
    }
}
