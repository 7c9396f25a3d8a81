//! Why a key file cannot be used: the disk refused, or the file is not what it should be.

use std::io;
use std::path::{Path, PathBuf};

use super::catalog::FileDigest;
use super::points::PointRejection;

/// Reading or writing a key file failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file system refused. Retrying helps once its cause (space, permission, device) is gone.
    #[error("cannot {operation} {}: {source}", file.display())]
    Io {
        /// What was tried: `open`, `read`, `write`, `sync`, `rename`, `map`.
        operation: &'static str,
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is wrong, or not to be trusted. It must be fetched or made again.
    #[error("{}: {source}", file.display())]
    Rejected {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: KeyFileRejection,
    },
}

/// What is wrong with a key file. Offsets are bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileRejection {
    /// The file ends early.
    #[error("byte {offset}: expected {expected} bytes of {what}, got {got} before the end of the file")]
    Truncated {
        /// Where the missing thing starts.
        offset: u64,
        /// What is missing, such as `a[17]`.
        what: String,
        /// Its bytes.
        expected: u64,
        /// Bytes there.
        got: u64,
    },
    /// The file goes on after its last part.
    #[error("byte {offset}: expected the end of the file after {what}, got more bytes")]
    Trailing {
        /// Where it should end.
        offset: u64,
        /// Its last part.
        what: String,
    },
    /// Bytes that are no point.
    #[error("byte {offset}, {what}: {source}")]
    Point {
        /// Where the point starts.
        offset: u64,
        /// Which point, such as `a[17]`.
        what: String,
        /// What is wrong with it.
        source: PointRejection,
    },
    /// A number that cannot be right, or belongs to another circuit.
    #[error("byte {offset}, {what}: expected {expected}, got {got}")]
    Value {
        /// Where the number lies.
        offset: u64,
        /// Which number, such as `number of points in a`.
        what: String,
        /// What it had to be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// The content differs from the published file of this name, or from the one that was marked.
    #[error("expected the published or marked file with digest {expected}, got one with digest {got}")]
    Digest {
        /// Digest of the published file, or of the file that was marked.
        expected: FileDigest,
        /// Digest of this file.
        got: FileDigest,
    },
    /// No file of this name was published.
    #[error("expected a file of Filecoin's parameter ceremony, got a name that is not among them")]
    Unpublished,
    /// A development key where only published ones are accepted.
    #[error("expected a published key, got a development key (marked by {mark}): anyone who made it can forge proofs")]
    Development {
        /// Name of the file that marks it.
        mark: String,
    },
}

/// Adds what was tried, and where, to an I/O error.
pub(crate) trait KeyIo<T> {
    fn at(self, operation: &'static str, file: &Path) -> Result<T, KeyFileError>;
}

impl<T> KeyIo<T> for io::Result<T> {
    fn at(self, operation: &'static str, file: &Path) -> Result<T, KeyFileError> {
        self.map_err(|source| KeyFileError::Io { operation, file: file.to_owned(), source })
    }
}

impl KeyFileRejection {
    /// This rejection, of this file.
    pub(crate) fn of(self, file: &Path) -> KeyFileError {
        KeyFileError::Rejected { file: file.to_owned(), source: self }
    }
}
