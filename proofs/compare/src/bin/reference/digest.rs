//! Counts and digest of the reference's constraint systems.
//!
//! SHA-256 over all constraints in order; for each of A, B, C: the number of terms, u32, then each non-zero term, sorted by
//! (kind, index): kind u8 (0 input, 1 auxiliary), index u64, coefficient 32 bytes. All little-endian. Input 0 is ONE.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use bellperson::{Circuit, ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use blstrs::Scalar;
use cairn_compare::side::Work;
use cairn_compare::task::ConstraintSystemDigest;
use cairn_protocol::SectorSize;
use cairn_snark::CircuitKind;
use ff::{Field, PrimeField};
use filecoin_proofs::constants::*;
use filecoin_proofs::parameters::{public_params, window_post_public_params, winning_post_public_params};
use filecoin_proofs::with_shape;
use sha2::{Digest, Sha256};
use storage_proofs_core::compound_proof::CompoundProof;
use storage_proofs_core::merkle::MerkleTreeTrait;
use storage_proofs_porep::stacked::{StackedCircuit, StackedCompound, StackedDrg};
use storage_proofs_post::fallback::{FallbackPoSt, FallbackPoStCircuit, FallbackPoStCompound};
use storage_proofs_update::EmptySectorUpdate;
use storage_proofs_update::circuit::EmptySectorUpdateCircuit;
use storage_proofs_update::compound::EmptySectorUpdateCompound;
use storage_proofs_update::constants::TreeRHasher;

use crate::config;

/// Streams the circuit of a sector size.
pub fn digest(circuit: CircuitKind, size: SectorSize) -> Result<Work> {
    let start = Instant::now();
    let bytes = size.bytes();
    let digest = match circuit {
        CircuitKind::Porep => with_shape!(bytes, porep, bytes),
        CircuitKind::WinningPost | CircuitKind::WindowPost => with_shape!(bytes, post, circuit, bytes),
        CircuitKind::Update => with_shape!(bytes, update, bytes),
        other => bail!("no reference circuit for {other}"),
    }?;
    Ok(Work { digest: Some(digest), ..Work::since(start) })
}

fn porep<T: 'static + MerkleTreeTrait>(bytes: u64) -> Result<ConstraintSystemDigest> {
    type Compound<T> = StackedCompound<T, DefaultPieceHasher>;
    type Plain<'a, T> = StackedDrg<'a, T, DefaultPieceHasher>;
    let params = public_params::<T>(&config::porep(bytes, [0; 32]))?;
    stream(<Compound<T> as CompoundProof<Plain<'_, T>, StackedCircuit<T, DefaultPieceHasher>>>::blank_circuit(&params))
}

fn post<T: 'static + MerkleTreeTrait>(circuit: CircuitKind, bytes: u64) -> Result<ConstraintSystemDigest> {
    let config = config::post(circuit, bytes).context("a proof of spacetime")?;
    let params = match circuit {
        CircuitKind::WinningPost => winning_post_public_params::<T>(&config)?,
        _ => window_post_public_params::<T>(&config)?,
    };
    type Compound<T> = FallbackPoStCompound<T>;
    stream(<Compound<T> as CompoundProof<FallbackPoSt<'_, T>, FallbackPoStCircuit<T>>>::blank_circuit(&params))
}

fn update<T: 'static + MerkleTreeTrait<Hasher = TreeRHasher>>(bytes: u64) -> Result<ConstraintSystemDigest> {
    let params = storage_proofs_update::PublicParams::from_sector_size(bytes);
    type Compound<T> = EmptySectorUpdateCompound<T>;
    stream(<Compound<T> as CompoundProof<EmptySectorUpdate<T>, EmptySectorUpdateCircuit<T>>>::blank_circuit(&params))
}

fn stream(circuit: impl Circuit<Scalar>) -> Result<ConstraintSystemDigest> {
    let mut hasher = Hasher { counts: ConstraintCounts { inputs: 1, ..Default::default() }, whole: Sha256::new() };
    circuit.synthesize(&mut hasher)?;
    let ConstraintCounts { inputs, aux, constraints, nnz } = hasher.counts;
    Ok(ConstraintSystemDigest {
        num_inputs_with_one: inputs,
        num_aux: aux,
        num_constraints: constraints,
        nnz,
        r1cs_sha256: hex::encode(hasher.whole.finalize()),
    })
}

#[derive(Default)]
struct ConstraintCounts {
    inputs: u64,
    aux: u64,
    constraints: u64,
    nnz: [u64; 3],
}

/// A constraint system that hashes what it is given.
struct Hasher {
    counts: ConstraintCounts,
    whole: Sha256,
}

impl Hasher {
    fn update(&mut self, matrix: usize, combination: &LinearCombination<Scalar>) {
        let mut terms: Vec<(u8, u64, [u8; 32])> = combination
            .iter()
            .filter(|(_, coefficient)| !bool::from(coefficient.is_zero()))
            .map(|(variable, coefficient)| match variable.get_unchecked() {
                Index::Input(index) => (0, index as u64, coefficient.to_repr()),
                Index::Aux(index) => (1, index as u64, coefficient.to_repr()),
            })
            .collect();
        terms.sort_unstable();
        self.counts.nnz[matrix] += terms.len() as u64;
        let mut bytes = Vec::with_capacity(4 + 41 * terms.len());
        bytes.extend_from_slice(&(terms.len() as u32).to_le_bytes());
        for (kind, index, coefficient) in terms {
            bytes.push(kind);
            bytes.extend_from_slice(&index.to_le_bytes());
            bytes.extend_from_slice(&coefficient);
        }
        self.whole.update(&bytes);
    }
}

impl ConstraintSystem<Scalar> for Hasher {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.counts.aux += 1;
        Ok(Variable::new_unchecked(Index::Aux(self.counts.aux as usize - 1)))
    }

    fn alloc_input<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.counts.inputs += 1;
        Ok(Variable::new_unchecked(Index::Input(self.counts.inputs as usize - 1)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
        self.update(0, &a(LinearCombination::zero()));
        self.update(1, &b(LinearCombination::zero()));
        self.update(2, &c(LinearCombination::zero()));
        self.counts.constraints += 1;
    }

    fn push_namespace<NR, N>(&mut self, _: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn pop_namespace(&mut self) {}

    fn get_root(&mut self) -> &mut Self::Root {
        self
    }
}
