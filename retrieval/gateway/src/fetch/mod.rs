//! The verifying fetcher: from a root CID and some sources to files that are right, or no files.
//!
//! A source is not trusted with anything. The root CID names the root block, which names the blocks below, down to leaves
//! of 1 MiB; every one is hashed before it counts. The steps of [`fetch`]:
//!
//! 1. Walk the interior nodes (`/ipfs/{cid}?format=raw`), each verified, within limits of depth, count and size. The result
//!    is the list of files with the CID and place of every leaf.
//! 2. Look at the destination. A file that is there and correct is kept; one that differs ends the fetch, before anything
//!    is moved, unless the caller allows overwriting.
//! 3. Look at the partial files of an earlier fetch: leaves that were marked and still hash to their CIDs are kept.
//! 4. Fetch what is missing by ranges of `/data/{root}/{path}`, several at a time, from all sources; verify each leaf, write
//!    it at its place, mark it.
//! 5. A file whose leaves are all there is synced and renamed into place. Nothing else ever gets a final name.
//!
//! A source that sends a wrong leaf or block is named in the log and the report (file, leaf, expected, got), and not asked
//! again. A source that breaks off, stalls or is busy is tried again after a wait. The fetch fails when no source is left,
//! and says what each of them did; what was verified until then stays for the next fetch.
//!
//! [`fetch_piece`] does the same for a piece, which has no leaves: its commitment is checked at the end.
//!
//! Two fetches of the same data to the same place at the same time do no harm (they write the same verified bytes), but
//! one of them may end with an error when the other has renamed the file.

mod download;
mod error;
mod http;
mod journal;
mod piece;
mod plan;
mod pool;
mod range;
mod signed;
mod target;
mod url;
mod walk;

use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cid::Cid;

use self::download::{Download, Tally, blocking};
pub use self::error::{FetchError, FetchRejection, SourceFailure, SourceFault};
pub use self::piece::{PieceReport, PieceRequest, fetch_piece};
use self::plan::FilePlan;
use self::pool::SourcePool;
pub use self::range::{DatasetOutline, VerifiedRange};
pub use self::signed::{
    SignedGroup, fetch_group_proof, fetch_group_proof_blocking, fetch_signed_group, fetch_signed_group_blocking,
};
use self::target::{Existing, Target};
pub use self::url::{SourceUrl, SourceUrlRejection};
use crate::tls::TlsTrust;

/// How far a fetch is, in verified bytes. What was there before counts from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are verified.
    pub verified_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// Called after every verified leaf, from any thread, and once at the start.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// How a fetch waits between attempts. Tests replace it.
