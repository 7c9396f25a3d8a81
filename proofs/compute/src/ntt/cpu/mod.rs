//! Transforms on processor cores: in place, radix 8, depth first, without a pass for the coset.
//!
//! A polynomial modulo `x^2h - s²` splits into two modulo `x^h - s` and `x^h + s`: `low + s·high` and `low - s·high`.
//! Starting from `x^n - 1` that is the forward transform; it leaves the values in bit-reversed order, and all
//! butterflies of a block share one factor s. So:
//!
//! 1. **Factors.** Block k has `s = ω^rev(k)`, whatever its level: one table in bit-reversed order serves all levels, and
//!    blocks of 16 and more elements need only its first n/16 entries. The last three levels derive theirs from one factor
//!    per eight elements ([`Plan`]): 4 + 2 bytes per element for each direction.
//! 2. **Coset.** Starting from `x^n - 7^n` gives the values on the coset: s is multiplied by `7^h`, once per block.
//! 3. **Three levels at a time** over eight parts of a block, then each part by itself (depth first): a part that fits
//!    the second-level cache is read from memory once more and finished.
//! 4. **Tiles** of 64 elements finish the last six levels; there the lanes of a vector are blocks.
//!
//! The inverse runs the same steps backwards with the inverse factors, from bit-reversed values to coefficients. A
//! quotient needs no order of values, so it permutes only what comes in: its products happen in bit-reversed order, and
//! the divisions by n are folded into its last step.
//!
//! **The bound.** A transform takes `n/2·log₂ n` multiplications, n = 2^20: 10.5 million; six of them and the products are
//! a quotient. Eight lanes of AVX-512 IFMA have a floor of 105 multiply-adds, 6.6 cycles each. Bytes: 64 n per three levels while
//! blocks exceed the cache. **Memory**: in place, and 12 bytes per element of the largest size used, for the tables.

#[cfg(target_arch = "x86_64")]
mod ifma;
mod kernel;
mod plan;

use std::sync::{Arc, RwLock};

use ark_ff::{Field, Zero};
use rayon::prelude::*;

use super::{ArkNtt, Domain, Ntt, NttError, check_quotient, root_of_unity, vanishing_inverse};
use crate::{Fr, Workers};
use kernel::{Kernel, PortableKernel, TILE};
use plan::Plan;

/// Blocks larger than this are worked on by several threads. 1 MiB: the second-level cache holds it.
const PARALLEL_MIN: usize = 1 << 15;

/// Elements of a part of work that needs no order.
const PART: usize = 1 << 12;

/// Bytes that a transform of `size` values moves between memory and caches: every value is read and written once for each
/// three levels of blocks that exceed the cache, once for all levels below, and once for the order.
pub fn bytes(size: usize) -> usize {
    let levels_outside = size.ilog2().saturating_sub(PARALLEL_MIN.ilog2()) as usize;
    2 * size_of::<Fr>() * size * (levels_outside.div_ceil(3) + 2)
}

/// The processor's transforms. Keeps the tables of the sizes that were used; clones share them.
#[derive(Debug, Clone)]
pub struct CpuNtt {
    arithmetic: Arithmetic,
    plans: Arc<RwLock<Vec<Arc<Plan>>>>,
}

#[derive(Debug, Clone, Copy)]
enum Arithmetic {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Ifma(ifma::IfmaKernel),
}

