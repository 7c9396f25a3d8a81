//! Many multiples of one point: what making parameters consists of.
//!
//! 1. **Table.** For each window of c bits and each digit d from 1 to `2^(c-1)`, the point times `d·2^(c·window)`. A window's
//!    first multiple comes from doubling, the others by adding the first k to the k-th: as many rounds as the width has
//!    bits, all windows in each.
//! 2. **Multiples.** A scalar's digits pick at most one entry of each window; their sum is a group of [`sum_groups`], so all
//!    additions of many scalars share inversions.
//!
//! **The bound.** With W windows, n scalars take `W·n` affine additions of 6 multiplications (a mixed addition would take
//! 11), and the table `W·2^(c-1)`. For n = 10 million and c = 16, W = 16: 160 million additions. **Memory**: the table, 128
//! bytes an entry in the first group and 256 in the second: at most 67 and 134 MB.

use ark_ec::short_weierstrass::{Affine, Projective, SWCurveConfig};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, PrimeField};
use rayon::prelude::*;

use super::digits::Windows;
use super::sums::{Groups, sum_groups};
use super::{Arithmetic, CpuMsm};
use crate::curve::lanes::{PairAdder, Point};
use crate::curve::portable::Portable;
use crate::curve::{G1Affine, G2Affine};
use crate::{Fr, Workers};

/// Widest window: a wider one saves little and its table is twice as long.
const BITS_MAX: usize = 16;

/// Scalars of one task: their entries fill a few tiles.
const PART: usize = 1 << 11;

/// Multiples of one point, ready to multiply it with many scalars.
pub struct FixedBase<A> {
    table: Box<dyn Multiples<A>>,
}

impl<A: AffineRepr> FixedBase<A> {
    /// The point times each scalar.
    pub fn multiples(&self, workers: &Workers, scalars: &[Fr]) -> Vec<A> {
        workers.run(|| self.table.multiples(scalars))
    }
}

impl CpuMsm {
    /// Prepares to multiply a point of the first group with about `scalars` scalars.
    pub fn fixed_base_g1(&self, workers: &Workers, base: &G1Affine, scalars: usize) -> FixedBase<G1Affine> {
        workers.run(|| match self.arithmetic {
            Arithmetic::Portable => FixedBase { table: Box::new(Table::new(Portable::new(), base, scalars)) },
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(processor) => {
                let adder = crate::curve::ifma::IfmaAdder::new(processor);
                FixedBase { table: Box::new(Table::new(adder, base, scalars)) }
            }
        })
    }

    /// Prepares to multiply a point of the second group with about `scalars` scalars.
    pub fn fixed_base_g2(&self, workers: &Workers, base: &G2Affine, scalars: usize) -> FixedBase<G2Affine> {
        workers.run(|| match self.arithmetic {
            Arithmetic::Portable => FixedBase { table: Box::new(Table::new(Portable::new(), base, scalars)) },
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(processor) => {
                let adder = crate::curve::ifma::IfmaAdder::new(processor);
                FixedBase { table: Box::new(Table::new(adder, base, scalars)) }
            }
        })
    }
}

/// A table of any engine.
trait Multiples<A>: Send + Sync {
    fn multiples(&self, scalars: &[Fr]) -> Vec<A>;
}

/// Step 1 of the module, in an engine's memory form.
struct Table<A: PairAdder> {
    adder: A,
    windows: Windows,
    /// Window by window.
    points: Vec<Point<A::Cell>>,
    /// Where each window's multiples start.
    starts: Vec<usize>,
}

