//! Whether many points lie in the subgroup of prime order, at a fraction of what it costs to ask each of them.
//!
//! A point of the curve is a point of the subgroup plus one whose order divides the cofactor: its *excess*. A point lies in
//! the subgroup if it has none.
//!
//! 1. Put every point into one of 256 groups at random, add up each group, and ask of each sum whether it lies in the
//!    subgroup.
//! 2. Suppose that some points have an excess, and think of all but one of them as placed already. The sums pass only if
//!    exactly one of them has an excess now, and the one left lands in that group and cancels it: a chance of
//!    at most one in 256.
//! 3. Sixteen groupings leave 2^-128.
//! 4. The groupings come from a hash over all the points, so nobody can choose points after the groupings.
//! 5. If a sum does not pass, every point is asked, and the first one outside is named.
//!
//! **The bound.** Sixteen affine additions for each point, about 100 multiplications; asking a point takes about 1,000. Some
//! thousands of points have as many sums as points: fewer are asked one by one.

use blake2b_simd::Params as Blake2b;
use cairn_compute::Workers;
use cairn_compute::msm::cpu::{GROUPS, Grouping};
use rayon::prelude::*;

use super::points::Point;

/// Groupings: each is wrong with a chance of one in [`GROUPS`].
const GROUPINGS: usize = 16;

/// From so many points on the sums pay.
const POINTS_MIN: usize = 2 * GROUPS * GROUPINGS;

/// Group numbers in a hash.
const HASH_BYTES: usize = 64;

/// The first of some points of the curve that lies outside the subgroup. `bytes` are what the points were read from.
pub(super) fn first_outside<P: Point>(points: &[P], bytes: &[u8], workers: &Workers) -> Option<usize> {
    if points.len() >= POINTS_MIN && all_pass(points, bytes, workers) {
        return None;
    }
    workers.run(|| points.par_iter().position_first(|point| !point.lies_in_subgroup()))
}

fn all_pass<P: Point>(points: &[P], bytes: &[u8], workers: &Workers) -> bool {
    let groupings = workers.run(|| groupings(points.len(), bytes));
    let sums = P::group_sums(points, &groupings, workers);
    workers.run(|| sums.par_iter().flatten().all(Point::lies_in_subgroup))
}

