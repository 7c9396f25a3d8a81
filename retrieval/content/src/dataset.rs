//! A dataset: plain files, and the graph that names their bytes.
//!
//! Invariants
//! - `root` follows from names, sizes and leaf digests alone; two machines with the same files have the same root.
//! - Files are sorted by path components; their numbers in [`Dataset::files`] never change.
//! - A dataset is immutable. A file that changes on disk does not change the dataset: reading it fails instead.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_protocol::UnpaddedBytes;
use cid::Cid;

use crate::block::{BlockId, Codec, LEAF_BYTES};
use crate::dag::{self, Block, Dag, FileLeaves, Place, Tree};
use crate::hash::{self, Input};
use crate::piece::{self, LayoutRejection, PieceLayout};
use crate::scan::{self, ImportRejection, Scan, ScanError, Selection, Skipped};
use crate::source::{ByteSource, FileSlice, FileStamp, ReadError};

/// How a dataset is made.
#[derive(Clone, Copy)]
pub struct ImportOptions<'a> {
    /// Which entries of a folder are taken. Default: as `ipfs-car pack --no-wrap`.
    pub selection: Selection,
    /// Threads that hash, the calling one included. Default: 1. Each needs 1 MiB.
    pub workers: NonZeroUsize,
    /// Called now and then, from any of the threads, with bytes hashed and bytes in all. Default: nothing.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
}

impl Default for ImportOptions<'_> {
    fn default() -> Self {
        ImportOptions { selection: Selection::default(), workers: NonZeroUsize::MIN, progress: &|_, _| {} }
    }
}

impl std::fmt::Debug for ImportOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportOptions")
            .field("selection", &self.selection)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

/// Why a path did not become a dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The content is not acceptable. Change it and import again.
    #[error(transparent)]
    Rejected(#[from] ImportRejection),
    /// A file changed while it was hashed, or could not be read. Retrying helps once nobody writes to it any more.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A folder could not be listed.
    #[error("cannot list {path}: {error}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl From<ScanError> for ImportError {
    fn from(error: ScanError) -> ImportError {
        match error {
            ScanError::Rejected(rejection) => ImportError::Rejected(rejection),
            ScanError::Io { path, error } => ImportError::Io { path, error },
        }
    }
}

/// Why plain files are not the dataset any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A leaf has other bytes.
    #[error("{path} is damaged at byte {offset}: expected leaf {expected}, got {got}", path = path.display())]
    Leaf {
        /// The plain file.
        path: PathBuf,
        /// First byte of the leaf.
        offset: u64,
        /// Name of the leaf.
        expected: Cid,
        /// Name of the bytes that are there.
        got: Cid,
    },
    /// A file is missing, has another size, or cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Whether a dataset is one file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatasetKind {
    /// The root CID names a file; the dataset has exactly one entry.
    File,
    /// The root CID names a folder.
    Folder,
}

/// One file of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Path within the dataset, components joined by `/`. In a dataset that is a single file: the name of that file, which
    /// is not part of the graph.
    pub path: String,
    /// CID of the file's own graph: a raw leaf, or a dag-pb node above 1 MiB.
    pub cid: Cid,
    /// Size in bytes.
    pub size: u64,
    /// Size and modification time when it was hashed.
    pub stamp: FileStamp,
    leaves: Vec<[u8; 32]>,
}

impl FileEntry {
    pub(crate) fn new(path: String, cid: Cid, stamp: FileStamp, leaves: Vec<[u8; 32]>) -> FileEntry {
        FileEntry { path, cid, size: stamp.size, stamp, leaves }
    }

    /// CIDs of the leaves: leaf `i` holds the bytes from `i` times [`LEAF_BYTES`]. An empty file has one empty leaf.
    pub fn leaves(&self) -> impl ExactSizeIterator<Item = Cid> + '_ {
        self.leaves.iter().map(|digest| BlockId { codec: Codec::Raw, digest: *digest }.cid())
    }

    /// SHA-256 of each leaf.
    pub fn leaf_digests(&self) -> &[[u8; 32]] {
        &self.leaves
    }
}

/// A dataset.
#[derive(Debug)]
pub struct Dataset {
    name: String,
    base: PathBuf,
    kind: DatasetKind,
    files: Vec<FileEntry>,
    empty_folders: Vec<String>,
    skipped: Vec<Skipped>,
    dag: Dag,
}

