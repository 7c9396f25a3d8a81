//! The hash of tree D: SHA-256 of two nodes, cut to 254 bits.

use bellman::gadgets::boolean::Boolean;
use bellman::{ConstraintSystem, SynthesisError};

use super::bits::{PACKED_BITS, pack, reverse_bytes, to_sha256_bits};
use super::num::Num;
use crate::scalar::Scalar;

/// Hashes two nodes.
///
/// # Errors
/// Those of the constraint system.
pub fn hash_pair<CS: ConstraintSystem<Scalar>>(mut cs: CS, left: &Num, right: &Num) -> Result<Num, SynthesisError> {
    let mut message = to_sha256_bits(cs.namespace(|| "left bits"), left)?;
    message.extend(to_sha256_bits(cs.namespace(|| "right bits"), right)?);
    hash_truncated(cs, &message)
}

/// SHA-256 of a message given as bits, as a number of its first 254 bits.
///
/// # Errors
/// Those of the constraint system.
///
/// # Panics
/// If the message is no whole number of bytes.
pub fn hash_truncated<CS: ConstraintSystem<Scalar>>(mut cs: CS, message: &[Boolean]) -> Result<Num, SynthesisError> {
    let mut digest = bellman::gadgets::sha256::sha256(cs.namespace(|| "sha256"), message)?;
    reverse_bytes(&mut digest);
    pack(cs.namespace(|| "digest"), &digest[..PACKED_BITS])
}
