//! Stake: who votes, and money that stops voting.
//!
//! Stake that is taken back stops voting with the next block and stays locked for `unbonding_epochs` more, so that a
//! validator cannot take its money and run before its contradictions are known ([`State::slash`](crate::State::slash)).

use cairn_protocol::{Amount, Epoch};

use super::Step;
use super::providers::positive;
use crate::event::Event;
use crate::ids::Address;
use crate::queue::Due;
use crate::rejection::Rejection;
use crate::treasury::Pot;
use crate::validator::{LEAVING_MAX, POWER_UNIT, Validator};

impl Step<'_> {
    pub(super) fn bond(&mut self, amount: Amount) -> Result<(), Rejection> {
        positive("stake", amount)?;
        let mut record = self.state.validator(&self.sender).cloned().unwrap_or_default();
        let overflow = || Rejection::Overflow { what: "stake".to_owned() };
        record.stake = record.stake.checked_add(amount).ok_or_else(overflow)?;
        check_votes(record.stake)?;
        self.state.lock(self.sender, Pot::Stake, amount)?;
        self.change_stake(record);
        Ok(())
    }

    pub(super) fn unbond(&mut self, amount: Amount) -> Result<(), Rejection> {
        positive("stake", amount)?;
        let validator = self.sender;
        let Some(mut record) = self.state.validator(&validator).cloned() else {
            return Err(Rejection::UnknownValidator { validator });
        };
        let Some(rest) = record.stake.checked_sub(amount) else {
            let (needed, available) = (amount, record.stake);
            return Err(Rejection::InsufficientFunds { account: validator, needed, available });
        };
        if rest.is_zero() {
            let another = |(address, other): (Address, &Validator)| address != validator && other.power() > 0;
            if !self.state.validators().any(another) {
                return Err(Rejection::LastValidator { validator });
            }
        } else {
            check_votes(rest)?;
        }
        let parts = record.leaving.len() as u64 + 1;
        super::in_range("parts of a stake that are leaving", parts, 1, LEAVING_MAX)?;
        let until = self.later(self.now(), self.state.meta.params.stake.unbonding_epochs);
        record.stake = rest;
        record.leaving.push((until, amount));
        self.state.schedule(until, Due::StakeRelease(validator));
        self.change_stake(record);
        Ok(())
    }

    fn change_stake(&mut self, record: Validator) {
        let stake = record.stake;
        self.state.validators.insert(self.sender, record);
        self.emit(Event::StakeChanged { validator: self.sender, stake });
    }

    /// Gives back what has left by `due_at`; returns the weight.
    pub(super) fn release_stake(&mut self, validator: Address, due_at: Epoch) -> u64 {
        let Some(mut record) = self.state.validator(&validator).cloned() else { return 1 };
        let (left, leaving): (Vec<_>, Vec<_>) = record.leaving.iter().partition(|(until, _)| *until <= due_at);
        for &(_, amount) in &left {
            self.state.release(Pot::Stake, validator, amount);
            self.emit(Event::StakeReleased { validator, amount });
        }
        record.leaving = leaving;
        if record.stake.is_zero() && record.leaving.is_empty() {
            self.state.validators.remove(&validator);
        } else {
            self.state.validators.insert(validator, record);
        }
        left.len() as u64
    }
}

fn check_votes(stake: Amount) -> Result<(), Rejection> {
    super::in_range("stake", stake.0, POWER_UNIT.0, u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LedgerParams;
    use crate::command::Command;
    use crate::testing::Network;
    use crate::validator::StakeParams;

    const UNIT: u64 = POWER_UNIT.0;

    fn bond(units: u64) -> Command {
        Command::Bond { amount: Amount(units * UNIT) }
    }

    fn unbond(amount: u64) -> Command {
        Command::Unbond { amount: Amount(amount) }
    }

    /// A network whose stake is free after 20 epochs.
    fn hasty() -> Network {
        let devnet = LedgerParams::devnet();
        let stake = StakeParams { unbonding_epochs: 20, ..devnet.stake };
        Network::new(LedgerParams { stake, ..devnet }, 3)
    }

    fn powers(network: &Network) -> Vec<u64> {
        network.state.validators().map(|(_, validator)| validator.power()).filter(|power| *power > 0).collect()
    }

    #[test]
    fn stake_votes_at_once_and_leaves_late() {
        let mut network = hasty();
        network.command(1, bond(2));
        network.command(2, bond(3));
        assert_eq!(powers(&network).iter().sum::<u64>(), 5);
        let before = network.state.account(&Network::address(1)).balance;
        network.command(1, unbond(UNIT));
        network.command(1, unbond(UNIT));
        assert_eq!(powers(&network), [3]);
        assert_eq!(network.state.treasury().stake, Amount(5 * UNIT), "still locked");
        (0..20).for_each(|_| drop(network.block(&[])));
        let after = network.state.account(&Network::address(1)).balance;
        assert_eq!(after.0 + 2 * network.state.params().transaction_fee.0, before.0 + 2 * UNIT);
        assert!(network.state.validator(&Network::address(1)).is_none(), "forgotten");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut network = Network::new(LedgerParams::devnet(), 3);
        let out_of_range = |rejection| matches!(rejection, Rejection::OutOfRange { .. });
        assert!(out_of_range(network.rejection(1, Command::Bond { amount: Amount(UNIT - 1) })));
        assert!(matches!(network.rejection(1, bond(0)), Rejection::ZeroAmount { .. }));
        assert!(matches!(network.rejection(1, unbond(1)), Rejection::UnknownValidator { .. }));
        network.command(1, bond(2));
        assert!(matches!(network.rejection(1, unbond(2 * UNIT)), Rejection::LastValidator { .. }));
        assert!(matches!(network.rejection(1, unbond(3 * UNIT)), Rejection::InsufficientFunds { .. }));
        assert!(out_of_range(network.rejection(1, unbond(UNIT + 1))));
        let most = Command::Bond { amount: Amount(u64::MAX) };
        assert!(matches!(network.rejection(1, most), Rejection::Overflow { .. }));
        for _ in 0..LEAVING_MAX {
            network.command(1, unbond(1));
        }
        assert!(out_of_range(network.rejection(1, unbond(1))));
    }
}
