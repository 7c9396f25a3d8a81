//! An origin as a source of the gateway.
//!
//! The indexes of all datasets are in memory and looked for again now and then; an origin that is away leaves those that are
//! known. A question about a dataset, a folder or an interior node is answered without the origin; bytes of files come
//! through the cache. Pieces are not served from here: a provider has them in its store.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use cairn_content::{ByteSource, Dataset, FileEntry, LEAF_BYTES};
use cairn_gateway::{
    ContentSource, DataEntry, PieceResource, RangeReader, RemoteShelf, Resource, SourceCounts, SourceError, data_entry,
};
use cairn_protocol::CommP;
use cid::Cid;
use prometheus_client::collector::Collector;
use tokio::runtime::Runtime;

use crate::cache::{CacheCounts, CacheOptions, SLICE_LEAVES, SliceCache};
use crate::metrics::OriginCollector;
use crate::origin::{Origin, OriginError};

/// How an origin is served.
#[derive(Debug, Clone)]
pub struct OriginOptions {
    /// What is kept, and how much is asked for.
    pub cache: CacheOptions,
    /// How often datasets are looked for. Default 30 s.
    pub refresh: Duration,
    /// Threads that talk to the origin. Default 2.
    pub threads: usize,
}

impl Default for OriginOptions {
    fn default() -> Self {
        Self { cache: CacheOptions::default(), refresh: Duration::from_secs(30), threads: 2 }
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    origin: Origin,
    pub(crate) cache: Arc<SliceCache>,
    datasets: RwLock<HashMap<Cid, Arc<Dataset>>>,
}

/// The datasets of an origin. Holds threads of its own, which end with it.
#[derive(Debug)]
pub struct OriginSource {
    inner: Arc<Inner>,
    runtime: Option<Runtime>,
}

impl Drop for OriginSource {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl OriginSource {
    /// Serves an origin. One that is away is served as soon as it is back; what went wrong is in the log until then.
    ///
    /// # Errors
    /// [`OriginError`] if the cache's folder or threads are not to be had.
    pub fn start(origin: Origin, options: &OriginOptions) -> Result<Self, OriginError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.threads.max(1))
            .thread_name("origin")
            .enable_all()
            .build()
            .map_err(OriginError::Threads)?;
        let handle = runtime.handle().clone();
        let cache = Arc::new(SliceCache::new(Arc::clone(origin.store()), handle, options.cache.clone())?);
        let inner = Arc::new(Inner { origin, cache, datasets: RwLock::default() });
        let source = Self { inner, runtime: Some(runtime) };
        if let Err(error) = source.refresh() {
            tracing::warn!(%error, "the origin is away; it is asked again");
        }
        source.runtime().spawn(keep_fresh(Arc::downgrade(&source.inner), options.refresh));
        Ok(source)
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken by drop alone")
    }

    /// Looks for datasets now. Blocks; not to be called from asynchronous code.
    ///
    /// # Errors
    /// [`OriginError`] if the origin cannot be listed; what was known stays known.
    pub fn refresh(&self) -> Result<(), OriginError> {
        self.runtime().block_on(self.inner.refresh())
    }

    /// What the cache did so far.
    pub fn counts(&self) -> CacheCounts {
        self.inner.cache.counts()
    }

    /// The same, for Prometheus; empty once the source is gone.
    pub fn collector(&self) -> Box<dyn Collector> {
        Box::new(OriginCollector(Arc::downgrade(&self.inner)))
    }

    fn open(&self, dataset: &Arc<Dataset>, path: &str, bytes: Range<u64>) -> Option<Resource> {
        let position = dataset.files().binary_search_by(|file| file.path.split('/').cmp(path.split('/'))).ok()?;
        Some(self.open_number(dataset, position, bytes))
    }

    fn open_number(&self, dataset: &Arc<Dataset>, file: usize, bytes: Range<u64>) -> Resource {
        let (cache, dataset) = (Arc::clone(&self.inner.cache), Arc::clone(dataset));
        let expected_end = bytes.start;
        let len = bytes.end - bytes.start;
        Resource {
            bytes: len,
            reader: Box::new(OriginReader { cache, dataset, file, bytes, expected_end, held: None }),
        }
    }

    fn get(&self, root: &Cid) -> Option<Arc<Dataset>> {
        self.inner.datasets.read().expect("no panic holds the list").get(root).cloned()
    }
}

async fn keep_fresh(inner: Weak<Inner>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = inner.refresh().await {
            tracing::warn!(%error, "the origin cannot be listed; what is known stays");
        }
    }
}

impl Inner {
    pub(crate) fn datasets_held(&self) -> usize {
        self.datasets.read().expect("no panic holds the list").len()
    }

