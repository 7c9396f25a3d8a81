//! A ledger in a folder and helpers, shared by the tests of the pipeline.
//!
//! The ledger is small and honest: every accepted transaction is one durable file, epochs count calls to `wait_for`, the
//! seed and the proofs follow the rules of the real one, and proofs are checked, in most tests by [`CarriedVerifier`]. It
//! survives SIGKILL as the real one does, and it can be told to refuse or to lose what is handed in.

#![allow(dead_code, reason = "each test uses its part")]

pub mod carried;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_compute::Workers;
use cairn_ledger::{PorepStatement, ProofVerifier, SectorUpdateStatement, TransactionId, WindowPostStatement};
use cairn_protocol::{
    CommP, CommR, Epoch, PostRandomness, ProviderId, SealProof, SectorNumber, SectorSize, Seed, Ticket,
};
use cairn_sealing::*;
use cairn_sector::pieces::PieceHasher;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use carried::{CarriedSnarks, CarriedVerifier};

pub const PROVIDER: ProviderId = ProviderId(1000);
pub const SECTOR: SectorNumber = SectorNumber(7);
/// Epochs from pre-commit to seed.
const SEED_DELAY: u64 = 2;
/// Epochs between two challenges of a sector, and for how long each may be answered.
const POST_PERIOD: u64 = 12;
const POST_WINDOW: u64 = 6;

#[derive(Serialize, Deserialize, Clone)]
struct StoredSector {
    assignment: Assignment,
    sealed: Sealed,
    pre_committed_at: Epoch,
    activated_at: Option<Epoch>,
    faulty: bool,
    /// Challenge epochs answered.
    posts: Vec<Epoch>,
}

/// Behaviour that a test asks for.
#[derive(Default)]
pub struct Mischief {
    /// Transactions that are taken and never seen again.
    pub lose: u32,
    /// Transactions that end up in a block without effect.
    pub fail: u32,
    /// Oldest ticket that is still good.
    pub oldest_ticket: u64,
}

pub struct FolderLedger {
    dir: PathBuf,
    pub mischief: Mutex<Mischief>,
    failed: Mutex<BTreeMap<[u8; 32], String>>,
    lock: Mutex<()>,
    verifier: Arc<dyn ProofVerifier + Send + Sync>,
}

/// Who makes proofs, and who checks them.
#[derive(Clone)]
pub struct Proofs {
    pub prover: Arc<dyn SnarkProver>,
    pub verifier: Arc<dyn ProofVerifier + Send + Sync>,
}

impl Proofs {
    /// Plain proofs that count as SNARKs.
    pub fn carried(dir: &Path) -> Self {
        Self { prover: Arc::new(CarriedSnarks::new(dir)), verifier: Arc::new(CarriedVerifier) }
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest: [u8; 32] = Sha256::digest(parts.concat()).into();
    digest[31] &= 0x3f;
    digest
}

fn write(path: &Path, bytes: &[u8]) {
    let temporary = path.with_extension("new");
    fs::write(&temporary, bytes).unwrap();
    fs::rename(&temporary, path).unwrap();
}

impl FolderLedger {
    pub fn open(dir: &Path) -> Arc<Self> {
        Self::open_checking(dir, Arc::new(CarriedVerifier))
    }

    pub fn open_checking(dir: &Path, verifier: Arc<dyn ProofVerifier + Send + Sync>) -> Arc<Self> {
        fs::create_dir_all(dir).unwrap();
        let mischief = Mutex::default();
        Arc::new(Self { dir: dir.to_owned(), mischief, failed: Mutex::default(), lock: Mutex::default(), verifier })
    }

    fn epoch(&self) -> Epoch {
        let text = fs::read_to_string(self.dir.join("epoch")).unwrap_or_else(|_| "10".to_owned());
        Epoch(text.parse().unwrap())
    }

    pub fn advance(&self) {
        let _guard = self.lock.lock().unwrap();
        write(&self.dir.join("epoch"), (self.epoch().0 + 1).to_string().as_bytes());
    }

