//! Eight base-field elements side by side, with AVX-512 IFMA.
//!
//! An element is eight limbs of 52 bits, times 2^416 modulo p (Montgomery with R = 2^416). p has 381 bits, so 35 bits are
//! spare: a product of any two values below `2^15 p` is below `p + 2^-4 p`, and differences need no reduction, only
//! a multiple of p that keeps them positive and one pass of carries.
//!
//! *Nearly reduced* means below `p + 2^-13 p` with limbs below 2^52. It is reached from below 4p (8p in Fp2) by comparing
//! the topmost limb, which holds 17 bits of p, with that of 4p, 2p and p, and subtracting where it is surely larger.
//!
//! In memory a coordinate is one 64-byte line of eight limbs. A load gathers eight lines and transposes them.
//!
//! A multiplication is 8 rounds of 32 multiply-add instructions and one for the quotient digit: 264 for eight products.
//! With two multiply-adds a cycle the floor is 132 cycles, 16.5 for one product; carries and broadcasts come on top.
#![allow(unsafe_code)]

use core::arch::x86_64::*;
use core::marker::PhantomData;

use ark_bls12_381::{g1, g2};
use ark_ec::AffineRepr;
use ark_ec::short_weierstrass::{Affine, SWCurveConfig};
use ark_ff::{BigInt, Fp, MontFp, PrimeField, Zero};

use super::lanes::{Lanes, Pair, PairAdder, Point, Scratch, add_pairs, pairs_multiple};
use super::portable::BaseField;
use super::{Fq, Fq2};
use crate::ifma::{
    Ifma, LIMB_BITS, LIMB_MASK, add, minus, multiple, multiply_high, multiply_low, negative_inverse, splat, transposed,
    zero,
};
use crate::unrolled::unrolled;

/// Limbs of an element.
const LIMBS: usize = 8;

/// Splits six limbs of 64 bits into eight of 52.
const fn split(limbs: [u64; 6]) -> [u64; LIMBS] {
    let mut out = [0; LIMBS];
    let mut index = 0;
    while index < LIMBS {
        let (word, shift) = (index * LIMB_BITS / 64, index * LIMB_BITS % 64);
        let mut limb = limbs[word] >> shift;
        if shift > 64 - LIMB_BITS && word + 1 < 6 {
            limb |= limbs[word + 1] << (64 - shift);
        }
        out[index] = limb & LIMB_MASK;
        index += 1;
    }
    out
}

const MODULUS: [u64; LIMBS] = multiple(split(Fq::MODULUS.0), 1);
const MODULUS_2: [u64; LIMBS] = multiple(split(Fq::MODULUS.0), 2);
const MODULUS_3: [u64; LIMBS] = multiple(split(Fq::MODULUS.0), 3);
const MODULUS_4: [u64; LIMBS] = multiple(split(Fq::MODULUS.0), 4);
const MODULUS_8: [u64; LIMBS] = multiple(split(Fq::MODULUS.0), 8);
const NEGATIVE_INVERSE: u64 = negative_inverse(MODULUS[0]);
/// arkworks' form is times 2^384; that of 2^32 is therefore one in ours.
const TWO_32: Fq = MontFp!("4294967296");
const ONE: [u64; LIMBS] = split(TWO_32.0.0);
/// In arkworks' form 2^-32 and 2^-20 are single bits.
const TWO_MINUS_32: Fq = Fp::new_unchecked(BigInt([0, 0, 0, 0, 0, 1 << 32]));
const TWO_MINUS_20: Fq = Fp::new_unchecked(BigInt([0, 0, 0, 0, 0, 1 << 44]));
/// Takes arkworks' form to ours in one of our products: 2^(416 + 416 - 384).
const TWO_64: Fq = MontFp!("18446744073709551616");
const IMPORT: [u64; LIMBS] = split(TWO_64.0.0);

const _: () = assert!(LIMBS * LIMB_BITS == 416 && MODULUS[0].wrapping_mul(NEGATIVE_INVERSE) & LIMB_MASK == LIMB_MASK);

/// A coordinate in memory.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Cell([u64; LIMBS]);

