//! Linear combinations in canonical form: one term per variable, none zero, sorted.
//!
//! bellman's gadgets append terms as they come; the same variable may stand in a combination several times, and terms
//! may cancel. What a constraint *is* does not depend on that, so everything that stores or compares constraints brings
//! combinations into this form first.

use ark_ff::AdditiveGroup;
use bellman::{Index, LinearCombination, Variable};
use cairn_compute::Fr;

use crate::scalar::Scalar;

/// A variable as one number: input `i` is `i` (ONE is 0), auxiliary variable `j` is [`Column::AUX`]` + j`. So inputs
/// sort before auxiliary variables, as in the digest and in the key files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Column(u64);

impl Column {
    /// The first auxiliary variable.
    const AUX: u64 = 1 << 63;

    /// ONE.
    pub const ONE: Self = Self(0);

    /// Public input `index`; 0 is ONE.
    pub const fn input(index: u64) -> Self {
        Self(index)
    }

    /// Auxiliary variable `index`.
    pub const fn aux(index: u64) -> Self {
        Self(Self::AUX | index)
    }

    /// Whether it is an auxiliary variable, not an input.
    pub const fn is_aux(self) -> bool {
        self.0 & Self::AUX != 0
    }

    /// Its index among its kind.
    pub const fn index(self) -> u64 {
        self.0 & !Self::AUX
    }
}

impl From<Variable> for Column {
    fn from(variable: Variable) -> Self {
        match variable.get_unchecked() {
            Index::Input(index) => Self::input(index as u64),
            Index::Aux(index) => Self::aux(index as u64),
        }
    }
}

impl std::fmt::Display for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", if self.is_aux() { "aux" } else { "input" }, self.index())
    }
}

/// A variable with its coefficient.
pub type Term = (Column, Fr);

/// Writes the canonical form of `combination` into `terms`, whose old content is dropped.
pub fn canonical(combination: &LinearCombination<Scalar>, terms: &mut Vec<Term>) {
    terms.clear();
    let mut sorted = true;
    let mut zeros = false;
    for (variable, coefficient) in combination.as_ref() {
        let column = Column::from(*variable);
        sorted &= terms.last().is_none_or(|(last, _)| *last < column);
        zeros |= coefficient.0 == Fr::ZERO;
        terms.push((column, coefficient.0));
    }
    if !sorted {
        merge(terms);
    }
    if !sorted || zeros {
        terms.retain(|(_, coefficient)| *coefficient != Fr::ZERO);
    }
}

/// Sorts, and adds up the terms of each variable.
fn merge(terms: &mut Vec<Term>) {
    terms.sort_unstable_by_key(|(column, _)| *column);
    terms.dedup_by(|(column, coefficient), (kept, sum)| {
        let same = column == kept;
        if same {
            *sum += *coefficient;
        }
        same
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use ff::Field;

    fn variable(column: Column) -> Variable {
        let index = column.index() as usize;
        Variable::new_unchecked(if column.is_aux() { Index::Aux(index) } else { Index::Input(index) })
    }

    #[test]
    fn terms_are_added_up_sorted_and_zeros_dropped() {
        let [a, b, one] = [Column::aux(3), Column::aux(1), Column::ONE];
        let two = Scalar::ONE.double();
        let combination = LinearCombination::zero() + variable(a) + (two, variable(b)) + variable(one) + variable(b)
            - variable(a)
            + (Scalar::ZERO, variable(Column::input(2)));
        let mut terms = vec![(a, Fr::ZERO)];
        canonical(&combination, &mut terms);
        assert_eq!(terms, [(one, Fr::from(1u64)), (b, Fr::from(3u64))]);
        canonical(&(LinearCombination::zero() + (Scalar::ZERO, variable(a))), &mut terms);
        assert!(terms.is_empty());
        assert_eq!((a.to_string(), one.to_string()), ("aux 3".into(), "input 0".into()));
    }
}
