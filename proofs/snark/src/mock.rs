//! A constraint system for tests: checks every constraint as it comes, and whether single changes would be noticed.
//!
//! Nothing is stored but values. A constraint only refers to variables that exist by then, so it can be checked at once;
//! the first one that does not hold is kept, with its path of namespaces.
//!
//! A circuit that accepts its witness may accept others too. So the mock also asks, for every public input and a sample
//! of auxiliary variables: if this variable alone had another value, which constraint would break? A bit is flipped, so
//! that it is not merely caught for being no bit; any other value is increased by one. Variables for which the answer is
//! "none" are [`MockConstraintSystem::unnoticed`].

use std::collections::{BTreeMap, BTreeSet};

use ark_ff::{AdditiveGroup, Field};
use bellman::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use cairn_compute::Fr;

use crate::scalar::Scalar;
use crate::terms::{Column, Term, canonical};

/// A constraint that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsatisfied {
    /// Its number, from 0.
    pub constraint: u64,
    /// Its namespaces and its own name, separated by slashes.
    pub path: String,
    /// Values of A, B and C: A times B is not C.
    pub values: [Fr; 3],
}

/// Checks a circuit with its witness.
#[derive(Debug)]
pub struct MockConstraintSystem {
    inputs: Vec<Fr>,
    aux: Vec<Fr>,
    constraints: u64,
    namespaces: Vec<String>,
    unsatisfied: Option<Unsatisfied>,
    changed: BTreeMap<Column, Fr>,
    noticed: BTreeMap<Column, String>,
    sample_every: u64,
    /// Replaced when they are allocated.
    planted: BTreeMap<Column, Fr>,
    terms: [Vec<Term>; 3],
}

impl MockConstraintSystem {
    /// Checks the circuit, and what would happen if an input or one of every `sample_every` auxiliary variables had
    /// another value.
    ///
    /// # Panics
    /// If `sample_every` is zero.
    pub fn sampling(sample_every: u64) -> Self {
        assert!(sample_every > 0, "a sample of every zeroth variable");
        Self {
            inputs: vec![Fr::ONE],
            aux: vec![],
            constraints: 0,
            namespaces: vec![],
            unsatisfied: None,
            changed: BTreeMap::new(),
            noticed: BTreeMap::new(),
            sample_every,
            planted: BTreeMap::new(),
            terms: Default::default(),
        }
    }

    /// Gives a variable this value when it is allocated, whatever the circuit says; the others keep theirs.
    pub fn plant(&mut self, column: Column, value: Scalar) {
        self.planted.insert(column, value.0);
    }

    /// The first constraint that does not hold.
    pub fn unsatisfied(&self) -> Option<&Unsatisfied> {
        self.unsatisfied.as_ref()
    }

    /// Number of constraints.
    pub fn constraints(&self) -> u64 {
        self.constraints
    }

    /// Public inputs, without ONE.
    pub fn inputs(&self) -> impl Iterator<Item = Scalar> {
        self.inputs[1..].iter().copied().map(Scalar)
    }

    /// Variables that were changed to see what happens.
    pub fn sampled(&self) -> usize {
        self.changed.len()
    }

    /// Sampled variables that could have had another value without breaking a constraint.
    pub fn unnoticed(&self) -> BTreeSet<Column> {
        self.changed.keys().filter(|column| !self.noticed.contains_key(column)).copied().collect()
    }

    /// Where a sampled variable's change was noticed first.
    pub fn noticed_at(&self, column: Column) -> Option<&str> {
        self.noticed.get(&column).map(String::as_str)
    }

    fn value(&self, column: Column) -> Fr {
        if column.is_aux() { self.aux[column.index() as usize] } else { self.inputs[column.index() as usize] }
    }

    fn evaluate(&self, terms: &[Term]) -> Fr {
        terms.iter().map(|(column, coefficient)| self.value(*column) * coefficient).sum()
    }

    /// The value to store for a new variable; samples it if it is its turn.
    fn allocate(&mut self, column: Column, value: Scalar) -> Fr {
        let value = self.planted.get(&column).copied().unwrap_or(value.0);
        if !column.is_aux() || column.index().is_multiple_of(self.sample_every) {
            let other = if value == Fr::ONE { Fr::ZERO } else { value + Fr::ONE };
            self.changed.insert(column, other);
        }
        value
    }

    /// Would this constraint notice a change of one of its sampled variables?
    fn notice(&mut self, values: [Fr; 3], path: impl Fn() -> String) {
        let mut columns: Vec<Column> = self
            .terms
            .iter()
            .flatten()
            .map(|(column, _)| *column)
            .filter(|column| self.changed.contains_key(column) && !self.noticed.contains_key(column))
            .collect();
        columns.sort_unstable();
        columns.dedup();
        for column in columns {
            let difference = self.changed[&column] - self.value(column);
            let mut values = values;
            for (value, terms) in values.iter_mut().zip(&self.terms) {
                if let Some((_, coefficient)) = terms.iter().find(|(other, _)| *other == column) {
                    *value += difference * coefficient;
                }
            }
            if values[0] * values[1] != values[2] {
                self.noticed.insert(column, path());
            }
        }
    }
}

impl ConstraintSystem<Scalar> for MockConstraintSystem {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, _annotation: A, value: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let index = self.aux.len();
        let value = self.allocate(Column::aux(index as u64), value()?);
        self.aux.push(value);
        Ok(Variable::new_unchecked(Index::Aux(index)))
    }

    fn alloc_input<F, A, AR>(&mut self, _annotation: A, value: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let index = self.inputs.len();
        let value = self.allocate(Column::input(index as u64), value()?);
        self.inputs.push(value);
        Ok(Variable::new_unchecked(Index::Input(index)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, annotation: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
        let combinations = [a(LinearCombination::zero()), b(LinearCombination::zero()), c(LinearCombination::zero())];
        for (terms, combination) in self.terms.iter_mut().zip(&combinations) {
            canonical(combination, terms);
        }
        let values = [0, 1, 2].map(|matrix| self.evaluate(&self.terms[matrix]));
        let holds = values[0] * values[1] == values[2];
        let mut path = self.namespaces.join("/");
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(&annotation().into());
        if holds {
            self.notice(values, || path.clone());
        } else if self.unsatisfied.is_none() {
            self.unsatisfied = Some(Unsatisfied { constraint: self.constraints, path, values });
        }
        self.constraints += 1;
    }

    fn push_namespace<NR, N>(&mut self, name: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
        self.namespaces.push(name().into());
    }

    fn pop_namespace(&mut self) {
        self.namespaces.pop();
    }

    fn get_root(&mut self) -> &mut Self::Root {
        self
    }
}
