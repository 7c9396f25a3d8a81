//! The numbers of the economy; part of [`crate::LedgerParams`].

use cairn_protocol::Amount;
use serde::{Deserialize, Serialize};

use crate::emission::{EmissionParams, WHOLE_BP};
use crate::params::ParamsRejection;
use crate::payments::VestingRule;
use crate::scores::ballot::RoundCalendar;
use crate::scores::checks::CheckPlan;
use crate::scores::quality::QualityTarget;
use crate::scores::yuma::CHECKERS_MAX;
use crate::scores::{Fraction, ScoreParams};

/// Who may check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckerParams {
    /// Seats. When all are taken, more stake than the least takes that one's seat.
    pub checkers_max: u32,
    /// Least stake of a checker.
    pub stake_min: Amount,
    /// Epochs for which stake that leaves stays locked, and may be burnt.
    pub exit_epochs: u64,
    /// Burnt of the stake for a commitment that is not revealed, in basis points.
    pub unrevealed_burn_bp: u32,
    /// Burnt of the stake for receipts that are drawn and not opened, in basis points; 0: none are drawn.
    pub unopened_burn_bp: u32,
    /// Burnt of the stake for an opened receipt whose content most of the stake refutes, in basis points.
    pub refuted_burn_bp: u32,
    /// Of the stake of a checker whose receipts contradict each other, what its accuser gets, in basis points. The rest
    /// is burnt.
    pub reporter_bp: u32,
}

/// Emission, rounds and scores of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EconomyParams {
    /// Schedule, split, and what a settled payment burns.
    pub emission: EmissionParams,
    /// How rewards become free.
    pub vesting: VestingRule,
    /// Rounds and their phases.
    pub rounds: RoundCalendar,
    /// Checks of each checker in a round.
    pub checks: CheckPlan,
    /// What good service is.
    pub quality: QualityTarget,
    /// How opinions become scores.
    pub scores: ScoreParams,
    /// Who may check.
    pub checkers: CheckerParams,
    /// Provider numbers in a group, which is scored in one block, by itself.
    pub group_providers: u32,
    /// Rounds whose rewards can still be paid; what nobody asked for then is not minted.
    pub reward_rounds_kept: u64,
    /// Most rails that one sector's proofs may decide.
    pub sector_rails_max: u32,
}

impl EconomyParams {
    /// For blocks of about 100 ms: a round takes 20 s. Payments burn nothing, so that what a deal pays is what its parties
    /// agreed on, to the unit; then service is not matched either.
    pub fn devnet() -> Self {
        Self {
            emission: EmissionParams {
                first_reward: Amount(1_000_000),
                settlement_burn_bp: 0,
                service_match_bp: 0,
                ..EmissionParams::default()
            },
            vesting: VestingRule { free_bp: 2_500, duration_epochs: 10_000, bucket_epochs: 200 },
            rounds: RoundCalendar { round_epochs: 200, commit_epochs: 40, reveal_epochs: 40, open_epochs: 40 },
            checks: CheckPlan { targets: 8, samples: 5, range_bytes: 256 << 10 },
            quality: QualityTarget { samples_min: 5, ..QualityTarget::default() },
            checkers: CheckerParams {
                checkers_max: 64,
                stake_min: Amount(10_000_000),
                exit_epochs: 400,
                unrevealed_burn_bp: 100,
                unopened_burn_bp: 500,
                refuted_burn_bp: 2_000,
                reporter_bp: 1_000,
            },
            ..Self::mainnet()
        }
    }

    /// For epochs of 30 s: a round is a day; an hour to commit, an hour to reveal. A checker fetches 500 ranges of 1 MiB
    /// in a round, from at most 50 providers. A block scores at most 64 x 512 opinions, 16 ms on one core.
    pub fn mainnet() -> Self {
        Self {
            emission: EmissionParams::default(),
            vesting: VestingRule::default(),
            rounds: RoundCalendar { round_epochs: 2_880, commit_epochs: 120, reveal_epochs: 120, open_epochs: 120 },
            checks: CheckPlan { targets: 50, samples: 10, range_bytes: 1 << 20 },
            quality: QualityTarget::default(),
            scores: ScoreParams { cells_max: 1 << 15, ..ScoreParams::default() },
            checkers: CheckerParams {
                checkers_max: 64,
                stake_min: Amount(1_000_000_000),
                exit_epochs: 3 * 2_880,
                unrevealed_burn_bp: 100,
                unopened_burn_bp: 500,
                refuted_burn_bp: 2_000,
                reporter_bp: 1_000,
            },
            group_providers: 512,
            reward_rounds_kept: 60,
            sector_rails_max: 16,
        }
    }