    fn stored(&self, sector: SectorNumber) -> Option<StoredSector> {
        let bytes = fs::read(self.dir.join(format!("sector-{sector}"))).ok()?;
        Some(serde_ipld_dagcbor::from_slice(&bytes).unwrap())
    }

    fn store(&self, stored: &StoredSector) {
        let name = format!("sector-{}", stored.assignment.sector);
        write(&self.dir.join(name), &serde_ipld_dagcbor::to_vec(stored).unwrap());
    }

    fn sectors(&self) -> Vec<StoredSector> {
        let entries = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = entries
            .filter(|path| {
                path.extension().is_none() && path.file_name().unwrap().to_string_lossy().starts_with("sector")
            })
            .collect();
        paths.sort();
        paths.iter().map(|path| serde_ipld_dagcbor::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
    }

    /// Times something was handed in.
    pub fn handed_in(&self, what: &str) -> usize {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default().lines().filter(|line| *line == what).count()
    }

    pub fn posts(&self, sector: SectorNumber) -> Vec<Epoch> {
        self.stored(sector).map(|stored| stored.posts).unwrap_or_default()
    }

    fn take(
        &self,
        what: &str,
        apply: impl FnOnce(&Self) -> Result<(), String>,
    ) -> Result<TransactionId, LedgerClientError> {
        let _guard = self.lock.lock().unwrap();
        let mut log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        log += &format!("{what}\n");
        write(&self.dir.join("log"), log.as_bytes());
        let id = hash(&[log.as_bytes()]);
        let mut mischief = self.mischief.lock().unwrap();
        if mischief.lose > 0 {
            mischief.lose -= 1;
        } else if mischief.fail > 0 {
            mischief.fail -= 1;
            self.failed.lock().unwrap().insert(id, "collateral is too low".to_owned());
        } else if let Err(reason) = apply(self) {
            self.failed.lock().unwrap().insert(id, reason);
        } else {
            let mut applied = fs::read(self.dir.join("applied")).unwrap_or_default();
            applied.extend(id);
            write(&self.dir.join("applied"), &applied);
        }
        Ok(TransactionId(id))
    }

    fn ticket(&self, epoch: Epoch) -> Ticket {
        Ticket(hash(&[b"ticket", &epoch.0.to_be_bytes()]))
    }

    fn seed(&self, epoch: Epoch) -> Seed {
        Seed(hash(&[b"seed", &epoch.0.to_be_bytes()]))
    }

    fn statement(&self, stored: &StoredSector) -> PorepStatement {
        PorepStatement {
            sector_size: stored.assignment.sector_size,
            seal_proof: stored.assignment.seal_proof,
            prover_id: PROVIDER.prover_id(),
            sector_number: stored.assignment.sector,
            ticket: stored.sealed.inputs.ticket,
            seed: self.seed(Epoch(stored.pre_committed_at.0 + SEED_DELAY)),
            comm_d: stored.sealed.inputs.comm_d,
            comm_r: stored.sealed.comm_r,
        }
    }
}

impl LedgerClient for FolderLedger {
    fn head(&self) -> Result<Epoch, LedgerClientError> {
        Ok(self.epoch())
    }

    fn wait_for(&self, epoch: Epoch, _timeout: Duration) -> Result<Epoch, LedgerClientError> {
        while self.epoch() < epoch {
            self.advance();
        }
        Ok(self.epoch())
    }

    fn draw_ticket(&self) -> Result<DrawnTicket, LedgerClientError> {
        let epoch = self.epoch();
        Ok(DrawnTicket { epoch, ticket: self.ticket(epoch) })
    }

    fn is_ticket_usable(&self, epoch: Epoch) -> Result<bool, LedgerClientError> {
        Ok(epoch.0 >= self.mischief.lock().unwrap().oldest_ticket)
    }

    fn sector(&self, sector: SectorNumber) -> Result<LedgerSector, LedgerClientError> {
        let Some(stored) = self.stored(sector) else { return Ok(LedgerSector::Unknown) };
        let (comm_r, now) = (stored.sealed.comm_r, self.epoch());
        if let Some(activated_at) = stored.activated_at {
            let health = if stored.faulty { LedgerHealth::Faulty } else { LedgerHealth::Active };
            return Ok(LedgerSector::Proving { comm_r, activated_at, health, is_locked: false });
        }
        let seed_epoch = Epoch(stored.pre_committed_at.0 + SEED_DELAY);
        let seed = (now >= seed_epoch).then(|| self.seed(seed_epoch));
        Ok(LedgerSector::PreCommitted { comm_r, seed_epoch, expires_at: Epoch(seed_epoch.0 + 100_000), seed })
    }

