//! Commands that ask a ledger over HTTP, and sign for it. None of them runs a node.

mod accuse;
pub mod block;
pub mod channel;
pub mod deal;
mod delegate;
pub mod job;
pub mod order;
pub mod provider;
pub mod rail;
pub mod score;
pub mod session;
mod table;
pub mod transaction;
mod verify;
pub mod wallet;
