//! Rails: a rate per epoch from one account to another, settled when somebody asks.
//!
//! Source: `spec/market.md` 2.5 (Filecoin Pay), 4 (settlement on touch; what Akash's version lacks), D5 (pay only for
//! proven periods).
//!
//! # Money of an account
//! ```text
//! funds = free + lockup                                       lockup is a floor, not a prepayment:
//! lockup = sum over its rails of  fixed + rate x period + what has streamed and is not settled
//! ```
//! Time moves money from free to lockup at the sum of the rates. It does so when the account is touched
//! (`accrue`), and only as far as there are free funds: up to [`PayAccount::funded_until`], which no touch changes. An
//! account that runs dry there still owes `rate x period` on each rail, and has it locked.
//!
//! # Steps
//! - *Settle* ([`RailBook::settle`]), by anyone: walk from `settled_until` to what the payer has funded, asking the
//!   [`ProofTable`] about each span. Proven epochs pay; faulted ones go back to free funds; an open one stops the walk.
//! - *Terminate* ([`RailBook::terminate`]): streaming ends now, the rail ends `period` epochs after the last funded
//!   epoch, paid out of its lockup as far as proven. When all of it is settled the rest of the lockup is free again.
//! - *Run dry* ([`RailBook::terminate_next_unfunded`]): accounts stand in a queue by `funded_until`; a block takes those
//!   that are due and terminates their rails, one for each call. So nobody serves for free until somebody looks.
//! - *Change the rate*: earlier rates are kept as segments until they are settled.
//!
//! # Invariants
//! - *Conservation*: funds of all accounts plus what was burnt = deposits less withdrawals.
//! - *Covered*: `lockup <= funds`, and `lockup` is the sum above, exactly.
//! - *Queued*: an account with a rate has exactly one queue entry, at its `funded_until`.
//! - *Bounded*: a settlement walks at most [`SPANS_MAX`] spans, a rail keeps at most [`SEGMENTS_MAX`] earlier rates.
//!
//! The book is part of the ledger's state: `apply::rails` moves the money in and out, and answers for the proofs.
//!
//! # Where trust remains
//! In the proof table: it must give a verdict on every epoch in the end, or money waits for ever. Sector deadlines do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber};
use serde::{Deserialize, Serialize};

use crate::emission::part_of;
use crate::ids::Address;
use crate::table::Table;

/// Most spans that one settlement walks; the next one goes on from there.
pub const SPANS_MAX: usize = 64;
/// Most earlier rates of a rail that wait for settlement.
pub const SEGMENTS_MAX: usize = 16;
/// Longest lockup period, in epochs.
pub const LOCKUP_PERIOD_MAX: u64 = 1 << 32;

/// A rail's number; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RailId(pub u64);

impl fmt::Display for RailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rail-{}", self.0)
    }
}

/// What decides which epochs of a rail pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RailBinding {
    /// Nothing: every epoch pays. The parties trust each other, or either terminates.
    Nothing,
    /// The epochs in which a sector is proven.
    Sector {
        /// Whose sector.
        provider: ProviderId,
        /// Which.
        sector: SectorNumber,
        /// First epoch that pays nothing whatever is proven, if there is one: the end of a deal.
        until: Option<Epoch>,
    },
}

/// What is known about some epochs of a rail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Pay.
    Proven,
    /// Do not pay.
    Faulted,
    /// Not known yet: wait.
    Open,
}

/// A verdict and how far it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofSpan {
    /// What is known.
    pub verdict: Verdict,
    /// First epoch for which it may be different.
    pub until: Epoch,
}

/// Who knows what was proven.
pub trait ProofTable {
    /// The verdict on `from` and the epochs after it, for a rail that is bound so.
    fn span(&self, binding: &RailBinding, from: Epoch) -> ProofSpan;
}