pub trait Pause: Send + Sync {
    /// Completes after `duration`.
    fn pause(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Waits by the clock of the tokio runtime.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClockPause;

impl Pause for ClockPause {
    fn pause(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// How to fetch. The defaults fit a client with a good connection.
#[derive(Clone)]
pub struct FetchOptions {
    /// Requests at a time; each holds one leaf in memory. Default 4.
    pub parallel: usize,
    /// Bytes per request, rounded down to whole leaves. Default 8 MiB.
    pub range_bytes: u64,
    /// Replace files that are there and differ. Default: refuse.
    pub overwrite: bool,
    /// `dest` is a folder that receives the selection: the files of a folder directly, a single file under its CID.
    /// For callers that do not know which of the two the root is. Default: `dest` is the final path.
    pub into_folder: bool,
    /// Failures in a row, per source and piece of work, that are tried again. Default 5.
    pub retries: u32,
    /// Wait after the first failure; it doubles with each further one. Default 250 ms.
    pub backoff: Duration,
    /// Longest wait between attempts, unless the source asks for more (at most 60 s). Default 10 s.
    pub backoff_max: Duration,
    /// A source that sends nothing for this long is given up for the attempt. Default 30 s.
    pub stall: Duration,
    /// Whom to believe about the names of sources with `https`. Default: the authorities that browsers believe.
    pub trust: TlsTrust,
    /// Most bytes that a fetch may bring. Default: no limit.
    pub bytes_max: u64,
    /// How to wait.
    pub pause: Arc<dyn Pause>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self {
            parallel: 4,
            range_bytes: 8 << 20,
            overwrite: false,
            into_folder: false,
            retries: 5,
            backoff: Duration::from_millis(250),
            backoff_max: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            trust: TlsTrust::default(),
            bytes_max: u64::MAX,
            pause: Arc::new(ClockPause),
        }
    }
}

impl fmt::Debug for FetchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchOptions")
            .field("parallel", &self.parallel)
            .field("range_bytes", &self.range_bytes)
            .field("overwrite", &self.overwrite)
            .finish_non_exhaustive()
    }
}

impl FetchOptions {
    fn check(&self, sources: &[SourceUrl]) -> Result<(), FetchRejection> {
        if sources.is_empty() {
            return Err(FetchRejection::NoSources);
        }
        let option = |option, expected| Err(FetchRejection::Option { option, expected });
        match () {
            () if !(1..=256).contains(&self.parallel) => option("parallel", "1 to 256"),
            () if self.range_bytes == 0 => option("range_bytes", "at least 1"),
            () if self.stall.is_zero() => option("stall", "more than 0"),
            () => Ok(()),
        }
    }
}

/// What to fetch, from where, to where.
#[derive(Clone)]
pub struct FetchRequest {
    /// Root of the dataset.
    pub root: Cid,
    /// File or folder in the dataset; empty for all of it. Names are separated by `/` and not percent-encoded.
    pub path: String,
    /// Gateways that hold the dataset.
    pub sources: Vec<SourceUrl>,
    /// Final path of the file or folder that is selected.
    pub dest: PathBuf,
    /// How.
    pub options: FetchOptions,
    /// Sees the progress.
    pub progress: Option<ProgressFn>,
}

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchReport {
    /// Files of the selection, in order.
    pub files: Vec<FetchedFile>,
    /// Bytes of the selection.
    pub bytes_total: u64,
    /// Bytes that came over the network and were verified.
    pub bytes_fetched: u64,
    /// Verified bytes that an earlier, interrupted fetch had left.
    pub bytes_resumed: u64,
    /// Verified bytes per source.
    pub sources: Vec<(SourceUrl, u64)>,
    /// Sources that were avoided from some moment on, and why. Not empty in spite of success: tell someone.
    pub avoided: Vec<SourceFailure>,
}

/// One file of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFile {
    /// Path in the dataset; empty if the dataset is one file.
    pub path: String,
    /// Where it is.
    pub destination: PathBuf,
    /// Root of its DAG.
    pub cid: Cid,
    /// Its size.
    pub bytes: u64,
    /// Whether it was there already, complete and correct.
    pub kept: bool,
}

/// Fetches a dataset, or a file or folder of it, and verifies every byte. Runs on the current tokio runtime.
///
/// # Errors
/// [`FetchError`]. Files that were complete are in place; verified leaves of others stay beside the destination, and
/// the same call continues with them. Nothing unverified has a final name.
pub async fn fetch(request: &FetchRequest) -> Result<FetchReport, FetchError> {
    request.options.check(&request.sources)?;
    let pool = Arc::new(SourcePool::new(&request.sources, request.options.clone()));
    let selection = walk::walk(&pool, request).await?;
    let bytes_total = selection.files.iter().map(|file| file.bytes).sum();
    let layout = Layout::new(request, &selection);
    let preparing = {
        let (layout, options) = (layout.clone(), request.options.clone());
        blocking(move || prepare(selection, &layout, &options))
    };
    let prepared = preparing.await??;
    let bytes_missing = prepared.bytes_missing();
    let kept_bytes: u64 = prepared.report.iter().filter(|file| file.kept).map(|file| file.bytes).sum();
    let download = Arc::new(Download {
        pool: pool.clone(),
        targets: prepared.targets,
        jobs: Mutex::new(prepared.jobs.into()),
        base: layout.base,
        tally: Tally::new(bytes_total - bytes_missing, bytes_total, request.progress.clone()),
    });
    download::run(download, request.options.parallel).await?;
    let work_dir = layout.work_dir;
    blocking(move || remove_work_dir(&work_dir)).await??;
    Ok(FetchReport {
        files: prepared.report,
        bytes_total,
        bytes_fetched: bytes_missing,
        bytes_resumed: bytes_total - bytes_missing - kept_bytes,
        sources: pool.bytes_by_source(),
        avoided: pool.avoided(),
    })
}

/// [`fetch`] for callers without a runtime: it makes one for the duration of the call.
///
/// # Errors
/// Those of [`fetch`].
///
/// # Panics
/// If called from within a tokio runtime; call [`fetch`] there.
pub fn fetch_blocking(request: &FetchRequest) -> Result<FetchReport, FetchError> {
    block_on(fetch(request))
}

