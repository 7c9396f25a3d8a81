//! Poseidon as its definition reads. Slow and plain: the oracle for every faster version.

use super::constants::{Constants, FULL_ROUNDS};
use crate::Fr;

/// Hashes `inputs` under the domain tag `tag`.
///
/// # Panics
/// If the number of inputs is not the instance's arity.
pub fn hash_tagged(constants: &Constants, tag: Fr, inputs: &[Fr]) -> Fr {
    assert_eq!(inputs.len(), constants.arity, "inputs of a Poseidon hash");
    let mut state: Vec<Fr> = std::iter::once(tag).chain(inputs.iter().copied()).collect();
    let partial = FULL_ROUNDS / 2..FULL_ROUNDS / 2 + constants.partial_rounds;
    for (round, round_constants) in constants.round_constants.iter().enumerate() {
        for (element, constant) in state.iter_mut().zip(round_constants) {
            *element += constant;
        }
        let raised = if partial.contains(&round) { 1 } else { state.len() };
        state[..raised].iter_mut().for_each(|element| *element = fifth_power(*element));
        state = constants.matrix.apply(&state);
    }
    state[1]
}

/// Hashes `inputs` as a Merkle node.
///
/// # Panics
/// As [`hash_tagged`].
pub fn hash(constants: &Constants, inputs: &[Fr]) -> Fr {
    hash_tagged(constants, constants.merkle_tag(), inputs)
}

/// `x^5`, the S-box.
pub fn fifth_power(x: Fr) -> Fr {
    let squared = x * x;
    squared * squared * x
}
