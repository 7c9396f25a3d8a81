//! One step of one sector: what each stage does.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cairn_compute::Workers;
use cairn_ledger::PorepStatement;
use cairn_protocol::{CommC, CommR, CommRLast, Epoch, SectorNumber, SectorParams, SectorSize};
use cairn_sector::SectorFiles;
use cairn_sector::pieces::comm_d;
use cairn_sector::porep::{self, PorepProof, ProveError};
use cairn_sector::{SealError, seal};

use super::{Inner, Progress};
use crate::digest::FileDigests;
use crate::durable;
use crate::error::{PipelineError, StageError};
use crate::event::{PipelineEvent, StageProgress, SubmissionKind};
use crate::file::SectorFile;
use crate::ledger_client::{LedgerSector, SubmissionStatus};
use crate::piece_source::LazyReader;
use crate::snark::SnarkError;
use crate::space;
use crate::stage::{Stage, StagePart};
use crate::state::{Assignment, Challenged, Failure, SealInputs, Sealed, SectorPiece, SectorRecord, SectorState, Sent};
use crate::verifier::to_porep_statement;

/// What a stage leads to.
enum Outcome {
    /// A new state, with the digests of the files it speaks of.
    Next(Box<SectorState>, Vec<(SectorFile, FileDigests)>),
    /// Nothing to do before this epoch.
    Wait(Epoch),
}

/// What making files gives beside the files.
pub(super) enum Made {
    Files,
    TreeC(CommC),
    Replica { comm_r_last: CommRLast, comm_r: CommR },
}

/// A sector while somebody works on it.
pub(super) struct Work<'a> {
    pub(super) inner: &'a Inner,
    pub(super) record: SectorRecord,
    pub(super) params: SectorParams,
    pub(super) files: SectorFiles,
    pub(super) workers: &'a Workers,
}

/// Does the next stage of `record`, whose turn the caller holds, and journals the result.
pub(super) fn step(inner: &Inner, record: SectorRecord) -> Result<Progress, PipelineError> {
    let mut work = Work::new(inner, record, &inner.workers);
    let Some(part) = work.record.state.next_stage(&work.params) else { return Ok(Progress::Finished) };
    let sector = work.record.sector();
    let span = tracing::info_span!("sealing.stage", sector = sector.0, stage = part.stage.name(), layer = part.layer);
    let _entered = span.enter();
    let waiting = (sector, part.stage);
    // A stage that waited began when the waiting began.
    let started = inner.waiting_since().get(&waiting).copied().unwrap_or_else(Instant::now);
    inner.emit(PipelineEvent::StageStarted { sector, part });
    let outcome = work.run(part);
    inner.waiting_since().remove(&waiting);
    match outcome {
        Ok(Outcome::Wait(until)) => {
            inner.waiting_since().insert(waiting, started);
            inner.emit(PipelineEvent::Waiting { sector, part, until });
            Ok(Progress::Waiting(until))
        }
        Ok(Outcome::Next(state, digests)) => Ok(work.finish(part, *state, digests, started)?),
        Err(StageError::Journal(error)) => Err(error.into()),
        Err(error) => Ok(Progress::Failed(work.fail(part, &error)?)),
    }
}

impl<'a> Work<'a> {
    pub(super) fn new(inner: &'a Inner, record: SectorRecord, workers: &'a Workers) -> Self {
        let (params, files) = (record.params(), inner.files(record.sector()));
        Self { inner, record, params, files, workers }
    }

    pub(super) fn emit(&self, event: PipelineEvent) {
        self.inner.emit(event);
    }

    fn finish(
        mut self,
        part: StagePart,
        state: SectorState,
        digests: Vec<(SectorFile, FileDigests)>,
        started: Instant,
    ) -> Result<Progress, PipelineError> {
        let bytes = digests.iter().map(|(_, digest)| digest.length()).sum();
        let (seconds, sector) = (started.elapsed().as_secs_f64(), self.record.sector());
        let milestone = state.milestone();
        if milestone > self.record.state.milestone() {
            self.record.failures = 0;
        }
        self.record.add_timing(part.stage, started.elapsed().as_millis() as u64, bytes);
        self.record.state = state;
        self.inner.journal.write_sector(&self.record, &digests)?;
        self.emit(PipelineEvent::StageFinished { sector, part, seconds, bytes });
        Ok(Progress::Advanced(milestone))
    }

