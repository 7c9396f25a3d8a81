//! One suite for every backend: it must equal the sum as written, and at larger sizes arkworks.

use ark_bls12_381::{g1, g2};
use ark_ec::short_weierstrass::{Affine, Projective, SWCurveConfig};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, Field};

use super::*;

/// A repeatable stream of scalars, by squaring and adding.
struct Stream(Fr);

impl Stream {
    fn new(seed: u64) -> Self {
        Self(Fr::from(seed) + Fr::from(u64::MAX).pow([9]))
    }

    fn next(&mut self) -> Fr {
        self.0 = self.0.square() + self.0 + Fr::from(0x9e37_79b9_7f4a_7c15u64);
        self.0
    }
}

/// Points of the subgroup: consecutive multiples of a random one.
fn points<A: Judged>(count: usize, seed: u64) -> Vec<Affine<A>> {
    let step = Affine::<A>::generator() * Stream::new(seed).next();
    let mut point = step;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(point);
        point += step;
    }
    Projective::normalize_batch(&all)
}

fn backends() -> Vec<Box<dyn Msm>> {
    vec![Box::new(ArkMsm), Box::new(CpuMsm::portable()), Box::new(CpuMsm::new())]
}

/// A group with its method of the seam.
trait Judged: SWCurveConfig<ScalarField = Fr> {
    fn run(
        backend: &dyn Msm,
        workers: &Workers,
        bases: Bases<'_, Affine<Self>>,
        scalars: Scalars<'_>,
    ) -> Result<Projective<Self>, MsmError>;
}

impl Judged for g1::Config {
    fn run(
        backend: &dyn Msm,
        workers: &Workers,
        bases: Bases<'_, G1Affine>,
        scalars: Scalars<'_>,
    ) -> Result<G1Projective, MsmError> {
        backend.g1(workers, bases, scalars)
    }
}

impl Judged for g2::Config {
    fn run(
        backend: &dyn Msm,
        workers: &Workers,
        bases: Bases<'_, G2Affine>,
        scalars: Scalars<'_>,
    ) -> Result<G2Projective, MsmError> {
        backend.g2(workers, bases, scalars)
    }
}

fn judge<A: Judged>(case: &str, bases: &[Affine<A>], scalars: &[Fr], expected: Projective<A>) {
    let numbers: Vec<_> = scalars.iter().map(|scalar| scalar.into_bigint()).collect();
    for threads in [1, 2] {
        let workers = Workers::new(threads).unwrap();
        for backend in backends() {
            let place = format!("{case}: {} with {threads} threads", backend.name());
            let sum = A::run(&*backend, &workers, bases.into(), scalars.into());
            assert_eq!(sum.unwrap(), expected, "{place}");
            let each = Bases::Each { count: bases.len(), at: &|index| bases[index] };
            let sum = A::run(&*backend, &workers, each, numbers[..].into());
            assert_eq!(sum.unwrap(), expected, "{place}, points one at a time, canonical scalars");
        }
    }
}

fn judge_naively<A: Judged>(case: &str, bases: &[Affine<A>], scalars: &[Fr]) {
    judge(case, bases, scalars, naive(bases, scalars.into()).unwrap());
}

fn sizes<A: Judged>() {
    let mut stream = Stream::new(1);
    for size in [0, 1, 2, 3, 7, 23, 24, 25, 64, 129, 300] {
        let scalars: Vec<_> = (0..size).map(|_| stream.next()).collect();
        judge_naively(&format!("size {size}"), &points::<A>(size, 2), &scalars);
    }
}

/// The scalars at which digits, classes and carries change.
fn edge_scalars() -> Vec<Fr> {
    let half = -Fr::from(2u64).inverse().unwrap();
    let mut edges = vec![Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(2u64), -Fr::from(2u64), half, half + Fr::ONE];
    for bits in 1..17u64 {
        let power = Fr::from(2u64).pow([bits * 15]);
        edges.extend([power, power - Fr::ONE, -power]);
    }
    edges
}

fn edges<A: Judged>() {
    let edges = edge_scalars();
    let bases = points::<A>(edges.len(), 3);
    judge_naively("edge scalars", &bases, &edges);
    for scalar in [Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(2u64)] {
        judge_naively(&format!("all {scalar}"), &bases, &vec![scalar; bases.len()]);
    }
}

