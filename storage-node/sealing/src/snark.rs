//! From a plain proof to a SNARK: the seam, and the prover of this machine behind it.
//!
//! A [`SnarkProver`] gets a statement and a plain proof that holds, and gives back the bytes that the ledger takes. It
//! may be this machine ([`CircuitSnarks`]) or a worker elsewhere, who needs time: [`SnarkError::NotYet`] says when to ask
//! again, and the pipeline goes on with other sectors. It checks every proof with the ledger's own verifier before it writes
//! it down.

use cairn_compute::Workers;
use cairn_protocol::Epoch;
use cairn_sector::porep::{PorepProof, PorepStatement};
use cairn_sector::post::{ChallengeNumbering, PostKind, PostProof, PostStatement};
use cairn_sector::update::{UpdateProof, UpdateStatement};
use cairn_snark::groth16::{Blinding, ProveError};
use cairn_snark::proving::{CircuitProver, StatementProveError};

/// Makes the proofs that the ledger takes.
pub trait SnarkProver: Send + Sync {
    /// Proves replication; `plain` proves the same statement.
    ///
    /// # Errors
    /// [`SnarkError`] says whether trying again may help.
    fn prove_porep(
        &self,
        statement: &PorepStatement,
        plain: &PorepProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError>;

    /// Proves storage of one partition's sectors; `plain` proves the same statement.
    ///
    /// # Errors
    /// [`SnarkError`] says whether trying again may help.
    fn prove_window_post(
        &self,
        statement: &PostStatement,
        plain: &PostProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError>;

    /// Proves new data in a sealed sector; `plain` proves the same statement. A prover that does not say how makes none.
    ///
    /// # Errors
    /// [`SnarkError`] says whether trying again may help.
    fn prove_update(
        &self,
        statement: &UpdateStatement,
        _plain: &UpdateProof,
        _workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        Err(no_updates(statement))
    }
}

fn no_updates(statement: &UpdateStatement) -> SnarkError {
    let size = statement.sector_size;
    SnarkError::Unavailable { reason: format!("it has no parameters for updates of sectors of {size}") }
}

/// No SNARK was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnarkError {
    /// The prover cannot work at the moment, or not on this statement. Another time or another prover may help.
    #[error("the prover cannot work: {reason}")]
    Unavailable {
        /// Its words.
        reason: String,
    },
    /// Somebody is at work. Asking again, with the same statement and plain proof, is how to get what they made.
    #[error("the proof is being made elsewhere; ask again at epoch {until}")]
    NotYet {
        /// When.
        until: Epoch,
    },
    /// The plain proof or the finished SNARK does not hold: somebody computed wrong.
    #[error("{reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
}

/// Fills a buffer with bytes that nobody can predict.
pub type RandomBytes = Box<dyn Fn(&mut [u8]) + Send + Sync>;

/// The circuits on this machine's processors.
pub struct CircuitSnarks {
    porep: CircuitProver,
    window_post: CircuitProver,
    update: Option<CircuitProver>,
    random: RandomBytes,
}

impl CircuitSnarks {
    /// From the provers of both circuits of a sector size that every network has. `random` blinds each proof.
    pub fn new(porep: CircuitProver, window_post: CircuitProver, random: RandomBytes) -> Self {
        Self { porep, window_post, update: None, random }
    }

    /// The same, with a prover of updates.
    pub fn with_updates(self, update: CircuitProver) -> Self {
        Self { update: Some(update), ..self }
    }

    fn blinding(&self) -> Blinding {
        let mut bytes = [0; 128];
        (self.random)(&mut bytes);
        Blinding::from_bytes(&bytes)
    }
}

impl SnarkProver for CircuitSnarks {
    fn prove_porep(
        &self,
        statement: &PorepStatement,
        plain: &PorepProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        Ok(self.porep.prove_porep(statement, plain, &mut || self.blinding(), workers)?)
    }

    fn prove_window_post(
        &self,
        statement: &PostStatement,
        plain: &PostProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        let numbering = ChallengeNumbering::of(PostKind::Window);
        Ok(self.window_post.prove_post(statement, plain, numbering, &mut || self.blinding(), workers)?)
    }

    fn prove_update(
        &self,
        statement: &UpdateStatement,
        plain: &UpdateProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        let update = self.update.as_ref().ok_or_else(|| no_updates(statement))?;
        Ok(update.prove_update(statement, plain, &mut || self.blinding(), workers)?)
    }
}

impl From<StatementProveError> for SnarkError {
    fn from(error: StatementProveError) -> Self {
        let reason = error.to_string();
        match error {
            StatementProveError::Porep(_) | StatementProveError::Post(_) | StatementProveError::Update(_) => {
                Self::Refused { reason }
            }
            StatementProveError::Prove { source: ProveError::Unsatisfied { .. } | ProveError::Unsound(_), .. } => {
                Self::Refused { reason }
            }
            _ => Self::Unavailable { reason },
        }
    }
}