impl Dataset {
    /// Hashes a file or folder, once, and builds the graph. Nothing is copied or written; the dataset refers to the files
    /// where they are. Its name is the name of `path`.
    pub fn import(path: &Path, options: &ImportOptions<'_>) -> Result<Dataset, ImportError> {
        let scan = scan::scan(path, options.selection)?;
        Dataset::from_scan(scan, name_of(path), options.workers, options.progress)
    }

    pub(crate) fn from_scan(
        scan: Scan,
        name: String,
        workers: NonZeroUsize,
        progress: hash::Progress<'_>,
    ) -> Result<Dataset, ImportError> {
        let inputs: Vec<Input> =
            scan.files.iter().map(|found| Input { path: scan.base.join(&found.path), stamp: found.stamp }).collect();
        let leaves = hash::leaves(&inputs, workers, progress)?;
        let sized: Vec<FileLeaves<'_>> =
            inputs.iter().zip(&leaves).map(|(input, digests)| FileLeaves { size: input.stamp.size, digests }).collect();
        let dag = dag::build(&scan.tree, &sized)
            .map_err(|collision| ImportRejection::NameCollision { first: collision.first, second: collision.second })?;
        let files = scan.files.into_iter().zip(leaves).zip(&dag.file_roots);
        let files = files.map(|((found, leaves), root)| FileEntry::new(found.path, root.cid(), found.stamp, leaves));
        let mut dataset = Dataset::assemble(name, scan.base, &scan.tree, files.collect(), dag);
        dataset.skipped = scan.skipped;
        Ok(dataset)
    }

    pub(crate) fn assemble(name: String, base: PathBuf, tree: &Tree, files: Vec<FileEntry>, dag: Dag) -> Dataset {
        let kind = if matches!(tree, Tree::File(_)) { DatasetKind::File } else { DatasetKind::Folder };
        let empty_folders = tree.empty_folders();
        Dataset { name, base, kind, files, empty_folders, skipped: Vec::new(), dag }
    }

    /// The root CID, equal to the one of `ipfs-car pack --no-wrap` (for [`Selection::IpfsCar`]).
    pub fn root(&self) -> Cid {
        self.dag.root.cid()
    }

    /// A name for people. Not part of the graph.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same dataset under another name.
    pub fn with_name(mut self, name: impl Into<String>) -> Dataset {
        self.name = name.into();
        self
    }

    /// Whether the root is a file or a folder.
    pub fn kind(&self) -> DatasetKind {
        self.kind
    }

    /// Folder that the paths of the files are relative to.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The files, sorted by path components.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Paths of folders without entries. Only [`Selection::Exact`] keeps them.
    pub fn empty_folders(&self) -> &[String] {
        &self.empty_folders
    }

