//! A sector's trees on disk: building them as a stream, and opening leaves in them.
//!
//! A base tree lies in one file, rows from the leaves up, each row whole. Building reads the row below in chunks and
//! appends the row above, so memory does not grow with the sector. Tree R-last is stored without its leaves (they are the
//! replica) and without its lowest rows ([`discarded_rows`]): what an opening needs of those is rebuilt from a few
//! hundred nodes of the replica.

use std::path::{Path, PathBuf};

use cairn_compute::{Node, Workers};
use cairn_protocol::SectorParams;
use rayon::prelude::*;

use crate::error::{Progress, SealError};
use crate::files::{NewFile, SectorFiles};
use crate::merkle::{Levels, MerkleProof, PathElement, Tree, hash_children};
use crate::nodes::{CHUNK_NODES, NodeFile, chunks};

/// Rows above the leaves that a stored tree R-last leaves out: two, but never so many that its root would go, and none
/// of a tree of two rows (`spec/proofs.md` 1.8).
pub fn discarded_rows(rows: usize) -> usize {
    match rows {
        0..=2 => 0,
        3 => 1,
        rows => 2.min(rows - 2),
    }
}

/// Lengths of all rows of a tree with `leaves` leaves, leaves first.
fn row_lengths(leaves: u64, arity: usize) -> Vec<u64> {
    std::iter::successors(Some(leaves), |row| (*row > 1).then(|| row / arity as u64)).collect()
}

/// Nodes in all rows of such a tree.
pub(crate) fn tree_nodes(leaves: u64, arity: usize) -> u64 {
    row_lengths(leaves, arity).iter().sum()
}

/// Hashes each group of `arity` nodes, on all workers. A node that is no field element is reported by its index.
fn hash_row(
    tree: Tree,
    arity: usize,
    row: &[Node],
    workers: &Workers,
) -> Result<Vec<Node>, (usize, cairn_compute::NonCanonicalNode)> {
    workers.run(|| {
        row.par_chunks_exact(arity)
            .with_min_len(16)
            .enumerate()
            .map(|(group, children)| {
                hash_children(tree, children).map_err(|source| {
                    let within = children.iter().position(|child| *child == source.node).unwrap_or(0);
                    (group * arity + within, source)
                })
            })
            .collect()
    })
}

/// Writes a base tree that keeps every row. `leaves` gives the leaves from an index on.
pub(crate) fn build_whole_tree(
    tree: Tree,
    arity: usize,
    path: &Path,
    leaf_count: u64,
    workers: &Workers,
    leaves: &mut dyn FnMut(u64, usize) -> Result<Vec<Node>, SealError>,
    progress: &mut dyn FnMut(u64),
) -> Result<Node, SealError> {
    let mut file = NewFile::create(path)?;
    for (first, count) in chunks(leaf_count) {
        file.write(leaves(first, count)?.as_flattened())?;
        progress(count as u64);
    }
    let mut row_start = 0;
    let mut root = [0u8; 32];
    for row in row_lengths(leaf_count, arity).into_iter().take_while(|row| *row > 1) {
        for (first, count) in chunks(row) {
            let below = file.read_nodes(row_start + first, count)?;
            let above = hash_row(tree, arity, &below, workers).map_err(|(index, source)| {
                SealError::NonCanonicalNode { path: path.to_owned(), node: row_start + first + index as u64, source }
            })?;
            file.write(above.as_flattened())?;
            root = *above.last().expect("a row has a node above it");
            progress(above.len() as u64);
        }
        row_start += row;
    }
    file.finish()?;
    Ok(root)
}