/// Equal, opposite and infinite points meet in every order, so that the additions' special cases all occur.
fn special_points<A: Judged>() {
    let few = points::<A>(3, 4);
    let mut choices = few.clone();
    choices.extend(few.iter().map(|point| (-point.into_group()).into_affine()));
    choices.push(Affine::zero());
    let mut stream = Stream::new(5);
    let mut pick = |_| choices[(stream.next().into_bigint().0[0] % 7) as usize];
    let bases: Vec<Affine<A>> = (0..200).map(&mut pick).collect();
    judge_naively("special points, all one", &bases, &[Fr::ONE; 200]);
    judge_naively("special points, all equal", &bases, &[Fr::from(77u64); 200]);
    let mut stream = Stream::new(6);
    let scalars: Vec<_> = (0..200).map(|_| Fr::from(stream.next().into_bigint().0[0] % 5)).collect();
    judge_naively("special points, small scalars", &bases, &scalars);
    for same in [choices[0], Affine::zero()] {
        judge_naively("one point", &[same; 100], &scalars[..100]);
    }
    let cancelling: Vec<Affine<A>> = (0..100).map(|index| choices[3 * (index % 2)]).collect();
    judge_naively("cancelling", &cancelling, &[Fr::ONE; 100]);
}

/// Larger than tiles and windows; arkworks says what is right.
fn against_ark<A: Judged>(size: usize) {
    let bases = points::<A>(size, 7);
    let mut stream = Stream::new(8);
    let workers = Workers::new(2).unwrap();
    let random: Vec<_> = (0..size).map(|_| stream.next()).collect();
    let bits: Vec<_> = (0..size)
        .map(|index| match random[index].into_bigint().0[1] % 16 {
            0 => random[index],
            selector => Fr::from(selector & 1),
        })
        .collect();
    for (case, scalars) in [("random", random), ("bits", bits), ("ones", vec![Fr::ONE; size])] {
        let expected = A::run(&ArkMsm, &workers, (&bases).into(), scalars[..].into()).unwrap();
        for backend in backends() {
            let sum = A::run(&*backend, &workers, (&bases).into(), scalars[..].into()).unwrap();
            assert_eq!(sum, expected, "{case} of {size}: {}", backend.name());
        }
    }
}

fn lengths<A: Judged>() {
    let workers = Workers::new(1).unwrap();
    for backend in backends() {
        let result = A::run(&*backend, &workers, (&points::<A>(3, 11)).into(), [Fr::ONE][..].into());
        assert_eq!(result, Err(MsmError::Lengths { bases: 3, scalars: 1 }), "{}", backend.name());
    }
}

#[test]
fn g1_sizes() {
    sizes::<g1::Config>();
}

#[test]
fn g2_sizes() {
    sizes::<g2::Config>();
}

#[test]
fn g1_edges() {
    edges::<g1::Config>();
}

#[test]
fn g2_edges() {
    edges::<g2::Config>();
}

#[test]
fn g1_special_points() {
    special_points::<g1::Config>();
}

#[test]
fn g2_special_points() {
    special_points::<g2::Config>();
}

#[test]
fn g1_against_ark() {
    against_ark::<g1::Config>((1 << 15) + 3);
}

#[test]
fn g2_against_ark() {
    against_ark::<g2::Config>((1 << 12) + 5);
}

#[test]
#[ignore = "slow: more points than are collected at once, with the oracle minutes"]
fn g1_against_ark_beyond_what_is_collected() {
    against_ark::<g1::Config>(PENDING_BEYOND);
}

const PENDING_BEYOND: usize = cpu::PENDING_MAX + (cpu::PENDING_MAX >> 1) + 1;

#[test]
fn unequal_lengths_are_refused() {
    lengths::<g1::Config>();
    lengths::<g2::Config>();
}

#[test]
fn sums_of_groups_are_sums_of_groups() {
    let (workers, count) = (Workers::new(2).unwrap(), 3000);
    let groupings: Vec<cpu::Grouping> =
        [7, 31, 0].iter().map(|factor| (0..count).map(|index| (index * factor) as u8).collect()).collect();
    let (g1, g2) = (points::<g1::Config>(count, 5), points::<g2::Config>(count, 6));
    for msm in [CpuMsm::new(), CpuMsm::portable()] {
        expect_group_sums(&g1, &groupings, &msm.group_sums_g1(&workers, &g1, &groupings));
        expect_group_sums(&g2, &groupings, &msm.group_sums_g2(&workers, &g2, &groupings));
    }
}

fn expect_group_sums<A: Judged>(points: &[Affine<A>], groupings: &[cpu::Grouping], got: &[Vec<Affine<A>>]) {
    for (grouping, got) in groupings.iter().zip(got) {
        let mut expected = vec![Projective::<A>::ZERO; cpu::GROUPS];
        for (point, group) in points.iter().zip(grouping) {
            expected[usize::from(*group)] += point;
        }
        assert_eq!(*got, Projective::normalize_batch(&expected));
    }
}
