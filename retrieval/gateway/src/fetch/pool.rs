//! The sources of a fetch: who is asked next, who is not asked again, and how long to wait before.
//!
//! 1. A source that sent wrong bytes, or an answer that no repetition changes, is avoided for the rest of the fetch.
//! 2. A source that broke, stalled or was busy is tried again, at most `retries` times in a row per piece of work. The
//!    count starts anew when the work moves on.
//! 3. The next source is the one with the fewest failures at this work, then the one with the fewest failures since it
//!    last sent something good, then the one with the fewest requests running. So healthy sources share the load, a source
//!    that is down costs one wait and not one per range, and backing off happens only when every source has just failed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::FetchOptions;
use super::error::{FetchError, SourceFailure, SourceFault};
use super::http::{self, Link, Part, Reply};
use super::url::SourceUrl;

/// Longest wait that `Retry-After` of a source can cause.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

pub(crate) struct SourcePool {
    entries: Vec<Entry>,
    options: FetchOptions,
}

struct Entry {
    url: SourceUrl,
    avoided: Mutex<Option<SourceFault>>,
    idle: Mutex<Vec<Link>>,
    running: AtomicUsize,
    /// Failures of any work since the last progress of any work.
    strikes: AtomicUsize,
    bytes: AtomicU64,
}

/// Failures in a row at one piece of work.
pub(crate) struct Attempts {
    failures: Vec<u32>,
    last: Vec<Option<SourceFault>>,
}

/// One turn at a source; counts as running until dropped.
pub(crate) struct Turn<'a> {
    pool: &'a SourcePool,
    pub(crate) index: usize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.pool.entries[self.index].running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SourcePool {
    pub(crate) fn new(urls: &[SourceUrl], options: FetchOptions) -> Self {
        let entry = |url: &SourceUrl| Entry {
            url: url.clone(),
            avoided: Mutex::new(None),
            idle: Mutex::new(Vec::new()),
            running: AtomicUsize::new(0),
            strikes: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
        };
        Self { entries: urls.iter().map(entry).collect(), options }
    }

    pub(crate) fn attempts(&self) -> Attempts {
        Attempts { failures: vec![0; self.entries.len()], last: vec![None; self.entries.len()] }
    }

    /// Picks a source for the next attempt, after the wait that earlier failures ask for. A usable `preferred` source is
    /// picked whatever the others are like.
    ///
    /// # Errors
    /// [`FetchError::NoSourceLeft`] naming `what` and the last fault of each source.
    pub(crate) async fn next(
        &self,
        attempts: &Attempts,
        preferred: Option<usize>,
        what: &str,
    ) -> Result<Turn<'_>, FetchError> {
        let usable = |index: &usize| attempts.failures[*index] <= self.options.retries && !self.is_avoided(*index);
        let order = |index: &usize| {
            let entry = &self.entries[*index];
            let (strikes, running) = (entry.strikes.load(Ordering::Relaxed), entry.running.load(Ordering::Relaxed));
            (attempts.failures[*index], strikes, running, *index)
        };
        let best = || (0..self.entries.len()).filter(usable).min_by_key(order);
        let Some(index) = preferred.filter(usable).or_else(best) else {
            return Err(FetchError::NoSourceLeft { what: what.to_owned(), failures: self.last_faults(attempts) });
        };
        self.entries[index].running.fetch_add(1, Ordering::Relaxed);
        let turn = Turn { pool: self, index };
        if attempts.failures[index] > 0 {
            let wait = self.wait(attempts.failures[index], attempts.last[index].as_ref());
            self.options.pause.pause(wait).await;
        }
        Ok(turn)
    }

    /// Doubles with each failure, up to a limit; a source may ask for longer.
    fn wait(&self, failures: u32, fault: Option<&SourceFault>) -> Duration {
        let factor = 1u32 << (failures - 1).min(16);
        let backoff = self.options.backoff.saturating_mul(factor).min(self.options.backoff_max);
        match fault {
            Some(SourceFault::Busy { retry_after: Some(asked), .. }) => backoff.max((*asked).min(RETRY_AFTER_MAX)),
            _ => backoff,
        }
    }

    /// Notes a failed attempt.
    pub(crate) fn failed(&self, attempts: &mut Attempts, index: usize, fault: SourceFault) {
        tracing::debug!(source = %self.entries[index].url, %fault, "attempt failed");
        if fault.retry_helps() {
            attempts.failures[index] += 1;
            self.entries[index].strikes.fetch_add(1, Ordering::Relaxed);
        } else {
            let entry = &self.entries[index];
            tracing::warn!(source = %entry.url, %fault, "source is avoided from here on");
            entry.avoided.lock().expect("no panic under this lock").get_or_insert(fault.clone());
            entry.idle.lock().expect("no panic under this lock").clear();
        }
        attempts.last[index] = Some(fault);
    }

    fn is_avoided(&self, index: usize) -> bool {
        self.entries[index].avoided.lock().expect("no panic under this lock").is_some()
    }

    /// Sends a GET to a source, over an idle connection if there is one.
    pub(crate) async fn get(&self, index: usize, path: &str, part: Part) -> Result<Reply, SourceFault> {
        let entry = &self.entries[index];
        let link = entry.idle.lock().expect("no panic under this lock").pop();
        let mut reply = http::get(link, &entry.url, path, part, &self.options.trust, self.options.stall).await?;
        reply.check_status(path).await?;
        Ok(reply)
    }

    /// Takes a connection back once its answer is read.
    pub(crate) fn give_back(&self, index: usize, reply: Reply) {
        if let Some(link) = reply.into_link() {
            let mut idle = self.entries[index].idle.lock().expect("no panic under this lock");
            if idle.len() < self.options.parallel {
                idle.push(link);
            }
        }
    }

    /// Counts bytes that a source sent well.
    pub(crate) fn count(&self, index: usize, bytes: u64) {
        self.entries[index].bytes.fetch_add(bytes, Ordering::Relaxed);
        self.entries[index].strikes.store(0, Ordering::Relaxed);
    }

    /// Address of a source.
    pub(crate) fn url(&self, index: usize) -> &SourceUrl {
        &self.entries[index].url
    }

    /// Verified bytes by source.
    pub(crate) fn bytes_by_source(&self) -> Vec<(SourceUrl, u64)> {
        self.entries.iter().map(|entry| (entry.url.clone(), entry.bytes.load(Ordering::Relaxed))).collect()
    }

    /// Sources that are avoided, and why.
    pub(crate) fn avoided(&self) -> Vec<SourceFailure> {
        let failure = |entry: &Entry| {
            let fault = entry.avoided.lock().expect("no panic under this lock").clone()?;
            Some(SourceFailure { source: entry.url.clone(), fault })
        };
        self.entries.iter().filter_map(failure).collect()
    }

    /// The fault that counts for each source: why it is avoided, or its last one at this work.
    fn last_faults(&self, attempts: &Attempts) -> Vec<SourceFailure> {
        let failure = |(entry, last): (&Entry, &Option<SourceFault>)| {
            let avoided = entry.avoided.lock().expect("no panic under this lock").clone();
            Some(SourceFailure { source: entry.url.clone(), fault: avoided.or_else(|| last.clone())? })
        };
        self.entries.iter().zip(&attempts.last).filter_map(failure).collect()
    }
}

impl Attempts {
    /// A source has moved the work on: its earlier failures no longer count.
    pub(crate) fn progressed(&mut self, index: usize) {
        self.failures[index] = 0;
    }
}
