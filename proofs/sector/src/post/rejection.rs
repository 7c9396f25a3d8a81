//! Why a proof of spacetime does not hold: which sector, which challenge, and what was expected there.

use cairn_compute::NonCanonicalNode;
use cairn_protocol::{CommR, SectorNumber};

use crate::merkle::MerkleRejection;

/// A proof that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostRejection {
    /// The statement has no sectors, or more than a proof may have.
    #[error("expected 1 to {most} sectors in a {kind} proof, got {got}")]
    Statement {
        /// `window` or `winning`.
        kind: &'static str,
        /// Largest number allowed.
        most: usize,
        /// Sectors in the statement.
        got: usize,
    },
    /// The proof is about another number of sectors.
    #[error("expected proofs of {expected} sectors, got {got}")]
    Sectors {
        /// Sectors in the statement.
        expected: usize,
        /// Sectors in the proof.
        got: usize,
    },
    /// The proof is about another sector.
    #[error("sector at position {position}: expected sector {expected}, got {got}")]
    SectorNumber {
        /// Position in the proof.
        position: usize,
        /// Sector of the statement.
        expected: SectorNumber,
        /// Sector of the proof.
        got: SectorNumber,
    },
    /// The proof is about another replica.
    #[error("sector {sector}: expected CommR {expected}, got {got}")]
    CommR {
        /// The sector.
        sector: SectorNumber,
        /// Replica of the statement.
        expected: CommR,
        /// Replica that the proof names, or that its roots hash to.
        got: CommR,
    },
    /// A root that is no field element.
    #[error("sector {sector}: {source}")]
    NonCanonical {
        /// The sector.
        sector: SectorNumber,
        /// The bytes.
        source: NonCanonicalNode,
    },
    /// Wrong number of openings.
    #[error("sector {sector}: expected {expected} openings, got {got}")]
    Openings {
        /// The sector.
        sector: SectorNumber,
        /// Openings required.
        expected: usize,
        /// Openings found.
        got: usize,
    },
    /// One opening fails.
    #[error("sector {sector}, challenge {position} (leaf {leaf}): {reason}")]
    Opening {
        /// The sector.
        sector: SectorNumber,
        /// Position of the challenge.
        position: usize,
        /// The challenged leaf.
        leaf: u64,
        /// What is wrong.
        reason: MerkleRejection,
    },
}
