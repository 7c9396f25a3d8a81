//! The graph over a dataset's leaves.
//!
//! Input: the tree of names, and per file its size and the SHA-256 of each leaf. Output: the blocks in depth-first
//! pre-order, each block once, at its first visit.
//!
//! 1. A file of at most 1 MiB is its single leaf. A longer file is a balanced tree: leaves in groups of 1024 under a node,
//!    nodes in groups of 1024 under a node, until one is left.
//! 2. A folder is one node with a named link per entry, sorted by the bytes of the names; with more than
//!    [`hamt::SHARD_THRESHOLD`] entries it is sharded.
//! 3. Nodes are built bottom-up into an arena; then a walk from the root, parents first, writes down the order.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::block::{BlockId, Codec, LEAF_BYTES, LINKS_PER_NODE};
use crate::dagpb::{PbLink, PbNode};
use crate::{hamt, unixfs};

/// Names of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    /// A file, by its number in the dataset's list.
    File(usize),
    /// A folder; `BTreeMap<String, _>` sorts by the bytes of the names, which is the order of links.
    Folder(BTreeMap<String, Tree>),
}

impl Tree {
    /// Paths of folders without entries, the root excepted, in order.
    pub(crate) fn empty_folders(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_empty("", &mut paths);
        paths
    }

    fn collect_empty(&self, below: &str, paths: &mut Vec<String>) {
        let Tree::Folder(children) = self else { return };
        if children.is_empty() && !below.is_empty() {
            paths.push(below.to_owned());
        }
        for (name, child) in children {
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            child.collect_empty(&path, paths);
        }
    }
}

/// What the graph needs of one file.
pub(crate) struct FileLeaves<'a> {
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of each leaf; one (of no bytes) for an empty file.
    pub digests: &'a [[u8; 32]],
}

/// Leaves of a file of `size` bytes: at least one.
pub(crate) fn leaf_count(size: u64) -> u64 {
    size.div_ceil(LEAF_BYTES).max(1)
}

/// Bytes of leaf `index` of a file of `size` bytes.
pub(crate) fn leaf_len(size: u64, index: u64) -> u64 {
    (size - index * LEAF_BYTES).min(LEAF_BYTES)
}

/// Where a block's bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// An interior node.
    Node(Bytes),
    /// Leaf `leaf` of file `file`.
    Leaf { file: u32, leaf: u32 },
}

/// One block of the graph.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub id: BlockId,
    pub len: u32,
    pub place: Place,
}

/// All blocks of a dataset.
#[derive(Clone, Debug)]
pub(crate) struct Dag {
    pub root: BlockId,
    /// Pre-order, each block once.
    pub blocks: Vec<Block>,
    /// Position in `blocks`.
    pub positions: HashMap<BlockId, u32>,
    /// Root of each file.
    pub file_roots: Vec<BlockId>,
}

/// A folder that no graph can be built for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameCollision {
    pub first: String,
    pub second: String,
}