/// What a rail is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RailTerms {
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// For each proven epoch.
    pub rate: Amount,
    /// Epochs that are paid after termination.
    pub lockup_period: u64,
    /// For payments at once.
    pub lockup_fixed: Amount,
    /// Which epochs pay.
    pub binding: RailBinding,
}

/// An earlier rate that is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Segment {
    rate: Amount,
    until: Epoch,
}

/// A rail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rail {
    /// As now agreed; `lockup_fixed` is what is left of it.
    pub terms: RailTerms,
    /// Epochs before this one are settled.
    pub settled_until: Epoch,
    /// First epoch that is not paid, once terminated.
    pub ends_at: Option<Epoch>,
    segments: VecDeque<Segment>,
}

/// One account's money for rails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PayAccount {
    /// Everything in it.
    pub funds: Amount,
    /// Of that, not free.
    pub lockup: Amount,
    /// Sum of the rates of rails that stream.
    pub rate: Amount,
    /// Streams before this epoch are in the lockup.
    pub accrued_until: Epoch,
}

/// What a settlement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// To the payee.
    pub paid: Amount,
    /// Burnt of the payment.
    pub burnt: Amount,
    /// Back to the payer's free funds.
    pub unlocked: Amount,
    /// Epochs before this one are settled now.
    pub settled_until: Epoch,
    /// Whether the rail is over and forgotten.
    pub closed: bool,
}

/// What a rail would take, before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RailQuote {
    /// Locked at once, beyond what the payer's other rails have locked.
    pub locked: Amount,
    /// The payer's free funds.
    pub free: Amount,
    /// What these lack; nothing if the rail can be opened.
    pub missing: Amount,
    /// Epochs for which the rest pays for all the payer's rails; `None` if these cost nothing.
    pub runway_epochs: Option<u64>,
}

/// Why the book does not do what is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum RailRejection {
    /// No such rail.
    #[error("{rail} does not exist")]
    UnknownRail { rail: RailId },
    /// Payer and payee are one.
    #[error("a rail needs two parties, {party} is both")]
    OneParty { party: Address },
    /// Not enough free funds.
    #[error("{account} has {free} free, needs {needed}")]
    NotFunded { account: Address, needed: Amount, free: Amount },
    /// The account ran dry before now.
    #[error("{account} is funded until epoch {until} only")]
    RunDry { account: Address, until: Epoch },
    /// Somebody else's right.
    #[error("{who} may not {what}")]
    NotAllowed { who: Address, what: String },
    /// The rail streams no more.
    #[error("{rail} ends at epoch {ends_at}")]
    Terminated { rail: RailId, ends_at: Epoch },
    /// More than is locked for it.
    #[error("{rail} has {fixed} locked for payments at once, not {got}")]
    FixedTooSmall { rail: RailId, fixed: Amount, got: Amount },
    /// A number that is taken.
    #[error("{rail} exists")]
    Exists { rail: RailId },
    /// Too many rates wait for settlement.
    #[error("{rail} has {SEGMENTS_MAX} earlier rates to settle first")]
    TooManyRates { rail: RailId },
    /// A number outside its bounds.
    #[error("{what} does not fit")]
    Overflow { what: String },
}

impl RailTerms {
    /// What a rail of these terms locks when it opens.
    fn lockup(&self) -> Result<Amount, RailRejection> {
        if self.payer == self.payee {
            return Err(RailRejection::OneParty { party: self.payer });
        }
        if self.lockup_period > LOCKUP_PERIOD_MAX {
            return Err(RailRejection::Overflow { what: "the lockup period".to_owned() });
        }
        let locked = self.rate.checked_mul(self.lockup_period).and_then(|sum| sum.checked_add(self.lockup_fixed));
        locked.ok_or_else(|| RailRejection::Overflow { what: "rate x period + fixed".to_owned() })
    }
}

impl PayAccount {
    /// What can be withdrawn or locked, as of the last accrual.
    pub fn free(&self) -> Amount {
        self.funds.checked_sub(self.lockup).expect("lockup is covered by funds")
    }

