//! Development parameters for a circuit.
//!
//! Secrets tau, alpha, beta, gamma, delta; L_i the Lagrange polynomials of the domain at tau, Z = tau^n - 1; for every
//! variable j, a_j = sum of A\[i\]\[j\] L_i over the rows i, and b_j, c_j likewise. Then, times the generators:
//!
//! ```text
//! h     tau^i Z / delta                        i = 0 .. n - 2
//! ic    (beta a_j + alpha b_j + c_j) / gamma   inputs
//! l     (beta a_j + alpha b_j + c_j) / delta   auxiliary variables
//! a     a_j                                    inputs, then auxiliary variables that occur in A
//! b     b_j, in both groups                    inputs, then auxiliary variables, that occur in B
//! ```
//!
//! Whoever knows the secrets can prove anything, and here one process knows them all: good for development only, and
//! marked so ([`KeyStore::write_development`](super::KeyStore::write_development)).
//!
//! **The bound.** Every point is a multiple of a generator, so tables of its multiples ([`FixedBase`]) leave one affine
//! addition for each window of 16 bits, of 6 multiplications. 2 KiB PoRep: 10.2 million points of the first group, 163
//! million additions; 0.69 million points of the second.
//! **Memory**: [`Setup::memory_bytes`]: 32 bytes for each row or point of the largest section and for each variable four
//! times; tables of 67 and 134 MB.

use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, FftField, Field, PrimeField, batch_inversion};
use cairn_compute::curve;
use cairn_compute::msm::{CpuMsm, FixedBase};
use cairn_compute::{Fr, Workers};
use cairn_sector::Progress;
use rayon::prelude::*;

use super::curve::{G1Affine, G2Affine};
use super::error::KeyFileError;
use super::params::{ParamsSink, Section};
use super::verifying_key::VerifyingKey;
use crate::r1cs::{Densities, Matrices, MatricesError, Matrix};

/// Points made between two looks at the sink.
const CHUNK_POINTS: usize = 1 << 16;

/// Bytes of a scalar, and of the tables of both generators.
const SCALAR_BYTES: u64 = 32;
const TABLES_BYTES: u64 = 201 << 20;

/// The five secrets.
pub struct Secrets {
    tau: Fr,
    alpha: Fr,
    beta: Fr,
    gamma: Fr,
    delta: Fr,
}

impl Secrets {
    /// From 320 random bytes.
    pub fn from_bytes(bytes: &[u8; 320]) -> Self {
        let secret = |index: usize| Fr::from_le_bytes_mod_order(&bytes[64 * index..64 * (index + 1)]);
        Self { tau: secret(0), alpha: secret(1), beta: secret(2), gamma: secret(3), delta: secret(4) }
    }
}

/// No parameters were made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The recorded matrices are damaged. They must be recorded again.
    #[error(transparent)]
    Matrices(#[from] MatricesError),
    /// The receiver failed.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// A secret is zero, or tau lies in the domain: not with random bytes, in a lifetime.
    #[error("the randomness gives degenerate secrets")]
    Degenerate,
}

/// Parameters of one circuit, as numbers yet to be multiplied with the generators.
pub struct Setup {
    secrets: Secrets,
    domain: u64,
    /// a_j, b_j, and (beta a_j + alpha b_j + c_j) of all variables, inputs first.
    a: Vec<Fr>,
    b: Vec<Fr>,
    combined: Vec<Fr>,
    inputs: usize,
    densities: Densities,
}

impl Setup {
    /// The most memory that a setup takes at once, beside the mapped matrices.
    pub fn memory_bytes(matrices: &Matrices) -> u64 {
        let variables = (matrices.num_inputs() + matrices.num_aux()) as u64;
        let rows = (matrices.num_constraints() + matrices.num_inputs()) as u64;
        SCALAR_BYTES * (4 * variables + rows.next_power_of_two()) + TABLES_BYTES
    }

    /// Evaluates a circuit's polynomials at tau.
    ///
    /// # Errors
    /// [`SetupError::Matrices`], [`SetupError::Degenerate`].
    pub fn new(matrices: &Matrices, secrets: Secrets, workers: &Workers) -> Result<Self, SetupError> {
        let (inputs, aux) = (matrices.num_inputs(), matrices.num_aux());
        let rows = matrices.num_constraints() + inputs;
        let domain = rows.next_power_of_two() as u64;
        let lagrange = lagrange(secrets.tau, domain, rows)?;
        if [secrets.alpha, secrets.beta, secrets.gamma, secrets.delta].contains(&Fr::ZERO) {
            return Err(SetupError::Degenerate);
        }
        let [mut a, mut b, mut c] = [(); 3].map(|()| vec![Fr::ZERO; inputs + aux]);
        for block in 0..matrices.blocks() {
            matrices.visit_block(block, |matrix, row, column, coefficient| {
                let index = column.index() as usize + if column.is_aux() { inputs } else { 0 };
                let sums = match matrix {
                    Matrix::A => &mut a,
                    Matrix::B => &mut b,
                    Matrix::C => &mut c,
                };
                sums[index] += *coefficient * lagrange[row as usize];
            })?;
        }
        // The appended rows, input * 0 = 0.
        for (input, lagrange) in a[..inputs].iter_mut().zip(&lagrange[matrices.num_constraints()..]) {
            *input += lagrange;
        }
        let combine = |((a, b), c): ((&Fr, &Fr), &mut Fr)| *c += secrets.beta * a + secrets.alpha * b;
        workers.run(|| a.par_iter().zip(&b).zip(&mut c).for_each(combine));
        let densities = matrices.densities(workers)?;
        Ok(Self { secrets, domain, a, b, combined: c, inputs, densities })
    }

