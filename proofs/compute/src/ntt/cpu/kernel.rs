//! Butterflies over lanes of scalars, and the portable kernel made of them.

use ark_ff::{Field, MontFp};

use super::super::Domain;
use super::plan::{LastLevels, Plan};
use crate::Fr;

/// Elements whose last six levels are done at once.
pub(super) const TILE: usize = 64;

/// The inner loops of a transform. Factors come with [`Kernel::FACTOR_SCALE`] multiplied in.
pub(super) trait Kernel: Copy + Send + Sync {
    /// What a factor is to be multiplied with, so that the kernel's product of it and a value is the value's multiple.
    const FACTOR_SCALE: Fr;
    /// What the kernel's product of two values is to be multiplied with to be their product.
    const FACTOR_SCALE_INVERSE_OF_PRODUCT: Fr;

    /// Three levels over eight parts of a block.
    fn forward_eighths(self, parts: [&mut [Fr]; 8], factors: &[Fr; 7]);
    /// The way back.
    fn inverse_eighths(self, parts: [&mut [Fr]; 8], factors: &[Fr; 7]);
    /// One level over the halves of a block.
    fn forward_halves(self, halves: (&mut [Fr], &mut [Fr]), factor: &Fr);
    /// The way back.
    fn inverse_halves(self, halves: (&mut [Fr], &mut [Fr]), factor: &Fr);
    /// The last six levels of tile `k`.
    fn forward_tile(self, plan: &Plan, domain: Domain, values: &mut [Fr], k: usize);
    /// The way back.
    fn inverse_tile(self, plan: &Plan, domain: Domain, values: &mut [Fr], k: usize);
    /// Multiplies by a number, which carries no scale.
    fn scale(self, values: &mut [Fr], by: &Fr);
    /// The kernel's product of two values each.
    fn multiply(self, values: &mut [Fr], by: &[Fr]);
    /// `a·a_scale - c·c_scale`; the numbers carry no scale.
    fn combine(self, a: &mut [Fr], a_scale: &Fr, c: &[Fr], c_scale: &Fr);
}

/// Values side by side.
pub(super) trait FrLanes: Copy {
    /// The kernel's product; the factor is fully reduced or a product itself.
    fn times(self, factor: Self) -> Self;
    /// `u + factor·v` and `u - factor·v`. Values grow by twice the modulus.
    fn split(u: Self, v: Self, factor: Self) -> (Self, Self);
    /// `x + y` and `factor·(x - y)`. Values double.
    fn join(x: Self, y: Self, factor: Self) -> (Self, Self);
}

/// Three levels of [`FrLanes::split`].
#[inline(always)]
pub(super) fn split_eighths<L: FrLanes>(mut values: [L; 8], factors: &[L; 7]) -> [L; 8] {
    for level in 0..3 {
        let half = 4 >> level;
        for block in 0..1 << level {
            let factor = factors[(1 << level) - 1 + block];
            for index in 0..half {
                let low = 2 * half * block + index;
                (values[low], values[low + half]) = L::split(values[low], values[low + half], factor);
            }
        }
    }
    values
}

/// Three levels of [`FrLanes::join`].
#[inline(always)]
pub(super) fn join_eighths<L: FrLanes>(mut values: [L; 8], factors: &[L; 7]) -> [L; 8] {
    for level in (0..3).rev() {
        let half = 4 >> level;
        for block in 0..1 << level {
            let factor = factors[(1 << level) - 1 + block];
            for index in 0..half {
                let low = 2 * half * block + index;
                (values[low], values[low + half]) = L::join(values[low], values[low + half], factor);
            }
        }
    }
    values
}

/// All seven factors of the last three levels from that of the first pair: its square and fourth power serve the levels
/// above, and a block's right neighbours differ by roots of unity.
#[inline(always)]
pub(super) fn last_factors<L: FrLanes>(first: L, quarter: L, eighth: L) -> [L; 7] {
    let square = first.times(first);
    let third = first.times(eighth);
    [square.times(square), square, square.times(quarter), first, first.times(quarter), third, third.times(quarter)]
}

