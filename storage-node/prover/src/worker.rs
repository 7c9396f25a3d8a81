//! A worker: looks for jobs, bids, proves, and is paid.
//!
//! One turn ([`Worker::step`]), of one thread:
//!
//! 1. Every job in hand (it has a folder) is looked up. Of one that is over, or somebody else's, the folder goes.
//! 2. One that is ours and has no proof yet is proven: the plain proof is on disk, the proof is checked as the ledger will,
//!    and on disk before anything else happens. One that has a proof is handed in, until the ledger has it.
//! 3. While fewer jobs are in hand than the operator allows, the next open one that pays enough, leaves enough time beside
//!    those in hand, and does not ask for too high a bond, is tried: its plain proof is fetched and verified. Only one that
//!    holds gets a bid, so a bond is at risk for nothing but our own speed.
//!
//! One proof is made at a time, on the threads handed in, so memory is bounded by the largest circuit. What is in hand is
//! on disk or on the ledger; killed at any moment, the next worker on the same folder goes on, and makes no proof twice.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cairn_compute::Workers;
use cairn_gateway::fetch::FetchOptions;
use cairn_ledger::jobs::{JobCircuit, circuit_of};
use cairn_ledger::{
    Job, JobCommand, JobId, JobParams, JobStatus, ProofClaim, ProofStatement, ProofVerifier, TransactionId,
};
use cairn_protocol::{Amount, Epoch, SectorSize};
use cairn_sealing::verifier::{to_porep_statement, to_post_statement, to_update_statement};
use cairn_sealing::{LedgerClientError, SnarkError, SnarkProver, SubmissionStatus};
use cairn_sector::porep::PorepProof;
use cairn_sector::post::PostProof;
use cairn_sector::update::UpdateProof;

use crate::folder::{Folders, JobFolder};
use crate::job_ledger::JobLedger;
use crate::witness::{WitnessRejection, fetch_witness};

/// An operator's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerOptions {
    /// Asked for each million constraints.
    pub price_per_million: Amount,
    /// Highest bond for one job.
    pub bond_max: Amount,
    /// Jobs in hand at a time, bids included. Proofs are made one after the other.
    pub jobs_max: usize,
    /// Epochs that one proof may take on this machine: jobs that leave less are not bid on.
    pub epochs_per_proof: u64,
    /// Largest plain proof that is fetched.
    pub witness_bytes_max: u64,
    /// Live jobs looked at in one turn.
    pub looks_max: usize,
    /// Epochs without an answer after which a transaction counts as lost and is sent again.
    pub submission_patience: u64,
    /// Epochs before a job whose plain proof did not come is tried again.
    pub retry_epochs: u64,
    /// Longest sleep while nothing is to do; the ledger's next block ends it earlier.
    pub poll: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            price_per_million: Amount(1_000),
            bond_max: Amount(1_000_000_000),
            jobs_max: 1,
            epochs_per_proof: 600,
            witness_bytes_max: 256 << 20,
            looks_max: 64,
            submission_patience: 30,
            retry_epochs: 20,
            poll: Duration::from_millis(500),
        }
    }
}

/// Everything a worker works with.
pub struct WorkerParts {
    /// Limits.
    pub options: WorkerOptions,
    /// Folder of the jobs in hand; made if missing. One process at a time.
    pub dir: PathBuf,
    /// The ledger, with the account that bids and is paid.
    pub ledger: Arc<dyn JobLedger>,
    /// Who proves.
    pub prover: Arc<dyn SnarkProver>,
    /// Circuits that it has parameters for; jobs about others are left alone.
    pub circuits: Vec<(JobCircuit, SectorSize)>,
    /// The ledger's checks, under the network's keys.
    pub verifier: Arc<dyn ProofVerifier + Send + Sync>,
    /// Where proofs compute.
    pub workers: Workers,
    /// How plain proofs are fetched.
    pub fetch: FetchOptions,
    /// Who is told.
    pub observer: Box<dyn Fn(&WorkerEvent) + Send>,
}

