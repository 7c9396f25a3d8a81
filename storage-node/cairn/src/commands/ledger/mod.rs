//! Commands that ask a ledger over HTTP, and sign for it. None of them runs a node.

pub mod block;
pub mod deal;
pub mod job;
pub mod order;
pub mod provider;
pub mod rail;
pub mod score;
mod session;
mod table;
pub mod transaction;
pub mod wallet;
