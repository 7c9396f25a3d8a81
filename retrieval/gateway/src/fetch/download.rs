//! Ranges in flight: each worker takes the next range, streams it, and verifies leaf after leaf.
//!
//! 1. The request starts at the first byte that is missing: at a leaf, or inside one if the same source broke off there.
//! 2. Every full leaf is hashed, written and marked on the blocking pool before the next byte is read. So a worker holds
//!    one leaf and one chunk, and a slow disk slows the network down.
//! 3. A leaf put together from two answers of one source has one culprit. When the source changes, the started leaf is
//!    dropped, for the same reason.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE};
use tokio::task::JoinSet;

use super::error::{FetchError, SourceFault};
use super::http::{Part, Reply};
use super::plan::RangeJob;
use super::pool::SourcePool;
use super::target::{LeafFailure, OpenTarget, Target};
use super::{Progress, ProgressFn};
use crate::path::percent_encode;
use crate::range::parse_content_range;

/// Bytes after which an attempt counts as progress, although no leaf is complete.
const PROGRESS_BYTES: usize = 16 << 10;

/// Everything the workers share.
pub(crate) struct Download {
    pub(crate) pool: Arc<SourcePool>,
    pub(crate) targets: Vec<Target>,
    pub(crate) jobs: Mutex<VecDeque<RangeJob>>,
    /// Request path of the dataset, `/data/{root}`.
    pub(crate) base: String,
    pub(crate) tally: Tally,
}

/// How far the fetch is, and who wants to know.
pub(crate) struct Tally {
    verified: AtomicU64,
    total: u64,
    callback: Option<ProgressFn>,
}

impl Tally {
    pub(crate) fn new(verified: u64, total: u64, callback: Option<ProgressFn>) -> Self {
        let tally = Self { verified: AtomicU64::new(verified), total, callback };
        tally.add(0);
        tally
    }

    fn add(&self, bytes: u64) {
        let verified = self.verified.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(callback) = &self.callback {
            callback(Progress { verified_bytes: verified, total_bytes: self.total });
        }
    }
}

/// Where a range stands: the next leaf, and what of it came already.
struct Cursor {
    job: RangeJob,
    open: Arc<OpenTarget>,
    started: Vec<u8>,
    started_by: Option<usize>,
}

