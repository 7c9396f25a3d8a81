//! The kernel of transforms with AVX-512 IFMA: eight scalars side by side, five limbs of 52 bits.
//!
//! In memory values stay in arkworks' form, times 2^256 modulo r. The product of this module divides by 2^260, so a factor
//! that carries 2^260 instead (arkworks' form of sixteen times the factor) leaves values in their form: only bits are
//! regrouped on the way in and out.
//!
//! r has 255 bits, so 32 r fits. A product of a value below 16 r and a reduced factor is below 1.5 r. Three levels raise values
//! from r to at most 8 r; then they are reduced. What is written to memory is always fully reduced.
#![allow(unsafe_code)]

use core::arch::x86_64::*;

use ark_ff::{MontFp, PrimeField};

use super::super::Domain;
use super::kernel::{FrLanes, Kernel, TILE, join_eighths, last_factors, split_eighths};
use super::plan::Plan;
use crate::Fr;
use crate::ifma::{Ifma, LIMB_MASK, add, minus, multiple, negative_inverse, splat, transposed};
use crate::unrolled::unrolled;

const LIMBS: usize = 5;
/// Values of a vector.
const LANES: usize = 8;

const _: () = assert!(size_of::<Fr>() == 32 && align_of::<Fr>() == 8);

/// Regroups four limbs of 64 bits as five of 52.
const fn split(limbs: [u64; 4]) -> [u64; LIMBS] {
    let [a, b, c, d] = limbs;
    [
        a & LIMB_MASK,
        (a >> 52 | b << 12) & LIMB_MASK,
        (b >> 40 | c << 24) & LIMB_MASK,
        (c >> 28 | d << 36) & LIMB_MASK,
        d >> 16,
    ]
}

const MODULUS: [u64; LIMBS] = multiple(split(Fr::MODULUS.0), 1);
const MODULUS_2: [u64; LIMBS] = multiple(split(Fr::MODULUS.0), 2);
const MODULUS_4: [u64; LIMBS] = multiple(split(Fr::MODULUS.0), 4);
const MODULUS_8: [u64; LIMBS] = multiple(split(Fr::MODULUS.0), 8);
const NEGATIVE_INVERSE: u64 = negative_inverse(MODULUS[0]);

const _: () = assert!(MODULUS[0].wrapping_mul(NEGATIVE_INVERSE) & LIMB_MASK == LIMB_MASK);

/// The kernel; exists only where the processor has the instructions.
#[derive(Debug, Clone, Copy)]
pub(super) struct IfmaKernel(Ifma);

impl IfmaKernel {
    /// Asks the processor.
    pub fn detect() -> Option<Self> {
        Ifma::detect().map(Self)
    }
}

/// Eight values: vector `i` holds limb `i` of each. Limbs may be unsettled (outside 52 bits) where a function says so.
#[derive(Clone, Copy)]
struct Eight([__m512i; LIMBS]);

// SAFETY of all blocks below up to the kernel: the intrinsics need AVX-512 F, DQ and IFMA. `Eight` is reachable only
// through the kernel's methods, whose bodies ask for those features, and a kernel exists only after the processor was
// asked. The intrinsics that touch memory say so themselves.

impl Eight {
    #[inline(always)]
    fn zip(self, other: Self, operation: impl Fn(__m512i, __m512i) -> __m512i) -> Self {
        Self(unrolled!(5, I => operation(self.0[I], other.0[I])))
    }

    #[inline(always)]
    fn constant(limbs: [u64; LIMBS]) -> Self {
        Self(unrolled!(5, I => splat(limbs[I])))
    }

    /// The same factor in all lanes.
    #[inline(always)]
    fn splat(element: &Fr) -> Self {
        Self::constant(split(element.0.0))
    }

    /// Settles limbs: one pass of signed carries.
    #[inline(always)]
    fn settled(self) -> Self {
        let mut limbs = self.0;
        for index in 0..LIMBS - 1 {
            let carry = unsafe { _mm512_srai_epi64::<52>(limbs[index]) };
            limbs[index + 1] = add(limbs[index + 1], carry);
            limbs[index] = unsafe { _mm512_and_si512(limbs[index], splat(LIMB_MASK)) };
        }
        Self(limbs)
    }

    /// Reads eight consecutive values.
    #[inline(always)]
    fn load(values: &[Fr]) -> Self {
        assert!(values.len() >= LANES);
        let words = values.as_ptr().cast::<u64>();
        // SAFETY: the slice holds eight values of 32 bytes, each nothing but its four limbs, as its size says.
        let rows = unsafe { unrolled!(4, I => _mm512_loadu_si512(words.add(8 * I).cast())) };
        Self::from_words(words_from_rows(rows))
    }

