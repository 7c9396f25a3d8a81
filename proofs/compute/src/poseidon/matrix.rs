//! The little linear algebra that folding Poseidon's constants needs: square matrices, product, inverse.

use ark_ff::{AdditiveGroup, Field};

use crate::Fr;

/// A square matrix, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    rows: Vec<Vec<Fr>>,
}

impl Matrix {
    pub(super) fn from_fn(width: usize, entry: impl Fn(usize, usize) -> Fr) -> Self {
        Self { rows: (0..width).map(|row| (0..width).map(|column| entry(row, column)).collect()).collect() }
    }

    pub(super) fn width(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn at(&self, row: usize, column: usize) -> Fr {
        self.rows[row][column]
    }

    /// Row number `row`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[Fr] {
        &self.rows[row]
    }

    pub(super) fn apply(&self, vector: &[Fr]) -> Vec<Fr> {
        self.rows.iter().map(|row| dot(row, vector)).collect()
    }

    pub(super) fn product(&self, right: &Self) -> Self {
        Self::from_fn(self.width(), |row, column| {
            (0..self.width()).map(|k| self.at(row, k) * right.at(k, column)).sum()
        })
    }

    /// Gauss-Jordan elimination. Every matrix inverted here is a Cauchy matrix or a minor of a product of such.
    pub(super) fn inverse(&self) -> Self {
        let width = self.width();
        let mut left = self.rows.clone();
        let mut right = Self::from_fn(width, |row, column| Fr::from(u64::from(row == column))).rows;
        for pivot in 0..width {
            let found = (pivot..width).find(|row| left[*row][pivot] != Fr::ZERO).expect("the matrix is invertible");
            left.swap(pivot, found);
            right.swap(pivot, found);
            let scale = left[pivot][pivot].inverse().expect("the pivot is not zero");
            left[pivot].iter_mut().chain(&mut right[pivot]).for_each(|entry| *entry *= scale);
            let (left_pivot, right_pivot) = (left[pivot].clone(), right[pivot].clone());
            for row in (0..width).filter(|row| *row != pivot) {
                let factor = left[row][pivot];
                subtract_scaled(&mut left[row], &left_pivot, factor);
                subtract_scaled(&mut right[row], &right_pivot, factor);
            }
        }
        Self { rows: right }
    }
}

fn subtract_scaled(row: &mut [Fr], other: &[Fr], factor: Fr) {
    for (entry, other) in row.iter_mut().zip(other) {
        *entry -= factor * other;
    }
}

/// Sum of products.
pub(super) fn dot(left: &[Fr], right: &[Fr]) -> Fr {
    left.iter().zip(right).map(|(a, b)| *a * b).sum()
}
