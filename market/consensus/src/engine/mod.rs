//! Replication: how validators agree on one block after the other. This module alone knows the engine, which is Malachite:
//! Tendermint with weighted votes, a log of its own votes, gossip over libp2p and value sync.
//!
//! What the engine decides is a [`BlockId`](crate::BlockId). What a block is, whether it is valid, where it is stored and
//! what it does stays with [`Chain`](crate::Chain). In the order in which a block passes through:
//!
//! 1. [`context`] gives the engine our types; [`signing`] our keys; [`wire`] one canonical encoding of each message.
//! 2. The proposer's [`application`] makes a block, keeps it on disk, tells the engine its name, and streams the block in
//!    [`parts`]: the first is signed and says what is coming, so that nobody collects, let alone executes, a block that
//!    the proposer of the round did not send.
//! 3. Everybody else puts the parts together, executes the block, keeps it on disk, and answers valid or invalid.
//! 4. Two rounds of votes later the engine has a certificate; block, effects, state and certificate go to disk in one
//!    write, and only then readers see them.
//! 5. The state after the block says who decides the next one and whose turn it is.
//!
//! One validator alone runs the same engine over a network that leads nowhere ([`alone`]); its votes decide by
//! themselves. [`gossip`] carries waiting transactions over
//! the same connections as the parts.
//!
//! # Invariants
//! - A signed vote or proposal is in the engine's log, and the block it names in our store, before it leaves the machine.
//! - For a height and round of its own, a validator proposes one block for ever, also after a crash.
//! - Everything that peers send is bounded: parts per stream, streams, blocks per round, rounds ahead, transactions.

pub(crate) mod alone;
pub(crate) mod application;
pub(crate) mod context;
pub(crate) mod gossip;
#[cfg(test)]
pub(crate) mod liar;
pub(crate) mod parts;
pub(crate) mod service;
pub(crate) mod signing;
pub(crate) mod wire;

#[cfg(test)]
mod tests;
