//! Sums of money. Between full sums, only what a block touched is added up.

use std::collections::BTreeMap;

use cairn_ledger::payments::ChannelId;
use cairn_ledger::state::columns;
use cairn_ledger::{Address, DealId, Job, JobId, OrderId, State, Treasury};
use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber};

use super::Checker;
use crate::observation::Observation;

/// See [`super::PROMISES`].
pub struct SupplyConserved {
    free: u128,
}

impl SupplyConserved {
    pub(super) fn new(state: &State) -> Self {
        Self { free: free(state) }
    }
}

fn free(state: &State) -> u128 {
    state.accounts().map(|(_, account)| account.balance).sum()
}

fn not_free(treasury: &Treasury) -> u128 {
    pots(treasury).into_iter().map(|(_, amount)| amount).chain([treasury.burnt]).sum()
}

impl Checker for SupplyConserved {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        for (address, _) in seen.touched::<Address>(columns::ACCOUNTS) {
            self.free += u128::from(seen.after.account(&address).balance.0);
            self.free -= u128::from(seen.before.account(&address).balance.0);
        }
        if seen.full && self.free != free(&seen.after) {
            return Err(format!("balances sum to {}, their changes to {}", free(&seen.after), self.free));
        }
        let treasury = seen.after.treasury();
        let (expected, got) = (u128::from(treasury.supply.0), self.free + not_free(treasury));
        if expected == got { Ok(()) } else { Err(format!("supply is {expected}, balances, pots and burnt make {got}")) }
    }
}

fn pots(treasury: &Treasury) -> [(&'static str, Amount); 12] {
    [
        ("escrow", treasury.escrow),
        ("bid deposits", treasury.bid_deposits),
        ("collateral", treasury.collateral),
        ("sector deposits", treasury.sector_deposits),
        ("channels", treasury.channels),
        ("stake", treasury.stake),
        ("rails", treasury.rails),
        ("vesting", treasury.vesting),
        ("checker stake", treasury.checker_stake),
        ("job escrow", treasury.job_escrow),
        ("job bonds", treasury.job_bonds),
        ("attestations", treasury.attestations),
    ]
}

/// See [`super::PROMISES`].
pub struct PotsMatch {
    locked: BTreeMap<&'static str, u128>,
}

impl PotsMatch {
    pub(super) fn new(state: &State) -> Self {
        let stake = state.validators().map(|(_, validator)| validator.locked()).sum();
        let mut locked: BTreeMap<_, _> = pots(state.treasury()).map(|(pot, _)| (pot, 0)).into();
        locked.insert("stake", stake);
        Self { locked }
    }

    /// Adds to a pot what `locked` says about `after`, less what it says about `before`.
    fn moved<K>(
        &mut self,
        pot: &'static str,
        seen: &Observation,
        keys: impl Iterator<Item = (K, bool)>,
        locked: impl Fn(&State, &K) -> u128,
    ) {
        let sum = self.locked.get_mut(pot).expect("all pots are known");
        for (key, _) in keys {
            *sum = *sum + locked(&seen.after, &key) - locked(&seen.before, &key);
        }
    }
}

fn or_nothing(amount: Option<Amount>) -> u128 {
    u128::from(amount.unwrap_or_default().0)
}

impl Checker for PotsMatch {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        let (orders, deals) = (seen.touched(columns::ORDERS), seen.touched(columns::DEALS));
        self.moved("escrow", seen, orders, |s, id: &OrderId| or_nothing(s.order(*id).map(|o| o.deposit)));
        self.moved("escrow", seen, deals, |s, id: &DealId| or_nothing(s.deal(*id).map(|d| d.escrow)));
        self.moved(
            "bid deposits",
            seen,
            seen.touched(columns::BIDS),
            |s, (order, provider): &(OrderId, ProviderId)| or_nothing(s.bid(*order, *provider).map(|bid| bid.deposit)),
        );
        self.moved("collateral", seen, seen.touched(columns::PROVIDERS), |s, id: &ProviderId| {
            or_nothing(s.provider(*id).map(|provider| provider.collateral))
        });
        let sectors = seen.touched(columns::SECTORS);
        self.moved("sector deposits", seen, sectors, |s, (provider, number): &(ProviderId, SectorNumber)| {
            or_nothing(s.sector(*provider, *number).map(|sector| sector.deposit))
        });
        self.moved("channels", seen, seen.touched(columns::CHANNELS), |s, id: &ChannelId| {
            or_nothing(s.channel(*id).map(|channel| channel.held()))
        });
        self.moved("stake", seen, seen.touched(columns::VALIDATORS), |s, address: &Address| {
            s.validator(address).map_or(0, |validator| validator.locked())
        });
        self.moved("rails", seen, seen.touched(columns::RAIL_ACCOUNTS), |s, address: &Address| {
            s.rails().account(address).funds.0.into()
        });
        self.moved("vesting", seen, seen.touched(columns::VESTING), |s, address: &Address| {
            s.vesting(address).locked().0.into()
        });
        self.moved("checker stake", seen, seen.touched(columns::CHECKERS), |s, address: &Address| {
            or_nothing(s.checker(address).map(|checker| checker.stake))
        });
        let exits = seen.touched(columns::CHECKER_EXITS);
        self.moved("checker stake", seen, exits, |s, (address, until): &(Address, Epoch)| {
            s.exits_of(*address).filter(|(at, _)| at == until).map(|(_, amount)| amount).sum()
        });
        self.moved("job escrow", seen, seen.touched(columns::JOBS), |s, id: &JobId| {
            or_nothing(s.job(*id).map(|j| j.escrow))
        });
        self.moved("job bonds", seen, seen.touched(columns::JOBS), |s, id: &JobId| {
            or_nothing(s.job(*id).map(Job::bond))
        });
        self.moved("job bonds", seen, seen.touched(columns::JOB_BIDS), |s, (job, worker): &(JobId, Address)| {
            or_nothing(s.job_bid(*job, *worker).map(|bid| bid.bond))
        });
        let signed = seen.touched(columns::ATTESTATIONS);
        self.moved("attestations", seen, signed, |s, (provider, auditor): &(ProviderId, Address)| {
            or_nothing(s.attestations_of(*provider).find(|(by, _)| by == auditor).map(|(_, entry)| entry.deposit))
        });
        for (pot, held) in pots(seen.after.treasury()) {
            let locked = self.locked[pot];
            if locked != u128::from(held.0) {
                return Err(format!("{pot} holds {}, its entries have locked {locked}", held.0));
            }
        }
        Ok(())
    }
}

/// See [`super::PROMISES`]: the ledger's own account of itself.
pub struct BooksBalance;

impl BooksBalance {
    pub(super) fn new(_: &State) -> Self {
        Self
    }
}

impl Checker for BooksBalance {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        if seen.full { seen.after.check_invariants().map_err(|violation| violation.to_string()) } else { Ok(()) }
    }

    fn finish(&mut self, state: &State) -> Result<(), String> {
        state.check_invariants().map_err(|violation| violation.to_string())
    }
}
