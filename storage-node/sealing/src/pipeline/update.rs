//! New data into a finalized sector of zeros: one journaled step at a time, as the sector itself was made.
//!
//! 1. The pieces are staged in a folder of the update's own, and the new replica is encoded from the old one and them. Both
//!    are checked against what the ledger has and will compute: CommR before, CommD of the manifest.
//! 2. The plain proof is made and verified, and becomes a SNARK as any other does: here, or by a worker elsewhere
//!    ([`crate::SnarkProver::prove_update`]).
//! 3. It is handed in while the sector is active and not challenged, until the ledger has it.
//! 4. What only the proof needed is removed. From then on both replicas are kept, and the new one is proven.
//!
//! Damage among the files of the new replica is found where that of the old one is, and mended by encoding it again: the
//! same files must come out.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cairn_compute::Workers;
use cairn_ledger::SectorUpdateStatement;
use cairn_protocol::{CommR, Epoch, SectorNumber, SectorParams};
use cairn_sector::SectorFiles;
use cairn_sector::pieces::comm_d;
use cairn_sector::update::{self, HSelect, UpdateProof, UpdateProveError};

use super::work::{expect_same, stage_pieces, stage_progress};
use super::{Inner, Pipeline, check_pieces, remove_temporary_files};
use crate::digest::{Damage, FileDigests};
use crate::durable;
use crate::error::{PipelineError, StageError};
use crate::event::{PipelineEvent, SubmissionKind};
use crate::file::SectorFile;
use crate::ledger_client::{LedgerHealth, LedgerSector, SubmissionStatus};
use crate::sector_update::{EncodedUpdate, UpdateRecord, UpdateState};
use crate::snark::SnarkError;
use crate::space;
use crate::stage::Stage;
use crate::state::{Assignment, FailureKind, SectorPiece, SectorRecord, SectorState, Sent};
use crate::verifier::to_update_statement;

/// Names of the files that hold the proof of an update until it is on the ledger.
const UPDATE_PROOF_NAME: &str = "update-proof.cbor";
const UPDATE_SNARK_NAME: &str = "update-snark.bin";

/// What a step of an update did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateProgress {
    /// The update has a new state, of this name.
    Advanced(&'static str),
    /// Nothing to do before this epoch.
    Waiting(Epoch),
    /// The step failed; all work is kept, and it may be tried again.
    Failed {
        /// The kind of cause.
        kind: FailureKind,
        /// The cause in words.
        cause: String,
    },
    /// The ledger has the new replica.
    Finished,
}

enum Outcome {
    Next(UpdateState),
    Wait(Epoch),
    Finished,
}

impl Pipeline {
    /// Takes in new data for a finalized sector that was sealed empty. The same again does nothing.
    ///
    /// # Errors
    /// [`PipelineError`] if the sector is none of these, the pieces do not fit it, or it has other new data.
    pub fn assign_update(&self, sector: SectorNumber, pieces: Vec<SectorPiece>) -> Result<(), PipelineError> {
        let _turn = self.inner.wait_turn(sector);
        let record = self.sector(sector)?;
        let is_final = matches!(record.state.effective(), SectorState::Finalized { .. });
        if !is_final || !record.assignment.pieces.is_empty() || pieces.is_empty() {
            return Err(PipelineError::NotUpdatable { sector });
        }
        check_pieces(&Assignment { pieces: pieces.clone(), ..record.assignment })?;
        match self.inner.journal.update(sector)? {
            Some(there) if there.pieces == pieces => Ok(()),
            Some(_) => Err(PipelineError::AssignedDifferently { sector }),
            None => {
                let state = UpdateState::Assigned;
                Ok(self.inner.journal.write_update(&UpdateRecord { sector, pieces, state })?)
            }
        }
    }

