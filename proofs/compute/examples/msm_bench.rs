//! Multi-scalar multiplications and transforms of every backend in one alternating run.
//!
//! `cargo run --release -p cairn-compute --example msm_bench -- [log2 size] [threads] [runs]` prints one JSON line each:
//! operation, seconds (the best of the runs), and for ours the bound (multiplications) and the multiplications a second.
#![allow(unsafe_code)]

use std::time::Instant;

use ark_bls12_381::Fr;
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, Field, PrimeField};
use cairn_compute::Workers;
use cairn_compute::curve::{Fq, G1Affine, G1Projective, G2Affine, G2Projective};
use cairn_compute::msm::{ArkMsm, CpuMsm, Msm, cpu};
use cairn_compute::ntt::{ArkNtt, CpuNtt, Domain, Ntt};
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
    transforms(size_log2, &workers, runs);
    multiplications(size_log2, &workers, runs);
}

/// Forward transforms and quotients. One transform takes `n/2·log₂ n` multiplications; a quotient six of them and three
/// multiplications per value.
fn transforms(size_log2: usize, workers: &Workers, runs: usize) {
    let size = 1usize << size_log2;
    let values = scalars(size, 5);
    let backends: [Box<dyn Ntt>; 3] = [Box::new(CpuNtt::new()), Box::new(CpuNtt::portable()), Box::new(ArkNtt)];
    let (mut single, mut whole) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        for backend in &backends {
            let mut copy = values.clone();
            let (cost, result) = timed(|| backend.forward(workers, &mut copy, Domain::Coset));
            result.expect("a power of two");
            best(&mut single, format!("ntt::forward/backend={},log2={size_log2}", backend.name()), cost);
            let [a, b, c] = [values.clone(), values.clone(), values.clone()];
            let (cost, result) = timed(|| backend.quotient(workers, a, b, c));
            result.expect("a power of two");
            best(&mut whole, format!("ntt::quotient/backend={},log2={size_log2}", backend.name()), cost);
        }
    }
    let transform = size / 2 * size_log2;
    report(&single, transform);
    report(&whole, 6 * transform + 3 * size);
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

fn best(times: &mut Vec<(String, Cost)>, name: String, cost: Cost) {
    match times.iter_mut().find(|(known, _)| *known == name) {
        Some((_, least)) => {
            *least = Cost { wall: least.wall.min(cost.wall), processor: least.processor.min(cost.processor) };
        }
        None => times.push((name, cost)),
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

fn multiplications(size_log2: usize, workers: &Workers, runs: usize) {
    let count = 1 << size_log2;
    let random = scalars(count, 1);
    let bits = witness(&random);
    let g1 = points::<G1Projective>(workers, count);
    let backends: [Box<dyn Msm>; 3] = [Box::new(CpuMsm::new()), Box::new(CpuMsm::portable()), Box::new(ArkMsm)];
    let mut times = Vec::new();
    for _ in 0..runs {
        for (class, scalars) in [("random", &random), ("bits", &bits)] {
            let mut sums = Vec::new();
            for backend in &backends {
                let (cost, sum) = timed(|| backend.g1(workers, &g1, scalars[..].into()).expect("lengths"));
                best(&mut times, format!("msm::g1/backend={},scalars={class},log2={size_log2}", backend.name()), cost);
                sums.push(sum.into_affine());
            }
            if class == "random" {
                let (cost, sum) = timed(|| with_blst(&g1, scalars, workers.threads()));
                best(&mut times, format!("msm::g1/backend=blst,scalars={class},log2={size_log2}"), cost);
                sums.push(sum);
            }
            assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "backends disagree");
        }
    }
    let additions = cpu::additions(count);
    report(&times, G1_ADDITION * additions);
    let g2_log2 = size_log2.saturating_sub(2);
    let g2 = points::<G2Projective>(workers, 1 << g2_log2);
    let mut times = Vec::new();
    for _ in 0..runs {
        for (class, scalars) in [("random", &random[..g2.len()]), ("bits", &bits[..g2.len()])] {
            let mut sums: Vec<G2Affine> = Vec::new();
            for backend in &backends {
                let (cost, sum) = timed(|| backend.g2(workers, &g2, scalars.into()).expect("lengths"));
                best(&mut times, format!("msm::g2/backend={},scalars={class},log2={g2_log2}", backend.name()), cost);
                sums.push(sum.into_affine());
            }
            assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "backends disagree");
        }
    }
    report(&times, G2_ADDITION * cpu::additions(g2.len()));
}

fn report(times: &[(String, Cost)], bound: usize) {
    for (operation, Cost { wall, processor }) in times {
        print!("{{\"operation\":\"{operation}\",\"seconds\":{wall:.4},\"processor_seconds\":{processor:.2}");
        if (operation.contains("=random") || operation.contains("ntt")) && operation.contains("=cpu") {
            print!(",\"bound_multiplications\":{bound},\"multiplications_per_second\":{:.0}", bound as f64 / wall);
        }
        println!("}}");
    }
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
