//! Retrieval scores: how well a provider serves, as the checkers' stake sees it.
//!
//! Rule and source: `spec/market.md` 6 (Yuma consensus, after Bittensor) and 7.1 (what Spark's checks taught). One
//! round, which is a span of epochs:
//!
//! 1. The round's beacon gives each checker byte ranges to fetch ([`checks`]): it does not choose whom it judges.
//! 2. It fetches them as any client would, verifies them against the dataset's CID, and signs a receipt for each
//!    ([`receipts`]). Two receipts of one key that contradict each other are a provable lie; a minority opinion is not.
//! 3. From its receipts it computes a quality per provider, 0 to 1 ([`quality`]).
//! 4. It commits to its qualities, and reveals them when nobody can commit any more ([`ballot`]).
//! 5. The ledger clips every opinion to what at least `kappa` of the stake agrees on ([`yuma`]), moves the reputations
//!    and the checkers' bonds ([`book`]), and divides the round's emission ([`rewards`]).
//!
//! All arithmetic is on integers: a [`Fraction`] has 32 bits after the point, products go through 128 bits, sums are
//! made in the order of addresses and provider numbers. The same round gives the same bits everywhere.
//!
//! # Invariants
//! - *Clip*: while honest checkers hold at least `kappa` of the stake and a cartel less than `kappa`, a reputation moves
//!   towards a level between the least and the largest opinion of the honest ones: with `kappa` at one half, a cartel of
//!   49 % cannot move it beyond what honest checkers themselves report.
//! - *Exact*: the parts of a divided amount sum to the amount, always.
//! - *Order*: the order in which checkers or providers are named does not matter.
//! - *Monotone*: a better opinion never lowers the provider's clipped quality.
//!
//! # Where trust remains
//! - Half of the stake. With 51 % a cartel sets any reputation it likes; the tests show how quickly.
//! - Quality depends on where the checker stands. Checkers of one region can be judged as a round of their own; then
//!   half of *that region's* stake is what is trusted, which is less.
//! - A checker's receipts of failures are its word alone: nothing proves that a server did not answer. That is what the
//!   clip is for.

pub mod ballot;
pub mod book;
pub mod checks;
mod fraction;
pub mod quality;
pub mod receipts;
pub mod rewards;
pub mod yuma;

#[cfg(test)]
mod cartel_tests;
#[cfg(test)]
mod vector_tests;

pub use book::{CheckerStanding, Round, RoundVoter, ScoreBook, ScoreOutcome, ScoreParams, ScoreRejection};
pub use fraction::Fraction;
