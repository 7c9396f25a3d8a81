//! A circuit's matrices, recorded once.
//!
//! The constraints of a circuit never change; only the assignment does. So A, B and C are written to a file when the
//! circuit is first used, mapped into memory ever after, and a proof costs a witness ([`crate::witness`]) and a sparse
//! product ([`Matrices::evaluate`]) instead of a synthesis.
//!
//! The file, all integers little-endian:
//!
//! ```text
//! header        magic "CAIRN-R1CS" | version | circuit | counts | sizes        256 bytes with its own checksum
//! blocks        4,096 constraints each: for every constraint its row of A, of B, of C   (codec)
//! coefficients  32 bytes each, canonical; terms name them by position
//! block table   offset u64 | BLAKE2b-256 of the block, for each block
//! ```
//!
//! The header's checksum covers the two tables too, so a file is either whole or refused, with the damaged place named.
//! Coefficients are few (one, minus one, powers of two, Poseidon's constants) and variables are near those of the row
//! before, so a term takes about three bytes instead of 40.
//!
//! Files: [`codec`] rows as bytes, [`record`] writing, [`file`] layout and checks.

pub(crate) mod codec;
mod error;
mod file;
mod record;

use std::ops::Range;

use ark_ff::{AdditiveGroup, Field};
use cairn_compute::{Fr, Workers, huge_pages};
use rayon::prelude::*;

use crate::circuit::CircuitId;
use crate::terms::Column;
use crate::witness::Assignment;
use codec::{MINUS_ONE, ONE, RowReader};
pub use error::MatricesError;
use file::{Header, Storage};

/// Constraints in a block: what one thread works on at a time.
const BLOCK_ROWS: u64 = 1 << 12;

/// A, B and C of one circuit.
pub struct Matrices {
    id: CircuitId,
    header: Header,
    storage: Storage,
    /// The table, as numbers.
    coefficients: Vec<Fr>,
    /// Where in the storage each block lies.
    blocks: Vec<Range<usize>>,
}

/// What the constraints make of an assignment: A·z, B·z and C·z.
///
/// Groth16 appends one more constraint for each public input, ONE first: the input times zero is zero. Those rows are
/// here too, so each vector has `num_constraints + num_inputs` elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluations {
    /// A·z.
    pub a: Vec<Fr>,
    /// B·z.
    pub b: Vec<Fr>,
    /// C·z.
    pub c: Vec<Fr>,
}

/// Which variables occur in a matrix at all. Parameter files leave out the points of those that do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Densities {
    /// Auxiliary variables in A. Every input is in A, by the appended rows.
    pub a_aux: Vec<bool>,
    /// Inputs in B.
    pub b_inputs: Vec<bool>,
    /// Auxiliary variables in B.
    pub b_aux: Vec<bool>,
}

/// One of the three matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// Left factor.
    A,
    /// Right factor.
    B,
    /// Product.
    C,
}

impl Matrix {
    /// In the order in which rows are stored.
    pub const ALL: [Self; 3] = [Self::A, Self::B, Self::C];
}

impl Matrices {
    /// Which circuit.
    pub fn id(&self) -> CircuitId {
        self.id
    }

    /// Public inputs, with ONE.
    pub fn num_inputs(&self) -> usize {
        self.header.inputs as usize
    }

    /// Auxiliary variables.
    pub fn num_aux(&self) -> usize {
        self.header.aux as usize
    }

    /// Constraints, without the appended ones.
    pub fn num_constraints(&self) -> usize {
        self.header.constraints as usize
    }

    /// Terms in A, B and C.
    pub fn nnz(&self) -> [u64; 3] {
        self.header.nnz
    }

    /// Bytes of the file.
    pub fn stored_bytes(&self) -> u64 {
        self.storage.bytes().len() as u64
    }

    /// Number of blocks, for [`Self::visit_block`].
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Visits the terms of a block row by row, in order.
    ///
    /// # Errors
    /// [`MatricesError::Malformed`] if the block is not what the recorder writes.
    ///
    /// # Panics
    /// If there is no such block.
    pub fn visit_block(
        &self,
        block: usize,
        mut visit: impl FnMut(Matrix, u64, Column, &Fr),
    ) -> Result<(), MatricesError> {
        let mut reader = self.reader(block);
        for row in self.rows(block) {
            for matrix in Matrix::ALL {
                let term = |column: Column, _, coefficient: &Fr| visit(matrix, row, column, coefficient);
                self.read_row(&mut reader, term).ok_or(MatricesError::Malformed { block, row })?;
            }
        }
        reader.is_at_end().then_some(()).ok_or(MatricesError::Malformed { block, row: self.rows(block).end })
    }

