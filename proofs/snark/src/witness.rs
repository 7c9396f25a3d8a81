//! The assignment alone: the only part of a circuit that differs from proof to proof.
//!
//! Constraints are not looked at. Segments of a circuit do not refer to each other, and a value never depends on the
//! number of a variable, so each segment is computed on its own and they are put together in order.

use ark_ff::Field;
use bellman::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use cairn_compute::{Fr, Workers};
use rayon::prelude::*;

use crate::circuit::SegmentedCircuit;
use crate::scalar::Scalar;

/// Values of all variables of a circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Public inputs; the first is ONE.
    pub inputs: Vec<Fr>,
    /// Auxiliary variables.
    pub aux: Vec<Fr>,
}

/// Computes the assignment of a circuit with a witness.
///
/// # Errors
/// [`SynthesisError::AssignmentMissing`] if the circuit has no witness.
pub fn assign(circuit: &impl SegmentedCircuit, workers: &Workers) -> Result<Assignment, SynthesisError> {
    let mut whole = Assigner { inputs: vec![Fr::ONE], aux: vec![] };
    let shared = circuit.synthesize_shared(&mut whole)?;
    let segments = workers.run(|| {
        (0..circuit.segments())
            .into_par_iter()
            .map(|index| {
                let mut segment = Assigner { inputs: vec![], aux: vec![] };
                circuit.synthesize_segment(&mut segment, &shared, index)?;
                Ok(segment)
            })
            .collect::<Result<Vec<_>, SynthesisError>>()
    })?;
    whole.aux.reserve_exact(segments.iter().map(|segment| segment.aux.len()).sum());
    for segment in segments {
        whole.inputs.extend_from_slice(&segment.inputs);
        whole.aux.extend_from_slice(&segment.aux);
    }
    Ok(Assignment { inputs: whole.inputs, aux: whole.aux })
}

/// Keeps values and nothing else.
struct Assigner {
    inputs: Vec<Fr>,
    aux: Vec<Fr>,
}

impl ConstraintSystem<Scalar> for Assigner {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, _annotation: A, value: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.aux.push(value()?.0);
        Ok(Variable::new_unchecked(Index::Aux(self.aux.len() - 1)))
    }

    fn alloc_input<F, A, AR>(&mut self, _annotation: A, value: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.inputs.push(value()?.0);
        Ok(Variable::new_unchecked(Index::Input(self.inputs.len() - 1)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _annotation: A, _a: LA, _b: LB, _c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
    }

    fn push_namespace<NR, N>(&mut self, _name: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn pop_namespace(&mut self) {}

    fn get_root(&mut self) -> &mut Self::Root {
        self
    }
}
