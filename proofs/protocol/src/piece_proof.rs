//! Proofs that a range of bytes belongs to a piece, by subtrees of the tree behind CommP: what they say, and the check.
//!
//! Who holds a piece makes them, who reads it checks them, and the ledger judges by them who served wrong bytes; so their one
//! home is here.
//!
//! 1. A piece is cut into *groups*: subtrees of 1 MiB padded, which is 127 · 8192 = 1,040,384 bytes of payload. The last may
//!    end early, the rest of it and all groups after it are zeros; a piece below that size is one group.
//! 2. [`RangeProof`] has the roots of the groups around a range, and the siblings from there up to CommP.
//!    [`RangeProof::verify`] checks them against a commitment.
//!
//! What CommP does not bind is the length of the payload: zeros at its end do not change it. A version 2 PieceCID binds both.
//!
//! A proof as bytes, numbers little-endian:
//!
//! ```text
//! offset  bytes
//!      0      8  CAIRNRP1
//!      8      8  payload bytes of the piece
//!     16      8  padded bytes of the piece, 128·2^k
//!     24      8  number of the first group
//!     32      4  number of groups, n
//!     36   32·n  their roots
//!      …   32·m  siblings from the groups up; on a level the left one before the right one
//! ```
//!
//! m follows from the numbers before: on each level there is a left sibling if the run starts at an odd node, and a right
//! one if it ends at an even one, up to the level where the whole tree is one node.

use std::ops::Range;

use crate::bytes32::CommP;
use crate::piece::{PaddedBytes, UnpaddedBytes};
use crate::sha256::hash_pair;

/// Payload bytes of a whole group.
pub const GROUP_BYTES: u64 = 127 * 8192;
/// Padded bytes of a whole group.
pub const GROUP_PADDED: u64 = 1 << 20;
/// Padded bytes of the largest piece that proofs are about: the largest sector.
const PIECE_PADDED_MAX: u64 = 64 << 30;

const MAGIC: &[u8; 8] = b"CAIRNRP1";
const HEADER_BYTES: usize = 36;

/// A node of the tree: SHA-256 of its children, cut to 254 bits; or 32 bytes of padded payload.
pub type TreeNode = [u8; 32];

/// Why a proof is refused, or the bytes that came with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeProofRejection {
    /// Not the beginning of a proof.
    #[error("expected a range proof that begins with {expected}", expected = MAGIC.escape_ascii())]
    Magic,
    /// Another length than its numbers ask for.
    #[error("expected a range proof of {expected} bytes, got {got}")]
    Length {
        /// Bytes that it must have.
        expected: u64,
        /// Bytes that it has.
        got: u64,
    },
    /// Numbers that no piece has.
    #[error("{what}: {got}")]
    Number {
        /// What it must be.
        what: &'static str,
        /// What it is.
        got: u64,
    },
    /// A node that is no field element, so no tree has it.
    #[error("node {node} of the proof has its top bits set")]
    Node {
        /// Its place in the proof.
        node: usize,
    },
    /// The proof leads to another piece.
    #[error("the proof leads to {got}, expected {expected}")]
    Root {
        /// The commitment asked for.
        expected: CommP,
        /// What the proof leads to.
        got: CommP,
    },
    /// A group that the proof says nothing about.
    #[error("group {group} is not among the groups {first} to {last} of the proof")]
    Absent {
        /// The group.
        group: u64,
        /// First group of the proof.
        first: u64,
        /// Last group of the proof.
        last: u64,
    },
    /// Bytes of another length than the group has.
    #[error("group {group} has {expected} bytes, got {got}")]
    GroupLength {
        /// The group.
        group: u64,
        /// Its payload bytes.
        expected: u64,
        /// Bytes that came.
        got: u64,
    },
    /// Wrong bytes.
    #[error("the bytes of group {group}, from byte {offset} of the piece on, are not those of the piece")]
    Group {
        /// The group.
        group: u64,
        /// Where it begins in the piece.
        offset: u64,
    },
}

/// Where groups lie in a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceShape {
    payload_bytes: u64,
    padded: PaddedBytes,
}

impl PieceShape {
    /// Of a piece with so much payload, in the smallest tree that holds it; `None` beyond the largest sector.
    pub fn of(payload_bytes: u64) -> Option<PieceShape> {
        let padded = UnpaddedBytes::piece_for(payload_bytes)?.to_padded();
        (padded.0 <= PIECE_PADDED_MAX).then_some(PieceShape { payload_bytes, padded })
    }

