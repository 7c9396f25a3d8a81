//! Where bytes come from: memory, or a range of a plain file.
//!
//! Blocks and pieces are never materialised. Both are described by [`ByteSource`]s: a few bytes held in memory, or a
//! [`FileSlice`] that a server can hand to `sendfile`. A slice remembers the size and modification time the file had when it
//! was hashed ([`FileStamp`]); opening it checks both, so that bytes of a changed file are never served under the old name.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Size and modification time of a plain file at the moment it was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Size in bytes.
    pub size: u64,
    /// Modification time: whole seconds since 1970.
    pub modified_seconds: i64,
    /// Modification time: nanoseconds within the second.
    pub modified_nanos: u32,
}

impl FileStamp {
    /// The stamp in a file's metadata.
    pub fn of(metadata: &Metadata) -> FileStamp {
        let modified_nanos = u32::try_from(metadata.mtime_nsec()).unwrap_or_default();
        FileStamp { size: metadata.size(), modified_seconds: metadata.mtime(), modified_nanos }
    }
}

impl std::fmt::Display for FileStamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes, modified at {}.{:09}", self.size, self.modified_seconds, self.modified_nanos)
    }
}

/// Why bytes of a dataset could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file is not what was hashed. Retrying does not help: restore the file, or import it again (new CIDs).
    #[error("{path} has changed since it was imported: expected {expected}, got {got}", path = path.display())]
    Changed {
        /// The plain file.
        path: PathBuf,
        /// Its stamp at import.
        expected: FileStamp,
        /// Its stamp now.
        got: FileStamp,
    },
    /// The file ended early while it was being read, so somebody is changing it.
    #[error("{path} ended at byte {got}, expected at least {expected}", path = path.display())]
    Truncated {
        /// The plain file.
        path: PathBuf,
        /// Bytes it must have.
        expected: u64,
        /// Where it ended.
        got: u64,
    },
    /// The operating system refused. Retrying helps if the disk or the permission comes back.
    #[error("cannot read {path}: {error}", path = path.display())]
    Io {
        /// The plain file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl ReadError {
    pub(crate) fn io(path: &Path, error: io::Error) -> ReadError {
        ReadError::Io { path: path.to_owned(), error }
    }
}

/// A range of a plain file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSlice {
    /// The plain file.
    pub path: PathBuf,
    /// First byte.
    pub offset: u64,
    /// Number of bytes; `offset + len` never exceeds the stamped size.
    pub len: u64,
    /// What the file must look like.
    pub stamp: FileStamp,
}

impl FileSlice {
    /// Opens the file after checking that it still has the stamp of its import. The file's cursor stands at 0.
    pub fn open(&self) -> Result<File, ReadError> {
        open_stamped(&self.path, &self.stamp)
    }

    /// Reads the whole slice into memory; meant for single blocks.
    pub fn read(&self) -> Result<Bytes, ReadError> {
        let file = self.open()?;
        let mut bytes = vec![0; usize::try_from(self.len).expect("a slice that is read at once fits memory")];
        read_exact_at(&file, &self.path, self.offset, &mut bytes)?;
        Ok(bytes.into())
    }
}

/// Bytes in memory or in a plain file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByteSource {
    /// Bytes in memory: interior nodes, framing of archives.
    Inline(Bytes),
    /// A range of a plain file: a leaf.
    File(FileSlice),
}

impl ByteSource {
    /// Number of bytes.
    pub fn len(&self) -> u64 {
        match self {
            ByteSource::Inline(bytes) => bytes.len() as u64,
            ByteSource::File(slice) => slice.len,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes in memory; meant for single blocks, which are at most 2 MiB.
    pub fn read(&self) -> Result<Bytes, ReadError> {
        match self {
            ByteSource::Inline(bytes) => Ok(bytes.clone()),
            ByteSource::File(slice) => slice.read(),
        }
    }
}

/// Opens a file that must still have `expected` as its stamp.
pub(crate) fn open_stamped(path: &Path, expected: &FileStamp) -> Result<File, ReadError> {
    let file = File::open(path).map_err(|error| ReadError::io(path, error))?;
    let metadata = file.metadata().map_err(|error| ReadError::io(path, error))?;
    let got = FileStamp::of(&metadata);
    if got != *expected {
        return Err(ReadError::Changed { path: path.to_owned(), expected: *expected, got });
    }
    Ok(file)
}

/// Fills `buffer` from `offset`.
pub(crate) fn read_exact_at(file: &File, path: &Path, offset: u64, buffer: &mut [u8]) -> Result<(), ReadError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => {
                let expected = offset + buffer.len() as u64;
                return Err(ReadError::Truncated { path: path.to_owned(), expected, got: offset + filled as u64 });
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ReadError::io(path, error)),
        }
    }
    Ok(())
}
