//! What the journal knows about a window PoSt: one record for each partition at each instance of its deadline.
//!
//! ```text
//! (nothing) -> Proven -> Sent -> Confirmed
//!                  \       \--> Missed
//! ```
//!
//! The SNARK lies in a file beside the journal, written before the record, so a restart inside the window sends the
//! proof that is there and never computes it twice.

use std::fmt;

use cairn_protocol::{Epoch, PostRandomness, SectorNumber};
use serde::{Deserialize, Serialize};

use crate::state::Sent;

const KEY_BYTES: usize = 16;

/// Names a window PoSt: partition and instance of its deadline. Sorts by the time it must be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PostKey {
    /// First epoch whose block may no longer hold the proof.
    pub closes_at: Epoch,
    /// Which of the 48 deadlines.
    pub deadline: u32,
    /// Which partition in it.
    pub partition: u32,
}

impl PostKey {
    pub(crate) fn first_closing_at(epoch: Epoch) -> Self {
        Self { closes_at: epoch, deadline: 0, partition: 0 }
    }

    pub(crate) fn to_bytes(self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        bytes[..8].copy_from_slice(&self.closes_at.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.deadline.to_be_bytes());
        bytes[12..].copy_from_slice(&self.partition.to_be_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (closes_at, rest) = bytes.split_first_chunk::<8>()?;
        let (deadline, rest) = rest.split_first_chunk::<4>()?;
        let partition = rest.try_into().ok()?;
        Some(Self {
            closes_at: Epoch(u64::from_be_bytes(*closes_at)),
            deadline: u32::from_be_bytes(*deadline),
            partition: u32::from_be_bytes(partition),
        })
    }
}

impl PostState {
    /// Whether the ledger may still take the proof, as far as we know.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Proven | Self::Sent { .. })
    }
}

impl fmt::Display for PostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deadline {}.{} closing at {}", self.deadline, self.partition, self.closes_at)
    }
}

/// A window PoSt that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostRecord {
    /// What the challenges came from.
    pub randomness: PostRandomness,
    /// The sectors it covers, ascending.
    pub sectors: Vec<SectorNumber>,
    /// Names the proof file's content ([`crate::FileDigests::summary`]).
    #[serde(with = "cairn_protocol::bytes32::serde32")]
    pub proof_digest: [u8; 32],
    /// How far it is.
    pub state: PostState,
}

/// How far a window PoSt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostState {
    /// The proof is on disk and verifies.
    Proven,
    /// It was handed to the ledger.
    Sent {
        /// The transaction.
        sent: Sent,
        /// Times it was handed in.
        times: u32,
    },
    /// The ledger has it.
    Confirmed {
        /// The ledger's head when that was seen.
        seen_at: Epoch,
    },
    /// The deadline closed without it.
    Missed {
        /// The ledger's head when that was seen.
        seen_at: Epoch,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_round_trip_and_sort_by_time(a: (u64, u32, u32), b: (u64, u32, u32)) {
            let key = |(closes_at, deadline, partition)| PostKey { closes_at: Epoch(closes_at), deadline, partition };
            prop_assert_eq!(PostKey::from_bytes(&key(a).to_bytes()), Some(key(a)));
            prop_assert_eq!(key(a).cmp(&key(b)), key(a).to_bytes().cmp(&key(b).to_bytes()));
        }

        #[test]
        fn foreign_keys_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(PostKey::from_bytes(&bytes).is_some(), bytes.len() == KEY_BYTES);
        }
    }
}
