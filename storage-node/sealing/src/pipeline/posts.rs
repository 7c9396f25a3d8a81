//! The window-PoSt schedule: every active sector proven at each of its deadlines, once.
//!
//! One turn of the schedule ([`Pipeline::post_step`]), at most once per block:
//! 1. Ask the ledger for the next proof of every partition.
//! 2. Challenge not drawn yet: check the small files that the proof needs (tree R-last, p_aux). What is damaged now can
//!    be repaired in time; if it is not, it is declared faulty at the last moment, which spares the other sectors of
//!    the partition a missed deadline.
//! 3. Challenge drawn: unless a proof of this very statement is on disk, open the challenged leaves and verify; turn that
//!    into a SNARK and check it as the ledger will; write its file, then the journal; hand it in, then the journal again.
//!    A refusal or a loss hands the same proof in again.
//! 4. On the ledger: note it, remove the proof file. Closed without it: note that.
//! 5. A sector that the ledger holds faulty: if its files are intact, declare recovery, else have them made again.
//!
//! Damaged files are made again by the sealing threads ([`Pipeline::repair_wanted`]), not here: other deadlines wait
//! for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::Instant;

use cairn_ledger::WindowPostStatement;
use cairn_protocol::{Epoch, SectorNumber};
use cairn_sector::SectorFiles;
use cairn_sector::post::{self, PostProof};

use super::{Inner, Pipeline};
use crate::digest::FileDigests;
use crate::durable;
use crate::error::{PipelineError, StageError};
use crate::event::PipelineEvent;
use crate::file::SectorFile;
use crate::journal::JournalError;
use crate::ledger_client::{DutyStatus, LedgerHealth, LedgerSector, PostDuty, SubmissionStatus};
use crate::snark::SnarkError;
use crate::state::{Milestone, Sent};
use crate::verifier::to_post_statement;
use crate::window_post::{PostKey, PostRecord, PostState};

/// What the schedule remembers between turns; all of it may be forgotten.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// Duties whose small files were found intact before the challenge.
    checked: BTreeSet<PostKey>,
    /// When a declaration about a sector was last sent.
    declared: BTreeMap<SectorNumber, Epoch>,
    /// Proofs on record that are neither confirmed nor missed; read from the journal at the first turn.
    open: Option<BTreeSet<PostKey>>,
    /// What was last told about a duty that fails, so that it is told once.
    told: BTreeMap<PostKey, String>,
}

/// What one turn of the schedule did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostProgress {
    /// The ledger's head at that time.
    pub head: Epoch,
    /// Proofs made.
    pub proven: usize,
    /// Proofs handed in.
    pub sent: usize,
    /// Proofs newly seen on the ledger.
    pub confirmed: usize,
    /// Duties that are open and not on the ledger yet.
    pub open: usize,
}

impl Pipeline {
    /// One turn of the schedule; see the module. Failures of single proofs are events, and are tried again next turn.
    ///
    /// # Errors
    /// [`PipelineError`] if the ledger or the journal gives no answer.
    pub fn post_step(&self) -> Result<PostProgress, PipelineError> {
        let inner = &self.inner;
        let mut schedule = inner.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        let mut progress = PostProgress { head: inner.ledger.head()?, ..PostProgress::default() };
        inner.close_past(&mut schedule, &mut progress)?;
        for duty in &inner.ledger.post_duties()? {
            let done = match &duty.status {
                DutyStatus::Upcoming => inner.check_before_challenge(&mut schedule, duty, progress.head),
                DutyStatus::Open(statement) => inner.answer(&mut schedule, duty, statement, &mut progress),
                DutyStatus::Proven => inner.confirm(&mut schedule, &duty.key(), &mut progress),
            };
            match done {
                Ok(()) => {}
                Err(StageError::Journal(error)) => return Err(error.into()),
                Err(error) => inner.tell_failure(&mut schedule, duty.key(), error.to_string()),
            }
        }
        inner.recover_faulty(&mut schedule, progress.head)?;
        inner.forget_old(&mut schedule, progress.head)?;
        Ok(progress)
    }

    /// Window PoSts on record, oldest first.
    ///
    /// # Errors
    /// The journal's.
    pub fn posts(&self) -> Result<Vec<(PostKey, PostRecord)>, PipelineError> {
        Ok(self.inner.journal.posts()?)
    }

    /// Sectors whose files the schedule found damaged and that wait for [`Pipeline::repair_sector`].
    pub fn repair_wanted(&self) -> Vec<SectorNumber> {
        self.inner.repairs_wanted().iter().copied().collect()
    }
}

