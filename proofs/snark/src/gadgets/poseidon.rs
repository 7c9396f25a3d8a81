//! Poseidon as Filecoin's trusted setup knows it: every S-box input that is not a variable becomes one.
//!
//! The permutation is `cairn-compute`'s, with folded constants. As a circuit:
//!
//! 1. Only S-boxes cost constraints. With input `x`, key `p` before and key `k` after it: `(x + p)(x + p) = x2`,
//!    `x2 * x2 = x4`, `(x + p) * x4 = y - k`. Only round 0 has keys before.
//! 2. Between S-boxes the state is a vector of linear combinations of ONE and of earlier S-boxes' outputs `y`. If an
//!    S-box's input is such a combination it is made a variable first, at one constraint: `combination * 1 = x`. The
//!    inputs of round 0 are variables already.
//! 3. The domain tag is a constant, and so is its first S-box: both vanish into coefficients of ONE.
//! 4. The digest is one more variable.
//!
//! The combinations do not depend on what is hashed. So they are computed once for each arity ([`PoseidonCircuit`]), and
//! a hash in a circuit is a walk through that list with its own variables put in.

use std::sync::OnceLock;

use bellman::{ConstraintSystem, LinearCombination, SynthesisError, Variable};
use cairn_compute::poseidon::{Linear, Round};
use cairn_compute::{Fr, Poseidon};
use ff::Field;

use super::num::{Num, alloc, known};
use crate::scalar::Scalar;

/// Widest arity with a circuit of its own kept.
const ARITY_MAX: usize = 36;

/// `sum coefficient * variable`, over ONE (0) and the outputs of S-boxes (from 1).
type Combination = Vec<(usize, Scalar)>;

/// The constraints of one arity and domain tag.
#[derive(Debug)]
pub struct PoseidonCircuit {
    poseidon: &'static Poseidon,
    tag: Fr,
    /// S-boxes of each round, except those of constants.
    rounds: Vec<Vec<SBox>>,
    digest: Combination,
}

#[derive(Debug)]
struct SBox {
    input: Input,
    key_before: Scalar,
    key_after: Scalar,
}

#[derive(Debug)]
enum Input {
    /// One of the hashed numbers.
    Hashed(usize),
    /// The state.
    State(Combination),
}

/// The values of one S-box's variables: input, square, fourth power, output.
type SBoxValues = [Scalar; 4];

impl PoseidonCircuit {
    /// The circuit of a Merkle hash with `arity` children, derived on first use and kept: it is a constant of the
    /// protocol.
    ///
    /// # Panics
    /// If the arity is not one of 2, 4, 8, 11, 16, 24, 36.
    pub fn of_arity(arity: usize) -> &'static Self {
        static CIRCUITS: [OnceLock<PoseidonCircuit>; ARITY_MAX + 1] = [const { OnceLock::new() }; ARITY_MAX + 1];
        let poseidon = Poseidon::of_arity(arity);
        CIRCUITS[arity].get_or_init(|| Self::derive(poseidon, poseidon.merkle_tag()))
    }

    /// Derives the circuit of another domain tag.
    pub fn derive(poseidon: &'static Poseidon, tag: Fr) -> Self {
        let width = poseidon.arity() + 1;
        let mut outputs = 0;
        let mut rounds = vec![];
        let mut state: Vec<Symbolic> = vec![];
        for (round, folded) in poseidon.rounds().enumerate() {
            let mut boxes = vec![];
            for (element, key) in folded.keys.iter().enumerate() {
                if round == 0 && element == 0 {
                    let constant = fifth_power(Scalar(tag + poseidon.first_keys()[0])) + Scalar(*key);
                    state.push(Symbolic::variable(0, constant));
                    continue;
                }
                let (input, key_before) = if round == 0 {
                    state.push(Symbolic::default());
                    (Input::Hashed(element - 1), Scalar(poseidon.first_keys()[element]))
                } else {
                    (Input::State(state[element].combination()), Scalar::ZERO)
                };
                boxes.push(SBox { input, key_before, key_after: Scalar(*key) });
                outputs += 1;
                state[element] = Symbolic::variable(outputs, Scalar::ONE);
            }
            rounds.push(boxes);
            state = mix(&folded, &state, width);
        }
        Self { poseidon, tag, rounds, digest: state[1].combination() }
    }

    /// Hashes numbers.
    ///
    /// # Errors
    /// Those of the constraint system.
    ///
    /// # Panics
    /// If their number is not the arity.
    pub fn hash<CS: ConstraintSystem<Scalar>>(&self, mut cs: CS, inputs: &[Num]) -> Result<Num, SynthesisError> {
        assert_eq!(inputs.len(), self.poseidon.arity(), "inputs of a Poseidon hash");
        let values = inputs.iter().map(Num::get_value).collect::<Option<Vec<_>>>().map(|inputs| self.values(&inputs));
        let (mut values, digest) = values.map(|(values, digest)| (values.into_iter(), digest)).unzip();
        let mut outputs = vec![CS::one()];
        for (round, boxes) in self.rounds.iter().enumerate() {
            let mut cs = cs.namespace(|| format!("round {round}"));
            for (index, sbox) in boxes.iter().enumerate() {
                let values = values.as_mut().map(|values| values.next().expect("values for every S-box"));
                let cs = cs.namespace(|| format!("s-box {index}"));
                let output = sbox.synthesize(cs, inputs, &outputs, values)?;
                outputs.push(output);
            }
        }
        let result = alloc(cs.namespace(|| "digest"), digest)?;
        cs.enforce(
            || "digest constraint",
            |lc| substitute(lc, &self.digest, &outputs),
            |lc| lc + CS::one(),
            |lc| lc + result.get_variable(),
        );
        Ok(result)
    }

    /// The values of all S-boxes in order, and the digest.
    fn values(&self, inputs: &[Scalar]) -> (Vec<SBoxValues>, Scalar) {
        let mut state: Vec<Scalar> = std::iter::once(Scalar(self.tag)).chain(inputs.iter().copied()).collect();
        let mut values = Vec::with_capacity(self.rounds.iter().map(Vec::len).sum());
        let mut scratch = state.clone();
        for (round, folded) in self.poseidon.rounds().enumerate() {
            for (element, key) in folded.keys.iter().enumerate() {
                let before = if round == 0 { Scalar(self.poseidon.first_keys()[element]) } else { Scalar::ZERO };
                let sbox = sbox_values(state[element], before, Scalar(*key));
                state[element] = sbox[3];
                if round > 0 || element > 0 {
                    values.push(sbox);
                }
            }
            mix_values(&folded, &mut state, &mut scratch);
        }
        (values, state[1])
    }
}

