//! Multi-scalar multiplication, `Σ kᵢ·Pᵢ`, in both groups of BLS12-381.
//!
//! [`Msm`] is the seam: a backend is a value that callers hold as `&dyn Msm`. There are
//!
//! * [`naive`], the sum as written: what every backend must equal;
//! * [`ArkMsm`], arkworks' own: the oracle at sizes where the sum as written takes too long;
//! * [`CpuMsm`], ours ([`cpu`] tells how), with vector arithmetic where the processor has it.
//!
//! One suite judges them all (`tests.rs`), so a further backend is tested by adding it to a list.
//!
//! Points lie in the subgroup of prime order: whoever reads them from outside checks that. Scalars are below the
//! modulus. A point at infinity counts as zero.

mod ark;
pub mod cpu;

use ark_ec::{AffineRepr, PrimeGroup};
use ark_ff::{BigInt, PrimeField};

use crate::curve::{G1Affine, G1Projective, G2Affine, G2Projective};
use crate::{Fr, Workers};

pub use ark::ArkMsm;
pub use cpu::{CpuMsm, FixedBase};

/// Scalars in one of the forms that callers have them in.
#[derive(Debug, Clone, Copy)]
pub enum Scalars<'a> {
    /// Field elements as the arithmetic holds them (Montgomery form). Most witnesses.
    Montgomery(&'a [Fr]),
    /// Plain numbers below the modulus, four limbs, least significant first.
    Canonical(&'a [BigInt<4>]),
}

impl Scalars<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Montgomery(scalars) => scalars.len(),
            Self::Canonical(scalars) => scalars.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The scalar at `index` as a plain number.
    ///
    /// # Panics
    /// If there is none.
    pub fn number(&self, index: usize) -> BigInt<4> {
        match self {
            Self::Montgomery(scalars) => scalars[index].into_bigint(),
            Self::Canonical(scalars) => scalars[index],
        }
    }
}

impl<'a> From<&'a [Fr]> for Scalars<'a> {
    fn from(scalars: &'a [Fr]) -> Self {
        Self::Montgomery(scalars)
    }
}

impl<'a> From<&'a [BigInt<4>]> for Scalars<'a> {
    fn from(scalars: &'a [BigInt<4>]) -> Self {
        Self::Canonical(scalars)
    }
}

/// Points, as a list or one at a time: a key's points need not be copied into another form before they are used.
#[derive(Clone, Copy)]
pub enum Bases<'a, A> {
    /// All of them in memory.
    Slice(&'a [A]),
    /// Made when they are asked for; some are never asked for, some more than once.
    Each {
        /// How many.
        count: usize,
        /// The point at an index.
        at: &'a (dyn Fn(usize) -> A + Sync),
    },
}

impl<A: Copy> Bases<'_, A> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Slice(points) => points.len(),
            Self::Each { count, .. } => *count,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The point at `index`.
    ///
    /// # Panics
    /// If there is none.
    pub fn at(&self, index: usize) -> A {
        match self {
            Self::Slice(points) => points[index],
            Self::Each { at, .. } => at(index),
        }
    }
}

impl<'a, A> From<&'a [A]> for Bases<'a, A> {
    fn from(points: &'a [A]) -> Self {
        Self::Slice(points)
    }
}

impl<'a, A> From<&'a Vec<A>> for Bases<'a, A> {
    fn from(points: &'a Vec<A>) -> Self {
        Self::Slice(points)
    }
}

/// A multi-scalar multiplication was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MsmError {
    /// The sum pairs each point with one scalar. Retrying does not help.
    #[error("a multi-scalar multiplication has {bases} points but {scalars} scalars")]
    Lengths {
        /// Number of points.
        bases: usize,
        /// Number of scalars.
        scalars: usize,
    },
}

/// A way to multiply and sum. Implementations are values; the threads come with each call.
pub trait Msm: Send + Sync {
    /// What the backend is called, for logs and benchmarks.
    fn name(&self) -> &'static str;

    /// `Σ scalarᵢ·baseᵢ` in the first group.
    ///
    /// # Errors
    /// [`MsmError::Lengths`]; a device's backend may fail in further ways.
    fn g1(&self, workers: &Workers, bases: Bases<'_, G1Affine>, scalars: Scalars<'_>)
    -> Result<G1Projective, MsmError>;

    /// `Σ scalarᵢ·baseᵢ` in the second group.
    ///
    /// # Errors
    /// As for [`Msm::g1`].
    fn g2(&self, workers: &Workers, bases: Bases<'_, G2Affine>, scalars: Scalars<'_>)
    -> Result<G2Projective, MsmError>;
}

/// The sum as written: one multiplication by doubling and adding per point. The oracle.
///
/// # Errors
/// [`MsmError::Lengths`].
pub fn naive<A: AffineRepr<ScalarField = Fr>>(bases: &[A], scalars: Scalars<'_>) -> Result<A::Group, MsmError> {
    check_lengths(bases.len(), &scalars)?;
    Ok(bases.iter().enumerate().map(|(index, base)| base.mul_bigint(scalars.number(index))).sum())
}

fn check_lengths(bases: usize, scalars: &Scalars<'_>) -> Result<(), MsmError> {
    match scalars.len() == bases {
        true => Ok(()),
        false => Err(MsmError::Lengths { bases, scalars: scalars.len() }),
    }
}

/// `Σ` of results of parts.
fn total<G: PrimeGroup>(parts: impl IntoIterator<Item = G>) -> G {
    parts.into_iter().fold(G::zero(), |sum, part| sum + part)
}

#[cfg(test)]
mod tests;
