//! Putting a hash among its siblings at a position given in bits.
//!
//! One choice per bit and output would do; for arity 8 the outputs share two products of the lower bits instead. The
//! tables below are Filecoin's, choice by choice: a circuit is identical only with the same choices in the same order.

use bellman::gadgets::boolean::{AllocatedBit, Boolean};
use bellman::{ConstraintSystem, SynthesisError};

use super::num::{Num, pick};
use crate::scalar::Scalar;

/// Who may be chosen.
#[derive(Clone, Copy)]
enum Source {
    /// The hash that is inserted.
    Hash,
    /// The choice before this one.
    Previous,
    /// A sibling, from 1.
    Sibling(usize),
}

/// What decides: a bit of the position, or a product of the two lower ones.
#[derive(Clone, Copy)]
enum Condition {
    Bit(usize),
    /// Neither bit 0 nor bit 1.
    Neither,
    /// Both.
    Both,
}

use Condition::{Bit, Both, Neither};
use Source::{Hash as X, Previous as P, Sibling as S};

/// For each output its choices: condition, source if it holds, source if not.
type Choices = &'static [&'static [(Condition, Source, Source)]];

const ARITY_2: Choices = &[&[(Bit(0), S(1), X)], &[(Bit(0), X, S(1))]];

const ARITY_4: Choices = &[
    &[(Bit(0), S(1), X), (Bit(1), S(1), P)],
    &[(Bit(0), X, S(1)), (Bit(1), S(2), P)],
    &[(Bit(0), S(3), X), (Bit(1), P, S(2))],
    &[(Bit(0), X, S(3)), (Bit(1), P, S(3))],
];

const ARITY_8: Choices = &[
    &[(Neither, X, S(1)), (Bit(2), S(1), P)],
    &[(Bit(0), X, S(1)), (Bit(1), S(2), P), (Bit(2), S(2), P)],
    &[(Bit(0), S(3), X), (Bit(1), P, S(2)), (Bit(2), S(3), P)],
    &[(Both, X, S(3)), (Bit(2), S(4), P)],
    &[(Neither, X, S(5)), (Bit(2), P, S(4))],
    &[(Bit(0), X, S(5)), (Bit(1), S(6), P), (Bit(2), P, S(5))],
    &[(Bit(0), S(7), X), (Bit(1), P, S(6)), (Bit(2), P, S(6))],
    &[(Both, X, S(7)), (Bit(2), P, S(7))],
];

/// The children of a node: `siblings` with `hash` inserted at the position in `bits`, least significant first.
///
/// # Errors
/// Those of the constraint system.
///
/// # Panics
/// If the siblings and the hash are not 2, 4 or 8 nodes, or the bits not their logarithm.
pub fn insert<CS: ConstraintSystem<Scalar>>(
    mut cs: CS,
    hash: &Num,
    bits: &[AllocatedBit],
    siblings: &[Num],
) -> Result<Vec<Num>, SynthesisError> {
    let arity = siblings.len() + 1;
    assert_eq!(1 << bits.len(), arity, "bits of a position among {arity}");
    let choices = match arity {
        2 => ARITY_2,
        4 => ARITY_4,
        8 => ARITY_8,
        _ => panic!("no insertion among {arity} nodes"),
    };
    let products = if arity == 8 {
        let neither = AllocatedBit::nor(cs.namespace(|| "neither"), &bits[0], &bits[1])?;
        let both = AllocatedBit::and(cs.namespace(|| "both"), &bits[0], &bits[1])?;
        Some((Boolean::from(neither), Boolean::from(both)))
    } else {
        None
    };
    let bits: Vec<Boolean> = bits.iter().cloned().map(Boolean::from).collect();
    let condition = |condition: Condition| match (condition, &products) {
        (Bit(bit), _) => &bits[bit],
        (Neither, Some((neither, _))) => neither,
        (Both, Some((_, both))) => both,
        (Neither | Both, None) => unreachable!("only arity 8 decides by products"),
    };
    let mut children = Vec::with_capacity(arity);
    for (child, choices) in choices.iter().enumerate() {
        let mut previous: Option<Num> = None;
        for (step, (decides, then, otherwise)) in choices.iter().enumerate() {
            let source = |source: Source| match source {
                X => hash,
                P => previous.as_ref().expect("a child's first choice has none before it"),
                S(sibling) => &siblings[sibling - 1],
            };
            let cs = cs.namespace(|| format!("child {child} choice {step}"));
            let picked = pick(cs, condition(*decides), source(*then), source(*otherwise))?;
            previous = Some(picked);
        }
        children.push(previous.expect("every child has choices"));
    }
    Ok(children)
}