    async fn refresh(&self) -> Result<(), OriginError> {
        let roots = self.origin.roots().await?;
        let known = self.datasets.read().expect("no panic holds the list").clone();
        let mut now = HashMap::with_capacity(roots.len());
        for root in roots {
            let dataset = match known.get(&root) {
                Some(dataset) => Arc::clone(dataset),
                None => match self.origin.index(&root).await {
                    Ok(dataset) => Arc::new(dataset),
                    Err(error) => {
                        tracing::warn!(%root, %error, "a dataset of the origin is not served");
                        continue;
                    }
                },
            };
            now.insert(root, dataset);
        }
        *self.datasets.write().expect("no panic holds the list") = now;
        Ok(())
    }
}

/// Reads a file of a dataset, or a part of it, through the cache.
struct OriginReader {
    cache: Arc<SliceCache>,
    dataset: Arc<Dataset>,
    file: usize,
    /// The part, in bytes of the file.
    bytes: Range<u64>,
    /// Where the reader is known to stop, in bytes of the file.
    expected_end: u64,
    held: Option<(usize, Bytes)>,
}

impl OriginReader {
    fn leaf(&mut self, number: usize, needed_end: u64) -> io::Result<Bytes> {
        if let Some((_, bytes)) = self.held.as_ref().filter(|(held, _)| *held == number) {
            return Ok(bytes.clone());
        }
        let file = &self.dataset.files()[self.file];
        let end = self.expected_end.max(needed_end).min(file.size).div_ceil(LEAF_BYTES) as usize;
        let next_slice = (number / SLICE_LEAVES + 1) * SLICE_LEAVES;
        let began = self.held.as_ref().is_none_or(|(held, _)| held / SLICE_LEAVES != number / SLICE_LEAVES);
        let failed = |error| io::Error::other(self.cache.source_error(error));
        let bytes = self.cache.leaf(file, number..end).map_err(failed)?;
        // The slice after this one is asked for while this one is sent, never more, and never past what will be read.
        if began && next_slice < end {
            self.cache.read_ahead(file, next_slice..end);
        }
        self.held = Some((number, bytes.clone()));
        Ok(bytes)
    }
}

impl RangeReader for OriginReader {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.bytes.start.saturating_add(offset);
        let left = self.bytes.end.saturating_sub(at);
        let count = left.min(buffer.len() as u64);
        if count == 0 {
            return Ok(0);
        }
        let number = (at / LEAF_BYTES) as usize;
        let leaf = self.leaf(number, at + count)?;
        let within = (at % LEAF_BYTES) as usize;
        let count = leaf.len().saturating_sub(within).min(count as usize);
        buffer[..count].copy_from_slice(&leaf[within..within + count]);
        Ok(count)
    }

    fn expect(&mut self, bytes: Range<u64>) {
        self.expected_end = self.bytes.start.saturating_add(bytes.end).min(self.bytes.end);
    }
}

impl ContentSource for OriginSource {
    fn piece(&self, _: &CommP) -> Result<Option<PieceResource>, SourceError> {
        Ok(None)
    }

    fn dataset_by_name(&self, name: &str) -> Result<Option<Cid>, SourceError> {
        Ok(self.find(name).map(|dataset| dataset.root()))
    }

    fn data(&self, root: &Cid, path: &[String]) -> Result<Option<DataEntry>, SourceError> {
        let Some(dataset) = self.get(root) else { return Ok(None) };
        data_entry(&dataset, path, |file| self.open_file(&dataset, file))
    }

    fn block(&self, cid: &Cid) -> Result<Option<Resource>, SourceError> {
        let datasets = self.datasets();
        let Some((dataset, block)) = datasets.iter().find_map(|dataset| Some((dataset, dataset.block(cid)?))) else {
            return Ok(None);
        };
        Ok(match block {
            ByteSource::Inline(bytes) => Some(Resource::of_bytes(bytes)),
            // The base is empty, so this is a path of the dataset.
            ByteSource::File(slice) => {
                slice.path.to_str().and_then(|path| self.open(dataset, path, slice.offset..slice.offset + slice.len))
            }
        })
    }

    fn holds(&self, root: &Cid, block: &Cid) -> bool {
        self.get(root).is_some_and(|dataset| dataset.block(block).is_some())
    }

    fn counts(&self) -> SourceCounts {
        SourceCounts { datasets: self.inner.datasets_held() as u64, pieces: 0 }
    }
}

impl RemoteShelf for OriginSource {
    fn datasets(&self) -> Vec<Arc<Dataset>> {
        self.inner.datasets.read().expect("no panic holds the list").values().cloned().collect()
    }

    fn find(&self, root_or_name: &str) -> Option<Arc<Dataset>> {
        if let Ok(root) = root_or_name.parse() {
            return self.get(&root);
        }
        // Two datasets of one name: the same one on every gateway.
        let named = self.datasets().into_iter().filter(|dataset| dataset.name() == root_or_name);
        named.min_by_key(|dataset| dataset.root())
    }

    fn open_file(&self, dataset: &Arc<Dataset>, file: &FileEntry) -> Result<Resource, SourceError> {
        self.open(dataset, &file.path, 0..file.size).ok_or_else(|| SourceError::Damaged {
            what: "the index of a dataset".into(),
            detail: format!("{} is not in it", file.path),
        })
    }
}
