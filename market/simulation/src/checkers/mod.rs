//! One checker per promise of the ledger.
//!
//! A checker sees every block ([`Observation`]), keeps what it needs to know from the ones before, and says what is wrong.
//! Most look only at what a block changed; what has to read the whole state does so after every so many blocks.

mod accounts;
mod audits;
mod content;
mod deadlines;
mod deals;
mod flows;
mod jobs;
mod lies;
mod market;
mod offences;
mod queue;
mod rails;
mod returns;
mod sums;
mod updates;

use cairn_ledger::State;

use crate::observation::Observation;

pub use queue::QueueWatch;

/// Watches over one promise.
pub trait Checker {
    /// Looks at a block.
    ///
    /// # Errors
    /// What is wrong, expected and got.
    fn check(&mut self, seen: &Observation) -> Result<(), String>;

    /// Looks at the end of a run: everybody stopped, and so many empty blocks passed that nothing should wait.
    ///
    /// # Errors
    /// What is wrong.
    fn finish(&mut self, _state: &State) -> Result<(), String> {
        Ok(())
    }
}

/// A promise and how to watch over it.
#[derive(Clone, Copy)]
pub struct Promise {
    /// Name of its checker.
    pub name: &'static str,
    /// The promise, in words.
    pub text: &'static str,
    /// A checker that starts at this state.
    pub checker: fn(&State) -> Box<dyn Checker>,
}

macro_rules! promises {
    ($($name:literal, $text:literal, $checker:ty;)*) => {
        &[$(Promise { name: $name, text: $text, checker: |state| Box::new(<$checker>::new(state)) }),*]
    };
}

/// All promises, in the order in which they are checked.
pub const PROMISES: &[Promise] = promises! {
    "supply-conserved", "free money, pots and burnt money always make the supply", sums::SupplyConserved;
    "pots-match-entries", "a pot holds exactly what orders, deals, bids, sectors, channels and stakes say is in it", sums::PotsMatch;
    "books-balance", "everything that points at something is right, and everything that waits has its queue entry", sums::BooksBalance;
    "money-follows-events", "events and receipts alone tell every balance", flows::MoneyFollowsEvents;
    "burns-have-causes", "money is burnt for fees, faults and broken promises, and for nothing else", flows::BurnsHaveCauses;
    "deposits-return", "every deposit ends by its date, and when nobody acts any more nothing is left locked", returns::DepositsReturn;
    "closes-say-why", "every close has a code, a text and its epoch; closed things stay closed, and are kept for a while", returns::ClosesSayWhy;
    "pay-only-proven", "a deal is paid for the epochs in which its sector was proven, for all of them and no other", deals::PayOnlyProven;
    "prices-kept", "the cheapest bids win, nobody pays more than was bid, the rest returns", deals::PricesKept;
    "requirements-kept", "who gets an order says what it asks for, its auditors vouch for it then, and regions differ", market::RequirementsKept;
    "copies-apart", "no two copies of a piece are with one owner, nor a replacement with who dropped it", deals::CopiesApart;
    "every-deadline-counts", "each live sector answers each deadline, or is counted as faulty", deadlines::EveryDeadlineCounts;
    "updates-are-proven", "a sector takes new data once, if it had none, for a proof that holds, and is then what was proven", updates::UpdatesAreProven;
    "jobs-pay-for-proofs", "a proof job is paid to its worker, at its price, for a proof of what was posted and signed for, and slashed for any other", jobs::JobsPayForProofs;
    "rails-pay-proven", "a rail takes its rate for each epoch in which its sector was proven, and nothing for any other", rails::RailsPayProven;
    "vouchers-pay-once", "a channel pays what its payer signed, once, and returns the rest", accounts::VouchersPayOnce;
    "votes-are-staked", "votes are locked money, somebody has one, and stake leaves its unbonding time after it stopped voting", accounts::VotesAreStaked;
    "offences-slash-once", "a validator that contradicts itself loses its share once for each height, and its vote", lies::OffencesSlashOnce;
    "liars-lose-stake", "a checker loses its stake for two things it signed about one check, and for nothing that it did not sign", lies::LiarsLoseStake;
    "wrong-bytes-cost", "a provider loses its share for wrong bytes that it signed for, once for a group in a time, and for nothing else", lies::WrongBytesCost;
    "audits-are-answered", "a checker whose receipts are drawn shows those that make its opinion, or pays and is not heard; most of the stake alone refutes one", audits::AuditsAreAnswered;
    "nonces-count", "an account's nonce counts its transactions: none is taken twice or out of order", accounts::NoncesCount;
    "crimes-fail", "forged, replayed, stolen and false things are never applied", offences::CrimesFail;
    "refused-costs-nothing", "a refused transaction changes nothing at all", offences::RefusedCostsNothing;
    "failure-costs-a-fee", "a failed command costs its nonce and its fee, and changes nothing else", offences::FailureCostsAFee;
    "bad-blocks-change-nothing", "a block that cannot follow is refused and changes nothing", offences::BadBlocksChangeNothing;
    "queue-punctual", "due work is done when it is due, or as fast as a block's budget allows", queue::QueuePunctual;
    "work-bounded", "what a block changes and checks is bounded by its transactions and its budget", queue::WorkBounded;
    "root-from-content", "the state root depends on what the state holds, not on how it came about", content::RootFromContent;
    "snapshot-round-trip", "a snapshot gives the state back, to the byte", content::SnapshotRoundTrip;
    "changes-complete", "a store that writes what each block changed holds the state", content::ChangesComplete;
    "replay-repeats", "the same block on a restored state does the same", content::ReplayRepeats;
};