impl<P, A> Table<A>
where
    P: SWCurveConfig<ScalarField = Fr>,
    A: PairAdder<Affine = Affine<P>>,
{
    fn new(adder: A, base: &Affine<P>, scalars: usize) -> Self {
        let windows = Windows::for_fixed_base(scalars, BITS_MAX);
        let lengths: Vec<usize> = (0..windows.count()).map(|window| windows.buckets(window) - 1).collect();
        let starts: Vec<usize> = lengths
            .iter()
            .scan(0, |next, length| {
                let start = *next;
                *next += length;
                Some(start)
            })
            .collect();
        let mut table = Self { points: vec![Point::default(); lengths.iter().sum()], adder, windows, starts };
        table.fill_firsts(base);
        let mut known = 1;
        while lengths.iter().any(|length| known < *length) {
            table.double_known(known, &lengths);
            known *= 2;
        }
        table
    }

    fn fill_firsts(&mut self, base: &Affine<P>) {
        let mut point = base.into_group();
        let firsts: Vec<Projective<P>> = (0..self.windows.count())
            .map(|_| {
                let first = point;
                (0..self.windows.bits()).for_each(|_| {
                    point.double_in_place();
                });
                first
            })
            .collect();
        let mut cells = vec![Point::default(); firsts.len()];
        self.adder.import(&Projective::normalize_batch(&firsts), &mut cells);
        for (start, cell) in self.starts.iter().zip(cells) {
            self.points[*start] = cell;
        }
    }

    /// With the multiples 1 to k of every window, makes those up to 2k.
    fn double_known(&mut self, known: usize, lengths: &[usize]) {
        let new: Vec<(usize, usize)> = self
            .starts
            .iter()
            .zip(lengths)
            .flat_map(|(start, length)| (0..known.min(length.saturating_sub(known))).map(|index| (*start, index)))
            .collect();
        let pairs = new.iter().map(|(start, index)| [start + known - 1, start + index].into_iter());
        let sums = sum_groups(&self.adder, &self.points, Groups::collected(pairs));
        for ((start, index), sum) in new.into_iter().zip(sums) {
            self.points[start + known + index] = sum;
        }
    }

    /// The entries whose sum is the point times a scalar.
    fn entries(&self, scalar: &Fr) -> impl Iterator<Item = (usize, bool)> {
        let mut number = scalar.into_bigint();
        self.windows.bias(&mut number);
        self.starts.iter().enumerate().filter_map(move |(window, start)| match self.windows.digit(&number, window) {
            (0, _) => None,
            (digit, negative) => Some((start + digit - 1, negative)),
        })
    }
}

impl<P, A> Multiples<Affine<P>> for Table<A>
where
    P: SWCurveConfig<ScalarField = Fr>,
    A: PairAdder<Affine = Affine<P>>,
{
    fn multiples(&self, scalars: &[Fr]) -> Vec<Affine<P>> {
        scalars
            .par_chunks(PART)
            .flat_map_iter(|scalars| {
                let groups = Groups::signed(scalars.iter().map(|scalar| self.entries(scalar)));
                sum_groups(&self.adder, &self.points, groups).into_iter().map(|sum| self.adder.export(&sum))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use ark_ff::Field;
    use proptest::prelude::*;

    use super::*;

    fn engines() -> [CpuMsm; 2] {
        [CpuMsm::portable(), CpuMsm::new()]
    }

    fn check(scalars: &[Fr], expected_count: usize) {
        let workers = Workers::new(2).unwrap();
        let (g1, g2) = (G1Affine::generator(), G2Affine::generator());
        let expected_g1: Vec<G1Affine> = scalars.iter().map(|scalar| (g1 * scalar).into_affine()).collect();
        let expected_g2: Vec<G2Affine> = scalars.iter().map(|scalar| (g2 * scalar).into_affine()).collect();
        for engine in engines() {
            let table = engine.fixed_base_g1(&workers, &g1, expected_count);
            assert_eq!(table.multiples(&workers, scalars), expected_g1);
            let table = engine.fixed_base_g2(&workers, &g2, expected_count);
            assert_eq!(table.multiples(&workers, scalars), expected_g2);
        }
    }

    #[test]
    fn extremes_and_small_numbers_at_several_widths() {
        let small = (0..40u64).map(Fr::from);
        let powers = (0..255u64).map(|bit| Fr::from(2u64).pow([bit]));
        let scalars: Vec<Fr> = small.clone().chain(small.map(|number| -number)).chain(powers).collect();
        for expected_count in [1, 100, 3000] {
            check(&scalars, expected_count);
        }
    }

    #[test]
    fn of_infinity_everything_is_infinity() {
        let workers = Workers::new(2).unwrap();
        for engine in engines() {
            let table = engine.fixed_base_g1(&workers, &G1Affine::identity(), 10);
            assert!(table.multiples(&workers, &[Fr::ONE, -Fr::ONE, Fr::from(7u64)]).iter().all(AffineRepr::is_zero));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn random_scalars(numbers in prop::collection::vec(any::<[u64; 4]>(), 0..100)) {
            let scalar = |limbs: &[u64; 4]| Fr::from_le_bytes_mod_order(&limbs.map(u64::to_le_bytes).concat());
            let scalars: Vec<Fr> = numbers.iter().map(scalar).collect();
            check(&scalars, scalars.len());
        }
    }
}
