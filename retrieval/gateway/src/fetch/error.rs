//! What can go wrong in a fetch, and whose fault it is.
//!
//! A [`SourceFault`] belongs to one source and one attempt. Most do no harm: the fetcher tries again or goes elsewhere, and
//! the report lists them. Only when no source is left does a fault end a fetch.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use cairn_content::WalkRejection;
use cairn_protocol::CommP;
use cid::Cid;
use hyper::StatusCode;

use super::url::SourceUrl;

/// What one source did wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceFault {
    /// A leaf with wrong bytes. The source is not asked again in this fetch.
    #[error("sent a bad leaf: leaf {leaf} of {file:?}, expected {expected}, got {got}")]
    BadLeaf {
        /// Path of the file in the dataset; empty if the dataset is one file.
        file: String,
        /// Index of the leaf in its file, from 0.
        leaf: usize,
        /// CID that it must have.
        expected: Cid,
        /// CID that its bytes have.
        got: Cid,
    },
    /// An interior node with wrong bytes. The source is not asked again in this fetch.
    #[error("sent a bad block: {problem}")]
    BadBlock {
        /// The block that was asked for.
        expected: Cid,
        /// Expected and got.
        problem: String,
    },
    /// A whole piece with wrong bytes. The source is not asked again in this fetch.
    #[error("sent a bad piece: expected CommP {expected}, got {got}")]
    BadPiece {
        /// Commitment that it must have.
        expected: CommP,
        /// Commitment of its bytes.
        got: CommP,
    },
    /// A status that no repetition will change.
    #[error("answered {status} to {target}: {message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// Path asked for.
        target: String,
        /// First line of the answer's body.
        message: String,
    },
    /// A status that says: later.
    #[error("answered {status} to {target}")]
    Busy {
        /// The status.
        status: StatusCode,
        /// Path asked for.
        target: String,
        /// What `Retry-After` said.
        retry_after: Option<Duration>,
    },
    /// 200 to a request for a part, which would move the whole file for each part.
    #[error("ignored Range and answered 200 to {target}")]
    RangeIgnored {
        /// Path asked for.
        target: String,
    },
    /// Lengths or ranges that do not fit what was asked for.
    #[error("answered {target} with {problem}")]
    Mismatch {
        /// Path asked for.
        target: String,
        /// Expected and got.
        problem: String,
    },
    /// No connection.
    #[error("cannot be reached: {reason}")]
    Unreachable {
        /// What the system says.
        reason: String,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("broke off: {reason}")]
    Broken {
        /// What the connection says.
        reason: String,
    },
    /// Not a byte for too long.
    #[error("sent nothing for {after:?}")]
    Stalled {
        /// The limit that was reached.
        after: Duration,
    },
}

impl SourceFault {
    /// Whether the same request may succeed at the same source a little later.
    pub fn retry_helps(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unreachable { .. } | Self::Broken { .. } | Self::Stalled { .. })
    }
}

/// A fault and the source it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFailure {
    /// The source.
    pub source: SourceUrl,
    /// Its last fault.
    pub fault: SourceFault,
}

impl fmt::Display for SourceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.source, self.fault)
    }
}

/// A request that cannot be fulfilled as it stands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchRejection {
    /// No source was given.
    #[error("no source address was given")]
    NoSources,
    /// A limit that cannot work.
    #[error("fetch option {option}: expected {expected}")]
    Option {
        /// Name of the field.
        option: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The path asked for is not a valid path.
    #[error("{path:?} is no path in a dataset: empty names, `.` and `..` are not allowed")]
    Path {
        /// The path.
        path: String,
    },
    /// The path asked for does not exist in the dataset.
    #[error("{path:?} does not exist in dataset {root}")]
    NotInDataset {
        /// The path.
        path: String,
        /// The dataset.
        root: Cid,
    },
    /// The blocks are authentic but not a dataset that can be fetched.
    #[error("dataset {root}: {reason}")]
    Dataset {
        /// The dataset.
        root: Cid,
        /// What is wrong.
        reason: WalkRejection,
    },
    /// The data is larger than the caller allows.
    #[error("{what} has {got} bytes; at most {max} are allowed")]
    TooLarge {
        /// Dataset or piece.
        what: String,
        /// Limit in bytes.
        max: u64,
        /// Size in bytes.
        got: u64,
    },
    /// Something else is at the destination.
    #[error("{} exists and differs: {difference}; nothing was changed (allow overwriting to replace it)", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// How it differs.
        difference: String,
    },
    /// The CID is no PieceCID.
    #[error("{cid} is no piece: {reason}")]
    NotAPiece {
        /// The CID.
        cid: Cid,
        /// What is wrong.
        reason: String,
    },
}

/// Why a fetch ended without its data. What was verified stays on disk, and a later fetch continues there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The request cannot be fulfilled; repeating it does not help.
    #[error("{0}")]
    Rejected(Box<FetchRejection>),
    /// The local disk failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Every source failed.
    #[error("no source is left for {what}: {}", list(failures))]
    NoSourceLeft {
        /// File, block or piece that is missing.
        what: String,
        /// Each source with its last fault.
        failures: Vec<SourceFailure>,
    },
    /// A task of the fetch was lost, because the runtime is shutting down.
    #[error("the fetch was interrupted: {reason}")]
    Interrupted {
        /// What the runtime says.
        reason: String,
    },
}

impl From<FetchRejection> for FetchError {
    fn from(rejection: FetchRejection) -> Self {
        Self::Rejected(Box::new(rejection))
    }
}

impl FetchError {
    /// Whether the same fetch may succeed later: after freeing disk space, or when a source is back.
    pub fn retry_helps(&self) -> bool {
        match self {
            Self::Rejected(_) => false,
            Self::Disk { .. } | Self::Interrupted { .. } => true,
            Self::NoSourceLeft { failures, .. } => failures.iter().any(|failure| failure.fault.retry_helps()),
        }
    }

    /// Adapter for `map_err` around file operations.
    pub(crate) fn disk(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Disk { action, path, source }
    }
}

fn list(failures: &[SourceFailure]) -> String {
    failures.iter().map(SourceFailure::to_string).collect::<Vec<_>>().join("; ")
}
