//! Proof jobs: who has a plain proof and no prover pays somebody who has one, and the ledger itself is the judge.
//!
//! ```text
//! Open --first bid, bid window ends--> Assigned --proof that holds--> Proven
//!   ^                                     |
//!   +--- proof refused, late, given up ---+--attempts used up, or too late for another--> Closed
//! Open --poster cancels, or nobody bid in time--> Closed
//! ```
//!
//! 1. The poster states what must be proven, names the plain proof by CID with a gateway that serves it, and locks what
//!    the job may cost at most. How much work it is follows from the statement: constraints, by the table of the network's
//!    parameters ([`JobParams::work`]).
//! 2. The first bid opens a bid window. A bid is a price for each million constraints, with a bond. The cheapest wins,
//!    equal ones are drawn by the beacon; the other bonds return. A poster may ask for a tier ([`Worker::tier`]).
//! 3. The winner has `prove_epochs`. Its proof is verified in the step, together with all proofs of the block: if it holds
//!    the escrow pays and the bond returns in the same step, and the proof stands in the job for the poster to take.
//! 4. A proof that does not hold, none in time, or giving up costs a part of the bond, which is burnt: a poster who hides
//!    the plain proof gains nothing, and a worker who looks at it before bidding risks nothing. The job is open again, for
//!    everybody else, until its attempts are used up.
//!
//! A window proof of a full partition is about 2,349 sectors, whose commitments do not fit a transaction. Its job names the
//! sectors by number ([`JobCommand::PostSectors`]) and the ledger, which knows their commitments, completes the statement
//! when the job is posted. From then on the statement stands in the job and does not follow the sectors: a worker proves
//! and is paid for what it bid on, whatever becomes of the partition. If the sectors are not what the poster believed when
//! it signed, by a digest of the whole statement, the job is refused before anything is locked.
//!
//! Money: `escrow = price cap x work + a fee for each partition to verify`. The fee is burnt with the proof that holds; one
//! that does not hold is paid for by the bond. Whatever is not spent returns by itself.
//!
//! A plain proof shows nodes of a sealed sector with their paths, and of the data a few nodes of 32 bytes: it does not give
//! the sector away. Whoever wants to hide even those proves at home.

mod invariants;
pub mod params;

use std::fmt;

use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber, SectorParams, SectorSize};
use cid::Cid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::close::Closure;
use crate::codec;
use crate::ids::Address;
use crate::proof::{ProofStatement, WindowPostStatement};
use crate::state::State;
pub use params::{CircuitWork, JobParams, TierRule};

/// A job's number, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job-{}", self.0)
    }
}

/// What may be asked about jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum JobCommand {
    /// Asks for a proof. The job's number is in [`JobEvent::Posted`].
    Post(Box<JobTerms>),
    /// Asks for a window proof of sectors that the ledger knows. By their owner.
    PostSectors(Box<SectorJob>),
    /// Takes back a job that nobody works on. By its poster.
    Cancel {
        /// Which.
        job: JobId,
    },
    /// Offers to prove. Once per job and round; not by who failed it before.
    Bid {
        /// Which.
        job: JobId,
        /// For each million constraints; at most the job's cap.
        price_per_million: Amount,
    },
    /// Hands in the proof. By whom the job is assigned to.
    Submit {
        /// Which.
        job: JobId,
        /// The proof, in the verifier's encoding.
        #[serde(with = "serde_bytes")]
        proof: Vec<u8>,
    },
    /// Gives the job up, at the price of being late. By whom it is assigned to.
    GiveUp {
        /// Which.
        job: JobId,
    },
}

impl JobCommand {
    /// What the command is, for people.
    pub const fn what(&self) -> &'static str {
        match self {
            Self::Post(_) | Self::PostSectors(_) => "proof job",
            Self::Cancel { .. } => "cancellation of a proof job",
            Self::Bid { .. } => "bid on a proof job",
            Self::Submit { .. } => "proof of a job",
            Self::GiveUp { .. } => "giving up of a proof job",
        }
    }
}

/// A window proof job that leaves the commitments of its sectors to the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorJob {
    /// Whose sectors.
    pub provider: ProviderId,
    /// Which, ascending.
    pub sectors: Vec<SectorNumber>,
    /// [`statement_digest`] of the statement with all its sectors, as the poster knows them.
    pub digest: [u8; 32],
    /// Everything else; the statement is about no sector yet.
    pub terms: JobTerms,
}

