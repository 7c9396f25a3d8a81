//! The files of a sector by name, and which stage makes each of them from what.
//!
//! This is the one place that knows the file graph; checking before a stage, repairing after damage and removing at
//! the end all follow it:
//!
//! ```text
//! pieces --AddPieces--> staged --TreeD--> tree D
//!                         |  \--------------------------------.
//!                         |   layer N-1 --Labels--> layer N    \
//!                         |                 |  all layers --TreeC--> tree C
//!                         |                 last layer          |
//!                         '--Replica--> sealed, tree R-last     |
//!                                                 \--> p_aux <--/
//! layers, trees, sealed --VanillaProof--> porep-proof.cbor --Snark--> porep-snark.bin
//! ```

use std::fmt;
use std::path::PathBuf;

use cairn_protocol::SectorParams;
use cairn_sector::files::SectorFiles;
use serde::{Deserialize, Serialize};

use crate::stage::{Stage, StagePart};

/// Names of the files that hold the proof of replication, plain and as SNARK, until it is on the ledger.
const POREP_PROOF_NAME: &str = "porep-proof.cbor";
const POREP_SNARK_NAME: &str = "porep-snark.bin";

/// One file of a sector. Layers count from 1, the base trees of a tree from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SectorFile {
    /// The pieces, fr32-padded and aligned, zero-padded to the sector.
    Staged,
    /// The labels of one layer.
    Layer(u32),
    /// Tree D, over the staged data.
    TreeD,
    /// One base tree of tree C.
    TreeC(u32),
    /// One base tree of tree R-last, lowest rows discarded.
    TreeRLast(u32),
    /// The replica.
    Sealed,
    /// CommC and CommRLast.
    PAux,
    /// The plain proof of replication.
    PorepProof,
    /// The SNARK that was sent, or will be. The one file that is not the same when it is made again.
    PorepSnark,
}

impl SectorFile {
    /// Every file that a sector with `params` has at some time, in the order in which they are made.
    pub fn all(params: &SectorParams) -> Vec<Self> {
        let mut files = vec![Self::Staged];
        files.extend(Self::layers(params));
        files.push(Self::TreeD);
        files.extend(Self::trees_c(params));
        files.push(Self::Sealed);
        files.extend(Self::trees_r_last(params));
        files.extend([Self::PAux, Self::PorepProof, Self::PorepSnark]);
        files
    }

    /// The layers of labels, first to last.
    pub fn layers(params: &SectorParams) -> impl Iterator<Item = Self> + use<> {
        (1..=params.layers as u32).map(Self::Layer)
    }

    /// The base trees of tree C.
    pub fn trees_c(params: &SectorParams) -> impl Iterator<Item = Self> + use<> {
        (0..params.tree_shape.base_trees() as u32).map(Self::TreeC)
    }

    /// The base trees of tree R-last.
    pub fn trees_r_last(params: &SectorParams) -> impl Iterator<Item = Self> + use<> {
        (0..params.tree_shape.base_trees() as u32).map(Self::TreeRLast)
    }

    /// Where the file lies. `None` if a sector with `params` has no such file.
    pub fn path(self, files: &SectorFiles, params: &SectorParams) -> Option<PathBuf> {
        match self {
            Self::Staged => Some(files.staged()),
            Self::Layer(layer) if (1..=params.layers as u32).contains(&layer) => Some(files.layer(layer as usize)),
            Self::Layer(_) => None,
            Self::TreeD => Some(files.tree_d()),
            Self::TreeC(index) => files.tree_c(params).into_iter().nth(index as usize),
            Self::TreeRLast(index) => files.tree_r_last(params).into_iter().nth(index as usize),
            Self::Sealed => Some(files.sealed()),
            Self::PAux => Some(files.p_aux()),
            Self::PorepProof => Some(files.cache_dir().join(POREP_PROOF_NAME)),
            Self::PorepSnark => Some(files.cache_dir().join(POREP_SNARK_NAME)),
        }
    }

    /// The stage that makes the file.
    pub fn maker(self) -> StagePart {
        match self {
            Self::Staged => Stage::AddPieces.whole(),
            Self::Layer(layer) => Stage::Labels.part(layer),
            Self::TreeD => Stage::TreeD.whole(),
            Self::TreeC(_) => Stage::TreeC.whole(),
            Self::Sealed | Self::TreeRLast(_) | Self::PAux => Stage::Replica.whole(),
            Self::PorepProof => Stage::VanillaProof.whole(),
            Self::PorepSnark => Stage::Snark.whole(),
        }
    }

    /// Whether the file is a proof: of no use once the ledger has it.
    pub fn is_proof(self) -> bool {
        matches!(self, Self::PorepProof | Self::PorepSnark)
    }

    /// Whether later proofs or unsealing need the file once the sector is active: see [`Stage::Finalize`].
    pub fn is_kept(self) -> bool {
        matches!(self, Self::Sealed | Self::TreeRLast(_) | Self::PAux)
    }
}

impl fmt::Display for SectorFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Staged => f.write_str("staged data"),
            Self::Layer(layer) => write!(f, "layer {layer}"),
            Self::TreeD => f.write_str("tree D"),
            Self::TreeC(index) => write!(f, "tree C [{index}]"),
            Self::TreeRLast(index) => write!(f, "tree R-last [{index}]"),
            Self::Sealed => f.write_str("sealed replica"),
            Self::PAux => f.write_str("p_aux"),
            Self::PorepProof => f.write_str("plain proof of replication"),
            Self::PorepSnark => f.write_str("SNARK of replication"),
        }
    }
}
