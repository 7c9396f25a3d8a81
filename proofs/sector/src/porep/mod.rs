//! Proof of replication, in the plain: openings at challenged nodes.
//!
//! For every challenged node c (`spec/proofs.md` 1.10) the proof opens
//! 1. data\[c\] in tree D and replica\[c\] in tree R-last,
//! 2. the columns of c, of its six base and its eight expander parents in tree C,
//! 3. for every layer the 37 parent labels whose hash is the label of c, and
//! 4. the last layer's parents once more, from which the key of c follows: replica\[c\] = data\[c\] + key.
//!
//! [`challenges`] says which nodes, [`proof`] what a proof is made of, [`prove`] and [`verify`] are the two sides, and
//! [`public_inputs`] is what the circuit over such a proof will be shown. A verifier trusts nothing in a proof that it
//! can compute: indices, parents, hashes and roots are all checked, each with a rejection of its own ([`rejection`]).

pub mod challenges;
pub mod proof;
mod prove;
pub mod public_inputs;
pub mod rejection;
mod verify;

use cairn_protocol::{CommD, CommR, Seed};
use serde::{Deserialize, Serialize};

use crate::identity::SectorIdentity;

pub use proof::PorepProof;
pub use prove::{ProveError, prove};
pub use public_inputs::public_inputs;
pub use rejection::PorepRejection;
pub use verify::verify;

/// What a proof of replication is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PorepStatement {
    /// The sector.
    pub identity: SectorIdentity,
    /// Its data.
    pub comm_d: CommD,
    /// Its replica.
    pub comm_r: CommR,
    /// Challenge randomness; a non-interactive proof takes its challenges from CommR instead.
    pub seed: Seed,
}