    /// Bytes of the payload.
    pub fn payload_bytes(self) -> u64 {
        self.payload_bytes
    }

    /// Padded bytes of the whole tree.
    pub fn padded(self) -> PaddedBytes {
        self.padded
    }

    /// Padded bytes of one group.
    pub fn group_padded(self) -> PaddedBytes {
        PaddedBytes(self.padded.0.min(GROUP_PADDED))
    }

    /// Groups of the whole tree, a power of two.
    pub fn groups(self) -> u64 {
        self.padded.0 / self.group_padded().0
    }

    /// Groups with payload, and at least one.
    pub fn filled(self) -> u64 {
        self.payload_bytes.div_ceil(GROUP_BYTES).max(1)
    }

    /// Bytes of the payload that belong to a group.
    pub fn payload(self, group: u64) -> Range<u64> {
        let start = (group * GROUP_BYTES).min(self.payload_bytes);
        start..((group + 1) * GROUP_BYTES).min(self.payload_bytes)
    }
}

/// For each level from the groups up: the places of the left and of the right sibling that the run `first..end` needs.
fn sibling_places(first: u64, end: u64, groups: u64) -> Vec<(Option<u64>, Option<u64>)> {
    let (mut first, mut end, mut nodes) = (first, end, groups);
    let mut places = Vec::new();
    while nodes > 1 {
        places.push(((first % 2 == 1).then(|| first - 1), (end % 2 == 1).then_some(end)));
        (first, end, nodes) = (first / 2, end.div_ceil(2), nodes / 2);
    }
    places
}

/// A proof for a run of groups, not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeProof {
    shape: PieceShape,
    first: u64,
    roots: Vec<TreeNode>,
    siblings: Vec<TreeNode>,
}

impl RangeProof {
    /// The proof for a run of groups with these roots; `sibling` gives the node on a level above the groups, at a place.
    pub fn assemble(
        shape: PieceShape,
        first: u64,
        roots: Vec<TreeNode>,
        sibling: impl Fn(usize, u64) -> TreeNode,
    ) -> RangeProof {
        let places = sibling_places(first, first + roots.len() as u64, shape.groups());
        let needed = |(level, (left, right)): (usize, (Option<u64>, Option<u64>))| {
            left.into_iter().chain(right).map(move |place| (level, place))
        };
        let siblings = places.into_iter().enumerate().flat_map(needed).map(|(level, place)| sibling(level, place));
        RangeProof { shape, first, siblings: siblings.collect(), roots }
    }

    /// The piece that the proof speaks of.
    pub fn shape(&self) -> PieceShape {
        self.shape
    }

    /// Numbers of its groups.
    pub fn groups(&self) -> Range<u64> {
        self.first..self.first + self.roots.len() as u64
    }

