//! From a root CID to the list of files and leaves, without trust and without I/O.
//!
//! [`DagWalk`] is a machine that a client feeds:
//!
//! 1. [`DagWalk::next_wanted`] names an interior block to fetch; each name is handed out once while it is wanted.
//! 2. [`DagWalk::supply`] takes its bytes, checks them against the CID, reads the links, and wants their interior blocks.
//! 3. When nothing is wanted, [`DagWalk::finish`] gives every file with its leaves, ready to be fetched by ranges.
//!
//! Leaves are never asked for, with one exception: if the root itself is a raw leaf, its length is known only from its
//! bytes. A hostile root can describe endless or exponential graphs in a few blocks, so everything is bounded by
//! [`WalkLimits`].

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{HashMap, VecDeque};

use cid::Cid;

use crate::block::{BlockId, BlockRejection, Codec, LEAF_BYTES, verify_block};
use crate::scan::MAX_DEPTH;
use crate::unixfs::{FolderEntry, ShardEntry, UnixFsNode, UnixFsRejection, decode_node};

/// Deepest tree of one file: six levels of 1024 links cover 2^60 leaves.
const MAX_FILE_DEPTH: usize = 6;

/// Bounds of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkLimits {
    /// Most files and folders together. Default: one million.
    pub entries: usize,
    /// Most leaves in all files. Default: sixteen million, that is 16 TiB.
    pub leaves: usize,
    /// Most bytes in all files. Default: 64 TiB.
    pub total_bytes: u64,
    /// Most links to interior blocks that are followed. Default: two million.
    pub nodes: usize,
    /// Most bytes of all paths together. Default: 256 MiB.
    pub path_bytes: usize,
}

impl Default for WalkLimits {
    fn default() -> WalkLimits {
        WalkLimits {
            entries: 1_000_000,
            leaves: 16 << 20,
            total_bytes: 64 << 40,
            nodes: 2_000_000,
            path_bytes: 256 << 20,
        }
    }
}

/// Why a graph is not walked on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalkRejection {
    /// A block is wrong.
    #[error(transparent)]
    Node(#[from] UnixFsRejection),
    /// The root cannot name a dataset, or the bytes are not the block.
    #[error(transparent)]
    Block(#[from] BlockRejection),
    /// A block was supplied that nobody asked for.
    #[error("block {cid} was not asked for")]
    Unwanted {
        /// The block.
        cid: Cid,
    },
    /// The graph exceeds a limit.
    #[error("the graph of {root} has more than {limit} {what}")]
    Limit {
        /// Root of the walk.
        root: Cid,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A block stands for something else than the link to it says.
    #[error("{path:?}: block {cid} is {got}, expected {expected}")]
    Kind {
        /// File or folder that the block belongs to.
        path: String,
        /// The block.
        cid: Cid,
        /// What the link says.
        expected: String,
        /// What it is.
        got: String,
    },
    /// Leaves that are not 1 MiB each (the last one excepted). Ranges could not be verified.
    #[error("{path:?}: leaf at byte {offset} has {got} bytes, expected {expected} (profile unixfs-v1-2025)")]
    LeafSize {
        /// The file.
        path: String,
        /// Where the leaf begins.
        offset: u64,
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        got: u64,
    },
    /// `finish` was called while blocks are wanted.
    #[error("{wanted} blocks are still wanted")]
    Unfinished {
        /// How many.
        wanted: usize,
    },
}

/// What a root CID names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteDataset {
    /// The root.
    pub root: Cid,
    /// Whether the root is a single file; then there is one file, with an empty path.
    pub single_file: bool,
    /// Files, sorted by path components.
    pub files: Vec<RemoteFile>,
    /// Folders without entries, sorted.
    pub empty_folders: Vec<String>,
}

impl RemoteDataset {
    /// Sum of the file sizes in bytes.
    pub fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// One file that a root CID names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Path within the dataset; safe to join to a folder.
    pub path: String,
    /// CID of the file.
    pub cid: Cid,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of each leaf, in order.
    pub leaf_digests: Vec<[u8; 32]>,
}

impl RemoteFile {
    /// The leaves in order: name and place.
    pub fn leaves(&self) -> impl ExactSizeIterator<Item = RemoteLeaf> + '_ {
        self.leaf_digests.iter().enumerate().map(|(index, digest)| RemoteLeaf {
            cid: BlockId { codec: Codec::Raw, digest: *digest }.cid(),
            offset: index as u64 * LEAF_BYTES,
            len: crate::dag::leaf_len(self.size, index as u64),
        })
    }
}

