//! Joining late: the state of a recent block instead of all blocks before it.
//!
//! Value sync replays blocks one by one and ends where the peers have forgotten them. From there on a node takes the state
//! after a recent block from somebody who has it, and believes none of it before it is checked:
//!
//! 1. Something must be believed ([`Trust`]). A node that was away for less than half the time for which stake stays locked
//!    believes its own last block: those who decided it still have something to lose. For any other the operator names a
//!    [`Checkpoint`], heard from people they trust: a recent block, or who decides blocks. Nothing in the data could replace
//!    that: validators of long ago have nothing to lose by signing another history.
//! 2. From there to the block of the snapshot, trust hops ([`trust`]): a set of validators is believed if more
//!    than a third of a believed set signed its block, and two thirds of itself did.
//! 3. The block's header names the state's root. The state comes in nodes of its tree of hashes, each checked against a
//!    hash that is believed already ([`cairn_ledger::sync`]). Several servers may help; what one has given well is kept
//!    when another has to go on.
//! 4. Block, decision and state go to disk in the place of what was there ([`Store::install`](crate::Store::install)).
//!
//! The transport is our own, because the engine's has no place for it: questions and answers over TCP, each in a frame with
//! its length ([`wire`]). Everything is bounded on both sides: frames, connections, time, bytes of the state.

mod client;
mod server;
pub mod trust;
pub mod wire;

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use cairn_ledger::CodecRejection;
use cairn_ledger::sync::SyncRejection;
use cairn_protocol::Epoch;

use crate::block::BlockId;
use crate::genesis::GenesisError;
use crate::store::StoreError;

pub use client::{catch_up, oldest_offered};
pub use server::{Offered, serve};
pub use trust::{OldHead, TrustRejection};

/// What the operator believes from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// The block at this height, which is recent: younger than the time for which stake stays locked.
    Block {
        /// Its height.
        height: Epoch,
        /// Its name.
        block: BlockId,
    },
    /// Who decides blocks now, by [`Validators::root`](crate::Validators::root).
    Validators {
        /// The root.
        root: [u8; 32],
    },
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block { height, block } => write!(f, "{}:{block}", height.0),
            Self::Validators { root } => write!(f, "validators:{}", hex::encode(root)),
        }
    }
}

impl FromStr for Checkpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected HEIGHT:BLOCK or validators:ROOT, got {text:?}");
        let (kind, digest) = text.split_once(':').ok_or_else(expected)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digest, &mut bytes).map_err(|_| expected())?;
        if kind == "validators" {
            return Ok(Self::Validators { root: bytes });
        }
        let height = kind.parse().map(Epoch).map_err(|_| expected())?;
        Ok(Self::Block { height, block: BlockId(bytes) })
    }
}

/// What a node believes before anybody tells it anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// What the operator says.
    Checkpoint(Checkpoint),
    /// Its own last block, if that is young: [`trust::check_own_head`].
    OwnHead {
        /// Milliseconds since 1970.
        now_ms: u64,
        /// The time between blocks that validators of this network have agreed on.
        block_interval: Duration,
    },
}

impl From<Checkpoint> for Trust {
    fn from(checkpoint: Checkpoint) -> Self {
        Self::Checkpoint(checkpoint)
    }
}

/// Whom to ask, and what to believe.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// Servers, the first to ask first.
    pub servers: Vec<SocketAddr>,
    /// What is believed.
    pub trust: Trust,
    /// Most bytes of a state; default 8 GiB.
    pub state_bytes_max: u64,
    /// Longest time for one answer; default 20 s.
    pub answer_timeout: Duration,
    /// Longest time for everything; default one hour.
    pub timeout: Duration,
}

impl SnapshotOptions {
    /// With the default bounds.
    pub fn new(servers: Vec<SocketAddr>, trust: impl Into<Trust>) -> Self {
        Self {
            servers,
            trust: trust.into(),
            state_bytes_max: 8 << 30,
            answer_timeout: Duration::from_secs(20),
            timeout: Duration::from_secs(3_600),
        }
    }
}

/// How a node has caught up.
#[derive(Debug, PartialEq, Eq)]
pub enum CaughtUp {
    /// The peers still have the blocks that this node needs.
    NotNeeded {
        /// The block that it needs next.
        next: Epoch,
        /// The oldest block that every server has which answered.
        oldest: Epoch,
    },
    /// It has the state of a snapshot.
    Installed {
        /// Height of the block.
        height: Epoch,
        /// Bytes of the state.
        bytes: u64,
        /// Servers that were given up, and why.
        refused: Vec<(SocketAddr, ServerFault)>,
    },
}

/// Why a server was given up.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServerFault {
    /// Not reached, or no answer in time.
    #[error("{doing}: {detail}")]
    Unreachable {
        /// While doing what.
        doing: &'static str,
        /// What happened.
        detail: String,
    },
    /// It answers what was not asked.
    #[error("{asked}: the answer does not belong to the question")]
    WrongAnswer {
        /// What was asked for.
        asked: &'static str,
    },
    /// It does not have it.
    #[error("it does not have {asked}")]
    Missing {
        /// What was asked for.
        asked: String,
    },
    /// Not an encoding of anything.
    #[error("{asked}: {rejection}")]
    Malformed {
        /// What was asked for.
        asked: &'static str,
        /// What is wrong.
        rejection: CodecRejection,
    },
    /// Its chain does not follow from what is believed.
    #[error(transparent)]
    Trust(#[from] TrustRejection),
    /// The block is not the one of its header.
    #[error("block {height} does not fit its header: {part}")]
    WrongBlock {
        /// The block.
        height: Epoch,
        /// Which part.
        part: &'static str,
    },
    /// A part of the state is not what the header says.
    #[error("state of block {height}: {rejection}")]
    State {
        /// The block.
        height: Epoch,
        /// What is wrong.
        rejection: SyncRejection,
    },
}

/// Why a node has not caught up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The genesis starts no network.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The own store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The own last block is not to be believed any more, and nothing else was given.
    #[error(transparent)]
    OwnHead(#[from] OldHead),
    /// No server helped. Trying again helps if one comes back; with other servers it may help too.
    #[error("no snapshot: {}", listed(.faults))]
    Nobody {
        /// Each server and what was wrong.
        faults: Vec<(SocketAddr, ServerFault)>,
    },
}

fn listed(faults: &[(SocketAddr, ServerFault)]) -> String {
    if faults.is_empty() {
        return "there is no server to ask".to_owned();
    }
    faults.iter().map(|(server, fault)| format!("{server}: {fault}")).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
