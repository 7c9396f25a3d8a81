//! Life of a deal after assignment: activation, settlement, end.
//!
//! Settlement is lazy: the sector's record says which epochs were proven, the deal remembers how far it was paid.
//! Settling pays `rate x proven epochs` of what is accounted since, less what every settled payment burns; faulted epochs
//! pay nothing, open epochs wait. Anyone
//! may ask; the queue asks at the first moment when all epochs of the deal are accounted, and then the deal closes.

use cairn_protocol::{Epoch, SectorNumber};

use super::Step;
use crate::close::{CloseReason, Closure};
use crate::emission::part_of;
use crate::event::Event;
use crate::ids::DealId;
use crate::order::{BidStatus, Deal, DealStatus};
use crate::queue::Due;
use crate::rejection::Rejection;
use crate::treasury::Pot;

impl Step<'_> {
    /// Starts a bound deal at the current epoch; its sector is live already.
    pub(super) fn activate_deal(&mut self, deal: DealId, sector: SectorNumber) {
        let start = self.now();
        let mut record = self.state.deal(deal).cloned().expect("a sector's deals exist");
        let end = self.later(start, record.duration_epochs);
        record.status = DealStatus::Active { sector, start, end, settled_until: start };
        let (order, provider) = (record.order, record.provider);
        self.shelve(deal, &record);
        self.state.deals.insert(deal, record);
        let key = (provider, sector);
        let deadline = self.state.sectors.get(&key).and_then(|s| s.proving()).expect("the sector is live").deadline;
        let last_challenge = self.state.calendar(provider).first_challenged_from(deadline, end);
        self.state.schedule(self.later(last_challenge.closes_at, 1), Due::DealEnd(deal));
        self.emit(Event::DealActivated { deal, provider, sector, start, end });
        self.bid_deal_activated(order, provider);
    }

    pub(super) fn settle(&mut self, deal: DealId) -> Result<(), Rejection> {
        let record = self.state.deal(deal).ok_or(Rejection::UnknownDeal { deal })?;
        let DealStatus::Active { settled_until, .. } = record.status else {
            return Err(Rejection::DealNotActive { deal });
        };
        if !self.settle_accounted(deal) {
            return Err(Rejection::NothingToSettle { deal, settled_until });
        }
        Ok(())
    }

    /// Pays an active deal for what is accounted, and closes it if that was all; says whether anything was accounted.
    pub(super) fn settle_accounted(&mut self, deal: DealId) -> bool {
        let Some(mut record) = self.state.deal(deal).cloned() else { return false };
        let DealStatus::Active { sector, end, settled_until: from, .. } = record.status else { return false };
        let history = match self.state.sector(record.provider, sector).and_then(|s| s.proving()) {
            Some(proving) => &proving.history,
            None => return false,
        };
        let until = history.accounted_until().min(end);
        if until <= from {
            return false;
        }
        let proven_epochs = history.proven_epochs(from, until);
        let paid = record.rate.checked_mul(proven_epochs).expect("escrow covers the whole duration");
        record.escrow = record.escrow.checked_sub(paid).expect("escrow covers the whole duration");
        record.paid = record.paid.checked_add(paid).expect("escrow covers the whole duration");
        if let DealStatus::Active { settled_until, .. } = &mut record.status {
            *settled_until = until;
        }
        let (provider, owner) = (record.provider, self.owner_of(record.provider));
        self.state.deals.insert(deal, record);
        let burnt = part_of(paid, self.state.meta.params.economy.emission.settlement_burn_bp);
        self.state.burn(Pot::Escrow, burnt);
        self.state.release(Pot::Escrow, owner, paid.checked_sub(burnt).expect("a part"));
        self.count_paid_volume(provider, paid);
        self.emit(Event::DealSettled { deal, from, until, proven_epochs, paid });
        if until == end {
            self.close_deal(deal, CloseReason::Completed);
        }
        true
    }

    /// Ends a deal: what is left in escrow pays its replacement if the provider dropped it, or goes to the client. Settle
    /// first what is owed.
    pub(super) fn close_deal(&mut self, deal: DealId, reason: CloseReason) {
        let mut record = self.state.deal(deal).cloned().expect("callers found the deal");
        let sector = record.sector();
        let replacement = self.replace_deal(deal, &record, reason);
        self.drop_copy(&record);
        let escrow = std::mem::take(&mut record.escrow);
        let refunded = escrow.checked_sub(replacement).expect("part of the escrow");
        let closure = Closure::new(reason, self.now());
        record.status = DealStatus::Closed(closure.clone());
        let Deal { client, provider, .. } = record;
        self.state.deals.insert(deal, record);
        self.state.release(Pot::Escrow, client, refunded);
        if let Some(sector) = sector {
            self.state.sectors.update(&(provider, sector), |s| s.deals.retain(|held| *held != deal));
        }
        self.unshelve(deal, provider);
        self.end_obligation(provider);
        self.state.schedule(self.retained_until(), Due::ForgetDeal(deal));
        self.emit(Event::DealClosed { deal, refunded, closure });
    }

    /// Closes a deal that was not activated in time; the winning bid loses its deposit.
    pub(super) fn expire_assigned_deal(&mut self, deal: DealId, due_at: Epoch) -> u64 {
        let Some(record) = self.state.deal(deal) else { return 1 };
        let (DealStatus::Assigned { activate_by } | DealStatus::Bound { activate_by, .. }) = record.status else {
            return 1;
        };
        debug_assert_eq!(activate_by, due_at, "a deal is queued for its own deadline");
        let key = (record.order, record.provider);
        self.close_deal(deal, CloseReason::NotActivated);
        // The first of a bid's deals to fail burns the deposit; the others find the bid closed.
        if self.state.bids.get(&key).is_some_and(|bid| matches!(bid.status, BidStatus::Won { .. })) {
            self.close_bid(key.0, key.1, CloseReason::DealNotActivated, true);
        }
        1
    }

    /// All epochs of the deal are accounted, or its sector is gone.
    pub(super) fn end_deal(&mut self, deal: DealId) -> u64 {
        self.settle_accounted(deal);
        let open = self.state.deal(deal).is_some_and(|record| matches!(record.status, DealStatus::Active { .. }));
        assert!(!open, "a deal's last challenge is accounted before its end is due");
        1
    }
}