    fn send_pre_commit(&self, assignment: &Assignment, sealed: &Sealed) -> Result<TransactionId, LedgerClientError> {
        self.take("pre-commit", |ledger| {
            if ledger.stored(assignment.sector).is_some() {
                return Err("sector exists".to_owned());
            }
            assert_eq!(sealed.inputs.ticket, ledger.ticket(sealed.inputs.ticket_epoch));
            ledger.store(&StoredSector {
                assignment: assignment.clone(),
                sealed: *sealed,
                pre_committed_at: ledger.epoch(),
                activated_at: None,
                faulty: false,
                posts: Vec::new(),
            });
            Ok(())
        })
    }

    fn send_prove_commit(&self, assignment: &Assignment, proof: Vec<u8>) -> Result<TransactionId, LedgerClientError> {
        self.take("prove-commit", |ledger| {
            let mut stored = ledger.stored(assignment.sector).ok_or("no pre-commit")?;
            if stored.activated_at.is_some() {
                return Err("active already".to_owned());
            }
            let pieces = assignment.piece_infos();
            let comm_d = ledger.verifier.comm_d(assignment.sector_size, &pieces).map_err(|error| error.reason)?;
            assert_eq!(comm_d, stored.sealed.inputs.comm_d);
            ledger.verifier.verify_porep(&ledger.statement(&stored), &proof).map_err(|error| error.reason)?;
            stored.activated_at = Some(ledger.epoch());
            ledger.store(&stored);
            Ok(())
        })
    }

    fn send_update(
        &self,
        sector: SectorNumber,
        pieces: &[SectorPiece],
        comm_r: CommR,
        proof: Vec<u8>,
    ) -> Result<TransactionId, LedgerClientError> {
        self.take("sector update", |ledger| {
            let mut stored = ledger.stored(sector).ok_or("unknown sector")?;
            if stored.activated_at.is_none() || !stored.assignment.pieces.is_empty() {
                return Err("not an active sector of zeros".to_owned());
            }
            let (sector_size, infos) = (stored.assignment.sector_size, pieces.iter().map(|piece| piece.info));
            let comm_d = ledger.verifier.comm_d(sector_size, &infos.collect::<Vec<_>>());
            let (comm_d_new, comm_r_old) = (comm_d.map_err(|error| error.reason)?, stored.sealed.comm_r);
            let statement = SectorUpdateStatement { sector_size, comm_r_old, comm_d_new, comm_r_new: comm_r };
            ledger.verifier.verify_sector_update(&statement, &proof).map_err(|error| error.reason)?;
            // From now on this is the replica that is challenged, and the sector is not one of zeros any more.
            stored.sealed.comm_r = comm_r;
            stored.assignment.pieces = pieces.to_vec();
            ledger.store(&stored);
            Ok(())
        })
    }

    fn submission(&self, transaction: &TransactionId) -> Result<SubmissionStatus, LedgerClientError> {
        if let Some(reason) = self.failed.lock().unwrap().get(&transaction.0) {
            return Ok(SubmissionStatus::Failed(reason.clone()));
        }
        let applied = fs::read(self.dir.join("applied")).unwrap_or_default();
        let found = applied.chunks(32).any(|id| id == transaction.0);
        Ok(if found { SubmissionStatus::Applied(self.epoch()) } else { SubmissionStatus::Pending })
    }

