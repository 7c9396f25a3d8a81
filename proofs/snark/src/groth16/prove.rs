//! Making a proof.
//!
//! With the assignment z of a circuit (ONE and public inputs first), its evaluations A·z, B·z, C·z, and blinding r, s:
//!
//! 1. The quotient's coefficients h, by six transforms ([`Ntt::quotient`]).
//! 2. Five sums of products over the key: h with its points, the auxiliary variables with `l`, the variables that occur
//!    in A with `a`, those that occur in B with `b_g1` and `b_g2`.
//! 3. ```text
//!    A = alpha + sum a + r delta
//!    B = beta + sum b + s delta                        in both groups
//!    C = sum l + sum h + s A + r B - r s delta         in the first group
//!    ```
//! 4. The proof is verified before anybody sees it.
//!
//! An assignment that does not satisfy the circuit is refused before step 1, with the first row that fails.
//!
//! **Memory**, beyond the matrices: the assignment; during step 1 three vectors as long as the domain, 32 bytes an
//! element (400 MB for a domain of 2^22); during step 2 one such vector or the scalars of one section, and the
//! mapped key's pages of at most 2^21 points (200 MB, in the second group 400 MB) besides what the [`Msm`] takes.

use std::ops::Range;

use ark_ec::CurveGroup;
use ark_ff::{AdditiveGroup, PrimeField, Zero};
use cairn_compute::curve::{G1Projective, G2Projective};
use cairn_compute::msm::{Bases, Msm, MsmError};
use cairn_compute::ntt::{Ntt, NttError};
use cairn_compute::{Fr, Workers, fr_to_node};

use super::curve::{G1Affine, G2Affine};
use super::params::{Section, SectionCounts};
use super::proof::Proof;
use super::proving_key::ProvingKey;
use super::verify::{PreparedVerifyingKey, VerifyRejection};
use crate::r1cs::{Densities, Evaluations, Matrices, MatricesError};
use crate::witness::Assignment;

/// Points after which the mapped key's pages are given back.
const CHUNK_POINTS: usize = 1 << 21;

/// Randomness that keeps the witness secret: fresh for every proof.
#[derive(Clone, Copy)]
pub struct Blinding {
    r: Fr,
    s: Fr,
}

impl Blinding {
    /// From 128 random bytes.
    pub fn from_bytes(bytes: &[u8; 128]) -> Self {
        Self { r: Fr::from_le_bytes_mod_order(&bytes[..64]), s: Fr::from_le_bytes_mod_order(&bytes[64..]) }
    }
}

/// A key of another circuit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the proving key belongs to another circuit: expected {expected} {what}, got {got}")]
pub struct ForeignKey {
    /// What was counted.
    pub what: &'static str,
    /// What the circuit has.
    pub expected: u64,
    /// What the key has.
    pub got: u64,
}

