//! Sector update, in the plain: new data into a sealed sector without sealing it again (`spec/proofs.md` 1.15).
//!
//! 1. The new data goes into a folder of its own, as for any sector: padded, with its tree D and CommD ([`crate::seal`]).
//! 2. [`encoding`] makes the new replica: `new[i] = old[i] + data[i] · rho(i)`. The factors come from CommD of the new
//!    data and CommR of the old replica, so nobody can choose data to cancel what the old replica holds. Nodes that
//!    share their top `h` bits share a factor.
//! 3. Tree R-last over the new replica gives, with the unchanged CommC, the new CommR.
//! 4. The proof opens, for every challenged node, the old replica, the new data and the new replica, each in its tree.
//!
//! The folder of an updated sector has the same names as any sector's ([`crate::SectorFiles`]), without layers and tree C;
//! proofs of spacetime run over it as they are. The old folder is needed until the proof is made, and its replica for as
//! long as the data shall be read back.
//!
//! *Partitions* cut the challenges into several proofs: partition k draws its challenges from the k-th equal run of
//! nodes. Each names the *apex leaves*, a row of tree D in its run, so that the circuit hashes the tree above that row
//! once and not for every challenge.
//!
//! Files as in the other proofs: [`params`], [`challenges`], [`proof`], [`prove`], [`verify`], [`rejection`], and
//! [`public_inputs`](mod@public_inputs), which is what the circuit over such a proof will be shown.

pub mod challenges;
pub mod encoding;
pub mod params;
pub mod proof;
mod prove;
pub mod public_inputs;
pub mod rejection;
mod verify;

use cairn_protocol::{CommD, CommR, SectorSize};
use serde::{Deserialize, Serialize};

pub use encoding::{UpdateEncoding, decode_range, encode, update};
pub use params::{HSelect, UpdateParams};
pub use proof::UpdateProof;
pub use prove::{UpdateProveError, prove};
pub use public_inputs::public_inputs;
pub use rejection::UpdateRejection;
pub use verify::verify;

/// What an update is about: which replica became which, and by what data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateStatement {
    /// Sector size.
    pub sector_size: SectorSize,
    /// How many nodes share a factor.
    pub h_select: HSelect,
    /// The replica before.
    pub comm_r_old: CommR,
    /// The new data.
    pub comm_d_new: CommD,
    /// The replica after.
    pub comm_r_new: CommR,
}

impl UpdateStatement {
    /// Protocol parameters of this size.
    pub fn params(&self) -> UpdateParams {
        UpdateParams::new(self.sector_size)
    }
}
