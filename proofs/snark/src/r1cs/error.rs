//! What can go wrong with recorded matrices.

use std::io;
use std::path::PathBuf;

use bellman::SynthesisError;

/// Matrices cannot be written, read or trusted. Whatever it is, recording them again helps, unless the disk refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MatricesError {
    /// The system refused.
    #[error("cannot {action} {}: {source}", file.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// The file is something else.
    #[error("expected recorded matrices, got a file that begins with {got:?}")]
    Magic {
        /// Its first bytes.
        got: String,
    },
    /// Written by another version of this program.
    #[error("expected version {expected} of recorded matrices, got {got}")]
    Version {
        /// The version read here.
        expected: u32,
        /// The version found.
        got: u32,
    },
    /// The matrices of another circuit.
    #[error("expected the matrices of {expected}, got those of {got:?}")]
    Circuit {
        /// The circuit asked for.
        expected: String,
        /// What the file says.
        got: String,
    },
    /// The file is cut short, or longer than it says.
    #[error("expected {expected} bytes of recorded matrices, got {got}")]
    Length {
        /// Bytes that its header announces; the header's own if it is shorter than that.
        expected: u64,
        /// Bytes found.
        got: u64,
    },
    /// A part of the file is damaged.
    #[error("recorded matrices are damaged: the checksum of {part} does not match")]
    Checksum {
        /// Which part.
        part: String,
    },
    /// A part of the file has the right checksum and makes no sense.
    #[error("recorded matrices are malformed: constraint {row} in block {block}")]
    Malformed {
        /// The block.
        block: usize,
        /// The constraint.
        row: u64,
    },
    /// The tables of the file have the right checksum and make no sense.
    #[error("recorded matrices are malformed: {what}")]
    Tables {
        /// What about them.
        what: &'static str,
    },
    /// The circuit cannot be synthesised.
    #[error("the circuit cannot be synthesised: {0}")]
    Synthesis(#[from] SynthesisError),
}
