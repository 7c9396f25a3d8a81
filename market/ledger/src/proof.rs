//! What the ledger asks about proofs, and who answers.
//!
//! The ledger knows no curve and no tree: it builds a statement from its own state and hands it, with the bytes that
//! arrived, to a [`ProofVerifier`]. The statement holds everything that a proof binds, so a verifier needs no state.
//!
//! All proofs of a block are handed over at once ([`ProofVerifier::verify_batch`]), because many together cost much less
//! than each alone. The answers are the same as one by one.

use std::collections::BTreeMap;

use cairn_protocol::{
    CommD, CommR, PieceInfo, PostRandomness, ProverId, SealProof, SectorNumber, SectorSize, Seed, Ticket,
};
use serde::{Deserialize, Serialize};

/// A replica of `comm_d` exists under `comm_r`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PorepStatement {
    /// Sector size.
    pub sector_size: SectorSize,
    /// Seal proof.
    pub seal_proof: SealProof,
    /// The prover.
    pub prover_id: ProverId,
    /// Sector number.
    pub sector_number: SectorNumber,
    /// Sealing randomness.
    pub ticket: Ticket,
    /// Interactive randomness; variants without interaction ignore it.
    pub seed: Seed,
    /// Commitment to the data, recomputed from the piece manifest.
    pub comm_d: CommD,
    /// Commitment to the replica.
    pub comm_r: CommR,
}

/// The replicas of one partition are still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowPostStatement {
    /// Sector size.
    pub sector_size: SectorSize,
    /// The prover.
    pub prover_id: ProverId,
    /// Challenge randomness of the deadline.
    pub randomness: PostRandomness,
    /// The sectors, ascending by number; at most `SectorParams::window_sectors_per_partition`.
    pub sectors: Vec<(SectorNumber, CommR)>,
}

/// A sector of zeros became one of `comm_d_new`, without losing what was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorUpdateStatement {
    /// Sector size.
    pub sector_size: SectorSize,
    /// The replica before.
    pub comm_r_old: CommR,
    /// Commitment to the new data, computed from the piece manifest.
    pub comm_d_new: CommD,
    /// The replica after.
    pub comm_r_new: CommR,
}

/// What a proof must show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ProofStatement {
    /// Replication of one sector.
    Porep(PorepStatement),
    /// Storage of one partition's sectors at this deadline.
    WindowPost(WindowPostStatement),
    /// New data in one sector.
    SectorUpdate(SectorUpdateStatement),
}

impl ProofStatement {
    /// How many sectors it lists with their commitments; what its job weighs, beyond the proof, whenever it is written.
    pub fn listed_sectors(&self) -> u64 {
        match self {
            Self::WindowPost(statement) => statement.sectors.len() as u64,
            Self::Porep(_) | Self::SectorUpdate(_) => 0,
        }
    }
}

/// A proof that arrived, with what it must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofClaim<'a> {
    /// From the ledger's state.
    pub statement: ProofStatement,
    /// As it arrived.
    pub proof: &'a [u8],
}

/// Names a verifying key by a digest of its file; which digest is the verifier's affair.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyDigest(pub String);

/// The keys that answers depend on, by the name of their circuit. A network fixes them at its start.
pub type VerifyingKeys = BTreeMap<String, KeyDigest>;

/// A proof is wrong, or a manifest makes no sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct ProofRejection {
    /// Which challenge, layer, opening or piece; expected and got.
    pub reason: String,
}

impl ProofRejection {
    /// Most characters of a reason that the ledger keeps.
    pub const REASON_CHARS_MAX: usize = 500;

    /// A rejection, its reason cut to what the ledger keeps.
    pub fn new(reason: impl AsRef<str>) -> Self {
        Self { reason: reason.as_ref().chars().take(Self::REASON_CHARS_MAX).collect() }
    }
}

/// Proof checks that the ledger asks for. Answers must depend on the arguments alone: every node gets the same ones.
pub trait ProofVerifier {
    /// The data commitment of a sector of `size` that holds `pieces` in this order, with alignment and zero padding.
    ///
    /// # Errors
    /// [`ProofRejection`] if the pieces do not fit.
    fn comm_d(&self, size: SectorSize, pieces: &[PieceInfo]) -> Result<CommD, ProofRejection>;

    /// Checks a proof of replication.
    ///
    /// # Errors
    /// [`ProofRejection`] says what is wrong.
    fn verify_porep(&self, statement: &PorepStatement, proof: &[u8]) -> Result<(), ProofRejection>;

    /// Checks a window proof-of-spacetime of one partition.
    ///
    /// # Errors
    /// [`ProofRejection`] says what is wrong.
    fn verify_window_post(&self, statement: &WindowPostStatement, proof: &[u8]) -> Result<(), ProofRejection>;

    /// Checks a sector update. A verifier that does not say how takes none.
    ///
    /// # Errors
    /// [`ProofRejection`] says what is wrong.
    fn verify_sector_update(&self, statement: &SectorUpdateStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        let (size, bytes) = (statement.sector_size, proof.len());
        Err(ProofRejection::new(format!("this network takes no updates of sectors ({size}, {bytes} bytes of proof)")))
    }

    /// Checks one proof of any kind.
    ///
    /// # Errors
    /// [`ProofRejection`] says what is wrong.
    fn verify(&self, claim: &ProofClaim<'_>) -> Result<(), ProofRejection> {
        match &claim.statement {
            ProofStatement::Porep(statement) => self.verify_porep(statement, claim.proof),
            ProofStatement::WindowPost(statement) => self.verify_window_post(statement, claim.proof),
            ProofStatement::SectorUpdate(statement) => self.verify_sector_update(statement, claim.proof),
        }
    }

    /// Checks many proofs together: one answer for each claim, in order, and each the one that [`Self::verify`] gives.
    fn verify_batch(&self, claims: &[ProofClaim<'_>]) -> Vec<Result<(), ProofRejection>> {
        claims.iter().map(|claim| self.verify(claim)).collect()
    }

    /// The keys that the answers depend on; none if they depend on no key.
    fn verifying_keys(&self) -> VerifyingKeys {
        VerifyingKeys::new()
    }
}
