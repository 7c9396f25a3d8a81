//! Pieces that nobody has: the upper part of a tree, to serve and to prove groups of.

use cairn_protocol::piece_proof::{PieceShape, TreeNode};
use cairn_protocol::sha256::hash_pair;
use cairn_protocol::{CommP, Epoch, GROUP_BYTES, PieceInfo, ProviderId, RangeProof};

use crate::served::{ServedGroup, SignedServedGroup, WrongBytes};

/// A piece, known by the roots of its groups alone.
#[derive(Debug, Clone)]
pub struct PieceTree {
    shape: PieceShape,
    levels: Vec<Vec<TreeNode>>,
}

impl PieceTree {
    /// A full piece of `2^levels` groups, named by `tag`.
    pub fn new(tag: u8, levels: u32) -> Self {
        let groups = 1u64 << levels;
        let shape = PieceShape::of(groups * GROUP_BYTES).expect("fits a sector");
        let leaf = |group: u64| hash_pair(&[tag & 0x3f; 32], &[group as u8 & 0x3f; 32]);
        let mut levels = vec![(0..groups).map(leaf).collect::<Vec<_>>()];
        while let Some(pairs) = levels.last().filter(|level| level.len() > 1).map(|level| level.as_chunks::<2>().0) {
            let up = pairs.iter().map(|[left, right]| hash_pair(left, right)).collect();
            levels.push(up);
        }
        Self { shape, levels }
    }

    /// Its commitment and padded size.
    pub fn info(&self) -> PieceInfo {
        let top = self.levels.last().expect("the groups are a level themselves");
        PieceInfo { comm_p: CommP(top[0]), size: self.shape.padded() }
    }

    /// Root of a group.
    pub fn root(&self, group: u64) -> CommP {
        CommP(self.levels[0][group as usize])
    }

    /// The proof for `count` groups from one on, encoded.
    pub fn prove(&self, first: u64, count: u64) -> Vec<u8> {
        let roots = self.levels[0][first as usize..(first + count) as usize].to_vec();
        RangeProof::assemble(self.shape, first, roots, |level, place| self.levels[level][place as usize]).encode()
    }

    /// What an honest provider says about a group.
    pub fn served(&self, provider: ProviderId, group: u64, epoch: Epoch) -> ServedGroup {
        ServedGroup { provider, piece: self.info(), group, root: self.root(group), epoch, nonce: 7 }
    }

    /// What one says that sends something else.
    pub fn served_wrong(&self, provider: ProviderId, group: u64, epoch: Epoch) -> ServedGroup {
        let root = CommP(hash_pair(&self.root(group).0, &[0; 32]));
        ServedGroup { root, ..self.served(provider, group, epoch) }
    }

    /// A statement with the proof of what is there.
    pub fn evidence(&self, signed: SignedServedGroup) -> WrongBytes {
        let proof = self.prove(signed.statement.group, 1);
        WrongBytes { signed, proof }
    }
}
