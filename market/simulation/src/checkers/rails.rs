//! What rails pay.

use std::collections::BTreeMap;

use cairn_ledger::payments::{RailId, Settlement};
use cairn_ledger::{Address, Command, DealId, Event, RailCommand, RailEvent, RailTarget, State};
use cairn_protocol::{Epoch, ProviderId, SectorNumber};

use super::Checker;
use super::deals::Shown;
use crate::observation::Observation;

/// A rail as its parties agreed on it.
struct Agreed {
    /// Rates, each from an epoch on.
    rates: Vec<(u64, u64)>,
    /// Whose proofs decide, and the first epoch that pays nothing whatever is proven.
    bound: Option<((ProviderId, SectorNumber), u64)>,
    settled: u64,
    ends_at: u64,
}

/// See [`super::PROMISES`].
pub struct RailsPayProven {
    sectors: BTreeMap<(ProviderId, SectorNumber), Shown>,
    deals: BTreeMap<DealId, ((ProviderId, SectorNumber), Epoch)>,
    rails: BTreeMap<RailId, Agreed>,
}

impl RailsPayProven {
    pub(super) fn new(_: &State) -> Self {
        Self { sectors: BTreeMap::new(), deals: BTreeMap::new(), rails: BTreeMap::new() }
    }

    fn read(&mut self, event: &Event, asked: Option<(Address, &Command)>, seen: &Observation) -> Result<(), String> {
        Shown::read(&mut self.sectors, event, seen)?;
        match event {
            Event::DealActivated { deal, provider, sector, end, .. } => {
                self.deals.insert(*deal, ((*provider, *sector), *end));
            }
            Event::Rail(RailEvent::Opened { rail, rate, .. }) => {
                let Some((_, Command::Rail(RailCommand::Open { target, .. }))) = asked else {
                    return Err(format!("{rail} is opened and nobody asked for it"));
                };
                let bound = match target {
                    RailTarget::Nothing => None,
                    RailTarget::Sector { provider, sector } => Some(((*provider, *sector), u64::MAX)),
                    RailTarget::Deal(deal) => self.deals.get(deal).map(|(sector, end)| (*sector, end.0)),
                };
                let now = seen.now().0;
                let agreed = Agreed { rates: vec![(now, rate.0)], bound, settled: now, ends_at: u64::MAX };
                self.rails.insert(*rail, agreed);
            }
            Event::Rail(RailEvent::RateChanged { rail, rate }) => {
                let agreed = self.rails.get_mut(rail).ok_or(format!("{rail} was never opened"))?;
                agreed.rates.push((seen.now().0, rate.0));
            }
            Event::Rail(RailEvent::Ending { rail, ends_at, .. }) => {
                self.rails.get_mut(rail).ok_or(format!("{rail} was never opened"))?.ends_at = ends_at.0;
            }
            Event::Rail(RailEvent::Settled { rail, settlement }) => return self.settled(*rail, settlement),
            _ => {}
        }
        Ok(())
    }

    fn settled(&mut self, rail: RailId, settlement: &Settlement) -> Result<(), String> {
        let agreed = self.rails.get_mut(&rail).ok_or(format!("{rail} was never opened"))?;
        let (from, until) = (agreed.settled, settlement.settled_until.0.min(agreed.ends_at));
        let mut owed = 0;
        for (index, (since, rate)) in agreed.rates.iter().enumerate() {
            let next = agreed.rates.get(index + 1).map_or(u64::MAX, |(next, _)| *next);
            let (start, mut end) = (from.max(*since), until.min(next));
            let epochs = match agreed.bound {
                None => end.saturating_sub(start),
                Some((sector, last)) => {
                    end = end.min(last);
                    if start < end { self.sectors.get(&sector).map_or(0, |shown| shown.epochs(start, end)) } else { 0 }
                }
            };
            owed += u128::from(epochs) * u128::from(*rate);
        }
        agreed.settled = agreed.settled.max(settlement.settled_until.0);
        if settlement.closed {
            self.rails.remove(&rail);
        }
        let paid: u128 = [settlement.paid, settlement.burnt].into_iter().sum::<u128>();
        match paid == owed {
            true => Ok(()),
            false => Err(format!("{rail}: {owed} is owed for the proven epochs of {from}..{until}, {paid} was taken")),
        }
    }
}

impl Checker for RailsPayProven {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        seen.due_events().iter().try_for_each(|event| self.read(event, None, seen))?;
        for (offer, receipt) in seen.receipts() {
            let asked = (offer.signed.transaction.sender, &offer.signed.transaction.command);
            receipt.events.iter().try_for_each(|event| self.read(event, Some(asked), seen))?;
        }
        Ok(())
    }
}
