//! What is wrong with a request, and the answer it gets.
//!
//! Every refusal is JSON: `error` is a stable code for programs, `message` one line for people, `what` the path asked
//! for. None is ever cached: an object that is missing now may be stored in a minute.

use hyper::StatusCode;

use crate::gate::Refusal;
use crate::path::PathRejection;
use crate::source::SourceError;

/// Why the gateway refuses a request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestRejection {
    /// No such route.
    #[error("no such route; this gateway serves /piece, /data, /ipfs and /health")]
    Route,
    /// Another method than GET and HEAD.
    #[error("only GET and HEAD are allowed")]
    Method,
    /// An HTTP/1.1 request without exactly one `Host`.
    #[error("an HTTP/1.1 request must carry exactly one Host header")]
    Host,
    /// The path is longer than the limit, in bytes.
    #[error("the request target has {got} bytes, at most {max} are read")]
    TargetTooLong {
        /// Limit in bytes.
        max: usize,
        /// Bytes sent.
        got: usize,
    },
    /// The path is not well formed.
    #[error(transparent)]
    Path(#[from] PathRejection),
    /// The text is no CID of the kind that the route takes.
    #[error("expected {expected}: {detail}")]
    Cid {
        /// Kind of CID.
        expected: &'static str,
        /// What is wrong with the one that came.
        detail: String,
    },
    /// Nothing by that name is held here.
    #[error("{kind} not found here")]
    NotFound {
        /// Kind of object.
        kind: &'static str,
    },
    /// Nothing by that name is held here, and the client wants nothing fetched (`only-if-cached`).
    #[error("{kind} not held here, and Cache-Control: only-if-cached forbids to look further")]
    NotCached {
        /// Kind of object.
        kind: &'static str,
    },
    /// The piece is held with another payload length than its version 2 CID says.
    #[error("the piece is held with a payload of {held} bytes; the CID asks for {asked}")]
    PayloadLength {
        /// Bytes held.
        held: u64,
        /// Bytes in the CID.
        asked: u64,
    },
    /// A signature is asked for, and nobody here signs.
    #[error("this gateway signs for no provider")]
    Unsigned,
    /// `/ipfs` with a format that is not served.
    #[error("format {format:?} is not served here for this content; raw, car and files are")]
    Format {
        /// Format asked for.
        format: String,
    },
    /// The graph is held, but cannot be followed.
    #[error("the graph cannot be followed: {reason}")]
    Graph {
        /// Which block, and why.
        reason: String,
    },
    /// A query parameter with a value out of range.
    #[error("query parameter {name}: {expected}")]
    Query {
        /// Name of the parameter.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// The interior nodes are too many for one answer.
    #[error("the interior nodes have more than {max} bytes; ask for the files or folders below one by one")]
    OutboardTooLarge {
        /// Most bytes of an answer.
        max: usize,
    },
    /// `If-Match` names other bytes.
    #[error("If-Match does not name the entity tag {etag}")]
    Precondition {
        /// Current tag, with quotes.
        etag: String,
    },
    /// The range starts past the end.
    #[error("the range lies outside the {bytes} bytes of the object")]
    Range {
        /// Bytes of the object.
        bytes: u64,
    },
    /// Too much is going on.
    #[error("the limit of {limit} {what} is reached; try again after {retry_after_seconds} s")]
    Busy {
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// Seconds to wait.
        retry_after_seconds: u64,
    },
    /// The gatekeeper gives no leave.
    #[error(transparent)]
    Refused(Refusal),
    /// The store failed. The detail goes to the log only: it may name paths of this machine.
    #[error("the object is held here but cannot be read at the moment")]
    Store(SourceError),
}

impl From<SourceError> for RequestRejection {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Refused(refusal) => Self::Refused(refusal),
            error => Self::Store(error),
        }
    }
}

impl RequestRejection {
    /// HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Route | Self::Unsigned | Self::NotFound { .. } | Self::PayloadLength { .. } => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TargetTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::OutboardTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Host | Self::Path(_) | Self::Cid { .. } | Self::Query { .. } => StatusCode::BAD_REQUEST,
            Self::Format { .. } => StatusCode::NOT_ACCEPTABLE,
            Self::Graph { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotCached { .. } | Self::Precondition { .. } => StatusCode::PRECONDITION_FAILED,
            Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(refusal) => refusal.status,
            Self::Store(SourceError::Unavailable { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(SourceError::Upstream { .. }) => StatusCode::BAD_GATEWAY,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Route => "no_such_route",
            Self::Method => "method_not_allowed",
            Self::Host => "bad_host",
            Self::TargetTooLong { .. } => "target_too_long",
            Self::Path(_) => "bad_path",
            Self::Cid { .. } => "bad_cid",
            Self::NotFound { .. } => "not_found",
            Self::Unsigned => "not_signed",
            Self::NotCached { .. } => "not_cached",
            Self::PayloadLength { .. } => "payload_length_differs",
            Self::Format { .. } => "format_not_served",
            Self::Graph { .. } => "bad_graph",
            Self::Query { .. } => "bad_query",
            Self::OutboardTooLarge { .. } => "outboard_too_large",
            Self::Precondition { .. } => "precondition_failed",
            Self::Range { .. } => "range_not_satisfiable",
            Self::Busy { .. } => "busy",
            Self::Refused(refusal) => refusal.code,
            Self::Store(SourceError::Unavailable { .. }) => "origin_unavailable",
            Self::Store(SourceError::Upstream { .. }) => "origin_damaged",
            Self::Store(_) => "storage_failed",
        }
    }
}
