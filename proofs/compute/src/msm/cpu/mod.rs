//! Multi-scalar multiplication on processor cores: signed-digit Pippenger over batched affine additions.
//!
//! 1. **Classes.** A scalar of zero is skipped, its point never read. Points whose scalar is one are summed. All others
//!    wait until there are [`PENDING_MAX`] of them or the input ends; then steps 2 to 5 run over them.
//! 2. **Import.** Points are converted to the engine's memory form ([`crate::curve`]).
//! 3. **Digits.** Scalars are cut into windows of c bits with signed digits, so that `2^(c-1)` buckets serve a window
//!    ([`digits`]). The width c comes from the cost below.
//! 4. **Buckets.** For each window the indices of the points are sorted by digit (counting sort). Each bucket is summed as
//!    a tree: neighbours are added pairwise, round by round, all pairs of a tile of buckets sharing one inversion
//!    ([`sums`]). A tile is sized so that its rounds stay in the second-level cache.
//! 5. **Weighing.** `Σ b·Bᵦ` over buckets: with `b = 2^k·i + j`, it is `2^k·Σ i·Rᵢ + Σ j·Cⱼ` where Rᵢ and Cⱼ are the sums
//!    of rows and columns, which are sums of groups again. What remains is about `2^(c/2)` long and done as a running sum.
//!
//! Windows run in parallel, and tiles within them, on the caller's [`Workers`].
//!
//! **The bound.** An affine addition takes 6 multiplications in the base field (18 in the second group, 17 by
//! Karatsuba's square). With n scalars and W windows of B buckets there are `W·(n + 2B)` additions: for n = 2^20 and
//! c = 17, W = 15, B = 2^16: 17.9 million, 107 million multiplications. [`additions`] computes it. Eight lanes of
//! AVX-512 IFMA at their floor of 16.5 cycles a multiplication make that 1.8 billion cycles. The whole sum takes several
//! times that: gathering points in random order is a large part.
//! A running sum with mixed additions would take 10 multiplications per point instead.
//!
//! **Memory**, beyond the arguments: [`PENDING_MAX`] points in the engine's form (128 bytes each in the first group,
//! 256 in the second), 40 bytes each for scalars and indices, and for each window under way 8 bytes per point and one
//! point per bucket. Below 450 MB in the first group with two threads, 720 MB in the second, whatever the input's size.

mod digits;
mod fixed_base;
mod grouped;
mod sums;

use ark_ec::AffineRepr;
use ark_ec::short_weierstrass::{Affine, Projective, SWCurveConfig};
use ark_ff::{AdditiveGroup, BigInt, Zero};
use rayon::prelude::*;

use super::{Bases, Msm, MsmError, Scalars, check_lengths, total};
use crate::Workers;
use crate::curve::lanes::{PairAdder, Point};
use crate::curve::portable::Portable;
use crate::curve::{G1Affine, G1Projective, G2Affine, G2Projective};
use crate::huge_pages;
use digits::Windows;
pub use fixed_base::FixedBase;
pub use grouped::{GROUPS, Grouping};
use sums::{Groups, sum_groups};

/// Points that are collected before they are worked on.
pub const PENDING_MAX: usize = 1 << 21;

/// Fewer scalars than this are multiplied one by one.
const FEW: usize = 24;

/// Points converted by one task.
const IMPORT_PART: usize = 1 << 12;

/// Scalars looked at between two looks at how many are pending.
const CLASSIFY_PART: usize = 1 << 16;

/// The processor's multi-scalar multiplication.
#[derive(Debug, Clone, Copy)]
pub struct CpuMsm {
    arithmetic: Arithmetic,
}

/// Which engine adds.
#[derive(Debug, Clone, Copy)]
enum Arithmetic {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Ifma(crate::ifma::Ifma),
}

impl CpuMsm {
    /// With the fastest arithmetic that this processor has.
    pub fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(processor) = crate::ifma::Ifma::detect() {
            return Self { arithmetic: Arithmetic::Ifma(processor) };
        }
        Self::portable()
    }

    /// With arithmetic that every processor has.
    pub fn portable() -> Self {
        Self { arithmetic: Arithmetic::Portable }
    }

    /// Whether the processor's vectors do the arithmetic. Without them arkworks' multiplication is the faster one.
    pub fn is_vectorised(&self) -> bool {
        !matches!(self.arithmetic, Arithmetic::Portable)
    }
}

