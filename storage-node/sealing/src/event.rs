//! What the pipeline tells while it works: for progress bars, log lines and tests.
//!
//! An observer is called on the thread that works, in order for each sector; it should return quickly. Everything it
//! hears can also be read from the journal or the ledger later, so missing an event loses nothing.

use std::fmt;

use cairn_ledger::TransactionId;
use cairn_protocol::{Epoch, SectorNumber};

use crate::digest::Damage;
use crate::file::SectorFile;
use crate::stage::StagePart;
use crate::state::{Failure, FailureKind};
use crate::window_post::PostKey;

/// Receives events. See the module.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn observe(&self, event: &PipelineEvent);
}

/// Hears everything, says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _event: &PipelineEvent) {}
}

/// How far a stage is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageProgress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in total; never 0.
    pub total: u64,
    /// Seconds since the stage began.
    pub seconds: f64,
    /// Seconds to go at the mean speed so far; `None` before the first byte.
    pub eta_seconds: Option<f64>,
}

/// Which transaction an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmissionKind {
    /// Pre-commit of a sector.
    PreCommit,
    /// Prove-commit of a sector.
    ProveCommit,
    /// New data in a sector.
    Update,
}

impl fmt::Display for SubmissionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreCommit => "pre-commit",
            Self::ProveCommit => "prove-commit",
            Self::Update => "sector update",
        })
    }
}

/// An event of the pipeline. `Display` is one plain line.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant says what happened; fields are named after what they are")]
pub enum PipelineEvent {
    /// A stage begins; its inputs have not been checked yet.
    StageStarted { sector: SectorNumber, part: StagePart },
    /// The inputs of the stage are what the journal says.
    InputsChecked { sector: SectorNumber, part: StagePart },
    /// A stage computes.
    Progress { sector: SectorNumber, part: StagePart, progress: StageProgress },
    /// The stage's files are on disk; the journal does not know yet.
    FilesWritten { sector: SectorNumber, part: StagePart },
    /// The journal says that the stage is done. `seconds` are those of this run, `bytes` what it wrote.
    StageFinished { sector: SectorNumber, part: StagePart, seconds: f64, bytes: u64 },
    /// A transaction is about to be handed to the ledger.
    Submitting { sector: SectorNumber, kind: SubmissionKind },
    /// The ledger's node has the transaction; the journal does not know yet.
    Submitted { sector: SectorNumber, kind: SubmissionKind, transaction: TransactionId },
    /// The sector waits for the ledger.
    Waiting { sector: SectorNumber, part: StagePart, until: Epoch },
    /// The ticket is too old for a pre-commit; labelling starts again with a new one.
    TicketExpired { sector: SectorNumber, ticket_epoch: Epoch },
    /// A file is damaged; the stage that makes it runs again.
    DamageFound { sector: SectorNumber, damage: Damage },
    /// A damaged file is as it was; a SNARK is as good as it was.
    Repaired { sector: SectorNumber, file: SectorFile },
    /// A file that no later proof needs is gone.
    FileRemoved { sector: SectorNumber, file: SectorFile },
    /// A stage could not be done.
    Failed { sector: SectorNumber, failure: Failure },
    /// A window PoSt is made and verified; the journal does not know yet. `snark_seconds` of `seconds` were the SNARK's.
    PostProven { post: PostKey, sectors: Vec<SectorNumber>, seconds: f64, snark_seconds: f64 },
    /// A window PoSt is about to be handed to the ledger.
    PostSubmitting { post: PostKey },
    /// The ledger's node has the window PoSt; the journal does not know yet.
    PostSubmitted { post: PostKey, transaction: TransactionId },
    /// The ledger took the window PoSt.
    PostConfirmed { post: PostKey, sectors: Vec<SectorNumber> },
    /// A window PoSt could not be made or was refused.
    PostFailed { post: PostKey, reason: String },
    /// Sectors were declared faulty.
    FaultsDeclared { sectors: Vec<SectorNumber> },
    /// Sectors were declared recovered.
    RecoveryDeclared { sectors: Vec<SectorNumber> },
    /// An update of a sector has a new state, of this name.
    UpdateAdvanced { sector: SectorNumber, to: &'static str },
    /// A step of an update could not be done; it is tried again.
    UpdateFailed { sector: SectorNumber, kind: FailureKind, cause: String },
    /// Something outside any sector went wrong; it is tried again.
    Trouble { what: String },
}

impl fmt::Display for PipelineEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StageStarted { sector, part } => write!(f, "sector {sector}: {part} begins"),
            Self::InputsChecked { sector, part } => write!(f, "sector {sector}: inputs of {part} are intact"),
            Self::Progress { sector, part, progress } => {
                write!(f, "sector {sector}: {part} {:.0} %", 100.0 * progress.done as f64 / progress.total as f64)?;
                progress.eta_seconds.map_or(Ok(()), |eta| write!(f, ", {eta:.0} s to go"))
            }
            Self::FilesWritten { sector, part } => write!(f, "sector {sector}: files of {part} are on disk"),
            Self::StageFinished { sector, part, seconds, .. } => {
                write!(f, "sector {sector}: {part} done in {seconds:.2} s")
            }
            Self::Submitting { sector, kind } => write!(f, "sector {sector}: handing in the {kind}"),
            Self::Submitted { sector, kind, transaction } => {
                write!(f, "sector {sector}: {kind} handed in as {transaction}")
            }
            Self::Waiting { sector, part, until } => write!(f, "sector {sector}: {part} waits for epoch {until}"),
            Self::TicketExpired { sector, ticket_epoch } => {
                write!(f, "sector {sector}: the ticket of epoch {ticket_epoch} is too old, labelling starts again")
            }
            Self::DamageFound { sector, damage } => write!(f, "sector {sector}: damaged {damage}"),
            Self::Repaired { sector, file } => write!(f, "sector {sector}: {file} made again"),
            Self::FileRemoved { sector, file } => write!(f, "sector {sector}: {file} removed"),
            Self::Failed { sector, failure } => write!(
                f,
                "sector {sector}: {} failed (attempt {}): {}; next: {}",
                failure.stage, failure.attempts, failure.cause, failure.next_action
            ),
            Self::PostProven { post, sectors, seconds, .. } => {
                write!(f, "window PoSt {post}: {} sectors proven in {seconds:.2} s", sectors.len())
            }
            Self::PostSubmitting { post } => write!(f, "window PoSt {post}: handing in"),
            Self::PostSubmitted { post, transaction } => write!(f, "window PoSt {post}: handed in as {transaction}"),
            Self::PostConfirmed { post, .. } => write!(f, "window PoSt {post}: on the ledger"),
            Self::PostFailed { post, reason } => write!(f, "window PoSt {post}: {reason}"),
            Self::FaultsDeclared { sectors } => write!(f, "declared faulty: {}", list(sectors)),
            Self::RecoveryDeclared { sectors } => write!(f, "declared recovered: {}", list(sectors)),
            Self::UpdateAdvanced { sector, to } => write!(f, "sector {sector}: its update is {to}"),
            Self::UpdateFailed { sector, kind, cause } => {
                write!(f, "sector {sector}: its update failed: {cause}; next: {}", kind.next_action())
            }
            Self::Trouble { what } => f.write_str(what),
        }
    }
}

fn list(sectors: &[SectorNumber]) -> String {
    sectors.iter().map(|sector| sector.to_string()).collect::<Vec<_>>().join(", ")
}