/// Writes a base tree of tree R-last: without leaves and lowest rows. `source` names the file that holds the leaves.
pub(crate) fn build_upper_tree(
    arity: usize,
    path: &Path,
    leaf_count: u64,
    workers: &Workers,
    source: &Path,
    leaves: &mut dyn FnMut(u64, usize) -> Result<Vec<Node>, SealError>,
    progress: &mut dyn FnMut(u64),
) -> Result<Node, SealError> {
    let rows = row_lengths(leaf_count, arity);
    let lowest_kept = discarded_rows(rows.len()) + 1;
    let mut row: Vec<Node> = Vec::with_capacity(rows[lowest_kept] as usize);
    for (first, count) in chunks(leaf_count) {
        let mut nodes = leaves(first, count)?;
        for level in 0..lowest_kept {
            nodes = hash_row(Tree::RLast, arity, &nodes, workers).map_err(|(index, reason)| {
                assert_eq!(level, 0, "hashes are field elements");
                SealError::NonCanonicalNode { path: source.to_owned(), node: first + index as u64, source: reason }
            })?;
        }
        row.extend(nodes);
        progress(count as u64);
    }
    let mut file = NewFile::create(path)?;
    file.write(row.as_flattened())?;
    while row.len() > 1 {
        row = hash_row(Tree::RLast, arity, &row, workers).expect("hashes are field elements");
        file.write(row.as_flattened())?;
    }
    file.finish()?;
    Ok(row[0])
}

// Whole subtrees below the lowest kept row must fit a chunk: 8^3 leaves.
const _: () = assert!(CHUNK_NODES.is_multiple_of(512));

/// Hashes base roots up to the tree's root; gives every row, base roots first.
pub(crate) fn rows_above_bases(tree: Tree, levels: &Levels, base_roots: Vec<Node>) -> Vec<Vec<Node>> {
    let mut rows = vec![base_roots];
    for arity in levels.sub.into_iter().chain(levels.top) {
        let below = rows.last().expect("the base roots");
        let above = below
            .chunks(arity)
            .map(|children| hash_children(tree, children).expect("roots are field elements"))
            .collect();
        rows.push(above);
    }
    rows
}

/// Where a base tree's rows are.
#[derive(Debug)]
struct BaseTree {
    /// The tree's file: rows from `first_row` up.
    file: NodeFile,
    first_row: usize,
    rows: Vec<u64>,
}

/// A tree of a sector, ready to be opened at any leaf.
#[derive(Debug)]
pub struct StoredTree {
    tree: Tree,
    levels: Levels,
    base_leaves: u64,
    bases: Vec<BaseTree>,
    /// The replica, for tree R-last.
    leaves: Option<NodeFile>,
    /// Base roots, sub roots, root.
    above: Vec<Vec<Node>>,
}

impl StoredTree {
    /// Opens the files of `tree`.
    ///
    /// # Errors
    /// [`SealError`] for files that are missing or have the wrong length.
    pub fn open(tree: Tree, files: &SectorFiles, params: &SectorParams) -> Result<Self, SealError> {
        let levels = Levels::of(tree, params);
        let (paths, base_leaves, leaves): (Vec<PathBuf>, u64, Option<NodeFile>) = match tree {
            Tree::D => (vec![files.tree_d()], params.nodes(), None),
            Tree::C => (files.tree_c(params), params.base_tree_leaves(), None),
            Tree::RLast => {
                let replica = NodeFile::open(&files.sealed(), params.nodes())?;
                (files.tree_r_last(params), params.base_tree_leaves(), Some(replica))
            }
        };
        let rows = row_lengths(base_leaves, levels.base[0]);
        let first_row = if leaves.is_some() { discarded_rows(rows.len()) + 1 } else { 0 };
        let stored: u64 = rows[first_row..].iter().sum();
        let bases = paths
            .iter()
            .map(|path| Ok(BaseTree { file: NodeFile::open(path, stored)?, first_row, rows: rows.clone() }))
            .collect::<Result<Vec<_>, SealError>>()?;
        let base_roots = bases.iter().map(|base| base.file.node(stored - 1)).collect::<Result<Vec<_>, SealError>>()?;
        for (base, root) in bases.iter().zip(&base_roots).filter(|_| tree != Tree::D) {
            base.file.element(stored - 1, root)?;
        }
        let above = rows_above_bases(tree, &levels, base_roots);
        Ok(Self { tree, levels, base_leaves, bases, leaves, above })
    }

    /// The tree's root.
    pub fn root(&self) -> Node {
        self.above.last().expect("at least the base roots")[0]
    }