    /// Gives up an update that the ledger does not have and is not about to get, and removes its files: one whose deal went
    /// to somebody else, for example. Without one nothing happens. Assigned again, it comes out the same.
    ///
    /// # Errors
    /// [`PipelineError::UpdateSent`], or those of the journal and the folder.
    pub fn withdraw_update(&self, sector: SectorNumber) -> Result<(), PipelineError> {
        let _turn = self.inner.wait_turn(sector);
        match self.inner.journal.update(sector)? {
            Some(record) if record.state.may_be_on_ledger() => return Err(PipelineError::UpdateSent { sector }),
            Some(_) => self.inner.journal.forget_update(sector)?,
            None => {}
        }
        let path = self.inner.update_files(sector).dir().to_owned();
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(PipelineError::Io { operation: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Where the update of a sector stands, if there is one.
    ///
    /// # Errors
    /// The journal's.
    pub fn update(&self, sector: SectorNumber) -> Result<Option<UpdateRecord>, PipelineError> {
        Ok(self.inner.journal.update(sector)?)
    }

    /// All updates, ascending by sector.
    ///
    /// # Errors
    /// The journal's.
    pub fn updates(&self) -> Result<Vec<UpdateRecord>, PipelineError> {
        Ok(self.inner.journal.updates()?)
    }

    /// The files of a sector's new replica; with those of the old one ([`Pipeline::sector_files`]) they give the data back
    /// ([`cairn_sector::update::decode_range`]).
    pub fn update_files(&self, sector: SectorNumber) -> SectorFiles {
        self.inner.update_files(sector)
    }

    /// Does the next step of an update.
    ///
    /// # Errors
    /// [`PipelineError`] if there is no such update, the sector is being worked on, or the journal fails. What stops the
    /// step itself is no error here: it is [`UpdateProgress::Failed`].
    pub fn update_step(&self, sector: SectorNumber) -> Result<UpdateProgress, PipelineError> {
        let _turn = self.inner.turns.take(sector).ok_or(PipelineError::Busy { sector })?;
        let record = self.update(sector)?.ok_or(PipelineError::UnknownSector { sector })?;
        let work = UpdateWork::new(&self.inner, record, self.sector(sector)?);
        let outcome = match work.run() {
            Ok(outcome) => outcome,
            Err(StageError::Journal(error)) => return Err(error.into()),
            Err(StageError::Snark(SnarkError::NotYet { until })) => Outcome::Wait(until),
            Err(error) => {
                let (kind, cause) = (error.kind(), error.to_string());
                self.inner.emit(PipelineEvent::UpdateFailed { sector, kind, cause: cause.clone() });
                return Ok(UpdateProgress::Failed { kind, cause });
            }
        };
        match outcome {
            Outcome::Wait(until) => Ok(UpdateProgress::Waiting(until)),
            Outcome::Finished => Ok(UpdateProgress::Finished),
            Outcome::Next(state) => {
                let to = state.name();
                self.inner.journal.write_update(&UpdateRecord { state, ..work.record })?;
                self.inner.emit(PipelineEvent::UpdateAdvanced { sector, to });
                Ok(UpdateProgress::Advanced(to))
            }
        }
    }
}

impl Inner {
    pub(crate) fn update_files(&self, sector: SectorNumber) -> SectorFiles {
        SectorFiles::new(self.sectors_dir.join(format!("update-{sector}")))
    }

    /// The files of the replica that the ledger has under `comm_r`.
    pub(super) fn replica_files(&self, sector: SectorNumber, comm_r: CommR) -> Result<SectorFiles, StageError> {
        let update = self.journal.update(sector)?;
        let is_new = update
            .is_some_and(|record| record.state.encoded().is_some_and(|encoded| encoded.statement.comm_r_new == comm_r));
        Ok(if is_new { self.update_files(sector) } else { self.files(sector) })
    }

    /// Damage among the files of a new replica that the ledger may have, `which` of them; nothing is changed.
    pub(super) fn find_update_damage(
        &self,
        sector: &SectorRecord,
        workers: &Workers,
        which: impl Fn(SectorFile) -> bool,
    ) -> Result<Vec<Damage>, StageError> {
        let Some(record) = self.journal.update(sector.sector())?.filter(|record| record.state.may_be_on_ledger())
        else {
            return Ok(vec![]);
        };
        let encoded = record.state.encoded().expect("made before it is sent");
        let files = self.update_files(sector.sector());
        Ok(damage_of(encoded, &files, &sector.params(), workers, |file| file.is_kept() && which(file)))
    }

    /// Makes the new replica again if files of it are damaged. The caller holds the turn.
    pub(super) fn repair_update(&self, sector: &SectorRecord) -> Result<(), StageError> {
        if self.find_update_damage(sector, &self.workers, |_| true)?.is_empty() {
            return Ok(());
        }
        let Some(record) = self.journal.update(sector.sector())? else { return Ok(()) };
        let work = UpdateWork::new(self, record, sector.clone());
        let encoded = work.record.state.encoded().expect("it has files");
        work.encode_again(encoded)?;
        if matches!(work.record.state, UpdateState::Active { .. }) { work.remove_unneeded() } else { Ok(()) }
    }

    /// Removes what a killed process left half written.
    pub(super) fn sweep_update(&self, sector: SectorNumber) {
        let files = self.update_files(sector);
        for folder in [files.dir().to_owned(), files.cache_dir()] {
            remove_temporary_files(&folder);
        }
    }
}

fn damage_of(
    encoded: &EncodedUpdate,
    files: &SectorFiles,
    params: &SectorParams,
    workers: &Workers,
    which: impl Fn(SectorFile) -> bool,
) -> Vec<Damage> {
    let checked = encoded.files.iter().filter(|(file, _)| which(*file));
    let check = |(file, digests): &(SectorFile, FileDigests)| {
        let path = file.path(files, params).expect("a file of this update's own list");
        digests.check(*file, &path, workers).err()
    };
    checked.filter_map(check).collect()
}

fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StageError + use<> {
    let path = path.to_owned();
    move |source| StageError::Io { operation, path, source }
}

/// An update while somebody works on it.
struct UpdateWork<'a> {
    inner: &'a Inner,
    record: UpdateRecord,
    sector: SectorRecord,
    params: SectorParams,
    old: SectorFiles,
    new: SectorFiles,
}

impl<'a> UpdateWork<'a> {
    fn new(inner: &'a Inner, record: UpdateRecord, sector: SectorRecord) -> Self {
        let number = record.sector;
        let (params, old, new) = (sector.params(), inner.files(number), inner.update_files(number));
        Self { inner, record, sector, params, old, new }
    }

    fn run(&self) -> Result<Outcome, StageError> {
        match &self.record.state {
            UpdateState::Assigned => Ok(Outcome::Next(UpdateState::Encoded { encoded: self.encode()? })),
            UpdateState::Encoded { encoded } => {
                if !damage_of(encoded, &self.new, &self.params, &self.inner.workers, |_| true).is_empty() {
                    self.encode_again(encoded)?;
                }
                self.make_snark(&encoded.statement)?;
                Ok(Outcome::Next(UpdateState::Proven { encoded: encoded.clone() }))
            }
            UpdateState::Proven { encoded } => self.submit(encoded, None),
            UpdateState::Sent { encoded, sent } => self.submit(encoded, Some(*sent)),
            UpdateState::Active { .. } => Ok(Outcome::Finished),
        }
    }

    /// Step 1: from the pieces and the old replica to the new one.
    fn encode(&self) -> Result<EncodedUpdate, StageError> {
        self.check_old()?;
        let (sector, size, workers) = (self.record.sector, self.params.sector_size, &self.inner.workers);
        let cache = self.new.cache_dir();
        fs::create_dir_all(&cache).map_err(io("create", &cache))?;
        // Staged data, tree D, replica, tree R-last.
        let bytes = 4 * size.bytes() + size.bytes() / 7 + 4096;
        let reserve = self.inner.options.reserve_bytes;
        space::check_free(&cache, bytes, reserve).map_err(io("ask for free space of", &cache))??;
        let started = Instant::now();
        let (staging, replica) = (Stage::AddPieces.whole(), Stage::Replica.whole());
        stage_pieces(self.inner, &self.record.pieces, size, &self.new, &|done, total| {
            self.inner.emit(stage_progress(sector, staging, started, done, total));
        })?;
        let made = update::update(&self.old, &self.new, size, HSelect::default_of(size), workers, &|done, total| {
            self.inner.emit(stage_progress(sector, replica, started, done, total));
        })?;
        let sealed = self.sector.state.sealed().expect("a finalized sector is sealed");
        expect_same(replica, "CommR", sealed.comm_r, made.comm_r_old)?;
        expect_same(replica, "CommD", comm_d(size, &self.record.piece_infos())?, made.comm_d_new)?;
        let update::UpdateStatement { sector_size, comm_r_old, comm_d_new, comm_r_new, .. } = made;
        let statement = SectorUpdateStatement { sector_size, comm_r_old, comm_d_new, comm_r_new };
        Ok(EncodedUpdate { statement, files: self.digests()? })
    }

    fn encode_again(&self, before: &EncodedUpdate) -> Result<(), StageError> {
        let again = self.encode()?;
        let replica = Stage::Replica.whole();
        expect_same(replica, "CommR of the update", before.statement.comm_r_new, again.statement.comm_r_new)?;
        let summary = |update: &EncodedUpdate| {
            update.files.iter().map(|(_, digests)| hex::encode(digests.summary())).collect::<Vec<_>>().join(" ")
        };
        expect_same(replica, "digests of the update", summary(before), summary(&again))
    }

    /// The old replica is what the journal says. Damage is told, and a repair asked for.
    fn check_old(&self) -> Result<(), StageError> {
        let sector = self.record.sector;
        let damaged = self.inner.find_damage(&self.sector, &self.inner.workers, |_| true)?;
        if damaged.is_empty() {
            return Ok(());
        }
        self.inner.repairs_wanted().insert(sector);
        for damage in damaged {
            self.inner.emit(PipelineEvent::DamageFound { sector, damage });
        }
        Err(StageError::Prove { reason: format!("files of sector {sector} are damaged and are being made again") })
    }

    fn digests(&self) -> Result<Vec<(SectorFile, FileDigests)>, StageError> {
        let mut files = vec![SectorFile::Staged, SectorFile::TreeD, SectorFile::Sealed, SectorFile::PAux];
        files.extend(SectorFile::trees_r_last(&self.params));
        let digest = |file: SectorFile| {
            let path = file.path(&self.new, &self.params).expect("a file of every update");
            let digests = FileDigests::of_file(&path, &self.inner.workers).map_err(io("read", &path))?;
            Ok((file, digests))
        };
        files.into_iter().map(digest).collect()
    }

    fn proof_path(&self) -> PathBuf {
        self.new.cache_dir().join(UPDATE_PROOF_NAME)
    }

    fn snark_path(&self) -> PathBuf {
        self.new.cache_dir().join(UPDATE_SNARK_NAME)
    }

    /// Step 2. A SNARK that is there because a process died before the journal knew is as good as a new one.
    fn make_snark(&self, statement: &SectorUpdateStatement) -> Result<(), StageError> {
        let check = |snark: &[u8]| self.inner.verifier.verify_sector_update(statement, snark);
        if fs::read(self.snark_path()).is_ok_and(|snark| check(&snark).is_ok()) {
            return Ok(());
        }
        let plain = self.plain_proof(statement)?;
        let asked = to_update_statement(statement);
        let snark = self.inner.prover.prove_update(&asked, &plain, &self.inner.workers)?;
        check(&snark).map_err(|rejection| StageError::OwnProofRefused { reason: rejection.reason })?;
        let path = self.snark_path();
        durable::write_file(&path, &snark).map_err(io("write", &path))
    }

    /// The plain proof, from its file if that holds.
    fn plain_proof(&self, statement: &SectorUpdateStatement) -> Result<UpdateProof, StageError> {
        let (path, statement) = (self.proof_path(), to_update_statement(statement));
        let kept = fs::read(&path).ok().and_then(|bytes| UpdateProof::from_bytes(&bytes).ok());
        if let Some(plain) = kept.filter(|plain| update::verify(&statement, plain).is_ok()) {
            return Ok(plain);
        }
        self.check_old()?;
        let plain = update::prove(&self.old, &self.new, &statement, &self.inner.workers);
        let plain = plain.map_err(|error| match error {
            UpdateProveError::Files(error) => error.into(),
            refused => StageError::OwnProofRefused { reason: refused.to_string() },
        })?;
        durable::write_file(&path, &plain.to_bytes()).map_err(io("write", &path))?;
        Ok(plain)
    }

    /// Step 3: hands the update in, unless the ledger has it.
    fn submit(&self, encoded: &EncodedUpdate, sent: Option<Sent>) -> Result<Outcome, StageError> {
        let (sector, statement) = (self.record.sector, &encoded.statement);
        let head = self.inner.ledger.head()?;
        let next_block = Outcome::Wait(Epoch(head.0.saturating_add(1)));
        match self.inner.ledger.sector(sector)? {
            LedgerSector::Proving { comm_r, .. } if comm_r == statement.comm_r_new => {
                self.remove_unneeded()?;
                return Ok(Outcome::Next(UpdateState::Active { encoded: encoded.clone() }));
            }
            LedgerSector::Proving { comm_r: got, .. } if got != statement.comm_r_old => {
                return Err(StageError::NumberTaken { expected: statement.comm_r_new, got });
            }
            LedgerSector::Proving { health: LedgerHealth::Active, is_locked: false, .. } => {}
            LedgerSector::Proving { .. } => return Ok(next_block),
            LedgerSector::Closed { reason } => return Err(StageError::LedgerClosed { reason }),
            LedgerSector::Unknown | LedgerSector::PreCommitted { .. } => {
                return Err(StageError::LedgerClosed { reason: "the ledger does not know it as active".to_owned() });
            }
        }
        if let Some(sent) = sent {
            match self.inner.ledger.submission(&sent.transaction)? {
                SubmissionStatus::Failed(reason) => {
                    let state = UpdateState::Proven { encoded: encoded.clone() };
                    self.inner.journal.write_update(&UpdateRecord { state, ..self.record.clone() })?;
                    return Err(StageError::TransactionFailed { what: "sector update", reason });
                }
                _ if head.since(sent.at) <= self.inner.options.submission_patience => return Ok(next_block),
                _ => {}
            }
        }
        self.make_snark(statement)?;
        let path = self.snark_path();
        let proof = fs::read(&path).map_err(io("read", &path))?;
        let kind = SubmissionKind::Update;
        self.inner.emit(PipelineEvent::Submitting { sector, kind });
        let transaction = self.inner.ledger.send_update(sector, &self.record.pieces, statement.comm_r_new, proof)?;
        self.inner.emit(PipelineEvent::Submitted { sector, kind, transaction });
        Ok(Outcome::Next(UpdateState::Sent { encoded: encoded.clone(), sent: Sent { transaction, at: head } }))
    }

    /// Step 4.
    fn remove_unneeded(&self) -> Result<(), StageError> {
        for path in [self.new.staged(), self.new.tree_d(), self.proof_path(), self.snark_path()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("remove", &path)(error)),
                _ => {}
            }
        }
        Ok(())
    }
}