    /// Writes eight consecutive values. Takes fully reduced ones.
    #[inline(always)]
    fn store(self, values: &mut [Fr]) {
        assert!(values.len() >= LANES);
        let rows = rows_from_words(self.into_words());
        let words = values.as_mut_ptr().cast::<u64>();
        // SAFETY: as for `load`; every bit pattern is a valid limb, and the values are below the modulus.
        unsafe { unrolled!(4, I => _mm512_storeu_si512(words.add(8 * I).cast(), rows[I])) };
    }

    /// From 64-bit words by place.
    #[inline(always)]
    fn from_words([a, b, c, d]: [__m512i; 4]) -> Self {
        let mask = splat(LIMB_MASK);
        unsafe {
            Self([
                _mm512_and_si512(a, mask),
                _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<52>(a), _mm512_slli_epi64::<12>(b)), mask),
                _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<40>(b), _mm512_slli_epi64::<24>(c)), mask),
                _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<28>(c), _mm512_slli_epi64::<36>(d)), mask),
                _mm512_srli_epi64::<16>(d),
            ])
        }
    }

    #[inline(always)]
    fn into_words(self) -> [__m512i; 4] {
        let [a, b, c, d, e] = self.0;
        unsafe {
            [
                _mm512_or_si512(a, _mm512_slli_epi64::<52>(b)),
                _mm512_or_si512(_mm512_srli_epi64::<12>(b), _mm512_slli_epi64::<40>(c)),
                _mm512_or_si512(_mm512_srli_epi64::<24>(c), _mm512_slli_epi64::<28>(d)),
                _mm512_or_si512(_mm512_srli_epi64::<36>(d), _mm512_slli_epi64::<16>(e)),
            ]
        }
    }

    /// Subtracts `multiple` where the topmost limb says that the value is surely not below it.
    #[inline(always)]
    fn less_where_larger(self, multiple: &[u64; LIMBS]) -> Self {
        let carry = unsafe { _mm512_srai_epi64::<52>(self.0[LIMBS - 2]) };
        let top = add(self.0[LIMBS - 1], carry);
        // What is still due from the lower limbs is at most two either way.
        let larger = unsafe { _mm512_cmpgt_epi64_mask(top, splat(multiple[LIMBS - 1] + 4)) };
        Self(unsafe { unrolled!(5, I => _mm512_mask_sub_epi64(self.0[I], larger, self.0[I], splat(multiple[I]))) })
    }

    /// From below 16 r, unsettled, to below `r + 2^-40 r`, settled.
    #[inline(always)]
    fn nearly_reduced(self) -> Self {
        self.less_where_larger(&MODULUS_8)
            .less_where_larger(&MODULUS_4)
            .less_where_larger(&MODULUS_2)
            .less_where_larger(&MODULUS)
            .settled()
    }

    /// From below 16 r, unsettled, to below r, settled.
    #[inline(always)]
    fn reduced(self) -> Self {
        let near = self.nearly_reduced();
        let less = near.zip(Self::constant(MODULUS), minus).settled();
        let negative = unsafe { _mm512_movepi64_mask(less.0[LIMBS - 1]) };
        Self(unsafe { unrolled!(5, I => _mm512_mask_blend_epi64(negative, less.0[I], near.0[I])) })
    }
}

/// Four rows of two values each to the values' first words, second words, and so on.
#[inline(always)]
fn words_from_rows(rows: [__m512i; 4]) -> [__m512i; 4] {
    unsafe {
        let low = _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13);
        let high = _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15);
        let first = _mm512_permutex2var_epi64(rows[0], low, rows[1]);
        let second = _mm512_permutex2var_epi64(rows[2], low, rows[3]);
        let third = _mm512_permutex2var_epi64(rows[0], high, rows[1]);
        let fourth = _mm512_permutex2var_epi64(rows[2], high, rows[3]);
        [
            _mm512_shuffle_i64x2::<0x44>(first, second),
            _mm512_shuffle_i64x2::<0xee>(first, second),
            _mm512_shuffle_i64x2::<0x44>(third, fourth),
            _mm512_shuffle_i64x2::<0xee>(third, fourth),
        ]
    }
}

/// The way back.
#[inline(always)]
fn rows_from_words(words: [__m512i; 4]) -> [__m512i; 4] {
    unsafe {
        let first = _mm512_shuffle_i64x2::<0x44>(words[0], words[1]);
        let second = _mm512_shuffle_i64x2::<0xee>(words[0], words[1]);
        let third = _mm512_shuffle_i64x2::<0x44>(words[2], words[3]);
        let fourth = _mm512_shuffle_i64x2::<0xee>(words[2], words[3]);
        let even = _mm512_setr_epi64(0, 4, 8, 12, 1, 5, 9, 13);
        let odd = _mm512_setr_epi64(2, 6, 10, 14, 3, 7, 11, 15);
        [
            _mm512_permutex2var_epi64(first, even, third),
            _mm512_permutex2var_epi64(first, odd, third),
            _mm512_permutex2var_epi64(second, even, fourth),
            _mm512_permutex2var_epi64(second, odd, fourth),
        ]
    }
}