impl Cell {
    /// The opposite. Values at and above p, which a nearly reduced one may be, are first taken below it.
    fn negated(self) -> Self {
        let below = subtracted(&self.0, &MODULUS).unwrap_or(self.0);
        if below == [0; LIMBS] {
            return Self(below);
        }
        Self(subtracted(&MODULUS, &below).expect("it is below the modulus"))
    }
}

/// `a - b`, unless it is negative.
fn subtracted(a: &[u64; LIMBS], b: &[u64; LIMBS]) -> Option<[u64; LIMBS]> {
    let (mut out, mut borrow) = ([0; LIMBS], 0);
    for index in 0..LIMBS {
        let difference = a[index].wrapping_sub(b[index]).wrapping_sub(borrow);
        out[index] = difference & LIMB_MASK;
        borrow = difference >> 63;
    }
    (borrow == 0).then_some(out)
}

/// Eight elements: vector `i` holds limb `i` of each.
#[derive(Clone, Copy)]
pub(crate) struct Eight([__m512i; LIMBS]);

/// Eight elements of the quadratic extension, `c0 + c1·u`.
#[derive(Clone, Copy)]
pub(crate) struct EightPairs {
    c0: Eight,
    c1: Eight,
}

// SAFETY of all blocks below up to the engines: the intrinsics need AVX-512 F, DQ and IFMA. `Eight` and `EightPairs`
// are reachable only through the engines at the end of this module, whose entries ask for those features and can only
// be called with an `Ifma` at hand, which exists only after the processor was asked. The intrinsics that touch memory
// say so themselves.

/// One pass of signed carries: limbs below 2^52 after it, if the value is not negative.
#[inline(always)]
fn carried(mut limbs: [__m512i; LIMBS]) -> [__m512i; LIMBS] {
    let mask = splat(LIMB_MASK);
    for index in 0..LIMBS - 1 {
        let carry = unsafe { _mm512_srai_epi64::<52>(limbs[index]) };
        limbs[index + 1] = add(limbs[index + 1], carry);
        limbs[index] = unsafe { _mm512_and_si512(limbs[index], mask) };
    }
    limbs
}

/// Subtracts `multiple` where the topmost limb says that the value is surely not below it.
#[inline(always)]
fn subtract_where_larger(limbs: &mut [__m512i; LIMBS], top: &mut __m512i, multiple: &[u64; LIMBS]) {
    // The estimate of the top is at most three too large: carries and borrows are still due.
    let larger = unsafe { _mm512_cmpgt_epi64_mask(*top, splat(multiple[LIMBS - 1] + 4)) };
    for (limb, part) in limbs.iter_mut().zip(multiple) {
        *limb = unsafe { _mm512_mask_sub_epi64(*limb, larger, *limb, splat(*part)) };
    }
    *top = unsafe { _mm512_mask_sub_epi64(*top, larger, *top, splat(multiple[LIMBS - 1])) };
}

/// From below 4p, or below 8p if `WIDE`, with carries due, to nearly reduced.
#[inline(always)]
fn nearly_reduced<const WIDE: bool>(mut limbs: [__m512i; LIMBS]) -> Eight {
    let carry = unsafe { _mm512_srai_epi64::<52>(limbs[LIMBS - 2]) };
    let mut top = add(limbs[LIMBS - 1], carry);
    if WIDE {
        subtract_where_larger(&mut limbs, &mut top, &MODULUS_4);
    }
    subtract_where_larger(&mut limbs, &mut top, &MODULUS_2);
    subtract_where_larger(&mut limbs, &mut top, &MODULUS);
    Eight(carried(limbs))
}

impl Eight {
    #[inline(always)]
    fn splat(limbs: &[u64; LIMBS]) -> Self {
        Self(unrolled!(8, I => splat(limbs[I])))
    }

