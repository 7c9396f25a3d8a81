//! The quotient h = (A B - C) / Z of a satisfied assignment, as coefficients.
//!
//! A, B, C are the polynomials whose values on the domain (the n-th roots of unity) are A·z, B·z, C·z; Z = X^n - 1.
//! Written out: A B = h Z + C, where h has degree n - 2 at most. On a coset g·domain, X^n = g^n, so there
//!
//! ```text
//! A B = h (g^n - 1) + C          hence          h = (A B - C) / (g^n - 1)
//! ```
//!
//! and both sides have degree below n: the values of A B on the coset, interpolated, are coefficients from which those of
//! C can be subtracted as they are. C never goes to the coset, which leaves six transforms instead of seven:
//! 1. A, B, C from values to coefficients (three inverse transforms).
//! 2. A, B to the coset (two), multiplied there.
//! 3. Back to coefficients (one), minus C, over g^n - 1.

use ark_ff::{AdditiveGroup, FftField, Field};
use ark_poly::{EvaluationDomain, Radix2EvaluationDomain};
use cairn_compute::{Fr, Workers};
use rayon::prelude::*;

use crate::r1cs::Evaluations;

/// The n - 1 coefficients of h for a domain of `n` elements.
///
/// # Panics
/// If `n` is no power of two, or less than the evaluations' number.
pub fn quotient(evaluations: Evaluations, n: usize, workers: &Workers) -> Vec<Fr> {
    assert!(n.is_power_of_two() && evaluations.a.len() <= n, "a domain for all rows");
    let domain = Radix2EvaluationDomain::<Fr>::new(n).expect("the field has a domain of every size in use");
    let coset = domain.get_coset(Fr::GENERATOR).expect("the generator is not zero");
    let scale = (Fr::GENERATOR.pow([n as u64]) - Fr::ONE).inverse().expect("the generator is no n-th root of unity");
    let Evaluations { mut a, mut b, mut c } = evaluations;
    workers.run(|| {
        let to_coset = |values: &mut Vec<Fr>| {
            domain.ifft_in_place(values);
            coset.fft_in_place(values);
        };
        rayon::join(|| to_coset(&mut a), || to_coset(&mut b));
        a.par_iter_mut().zip(&b).for_each(|(a, b)| *a *= b);
        drop(b);
        rayon::join(|| coset.ifft_in_place(&mut a), || domain.ifft_in_place(&mut c));
        a.par_iter_mut().zip(&c).for_each(|(a, c)| *a = (*a - c) * scale);
    });
    let last = a.pop();
    debug_assert_eq!(last, Some(Fr::ZERO), "h has degree n - 2 at most");
    a
}

#[cfg(test)]
mod tests {
    use ark_poly::univariate::DensePolynomial;
    use ark_poly::{DenseUVPolynomial, Polynomial};

    use super::*;

    /// By the definition: h times Z plus C is A times B, at a point outside the domain.
    #[test]
    fn the_quotient_is_the_quotient() {
        let workers = Workers::new(2).unwrap();
        for (rows, n) in [(1, 2), (5, 8), (8, 8), (100, 128)] {
            let value = |seed: u64, row: u64| Fr::from(seed * 1_000_003 + row * row * 77 + 5).pow([3]);
            let a: Vec<Fr> = (0..rows).map(|row| value(1, row)).collect();
            let b: Vec<Fr> = (0..rows).map(|row| value(2, row)).collect();
            let c: Vec<Fr> = a.iter().zip(&b).map(|(a, b)| *a * b).collect();
            let h = quotient(Evaluations { a: a.clone(), b: b.clone(), c: c.clone() }, n, &workers);
            assert_eq!(h.len(), n - 1);

            let domain = Radix2EvaluationDomain::<Fr>::new(n).unwrap();
            let point = Fr::from(987_654_321u64);
            let at = |values: &[Fr]| DensePolynomial::from_coefficients_vec(domain.ifft(values)).evaluate(&point);
            let h = DensePolynomial::from_coefficients_vec(h).evaluate(&point);
            assert_eq!(at(&a) * at(&b), h * domain.evaluate_vanishing_polynomial(point) + at(&c), "{rows} of {n}");
        }
    }
}
