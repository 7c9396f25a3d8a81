//! Where money is that is not free, and the only ways to move it.
//!
//! Money is created at genesis, and afterwards by the schedule of rewards alone ([`crate::emission`]), which the supply
//! counts. It is free (an account's balance), locked (in one of the pots, on behalf of one order, bid, deal, provider,
//! sector, channel, rail account, vesting account, checker, validator, proof job or auditor that records the amount), or burnt. Each
//! move takes from one place and gives to another, so the sum cannot change; a move that a rule got wrong stops the
//! ledger instead of minting.

use cairn_protocol::Amount;
use serde::{Deserialize, Serialize};

use crate::ids::Address;
use crate::rejection::Rejection;
use crate::state::State;

/// What locked money is locked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pot {
    /// Deposits of open orders and escrow of deals.
    Escrow,
    /// Deposits of bids.
    BidDeposits,
    /// Collateral of providers.
    Collateral,
    /// Deposits of pre-committed and live sectors.
    SectorDeposits,
    /// Deposits of payment channels.
    Channels,
    /// Stake of validators.
    Stake,
    /// Accounts for rails.
    Rails,
    /// Rewards that are not free yet.
    Vesting,
    /// Stake of checkers.
    CheckerStake,
    /// What open and assigned proof jobs may cost.
    JobEscrow,
    /// Bonds of bidders and workers of proof jobs.
    JobBonds,
    /// Deposits of auditors, one for each provider that they vouch for.
    Attestations,
}

/// Totals of everything that is not free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Treasury {
    /// All money that was ever made.
    pub supply: Amount,
    /// Fees and lost deposits.
    pub burnt: Amount,
    /// See [`Pot::Escrow`].
    pub escrow: Amount,
    /// See [`Pot::BidDeposits`].
    pub bid_deposits: Amount,
    /// See [`Pot::Collateral`].
    pub collateral: Amount,
    /// See [`Pot::SectorDeposits`].
    pub sector_deposits: Amount,
    /// See [`Pot::Channels`].
    pub channels: Amount,
    /// See [`Pot::Stake`].
    pub stake: Amount,
    /// See [`Pot::Rails`].
    pub rails: Amount,
    /// See [`Pot::Vesting`].
    pub vesting: Amount,
    /// See [`Pot::CheckerStake`].
    pub checker_stake: Amount,
    /// See [`Pot::JobEscrow`].
    pub job_escrow: Amount,
    /// See [`Pot::JobBonds`].
    pub job_bonds: Amount,
    /// See [`Pot::Attestations`].
    pub attestations: Amount,
}

impl Treasury {
    fn pot_mut(&mut self, pot: Pot) -> &mut Amount {
        match pot {
            Pot::Escrow => &mut self.escrow,
            Pot::BidDeposits => &mut self.bid_deposits,
            Pot::Collateral => &mut self.collateral,
            Pot::SectorDeposits => &mut self.sector_deposits,
            Pot::Channels => &mut self.channels,
            Pot::Stake => &mut self.stake,
            Pot::Rails => &mut self.rails,
            Pot::Vesting => &mut self.vesting,
            Pot::CheckerStake => &mut self.checker_stake,
            Pot::JobEscrow => &mut self.job_escrow,
            Pot::JobBonds => &mut self.job_bonds,
            Pot::Attestations => &mut self.attestations,
        }
    }
}

/// Adds where the sum is at most the supply, which fits.
fn credit(place: &mut Amount, amount: Amount) {
    *place = place.checked_add(amount).expect("no place holds more than the supply");
}

/// Takes what is known to be there.
fn debit(place: &mut Amount, amount: Amount) {
    *place = place.checked_sub(amount).expect("a pot holds what was locked in it");
}

impl State {
    /// Locks free money of `from`.
    pub(crate) fn lock(&mut self, from: Address, pot: Pot, amount: Amount) -> Result<(), Rejection> {
        self.take_free(from, amount)?;
        credit(self.meta.treasury.pot_mut(pot), amount);
        Ok(())
    }

    /// Puts money that the genesis makes into a pot.
    pub(crate) fn credit_pot(&mut self, pot: Pot, amount: Amount) {
        credit(self.meta.treasury.pot_mut(pot), amount);
    }

    /// Makes a reward of `amount` for `to`: `free` of it at once, the rest locked as vesting.
    pub(crate) fn mint(&mut self, to: Address, free: Amount, amount: Amount) {
        let locked = amount.checked_sub(free).expect("a part is free");
        credit(&mut self.meta.treasury.supply, amount);
        credit(&mut self.meta.economy.minted, amount);
        self.credit_pot(Pot::Vesting, locked);
        self.give_free(to, free);
    }

    /// Gives locked money to `to`.
    pub(crate) fn release(&mut self, pot: Pot, to: Address, amount: Amount) {
        debit(self.meta.treasury.pot_mut(pot), amount);
        self.give_free(to, amount);
    }

    /// Burns locked money.
    pub(crate) fn burn(&mut self, pot: Pot, amount: Amount) {
        debit(self.meta.treasury.pot_mut(pot), amount);
        credit(&mut self.meta.treasury.burnt, amount);
    }

    /// Burns free money of `from`.
    pub(crate) fn burn_free(&mut self, from: Address, amount: Amount) -> Result<(), Rejection> {
        self.take_free(from, amount)?;
        credit(&mut self.meta.treasury.burnt, amount);
        Ok(())
    }

    /// Moves free money.
    pub(crate) fn transfer(&mut self, from: Address, to: Address, amount: Amount) -> Result<(), Rejection> {
        self.take_free(from, amount)?;
        self.give_free(to, amount);
        Ok(())
    }

    fn take_free(&mut self, from: Address, amount: Amount) -> Result<(), Rejection> {
        let mut account = self.account(&from);
        let Some(rest) = account.balance.checked_sub(amount) else {
            return Err(Rejection::InsufficientFunds { account: from, needed: amount, available: account.balance });
        };
        if !amount.is_zero() {
            account.balance = rest;
            self.accounts.insert(from, account);
        }
        Ok(())
    }

    fn give_free(&mut self, to: Address, amount: Amount) {
        if !amount.is_zero() {
            let mut account = self.account(&to);
            credit(&mut account.balance, amount);
            self.accounts.insert(to, account);
        }
    }
}
