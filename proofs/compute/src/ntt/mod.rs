//! Number-theoretic transforms over the scalar field: polynomials between coefficients and values on a domain.
//!
//! The domain of size n = 2^k is the powers of the n-th root of unity that arkworks (and Filecoin) derive from the
//! generator 7; [`Domain::Coset`] is seven times these. [`Ntt`] is the seam:
//!
//! * [`naive`], the sums as written: what every backend must equal;
//! * [`ArkNtt`], arkworks' own: the oracle at larger sizes;
//! * [`CpuNtt`], ours ([`cpu`] tells how), with vector arithmetic where the processor has it.
//!
//! **The quotient with six transforms.** Groth16 needs `H = (A·B - C)/Z` with `Z = x^n - 1`, from the values of A, B and C
//! on the domain. The customary way takes seven transforms: three inverse ones, three onto the coset, and one back.
//! On the coset Z is the constant `z = 7^n - 1`, so with D the polynomial of degree below n that equals A·B there,
//! `(D - C)/z` equals H on the coset, and both have degree below n: **`H = (D - C)/z` by coefficients**. C never
//! goes to the coset. [`Ntt::quotient`] therefore does three inverse transforms, two onto the coset and one back.

mod ark;
pub mod cpu;

use ark_ff::{AdditiveGroup, FftField, Field};
use rayon::prelude::*;

use crate::{Fr, Workers};

pub use ark::ArkNtt;
pub use cpu::CpuNtt;

/// Where a polynomial's values are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// The powers of the root of unity, in order.
    Subgroup,
    /// Seven times these, in the same order.
    Coset,
}

/// The generator of the field's multiplicative group that shifts the coset.
pub const COSET_SHIFT: Fr = Fr::GENERATOR;

/// A transform was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NttError {
    /// There is no domain of this size. Retrying does not help.
    #[error("a domain has a power of two of elements, at most 2^32, not {size}")]
    Size {
        /// The number of values given.
        size: usize,
    },
    /// The three polynomials of a quotient have one size.
    #[error("a quotient needs three polynomials of one size, not {a}, {b} and {c}")]
    Lengths {
        /// Values of A.
        a: usize,
        /// Values of B.
        b: usize,
        /// Values of C.
        c: usize,
    },
}

/// A way to transform. Implementations are values; the threads come with each call.
pub trait Ntt: Send + Sync {
    /// What the backend is called, for logs and benchmarks.
    fn name(&self) -> &'static str;

    /// Coefficients, lowest first, to values on the domain, in place. The size of the domain is the length.
    ///
    /// # Errors
    /// [`NttError::Size`]; a device's backend may fail in further ways.
    fn forward(&self, workers: &Workers, values: &mut [Fr], domain: Domain) -> Result<(), NttError>;

    /// Values on the domain to coefficients, in place.
    ///
    /// # Errors
    /// As for [`Ntt::forward`].
    fn inverse(&self, workers: &Workers, values: &mut [Fr], domain: Domain) -> Result<(), NttError>;

    /// Coefficients of `(A·B - C)/(x^n - 1)` from the values of A, B, C on the subgroup, with six transforms, as the
    /// module describes. n coefficients; where `A·B = C` on the whole subgroup the last one is zero. Works in the
    /// memory of its arguments.
    ///
    /// # Errors
    /// [`NttError::Lengths`], and as for [`Ntt::forward`].
    fn quotient(&self, workers: &Workers, mut a: Vec<Fr>, mut b: Vec<Fr>, mut c: Vec<Fr>) -> Result<Vec<Fr>, NttError> {
        check_quotient(&a, &b, &c)?;
        for values in [&mut a, &mut b, &mut c] {
            self.inverse(workers, values, Domain::Subgroup)?;
        }
        self.forward(workers, &mut a, Domain::Coset)?;
        self.forward(workers, &mut b, Domain::Coset)?;
        workers.run(|| a.par_iter_mut().zip(&b).for_each(|(a, b)| *a *= b));
        self.inverse(workers, &mut a, Domain::Coset)?;
        let scale = vanishing_inverse(a.len());
        workers.run(|| a.par_iter_mut().zip(&c).for_each(|(a, c)| *a = (*a - c) * scale));
        Ok(a)
    }
}

/// `1/(7^n - 1)`: what `x^n - 1` is on the coset, inverted.
fn vanishing_inverse(size: usize) -> Fr {
    (COSET_SHIFT.pow([size as u64]) - Fr::ONE).inverse().expect("the coset is not the subgroup")
}

/// The root of unity of a domain.
fn root_of_unity(size: usize) -> Result<Fr, NttError> {
    if !size.is_power_of_two() {
        return Err(NttError::Size { size });
    }
    Fr::get_root_of_unity(size as u64).ok_or(NttError::Size { size })
}

fn check_quotient(a: &[Fr], b: &[Fr], c: &[Fr]) -> Result<(), NttError> {
    match a.len() == b.len() && b.len() == c.len() {
        true => root_of_unity(a.len()).map(|_| ()),
        false => Err(NttError::Lengths { a: a.len(), b: b.len(), c: c.len() }),
    }
}

/// The values as written: each a sum over all coefficients. The oracle, with the square of the size in multiplications.
///
/// # Errors
/// [`NttError::Size`].
pub fn naive(coefficients: &[Fr], domain: Domain) -> Result<Vec<Fr>, NttError> {
    let root = root_of_unity(coefficients.len())?;
    let mut point = match domain {
        Domain::Subgroup => Fr::ONE,
        Domain::Coset => COSET_SHIFT,
    };
    Ok((0..coefficients.len())
        .map(|_| {
            let value = coefficients.iter().rev().fold(Fr::ZERO, |sum, coefficient| sum * point + coefficient);
            point *= root;
            value
        })
        .collect())
}

#[cfg(test)]
mod tests;
