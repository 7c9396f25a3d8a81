//! What follows from a sector size and a seal proof: layers, tree shape, challenges, partitions (`spec/proofs.md` 1.4).
//!
//! These are protocol constants; none of them is a setting.

use crate::{SealProof, SectorSize};

/// Parents of a node in the depth-robust base graph.
pub const BASE_DEGREE: usize = 6;
/// Parents of a node in the expander graph (previous layer).
pub const EXPANDER_DEGREE: usize = 8;
/// All parents of a node.
pub const DEGREE: usize = BASE_DEGREE + EXPANDER_DEGREE;
/// Parent labels that enter one label's hash, after repetition.
pub const LABEL_PARENTS: usize = 37;
/// Arity of the trees over the sector's data.
pub const TREE_D_ARITY: usize = 2;
/// Arity of the base trees of tree C and tree R-last.
pub const TREE_BASE_ARITY: usize = 8;
/// Leaves challenged in a winning PoSt, all in one sector.
pub const WINNING_POST_CHALLENGES: usize = 66;
/// Leaves challenged in each sector of a window PoSt.
pub const WINDOW_POST_CHALLENGES: usize = 10;
/// Synthetic challenges, unless the sector has fewer nodes.
pub const SYNTHETIC_CHALLENGES_MAX: u64 = 1 << 18;

/// Shape of tree C and tree R-last: base trees of arity 8, `sub` of whose roots hash together, `top` of those again.
/// A level of 0 does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeShape {
    /// Arity of the base trees.
    pub base: usize,
    /// Base roots under one sub root; 0 if there is no such level.
    pub sub: usize,
    /// Sub roots under the top root; 0 if there is no such level.
    pub top: usize,
}

impl TreeShape {
    /// Number of base trees, each a file of its own.
    pub const fn base_trees(self) -> usize {
        let sub = if self.sub == 0 { 1 } else { self.sub };
        let top = if self.top == 0 { 1 } else { self.top };
        sub * top
    }
}

/// Everything about sealing and proving that a size and a seal proof decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SectorParams {
    /// Sector size.
    pub sector_size: SectorSize,
    /// Seal proof.
    pub seal_proof: SealProof,
    /// Layers of labels.
    pub layers: usize,
    /// Shape of tree C and tree R-last.
    pub tree_shape: TreeShape,
    /// PoRep challenges in one partition.
    pub challenges_per_partition: usize,
    /// PoRep partitions, one Groth16 proof each.
    pub partitions: usize,
    /// Sectors in one window-PoSt partition.
    pub window_sectors_per_partition: usize,
    /// Partitions of a sector update, one Groth16 proof each; a power of two. Filecoin has no update of 1 GiB sectors; they
    /// are treated as those of 512 MiB.
    pub update_partitions: usize,
}

impl SectorParams {
    /// The parameters of `sector_size` sealed with `seal_proof`.
    pub fn new(sector_size: SectorSize, seal_proof: SealProof) -> Self {
        let real = sector_size >= SectorSize::GIB32;
        let non_interactive = seal_proof == SealProof::NonInteractive;
        Self {
            sector_size,
            seal_proof,
            layers: if real { 11 } else { 2 },
            tree_shape: tree_shape(sector_size),
            challenges_per_partition: if real { 18 } else { 2 },
            partitions: match (real, non_interactive) {
                (true, false) => 10,
                (true, true) => 126,
                (false, false) => 1,
                (false, true) => 13,
            },
            window_sectors_per_partition: match sector_size {
                SectorSize::GIB32 => 2349,
                SectorSize::GIB64 => 2300,
                _ => 2,
            },
            update_partitions: match sector_size {
                size if size <= SectorSize::KIB4 => 1,
                size if size <= SectorSize::KIB32 => 2,
                size if size <= SectorSize::MIB16 => 4,
                _ => 16,
            },
        }
    }

    /// PoRep challenges over all partitions.
    pub const fn challenges(&self) -> usize {
        self.challenges_per_partition * self.partitions
    }

    /// Nodes of the sector.
    pub const fn nodes(&self) -> u64 {
        self.sector_size.nodes()
    }

    /// Leaves under one base tree of tree C and tree R-last.
    pub const fn base_tree_leaves(&self) -> u64 {
        self.nodes() / self.tree_shape.base_trees() as u64
    }
}

fn tree_shape(size: SectorSize) -> TreeShape {
    let (sub, top) = match size {
        SectorSize::KIB4 | SectorSize::MIB16 | SectorSize::GIB1 => (2, 0),
        SectorSize::KIB16 | SectorSize::GIB32 => (8, 0),
        SectorSize::KIB32 | SectorSize::GIB64 => (8, 2),
        _ => (0, 0),
    };
    TreeShape { base: TREE_BASE_ARITY, sub, top }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_tree_is_a_full_tree_of_arity_eight() {
        for size in SectorSize::ALL {
            for proof in SealProof::ALL {
                let params = SectorParams::new(size, proof);
                assert_eq!(params.base_tree_leaves() * params.tree_shape.base_trees() as u64, size.nodes());
                assert_eq!(params.base_tree_leaves().ilog2() % 3, 0, "{size}");
            }
        }
    }

    #[test]
    fn challenge_counts_are_the_published_ones() {
        let challenges = |size, proof| SectorParams::new(size, proof).challenges();
        assert_eq!(challenges(SectorSize::GIB32, SealProof::V1_1), 180);
        assert_eq!(challenges(SectorSize::GIB32, SealProof::NonInteractive), 2268);
        assert_eq!(challenges(SectorSize::KIB2, SealProof::Synthetic), 2);
        assert_eq!(challenges(SectorSize::KIB2, SealProof::NonInteractive), 26);
    }
}
