//! Everything that is locked or waits comes to an end, with a reason.

use std::collections::{BTreeMap, BTreeSet};

use cairn_ledger::payments::ChannelId;
use cairn_ledger::state::columns;
use cairn_ledger::{
    Address, Closure, Command, DealId, DealStatus, Event, JobEvent, JobId, OrderId, Outcome, SectorStatus, State,
};
use cairn_protocol::{Epoch, ProviderId, SectorNumber};

use super::Checker;
use crate::observation::Observation;

/// Something that is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Locked {
    Order(OrderId),
    Bid(OrderId, ProviderId),
    Deal(DealId),
    Sector(ProviderId, SectorNumber),
    Channel(ChannelId),
    Stake(Address, u64),
    Job(JobId),
    JobBid(JobId, Address),
}

/// See [`super::PROMISES`].
pub struct DepositsReturn {
    ends: BTreeMap<Locked, Epoch>,
    by_end: BTreeSet<(Epoch, Locked)>,
    unbonded: u64,
}

impl DepositsReturn {
    pub(super) fn new(_: &State) -> Self {
        Self { ends: BTreeMap::new(), by_end: BTreeSet::new(), unbonded: 0 }
    }

    /// It ends at `at` at the latest.
    fn until(&mut self, what: Locked, at: u64) {
        self.over(what);
        self.ends.insert(what, Epoch(at));
        self.by_end.insert((Epoch(at), what));
    }

    fn over(&mut self, what: Locked) {
        if let Some(at) = self.ends.remove(&what) {
            self.by_end.remove(&(at, what));
        }
    }

    fn read_market(&mut self, event: &Event, seen: &Observation) {
        let params = seen.after.params();
        match *event {
            Event::OrderPlaced { order, bids_close_at, .. } => {
                self.until(Locked::Order(order), bids_close_at.0 + params.reveal_window);
            }
            Event::OrderMatched { order, .. } | Event::OrderClosed { order, .. } => self.over(Locked::Order(order)),
            Event::BidPlaced { order, provider, .. } | Event::BidSealed { order, provider, .. } => {
                let assigned_by = self.ends.get(&Locked::Order(order)).copied().unwrap_or(seen.now());
                self.until(Locked::Bid(order, provider), assigned_by.0);
            }
            Event::BidWon { order, provider, .. } => {
                self.until(Locked::Bid(order, provider), seen.now().0 + params.activation_window);
            }
            Event::BidClosed { order, provider, .. } => self.over(Locked::Bid(order, provider)),
            Event::DealAssigned { deal, activate_by, .. } => self.until(Locked::Deal(deal), activate_by.0),
            Event::DealActivated { deal, end, .. } => {
                // The last challenge after the end is at most a period later, and is answered in its window.
                self.until(Locked::Deal(deal), end.0 + params.proving_period() + params.post_window() + 1);
            }
            Event::DealClosed { deal, .. } => self.over(Locked::Deal(deal)),
            _ => {}
        }
    }

    fn read_rest(&mut self, event: &Event, seen: &Observation) {
        let params = seen.after.params();
        match *event {
            Event::SectorPreCommitted { provider, sector, expires_at, .. } => {
                self.until(Locked::Sector(provider, sector), expires_at.0);
            }
            Event::SectorActivated { provider, sector, first_challenge, .. } => {
                let ends = seen.after.sector(provider, sector).map_or(seen.now(), |record| record.expiration);
                // It leaves at its first deadline that closes then or later; the first one may be later.
                let at = ends.max(first_challenge).0 + params.proving_period() + params.post_window();
                self.until(Locked::Sector(provider, sector), at);
            }
            Event::SectorClosed { provider, sector, .. } => self.over(Locked::Sector(provider, sector)),
            Event::Job(ref event) => self.read_job(event, seen),
            Event::ChannelClosing { channel, until } => self.until(Locked::Channel(channel), until.0),
            Event::ChannelClosed { channel, .. } => self.over(Locked::Channel(channel)),
            Event::StakeReleased { validator, .. } => {
                let parts = (Locked::Stake(validator, 0), Locked::Stake(validator, u64::MAX));
                if let Some((&oldest, _)) = self.ends.range(parts.0..=parts.1).next() {
                    self.over(oldest);
                }
            }
            _ => {}
        }
    }
}