    /// First epoch that the account cannot stream any more; `None` if it streams nothing.
    pub fn funded_until(&self) -> Option<Epoch> {
        let epochs = self.free().0.checked_div(self.rate.0)?;
        Some(self.accrued_until.checked_add(epochs).unwrap_or(Epoch(u64::MAX)))
    }

    /// Moves streams up to `now`, as far as they are funded, from free funds to the lockup.
    fn accrue(&mut self, now: Epoch) {
        let target = self.funded_until().map_or(now, |funded| funded.min(now)).max(self.accrued_until);
        let streamed = self.rate.checked_mul(target.since(self.accrued_until)).expect("at most the free funds");
        self.lockup = self.lockup.checked_add(streamed).expect("at most the funds");
        self.accrued_until = target;
    }

    /// Locks free funds.
    fn lock(&mut self, account: Address, needed: Amount) -> Result<(), RailRejection> {
        let free = self.free();
        if needed > free {
            return Err(RailRejection::NotFunded { account, needed, free });
        }
        self.lockup = self.lockup.checked_add(needed).expect("at most the funds");
        Ok(())
    }

    fn unlock(&mut self, amount: Amount) {
        self.lockup = self.lockup.checked_sub(amount).expect("was locked");
    }

    fn take_locked(&mut self, amount: Amount) {
        self.unlock(amount);
        self.funds = self.funds.checked_sub(amount).expect("lockup is covered by funds");
    }
}

impl Rail {
    /// The rate of `epoch`, which is not settled, and the first epoch for which it may be different.
    fn rate_at(&self, epoch: Epoch) -> (Amount, Epoch) {
        match self.segments.iter().find(|segment| epoch < segment.until) {
            Some(segment) => (segment.rate, segment.until),
            None => (self.terms.rate, Epoch(u64::MAX)),
        }
    }

    /// What the epochs from `settled_until` to `until` cost if all are proven.
    fn unsettled(&self, until: Epoch) -> Amount {
        let (mut at, mut sum) = (self.settled_until, Amount::ZERO);
        while at < until {
            let (rate, change) = self.rate_at(at);
            let next = change.min(until);
            let cost = rate.checked_mul(next.since(at)).and_then(|cost| sum.checked_add(cost));
            sum = cost.expect("part of the payer's lockup");
            at = next;
        }
        sum
    }
}

/// All rails, the accounts behind them, and who runs dry next. Numbers of rails, and what is burnt, are the caller's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RailBook {
    pub(crate) accounts: Table<Address, PayAccount>,
    pub(crate) rails: Table<RailId, Rail>,
    /// Rails that stream, by payer.
    pub(crate) streaming: Table<(Address, RailId), ()>,
    /// Accounts that stream, by [`PayAccount::funded_until`].
    pub(crate) queue: Table<(Epoch, Address), ()>,
}

impl RailBook {
    /// An account; empty if it was never used. Its `lockup` is as of its last touch.
    pub fn account(&self, who: &Address) -> PayAccount {
        self.accounts.get(who).copied().unwrap_or_default()
    }

    /// A rail that is not over.
    pub fn rail(&self, rail: RailId) -> Option<&Rail> {
        self.rails.get(&rail)
    }

    /// All rails that are not over, by number.
    pub fn rails(&self) -> impl Iterator<Item = (RailId, &Rail)> {
        self.rails.iter().map(|(id, rail)| (*id, rail))
    }

    /// All accounts, by address.
    pub fn accounts(&self) -> impl Iterator<Item = (Address, &PayAccount)> {
        self.accounts.iter().map(|(who, account)| (*who, account))
    }

    /// The first epoch at which some account runs dry, and whose.
    pub fn next_unfunded(&self) -> Option<(Epoch, Address)> {
        self.queue.first().map(|(entry, ())| *entry)
    }

    /// An account with what streamed until `now` in its lockup.
    pub fn accrued(&self, who: &Address, now: Epoch) -> PayAccount {
        let mut account = self.account(who);
        account.accrue(now);
        account
    }

