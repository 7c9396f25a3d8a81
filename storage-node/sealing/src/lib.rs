//! Sealing: sectors from their pieces to the last proof, on machines that fail.
//!
//! A provider gives a [`Pipeline`] its pieces as an [`Assignment`] and gets back a sector that is on the ledger, active,
//! and proven at each of its deadlines. Between lie hours of work, so nothing may be lost and nothing damaged may go
//! unnoticed:
//!
//! - Where a sector stands is one value ([`SectorState`]) in a [`Journal`]; files are durable before it speaks of them.
//!   A process killed at any moment continues from there.
//! - Every file has digests ([`FileDigests`]). They are checked before the file is used; what is damaged is named by
//!   file and offset, and only the stage that makes it runs again ([`SectorFile::maker`]).
//! - A stage that cannot be done says why and what to do ([`Failure`]); what is done stays done.
//!
//! The world is handed in: the ledger as [`LedgerClient`], pieces as [`PieceSource`], SNARKs as [`SnarkProver`], threads
//! as [`cairn_compute::Workers`], progress as [`Observer`]. [`ProviderLedger`] is the client over a real ledger
//! (and [`MarketLedger`], for those who win deals),
//! [`CircuitSnarks`] the prover on this machine, [`Groth16ProofVerifier`] the checks that a ledger asks for, and that
//! every proof passes before it leaves.
//!
//! Reading order: [`state`], [`stage`], [`file`], [`journal`], [`pipeline`], [`snark`], [`window_post`], [`sector_update`].

#![forbid(unsafe_code)]

pub mod digest;
pub mod durable;
pub mod error;
pub mod event;
pub mod file;
pub mod journal;
pub mod ledger_client;
pub mod market_ledger;
pub mod piece_source;
pub mod pipeline;
pub mod provider_ledger;
pub mod requests;
pub mod sector_update;
pub mod snark;
pub mod space;
pub mod stage;
pub mod state;
pub mod verifier;
pub mod window_post;

pub use digest::{Damage, DamageKind, FileDigests};
pub use error::{PipelineError, StageError};
pub use event::{Observer, PipelineEvent, Silent, StageProgress, SubmissionKind};
pub use file::SectorFile;
pub use journal::{Journal, JournalError};
pub use ledger_client::{
    DrawnTicket, DutyStatus, LedgerClient, LedgerClientError, LedgerHealth, LedgerSector, PostDuty, SubmissionStatus,
};
pub use market_ledger::{MarketLedger, OpenOrder, WaitingDeal};
pub use piece_source::{PieceSource, PieceSourceError};
pub use pipeline::{Pipeline, PipelineOptions, PipelineParts, PostProgress, Progress, Running, UpdateProgress};
pub use provider_ledger::{LedgerPort, PortRejection, ProviderLedger};
pub use requests::Request;
pub use sector_update::{EncodedUpdate, UpdateRecord, UpdateState};
pub use snark::{CircuitSnarks, RandomBytes, SnarkError, SnarkProver};
pub use stage::{Stage, StagePart};
pub use state::{
    Assignment, Challenged, Failure, FailureKind, Milestone, Repair, SealInputs, Sealed, SectorPiece, SectorRecord,
    SectorState, Sent, StageTiming,
};
pub use verifier::{Groth16ProofVerifier, NetworkCircuits};
pub use window_post::{PostKey, PostRecord, PostState};
