//! Who decides blocks: stake, and who is missing lately.
//!
//! A validator is an address with money locked as stake. Its voting power is its stake in whole units
//! ([`POWER_UNIT`]), so fractions neither vote nor cost a byte. The set that decides a block is the set in the state after
//! the block before ([`crate::State::validators`]), so it may change with every block.
//!
//! Attendance is part of the state because everybody must agree on whose turn it is: each block carries the signatures
//! that decided the one before, and [`crate::State::record_attendance`] counts how many in a row a validator missed.
//!
//! Who signs two things that contradict each other loses a share of all that it has locked, what is leaving included, and
//! its vote ([`crate::State::slash`]). Stake leaves more slowly than such a contradiction may be brought, so it is always
//! still there. Whether there is a contradiction is judged by those who know what a vote is, before the ledger is asked.

use cairn_protocol::{Amount, Epoch};
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::ids::Address;
use crate::queue::Due;
use crate::state::{GenesisRejection, State, check_supply};
use crate::treasury::Pot;

/// Stake of one vote: one unit of money.
pub const POWER_UNIT: Amount = Amount(1_000_000);

/// Certificates in a row that a validator must miss until it is taken for absent. One may be lost by bad luck.
pub const ABSENT_AFTER: u32 = 2;

/// Parts of a stake that may be leaving at once.
pub const LEAVING_MAX: u64 = 16;

/// Rules for stake that a network agrees on at genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StakeParams {
    /// Epochs for which stake stays locked after it stopped voting, and for which a contradiction may be punished.
    pub unbonding_epochs: u64,
    /// Thousandths of everything locked that a contradiction burns, rounded up.
    pub slash_permille: u32,
}

