//! The index: all that must be remembered about a dataset beside its plain files.
//!
//! It holds names, sizes, stamps and the SHA-256 of each leaf (32 bytes per MiB), wrapped as `envelope` says. Interior nodes
//! are not stored: they follow from the leaves. Loading rebuilds them and compares the root, so an index that loads is
//! consistent with its own root CID, whoever wrote it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use cid::Cid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::dag::{FileLeaves, Tree, leaf_count};
use crate::dataset::{Dataset, DatasetKind, FileEntry};
use crate::durable::{self, PathError};
use crate::scan::MAX_DEPTH;
use crate::source::FileStamp;
use crate::unixfs::check_name;
use crate::{dag, envelope};

const MAGIC: &[u8; 8] = b"CAIRNDAT";
const VERSION: u32 = 1;

/// Most bytes of an index file that are read: 1 GiB, about 30 TiB of data.
const MAX_INDEX_BYTES: u64 = 1 << 30;

/// Folder beside the index that holds the plain files of a dataset which owns them.
pub(crate) const FILES: &str = "files";

/// Why an index was not loaded or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The file says something wrong. Retrying does not help; import or fetch the dataset again.
    #[error("{path} is not a usable index: {rejection}", path = path.display())]
    Rejected {
        /// The index file.
        path: PathBuf,
        /// What is wrong with it.
        rejection: IndexRejection,
    },
    /// The operating system refused. Retrying helps if the disk or the permission comes back.
    #[error("cannot access {path}: {error}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl From<PathError> for IndexError {
    fn from(PathError { path, error }: PathError) -> IndexError {
        IndexError::Io { path, error }
    }
}

/// What is wrong with an index.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexRejection {
    /// It is another kind of file.
    #[error("expected magic {expected:?}, got {got:?}")]
    Magic {
        /// Magic of this kind of file.
        expected: String,
        /// What stands there.
        got: String,
    },
    /// It was written by another version.
    #[error("expected version {expected}, got {got}")]
    Version {
        /// The version this code reads.
        expected: u32,
        /// The version of the file.
        got: u32,
    },
    /// It is cut off, too long or too large.
    #[error("expected {expected} bytes, got {got}")]
    Length {
        /// Bytes there should be.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// Its body was damaged.
    #[error("the checksum does not match the body")]
    Checksum,
    /// Its body is not the expected record.
    #[error("the body cannot be decoded: {reason}")]
    Cbor {
        /// What the decoder says.
        reason: String,
    },
    /// Its body is a record, but not in canonical form.
    #[error("the body is not canonical DAG-CBOR")]
    NotCanonical,
    /// A path that cannot be, comes twice, or is not in order.
    #[error("path {path:?} {reason}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file whose leaves do not fit its size.
    #[error("{path:?}: expected {expected} bytes of leaf digests, got {got}")]
    Leaves {
        /// The file.
        path: String,
        /// Bytes there should be: 32 per leaf.
        expected: u64,
        /// Bytes there are.
        got: u64,
    },
    /// The leaves give another root.
    #[error("expected root {expected}, the leaves give {got}")]
    Root {
        /// The root the file claims.
        expected: Cid,
        /// The root of its content.
        got: Cid,
    },
    /// The number of pieces on record does not follow from the dataset.
    #[error("expected {expected} pieces, the layout has {got}")]
    PieceCount {
        /// Pieces on record.
        expected: u64,
        /// Pieces of the layout.
        got: u64,
    },
    /// The pieces on record do not follow from the dataset.
    #[error("piece {number}: expected {expected} bytes, the layout has {got}")]
    Piece {
        /// Position of the piece.
        number: usize,
        /// Bytes on record.
        expected: u64,
        /// Bytes of the layout.
        got: u64,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    name: String,
    root: Cid,
    folder: bool,
    /// Absolute folder of the plain files; absent if they stand beside the index.
    base: Option<ByteBuf>,
    empty_folders: Vec<String>,
    files: Vec<FileRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRecord {
    path: String,
    size: u64,
    modified_seconds: i64,
    modified_nanos: u32,
    leaves: ByteBuf,
}

impl Dataset {
    /// Writes the index to `path`, atomically and durably. Files that stand in `files/` beside it are recorded relative to
    /// it, so that the folder can be moved; others by their absolute path.
    pub fn save(&self, path: &Path) -> Result<(), IndexError> {
        durable::write(path, &self.index_bytes(path))?;
        Ok(())
    }

    fn index_bytes(&self, path: &Path) -> Vec<u8> {
        let base = (self.base() != beside(path)).then(|| ByteBuf::from(self.base().as_os_str().as_bytes()));
        self.index_with(base)
    }

    fn index_with(&self, base: Option<ByteBuf>) -> Vec<u8> {
        let files = self.files().iter().map(|file| FileRecord {
            path: file.path.clone(),
            size: file.size,
            modified_seconds: file.stamp.modified_seconds,
            modified_nanos: file.stamp.modified_nanos,
            leaves: ByteBuf::from(file.leaf_digests().as_flattened()),
        });
        let record = Record {
            name: self.name().to_owned(),
            root: self.root(),
            folder: self.kind() == DatasetKind::Folder,
            base,
            empty_folders: self.empty_folders().to_vec(),
            files: files.collect(),
        };
        envelope::encode(MAGIC, VERSION, &record)
    }

    /// The index for others: as [`Dataset::save`] writes it, without saying where the plain files are on this machine.
    pub fn published_index(&self) -> Vec<u8> {
        self.index_with(None)
    }

    /// Reads an index whose plain files are wherever the reader knows. The base is the empty path, whatever the index says.
    ///
    /// # Errors
    /// [`IndexRejection`] if it is no index, or its root does not follow from it.
    pub fn from_published_index(bytes: &[u8]) -> Result<Dataset, IndexRejection> {
        let record: Record = envelope::decode(MAGIC, VERSION, bytes)?;
        dataset(Record { base: None, ..record }, Path::new(""))
    }

    /// Reads an index and rebuilds the graph. The plain files are not touched: a file that is missing or has changed is
    /// reported when it is read.
    pub fn load(path: &Path) -> Result<Dataset, IndexError> {
        let bytes = read_bounded(path, MAX_INDEX_BYTES)?;
        let rejected = |rejection| IndexError::Rejected { path: path.to_owned(), rejection };
        let record: Record = envelope::decode(MAGIC, VERSION, &bytes).map_err(rejected)?;
        dataset(record, &beside(path)).map_err(rejected)
    }
}

/// Reads a file that must not be longer than `limit`.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, IndexError> {
    let io = |error| IndexError::Io { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(io)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        let rejection = IndexRejection::Length { expected: limit, got: bytes.len() as u64 };
        return Err(IndexError::Rejected { path: path.to_owned(), rejection });
    }
    Ok(bytes)
}

fn beside(index: &Path) -> PathBuf {
    let folder = index.parent().unwrap_or(Path::new("."));
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()).join(FILES)
}