/// [`fetch_piece`] for callers without a runtime.
///
/// # Errors
/// Those of [`fetch_piece`].
///
/// # Panics
/// If called from within a tokio runtime; call [`fetch_piece`] there.
pub fn fetch_piece_blocking(request: &PieceRequest) -> Result<PieceReport, FetchError> {
    block_on(fetch_piece(request))
}

fn block_on<T>(work: impl Future<Output = Result<T, FetchError>>) -> Result<T, FetchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| FetchError::Interrupted { reason: format!("no runtime: {error}") })?;
    runtime.block_on(work)
}

/// What the walk found.
pub(crate) struct SelectedFiles {
    /// CID for the name of the work folder: of the selected file, or of the dataset if a folder is selected.
    pub(crate) cid: Cid,
    /// Whether a folder is selected.
    pub(crate) is_folder: bool,
    /// Files, in order.
    pub(crate) files: Vec<FilePlan>,
    /// Folders without files below the selection.
    pub(crate) empty_folders: Vec<String>,
}

/// Where things go on disk and where they come from.
#[derive(Debug, Clone)]
struct Layout {
    dest: PathBuf,
    work_dir: PathBuf,
    /// Request path of the dataset.
    base: String,
}

impl Layout {
    fn new(request: &FetchRequest, selection: &SelectedFiles) -> Self {
        let single_within = request.options.into_folder && !selection.is_folder;
        let dest = if single_within { request.dest.join(selection.cid.to_string()) } else { request.dest.clone() };
        let name = format!(".cairn-fetch-{}", selection.cid);
        let work_dir = if selection.is_folder {
            dest.join(name)
        } else {
            let file_name = dest.file_name().unwrap_or_default().to_string_lossy().chars().take(60).collect::<String>();
            dest.parent().unwrap_or(Path::new("")).join(format!("{name}-{file_name}"))
        };
        let base = format!("/data/{}", request.root);
        Self { dest, work_dir, base }
    }

    fn destination(&self, path: &str) -> PathBuf {
        path.split('/').filter(|name| !name.is_empty()).fold(self.dest.clone(), |at, name| at.join(name))
    }
}

struct Prepared {
    targets: Vec<Target>,
    jobs: Vec<plan::RangeJob>,
    report: Vec<FetchedFile>,
}

impl Prepared {
    fn bytes_missing(&self) -> u64 {
        let job_bytes = |job: &plan::RangeJob| {
            let plan = &self.targets[job.file].plan;
            plan.leaf(job.leaves.end - 1).end() - plan.leaf(job.leaves.start).offset
        };
        self.jobs.iter().map(job_bytes).sum()
    }
}

/// Steps 2 and 3 of the module's description. Blocks. Nothing is written before every destination has been looked at.
fn prepare(selection: SelectedFiles, layout: &Layout, options: &FetchOptions) -> Result<Prepared, FetchError> {
    let mut prepared = Prepared { targets: Vec::new(), jobs: Vec::new(), report: Vec::new() };
    for (index, plan) in selection.files.into_iter().enumerate() {
        let destination = layout.destination(&plan.relative);
        let (path, cid, bytes) = (plan.path.clone(), plan.cid, plan.bytes);
        let target = Target::new(plan, index, destination.clone(), &layout.work_dir);
        let kept = match target.existing()? {
            Existing::Correct => true,
            Existing::Nothing => false,
            Existing::Different(_) if options.overwrite => false,
            Existing::Different(difference) => return Err(target.refuse(difference)),
        };
        prepared.report.push(FetchedFile { path, destination, cid, bytes, kept });
        prepared.targets.push(target);
    }
    let first_folder = if selection.is_folder { Some(layout.dest.clone()) } else { None };
    let folders = selection.empty_folders.iter().map(|path| layout.destination(path));
    for folder in first_folder.into_iter().chain(folders).chain([layout.work_dir.clone()]) {
        fs::create_dir_all(&folder).map_err(FetchError::disk("create", &folder))?;
    }
    for (file, target) in prepared.targets.iter().enumerate().filter(|(file, _)| !prepared.report[*file].kept) {
        let done = target.resume()?;
        if target.is_complete() {
            target.put_in_place()?;
        }
        prepared.jobs.extend(plan::jobs(file, &target.plan, &done, options.range_bytes));
    }
    Ok(prepared)
}

/// Removes the work folder of a fetch that is complete.
fn remove_work_dir(work_dir: &Path) -> Result<(), FetchError> {
    match fs::remove_dir_all(work_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FetchError::disk("remove", work_dir)(error)),
        _ => Ok(()),
    }
}
