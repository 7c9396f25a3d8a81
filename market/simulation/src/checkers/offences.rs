//! What is not allowed does not happen, and costs what it should.

use cairn_ledger::state::columns;
use cairn_ledger::testing::HashVerifier;
use cairn_ledger::{BlockContext, Event, Outcome, SignedTransaction, State};
use cairn_protocol::Epoch;
use ipld_core::ipld::Ipld;

use super::Checker;
use crate::observation::Observation;

/// Blocks between two samples of what costs two more applications of a block.
const SAMPLE_EVERY: u64 = 16;

/// See [`super::PROMISES`].
pub struct CrimesFail;

impl CrimesFail {
    pub(super) fn new(_: &State) -> Self {
        Self
    }
}

impl Checker for CrimesFail {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        for (offer, receipt) in seen.receipts() {
            let Some(crime) = offer.crime else { continue };
            let stopped = match receipt.outcome {
                Outcome::Applied => false,
                Outcome::Failed(_) => !crime.is_refused(),
                Outcome::Refused(_) => true,
            };
            if !stopped {
                let command = &offer.signed.transaction.command;
                return Err(format!("{crime:?} got through: {command:?}: {:?}", receipt.outcome));
            }
        }
        Ok(())
    }
}

/// The block with only `transactions`, and without any, on copies of the state before.
fn beside_empty(seen: &Observation, transactions: &[SignedTransaction]) -> Result<(State, State, Outcome), String> {
    let (mut with, mut without) = (seen.before.clone(), seen.before.clone());
    let applied = (seen.tools.apply)(&mut with, &seen.context, transactions, &HashVerifier);
    let empty = (seen.tools.apply)(&mut without, &seen.context, &[], &HashVerifier);
    match (applied, empty) {
        (Ok(mut outcome), Ok(_)) => Ok((with, without, outcome.receipts.remove(0).outcome)),
        (applied, _) => Err(format!("a block of one transaction does not follow: {:?}", applied.err())),
    }
}

/// The first transaction of a block that `wanted` picks, in every so many blocks.
fn sample(seen: &Observation, wanted: impl Fn(&Outcome) -> bool) -> Option<SignedTransaction> {
    let mut found = seen.receipts().filter(|(_, receipt)| wanted(&receipt.outcome));
    let (offer, _) = found.next().filter(|_| seen.now().0.is_multiple_of(SAMPLE_EVERY))?;
    Some(offer.signed.clone())
}

/// See [`super::PROMISES`].
pub struct RefusedCostsNothing;

impl RefusedCostsNothing {
    pub(super) fn new(_: &State) -> Self {
        Self
    }
}

fn says_nothing(events: &[Event], what: &str) -> Result<(), String> {
    if events.is_empty() { Ok(()) } else { Err(format!("a {what} transaction has events: {events:?}")) }
}

impl Checker for RefusedCostsNothing {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        let is_refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
        for (_, receipt) in seen.receipts().filter(|(_, receipt)| is_refused(&receipt.outcome)) {
            says_nothing(&receipt.events, "refused")?;
        }
        let Some(refused) = sample(seen, is_refused) else { return Ok(()) };
        let (with, without, outcome) = beside_empty(seen, &[refused])?;
        if is_refused(&outcome) && with.root() != without.root() {
            return Err(format!("refused ({outcome:?}), and the state is another"));
        }
        Ok(())
    }
}

/// See [`super::PROMISES`].
pub struct FailureCostsAFee;

impl FailureCostsAFee {
    pub(super) fn new(_: &State) -> Self {
        Self
    }

    fn compare(with: &State, without: &State, signed: &SignedTransaction) -> Result<(), String> {
        let (sender, fee) = (signed.transaction.sender, without.params().transaction_fee);
        let (paid, before) = (with.account(&sender), without.account(&sender));
        if paid.nonce != before.nonce + 1 || Some(paid.balance) != before.balance.checked_sub(fee) {
            return Err(format!("the sender had {before:?}, has {paid:?}"));
        }
        for change in with.changes_since(without) {
            let ok = match change.column {
                columns::META => without_burnt(with, without) == without_burnt(without, with),
                columns::ACCOUNTS => change.key == cairn_ledger::codec::encode(&sender),
                _ => false,
            };
            if !ok {
                return Err(format!("column {} changed: {change:?}", change.column));
            }
        }
        Ok(())
    }
}

/// The singletons of a state whose singletons differ from another's, but for the burnt money.
fn without_burnt(state: &State, other: &State) -> Option<Ipld> {
    let changes = state.changes_since(other);
    let bytes = changes.into_iter().find(|change| change.column == columns::META)?.value?;
    let mut meta: Ipld = serde_ipld_dagcbor::from_slice(&bytes).ok()?;
    if let Ipld::Map(meta) = &mut meta
        && let Some(Ipld::Map(treasury)) = meta.get_mut("treasury")
    {
        treasury.remove("burnt");
    }
    Some(meta)
}

impl Checker for FailureCostsAFee {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        let has_failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
        for (_, receipt) in seen.receipts().filter(|(_, receipt)| has_failed(&receipt.outcome)) {
            says_nothing(&receipt.events, "failed")?;
        }
        let Some(failed) = sample(seen, has_failed) else { return Ok(()) };
        let (with, without, outcome) = beside_empty(seen, std::slice::from_ref(&failed))?;
        // Alone it may fare otherwise: what made it fail may have stood before it in the block.
        if has_failed(&outcome) { Self::compare(&with, &without, &failed) } else { Ok(()) }
    }
}

/// See [`super::PROMISES`].
pub struct BadBlocksChangeNothing;

impl BadBlocksChangeNothing {
    pub(super) fn new(_: &State) -> Self {
        Self
    }
}

impl Checker for BadBlocksChangeNothing {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        if !seen.now().0.is_multiple_of(SAMPLE_EVERY) {
            return Ok(());
        }
        let good = BlockContext { epoch: Epoch(seen.now().0 + 1), ..seen.context };
        let mut bad = vec![
            ("an epoch too late", BlockContext { epoch: Epoch(good.epoch.0 + 1), ..good }, Vec::new()),
            ("the same epoch again", BlockContext { epoch: seen.now(), ..good }, Vec::new()),
        ];
        if let Some(time_ms) = good.time_ms.checked_sub(1) {
            bad.push(("time running backwards", BlockContext { time_ms, ..good }, Vec::new()));
        }
        if let Some(offer) = seen.offers.first() {
            let many = vec![offer.signed.clone(); seen.after.params().block_transactions_max as usize + 1];
            bad.push(("too many transactions", good, many));
        }
        if let Some(offer) = seen.offers.iter().find(|offer| seen.after.weight_of(&offer.signed) > 0) {
            let (limit, params) = (seen.after.weight_of(&offer.signed), seen.after.params());
            let enough = params.block_weight_max / limit + 1;
            if enough <= params.block_transactions_max.into() {
                bad.push(("too many proofs", good, vec![offer.signed.clone(); enough as usize]));
            }
        }
        for (what, context, transactions) in bad {
            let mut state = seen.after.clone();
            let outcome = (seen.tools.apply)(&mut state, &context, &transactions, &HashVerifier);
            if outcome.is_ok() {
                return Err(format!("a block with {what} was taken"));
            }
            if state.root() != seen.after.root() {
                return Err(format!("a block with {what} was refused and changed the state"));
            }
        }
        Ok(())
    }
}
