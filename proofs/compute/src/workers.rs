//! Threads to compute on, as a value.
//!
//! A library that reaches for a process-wide pool decides for its caller how busy the machine gets. Here the caller
//! makes one [`Workers`] (or several) and hands it to each computation.

use std::sync::Arc;

/// A fixed set of threads for parallel computation. Clones share the threads.
#[derive(Clone)]
pub struct Workers {
    pool: Arc<rayon::ThreadPool>,
}

/// The threads could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {threads} worker threads: {source}")]
pub struct WorkersError {
    threads: usize,
    source: rayon::ThreadPoolBuildError,
}

impl Workers {
    /// Starts `threads` threads; 0 means one per core.
    ///
    /// # Errors
    /// [`WorkersError`] if the system refuses the threads.
    pub fn new(threads: usize) -> Result<Self, WorkersError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("worker-{index}"))
            .build()
            .map_err(|source| WorkersError { threads, source })?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work` on these threads; parallel iterators and joins inside it use them and no others.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("threads", &self.threads()).finish()
    }
}
