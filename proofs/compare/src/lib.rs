//! Ours beside the reference implementation (filecoin-proofs): the same work, in one run, and each one's word on the
//! other's proofs.
//!
//! Three programs:
//! - `ours` and `reference` each do one [`Task`](task::Task) in a process of their own and print an
//!   [`Outcome`](side::Outcome): how long the work took, and the process's peak memory. They are twins: both implement
//!   [`Side`](side::Side) with the same inputs, which are the golden data of `fixtures`.
//! - `compare` starts them in turn, ours and the reference's, and prints one JSON object per line: what was done, both
//!   figures, their ratio, the target; and for each proof, key file and constraint system whether the two sides agree.
//!
//! What a timed task includes is the same on both sides and said at its variant of [`Task`](task::Task).

pub mod side;
pub mod task;
