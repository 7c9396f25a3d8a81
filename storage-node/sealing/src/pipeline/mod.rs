//! The pipeline: takes sectors from assignment to the last proof, one journaled step at a time.
//!
//! One step of a sector:
//! 1. Take the sector's turn; nobody else works on it meanwhile.
//! 2. Read its record. The state says which stage is next.
//! 3. Check free space and the inputs' digests; make damaged inputs anew (see [`repair`](self)).
//! 4. Do the stage. Files are durable under their names when it returns.
//! 5. Take digests of the new files, and write them and the next state in one synced write.
//!
//! A step that fails writes the cause, the attempts and what to do next into the state, and keeps all work. Killed
//! anywhere, the next step starts from the last write; what it makes again comes out the same.
//!
//! [`Pipeline::start`] runs steps of all sectors on a few threads and the window-PoSt schedule on one of its own.
//! Computation happens on the [`Workers`] handed in, so threads of the pipeline cost nothing while they wait.

mod posts;
mod repair;
mod runner;
mod update;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cairn_compute::Workers;
use cairn_ledger::ProofVerifier;
use cairn_protocol::{Epoch, ProviderId, SectorNumber, UnpaddedBytes};
use cairn_sector::SectorFiles;
use cairn_sector::pieces::comm_d;

pub use posts::PostProgress;
pub use runner::Running;
pub use update::UpdateProgress;

use crate::error::PipelineError;
use crate::event::{Observer, PipelineEvent};
use crate::file::SectorFile;
use crate::journal::Journal;
use crate::ledger_client::LedgerClient;
use crate::piece_source::PieceSource;
use crate::snark::SnarkProver;
use crate::stage::Stage;
use crate::state::{Assignment, Failure, Milestone, SectorRecord, SectorState};

/// What can be tuned. Nothing here changes any result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineOptions {
    /// Sectors that are worked on at the same time. They share the workers; more of them use waiting times better and
    /// need more memory (two layers each while labelling).
    pub parallel_sectors: usize,
    /// Bytes that every stage leaves free on the disk.
    pub reserve_bytes: u64,
    /// Times a stage is tried in a row before a failure that does not go away by itself waits for an operator.
    pub attempts_max: u32,
    /// Times one file is made again because it was damaged, before an operator has to look.
    pub repairs_max: u32,
    /// Epochs without an answer after which a transaction counts as lost and is sent again.
    pub submission_patience: u64,
    /// Epochs before a challenge at which a sector whose files are still damaged is declared faulty.
    pub fault_lead: u64,
    /// Epochs for which window PoSts stay on record.
    pub posts_kept_epochs: u64,
    /// Pause before a failed stage is tried again.
    pub retry_pause: Duration,
    /// Longest sleep while nothing is to do; the ledger's next block ends it earlier.
    pub poll: Duration,
}

impl Default for PipelineOptions {
    fn default() -> Self {
        Self {
            parallel_sectors: 1,
            reserve_bytes: 64 << 20,
            attempts_max: 5,
            repairs_max: 3,
            submission_patience: 30,
            fault_lead: 5,
            posts_kept_epochs: 10_000,
            retry_pause: Duration::from_secs(5),
            poll: Duration::from_millis(500),
        }
    }
}

/// Everything the pipeline works with; all of it is handed in.
pub struct PipelineParts {
    /// What can be tuned.
    pub options: PipelineOptions,
    /// Folder of the journal; made if missing. One process at a time.
    pub journal_dir: PathBuf,
    /// Folder that holds one folder per sector (`sector-N`) and the window PoSts (`posts`); made if missing.
    pub sectors_dir: PathBuf,
    /// Whose sectors.
    pub provider: ProviderId,
    /// Where sealing computes.
    pub workers: Workers,
    /// Where window PoSts compute; threads of their own keep deadlines from waiting behind a tree.
    pub post_workers: Workers,
    /// The ledger.
    pub ledger: Arc<dyn LedgerClient>,
    /// Where pieces come from.
    pub pieces: Arc<dyn PieceSource>,
    /// Who makes SNARKs.
    pub prover: Arc<dyn SnarkProver>,
    /// The ledger's checks: every SNARK passes them before it is written down.
    pub verifier: Arc<dyn ProofVerifier + Send + Sync>,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The sector has a new state.
    Advanced(Milestone),
    /// Nothing to do before this epoch.
    Waiting(Epoch),
    /// The stage failed; the state says why. Steps are refused once `attempts_max` is reached.
    Failed(Failure),
    /// The sector is finalized; only its window PoSts are left.
    Finished,
}

pub(crate) struct Inner {
    pub(crate) options: PipelineOptions,
    pub(crate) journal: Journal,
    pub(crate) sectors_dir: PathBuf,
    pub(crate) provider: ProviderId,
    pub(crate) workers: Workers,
    pub(crate) post_workers: Workers,
    pub(crate) ledger: Arc<dyn LedgerClient>,
    pub(crate) pieces: Arc<dyn PieceSource>,
    pub(crate) prover: Arc<dyn SnarkProver>,
    pub(crate) verifier: Arc<dyn ProofVerifier + Send + Sync>,
    pub(crate) observer: Arc<dyn Observer>,
    turns: Turns,
    repairs_wanted: Mutex<BTreeSet<SectorNumber>>,
    schedule: Mutex<posts::Schedule>,
    waiting_since: Mutex<BTreeMap<(SectorNumber, Stage), Instant>>,
}