impl SBox {
    fn synthesize<CS: ConstraintSystem<Scalar>>(
        &self,
        mut cs: CS,
        inputs: &[Num],
        outputs: &[Variable],
        values: Option<SBoxValues>,
    ) -> Result<Variable, SynthesisError> {
        let value = |index: usize| move || known(values).map(|values: SBoxValues| values[index]);
        let input = match &self.input {
            Input::Hashed(index) => inputs[*index].get_variable(),
            Input::State(combination) => {
                let input = cs.alloc(|| "x", value(0))?;
                cs.enforce(
                    || "x is the state",
                    |lc| substitute(lc, combination, outputs),
                    |lc| lc + CS::one(),
                    |lc| lc + input,
                );
                input
            }
        };
        let keyed = |lc: LinearCombination<Scalar>| {
            if self.key_before.is_zero_vartime() { lc + input } else { lc + input + (self.key_before, CS::one()) }
        };
        let square = cs.alloc(|| "x^2", value(1))?;
        cs.enforce(|| "x^2 constraint", keyed, keyed, |lc| lc + square);
        let fourth = cs.alloc(|| "x^4", value(2))?;
        cs.enforce(|| "x^4 constraint", |lc| lc + square, |lc| lc + square, |lc| lc + fourth);
        let output = cs.alloc(|| "y", value(3))?;
        cs.enforce(|| "y constraint", keyed, |lc| lc + fourth, |lc| lc + output - (self.key_after, CS::one()));
        Ok(output)
    }
}

/// Puts a circuit's variables into a combination.
fn substitute(
    lc: LinearCombination<Scalar>,
    combination: &Combination,
    outputs: &[Variable],
) -> LinearCombination<Scalar> {
    combination.iter().fold(lc, |lc, (output, coefficient)| lc + (*coefficient, outputs[*output]))
}

fn sbox_values(x: Scalar, before: Scalar, after: Scalar) -> SBoxValues {
    let keyed = x + before;
    let square = keyed.square();
    let fourth = square.square();
    [x, square, fourth, fourth * keyed + after]
}

fn fifth_power(x: Scalar) -> Scalar {
    x.square().square() * x
}

/// One element of the state while the circuit is derived: coefficients of ONE and the S-boxes' outputs.
#[derive(Clone, Default)]
struct Symbolic(Vec<Scalar>);

impl Symbolic {
    fn variable(index: usize, coefficient: Scalar) -> Self {
        let mut coefficients = vec![Scalar::ZERO; index + 1];
        coefficients[index] = coefficient;
        Self(coefficients)
    }

    fn add_scaled(&mut self, other: &Self, factor: &Fr) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), Scalar::ZERO);
        }
        for (sum, coefficient) in self.0.iter_mut().zip(&other.0) {
            *sum += Scalar(coefficient.0 * factor);
        }
    }

    fn combination(&self) -> Combination {
        self.0.iter().copied().enumerate().filter(|(_, coefficient)| !coefficient.is_zero_vartime()).collect()
    }
}

/// A round's linear layer on combinations.
fn mix(round: &Round<'_>, state: &[Symbolic], width: usize) -> Vec<Symbolic> {
    let dot = |row: &[Fr]| {
        let mut sum = Symbolic::default();
        row.iter().zip(state).for_each(|(factor, element)| sum.add_scaled(element, factor));
        sum
    };
    match round.linear {
        Linear::Dense(matrix) => (0..width).map(|row| dot(matrix.row(row))).collect(),
        Linear::Sparse { first_row, first_column } => {
            let mut mixed = state.to_vec();
            mixed[0] = dot(first_row);
            for (element, factor) in mixed[1..].iter_mut().zip(first_column) {
                element.add_scaled(&state[0], factor);
            }
            mixed
        }
    }
}

/// The same on values; `scratch` has the state's length.
fn mix_values(round: &Round<'_>, state: &mut Vec<Scalar>, scratch: &mut Vec<Scalar>) {
    let dot = |row: &[Fr], state: &[Scalar]| Scalar(row.iter().zip(state).map(|(a, b)| *a * b.0).sum());
    match round.linear {
        Linear::Dense(matrix) => {
            scratch.iter_mut().enumerate().for_each(|(row, mixed)| *mixed = dot(matrix.row(row), state));
            std::mem::swap(state, scratch);
        }
        Linear::Sparse { first_row, first_column } => {
            let head = state[0];
            state[0] = dot(first_row, state);
            for (element, factor) in state[1..].iter_mut().zip(first_column) {
                element.0 += head.0 * factor;
            }
        }
    }
}
