//! Windows of signed digits, without carries.
//!
//! A scalar k is `Σ dᵢ·2^(ci)` with `-2^(c-1) ≤ dᵢ < 2^(c-1)` in every window but the topmost, which is unsigned. To read
//! a digit without the carry from below, add `Σ 2^(c-1)·2^(ci)` over those windows once ([`Windows::bias`]); then
//! digit i is the window's bits less `2^(c-1)`.
//!
//! The topmost window holds what is left of the 255 bits, plus a carry; nothing here uses that the points' order is
//! the scalars' modulus.

use ark_ff::{BigInt, PrimeField};

use crate::Fr;

/// Bits of a scalar: the modulus has 255.
const SCALAR_BITS: usize = Fr::MODULUS_BIT_SIZE as usize;

/// Widest window that is considered; more buckets than points never pay.
const BITS_MAX: usize = 20;

/// What a window costs besides its additions, in additions: two running sums, inversions.
const WINDOW_OVERHEAD: usize = 2_000;

/// How scalars are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Windows {
    bits: usize,
    count: usize,
    bias: [u64; 4],
}

impl Windows {
    /// The cheapest cut for `scalars` scalars.
    pub fn for_count(scalars: usize) -> Self {
        (2..=BITS_MAX)
            .map(Self::of_bits)
            .min_by_key(|windows| windows.additions(scalars) + windows.count * WINDOW_OVERHEAD)
            .expect("there are widths")
    }

    /// The cheapest cut, at most `bits_max` wide, for `scalars` scalars of one point whose multiples are tabulated: an
    /// addition for each window of a scalar, and one for each entry of the table.
    pub fn for_fixed_base(scalars: usize, bits_max: usize) -> Self {
        let additions =
            |windows: &Self| (0..windows.count).map(|window| scalars + windows.buckets(window)).sum::<usize>();
        (2..=bits_max).map(Self::of_bits).min_by_key(additions).expect("there are widths")
    }

    fn of_bits(bits: usize) -> Self {
        let count = SCALAR_BITS.div_ceil(bits);
        let mut bias = [0u64; 4];
        for window in 0..count - 1 {
            let bit = window * bits + bits - 1;
            bias[bit / 64] |= 1 << (bit % 64);
        }
        Self { bits, count, bias }
    }

    /// Bits of a window.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Number of windows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Buckets of a window, counting the one of digit zero, which stays empty.
    pub fn buckets(&self, window: usize) -> usize {
        if window + 1 == self.count {
            let top = BigInt(biased(Fr::MODULUS.0, &self.bias));
            self.chunk(&top, window) + 1
        } else {
            (1 << (self.bits - 1)) + 1
        }
    }

    /// Additions for `scalars` scalars: into buckets, and twice per bucket to weigh them.
    pub fn additions(&self, scalars: usize) -> usize {
        (0..self.count).map(|window| scalars + 2 * self.buckets(window)).sum()
    }

    /// Adds what makes digits readable one by one.
    pub fn bias(&self, number: &mut BigInt<4>) {
        number.0 = biased(number.0, &self.bias);
    }

    /// The digit of a biased number: its size, and whether it is negative.
    #[inline]
    pub fn digit(&self, biased: &BigInt<4>, window: usize) -> (usize, bool) {
        let chunk = self.chunk(biased, window);
        if window + 1 == self.count {
            return (chunk, false);
        }
        let half = 1 << (self.bits - 1);
        if chunk >= half { (chunk - half, false) } else { (half - chunk, true) }
    }

    /// The bits of a window; all that is left in the topmost.
    #[inline]
    fn chunk(&self, number: &BigInt<4>, window: usize) -> usize {
        let start = window * self.bits;
        let (word, shift) = (start / 64, start % 64);
        let mut chunk = number.0[word] >> shift;
        if shift > 0 && word < 3 {
            chunk |= number.0[word + 1] << (64 - shift);
        }
        if window + 1 == self.count { chunk as usize } else { chunk as usize & ((1 << self.bits) - 1) }
    }
}

/// Cannot overflow: both are below 2^255.
fn biased(number: [u64; 4], bias: &[u64; 4]) -> [u64; 4] {
    let mut out = [0; 4];
    let mut carry = 0;
    for (index, out) in out.iter_mut().enumerate() {
        let sum = u128::from(number[index]) + u128::from(bias[index]) + carry;
        *out = sum as u64;
        carry = sum >> 64;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::{AdditiveGroup, Field};
    use proptest::prelude::*;

    fn recombined(windows: &Windows, scalar: Fr) -> Fr {
        let mut number = scalar.into_bigint();
        windows.bias(&mut number);
        (0..windows.count()).rev().fold(Fr::ZERO, |sum, window| {
            let (digit, negative) = windows.digit(&number, window);
            assert!(digit < windows.buckets(window), "digit {digit} of window {window}");
            let digit = if negative { -Fr::from(digit as u64) } else { Fr::from(digit as u64) };
            sum * Fr::from(2u64).pow([windows.bits() as u64]) + digit
        })
    }

    #[test]
    fn digits_of_the_extremes_recombine_at_every_width() {
        for bits in 2..=BITS_MAX {
            let windows = Windows::of_bits(bits);
            for scalar in [Fr::ZERO, Fr::ONE, -Fr::ONE, -Fr::from(2u64), Fr::from(u64::MAX)] {
                assert_eq!(recombined(&windows, scalar), scalar, "{bits} bits");
            }
        }
    }

    #[test]
    fn more_scalars_take_wider_windows() {
        assert!(Windows::for_count(100).bits() < Windows::for_count(1 << 14).bits());
        assert_eq!(Windows::for_count(1 << 20).bits(), 17);
    }

    proptest! {
        #[test]
        fn digits_recombine(limbs: [u64; 4], bits in 2..=BITS_MAX) {
            let scalar = Fr::from_le_bytes_mod_order(&limbs.map(u64::to_le_bytes).concat());
            prop_assert_eq!(recombined(&Windows::of_bits(bits), scalar), scalar);
        }
    }
}
