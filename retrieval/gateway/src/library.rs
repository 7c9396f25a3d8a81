//! CAR files, folders and a store, served together and without a ledger.
//!
//! A library is put together before it serves and never changes afterwards. A question goes to the store first, then to the
//! folders, then to the archives, each in the order in which they came; the first that has the answer gives it. Archives hold
//! blocks and no names: what is in them is asked for by CID.

use std::sync::Arc;

use cairn_content::{CarArchive, Dataset, FileEntry, HotStore, PieceGroups};
use cairn_protocol::CommP;
use cid::Cid;

use crate::hot_store::{block_resource, dataset_entry, open};
use crate::source::{ContentSource, DataEntry, PieceResource, Resource, SourceCounts, SourceError};

/// Datasets whose files stand elsewhere, in an origin that gateways share.
pub trait RemoteShelf: ContentSource + std::fmt::Debug {
    /// All of them.
    fn datasets(&self) -> Vec<Arc<Dataset>>;

    /// The one with this root CID, in text, or with this name.
    fn find(&self, root_or_name: &str) -> Option<Arc<Dataset>>;

    /// Opens a file of one of them.
    ///
    /// # Errors
    /// [`SourceError`] if it cannot be opened.
    fn open_file(&self, dataset: &Arc<Dataset>, file: &FileEntry) -> Result<Resource, SourceError>;
}

/// Everything that one gateway serves.
#[derive(Debug, Default)]
pub struct Library {
    store: Option<Arc<HotStore>>,
    datasets: Vec<Arc<Dataset>>,
    archives: Vec<CarArchive>,
    origins: Vec<Arc<dyn RemoteShelf>>,
}

impl Library {
    /// Everything in a store; it may take in more while it is served.
    #[must_use]
    pub fn with_store(mut self, store: Arc<HotStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// A file or folder where it lies.
    pub fn add_dataset(&mut self, dataset: Arc<Dataset>) {
        self.datasets.push(dataset);
    }

    /// The blocks of a CAR file.
    pub fn add_archive(&mut self, archive: CarArchive) {
        self.archives.push(archive);
    }

    /// The datasets of an origin. It is asked last.
    pub fn add_origin(&mut self, origin: Arc<dyn RemoteShelf>) {
        self.origins.push(origin);
    }

    /// Datasets of the store, of the folders and of the origins.
    pub fn datasets(&self) -> Vec<Arc<Dataset>> {
        let stored = self.store.iter().flat_map(|store| store.datasets());
        let remote = self.origins.iter().flat_map(|origin| origin.datasets());
        stored.chain(self.datasets.iter().cloned()).chain(remote).collect()
    }

    /// Opens a file of a dataset, wherever it stands.
    ///
    /// # Errors
    /// [`SourceError`] if it cannot be opened.
    pub fn open_file(&self, dataset: &Arc<Dataset>, file: &FileEntry) -> Result<Resource, SourceError> {
        // A dataset of an origin is the very one that the origin gave; the same files may stand here too.
        let root = dataset.root().to_string();
        let is_its =
            |origin: &&Arc<dyn RemoteShelf>| origin.find(&root).is_some_and(|remote| Arc::ptr_eq(&remote, dataset));
        match self.origins.iter().find(is_its) {
            Some(origin) => origin.open_file(dataset, file),
            None => open(&dataset.slice(file)),
        }
    }

    /// The dataset with this root CID, in text, or with this name.
    pub fn dataset(&self, root_or_name: &str) -> Option<Arc<Dataset>> {
        let stored = self.store.as_ref().and_then(|store| store.find(root_or_name));
        let is_it = |dataset: &&Arc<Dataset>| {
            dataset.name() == root_or_name || root_or_name.parse().is_ok_and(|root: Cid| root == dataset.root())
        };
        let local = stored.or_else(|| self.datasets.iter().find(is_it).cloned());
        local.or_else(|| self.origins.iter().find_map(|origin| origin.find(root_or_name)))
    }

    /// The archives.
    pub fn archives(&self) -> &[CarArchive] {
        &self.archives
    }
}

impl ContentSource for Library {
    fn piece(&self, comm_p: &CommP) -> Result<Option<PieceResource>, SourceError> {
        self.store.as_ref().map_or(Ok(None), |store| ContentSource::piece(store.as_ref(), comm_p))
    }

    fn dataset_by_name(&self, name: &str) -> Result<Option<Cid>, SourceError> {
        if let Some(root) = self.store.as_ref().map(|store| store.dataset_by_name(name)).transpose()?.flatten() {
            return Ok(Some(root));
        }
        let local = self.datasets.iter().find(|dataset| dataset.name() == name).cloned();
        let found = local.or_else(|| self.origins.iter().find_map(|origin| origin.find(name)));
        Ok(found.map(|dataset| dataset.root()))
    }

    fn data(&self, root: &Cid, path: &[String]) -> Result<Option<DataEntry>, SourceError> {
        let stored = self.store.as_ref().and_then(|store| store.get(root));
        let dataset = stored.or_else(|| self.datasets.iter().find(|dataset| dataset.root() == *root).cloned());
        if let Some(dataset) = dataset {
            return dataset_entry(&dataset, path);
        }
        self.origins.iter().find_map(|origin| origin.data(root, path).transpose()).transpose()
    }

    fn block(&self, cid: &Cid) -> Result<Option<Resource>, SourceError> {
        let stored = self.store.as_ref().and_then(|store| HotStore::block(store, cid));
        let block = stored.or_else(|| self.datasets.iter().find_map(|dataset| dataset.block(cid)));
        if let Some(block) = block {
            return block_resource(block).map(Some);
        }
        if let Some(slice) = self.archives.iter().find_map(|archive| archive.block(cid)) {
            return open(&slice).map(Some);
        }
        self.origins.iter().find_map(|origin| origin.block(cid).transpose()).transpose()
    }

    fn piece_groups(&self, comm_p: &CommP) -> Result<Option<PieceGroups>, SourceError> {
        self.store.as_ref().map_or(Ok(None), |store| ContentSource::piece_groups(store.as_ref(), comm_p))
    }

    fn holds(&self, root: &Cid, block: &Cid) -> bool {
        let stored = self.store.as_ref().is_some_and(|store| store.holds(root, block));
        let local = || self.datasets.iter().any(|dataset| dataset.root() == *root && dataset.block(block).is_some());
        stored || local() || self.origins.iter().any(|origin| origin.holds(root, block))
    }

    fn counts(&self) -> SourceCounts {
        let stored = self.store.as_ref().map(|store| ContentSource::counts(store.as_ref())).unwrap_or_default();
        let remote: u64 = self.origins.iter().map(|origin| origin.counts().datasets).sum();
        SourceCounts { datasets: stored.datasets + self.datasets.len() as u64 + remote, ..stored }
    }
}