    /// Writes into the journal why `part` could not be done.
    pub(super) fn fail(mut self, part: StagePart, error: &StageError) -> Result<Failure, PipelineError> {
        self.record.failures = self.record.failures.saturating_add(1);
        let failure = Failure {
            stage: part,
            kind: error.kind(),
            cause: error.to_string(),
            attempts: self.record.failures,
            next_action: error.kind().next_action().to_owned(),
        };
        tracing::error!(cause = %failure.cause, attempts = failure.attempts, "stage failed");
        let at = Box::new(self.record.state.effective().clone());
        self.record.state = SectorState::Failed { at, failure: failure.clone() };
        self.inner.journal.write_sector(&self.record, &[])?;
        self.emit(PipelineEvent::Failed { sector: self.record.sector(), failure: failure.clone() });
        Ok(failure)
    }

    fn run(&mut self, part: StagePart) -> Result<Outcome, StageError> {
        match self.record.state.effective().clone() {
            SectorState::Assigned => {
                let digests = self.make_files(part)?.1;
                let infos = self.record.assignment.piece_infos();
                let comm_d = comm_d(self.record.assignment.sector_size, &infos)?;
                done(SectorState::PiecesAdded { comm_d }, digests)
            }
            SectorState::PiecesAdded { comm_d } => {
                let drawn = self.inner.ledger.draw_ticket()?;
                let inputs = SealInputs { comm_d, ticket: drawn.ticket, ticket_epoch: drawn.epoch };
                done(SectorState::Labelled { inputs, layers_done: 0 }, Vec::new())
            }
            SectorState::Labelled { inputs, layers_done } => {
                let digests = self.make_files(part)?.1;
                let next = match part.layer {
                    Some(layer) => SectorState::Labelled { inputs, layers_done: layer },
                    None => SectorState::TreeDBuilt { inputs },
                };
                debug_assert!(part.layer.is_none_or(|layer| layer == layers_done + 1));
                done(next, digests)
            }
            SectorState::TreeDBuilt { inputs } => {
                let (Made::TreeC(comm_c), digests) = self.make_files(part)? else { unreachable!("tree C gives CommC") };
                done(SectorState::TreeCBuilt { inputs, comm_c }, digests)
            }
            SectorState::TreeCBuilt { inputs, comm_c } => {
                let (Made::Replica { comm_r_last, comm_r }, digests) = self.make_files(part)? else {
                    unreachable!("the replica gives CommR")
                };
                let sealed = Sealed { inputs, comm_c, comm_r_last, comm_r };
                done(SectorState::TreesBuilt { sealed }, digests)
            }
            SectorState::TreesBuilt { sealed } => self.pre_commit(sealed, None),
            SectorState::PreCommitSent { sealed, sent } => self.pre_commit(sealed, Some(sent)),
            SectorState::PreCommitted { sealed, .. } => self.await_seed(sealed),
            SectorState::SeedKnown { challenged } => self.prove(part, challenged),
            SectorState::VanillaProven { challenged, .. } => match self.prove_snark(part, challenged) {
                Err(StageError::Snark(SnarkError::NotYet { until })) => Ok(Outcome::Wait(until)),
                other => other,
            },
            SectorState::SnarkProven { challenged, .. } => self.prove_commit(challenged, None),
            SectorState::ProveCommitSent { challenged, sent, .. } => self.prove_commit(challenged, Some(sent)),
            SectorState::Active { sealed, activated_at } => self.finalize(sealed, activated_at),
            SectorState::Finalized { .. } | SectorState::Failed { .. } => {
                unreachable!("a finalized sector has no next stage, and failures do not nest")
            }
        }
    }

