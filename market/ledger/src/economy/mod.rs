//! Rounds of the economy: what commands may ask, what is kept, and the numbers behind it.
//!
//! Time is cut into rounds. Round `r` is measured while it lasts; what it brings is decided in round `r + 1`:
//!
//! ```text
//! round r      checkers fetch what the round's beacon assigned; proofs of space and payments are counted
//! round r + 1  first epoch: the emission of r is split into streams, validators are paid
//!              commit | reveal | ballots are closed, receipts are drawn and opened (`apply::audits`)
//!              then a group of providers is scored in each block
//! ```
//!
//! No block does more than a bounded part of this: closing a round touches checkers and validators alone, scoring takes
//! `group_providers` providers at a time, and what a provider has earned is paid when it next proves, is scored or asks
//! (`apply::rewards`).
//!
//! # Invariants
//! - *Schedule*: minted + not minted + what the kept rounds may still pay = the schedule up to the last closed round.
//! - *Bounded*: at most `checkers_max` checkers; `checkers_max x group_providers` opinions in a block.
//! - *Provable*: stake is burnt for a missing reveal, for receipts that are not opened, for two receipts that contradict
//!   each other, and for a receipt of bytes that more than half of the others' stake refutes; never for an opinion.

mod command;
mod invariants;
mod params;
mod record;

pub use command::{CheckCommand, RailCommand, RailTarget};
pub use params::{CheckerParams, EconomyParams};
pub use record::{
    Audit, Checker, CheckerRejection, ClaimRejection, ProviderRewards, ProviderScore, RailEvent, RewardEvent,
    RewardRound, RewardStream, ScoreEvent, ServiceClaim, StoredStanding, Stream,
};
pub(crate) use record::{EconomyMeta, Scoring};

use crate::scores::Fraction;

/// Reputation of a provider that was never scored, and where its average begins: neither good nor bad.
pub const NEUTRAL_REPUTATION: Fraction = Fraction::of(1, 2);