impl SectorJob {
    /// The job that [`JobCommand::Post`] would ask for with these terms, if they are about a window proof of `provider`.
    pub fn of(provider: ProviderId, mut terms: JobTerms) -> Option<Self> {
        let digest = statement_digest(&terms.statement);
        let ProofStatement::WindowPost(statement) = &mut terms.statement else { return None };
        if statement.prover_id != provider.prover_id() {
            return None;
        }
        let sectors = std::mem::take(&mut statement.sectors).into_iter().map(|(number, _)| number).collect();
        Some(Self { provider, sectors, digest, terms })
    }
}

/// SHA-256 of a statement's encoding.
pub fn statement_digest(statement: &ProofStatement) -> [u8; 32] {
    Sha256::digest(codec::encode(statement)).into()
}

/// What a poster asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobTerms {
    /// What must be proven.
    pub statement: ProofStatement,
    /// CID of the plain proof, as a file.
    pub witness: Cid,
    /// Its bytes.
    pub witness_bytes: u64,
    /// The gateway that serves it.
    pub source_url: String,
    /// Most for each million constraints.
    pub price_per_million_max: Amount,
    /// Time to prove, from assignment.
    pub prove_epochs: u64,
    /// First epoch at which the proof is of no use any more.
    pub deadline: Epoch,
    /// Least tier of a bidder; 0: anybody.
    pub tier_min: u8,
}

/// A job on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Who pays.
    pub poster: Address,
    /// What is asked for.
    pub terms: JobTerms,
    /// Constraints of all partitions.
    pub work: u64,
    /// Locked for price and verification.
    pub escrow: Amount,
    /// Part of the escrow that the verification takes.
    pub verification_fee: Amount,
    /// When it was posted.
    pub posted_at: Epoch,
    /// First epoch at which no bid can be followed by a whole window and a whole proving time any more.
    pub bids_until: Epoch,
    /// Who failed it; they may not bid again.
    pub failed: Vec<Address>,
    /// Bids of this round.
    pub bids: u32,
    /// Where it stands.
    pub status: JobStatus,
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobStatus {
    /// Takes bids.
    Open {
        /// First epoch that takes no more, once there is a bid.
        bids_close_at: Option<Epoch>,
    },
    /// Somebody proves.
    Assigned {
        /// Who.
        worker: Address,
        /// What the proof is paid.
        price: Amount,
        /// What the worker has at stake.
        bond: Amount,
        /// First epoch that does not take the proof.
        due: Epoch,
    },
    /// Proven and paid.
    Proven {
        /// By whom.
        worker: Address,
        /// For how much.
        paid: Amount,
        /// The proof.
        #[serde(with = "serde_bytes")]
        proof: Vec<u8>,
        /// When.
        epoch: Epoch,
    },
    /// Over without a proof.
    Closed(Closure),
}

impl Job {
    /// Whether somebody may still be paid for it.
    pub fn is_live(&self) -> bool {
        matches!(self.status, JobStatus::Open { .. } | JobStatus::Assigned { .. })
    }

    /// Who proves it, if it is given to somebody.
    pub fn worker(&self) -> Option<Address> {
        match self.status {
            JobStatus::Assigned { worker, .. } => Some(worker),
            _ => None,
        }
    }

    /// What its worker has at stake; nothing while nobody works on it.
    pub fn bond(&self) -> Amount {
        match self.status {
            JobStatus::Assigned { bond, .. } => bond,
            _ => Amount::ZERO,
        }
    }

    /// Whether a bid in the block of `epoch` would be in time.
    pub fn takes_bids_at(&self, epoch: Epoch) -> bool {
        match self.status {
            JobStatus::Open { bids_close_at: Some(close) } => epoch < close,
            JobStatus::Open { bids_close_at: None } => epoch < self.bids_until,
            _ => false,
        }
    }
}

/// An offer to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobBid {
    /// For each million constraints.
    pub price_per_million: Amount,
    /// Locked until the bid loses or the job is done.
    pub bond: Amount,
}

/// What somebody did for others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Jobs of others that were proven.
    pub proven: u64,
    /// Proofs that did not hold.
    pub refused: u64,
    /// Jobs that were late or given up.
    pub late: u64,
    /// Constraints proven for others, who paid. Proving for oneself counts for nothing.
    pub constraints: u64,
}

impl Worker {
    /// The highest tier whose rule the record satisfies, and all rules below it; 0 if not even the first.
    pub fn tier(&self, rules: &[TierRule]) -> u8 {
        let failed = u128::from(self.refused) + u128::from(self.late);
        let satisfies = |rule: &&TierRule| {
            let all = u128::from(self.proven) + failed;
            self.proven >= rule.proven_min && failed * 1_000 <= all * u128::from(rule.failed_permille_max)
        };
        rules.iter().take_while(satisfies).count() as u8
    }
}

