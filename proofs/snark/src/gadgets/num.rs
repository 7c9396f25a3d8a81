//! Numbers: allocation, equality, sum, choice.

use bellman::gadgets::boolean::Boolean;
use bellman::gadgets::num::AllocatedNum;
use bellman::{ConstraintSystem, SynthesisError};
use ff::Field;

use crate::scalar::Scalar;

/// An allocated number of the circuits' field.
pub type Num = AllocatedNum<Scalar>;

/// The value, if there is one.
///
/// # Errors
/// [`SynthesisError::AssignmentMissing`] in a circuit without witness.
pub fn known<T>(value: Option<T>) -> Result<T, SynthesisError> {
    value.ok_or(SynthesisError::AssignmentMissing)
}

/// Allocates an unconstrained number.
///
/// # Errors
/// Those of the constraint system.
pub fn alloc<CS: ConstraintSystem<Scalar>>(cs: CS, value: Option<Scalar>) -> Result<Num, SynthesisError> {
    Num::alloc(cs, || known(value))
}

/// `a * 1 = b`.
pub fn enforce_equal<CS: ConstraintSystem<Scalar>>(mut cs: CS, a: &Num, b: &Num) {
    cs.enforce(|| "equality", |lc| lc + a.get_variable(), |lc| lc + CS::one(), |lc| lc + b.get_variable());
}

/// Allocates `a + b`.
///
/// # Errors
/// Those of the constraint system.
pub fn add<CS: ConstraintSystem<Scalar>>(mut cs: CS, a: &Num, b: &Num) -> Result<Num, SynthesisError> {
    let sum = alloc(cs.namespace(|| "sum"), a.get_value().zip(b.get_value()).map(|(a, b)| a + b))?;
    cs.enforce(
        || "sum constraint",
        |lc| lc + a.get_variable() + b.get_variable(),
        |lc| lc + CS::one(),
        |lc| lc + sum.get_variable(),
    );
    Ok(sum)
}

/// Allocates `condition ? a : b`, by `(b - a) * condition = b - picked`.
///
/// # Errors
/// Those of the constraint system.
pub fn pick<CS: ConstraintSystem<Scalar>>(
    mut cs: CS,
    condition: &Boolean,
    a: &Num,
    b: &Num,
) -> Result<Num, SynthesisError> {
    let value = condition.get_value().and_then(|condition| if condition { a.get_value() } else { b.get_value() });
    let picked = alloc(cs.namespace(|| "picked"), value)?;
    cs.enforce(
        || "choice",
        |lc| lc + b.get_variable() - a.get_variable(),
        |_| condition.lc(CS::one(), Scalar::ONE),
        |lc| lc + b.get_variable() - picked.get_variable(),
    );
    Ok(picked)
}
