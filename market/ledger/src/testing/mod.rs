//! For tests of this crate and those above it, and for simulations: a verifier without curves, a small network, a large
//! state; with the feature `testing` also strategies.

mod chores;
#[cfg(any(test, feature = "testing"))]
mod jobs;
mod network;
mod pieces;
mod populated;
#[cfg(any(test, feature = "testing"))]
mod strategies;

pub use chores::SALT;
#[cfg(any(test, feature = "testing"))]
pub use jobs::JobAction;
pub use network::{FUNDS, HashVerifier, Network, order_terms, piece};
pub use pieces::PieceTree;
pub use populated::{Population, populated, post_delay};
#[cfg(any(test, feature = "testing"))]
pub use strategies::{Action, arb_action, arb_command, owner_account};