/// Why a worker lost a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerFailure {
    /// Its proof does not hold.
    Refused {
        /// The verifier's reason.
        reason: String,
    },
    /// There was none in time.
    Late,
    /// It said that there would be none.
    GaveUp,
}

/// What happened to jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named after what they are; amounts in micro-units, work in constraints")]
pub enum JobEvent {
    /// A job takes bids.
    Posted { job: JobId, poster: Address, work: u64, escrow: Amount },
    /// A bid was taken.
    BidPlaced { job: JobId, worker: Address, price_per_million: Amount },
    /// A bid is over; the bond is back.
    BidReturned { job: JobId, worker: Address, bond: Amount },
    /// A worker has until `due`.
    Assigned { job: JobId, worker: Address, price: Amount, bond: Amount, due: Epoch },
    /// The proof holds: paid, `fee` burnt, the rest and the bond returned.
    Proven { job: JobId, worker: Address, paid: Amount, fee: Amount, refunded: Amount },
    /// A worker failed; `slashed` of its bond is burnt, the rest is back.
    WorkerFailed { job: JobId, worker: Address, failure: WorkerFailure, slashed: Amount, returned: Amount },
    /// The job takes bids again.
    Relisted { job: JobId, attempts: u32 },
    /// A job is over without a proof.
    Closed { job: JobId, refunded: Amount, closure: Closure },
}

/// Why a command about jobs cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum JobRejection {
    /// No such job.
    #[error("{job} does not exist")]
    Unknown { job: JobId },
    /// A statement that no circuit proves.
    #[error("the statement cannot be proven: {reason}")]
    Statement { reason: String },
    /// The sectors are not what the poster believed.
    #[error("the sectors of {provider} are not those that the job was signed for")]
    StatementChanged { provider: ProviderId },
    /// The network has no circuit of this kind and size.
    #[error("the network names no work for {circuit} of {sector_size}")]
    NoCircuit { circuit: JobCircuit, sector_size: SectorSize },
    /// The job takes no bids, or cannot be cancelled any more.
    #[error("{job} is not open")]
    NotOpen { job: JobId },
    /// The sender did not post it.
    #[error("{job} belongs to {poster}")]
    NotPoster { job: JobId, poster: Address },
    /// The bid is above the cap.
    #[error("bid of {got} for a million constraints is above the cap {cap}")]
    PriceAboveCap { cap: Amount, got: Amount },
    /// The sender has a bid on this job.
    #[error("{worker} has a bid on {job}")]
    DuplicateBid { job: JobId, worker: Address },
    /// The job has as many bids as it may.
    #[error("{job} has {limit} bids, the most it may have")]
    TooManyBids { job: JobId, limit: u32 },
    /// The sender failed this job.
    #[error("{worker} failed {job} before")]
    FailedBefore { job: JobId, worker: Address },
    /// The poster wants somebody with a better record.
    #[error("{job} is for workers of tier {needed}, {worker} has {got}")]
    TierTooLow { job: JobId, worker: Address, needed: u8, got: u8 },
    /// The job is not the sender's to prove now.
    #[error("{job} is not assigned to {worker}, or its time is over")]
    NotAssigned { job: JobId, worker: Address },
}

/// What is due for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum JobDue {
    /// Its bids are assigned.
    Assign,
    /// Its worker must have proven.
    Late,
    /// A bid after this would come too late.
    BidsEnd,
    /// It may be forgotten, with its proof.
    Forget,
}

/// The kinds of circuits that jobs are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobCircuit {
    /// One partition of a proof of replication.
    Porep,
    /// One partition of a window proof of spacetime.
    WindowPost,
    /// One partition of a proof of a sector update.
    Update,
}

impl JobCircuit {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Porep, Self::WindowPost, Self::Update];

    /// `porep`, `window-post`, `update`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Porep => "porep",
            Self::WindowPost => "window-post",
            Self::Update => "update",
        }
    }
}

impl fmt::Display for JobCircuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Most sectors that one window proof is about.
fn sectors_most(size: SectorSize) -> usize {
    SectorParams::new(size, cairn_protocol::SealProof::V1_1).window_sectors_per_partition
}

