//! Proofs that a range of bytes belongs to a piece: made from the piece, and the bytes checked against them.
//!
//! What a proof says, its form that travels and its check against CommP are in [`cairn_protocol::piece_proof`]. Here:
//!
//! 1. [`PieceGroups`] holds the root of each group with payload: 32 bytes for 1 MiB. They are made in the pass that makes
//!    CommP and kept beside the dataset, so a proof costs some hashes and no reading.
//! 2. [`CheckGroup::check`] checks the bytes of each group of a verified proof alone, as they come by an ordinary range of
//!    `/piece/{cid}`, and names the one that is wrong.

use std::io::{self, Read};
use std::ops::Range;

use cairn_protocol::piece_proof::{PieceShape, TreeNode};
use cairn_protocol::{CommP, GROUP_BYTES, PaddedBytes, RangeProof, RangeProofRejection, VerifiedGroups};
use cairn_sector::pieces::{PieceCommitment, PieceHasher, zero_commitment};
use cairn_sector::sha256::hash_pair;

/// Root of the subtree of zeros that is `level` levels above a piece's groups.
fn zeros(shape: PieceShape, level: u32) -> TreeNode {
    zero_commitment(PaddedBytes(shape.group_padded().0 << level)).0
}

/// Root of a group of this size with these bytes of payload, which must fit it.
pub fn group_root(group_padded: PaddedBytes, bytes: &[u8]) -> TreeNode {
    let mut hasher = PieceHasher::new();
    hasher.update(bytes);
    let PieceCommitment { comm_p, mut padded, .. } = hasher.finish();
    let mut root = comm_p.0;
    while padded.0 < group_padded.0 {
        root = hash_pair(&root, &zero_commitment(padded).0);
        padded = PaddedBytes(padded.0 * 2);
    }
    root
}

/// Roots of a piece's groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceGroups {
    shape: PieceShape,
    roots: Vec<TreeNode>,
}

impl PieceGroups {
    /// Reads a piece to its end, once. Gives nothing for a piece larger than the largest sector.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn read(mut reader: impl Read) -> io::Result<Option<PieceGroups>> {
        let mut payload_bytes = 0;
        let mut roots = Vec::new();
        let mut buffer = Vec::new();
        // A piece of less than a group is as small as its payload, which is known at its end alone.
        let whole = PieceShape::of(GROUP_BYTES).expect("a group fits");
        loop {
            buffer.clear();
            reader.by_ref().take(GROUP_BYTES).read_to_end(&mut buffer)?;
            payload_bytes += buffer.len() as u64;
            let Some(shape) = PieceShape::of(payload_bytes) else { return Ok(None) };
            let first = roots.is_empty();
            let ended = (buffer.len() as u64) < GROUP_BYTES;
            if first && ended {
                roots.push(group_root(shape.group_padded(), &buffer));
            } else if !buffer.is_empty() {
                roots.push(group_root(whole.group_padded(), &buffer));
            }
            if ended {
                return Ok(Some(PieceGroups { shape, roots }));
            }
        }
    }

    /// The commitment that the groups lead to.
    pub fn commitment(&self) -> PieceCommitment {
        let top = self.levels().pop().expect("the groups are a level themselves");
        let (payload_bytes, padded) = (self.shape.payload_bytes(), self.shape.padded());
        PieceCommitment { comm_p: CommP(top[0]), payload_bytes, padded }
    }

    /// The roots one after another, 32 bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.roots.concat()
    }

    /// Takes what [`PieceGroups::to_bytes`] gave; nothing unless it leads to `commitment`.
    pub fn from_bytes(bytes: &[u8], commitment: &PieceCommitment) -> Option<PieceGroups> {
        let shape = PieceShape::of(commitment.payload_bytes)?;
        if bytes.len() as u64 != shape.filled() * 32 {
            return None;
        }
        let roots = bytes.as_chunks::<32>().0.to_vec();
        let groups = PieceGroups { shape, roots };
        (groups.commitment() == *commitment).then_some(groups)
    }

    /// The proof for the groups around a range of payload, which must not be empty and must lie in the payload.
    pub fn prove(&self, range: Range<u64>) -> Option<RangeProof> {
        if range.start >= range.end || range.end > self.shape.payload_bytes() {
            return None;
        }
        let (first, end) = (range.start / GROUP_BYTES, range.end.div_ceil(GROUP_BYTES));
        let levels = self.levels();
        let sibling = |level: usize, place: u64| {
            let known = levels[level].get(place as usize).copied();
            known.unwrap_or_else(|| zeros(self.shape, level as u32))
        };
        let roots = self.roots[first as usize..end as usize].to_vec();
        Some(RangeProof::assemble(self.shape, first, roots, sibling))
    }

    /// The root of a group, if it has payload.
    pub fn root(&self, group: u64) -> Option<TreeNode> {
        self.roots.get(usize::try_from(group).ok()?).copied()
    }

    /// Where the groups lie.
    pub fn shape(&self) -> PieceShape {
        self.shape
    }

    /// All levels from the groups to the root, without the zeros at their ends.
    fn levels(&self) -> Vec<Vec<TreeNode>> {
        let mut levels = vec![self.roots.clone()];
        for level in 0..self.shape.groups().ilog2() {
            let zeros = zeros(self.shape, level);
            let below = levels.last().expect("there is a level");
            let up = below.chunks(2).map(|pair| hash_pair(&pair[0], pair.get(1).unwrap_or(&zeros))).collect();
            levels.push(up);
        }
        levels
    }
}