    /// Multiplies, and hands everything to `sink` in the order of a parameter file. `progress` counts points.
    ///
    /// # Errors
    /// Those of the sink, or [`SetupError::Degenerate`].
    pub fn send_to(
        &self,
        sink: &mut dyn ParamsSink,
        workers: &Workers,
        progress: Progress<'_>,
    ) -> Result<(), SetupError> {
        let inverse = |secret: Fr| secret.inverse().ok_or(SetupError::Degenerate);
        let (gamma, delta) = (inverse(self.secrets.gamma)?, inverse(self.secrets.delta)?);
        let h = self.h(delta);
        let l: Vec<Fr> = workers.run(|| self.combined[self.inputs..].par_iter().map(|value| *value * delta).collect());
        let a = marked(&self.a, |index| index < self.inputs || self.densities.a_aux[index - self.inputs]);
        let b = marked(&self.b, |index| match index.checked_sub(self.inputs) {
            Some(aux) => self.densities.b_aux[aux],
            None => self.densities.b_inputs[index],
        });
        let in_g1 = h.len() + l.len() + a.len() + b.len();
        let total = (in_g1 + b.len()) as u64;
        let tables = Tables::new(in_g1, b.len(), workers);
        sink.verifying_key(&self.verifying_key(&tables, gamma, workers))?;
        let mut done = 0;
        for (section, scalars) in [(Section::H, &h), (Section::L, &l), (Section::A, &a), (Section::BG1, &b)] {
            sink.section(section, scalars.len() as u64)?;
            for chunk in scalars.chunks(CHUNK_POINTS) {
                sink.g1(section, &tables.g1(chunk, workers))?;
                done += chunk.len() as u64;
                progress(done, total);
            }
        }
        sink.section(Section::BG2, b.len() as u64)?;
        for chunk in b.chunks(CHUNK_POINTS) {
            sink.g2(&tables.g2(chunk, workers))?;
            done += chunk.len() as u64;
            progress(done, total);
        }
        Ok(())
    }

    fn verifying_key(&self, tables: &Tables, gamma_inverse: Fr, workers: &Workers) -> VerifyingKey {
        let Secrets { alpha, beta, gamma, delta, .. } = self.secrets;
        let in_g1 = tables.g1(&[alpha, beta, delta], workers);
        let in_g2 = tables.g2(&[beta, gamma, delta], workers);
        let ic: Vec<Fr> = self.combined[..self.inputs].iter().map(|value| *value * gamma_inverse).collect();
        VerifyingKey {
            alpha_g1: in_g1[0],
            beta_g1: in_g1[1],
            beta_g2: in_g2[0],
            gamma_g2: in_g2[1],
            delta_g1: in_g1[2],
            delta_g2: in_g2[2],
            ic: tables.g1(&ic, workers),
        }
    }

    /// tau^i Z / delta.
    fn h(&self, delta_inverse: Fr) -> Vec<Fr> {
        let tau = self.secrets.tau;
        let first = (tau.pow([self.domain]) - Fr::ONE) * delta_inverse;
        std::iter::successors(Some(first), |power| Some(*power * tau)).take(self.domain as usize - 1).collect()
    }
}

/// Multiples of both generators.
struct Tables {
    g1: FixedBase<curve::G1Affine>,
    g2: FixedBase<curve::G2Affine>,
}

impl Tables {
    /// For about so many scalars in each group.
    fn new(in_g1: usize, in_g2: usize, workers: &Workers) -> Self {
        let msm = CpuMsm::new();
        let g1 = msm.fixed_base_g1(workers, &curve::G1Affine::generator(), in_g1);
        let g2 = msm.fixed_base_g2(workers, &curve::G2Affine::generator(), in_g2);
        Self { g1, g2 }
    }

    fn g1(&self, scalars: &[Fr], workers: &Workers) -> Vec<G1Affine> {
        self.g1.multiples(workers, scalars).iter().map(G1Affine::from_ark).collect()
    }

    fn g2(&self, scalars: &[Fr], workers: &Workers) -> Vec<G2Affine> {
        self.g2.multiples(workers, scalars).iter().map(G2Affine::from_ark).collect()
    }
}

/// The first `rows` Lagrange polynomials of the domain at tau: (tau^n - 1) / n * w^i / (tau - w^i).
fn lagrange(tau: Fr, domain: u64, rows: usize) -> Result<Vec<Fr>, SetupError> {
    let root = Fr::get_root_of_unity(domain).expect("the field has a domain of every size in use");
    let vanishing = tau.pow([domain]) - Fr::ONE;
    if vanishing == Fr::ZERO {
        return Err(SetupError::Degenerate);
    }
    let roots = || std::iter::successors(Some(Fr::ONE), |power| Some(*power * root)).take(rows);
    let mut values: Vec<Fr> = roots().map(|root| tau - root).collect();
    batch_inversion(&mut values);
    let scale = vanishing * Fr::from(domain).inverse().expect("a power of two is not zero in the field");
    values.iter_mut().zip(roots()).for_each(|(value, root)| *value *= scale * root);
    Ok(values)
}

fn marked(values: &[Fr], mark: impl Fn(usize) -> bool) -> Vec<Fr> {
    values.iter().enumerate().filter(|(index, _)| mark(*index)).map(|(_, value)| *value).collect()
}