impl PostDuty {
    /// The name of the proof.
    pub fn key(&self) -> PostKey {
        PostKey { closes_at: self.closes_at, deadline: self.deadline, partition: self.partition }
    }
}

impl Inner {
    fn proof_path(&self, key: &PostKey) -> PathBuf {
        let name = format!("{}-{}-{}.bin", key.closes_at, key.deadline, key.partition);
        self.posts_dir().join(name)
    }

    pub(crate) fn posts_dir(&self) -> PathBuf {
        self.sectors_dir.join("posts")
    }

    fn check_before_challenge(&self, schedule: &mut Schedule, duty: &PostDuty, head: Epoch) -> Result<(), StageError> {
        if schedule.checked.contains(&duty.key()) {
            return Ok(());
        }
        let mut intact = true;
        for &sector in &duty.sectors {
            if !self.repairs_wanted().contains(&sector) && self.has_intact_small_files(sector)? {
                continue;
            }
            intact = false;
            let may_wait = duty.challenge_epoch.since(head) > self.options.fault_lead;
            if may_wait || schedule.waits_for_answer(sector, head, self) {
                continue;
            }
            let found = self.ledger.sector(sector)?;
            if let LedgerSector::Proving { health: LedgerHealth::Active, is_locked: false, .. } = found {
                self.ledger.send_faults(&[sector])?;
                schedule.declared.insert(sector, head);
                self.emit(PipelineEvent::FaultsDeclared { sectors: vec![sector] });
            }
        }
        if intact {
            schedule.checked.insert(duty.key());
        }
        Ok(())
    }

    /// Tells why a duty fails, unless that was told before.
    fn tell_failure(&self, schedule: &mut Schedule, post: PostKey, reason: String) {
        if schedule.told.get(&post) != Some(&reason) {
            tracing::error!(%post, %reason, "window PoSt failed");
            schedule.told.insert(post, reason.clone());
            self.emit(PipelineEvent::PostFailed { post, reason });
        }
    }

    /// Checks what every proof reads in full. Damage is told, and a repair asked for.
    fn has_intact_small_files(&self, sector: SectorNumber) -> Result<bool, StageError> {
        self.is_intact(sector, |file| matches!(file, SectorFile::TreeRLast(_) | SectorFile::PAux))
    }

    fn is_intact(&self, sector: SectorNumber, which: impl Fn(SectorFile) -> bool) -> Result<bool, StageError> {
        let Some(record) = self.journal.sector(sector)? else {
            return Err(StageError::Prove { reason: format!("sector {sector} is not in the journal") });
        };
        let mut damaged = self.find_damage(&record, &self.post_workers, &which)?;
        damaged.extend(self.find_update_damage(&record, &self.post_workers, &which)?);
        if damaged.is_empty() {
            return Ok(true);
        }
        let is_new = self.repairs_wanted().insert(sector);
        for damage in damaged.into_iter().filter(|_| is_new) {
            self.emit(PipelineEvent::DamageFound { sector, damage });
        }
        Ok(false)
    }

    fn answer(
        &self,
        schedule: &mut Schedule,
        duty: &PostDuty,
        statement: &WindowPostStatement,
        progress: &mut PostProgress,
    ) -> Result<(), StageError> {
        if statement.sectors.is_empty() {
            return Ok(());
        }
        progress.open += 1;
        let key = duty.key();
        let mut record = match self.usable_proof(&key, statement)? {
            Some(record) => record,
            None => {
                let made = match self.make_window_proof(&key, statement) {
                    Err(StageError::Snark(SnarkError::NotYet { .. })) => return Ok(()),
                    other => other?,
                };
                progress.proven += usize::from(made);
                let record = self.journal_proof(&key, statement)?;
                schedule.open.get_or_insert_default().insert(key);
                record
            }
        };
        let times = match record.state {
            PostState::Sent { sent, times } => {
                match self.ledger.submission(&sent.transaction)? {
                    SubmissionStatus::Pending | SubmissionStatus::Applied(_)
                        if progress.head.since(sent.at) <= self.options.submission_patience =>
                    {
                        return Ok(());
                    }
                    SubmissionStatus::Failed(reason) => {
                        self.tell_failure(schedule, key, format!("handed in {times} times, refused: {reason}"));
                    }
                    SubmissionStatus::Pending | SubmissionStatus::Applied(_) => {}
                }
                if times >= self.options.attempts_max {
                    return Ok(());
                }
                times
            }
            PostState::Proven | PostState::Confirmed { .. } | PostState::Missed { .. } => 0,
        };
        let path = self.proof_path(&key);
        let proof = fs::read(&path).map_err(|source| StageError::Io { operation: "read", path, source })?;
        self.emit(PipelineEvent::PostSubmitting { post: key });
        let transaction = self.ledger.send_window_post(duty, proof)?;
        self.emit(PipelineEvent::PostSubmitted { post: key, transaction });
        progress.sent += 1;
        record.state = PostState::Sent { sent: Sent { transaction, at: progress.head }, times: times + 1 };
        Ok(self.journal.write_post(&key, &record)?)
    }