/// Which circuit proves a statement, of which size, and how often.
///
/// # Errors
/// [`JobRejection::Statement`] if none does.
pub fn circuit_of(statement: &ProofStatement) -> Result<(JobCircuit, SectorSize, u64), JobRejection> {
    let refused = |reason: &str| Err(JobRejection::Statement { reason: reason.to_owned() });
    match statement {
        ProofStatement::Porep(statement) => {
            let params = SectorParams::new(statement.sector_size, statement.seal_proof);
            Ok((JobCircuit::Porep, statement.sector_size, params.partitions as u64))
        }
        ProofStatement::WindowPost(statement) => {
            let size = statement.sector_size;
            let most = sectors_most(size);
            match statement.sectors.len() {
                0 => refused("a window proof is about a sector at least"),
                count if count > most => refused(&format!("{count} sectors, a partition holds {most}")),
                _ if !statement.sectors.windows(2).all(|pair| pair[0].0 < pair[1].0) => {
                    refused("its sectors are not ascending")
                }
                _ => Ok((JobCircuit::WindowPost, size, 1)),
            }
        }
        ProofStatement::SectorUpdate(statement) => {
            let size = statement.sector_size;
            let params = SectorParams::new(size, cairn_protocol::SealProof::V1_1);
            Ok((JobCircuit::Update, size, params.update_partitions as u64))
        }
    }
}

/// Reading.
impl State {
    /// A job.
    pub fn job(&self, job: JobId) -> Option<&Job> {
        self.jobs.get(&job)
    }

    /// All jobs that are not forgotten, by number.
    pub fn jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.iter().map(|(id, job)| (*id, job))
    }

    /// Jobs from `from` on that are not forgotten, by number.
    pub fn jobs_from(&self, from: JobId) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.iter_from(&from).map(|(id, job)| (*id, job))
    }

    /// Jobs from `from` on that take bids or are worked on, by number.
    pub fn live_jobs_from(&self, from: JobId) -> impl Iterator<Item = (JobId, &Job)> {
        self.live_jobs.iter_from(&from).map(|(id, ())| (*id, self.job(*id).expect("a live job is a job")))
    }

    /// Somebody's bid on an open job.
    pub fn job_bid(&self, job: JobId, worker: Address) -> Option<&JobBid> {
        self.job_bids.get(&(job, worker))
    }

    /// The bids on an open job, by bidder.
    pub fn job_bids_on(&self, job: JobId) -> impl Iterator<Item = (Address, &JobBid)> {
        let from = (job, Address([0; 32]));
        self.job_bids.iter_from(&from).take_while(move |((id, _), _)| *id == job).map(|((_, who), bid)| (*who, bid))
    }

    /// What somebody did for others; zeros at first.
    pub fn worker(&self, worker: Address) -> Worker {
        self.workers.get(&worker).copied().unwrap_or_default()
    }

    /// The terms of a job whose sectors were named by number, with their commitments as they are now. No more sectors are
    /// looked up than a proof may be about.
    pub(crate) fn complete_job(&self, job: &SectorJob) -> Result<JobTerms, JobRejection> {
        let refused = |reason: String| Err(JobRejection::Statement { reason });
        let ProofStatement::WindowPost(statement) = &job.terms.statement else {
            return refused("sectors are named for window proofs alone".to_owned());
        };
        if !statement.sectors.is_empty() {
            return refused("sectors are named by number or with commitments, not both".to_owned());
        }
        let (most, count) = (sectors_most(statement.sector_size), job.sectors.len());
        if count > most {
            return refused(format!("{count} sectors, a partition holds {most}"));
        }
        let mut sectors = Vec::with_capacity(count);
        for &number in &job.sectors {
            match self.sector(job.provider, number) {
                Some(sector) => sectors.push((number, sector.comm_r)),
                None => return refused(format!("{} has no sector {number}", job.provider)),
            }
        }
        let completed = WindowPostStatement { sectors, ..statement.clone() };
        let terms = JobTerms { statement: ProofStatement::WindowPost(completed), ..job.terms.clone() };
        if statement_digest(&terms.statement) != job.digest {
            return Err(JobRejection::StatementChanged { provider: job.provider });
        }
        Ok(terms)
    }

    /// Constraints that a statement takes, and the fee for verifying it.
    ///
    /// # Errors
    /// [`JobRejection`] if it is no statement, or the network has no such circuit.
    pub fn job_work(&self, statement: &ProofStatement) -> Result<(u64, Amount), JobRejection> {
        let (circuit, sector_size, partitions) = circuit_of(statement)?;
        let params = &self.meta.params.jobs;
        let constraints =
            params.constraints(circuit, sector_size).ok_or(JobRejection::NoCircuit { circuit, sector_size })?;
        // Parameters are checked to keep both far below overflow.
        let fee = params.verification_fee.checked_mul(partitions).expect("bounded by the parameters' own rules");
        Ok((constraints * partitions, fee))
    }
}

/// What `work` constraints cost, rounded up.
pub(crate) fn price_of(per_million: Amount, work: u64) -> Option<Amount> {
    let micro = (u128::from(per_million.0) * u128::from(work)).div_ceil(1_000_000);
    u64::try_from(micro).ok().map(Amount)
}
