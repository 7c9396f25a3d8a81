//! Numbers as bits and back, and the bit order of SHA-256.
//!
//! A number's bits are least significant first. SHA-256 takes the bits of each byte most significant first, and bytes in
//! order; a number enters it as its 32 bytes, little-endian. So between the two the bits of every byte are reversed.

use ark_ff::{BigInt, PrimeField};
use bellman::gadgets::boolean::{AllocatedBit, Boolean};
use bellman::{ConstraintSystem, LinearCombination, SynthesisError};
use cairn_compute::Fr;
use ff::Field;

use super::num::{Num, alloc};
use crate::scalar::Scalar;

/// Bits that fit a field element whatever they are.
pub const PACKED_BITS: usize = 254;

/// Bits of a node.
const NODE_BITS: usize = 256;

/// The 256 bits of a number as SHA-256 takes them. 255 are allocated: a number may be given as itself plus the modulus,
/// as long as that is below `2^255`; Filecoin's circuits allow it. The last is the constant zero.
///
/// # Errors
/// Those of the constraint system.
pub fn to_sha256_bits<CS: ConstraintSystem<Scalar>>(cs: CS, num: &Num) -> Result<Vec<Boolean>, SynthesisError> {
    let mut bits = num.to_bits_le(cs)?;
    bits.resize(NODE_BITS, Boolean::constant(false));
    reverse_bytes(&mut bits);
    Ok(bits)
}

/// Reverses the bits of each byte: from a number's order to SHA-256's, or back.
///
/// # Panics
/// If they are no whole bytes.
pub fn reverse_bytes(bits: &mut [Boolean]) {
    assert!(bits.len().is_multiple_of(8), "whole bytes, not {} bits", bits.len());
    bits.chunks_mut(8).for_each(<[Boolean]>::reverse);
}

/// Allocates `count` bits of a number, least significant first.
///
/// # Errors
/// Those of the constraint system.
pub fn alloc_bits<CS: ConstraintSystem<Scalar>>(
    mut cs: CS,
    number: Option<u64>,
    count: usize,
) -> Result<Vec<AllocatedBit>, SynthesisError> {
    (0..count)
        .map(|bit| {
            AllocatedBit::alloc(cs.namespace(|| format!("bit {bit}")), number.map(|number| number >> bit & 1 == 1))
        })
        .collect()
}

/// Allocates the number that the bits make, least significant first.
///
/// # Errors
/// Those of the constraint system.
///
/// # Panics
/// If there are more than [`PACKED_BITS`].
pub fn pack<CS: ConstraintSystem<Scalar>>(mut cs: CS, bits: &[Boolean]) -> Result<Num, SynthesisError> {
    let packed = alloc(cs.namespace(|| "packed"), packed_value(bits))?;
    cs.enforce(
        || "packing",
        |lc| packed_combination(lc, CS::one(), bits),
        |lc| lc + CS::one(),
        |lc| lc + packed.get_variable(),
    );
    Ok(packed)
}

/// The number that the bits make, if all are known.
///
/// # Panics
/// If there are more than [`PACKED_BITS`].
pub fn packed_value(bits: &[Boolean]) -> Option<Scalar> {
    assert!(bits.len() <= PACKED_BITS, "{} bits do not fit a field element", bits.len());
    let mut limbs = [0u64; 4];
    for (index, bit) in bits.iter().enumerate() {
        limbs[index / 64] |= u64::from(bit.get_value()?) << (index % 64);
    }
    Some(Scalar(Fr::from_bigint(BigInt(limbs)).expect("254 bits are below the modulus")))
}

/// Adds `sum 2^i bits[i]` to a linear combination.
pub fn packed_combination(
    mut lc: LinearCombination<Scalar>,
    one: bellman::Variable,
    bits: &[Boolean],
) -> LinearCombination<Scalar> {
    let mut coefficient = Scalar::ONE;
    for bit in bits {
        lc = match bit {
            Boolean::Constant(false) => lc,
            Boolean::Constant(true) => lc + (coefficient, one),
            Boolean::Is(bit) => lc + (coefficient, bit.get_variable()),
            Boolean::Not(bit) => lc + (coefficient, one) - (coefficient, bit.get_variable()),
        };
        coefficient = coefficient.double();
    }
    lc
}
