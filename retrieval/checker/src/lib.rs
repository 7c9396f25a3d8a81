//! A checker: it fetches what the ledger's beacon tells it to, from the gateways it is told to, and votes on what it saw.
//!
//! For each round, in order (`cairn_ledger::scores` is the other side):
//!
//! 1. [`measure()`]: the tasks of the round are drawn from the state; each is one byte range of one dataset from one
//!    provider's gateway, asked for as any reader would, every leaf checked against its CID. Each answer, or the lack of
//!    one, becomes a receipt that the checker signs.
//! 2. [`Measured::opinions`]: the receipts of a provider become one number, its quality.
//! 3. [`Journal`]: receipts and opinions are on disk before anybody hears of them. A commitment that cannot be revealed
//!    costs stake.
//! 4. [`Checker::vote`]: in the next round, commit, then reveal, then open the receipts that were drawn.
//! 5. [`Checker::look`]: fetch again what others opened, and say so if it is not what they signed.
//!
//! [`Checker::run`] does all of it, block by block, over any [`CheckerLedger`].
//!
//! # What a checker must get right
//! - It tells the provider's faults from its own: a task that it could not try (its own disk, its own end) makes no receipt.
//! - It never signs two receipts for one slot: a round that is in the journal is not measured again. Two would cost all its
//!   stake.
//! - What it signs is what was drawn: it measures nothing if deals came or went since the round began, because others
//!   would take that for made up.
//! - Its salt follows from its key and the round, so losing the journal after the commitment is the only way to lose it, and its
//!   receipts.

#![forbid(unsafe_code)]

mod exhibits;
mod journal;
mod ledger;
mod measure;
mod worker;

pub use exhibits::Assigned;
pub use journal::{Journal, JournalError, Measured};
pub use ledger::{AssignedCheck, CheckerLedger, CheckerView, Exhibit, Handed, LedgerFailure};
pub use measure::{MeasureOptions, measure};
pub use worker::{Checker, CheckerOptions};
