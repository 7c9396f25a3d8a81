//! Reading files of nodes: one at a time at any place, or in order in large chunks.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cairn_compute::{Fr, Node, NonCanonicalNode, fr_from_node};

use crate::error::{IoContext, SealError};
use crate::files::open_exact;

/// Nodes read at once when a whole file passes by: 2 MiB. A power of eight, so that chunks hold whole subtrees.
pub const CHUNK_NODES: usize = 1 << 15;

/// A file of nodes of known length.
#[derive(Debug)]
pub struct NodeFile {
    path: PathBuf,
    file: File,
    nodes: u64,
}

impl NodeFile {
    /// Opens `path`, which must hold exactly `nodes` nodes.
    ///
    /// # Errors
    /// [`SealError::Io`], or [`SealError::WrongLength`] with both lengths.
    pub fn open(path: &Path, nodes: u64) -> Result<Self, SealError> {
        Ok(Self { path: path.to_owned(), file: open_exact(path, nodes * 32)?, nodes })
    }

    /// Its length in nodes.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// The node at `index`.
    ///
    /// # Errors
    /// [`SealError::Io`].
    pub fn node(&self, index: u64) -> Result<Node, SealError> {
        let mut node = [0u8; 32];
        self.file.read_exact_at(&mut node, index * 32).context("read", &self.path)?;
        Ok(node)
    }

    /// The nodes from `first` on.
    ///
    /// # Errors
    /// [`SealError::Io`].
    pub fn range(&self, first: u64, count: usize) -> Result<Vec<Node>, SealError> {
        let mut nodes = vec![[0u8; 32]; count];
        self.file.read_exact_at(nodes.as_flattened_mut(), first * 32).context("read", &self.path)?;
        Ok(nodes)
    }

    /// Names the place of a node that is no field element.
    pub(crate) fn element(&self, index: u64, node: &Node) -> Result<Fr, SealError> {
        fr_from_node(node).map_err(|source| self.damaged(index, source))
    }

    pub(crate) fn damaged(&self, index: u64, source: NonCanonicalNode) -> SealError {
        SealError::NonCanonicalNode { path: self.path.clone(), node: index, source }
    }
}

/// Starts and lengths of the chunks that cover `nodes` nodes.
pub fn chunks(nodes: u64) -> impl Iterator<Item = (u64, usize)> {
    chunks_of(nodes, CHUNK_NODES as u64)
}

/// The same with chunks of `size` nodes.
pub fn chunks_of(nodes: u64, size: u64) -> impl Iterator<Item = (u64, usize)> {
    (0..nodes.div_ceil(size)).map(move |chunk| (chunk * size, (nodes - chunk * size).min(size) as usize))
}
