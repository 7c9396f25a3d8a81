//! Leaves of an origin: from memory, else from the folder, else from the origin, once.
//!
//! 1. A leaf in memory is given. One that is on its way is waited for. One in the folder is read and checked.
//! 2. Else a request is made for the leaf and those after it that the reader will want too, are missing, and lie in the same
//!    slice of 8 MiB. Each of them is on its way from then on: whoever asks for one waits for this request.
//! 3. Requests that run or wait are counted; when the count is at its bound the answer is [`FetchError::Busy`], at once.
//! 4. What comes is cut into leaves and each is hashed. A wrong one fails alone, and is kept nowhere.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cairn_content::{FileEntry, LEAF_BYTES};
use cairn_gateway::SourceError;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::disk::{DiskError, DiskOptions, DiskTier};
use crate::memory::{Digest, Memory};
use crate::origin::file_path;

/// Leaves in a slice: a request to the origin has at most so many.
pub(crate) const SLICE_LEAVES: usize = 8;

/// How much a cache holds and asks for.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// Most bytes of leaves in memory. Default 512 MiB.
    pub memory_bytes: u64,
    /// A folder for more of them. Default none.
    pub disk: Option<DiskOptions>,
    /// Most requests to the origin at a time, each of at most 8 MiB. Default 32.
    pub fetches_max: usize,
    /// Most requests that wait for their turn. Default 128.
    pub queue_max: usize,
    /// Longest time for a request, its waiting and its repetitions included. Default 20 s.
    pub fetch_timeout: Duration,
    /// What a client that comes too early is told. Default 2 s.
    pub retry_after: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 512 << 20,
            disk: None,
            fetches_max: 32,
            queue_max: 128,
            fetch_timeout: Duration::from_secs(20),
            retry_after: Duration::from_secs(2),
        }
    }
}

/// Why a leaf is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Too many requests are running and waiting. Retrying helps.
    #[error("the limit of {limit} requests to the origin is reached")]
    Busy {
        /// The limit.
        limit: usize,
    },
    /// The origin does not answer, or not with bytes. Retrying helps when it is back.
    #[error("the origin is away: {detail}")]
    Away {
        /// What happened.
        detail: String,
    },
    /// The origin has other bytes than the index says, or none. Retrying helps once the dataset is published again.
    #[error("the origin is damaged: {object}, byte {offset}: {detail}")]
    Damaged {
        /// The object.
        object: String,
        /// First byte of the leaf.
        offset: u64,
        /// Expected and got.
        detail: String,
    },
}

/// What a cache has done since it was made; for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheCounts {
    /// Leaves asked for by readers.
    pub leaves: u64,
    /// Of these, given from memory.
    pub memory_hits: u64,
    /// Of these, given from the folder.
    pub disk_hits: u64,
    /// Of these, waited for while they were on their way for somebody else, or read ahead.
    pub shared: u64,
    /// Requests made to the origin.
    pub origin_requests: u64,
    /// Bytes asked of the origin.
    pub origin_bytes: u64,
    /// Requests that ended without bytes.
    pub origin_failures: u64,
    /// Leaves with wrong bytes.
    pub damaged: u64,
    /// Readers turned away because of the bound.
    pub busy: u64,
    /// Bytes in memory now.
    pub memory_bytes: u64,
    /// Bytes in the folder now.
    pub disk_bytes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    leaves: AtomicU64,
    memory_hits: AtomicU64,
    disk_hits: AtomicU64,
    shared: AtomicU64,
    origin_requests: AtomicU64,
    origin_bytes: AtomicU64,
    origin_failures: AtomicU64,
    damaged: AtomicU64,
    busy: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// A leaf on its way.
#[derive(Debug, Default)]
struct Flight {
    landed: Mutex<Option<Result<Bytes, FetchError>>>,
    signal: Condvar,
}

impl Flight {
    fn land(&self, result: Result<Bytes, FetchError>) {
        *self.landed.lock().expect("no panic holds a flight") = Some(result);
        self.signal.notify_all();
    }

    fn wait(&self, longest: Duration) -> Result<Bytes, FetchError> {
        let landed = self.landed.lock().expect("no panic holds a flight");
        let (landed, _) = self
            .signal
            .wait_timeout_while(landed, longest, |landed| landed.is_none())
            .expect("no panic holds a flight");
        landed.clone().unwrap_or_else(|| Err(FetchError::Away { detail: "no answer in time".into() }))
    }
}

#[derive(Debug)]
struct Inside {
    memory: Memory,
    flights: HashMap<Digest, Arc<Flight>>,
}

/// Leaves of an origin, kept.
#[derive(Debug)]
pub struct SliceCache {
    store: Arc<dyn ObjectStore>,
    handle: Handle,
    options: CacheOptions,
    disk: Option<DiskTier>,
    inside: Mutex<Inside>,
    /// Requests running and waiting.
    pending: AtomicUsize,
    turns: Semaphore,
    counters: Counters,
}

