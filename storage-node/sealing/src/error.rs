//! What stops a stage, and what stops the pipeline.
//!
//! A [`StageError`] is about one sector: it is written into the sector's state with what to do about it. A
//! [`PipelineError`] is about the pipeline itself: the journal is out of reach, or the caller asked for what cannot be.

use std::io;
use std::path::PathBuf;

use cairn_protocol::{CommP, CommR, SectorNumber};
use cairn_sector::SealError;
use cairn_sector::pieces::PieceRejection;

use crate::digest::Damage;
use crate::file::SectorFile;
use crate::journal::JournalError;
use crate::ledger_client::LedgerClientError;
use crate::snark::SnarkError;
use crate::space::NoSpace;
use crate::stage::StagePart;
use crate::state::{FailureKind, Milestone};

/// A stage could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// Not enough free space; nothing was written.
    #[error("not enough space: {0}")]
    NoSpace(#[from] NoSpace),
    /// The file system refused.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Sealing arithmetic stopped.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A file cannot be read.
    #[error("unreadable {damage}")]
    Unreadable {
        /// File, offset and reason.
        damage: Damage,
    },
    /// A file was made again as often as allowed and is damaged again.
    #[error("damaged {damage}; it was made again {times} times before")]
    DamagedAgain {
        /// The damage.
        damage: Damage,
        /// Repairs before.
        times: u32,
    },
    /// The journal has no digests for a file that its state speaks of.
    #[error("the journal has no digests of {file}")]
    NoDigests {
        /// Which file.
        file: SectorFile,
    },
    /// A file made again from intact inputs differs from the first one.
    #[error("{file} made again differs from byte {offset} on: expected {expected}, got {got}")]
    FileChanged {
        /// Which file.
        file: SectorFile,
        /// Start of the first differing MiB.
        offset: u64,
        /// Digest of the recorded file.
        expected: String,
        /// Digest of the new one.
        got: String,
    },
    /// A commitment computed again differs from the one on record.
    #[error("{part} gave another {what}: expected {expected}, got {got}")]
    CommitmentChanged {
        /// The stage.
        part: StagePart,
        /// Which commitment.
        what: &'static str,
        /// The one on record.
        expected: String,
        /// The new one.
        got: String,
    },
    /// A piece cannot be had.
    #[error("piece {index}: {reason}")]
    PieceUnavailable {
        /// Position in the sector.
        index: usize,
        /// Why.
        reason: String,
    },
    /// A piece's bytes are not what was agreed on.
    #[error("piece {index} has other bytes than agreed: expected CommP {expected}, got {got}")]
    PieceMismatch {
        /// Position in the sector.
        index: usize,
        /// Agreed on.
        expected: CommP,
        /// Of the bytes that came.
        got: CommP,
    },
    /// A piece's length is not what was agreed on.
    #[error("piece {index}: expected {expected} bytes, got {got}")]
    PieceLength {
        /// Position in the sector.
        index: usize,
        /// Agreed on.
        expected: u64,
        /// Bytes that came, at least.
        got: u64,
    },
    /// The pieces do not make a sector.
    #[error(transparent)]
    Pieces(#[from] PieceRejection),
    /// The prover stopped.
    #[error("cannot prove: {reason}")]
    Prove {
        /// Its words.
        reason: String,
    },
    /// The prover gave no SNARK.
    #[error(transparent)]
    Snark(#[from] SnarkError),
    /// Our own verifier refused our own proof; the inputs were intact.
    #[error("our own proof does not verify: {reason}")]
    OwnProofRefused {
        /// The verifier's reason.
        reason: String,
    },
    /// The ledger gave no useful answer.
    #[error(transparent)]
    Ledger(#[from] LedgerClientError),
    /// A transaction of ours had no effect.
    #[error("the {what} was refused: {reason}")]
    TransactionFailed {
        /// Which.
        what: &'static str,
        /// The ledger's reason.
        reason: String,
    },
    /// The ledger has another replica under this number.
    #[error("the ledger has CommR {got} under this number, expected {expected}")]
    NumberTaken {
        /// Ours.
        expected: CommR,
        /// The ledger's.
        got: CommR,
    },
    /// The ledger no longer waits for this sector.
    #[error("the ledger closed the sector: {reason}")]
    LedgerClosed {
        /// Its reason.
        reason: String,
    },
    /// The journal failed; the state is what it was.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl StageError {
    /// The kind of cause.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::NoSpace(_) => FailureKind::NoSpace,
            Self::Io { source, .. } | Self::Seal(SealError::Io { source, .. }) if is_full(source) => {
                FailureKind::NoSpace
            }
            Self::Io { .. } | Self::Seal(SealError::Io { .. }) | Self::Unreadable { .. } | Self::Journal(_) => {
                FailureKind::Disk
            }
            Self::Seal(SealError::PieceRead { .. }) | Self::PieceUnavailable { .. } => FailureKind::PieceUnavailable,
            Self::PieceMismatch { .. } | Self::PieceLength { .. } | Self::Pieces(_) => FailureKind::PieceMismatch,
            Self::Seal(_) | Self::DamagedAgain { .. } | Self::NoDigests { .. } | Self::Prove { .. } => {
                FailureKind::Damaged
            }
            Self::FileChanged { .. } | Self::CommitmentChanged { .. } => FailureKind::NotReproducible,
            Self::Snark(SnarkError::Unavailable { .. } | SnarkError::NotYet { .. }) => FailureKind::ProverUnavailable,
            Self::Snark(SnarkError::Refused { .. }) | Self::OwnProofRefused { .. } => FailureKind::OwnProofRefused,
            Self::Ledger(LedgerClientError::Refused { .. }) | Self::TransactionFailed { .. } => {
                FailureKind::LedgerRefused
            }
            Self::Ledger(_) => FailureKind::LedgerUnavailable,
            Self::NumberTaken { .. } | Self::LedgerClosed { .. } => FailureKind::LedgerClosed,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

impl FailureKind {
    /// What to do about it.
    pub fn next_action(self) -> &'static str {
        match self {
            Self::NoSpace => "free space on the disk; the stage continues by itself",
            Self::Disk => {
                "make the path readable and writable, or delete a file that cannot be read (it is made again); \
                 the stage continues by itself"
            }
            Self::Damaged => "look at the disk and the memory of this machine, then retry the sector",
            Self::NotReproducible => {
                "this machine computes wrong: check memory and processor, then retry the sector elsewhere"
            }
            Self::PieceUnavailable => "bring the piece back; the stage continues by itself",
            Self::ProverUnavailable => "bring the prover or its parameters back; the stage continues by itself",
            Self::PieceMismatch => "transfer the piece again from the client, then retry the sector",
            Self::LedgerUnavailable => "none: it is tried again",
            Self::LedgerRefused => "remove the ledger's reason (funds, collateral, deal), then retry the sector",
            Self::LedgerClosed => "give the pieces a new sector number; this one cannot become active",
            Self::OwnProofRefused => {
                "this machine computes wrong or the ticket or seed is not the ledger's: nothing was sent; check \
                 memory, then retry the sector"
            }
        }
    }
}

/// The pipeline cannot do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The journal failed. The pipeline must stop: without it nothing may be done.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The folder of sectors cannot be used.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The ledger gave no useful answer.
    #[error(transparent)]
    Ledger(#[from] LedgerClientError),
    /// No such sector here.
    #[error("sector {sector} is not assigned")]
    UnknownSector {
        /// Which.
        sector: SectorNumber,
    },
    /// The number is in use for something else.
    #[error("sector {sector} is assigned already, with other pieces, size or proof")]
    AssignedDifferently {
        /// Which.
        sector: SectorNumber,
    },
    /// New data goes into finalized sectors that were sealed empty, and there must be some.
    #[error("sector {sector} takes no update: only a finalized one that was sealed empty takes pieces, at least one")]
    NotUpdatable {
        /// Which.
        sector: SectorNumber,
    },
    /// An update that the ledger has, or may get any moment, is not given up.
    #[error("the update of sector {sector} is handed in")]
    UpdateSent {
        /// Which.
        sector: SectorNumber,
    },
    /// The pieces do not make a sector.
    #[error("sector {sector}: {source}")]
    Pieces {
        /// Which.
        sector: SectorNumber,
        /// Why.
        source: PieceRejection,
    },
    /// A piece's payload does not fit its size.
    #[error(
        "sector {sector}, piece {index}: {payload_bytes} bytes of payload make no piece of {padded_bytes} padded bytes"
    )]
    PiecePayload {
        /// Which.
        sector: SectorNumber,
        /// Position in the sector.
        index: usize,
        /// Bytes of payload given.
        payload_bytes: u64,
        /// Padded size given.
        padded_bytes: u64,
    },
    /// The sector failed and needs a hand; its state says which.
    #[error("sector {sector}: {cause}; next: {next_action}")]
    Stopped {
        /// Which.
        sector: SectorNumber,
        /// The cause.
        cause: String,
        /// What to do.
        next_action: String,
    },
    /// The milestone was not reached in time; the sector goes on when asked again.
    #[error("sector {sector} is not {wanted:?} in time, it is {got:?}")]
    Timeout {
        /// Which.
        sector: SectorNumber,
        /// What was waited for.
        wanted: Milestone,
        /// Where the sector is.
        got: Milestone,
    },
    /// Somebody else works on the sector at the moment.
    #[error("sector {sector} is being worked on")]
    Busy {
        /// Which.
        sector: SectorNumber,
    },
    /// A file could not be made again.
    #[error("sector {sector}: {source}")]
    Repair {
        /// Which.
        sector: SectorNumber,
        /// Why.
        source: StageError,
    },
}
