//! Round numbers, round constants and the matrix, derived in code.
//!
//! Round constants come from the Grain LFSR in self-shrinking mode, seeded with the instance's own description, so
//! that nobody could choose them. The matrix is the Cauchy matrix `M[i][j] = 1 / (i + t + j)`, which is symmetric.

use ark_ff::{BigInt, Field, PrimeField};

use super::matrix::Matrix;
use crate::Fr;

/// Full rounds, half of them on each side of the partial ones.
pub const FULL_ROUNDS: usize = 8;

/// Bits of a field element.
const FIELD_BITS: usize = 255;

/// Arities that Filecoin's trees, columns and proofs use, with their numbers of partial rounds.
const PARTIAL_ROUNDS: [(usize, usize); 7] = [(2, 55), (4, 56), (8, 57), (11, 57), (16, 59), (24, 59), (36, 60)];

/// One instance of Poseidon as its definition states it.
#[derive(Debug, Clone)]
pub struct Constants {
    /// Inputs of a hash.
    pub arity: usize,
    /// Partial rounds.
    pub partial_rounds: usize,
    /// One vector of `arity + 1` constants for each round.
    pub round_constants: Vec<Vec<Fr>>,
    /// The matrix, `arity + 1` square.
    pub(super) matrix: Matrix,
}

impl Constants {
    /// Derives the instance of `arity` inputs; `None` if no number of partial rounds is defined for it.
    pub fn derive(arity: usize) -> Option<Self> {
        let (_, partial_rounds) = *PARTIAL_ROUNDS.iter().find(|(defined, _)| *defined == arity)?;
        let width = arity + 1;
        let mut grain = Grain::new(width, partial_rounds);
        let round_constants =
            (0..FULL_ROUNDS + partial_rounds).map(|_| (0..width).map(|_| grain.next_element()).collect()).collect();
        Some(Self { arity, partial_rounds, round_constants, matrix: cauchy_matrix(width) })
    }

    /// Elements of the state.
    pub fn width(&self) -> usize {
        self.arity + 1
    }

    /// Domain tag of a Merkle hash: `2^arity - 1`.
    pub fn merkle_tag(&self) -> Fr {
        Fr::from((1u64 << self.arity) - 1)
    }
}

fn cauchy_matrix(width: usize) -> Matrix {
    Matrix::from_fn(width, |row, column| {
        Fr::from((row + width + column) as u64).inverse().expect("small positive numbers are invertible")
    })
}

/// The Grain LFSR: 80 bits of state, taps 62, 51, 38, 23, 13 and 0.
struct Grain {
    state: [bool; 80],
    position: usize,
}

impl Grain {
    /// Seeds with field type 1 (2 bits), S-box 1 (4), field bits (12), width (12), full rounds (10), partial rounds
    /// (10), then ones; the first 160 bits are thrown away.
    fn new(width: usize, partial_rounds: usize) -> Self {
        let mut state = [true; 80];
        let fields = [(1, 2), (1, 4), (FIELD_BITS, 12), (width, 12), (FULL_ROUNDS, 10), (partial_rounds, 10)];
        let bits = fields.iter().flat_map(|(value, bits)| (0..*bits).rev().map(move |bit| value >> bit & 1 == 1));
        for (slot, bit) in state.iter_mut().zip(bits) {
            *slot = bit;
        }
        let mut grain = Self { state, position: 0 };
        for _ in 0..160 {
            grain.next_raw_bit();
        }
        grain
    }

    /// The state is a ring: bit `i` of the register is `state[(position + i) % 80]`.
    fn next_raw_bit(&mut self) -> bool {
        let tap = |index: usize| self.state[(self.position + index) % 80];
        let bit = tap(62) ^ tap(51) ^ tap(38) ^ tap(23) ^ tap(13) ^ tap(0);
        self.state[self.position] = bit;
        self.position = (self.position + 1) % 80;
        bit
    }

    /// Self-shrinking: of each pair the second bit counts if the first is one.
    fn next_bit(&mut self) -> bool {
        loop {
            let selected = self.next_raw_bit();
            let bit = self.next_raw_bit();
            if selected {
                return bit;
            }
        }
    }

    /// 255 bits, most significant first; numbers that are not below the modulus are skipped.
    fn next_element(&mut self) -> Fr {
        loop {
            let mut limbs = [0u64; 4];
            for bit in (0..FIELD_BITS).rev() {
                limbs[bit / 64] |= u64::from(self.next_bit()) << (bit % 64);
            }
            if let Some(element) = Fr::from_bigint(BigInt(limbs)) {
                return element;
            }
        }
    }
}