    #[inline(always)]
    fn gather<'a>(at: impl Fn(usize) -> &'a Cell) -> Self {
        // SAFETY: a `Cell` is 64 bytes and aligned to 64.
        Self(transposed(unsafe { unrolled!(8, I => _mm512_load_si512(at(I).0.as_ptr().cast())) }))
    }

    #[inline(always)]
    fn cells(self) -> [Cell; 8] {
        let rows = transposed(self.0);
        let mut cells = [Cell::default(); 8];
        // SAFETY: a `Cell` is 64 bytes and aligned to 64.
        unsafe { unrolled!(8, I => _mm512_store_si512(cells[I].0.as_mut_ptr().cast(), rows[I])) };
        cells
    }

    /// Limb by limb, no carries.
    #[inline(always)]
    fn raw(self, other: Self, operation: impl Fn(__m512i, __m512i) -> __m512i) -> [__m512i; LIMBS] {
        unrolled!(8, I => operation(self.0[I], other.0[I]))
    }

    #[inline(always)]
    fn plus_multiple(limbs: [__m512i; LIMBS], multiple: &[u64; LIMBS]) -> [__m512i; LIMBS] {
        unrolled!(8, I => add(limbs[I], splat(multiple[I])))
    }

    /// `self + other`, ready to be multiplied.
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(carried(self.raw(other, add)))
    }

    /// `self - other + multiple`, ready to be multiplied.
    #[inline(always)]
    fn minus_with(self, other: Self, multiple: &[u64; LIMBS]) -> Self {
        Self(carried(Self::plus_multiple(self.raw(other, minus), multiple)))
    }

    #[inline(always)]
    fn product(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { product(self, other) }
    }

    /// `self - first - second`, nearly reduced; `WIDE` where `self` may be up to 4p.
    #[inline(always)]
    fn minus_two<const WIDE: bool>(self, first: Self, second: Self) -> Self {
        let difference = Self(self.raw(first, minus)).raw(second, minus);
        nearly_reduced::<WIDE>(Self::plus_multiple(difference, &MODULUS_3))
    }

    #[inline(always)]
    fn minus_one<const WIDE: bool>(self, other: Self) -> Self {
        nearly_reduced::<WIDE>(Self::plus_multiple(self.raw(other, minus), &MODULUS_2))
    }

    /// `2p - self` in some lanes.
    #[inline(always)]
    fn negated_where(self, lanes: u32) -> Self {
        let negated = unrolled!(8, I => minus(splat(MODULUS_2[I]), self.0[I]));
        let negated = carried(negated);
        Self(unsafe { unrolled!(8, I => _mm512_mask_blend_epi64(lanes as u8, self.0[I], negated[I])) })
    }

    /// Lanes whose lowest limb is that of p, 2p or 3p.
    #[inline(always)]
    fn maybe_multiple(self) -> u8 {
        let low = self.0[0];
        unsafe {
            _mm512_cmpeq_epi64_mask(low, splat(MODULUS[0]))
                | _mm512_cmpeq_epi64_mask(low, splat(MODULUS_2[0]))
                | _mm512_cmpeq_epi64_mask(low, splat(MODULUS_3[0]))
        }
    }

    #[inline(always)]
    fn maybe_zero(self) -> u8 {
        unsafe { _mm512_testn_epi64_mask(self.0[0], self.0[0]) }
    }

    fn cell(element: &Fq) -> Cell {
        Cell(split((*element * TWO_32).0.0))
    }

    fn element(cell: &Cell) -> Fq {
        let mut low = [0u64; 6];
        for (index, limb) in cell.0[..LIMBS - 1].iter().enumerate() {
            let (word, shift) = (index * LIMB_BITS / 64, index * LIMB_BITS % 64);
            low[word] |= limb << shift;
            if shift > 64 - LIMB_BITS {
                low[word + 1] |= limb >> (64 - shift);
            }
        }
        let low: Fq = Fp::new_unchecked(BigInt(low));
        (low + Fq::from(cell.0[LIMBS - 1]) * TWO_MINUS_20) * TWO_MINUS_32
    }
}

/// The product of eight and eight elements: round by round one limb of `a` times b, then the quotient digit times p.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
#[inline]
unsafe fn product(a: Eight, b: Eight) -> Eight {
    let mut sums = [zero(); LIMBS + 1];
    for limb in a.0 {
        for (sum, factor) in sums.iter_mut().zip(b.0) {
            *sum = multiply_low(*sum, limb, factor);
        }
        let digit = multiply_low(zero(), sums[0], splat(NEGATIVE_INVERSE));
        for (sum, factor) in sums[1..].iter_mut().zip(b.0) {
            *sum = multiply_high(*sum, limb, factor);
        }
        for (sum, factor) in sums.iter_mut().zip(MODULUS) {
            *sum = multiply_low(*sum, digit, splat(factor));
        }
        let carry = _mm512_srli_epi64::<52>(sums[0]);
        for index in 0..LIMBS {
            sums[index] = multiply_high(sums[index + 1], digit, splat(MODULUS[index]));
        }
        sums[0] = add(sums[0], carry);
        sums[LIMBS] = zero();
    }
    Eight(carried(unrolled!(8, I => sums[I])))
}