/// Exchanges lanes and vectors of 64 values.
#[inline(always)]
fn turned(values: [Eight; 8]) -> [Eight; 8] {
    let limbs = unrolled!(5, LIMB => transposed(unrolled!(8, VECTOR => values[VECTOR].0[LIMB])));
    unrolled!(8, VECTOR => Eight(unrolled!(5, LIMB => limbs[LIMB][VECTOR])))
}

impl FrLanes for Eight {
    /// Takes unsettled values and settled factors; the result is settled.
    #[inline(always)]
    fn times(self, factor: Self) -> Self {
        let value = self.settled().0;
        unsafe {
            let mut sums = [_mm512_setzero_si512(); LIMBS + 1];
            for limb in value {
                for (sum, part) in sums.iter_mut().zip(factor.0) {
                    *sum = _mm512_madd52lo_epu64(*sum, limb, part);
                }
                let digit = _mm512_madd52lo_epu64(_mm512_setzero_si512(), sums[0], splat(NEGATIVE_INVERSE));
                for (sum, part) in sums.iter_mut().zip(MODULUS) {
                    *sum = _mm512_madd52lo_epu64(*sum, digit, splat(part));
                }
                let carry = _mm512_srli_epi64::<52>(sums[0]);
                sums[1] = add(sums[1], carry);
                for index in 0..LIMBS {
                    let high = _mm512_madd52hi_epu64(sums[index + 1], limb, factor.0[index]);
                    sums[index] = _mm512_madd52hi_epu64(high, digit, splat(MODULUS[index]));
                }
                sums[LIMBS] = _mm512_setzero_si512();
            }
            Self(unrolled!(5, I => sums[I])).settled()
        }
    }

    #[inline(always)]
    fn split(u: Self, v: Self, factor: Self) -> (Self, Self) {
        let product = v.times(factor);
        (u.zip(product, add), u.zip(Self::constant(MODULUS_2), add).zip(product, minus))
    }

    #[inline(always)]
    fn join(x: Self, y: Self, factor: Self) -> (Self, Self) {
        (x.zip(y, add), x.zip(Self::constant(MODULUS_8), add).zip(y, minus).times(factor))
    }
}

/// Applies `operation` to eight vectors, one from each part, place by place.
#[inline(always)]
fn across(parts: &mut [&mut [Fr]; 8], operation: impl Fn([Eight; 8]) -> [Eight; 8]) {
    for place in (0..parts[0].len()).step_by(LANES) {
        let values = operation(unrolled!(8, I => Eight::load(&parts[I][place..])));
        unrolled!(8, I => values[I].reduced().store(&mut parts[I][place..]));
    }
}

/// Wraps generic code into a function that is compiled for the processor, and calls it.
macro_rules! on_processor {
    ($kernel:expr, ($($name:ident: $kind:ty = $value:expr),*), $body:block) => {{
        #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
        fn compiled($($name: $kind),*) $body
        let _: IfmaKernel = $kernel;
        // SAFETY: a kernel exists only where the processor has the features.
        unsafe { compiled($($value),*) }
    }};
}

impl Kernel for IfmaKernel {
    const FACTOR_SCALE: Fr = MontFp!("16");
    const FACTOR_SCALE_INVERSE_OF_PRODUCT: Fr = MontFp!("16");

    fn forward_eighths(self, mut parts: [&mut [Fr]; 8], factors: &[Fr; 7]) {
        on_processor!(self, (parts: &mut [&mut [Fr]; 8] = &mut parts, factors: &[Fr; 7] = factors), {
            let factors = unrolled!(7, I => Eight::splat(&factors[I]));
            across(parts, |values| split_eighths(values, &factors));
        })
    }

    fn inverse_eighths(self, mut parts: [&mut [Fr]; 8], factors: &[Fr; 7]) {
        on_processor!(self, (parts: &mut [&mut [Fr]; 8] = &mut parts, factors: &[Fr; 7] = factors), {
            let factors = unrolled!(7, I => Eight::splat(&factors[I]));
            across(parts, |values| join_eighths(values, &factors));
        })
    }

    fn forward_halves(self, (low, high): (&mut [Fr], &mut [Fr]), factor: &Fr) {
        on_processor!(self, (low: &mut [Fr] = low, high: &mut [Fr] = high, factor: &Fr = factor), {
            let factor = Eight::splat(factor);
            for (low, high) in low.chunks_exact_mut(LANES).zip(high.chunks_exact_mut(LANES)) {
                let (first, second) = Eight::split(Eight::load(low), Eight::load(high), factor);
                first.reduced().store(low);
                second.reduced().store(high);
            }
        })
    }