    /// Multiplies the matrices with an assignment.
    ///
    /// # Errors
    /// [`MatricesError::Malformed`] if a block is not what the recorder writes.
    ///
    /// # Panics
    /// If the assignment is another circuit's: the numbers of variables differ.
    pub fn evaluate(&self, assignment: &Assignment, workers: &Workers) -> Result<Evaluations, MatricesError> {
        let got = (assignment.inputs.len(), assignment.aux.len());
        assert_eq!(got, (self.num_inputs(), self.num_aux()), "variables of {}", self.id);
        let rows = self.num_constraints() + self.num_inputs();
        // Room for the domain, so that a prover fills them up where they are.
        let zeros = |()| {
            let mut values = huge_pages::with_capacity(rows.next_power_of_two());
            values.resize(rows, Fr::ZERO);
            values
        };
        let [mut a, mut b, mut c] = [(); 3].map(zeros);
        a[self.num_constraints()..].copy_from_slice(&assignment.inputs);
        workers.run(|| {
            let size = BLOCK_ROWS as usize;
            let constraints = self.num_constraints();
            let chunks = a[..constraints].par_chunks_mut(size).zip(b[..constraints].par_chunks_mut(size));
            chunks
                .zip(c[..constraints].par_chunks_mut(size))
                .enumerate()
                .try_for_each(|(block, ((a, b), c))| self.evaluate_block(block, assignment, [a, b, c]))
        })?;
        Ok(Evaluations { a, b, c })
    }

    fn evaluate_block(
        &self,
        block: usize,
        assignment: &Assignment,
        [a, b, c]: [&mut [Fr]; 3],
    ) -> Result<(), MatricesError> {
        let mut reader = self.reader(block);
        for (index, row) in self.rows(block).enumerate() {
            for sum in [&mut a[index], &mut b[index], &mut c[index]] {
                let add = |column: Column, id: u32, coefficient: &Fr| {
                    let values = if column.is_aux() { &assignment.aux } else { &assignment.inputs };
                    add_product(sum, id, coefficient, &values[column.index() as usize]);
                };
                self.read_row(&mut reader, add).ok_or(MatricesError::Malformed { block, row })?;
            }
        }
        Ok(())
    }

    /// Which variables occur in A and in B.
    ///
    /// # Errors
    /// [`MatricesError::Malformed`] if a block is not what the recorder writes.
    pub fn densities(&self, workers: &Workers) -> Result<Densities, MatricesError> {
        let empty = || Densities {
            a_aux: vec![false; self.num_aux()],
            b_inputs: vec![false; self.num_inputs()],
            b_aux: vec![false; self.num_aux()],
        };
        workers.run(|| {
            (0..self.blocks())
                .into_par_iter()
                .with_min_len(self.blocks().div_ceil(workers.threads()))
                .try_fold(empty, |mut found, block| {
                    self.visit_block(block, |matrix, _, column, _| {
                        let index = column.index() as usize;
                        match (matrix, column.is_aux()) {
                            (Matrix::A, true) => found.a_aux[index] = true,
                            (Matrix::B, true) => found.b_aux[index] = true,
                            (Matrix::B, false) => found.b_inputs[index] = true,
                            (Matrix::A, false) | (Matrix::C, _) => {}
                        }
                    })?;
                    Ok(found)
                })
                .try_reduce(empty, |left, right| Ok(left.union(&right)))
        })
    }

    fn rows(&self, block: usize) -> Range<u64> {
        let first = block as u64 * BLOCK_ROWS;
        first..(first + BLOCK_ROWS).min(self.header.constraints)
    }

    fn reader(&self, block: usize) -> RowReader<'_> {
        RowReader::new(&self.storage.bytes()[self.blocks[block].clone()])
    }

    /// Reads a row; `None` if it is malformed or names a variable or coefficient that does not exist.
    fn read_row(&self, reader: &mut RowReader<'_>, mut term: impl FnMut(Column, u32, &Fr)) -> Option<()> {
        reader.read(|column, id| {
            let count = if column.is_aux() { self.header.aux } else { self.header.inputs };
            let coefficient = self.coefficients.get(id as usize)?;
            (column.index() < count).then(|| term(column, id, coefficient))
        })
    }
}

/// Most coefficients are one or minus one, and most values are bits: few products are worth a multiplication.
#[inline]
fn add_product(sum: &mut Fr, id: u32, coefficient: &Fr, value: &Fr) {
    match id {
        ONE => *sum += value,
        MINUS_ONE => *sum -= value,
        _ if *value == Fr::ZERO => {}
        _ if *value == Fr::ONE => *sum += coefficient,
        _ => *sum += *coefficient * value,
    }
}

impl Densities {
    fn union(mut self, other: &Self) -> Self {
        for (found, other) in
            [(&mut self.a_aux, &other.a_aux), (&mut self.b_inputs, &other.b_inputs), (&mut self.b_aux, &other.b_aux)]
        {
            found.iter_mut().zip(other).for_each(|(found, other)| *found |= other);
        }
        self
    }
}

impl Evaluations {
    /// The first row in which A·z times B·z is not C·z, looked for on the current threads.
    pub fn first_unsatisfied(&self) -> Option<usize> {
        let rows = self.a.par_iter().zip(&self.b).zip(&self.c);
        rows.position_first(|((a, b), c)| *a * b != *c)
    }
}

impl std::fmt::Debug for Matrices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Matrices").field("id", &self.id).field("header", &self.header).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
