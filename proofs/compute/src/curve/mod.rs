//! Points of BLS12-381 and the arithmetic under the fast engines.
//!
//! Types come from arkworks ([`G1Affine`] and the others): they are what keys, proofs and backends exchange. Under the
//! fast multi-scalar multiplication stands one idea, [`lanes`]: additions of independent pairs of affine points that
//! share one inversion, written once over *lanes* of field elements. Two kinds of lanes exist:
//!
//! 1. one element, arkworks' arithmetic: runs everywhere and is the oracle of the other;
//! 2. `ifma` (x86-64): eight elements side by side in AVX-512 registers, limbs of 52 bits. Used where the processor
//!    has the instructions, found out when the program runs.
//!
//! `blst` lends the one operation that neither batches: the inversion itself.

mod blst;
#[cfg(target_arch = "x86_64")]
pub(crate) mod ifma;
pub(crate) mod lanes;
pub(crate) mod portable;

pub use ark_bls12_381::{Fq, Fq2, G1Affine, G1Projective, G2Affine, G2Projective};

pub(crate) use blst::invert;

#[cfg(test)]
mod tests;
