//! Proofs for others and by others: the two sides of the ledger's market of proof jobs.
//!
//! ```text
//! poster: plain proof -> shelf (CID) -> job on the ledger ............................ proof from the ledger -> pipeline
//! worker:                                 look -> fetch, verify -> bid -> prove -> submit, paid in the same step
//! ```
//!
//! - [`MarketSnarks`] is the prover of a provider that has none: the sealing pipeline asks it as it asks any
//!   [`cairn_sealing::SnarkProver`], and is told to come back until somebody has proven.
//! - [`Worker`] takes jobs within its operator's limits. It never stakes a bond on a plain proof that it has not fetched and
//!   verified, and never loses a proof that it made: what is made is on disk before it is handed in.
//! - Both see the ledger through [`JobLedger`], a handful of methods; [`AccountJobs`] has them over a node of one's own.
//!
//! Reading order: [`job_ledger`], [`witness`], [`worker`], [`poster`].

#![forbid(unsafe_code)]

mod folder;
pub mod job_ledger;
pub mod poster;
pub mod witness;
pub mod worker;

pub use job_ledger::{AccountJobs, JobLedger};
pub use poster::{MarketOptions, MarketSnarks, SplitSnarks};
pub use witness::{HotShelf, Published, ShelfError, WitnessRejection, WitnessShelf};
pub use worker::{Worker, WorkerError, WorkerEvent, WorkerOptions, WorkerParts, WorkerTurn};
