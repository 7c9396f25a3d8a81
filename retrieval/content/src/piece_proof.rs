//! Proofs that a range of bytes belongs to a piece, by subtrees of the tree behind CommP.
//!
//! 1. A piece is cut into *groups*: subtrees of 1 MiB padded, which is 127 · 8192 = 1,040,384 bytes of payload. The last may
//!    end early, the rest of it and all groups after it are zeros; a piece below that size is one group.
//! 2. [`PieceGroups`] holds the root of each group with payload: 32 bytes for 1 MiB. They are made in the pass that makes
//!    CommP and kept beside the dataset, so a proof costs some hashes and no reading.
//! 3. [`RangeProof`] has the roots of the groups around a range, and the siblings from there up to CommP.
//!    [`RangeProof::verify`] checks them against a commitment; then [`VerifiedGroups::check`] checks the bytes of each group
//!    alone, as they come by an ordinary range of `/piece/{cid}`, and names the one that is wrong.
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

use std::io::{self, Read};
use std::ops::Range;

use cairn_protocol::{CommP, PaddedBytes, UnpaddedBytes};
use cairn_sector::pieces::{PieceCommitment, PieceHasher, zero_commitment};
use cairn_sector::sha256::hash_pair;

/// Payload bytes of a whole group.
pub const GROUP_BYTES: u64 = 127 * 8192;
/// Padded bytes of a whole group.
const GROUP_PADDED: u64 = 1 << 20;
/// Padded bytes of the largest piece that proofs are about: the largest sector.
const PIECE_PADDED_MAX: u64 = 64 << 30;

const MAGIC: &[u8; 8] = b"CAIRNRP1";
const HEADER_BYTES: usize = 36;

type Node = [u8; 32];

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
struct Shape {
    payload_bytes: u64,
    padded: PaddedBytes,
}

impl Shape {
    fn of(payload_bytes: u64) -> Option<Shape> {
        let padded = UnpaddedBytes::piece_for(payload_bytes)?.to_padded();
        (padded.0 <= PIECE_PADDED_MAX).then_some(Shape { payload_bytes, padded })
    }

    fn group_padded(self) -> u64 {
        self.padded.0.min(GROUP_PADDED)
    }

    /// Groups of the whole tree, a power of two.
    fn groups(self) -> u64 {
        self.padded.0 / self.group_padded()
    }

    /// Groups with payload, and at least one.
    fn filled(self) -> u64 {
        self.payload_bytes.div_ceil(GROUP_BYTES).max(1)
    }

    fn payload(self, group: u64) -> Range<u64> {
        let start = (group * GROUP_BYTES).min(self.payload_bytes);
        start..((group + 1) * GROUP_BYTES).min(self.payload_bytes)
    }

    /// Root of a subtree of zeros that is `level` levels above the groups.
    fn zeros(self, level: u32) -> Node {
        zero_commitment(PaddedBytes(self.group_padded() << level)).0
    }

    /// Root of a group with these bytes of payload.
    fn group_root(self, bytes: &[u8]) -> Node {
        let mut hasher = PieceHasher::new();
        hasher.update(bytes);
        let PieceCommitment { comm_p, mut padded, .. } = hasher.finish();
        let mut root = comm_p.0;
        while padded.0 < self.group_padded() {
            root = hash_pair(&root, &zero_commitment(padded).0);
            padded = PaddedBytes(padded.0 * 2);
        }
        root
    }
}

