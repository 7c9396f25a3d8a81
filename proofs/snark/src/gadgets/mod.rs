//! The gadgets that the circuits need and bellman does not have (`spec/proofs.md` 1.11).
//!
//! [`num`] equality, sums and choices of numbers; [`bits`] numbers as bits and back; [`insertion`] a hash among its
//! siblings; [`poseidon`] and [`sha256`] the two tree hashes. Everything else (booleans, SHA-256's compression, packing
//! into inputs) is bellman's own, which makes the same constraints as the gadgets behind Filecoin's setup.

pub mod bits;
pub mod insertion;
pub mod num;
pub mod poseidon;
pub mod sha256;

#[cfg(test)]
mod tests;