/// Builds the graph of `tree` over `files`.
pub(crate) fn build(tree: &Tree, files: &[FileLeaves<'_>]) -> Result<Dag, NameCollision> {
    let mut arena = Arena { nodes: Vec::new(), file_roots: vec![None; files.len()] };
    let root = arena.entry(tree, files)?;
    let file_roots = arena.file_roots.iter().map(|id| id.expect("every file stands in the tree")).collect();
    let (blocks, positions) = arena.pre_order(&root);
    Ok(Dag { root: root.id, blocks, positions, file_roots })
}

/// A finished subtree, as its parent sees it.
#[derive(Clone)]
struct Built {
    id: BlockId,
    /// Bytes of file content below.
    content: u64,
    /// Bytes of all blocks below, itself included.
    total: u64,
    place: Handle,
}

#[derive(Clone, Copy)]
enum Handle {
    Node(u32),
    Leaf { file: u32, leaf: u32, len: u32 },
}

struct Node {
    bytes: Bytes,
    children: Vec<(BlockId, Handle)>,
}

struct Arena {
    nodes: Vec<Node>,
    file_roots: Vec<Option<BlockId>>,
}

impl Arena {
    /// Recursion is bounded by the depth limit of scans and indexes.
    fn entry(&mut self, tree: &Tree, files: &[FileLeaves<'_>]) -> Result<Built, NameCollision> {
        match tree {
            Tree::File(number) => {
                let built = self.file(*number, &files[*number]);
                self.file_roots[*number] = Some(built.id);
                Ok(built)
            }
            Tree::Folder(children) => {
                let mut entries = Vec::with_capacity(children.len());
                for (name, child) in children {
                    entries.push((name.as_str(), self.entry(child, files)?));
                }
                if entries.len() <= hamt::SHARD_THRESHOLD {
                    return Ok(self.folder(entries));
                }
                self.shard(entries, 0)
            }
        }
    }

    fn file(&mut self, number: usize, file: &FileLeaves<'_>) -> Built {
        let mut level: Vec<Built> = Vec::with_capacity(file.digests.len());
        for (leaf, digest) in file.digests.iter().enumerate() {
            let id = BlockId { codec: Codec::Raw, digest: *digest };
            let content = leaf_len(file.size, leaf as u64);
            let place = Handle::Leaf { file: number as u32, leaf: leaf as u32, len: content as u32 };
            level.push(Built { id, content, total: content, place });
        }
        while level.len() > 1 {
            level = level.chunks(LINKS_PER_NODE).map(|parts| self.file_node(parts)).collect();
        }
        level.pop().expect("a file has at least one leaf")
    }

    fn file_node(&mut self, parts: &[Built]) -> Built {
        let sizes: Vec<u64> = parts.iter().map(|part| part.content).collect();
        let links = parts.iter().map(|part| (String::new(), part)).collect();
        self.node(links, unixfs::file_data(&sizes))
    }

    fn folder(&mut self, entries: Vec<(&str, Built)>) -> Built {
        let links = entries.iter().map(|(name, built)| ((*name).to_owned(), built)).collect();
        self.node(links, unixfs::folder_data())
    }

    /// A shard at `depth` over names whose hashes agree in the first `depth` bytes.
    fn shard(&mut self, entries: Vec<(&str, Built)>, depth: usize) -> Result<Built, NameCollision> {
        let mut slots: BTreeMap<u8, Vec<(&str, Built)>> = BTreeMap::new();
        for (name, built) in entries {
            match hamt::slot(name, depth) {
                Some(slot) => slots.entry(slot).or_default().push((name, built)),
                None => unreachable!("names that agree in the whole hash are refused one level above"),
            }
        }
        let used: Vec<u8> = slots.keys().copied().collect();
        let mut links = Vec::with_capacity(used.len());
        for (slot, mut members) in slots {
            let prefix = hamt::prefix(slot);
            if members.len() == 1 {
                let (name, built) = members.remove(0);
                links.push((format!("{prefix}{name}"), built));
            } else if depth + 1 == hamt::MAX_DEPTH {
                let (first, second) = (members[0].0.to_owned(), members[1].0.to_owned());
                return Err(NameCollision { first, second });
            } else {
                links.push((prefix, self.shard(members, depth + 1)?));
            }
        }
        let links = links.iter().map(|(name, built)| (name.clone(), built)).collect();
        Ok(self.node(links, unixfs::shard_data(&hamt::bitfield(&used))))
    }

    fn node(&mut self, links: Vec<(String, &Built)>, data: Bytes) -> Built {
        let children = links.iter().map(|(_, built)| (built.id, built.place)).collect();
        let content = links.iter().map(|(_, built)| built.content).sum();
        let below: u64 = links.iter().map(|(_, built)| built.total).sum();
        let links = links
            .into_iter()
            .map(|(name, built)| PbLink { cid: built.id.cid(), name: Some(name), tsize: Some(built.total) })
            .collect();
        let bytes = PbNode { links, data: Some(data) }.encode();
        let id = BlockId::of(Codec::DagPb, &bytes);
        let total = below + bytes.len() as u64;
        self.nodes.push(Node { bytes, children });
        Built { id, content, total, place: Handle::Node(self.nodes.len() as u32 - 1) }
    }

    /// Parents before children, each block at its first visit only.
    fn pre_order(&self, root: &Built) -> (Vec<Block>, HashMap<BlockId, u32>) {
        let mut blocks = Vec::new();
        let mut positions = HashMap::new();
        let mut stack = vec![(root.id, root.place)];
        while let Some((id, handle)) = stack.pop() {
            if positions.contains_key(&id) {
                continue;
            }
            positions.insert(id, blocks.len() as u32);
            blocks.push(match handle {
                Handle::Leaf { file, leaf, len } => Block { id, len, place: Place::Leaf { file, leaf } },
                Handle::Node(number) => {
                    let node = &self.nodes[number as usize];
                    stack.extend(node.children.iter().rev().copied());
                    Block { id, len: node.bytes.len() as u32, place: Place::Node(node.bytes.clone()) }
                }
            });
        }
        (blocks, positions)
    }
}