impl Lanes for Eight {
    type Field = Fq;
    type Cell = Cell;
    const LANES: usize = 8;

    #[inline(always)]
    fn load<'a>(at: impl Fn(usize) -> &'a Cell) -> Self {
        Self::gather(at)
    }

    #[inline(always)]
    fn store(self, mut to: impl FnMut(usize, Cell)) {
        for (lane, cell) in self.cells().into_iter().enumerate() {
            to(lane, cell);
        }
    }

    #[inline(always)]
    fn one() -> Self {
        Self::splat(&ONE)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.product(other)
    }

    #[inline(always)]
    fn square(self) -> Self {
        self.product(self)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.minus_with(other, &MODULUS_2)
    }

    #[inline(always)]
    fn product_minus_two(self, first: Self, second: Self) -> Self {
        self.minus_two::<false>(first, second)
    }

    #[inline(always)]
    fn product_minus(self, other: Self) -> Self {
        self.minus_one::<false>(other)
    }

    #[inline(always)]
    fn negate_where(self, lanes: u32) -> Self {
        self.negated_where(lanes)
    }

    #[inline(always)]
    fn needs_care(self, x1: Self, x2: Self) -> bool {
        self.maybe_multiple() | x1.maybe_zero() | x2.maybe_zero() != 0
    }

    fn cell(element: &Fq) -> Cell {
        Self::cell(element)
    }

    fn element(cell: &Cell) -> Fq {
        Self::element(cell)
    }

    fn invert(element: &Fq) -> Fq {
        element.inverted()
    }

    #[inline(always)]
    fn prefetch(cell: &Cell) {
        // SAFETY: a hint; the address is that of a live value.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(cell).cast()) }
    }
}

impl Lanes for EightPairs {
    type Field = Fq2;
    type Cell = [Cell; 2];
    const LANES: usize = 8;

    #[inline(always)]
    fn load<'a>(at: impl Fn(usize) -> &'a [Cell; 2]) -> Self {
        Self { c0: Eight::gather(|lane| &at(lane)[0]), c1: Eight::gather(|lane| &at(lane)[1]) }
    }

    #[inline(always)]
    fn store(self, mut to: impl FnMut(usize, [Cell; 2])) {
        let (c0, c1) = (self.c0.cells(), self.c1.cells());
        for (lane, (c0, c1)) in c0.into_iter().zip(c1).enumerate() {
            to(lane, [c0, c1]);
        }
    }

    #[inline(always)]
    fn one() -> Self {
        Self { c0: Eight::splat(&ONE), c1: Eight::splat(&[0; LIMBS]) }
    }

    /// Karatsuba: three products. Below 4p afterwards.
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let low = self.c0.product(other.c0);
        let high = self.c1.product(other.c1);
        let both = self.c0.plus(self.c1).product(other.c0.plus(other.c1));
        let c1 = Eight(both.raw(low, minus)).raw(high, minus);
        Self { c0: low.minus_with(high, &MODULUS_2), c1: Eight(carried(Eight::plus_multiple(c1, &MODULUS_3))) }
    }

    /// `(a + b)(a - b)` and `2ab`: two products.
    #[inline(always)]
    fn square(self) -> Self {
        let c0 = self.c0.plus(self.c1).product(self.c0.minus_with(self.c1, &MODULUS_8));
        Self { c0, c1: self.c0.plus(self.c0).product(self.c1) }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self { c0: self.c0.minus_with(other.c0, &MODULUS_2), c1: self.c1.minus_with(other.c1, &MODULUS_2) }
    }

    #[inline(always)]
    fn product_minus_two(self, first: Self, second: Self) -> Self {
        Self { c0: self.c0.minus_two::<true>(first.c0, second.c0), c1: self.c1.minus_two::<true>(first.c1, second.c1) }
    }

    #[inline(always)]
    fn product_minus(self, other: Self) -> Self {
        Self { c0: self.c0.minus_one::<true>(other.c0), c1: self.c1.minus_one::<true>(other.c1) }
    }

    #[inline(always)]
    fn negate_where(self, lanes: u32) -> Self {
        Self { c0: self.c0.negated_where(lanes), c1: self.c1.negated_where(lanes) }
    }

    #[inline(always)]
    fn needs_care(self, x1: Self, x2: Self) -> bool {
        let first = x1.c0.maybe_zero() & x1.c1.maybe_zero();
        let second = x2.c0.maybe_zero() & x2.c1.maybe_zero();
        self.c0.maybe_multiple() & self.c1.maybe_multiple() | first | second != 0
    }

    fn cell(element: &Fq2) -> [Cell; 2] {
        [Eight::cell(&element.c0), Eight::cell(&element.c1)]
    }

    fn element(cell: &[Cell; 2]) -> Fq2 {
        Fq2::new(Eight::element(&cell[0]), Eight::element(&cell[1]))
    }

    fn invert(element: &Fq2) -> Fq2 {
        element.inverted()
    }

    #[inline(always)]
    fn prefetch(cell: &[Cell; 2]) {
        Eight::prefetch(&cell[0]);
        Eight::prefetch(&cell[1]);
    }
}