/// Seals sectors and keeps them proven. Clones share everything.
#[derive(Clone)]
pub struct Pipeline {
    pub(crate) inner: Arc<Inner>,
}

impl Pipeline {
    /// Opens the journal and the folder of sectors, and removes what a killed process left half written.
    ///
    /// # Errors
    /// [`PipelineError`] if the journal or the folder cannot be used.
    pub fn open(parts: PipelineParts) -> Result<Self, PipelineError> {
        let io = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| PipelineError::Io { operation, path, source }
        };
        fs::create_dir_all(&parts.sectors_dir).map_err(io("create", &parts.sectors_dir))?;
        let journal = Journal::open(&parts.journal_dir, parts.provider)?;
        let inner = Inner {
            options: parts.options,
            journal,
            sectors_dir: parts.sectors_dir,
            provider: parts.provider,
            workers: parts.workers,
            post_workers: parts.post_workers,
            ledger: parts.ledger,
            pieces: parts.pieces,
            prover: parts.prover,
            verifier: parts.verifier,
            observer: parts.observer,
            turns: Turns::default(),
            repairs_wanted: Mutex::default(),
            schedule: Mutex::default(),
            waiting_since: Mutex::default(),
        };
        let pipeline = Self { inner: Arc::new(inner) };
        pipeline.sweep()?;
        Ok(pipeline)
    }

    /// Removes temporary files of all sectors, and files that a finalized sector no longer needs.
    fn sweep(&self) -> Result<(), PipelineError> {
        for update in self.inner.journal.updates()? {
            self.inner.sweep_update(update.sector);
        }
        for record in self.inner.journal.sectors()? {
            let files = self.inner.files(record.sector());
            for folder in [files.dir().to_owned(), files.cache_dir()] {
                remove_temporary_files(&folder);
            }
            if matches!(record.state.effective(), SectorState::Finalized { .. }) {
                let removed = self.inner.remove_unneeded(&record);
                removed.map_err(|(path, source)| PipelineError::Io { operation: "remove", path, source })?;
            }
        }
        Ok(())
    }

    /// Takes a sector in. Assigning the same again does nothing.
    ///
    /// # Errors
    /// [`PipelineError`] if the pieces do not make a sector, or the number stands for something else.
    pub fn assign(&self, assignment: Assignment) -> Result<(), PipelineError> {
        let sector = assignment.sector;
        check_pieces(&assignment)?;
        let _turn = self.inner.turns.wait(sector);
        match self.inner.journal.sector(sector)? {
            Some(record) if record.assignment == assignment => Ok(()),
            Some(_) => Err(PipelineError::AssignedDifferently { sector }),
            None => {
                let record = SectorRecord::new(assignment, self.inner.provider.prover_id());
                Ok(self.inner.journal.write_sector(&record, &[])?)
            }
        }
    }

    /// A sector's record.
    ///
    /// # Errors
    /// [`PipelineError::UnknownSector`], or the journal's.
    pub fn sector(&self, sector: SectorNumber) -> Result<SectorRecord, PipelineError> {
        self.inner.journal.sector(sector)?.ok_or(PipelineError::UnknownSector { sector })
    }

    /// All sectors, ascending.
    ///
    /// # Errors
    /// The journal's.
    pub fn sectors(&self) -> Result<Vec<SectorRecord>, PipelineError> {
        Ok(self.inner.journal.sectors()?)
    }

    /// The files of a sector, for unsealing and proving; the folder may not exist yet.
    pub fn sector_files(&self, sector: SectorNumber) -> SectorFiles {
        self.inner.files(sector)
    }

    /// Does the next stage (or one layer) of a sector.
    ///
    /// # Errors
    /// [`PipelineError`] if there is no such sector, it is being worked on, or the journal fails. What stops the stage
    /// itself is no error here: it is [`Progress::Failed`], and in the journal.
    pub fn step(&self, sector: SectorNumber) -> Result<Progress, PipelineError> {
        let _turn = self.inner.turns.take(sector).ok_or(PipelineError::Busy { sector })?;
        let record = self.sector(sector)?;
        let is_final =
            |failure: &&Failure| failure.attempts >= self.inner.options.attempts_max && !failure.kind.is_transient();
        if let Some(failure) = record.state.failure().filter(is_final) {
            return Ok(Progress::Failed(failure.clone()));
        }
        work::step(&self.inner, record)
    }

    /// Forgets how often a failed sector was tried and its files repaired, so that steps try again.
    ///
    /// # Errors
    /// [`PipelineError`] as in [`Pipeline::step`].
    pub fn retry(&self, sector: SectorNumber) -> Result<(), PipelineError> {
        let _turn = self.inner.turns.wait(sector);
        let mut record = self.sector(sector)?;
        if record.state.failure().is_some() {
            record.state = record.state.effective().clone();
        }
        record.failures = 0;
        record.repairs.clear();
        Ok(self.inner.journal.write_sector(&record, &[])?)
    }

    /// Steps until the sector has reached `milestone`, waiting for the ledger where needed.
    ///
    /// # Errors
    /// [`PipelineError::Stopped`] as soon as a stage has failed as often as it may, [`PipelineError::Timeout`] after
    /// `timeout`, and those of [`Pipeline::step`].
    pub fn run_until(
        &self,
        sector: SectorNumber,
        milestone: Milestone,
        timeout: Duration,
    ) -> Result<SectorRecord, PipelineError> {
        let deadline = Instant::now() + timeout;
        loop {
            let record = self.sector(sector)?;
            let got = record.state.milestone();
            if got >= milestone {
                return Ok(record);
            }
            if Instant::now() >= deadline {
                return Err(PipelineError::Timeout { sector, wanted: milestone, got });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.step(sector)? {
                Progress::Advanced(_) | Progress::Finished => {}
                Progress::Waiting(epoch) => {
                    self.inner.ledger.wait_for(epoch, self.inner.options.poll.min(left))?;
                }
                Progress::Failed(failure) if failure.attempts >= self.inner.options.attempts_max => {
                    let (cause, next_action) = (failure.cause, failure.next_action);
                    return Err(PipelineError::Stopped { sector, cause, next_action });
                }
                Progress::Failed(_) => std::thread::sleep(self.inner.options.retry_pause.min(left)),
            }
        }
    }
}

