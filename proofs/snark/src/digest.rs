//! A digest of a circuit's whole constraint system, computed while it streams by.
//!
//! SHA-256 over all constraints in order; for each of A, B and C:
//!
//! ```text
//! number of terms              u32 LE
//! each term, by (kind, index): kind u8 (0 input, 1 aux) | index u64 LE | coefficient 32 bytes LE
//! ```
//!
//! in canonical form ([`crate::terms`]). Two circuits with the same digest are the same circuit for every purpose of
//! Groth16. The digest of every [`CHUNK_CONSTRAINTS`] constraints is kept too, and so are *marks* (where each input and
//! each outer namespace begins): a first difference between two circuits is found by its chunk, and named by its mark.
//!
//! The work is split in two: the caller's thread synthesises and serialises, a second one hashes whole chunks. Memory
//! is a few chunks of 4 to 10 MB, however large the circuit.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use ark_ff::{Field, PrimeField};
use bellman::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use cairn_compute::Fr;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::circuit::SegmentedCircuit;
use crate::scalar::Scalar;
use crate::terms::{Term, canonical};

/// Constraints in a chunk with a digest of its own.
pub const CHUNK_CONSTRAINTS: u64 = 1 << 14;

/// Namespaces down to this depth are marked.
const MARK_DEPTH: usize = 2;

/// Marks kept at most: the beginning of a circuit is enough to bisect it, since it repeats.
const MARKS_MAX: usize = 10_000;

/// Chunks between the two threads.
const CHUNKS_IN_FLIGHT: usize = 3;

/// What a circuit is, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitInfo {
    /// Public inputs, ONE among them.
    pub num_inputs_with_one: u64,
    /// Auxiliary variables: the witness.
    pub num_aux: u64,
    /// Constraints, without those that Groth16 appends for each input.
    pub num_constraints: u64,
    /// Terms in A, B and C.
    pub nnz: [u64; 3],
    /// Hex SHA-256 of all constraints.
    pub r1cs_sha256: String,
    /// Hex of the first 8 bytes of the digest of each [`CHUNK_CONSTRAINTS`] constraints.
    pub chunk_digests: Vec<String>,
    /// Constraints and auxiliary variables before a place, and the place's name.
    pub marks: Vec<(u64, u64, String)>,
}

/// Digests the constraints of `circuit`; it needs no witness.
///
/// # Errors
/// [`SynthesisError`] if the circuit asks for a value that it was not given.
pub fn digest(circuit: &impl SegmentedCircuit) -> Result<CircuitInfo, SynthesisError> {
    let (to_hasher, chunks) = sync_channel(CHUNKS_IN_FLIGHT);
    let (to_digester, hashed) = sync_channel(CHUNKS_IN_FLIGHT + 2);
    std::thread::scope(|scope| {
        let hasher = scope.spawn(move || hash_chunks(&chunks, &to_digester));
        let mut digester = Digester::new(to_hasher, hashed);
        let outcome = circuit.synthesize(&mut digester);
        let counts = digester.finish();
        let (whole, chunk_digests) = hasher.join().expect("the hashing thread does not panic");
        outcome.map(|()| CircuitInfo { r1cs_sha256: hex::encode(whole), chunk_digests, ..counts })
    })
}

/// Hashes every chunk alone and all of them together; hands buffers back for reuse.
fn hash_chunks(chunks: &Receiver<Vec<u8>>, used: &SyncSender<Vec<u8>>) -> ([u8; 32], Vec<String>) {
    let mut whole = Sha256::new();
    let mut digests = vec![];
    for mut chunk in chunks {
        whole.update(&chunk);
        digests.push(hex::encode(&Sha256::digest(&chunk)[..8]));
        chunk.clear();
        // The other side keeps enough spare buffers already, or has finished.
        let _ = used.try_send(chunk);
    }
    (whole.finalize().into(), digests)
}

