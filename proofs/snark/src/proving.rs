//! From a statement and its plain proof to the bytes that a ledger takes.
//!
//! A [`CircuitProver`] serves one circuit and is made once: it opens the proving key (converted from the parameter file
//! on first use) and the recorded matrices (recorded on first use), both mapped files in the store's cache folder. A proof
//! then takes four steps, for each partition:
//!
//! 1. The plain proof is verified and becomes a circuit with its witness ([`crate::circuit`]).
//! 2. The witness is computed ([`assign`]).
//! 3. The witness's public inputs must be those that a verifier derives from the statement alone: anything else is a
//!    defect here, and a panic.
//! 4. The Groth16 proof is made and verified under the key ([`Prover`]). So what leaves here is what
//!    [`crate::verifying`] accepts.

use cairn_compute::{Workers, fr_to_node};
use cairn_sector::Progress;
use cairn_sector::porep::{self, PorepProof, PorepStatement};
use cairn_sector::post::{self, ChallengeNumbering, PostKind, PostProof, PostStatement};
use cairn_sector::update::{self, UpdateProof, UpdateStatement};

use crate::circuit::porep::PorepWitnessRejection;
use crate::circuit::post::PostWitnessRejection;
use crate::circuit::update::UpdateWitnessRejection;
use crate::circuit::{CircuitId, PorepCircuit, PostCircuit, SegmentedCircuit, UpdateCircuit};
use crate::engine::Engine;
use crate::groth16::params::{ParamsSummary, SectionCounts};
use crate::groth16::{
    Blinding, Circuit, KeyFileError, KeyStore, PrepareError, PreparedVerifyingKey, Proof, ProveError, Prover, Secrets,
    Setup, SetupError, VerifyingKey,
};
use crate::r1cs::{Matrices, MatricesError};
use crate::witness::assign;

/// Makes proofs of one circuit.
pub struct CircuitProver {
    circuit: Circuit,
    prover: Prover,
}

/// A prover, or parameters, cannot be had for a circuit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There are published files for it, but no circuit here.
    #[error("{0}: Cairn has no such circuit, only its key files")]
    NoCircuit(Circuit),
    /// The key is missing, damaged, or not to be trusted.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Recording the matrices failed: the disk refuses.
    #[error(transparent)]
    Matrices(#[from] MatricesError),
    /// Key and circuit do not belong together.
    #[error("{circuit}: {source}")]
    Prepare {
        /// The circuit.
        circuit: Circuit,
        /// What differs.
        source: PrepareError,
    },
    /// No parameters were made.
    #[error("{circuit}: {source}")]
    Setup {
        /// The circuit.
        circuit: Circuit,
        /// Why.
        source: SetupError,
    },
}