/// Key and matrices cannot be used together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The key is another circuit's.
    #[error(transparent)]
    ForeignKey(#[from] ForeignKey),
    /// The recorded matrices are damaged. They must be recorded again.
    #[error(transparent)]
    Matrices(#[from] MatricesError),
}

/// No proof was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The assignment does not satisfy the circuit: the statement is false, or its witness is wrong.
    #[error("the assignment does not satisfy constraint {row}")]
    Unsatisfied {
        /// The first constraint that fails.
        row: usize,
    },
    /// The recorded matrices are damaged. They must be recorded again.
    #[error(transparent)]
    Matrices(#[from] MatricesError),
    /// The multiplication failed.
    #[error(transparent)]
    Msm(#[from] MsmError),
    /// A transform failed.
    #[error(transparent)]
    Ntt(#[from] NttError),
    /// The finished proof does not verify: the key or an engine is damaged. The proof was dropped; another engine, or a
    /// key converted again, may help.
    #[error("a finished proof does not verify: {0}")]
    Unsound(VerifyRejection),
}

/// Everything that proofs of one circuit have in common.
pub struct Prover {
    key: ProvingKey,
    matrices: Matrices,
    densities: Densities,
    verifying_key: PreparedVerifyingKey,
    msm: Box<dyn Msm>,
    ntt: Box<dyn Ntt>,
}

impl Prover {
    /// Brings together a key and a circuit's matrices, and checks that they belong together.
    ///
    /// # Errors
    /// [`PrepareError`]; a foreign key is told by the first number that differs.
    pub fn new(
        key: ProvingKey,
        matrices: Matrices,
        msm: Box<dyn Msm>,
        ntt: Box<dyn Ntt>,
        workers: &Workers,
    ) -> Result<Self, PrepareError> {
        let densities = matrices.densities(workers)?;
        check_counts(&key.counts(), key.verifying_key().ic.len() as u64, &matrices, &densities)?;
        let verifying_key = PreparedVerifyingKey::new(key.verifying_key().clone());
        Ok(Self { key, matrices, densities, verifying_key, msm, ntt })
    }

    /// The verifying key of its proofs.
    pub fn verifying_key(&self) -> &PreparedVerifyingKey {
        &self.verifying_key
    }

    /// Makes a proof for an assignment, and verifies it.
    ///
    /// # Errors
    /// [`ProveError`].
    ///
    /// # Panics
    /// If the assignment is another circuit's.
    pub fn prove(&self, assignment: &Assignment, blinding: &Blinding, workers: &Workers) -> Result<Proof, ProveError> {
        let evaluations = self.matrices.evaluate(assignment, workers)?;
        if let Some(row) = workers.run(|| evaluations.first_unsatisfied()) {
            return Err(ProveError::Unsatisfied { row });
        }
        let h = self.quotient(evaluations, workers)?;
        let sum_h = self.sum_g1(Section::H, &h, workers)?;
        drop(h);
        let sum_l = self.sum_g1(Section::L, &assignment.aux, workers)?;
        let a = self.variables_of_a(assignment);
        let sum_a = self.sum_g1(Section::A, &a, workers)?;
        drop(a);
        let b = self.variables_of_b(assignment);
        let sum_b_g1 = self.sum_g1(Section::BG1, &b, workers)?;
        let sum_b_g2 = self.sum_b_g2(&b, workers)?;
        let proof = self.assemble(blinding, [sum_h + sum_l, sum_a, sum_b_g1], sum_b_g2);
        let inputs: Vec<_> = assignment.inputs[1..].iter().map(fr_to_node).collect();
        self.verifying_key.verify(&proof, &inputs).map_err(ProveError::Unsound)?;
        Ok(proof)
    }

    /// Step 1: the domain's size less one coefficients; the rows that the circuit lacks are zeros.
    fn quotient(&self, evaluations: Evaluations, workers: &Workers) -> Result<Vec<Fr>, NttError> {
        let domain = self.key.counts().domain() as usize;
        let Evaluations { mut a, mut b, mut c } = evaluations;
        for values in [&mut a, &mut b, &mut c] {
            values.resize(domain, Fr::ZERO);
        }
        let mut h = self.ntt.quotient(workers, a, b, c)?;
        h.pop();
        Ok(h)
    }

    /// Step 3.
    fn assemble(&self, blinding: &Blinding, [c, a, b_g1]: [G1Projective; 3], b_g2: G2Projective) -> Proof {
        let key = self.key.verifying_key();
        let Blinding { r, s } = *blinding;
        let delta = key.delta_g1.to_ark();
        let a = a + key.alpha_g1.to_ark() + delta * r;
        let b_g1 = b_g1 + key.beta_g1.to_ark() + delta * s;
        let b_g2 = b_g2 + key.beta_g2.to_ark() + key.delta_g2.to_ark() * s;
        let c = c + a * s + b_g1 * r - delta * (r * s);
        Proof {
            a: G1Affine::from_ark(&a.into_affine()),
            b: G2Affine::from_ark(&b_g2.into_affine()),
            c: G1Affine::from_ark(&c.into_affine()),
        }
    }

    fn variables_of_a(&self, assignment: &Assignment) -> Vec<Fr> {
        let aux = chosen(&assignment.aux, &self.densities.a_aux);
        assignment.inputs.iter().copied().chain(aux).collect()
    }

    fn variables_of_b(&self, assignment: &Assignment) -> Vec<Fr> {
        let inputs = chosen(&assignment.inputs, &self.densities.b_inputs);
        inputs.chain(chosen(&assignment.aux, &self.densities.b_aux)).collect()
    }

    fn sum_g1(&self, section: Section, scalars: &[Fr], workers: &Workers) -> Result<G1Projective, MsmError> {
        let points = self.key.g1(section);
        let mut sum = G1Projective::zero();
        for range in chunks(points, scalars) {
            let (points, scalars) = (&points[range.clone()], &scalars[range.clone()]);
            let bases = Bases::Each { count: points.len(), at: &|index| points[index].to_ark() };
            sum += self.msm.g1(workers, bases, scalars.into())?;
            self.key.release(section, range);
        }
        Ok(sum)
    }

    fn sum_b_g2(&self, scalars: &[Fr], workers: &Workers) -> Result<G2Projective, MsmError> {
        let points = self.key.b_g2();
        let mut sum = G2Projective::zero();
        for range in chunks(points, scalars) {
            let (points, scalars) = (&points[range.clone()], &scalars[range.clone()]);
            let bases = Bases::Each { count: points.len(), at: &|index| points[index].to_ark() };
            sum += self.msm.g2(workers, bases, scalars.into())?;
            self.key.release(Section::BG2, range);
        }
        Ok(sum)
    }
}

/// The values whose variable is marked.
fn chosen<'a>(values: &'a [Fr], marks: &'a [bool]) -> impl Iterator<Item = Fr> + 'a {
    values.iter().zip(marks).filter(|(_, mark)| **mark).map(|(value, _)| *value)
}

/// Where the parts of a section lie that are multiplied at once.
fn chunks<P>(points: &[P], scalars: &[Fr]) -> impl Iterator<Item = Range<usize>> + use<P> {
    assert_eq!(points.len(), scalars.len(), "a scalar for every point");
    let count = points.len();
    (0..count).step_by(CHUNK_POINTS).map(move |start| start..count.min(start + CHUNK_POINTS))
}

fn check_counts(
    counts: &SectionCounts,
    inputs: u64,
    matrices: &Matrices,
    densities: &Densities,
) -> Result<(), ForeignKey> {
    let circuit = SectionCounts::of_circuit(matrices, densities);
    let checks = [
        ("inputs", matrices.num_inputs() as u64, inputs),
        ("elements of the domain", circuit.domain(), counts.domain()),
        ("auxiliary variables", circuit.aux(), counts.aux()),
        ("variables in A", circuit.get(Section::A), counts.get(Section::A)),
        ("variables in B", circuit.get(Section::BG1), counts.get(Section::BG1)),
    ];
    match checks.into_iter().find(|(_, expected, got)| expected != got) {
        Some((what, expected, got)) => Err(ForeignKey { what, expected, got }),
        None => Ok(()),
    }
}
