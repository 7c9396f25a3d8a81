//! The ledger: what the network agrees on, as a pure step function.
//!
//! [`State::apply_block`] takes a block's epoch, time, beacon and transactions, and a [`ProofVerifier`]; it changes the
//! state and returns receipts, events and the new root. No I/O, no clock, no randomness of its own: the same blocks give
//! the same roots everywhere.
//!
//! Reading order: [`params`] (the numbers), [`order`] and [`sector`] (what there is and how it changes), [`command`]
//! (what may be asked), [`market`] (who may take an order), [`sector_rules`] (how a sector's life changes), [`served`] (what
//! wrong bytes cost), `apply` (the rules), [`calendar`] (when to prove), [`treasury`] and [`invariants`] (where money
//! is), [`table`] (how state is kept, hashed and copied); then [`economy`] (rounds), over [`payments`], [`emission`] and
//! [`scores`], which are rules without a ledger.
//!
//! # Invariants
//! - Money is conserved: free balances, pots and burnt money always make the genesis supply and what was minted since.
//! - A pot holds exactly what the things on the ledger say they locked in it.
//! - A block does bounded work: waiting things stand in a queue by epoch; nothing loops over all sectors or deals.
//! - Everything that waits has a queue entry that ends the waiting.
//! - A refused transaction has no effect at all; a failed command costs its nonce and fee and nothing else.

#![forbid(unsafe_code)]

mod apply;
pub mod calendar;
mod claim;
pub mod close;
pub mod codec;
pub mod command;
pub mod economy;
pub mod emission;
pub mod event;
pub mod ids;
pub mod invariants;
pub mod jobs;
pub mod market;
pub mod order;
pub mod params;
pub mod payments;
pub mod proof;
pub mod provider;
pub mod queue;
pub mod quote;
pub mod randomness;
mod reading;
pub mod rejection;
pub mod scores;
pub mod sealed;
pub mod sector;
pub mod sector_rules;
pub mod served;
pub mod serving_key;
pub mod signatures;
pub mod state;
pub mod sync;
pub mod table;
#[cfg(any(test, feature = "simulated"))]
pub mod testing;
pub mod transaction;
pub mod treasury;
pub mod validator;
pub mod work;

pub use apply::{BlockContext, BlockOutcome, Outcome, Receipt};
pub use calendar::{Calendar, DEADLINES, DeadlineInfo};
pub use close::{CloseReason, Closure};
pub use codec::CodecRejection;
pub use command::{Command, ManifestPiece, PreCommit};
pub use economy::{CheckCommand, EconomyParams, RailCommand, RailEvent, RailTarget, RewardEvent, ScoreEvent};
pub use event::Event;
pub use ids::{Address, Beacon, ChainId, Commitment, DealId, OrderId, Salt, StateRoot, TransactionId};
pub use invariants::InvariantViolation;
pub use jobs::{Job, JobCommand, JobEvent, JobId, JobParams, JobRejection, JobStatus, JobTerms, SectorJob};
pub use market::{Attestation, Attributes, MarketCommand, MarketEvent, MarketRejection, RegionRule, Requirements};
pub use order::{Bid, BidStatus, Deal, DealStatus, Order, OrderPiece, OrderStatus, OrderTerms, Replaced, SealedBid};
pub use params::{LedgerParams, ParamsRejection};
pub use proof::{
    KeyDigest, PorepStatement, ProofClaim, ProofRejection, ProofStatement, ProofVerifier, SectorUpdateStatement,
    VerifyingKeys, WindowPostStatement,
};
pub use provider::{Account, Provider};
pub use quote::OrderQuote;
pub use rejection::{AdmissionRejection, BlockRejection, Rejection};
pub use sector::{Health, Partition, ProofHistory, Proving, Sector, SectorStatus};
pub use sector_rules::{SectorCommand, SectorEvent, SectorRejection, SectorRules, SectorUpdate};
pub use served::{ServedGroup, ServingRules, SignedServedGroup, WrongBytes, WrongBytesRejection};
pub use serving_key::{ServingKey, SignedServingKey};
pub use state::{GenesisRejection, PostDuty, State, StateChange, StateDamage, StateSize};
pub use transaction::{SignatureBytes, SignedTransaction, Transaction, address_of};
pub use treasury::{Pot, Treasury};
pub use validator::{SlashRejection, StakeParams, Validator};
