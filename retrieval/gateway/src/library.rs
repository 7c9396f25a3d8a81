//! CAR files, folders and a store, served together and without a ledger.
//!
//! A library is put together before it serves and never changes afterwards. A question goes to the store first, then to the
//! folders, then to the archives, each in the order in which they came; the first that has the answer gives it. Archives hold
//! blocks and no names: what is in them is asked for by CID.

use std::sync::Arc;

use cairn_content::{CarArchive, Dataset, HotStore, PieceGroups};
use cairn_protocol::CommP;
use cid::Cid;

use crate::hot_store::{block_resource, dataset_entry, open};
use crate::source::{ContentSource, DataEntry, PieceResource, Resource, SourceCounts, SourceError};

/// Everything that one gateway serves.
#[derive(Debug, Default)]
pub struct Library {
    store: Option<Arc<HotStore>>,
    datasets: Vec<Arc<Dataset>>,
    archives: Vec<CarArchive>,
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

    /// Datasets of the store and of the folders.
    pub fn datasets(&self) -> Vec<Arc<Dataset>> {
        let stored = self.store.iter().flat_map(|store| store.datasets());
        stored.chain(self.datasets.iter().cloned()).collect()
    }

    /// The dataset with this root CID, in text, or with this name.
    pub fn dataset(&self, root_or_name: &str) -> Option<Arc<Dataset>> {
        let stored = self.store.as_ref().and_then(|store| store.find(root_or_name));
        let is_it = |dataset: &&Arc<Dataset>| {
            dataset.name() == root_or_name || root_or_name.parse().is_ok_and(|root: Cid| root == dataset.root())
        };
        stored.or_else(|| self.datasets.iter().find(is_it).cloned())
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
        Ok(self.datasets.iter().find(|dataset| dataset.name() == name).map(|dataset| dataset.root()))
    }

    fn data(&self, root: &Cid, path: &[String]) -> Result<Option<DataEntry>, SourceError> {
        let stored = self.store.as_ref().and_then(|store| store.get(root));
        let dataset = stored.or_else(|| self.datasets.iter().find(|dataset| dataset.root() == *root).cloned());
        dataset.map_or(Ok(None), |dataset| dataset_entry(&dataset, path))
    }

    fn block(&self, cid: &Cid) -> Result<Option<Resource>, SourceError> {
        let stored = self.store.as_ref().and_then(|store| HotStore::block(store, cid));
        let block = stored.or_else(|| self.datasets.iter().find_map(|dataset| dataset.block(cid)));
        if let Some(block) = block {
            return block_resource(block).map(Some);
        }
        self.archives.iter().find_map(|archive| archive.block(cid)).map(|slice| open(&slice)).transpose()
    }

    fn piece_groups(&self, comm_p: &CommP) -> Result<Option<PieceGroups>, SourceError> {
        self.store.as_ref().map_or(Ok(None), |store| ContentSource::piece_groups(store.as_ref(), comm_p))
    }

    fn holds(&self, root: &Cid, block: &Cid) -> bool {
        let stored = self.store.as_ref().is_some_and(|store| store.holds(root, block));
        stored || self.datasets.iter().any(|dataset| dataset.root() == *root && dataset.block(block).is_some())
    }

    fn counts(&self) -> SourceCounts {
        let stored = self.store.as_ref().map(|store| ContentSource::counts(store.as_ref())).unwrap_or_default();
        SourceCounts { datasets: stored.datasets + self.datasets.len() as u64, ..stored }
    }
}