impl Default for CpuMsm {
    fn default() -> Self {
        Self::new()
    }
}

impl Msm for CpuMsm {
    fn name(&self) -> &'static str {
        match self.arithmetic {
            Arithmetic::Portable => "cpu-portable",
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(_) => "cpu-ifma",
        }
    }

    fn g1(
        &self,
        workers: &Workers,
        bases: Bases<'_, G1Affine>,
        scalars: Scalars<'_>,
    ) -> Result<G1Projective, MsmError> {
        check_lengths(bases.len(), &scalars)?;
        Ok(workers.run(|| match self.arithmetic {
            Arithmetic::Portable => multiply(&Portable::new(), bases, scalars),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(processor) => multiply(&crate::curve::ifma::IfmaAdder::new(processor), bases, scalars),
        }))
    }

    fn g2(
        &self,
        workers: &Workers,
        bases: Bases<'_, G2Affine>,
        scalars: Scalars<'_>,
    ) -> Result<G2Projective, MsmError> {
        check_lengths(bases.len(), &scalars)?;
        Ok(workers.run(|| match self.arithmetic {
            Arithmetic::Portable => multiply(&Portable::new(), bases, scalars),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(processor) => multiply(&crate::curve::ifma::IfmaAdder::new(processor), bases, scalars),
        }))
    }
}

/// Additions that `count` scalars of full length take: the bound to compare with.
pub fn additions(count: usize) -> usize {
    Windows::for_count(count).additions(count)
}

/// Bytes that `count` scalars of full length move for points of `point_bytes`: points and scalars are read once, points
/// are written in the engine's form (128 bytes for 96), and each window gathers all of them, and writes and reads its
/// buckets.
pub fn bytes(count: usize, point_bytes: usize) -> usize {
    let windows = Windows::for_count(count);
    let cell_bytes = point_bytes / 3 * 4;
    let buckets: usize = (0..windows.count()).map(|window| windows.buckets(window)).sum();
    count * (point_bytes + size_of::<BigInt<4>>() + cell_bytes) + (windows.count() * count + 2 * buckets) * cell_bytes
}

/// What a scalar needs.
enum Class {
    Zero,
    One,
    Other(BigInt<4>),
}

fn classify(number: BigInt<4>) -> Class {
    match number.0 {
        [0, 0, 0, 0] => Class::Zero,
        [1, 0, 0, 0] => Class::One,
        _ => Class::Other(number),
    }
}

/// Indices collected by class.
#[derive(Default)]
struct Pending {
    ones: Vec<usize>,
    others: Vec<usize>,
    numbers: Vec<BigInt<4>>,
}

impl Pending {
    fn classified(scalars: &Scalars<'_>, range: std::ops::Range<usize>) -> Self {
        let mut pending = Self::default();
        for index in range {
            match classify(scalars.number(index)) {
                Class::Zero => {}
                Class::One => pending.ones.push(index),
                Class::Other(number) => {
                    pending.others.push(index);
                    pending.numbers.push(number);
                }
            }
        }
        pending
    }

    fn append(&mut self, mut later: Self) {
        self.ones.append(&mut later.ones);
        self.others.append(&mut later.others);
        self.numbers.append(&mut later.numbers);
    }
}

/// The whole sum, on the threads it is called from.
fn multiply<P, A>(adder: &A, bases: Bases<'_, Affine<P>>, scalars: Scalars<'_>) -> Projective<P>
where
    P: SWCurveConfig,
    A: PairAdder<Affine = Affine<P>>,
{
    let mut sum = Projective::<P>::zero();
    let mut pending = Pending::default();
    let parts = rayon::current_num_threads() * 4;
    let mut start = 0;
    while start < bases.len() {
        let end = bases.len().min(start + parts * CLASSIFY_PART);
        let classified: Vec<Pending> = (start..end)
            .step_by(CLASSIFY_PART)
            .collect::<Vec<_>>()
            .into_par_iter()
            .map(|start| Pending::classified(&scalars, start..end.min(start + CLASSIFY_PART)))
            .collect();
        for part in classified {
            if pending.ones.len() + part.ones.len() > PENDING_MAX {
                sum += sum_ones(adder, bases, &std::mem::take(&mut pending.ones));
            }
            if pending.others.len() + part.others.len() > PENDING_MAX {
                let (others, numbers) = (std::mem::take(&mut pending.others), std::mem::take(&mut pending.numbers));
                sum += multiply_others(adder, bases, &others, numbers);
            }
            pending.append(part);
        }
        start = end;
    }
    sum + sum_ones(adder, bases, &pending.ones) + multiply_others(adder, bases, &pending.others, pending.numbers)
}