impl Inner {
    pub(crate) fn files(&self, sector: SectorNumber) -> SectorFiles {
        SectorFiles::new(self.sectors_dir.join(format!("sector-{sector}")))
    }

    pub(crate) fn emit(&self, event: PipelineEvent) {
        self.observer.observe(&event);
    }

    fn repairs_wanted(&self) -> MutexGuard<'_, BTreeSet<SectorNumber>> {
        self.repairs_wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting_since(&self) -> MutexGuard<'_, BTreeMap<(SectorNumber, Stage), Instant>> {
        self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the sector's turn: for callers that must not be refused.
    pub(crate) fn wait_turn(&self, sector: SectorNumber) -> Turn<'_> {
        self.turns.wait(sector)
    }

    /// Removes what no later proof needs; tells which files were there.
    pub(crate) fn remove_unneeded(&self, record: &SectorRecord) -> Result<(), (PathBuf, std::io::Error)> {
        let (files, params) = (self.files(record.sector()), record.params());
        for file in SectorFile::all(&params).into_iter().filter(|file| !file.is_kept()) {
            let path = file.path(&files, &params).expect("a file of this sector's own list");
            match fs::remove_file(&path) {
                Ok(()) => self.emit(PipelineEvent::FileRemoved { sector: record.sector(), file }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err((path, error)),
            }
        }
        Ok(())
    }
}

fn check_pieces(assignment: &Assignment) -> Result<(), PipelineError> {
    let sector = assignment.sector;
    for (index, piece) in assignment.pieces.iter().enumerate() {
        let fits = UnpaddedBytes::piece_for(piece.payload_bytes).map(UnpaddedBytes::to_padded);
        if fits != Some(piece.info.size) {
            let (payload_bytes, padded_bytes) = (piece.payload_bytes, piece.info.size.0);
            return Err(PipelineError::PiecePayload { sector, index, payload_bytes, padded_bytes });
        }
    }
    comm_d(assignment.sector_size, &assignment.piece_infos())
        .map_err(|source| PipelineError::Pieces { sector, source })?;
    Ok(())
}

/// Best effort: a temporary file that stays costs space, nothing else.
fn remove_temporary_files(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if path.extension().is_some_and(|extension| extension == "tmp") && fs::remove_file(&path).is_err() {
            tracing::warn!(path = %path.display(), "cannot remove a temporary file");
        }
    }
}

/// Who works on which sector.
#[derive(Default)]
struct Turns {
    taken: Mutex<BTreeSet<SectorNumber>>,
    changed: Condvar,
}

/// The right to work on one sector, until dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    sector: SectorNumber,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<SectorNumber>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, sector: SectorNumber) -> Option<Turn<'_>> {
        // The turn must not exist unless it was taken: dropping it gives it back.
        let is_free = self.lock().insert(sector);
        is_free.then(|| Turn { turns: self, sector })
    }

    fn wait(&self, sector: SectorNumber) -> Turn<'_> {
        let mut taken = self.lock();
        while !taken.insert(sector) {
            taken = self.changed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        Turn { turns: self, sector }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.lock().remove(&self.sector);
        self.turns.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asking for a turn that is taken once gave that turn away, and locked the table against itself.
    #[test]
    fn a_refused_turn_leaves_the_taken_one_alone() {
        let turns = Turns::default();
        let taken = turns.take(SectorNumber(1)).unwrap();
        assert!(turns.take(SectorNumber(1)).is_none());
        assert!(turns.take(SectorNumber(1)).is_none());
        assert!(turns.take(SectorNumber(2)).is_some());
        drop(taken);
        assert!(turns.take(SectorNumber(1)).is_some());
    }
}