    fn inverse_halves(self, (low, high): (&mut [Fr], &mut [Fr]), factor: &Fr) {
        on_processor!(self, (low: &mut [Fr] = low, high: &mut [Fr] = high, factor: &Fr = factor), {
            let factor = Eight::splat(factor);
            for (low, high) in low.chunks_exact_mut(LANES).zip(high.chunks_exact_mut(LANES)) {
                let (first, second) = Eight::join(Eight::load(low), Eight::load(high), factor);
                first.reduced().store(low);
                second.reduced().store(high);
            }
        })
    }

    fn forward_tile(self, plan: &Plan, domain: Domain, values: &mut [Fr], k: usize) {
        let (factors, last) = (plan.eighths(domain, TILE, k), plan.last_levels(domain, k));
        let shift = last.shift.map(|shift| shift * Self::FACTOR_SCALE);
        let last = (last.first, shift.as_ref(), &last.quarter, &last.eighth);
        on_processor!(self, (values: &mut [Fr] = values, factors: &[Fr; 7] = &factors, last: Last<'_> = last), {
            let factors = unrolled!(7, I => Eight::splat(&factors[I]));
            let tile = unrolled!(8, I => Eight::load(&values[I * LANES..]));
            let tile = split_eighths(tile, &factors);
            let tile = turned(unrolled!(8, I => tile[I].nearly_reduced()));
            let tile = split_eighths(tile, &lane_factors(last));
            let tile = turned(unrolled!(8, I => tile[I].reduced()));
            unrolled!(8, I => tile[I].store(&mut values[I * LANES..]));
        })
    }

    fn inverse_tile(self, plan: &Plan, domain: Domain, values: &mut [Fr], k: usize) {
        let (factors, last) = (plan.eighths_inverse(domain, TILE, k), plan.last_levels_inverse(domain, k));
        let shift = last.shift.map(|shift| shift * Self::FACTOR_SCALE);
        let last = (last.first, shift.as_ref(), &last.quarter, &last.eighth);
        on_processor!(self, (values: &mut [Fr] = values, factors: &[Fr; 7] = &factors, last: Last<'_> = last), {
            let tile = unrolled!(8, I => Eight::load(&values[I * LANES..]));
            let tile = join_eighths(turned(tile), &lane_factors(last));
            let tile = turned(unrolled!(8, I => tile[I].nearly_reduced()));
            let factors = unrolled!(7, I => Eight::splat(&factors[I]));
            let tile = join_eighths(tile, &factors);
            unrolled!(8, I => tile[I].reduced().store(&mut values[I * LANES..]));
        })
    }

    fn scale(self, values: &mut [Fr], by: &Fr) {
        on_processor!(self, (values: &mut [Fr] = values, by: Fr = *by * Self::FACTOR_SCALE), {
            let by = Eight::splat(&by);
            for eight in values.chunks_exact_mut(LANES) {
                Eight::load(eight).times(by).reduced().store(eight);
            }
        })
    }

    fn multiply(self, values: &mut [Fr], by: &[Fr]) {
        on_processor!(self, (values: &mut [Fr] = values, by: &[Fr] = by), {
            for (eight, by) in values.chunks_exact_mut(LANES).zip(by.chunks_exact(LANES)) {
                Eight::load(eight).times(Eight::load(by)).reduced().store(eight);
            }
        })
    }

    fn combine(self, a: &mut [Fr], a_scale: &Fr, c: &[Fr], c_scale: &Fr) {
        let scales = (*a_scale * Self::FACTOR_SCALE, *c_scale * Self::FACTOR_SCALE);
        on_processor!(self, (a: &mut [Fr] = a, c: &[Fr] = c, scales: (Fr, Fr) = scales), {
            let (a_scale, c_scale) = (Eight::splat(&scales.0), Eight::splat(&scales.1));
            for (a, c) in a.chunks_exact_mut(LANES).zip(c.chunks_exact(LANES)) {
                let sum = Eight::load(a).times(a_scale).zip(Eight::constant(MODULUS_2), add);
                sum.zip(Eight::load(c).times(c_scale), minus).reduced().store(a);
            }
        })
    }
}

/// First factors, shift, fourth and eighth root.
type Last<'a> = (&'a [Fr], Option<&'a Fr>, &'a Fr, &'a Fr);

/// Factors of the last three levels, a lane for each eight elements.
#[inline(always)]
fn lane_factors((first, shift, quarter, eighth): Last<'_>) -> [Eight; 7] {
    let first = Eight::load(first);
    let first = match shift {
        Some(shift) => first.times(Eight::splat(shift)),
        None => first,
    };
    last_factors(first, Eight::splat(quarter), Eight::splat(eighth))
}
