//! What a side can be asked to do: the command line of `ours` and of `reference`.

use std::path::PathBuf;

use cairn_protocol::SectorSize;
use cairn_snark::CircuitKind;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

/// Proofs in a batch.
pub const BATCH: usize = 100;

/// The only sector size that is proven here.
pub const SECTOR_SIZE: SectorSize = SectorSize::KIB2;

/// One thing to do. Golden data are the inputs wherever a task needs a sector.
#[derive(Debug, Clone, Subcommand)]
pub enum Task {
    /// Make parameters of a 2 KiB circuit: `.params`, `.vk`, `.meta`. Timed: from nothing to synced files.
    Setup {
        /// The circuit.
        #[command(flatten)]
        of: Of,
    },
    /// Do what has to be done once before the first proof with some parameters. Timed: all of it.
    Prepare {
        /// The circuit.
        #[command(flatten)]
        of: Of,
    },
    /// Prove a golden sector. Timed: from the plain proof in memory to verified bytes, opening the key included.
    Prove {
        /// The circuit.
        #[command(flatten)]
        of: Of,
    },
    /// Compute the witness of the golden 2 KiB sector, and its products with the matrices. Timed: witness alone.
    Witness,
    /// Verify one proof of a golden sector. Timed: key in memory, statement and bytes given.
    Verify {
        /// The circuit.
        #[command(flatten)]
        of: Of,
        /// The proof, hex.
        #[arg(long)]
        proof: String,
    },
    /// Verify the golden proofs of replication over and over: one at a time, and [`BATCH`] at once.
    VerifyMany,
    /// Count and hash the constraints of a circuit. Timed: all of it.
    Digest {
        /// The circuit.
        #[arg(long)]
        circuit: CircuitKind,
        /// Its sector size.
        #[arg(long)]
        size: SectorSize,
    },
}

/// Which circuit of the golden sectors.
#[derive(Debug, Clone, Args)]
pub struct Of {
    /// `porep`, `winning-post` or `window-post`.
    #[arg(long)]
    pub circuit: CircuitKind,
}

/// Folders a side works in.
#[derive(Debug, Clone, Args)]
pub struct Folders {
    /// Filecoin's key files.
    #[arg(long)]
    pub params: PathBuf,
    /// What a side derives from them and keeps.
    #[arg(long)]
    pub cache: PathBuf,
}

/// Counts and digest of a constraint system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConstraintSystemDigest {
    /// Public inputs, ONE among them.
    pub num_inputs_with_one: u64,
    /// Auxiliary variables.
    pub num_aux: u64,
    /// Constraints.
    pub num_constraints: u64,
    /// Terms in A, B and C.
    pub nnz: [u64; 3],
    /// Hex SHA-256 over all constraints in order.
    pub r1cs_sha256: String,
}
