//! What the gateway needs from a content store, and nothing more.
//!
//! The server asks four questions (a piece, a dataset's name, a path in a dataset, a block) and gets back sizes and
//! readers. A reader is positional and owned, so that a transfer never holds a lock of the store; it is called on the
//! blocking pool with buffers of bounded size. Whether its bytes come from one plain file, from many files with CAR
//! framing between them, or from memory is the store's affair.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use cairn_content::PieceGroups;
use cairn_protocol::{CommP, PaddedBytes};
use cid::Cid;

use crate::gate::Refusal;
use crate::signing::GroupClaim;

/// Reads bytes at any offset of an immutable object.
pub trait RangeReader: Send {
    /// Reads up to `buffer.len()` bytes at `offset`; fewer than asked for is allowed, none means the end.
    ///
    /// # Errors
    /// Those of the storage below.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The plain file that all bytes of the object stand in, one after the other, and where they begin, if that is so. The
    /// system can then send them without anybody reading them.
    fn plain_file(&self) -> Option<(&File, u64)> {
        None
    }

    /// Says which bytes will be asked for, in order, so that a reader that fetches from afar asks neither in small bits nor for
    /// more than is wanted. A hint; other bytes may be read all the same.
    fn expect(&mut self, _bytes: Range<u64>) {}
}

/// A [`RangeReader`] over anything that can seek and read. It seeks only when the reads are not consecutive.
#[derive(Debug)]
pub struct Seekable<R> {
    inner: R,
    position: Option<u64>,
}

impl<R: Read + Seek> Seekable<R> {
    /// Wraps a reader at any position.
    pub fn new(inner: R) -> Self {
        Self { inner, position: None }
    }
}

impl<R: Read + Seek + Send> RangeReader for Seekable<R> {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position != Some(offset) {
            self.position = None;
            self.inner.seek(SeekFrom::Start(offset))?;
        }
        let count = self.inner.read(buffer)?;
        self.position = Some(offset + count as u64);
        Ok(count)
    }
}

/// Bytes that can be served: how many, and where they come from.
pub struct Resource {
    /// Exact length in bytes.
    pub bytes: u64,
    /// Their reader.
    pub reader: Box<dyn RangeReader>,
}

impl Resource {
    /// Bytes in memory.
    pub fn of_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Self { bytes: bytes.as_ref().len() as u64, reader: Box::new(Seekable::new(Cursor::new(bytes))) }
    }
}

/// A piece, as raw unpadded bytes.
pub struct PieceResource {
    /// The commitment to its padded form.
    pub comm_p: CommP,
    /// Its size in a sector.
    pub padded: PaddedBytes,
    /// Its payload.
    pub resource: Resource,
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderEntry {
    /// Name without its folder.
    pub name: String,
    /// Whether it is a file, and then its root block and size in bytes.
    pub file: Option<(Cid, u64)>,
}

/// What a path of a dataset leads to.
pub enum DataEntry {
    /// A file: the root block of its DAG, and its bytes.
    File {
        /// Its name without folders, for the content type.
        name: String,
        /// Root of the file's DAG; it names the bytes for ever.
        cid: Cid,
        /// The bytes.
        resource: Resource,
    },
    /// A folder: its names in ascending order.
    Folder(Vec<FolderEntry>),
}

/// How much a store holds, for `/health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceCounts {
    /// Datasets.
    pub datasets: u64,
    /// Pieces.
    pub pieces: u64,
}

/// The store failed, not the request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file cannot be opened or read. Retrying helps only after someone has looked at the disk.
    #[error("cannot read {}: {source}", path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The store found its own data damaged.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// Which object.
        what: String,
        /// Expected and got.
        detail: String,
    },
    /// Held, and served to nobody.
    #[error(transparent)]
    Refused(Refusal),
    /// What the bytes come from is busy or away. Retrying helps.
    #[error("not to be had at the moment: {detail}")]
    Unavailable {
        /// What happened.
        detail: String,
        /// Seconds to wait.
        retry_after_seconds: u64,
    },
    /// What the bytes come from gave other bytes than those asked for. Retrying helps once it is repaired.
    #[error("{detail}")]
    Upstream {
        /// Which object; expected and got.
        detail: String,
    },
}

impl SourceError {
    /// The failure of a [`RangeReader`]: the one that it carries, or else damage of `what`.
    pub fn of_read(error: io::Error, what: impl Into<String>) -> Self {
        let damaged = |error: io::Error| Self::Damaged { what: what.into(), detail: error.to_string() };
        error.downcast::<Self>().unwrap_or_else(damaged)
    }
}

/// A content store as the gateway sees it. Every method may touch the disk and is called on the blocking pool.
pub trait ContentSource: Send + Sync + 'static {
    /// A piece by its commitment; `None` if it is not here.
    ///
    /// # Errors
    /// [`SourceError`] if it should be here but cannot be opened.
    fn piece(&self, comm_p: &CommP) -> Result<Option<PieceResource>, SourceError>;

    /// The root of a dataset by its registered name.
    ///
    /// # Errors
    /// [`SourceError`] if the register cannot be read.
    fn dataset_by_name(&self, name: &str) -> Result<Option<Cid>, SourceError>;

    /// What a path in a dataset leads to; `path` holds decoded names and is empty for the root itself.
    ///
    /// # Errors
    /// [`SourceError`] if it is listed but cannot be opened.
    fn data(&self, root: &Cid, path: &[String]) -> Result<Option<DataEntry>, SourceError>;

    /// One block, interior node or leaf, by its CID.
    ///
    /// # Errors
    /// [`SourceError`] if it is listed but cannot be opened.
    fn block(&self, cid: &Cid) -> Result<Option<Resource>, SourceError>;

    /// The groups of a piece, from which range proofs are made; `None` if it is not here, or if this source makes no proofs.
    ///
    /// # Errors
    /// [`SourceError`] if it should be here but cannot be read.
    fn piece_groups(&self, _comm_p: &CommP) -> Result<Option<PieceGroups>, SourceError> {
        Ok(None)
    }

    /// Signs for a group of a piece that is about to be sent; `None` if nobody here signs for a provider.
    fn sign_group(&self, _claim: &GroupClaim) -> Option<Vec<u8>> {
        None
    }

    /// Whether a block is part of a dataset that is held. What does not know says no: then a grant for a dataset does not
    /// open its blocks one by one.
    fn holds(&self, _root: &Cid, _block: &Cid) -> bool {
        false
    }

    /// How much is held.
    fn counts(&self) -> SourceCounts;
}
