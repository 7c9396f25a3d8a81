//! Why the ledger refuses: a transaction before it has any effect, a command after its fee, or a block as a whole.

use cairn_protocol::{Amount, CommD, Epoch, ProviderId, SectorNumber};
use serde::{Deserialize, Serialize};

use crate::economy::{CheckerRejection, ClaimRejection};
use crate::ids::{Address, ChainId, Commitment, DealId, OrderId};
use crate::jobs::JobRejection;
use crate::market::MarketRejection;
use crate::payments::{ChannelId, ChannelRejection, RailId, RailRejection};
use crate::proof::ProofRejection;
use crate::scores::ballot::BallotRejection;
use crate::sector_rules::SectorRejection;
use crate::served::WrongBytesRejection;

/// A transaction that does not belong in a block. It has no effect; its nonce stays free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum AdmissionRejection {
    /// Larger than the network allows.
    #[error("transaction has {got} bytes, the limit is {limit}")]
    TooLarge { limit: u64, got: u64 },
    /// Made for another network.
    #[error("transaction is for chain {got}, this is {expected}")]
    WrongChain { expected: ChainId, got: ChainId },
    /// The signature is not the sender's over this transaction.
    #[error("signature of {sender} does not verify")]
    BadSignature { sender: Address },
    /// The sender has no account.
    #[error("account {sender} does not exist")]
    UnknownSender { sender: Address },
    /// Not the next nonce of the sender.
    #[error("nonce of {sender} is {got}, expected {expected}")]
    WrongNonce { sender: Address, expected: u64, got: u64 },
    /// The sender cannot pay the fee.
    #[error("{sender} has {available}, the transaction fee is {fee}")]
    FeeUnpaid { sender: Address, fee: Amount, available: Amount },
}

