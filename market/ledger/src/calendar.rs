//! When each deadline of a provider is challenged, open and closed.
//!
//! A proving period has 48 deadlines, each with a slot of its own; a period follows the other without a gap. Providers
//! start at different offsets, so that their proofs spread over time. One *instance* of a deadline:
//!
//! ```text
//!        challenge_epoch   opens_at                slot_start          closes_at
//!              |              |                        |                   |
//!  ------------+--------------+------------------------+-------------------+----------> epochs
//!              beacon drawn   proofs accepted .....................  last: closes_at - 1
//!              |<--------------- post_challenge_lead ->|<- epochs_per_deadline ->|
//! ```
//!
//! Deviation from Filecoin: a proof is accepted as soon as its challenge is known, not only inside the slot. The set of
//! sectors of a deadline is fixed from `challenge_epoch` until it is proven or closed.

use cairn_protocol::{Epoch, ProviderId};
use serde::{Deserialize, Serialize};

use crate::params::LedgerParams;

/// Deadlines in a proving period.
pub const DEADLINES: u32 = 48;

/// One instance of a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadlineInfo {
    /// Which of the 48.
    pub deadline: u32,
    /// Epoch whose beacon is the challenge.
    pub challenge_epoch: Epoch,
    /// First epoch whose block may hold the proof.
    pub opens_at: Epoch,
    /// First epoch of the deadline's own slot.
    pub slot_start: Epoch,
    /// First epoch whose block may no longer hold the proof.
    pub closes_at: Epoch,
}

impl DeadlineInfo {
    /// Whether a block of `epoch` may hold the proof.
    pub fn is_open_at(&self, epoch: Epoch) -> bool {
        self.opens_at <= epoch && epoch < self.closes_at
    }

    /// Whether the sectors of the deadline are fixed at `epoch`.
    pub fn is_locked_at(&self, epoch: Epoch) -> bool {
        self.challenge_epoch <= epoch && epoch < self.closes_at
    }
}

/// The deadlines of one provider, through all time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    epochs_per_deadline: u64,
    challenge_lead: u64,
    offset: u64,
}

impl Calendar {
    /// The calendar of `provider`. Offsets follow from the provider's number, one deadline slot apart.
    pub fn new(params: &LedgerParams, provider: ProviderId) -> Self {
        Self {
            epochs_per_deadline: params.epochs_per_deadline,
            challenge_lead: params.post_challenge_lead,
            offset: (provider.0 % u64::from(DEADLINES)) * params.epochs_per_deadline,
        }
    }

    /// Epochs in a period.
    pub const fn period(&self) -> u64 {
        self.epochs_per_deadline * DEADLINES as u64
    }

    /// The first instance of `deadline` (below 48) that closes after `epoch`.
    pub fn current(&self, deadline: u32, epoch: Epoch) -> DeadlineInfo {
        // closes_at > epoch is slot_start >= epoch + 1 - epochs_per_deadline.
        self.first_slot_from(deadline, (epoch.0 + 1).saturating_sub(self.epochs_per_deadline))
    }

    /// The first instance of `deadline` whose challenge is drawn at `epoch` or later.
    pub fn first_challenged_from(&self, deadline: u32, epoch: Epoch) -> DeadlineInfo {
        self.first_slot_from(deadline, epoch.0 + self.challenge_lead)
    }

    /// The instance of `deadline` that closes at `closes_at`.
    pub fn closing_at(&self, deadline: u32, closes_at: Epoch) -> DeadlineInfo {
        self.instance(deadline, closes_at.0.saturating_sub(self.epochs_per_deadline))
    }

    /// The instance in whose own slot `epoch` lies; the first one if `epoch` is before all.
    pub fn slot_at(&self, epoch: Epoch) -> DeadlineInfo {
        let since_offset = epoch.0.saturating_sub(self.offset);
        let deadline = (since_offset / self.epochs_per_deadline % u64::from(DEADLINES)) as u32;
        self.current(deadline, epoch)
    }

    fn first_slot_from(&self, deadline: u32, epoch: u64) -> DeadlineInfo {
        let mut first = self.offset + u64::from(deadline) * self.epochs_per_deadline;
        if first < self.challenge_lead {
            first += self.period();
        }
        let periods = epoch.saturating_sub(first).div_ceil(self.period());
        self.instance(deadline, first + periods * self.period())
    }

    fn instance(&self, deadline: u32, slot_start: u64) -> DeadlineInfo {
        let challenge = slot_start.saturating_sub(self.challenge_lead);
        DeadlineInfo {
            deadline,
            challenge_epoch: Epoch(challenge),
            opens_at: Epoch(challenge + 1),
            slot_start: Epoch(slot_start),
            closes_at: Epoch(slot_start + self.epochs_per_deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn instances_follow_each_other(provider in 0u64..200, deadline in 0..DEADLINES, epoch in 0u64..5_000) {
            let calendar = Calendar::new(&LedgerParams::devnet(), ProviderId(provider));
            let current = calendar.current(deadline, Epoch(epoch));
            prop_assert!(current.closes_at.0 > epoch);
            prop_assert_eq!(current.closes_at.0 - current.challenge_epoch.0, LedgerParams::devnet().post_window());
            prop_assert_eq!(calendar.closing_at(deadline, current.closes_at), current);
            let next = calendar.current(deadline, current.closes_at);
            prop_assert_eq!(next.closes_at.0, current.closes_at.0 + calendar.period());
            let challenged = calendar.first_challenged_from(deadline, Epoch(epoch));
            prop_assert!(challenged.challenge_epoch.0 >= epoch);
            prop_assert!(challenged.challenge_epoch.0 < epoch + 2 * calendar.period());
        }

        #[test]
        fn every_epoch_lies_in_one_slot(provider in 0u64..200, epoch in 400u64..5_000) {
            let calendar = Calendar::new(&LedgerParams::devnet(), ProviderId(provider));
            let slot = calendar.slot_at(Epoch(epoch));
            prop_assert!(slot.slot_start.0 <= epoch && epoch < slot.closes_at.0);
        }
    }
}
