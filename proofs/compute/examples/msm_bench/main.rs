//! Multi-scalar multiplications and transforms of every backend in one alternating run.
//!
//! `cargo run --release -p cairn-compute --example msm_bench -- [log2 size] [threads] [runs]` prints one JSON line each:
//! operation, seconds (the best of the runs), and the bound: the multiplications and bytes that our way takes at least.
//! `floor_multiplying_s` and `floor_moving_s` are what they take on this machine if nothing else costs time, with the
//! multiplication instruction that the backend uses; `share` is the larger of the two by the seconds: how much of the
//! bound is reached. For the other backends too: they may choose another way, but none that needs less is known here.
#![allow(unsafe_code)]

mod floors;

use std::time::Instant;

use ark_bls12_381::Fr;
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, Field as _, PrimeField};
use cairn_compute::Workers;
use cairn_compute::curve::{Fq, G1Affine, G1Projective, G2Affine, G2Projective};
use cairn_compute::msm::{self, ArkMsm, CpuMsm, Msm};
use cairn_compute::ntt::{self, ArkNtt, CpuNtt, Domain, Ntt};
use floors::{Field, Floors, Instruction};
use rayon::prelude::*;

/// Multiplications in the base field of an affine addition, in each group.
const G1_ADDITION: usize = 6;
const G2_ADDITION: usize = 17;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
    let size_log2 = arguments.next().unwrap_or(16);
    let threads = arguments.next().unwrap_or(2);
    let runs = arguments.next().unwrap_or(3);
    let workers = Workers::new(threads).expect("threads");
    let floors = Floors::measure(&workers);
    floors.print();
    let times = [
        transforms(size_log2, &workers, runs),
        sums_in_g1(size_log2, &workers, runs),
        sums_in_g2(size_log2.saturating_sub(2), &workers, runs),
    ];
    times.iter().flatten().for_each(|time| report(time, &floors));
}

/// Forward transforms and quotients. One transform takes `n/2·log₂ n` multiplications; a quotient six of them and three
/// multiplications per value, in passes over two vectors.
fn transforms(size_log2: usize, workers: &Workers, runs: usize) -> Vec<Time> {
    let size = 1usize << size_log2;
    let values = scalars(size, 5);
    let (products, bytes) = (size / 2 * size_log2, ntt::cpu::bytes(size));
    let one = Bound { field: Field::Scalar, products, bytes };
    let six = Bound { products: 6 * products + 3 * size, bytes: 6 * bytes + 6 * size_of::<Fr>() * size, ..one };
    let backends: [Box<dyn Ntt>; 3] = [Box::new(CpuNtt::new()), Box::new(CpuNtt::portable()), Box::new(ArkNtt)];
    let mut times = Vec::new();
    for _ in 0..runs {
        for backend in &backends {
            let mut copy = values.clone();
            let (cost, result) = timed(|| backend.forward(workers, &mut copy, Domain::Coset));
            result.expect("a power of two");
            best(&mut times, format!("ntt::forward/backend={},log2={size_log2}", backend.name()), cost, one);
            let [a, b, c] = [values.clone(), values.clone(), values.clone()];
            let (cost, result) = timed(|| backend.quotient(workers, a, b, c));
            result.expect("a power of two");
            best(&mut times, format!("ntt::quotient/backend={},log2={size_log2}", backend.name()), cost, six);
        }
    }
    times
}

/// A repeatable stream of scalars.
fn scalars(count: usize, seed: u64) -> Vec<Fr> {
    let mut state = Fr::from(seed);
    (0..count)
        .map(|_| {
            state = state.square() + Fr::from(0x9e37_79b9_7f4a_7c15u64);
            state
        })
        .collect()
}

/// Points without a known relation that would help: multiples of a point, in an order of steps.
fn points<G: CurveGroup<ScalarField = Fr>>(workers: &Workers, count: usize) -> Vec<G::Affine> {
    let part = 1 << 14;
    workers.run(|| {
        (0..count.div_ceil(part))
            .into_par_iter()
            .flat_map_iter(|number| {
                let seeds = scalars(2, number as u64 + 3);
                let (mut point, step) = (G::generator() * seeds[0], G::generator() * seeds[1]);
                let mut all = Vec::with_capacity(part);
                for _ in 0..part.min(count - number * part) {
                    all.push(point);
                    point += step;
                }
                G::normalize_batch(&all)
            })
            .collect()
    })
}