/// The vector engine of one group.
#[derive(Debug)]
pub(crate) struct IfmaAdder<P> {
    processor: Ifma,
    group: PhantomData<fn() -> P>,
}

impl<P> Clone for IfmaAdder<P> {
    fn clone(&self) -> Self {
        Self::new(self.processor)
    }
}

impl<P> IfmaAdder<P> {
    /// The engine, on a processor that has been asked.
    pub fn new(processor: Ifma) -> Self {
        Self { processor, group: PhantomData }
    }
}

/// The entries of a group: its generic code compiled for the processor.
pub(crate) trait IfmaGroup: SWCurveConfig<BaseField: BaseField> {
    /// Eight coordinates.
    type Lanes: Lanes<Field = Self::BaseField> + Send;

    /// A coordinate split into limbs, still in arkworks' form.
    fn split(element: &Self::BaseField) -> <Self::Lanes as Lanes>::Cell;
    /// `p - element` limb by limb, nearly reduced; zero stays zero.
    fn negated(cell: &<Self::Lanes as Lanes>::Cell) -> <Self::Lanes as Lanes>::Cell;
    /// Whether every limb is zero: how zero is written, and never a nearly reduced multiple of p.
    fn is_all_zeros(cell: &<Self::Lanes as Lanes>::Cell) -> bool;
    /// [`add_pairs`] on the processor.
    fn add_pairs_on(
        processor: Ifma,
        scratch: &mut Scratch<Self::Lanes>,
        source: &[Point<<Self::Lanes as Lanes>::Cell>],
        pairs: &[Pair],
        sums: &mut [Point<<Self::Lanes as Lanes>::Cell>],
    );
    /// Takes split coordinates to this module's form.
    fn import_on(processor: Ifma, cells: &mut [Point<<Self::Lanes as Lanes>::Cell>]);
}

#[inline(always)]
fn import_line(line: impl Fn(usize) -> Cell) -> [Cell; 8] {
    let lines = unrolled!(8, I => line(I));
    Eight::gather(|lane| &lines[lane]).product(Eight::splat(&IMPORT)).cells()
}

impl IfmaGroup for g1::Config {
    type Lanes = Eight;

    fn split(element: &Fq) -> Cell {
        Cell(split(element.0.0))
    }

    fn negated(cell: &Cell) -> Cell {
        cell.negated()
    }

    fn is_all_zeros(cell: &Cell) -> bool {
        cell.0 == [0; LIMBS]
    }

    fn add_pairs_on(
        _: Ifma,
        scratch: &mut Scratch<Eight>,
        source: &[Point<Cell>],
        pairs: &[Pair],
        sums: &mut [Point<Cell>],
    ) {
        #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
        fn compiled(scratch: &mut Scratch<Eight>, source: &[Point<Cell>], pairs: &[Pair], sums: &mut [Point<Cell>]) {
            add_pairs(scratch, source, pairs, sums);
        }
        // SAFETY: an `Ifma` exists only where the processor has the features.
        unsafe { compiled(scratch, source, pairs, sums) }
    }