/// A leaf and its place in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteLeaf {
    /// Its name.
    pub cid: Cid,
    /// First byte within the file.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
}

/// What a wanted block is for.
#[derive(Clone, Debug)]
enum Purpose {
    /// File or folder at a path.
    Entry { path: String, depth: usize },
    /// A shard of the folder at a path.
    Shard { path: String, depth: usize, level: usize },
    /// A part of a file.
    Part { file: usize, offset: u64, size: u64, level: usize },
}

/// A file whose leaves are being collected, by offset.
struct Draft {
    path: String,
    id: BlockId,
    size: u64,
    leaves: BTreeMap<u64, [u8; 32]>,
}

/// The machine.
pub struct DagWalk {
    root: BlockId,
    limits: WalkLimits,
    wanted: HashMap<BlockId, Vec<Purpose>>,
    queue: VecDeque<BlockId>,
    files: Vec<Draft>,
    /// Folders, and whether something is in them.
    folders: BTreeMap<String, bool>,
    entries: usize,
    leaves: usize,
    nodes: usize,
    path_bytes: usize,
    total_bytes: u64,
}

impl std::fmt::Debug for DagWalk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DagWalk")
            .field("root", &self.root)
            .field("wanted", &self.wanted.len())
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

impl DagWalk {
    /// Starts at `root`.
    pub fn new(root: &Cid, limits: WalkLimits) -> Result<DagWalk, WalkRejection> {
        let root = BlockId::try_from(root)?;
        let mut walk = DagWalk {
            root,
            limits,
            wanted: HashMap::new(),
            queue: VecDeque::new(),
            files: Vec::new(),
            folders: BTreeMap::new(),
            entries: 0,
            leaves: 0,
            nodes: 0,
            path_bytes: 0,
            total_bytes: 0,
        };
        walk.want(root, Purpose::Entry { path: String::new(), depth: 0 })?;
        Ok(walk)
    }

    /// A block to fetch, or nothing if all wanted blocks were handed out. The caller repeats failed fetches by itself.
    pub fn next_wanted(&mut self) -> Option<Cid> {
        self.queue.pop_front().map(|id| id.cid())
    }

