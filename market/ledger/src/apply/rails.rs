//! Rails on the ledger: the rules are in [`crate::payments::rails`]; here the money moves, and sectors answer for proofs.
//!
//! The pot holds what the accounts of the book hold. Three things end a rail without anybody's doing:
//!
//! - its payer runs dry: the book's queue by `funded_until` is looked at in every block, within the block's weight;
//! - its sector leaves: what was proven is paid, the rest of the lockup is free again at once;
//! - its deal ends: nothing after that can be proven for it.
//!
//! A rail that ends has a queue entry, which settles it until it is closed: no lockup waits for somebody to look.
//!
//! A sector forgets its record when that grows long. Its rails are settled before; `sector_rails_max` bounds how many.

use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber};

use super::Step;
use super::providers::positive;
use crate::close::{CloseReason, Closure};
use crate::economy::{RailCommand, RailEvent, RailTarget};
use crate::event::Event;
use crate::ids::Address;
use crate::order::DealStatus;
use crate::payments::{ProofSpan, ProofTable, RailBinding, RailId, RailRejection, RailTerms, Settlement, Verdict};
use crate::queue::Due;
use crate::rejection::Rejection;
use crate::sector::Sector;
use crate::state::State;
use crate::table::Table;
use crate::treasury::Pot;

/// What the records of sectors say about rails.
struct SectorRecords<'a>(&'a Table<(ProviderId, SectorNumber), Sector>);

impl ProofTable for SectorRecords<'_> {
    fn span(&self, binding: &RailBinding, from: Epoch) -> ProofSpan {
        let always = |verdict| ProofSpan { verdict, until: Epoch(u64::MAX) };
        let RailBinding::Sector { provider, sector, until } = *binding else { return always(Verdict::Proven) };
        let until = until.unwrap_or(Epoch(u64::MAX));
        if from >= until {
            return always(Verdict::Faulted);
        }
        match self.0.get(&(provider, sector)).and_then(Sector::proving) {
            Some(proving) => {
                let span = proving.history.span(from);
                ProofSpan { until: span.until.min(until), ..span }
            }
            // Whatever was proven was settled before the sector left.
            None => always(Verdict::Faulted),
        }
    }
}