/// What a worker tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named after what they are")]
pub enum WorkerEvent {
    /// The plain proof holds and a bid is on its way.
    Bid { job: JobId, price_per_million: Amount },
    /// A job is not bid on, and why.
    Declined { job: JobId, reason: String },
    /// The job is ours; its proof is being made.
    Proving { job: JobId, due: Epoch },
    /// The proof is on disk.
    Proven { job: JobId },
    /// The proof is on its way.
    Submitted { job: JobId, transaction: TransactionId },
    /// The ledger paid.
    Paid { job: JobId, paid: Amount },
    /// The job went to somebody else, or is over.
    Lost { job: JobId },
    /// Something does not work.
    Trouble { what: String },
}

/// What one turn did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerTurn {
    /// Jobs in hand after it.
    pub in_hand: usize,
    /// Bids sent.
    pub bids: usize,
    /// Proofs made.
    pub proven: usize,
    /// Proofs handed in.
    pub submitted: usize,
    /// Jobs that were paid.
    pub paid: usize,
}

/// A turn ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The ledger gave no useful answer.
    #[error(transparent)]
    Ledger(#[from] LedgerClientError),
    /// The folder of jobs cannot be used.
    #[error("the folder of jobs: {0}")]
    Folder(#[from] io::Error),
}

/// Takes jobs; see the module.
pub struct Worker {
    parts: WorkerParts,
    folders: Folders,
    /// The last transaction about a job, and when it was sent.
    sent: BTreeMap<JobId, (TransactionId, Epoch)>,
    /// Jobs that are left alone before an epoch.
    resting: BTreeMap<JobId, Epoch>,
    /// Where the next look at open jobs begins.
    next_look: JobId,
}

/// Most jobs that a worker remembers to leave alone.
const RESTING_MAX: usize = 4_096;

impl Worker {
    /// Opens the folder.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(parts: WorkerParts) -> Result<Self, WorkerError> {
        let folders = Folders::open(&parts.dir)?;
        Ok(Self { parts, folders, sent: BTreeMap::new(), resting: BTreeMap::new(), next_look: JobId(0) })
    }

    /// Turns until told to stop; what stops a turn is told and tried again.
    pub fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            let poll = self.parts.options.poll;
            let turned = self.step();
            if let Err(error) = &turned {
                self.tell(WorkerEvent::Trouble { what: error.to_string() });
                std::thread::sleep(poll);
            }
            let next = self.parts.ledger.head().map(|head| Epoch(head.0.saturating_add(1)));
            if next.and_then(|next| self.parts.ledger.wait_for(next, poll)).is_err() {
                std::thread::sleep(poll);
            }
        }
    }

    /// One turn.
    ///
    /// # Errors
    /// [`WorkerError`]: the ledger or the disk; what was done stays done.
    pub fn step(&mut self) -> Result<WorkerTurn, WorkerError> {
        let mut turn = WorkerTurn::default();
        for job in self.folders.jobs()? {
            self.go_on(job, &mut turn)?;
        }
        self.look_around(&mut turn)?;
        turn.in_hand = self.folders.jobs()?.len();
        Ok(turn)
    }

    fn tell(&self, event: WorkerEvent) {
        (self.parts.observer)(&event);
    }

    /// Steps 1 and 2.
    fn go_on(&mut self, id: JobId, turn: &mut WorkerTurn) -> Result<(), WorkerError> {
        let account = self.parts.ledger.account();
        let Some(job) = self.parts.ledger.job(id)? else { return self.drop_job(id) };
        match &job.status {
            JobStatus::Assigned { worker, due, .. } if *worker == account => {
                self.prove_and_submit(id, &job, *due, turn)
            }
            JobStatus::Proven { worker, paid, .. } if *worker == account => {
                turn.paid += 1;
                self.tell(WorkerEvent::Paid { job: id, paid: *paid });
                self.drop_job(id)
            }
            JobStatus::Open { .. } if self.parts.ledger.own_bid(id)?.is_some() => Ok(()),
            // The bid waits for a block, or was lost.
            JobStatus::Open { .. } if self.is_waiting(id)? => Ok(()),
            _ => {
                self.tell(WorkerEvent::Lost { job: id });
                self.drop_job(id)
            }
        }
    }

    fn drop_job(&mut self, id: JobId) -> Result<(), WorkerError> {
        self.sent.remove(&id);
        Ok(self.folders.remove(id)?)
    }

    /// Whether a transaction about the job may still be taken. What the ledger refused is told, once.
    fn is_waiting(&mut self, id: JobId) -> Result<bool, WorkerError> {
        let Some((transaction, at)) = self.sent.get(&id).copied() else { return Ok(false) };
        let waiting = match self.parts.ledger.submission(&transaction)? {
            SubmissionStatus::Pending | SubmissionStatus::Applied(_) => {
                self.parts.ledger.head()?.since(at) <= self.parts.options.submission_patience
            }
            SubmissionStatus::Failed(reason) => {
                self.tell(WorkerEvent::Trouble { what: format!("{id}: {reason}") });
                let head = self.parts.ledger.head()?;
                self.rest(id, Epoch(head.0.saturating_add(self.parts.options.retry_epochs)));
                false
            }
        };
        if !waiting {
            self.sent.remove(&id);
        }
        Ok(waiting)
    }

    fn send(&mut self, id: JobId, command: JobCommand) -> Result<TransactionId, WorkerError> {
        let at = self.parts.ledger.head()?;
        let transaction = self.parts.ledger.send(command)?;
        self.sent.insert(id, (transaction, at));
        Ok(transaction)
    }

    /// Step 2.
    fn prove_and_submit(&mut self, id: JobId, job: &Job, due: Epoch, turn: &mut WorkerTurn) -> Result<(), WorkerError> {
        let folder = self.folders.of(id, &job.terms);
        let proof = match folder.proof().filter(|proof| self.holds(&job.terms.statement, proof)) {
            Some(proof) => proof,
            None => match self.prove(id, job, due, &folder)? {
                Some(proof) => {
                    turn.proven += 1;
                    proof
                }
                None => return Ok(()),
            },
        };
        // A bid's transaction on record is no reason to wait: the job is ours.
        let handed_in = self.sent.get(&id).is_some_and(|(_, at)| at.0 >= due.0.saturating_sub(job.terms.prove_epochs));
        if handed_in && self.is_waiting(id)? {
            return Ok(());
        }
        let transaction = self.send(id, JobCommand::Submit { job: id, proof })?;
        turn.submitted += 1;
        self.tell(WorkerEvent::Submitted { job: id, transaction });
        Ok(())
    }

    fn holds(&self, statement: &ProofStatement, proof: &[u8]) -> bool {
        self.parts.verifier.verify(&ProofClaim { statement: statement.clone(), proof }).is_ok()
    }

    /// Makes the proof and keeps it; `None` if that does not work now.
    fn prove(&mut self, id: JobId, job: &Job, due: Epoch, folder: &JobFolder) -> Result<Option<Vec<u8>>, WorkerError> {
        let head = self.parts.ledger.head()?;
        if self.resting.get(&id).is_some_and(|until| head < *until) || head.0.saturating_add(1) >= due.0 {
            return Ok(None);
        }
        self.tell(WorkerEvent::Proving { job: id, due });
        match self.make(job, folder) {
            Ok(proof) => {
                folder.keep_proof(&proof)?;
                self.tell(WorkerEvent::Proven { job: id });
                Ok(Some(proof))
            }
            Err(what) => {
                self.tell(WorkerEvent::Trouble { what: format!("{id}: {what}") });
                self.rest(id, Epoch(head.0.saturating_add(self.parts.options.retry_epochs)));
                Ok(None)
            }
        }
    }

    fn make(&self, job: &Job, folder: &JobFolder) -> Result<Vec<u8>, String> {
        let witness = match folder.witness() {
            Some(witness) => witness,
            None => self.fetch(job, folder).map_err(|rejection| rejection.to_string())?,
        };
        let (prover, workers) = (&self.parts.prover, &self.parts.workers);
        let proof = match &job.terms.statement {
            ProofStatement::Porep(statement) => {
                let plain = PorepProof::from_bytes(&witness).map_err(|error| error.to_string())?;
                prover.prove_porep(&to_porep_statement(statement), &plain, workers)
            }
            ProofStatement::WindowPost(statement) => {
                let plain = PostProof::from_bytes(&witness).map_err(|error| error.to_string())?;
                prover.prove_window_post(&to_post_statement(statement), &plain, workers)
            }
            ProofStatement::SectorUpdate(statement) => {
                let plain = UpdateProof::from_bytes(&witness).map_err(|error| error.to_string())?;
                prover.prove_update(&to_update_statement(statement), &plain, workers)
            }
        };
        let proof = proof.map_err(|error: SnarkError| error.to_string())?;
        let claim = ProofClaim { statement: job.terms.statement.clone(), proof: &proof };
        self.parts.verifier.verify(&claim).map_err(|rejection| format!("our own proof is refused: {rejection}"))?;
        Ok(proof)
    }

    fn fetch(&self, job: &Job, folder: &JobFolder) -> Result<Vec<u8>, WitnessRejection> {
        let path = folder.witness_path();
        folder.create().map_err(|source| WitnessRejection::Io { path: path.clone(), source })?;
        fetch_witness(&job.terms, &path, &self.parts.fetch)
    }

    fn rest(&mut self, id: JobId, until: Epoch) {
        if self.resting.len() >= RESTING_MAX {
            // The oldest job is the likeliest to be over.
            self.resting.pop_first();
        }
        self.resting.insert(id, until);
    }

    /// Step 3.
    fn look_around(&mut self, turn: &mut WorkerTurn) -> Result<(), WorkerError> {
        let in_hand = self.folders.jobs()?.len();
        if in_hand >= self.parts.options.jobs_max {
            return Ok(());
        }
        let (head, params) = (self.parts.ledger.head()?, self.parts.ledger.params()?);
        let tier = self.parts.ledger.own_record()?.tier(&params.tiers);
        let page = self.parts.ledger.live_jobs(self.next_look, self.parts.options.looks_max)?;
        let full = page.len() >= self.parts.options.looks_max;
        self.next_look = page.last().filter(|_| full).map_or(JobId(0), |(last, _)| JobId(last.0.saturating_add(1)));
        for (id, job) in page {
            let rests = self.resting.get(&id).is_some_and(|until| head < *until);
            let wanted = job.terms.tier_min <= tier && self.is_wanted(&job, head, in_hand + turn.bids, &params);
            if rests || !wanted || self.folders.jobs()?.contains(&id) {
                continue;
            }
            if self.try_job(id, &job, head)? {
                turn.bids += 1;
                if in_hand + turn.bids >= self.parts.options.jobs_max {
                    // The rest of the page is looked at again when there is room.
                    self.next_look = JobId(0);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether the operator wants such a job now.
    fn is_wanted(&self, job: &Job, head: Epoch, in_hand: usize, params: &JobParams) -> bool {
        let (options, terms) = (&self.parts.options, &job.terms);
        let account = self.parts.ledger.account();
        let circuit = circuit_of(&terms.statement).map(|(circuit, size, _)| (circuit, size));
        let proofs = in_hand as u64 + 1;
        job.takes_bids_at(Epoch(head.0.saturating_add(1)))
            && terms.price_per_million_max >= options.price_per_million
            && circuit.is_ok_and(|circuit| self.parts.circuits.contains(&circuit))
            && terms.witness_bytes <= options.witness_bytes_max
            && options.epochs_per_proof.saturating_mul(proofs) <= terms.prove_epochs
            && params.bond_of(job.work) <= options.bond_max
            && job.bids < params.bids_max
            && !job.failed.contains(&account)
    }

    /// Fetches and verifies the plain proof, and bids.
    fn try_job(&mut self, id: JobId, job: &Job, head: Epoch) -> Result<bool, WorkerError> {
        let folder = self.folders.of(id, &job.terms);
        if let Err(rejection) = self.fetch(job, &folder) {
            let again = Epoch(head.0.saturating_add(self.parts.options.retry_epochs));
            self.rest(id, if rejection.is_transient() { again } else { Epoch(u64::MAX) });
            self.tell(WorkerEvent::Declined { job: id, reason: rejection.to_string() });
            self.folders.remove(id)?;
            return Ok(false);
        }
        let price_per_million = self.parts.options.price_per_million;
        self.send(id, JobCommand::Bid { job: id, price_per_million })?;
        self.tell(WorkerEvent::Bid { job: id, price_per_million });
        Ok(true)
    }
}