    /// Most opinions in a reveal: one for each provider that a checker is sent to.
    pub const fn opinions_max(&self) -> usize {
        self.checks.targets as usize
    }

    /// Checks that the numbers fit each other.
    ///
    /// # Errors
    /// [`ParamsRejection`] names the first that does not.
    pub fn validate(&self) -> Result<(), ParamsRejection> {
        const EPOCHS_MAX: u64 = 1 << 40;
        let check = |holds, name, got, rule| if holds { Ok(()) } else { Err(ParamsRejection { name, got, rule }) };
        self.emission.validate()?;
        let vesting = self.vesting.duration_epochs;
        check(self.vesting.is_valid(), "vesting", vesting, "durations of 1 to 2^40 epochs, at most the whole free")?;
        let round = self.rounds.round_epochs;
        check(self.rounds.is_valid() && round <= EPOCHS_MAX, "rounds", round, "a round must hold its phases")?;
        let opinions = self.opinions_max() as u64;
        check((1..=4_096).contains(&opinions), "checks.targets", opinions, "must be 1 to 4,096")?;
        let samples = self.checks.samples;
        check(
            samples >= self.quality.samples_min.max(1) && samples <= 1 << 16,
            "checks.samples",
            samples.into(),
            "must be enough for an opinion, and at most 65,536",
        )?;
        let range = self.checks.range_bytes;
        check((1..=1 << 30).contains(&range), "checks.range_bytes", range, "must be 1 byte to 1 GiB")?;
        let (checkers, group) = (u64::from(self.checkers.checkers_max), u64::from(self.group_providers));
        check(
            checkers >= 1 && checkers <= CHECKERS_MAX as u64 && group >= 1 && checkers * group <= self.scores.cells_max,
            "group_providers",
            group,
            "times checkers_max must be at most scores.cells_max",
        )?;
        let whole = |part: u32| part <= WHOLE_BP;
        let CheckerParams { unrevealed_burn_bp: burn, unopened_burn_bp, refuted_burn_bp, reporter_bp, .. } =
            self.checkers;
        let parts = [burn, unopened_burn_bp, refuted_burn_bp, reporter_bp];
        check(parts.into_iter().all(whole), "checkers", burn.into(), "parts are at most 10,000 basis points")?;
        check(
            self.checkers.stake_min > Amount::ZERO && (1..=EPOCHS_MAX).contains(&self.checkers.exit_epochs),
            "checkers.exit_epochs",
            self.checkers.exit_epochs,
            "stake must be more than none, and leave within 2^40 epochs",
        )?;
        let kept = self.reward_rounds_kept;
        check((2..=1 << 16).contains(&kept), "reward_rounds_kept", kept, "must be 2 to 65,536")?;
        let rails = self.sector_rails_max;
        check((1..=1_024).contains(&rails), "sector_rails_max", rails.into(), "must be 1 to 1,024")?;
        check(self.scores.kappa > Fraction::ZERO, "scores.kappa", 0, "must be more than nothing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_do_not_fit_are_named() {
        let broken = |change: fn(&mut EconomyParams)| {
            let mut params = EconomyParams::devnet();
            assert_eq!(params.validate(), Ok(()));
            change(&mut params);
            params.validate().unwrap_err().name
        };
        assert_eq!(broken(|p| p.emission.halving_epochs = 0), "halving_epochs");
        assert_eq!(broken(|p| p.vesting.bucket_epochs = 0), "vesting");
        assert_eq!(broken(|p| p.rounds.round_epochs = 80), "rounds");
        assert_eq!(broken(|p| p.rounds.reveal_epochs = 120), "rounds");
        assert_eq!(broken(|p| p.rounds.open_epochs = 1), "rounds");
        assert_eq!(broken(|p| p.checks.targets = 0), "checks.targets");
        assert_eq!(broken(|p| p.checks.samples = 4), "checks.samples");
        assert_eq!(broken(|p| p.checks.range_bytes = 0), "checks.range_bytes");
        assert_eq!(broken(|p| p.group_providers = 513), "group_providers");
        assert_eq!(broken(|p| p.checkers.reporter_bp = 10_001), "checkers");
        assert_eq!(broken(|p| p.checkers.stake_min = Amount::ZERO), "checkers.exit_epochs");
        assert_eq!(broken(|p| p.reward_rounds_kept = 1), "reward_rounds_kept");
        assert_eq!(broken(|p| p.sector_rails_max = 0), "sector_rails_max");
    }
}
