//! What can be wrong: with what was given ([`EncryptionRejection`]) or with the world ([`EncryptionError`]).

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use thiserror::Error;

use crate::{KeyId, Recipient};

/// Something that was given is wrong; repeating does not help.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncryptionRejection {
    /// The file does not begin as an encrypted file does.
    #[error("{file} is no encrypted file: expected it to begin with {expected:?}, got {got:?}")]
    NotEncrypted {
        /// Which file.
        file: String,
        /// How an encrypted file begins.
        expected: &'static str,
        /// How this one begins.
        got: String,
    },
    /// A version that this program does not know.
    #[error("{what}: expected version {expected}, got {got}")]
    Version {
        /// Which file.
        what: String,
        /// The version of this program.
        expected: u64,
        /// The file's.
        got: u64,
    },
    /// A length that no encrypted file has.
    #[error("{file} is cut or padded: no encrypted file has {got} bytes ({why})")]
    Length {
        /// Which file.
        file: String,
        /// Its bytes.
        got: u64,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// The file is longer than numbers of 64 bits tell.
    #[error("a file of {plain_bytes} bytes is too long to encrypt")]
    TooLong {
        /// Its plain bytes.
        plain_bytes: u64,
    },
    /// Encrypted with another dataset key.
    #[error("{file} was encrypted with another key: expected the key {expected}, got {got}")]
    WrongKey {
        /// Which file.
        file: String,
        /// The key that it names.
        expected: KeyId,
        /// The key that was given.
        got: KeyId,
    },
    /// A frame does not open.
    #[error(
        "{file}: frame {frame} of {frames} (plain bytes {}-{}) is not what was encrypted there: changed, moved, cut, or of another file",
        .plain.start, .plain.end
    )]
    Frame {
        /// Which file.
        file: String,
        /// Which frame, from 0.
        frame: u64,
        /// How many the file has.
        frames: u64,
        /// The plain bytes that it should hold.
        plain: Range<u64>,
    },
    /// A range beyond the end.
    #[error("{file} has {size} plain bytes: range {start}..{end} is not in it")]
    Range {
        /// Which file.
        file: String,
        /// Its plain bytes.
        size: u64,
        /// First byte asked for.
        start: u64,
        /// First byte not asked for any more.
        end: u64,
    },
    /// A key file that is malformed.
    #[error("key file: {what}: expected {expected}, got {got}")]
    KeyFile {
        /// Which field.
        what: String,
        /// What it must be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// None of the identities was granted the key.
    #[error("the key {key} is granted to {granted} recipients, and to none of {}", list(.identities))]
    NotGranted {
        /// The dataset key.
        key: KeyId,
        /// How many recipients have it.
        granted: usize,
        /// Recipients that the given identities are.
        identities: Vec<Recipient>,
    },
    /// A wrapped key does not open, or holds something else.
    #[error("the key wrapped for {recipient} is damaged: {why}")]
    WrappedKey {
        /// For whom.
        recipient: Recipient,
        /// What happened.
        why: String,
    },
    /// Not a recipient of age.
    #[error("{got:?} is no recipient: expected age1 and 58 more characters ({why})")]
    Recipient {
        /// What was given.
        got: String,
        /// The decoder's reason.
        why: &'static str,
    },
    /// Not a file of age identities. What is in it is never shown.
    #[error("identities, line {line}: expected AGE-SECRET-KEY-1.., a comment or nothing ({why})")]
    Identity {
        /// Line, from 1.
        line: usize,
        /// The decoder's reason.
        why: &'static str,
    },
    /// A folder entry that cannot be encrypted, or a destination that is taken.
    #[error("{path}: {why}")]
    Entry {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

fn list(recipients: &[Recipient]) -> String {
    recipients.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Why something was not encrypted or decrypted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EncryptionError {
    /// What was given is wrong.
    #[error(transparent)]
    Rejected(#[from] EncryptionRejection),
    /// A file could not be read or written; repeating may help.
    #[error("cannot {doing} {path}: {source}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}
