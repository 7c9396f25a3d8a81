//! What a sector's life may be after it is proven: how it ends early and what that costs, how it is prolonged, how it
//! takes new data.
//!
//! Source: `spec/market.md` 2.3 and 2.4 (FIP-0098 for the fee). Ending a sector of age `a` costs
//!
//! ```text
//! max( min(8.5 % of the pledge, 8.5 % of the pledge x a / 140 proving periods), max(2 % of the pledge, 1.05 x fault fee) )
//! ```
//!
//! whether its owner ends it or the network does; every part is rounded up. It is taken from the sector's own deposit, what
//! that does not hold from the provider's collateral, and burnt. The pledge is the sector's deposit, the fault fee the
//! network's ([`crate::LedgerParams::fault_fee`]).

use cairn_protocol::{Amount, CommR, Epoch, ProviderId, SectorNumber};
use serde::{Deserialize, Serialize};

use crate::command::ManifestPiece;
use crate::emission::WHOLE_BP;
use crate::ids::DealId;
use crate::sector::Proving;
use crate::state::State;

/// Most sectors and deals that one termination ends, together; a single sector may always be ended.
pub const TERMINATION_WORK_MAX: u64 = 512;

/// What may be asked about sectors that are proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum SectorCommand {
    /// Ends live sectors before their time, for the fee of the module. Their deals are dropped. By the owner.
    Terminate {
        /// Whose sectors.
        provider: ProviderId,
        /// Live sectors that are not challenged now, ascending.
        sectors: Vec<SectorNumber>,
    },
    /// Moves the expiration of active sectors to a later epoch. By the owner.
    Extend {
        /// Whose sectors.
        provider: ProviderId,
        /// Active sectors that have not expired, ascending.
        sectors: Vec<SectorNumber>,
        /// The new expiration of all of them; see [`SectorRules::extension_epochs_max`].
        expiration: Epoch,
    },
    /// Puts data into an active sector that has none, without sealing it again; its deals start. By the owner.
    Update(SectorUpdate),
}

/// New data for a sector that holds none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorUpdate {
    /// Whose sector.
    pub provider: ProviderId,
    /// Which sector: active, not challenged now, its CommD that of zeros, without deals.
    pub sector: SectorNumber,
    /// Commitment to the new replica.
    pub comm_r: CommR,
    /// Its pieces in order, at least one with a deal; CommD is computed from them.
    pub pieces: Vec<ManifestPiece>,
    /// The proof, in the verifier's encoding.
    #[serde(with = "serde_bytes")]
    pub proof: Vec<u8>,
}

/// What became of sectors that are proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named after what they are")]
pub enum SectorEvent {
    /// A sector expires later.
    Extended { provider: ProviderId, sector: SectorNumber, expiration: Epoch },
    /// A sector holds data now.
    Updated { provider: ProviderId, sector: SectorNumber, comm_r: CommR },
    /// The early end of a sector cost more than its deposit: the rest was taken from the provider's collateral.
    CollateralBurnt { provider: ProviderId, sector: SectorNumber, amount: Amount },
    /// A sector was left out of an accepted proof.
    Skipped { provider: ProviderId, sector: SectorNumber },
}

/// Why a proven sector cannot be ended, prolonged or updated so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum SectorRejection {
    /// The sector is to leave at its next deadline.
    #[error("sector {sector} expired at epoch {expiration}, now is {now}")]
    Expired { sector: SectorNumber, expiration: Epoch, now: Epoch },
    /// The sector holds data, and what is sealed once is updated once.
    #[error("sector {sector} holds data; only a sector of zeros takes an update")]
    HoldsData { sector: SectorNumber },
    /// An update for nobody.
    #[error("no piece of the update of sector {sector} has a deal")]
    NoDeals { sector: SectorNumber },
    /// The deal would outlive the sector.
    #[error("sector {sector} expires at epoch {expiration}, {deal} needs it until {needed}")]
    DealTooLong { sector: SectorNumber, deal: DealId, needed: Epoch, expiration: Epoch },
    /// A sector that is left out of a proof is not in the partition, or not to be proven anyway.
    #[error("sector {sector} cannot be skipped: the partition's proof need not show it")]
    NotSkippable { sector: SectorNumber },
}

/// The numbers of a proven sector's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorRules {
    /// Most of the pledge that an early end costs, in basis points.
    pub termination_bp: u32,
    /// Proving periods until it costs that much.
    pub termination_periods: u32,
    /// Least of the pledge that it costs, in basis points.
    pub termination_min_bp: u32,
    /// Least that it costs in fault fees, in basis points of one.
    pub termination_fault_fee_bp: u32,
    /// Furthest that an extension may put the expiration from now, in epochs.
    pub extension_epochs_max: u64,
}