    /// Checks space and inputs, makes the files of `part`, takes their digests.
    fn make_files(&mut self, part: StagePart) -> Result<(Made, Vec<(SectorFile, FileDigests)>), StageError> {
        let sector = self.record.sector();
        for file in part.reads(&self.params) {
            self.ensure(file)?;
        }
        self.emit(PipelineEvent::InputsChecked { sector, part });
        let made = self.make(part)?;
        self.emit(PipelineEvent::FilesWritten { sector, part });
        Ok((made, self.digests_of(part)?))
    }

    pub(super) fn path(&self, file: SectorFile) -> PathBuf {
        file.path(&self.files, &self.params).expect("a file of this sector's own stages")
    }

    pub(super) fn digests_of(&self, part: StagePart) -> Result<Vec<(SectorFile, FileDigests)>, StageError> {
        let digest = |file: SectorFile| {
            let path = self.path(file);
            let digests = FileDigests::of_file(&path, self.workers);
            let digests = digests.map_err(|source| StageError::Io { operation: "read", path, source })?;
            Ok((file, digests))
        };
        part.writes(&self.params).into_iter().map(digest).collect()
    }

    /// Makes the files of `part` from inputs that are on disk and checked.
    pub(super) fn make(&self, part: StagePart) -> Result<Made, StageError> {
        let io = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| StageError::Io { operation, path, source }
        };
        let cache = self.files.cache_dir();
        fs::create_dir_all(&cache).map_err(io("create", &cache))?;
        let bytes = part.disk_bytes(&self.params);
        let reserve = self.inner.options.reserve_bytes;
        space::check_free(&cache, bytes, reserve).map_err(io("ask for free space of", &cache))??;
        let started = Instant::now();
        let sector = self.record.sector();
        let progress = |done: u64, total: u64| self.emit(stage_progress(sector, part, started, done, total));
        match part.stage {
            Stage::AddPieces => {
                let Assignment { pieces, sector_size, .. } = &self.record.assignment;
                stage_pieces(self.inner, pieces, *sector_size, &self.files, &progress).map(|()| Made::Files)
            }
            Stage::Labels => {
                let (identity, inputs) = (self.identity(), self.inputs());
                let layer = part.layer.expect("labels are made layer by layer") as usize;
                seal::label_layer(&self.files, &identity, &inputs.comm_d, layer, self.workers, &progress)?;
                Ok(Made::Files)
            }
            Stage::TreeD => {
                let got = seal::build_tree_d(&self.files, self.params.sector_size, self.workers, &progress)?;
                expect_same(part, "CommD", self.inputs().comm_d, got)?;
                Ok(Made::Files)
            }
            Stage::TreeC => {
                let got = seal::build_tree_c(&self.files, &self.params, self.workers, &progress)?;
                self.record.state.comm_c().map_or(Ok(()), |known| expect_same(part, "CommC", known, got))?;
                Ok(Made::TreeC(got))
            }
            Stage::Replica => self.make_replica(part, &progress),
            Stage::VanillaProof => self.make_proof().map(|()| Made::Files),
            Stage::Snark => self.make_snark().map(|()| Made::Files),
            _ => unreachable!("{part} makes no files"),
        }
    }

    fn make_replica(&self, part: StagePart, progress: cairn_sector::Progress<'_>) -> Result<Made, StageError> {
        let comm_c = self.record.state.comm_c().expect("tree C comes before the replica");
        let comm_r_last = seal::build_replica(&self.files, &self.params, self.workers, progress)?;
        if let Some(sealed) = self.record.state.sealed() {
            expect_same(part, "CommRLast", sealed.comm_r_last, comm_r_last)?;
        }
        let comm_r = seal::finish(&self.files, &comm_c, &comm_r_last)?;
        if let Some(sealed) = self.record.state.sealed() {
            expect_same(part, "CommR", sealed.comm_r, comm_r)?;
        }
        Ok(Made::Replica { comm_r_last, comm_r })
    }

    fn identity(&self) -> cairn_sector::SectorIdentity {
        self.record.identity().expect("the ticket is drawn before labelling")
    }

    fn inputs(&self) -> SealInputs {
        *self.record.state.inputs().expect("the ticket is drawn before labelling")
    }

    /// Hands in the pre-commit, unless the ledger has it. `sent` is the transaction on record, if any.
    fn pre_commit(&mut self, sealed: Sealed, sent: Option<Sent>) -> Result<Outcome, StageError> {
        let sector = self.record.sector();
        match self.inner.ledger.sector(sector)? {
            LedgerSector::PreCommitted { comm_r, seed_epoch, expires_at, .. } => {
                expect_ours(&sealed, comm_r)?;
                next(SectorState::PreCommitted { sealed, seed_epoch, expires_at })
            }
            LedgerSector::Proving { comm_r, activated_at, .. } => {
                expect_ours(&sealed, comm_r)?;
                next(SectorState::Active { sealed, activated_at })
            }
            LedgerSector::Closed { reason } => Err(StageError::LedgerClosed { reason }),
            LedgerSector::Unknown if !self.may_send("pre-commit", sent)? => self.wait_for_next_block(),
            LedgerSector::Unknown if !self.inner.ledger.is_ticket_usable(sealed.inputs.ticket_epoch)? => {
                let ticket_epoch = sealed.inputs.ticket_epoch;
                self.emit(PipelineEvent::TicketExpired { sector, ticket_epoch });
                next(SectorState::PiecesAdded { comm_d: sealed.inputs.comm_d })
            }
            LedgerSector::Unknown => {
                let kind = SubmissionKind::PreCommit;
                self.emit(PipelineEvent::Submitting { sector, kind });
                let at = self.inner.ledger.head()?;
                let transaction = self.inner.ledger.send_pre_commit(&self.record.assignment, &sealed)?;
                self.emit(PipelineEvent::Submitted { sector, kind, transaction });
                next(SectorState::PreCommitSent { sealed, sent: Sent { transaction, at } })
            }
        }
    }

    /// Whether to hand a transaction in (again). One on record is left alone while it may still be taken; if it was
    /// refused, that is a failure first, and the retry sends it again.
    fn may_send(&self, what: &'static str, sent: Option<Sent>) -> Result<bool, StageError> {
        let Some(sent) = sent else { return Ok(true) };
        match self.inner.ledger.submission(&sent.transaction)? {
            SubmissionStatus::Failed(reason) if self.record.state.failure().is_none() => {
                Err(StageError::TransactionFailed { what, reason })
            }
            SubmissionStatus::Failed(_) => Ok(true),
            SubmissionStatus::Applied(_) | SubmissionStatus::Pending => {
                Ok(self.inner.ledger.head()?.since(sent.at) > self.inner.options.submission_patience)
            }
        }
    }

    fn wait_for_next_block(&self) -> Result<Outcome, StageError> {
        Ok(Outcome::Wait(Epoch(self.inner.ledger.head()?.0.saturating_add(1))))
    }

    fn await_seed(&mut self, sealed: Sealed) -> Result<Outcome, StageError> {
        match self.inner.ledger.sector(self.record.sector())? {
            LedgerSector::PreCommitted { comm_r, seed: Some(seed), expires_at, .. } => {
                expect_ours(&sealed, comm_r)?;
                next(SectorState::SeedKnown { challenged: Challenged { sealed, seed, expires_at } })
            }
            LedgerSector::PreCommitted { seed: None, seed_epoch, .. } => Ok(Outcome::Wait(seed_epoch)),
            other => gone_or_active(sealed, other),
        }
    }

    fn prove(&mut self, part: StagePart, challenged: Challenged) -> Result<Outcome, StageError> {
        let digests = self.make_files(part)?.1;
        let [(_, proof)] = digests.as_slice() else { unreachable!("one proof file") };
        let proof_digest = proof.summary();
        done(SectorState::VanillaProven { challenged, proof_digest }, digests)
    }

    fn prove_snark(&mut self, part: StagePart, challenged: Challenged) -> Result<Outcome, StageError> {
        let digests = self.make_files(part)?.1;
        let [(_, snark)] = digests.as_slice() else { unreachable!("one SNARK file") };
        let proof_digest = snark.summary();
        done(SectorState::SnarkProven { challenged, proof_digest }, digests)
    }

    /// What is proven about the sector, in the ledger's words.
    fn statement(&self) -> PorepStatement {
        let challenged = self.record.state.challenged().expect("proofs are made between seed and activation");
        PorepStatement {
            sector_size: self.record.assignment.sector_size,
            seal_proof: self.record.assignment.seal_proof,
            prover_id: self.record.prover_id,
            sector_number: self.record.sector(),
            ticket: challenged.sealed.inputs.ticket,
            seed: challenged.seed,
            comm_d: challenged.sealed.inputs.comm_d,
            comm_r: challenged.sealed.comm_r,
        }
    }

    /// Opens the challenged nodes, verifies, writes the proof file.
    fn make_proof(&self) -> Result<(), StageError> {
        let statement = to_porep_statement(&self.statement());
        // The prover verifies what it made before it returns it.
        let proof = porep::prove(&self.files, &statement, self.workers).map_err(|error| match error {
            ProveError::Files(error) => error.into(),
            refused => StageError::OwnProofRefused { reason: refused.to_string() },
        })?;
        self.write_proof(SectorFile::PorepProof, &proof.to_bytes())
    }

    /// Turns the plain proof into a SNARK, checks it as the ledger will, writes its file. A SNARK that is there because
    /// a process died before the journal knew is as good as a new one.
    fn make_snark(&self) -> Result<(), StageError> {
        let statement = self.statement();
        let check = |snark: &[u8]| self.inner.verifier.verify_porep(&statement, snark);
        if fs::read(self.path(SectorFile::PorepSnark)).is_ok_and(|snark| check(&snark).is_ok()) {
            return Ok(());
        }
        let path = self.path(SectorFile::PorepProof);
        let bytes = fs::read(&path).map_err(|source| StageError::Io { operation: "read", path, source })?;
        let refused = |reason: String| StageError::OwnProofRefused { reason };
        let plain = PorepProof::from_bytes(&bytes).map_err(|rejection| refused(rejection.to_string()))?;
        let snark = self.inner.prover.prove_porep(&to_porep_statement(&statement), &plain, self.workers)?;
        check(&snark).map_err(|rejection| refused(rejection.reason))?;
        self.write_proof(SectorFile::PorepSnark, &snark)
    }

    fn write_proof(&self, file: SectorFile, bytes: &[u8]) -> Result<(), StageError> {
        let path = self.path(file);
        durable::write_file(&path, bytes).map_err(|source| StageError::Io { operation: "write", path, source })
    }

    /// Hands in the proof, unless the ledger has it.
    fn prove_commit(&mut self, challenged: Challenged, sent: Option<Sent>) -> Result<Outcome, StageError> {
        let sector = self.record.sector();
        match self.inner.ledger.sector(sector)? {
            LedgerSector::PreCommitted { comm_r, .. } => expect_ours(&challenged.sealed, comm_r)?,
            other => return gone_or_active(challenged.sealed, other),
        }
        if !self.may_send("prove-commit", sent)? {
            return self.wait_for_next_block();
        }
        self.ensure(SectorFile::PorepSnark)?;
        let proof_digest = self.recorded(SectorFile::PorepSnark)?.summary();
        let path = self.path(SectorFile::PorepSnark);
        let proof = fs::read(&path).map_err(|source| StageError::Io { operation: "read", path, source })?;
        let kind = SubmissionKind::ProveCommit;
        self.emit(PipelineEvent::Submitting { sector, kind });
        let at = self.inner.ledger.head()?;
        let transaction = self.inner.ledger.send_prove_commit(&self.record.assignment, proof)?;
        self.emit(PipelineEvent::Submitted { sector, kind, transaction });
        next(SectorState::ProveCommitSent { challenged, proof_digest, sent: Sent { transaction, at } })
    }

    /// Removes files, but only of a sector that the ledger counts as stored.
    fn finalize(&mut self, sealed: Sealed, activated_at: Epoch) -> Result<Outcome, StageError> {
        match self.inner.ledger.sector(self.record.sector())? {
            LedgerSector::Proving { comm_r, .. } => expect_ours(&sealed, comm_r)?,
            LedgerSector::Closed { reason } => return Err(StageError::LedgerClosed { reason }),
            LedgerSector::Unknown | LedgerSector::PreCommitted { .. } => {
                return Err(StageError::LedgerClosed { reason: "the ledger does not know it as active".to_owned() });
            }
        }
        self.inner.remove_unneeded(&self.record).map_err(|(path, source)| StageError::Io {
            operation: "remove",
            path,
            source,
        })?;
        next(SectorState::Finalized { sealed, activated_at })
    }
}