    fn post_duties(&self) -> Result<Vec<PostDuty>, LedgerClientError> {
        let now = self.epoch().0;
        let duty = |stored: StoredSector| {
            let challenge_epoch = Epoch(now / POST_PERIOD * POST_PERIOD);
            let closes_at = Epoch(challenge_epoch.0 + POST_WINDOW);
            let sector = stored.assignment.sector;
            let statement = WindowPostStatement {
                sector_size: stored.assignment.sector_size,
                prover_id: PROVIDER.prover_id(),
                randomness: PostRandomness(hash(&[b"post", &challenge_epoch.0.to_be_bytes()])),
                sectors: vec![(sector, stored.sealed.comm_r)],
            };
            let status = match (stored.posts.contains(&challenge_epoch), now + 1 < closes_at.0) {
                (true, _) => DutyStatus::Proven,
                (false, true) => DutyStatus::Open(statement),
                (false, false) => DutyStatus::Upcoming,
            };
            let deadline = sector.0 as u32 % 48;
            PostDuty { deadline, partition: 0, challenge_epoch, closes_at, sectors: vec![sector], status }
        };
        let live = self.sectors().into_iter().filter(|stored| stored.activated_at.is_some() && !stored.faulty);
        Ok(live.map(duty).collect())
    }

    fn send_window_post(&self, duty: &PostDuty, proof: Vec<u8>) -> Result<TransactionId, LedgerClientError> {
        self.take("window-post", |ledger| {
            let DutyStatus::Open(statement) = &duty.status else { return Err("not open".to_owned()) };
            ledger.verifier.verify_window_post(statement, &proof).map_err(|error| error.reason)?;
            let mut stored = ledger.stored(duty.sectors[0]).ok_or("unknown sector")?;
            if stored.posts.contains(&duty.challenge_epoch) {
                return Err("proven already".to_owned());
            }
            stored.posts.push(duty.challenge_epoch);
            ledger.store(&stored);
            Ok(())
        })
    }

    fn send_faults(&self, sectors: &[SectorNumber]) -> Result<TransactionId, LedgerClientError> {
        self.take("faults", |ledger| ledger.set_faulty(sectors, true))
    }

    fn send_recovery(&self, sectors: &[SectorNumber]) -> Result<TransactionId, LedgerClientError> {
        self.take("recovery", |ledger| ledger.set_faulty(sectors, false))
    }
}

impl FolderLedger {
    fn set_faulty(&self, sectors: &[SectorNumber], faulty: bool) -> Result<(), String> {
        for sector in sectors {
            let mut stored = self.stored(*sector).ok_or("unknown sector")?;
            stored.faulty = faulty;
            self.store(&stored);
        }
        Ok(())
    }