    /// Whether every wanted block was supplied.
    pub fn is_complete(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Takes a wanted block. If the bytes are not that block the walk is unchanged and another source may be tried; after
    /// any other rejection the root itself is not acceptable.
    pub fn supply(&mut self, cid: &Cid, bytes: &[u8]) -> Result<(), WalkRejection> {
        let id = BlockId::try_from(cid)?;
        verify_block(cid, bytes)?;
        let purposes = self.wanted.remove(&id).ok_or(WalkRejection::Unwanted { cid: *cid })?;
        if id.codec == Codec::Raw {
            // Only the root is ever wanted as a leaf.
            return self.single_leaf(id, String::new(), bytes.len() as u64);
        }
        // A block may be wanted many times over; it is decoded once for each shard level it is wanted at.
        let mut decoded: BTreeMap<usize, UnixFsNode> = BTreeMap::new();
        for purpose in purposes {
            let level = if let Purpose::Shard { level, .. } = &purpose { *level } else { 0 };
            let node = match decoded.entry(level) {
                Entry::Occupied(node) => node.into_mut(),
                Entry::Vacant(place) => place.insert(decode_node(&id, bytes, level)?),
            };
            self.apply(id, node, purpose)?;
        }
        Ok(())
    }

    /// The files, once nothing is wanted any more.
    pub fn finish(self) -> Result<RemoteDataset, WalkRejection> {
        if !self.wanted.is_empty() {
            return Err(WalkRejection::Unfinished { wanted: self.wanted.len() });
        }
        let single_file = self.files.len() == 1 && self.files[0].path.is_empty();
        let mut files = Vec::with_capacity(self.files.len());
        for draft in self.files {
            let leaf_digests = draft.leaves.into_values().collect();
            files.push(RemoteFile { path: draft.path, cid: draft.id.cid(), size: draft.size, leaf_digests });
        }
        files.sort_by(|a, b| a.path.split('/').cmp(b.path.split('/')));
        let empty = self.folders.into_iter().filter(|(path, used)| !used && !path.is_empty());
        let empty_folders = empty.map(|(path, _)| path).collect();
        Ok(RemoteDataset { root: self.root.cid(), single_file, files, empty_folders })
    }

    fn want(&mut self, id: BlockId, purpose: Purpose) -> Result<(), WalkRejection> {
        self.nodes += 1;
        self.limit(self.nodes as u64, "links to interior blocks", self.limits.nodes as u64)?;
        let purposes = self.wanted.entry(id).or_default();
        if purposes.is_empty() {
            self.queue.push_back(id);
        }
        purposes.push(purpose);
        Ok(())
    }

    fn limit(&self, got: u64, what: &'static str, limit: u64) -> Result<(), WalkRejection> {
        if got > limit { Err(WalkRejection::Limit { root: self.root.cid(), what, limit }) } else { Ok(()) }
    }

    fn apply(&mut self, id: BlockId, node: &UnixFsNode, purpose: Purpose) -> Result<(), WalkRejection> {
        match (node, purpose) {
            (UnixFsNode::File { size, parts }, Purpose::Entry { path, .. }) => {
                let file = self.file(id, path, *size)?;
                self.parts(file, 0, parts, 1)
            }
            (UnixFsNode::File { size, parts }, Purpose::Part { file, offset, size: expected, level }) => {
                if *size != expected {
                    let (expected, got) = (format!("{expected} bytes of a file"), format!("{size} bytes of a file"));
                    return Err(WalkRejection::Kind {
                        path: self.files[file].path.clone(),
                        cid: id.cid(),
                        expected,
                        got,
                    });
                }
                self.parts(file, offset, parts, level + 1)
            }
            (UnixFsNode::Folder { entries }, Purpose::Entry { path, depth }) => {
                self.folders.insert(path.clone(), !entries.is_empty());
                entries.iter().try_for_each(|entry| self.entry(&path, depth, entry))
            }
            (UnixFsNode::Shard { entries }, Purpose::Entry { path, depth }) => {
                self.folders.insert(path.clone(), !entries.is_empty());
                self.shard(path, depth, 0, entries)
            }
            (UnixFsNode::Shard { entries }, Purpose::Shard { path, depth, level }) => {
                self.shard(path, depth, level, entries)
            }
            (node, purpose) => Err(self.wrong_kind(id, node, purpose)),
        }
    }

    fn wrong_kind(&self, id: BlockId, node: &UnixFsNode, purpose: Purpose) -> WalkRejection {
        let (path, expected) = match purpose {
            Purpose::Part { file, .. } => (self.files[file].path.clone(), "a part of a file"),
            Purpose::Shard { path, .. } => (path, "a shard"),
            Purpose::Entry { path, .. } => (path, "a file or folder"),
        };
        let got = match node {
            UnixFsNode::File { .. } => "a file",
            UnixFsNode::Folder { .. } => "a folder",
            UnixFsNode::Shard { .. } => "a shard",
        };
        WalkRejection::Kind { path, cid: id.cid(), expected: expected.into(), got: got.into() }
    }

    fn shard(&mut self, path: String, depth: usize, level: usize, entries: &[ShardEntry]) -> Result<(), WalkRejection> {
        for entry in entries {
            match entry {
                ShardEntry::Entry(entry) => self.entry(&path, depth, entry)?,
                ShardEntry::Shard { id, .. } => {
                    self.charge_path(path.len())?;
                    self.limit(level as u64 + 1, "levels of shards", crate::hamt::MAX_DEPTH as u64)?;
                    self.want(*id, Purpose::Shard { path: path.clone(), depth, level: level + 1 })?;
                }
            }
        }
        Ok(())
    }

    fn charge_path(&mut self, bytes: usize) -> Result<(), WalkRejection> {
        self.path_bytes += bytes;
        self.limit(self.path_bytes as u64, "bytes of paths", self.limits.path_bytes as u64)
    }

    fn entry(&mut self, folder: &str, depth: usize, entry: &FolderEntry) -> Result<(), WalkRejection> {
        let path = if folder.is_empty() { entry.name.clone() } else { format!("{folder}/{}", entry.name) };
        self.entries += 1;
        self.limit(self.entries as u64, "files and folders", self.limits.entries as u64)?;
        self.limit(depth as u64 + 1, "levels of folders", MAX_DEPTH as u64)?;
        self.charge_path(path.len())?;
        if entry.id.codec == Codec::Raw {
            return self.single_leaf(entry.id, path, entry.tsize);
        }
        self.want(entry.id, Purpose::Entry { path, depth: depth + 1 })
    }

    fn single_leaf(&mut self, id: BlockId, path: String, size: u64) -> Result<(), WalkRejection> {
        if size > LEAF_BYTES {
            return Err(WalkRejection::LeafSize { path, offset: 0, expected: LEAF_BYTES, got: size });
        }
        let file = self.file(id, path, size)?;
        self.leaf(file, 0, id.digest)
    }

    fn file(&mut self, id: BlockId, path: String, size: u64) -> Result<usize, WalkRejection> {
        self.total_bytes = self.total_bytes.saturating_add(size);
        self.limit(self.total_bytes, "bytes in files", self.limits.total_bytes)?;
        self.files.push(Draft { path, id, size, leaves: BTreeMap::new() });
        Ok(self.files.len() - 1)
    }

    fn parts(
        &mut self,
        file: usize,
        mut offset: u64,
        parts: &[crate::unixfs::FilePart],
        level: usize,
    ) -> Result<(), WalkRejection> {
        for part in parts {
            match part.id.codec {
                Codec::Raw => {
                    self.check_leaf(file, offset, part.size)?;
                    self.leaf(file, offset, part.id.digest)?;
                }
                Codec::DagPb => {
                    self.limit(level as u64 + 1, "levels within a file", MAX_FILE_DEPTH as u64)?;
                    self.want(part.id, Purpose::Part { file, offset, size: part.size, level })?;
                }
            }
            offset += part.size;
        }
        Ok(())
    }

    fn check_leaf(&self, file: usize, offset: u64, got: u64) -> Result<(), WalkRejection> {
        let draft = &self.files[file];
        let expected = draft.size.saturating_sub(offset).min(LEAF_BYTES);
        if got == expected && offset.is_multiple_of(LEAF_BYTES) && got > 0 {
            return Ok(());
        }
        Err(WalkRejection::LeafSize { path: draft.path.clone(), offset, expected, got })
    }

    fn leaf(&mut self, file: usize, offset: u64, digest: [u8; 32]) -> Result<(), WalkRejection> {
        self.leaves += 1;
        self.limit(self.leaves as u64, "leaves", self.limits.leaves as u64)?;
        self.files[file].leaves.insert(offset, digest);
        Ok(())
    }
}
