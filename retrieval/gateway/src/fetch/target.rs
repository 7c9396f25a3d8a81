//! Files on their way: where each one goes, what of it is there already, and the last step into place.
//!
//! ```text
//! DEST/…                        files in place, every one complete and verified
//! DEST/.cairn-fetch-CID/N.partial   file number N at its full length, leaves written at their places
//! DEST/.cairn-fetch-CID/N.journal   its bitmap (only for files of several leaves)
//! ```
//! When a single file is fetched the work folder stands beside it, so that the last rename never crosses a file system.
//! No file of a dataset can have the work folder's name: it contains the dataset's own CID.
//!
//! What always holds: a file gets its final name only after every leaf was verified, its bytes were synced, and its
//! length is exact. An existing file is replaced only if the caller said so.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::error::{FetchError, FetchRejection, SourceFault};
use super::journal::{Journal, JournalKey};
use super::plan::FilePlan;

/// A file that is being fetched.
pub(crate) struct Target {
    pub(crate) plan: FilePlan,
    destination: PathBuf,
    partial: PathBuf,
    journal: PathBuf,
    missing: AtomicUsize,
    open: Mutex<Weak<OpenTarget>>,
}

/// The partial file and its journal, open while someone works on it.
pub(crate) struct OpenTarget {
    file: File,
    journal: Option<Journal>,
}

/// What was found at a destination.
pub(crate) enum Existing {
    Nothing,
    Correct,
    /// Something else, said in words.
    Different(String),
}

impl Target {
    pub(crate) fn new(plan: FilePlan, index: usize, destination: PathBuf, work_dir: &Path) -> Self {
        Self {
            missing: AtomicUsize::new(plan.leaf_count()),
            partial: work_dir.join(format!("{index}.partial")),
            journal: work_dir.join(format!("{index}.journal")),
            open: Mutex::new(Weak::new()),
            destination,
            plan,
        }
    }

