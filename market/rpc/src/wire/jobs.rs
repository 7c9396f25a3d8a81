//! Proof jobs, bids on them, and the records of those who prove.

use cairn_ledger::codec::{self, CodecRejection};
use cairn_ledger::{Address, JobId, JobStatus};
use cairn_protocol::{Amount, Epoch};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Closure, Hex32};
use crate::readable::{self, Tagged};

/// Most bytes of a job's record that a client reads.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Takes bids.
    Open,
    /// Somebody proves.
    Assigned,
    /// Proven and paid.
    Proven,
    /// Over without a proof.
    Closed,
}

/// A proof job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: JobId,
    /// Who pays.
    #[schema(value_type = Hex32)]
    pub poster: Address,
    /// What kind of statement must be proven.
    pub kind: String,
    /// The statement, under the names that the ledger uses.
    #[schema(value_type = Object)]
    pub statement: Map<String, Value>,
    /// CID of the plain proof.
    pub witness: String,
    /// Its bytes.
    pub witness_bytes: u64,
    /// The gateway that serves it.
    pub source_url: String,
    /// Constraints of all partitions.
    pub work: u64,
    /// Most for each million constraints.
    #[schema(value_type = u64)]
    pub price_per_million_max: Amount,
    /// Locked for price and verification.
    #[schema(value_type = u64)]
    pub escrow: Amount,
    /// Time to prove, from assignment, in epochs.
    pub prove_epochs: u64,
    /// First epoch at which the proof is of no use any more.
    #[schema(value_type = u64)]
    pub deadline: Epoch,
    /// Least tier of a bidder.
    pub tier_min: u8,
    /// Bids of this round.
    pub bids: u32,
    /// Who failed it.
    #[schema(value_type = Vec<Hex32>)]
    pub failed: Vec<Address>,
    /// Where it stands.
    pub state: JobState,
    /// Who proves, or proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Hex32>)]
    pub worker: Option<Address>,
    /// What the proof is, or was, paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub price: Option<Amount>,
    /// First epoch that does not take the worker's proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub due: Option<Epoch>,
    /// Why it is over, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure: Option<Closure>,
    /// The ledger's own record in canonical DAG-CBOR, as hex digits: the proof too, once there is one.
    pub record: String,
}

impl Job {
    pub(crate) fn of(id: JobId, job: &cairn_ledger::Job) -> Self {
        let Tagged { kind, fields: statement } = readable::tagged(&job.terms.statement);
        let (state, worker, price, due, closure) = match &job.status {
            JobStatus::Open { .. } => (JobState::Open, None, None, None, None),
            JobStatus::Assigned { worker, price, due, .. } => {
                (JobState::Assigned, Some(*worker), Some(*price), Some(*due), None)
            }
            JobStatus::Proven { worker, paid, .. } => (JobState::Proven, Some(*worker), Some(*paid), None, None),
            JobStatus::Closed(closure) => (JobState::Closed, None, None, None, Some(Closure::of(closure))),
        };
        Self {
            id,
            poster: job.poster,
            kind,
            statement,
            witness: job.terms.witness.to_string(),
            witness_bytes: job.terms.witness_bytes,
            source_url: job.terms.source_url.clone(),
            work: job.work,
            price_per_million_max: job.terms.price_per_million_max,
            escrow: job.escrow,
            prove_epochs: job.terms.prove_epochs,
            deadline: job.terms.deadline,
            tier_min: job.terms.tier_min,
            bids: job.bids,
            failed: job.failed.clone(),
            state,
            worker,
            price,
            due,
            closure,
            record: hex::encode(codec::encode(job)),
        }
    }

    /// The ledger's own record.
    ///
    /// # Errors
    /// [`CodecRejection`] if the server sent none that this version knows.
    pub fn to_record(&self) -> Result<cairn_ledger::Job, CodecRejection> {
        // What is no hex is no record either; an empty one says so.
        let bytes = hex::decode(&self.record).unwrap_or_default();
        codec::decode_strict(&bytes, RECORD_BYTES_MAX)
    }
}

/// An offer to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobBid {
    /// Who offers.
    #[schema(value_type = Hex32)]
    pub worker: Address,
    /// For each million constraints.
    #[schema(value_type = u64)]
    pub price_per_million: Amount,
    /// Locked until the bid loses or the job is done.
    #[schema(value_type = u64)]
    pub bond: Amount,
}

/// What somebody did for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Who.
    #[schema(value_type = Hex32)]
    pub address: Address,
    /// Jobs of others that were proven.
    pub proven: u64,
    /// Proofs that did not hold.
    pub refused: u64,
    /// Jobs that were late or given up.
    pub late: u64,
    /// Constraints proven for others.
    pub constraints: u64,
    /// The tier that follows.
    pub tier: u8,
}