impl CpuNtt {
    /// With the fastest arithmetic that this processor has.
    pub fn new() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(kernel) = ifma::IfmaKernel::detect() {
            return Self::with(Arithmetic::Ifma(kernel));
        }
        Self::portable()
    }

    /// With arithmetic that every processor has.
    pub fn portable() -> Self {
        Self::with(Arithmetic::Portable)
    }

    fn with(arithmetic: Arithmetic) -> Self {
        Self { arithmetic, plans: Arc::default() }
    }

    /// The tables of a size, made on first use.
    fn plan<K: Kernel>(&self, size: usize) -> Result<Arc<Plan>, NttError> {
        let root = root_of_unity(size)?;
        let find = |plans: &[Arc<Plan>]| plans.iter().find(|plan| plan.size() == size).cloned();
        if let Some(plan) = find(&self.plans.read().expect("no thread panicked with the tables")) {
            return Ok(plan);
        }
        let plan = Arc::new(Plan::new(size, root, K::FACTOR_SCALE));
        let mut plans = self.plans.write().expect("no thread panicked with the tables");
        if let Some(plan) = find(&plans) {
            return Ok(plan);
        }
        plans.push(plan.clone());
        Ok(plan)
    }

    fn forward_with<K: Kernel>(&self, kernel: K, values: &mut [Fr], domain: Domain) -> Result<(), NttError> {
        let plan = self.plan::<K>(values.len())?;
        forward_block(kernel, &plan, domain, values, 0);
        reverse_bits(values);
        Ok(())
    }

    fn inverse_with<K: Kernel>(&self, kernel: K, values: &mut [Fr], domain: Domain) -> Result<(), NttError> {
        let plan = self.plan::<K>(values.len())?;
        reverse_bits(values);
        inverse_block(kernel, &plan, domain, values, 0);
        let scale = plan.size_inverse();
        values.par_chunks_mut(PART).for_each(|part| kernel.scale(part, &scale));
        Ok(())
    }

    fn quotient_with<K: Kernel>(&self, kernel: K, a: &mut [Fr], b: &mut [Fr], c: &mut [Fr]) -> Result<(), NttError> {
        let plan = self.plan::<K>(a.len())?;
        let plan = &*plan;
        [&mut *a, &mut *b, &mut *c].into_par_iter().for_each(reverse_bits);
        for values in [&mut *a, &mut *b, &mut *c] {
            inverse_block(kernel, plan, Domain::Subgroup, values, 0);
        }
        forward_block(kernel, plan, Domain::Coset, a, 0);
        forward_block(kernel, plan, Domain::Coset, b, 0);
        a.par_chunks_mut(PART).zip(b.par_chunks(PART)).for_each(|(a, b)| kernel.multiply(a, b));
        inverse_block(kernel, plan, Domain::Coset, a, 0);
        // Without the divisions a holds n³·D and c holds n·C.
        let size_inverse = plan.size_inverse();
        let c_scale = vanishing_inverse(a.len()) * size_inverse;
        let a_scale = c_scale * size_inverse.square() * K::FACTOR_SCALE_INVERSE_OF_PRODUCT;
        a.par_chunks_mut(PART).zip(c.par_chunks(PART)).for_each(|(a, c)| kernel.combine(a, &a_scale, c, &c_scale));
        Ok(())
    }
}

impl Default for CpuNtt {
    fn default() -> Self {
        Self::new()
    }
}

impl Ntt for CpuNtt {
    fn name(&self) -> &'static str {
        match self.arithmetic {
            Arithmetic::Portable => "cpu-portable",
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(_) => "cpu-ifma",
        }
    }

    fn forward(&self, workers: &Workers, values: &mut [Fr], domain: Domain) -> Result<(), NttError> {
        if values.len() < TILE {
            return ArkNtt.forward(workers, values, domain);
        }
        workers.run(|| match self.arithmetic {
            Arithmetic::Portable => self.forward_with(PortableKernel, values, domain),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(kernel) => self.forward_with(kernel, values, domain),
        })
    }

    fn inverse(&self, workers: &Workers, values: &mut [Fr], domain: Domain) -> Result<(), NttError> {
        if values.len() < TILE {
            return ArkNtt.inverse(workers, values, domain);
        }
        workers.run(|| match self.arithmetic {
            Arithmetic::Portable => self.inverse_with(PortableKernel, values, domain),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(kernel) => self.inverse_with(kernel, values, domain),
        })
    }

    fn quotient(&self, workers: &Workers, mut a: Vec<Fr>, mut b: Vec<Fr>, mut c: Vec<Fr>) -> Result<Vec<Fr>, NttError> {
        check_quotient(&a, &b, &c)?;
        if a.len() < TILE {
            return ArkNtt.quotient(workers, a, b, c);
        }
        workers.run(|| match self.arithmetic {
            Arithmetic::Portable => self.quotient_with(PortableKernel, &mut a, &mut b, &mut c),
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Ifma(kernel) => self.quotient_with(kernel, &mut a, &mut b, &mut c),
        })?;
        Ok(a)
    }
}

/// Transforms block `k` of its level forward, and everything below it.
fn forward_block<K: Kernel>(kernel: K, plan: &Plan, domain: Domain, values: &mut [Fr], k: usize) {
    match values.len() {
        TILE => kernel.forward_tile(plan, domain, values, k),
        size if size >= 8 * TILE => {
            let factors = plan.eighths(domain, size, k);
            over_eighths(parts(values), &|parts| kernel.forward_eighths(parts, &factors));
            below(values, 8, &|part, index| forward_block(kernel, plan, domain, part, 8 * k + index));
        }
        size => {
            let factor = plan.halves(domain, size, k);
            kernel.forward_halves(values.split_at_mut(size / 2), &factor);
            below(values, 2, &|part, index| forward_block(kernel, plan, domain, part, 2 * k + index));
        }
    }
}