    fn import_on(_: Ifma, points: &mut [Point<Cell>]) {
        #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
        fn compiled(points: &mut [Point<Cell>]) {
            for eight in points.chunks_mut(8) {
                let last = eight.len() - 1;
                let x = import_line(|lane| eight[lane.min(last)].x);
                let y = import_line(|lane| eight[lane.min(last)].y);
                for (point, (x, y)) in eight.iter_mut().zip(x.into_iter().zip(y)) {
                    *point = Point { x, y };
                }
            }
        }
        // SAFETY: an `Ifma` exists only where the processor has the features.
        unsafe { compiled(points) }
    }
}

impl IfmaGroup for g2::Config {
    type Lanes = EightPairs;

    fn split(element: &Fq2) -> [Cell; 2] {
        [Cell(split(element.c0.0.0)), Cell(split(element.c1.0.0))]
    }

    fn negated(cell: &[Cell; 2]) -> [Cell; 2] {
        cell.map(|part| part.negated())
    }

    fn is_all_zeros(cell: &[Cell; 2]) -> bool {
        cell.iter().all(|part| part.0 == [0; LIMBS])
    }

    fn add_pairs_on(
        _: Ifma,
        scratch: &mut Scratch<EightPairs>,
        source: &[Point<[Cell; 2]>],
        pairs: &[Pair],
        sums: &mut [Point<[Cell; 2]>],
    ) {
        #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
        fn compiled(
            scratch: &mut Scratch<EightPairs>,
            source: &[Point<[Cell; 2]>],
            pairs: &[Pair],
            sums: &mut [Point<[Cell; 2]>],
        ) {
            add_pairs(scratch, source, pairs, sums);
        }
        // SAFETY: an `Ifma` exists only where the processor has the features.
        unsafe { compiled(scratch, source, pairs, sums) }
    }

    fn import_on(_: Ifma, points: &mut [Point<[Cell; 2]>]) {
        #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
        fn compiled(points: &mut [Point<[Cell; 2]>]) {
            for eight in points.chunks_mut(8) {
                let last = eight.len() - 1;
                for part in 0..2 {
                    let x = import_line(|lane| eight[lane.min(last)].x[part]);
                    let y = import_line(|lane| eight[lane.min(last)].y[part]);
                    for (point, (x, y)) in eight.iter_mut().zip(x.into_iter().zip(y)) {
                        point.x[part] = x;
                        point.y[part] = y;
                    }
                }
            }
        }
        // SAFETY: an `Ifma` exists only where the processor has the features.
        unsafe { compiled(points) }
    }
}

impl<P: IfmaGroup> PairAdder for IfmaAdder<P> {
    type Cell = <P::Lanes as Lanes>::Cell;
    type Affine = Affine<P>;
    type Scratch = Scratch<P::Lanes>;
    const PAIRS_MULTIPLE: usize = pairs_multiple::<P::Lanes>();

    fn import(&self, points: &[Affine<P>], into: &mut [Point<Self::Cell>]) {
        for (point, into) in points.iter().zip(into.iter_mut()) {
            *into = match point.is_zero() {
                true => Point::default(),
                false => Point { x: P::split(&point.x), y: P::split(&point.y) },
            };
        }
        P::import_on(self.processor, &mut into[..points.len()]);
    }

    fn export(&self, point: &Point<Self::Cell>) -> Affine<P> {
        let (x, y) = (P::Lanes::element(&point.x), P::Lanes::element(&point.y));
        if x.is_zero() && y.is_zero() { Affine::identity() } else { Affine::new_unchecked(x, y) }
    }

    fn add_pairs(
        &self,
        scratch: &mut Self::Scratch,
        source: &[Point<Self::Cell>],
        pairs: &[Pair],
        sums: &mut [Point<Self::Cell>],
    ) {
        P::add_pairs_on(self.processor, scratch, source, pairs, sums);
    }

    fn negated(&self, point: &Point<Self::Cell>) -> Point<Self::Cell> {
        Point { x: point.x, y: P::negated(&point.y) }
    }

    fn is_infinity(&self, point: &Point<Self::Cell>) -> bool {
        P::is_all_zeros(&point.x) && P::is_all_zeros(&point.y)
    }
}
