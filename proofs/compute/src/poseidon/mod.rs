//! Poseidon over the BLS12-381 scalar field, as the replica's trees use it (`spec/proofs.md` 1.9).
//!
//! A hash of `arity` elements:
//! 1. The state has width `t = arity + 1`: a domain tag, then the inputs. The tag of a Merkle hash is `2^arity - 1`.
//! 2. Half of the eight full rounds, then the partial rounds, then the other half. A round adds its constants, raises
//!    to the fifth power (every element in a full round, element 0 in a partial one) and multiplies by the matrix M.
//! 3. The digest is element 1.
//!
//! [`constants`] derives everything from the Grain generator; [`naive`] is the three steps as written, the oracle;
//! [`fast`] is the same function with constants folded and sparse matrices, about a third of the multiplications at
//! arity 8.

pub mod constants;
pub mod fast;
mod matrix;
pub mod naive;

pub use fast::{Linear, Poseidon, Round};
pub use matrix::Matrix;

#[cfg(test)]
mod tests;