    pub fn comm_r(&self, sector: SectorNumber) -> Option<CommR> {
        self.stored(sector).map(|stored| stored.sealed.comm_r)
    }
}

/// Pieces in memory, by commitment.
#[derive(Default)]
pub struct MemoryPieces(pub Mutex<BTreeMap<[u8; 32], Vec<u8>>>);

impl PieceSource for MemoryPieces {
    fn open(&self, comm_p: &CommP) -> Result<Box<dyn Read + Send>, PieceSourceError> {
        let found = self.0.lock().unwrap().get(&comm_p.0).cloned();
        let bytes = found.ok_or(PieceSourceError::Unknown { comm_p: *comm_p })?;
        Ok(Box::new(Cursor::new(bytes)))
    }
}

/// Bytes that look like data and are the same every time.
pub fn payload(length: usize, start: u8) -> Vec<u8> {
    (0..length).map(|index| (index as u8).wrapping_mul(31).wrapping_add(start)).collect()
}

/// Two pieces that fill a sector of 2 KiB, with a gap between them.
pub fn pieces() -> (Vec<SectorPiece>, Arc<MemoryPieces>) {
    let source = MemoryPieces::default();
    let pieces = [payload(200, 1), payload(1000, 2)].map(|bytes| {
        let mut hasher = PieceHasher::new();
        hasher.update(&bytes);
        let piece = hasher.finish();
        source.0.lock().unwrap().insert(piece.comm_p.0, bytes);
        SectorPiece { info: piece.info(), payload_bytes: piece.payload_bytes, deal: None }
    });
    (pieces.to_vec(), Arc::new(source))
}

pub fn assignment() -> Assignment {
    assignment_of(SectorSize::KIB2)
}

pub fn assignment_of(sector_size: SectorSize) -> Assignment {
    Assignment { sector: SECTOR, sector_size, seal_proof: SealProof::V1_1, pieces: pieces().0 }
}

pub fn options() -> PipelineOptions {
    PipelineOptions {
        reserve_bytes: 0,
        submission_patience: 5,
        retry_pause: Duration::from_millis(5),
        poll: Duration::from_millis(5),
        ..PipelineOptions::default()
    }
}

/// Remembers all events.
#[derive(Default)]
pub struct Recorder(pub Mutex<Vec<PipelineEvent>>);

impl Observer for Recorder {
    fn observe(&self, event: &PipelineEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Recorder {
    pub fn take(&self) -> Vec<PipelineEvent> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Stages that made files since the last call, in order.
    pub fn stages_made(&self) -> Vec<StagePart> {
        let mut made: Vec<_> = self
            .take()
            .into_iter()
            .filter_map(|event| match event {
                PipelineEvent::Progress { part, .. } => Some(part),
                _ => None,
            })
            .collect();
        made.dedup();
        made
    }
}

/// A pipeline over a folder ledger, all in one folder.
pub struct House {
    pub ledger: Arc<FolderLedger>,
    pub pieces: Arc<MemoryPieces>,
    pub recorder: Arc<Recorder>,
    pub pipeline: Pipeline,
}

pub fn open_with(dir: &Path, sectors_dir: &Path, options: PipelineOptions, observer: Arc<dyn Observer>) -> Pipeline {
    let (ledger, proofs) = (FolderLedger::open(&dir.join("ledger")), Proofs::carried(dir));
    open_pipeline((dir, sectors_dir), options, ledger, pieces().1, proofs, observer)
}

fn open_pipeline(
    (dir, sectors_dir): (&Path, &Path),
    options: PipelineOptions,
    ledger: Arc<FolderLedger>,
    pieces: Arc<MemoryPieces>,
    proofs: Proofs,
    observer: Arc<dyn Observer>,
) -> Pipeline {
    let workers = Workers::new(2).unwrap();
    Pipeline::open(PipelineParts {
        options,
        journal_dir: dir.join("journal"),
        sectors_dir: sectors_dir.to_owned(),
        provider: PROVIDER,
        workers: workers.clone(),
        post_workers: workers,
        ledger,
        pieces,
        prover: proofs.prover,
        verifier: proofs.verifier,
        observer,
    })
    .unwrap()
}

impl House {
    pub fn open(dir: &Path) -> Self {
        Self::open_at(dir, &dir.join("sectors"), options())
    }

    pub fn open_at(dir: &Path, sectors_dir: &Path, options: PipelineOptions) -> Self {
        Self::open_all((dir, sectors_dir), options, Proofs::carried(dir))
    }

    pub fn open_proving(dir: &Path, options: PipelineOptions, proofs: Proofs) -> Self {
        Self::open_all((dir, &dir.join("sectors")), options, proofs)
    }

    fn open_all(dirs: (&Path, &Path), options: PipelineOptions, proofs: Proofs) -> Self {
        let ledger = FolderLedger::open_checking(&dirs.0.join("ledger"), proofs.verifier.clone());
        let (pieces, recorder) = (pieces().1, Arc::new(Recorder::default()));
        let pipeline = open_pipeline(dirs, options, ledger.clone(), pieces.clone(), proofs, recorder.clone());
        Self { ledger, pieces, recorder, pipeline }
    }

    /// A house whose sector is at `milestone`.
    pub fn at(dir: &Path, milestone: Milestone) -> Self {
        let house = Self::open(dir);
        house.pipeline.assign(assignment()).unwrap();
        house.run_until(milestone);
        house.recorder.take();
        house
    }

    pub fn run_until(&self, milestone: Milestone) -> SectorRecord {
        self.pipeline.run_until(SECTOR, milestone, Duration::from_secs(60)).unwrap()
    }

    pub fn path(&self, file: SectorFile) -> PathBuf {
        file.path(&self.pipeline.sector_files(SECTOR), &assignment().params()).unwrap()
    }

    pub fn flip(&self, file: SectorFile, offset: usize) {
        let path = self.path(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[offset] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
}