/// The way back.
fn inverse_block<K: Kernel>(kernel: K, plan: &Plan, domain: Domain, values: &mut [Fr], k: usize) {
    match values.len() {
        TILE => kernel.inverse_tile(plan, domain, values, k),
        size if size >= 8 * TILE => {
            below(values, 8, &|part, index| inverse_block(kernel, plan, domain, part, 8 * k + index));
            let factors = plan.eighths_inverse(domain, size, k);
            over_eighths(parts(values), &|parts| kernel.inverse_eighths(parts, &factors));
        }
        size => {
            below(values, 2, &|part, index| inverse_block(kernel, plan, domain, part, 2 * k + index));
            let factor = plan.halves_inverse(domain, size, k);
            kernel.inverse_halves(values.split_at_mut(size / 2), &factor);
        }
    }
}

/// The parts of a block, in parallel if it is large.
fn below(values: &mut [Fr], count: usize, work: &(dyn Fn(&mut [Fr], usize) + Sync)) {
    let part = values.len() / count;
    if values.len() > PARALLEL_MIN {
        values.par_chunks_mut(part).enumerate().for_each(|(index, part)| work(part, index));
    } else {
        values.chunks_mut(part).enumerate().for_each(|(index, part)| work(part, index));
    }
}

fn parts(values: &mut [Fr]) -> [&mut [Fr]; 8] {
    let part = values.len() / 8;
    let mut chunks = values.chunks_exact_mut(part);
    core::array::from_fn(|_| chunks.next().expect("eight parts"))
}

/// The same range of eight parts at a time, in parallel if they are large.
fn over_eighths(parts: [&mut [Fr]; 8], work: &(dyn Fn([&mut [Fr]; 8]) + Sync)) {
    if parts[0].len() <= PARALLEL_MIN / 8 {
        return work(parts);
    }
    let middle = parts[0].len() / 2;
    let mut high = Vec::with_capacity(8);
    let low = parts.map(|part| {
        let (first, second) = part.split_at_mut(middle);
        high.push(second);
        first
    });
    let high: [&mut [Fr]; 8] = high.try_into().expect("eight parts");
    rayon::join(|| over_eighths(low, work), || over_eighths(high, work));
}

/// Side of the squares that [`reverse_bits`] moves.
const SQUARE_BITS: u32 = 4;

/// Puts the values into bit-reversed order. An index is `(high, middle, low)` with four bits at either end; the square of all
/// high and low for one middle changes place with that of the reversed middle, so that whole lines of memory move.
fn reverse_bits(values: &mut [Fr]) {
    const SIDE: usize = 1 << SQUARE_BITS;
    let bits = values.len().ilog2();
    let reversed = |index: usize, bits: u32| if bits == 0 { 0 } else { index.reverse_bits() >> (usize::BITS - bits) };
    if bits < 2 * SQUARE_BITS {
        for index in 0..values.len() {
            let other = reversed(index, bits);
            if index < other {
                values.swap(index, other);
            }
        }
        return;
    }
    let middle_bits = bits - 2 * SQUARE_BITS;
    let high_shift = bits - SQUARE_BITS;
    let read = |values: &[Fr], middle: usize| {
        let mut square = [[Fr::zero(); SIDE]; SIDE];
        for (high, row) in square.iter_mut().enumerate() {
            let start = high << high_shift | middle << SQUARE_BITS;
            row.copy_from_slice(&values[start..start + SIDE]);
        }
        square
    };
    let write = |values: &mut [Fr], middle: usize, square: &[[Fr; SIDE]; SIDE]| {
        for high in 0..SIDE {
            let column = reversed(high, SQUARE_BITS);
            let start = high << high_shift | middle << SQUARE_BITS;
            for (low, value) in values[start..start + SIDE].iter_mut().enumerate() {
                *value = square[reversed(low, SQUARE_BITS)][column];
            }
        }
    };
    for middle in 0..1 << middle_bits {
        let other = reversed(middle, middle_bits);
        if middle > other {
            continue;
        }
        let square = read(values, middle);
        if middle != other {
            let second = read(values, other);
            write(values, middle, &second);
        }
        write(values, other, &square);
    }
}