impl Step<'_> {
    pub(super) fn rail_command(&mut self, command: &RailCommand) -> Result<(), Rejection> {
        match *command {
            RailCommand::Deposit { account, amount } => self.fund_rails(account, amount),
            RailCommand::Withdraw { amount } => self.withdraw_from_rails(amount),
            RailCommand::Open { payee, rate, lockup_period, lockup_fixed, target } => {
                let (payer, binding) = (self.sender, self.rail_binding(payee, target)?);
                self.open_rail(RailTerms { payer, payee, rate, lockup_period, lockup_fixed, binding })
            }
            RailCommand::ChangeRate { rail, rate } => {
                self.state.rails.change_rate(self.now(), self.sender, rail, rate)?;
                self.emit(Event::Rail(RailEvent::RateChanged { rail, rate }));
                Ok(())
            }
            RailCommand::PayOnce { rail, amount } => self.pay_once(rail, amount),
            RailCommand::Terminate { rail } => {
                let ends_at = self.state.rails.terminate(self.now(), self.sender, rail)?;
                self.rail_ends(rail, ends_at, CloseReason::RailTerminated);
                Ok(())
            }
            RailCommand::Settle { rail } => {
                let settled_until = self.state.rails.rail(rail).map(|found| found.settled_until);
                let settlement = self.settle_rail(rail)?;
                if settled_until == Some(settlement.settled_until) && !settlement.closed {
                    return Err(Rejection::NothingToSettleOnRail { rail, settled_until: settlement.settled_until });
                }
                Ok(())
            }
        }
    }

    fn fund_rails(&mut self, account: Address, amount: Amount) -> Result<(), Rejection> {
        positive("deposit", amount)?;
        self.state.lock(self.sender, Pot::Rails, amount)?;
        self.state.rails.deposit(self.now(), account, amount)?;
        self.emit(Event::Rail(RailEvent::Deposited { account, amount }));
        Ok(())
    }

    fn withdraw_from_rails(&mut self, amount: Amount) -> Result<(), Rejection> {
        positive("amount", amount)?;
        self.state.rails.withdraw(self.now(), self.sender, amount)?;
        self.state.release(Pot::Rails, self.sender, amount);
        self.emit(Event::Rail(RailEvent::Withdrawn { account: self.sender, amount }));
        Ok(())
    }

    /// What the target is now: a live sector, which pays its provider's owner.
    fn rail_binding(&self, payee: Address, target: RailTarget) -> Result<RailBinding, Rejection> {
        let (provider, sector, until) = match target {
            RailTarget::Nothing => return Ok(RailBinding::Nothing),
            RailTarget::Sector { provider, sector } => (provider, sector, None),
            RailTarget::Deal(deal) => {
                let record = self.state.deal(deal).ok_or(Rejection::UnknownDeal { deal })?;
                let DealStatus::Active { sector, end, .. } = record.status else {
                    return Err(Rejection::DealNotActive { deal });
                };
                (record.provider, sector, Some(end))
            }
        };
        if self.state.sector(provider, sector).and_then(Sector::proving).is_none() {
            return Err(Rejection::UnknownSector { provider, sector });
        }
        let owner = self.owner_of(provider);
        if owner != payee {
            return Err(Rejection::NotOwner { provider, owner });
        }
        let (most, bound) = (self.state.meta.params.economy.sector_rails_max, self.state.rails_of(provider, sector));
        super::in_range("rails bound to the sector", bound.len() as u64 + 1, 1, most.into())?;
        Ok(RailBinding::Sector { provider, sector, until })
    }

    fn open_rail(&mut self, terms: RailTerms) -> Result<(), Rejection> {
        if terms.rate.is_zero() {
            positive("rate or fixed lockup", terms.lockup_fixed)?;
        }
        let rail = RailId(self.state.meta.economy.next_rail);
        self.state.rails.open(self.now(), rail, terms)?;
        self.state.meta.economy.next_rail += 1;
        if let RailBinding::Sector { provider, sector, until } = terms.binding {
            self.state.sector_rails.insert((provider, sector, rail), ());
            if let Some(until) = until {
                self.state.schedule(until, Due::RailEnd(rail));
            }
        }
        let RailTerms { payer, payee, rate, .. } = terms;
        self.emit(Event::Rail(RailEvent::Opened { rail, payer, payee, rate }));
        Ok(())
    }

    fn pay_once(&mut self, rail: RailId, amount: Amount) -> Result<(), Rejection> {
        positive("amount", amount)?;
        let burn_bp = self.state.meta.params.economy.emission.settlement_burn_bp;
        let burnt = self.state.rails.pay_once(self.now(), self.sender, rail, amount, burn_bp)?;
        self.state.burn(Pot::Rails, burnt);
        let binding = self.state.rails.rail(rail).map(|found| found.terms.binding);
        self.count_rail_volume(binding, amount);
        self.emit(Event::Rail(RailEvent::PaidOnce { rail, amount, burnt }));
        Ok(())
    }

    fn count_rail_volume(&mut self, binding: Option<RailBinding>, amount: Amount) {
        if let Some(RailBinding::Sector { provider, .. }) = binding {
            self.count_paid_volume(provider, amount);
        }
    }

    /// Settles, burns, counts, and forgets a rail that is over.
    fn settle_rail(&mut self, rail: RailId) -> Result<Settlement, Rejection> {
        let now = self.now();
        let State { rails, sectors, meta, .. } = &mut *self.state;
        let binding = rails.rail(rail).ok_or(RailRejection::UnknownRail { rail })?.terms.binding;
        let burn_bp = meta.params.economy.emission.settlement_burn_bp;
        let settlement = rails.settle(now, rail, &SectorRecords(sectors), burn_bp)?;
        self.state.burn(Pot::Rails, settlement.burnt);
        let amount = settlement.paid.checked_add(settlement.burnt).expect("parts of the payer's funds");
        self.count_rail_volume(Some(binding), amount);
        if let (true, RailBinding::Sector { provider, sector, .. }) = (settlement.closed, binding) {
            self.state.sector_rails.remove(&(provider, sector, rail));
        }
        self.emit(Event::Rail(RailEvent::Settled { rail, settlement }));
        Ok(settlement)
    }

    fn rail_ends(&mut self, rail: RailId, ends_at: Epoch, reason: CloseReason) {
        self.state.schedule(ends_at, Due::RailEnd(rail));
        let closure = Closure::new(reason, self.now());
        self.emit(Event::Rail(RailEvent::Ending { rail, ends_at, closure }));
    }

    /// Ends a rail whose payer ran dry, if one did; says whether.
    pub(super) fn end_next_unfunded_rail(&mut self) -> bool {
        let Some(rail) = self.state.rails.terminate_next_unfunded(self.now()) else { return false };
        let ends_at = self.state.rails.rail(rail).and_then(|found| found.ends_at).expect("just ended");
        self.rail_ends(rail, ends_at, CloseReason::RailUnfunded);
        true
    }

    /// The end of a rail, or of the deal it is for: settles it, until all is settled. Returns the weight.
    pub(super) fn end_rail(&mut self, rail: RailId, due_at: Epoch) -> u64 {
        let Some(record) = self.state.rails.rail(rail) else { return 1 };
        let deal_over =
            matches!(record.terms.binding, RailBinding::Sector { until: Some(until), .. } if until <= due_at);
        if record.ends_at.is_none() && deal_over {
            self.cut_rail_off(rail, CloseReason::RailDealEnded);
        }
        if self.state.rails.rail(rail).is_some_and(|record| record.ends_at.is_some_and(|ends_at| ends_at <= self.now()))
        {
            let closed =
                self.settle_rail(rail).expect("the rail exists, and no account holds more than the supply").closed;
            if !closed {
                // An epoch is open until its deadline closes, at most a proving period later.
                let again = self.later(self.now(), self.state.meta.params.proving_period());
                self.state.schedule(again, Due::RailEnd(rail));
            }
        }
        1
    }

    fn cut_rail_off(&mut self, rail: RailId, reason: CloseReason) {
        let ending = self.state.rails.rail(rail).is_some_and(|found| found.ends_at.is_some());
        if !ending {
            self.state.rails.cut_off(self.now(), rail);
            let ends_at = self.state.rails.rail(rail).and_then(|found| found.ends_at).expect("just ended");
            self.rail_ends(rail, ends_at, reason);
        }
    }

    /// Settles what a sector's record says about its rails, before the record is cut.
    pub(super) fn settle_rails_of(&mut self, provider: ProviderId, sector: SectorNumber) {
        for rail in self.state.rails_of(provider, sector) {
            let record = self.state.rails.rail(rail).cloned().expect("the index names rails that exist");
            // Epochs after the money ran out are paid from the lockup: as those of a rail that ends.
            if self.state.rails.is_dry(self.now(), &record) {
                let ends_at = self.state.rails.end(self.now(), rail, record, true);
                self.rail_ends(rail, ends_at, CloseReason::RailUnfunded);
            }
            self.settle_rail(rail).expect("the rail exists, and no account holds more than the supply");
        }
    }

    /// Ends the rails of a sector that has left. What was proven is settled.
    pub(super) fn end_rails_of(&mut self, provider: ProviderId, sector: SectorNumber) {
        for rail in self.state.rails_of(provider, sector) {
            self.cut_rail_off(rail, CloseReason::RailSectorClosed);
            self.settle_rail(rail).expect("the rail exists, and no account holds more than the supply");
        }
    }
}

/// Reading rails.
impl State {
    /// All rails and accounts.
    pub fn rails(&self) -> &crate::payments::RailBook {
        &self.rails
    }

    /// Rails that a sector's proofs decide, by number.
    pub fn rails_of(&self, provider: ProviderId, sector: SectorNumber) -> Vec<RailId> {
        let from = (provider, sector, RailId(0));
        let bound = self.sector_rails.iter_from(&from).map(|(key, ())| *key);
        bound.take_while(|(p, s, _)| (*p, *s) == (provider, sector)).map(|(_, _, rail)| rail).collect()
    }
}