/// arkworks' arithmetic, element by element.
#[derive(Debug, Clone, Copy)]
pub(super) struct PortableKernel;

impl FrLanes for Fr {
    fn times(self, factor: Self) -> Self {
        self * factor
    }

    fn split(u: Self, v: Self, factor: Self) -> (Self, Self) {
        let product = v * factor;
        (u + product, u - product)
    }

    fn join(x: Self, y: Self, factor: Self) -> (Self, Self) {
        (x + y, (x - y) * factor)
    }
}

/// Applies `operation` to the eight elements at each place of eight parts.
fn across(parts: [&mut [Fr]; 8], operation: impl Fn([Fr; 8]) -> [Fr; 8]) {
    let length = parts[0].len();
    let mut places = parts.map(|part| part.iter_mut());
    for _ in 0..length {
        let eight: [&mut Fr; 8] = core::array::from_fn(|part| places[part].next().expect("parts of one length"));
        let values = operation(eight.each_ref().map(|value| **value));
        for (place, value) in eight.into_iter().zip(values) {
            *place = value;
        }
    }
}

fn eighths_of(values: &mut [Fr]) -> [&mut [Fr]; 8] {
    let part = values.len() / 8;
    let mut chunks = values.chunks_exact_mut(part);
    core::array::from_fn(|_| chunks.next().expect("eight parts"))
}

fn factors_of(last: &LastLevels<'_>, index: usize) -> [Fr; 7] {
    let first = last.shift.map_or(last.first[index], |shift| last.first[index] * shift);
    last_factors(first, last.quarter, last.eighth)
}

impl Kernel for PortableKernel {
    const FACTOR_SCALE: Fr = Fr::ONE;
    const FACTOR_SCALE_INVERSE_OF_PRODUCT: Fr = MontFp!("1");

    fn forward_eighths(self, parts: [&mut [Fr]; 8], factors: &[Fr; 7]) {
        across(parts, |values| split_eighths(values, factors));
    }

    fn inverse_eighths(self, parts: [&mut [Fr]; 8], factors: &[Fr; 7]) {
        across(parts, |values| join_eighths(values, factors));
    }

    fn forward_halves(self, (low, high): (&mut [Fr], &mut [Fr]), factor: &Fr) {
        for (low, high) in low.iter_mut().zip(high) {
            (*low, *high) = Fr::split(*low, *high, *factor);
        }
    }

    fn inverse_halves(self, (low, high): (&mut [Fr], &mut [Fr]), factor: &Fr) {
        for (low, high) in low.iter_mut().zip(high) {
            (*low, *high) = Fr::join(*low, *high, *factor);
        }
    }

    fn forward_tile(self, plan: &Plan, domain: Domain, values: &mut [Fr], k: usize) {
        let factors = plan.eighths(domain, TILE, k);
        across(eighths_of(values), |values| split_eighths(values, &factors));
        let last = plan.last_levels(domain, k);
        for (index, eight) in values.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *eight = split_eighths(*eight, &factors_of(&last, index));
        }
    }

    fn inverse_tile(self, plan: &Plan, domain: Domain, values: &mut [Fr], k: usize) {
        let last = plan.last_levels_inverse(domain, k);
        for (index, eight) in values.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *eight = join_eighths(*eight, &factors_of(&last, index));
        }
        let factors = plan.eighths_inverse(domain, TILE, k);
        across(eighths_of(values), |values| join_eighths(values, &factors));
    }

    fn scale(self, values: &mut [Fr], by: &Fr) {
        values.iter_mut().for_each(|value| *value *= by);
    }

    fn multiply(self, values: &mut [Fr], by: &[Fr]) {
        values.iter_mut().zip(by).for_each(|(value, by)| *value *= by);
    }

    fn combine(self, a: &mut [Fr], a_scale: &Fr, c: &[Fr], c_scale: &Fr) {
        a.iter_mut().zip(c).for_each(|(a, c)| *a = *a * a_scale - *c * c_scale);
    }
}