    /// Stores an account and keeps its place in the queue.
    fn put(&mut self, who: Address, account: PayAccount) {
        let before = self.account(&who).funded_until();
        let after = account.funded_until();
        if before != after {
            if let Some(epoch) = before {
                self.queue.remove(&(epoch, who));
            }
            if let Some(epoch) = after {
                self.queue.insert((epoch, who), ());
            }
        }
        // An empty account is like one that was never used.
        if account.funds.is_zero() && account.rate.is_zero() {
            self.accounts.remove(&who);
        } else {
            self.accounts.insert(who, account);
        }
    }

    fn known(&self, rail: RailId) -> Result<Rail, RailRejection> {
        self.rails.get(&rail).cloned().ok_or(RailRejection::UnknownRail { rail })
    }

    /// The rail, if it streams and `who` pays on it.
    fn paid_by(&self, rail: RailId, who: Address, what: &str) -> Result<Rail, RailRejection> {
        let found = self.known(rail)?;
        if found.terms.payer != who {
            return Err(RailRejection::NotAllowed { who, what: what.to_owned() });
        }
        match found.ends_at {
            Some(ends_at) => Err(RailRejection::Terminated { rail, ends_at }),
            None => Ok(found),
        }
    }

    /// Adds funds, which the caller has taken from somewhere.
    ///
    /// # Errors
    /// [`RailRejection::Overflow`].
    pub fn deposit(&mut self, now: Epoch, who: Address, amount: Amount) -> Result<(), RailRejection> {
        let mut account = self.accrued(&who, now);
        let funds = account.funds.checked_add(amount);
        account.funds = funds.ok_or_else(|| RailRejection::Overflow { what: "the account's funds".to_owned() })?;
        account.accrue(now);
        self.put(who, account);
        Ok(())
    }

    /// Takes free funds, which the caller gives to somebody.
    ///
    /// # Errors
    /// [`RailRejection::NotFunded`].
    pub fn withdraw(&mut self, now: Epoch, who: Address, amount: Amount) -> Result<(), RailRejection> {
        let mut account = self.accrued(&who, now);
        account.lock(who, amount)?;
        account.take_locked(amount);
        self.put(who, account);
        Ok(())
    }

    /// Opens a rail that streams from `now`, under a number that was never used.
    ///
    /// # Errors
    /// [`RailRejection`] if the payer cannot lock `rate x period + fixed`.
    pub fn open(&mut self, now: Epoch, rail: RailId, terms: RailTerms) -> Result<(), RailRejection> {
        if self.rails.contains(&rail) {
            return Err(RailRejection::Exists { rail });
        }
        let mut account = self.solvent(terms.payer, now)?;
        let locked = terms.lockup()?;
        account.lock(terms.payer, locked)?;
        account.rate = add_rate(account.rate, terms.rate)?;
        self.put(terms.payer, account);
        self.streaming.insert((terms.payer, rail), ());
        self.rails.insert(rail, Rail { terms, settled_until: now, ends_at: None, segments: VecDeque::new() });
        Ok(())
    }

    /// What a rail with these terms would lock, and how long the payer's money would then last.
    ///
    /// # Errors
    /// As [`RailBook::open`], but for missing funds: these are in the quote.
    pub fn quote(&self, now: Epoch, terms: &RailTerms) -> Result<RailQuote, RailRejection> {
        let account = self.solvent(terms.payer, now)?;
        let locked = terms.lockup()?;
        let rate = add_rate(account.rate, terms.rate)?;
        let missing = locked.checked_sub(account.free()).unwrap_or_default();
        let left = account.free().checked_sub(locked).unwrap_or_default();
        let runway_epochs = left.0.checked_div(rate.0);
        Ok(RailQuote { locked, free: account.free(), missing, runway_epochs })
    }

