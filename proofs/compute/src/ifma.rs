//! What the vector code of both fields shares: 512-bit vectors of eight 64-bit words, and numbers in limbs of 52 bits.
//!
//! The multiply-adds of AVX-512 IFMA take 52 bits of each word, so a number is a few limbs of 52 bits, and a vector holds
//! the same limb of eight numbers.
//!
//! SAFETY of all blocks: the intrinsics need AVX-512 F, DQ and IFMA, and touch no memory. The functions are for the two
//! modules of vector code alone, which reach them only below entries that ask for those features and can only be called
//! with an [`Ifma`] at hand; that exists only after the processor was asked.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

/// Bits of a limb.
pub(crate) const LIMB_BITS: usize = 52;
/// The bits of a limb, set.
pub(crate) const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;

/// Proof that the processor has these instructions. Only [`Ifma::detect`] makes one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ifma(());

impl Ifma {
    /// Asks the processor.
    pub fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512ifma");
        all.then_some(Self(()))
    }
}

/// `factor` times a number; the product must fit into as many limbs.
pub(crate) const fn multiple<const LIMBS: usize>(limbs: [u64; LIMBS], factor: u64) -> [u64; LIMBS] {
    let mut out = [0; LIMBS];
    let (mut carry, mut index) = (0, 0);
    while index < LIMBS {
        let value = limbs[index] * factor + carry;
        out[index] = value & LIMB_MASK;
        carry = value >> LIMB_BITS;
        index += 1;
    }
    assert!(carry == 0);
    out
}

/// `-1/modulus` modulo 2^52 of an odd modulus, of which this is the lowest limb, by Newton's iteration.
pub(crate) const fn negative_inverse(modulus: u64) -> u64 {
    let (mut inverse, mut round) = (1u64, 0);
    while round < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(modulus.wrapping_mul(inverse)));
        round += 1;
    }
    inverse.wrapping_neg() & LIMB_MASK
}

/// The same word eight times.
#[inline(always)]
pub(crate) fn splat(value: u64) -> __m512i {
    unsafe { _mm512_set1_epi64(value as i64) }
}

/// Eight zeros.
#[inline(always)]
pub(crate) fn zero() -> __m512i {
    unsafe { _mm512_setzero_si512() }
}

/// Sums, word by word.
#[inline(always)]
pub(crate) fn add(a: __m512i, b: __m512i) -> __m512i {
    unsafe { _mm512_add_epi64(a, b) }
}

/// Differences, word by word.
#[inline(always)]
pub(crate) fn minus(a: __m512i, b: __m512i) -> __m512i {
    unsafe { _mm512_sub_epi64(a, b) }
}

/// `sum` plus the low 52 bits of the products of the low 52 bits.
#[inline(always)]
pub(crate) fn multiply_low(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    unsafe { _mm512_madd52lo_epu64(sum, a, b) }
}

/// `sum` plus the high 52 bits of those products.
#[inline(always)]
pub(crate) fn multiply_high(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    unsafe { _mm512_madd52hi_epu64(sum, a, b) }
}

/// Transposes an eight by eight matrix of 64-bit words.
#[inline(always)]
pub(crate) fn transposed(rows: [__m512i; 8]) -> [__m512i; 8] {
    unsafe {
        let mut pairs = rows;
        for index in 0..4 {
            pairs[2 * index] = _mm512_unpacklo_epi64(rows[2 * index], rows[2 * index + 1]);
            pairs[2 * index + 1] = _mm512_unpackhi_epi64(rows[2 * index], rows[2 * index + 1]);
        }
        let mut out = rows;
        for odd in 0..2 {
            let low = _mm512_shuffle_i64x2::<0x88>(pairs[odd], pairs[2 + odd]);
            let high = _mm512_shuffle_i64x2::<0xdd>(pairs[odd], pairs[2 + odd]);
            let low_2 = _mm512_shuffle_i64x2::<0x88>(pairs[4 + odd], pairs[6 + odd]);
            let high_2 = _mm512_shuffle_i64x2::<0xdd>(pairs[4 + odd], pairs[6 + odd]);
            out[odd] = _mm512_shuffle_i64x2::<0x88>(low, low_2);
            out[4 + odd] = _mm512_shuffle_i64x2::<0xdd>(low, low_2);
            out[2 + odd] = _mm512_shuffle_i64x2::<0x88>(high, high_2);
            out[6 + odd] = _mm512_shuffle_i64x2::<0xdd>(high, high_2);
        }
        out
    }
}
