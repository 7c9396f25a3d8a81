//! Leave to serve: who is asked before the first byte of an answer, and told after the last one.
//!
//! A gateway has no opinion about who may read. It asks its [`Gatekeeper`], if it has one, once the object is found and the
//! number of bytes is known, and before anything about the object is said: a refusal comes before a 304, a 412 or a 416. What
//! it gets is a [`Leave`], whose [`Account`] hears at the end how many body bytes the socket took, also when the connection was
//! cut. An answer of unknown length asks again for each chunk. One answer, one leave: whether that means one payment is for
//! the gatekeeper to decide.
//!
//! That an object exists is no secret: what is not held is a 404 for everybody.

use std::fmt;
use std::sync::Arc;

use cairn_protocol::CommP;
use cid::Cid;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, StatusCode};

use cairn_content::PieceGroups;

use crate::signing::GroupClaim;
use crate::source::{ContentSource, DataEntry, PieceResource, Resource, SourceCounts, SourceError};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A file or folder, by a root and the names below it.
    Path {
        /// The root that was asked for, by CID or by name.
        root: Cid,
        /// Names joined by slashes; empty for the root itself.
        path: String,
        /// Root of the object's own graph, if it has one.
        cid: Option<Cid>,
    },
    /// A block, or the interior nodes below it.
    Block {
        /// Which.
        cid: Cid,
        /// Whether it holds bytes of a file, or only links to such.
        is_data: bool,
    },
    /// A piece, or a proof for a range of it.
    Piece(Cid),
}

/// A request, as far as leave depends on it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// GET or HEAD.
    pub method: &'a Method,
    /// Raw path.
    pub path: &'a str,
    /// Raw query.
    pub query: Option<&'a str>,
    /// Headers of the request.
    pub headers: &'a HeaderMap,
    /// The object.
    pub subject: &'a Subject,
    /// Body bytes of the answer; none: nobody knows yet, [`Account::more`] is asked for each chunk.
    pub bytes: Option<u64>,
    /// Says what is part of what ([`ContentSource::holds`]).
    pub source: &'a dyn ContentSource,
}

/// Why leave is not given.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable code for programs.
    pub code: &'static str,
    /// One line for people.
    pub message: String,
    /// Headers of the answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Leave to send one answer.
#[derive(Default)]
pub struct Leave {
    /// Headers that the answer carries besides its own.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Only for whoever asked: a cache that others share must not keep it.
    pub private: bool,
    /// Hears of the bytes. It is dropped when the answer is over.
    pub account: Option<Arc<dyn Account>>,
}

/// Counts the bytes of one answer.
pub trait Account: Send + Sync {
    /// Whether so many more bytes may be sent. Only answers of unknown length ask. May block.
    ///
    /// # Errors
    /// [`Refusal`]; the connection is then cut, or the answer is the refusal if nothing was sent yet.
    fn more(&self, bytes: u64) -> Result<(), Refusal>;

    /// So many body bytes were taken by the socket in all; told once, at the end.
    fn sent(&self, bytes: u64);
}

/// A request to an interface with keys of its own, S3 say: a key that was checked there, with what it opens, stands for a
/// token. The object is a file or folder of a dataset.
#[derive(Debug, Clone, Copy)]
pub struct AskedByKey<'a> {
    /// The key; none: a request without one.
    pub key: Option<KeyGrant<'a>>,
    /// Root of the dataset.
    pub root: &'a Cid,
    /// Names joined by slashes; empty for the root itself.
    pub path: &'a str,
    /// Root of the object's own graph, if it has one.
    pub cid: Option<&'a Cid>,
    /// Body bytes of the answer.
    pub bytes: u64,
}

/// A key that stands for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyGrant<'a> {
    /// Under which its bytes are counted.
    pub name: &'a str,
    /// Bytes that it may read in all.
    pub bytes_max: Option<u64>,
}

/// Gives leave to serve.
pub trait Gatekeeper: Send + Sync + 'static {
    /// Decides about one answer, before its first byte. May touch the disk for a moment.
    ///
    /// # Errors
    /// [`Refusal`], which is the answer.
    fn admit(&self, asked: &Asked<'_>) -> Result<Leave, Refusal>;

    /// Decides about an answer of an interface with keys of its own, before its first byte. May touch the disk for a moment.
    /// A gatekeeper that does not say how refuses them all.
    ///
    /// # Errors
    /// [`Refusal`]; the interface gives it a form that its clients know.
    fn admit_key(&self, _asked: &AskedByKey<'_>) -> Result<Leave, Refusal> {
        let message = "this gatekeeper knows no keys of other interfaces".to_owned();
        Err(Refusal { status: StatusCode::FORBIDDEN, code: "keys_not_taken", message, headers: Vec::new() })
    }

    /// Whether a block is served to nobody, in whatever archive or file it would stand.
    fn denies(&self, cid: &Cid) -> Option<Refusal>;
}

impl fmt::Debug for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leave").field("headers", &self.headers).field("private", &self.private).finish_non_exhaustive()
    }
}

/// A source without the blocks that are served to nobody.
pub(crate) struct Guarded {
    pub(crate) source: Arc<dyn ContentSource>,
    pub(crate) gate: Arc<dyn Gatekeeper>,
}

impl ContentSource for Guarded {
    fn piece(&self, comm_p: &CommP) -> Result<Option<PieceResource>, SourceError> {
        self.source.piece(comm_p)
    }

    fn dataset_by_name(&self, name: &str) -> Result<Option<Cid>, SourceError> {
        self.source.dataset_by_name(name)
    }

    fn data(&self, root: &Cid, path: &[String]) -> Result<Option<DataEntry>, SourceError> {
        self.source.data(root, path)
    }

    fn block(&self, cid: &Cid) -> Result<Option<Resource>, SourceError> {
        match self.gate.denies(cid) {
            Some(refusal) => Err(SourceError::Refused(refusal)),
            None => self.source.block(cid),
        }
    }

    fn piece_groups(&self, comm_p: &CommP) -> Result<Option<PieceGroups>, SourceError> {
        self.source.piece_groups(comm_p)
    }

    fn sign_group(&self, claim: &GroupClaim) -> Option<Vec<u8>> {
        self.source.sign_group(claim)
    }

    fn holds(&self, root: &Cid, block: &Cid) -> bool {
        self.source.holds(root, block)
    }

    fn counts(&self) -> SourceCounts {
        self.source.counts()
    }
}
