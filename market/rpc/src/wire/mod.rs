//! What travels: one type for each thing that the interface speaks of, from which the OpenAPI document is made.
//!
//! These are not the ledger's own records. A record may be kept in another shape from one version to the next; what a
//! program was written against may not. So every type here is made from records by a function beside it, and fields are
//! only ever added.
//!
//! # What numbers mean
//! - Amounts are integers in micro-units (10^-6), up to 2^64 - 1. Read them with 64 bits: beyond 2^53 a double loses digits.
//! - Heights and epochs are the same numbers: one block, one epoch. Times are milliseconds since 1970.
//! - Reputations and qualities are in units of 2^-32: 4,294,967,296 is one.
//! - 32 bytes are 64 hex digits. Transactions and dataset roots are CIDs. Sizes are bytes.

mod audits;
mod blocks;
mod economy;
mod jobs;
mod market;
mod money;
mod sectors;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use audits::{Audit, AuditState, Exhibit, Refutation};
pub use blocks::{
    Block, BlockHeader, BlockSummary, Commit, CommitSignature, Decider, Digest, LedgerEvent, LightBlock, Network,
    NetworkGrade, Outcome, Receipt, Refusal, SubmitRequest, Submitted, Transaction, TransactionProof, TransactionState,
    TransactionStatus,
};
pub use economy::{
    BallotState, CheckTask, Checker, CheckerBallot, CheckerOpinion, LeavingStake, Opinion, ProviderRewards, Rail,
    RailAccount, RailState, RewardRound, Rewards, Round, RoundPhase, Score, ServiceClaim, Stream,
};
pub use jobs::{Job, JobBid, JobState, Worker};
pub use market::{
    Attestation, Bid, BidState, Deal, DealState, Order, OrderState, OrderTerms, Piece, Provider, Quote, QuoteRequest,
    Replaces, WrongGroup,
};
pub use money::{Account, Channel, ChannelState, InvariantReport, Params, Supply, Validator};
pub use sectors::{DutyState, DutyStatement, PostDuties, PostDuty, ProvenSector, Sector, SectorState, Ticket};

/// 32 bytes as 64 lower-case hex digits.
#[derive(Debug, ToSchema)]
#[schema(pattern = "^[0-9a-f]{64}$", example = "0101010101010101010101010101010101010101010101010101010101010101")]
#[allow(dead_code, reason = "it is there for its schema")]
pub struct Hex32(String);

/// One page of a list, in ascending order of its keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// Height of the state that was read.
    #[schema(value_type = u64)]
    pub height: cairn_protocol::Epoch,
    /// What matches. May be fewer than asked for, even none, while there is a next page: a page looks at a bounded part of
    /// the list.
    pub items: Vec<T>,
    /// Pass it as `cursor` for what follows; absent at the end. Its content may change from version to version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Why something is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Closure {
    /// A stable number: 1xx orders, 2xx bids, 3xx deals, 4xx sectors, 5xx channels.
    pub code: u16,
    /// In words.
    pub text: String,
    /// When.
    #[schema(value_type = u64)]
    pub epoch: cairn_protocol::Epoch,
}

impl Closure {
    pub(crate) fn of(closure: &cairn_ledger::Closure) -> Self {
        Self { code: closure.code, text: closure.text.clone(), epoch: closure.epoch }
    }
}
