//! Factors of the butterflies, for one size.

use ark_ff::{AdditiveGroup, Field};

use super::super::{COSET_SHIFT, Domain};
use super::kernel::TILE;
use crate::Fr;

/// The tables of one direction. Entries carry the scale that the kernel's multiplication wants.
#[derive(Debug)]
struct Direction {
    /// Entry k: `ω^rev(k)`, the factor of block k, for blocks of 16 and more.
    blocks: Vec<Fr>,
    /// Entry k: the factor of block 4k: the first of the last level's within the k-th eight elements.
    last: Vec<Fr>,
    /// Entry i: shift to the power 2^i.
    shifts: Vec<Fr>,
    /// Square root of -1 and of that: blocks 1 and 2.
    quarter: Fr,
    eighth: Fr,
}

/// Both directions.
#[derive(Debug)]
pub(super) struct Plan {
    size: usize,
    forward: Direction,
    inverse: Direction,
}

/// The factors of the last three levels in eight consecutive elements: the first, and roots of unity.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastLevels<'a> {
    /// For each eight elements of a tile the factor of its first pair.
    pub first: &'a [Fr],
    /// What `first` is still to be multiplied with, without scale: the coset's shift.
    pub shift: Option<Fr>,
    /// Factor of block 1, a fourth root of unity.
    pub quarter: Fr,
    /// Factor of block 2, an eighth root of unity.
    pub eighth: Fr,
}

impl Direction {
    fn new(size: usize, root: Fr, shift: Fr, scale: Fr) -> Self {
        let log2 = size.ilog2() as usize;
        // Entry i is the root of unity of order 2^i.
        let mut roots = vec![root; log2 + 1];
        for index in (0..log2).rev() {
            roots[index] = roots[index + 1].square();
        }
        // Bit j of an index contributes the root of order 2^(j + first_order).
        let table = |length: usize, first_order: usize| {
            let mut table = Vec::with_capacity(length);
            table.push(scale);
            for bit in 0..length.ilog2() as usize {
                let factor = roots[bit + first_order];
                table.extend_from_within(..);
                let half = table.len() / 2;
                table[half..].iter_mut().for_each(|entry| *entry *= factor);
            }
            table
        };
        let mut shifts = vec![shift; log2];
        for index in 1..log2 {
            shifts[index] = shifts[index - 1].square();
        }
        let (quarter, eighth) = (roots[2] * scale, roots[3] * scale);
        Self { blocks: table(size / 16, 2), last: table(size / 8, 4), shifts, quarter, eighth }
    }

    /// Factor of block k of `size` elements.
    fn block(&self, domain: Domain, size: usize, k: usize) -> Fr {
        match domain {
            Domain::Subgroup => self.blocks[k],
            Domain::Coset => self.blocks[k] * self.shifts[size.ilog2() as usize - 1],
        }
    }

    /// Factors of three levels: block k, its two halves, their four.
    fn eighths(&self, domain: Domain, size: usize, k: usize) -> [Fr; 7] {
        let mut factors = [Fr::ZERO; 7];
        for level in 0..3 {
            for block in 0..1 << level {
                factors[(1 << level) - 1 + block] = self.block(domain, size >> level, (k << level) + block);
            }
        }
        factors
    }

    fn last_levels(&self, domain: Domain, k: usize) -> LastLevels<'_> {
        LastLevels {
            first: &self.last[k * TILE / 8..(k + 1) * TILE / 8],
            shift: (domain == Domain::Coset).then_some(self.shifts[0]),
            quarter: self.quarter,
            eighth: self.eighth,
        }
    }
}

impl Plan {
    /// Tables for a domain of at least [`TILE`] elements.
    pub fn new(size: usize, root: Fr, scale: Fr) -> Self {
        let inverted = |element: Fr| element.inverse().expect("roots and shifts are not zero");
        Self {
            size,
            forward: Direction::new(size, root, COSET_SHIFT, scale),
            inverse: Direction::new(size, inverted(root), inverted(COSET_SHIFT), scale),
        }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// 1/n.
    pub fn size_inverse(&self) -> Fr {
        Fr::from(self.size as u64).inverse().expect("a power of two")
    }

    /// Factor of one level of a block.
    pub fn halves(&self, domain: Domain, size: usize, k: usize) -> Fr {
        self.forward.block(domain, size, k)
    }

    /// Factors of three levels of a block.
    pub fn eighths(&self, domain: Domain, size: usize, k: usize) -> [Fr; 7] {
        self.forward.eighths(domain, size, k)
    }

    /// Factors of the last three levels of tile k.
    pub fn last_levels(&self, domain: Domain, k: usize) -> LastLevels<'_> {
        self.forward.last_levels(domain, k)
    }

    /// As [`Plan::halves`], the way back.
    pub fn halves_inverse(&self, domain: Domain, size: usize, k: usize) -> Fr {
        self.inverse.block(domain, size, k)
    }

    /// As [`Plan::eighths`], the way back.
    pub fn eighths_inverse(&self, domain: Domain, size: usize, k: usize) -> [Fr; 7] {
        self.inverse.eighths(domain, size, k)
    }

    /// As [`Plan::last_levels`], the way back.
    pub fn last_levels_inverse(&self, domain: Domain, k: usize) -> LastLevels<'_> {
        self.inverse.last_levels(domain, k)
    }
}