/// Reads the pieces into the staged file of `files`, and checks every CommP.
pub(super) fn stage_pieces(
    inner: &Inner,
    pieces: &[SectorPiece],
    sector_size: SectorSize,
    files: &SectorFiles,
    progress: cairn_sector::Progress<'_>,
) -> Result<(), StageError> {
    let mut readers: Vec<_> =
        pieces.iter().map(|piece| LazyReader::new(inner.pieces.as_ref(), piece.info.comm_p)).collect();
    let mut sources: Vec<_> = readers
        .iter_mut()
        .zip(pieces)
        .map(|(reader, piece)| seal::PieceSource {
            reader: reader as &mut dyn Read,
            payload_bytes: piece.payload_bytes,
        })
        .collect();
    let added = seal::add_pieces(files, sector_size, &mut sources, progress);
    let infos = added.map_err(|error| match error {
        SealError::PieceRead { index, source } => StageError::PieceUnavailable { index, reason: source.to_string() },
        SealError::PieceLength { index, expected, got } => StageError::PieceLength { index, expected, got },
        other => other.into(),
    })?;
    for (index, (piece, info)) in pieces.iter().zip(infos).enumerate() {
        if piece.info != info {
            let (expected, got) = (piece.info.comm_p, info.comm_p);
            return Err(StageError::PieceMismatch { index, expected, got });
        }
    }
    Ok(())
}

