//! The stages of sealing: what each reads, writes and needs.
//!
//! A stage is idempotent: it writes `<name>.tmp`, makes it durable, renames it, and only then does the journal say that
//! it is done. Killed before the journal entry, it runs again and writes the same bytes. Only the SNARK has other bytes
//! each time, because every one is blinded afresh; one that is on disk and verifies is kept.
//!
//! Bytes written, for a sector of `S` bytes with `L` layers (upper bounds, which the check of free space uses):
//!
//! | stage | reads | writes | disk |
//! | --- | --- | --- | --- |
//! | add-pieces | piece source | staged | S |
//! | draw-ticket | ledger | | |
//! | labels, each layer | the layer before | one layer | S |
//! | tree-d | staged | tree D | 2 S |
//! | tree-c | all layers | tree C | 8/7 S |
//! | replica | staged, last layer | sealed, tree R-last, p_aux | 8/7 S |
//! | pre-commit, await-seed | ledger | | |
//! | vanilla-proof | layers, trees, sealed, p_aux | proof | 128 KiB a challenge |
//! | snark | proof | SNARK | 192 bytes a partition |
//! | prove-commit | SNARK, ledger | | |
//! | finalize | ledger | removes what no later proof needs | |

use std::fmt;

use cairn_protocol::SectorParams;
use cairn_snark::groth16::proof::PROOF_BYTES;
use serde::{Deserialize, Serialize};

use crate::file::SectorFile;

/// Disk for one PoRep challenge: 15 columns with their paths, two more paths and 37 labels of every layer; about 60 KB
/// with 11 layers, and the encoding's overhead.
const PROOF_BYTES_PER_CHALLENGE: u64 = 128 << 10;

/// One stage of sealing, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Pads and aligns the pieces into the staged file, checking every CommP while the bytes pass.
    AddPieces,
    /// Takes the sealing randomness from the ledger.
    DrawTicket,
    /// Computes one layer of labels; each layer is a checkpoint.
    Labels,
    /// Builds tree D and checks its root against CommD of the manifest.
    TreeD,
    /// Hashes columns and builds tree C.
    TreeC,
    /// Encodes the replica, builds tree R-last, writes p_aux; CommR is known.
    Replica,
    /// Puts CommD and CommR on the ledger.
    PreCommit,
    /// Waits for the interactive seed.
    AwaitSeed,
    /// Opens the challenged nodes and verifies the openings.
    VanillaProof,
    /// Proves in zero knowledge that the openings exist, and checks as the ledger will.
    Snark,
    /// Puts the SNARK on the ledger; the sector becomes active.
    ProveCommit,
    /// Removes the layers, trees C and D, the staged data and the proofs. Kept are the replica, tree R-last and p_aux:
    /// window PoSt opens the replica under CommR with them, and unsealing regenerates the labels.
    Finalize,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 12] = [
        Self::AddPieces,
        Self::DrawTicket,
        Self::Labels,
        Self::TreeD,
        Self::TreeC,
        Self::Replica,
        Self::PreCommit,
        Self::AwaitSeed,
        Self::VanillaProof,
        Self::Snark,
        Self::ProveCommit,
        Self::Finalize,
    ];

    /// The stage as one piece of work.
    pub const fn whole(self) -> StagePart {
        StagePart { stage: self, layer: None }
    }

    /// One layer of [`Stage::Labels`].
    pub const fn part(self, layer: u32) -> StagePart {
        StagePart { stage: self, layer: Some(layer) }
    }

    /// The stage's name, as written in the journal.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AddPieces => "add-pieces",
            Self::DrawTicket => "draw-ticket",
            Self::Labels => "labels",
            Self::TreeD => "tree-d",
            Self::TreeC => "tree-c",
            Self::Replica => "replica",
            Self::PreCommit => "pre-commit",
            Self::AwaitSeed => "await-seed",
            Self::VanillaProof => "vanilla-proof",
            Self::Snark => "snark",
            Self::ProveCommit => "prove-commit",
            Self::Finalize => "finalize",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The unit that is done or not done: a stage, or one layer of the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StagePart {
    /// The stage.
    pub stage: Stage,
    /// The layer, counted from 1, of [`Stage::Labels`].
    pub layer: Option<u32>,
}

impl StagePart {
    /// The files read; they are checked against their recorded digests first.
    pub fn reads(self, params: &SectorParams) -> Vec<SectorFile> {
        match (self.stage, self.layer) {
            (Stage::Labels, Some(layer)) if layer > 1 => vec![SectorFile::Layer(layer - 1)],
            (Stage::TreeD, _) => vec![SectorFile::Staged],
            (Stage::TreeC, _) => SectorFile::layers(params).collect(),
            (Stage::Replica, _) => vec![SectorFile::Staged, SectorFile::Layer(params.layers as u32)],
            (Stage::VanillaProof, _) => SectorFile::all(params).into_iter().filter(|file| !file.is_proof()).collect(),
            (Stage::Snark, _) => vec![SectorFile::PorepProof],
            (Stage::ProveCommit, _) => vec![SectorFile::PorepSnark],
            _ => Vec::new(),
        }
    }

    /// The files written; their digests enter the journal together with the new state.
    pub fn writes(self, params: &SectorParams) -> Vec<SectorFile> {
        match (self.stage, self.layer) {
            (Stage::AddPieces, _) => vec![SectorFile::Staged],
            (Stage::Labels, Some(layer)) => vec![SectorFile::Layer(layer)],
            (Stage::TreeD, _) => vec![SectorFile::TreeD],
            (Stage::TreeC, _) => SectorFile::trees_c(params).collect(),
            (Stage::Replica, _) => {
                let mut files = vec![SectorFile::Sealed, SectorFile::PAux];
                files.extend(SectorFile::trees_r_last(params));
                files
            }
            (Stage::VanillaProof, _) => vec![SectorFile::PorepProof],
            (Stage::Snark, _) => vec![SectorFile::PorepSnark],
            _ => Vec::new(),
        }
    }

    /// Free bytes the stage needs before it starts. A file that is made again is complete beside the old one until
    /// the rename, so what is there already does not count.
    pub fn disk_bytes(self, params: &SectorParams) -> u64 {
        let sector = params.sector_size.bytes();
        match self.stage {
            Stage::AddPieces | Stage::Labels => sector,
            Stage::TreeD => 2 * sector,
            Stage::TreeC | Stage::Replica => sector + sector / 7 + 4096,
            Stage::VanillaProof => params.challenges() as u64 * PROOF_BYTES_PER_CHALLENGE,
            Stage::Snark => (params.partitions * PROOF_BYTES) as u64,
            _ => 0,
        }
    }
}

impl fmt::Display for StagePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "{} (layer {layer})", self.stage),
            None => write!(f, "{}", self.stage),
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_protocol::{SealProof, SectorSize};

    use super::*;

    #[test]
    fn every_file_is_made_by_the_stage_that_lists_it() {
        for size in SectorSize::ALL {
            let params = SectorParams::new(size, SealProof::V1_1);
            for file in SectorFile::all(&params) {
                assert!(file.maker().writes(&params).contains(&file), "{file} at {size}");
            }
        }
    }

    #[test]
    fn a_stage_reads_only_what_earlier_stages_made() {
        let params = SectorParams::new(SectorSize::KIB32, SealProof::V1_1);
        for file in SectorFile::all(&params) {
            let maker = file.maker();
            for read in maker.reads(&params) {
                assert!(read.maker() < maker, "{maker} reads {read}");
            }
        }
    }
}