fn witness(random: &[Fr]) -> Vec<Fr> {
    random
        .iter()
        .map(|scalar| match scalar.into_bigint().0[1] % 20 {
            0 => *scalar,
            selector => Fr::from(selector & 1),
        })
        .collect()
}

/// An operation's best run, and what it takes at least.
struct Time {
    operation: String,
    cost: Cost,
    bound: Bound,
}

/// Multiplications in a field, and bytes.
#[derive(Clone, Copy)]
struct Bound {
    field: Field,
    products: usize,
    bytes: usize,
}

fn best(times: &mut Vec<Time>, operation: String, cost: Cost, bound: Bound) {
    match times.iter_mut().find(|time| time.operation == operation) {
        Some(Time { cost: least, .. }) => {
            *least = Cost { wall: least.wall.min(cost.wall), processor: least.processor.min(cost.processor) };
        }
        None => times.push(Time { operation, cost, bound }),
    }
}

/// Wall and processor seconds of some work.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    processor: f64,
}

fn timed<R>(work: impl FnOnce() -> R) -> (Cost, R) {
    let (start, before) = (Instant::now(), processor_seconds());
    let result = work();
    (Cost { wall: start.elapsed().as_secs_f64(), processor: processor_seconds() - before }, result)
}

/// What all threads of this process have computed, in steps of 10 ms; 0 where the system does not say. On a machine that
/// does other work too this is the figure to compare.
fn processor_seconds() -> f64 {
    let Ok(line) = std::fs::read_to_string("/proc/self/stat") else { return 0.0 };
    let after_name = line.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

fn sums_in_g1(size_log2: usize, workers: &Workers, runs: usize) -> Vec<Time> {
    let random = scalars(1 << size_log2, 1);
    let bits = witness(&random);
    let g1 = points::<G1Projective>(workers, random.len());
    let backends: [Box<dyn Msm>; 3] = [Box::new(CpuMsm::new()), Box::new(CpuMsm::portable()), Box::new(ArkMsm)];
    let mut times = Vec::new();
    for _ in 0..runs {
        for (class, scalars) in [("random", &random), ("bits", &bits)] {
            let bound = bound_of_sum(scalars, G1_ADDITION, size_of::<G1Affine>());
            let mut sums = Vec::new();
            for backend in &backends {
                let name = format!("msm::g1/backend={},scalars={class},log2={size_log2}", backend.name());
                let (cost, sum) = timed(|| backend.g1(workers, (&g1).into(), scalars[..].into()).expect("lengths"));
                best(&mut times, name, cost, bound);
                sums.push(sum.into_affine());
            }
            if class == "random" {
                let (cost, sum) = timed(|| with_blst(&g1, scalars, workers.threads()));
                best(&mut times, format!("msm::g1/backend=blst,scalars={class},log2={size_log2}"), cost, bound);
                sums.push(sum);
            }
            assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "backends disagree");
        }
    }
    times
}

fn sums_in_g2(size_log2: usize, workers: &Workers, runs: usize) -> Vec<Time> {
    let random = scalars(1 << size_log2, 1);
    let bits = witness(&random);
    let g2 = points::<G2Projective>(workers, random.len());
    let backends: [Box<dyn Msm>; 3] = [Box::new(CpuMsm::new()), Box::new(CpuMsm::portable()), Box::new(ArkMsm)];
    let mut times = Vec::new();
    for _ in 0..runs {
        for (class, scalars) in [("random", &random), ("bits", &bits)] {
            let bound = bound_of_sum(scalars, G2_ADDITION, size_of::<G2Affine>());
            let mut sums: Vec<G2Affine> = Vec::new();
            for backend in &backends {
                let name = format!("msm::g2/backend={},scalars={class},log2={size_log2}", backend.name());
                let (cost, sum) = timed(|| backend.g2(workers, (&g2).into(), scalars[..].into()).expect("lengths"));
                best(&mut times, name, cost, bound);
                sums.push(sum.into_affine());
            }
            assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "backends disagree");
        }
    }
    times
}