/// A command that cannot be carried out. The nonce is used and the fee is burnt; nothing else changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum Rejection {
    /// Not enough free money.
    #[error("{account} has {available}, needs {needed}")]
    InsufficientFunds { account: Address, needed: Amount, available: Amount },
    /// An amount that must be positive is zero.
    #[error("{what} must be more than zero")]
    ZeroAmount { what: String },
    /// A sum does not fit in 64 bits.
    #[error("{what} does not fit in 64 bits")]
    Overflow { what: String },
    /// A number outside its bounds.
    #[error("{what} is {got}, must be {least} to {most}")]
    OutOfRange { what: String, got: u64, least: u64, most: u64 },
    /// A URL that is empty, too long or not http(s).
    #[error("{what} must be an http or https URL of at most 512 bytes")]
    BadUrl { what: String },
    /// No such provider.
    #[error("{provider} does not exist")]
    UnknownProvider { provider: ProviderId },
    /// The sender does not own the provider.
    #[error("{provider} is owned by {owner}")]
    NotOwner { provider: ProviderId, owner: Address },
    /// Collateral is below the minimum for this.
    #[error("{provider} would have collateral {got}, the minimum is {needed} while it has obligations")]
    CollateralTooLow { provider: ProviderId, needed: Amount, got: Amount },
    /// The sender has no stake.
    #[error("{validator} is no validator")]
    UnknownValidator { validator: Address },
    /// Without this stake nobody would decide blocks.
    #[error("{validator} is the last validator and must keep its stake")]
    LastValidator { validator: Address },
    /// No such order.
    #[error("{order} does not exist")]
    UnknownOrder { order: OrderId },
    /// The order takes no bids and cannot be cancelled.
    #[error("{order} is no longer open")]
    OrderNotOpen { order: OrderId },
    /// The sender is not the order's client.
    #[error("{order} belongs to {client}")]
    NotClient { order: OrderId, client: Address },
    /// A piece whose size is none, or whose payload does not fit it.
    #[error(
        "piece {index} has {size} padded bytes for {payload_bytes} payload bytes: sizes must be the least fitting 128*2^k"
    )]
    BadPiece { index: u32, size: u64, payload_bytes: u64 },
    /// A piece larger than the provider's sectors.
    #[error("piece {index} has {size} padded bytes, sectors of {provider} have {sector_bytes}")]
    PieceTooLarge { index: u32, size: u64, provider: ProviderId, sector_bytes: u64 },
    /// The bid is above the order's cap.
    #[error("bid of {got} per epoch is above the cap {cap}")]
    PriceAboveCap { cap: Amount, got: Amount },
    /// The provider has a bid on this order.
    #[error("{provider} has a bid on {order}")]
    DuplicateBid { order: OrderId, provider: ProviderId },
    /// The order has as many bids as it may.
    #[error("{order} has {limit} bids, the most it may have")]
    TooManyBids { order: OrderId, limit: u32 },
    /// No such deal.
    #[error("{deal} does not exist")]
    UnknownDeal { deal: DealId },
    /// The deal is another provider's.
    #[error("{deal} is with {provider}")]
    NotDealProvider { deal: DealId, provider: ProviderId },
    /// A replacement goes to somebody new.
    #[error("the owner of {provider} holds another copy, or dropped the one that {order} replaces")]
    HoldsCopy { order: OrderId, provider: ProviderId },
    /// Sealed bids on the order are not revealed now.
    #[error("sealed bids on {order} are revealed from epoch {from} and before {until}, now is {now}")]
    NotRevealing { order: OrderId, from: Epoch, until: Epoch, now: Epoch },
    /// The provider has no sealed bid on the order.
    #[error("{provider} has no sealed bid on {order}")]
    NothingSealed { order: OrderId, provider: ProviderId },
    /// Price and salt are not those that were committed to.
    #[error("price and salt hash to {got}, committed was {expected}")]
    WrongReveal { expected: Commitment, got: Commitment },
    /// The deal is in a sector already, or over.
    #[error("{deal} does not wait to be sealed")]
    DealNotAssigned { deal: DealId },
    /// The deal is not being paid.
    #[error("{deal} is not active")]
    DealNotActive { deal: DealId },
    /// Nothing was proven or missed since the last settlement.
    #[error("{deal} is settled until {settled_until}; no later epoch is accounted yet")]
    NothingToSettle { deal: DealId, settled_until: Epoch },
    /// A list with an element twice, or not ascending.
    #[error("{what} must be ascending without repeats")]
    NotAscending { what: String },
    /// The sector number is taken.
    #[error("sector {sector} of {provider} exists")]
    SectorExists { provider: ProviderId, sector: SectorNumber },
    /// No such sector.
    #[error("sector {sector} of {provider} does not exist")]
    UnknownSector { provider: ProviderId, sector: SectorNumber },
    /// The ticket is from now or later, too old, or forgotten.
    #[error("ticket epoch {got} must be in {oldest}..{now}")]
    BadTicketEpoch { got: Epoch, oldest: Epoch, now: Epoch },
    /// The sector is not waiting for its proof.
    #[error("sector {sector} is not pre-committed")]
    NotPreCommitted { sector: SectorNumber },
    /// The seed is not known yet.
    #[error("seed comes at epoch {seed_epoch}, prove-commit is taken after it; now is {now}")]
    SeedNotReady { seed_epoch: Epoch, now: Epoch },
    /// The manifest misses a deal, or names one that is not in the sector, or with another piece.
    #[error("manifest does not match {deal}: {problem}")]
    ManifestMismatch { deal: DealId, problem: String },
    /// The manifest's CommD is not the pre-committed one.
    #[error("manifest has CommD {got}, pre-committed was {expected}")]
    WrongCommD { expected: CommD, got: CommD },
    /// The verifier says no.
    #[error("proof refused: {0}")]
    Proof(ProofRejection),
    /// No such payment channel.
    #[error("{channel} does not exist")]
    UnknownChannel { channel: ChannelId },
    /// A first deposit that is too small.
    #[error("a channel's first deposit is at least {least}, got {got}")]
    DepositTooSmall { least: Amount, got: Amount },
    /// The channel says no.
    #[error(transparent)]
    Channel(#[from] ChannelRejection),
    /// No such partition.
    #[error("deadline {deadline} has no partition {partition}")]
    UnknownPartition { deadline: u32, partition: u32 },
    /// The proof is for another instance of the deadline.
    #[error("challenge of this instance is epoch {expected}, got {got}")]
    WrongChallenge { expected: Epoch, got: Epoch },
    /// The challenge is not known yet.
    #[error("deadline opens at epoch {opens_at}, now is {now}")]
    DeadlineNotOpen { opens_at: Epoch, now: Epoch },
    /// This instance is proven.
    #[error("partition {partition} is proven for challenge epoch {challenge_epoch}")]
    AlreadyProven { partition: u32, challenge_epoch: Epoch },
    /// All sectors of the partition are faulty.
    #[error("partition {partition} has no sector to prove")]
    NothingToProve { partition: u32 },
    /// The challenge is drawn; which sectors it meets cannot change until it is answered or missed.
    #[error("sector {sector} is challenged until epoch {until}")]
    DeadlineLocked { sector: SectorNumber, until: Epoch },
    /// The sector is not in the health that the declaration changes.
    #[error("sector {sector} is not {expected}")]
    WrongHealth { sector: SectorNumber, expected: String },
    /// Attributes that cannot be, or a bidder who does not meet an order's requirements.
    #[error(transparent)]
    Market(#[from] MarketRejection),
    /// A proven sector that cannot be ended, prolonged or updated so.
    #[error(transparent)]
    Sector(#[from] SectorRejection),
    /// The book of rails says no.
    #[error(transparent)]
    Rail(#[from] RailRejection),
    /// No epoch of the rail can be paid or freed since the last settlement.
    #[error("{rail} is settled until {settled_until}; later epochs are not funded or not accounted yet")]
    NothingToSettleOnRail { rail: RailId, settled_until: Epoch },
    /// The round's ballots say no.
    #[error(transparent)]
    Ballot(#[from] BallotRejection),
    /// The rules of checkers say no.
    #[error(transparent)]
    Checker(#[from] CheckerRejection),
    /// Nothing to claim.
    #[error(transparent)]
    Claim(#[from] ClaimRejection),
    /// Something about proof jobs.
    #[error(transparent)]
    Job(#[from] JobRejection),
    /// Evidence that does not convict.
    #[error(transparent)]
    WrongBytes(#[from] WrongBytesRejection),
}

impl From<ProofRejection> for Rejection {
    fn from(rejection: ProofRejection) -> Self {
        Self::Proof(rejection)
    }
}

/// A block that cannot follow this state. Nothing was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum BlockRejection {
    /// Not the next epoch.
    #[error("block is for epoch {got}, expected {expected}")]
    WrongEpoch { expected: Epoch, got: Epoch },
    /// Older than the block before.
    #[error("block time {got} ms is before the previous block's {previous} ms")]
    TimeBackwards { previous: u64, got: u64 },
    /// More transactions than a block may hold.
    #[error("block has {got} transactions, the limit is {limit}")]
    TooManyTransactions { limit: u32, got: usize },
    /// More bytes than a block may hold.
    #[error("block has {got} bytes of transactions, the limit is {limit}")]
    TooManyBytes { limit: u64, got: u64 },
    /// More proofs and sectors than a block may be about.
    #[error("block weighs {got} in proofs and sectors, the limit is {limit}")]
    TooHeavy { limit: u64, got: u64 },
}