fn import<A: PairAdder>(adder: &A, bases: Bases<'_, A::Affine>, indices: &[usize]) -> Vec<Point<A::Cell>> {
    let mut points = huge_pages::filled(indices.len(), Point::default());
    points.par_chunks_mut(IMPORT_PART).zip(indices.par_chunks(IMPORT_PART)).for_each(|(points, indices)| {
        let gathered: Vec<A::Affine> = indices.iter().map(|index| bases.at(*index)).collect();
        adder.import(&gathered, points);
    });
    points
}

fn sum_ones<P, A>(adder: &A, bases: Bases<'_, Affine<P>>, ones: &[usize]) -> Projective<P>
where
    P: SWCurveConfig,
    A: PairAdder<Affine = Affine<P>>,
{
    if ones.len() < FEW {
        return total(ones.iter().map(|index| bases.at(*index).into_group()));
    }
    let points = import(adder, bases, ones);
    let sums = sum_groups(adder, &points, Groups::single(points.len()));
    adder.export(&sums[0]).into_group()
}

fn multiply_others<P, A>(
    adder: &A,
    bases: Bases<'_, Affine<P>>,
    others: &[usize],
    mut numbers: Vec<BigInt<4>>,
) -> Projective<P>
where
    P: SWCurveConfig,
    A: PairAdder<Affine = Affine<P>>,
{
    if others.len() < FEW {
        return total(others.iter().zip(&numbers).map(|(index, number)| bases.at(*index).mul_bigint(number)));
    }
    let points = import(adder, bases, others);
    let windows = Windows::for_count(others.len());
    numbers.par_iter_mut().for_each(|number| windows.bias(number));
    let sums: Vec<Projective<P>> = (0..windows.count())
        .into_par_iter()
        .with_max_len(1)
        .map(|window| window_sum(adder, &points, &numbers, &windows, window))
        .collect();
    sums.into_iter().rev().fold(Projective::zero(), |mut sum, window| {
        (0..windows.bits()).for_each(|_| {
            sum.double_in_place();
        });
        sum + window
    })
}

/// `Σ digit·point` of one window.
fn window_sum<P, A>(
    adder: &A,
    points: &[Point<A::Cell>],
    numbers: &[BigInt<4>],
    windows: &Windows,
    window: usize,
) -> Projective<P>
where
    P: SWCurveConfig,
    A: PairAdder<Affine = Affine<P>>,
{
    let groups = Groups::sorted(numbers.len(), windows.buckets(window), |index| windows.digit(&numbers[index], window));
    let buckets = sum_groups(adder, points, groups);
    weigh(adder, &buckets)
}

/// `Σ b·bucketᵦ`.
fn weigh<P, A>(adder: &A, buckets: &[Point<A::Cell>]) -> Projective<P>
where
    P: SWCurveConfig,
    A: PairAdder<Affine = Affine<P>>,
{
    let column_bits = (buckets.len().ilog2() / 2).max(1);
    let columns = 1 << column_bits;
    let filled = |index: &usize| !adder.is_infinity(&buckets[*index]);
    let rows = Groups::collected(
        (0..buckets.len().div_ceil(columns))
            .map(|row| (row * columns..buckets.len().min((row + 1) * columns)).filter(filled)),
    );
    let row_sums = sum_groups(adder, buckets, rows);
    let by_column =
        Groups::collected((0..columns).map(|column| (column..buckets.len()).step_by(columns).filter(filled)));
    let column_sums = sum_groups(adder, buckets, by_column);
    let mut sum = running_sum(adder, &row_sums);
    (0..column_bits).for_each(|_| {
        sum.double_in_place();
    });
    sum + running_sum(adder, &column_sums)
}

/// `Σ i·pointᵢ` from the end: the sum of all partial sums.
fn running_sum<P, A>(adder: &A, points: &[Point<A::Cell>]) -> Projective<P>
where
    P: SWCurveConfig,
    A: PairAdder<Affine = Affine<P>>,
{
    let (mut partial, mut sum) = (Projective::zero(), Projective::zero());
    for point in points[1..].iter().rev() {
        partial += adder.export(point);
        sum += partial;
    }
    sum
}