    /// The form that travels.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.shape.payload_bytes, self.shape.padded.0, self.first] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&(self.roots.len() as u32).to_le_bytes());
        bytes.extend(self.roots.iter().chain(&self.siblings).flatten());
        bytes
    }

    /// Reads a proof. What it says is not checked, that it can be a proof is.
    ///
    /// # Errors
    /// [`RangeProofRejection`] for anything that no piece has.
    pub fn decode(bytes: &[u8]) -> Result<RangeProof, RangeProofRejection> {
        let length = |expected: u64| RangeProofRejection::Length { expected, got: bytes.len() as u64 };
        let number = |what, got| RangeProofRejection::Number { what, got };
        let (header, nodes) = bytes.split_at_checked(HEADER_BYTES).ok_or(length(HEADER_BYTES as u64))?;
        if header[..8] != MAGIC[..] {
            return Err(RangeProofRejection::Magic);
        }
        let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let (payload_bytes, padded, first) = (word(8), word(16), word(24));
        let count = u64::from(u32::from_le_bytes(header[32..].try_into().expect("four bytes")));
        let shape = PieceShape::of(payload_bytes)
            .ok_or(number("expected a payload within the largest sector", payload_bytes))?;
        if shape.padded.0 != padded {
            return Err(number("expected the padded bytes that go with the payload", padded));
        }
        if first >= shape.filled() || count == 0 || count > shape.filled() - first {
            return Err(number("expected a run of groups within the payload, got groups from", first));
        }
        let places = sibling_places(first, first + count, shape.groups());
        let siblings: usize = places.iter().map(|(left, right)| left.iter().count() + right.iter().count()).sum();
        let expected = HEADER_BYTES as u64 + (count + siblings as u64) * 32;
        if bytes.len() as u64 != expected {
            return Err(length(expected));
        }
        let nodes = nodes.as_chunks::<32>().0;
        if let Some(node) = nodes.iter().position(|node| node[31] & 0xc0 != 0) {
            return Err(RangeProofRejection::Node { node });
        }
        let (roots, siblings) = nodes.split_at(count as usize);
        Ok(RangeProof { shape, first, roots: roots.to_vec(), siblings: siblings.to_vec() })
    }

    /// Bytes of the piece that the proof is about: from the first byte of its first group to the last of its last.
    pub fn bytes(&self) -> Range<u64> {
        let last = self.first + self.roots.len() as u64 - 1;
        self.shape.payload(self.first).start..self.shape.payload(last).end
    }

    /// Checks that the groups are those of the piece with this commitment.
    ///
    /// # Errors
    /// [`RangeProofRejection::Root`] if they lead elsewhere.
    pub fn verify(self, expected: &CommP) -> Result<VerifiedGroups, RangeProofRejection> {
        let end = self.first + self.roots.len() as u64;
        let mut siblings = self.siblings.iter();
        let mut run = self.roots.clone();
        for (left, right) in sibling_places(self.first, end, self.shape.groups()) {
            let mut next = || *siblings.next().expect("as many siblings as the numbers ask for");
            let left = left.map(|_| next());
            let right = right.map(|_| next());
            let nodes: Vec<TreeNode> = left.into_iter().chain(run).chain(right).collect();
            run = nodes.as_chunks::<2>().0.iter().map(|[left, right]| hash_pair(left, right)).collect();
        }
        let got = CommP(run[0]);
        if got == *expected {
            Ok(VerifiedGroups(self))
        } else {
            Err(RangeProofRejection::Root { expected: *expected, got })
        }
    }
}

/// Groups that belong to the piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedGroups(RangeProof);

impl VerifiedGroups {
    /// Numbers of the groups.
    pub fn groups(&self) -> Range<u64> {
        self.0.groups()
    }

    /// The piece that they belong to.
    pub fn shape(&self) -> PieceShape {
        self.0.shape
    }

    /// Root of a group; `None` for one that is not among them.
    pub fn root(&self, group: u64) -> Option<TreeNode> {
        let place = group.checked_sub(self.0.first)?;
        self.0.roots.get(usize::try_from(place).ok()?).copied()
    }

    /// Bytes of the piece that belong to a group.
    pub fn bytes(&self, group: u64) -> Range<u64> {
        self.0.shape.payload(group)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_proof_is_about_one_piece_and_one_place_in_it() {
        // Eight groups, the last three without payload.
        let shape = PieceShape::of(5 * GROUP_BYTES - 1).unwrap();
        assert_eq!((shape.groups(), shape.filled()), (8, 5));
        let leaf = |place: u64| hash_pair(&[place as u8; 32].map(|byte| byte & 0x3f), &[1; 32]);
        fn node(level: usize, place: u64, leaf: &impl Fn(u64) -> TreeNode) -> TreeNode {
            if level == 0 {
                return leaf(place);
            }
            hash_pair(&node(level - 1, 2 * place, leaf), &node(level - 1, 2 * place + 1, leaf))
        }
        let comm_p = CommP(node(3, 0, &leaf));
        for first in 0..5 {
            for end in first + 1..=5 {
                let roots = (first..end).map(leaf).collect();
                let proof = RangeProof::assemble(shape, first, roots, |level, place| node(level, place, &leaf));
                assert_eq!(RangeProof::decode(&proof.encode()), Ok(proof.clone()));
                let verified = proof.verify(&comm_p).unwrap();
                assert_eq!(verified.groups(), first..end);
                assert_eq!(verified.root(first), Some(leaf(first)));
                assert_eq!(verified.root(end), None);
                let elsewhere = RangeProof { first: (first + 1) % 5, roots: vec![leaf(first)], ..verified.0.clone() };
                let elsewhere = RangeProof::decode(&elsewhere.encode()).and_then(|proof| proof.verify(&comm_p));
                assert!(elsewhere.is_err(), "{first}..{end}");
            }
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), magic: bool) {
            let mut bytes = bytes;
            if magic && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(MAGIC);
            }
            if let Ok(proof) = RangeProof::decode(&bytes) {
                prop_assert_eq!(proof.encode(), bytes);
                let _ = proof.verify(&CommP([0; 32]));
            }
        }
    }
}