impl SectorRules {
    /// Filecoin's fee, with this limit of extensions.
    pub const fn with_extensions_of(extension_epochs_max: u64) -> Self {
        Self {
            termination_bp: 850,
            termination_periods: 140,
            termination_min_bp: 200,
            termination_fault_fee_bp: 10_500,
            extension_epochs_max,
        }
    }

    /// What the early end of a sector costs that was active for `age` epochs of periods of `period`.
    pub fn termination_fee(&self, pledge: Amount, fault_fee: Amount, age: u64, period: u64) -> Amount {
        let most = part_up(pledge, self.termination_bp);
        let ramp = u128::from(period) * u128::from(self.termination_periods);
        let grown = (u128::from(most.0) * u128::from(age)).div_ceil(ramp).min(u128::from(most.0)) as u64;
        let least = part_up(pledge, self.termination_min_bp).max(part_up(fault_fee, self.termination_fault_fee_bp));
        Amount(grown).max(least)
    }
}

/// A part of an amount, rounded up, at most all there can be.
fn part_up(amount: Amount, basis_points: u32) -> Amount {
    let part = (u128::from(amount.0) * u128::from(basis_points)).div_ceil(u128::from(WHOLE_BP));
    Amount(u64::try_from(part).unwrap_or(u64::MAX))
}

impl State {
    /// When the health of a proving sector may be declared again, if a block of `at` may not do so: the challenge of its
    /// partition is drawn by then, and not answered.
    pub fn sector_locked_until(&self, provider: ProviderId, proving: &Proving, at: Epoch) -> Option<Epoch> {
        let partition = self.partition(provider, proving.deadline, proving.partition)?;
        let instance = self.calendar(provider).closing_at(proving.deadline, partition.closes_at);
        let answered = partition.proven_challenge >= Some(instance.challenge_epoch);
        (!answered && at >= instance.challenge_epoch).then_some(instance.closes_at)
    }

    /// Whether the next block may not declare the health of a proving sector.
    pub fn is_sector_locked(&self, provider: ProviderId, proving: &Proving) -> bool {
        self.sector_locked_until(provider, proving, Epoch(self.epoch().0.saturating_add(1))).is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::LedgerParams;

    const DAY: u64 = 2_880;

    /// Worked out by hand from the formula, with a pledge of 100 and a fault fee of 3.51 (in millions).
    #[test]
    fn the_fee_has_the_published_numbers() {
        let params = LedgerParams::mainnet();
        let fee = |pledge: u64, fault_fee: u64, days: u64| {
            params.sectors.termination_fee(Amount(pledge), Amount(fault_fee), days * DAY, DAY).0
        };
        let (pledge, fault) = (100_000_000, 3_510_000);
        assert_eq!((params.sector_deposit, params.fault_fee), (Amount(pledge), Amount(fault)));
        // 1.05 x 3.51 = 3.6855 is the least here, until 8.5 % x age / 140 is more: from day 60.7 on.
        assert_eq!([0, 1, 60].map(|days| fee(pledge, fault, days)), [3_685_500; 3]);
        assert_eq!(fee(pledge, fault, 61), 3_703_572, "8.5 x 61 / 140 = 3.70357143, rounded up");
        assert_eq!(fee(pledge, fault, 70), 4_250_000);
        assert_eq!(fee(pledge, fault, 139), 8_439_286);
        assert_eq!([140, 141, 1_825].map(|days| fee(pledge, fault, days)), [8_500_000; 3]);
        // Without fault fees 2 % is the least, until day 32.9.
        assert_eq!([0, 32, 33].map(|days| fee(pledge, 0, days)), [2_000_000, 2_000_000, 2_003_572]);
        // A fault fee above the pledge's share is the fee at any age.
        assert_eq!(fee(pledge, 10_000_000, 1_000), 10_500_000);
        assert_eq!((fee(0, 0, 1_000), fee(1, 0, 0), fee(1, 0, 140)), (0, 1, 1));
        assert_eq!(fee(u64::MAX, u64::MAX, 0), u64::MAX, "the sum is cut, not wrapped");
    }

    proptest! {
        #[test]
        fn the_fee_grows_with_age_and_stays_between_its_bounds(pledge: u64, fault: u32, age in 0u64..1 << 40, more in 0u64..1 << 30) {
            let rules = SectorRules::with_extensions_of(1);
            let fee = |age| rules.termination_fee(Amount(pledge), Amount(fault.into()), age, DAY).0;
            prop_assert!(fee(age) <= fee(age + more));
            let (least, most) = (u128::from(fee(0)), u128::from(fee(1 << 60)));
            prop_assert!(least <= u128::from(fee(age)) && u128::from(fee(age)) <= most);
            prop_assert!(most * 10_000 < u128::from(pledge) * 850 + u128::from(fault) * 10_500 + 10_000);
        }
    }
}