    /// What the import left out, sorted by path. Empty for a dataset that was loaded from its index.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Sum of the file sizes in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The file at `path`. A dataset that is a single file answers to its own name and to the empty path.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        if self.kind == DatasetKind::File && path.is_empty() {
            return self.files.first();
        }
        let place = self.files.binary_search_by(|file| file.path.split('/').cmp(path.split('/')));
        place.ok().map(|number| &self.files[number])
    }

    /// The file's bytes as a whole.
    pub fn slice(&self, file: &FileEntry) -> FileSlice {
        FileSlice { path: self.base.join(&file.path), offset: 0, len: file.size, stamp: file.stamp }
    }

    /// Where the bytes of a block are: interior nodes in memory, leaves in plain files. Nothing is read or checked yet.
    pub fn block(&self, cid: &Cid) -> Option<ByteSource> {
        let id = BlockId::try_from(cid).ok()?;
        let position = *self.dag.positions.get(&id)?;
        Some(self.source(&self.dag.blocks[position as usize]))
    }

    /// All blocks in depth-first pre-order, each once, at its first visit.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = (BlockId, ByteSource)> + '_ {
        self.dag.blocks.iter().map(|block| (block.id, self.source(block)))
    }

    pub(crate) fn dag_blocks(&self) -> &[Block] {
        &self.dag.blocks
    }

    pub(crate) fn source(&self, block: &Block) -> ByteSource {
        match &block.place {
            Place::Node(bytes) => ByteSource::Inline(bytes.clone()),
            Place::Leaf { .. } if block.len == 0 => ByteSource::Inline(bytes::Bytes::new()),
            Place::Leaf { file, leaf } => {
                ByteSource::File(self.leaf_slice(*file, u64::from(*leaf) * LEAF_BYTES, u64::from(block.len)))
            }
        }
    }

    pub(crate) fn leaf_slice(&self, file: u32, offset: u64, len: u64) -> FileSlice {
        FileSlice { offset, len, ..self.slice(&self.files[file as usize]) }
    }

    /// Cuts the dataset into pieces of at most `max` bytes, each a CARv1. The cut depends on the dataset and on `max` alone.
    /// For a sector of size `s` pass `s.unpadded()`.
    pub fn pieces(self: &Arc<Self>, max: UnpaddedBytes) -> Result<Vec<PieceLayout>, LayoutRejection> {
        piece::plan(self, max)
    }

    /// Hashes all files again and compares every leaf. Modification times may differ, sizes and bytes may not.
    pub fn verify(&self, workers: NonZeroUsize, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<(), VerifyError> {
        self.verified_stamps(workers, progress).map(drop)
    }

    /// [`Dataset::verify`], giving the stamps that the files have now.
    pub(crate) fn verified_stamps(
        &self,
        workers: NonZeroUsize,
        progress: hash::Progress<'_>,
    ) -> Result<Vec<FileStamp>, VerifyError> {
        let mut inputs = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let path = self.base.join(&file.path);
            let metadata = std::fs::metadata(&path).map_err(|error| ReadError::io(&path, error))?;
            let stamp = FileStamp::of(&metadata);
            if stamp.size != file.size {
                return Err(ReadError::Changed { path, expected: file.stamp, got: stamp }.into());
            }
            inputs.push(Input { path, stamp });
        }
        let leaves = hash::leaves(&inputs, workers, progress)?;
        for ((file, input), got) in self.files.iter().zip(&inputs).zip(&leaves) {
            compare(file, &input.path, got)?;
        }
        Ok(inputs.iter().map(|input| input.stamp).collect())
    }

    /// The same dataset over files that were just verified.
    pub(crate) fn restamped(&self, stamps: &[FileStamp]) -> Dataset {
        let mut files = self.files.clone();
        for (file, stamp) in files.iter_mut().zip(stamps) {
            file.stamp = *stamp;
        }
        let dag = self.dag.clone();
        let (name, base) = (self.name.clone(), self.base.clone());
        let empty_folders = self.empty_folders.clone();
        Dataset { name, base, kind: self.kind, files, empty_folders, skipped: Vec::new(), dag }
    }

    /// A folder of exactly one file, read as that file; nothing for other datasets.
    pub(crate) fn into_single_file(self) -> Option<Dataset> {
        let single = self.kind == DatasetKind::Folder && self.files.len() == 1 && self.empty_folders.is_empty();
        if !single || self.files[0].path.contains('/') {
            return None;
        }
        let leaves = FileLeaves { size: self.files[0].size, digests: &self.files[0].leaves };
        let dag = dag::build(&Tree::File(0), &[leaves]).expect("a file has no names that could collide");
        Some(Dataset { kind: DatasetKind::File, dag, ..self })
    }

    pub(crate) fn with_skipped(mut self, skipped: Vec<Skipped>) -> Dataset {
        self.skipped = skipped;
        self
    }

    /// The same dataset over the same files in another folder.
    pub(crate) fn rebased(mut self, base: PathBuf) -> Dataset {
        self.base = base;
        self
    }
}

fn compare(file: &FileEntry, path: &Path, got: &[[u8; 32]]) -> Result<(), VerifyError> {
    for (index, (expected, got)) in file.leaves.iter().zip(got).enumerate() {
        if expected != got {
            let cid = |digest: &[u8; 32]| BlockId { codec: Codec::Raw, digest: *digest }.cid();
            let offset = index as u64 * LEAF_BYTES;

            return Err(VerifyError::Leaf { path: path.to_owned(), offset, expected: cid(expected), got: cid(got) });
        }
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.file_name().map_or_else(|| "dataset".to_owned(), |name| name.to_string_lossy().into_owned())
}
