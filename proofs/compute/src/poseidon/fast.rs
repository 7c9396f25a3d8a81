//! Poseidon with folded constants and sparse matrices.
//!
//! The same function as [`super::naive`], with fewer multiplications. Write a partial round as S-box on element 0, then
//! M. Two rewritings make it cheap:
//!
//! 1. **Constants.** Adding a vector k after M is adding `M⁻¹k` before it. In a partial round the part of that which
//!    lies outside element 0 may also cross the S-box, and joins the constants of the round before. Going backwards,
//!    one scalar per partial round remains, added after its S-box.
//! 2. **Matrices.** Split `M = S·D` with `D = [[1, 0], [0, M̂]]`. D leaves element 0 alone, so it may cross the S-box
//!    and the scalar, and is absorbed by the matrix of the round before: `M ← D·M`. What stays, S, has a dense first row
//!    and first column and is the identity elsewhere: `2t - 1` multiplications in place of `t²`.
//!
//! The bound, in multiplications of a hash with width t and P partial rounds: `8t² + P(2t - 1) + 3(8t + P)`.
//! Arity 8: 1,998 instead of 5,652; arity 2: 584 instead of 804.

use std::sync::OnceLock;

use ark_ff::AdditiveGroup;

use super::constants::{Constants, FULL_ROUNDS};
use super::matrix::{Matrix, dot};
use super::naive::fifth_power;
use crate::{Fr, Node, NonCanonicalNode, fr_from_node, fr_to_node};

/// Width of the widest state: arity 36.
const WIDTH_MAX: usize = 37;

/// One instance, ready to hash.
#[derive(Debug)]
pub struct Poseidon {
    arity: usize,
    merkle_tag: Fr,
    /// Constants of round 0, added before everything.
    first_keys: Vec<Fr>,
    /// For each full round of the first half: the vector added between S-box and matrix.
    first_half_keys: Vec<Vec<Fr>>,
    partial_rounds: Vec<PartialRound>,
    /// The same for the second half; its last round adds nothing.
    last_half_keys: Vec<Vec<Fr>>,
    matrix: Matrix,
    /// Matrix of the last full round before the partial ones: M with every D absorbed.
    pre_sparse_matrix: Matrix,
}

/// What is left of a partial round: one scalar and a sparse matrix.
#[derive(Debug)]
struct PartialRound {
    key: Fr,
    matrix: SparseMatrix,
}

/// Dense in its first row and first column, the identity elsewhere.
#[derive(Debug)]
struct SparseMatrix {
    first_row: Vec<Fr>,
    /// Without its head, which is the head of the row.
    first_column: Vec<Fr>,
}

/// One round after folding: S-boxes, one key added after each, then a linear layer.
#[derive(Debug, Clone, Copy)]
pub struct Round<'a> {
    /// Keys of the S-boxes, from element 0 on: one for each element in a full round, a single one in a partial round.
    pub keys: &'a [Fr],
    /// What mixes the state.
    pub linear: Linear<'a>,
}

/// The linear layer of a [`Round`].
#[derive(Debug, Clone, Copy)]
pub enum Linear<'a> {
    /// All of a matrix.
    Dense(&'a Matrix),
    /// A matrix that is the identity but for its first row and column.
    Sparse {
        /// The first row.
        first_row: &'a [Fr],
        /// The first column without its head, which is the head of the row.
        first_column: &'a [Fr],
    },
}