/// Runs `parallel` workers until nothing is missing.
///
/// # Errors
/// The first error that ends a worker; the others are stopped.
pub(crate) async fn run(download: Arc<Download>, parallel: usize) -> Result<(), FetchError> {
    let mut workers: JoinSet<Result<(), FetchError>> = JoinSet::new();
    for _ in 0..parallel {
        let download = download.clone();
        workers.spawn(async move {
            while let Some(job) = download.next_job() {
                download.run_job(job).await?;
            }
            Ok(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.map_err(|error| FetchError::Interrupted { reason: error.to_string() })??;
    }
    Ok(())
}

/// Runs blocking work of a fetch.
///
/// # Errors
/// [`FetchError::Interrupted`] if the runtime shuts down.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, FetchError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| FetchError::Interrupted { reason: error.to_string() })
}

impl Download {
    fn next_job(&self) -> Option<RangeJob> {
        self.jobs.lock().expect("no panic under this lock").pop_front()
    }

    async fn run_job(self: &Arc<Self>, job: RangeJob) -> Result<(), FetchError> {
        let target = &self.targets[job.file];
        let opening = self.clone();
        let file = job.file;
        let open = blocking(move || opening.targets[file].open()).await??;
        let what = format!("{:?}", target.plan.path);
        let mut attempts = self.pool.attempts();
        let mut cursor = Cursor { job, open, started: Vec::new(), started_by: None };
        while !cursor.job.leaves.is_empty() {
            let turn = self.pool.next(&attempts, None, &what).await?;
            let mut moved = 0;
            match self.attempt(&mut cursor, turn.index, &mut moved).await {
                Ok(()) => {}
                Err(AttemptFailure::Fatal(error)) => return Err(error),
                Err(AttemptFailure::Fault(fault)) => {
                    if moved >= PROGRESS_BYTES {
                        attempts.progressed(turn.index);
                    }
                    self.pool.failed(&mut attempts, turn.index, fault);
                }
            }
        }
        Ok(())
    }

    /// One request for the rest of the range; `moved` counts the bytes that came.
    async fn attempt(
        self: &Arc<Self>,
        cursor: &mut Cursor,
        source: usize,
        moved: &mut usize,
    ) -> Result<(), AttemptFailure> {
        if cursor.started_by != Some(source) {
            cursor.started.clear();
            cursor.started_by = Some(source);
        }
        let plan = &self.targets[cursor.job.file].plan;
        let first = plan.leaf(cursor.job.leaves.start).offset + cursor.started.len() as u64;
        let last = plan.leaf(cursor.job.leaves.end - 1).end() - 1;
        let path = request_path(&self.base, &plan.path);
        let mut reply = self.pool.get(source, &path, Part::Closed(first, last)).await?;
        check_part(&reply, &path, first, last, plan.bytes)?;
        while !cursor.job.leaves.is_empty() {
            let Some(chunk) = reply.chunk().await? else {
                let reason = format!("the body ended early, at byte {}", first + *moved as u64);
                return Err(SourceFault::Broken { reason }.into());
            };
            *moved += chunk.len();
            self.take(cursor, source, &chunk).await?;
        }
        self.pool.give_back(source, reply);
        Ok(())
    }

    /// Adds bytes to the started leaf and stores every leaf that gets complete. Bytes past the range are ignored.
    async fn take(
        self: &Arc<Self>,
        cursor: &mut Cursor,
        source: usize,
        mut chunk: &[u8],
    ) -> Result<(), AttemptFailure> {
        while !chunk.is_empty() && !cursor.job.leaves.is_empty() {
            let leaf = cursor.job.leaves.start;
            let leaf_bytes = self.targets[cursor.job.file].plan.leaf(leaf).bytes as usize;
            if cursor.started.is_empty() {
                cursor.started.reserve_exact(leaf_bytes);
            }
            let (taken, rest) = chunk.split_at(chunk.len().min(leaf_bytes - cursor.started.len()));
            cursor.started.extend_from_slice(taken);
            chunk = rest;
            if cursor.started.len() == leaf_bytes {
                self.store(cursor, source, leaf).await?;
            }
        }
        Ok(())
    }

    async fn store(self: &Arc<Self>, cursor: &mut Cursor, source: usize, leaf: usize) -> Result<(), AttemptFailure> {
        let bytes = mem::take(&mut cursor.started);
        let (download, open, file) = (self.clone(), cursor.open.clone(), cursor.job.file);
        let count = bytes.len() as u64;
        let stored = blocking(move || download.targets[file].store(&open, leaf, &bytes).map(|_| bytes)).await?;
        match stored {
            Ok(mut buffer) => {
                buffer.clear();
                cursor.started = buffer;
            }
            Err(LeafFailure::Bad(fault)) => return Err(fault.into()),
            Err(LeafFailure::Fatal(error)) => return Err(error.into()),
        }
        cursor.job.leaves.start += 1;
        self.pool.count(source, count);
        self.tally.add(count);
        Ok(())
    }
}

/// The request path of a file below the request path of its dataset.
pub(crate) fn request_path(base: &str, path: &str) -> String {
    let mut request = base.to_owned();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        request.push('/');
        request.push_str(&percent_encode(name));
    }
    request
}

enum AttemptFailure {
    Fault(SourceFault),
    Fatal(FetchError),
}

impl From<SourceFault> for AttemptFailure {
    fn from(fault: SourceFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<FetchError> for AttemptFailure {
    fn from(error: FetchError) -> Self {
        Self::Fatal(error)
    }
}

/// Checks that an answer is the part that was asked for.
///
/// A 200 is accepted where it costs nothing, from the first byte on: the rest of its body is simply not read.
pub(crate) fn check_part(reply: &Reply, target: &str, first: u64, last: u64, size: u64) -> Result<(), SourceFault> {
    let mismatch = |problem: String| SourceFault::Mismatch { target: target.to_owned(), problem };
    if reply.status == StatusCode::OK {
        let length = reply.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        return match length {
            Some(length) if length != size => Err(mismatch(format!("{length} bytes; expected {size}"))),
            _ if first == 0 => Ok(()),
            _ => Err(SourceFault::RangeIgnored { target: target.to_owned() }),
        };
    }
    let header = reply.headers.get(CONTENT_RANGE).map(|value| value.as_bytes()).unwrap_or_default();
    match parse_content_range(header) {
        Some((range, total)) if (range.first, range.last, total) == (first, last, size) => Ok(()),
        _ => Err(mismatch(format!(
            "Content-Range {:?}; expected bytes {first}-{last}/{size}",
            String::from_utf8_lossy(&header[..header.len().min(100)])
        ))),
    }
}
