//! Turns the pure ledger into a running one: blocks, their store, the transactions that wait, and a handle for others.
//!
//! One process makes all blocks at an interval. What makes a block is kept apart from what a block is, so that a
//! replicated engine can take the interval's place:
//!
//! 1. [`chain::Chain::propose`] makes a block of waiting transactions and applies it to a copy of the state;
//! 2. [`chain::Chain::validate`] takes a block of somebody else's and accepts it only if it applies to the same roots;
//! 3. [`chain::Chain::commit`] stores a block that went through either, in one synced write, and moves the head.
//!
//! # Invariants
//! - The store holds whole blocks: block, receipts, events, changed state and head move in one write batch.
//! - The state that is read is the state after the head block; on opening its root is compared with the head's header.
//! - A transaction waits at most once, in nonce order, and the pool is bounded in number and bytes.
//! - Randomness of development grade is accepted on development networks alone.

#![forbid(unsafe_code)]

pub mod beacon;
pub mod block;
pub mod chain;
pub mod drand;
pub mod genesis;
pub mod mempool;
pub mod node;
pub mod store;

pub use beacon::{BeaconGrade, BeaconSource, DevelopmentBeacon};
pub use block::{Block, BlockHeader, BlockId};
pub use chain::{Candidate, Chain, InvalidBlock};
pub use drand::{DrandBeacon, DrandError, DrandNetwork, DrandRejection, DrandRound, DrandSource, DrandVerifier};
pub use genesis::{Allocation, BeaconConfig, Genesis, GenesisError, Network};
pub use mempool::{Mempool, MempoolOptions, SubmitRejection};
pub use node::{BlockEvents, EventsError, LedgerHandle, LedgerNode, NodeError, NodeOptions, WaitTimeout, system_clock};
pub use store::{Store, StoreError};