/// Points whose scalar is one are added up; those with another scalar than zero and one are multiplied.
fn bound_of_sum(scalars: &[Fr], products_of_addition: usize, point_bytes: usize) -> Bound {
    let ones = scalars.iter().filter(|scalar| **scalar == Fr::ONE).count();
    let others = scalars.iter().filter(|scalar| **scalar != Fr::ONE && **scalar != Fr::ZERO).count();
    Bound {
        field: Field::Base,
        products: products_of_addition * (ones + msm::cpu::additions(others)),
        bytes: size_of_val(scalars) + ones * point_bytes + msm::cpu::bytes(others, point_bytes),
    }
}

fn report(time: &Time, floors: &Floors) {
    let Time { operation, cost: Cost { wall, processor }, bound } = time;
    let Bound { field, products, bytes } = *bound;
    let instruction = if operation.contains("=cpu-ifma") { Instruction::Vector } else { Instruction::Scalar };
    let (multiplying, moving) = (floors.multiplying(products, field, instruction), floors.moving(bytes));
    println!(
        "{{\"what\":\"{operation}\",\"seconds\":{wall:.4},\"processor_s\":{processor:.2},\
         \"bound_multiplications\":{products},\"bound_bytes\":{bytes},\"floor_multiplying_s\":{multiplying:.4},\
         \"floor_moving_s\":{moving:.4},\"share\":{:.2}}}",
        multiplying.max(moving) / wall
    );
}

/// blst's own Pippenger: one part per thread.
fn with_blst(bases: &[G1Affine], scalars: &[Fr], threads: usize) -> G1Affine {
    let points: Vec<blst::blst_p1_affine> = bases
        .iter()
        .map(|base| blst::blst_p1_affine { x: blst::blst_fp { l: base.x.0.0 }, y: blst::blst_fp { l: base.y.0.0 } })
        .collect();
    let bytes: Vec<[u8; 32]> = scalars
        .iter()
        .map(|scalar| {
            let mut bytes = [0; 32];
            for (chunk, limb) in bytes.chunks_exact_mut(8).zip(scalar.into_bigint().0) {
                chunk.copy_from_slice(&limb.to_le_bytes());
            }
            bytes
        })
        .collect();
    let part = bases.len().div_ceil(threads);
    let sums: Vec<blst::blst_p1> = std::thread::scope(|scope| {
        let parts: Vec<_> = points
            .chunks(part)
            .zip(bytes.chunks(part))
            .map(|(points, bytes)| scope.spawn(move || blst_part(points, bytes)))
            .collect();
        parts.into_iter().map(|part| part.join().expect("no panic")).collect()
    });
    sums.iter().fold(G1Projective::ZERO, |sum, part| sum + from_blst(part)).into_affine()
}

fn blst_part(points: &[blst::blst_p1_affine], bytes: &[[u8; 32]]) -> blst::blst_p1 {
    let mut sum = blst::blst_p1::default();
    let point_list = [points.as_ptr(), std::ptr::null()];
    let scalar_list = [bytes.as_ptr().cast::<u8>(), std::ptr::null()];
    // SAFETY: blst takes a null-terminated list whose first entry is followed by the rest of a contiguous array; the
    // scratch has the size that it asks for.
    unsafe {
        let mut scratch = vec![0u64; blst::blst_p1s_mult_pippenger_scratch_sizeof(points.len()) / 8];
        blst::blst_p1s_mult_pippenger(
            &mut sum,
            point_list.as_ptr(),
            points.len(),
            scalar_list.as_ptr(),
            255,
            scratch.as_mut_ptr(),
        );
    }
    sum
}

fn from_blst(point: &blst::blst_p1) -> G1Affine {
    let coordinate = |fp: &blst::blst_fp| -> Fq { ark_ff::Fp::new_unchecked(ark_ff::BigInt(fp.l)) };
    let z = coordinate(&point.z);
    match z.inverse() {
        None => G1Affine::zero(),
        Some(inverse) => {
            let square = inverse.square();
            G1Affine::new_unchecked(coordinate(&point.x) * square, coordinate(&point.y) * square * inverse)
        }
    }
}
