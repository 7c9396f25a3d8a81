//! For tests of this crate and those above it: a verifier without curves, a small network, strategies.

mod chores;
mod network;
mod strategies;

pub use network::{FUNDS, HashVerifier, Network, order_terms, piece};
pub use strategies::{Action, SALT, arb_action, arb_command, owner_account};
