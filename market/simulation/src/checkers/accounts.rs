//! Nonces, vouchers, stakes.

use std::collections::BTreeMap;

use cairn_ledger::payments::ChannelId;
use cairn_ledger::state::columns;
use cairn_ledger::validator::POWER_UNIT;
use cairn_ledger::{Address, Command, Event, Outcome, State};
use cairn_protocol::Epoch;

use super::Checker;
use crate::observation::Observation;

/// See [`super::PROMISES`].
pub struct NoncesCount;

impl NoncesCount {
    pub(super) fn new(_: &State) -> Self {
        Self
    }
}

impl Checker for NoncesCount {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        let mut next: BTreeMap<Address, u64> = BTreeMap::new();
        for (offer, _) in seen.paying() {
            let (sender, got) = (offer.signed.transaction.sender, offer.signed.transaction.nonce);
            let expected = next.entry(sender).or_insert_with(|| seen.before.account(&sender).nonce);
            if *expected != got {
                return Err(format!("nonce {got} of {sender} was taken, {expected} was next"));
            }
            *expected += 1;
        }
        for (address, is_there) in seen.touched::<Address>(columns::ACCOUNTS) {
            let expected = next.get(&address).copied().unwrap_or_else(|| seen.before.account(&address).nonce);
            let got = seen.after.account(&address).nonce;
            if got != expected || !is_there {
                return Err(format!("{address} should have nonce {expected}, has {got}"));
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Channel {
    payer: Address32,
    deposited: u128,
    redeemed: u128,
}

type Address32 = Option<Address>;

/// See [`super::PROMISES`].
pub struct VouchersPayOnce {
    channels: BTreeMap<ChannelId, Channel>,
}

impl VouchersPayOnce {
    pub(super) fn new(_: &State) -> Self {
        Self { channels: BTreeMap::new() }
    }

    fn read(&mut self, event: &Event, command: Option<&Command>, seen: &Observation) -> Result<(), String> {
        match *event {
            Event::ChannelOpened { channel, payer, deposit, .. } => {
                let opened = Channel { payer: Some(payer), deposited: deposit.0.into(), redeemed: 0 };
                self.channels.insert(channel, opened);
            }
            Event::ChannelToppedUp { channel, amount } => {
                self.channels.entry(channel).or_default().deposited += u128::from(amount.0);
            }
            Event::VoucherRedeemed { channel, paid, cumulative } => {
                let known = self.channels.entry(channel).or_default();
                let (paid, cumulative) = (u128::from(paid.0), u128::from(cumulative.0));
                let new =
                    cumulative.checked_sub(known.redeemed).filter(|new| *new > 0 && cumulative <= known.deposited);
                if new != Some(paid) {
                    let Channel { deposited, redeemed, .. } = known;
                    return Err(format!("{channel} of {deposited}: {paid} paid for {cumulative} after {redeemed}"));
                }
                known.redeemed = cumulative;
                let Some(Command::RedeemVoucher(signed)) = command else { return Err("paid without a voucher".into()) };
                let payer = known.payer.filter(|payer| signed.is_signed_by(seen.after.chain(), *payer));
                if payer.is_none() || u128::from(signed.voucher.cumulative.0) != cumulative {
                    return Err(format!("{channel} paid for what its payer did not sign"));
                }
            }
            Event::ChannelClosed { channel, returned, .. } => {
                let Channel { deposited, redeemed, .. } = self.channels.remove(&channel).unwrap_or_default();
                if u128::from(returned.0) != deposited - redeemed {
                    return Err(format!("{channel} held {deposited} less {redeemed}, returned {returned}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Checker for VouchersPayOnce {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        seen.due_events().iter().try_for_each(|event| self.read(event, None, seen))?;
        for (offer, receipt) in seen.receipts() {
            let command = &offer.signed.transaction.command;
            receipt.events.iter().try_for_each(|event| self.read(event, Some(command), seen))?;
        }
        Ok(())
    }
}

/// See [`super::PROMISES`].
pub struct VotesAreStaked {
    leaving: BTreeMap<Address, Vec<(Epoch, u64)>>,
}

impl VotesAreStaked {
    pub(super) fn new(_: &State) -> Self {
        Self { leaving: BTreeMap::new() }
    }

    /// All that was leaving is less by its share, and what is left of the stake begins to leave.
    fn slash(&mut self, validator: Address, seen: &Observation) {
        let params = seen.after.params().stake;
        let left =
            |amount: u64| amount - (u128::from(amount) * u128::from(params.slash_permille)).div_ceil(1_000) as u64;
        let parts = self.leaving.entry(validator).or_default();
        parts.iter_mut().for_each(|(_, part)| *part = left(*part));
        let stake = seen.before.validator(&validator).map_or(0, |record| record.stake.0);
        if left(stake) > 0 {
            parts.push((Epoch(seen.now().0 + params.unbonding_epochs), left(stake)));
        }
    }
}

impl Checker for VotesAreStaked {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        for event in &seen.outcome.events {
            if let Event::Slashed { validator, .. } = event {
                self.slash(*validator, seen);
            }
            let Event::StakeReleased { validator, amount } = event else { continue };
            let parts = self.leaving.entry(*validator).or_default();
            let due = parts.iter().position(|(until, part)| *until <= seen.now() && *part == amount.0);
            parts.remove(due.ok_or(format!("{amount} of {validator} is released and was not due"))?);
        }
        for (offer, receipt) in seen.receipts() {
            if let (Command::Unbond { amount }, Outcome::Applied) =
                (&offer.signed.transaction.command, &receipt.outcome)
            {
                let until = Epoch(seen.now().0 + seen.after.params().stake.unbonding_epochs);
                self.leaving.entry(offer.signed.transaction.sender).or_default().push((until, amount.0));
            }
        }
        let votes: u64 = seen.after.validators().map(|(_, validator)| validator.power()).sum();
        let locked = seen.after.treasury().stake.0 / POWER_UNIT.0;
        match votes {
            0 => Err("nobody has a vote any more".to_owned()),
            votes if votes > locked => Err(format!("{votes} votes, {locked} units are locked")),
            _ => Ok(()),
        }
    }
}