fn dataset(record: Record, beside: &Path) -> Result<Dataset, IndexRejection> {
    let tree = tree(&record)?;
    let mut files = Vec::with_capacity(record.files.len());
    for file in record.files {
        let expected = leaf_count(file.size).saturating_mul(32);
        if expected != file.leaves.len() as u64 {
            return Err(IndexRejection::Leaves { path: file.path, expected, got: file.leaves.len() as u64 });
        }
        let leaves = file.leaves.as_chunks::<32>().0.to_vec();
        let FileRecord { path, size, modified_seconds, modified_nanos, .. } = file;
        files.push((path, FileStamp { size, modified_seconds, modified_nanos }, leaves));
    }
    let inputs: Vec<FileLeaves<'_>> =
        files.iter().map(|(_, stamp, digests)| FileLeaves { size: stamp.size, digests }).collect();
    let dag = dag::build(&tree, &inputs).map_err(|collision| IndexRejection::Path {
        path: collision.first,
        reason: format!("has the same 64-bit hash as {:?}", collision.second),
    })?;
    let got = dag.root.cid();
    if got != record.root {
        return Err(IndexRejection::Root { expected: record.root, got });
    }
    let base = record.base.map(|base| PathBuf::from(std::ffi::OsString::from_vec(base.into_vec())));
    let files = files.into_iter().zip(&dag.file_roots);
    let files = files.map(|((path, stamp, leaves), root)| FileEntry::new(path, root.cid(), stamp, leaves)).collect();
    let base = base.unwrap_or_else(|| beside.to_owned());
    Ok(Dataset::assemble(record.name, base, &tree, files, dag))
}

/// The tree of names, every path checked: one form, in order, no file inside a file.
fn tree(record: &Record) -> Result<Tree, IndexRejection> {
    let mut root = Tree::Folder(BTreeMap::new());
    for (number, file) in record.files.iter().enumerate() {
        insert(&mut root, &file.path, Tree::File(number))?;
    }
    for folder in &record.empty_folders {
        insert(&mut root, folder, Tree::Folder(BTreeMap::new()))?;
    }
    let mut counted = 0;
    check_order(&root, &mut counted).map_err(|number| IndexRejection::Path {
        path: record.files[number].path.clone(),
        reason: "is not in order".into(),
    })?;
    if record.folder {
        return Ok(root);
    }
    match root {
        Tree::Folder(mut children) if children.len() == 1 => match children.pop_first() {
            Some((_, file @ Tree::File(_))) => Ok(file),
            _ => Err(IndexRejection::Path { path: String::new(), reason: "is a folder, expected a file".into() }),
        },
        _ => Err(IndexRejection::Path { path: String::new(), reason: "expected a single file".into() }),
    }
}

fn insert(root: &mut Tree, path: &str, entry: Tree) -> Result<(), IndexRejection> {
    let rejected = |reason: &str| IndexRejection::Path { path: path.to_owned(), reason: reason.to_owned() };
    let mut components = path.split('/').peekable();
    let mut folder = root;
    for depth in 0.. {
        let name = components.next().expect("a split has at least one part");
        check_name(name).map_err(rejected)?;
        if depth > MAX_DEPTH {
            return Err(rejected("is nested too deep"));
        }
        let Tree::Folder(children) = folder else {
            return Err(rejected("lies inside a file"));
        };
        if components.peek().is_none() {
            return match children.insert(name.to_owned(), entry) {
                None => Ok(()),
                Some(_) => Err(rejected("comes twice")),
            };
        }
        folder = children.entry(name.to_owned()).or_insert_with(|| Tree::Folder(BTreeMap::new()));
    }
    unreachable!("the loop ends at the last component")
}

/// Files must be numbered in the order of the tree; gives the first that is not.
fn check_order(tree: &Tree, next: &mut usize) -> Result<(), usize> {
    match tree {
        Tree::File(number) if *number == *next => {
            *next += 1;
            Ok(())
        }
        Tree::File(number) => Err(*number),
        Tree::Folder(children) => children.values().try_for_each(|child| check_order(child, next)),
    }
}
