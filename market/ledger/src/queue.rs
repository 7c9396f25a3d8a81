//! What waits for an epoch.
//!
//! Entries are sorted by epoch, then by kind and name. A block takes due entries in this order until its budget of
//! weight is used; the rest waits for the next block. An entry acts by the epoch it was due, not by the epoch it is
//! taken, so a late one has the effect of a punctual one.

use cairn_protocol::{CommP, Epoch, ProviderId, SectorNumber};
use serde::{Deserialize, Serialize};

use crate::ids::{Address, DealId, OrderId};
use crate::jobs::{JobDue, JobId};
use crate::payments::{ChannelId, RailId};
use crate::state::State;

/// What is due. The order of the variants is the order within an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Due {
    /// An instance of a partition's deadline closes.
    PartitionClose(ProviderId, u32, u32),
    /// A pre-commit runs out.
    PreCommitExpiry(ProviderId, SectorNumber),
    /// An order's bids are assigned.
    BidWindowClose(OrderId),
    /// An order with sealed bids is assigned.
    RevealWindowClose(OrderId),
    /// A deal must be active.
    DealActivation(DealId),
    /// All epochs of a deal are accounted.
    DealEnd(DealId),
    /// A closed order and its bids may be forgotten.
    ForgetOrder(OrderId),
    /// A closed deal may be forgotten.
    ForgetDeal(DealId),
    /// A closed sector may be forgotten.
    ForgetSector(ProviderId, SectorNumber),
    /// A channel that its payer wants to close closes.
    ChannelClose(ChannelId),
    /// A closed channel may be forgotten.
    ForgetChannel(ChannelId),
    /// Stake that was taken back is free.
    StakeRelease(Address),
    /// What a validator was slashed for is too old to be named again.
    ForgetOffence(Address, Epoch),
    /// A rail ends, or the deal that it is for.
    RailEnd(RailId),
    /// A checker's stake that was taken back is free.
    CheckerExit(Address),
    /// Something about a proof job.
    Job(JobDue, JobId),
    /// A group that a provider paid for may be forgotten: every statement about it is too old.
    ForgetPaidGroup(ProviderId, CommP, u64),
}

impl State {
    pub(crate) fn schedule(&mut self, at: Epoch, due: Due) {
        self.queue.insert((at, due), ());
    }

    /// Takes the first entry due at the current epoch or before.
    pub(crate) fn take_due(&mut self) -> Option<(Epoch, Due)> {
        let (&(epoch, due), ()) = self.queue.first()?;
        if epoch > self.meta.epoch {
            return None;
        }
        self.queue.remove(&(epoch, due));
        Some((epoch, due))
    }
}