impl Poseidon {
    /// The instance of `arity` inputs, derived on first use and kept: it is a constant of the protocol.
    ///
    /// # Panics
    /// If the arity is not one of 2, 4, 8, 11, 16, 24, 36.
    pub fn of_arity(arity: usize) -> &'static Self {
        static INSTANCES: [OnceLock<Poseidon>; WIDTH_MAX] = [const { OnceLock::new() }; WIDTH_MAX];
        INSTANCES
            .get(arity)
            .expect("no Poseidon instance is wider than arity 36")
            .get_or_init(|| Self::fold(&Constants::derive(arity).expect("an arity with defined rounds")))
    }

    /// Folds the definition's constants as the module describes.
    pub fn fold(constants: &Constants) -> Self {
        let half = FULL_ROUNDS / 2;
        let partial = constants.partial_rounds;
        let keys = &constants.round_constants;
        let inverse = constants.matrix.inverse();

        let mut carried = keys[half + partial].clone();
        let mut partial_keys = vec![Fr::ZERO; partial];
        for round in (0..partial).rev() {
            let pulled = inverse.apply(&carried);
            partial_keys[round] = pulled[0];
            carried = keys[half + round].clone();
            for (carried, pulled) in carried.iter_mut().zip(&pulled).skip(1) {
                *carried += pulled;
            }
        }

        let mut first_half_keys: Vec<_> = (1..half).map(|round| inverse.apply(&keys[round])).collect();
        first_half_keys.push(inverse.apply(&carried));
        let mut last_half_keys: Vec<_> =
            (half + partial + 1..keys.len()).map(|round| inverse.apply(&keys[round])).collect();
        last_half_keys.push(vec![Fr::ZERO; constants.width()]);

        let (sparse, pre_sparse_matrix) = split_matrices(&constants.matrix, partial);
        let partial_rounds =
            partial_keys.into_iter().zip(sparse).map(|(key, matrix)| PartialRound { key, matrix }).collect();
        Self {
            arity: constants.arity,
            merkle_tag: constants.merkle_tag(),
            first_keys: keys[0].clone(),
            first_half_keys,
            partial_rounds,
            last_half_keys,
            matrix: constants.matrix.clone(),
            pre_sparse_matrix,
        }
    }

    /// Hashes `inputs` as a Merkle node.
    ///
    /// # Panics
    /// If the number of inputs is not the arity.
    pub fn hash(&self, inputs: &[Fr]) -> Fr {
        self.hash_tagged(self.merkle_tag, inputs)
    }

    /// Hashes `inputs` under another domain tag.
    ///
    /// # Panics
    /// If the number of inputs is not the arity.
    pub fn hash_tagged(&self, tag: Fr, inputs: &[Fr]) -> Fr {
        assert_eq!(inputs.len(), self.arity, "inputs of a Poseidon hash");
        let mut buffer = [Fr::ZERO; WIDTH_MAX];
        let state = &mut buffer[..=self.arity];
        state[0] = tag;
        state[1..].copy_from_slice(inputs);
        self.permute(state);
        state[1]
    }

    /// Hashes nodes as stored.
    ///
    /// # Errors
    /// [`NonCanonicalNode`] names the first input that is no field element.
    ///
    /// # Panics
    /// If the number of inputs is not the arity.
    pub fn hash_nodes<'a>(&self, nodes: impl IntoIterator<Item = &'a Node>) -> Result<Node, NonCanonicalNode> {
        let mut inputs = [Fr::ZERO; WIDTH_MAX];
        let mut count = 0;
        for node in nodes {
            inputs[count] = fr_from_node(node)?;
            count += 1;
        }
        Ok(fr_to_node(&self.hash(&inputs[..count])))
    }

    /// Inputs of a hash.
    pub fn arity(&self) -> usize {
        self.arity
    }

    /// Domain tag of a Merkle hash.
    pub fn merkle_tag(&self) -> Fr {
        self.merkle_tag
    }

    /// What is added to the state before round 0.
    pub fn first_keys(&self) -> &[Fr] {
        &self.first_keys
    }

    /// Every round after folding, in order. A circuit follows them one by one, since their constants are its
    /// coefficients.
    pub fn rounds(&self) -> impl Iterator<Item = Round<'_>> {
        let (last_keys, keys) = self.first_half_keys.split_last().expect("four full rounds in each half");
        let full = |keys, matrix| Round { keys, linear: Linear::Dense(matrix) };
        keys.iter()
            .map(move |keys| full(keys, &self.matrix))
            .chain(std::iter::once(full(last_keys, &self.pre_sparse_matrix)))
            .chain(self.partial_rounds.iter().map(|round| Round {
                keys: std::slice::from_ref(&round.key),
                linear: Linear::Sparse { first_row: &round.matrix.first_row, first_column: &round.matrix.first_column },
            }))
            .chain(self.last_half_keys.iter().map(move |keys| full(keys, &self.matrix)))
    }

    fn permute(&self, state: &mut [Fr]) {
        add(state, &self.first_keys);
        let (last_keys, keys) = self.first_half_keys.split_last().expect("four full rounds in each half");
        for keys in keys {
            full_round(state, keys, &self.matrix);
        }
        full_round(state, last_keys, &self.pre_sparse_matrix);
        for round in &self.partial_rounds {
            round.apply(state);
        }
        for keys in &self.last_half_keys {
            full_round(state, keys, &self.matrix);
        }
    }
}

impl PartialRound {
    fn apply(&self, state: &mut [Fr]) {
        let head = fifth_power(state[0]) + self.key;
        state[0] = head;
        let first = dot(&self.matrix.first_row, state);
        for (element, factor) in state[1..].iter_mut().zip(&self.matrix.first_column) {
            *element += head * factor;
        }
        state[0] = first;
    }
}

fn full_round(state: &mut [Fr], keys: &[Fr], matrix: &Matrix) {
    state.iter_mut().for_each(|element| *element = fifth_power(*element));
    add(state, keys);
    let mut next = [Fr::ZERO; WIDTH_MAX];
    for (row, element) in next[..state.len()].iter_mut().enumerate() {
        *element = dot(matrix.row(row), state);
    }
    state.copy_from_slice(&next[..state.len()]);
}

fn add(state: &mut [Fr], keys: &[Fr]) {
    for (element, key) in state.iter_mut().zip(keys) {
        *element += key;
    }
}

/// Splits M into one sparse matrix per partial round, in order of the rounds, and the matrix that absorbed the rest.
fn split_matrices(matrix: &Matrix, partial_rounds: usize) -> (Vec<SparseMatrix>, Matrix) {
    let width = matrix.width();
    let mut current = matrix.clone();
    let mut sparse = Vec::with_capacity(partial_rounds);
    for _ in 0..partial_rounds {
        let minor = Matrix::from_fn(width - 1, |row, column| current.at(row + 1, column + 1));
        let minor_inverse = minor.inverse();
        let mut first_row = vec![current.at(0, 0)];
        first_row.extend(
            (0..width - 1)
                .map(|column| (0..width - 1).map(|k| current.at(0, k + 1) * minor_inverse.at(k, column)).sum::<Fr>()),
        );
        let first_column = (1..width).map(|row| current.at(row, 0)).collect();
        sparse.push(SparseMatrix { first_row, first_column });
        let block = Matrix::from_fn(width, |row, column| match (row, column) {
            (0, 0) => Fr::from(1u64),
            (0, _) | (_, 0) => Fr::ZERO,
            _ => minor.at(row - 1, column - 1),
        });
        current = block.product(matrix);
    }
    sparse.reverse();
    (sparse, current)
}
