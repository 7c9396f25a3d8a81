//! Field arithmetic for the proofs and the seams behind which faster engines stand.
//!
//! The scalar field of BLS12-381 comes from arkworks ([`fr`]); the hash of the replica's trees, Poseidon, is ours
//! ([`poseidon`]): its constants are derived here from their generator, and the naive permutation stays public as the
//! oracle that every faster one is judged by. Parallelism is a value that callers hand in ([`workers`]).

#![deny(unsafe_code)]

pub mod curve;
pub mod fr;
pub mod huge_pages;
#[cfg(target_arch = "x86_64")]
mod ifma;
pub mod msm;
pub mod ntt;
pub mod poseidon;
#[cfg(target_arch = "x86_64")]
mod unrolled;
pub mod workers;

pub use fr::{Fr, Node, NonCanonicalNode, fr_from_node, fr_to_node};
pub use poseidon::Poseidon;
pub use workers::{Workers, WorkersError};