    /// The payer's account, if it is funded up to `now`.
    fn solvent(&self, payer: Address, now: Epoch) -> Result<PayAccount, RailRejection> {
        let account = self.accrued(&payer, now);
        if account.accrued_until < now {
            return Err(RailRejection::RunDry { account: payer, until: account.accrued_until });
        }
        Ok(account)
    }

    /// Changes the rate from `now` on. By the payer.
    ///
    /// # Errors
    /// [`RailRejection`] if the lockup of a higher rate is not there.
    pub fn change_rate(&mut self, now: Epoch, who: Address, rail: RailId, rate: Amount) -> Result<(), RailRejection> {
        let mut changed = self.paid_by(rail, who, "change the rate")?;
        let mut account = self.solvent(who, now)?;
        let period = changed.terms.lockup_period;
        let overflow = || RailRejection::Overflow { what: "rate x period".to_owned() };
        let (old, new) = (changed.terms.rate, rate.checked_mul(period).ok_or_else(overflow)?);
        account.unlock(old.checked_mul(period).expect("was locked"));
        account.lock(who, new)?;
        let others = account.rate.checked_sub(old).expect("a sum that it is in");
        account.rate = add_rate(others, rate)?;
        // A rate that no epoch was streamed at is not kept.
        let used_since = changed.segments.back().map_or(changed.settled_until, |segment| segment.until);
        if used_since < now {
            if changed.segments.len() == SEGMENTS_MAX {
                return Err(RailRejection::TooManyRates { rail });
            }
            changed.segments.push_back(Segment { rate: old, until: now });
        }
        changed.terms.rate = rate;
        self.put(who, account);
        self.rails.insert(rail, changed);
        Ok(())
    }

    /// Pays at once out of the fixed lockup. By the payer; returns what was burnt of it.
    ///
    /// # Errors
    /// [`RailRejection`] if there is not as much.
    pub fn pay_once(
        &mut self,
        now: Epoch,
        who: Address,
        rail: RailId,
        amount: Amount,
        burn_bp: u32,
    ) -> Result<Amount, RailRejection> {
        let mut paying = self.paid_by(rail, who, "pay on it")?;
        let fixed = paying.terms.lockup_fixed;
        let too_small = RailRejection::FixedTooSmall { rail, fixed, got: amount };
        paying.terms.lockup_fixed = fixed.checked_sub(amount).ok_or(too_small)?;
        let burnt = self.pay(now, &paying.terms, amount, burn_bp)?;
        self.rails.insert(rail, paying);
        Ok(burnt)
    }

    /// Moves locked money of the payer to the payee, less the burn.
    fn pay(&mut self, now: Epoch, terms: &RailTerms, amount: Amount, burn_bp: u32) -> Result<Amount, RailRejection> {
        let overflow = |what: &str| RailRejection::Overflow { what: what.to_owned() };
        let burnt = part_of(amount, burn_bp);
        let paid = amount.checked_sub(burnt).expect("a part");
        let mut payee = self.accrued(&terms.payee, now);
        payee.funds = payee.funds.checked_add(paid).ok_or_else(|| overflow("the payee's funds"))?;
        payee.accrue(now);
        let mut payer = self.accrued(&terms.payer, now);
        payer.take_locked(amount);
        self.put(terms.payer, payer);
        self.put(terms.payee, payee);
        Ok(burnt)
    }

    /// Ends the streaming. By either party.
    ///
    /// # Errors
    /// [`RailRejection`] by anyone else, or if it is terminated already.
    pub fn terminate(&mut self, now: Epoch, who: Address, rail: RailId) -> Result<Epoch, RailRejection> {
        let found = self.known(rail)?;
        if who != found.terms.payer && who != found.terms.payee {
            return Err(RailRejection::NotAllowed { who, what: "terminate the rail".to_owned() });
        }
        if let Some(ends_at) = found.ends_at {
            return Err(RailRejection::Terminated { rail, ends_at });
        }
        Ok(self.end(now, rail, found, true))
    }