/// The constraint system that serialises what it is given.
struct Digester {
    info: CircuitInfo,
    chunk: Vec<u8>,
    terms: Vec<Term>,
    to_hasher: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
    namespaces: Vec<String>,
    depth: usize,
}

impl Digester {
    fn new(to_hasher: SyncSender<Vec<u8>>, spare: Receiver<Vec<u8>>) -> Self {
        let info = CircuitInfo {
            num_inputs_with_one: 1,
            num_aux: 0,
            num_constraints: 0,
            nnz: [0; 3],
            r1cs_sha256: String::new(),
            chunk_digests: vec![],
            marks: vec![],
        };
        Self { info, chunk: vec![], terms: vec![], to_hasher, spare, namespaces: vec![], depth: 0 }
    }

    fn write(&mut self, matrix: usize, combination: &LinearCombination<Scalar>) {
        canonical(combination, &mut self.terms);
        self.info.nnz[matrix] += self.terms.len() as u64;
        self.chunk.extend_from_slice(&(self.terms.len() as u32).to_le_bytes());
        for (column, coefficient) in &self.terms {
            let mut bytes = [0u8; 41];
            bytes[0] = u8::from(column.is_aux());
            bytes[1..9].copy_from_slice(&column.index().to_le_bytes());
            write_coefficient(coefficient, &mut bytes[9..]);
            self.chunk.extend_from_slice(&bytes);
        }
    }

    /// Gives the chunk to the hasher and takes a used buffer, if there is one.
    fn send_chunk(&mut self) {
        let next = self.spare.try_recv().unwrap_or_default();
        let chunk = std::mem::replace(&mut self.chunk, next);
        self.to_hasher.send(chunk).expect("the hashing thread lives as long as its input");
    }

    fn mark(&mut self, name: &str) {
        if self.info.marks.len() < MARKS_MAX {
            self.info.marks.push((self.info.num_constraints, self.info.num_aux, name.to_owned()));
        }
    }

    /// The last chunk counts even if it is empty.
    fn finish(mut self) -> CircuitInfo {
        self.send_chunk();
        self.info
    }
}

/// Most coefficients are one; its bytes need no conversion.
fn write_coefficient(coefficient: &Fr, bytes: &mut [u8]) {
    if *coefficient == Fr::ONE {
        bytes[0] = 1;
        return;
    }
    for (bytes, limb) in bytes.chunks_exact_mut(8).zip(coefficient.into_bigint().0) {
        bytes.copy_from_slice(&limb.to_le_bytes());
    }
}

impl ConstraintSystem<Scalar> for Digester {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, _annotation: A, _value: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.info.num_aux += 1;
        Ok(Variable::new_unchecked(Index::Aux(self.info.num_aux as usize - 1)))
    }

    fn alloc_input<F, A, AR>(&mut self, annotation: A, _value: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let index = self.info.num_inputs_with_one;
        self.info.num_inputs_with_one += 1;
        let name: String = annotation().into();
        self.mark(&format!("input {index} = {}/{name}", self.namespaces.join("/")));
        Ok(Variable::new_unchecked(Index::Input(index as usize)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _annotation: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
        self.write(0, &a(LinearCombination::zero()));
        self.write(1, &b(LinearCombination::zero()));
        self.write(2, &c(LinearCombination::zero()));
        self.info.num_constraints += 1;
        if self.info.num_constraints.is_multiple_of(CHUNK_CONSTRAINTS) {
            self.send_chunk();
        }
    }

    fn push_namespace<NR, N>(&mut self, name: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
        self.depth += 1;
        if self.depth <= MARK_DEPTH {
            self.namespaces.push(name().into());
            self.mark(&self.namespaces.join("/"));
        }
    }

    fn pop_namespace(&mut self) {
        self.depth -= 1;
        self.namespaces.truncate(self.depth);
    }

    fn get_root(&mut self) -> &mut Self::Root {
        self
    }
}
