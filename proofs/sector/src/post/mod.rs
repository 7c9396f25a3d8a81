//! Proof of spacetime, in the plain: that sealed sectors are still there (`spec/proofs.md` 1.14).
//!
//! Randomness picks leaves of tree R-last; the proof opens them. A *window* proof opens ten leaves in each of up to a
//! partition of sectors; a *winning* proof opens 66 in one. Only the replica and the upper rows of its tree are needed,
//! so layers and the other trees may be gone.
//!
//! Proof, statement and challenges are one file each: [`proof`], this one, [`challenges`]; [`public_inputs`](mod@public_inputs) is what the
//! circuit over such a proof will be shown.

pub mod challenges;
pub mod proof;
mod prove;
pub mod public_inputs;
pub mod rejection;
mod verify;

use cairn_protocol::{CommR, PostRandomness, ProverId, SectorNumber, SectorSize};
use serde::{Deserialize, Serialize};

pub use proof::PostProof;
pub use prove::{PostProveError, prove};
pub use public_inputs::{ChallengeNumbering, public_inputs, public_inputs_numbered};
pub use rejection::PostRejection;
pub use verify::verify;

/// Which of the two proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PostKind {
    /// Every sector of a partition, once in a proving period.
    Window,
    /// One sector, to earn the right to make a block.
    Winning,
}

/// A sector that a proof is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostSector {
    /// Its number.
    pub sector_number: SectorNumber,
    /// Its replica.
    pub comm_r: CommR,
}

/// What a proof of spacetime is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostStatement {
    /// Window or winning.
    pub kind: PostKind,
    /// Size of all its sectors.
    pub sector_size: SectorSize,
    /// Whose sectors they are.
    pub prover_id: ProverId,
    /// What the challenges come from; the two top bits of the last byte do not count.
    pub randomness: PostRandomness,
    /// The sectors, in the order in which they are proven.
    pub sectors: Vec<PostSector>,
}

impl PostStatement {
    /// The statement of each proof that it takes to prove all sectors: a window proof covers one partition, so sectors
    /// are cut into partitions in their order. Without sectors there is nothing to prove, and no statement.
    pub fn partitions(&self) -> Vec<Self> {
        let size = match self.kind {
            PostKind::Window => verify::params(self).window_sectors_per_partition,
            PostKind::Winning => self.sectors.len().max(1),
        };
        self.sectors.chunks(size).map(|sectors| Self { sectors: sectors.to_vec(), ..self.clone() }).collect()
    }
}