    /// The leaf at `index`.
    ///
    /// # Errors
    /// [`SealError::Io`].
    pub fn leaf(&self, index: u64) -> Result<Node, SealError> {
        match &self.leaves {
            Some(leaves) => leaves.node(index),
            None => self.bases[(index / self.base_leaves) as usize].file.node(index % self.base_leaves),
        }
    }

    /// The `count` nodes from `first` on in a row of a tree that is stored whole, as a single base tree; row 0 is the
    /// leaves.
    ///
    /// # Errors
    /// [`SealError::Io`].
    pub(crate) fn row(&self, row: usize, first: u64, count: usize) -> Result<Vec<Node>, SealError> {
        debug_assert!(self.bases.len() == 1 && self.leaves.is_none(), "not one whole tree");
        self.bases[0].row_nodes(row, first, count)
    }

    /// An inclusion proof of the leaf at `index`.
    ///
    /// # Errors
    /// [`SealError`] if a file cannot be read or holds something that is no field element.
    ///
    /// # Panics
    /// If the tree has no such leaf.
    pub fn open_leaf(&self, index: u64) -> Result<MerkleProof, SealError> {
        let (base, mut position) = ((index / self.base_leaves) as usize, index % self.base_leaves);
        let rebuilt = self.rebuilt_rows(base, position)?;
        let mut path = Vec::new();
        for (row, arity) in self.levels.base.iter().enumerate() {
            let first = position - position % *arity as u64;
            let children = match rebuilt.get(row) {
                Some((start, nodes)) => nodes[(first - start) as usize..][..*arity].to_vec(),
                None => self.bases[base].row_nodes(row, first, *arity)?,
            };
            path.push(step(children, (position - first) as usize));
            position /= *arity as u64;
        }
        let mut position = base;
        for (row, arity) in self.above.iter().zip(self.levels.sub.into_iter().chain(self.levels.top)) {
            let first = position - position % arity;
            path.push(step(row[first..first + arity].to_vec(), position - first));
            position /= arity;
        }
        Ok(MerkleProof::new(&self.levels, self.leaf(index)?, path, self.root()))
    }

    /// Rows that the file leaves out, as far as the path from `position` needs them: start and nodes of each.
    fn rebuilt_rows(&self, base: usize, position: u64) -> Result<Vec<(u64, Vec<Node>)>, SealError> {
        let Some(replica) = &self.leaves else { return Ok(vec![]) };
        let arity = self.levels.base[0] as u64;
        let missing = self.bases[base].first_row;
        let span = arity.pow(missing as u32);
        let mut start = position - position % span;
        let first_leaf = base as u64 * self.base_leaves + start;
        let mut nodes = replica.range(first_leaf, span as usize)?;
        for (index, node) in nodes.iter().enumerate() {
            replica.element(first_leaf + index as u64, node)?;
        }
        let mut rows = vec![];
        for _ in 0..missing {
            let above = nodes
                .chunks(arity as usize)
                .map(|children| hash_children(self.tree, children).expect("checked field elements"))
                .collect();
            rows.push((start, std::mem::replace(&mut nodes, above)));
            start /= arity;
        }
        Ok(rows)
    }
}

impl BaseTree {
    fn row_nodes(&self, row: usize, first: u64, count: usize) -> Result<Vec<Node>, SealError> {
        let start: u64 = self.rows[self.first_row..row].iter().sum();
        self.file.range(start + first, count)
    }
}

fn step(mut children: Vec<Node>, position: usize) -> PathElement {
    children.remove(position);
    PathElement { hashes: children, index: position as u64 }
}

/// Turns steps of nodes into [`Progress`] calls in bytes.
pub(crate) struct NodeProgress<'a> {
    done: u64,
    total: u64,
    progress: Progress<'a>,
}

impl<'a> NodeProgress<'a> {
    pub(crate) fn new(total_nodes: u64, progress: Progress<'a>) -> Self {
        Self { done: 0, total: total_nodes * 32, progress }
    }

    pub(crate) fn add(&mut self, nodes: u64) {
        self.done += nodes * 32;
        (self.progress)(self.done, self.total);
    }
}