/// Roots of a piece's groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceGroups {
    shape: Shape,
    roots: Vec<Node>,
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
        let whole = Shape { payload_bytes: 0, padded: PaddedBytes(GROUP_PADDED) };
        loop {
            buffer.clear();
            reader.by_ref().take(GROUP_BYTES).read_to_end(&mut buffer)?;
            payload_bytes += buffer.len() as u64;
            let Some(shape) = Shape::of(payload_bytes) else { return Ok(None) };
            let first = roots.is_empty();
            let ended = (buffer.len() as u64) < GROUP_BYTES;
            if first && ended {
                roots.push(shape.group_root(&buffer));
            } else if !buffer.is_empty() {
                roots.push(whole.group_root(&buffer));
            }
            if ended {
                return Ok(Some(PieceGroups { shape, roots }));
            }
        }
    }

    /// The commitment that the groups lead to.
    pub fn commitment(&self) -> PieceCommitment {
        let top = self.levels().pop().expect("the groups are a level themselves");
        let Shape { payload_bytes, padded } = self.shape;
        PieceCommitment { comm_p: CommP(top[0]), payload_bytes, padded }
    }

    /// The roots one after another, 32 bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.roots.concat()
    }

    /// Takes what [`PieceGroups::to_bytes`] gave; nothing unless it leads to `commitment`.
    pub fn from_bytes(bytes: &[u8], commitment: &PieceCommitment) -> Option<PieceGroups> {
        let shape = Shape::of(commitment.payload_bytes)?;
        if bytes.len() as u64 != shape.filled() * 32 {
            return None;
        }
        let roots = bytes.as_chunks::<32>().0.to_vec();
        let groups = PieceGroups { shape, roots };
        (groups.commitment() == *commitment).then_some(groups)
    }

    /// The proof for the groups around a range of payload, which must not be empty and must lie in the payload.
    pub fn prove(&self, range: Range<u64>) -> Option<RangeProof> {
        if range.start >= range.end || range.end > self.shape.payload_bytes {
            return None;
        }
        let (first, end) = (range.start / GROUP_BYTES, range.end.div_ceil(GROUP_BYTES));
        let levels = self.levels();
        let mut siblings = Vec::new();
        for (level, (left, right)) in sibling_places(first, end, self.shape.groups()).into_iter().enumerate() {
            let node = |place: u64| {
                let known = levels[level].get(place as usize).copied();
                known.unwrap_or_else(|| self.shape.zeros(level as u32))
            };
            siblings.extend([left, right].into_iter().flatten().map(node));
        }
        let roots = self.roots[first as usize..end as usize].to_vec();
        Some(RangeProof { shape: self.shape, first, roots, siblings })
    }

    /// All levels from the groups to the root, without the zeros at their ends.
    fn levels(&self) -> Vec<Vec<Node>> {
        let mut levels = vec![self.roots.clone()];
        for level in 0..self.shape.groups().ilog2() {
            let zeros = self.shape.zeros(level);
            let below = levels.last().expect("there is a level");
            let up = below.chunks(2).map(|pair| hash_pair(&pair[0], pair.get(1).unwrap_or(&zeros))).collect();
            levels.push(up);
        }
        levels
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
    shape: Shape,
    first: u64,
    roots: Vec<Node>,
    siblings: Vec<Node>,
}

impl RangeProof {
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
        let shape =
            Shape::of(payload_bytes).ok_or(number("expected a payload within the largest sector", payload_bytes))?;
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
            let nodes: Vec<Node> = left.into_iter().chain(run).chain(right).collect();
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
        self.0.first..self.0.first + self.0.roots.len() as u64
    }

    /// Bytes of the piece that belong to a group.
    pub fn bytes(&self, group: u64) -> Range<u64> {
        self.0.shape.payload(group)
    }

    /// Checks the bytes of one group.
    ///
    /// # Errors
    /// [`RangeProofRejection::Group`] names a group with wrong bytes.
    pub fn check(&self, group: u64, bytes: &[u8]) -> Result<(), RangeProofRejection> {
        let groups = self.groups();
        if !groups.contains(&group) {
            return Err(RangeProofRejection::Absent { group, first: groups.start, last: groups.end - 1 });
        }
        let place = self.bytes(group);
        let (expected, got) = (place.end - place.start, bytes.len() as u64);
        if expected != got {
            return Err(RangeProofRejection::GroupLength { group, expected, got });
        }
        let root = &self.0.roots[(group - groups.start) as usize];
        if self.0.shape.group_root(bytes) == *root {
            Ok(())
        } else {
            Err(RangeProofRejection::Group { group, offset: place.start })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
