//! From a statement and the bytes of a proof to a verdict: what a ledger asks.
//!
//! A [`Verifier`] holds the prepared keys of the circuits it is asked about. The public inputs are derived from the
//! statement alone, and the number of partitions too. Many claims, under different keys, are verified as one product
//! ([`verify_batch`](crate::groth16::verify_batch)); each bad one is named.

use std::collections::BTreeMap;

use cairn_compute::{Node, Workers};
use cairn_sector::porep::{self, PorepStatement};
use cairn_sector::post::{self, ChallengeNumbering, PostRejection, PostStatement};
use cairn_sector::update::{self, UpdateStatement};
use rayon::prelude::*;

use crate::groth16::{
    BatchItem, Circuit, KeyFileError, KeyStore, PreparedVerifyingKey, Proof, ProofRejection, VerifyRejection,
    verify_batch,
};
use crate::proving::post_circuit;

/// Verifies claims about several circuits.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    keys: BTreeMap<Circuit, PreparedVerifyingKey>,
}

/// A statement, and bytes that are said to prove it.
#[derive(Debug, Clone, Copy)]
pub enum Claim<'a> {
    /// Replication: a proof for each partition.
    Porep {
        /// What is claimed.
        statement: &'a PorepStatement,
        /// 192 bytes for each partition.
        proof: &'a [u8],
    },
    /// New data in a sealed sector: a proof for each partition.
    Update {
        /// What is claimed.
        statement: &'a UpdateStatement,
        /// 192 bytes for each partition.
        proof: &'a [u8],
    },
    /// Spacetime: a proof for each partition of the sectors.
    Post {
        /// What is claimed.
        statement: &'a PostStatement,
        /// How the challenges are numbered.
        numbering: ChallengeNumbering,
        /// 192 bytes for each partition.
        proof: &'a [u8],
    },
}

/// A claim that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementRejection {
    /// Nobody gave this verifier a key for it.
    #[error("there is no verifying key for {0}")]
    NoKey(Circuit),
    /// The statement itself is none.
    #[error(transparent)]
    Statement(#[from] PostRejection),
    /// There are no sectors to prove.
    #[error("expected at least one sector in the statement, got none")]
    NoSectors,
    /// The bytes are no proof.
    #[error(transparent)]
    Bytes(#[from] ProofRejection),
    /// The proof does not show the statement.
    #[error("proof {partition}: {source}")]
    Proof {
        /// Which of the statement's partitions.
        partition: usize,
        /// What is wrong.
        source: VerifyRejection,
    },
}

/// A claim in the form of the equations to check: proofs and inputs, one for each partition.
struct Parsed<'a> {
    key: &'a PreparedVerifyingKey,
    proofs: Vec<Proof>,
    inputs: Vec<Vec<Node>>,
}

impl Verifier {
    /// Reads and prepares the verifying keys of `circuits`.
    ///
    /// # Errors
    /// [`KeyFileError`]: a key is missing, damaged, foreign, or not to be trusted there.
    pub fn open(
        store: &KeyStore,
        circuits: impl IntoIterator<Item = Circuit>,
        workers: &Workers,
    ) -> Result<Self, KeyFileError> {
        let mut verifier = Self::default();
        for circuit in circuits {
            let (key, _) = store.verifying_key(circuit, workers)?;
            verifier.insert(circuit, PreparedVerifyingKey::new(key));
        }
        Ok(verifier)
    }

    /// Adds a key, or replaces it.
    pub fn insert(&mut self, circuit: Circuit, key: PreparedVerifyingKey) {
        self.keys.insert(circuit, key);
    }

    /// The key of a circuit.
    pub fn key(&self, circuit: Circuit) -> Option<&PreparedVerifyingKey> {
        self.keys.get(&circuit)
    }

    /// Verifies one claim.
    ///
    /// # Errors
    /// [`StatementRejection`] says what is wrong with it.
    pub fn verify(&self, claim: &Claim<'_>) -> Result<(), StatementRejection> {
        let parsed = self.parse(claim)?;
        for (partition, (proof, inputs)) in parsed.proofs.iter().zip(&parsed.inputs).enumerate() {
            let rejected = |source| StatementRejection::Proof { partition, source };
            parsed.key.verify(proof, inputs).map_err(rejected)?;
        }
        Ok(())
    }

    /// Verifies many claims at once: the verdict of [`verify`](Self::verify) for each, in order. `randomness` should be
    /// unpredictable to the provers.
    pub fn verify_batch(
        &self,
        claims: &[Claim<'_>],
        randomness: [u8; 32],
        workers: &Workers,
    ) -> Vec<Result<(), StatementRejection>> {
        let parsed: Vec<_> = workers.run(|| claims.par_iter().map(|claim| self.parse(claim)).collect());
        let mut items = vec![];
        let mut places = vec![];
        for (claim, parsed) in parsed.iter().enumerate() {
            let Ok(parsed) = parsed else { continue };
            for (partition, (proof, inputs)) in parsed.proofs.iter().zip(&parsed.inputs).enumerate() {
                items.push(BatchItem { key: parsed.key, proof, inputs });
                places.push((claim, partition));
            }
        }
        let bad = verify_batch(&items, randomness, workers).err().map(|rejection| rejection.bad).unwrap_or_default();
        let mut verdicts: Vec<_> =
            parsed.iter().map(|parsed| parsed.as_ref().map(drop).map_err(Clone::clone)).collect();
        for (position, source) in bad {
            let (claim, partition) = places[position];
            if verdicts[claim].is_ok() {
                verdicts[claim] = Err(StatementRejection::Proof { partition, source });
            }
        }
        verdicts
    }

    fn parse(&self, claim: &Claim<'_>) -> Result<Parsed<'_>, StatementRejection> {
        let (circuit, inputs, proof) = match claim {
            Claim::Porep { statement, proof } => {
                (Circuit::Porep(statement.identity.sector_size), porep::public_inputs(statement), proof)
            }
            Claim::Post { statement, numbering, proof } => {
                let inputs = |statement: &PostStatement| post::public_inputs_numbered(statement, *numbering);
                let inputs = statement.partitions().iter().map(inputs).collect::<Result<Vec<_>, _>>()?;
                (post_circuit(statement), inputs, proof)
            }
            Claim::Update { statement, proof } => {
                let inputs = update::public_inputs(statement).into_iter().map(|inputs| inputs.to_vec()).collect();
                (Circuit::Update(statement.sector_size), inputs, proof)
            }
        };
        if inputs.is_empty() {
            return Err(StatementRejection::NoSectors);
        }
        let key = self.keys.get(&circuit).ok_or(StatementRejection::NoKey(circuit))?;
        Ok(Parsed { key, proofs: Proof::list_from_bytes(proof, inputs.len())?, inputs })
    }
}