/// A run of leaves that one request brings.
struct Run {
    object: ObjectPath,
    bytes: Range<u64>,
    leaves: Vec<(Digest, Range<usize>, Arc<Flight>)>,
}

impl SliceCache {
    /// An empty cache, or one with what its folder holds. Requests are made on the runtime of `handle`.
    ///
    /// # Errors
    /// [`DiskError`] if the folder cannot be used.
    pub fn new(store: Arc<dyn ObjectStore>, handle: Handle, options: CacheOptions) -> Result<Self, DiskError> {
        let disk = options.disk.as_ref().map(DiskTier::open).transpose()?;
        let inside = Mutex::new(Inside { memory: Memory::new(options.memory_bytes), flights: HashMap::new() });
        let turns = Semaphore::new(options.fetches_max);
        let (pending, counters) = (AtomicUsize::new(0), Counters::default());
        Ok(Self { store, handle, options, disk, inside, pending, turns, counters })
    }

    /// What was done so far.
    pub fn counts(&self) -> CacheCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        CacheCounts {
            leaves: read(&counters.leaves),
            memory_hits: read(&counters.memory_hits),
            disk_hits: read(&counters.disk_hits),
            shared: read(&counters.shared),
            origin_requests: read(&counters.origin_requests),
            origin_bytes: read(&counters.origin_bytes),
            origin_failures: read(&counters.origin_failures),
            damaged: read(&counters.damaged),
            busy: read(&counters.busy),
            memory_bytes: self.inside.lock().expect("no panic holds the cache").memory.used(),
            disk_bytes: self.disk.as_ref().map_or(0, DiskTier::used),
        }
    }

    /// Leaf `wanted.start` of a file; the others of `wanted` will be asked for next. Blocks.
    ///
    /// # Errors
    /// [`FetchError`], never later than the longest time of a request allows.
    pub fn leaf(self: &Arc<Self>, file: &FileEntry, wanted: Range<usize>) -> Result<Bytes, FetchError> {
        let digest = file.leaf_digests()[wanted.start];
        add(&self.counters.leaves, 1);
        if let Some(bytes) = self.inside.lock().expect("no panic holds the cache").memory.get(&digest) {
            add(&self.counters.memory_hits, 1);
            return Ok(bytes);
        }
        if let Some(bytes) = self.disk.as_ref().and_then(|disk| disk.read(&digest)) {
            add(&self.counters.disk_hits, 1);
            self.inside.lock().expect("no panic holds the cache").memory.insert(digest, bytes.clone());
            return Ok(bytes);
        }
        let started = self.start(file, wanted, self.options.fetches_max + self.options.queue_max);
        let flight = match started.inspect_err(|_| add(&self.counters.busy, 1))? {
            Started::Here(bytes) => return Ok(bytes),
            Started::Joined(flight) => {
                add(&self.counters.shared, 1);
                flight
            }
            Started::New(flight) => flight,
        };
        // A little longer than the request may take, so that its own account of a failure comes first.
        flight.wait(self.options.fetch_timeout + Duration::from_secs(1))
    }

    /// Asks for the first slice of `wanted` while nobody waits for it yet, if there is a free turn.
    pub(crate) fn read_ahead(self: &Arc<Self>, file: &FileEntry, wanted: Range<usize>) {
        let digest = &file.leaf_digests()[wanted.start];
        if !self.disk.as_ref().is_some_and(|disk| disk.contains(digest)) {
            // Refused, it is asked for when it is needed.
            _ = self.start(file, wanted, self.options.fetches_max);
        }
    }

    fn start(self: &Arc<Self>, file: &FileEntry, wanted: Range<usize>, limit: usize) -> Result<Started, FetchError> {
        let mut inside = self.inside.lock().expect("no panic holds the cache");
        let digests = file.leaf_digests();
        if let Some(bytes) = inside.memory.get(&digests[wanted.start]) {
            return Ok(Started::Here(bytes));
        }
        if let Some(flight) = inside.flights.get(&digests[wanted.start]) {
            return Ok(Started::Joined(Arc::clone(flight)));
        }
        // Only ever raised under the lock of `inside`.
        if self.pending.load(Ordering::Acquire) >= limit {
            return Err(FetchError::Busy { limit });
        }
        self.pending.fetch_add(1, Ordering::AcqRel);
        let slice_end = (wanted.start / SLICE_LEAVES + 1) * SLICE_LEAVES;
        let first_byte = wanted.start as u64 * LEAF_BYTES;
        let mut run = Run { object: file_path(&file.cid), bytes: first_byte..first_byte, leaves: Vec::new() };
        let wanted_here = wanted.start..wanted.end.min(slice_end).min(digests.len());
        for (number, &digest) in wanted_here.clone().zip(&digests[wanted_here]) {
            let on_disk = || self.disk.as_ref().is_some_and(|disk| disk.contains(&digest));
            let first = number == wanted.start;
            if !first && (inside.memory.contains(&digest) || inside.flights.contains_key(&digest) || on_disk()) {
                break;
            }
            let end = ((number as u64 + 1) * LEAF_BYTES).min(file.size);
            let place = (run.bytes.end - first_byte) as usize..(end - first_byte) as usize;
            run.bytes.end = end;
            let flight = Arc::<Flight>::default();
            inside.flights.insert(digest, Arc::clone(&flight));
            run.leaves.push((digest, place, flight));
        }
        let flight = Arc::clone(&run.leaves[0].2);
        drop(inside);
        let cache = Arc::clone(self);
        self.handle.spawn(async move { cache.fetch(run).await });
        Ok(Started::New(flight))
    }

    async fn fetch(self: Arc<Self>, run: Run) {
        let asked = async {
            let _turn = self.turns.acquire().await.expect("it is never closed");
            add(&self.counters.origin_requests, 1);
            add(&self.counters.origin_bytes, run.bytes.end - run.bytes.start);
            self.store.get_range(&run.object, run.bytes.clone()).await
        };
        let came = match tokio::time::timeout(self.options.fetch_timeout, asked).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(object_store::Error::NotFound { .. })) => Err(FetchError::Damaged {
                object: run.object.to_string(),
                offset: run.bytes.start,
                detail: "it is not there".into(),
            }),
            Ok(Err(error)) => Err(FetchError::Away { detail: error.to_string() }),
            Err(_) => Err(FetchError::Away { detail: format!("no answer within {:?}", self.options.fetch_timeout) }),
        };
        if let Err(error) = &came {
            add(&self.counters.origin_failures, 1);
            tracing::warn!(%error, object = %run.object, "a request to the origin failed");
        }
        let cache = Arc::clone(&self);
        // Hashing and writing take milliseconds: not on a thread that drives sockets.
        self.handle.spawn_blocking(move || cache.land(&run, &came));
    }

    fn land(&self, run: &Run, came: &Result<Bytes, FetchError>) {
        let (last, others) = run.leaves.split_last().expect("a request is made for a leaf");
        for (digest, place, flight) in others {
            let leaf = self.take_in(run, digest, place, came);
            flight.land(leaf.clone());
            self.keep(digest, &leaf);
        }
        // The turn ends after all is written, so that a slow disk slows the requests, and before the last reader is told, who
        // may come again at once and must not stand in its own way.
        let (digest, place, flight) = last;
        let leaf = self.take_in(run, digest, place, came);
        self.keep(digest, &leaf);
        self.pending.fetch_sub(1, Ordering::AcqRel);
        flight.land(leaf);
    }

    /// Checks a leaf that came; from then on it is not on its way any more.
    fn take_in(
        &self,
        run: &Run,
        digest: &Digest,
        place: &Range<usize>,
        came: &Result<Bytes, FetchError>,
    ) -> Result<Bytes, FetchError> {
        let leaf = came.clone().and_then(|bytes| self.check(run, digest, place, &bytes));
        let mut inside = self.inside.lock().expect("no panic holds the cache");
        if let Ok(bytes) = &leaf {
            inside.memory.insert(*digest, bytes.clone());
        }
        inside.flights.remove(digest);
        leaf
    }

    /// Writes a leaf into the folder.
    fn keep(&self, digest: &Digest, leaf: &Result<Bytes, FetchError>) {
        if let (Ok(bytes), Some(disk)) = (leaf, &self.disk) {
            disk.insert(*digest, bytes);
        }
    }

    fn check(&self, run: &Run, digest: &Digest, place: &Range<usize>, bytes: &Bytes) -> Result<Bytes, FetchError> {
        let leaf = bytes.get(place.clone()).unwrap_or_default();
        let got: Digest = Sha256::digest(leaf).into();
        if got == *digest {
            // A copy, so that one leaf that is kept does not keep its whole slice.
            return Ok(Bytes::copy_from_slice(leaf));
        }
        add(&self.counters.damaged, 1);
        let error = FetchError::Damaged {
            object: run.object.to_string(),
            offset: run.bytes.start + place.start as u64,
            detail: format!("expected SHA-256 {}, got {}", hex::encode(digest), hex::encode(got)),
        };
        tracing::error!(%error, "wrong bytes from the origin; they are not served");
        Err(error)
    }

    /// The failure as the gateway tells it.
    pub(crate) fn source_error(&self, error: FetchError) -> SourceError {
        let retry_after_seconds = self.options.retry_after.as_secs().max(1);
        match error {
            FetchError::Damaged { .. } => SourceError::Upstream { detail: error.to_string() },
            other => SourceError::Unavailable { detail: other.to_string(), retry_after_seconds },
        }
    }
}

enum Started {
    Here(Bytes),
    Joined(Arc<Flight>),
    New(Arc<Flight>),
}
