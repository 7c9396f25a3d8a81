//! What can go wrong while sealing or unsealing: the disk, or files that are not what they should be.

use std::io;
use std::path::{Path, PathBuf};

use cairn_compute::NonCanonicalNode;

use crate::pieces::PieceRejection;

/// Told after every step of a long computation: bytes done, bytes in total.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// A stage of sealing, or an unsealing, stopped. Files that were complete before are untouched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The file system refused. Retrying helps once its cause (space, permission, device) is gone.
    #[error("cannot {operation} {}: {source}", path.display())]
    Io {
        /// What was tried: `open`, `read`, `write`, `sync`, `rename`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file has another length than its place in the sector demands. The stage that makes it must run again.
    #[error("{}: expected {expected} bytes, got {got}", path.display())]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// Bytes required.
        expected: u64,
        /// Bytes found.
        got: u64,
    },
    /// A file holds something that is no field element; the file is damaged.
    #[error("{}, byte {}: {source}", path.display(), node * 32)]
    NonCanonicalNode {
        /// The file.
        path: PathBuf,
        /// Index of the node.
        node: u64,
        /// The bytes.
        source: NonCanonicalNode,
    },
    /// A commitment that was handed in is no field element.
    #[error("commitment: {source}")]
    Commitment {
        /// The bytes.
        source: NonCanonicalNode,
    },
    /// The pieces do not make a sector.
    #[error(transparent)]
    Piece(#[from] PieceRejection),
    /// A reader gave another number of bytes than announced.
    #[error("piece {index}: expected {expected} bytes of payload, got {got}")]
    PieceLength {
        /// Position in the list of pieces.
        index: usize,
        /// Bytes announced.
        expected: u64,
        /// Bytes read (one more than announced means "at least").
        got: u64,
    },
    /// Reading a piece failed.
    #[error("piece {index}: {source}")]
    PieceRead {
        /// Position in the list of pieces.
        index: usize,
        /// The reader's reason.
        source: io::Error,
    },
    /// A range that the sector does not have.
    #[error("expected a range within the sector's {sector} unpadded bytes, got offset {offset}, length {length}")]
    Range {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        length: u64,
        /// Unpadded bytes of the sector.
        sector: u64,
    },
    /// The receiver of unsealed bytes failed.
    #[error("cannot write the unsealed bytes: {source}")]
    Output {
        /// Its reason.
        source: io::Error,
    },
}

/// Adds what was tried, and where, to an I/O error.
pub(crate) trait IoContext<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, SealError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, SealError> {
        self.map_err(|source| SealError::Io { operation, path: path.to_owned(), source })
    }
}