    /// Ends a rail that can earn no more, without a lockup period; does nothing to one that is ending. Settle it then.
    pub(crate) fn cut_off(&mut self, now: Epoch, rail: RailId) {
        if let Some(found) = self.rails.get(&rail).filter(|found| found.ends_at.is_none()).cloned() {
            self.end(now, rail, found, false);
        }
    }

    /// Whether the payer of a rail that streams ran dry before `now`.
    pub fn is_dry(&self, now: Epoch, rail: &Rail) -> bool {
        rail.ends_at.is_none() && self.accrued(&rail.terms.payer, now).accrued_until < now
    }

    /// Ends the streaming of a rail that streams, `period` epochs after the last funded one or at that.
    pub(crate) fn end(&mut self, now: Epoch, rail: RailId, mut ending: Rail, with_period: bool) -> Epoch {
        let mut account = self.accrued(&ending.terms.payer, now);
        let last = account.accrued_until;
        account.rate = account.rate.checked_sub(ending.terms.rate).expect("a sum that it is in");
        let period = ending.terms.lockup_period;
        if !with_period {
            account.unlock(ending.terms.rate.checked_mul(period).expect("was locked"));
        }
        // Without this rail the others may be funded for longer.
        account.accrue(now);
        let ends_at = last.checked_add(if with_period { period } else { 0 }).expect("epochs stay below 2^63");
        ending.ends_at = Some(ends_at);
        self.put(ending.terms.payer, account);
        self.streaming.remove(&(ending.terms.payer, rail));
        self.rails.insert(rail, ending);
        ends_at
    }

    /// Ends one rail of the account that ran dry first, if one did before `now`; `None` if none did. One call is
    /// one piece of work, so that a block can bound how many it does.
    pub fn terminate_next_unfunded(&mut self, now: Epoch) -> Option<RailId> {
        let (funded_until, payer) = self.next_unfunded()?;
        if funded_until >= now {
            return None;
        }
        let (&(owner, rail), ()) =
            self.streaming.iter_from(&(payer, RailId(0))).next().expect("a queued account streams");
        assert_eq!(owner, payer, "an account has a rate because a rail has");
        let ending = self.rails.get(&rail).cloned().expect("what streams exists");
        self.end(now, rail, ending, true);
        Some(rail)
    }

    /// Settles as far as the payer has funded and the verdicts reach. By anyone.
    ///
    /// # Errors
    /// [`RailRejection`] if there is no such rail, or the payee's funds would not fit.
    pub fn settle(
        &mut self,
        now: Epoch,
        rail: RailId,
        proofs: &dyn ProofTable,
        burn_bp: u32,
    ) -> Result<Settlement, RailRejection> {
        let mut settling = self.known(rail)?;
        let payer = self.accrued(&settling.terms.payer, now);
        let limit = settling.ends_at.map_or(payer.accrued_until, |ends_at| ends_at.min(now));
        let (owed, faulted) = walk(&mut settling, limit, proofs);
        let closed = settling.ends_at == Some(settling.settled_until);
        let rest = if closed { settling.terms.lockup_fixed } else { Amount::ZERO };
        let unlocked = faulted.checked_add(rest).expect("parts of the lockup");
        let burnt = self.pay(now, &settling.terms, owed, burn_bp)?;
        let mut payer = self.accrued(&settling.terms.payer, now);
        payer.unlock(unlocked);
        payer.accrue(now);
        self.put(settling.terms.payer, payer);
        let paid = owed.checked_sub(burnt).expect("a part");
        let settled_until = settling.settled_until;
        if closed {
            self.rails.remove(&rail);
        } else {
            self.rails.insert(rail, settling);
        }
        Ok(Settlement { paid, burnt, unlocked, settled_until, closed })
    }