    /// Looks at what has the final name already; every byte of a file of the right length is hashed.
    pub(crate) fn existing(&self) -> Result<Existing, FetchError> {
        let path = &self.destination;
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Existing::Nothing),
            Err(error) => return Err(FetchError::disk("look at", path)(error)),
        };
        if !metadata.is_file() {
            return Ok(Existing::Different("it is no regular file".into()));
        }
        if metadata.len() != self.plan.bytes {
            let (got, expected) = (metadata.len(), self.plan.bytes);
            return Ok(Existing::Different(format!("it has {got} bytes, the dataset says {expected}")));
        }
        let file = File::open(path).map_err(FetchError::disk("open", path))?;
        for leaf in 0..self.plan.leaf_count() {
            if !self.leaf_is_correct(&file, leaf).map_err(FetchError::disk("read", path))? {
                return Ok(Existing::Different(format!("leaf {leaf} is not {}", self.plan.leaf(leaf).cid())));
            }
        }
        Ok(Existing::Correct)
    }

    /// The rejection for a destination that holds something else.
    pub(crate) fn refuse(&self, difference: String) -> FetchError {
        FetchRejection::Exists { path: self.destination.clone(), difference }.into()
    }

    fn leaf_is_correct(&self, file: &File, leaf: usize) -> io::Result<bool> {
        let plan = self.plan.leaf(leaf);
        let mut bytes = vec![0; plan.bytes as usize];
        match file.read_exact_at(&mut bytes, plan.offset) {
            Ok(()) => Ok(plan.matches(&bytes).is_ok()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Leaves that an earlier fetch wrote and marked and that still hash to their CIDs; the others are unmarked.
    /// A partial file of another length, or without a journal, is forgotten.
    pub(crate) fn resume(&self) -> Result<Vec<bool>, FetchError> {
        let mut done = vec![false; self.plan.leaf_count()];
        let Ok(file) = File::open(&self.partial) else { return Ok(done) };
        let read_journal = FetchError::disk("read", &self.journal);
        let Some(journal) = Journal::open(&self.journal, &self.key()).map_err(read_journal)? else { return Ok(done) };
        for (leaf, done) in done.iter_mut().enumerate().filter(|(leaf, _)| journal.is_marked(*leaf)) {
            *done = self.leaf_is_correct(&file, leaf).map_err(FetchError::disk("read", &self.partial))?;
            if *done {
                self.missing.fetch_sub(1, Ordering::Relaxed);
            } else {
                journal.unmark(leaf).map_err(FetchError::disk("write", &self.journal))?;
            }
        }
        Ok(done)
    }

    fn key(&self) -> JournalKey {
        JournalKey { cid: self.plan.cid, bytes: self.plan.bytes, leaves: self.plan.leaf_count() }
    }

    /// Opens the partial file at its full length, with its journal, or gives the one that is open already.
    pub(crate) fn open(&self) -> Result<Arc<OpenTarget>, FetchError> {
        let mut open = self.open.lock().expect("no panic under this lock");
        if let Some(target) = open.upgrade() {
            return Ok(target);
        }
        let file = File::options().write(true).create(true).truncate(false).open(&self.partial);
        let file = file.map_err(FetchError::disk("create", &self.partial))?;
        file.set_len(self.plan.bytes).map_err(FetchError::disk("enlarge", &self.partial))?;
        let journal = match self.plan.leaf_count() {
            0 | 1 => None,
            _ => Some(self.open_journal().map_err(FetchError::disk("write", &self.journal))?),
        };
        let target = Arc::new(OpenTarget { file, journal });
        *open = Arc::downgrade(&target);
        Ok(target)
    }

    fn open_journal(&self) -> io::Result<Journal> {
        match Journal::open(&self.journal, &self.key())? {
            Some(journal) => Ok(journal),
            None => Journal::create(&self.journal, &self.key()),
        }
    }

    /// Verifies a leaf, writes it, marks it. Blocks. The last leaf of a file puts the file in place; then `true` is given.
    pub(crate) fn store(&self, open: &OpenTarget, leaf: usize, bytes: &[u8]) -> Result<bool, LeafFailure> {
        let plan = self.plan.leaf(leaf);
        if let Err(got) = plan.matches(bytes) {
            let (expected, got) = (plan.cid(), got.cid());
            return Err(LeafFailure::Bad(SourceFault::BadLeaf { file: self.plan.path.clone(), leaf, expected, got }));
        }
        open.file.write_all_at(bytes, plan.offset).map_err(FetchError::disk("write", &self.partial))?;
        if let Some(journal) = &open.journal {
            journal.mark(leaf).map_err(FetchError::disk("write", &self.journal))?;
        }
        let complete = self.missing.fetch_sub(1, Ordering::AcqRel) == 1;
        if complete {
            self.put_in_place()?;
        }
        Ok(complete)
    }

    /// Whether every leaf is there.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing.load(Ordering::Acquire) == 0
    }

    /// Gives the complete partial file its final name.
    pub(crate) fn put_in_place(&self) -> Result<(), FetchError> {
        assert!(self.is_complete(), "a file with missing leaves is never put in place");
        let file = File::options().write(true).create(true).truncate(false).open(&self.partial);
        let file = file.map_err(FetchError::disk("create", &self.partial))?;
        file.set_len(self.plan.bytes).map_err(FetchError::disk("set the length of", &self.partial))?;
        file.sync_all().map_err(FetchError::disk("sync", &self.partial))?;
        let folder = self.destination.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(FetchError::disk("create", folder))?;
        fs::rename(&self.partial, &self.destination).map_err(FetchError::disk("put in place", &self.destination))?;
        sync_dir(folder)?;
        match fs::remove_file(&self.journal) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FetchError::disk("remove", &self.journal)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Why a leaf was not stored.
pub(crate) enum LeafFailure {
    /// The source's fault.
    Bad(SourceFault),
    /// Ours, or the disk's.
    Fatal(FetchError),
}

impl From<FetchError> for LeafFailure {
    fn from(error: FetchError) -> Self {
        Self::Fatal(error)
    }
}

/// Makes a rename durable.
pub(crate) fn sync_dir(folder: &Path) -> Result<(), FetchError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(FetchError::disk("sync", folder))
}
