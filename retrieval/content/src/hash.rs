//! The one pass over the bytes: SHA-256 of every leaf.
//!
//! Work is handed out in runs of [`RUN_LEAVES`] leaves to exactly as many threads as the caller asks for; each has one
//! buffer of 1 MiB, so memory does not depend on the dataset. Files are opened with their stamp checked and checked again
//! after their last leaf, so that a file which is being written is reported, not hashed half old and half new.

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use crate::block::LEAF_BYTES;
use crate::dag::{leaf_count, leaf_len};
use crate::source::{FileStamp, ReadError, open_stamped, read_exact_at};

/// Leaves that one thread takes at once: 16 MiB, long enough for sequential reads, short enough to share the end fairly.
const RUN_LEAVES: u64 = 16;

/// Progress of a long operation: bytes done and bytes in all.
pub(crate) type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// A file to be hashed.
pub(crate) struct Input {
    pub path: PathBuf,
    pub stamp: FileStamp,
}

#[derive(Clone, Copy)]
struct Run {
    file: usize,
    first: u64,
    count: u64,
}

/// SHA-256 of each leaf of each file.
pub(crate) fn leaves(
    inputs: &[Input],
    workers: NonZeroUsize,
    progress: Progress<'_>,
) -> Result<Vec<Vec<[u8; 32]>>, ReadError> {
    let runs = runs(inputs);
    let total: u64 = inputs.iter().map(|input| input.stamp.size).sum();
    let next = AtomicUsize::new(0);
    let done = AtomicU64::new(0);
    let outcome = Mutex::new(Outcome { digests: empty(inputs), error: None });
    let work = || {
        let mut buffer = vec![0; LEAF_BYTES as usize];
        while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let hashed = hash_run(&inputs[run.file], run, &mut buffer);
            let mut outcome = outcome.lock().expect("no thread panics while it holds the lock");
            match hashed {
                Ok((digests, bytes)) => {
                    outcome.store(run, &digests);
                    drop(outcome);
                    progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes, total);
                }
                Err(error) => {
                    next.store(runs.len(), Ordering::Relaxed);
                    outcome.error.get_or_insert(error);
                }
            }
        }
    };
    let extra = workers.get().min(runs.len()).saturating_sub(1);
    std::thread::scope(|scope| {
        for _ in 0..extra {
            scope.spawn(work);
        }
        work();
    });
    let outcome = outcome.into_inner().expect("no thread panics while it holds the lock");
    match outcome.error {
        Some(error) => Err(error),
        None => check_again(inputs).map(|()| outcome.digests),
    }
}

struct Outcome {
    digests: Vec<Vec<[u8; 32]>>,
    error: Option<ReadError>,
}

impl Outcome {
    fn store(&mut self, run: &Run, digests: &[[u8; 32]]) {
        let first = run.first as usize;
        self.digests[run.file][first..first + digests.len()].copy_from_slice(digests);
    }
}

fn empty(inputs: &[Input]) -> Vec<Vec<[u8; 32]>> {
    inputs.iter().map(|input| vec![[0; 32]; leaf_count(input.stamp.size) as usize]).collect()
}

fn runs(inputs: &[Input]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (file, input) in inputs.iter().enumerate() {
        let leaves = leaf_count(input.stamp.size);
        for first in (0..leaves).step_by(RUN_LEAVES as usize) {
            runs.push(Run { file, first, count: RUN_LEAVES.min(leaves - first) });
        }
    }
    runs
}

fn hash_run(input: &Input, run: &Run, buffer: &mut [u8]) -> Result<(Vec<[u8; 32]>, u64), ReadError> {
    let file: File = open_stamped(&input.path, &input.stamp)?;
    let mut digests = Vec::with_capacity(run.count as usize);
    let mut bytes = 0;
    for leaf in run.first..run.first + run.count {
        let len = leaf_len(input.stamp.size, leaf);
        let buffer = &mut buffer[..len as usize];
        read_exact_at(&file, &input.path, leaf * LEAF_BYTES, buffer)?;
        digests.push(Sha256::digest(&*buffer).into());
        bytes += len;
    }
    Ok((digests, bytes))
}

fn check_again(inputs: &[Input]) -> Result<(), ReadError> {
    for input in inputs {
        open_stamped(&input.path, &input.stamp)?;
    }
    Ok(())
}
