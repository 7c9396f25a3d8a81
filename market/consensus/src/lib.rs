//! Turns the pure ledger into a running one: blocks, their store, the transactions that wait, and a handle for others.
//!
//! What makes a block is kept apart from what a block is:
//!
//! 1. [`chain::Chain::propose`] makes a block of waiting transactions and applies it to a copy of the state;
//! 2. [`chain::Chain::validate`] takes a block of somebody else's and accepts it only if it applies to the same roots;
//! 3. [`chain::Chain::keep`] brings either to disk before anybody votes for it;
//! 4. [`chain::Chain::commit`] stores the one that was decided, in one synced write, and moves the head.
//!
//! The `engine` module drives these four by BFT consensus, with one validator or with many; see there. Validators that
//! contradict themselves are punished by what [`evidence`] shows; nodes that come late start from a [`snapshot`].
//!
//! # Invariants
//! - The store holds whole blocks: block, decision, receipts, events, changed state and head move in one write batch.
//! - Every stored block is decided: more than two thirds of the votes signed it, and that is checked on the way in.
//! - The state that is read is the state after the head block; on opening its root is compared with the head's header.
//! - A transaction waits at most once, in nonce order, and the pool is bounded in number and bytes.
//! - Randomness of development grade is accepted on development networks alone.

#![forbid(unsafe_code)]

#[cfg(test)]
extern crate self as cairn_consensus;

pub mod beacon;
pub mod block;
pub mod chain;
pub mod commit;
pub mod drand;
mod engine;
pub mod evidence;
pub mod genesis;
pub mod mempool;
pub mod node;
pub mod snapshot;
pub mod store;
pub mod validators;

pub use beacon::{BeaconGrade, BeaconRejection, BeaconSlot, BeaconSource, DevelopmentBeacon};
pub use block::{Block, BlockHeader, BlockId};
pub use chain::{Candidate, Chain, ChainOptions, InvalidBlock, ProposeError};
pub use commit::{Commit, CommitRejection, CommitSignature};
pub use drand::{
    DrandBeacon, DrandError, DrandNetwork, DrandRejection, DrandRound, DrandSource, DrandVerifier, HttpOptions,
    HttpRounds, HttpRoundsRejection, NoRounds, PUBLIC_RELAYS, RecordedRounds,
};
pub use evidence::{Evidence, EvidenceRejection};
pub use genesis::{
    Allocation, BeaconConfig, Genesis, GenesisError, GenesisValidator, Network, development_validator_key,
};
pub use mempool::{Mempool, MempoolOptions, SubmitRejection};
pub use node::{
    BlockEvents, EventsError, LedgerHandle, LedgerNode, NetworkOptions, NodeError, NodeOptions, Timeouts, WaitTimeout,
    system_clock,
};
pub use snapshot::{CaughtUp, Checkpoint, SnapshotError, SnapshotOptions, Trust};
pub use store::{History, LightBlock, Store, StoreError, Undecided};
pub use validators::{Member, Validators};
