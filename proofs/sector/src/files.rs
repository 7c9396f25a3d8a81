//! Names and places of a sector's files, as Filecoin's tools expect them.
//!
//! ```text
//! DIR/staged                              fr32-padded data, whole sector
//! DIR/sealed                              the replica
//! DIR/cache/sc-02-data-layer-N.dat        labels of layer N, N from 1
//! DIR/cache/sc-02-data-tree-d.dat         binary SHA-256 tree over staged: leaves, then every row up to the root
//! DIR/cache/sc-02-data-tree-c[-i].dat     Poseidon tree over the columns, one file for each base tree
//! DIR/cache/sc-02-data-tree-r-last[-i].dat  Poseidon tree over the replica, without leaves and lowest rows
//! DIR/cache/p_aux                         CommC, CommR-last: 64 bytes
//! ```
//!
//! Every file is written under `<name>.tmp`, synced and renamed, so that a name that exists is a file that is whole.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cairn_compute::Node;
use cairn_protocol::SectorParams;

use crate::error::{IoContext, SealError};

const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// The files of one sector, below one folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectorFiles {
    dir: PathBuf,
}

impl SectorFiles {
    /// Names files below `dir`; touches nothing.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The sector's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Padded, unsealed data.
    pub fn staged(&self) -> PathBuf {
        self.dir.join("staged")
    }

    /// The replica.
    pub fn sealed(&self) -> PathBuf {
        self.dir.join("sealed")
    }

    /// Folder of layers and trees.
    pub fn cache_dir(&self) -> PathBuf {
        self.dir.join("cache")
    }

    /// Labels of layer `layer`, counted from 1.
    pub fn layer(&self, layer: usize) -> PathBuf {
        self.cache_dir().join(format!("sc-02-data-layer-{layer}.dat"))
    }

    /// Tree over the data.
    pub fn tree_d(&self) -> PathBuf {
        self.cache_dir().join("sc-02-data-tree-d.dat")
    }

    /// Base trees over the columns.
    pub fn tree_c(&self, params: &SectorParams) -> Vec<PathBuf> {
        self.base_trees("tree-c", params)
    }

    /// Base trees over the replica.
    pub fn tree_r_last(&self, params: &SectorParams) -> Vec<PathBuf> {
        self.base_trees("tree-r-last", params)
    }

    /// CommC and CommR-last.
    pub fn p_aux(&self) -> PathBuf {
        self.cache_dir().join("p_aux")
    }

    fn base_trees(&self, tree: &str, params: &SectorParams) -> Vec<PathBuf> {
        match params.tree_shape.base_trees() {
            1 => vec![self.cache_dir().join(format!("sc-02-data-{tree}.dat"))],
            count => (0..count).map(|index| self.cache_dir().join(format!("sc-02-data-{tree}-{index}.dat"))).collect(),
        }
    }

    pub(crate) fn create_folders(&self) -> Result<(), SealError> {
        let cache = self.cache_dir();
        fs::create_dir_all(&cache).context("create", &cache)
    }
}

/// A file on its way to being whole: written under a temporary name, which [`NewFile::finish`] replaces.
pub(crate) struct NewFile {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl NewFile {
    pub(crate) fn create(path: &Path) -> Result<Self, SealError> {
        let temporary = temporary(path);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&temporary);
        let writer = BufWriter::with_capacity(WRITE_BUFFER_BYTES, file.context("create", &temporary)?);
        Ok(Self { path: path.to_owned(), writer })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), SealError> {
        self.writer.write_all(bytes).context("write", &self.path)
    }

    /// Nodes written before, from the `first` on.
    pub(crate) fn read_nodes(&mut self, first: u64, count: usize) -> Result<Vec<Node>, SealError> {
        self.writer.flush().context("write", &self.path)?;
        let mut nodes = vec![[0u8; 32]; count];
        self.writer.get_ref().read_exact_at(nodes.as_flattened_mut(), first * 32).context("read", &self.path)?;
        Ok(nodes)
    }

    pub(crate) fn finish(mut self) -> Result<(), SealError> {
        self.writer.flush().context("write", &self.path)?;
        self.writer.get_ref().sync_all().context("sync", &self.path)?;
        fs::rename(temporary(&self.path), &self.path).context("rename", &self.path)?;
        let folder = self.path.parent().expect("a sector's files lie in a folder");
        File::open(folder).and_then(|folder| folder.sync_all()).context("sync", folder)
    }
}

fn temporary(path: &Path) -> PathBuf {
    path.with_added_extension("tmp")
}

/// Opens a file that must have `expected` bytes.
pub(crate) fn open_exact(path: &Path, expected: u64) -> Result<File, SealError> {
    let file = File::open(path).context("open", path)?;
    let got = file.metadata().context("read", path)?.len();
    if got != expected {
        return Err(SealError::WrongLength { path: path.to_owned(), expected, got });
    }
    Ok(file)
}