    /// The proof on disk, if it is whole and about this statement.
    fn usable_proof(&self, key: &PostKey, statement: &WindowPostStatement) -> Result<Option<PostRecord>, StageError> {
        let Some(record) = self.journal.post(key)? else { return Ok(None) };
        let same = record.randomness == statement.randomness && record.sectors == numbers(statement);
        let digests = FileDigests::of_file(&self.proof_path(key), &self.post_workers);
        let whole = digests.is_ok_and(|digests| digests.summary() == record.proof_digest);
        Ok((same && whole).then_some(record))
    }

    /// Sees to it that a SNARK of the statement is on disk: `false` if one was there because a process died before the
    /// journal knew.
    fn make_window_proof(&self, key: &PostKey, statement: &WindowPostStatement) -> Result<bool, StageError> {
        let path = self.proof_path(key);
        let check = |snark: &[u8]| self.verifier.verify_window_post(statement, snark);
        if fs::read(&path).is_ok_and(|snark| check(&snark).is_ok()) {
            return Ok(false);
        }
        let started = Instant::now();
        let plain = self.open_challenged(statement)?;
        let snark_started = Instant::now();
        let snark = self.prover.prove_window_post(&to_post_statement(statement), &plain, &self.post_workers)?;
        check(&snark).map_err(|rejection| StageError::OwnProofRefused { reason: rejection.reason })?;
        let (seconds, snark_seconds) = (started.elapsed().as_secs_f64(), snark_started.elapsed().as_secs_f64());

        let io = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| StageError::Io { operation, path, source }
        };
        fs::create_dir_all(self.posts_dir()).map_err(io("create the folder of", &path))?;
        durable::write_file(&path, &snark).map_err(io("write", &path))?;
        let sectors = numbers(statement);
        self.emit(PipelineEvent::PostProven { post: *key, sectors, seconds, snark_seconds });
        Ok(true)
    }

    /// The plain proof, verified.
    fn open_challenged(&self, statement: &WindowPostStatement) -> Result<PostProof, StageError> {
        let sectors = numbers(statement);
        for &sector in &sectors {
            if !self.has_intact_small_files(sector)? {
                let reason = format!("files of sector {sector} are damaged and are being made again");
                return Err(StageError::Prove { reason });
            }
        }
        let replicas = statement.sectors.iter();
        let files = replicas.map(|(sector, comm_r)| self.replica_files(*sector, *comm_r));
        let files = files.collect::<Result<Vec<SectorFiles>, _>>()?;
        post::prove(&to_post_statement(statement), &files, &self.post_workers).map_err(|error| {
            // The small files are intact, so it is a replica; its digests say where.
            let reason = error.to_string();
            let damaged = sectors.iter().filter(|sector| matches!(self.is_intact(**sector, |_| true), Ok(false)));
            let damaged: Vec<_> = damaged.map(|sector| sector.to_string()).collect();
            match damaged.is_empty() {
                true => StageError::OwnProofRefused { reason },
                false => StageError::Prove { reason: format!("damaged sectors {}: {reason}", damaged.join(", ")) },
            }
        })
    }

    /// Puts the SNARK on disk on record.
    fn journal_proof(&self, key: &PostKey, statement: &WindowPostStatement) -> Result<PostRecord, StageError> {
        let path = self.proof_path(key);
        let digests = FileDigests::of_file(&path, &self.post_workers);
        let digests = digests.map_err(|source| StageError::Io { operation: "read", path, source })?;
        let record = PostRecord {
            randomness: statement.randomness,
            sectors: numbers(statement),
            proof_digest: digests.summary(),
            state: PostState::Proven,
        };
        self.journal.write_post(key, &record)?;
        Ok(record)
    }

    /// Notes that the ledger has the proof.
    fn confirm(&self, schedule: &mut Schedule, key: &PostKey, progress: &mut PostProgress) -> Result<(), StageError> {
        let Some(mut record) = self.journal.post(key)?.filter(|record| record.state.is_open()) else { return Ok(()) };
        record.state = PostState::Confirmed { seen_at: progress.head };
        self.close_post(schedule, key, &record)?;
        progress.confirmed += 1;
        self.emit(PipelineEvent::PostConfirmed { post: *key, sectors: record.sectors });
        Ok(())
    }

    fn close_post(&self, schedule: &mut Schedule, key: &PostKey, record: &PostRecord) -> Result<(), JournalError> {
        self.journal.write_post(key, record)?;
        schedule.open.get_or_insert_default().remove(key);
        // The record is what counts; a file that stays is removed with the record.
        let _ = fs::remove_file(self.proof_path(key));
        Ok(())
    }

    /// Finds out what became of proofs whose deadline closed since the last turn, perhaps while nobody was looking.
    fn close_past(&self, schedule: &mut Schedule, progress: &mut PostProgress) -> Result<(), PipelineError> {
        let open = match schedule.open.take() {
            Some(open) => open,
            None => {
                let posts = self.journal.posts()?.into_iter();
                posts.filter(|(_, record)| record.state.is_open()).map(|(key, _)| key).collect()
            }
        };
        let past: Vec<_> = open.iter().copied().take_while(|key| key.closes_at <= progress.head).collect();
        schedule.open = Some(open);
        for key in past {
            let Some(mut record) = self.journal.post(&key)? else { continue };
            let applied = match record.state {
                PostState::Sent { sent, .. } => {
                    matches!(self.ledger.submission(&sent.transaction)?, SubmissionStatus::Applied(_))
                }
                _ => false,
            };
            if applied {
                record.state = PostState::Confirmed { seen_at: progress.head };
                progress.confirmed += 1;
                self.emit(PipelineEvent::PostConfirmed { post: key, sectors: record.sectors.clone() });
            } else {
                record.state = PostState::Missed { seen_at: progress.head };
                let reason = "the deadline closed without it".to_owned();
                self.emit(PipelineEvent::PostFailed { post: key, reason });
            }
            self.close_post(schedule, &key, &record)?;
        }
        Ok(())
    }

    /// Declares recovery of faulty sectors whose files are intact; asks for the repair of the others.
    fn recover_faulty(&self, schedule: &mut Schedule, head: Epoch) -> Result<(), PipelineError> {
        for record in self.journal.sectors()? {
            let sector = record.sector();
            if record.state.milestone() < Milestone::Active || schedule.waits_for_answer(sector, head, self) {
                continue;
            }
            let found = self.ledger.sector(sector)?;
            let LedgerSector::Proving { health: LedgerHealth::Faulty, is_locked: false, .. } = found else { continue };
            if self.repairs_wanted().contains(&sector) {
                continue;
            }
            match self.is_intact(sector, |_| true) {
                Ok(true) => {
                    self.ledger.send_recovery(&[sector])?;
                    schedule.declared.insert(sector, head);
                    self.emit(PipelineEvent::RecoveryDeclared { sectors: vec![sector] });
                }
                Ok(false) => {}
                Err(StageError::Journal(error)) => return Err(error.into()),
                Err(error) => self.emit(PipelineEvent::Trouble { what: format!("sector {sector}: {error}") }),
            }
        }
        Ok(())
    }

    fn forget_old(&self, schedule: &mut Schedule, head: Epoch) -> Result<(), PipelineError> {
        schedule.checked.retain(|key| key.closes_at >= head);
        schedule.told.retain(|key, _| key.closes_at >= head);
        schedule.declared.retain(|_, at| head.since(*at) <= self.options.submission_patience);
        let Some(limit) = head.0.checked_sub(self.options.posts_kept_epochs) else { return Ok(()) };
        let Some((oldest, _)) = self.journal.first_post()? else { return Ok(()) };
        if oldest.closes_at.0 >= limit {
            return Ok(());
        }
        for (key, _) in self.journal.posts()?.iter().take_while(|(key, _)| key.closes_at.0 < limit) {
            let _ = fs::remove_file(self.proof_path(key));
        }
        Ok(self.journal.forget_posts_before(Epoch(limit))?)
    }
}

impl Schedule {
    /// Whether a declaration about the sector is on its way.
    fn waits_for_answer(&self, sector: SectorNumber, head: Epoch, inner: &Inner) -> bool {
        self.declared.get(&sector).is_some_and(|at| head.since(*at) <= inner.options.submission_patience)
    }
}

fn numbers(statement: &WindowPostStatement) -> Vec<SectorNumber> {
    statement.sectors.iter().map(|(number, _)| *number).collect()
}
