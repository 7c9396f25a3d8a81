//! New data on its way into a finalized sector of zeros.
//!
//! ```text
//! Assigned -> Encoded -> Proven <-> Sent -> Active
//! ```
//!
//! Invariants, beside those of [`crate::state`], which hold here too:
//!
//! 1. The new replica lies in a folder of its own. Nothing of the old one changes or goes: until the ledger has the update
//!    it is what is proven, and afterwards data is read back as what both replicas differ by.
//! 2. Which replica answers a challenge is decided by the CommR that the challenge names, not by this record: the ledger
//!    may know more than the journal.
//! 3. The SNARK is on disk before the record says `Proven`, and there until it says `Active`.

use cairn_ledger::SectorUpdateStatement;
use cairn_protocol::{PieceInfo, SectorNumber};
use serde::{Deserialize, Serialize};

use crate::digest::FileDigests;
use crate::file::SectorFile;
use crate::state::{SectorPiece, Sent};

/// All that the journal knows about the update of one sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRecord {
    /// Which sector.
    pub sector: SectorNumber,
    /// Its new data.
    pub pieces: Vec<SectorPiece>,
    /// Where the update stands.
    pub state: UpdateState,
}

/// Where an update stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// Pieces are known; nothing is on disk.
    Assigned,
    /// The new replica and its trees are on disk.
    Encoded {
        /// What they are.
        encoded: EncodedUpdate,
    },
    /// The SNARK is on disk and verifies.
    Proven {
        /// The new replica.
        encoded: EncodedUpdate,
    },
    /// The update was handed to the ledger.
    Sent {
        /// The new replica.
        encoded: EncodedUpdate,
        /// The transaction.
        sent: Sent,
    },
    /// The ledger has the new replica.
    Active {
        /// The new replica.
        encoded: EncodedUpdate,
    },
}

/// A new replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedUpdate {
    /// What is proven about it.
    pub statement: SectorUpdateStatement,
    /// Its files.
    pub files: Vec<(SectorFile, FileDigests)>,
}

impl UpdateRecord {
    /// The new data as the proofs see it.
    pub fn piece_infos(&self) -> Vec<PieceInfo> {
        self.pieces.iter().map(|piece| piece.info).collect()
    }
}

impl UpdateState {
    /// The new replica, once it is made.
    pub fn encoded(&self) -> Option<&EncodedUpdate> {
        match self {
            Self::Assigned => None,
            Self::Encoded { encoded }
            | Self::Proven { encoded }
            | Self::Sent { encoded, .. }
            | Self::Active { encoded } => Some(encoded),
        }
    }

    /// Whether the ledger may have the new replica.
    pub fn may_be_on_ledger(&self) -> bool {
        matches!(self, Self::Sent { .. } | Self::Active { .. })
    }

    /// What it is called in events.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Encoded { .. } => "encoded",
            Self::Proven { .. } => "proven",
            Self::Sent { .. } => "sent",
            Self::Active { .. } => "active",
        }
    }

    /// Whether the journal may replace this state by `next`.
    pub fn can_become(&self, next: &Self) -> bool {
        let kept = self.encoded().is_none_or(|encoded| next.encoded() == Some(encoded));
        let follows = match (self, next) {
            (Self::Assigned, Self::Encoded { .. }) | (Self::Encoded { .. }, Self::Proven { .. }) => true,
            (Self::Proven { .. } | Self::Sent { .. }, Self::Sent { .. } | Self::Active { .. }) => true,
            (Self::Sent { .. }, Self::Proven { .. }) => true,
            _ => self == next,
        };
        kept && follows
    }
}

#[cfg(test)]
mod tests {
    use cairn_ledger::TransactionId;
    use cairn_protocol::{CommD, CommR, Epoch, SectorSize};

    use super::*;

    #[test]
    fn an_update_goes_forward_and_keeps_its_replica() {
        let encoded = |tag| EncodedUpdate {
            statement: SectorUpdateStatement {
                sector_size: SectorSize::KIB2,
                comm_r_old: CommR([1; 32]),
                comm_d_new: CommD([2; 32]),
                comm_r_new: CommR([tag; 32]),
            },
            files: vec![],
        };
        let sent = Sent { transaction: TransactionId([1; 32]), at: Epoch(5) };
        let states = [
            UpdateState::Assigned,
            UpdateState::Encoded { encoded: encoded(3) },
            UpdateState::Proven { encoded: encoded(3) },
            UpdateState::Sent { encoded: encoded(3), sent },
            UpdateState::Active { encoded: encoded(3) },
        ];
        let followers = |state: &UpdateState| {
            states.iter().filter(|next| state.can_become(next)).map(UpdateState::name).collect::<Vec<_>>()
        };
        assert_eq!(followers(&states[0]), ["assigned", "encoded"]);
        assert_eq!(followers(&states[1]), ["encoded", "proven"]);
        assert_eq!(followers(&states[2]), ["proven", "sent", "active"]);
        assert_eq!(followers(&states[3]), ["proven", "sent", "active"]);
        assert_eq!(followers(&states[4]), ["active"]);
        assert!(!states[1].can_become(&UpdateState::Proven { encoded: encoded(4) }), "another replica");
    }
}