    /// Checks what the module promises, walking everything; for tests and audits.
    ///
    /// # Errors
    /// A sentence that names what does not fit.
    pub fn check_invariants(&self) -> Result<(), String> {
        let (mut locked, mut rates): (BTreeMap<Address, u128>, BTreeMap<Address, u128>) = Default::default();
        let mut streaming = BTreeSet::new();
        for (id, rail) in self.rails() {
            let payer = rail.terms.payer;
            *locked.entry(payer).or_default() += self.locked_for(rail, &self.account(&payer));
            if rail.ends_at.is_none() {
                *rates.entry(payer).or_default() += u128::from(rail.terms.rate.0);
                streaming.insert((payer, id));
            }
        }
        let mut queue = BTreeSet::new();
        for (who, account) in self.accounts() {
            let locked = locked.remove(&who).unwrap_or_default();
            if locked != u128::from(account.lockup.0) || account.lockup > account.funds {
                return Err(format!("{who} has lockup {}, its rails need {locked}", account.lockup));
            }
            let rate = rates.remove(&who).unwrap_or_default();
            if rate != u128::from(account.rate.0) {
                return Err(format!("{who} streams {}, its rails {rate}", account.rate));
            }
            queue.extend(account.funded_until().map(|epoch| (epoch, who)));
        }
        let queued: BTreeSet<_> = self.queue.iter().map(|(entry, ())| *entry).collect();
        let indexed: BTreeSet<_> = self.streaming.iter().map(|(entry, ())| *entry).collect();
        if queue != queued || streaming != indexed {
            return Err("an index differs from what it indexes".to_owned());
        }
        match locked.into_iter().chain(rates).find(|(_, sum)| *sum > 0) {
            Some((who, _)) => Err(format!("{who} has rails and no account")),
            None => Ok(()),
        }
    }

    fn locked_for(&self, rail: &Rail, payer: &PayAccount) -> u128 {
        let ahead = u128::from(rail.terms.rate.0) * u128::from(rail.terms.lockup_period);
        let rest = match rail.ends_at {
            Some(ends_at) => u128::from(rail.unsettled(ends_at).0),
            None => ahead + u128::from(rail.unsettled(payer.accrued_until).0),
        };
        rest + u128::from(rail.terms.lockup_fixed.0)
    }

    /// What a settlement at `now` would divide between payee and payer, by what was proven.
    pub fn unsettled(&self, now: Epoch, rail: &Rail) -> Amount {
        let funded = self.accrued(&rail.terms.payer, now).accrued_until;
        rail.unsettled(rail.ends_at.map_or(funded, |ends_at| ends_at.min(now)))
    }

    /// Sum of all funds.
    pub fn total_funds(&self) -> u128 {
        self.accounts().map(|(_, account)| account.funds).sum()
    }
}

/// Moves `settled_until` towards `limit`; returns what proven and what faulted epochs cost.
fn walk(settling: &mut Rail, limit: Epoch, proofs: &dyn ProofTable) -> (Amount, Amount) {
    let (mut owed, mut faulted) = (Amount::ZERO, Amount::ZERO);
    for _ in 0..SPANS_MAX {
        let at = settling.settled_until;
        if at >= limit {
            break;
        }
        let span = proofs.span(&settling.terms.binding, at);
        let (rate, change) = settling.rate_at(at);
        let until = span.until.min(change).min(limit);
        let sum = match span.verdict {
            Verdict::Proven => &mut owed,
            Verdict::Faulted => &mut faulted,
            Verdict::Open => break,
        };
        if until <= at {
            break;
        }
        let cost = rate.checked_mul(until.since(at)).and_then(|cost| sum.checked_add(cost));
        *sum = cost.expect("part of the payer's lockup");
        settling.settled_until = until;
        while settling.segments.front().is_some_and(|segment| segment.until <= until) {
            settling.segments.pop_front();
        }
    }
    (owed, faulted)
}

fn add_rate(sum: Amount, rate: Amount) -> Result<Amount, RailRejection> {
    sum.checked_add(rate).ok_or_else(|| RailRejection::Overflow { what: "the sum of rates".to_owned() })
}

#[cfg(test)]
mod tests;
