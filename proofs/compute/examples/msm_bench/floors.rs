//! What this machine could do at best: how many multiplication instructions and bytes a second, measured.

use std::hint::black_box;
use std::time::Instant;

use cairn_compute::Workers;
use rayon::prelude::*;

/// Repetitions, of which the best counts: other work on the machine only ever slows one down.
const RUNS: usize = 12;
/// Steps of a run's loop: some milliseconds.
const STEPS: usize = 1 << 20;
/// Chains that hide an instruction's latency.
const CHAINS: usize = 12;
/// Bytes that are read to find the speed of memory: more than caches hold.
const MEMORY_BYTES: usize = 1 << 30;

/// Which multiplication instruction an arithmetic is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction {
    /// 64 by 64 bits.
    Scalar,
    /// Eight times 52 by 52 bits, half of the result, added.
    Vector,
}

/// Instructions and bytes a second of all threads together.
pub struct Floors {
    scalar: f64,
    vector: Option<f64>,
    bytes: f64,
}

/// Multiplication instructions of one product: each limb with each, twice for Montgomery's reduction, and one per limb
/// for the quotient's digits. The vector form needs low and high halves, and makes eight products.
#[derive(Debug, Clone, Copy)]
pub enum Field {
    /// Coordinates: six limbs of 64 bits, eight of 52.
    Base,
    /// Scalars: four limbs of 64 bits, five of 52.
    Scalar,
}

impl Field {
    fn instructions(self, instruction: Instruction) -> f64 {
        let (limbs, lanes, halves) = match (self, instruction) {
            (Self::Base, Instruction::Scalar) => (6.0, 1.0, 1.0),
            (Self::Scalar, Instruction::Scalar) => (4.0, 1.0, 1.0),
            (Self::Base, Instruction::Vector) => (8.0, 8.0, 2.0),
            (Self::Scalar, Instruction::Vector) => (5.0, 8.0, 2.0),
        };
        (halves * 2.0 * limbs * limbs + limbs) / lanes
    }
}

impl Floors {
    /// Measures, on the threads that the benchmark will use.
    pub fn measure(workers: &Workers) -> Self {
        let vector = vector::available().then(|| rate(workers, CHAINS * STEPS, vector::products));
        Self { scalar: rate(workers, CHAINS * STEPS, scalar_products), vector, bytes: memory_rate(workers) }
    }

    /// Seconds for so many products.
    ///
    /// # Panics
    /// For an instruction that the processor lacks.
    pub fn multiplying(&self, products: usize, field: Field, instruction: Instruction) -> f64 {
        let rate = match instruction {
            Instruction::Scalar => self.scalar,
            Instruction::Vector => self.vector.expect("asked for where it is used"),
        };
        products as f64 * field.instructions(instruction) / rate
    }

    /// Seconds for so many bytes.
    pub fn moving(&self, bytes: usize) -> f64 {
        bytes as f64 / self.bytes
    }

    /// One line.
    pub fn print(&self) {
        println!(
            "{{\"what\":\"floors\",\"scalar_multiplications_per_s\":{:.3e},\"vector_multiplications_per_s\":{:.3e},\"bytes_read_per_s\":{:.3e}}}",
            self.scalar,
            self.vector.unwrap_or_default(),
            self.bytes
        );
    }
}

/// Steps a second of `work` on all threads at once; the best run counts.
fn rate(workers: &Workers, steps: usize, work: impl Fn() -> u64 + Sync) -> f64 {
    let run = || {
        let start = Instant::now();
        let sum = workers.run(|| (0..workers.threads()).into_par_iter().with_max_len(1).map(|_| work()).max());
        black_box(sum);
        (steps * workers.threads()) as f64 / start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(|_| run()).fold(0.0, f64::max)
}

fn scalar_products() -> u64 {
    let mut chains: [u64; CHAINS] = std::array::from_fn(|chain| black_box(chain as u64 + 3));
    let factor = black_box(0x9e37_79b9_7f4a_7c15u64);
    for _ in 0..STEPS {
        for chain in &mut chains {
            let product = u128::from(*chain) * u128::from(factor);
            *chain = (product >> 64) as u64 ^ product as u64;
        }
    }
    chains.iter().fold(0, |sum, chain| sum ^ chain)
}

fn memory_rate(workers: &Workers) -> f64 {
    let words = vec![1u64; MEMORY_BYTES / 8];
    let run = || {
        let start = Instant::now();
        let part = words.len().div_ceil(workers.threads());
        let sum: u64 = workers.run(|| words.par_chunks(part).map(|part| part.iter().sum::<u64>()).sum());
        black_box(sum);
        MEMORY_BYTES as f64 / start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(|_| run()).fold(0.0, f64::max)
}

#[cfg(target_arch = "x86_64")]
mod vector {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{CHAINS, STEPS};

    pub fn available() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma")
    }

    pub fn products() -> u64 {
        // SAFETY: called only where `available`.
        unsafe { compiled() }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn compiled() -> u64 {
        let mut chains: [__m512i; CHAINS] = std::array::from_fn(|chain| _mm512_set1_epi64(black_box(chain as i64)));
        let factor = _mm512_set1_epi64(black_box(0x0009_79b9_7f4a_7c15));
        for _ in 0..STEPS {
            for chain in &mut chains {
                *chain = _mm512_madd52lo_epu64(*chain, *chain, factor);
            }
        }
        chains.iter().fold(0, |sum, chain| sum ^ _mm512_reduce_add_epi64(*chain) as u64)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod vector {
    pub fn available() -> bool {
        false
    }

    pub fn products() -> u64 {
        0
    }
}