/// How far the work of `part` is that began at `started`.
pub(super) fn stage_progress(
    sector: SectorNumber,
    part: StagePart,
    started: Instant,
    done: u64,
    total: u64,
) -> PipelineEvent {
    let (seconds, total) = (started.elapsed().as_secs_f64(), total.max(1));
    let eta_seconds = (done > 0).then(|| seconds * total.saturating_sub(done) as f64 / done as f64);
    PipelineEvent::Progress { sector, part, progress: StageProgress { done, total, seconds, eta_seconds } }
}

fn next(state: SectorState) -> Result<Outcome, StageError> {
    done(state, Vec::new())
}

fn done(state: SectorState, digests: Vec<(SectorFile, FileDigests)>) -> Result<Outcome, StageError> {
    Ok(Outcome::Next(Box::new(state), digests))
}

/// A sector that should be pre-committed is something else on the ledger.
fn gone_or_active(sealed: Sealed, found: LedgerSector) -> Result<Outcome, StageError> {
    match found {
        LedgerSector::Proving { comm_r, activated_at, .. } => {
            expect_ours(&sealed, comm_r)?;
            next(SectorState::Active { sealed, activated_at })
        }
        LedgerSector::Closed { reason } => Err(StageError::LedgerClosed { reason }),
        LedgerSector::PreCommitted { comm_r, .. } => {
            Err(StageError::NumberTaken { expected: sealed.comm_r, got: comm_r })
        }
        LedgerSector::Unknown => {
            Err(StageError::LedgerClosed { reason: "the ledger does not know its pre-commit".to_owned() })
        }
    }
}

fn expect_ours(sealed: &Sealed, got: CommR) -> Result<(), StageError> {
    if got == sealed.comm_r { Ok(()) } else { Err(StageError::NumberTaken { expected: sealed.comm_r, got }) }
}

pub(super) fn expect_same<T: PartialEq + ToString>(
    part: StagePart,
    what: &'static str,
    expected: T,
    got: T,
) -> Result<(), StageError> {
    if expected == got {
        return Ok(());
    }
    Err(StageError::CommitmentChanged { part, what, expected: expected.to_string(), got: got.to_string() })
}