fn groupings(points: usize, bytes: &[u8]) -> Vec<Grouping> {
    let seed = Blake2b::new().hash_length(HASH_BYTES).personal(b"cairn subgroup 1").hash(bytes);
    let groups = |number: u64, block: u64| {
        let position = [number.to_le_bytes(), block.to_le_bytes()].concat();
        let hash = Blake2b::new().key(seed.as_bytes()).personal(b"cairn subgroup 2").hash(&position);
        *hash.as_array()
    };
    (0..GROUPINGS as u64)
        .into_par_iter()
        .map(|number| {
            let blocks = 0..points.div_ceil(HASH_BYTES) as u64;
            let mut grouping: Grouping = blocks.flat_map(|block| groups(number, block)).collect();
            grouping.truncate(points);
            grouping
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ark_bls12_381::{g1, g2};
    use ark_ec::short_weierstrass::{Affine, Projective, SWCurveConfig};
    use ark_ec::{AdditiveGroup, AffineRepr, CurveGroup};
    use ark_ff::{BitIteratorBE, Field, PrimeField, Zero};

    use super::super::curve::{G1Affine, G2Affine};
    use super::*;

    const COUNT: usize = POINTS_MIN + 100;

    fn workers() -> Workers {
        Workers::new(2).unwrap()
    }

    /// Multiples of a generator, and a point of the curve that is none.
    fn points<C: SWCurveConfig>() -> (Vec<Affine<C>>, Affine<C>) {
        let step = C::GENERATOR * C::ScalarField::from(987_654_321u64);
        let multiples = std::iter::successors(Some(step), |point| Some(*point + step)).take(COUNT).collect::<Vec<_>>();
        let outside = (1u64..)
            .find_map(|x| Affine::<C>::get_point_from_x_unchecked(C::BaseField::from_base_prime_field(x.into()), true))
            .unwrap();
        (Projective::normalize_batch(&multiples), outside)
    }

    fn expect<P: Point, C: SWCurveConfig>(from_ark: fn(&Affine<C>) -> P) {
        let (sound, outside) = points::<C>();
        let found = |points: &[Affine<C>]| {
            let points: Vec<P> = points.iter().map(from_ark).collect();
            let mut bytes = vec![];
            points.iter().for_each(|point| point.write_uncompressed(&mut bytes));
            (first_outside(&points, &bytes, &workers()), first_outside(&points[..50], &bytes, &workers()))
        };
        assert_eq!(found(&sound), (None, None));
        let with = |changes: &[(usize, Affine<C>)]| {
            let mut points = sound.clone();
            changes.iter().for_each(|(index, excess)| points[*index] = (points[*index] + *excess).into_affine());
            points
        };
        assert_eq!(found(&with(&[(7000, outside)])), (Some(7000), None));
        assert_eq!(found(&with(&[(49, outside)])), (Some(49), Some(49)));
        // Two that cancel each other pass where they share a group, and nowhere else.
        assert_eq!(found(&with(&[(4000, outside), (8000, -outside)])), (Some(4000), None));
    }

    #[test]
    fn one_point_outside_is_found_and_so_are_two_that_cancel() {
        expect::<G1Affine, g1::Config>(G1Affine::from_ark);
        expect::<G2Affine, g2::Config>(G2Affine::from_ark);
    }

    /// By doubling and adding: arkworks' own multiplication takes points of the subgroup for granted.
    fn times(point: Projective<g1::Config>, limbs: &[u64]) -> Projective<g1::Config> {
        BitIteratorBE::new(limbs)
            .fold(Projective::zero(), |sum, bit| sum.double() + if bit { point } else { Projective::zero() })
    }

    /// A point of order 3, the smallest factor of the first group's cofactor: the excess that cancels most easily.
    fn of_order_three() -> Affine<g1::Config> {
        let without_three = 0x396c_8c00_5555_e156_8c00_aaab_0000_aaab_u128 / 3;
        (1u64..)
            .filter_map(|x| Affine::<g1::Config>::get_point_from_x_unchecked(x.into(), true))
            .map(|point| times(point.into_group(), &[without_three as u64, (without_three >> 64) as u64]))
            .map(|point| times(point, &ark_bls12_381::Fr::MODULUS.0).into_affine())
            .find(|point| !point.is_zero())
            .unwrap()
    }

    #[test]
    fn excesses_of_order_three_do_not_hide_in_pairs_or_triples() {
        let excess = of_order_three();
        assert_eq!((excess + excess).into_affine(), -excess);
        let (sound, _) = points::<g1::Config>();
        for changes in [vec![(9, excess), (5000, -excess)], vec![(7, excess), (8, excess), (6000, excess)]] {
            let mut points = sound.clone();
            changes.iter().for_each(|(index, excess)| points[*index] = (points[*index] + *excess).into_affine());
            let points: Vec<G1Affine> = points.iter().map(G1Affine::from_ark).collect();
            for bytes in 0..10u8 {
                assert_eq!(first_outside(&points, &[bytes], &workers()), Some(changes[0].0));
            }
        }
    }

    #[test]
    fn groupings_depend_on_every_byte_and_use_all_groups() {
        let (first, second) = (groupings(COUNT, &[1; 1000]), groupings(COUNT, &[[1; 999].as_slice(), &[2]].concat()));
        assert_eq!((first.len(), first[0].len()), (GROUPINGS, COUNT));
        assert!(first.iter().zip(&second).all(|(first, second)| first != second));
        assert!((0..=u8::MAX).all(|group| first.iter().all(|grouping| grouping.contains(&group))));
    }
}
