//! Who decides blocks: stake, and who is missing lately.
//!
//! A validator is an address with money locked as stake. Its voting power is its stake in whole units
//! ([`POWER_UNIT`]), so fractions neither vote nor cost a byte. The set that decides a block is the set in the state after
//! the block before ([`crate::State::validators`]), so it may change with every block.
//!
//! Attendance is part of the state because everybody must agree on whose turn it is: each block carries the signatures
//! that decided the one before, and [`crate::State::record_attendance`] counts how many in a row a validator missed.

use cairn_protocol::{Amount, Epoch};
use serde::{Deserialize, Serialize};

use crate::ids::Address;
use crate::state::{GenesisRejection, State, check_supply};
use crate::treasury::Pot;

/// Stake of one vote: one unit of money.
pub const POWER_UNIT: Amount = Amount(1_000_000);

/// Certificates in a row that a validator must miss until it is taken for absent. One may be lost by bad luck.
pub const ABSENT_AFTER: u32 = 2;

/// Parts of a stake that may be leaving at once.
pub const LEAVING_MAX: u64 = 16;

/// A validator's record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validator {
    /// Locked in [`Pot::Stake`], and voting.
    pub stake: Amount,
    /// Locked there too, but not voting: what was taken back, with the epoch at which it is free.
    pub leaving: Vec<(Epoch, Amount)>,
    /// Decisions in a row that it did not sign; stops counting at [`ABSENT_AFTER`].
    pub missed: u32,
}

impl Validator {
    /// Everything of it that is in [`Pot::Stake`].
    pub fn locked(&self) -> u128 {
        self.leaving.iter().map(|(_, amount)| *amount).chain([self.stake]).sum()
    }

    /// Votes.
    pub fn power(&self) -> u64 {
        self.stake.0 / POWER_UNIT.0
    }

    /// Whether it has missed so much that its turn to propose comes last.
    pub fn is_absent(&self) -> bool {
        self.missed >= ABSENT_AFTER
    }
}

impl State {
    /// A first state with validators whose stake is new money.
    ///
    /// # Errors
    /// [`GenesisRejection`] if one is named twice, has no vote, or there is too much money.
    pub fn with_validators(mut self, validators: &[(Address, Amount)]) -> Result<Self, GenesisRejection> {
        for &(address, stake) in validators {
            if stake < POWER_UNIT {
                return Err(GenesisRejection::StakeTooLow { address, stake });
            }
            if self.validators.contains(&address) {
                return Err(GenesisRejection::DuplicateValidator { address });
            }
            self.validators.insert(address, Validator { stake, ..Validator::default() });
            let supply = self.meta.treasury.supply.checked_add(stake).ok_or(GenesisRejection::SupplyOverflow)?;
            check_supply(&self.meta.params, supply)?;
            self.meta.treasury.supply = supply;
            self.credit_pot(Pot::Stake, stake);
        }
        Ok(self)
    }

    /// Everybody with money in [`Pot::Stake`], by address.
    pub fn validators(&self) -> impl Iterator<Item = (Address, &Validator)> {
        self.validators.iter().map(|(address, validator)| (*address, validator))
    }

    /// A validator.
    pub fn validator(&self, address: &Address) -> Option<&Validator> {
        self.validators.get(address)
    }

    /// Takes note of who signed the decision on the last block and who did not, before the next block is applied. Who is
    /// not named, or is no validator any more, stays as it is.
    pub fn record_attendance(&mut self, attendance: impl IntoIterator<Item = (Address, bool)>) {
        for (address, signed) in attendance {
            let Some(before) = self.validators.get(&address).map(|validator| validator.missed) else { continue };
            let missed = if signed { 0 } else { (before + 1).min(ABSENT_AFTER) };
            if missed != before {
                self.validators.update(&address, |validator| validator.missed = missed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_protocol::Amount;

    use super::*;
    use crate::ids::ChainId;
    use crate::params::LedgerParams;

    fn state(validators: &[(Address, Amount)]) -> Result<State, GenesisRejection> {
        State::genesis(ChainId([1; 32]), LedgerParams::devnet(), 0, &[])?.with_validators(validators)
    }

    #[test]
    fn stake_is_money_and_votes() {
        let state = state(&[(Address([1; 32]), Amount(2_999_999)), (Address([2; 32]), POWER_UNIT)]).unwrap();
        assert_eq!(state.validators().map(|(_, v)| v.power()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(state.treasury().supply, Amount(3_999_999));
        state.check_invariants().unwrap();
    }

    #[test]
    fn impossible_sets_are_refused() {
        let one = (Address([1; 32]), POWER_UNIT);
        assert!(matches!(state(&[one, one]), Err(GenesisRejection::DuplicateValidator { .. })));
        assert!(matches!(state(&[(one.0, Amount(1))]), Err(GenesisRejection::StakeTooLow { .. })));
        let much = (Address([2; 32]), Amount(u64::MAX));
        assert!(matches!(state(&[one, much]), Err(GenesisRejection::SupplyOverflow)));
    }

    #[test]
    fn absence_is_counted_and_forgiven() {
        let (here, gone) = (Address([1; 32]), Address([2; 32]));
        let mut state = state(&[(here, POWER_UNIT), (gone, POWER_UNIT)]).unwrap();
        for _ in 0..5 {
            state.record_attendance([(here, true), (gone, false), (Address([9; 32]), true)]);
        }
        assert!(!state.validator(&here).unwrap().is_absent());
        assert_eq!(state.validator(&gone).unwrap().missed, ABSENT_AFTER);
        state.record_attendance([(gone, true)]);
        assert!(!state.validator(&gone).unwrap().is_absent());
        assert_eq!(state.validators().count(), 2);
    }
}