impl DepositsReturn {
    fn read_job(&mut self, event: &JobEvent, seen: &Observation) {
        let deadline = |job| seen.after.job(job).map_or(seen.now(), |record| record.terms.deadline).0;
        match *event {
            JobEvent::Posted { job, .. } => self.until(Locked::Job(job), deadline(job)),
            JobEvent::BidPlaced { job, worker, .. } => self.until(Locked::JobBid(job, worker), deadline(job)),
            JobEvent::BidReturned { job, worker, .. } | JobEvent::WorkerFailed { job, worker, .. } => {
                self.over(Locked::JobBid(job, worker));
            }
            JobEvent::Proven { job, worker, .. } => {
                self.over(Locked::JobBid(job, worker));
                self.over(Locked::Job(job));
            }
            JobEvent::Closed { job, .. } => self.over(Locked::Job(job)),
            _ => {}
        }
    }
}

impl Checker for DepositsReturn {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        for event in &seen.outcome.events {
            self.read_market(event, seen);
            self.read_rest(event, seen);
        }
        for (offer, receipt) in seen.receipts() {
            if let (Command::Unbond { .. }, Outcome::Applied) = (&offer.signed.transaction.command, &receipt.outcome) {
                self.unbonded += 1;
                let until = seen.now().0 + seen.after.params().stake.unbonding_epochs;
                self.until(Locked::Stake(offer.signed.transaction.sender, self.unbonded), until);
            }
        }
        match self.by_end.first() {
            // Two things in a row may be late.
            Some((at, what)) if at.0 + 2 * seen.lag < seen.now().0 => {
                Err(format!("{what:?} should have ended at epoch {at}, it is {}", seen.now()))
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, state: &State) -> Result<(), String> {
        if let Some((at, what)) = self.by_end.first() {
            return Err(format!("{what:?} should have ended at epoch {at}, and never did"));
        }
        let treasury = state.treasury();
        let deals = [treasury.escrow, treasury.bid_deposits, treasury.sector_deposits];
        let mut pots = deals.into_iter().chain([treasury.job_escrow, treasury.job_bonds]);
        if pots.any(|pot| !pot.is_zero()) {
            return Err(format!("nobody acts any more, and money is still locked: {treasury:?}"));
        }
        let of_provider = |id| state.sectors_of(id).count() + state.partitions_of(id).count();
        let sectors = state.providers().map(|(id, _)| of_provider(id)).sum();
        let left = [state.orders().count(), state.deals().count(), sectors, state.jobs().count()];
        if left == [0; 4] { Ok(()) } else { Err(format!("orders, deals, sectors, jobs that nothing ends: {left:?}")) }
    }
}

/// See [`super::PROMISES`].
pub struct ClosesSayWhy;

impl ClosesSayWhy {
    pub(super) fn new(_: &State) -> Self {
        Self
    }
}

fn closure(event: &Event) -> Option<&Closure> {
    match event {
        Event::BidClosed { closure, .. }
        | Event::OrderClosed { closure, .. }
        | Event::SectorClosed { closure, .. }
        | Event::DealClosed { closure, .. }
        | Event::Job(JobEvent::Closed { closure, .. })
        | Event::ChannelClosed { closure, .. } => Some(closure),
        _ => None,
    }
}

/// A closed entry may only be forgotten, and not before its time.
fn stays_closed(before: Option<&Closure>, is_there: bool, seen: &Observation, what: &str) -> Result<(), String> {
    let Some(closed) = before else { return Ok(()) };
    let kept_until = closed.epoch.0 + seen.after.params().record_retention;
    match is_there {
        true => Err(format!("{what} was closed at epoch {} and changed", closed.epoch)),
        false if seen.now().0 < kept_until => Err(format!("{what} is forgotten before epoch {kept_until}")),
        false => Ok(()),
    }
}

impl Checker for ClosesSayWhy {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        for closure in seen.outcome.events.iter().filter_map(closure) {
            let expected = Closure::new(closure.reason, seen.now());
            if *closure != expected || closure.text.is_empty() {
                return Err(format!("expected {expected:?}, got {closure:?}"));
            }
        }
        for (deal, is_there) in seen.touched::<DealId>(columns::DEALS) {
            let closed = seen.before.deal(deal).and_then(|record| match &record.status {
                DealStatus::Closed(closure) => Some(closure),
                _ => None,
            });
            stays_closed(closed, is_there, seen, &deal.to_string())?;
        }
        for ((provider, sector), is_there) in seen.touched::<(ProviderId, SectorNumber)>(columns::SECTORS) {
            let closed = seen.before.sector(provider, sector).and_then(|record| match &record.status {
                SectorStatus::Closed(closure) => Some(closure),
                _ => None,
            });
            stays_closed(closed, is_there, seen, &format!("sector {sector} of {provider}"))?;
        }
        Ok(())
    }
}