/// Bytes beside the proof that they belong to a piece.
pub trait CheckGroup {
    /// Checks the bytes of one group.
    ///
    /// # Errors
    /// [`RangeProofRejection::Group`] names a group with wrong bytes.
    fn check(&self, group: u64, bytes: &[u8]) -> Result<(), RangeProofRejection>;
}

impl CheckGroup for VerifiedGroups {
    fn check(&self, group: u64, bytes: &[u8]) -> Result<(), RangeProofRejection> {
        let groups = self.groups();
        let absent = RangeProofRejection::Absent { group, first: groups.start, last: groups.end - 1 };
        let root = self.root(group).ok_or(absent)?;
        let place = self.bytes(group);
        let (expected, got) = (place.end - place.start, bytes.len() as u64);
        if expected != got {
            return Err(RangeProofRejection::GroupLength { group, expected, got });
        }
        if group_root(self.shape().group_padded(), bytes) == root {
            Ok(())
        } else {
            Err(RangeProofRejection::Group { group, offset: place.start })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A payload without two equal groups.
    fn payload(bytes: u64) -> Vec<u8> {
        (0..bytes).map(|at| (at ^ (at >> 8) ^ (at / GROUP_BYTES * 7)) as u8).collect()
    }

    fn groups(payload: &[u8]) -> PieceGroups {
        PieceGroups::read(payload).unwrap().unwrap()
    }

    fn naive(payload: &[u8]) -> PieceCommitment {
        let mut hasher = PieceHasher::new();
        hasher.update(payload);
        hasher.finish()
    }

    #[test]
    fn groups_lead_to_the_commitment_of_the_whole() {
        for bytes in [
            0,
            1,
            127,
            128,
            65_000,
            GROUP_BYTES - 1,
            GROUP_BYTES,
            GROUP_BYTES + 1,
            3 * GROUP_BYTES,
            5 * GROUP_BYTES - 77,
        ] {
            let payload = payload(bytes);
            let groups = groups(&payload);
            assert_eq!(groups.commitment(), naive(&payload), "{bytes} bytes");
            assert_eq!(PieceGroups::from_bytes(&groups.to_bytes(), &groups.commitment()), Some(groups.clone()));
            let mut damaged = groups.to_bytes();
            damaged[0] ^= 1;
            assert_eq!(PieceGroups::from_bytes(&damaged, &groups.commitment()), None);
        }
    }

    #[test]
    fn every_run_of_groups_is_proven_and_every_flipped_byte_is_seen() {
        let payload = payload(5 * GROUP_BYTES - 77);
        let groups = groups(&payload);
        let comm_p = groups.commitment().comm_p;
        for first in 0..5u64 {
            for end in first + 1..=5 {
                let last = (end * GROUP_BYTES - 1).min(payload.len() as u64 - 1);
                let proof = groups.prove(first * GROUP_BYTES + 5..last + 1).unwrap();
                let encoded = proof.encode();
                assert_eq!(RangeProof::decode(&encoded).unwrap(), proof);
                assert_eq!(proof.bytes(), first * GROUP_BYTES..(end * GROUP_BYTES).min(payload.len() as u64));
                proof.verify(&comm_p).unwrap();
            }
        }
        let proof = groups.prove(2 * GROUP_BYTES..2 * GROUP_BYTES + 1).unwrap();
        let encoded = proof.encode();
        // From the roots on, every byte counts; before, the numbers contradict each other or the length.
        for at in 0..encoded.len() {
            let mut other = encoded.clone();
            other[at] ^= 1;
            let accepted = RangeProof::decode(&other).and_then(|proof| proof.verify(&comm_p));
            // Only the length of the payload, as long as it is padded to the same size, is not bound by CommP.
            assert!(accepted.is_err() || (8..16).contains(&at), "byte {at}");
        }
    }

    #[test]
    fn bytes_are_checked_group_by_group() {
        let payload = payload(3 * GROUP_BYTES + 1000);
        let groups = groups(&payload);
        let comm_p = groups.commitment().comm_p;
        let proof = groups.prove(GROUP_BYTES + 1..payload.len() as u64).unwrap();
        let verified = proof.verify(&comm_p).unwrap();
        assert_eq!(verified.groups(), 1..4);
        for group in 1..4 {
            let place = verified.bytes(group);
            let mut bytes = payload[place.start as usize..place.end as usize].to_vec();
            verified.check(group, &bytes).unwrap();
            bytes[7] ^= 1;
            let wrong = RangeProofRejection::Group { group, offset: group * GROUP_BYTES };
            assert_eq!(verified.check(group, &bytes), Err(wrong));
            bytes.pop();
            assert!(matches!(verified.check(group, &bytes), Err(RangeProofRejection::GroupLength { .. })));
        }
        assert!(matches!(verified.check(0, &[]), Err(RangeProofRejection::Absent { .. })));
        for range in [0..0, 5..5, 0..payload.len() as u64 + 1, u64::MAX - 1..u64::MAX] {
            assert_eq!(groups.prove(range), None);
        }
        let other = CommP([0; 32]);
        let proof = groups.prove(0..1).unwrap();
        assert!(matches!(proof.verify(&other), Err(RangeProofRejection::Root { .. })));
    }
}
