//! A dataset on its way in.
//!
//! A fetcher gets a [`Staging`] from [`crate::HotStore::begin`], writes plain files into [`Staging::files_dir`] at the paths that
//! the graph names, and commits. The folder survives restarts: the next `begin` for the same root finds what is there.
//!
//! Commit, in this order:
//! 1. hash everything in the folder and compare the root CID, so that nothing wrong ever becomes visible;
//! 2. write the index, sync every file and folder;
//! 3. rename the folder into `datasets/` and sync that.
//!
//! A crash before 3 leaves the staging folder, a crash after 3 the dataset. Files must not be written to once commit begins.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cid::Cid;

use crate::dataset::{Dataset, ImportError};
use crate::durable;
use crate::index::FILES;
use crate::scan::{self, Selection};
use crate::store::{HotStore, StoreError};

/// Folder for what the fetcher wants to remember between runs.
const SCRATCH: &str = "scratch";

/// Why a fetched dataset did not become visible. The staging folder is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The files are not the dataset: something is missing, damaged or too much.
    #[error("the files in {path} have root {got}, expected {expected}", path = path.display())]
    Root {
        /// The folder.
        path: PathBuf,
        /// Root that was to be fetched.
        expected: Cid,
        /// Root of the files.
        got: Cid,
    },
    /// The files could not be hashed.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The store could not take them.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A folder that will become a dataset. Dropping it keeps what was fetched for the next attempt.
#[derive(Debug)]
pub struct Staging {
    store: Arc<HotStore>,
    root: Cid,
    dir: PathBuf,
}

impl Staging {
    pub(crate) fn new(store: Arc<HotStore>, root: Cid, dir: PathBuf) -> Staging {
        Staging { store, root, dir }
    }

    /// Root CID of the dataset that is fetched.
    pub fn root(&self) -> &Cid {
        &self.root
    }

    /// Where the plain files go, and nothing else. If the dataset is a single file, exactly one file of any name.
    pub fn files_dir(&self) -> PathBuf {
        self.dir.join(FILES)
    }

    /// Where the fetcher may keep notes, such as which leaves it has. Deleted by commit.
    pub fn scratch_dir(&self) -> PathBuf {
        self.dir.join(SCRATCH)
    }

    /// Checks the files and makes them a dataset of the store. `name` defaults to the root CID.
    pub fn commit(
        self,
        name: Option<&str>,
        workers: NonZeroUsize,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Arc<Dataset>, CommitError> {
        let files = self.files_dir();
        let name = name.map_or_else(|| self.root.to_string(), str::to_owned);
        let dataset = self.hash(&files, name, workers, progress)?;
        durable::remove_all(&self.scratch_dir()).map_err(StoreError::from)?;
        Ok(self.store.publish(&self.dir, dataset)?)
    }

    fn hash(
        &self,
        files: &Path,
        name: String,
        workers: NonZeroUsize,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Dataset, CommitError> {
        let found = scan::scan(files, Selection::Exact).map_err(ImportError::from)?;
        let dataset = Dataset::from_scan(found, name, workers, progress)?;
        let got = dataset.root();
        if got == self.root {
            return Ok(dataset);
        }
        let mismatch = CommitError::Root { path: files.to_owned(), expected: self.root, got };
        dataset.into_single_file().filter(|file| file.root() == self.root).ok_or(mismatch)
    }

    /// Throws away everything that was fetched.
    pub fn abandon(self) -> Result<(), StoreError> {
        durable::remove_all(&self.dir)?;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.store.end_fetch(&self.root);
    }
}