/// A statement was not proven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementProveError {
    /// The statement is about another kind of proof or another sector size.
    #[error("this prover is for {expected}, got a statement for {got}")]
    Circuit {
        /// What the prover serves.
        expected: Circuit,
        /// What the statement needs.
        got: Circuit,
    },
    /// The plain proof of replication does not prove the statement.
    #[error(transparent)]
    Porep(#[from] PorepWitnessRejection),
    /// The plain proof of spacetime does not prove the statement.
    #[error(transparent)]
    Post(#[from] PostWitnessRejection),
    /// The plain proof of an update does not prove the statement.
    #[error(transparent)]
    Update(#[from] UpdateWitnessRejection),
    /// The prover failed.
    #[error("partition {partition}: {source}")]
    Prove {
        /// Which partition.
        partition: usize,
        /// Why.
        source: ProveError,
    },
}

/// Where a statement's circuit gets its blinding from: one for each partition.
pub type BlindingSource<'a> = &'a mut dyn FnMut() -> Blinding;

impl CircuitProver {
    /// Opens what proofs of `circuit` need. Parameters must be there ([`make_development_params`] makes some); `progress`
    /// counts their bytes as they are converted, which is most of the work of a first use.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        store: &KeyStore,
        circuit: Circuit,
        engine: Engine,
        workers: &Workers,
        progress: Progress<'_>,
    ) -> Result<Self, OpenError> {
        let matrices = matrices(store, circuit, workers)?;
        let key = store.proving_key(circuit, workers, progress)?;
        let prover = Prover::new(key, matrices, engine.msm(), engine.ntt(), workers)
            .map_err(|source| OpenError::Prepare { circuit, source })?;
        Ok(Self { circuit, prover })
    }

    /// Which circuit.
    pub fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// The key that its proofs verify under.
    pub fn verifying_key(&self) -> &PreparedVerifyingKey {
        self.prover.verifying_key()
    }

    /// Proves replication: 192 bytes for each partition, one after the other.
    ///
    /// # Errors
    /// [`StatementProveError`].
    pub fn prove_porep(
        &self,
        statement: &PorepStatement,
        plain: &PorepProof,
        blinding: BlindingSource<'_>,
        workers: &Workers,
    ) -> Result<Vec<u8>, StatementProveError> {
        self.check_circuit(Circuit::Porep(statement.identity.sector_size))?;
        let circuits = PorepCircuit::of_proof(statement, plain)?;
        let inputs = porep::public_inputs(statement);
        let mut bytes = vec![];
        for (partition, (circuit, inputs)) in circuits.into_iter().zip(inputs).enumerate() {
            let proof = self.prove_partition(partition, &circuit, &inputs, &blinding(), workers)?;
            bytes.extend_from_slice(&proof.to_bytes());
        }
        Ok(bytes)
    }

    /// Proves spacetime: 192 bytes. A window statement is one partition's
    /// ([`PostStatement::partitions`] cuts a longer one).
    ///
    /// # Errors
    /// [`StatementProveError`].
    pub fn prove_post(
        &self,
        statement: &PostStatement,
        plain: &PostProof,
        numbering: ChallengeNumbering,
        blinding: BlindingSource<'_>,
        workers: &Workers,
    ) -> Result<Vec<u8>, StatementProveError> {
        self.check_circuit(post_circuit(statement))?;
        let circuit = PostCircuit::of_proof_numbered(statement, plain, numbering)?;
        let inputs = post::public_inputs_numbered(statement, numbering).map_err(PostWitnessRejection::Proof)?;
        Ok(self.prove_partition(0, &circuit, &inputs, &blinding(), workers)?.to_bytes().to_vec())
    }

    /// Proves an update of a sector: 192 bytes for each partition, one after the other.
    ///
    /// # Errors
    /// [`StatementProveError`].
    pub fn prove_update(
        &self,
        statement: &UpdateStatement,
        plain: &UpdateProof,
        blinding: BlindingSource<'_>,
        workers: &Workers,
    ) -> Result<Vec<u8>, StatementProveError> {
        self.check_circuit(Circuit::Update(statement.sector_size))?;
        let circuits = UpdateCircuit::of_proof(statement, plain)?;
        let mut bytes = vec![];
        for (partition, (circuit, inputs)) in circuits.into_iter().zip(update::public_inputs(statement)).enumerate() {
            let proof = self.prove_partition(partition, &circuit, &inputs, &blinding(), workers)?;
            bytes.extend_from_slice(&proof.to_bytes());
        }
        Ok(bytes)
    }

    fn check_circuit(&self, got: Circuit) -> Result<(), StatementProveError> {
        let expected = self.circuit;
        if expected == got { Ok(()) } else { Err(StatementProveError::Circuit { expected, got }) }
    }

    /// Steps 2 to 4 of the module.
    fn prove_partition(
        &self,
        partition: usize,
        circuit: &impl SegmentedCircuit,
        inputs: &[[u8; 32]],
        blinding: &Blinding,
        workers: &Workers,
    ) -> Result<Proof, StatementProveError> {
        let assignment = assign(circuit, workers).expect("the circuit has its witness");
        let witnessed: Vec<_> = assignment.inputs[1..].iter().map(fr_to_node).collect();
        assert_eq!(witnessed, inputs, "public inputs of partition {partition}, by the circuit and by the statement");
        let failed = |source| StatementProveError::Prove { partition, source };
        self.prover.prove(&assignment, blinding, workers).map_err(failed)
    }
}

/// The circuit of a proof of spacetime.
pub fn post_circuit(statement: &PostStatement) -> Circuit {
    match statement.kind {
        PostKind::Window => Circuit::WindowPost(statement.sector_size),
        PostKind::Winning => Circuit::WinningPost(statement.sector_size),
    }
}

/// Makes development parameters and puts them into the store, marked. `progress` counts their points.
///
/// # Errors
/// [`OpenError`].
pub fn make_development_params(
    store: &KeyStore,
    circuit: Circuit,
    secrets: Secrets,
    workers: &Workers,
    progress: Progress<'_>,
) -> Result<ParamsSummary, OpenError> {
    let matrices = matrices(store, circuit, workers)?;
    let setup = Setup::new(&matrices, secrets, workers).and_then(|setup| {
        drop(matrices);
        store.write_development(circuit, |sink| setup.send_to(sink, workers, progress))
    });
    setup.map_err(|source| OpenError::Setup { circuit, source })
}

/// Bytes that [`make_development_params`] will write: parameter file and verifying key.
///
/// # Errors
/// [`OpenError`]: there is no such circuit, or its matrices, which are recorded first, find no room.
pub fn development_params_bytes(store: &KeyStore, circuit: Circuit, workers: &Workers) -> Result<u64, OpenError> {
    let matrices = matrices(store, circuit, workers)?;
    let inputs = matrices.num_inputs() as u64;
    let densities = matrices.densities(workers)?;
    let counts = SectionCounts::of_circuit(&matrices, &densities);
    Ok(counts.file_bytes(inputs) + VerifyingKey::file_bytes(inputs))
}

/// A circuit's matrices from the cache folder, recorded (again) if they are missing, damaged or another version's.
fn matrices(store: &KeyStore, circuit: Circuit, workers: &Workers) -> Result<Matrices, OpenError> {
    let id: CircuitId = circuit.id().ok_or(OpenError::NoCircuit(circuit))?;
    let file = store.matrices_path(circuit);
    match Matrices::open(id, &file, workers) {
        Ok(matrices) => Ok(matrices),
        Err(_) => Ok(Matrices::record(id, &file, workers, &|_| {})?),
    }
}