/// Why a validator is not slashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlashRejection {
    /// Nothing of it is locked.
    #[error("{validator} has no stake")]
    NoStake {
        /// Who.
        validator: Address,
    },
    /// Once for each height is enough.
    #[error("{validator} was slashed before for what it signed at height {height}")]
    Repeated {
        /// Who.
        validator: Address,
        /// Height of the block that was being decided.
        height: Epoch,
    },
    /// Its stake could have left.
    #[error("what {validator} signed at height {height} is too old: {oldest} is the oldest height that counts")]
    Stale {
        /// Who.
        validator: Address,
        /// Height of the block that was being decided.
        height: Epoch,
        /// Oldest height that counts now.
        oldest: Epoch,
    },
    /// That block is not decided yet.
    #[error("what {validator} signed at height {height} is not known yet: the last block is {head}")]
    Future {
        /// Who.
        validator: Address,
        /// Height of the block that was being decided.
        height: Epoch,
        /// Height of the last block.
        head: Epoch,
    },
    /// Without it nobody would decide blocks.
    #[error("{validator} is the last validator and must keep its vote")]
    LastValidator {
        /// Who.
        validator: Address,
    },
}

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

    /// Punishes a validator that contradicted itself while block `height` was decided, before the next block is applied:
    /// burns its share, lets the rest leave, remembers it. The vote is gone with the next block.
    ///
    /// # Errors
    /// [`SlashRejection`]; nothing is changed then.
    pub fn slash(&mut self, validator: Address, height: Epoch) -> Result<Event, SlashRejection> {
        let mut record = self.check_slash(validator, height)?;
        let StakeParams { unbonding_epochs, slash_permille } = self.meta.params.stake;
        let mut burnt = Amount(0);
        let mut keep = |amount: Amount| {
            let lost = share(amount, slash_permille);
            burnt = burnt.checked_add(lost).expect("a part of the supply");
            amount.checked_sub(lost).expect("a share is at most all")
        };
        let mut rest = keep(std::mem::take(&mut record.stake));
        record.leaving.iter_mut().for_each(|(_, amount)| *amount = keep(*amount));
        record.leaving.retain(|(_, amount)| !amount.is_zero());
        if record.leaving.len() as u64 >= LEAVING_MAX {
            let (_, last) = record.leaving.pop().expect("there are some");
            rest = rest.checked_add(last).expect("a part of the supply");
        }
        let next = Epoch(self.meta.epoch.0 + 1);
        if !rest.is_zero() {
            let until = Epoch(next.0 + unbonding_epochs);
            record.leaving.push((until, rest));
            self.schedule(until, Due::StakeRelease(validator));
        }
        self.burn(Pot::Stake, burnt);
        match record.leaving.is_empty() {
            true => drop(self.validators.remove(&validator)),
            false => self.validators.insert(validator, record),
        }
        self.offences.insert((validator, height), ());
        self.schedule(Epoch(height.0 + unbonding_epochs + 1), Due::ForgetOffence(validator, height));
        Ok(Event::Slashed { validator, height, burnt })
    }

    /// Whether [`State::slash`] would do it, and to whose record.
    ///
    /// # Errors
    /// [`SlashRejection`].
    pub fn check_slash(&self, validator: Address, height: Epoch) -> Result<Validator, SlashRejection> {
        let head = self.meta.epoch;
        if height > head {
            return Err(SlashRejection::Future { validator, height, head });
        }
        let oldest = Epoch((head.0 + 1).saturating_sub(self.meta.params.stake.unbonding_epochs));
        if height < oldest {
            return Err(SlashRejection::Stale { validator, height, oldest });
        }
        if self.offences.contains(&(validator, height)) {
            return Err(SlashRejection::Repeated { validator, height });
        }
        let record = self.validators.get(&validator).cloned().ok_or(SlashRejection::NoStake { validator })?;
        let another = |(address, other): (Address, &Validator)| address != validator && other.power() > 0;
        if record.power() > 0 && !self.validators().any(another) {
            return Err(SlashRejection::LastValidator { validator });
        }
        Ok(record)
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

/// `permille` thousandths, rounded up.
fn share(amount: Amount, permille: u32) -> Amount {
    let exact = u128::from(amount.0) * u128::from(permille);
    Amount(u64::try_from(exact.div_ceil(1_000)).expect("at most the amount"))
}

#[cfg(test)]
mod tests {
    use cairn_protocol::Amount;
    use proptest::prelude::*;

    use super::*;
    use crate::command::Command;
    use crate::ids::ChainId;
    use crate::params::LedgerParams;
    use crate::testing::Network;

    /// Stake leaves in 6 epochs; one in twenty is burnt.
    fn hasty() -> LedgerParams {
        LedgerParams { stake: StakeParams { unbonding_epochs: 6, slash_permille: 50 }, ..LedgerParams::devnet() }
    }

    fn bonded(units: &[u64]) -> Network {
        let mut network = Network::new(hasty(), units.len() as u8);
        for (n, units) in (1..).zip(units) {
            network.command(n, Command::Bond { amount: Amount(units * POWER_UNIT.0) });
        }
        network
    }

    #[test]
    fn a_contradiction_burns_a_share_of_everything_and_ends_the_vote() {
        let mut network = bonded(&[40, 10]);
        let (liar, unit) = (Network::address(1), POWER_UNIT.0);
        network.command(1, Command::Unbond { amount: Amount(20 * unit) });
        let (burnt, height) = (network.state.treasury().burnt, network.state.epoch());
        let event = network.state.slash(liar, height).unwrap();
        assert_eq!(event, Event::Slashed { validator: liar, height, burnt: Amount(2 * unit) });
        assert_eq!(network.state.treasury().burnt.0, burnt.0 + 2 * unit, "of the stake, and of what is leaving");
        assert_eq!(network.state.validator(&liar).unwrap().power(), 0);
        assert_eq!(network.state.slash(liar, height), Err(SlashRejection::Repeated { validator: liar, height }));
        let before = network.state.account(&liar).balance;
        (0..7).for_each(|_| drop(network.block(&[])));
        assert_eq!(network.state.account(&liar).balance.0, before.0 + 38 * unit);
        assert!(network.state.validator(&liar).is_none(), "forgotten");
        assert_eq!(network.state.offences.len(), 0, "what is too old to be named again is forgotten too");
    }

    #[test]
    fn old_early_and_last_are_refused() {
        let mut network = bonded(&[2, 3]);
        let (one, two) = (Network::address(1), Network::address(2));
        (0..10).for_each(|_| drop(network.block(&[])));
        let head = network.state.epoch();
        let slash = |validator, height| network.state.clone().slash(validator, Epoch(height));
        assert!(matches!(slash(one, head.0 + 1), Err(SlashRejection::Future { .. })));
        let oldest = Epoch(head.0 + 1 - 6);
        assert_eq!(
            slash(one, oldest.0 - 1),
            Err(SlashRejection::Stale { validator: one, height: Epoch(oldest.0 - 1), oldest })
        );
        assert!(slash(one, oldest.0).is_ok());
        assert!(matches!(slash(Address([9; 32]), head.0), Err(SlashRejection::NoStake { .. })));
        network.state.slash(two, head).unwrap();
        assert_eq!(network.state.slash(one, head), Err(SlashRejection::LastValidator { validator: one }));
    }

    #[test]
    fn who_leaves_in_the_block_of_the_offence_is_still_there_in_the_last_block_that_may_name_it() {
        let mut network = bonded(&[2, 3]);
        network.command(1, Command::Unbond { amount: Amount(2 * POWER_UNIT.0) });
        let height = network.state.epoch();
        (0..5).for_each(|_| drop(network.block(&[])));
        network.state.slash(Network::address(1), height).unwrap();
        network.block(&[]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn money_is_conserved_through_bonds_unbonds_and_slashes(
            steps in prop::collection::vec((0u8..3, 1u8..5, 0u64..5_000_000, 0u64..9), 1..60),
        ) {
            let mut network = bonded(&[2, 2, 2, 2]);
            for (kind, n, amount, back) in steps {
                let amount = Amount(amount);
                match kind {
                    0 => drop(network.try_command(n, Command::Bond { amount })),
                    1 => drop(network.try_command(n, Command::Unbond { amount })),
                    _ => drop(network.state.slash(Network::address(n), Epoch(network.state.epoch().0.saturating_sub(back)))),
                }
                network.block(&[]);
                prop_assert!(network.state.validators().any(|(_, validator)| validator.power() > 0));
            }
        }
    }

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
