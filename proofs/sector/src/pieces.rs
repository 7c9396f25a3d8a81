//! Commitments to pieces and to the data of a sector (`spec/proofs.md` 1.2).
//!
//! CommP is the root of a binary tree: leaves are the 32-byte words of the fr32-padded payload, not hashed; a parent is
//! the SHA-256 of its two children, cut to 254 bits. A payload is filled up with zeros to 127·2^k bytes. The tree is
//! built as a stack of complete subtrees, so memory grows with the logarithm of the payload.
//!
//! CommD is the same tree over the sector: every piece stands at a multiple of its own size, zeros fill the gaps.

use cairn_compute::Node;
use cairn_protocol::{CommD, CommP, PaddedBytes, PieceInfo, SectorSize, UnpaddedBytes};

use crate::fr32::{Padder, QUAD_PADDED_BYTES};
use crate::sha256::hash_pair;

/// Levels of the largest tree: a 64 GiB sector has 2^31 nodes.
const LEVELS_MAX: usize = 58;

/// Pieces that do not make a sector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PieceRejection {
    /// A size that is not 128·2^k.
    #[error("piece {index}: expected a padded size that is a power of two of at least 128 bytes, got {got}")]
    Size {
        /// Position in the list.
        index: usize,
        /// Padded bytes given.
        got: u64,
    },
    /// The pieces, aligned, need more room than the sector has.
    #[error("piece {index}: ends at byte {end} of a sector of {sector} padded bytes")]
    Overflow {
        /// First piece that does not fit.
        index: usize,
        /// Where it would end.
        end: u64,
        /// Padded bytes of the sector.
        sector: u64,
    },
    /// A commitment that is no field element of 254 bits, so no tree has it as a root.
    #[error("piece {index}: CommP has its top bits set: {comm_p}")]
    CommP {
        /// Position in the list.
        index: usize,
        /// The value given.
        comm_p: CommP,
    },
}

/// Result of committing to a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceCommitment {
    /// The commitment.
    pub comm_p: CommP,
    /// Bytes of payload, without the zeros that fill it up.
    pub payload_bytes: u64,
    /// Size of the piece in a sector.
    pub padded: PaddedBytes,
}

impl PieceCommitment {
    /// The piece as sectors know it.
    pub fn info(&self) -> PieceInfo {
        PieceInfo { comm_p: self.comm_p, size: self.padded }
    }
}

/// Streams a payload of any length into its CommP.
#[derive(Debug, Clone, Default)]
pub struct PieceHasher {
    padder: Padder,
    tree: TreeHasher,
    payload_bytes: u64,
}

impl PieceHasher {
    /// An empty payload.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends payload.
    pub fn update(&mut self, payload: &[u8]) {
        self.payload_bytes += payload.len() as u64;
        let tree = &mut self.tree;
        let Ok(()) = self.padder.update(payload, |quad| {
            tree.push_quad(quad);
            Ok::<_, std::convert::Infallible>(())
        });
    }

    /// The commitment to everything appended, filled up with zeros to a piece size.
    ///
    /// # Panics
    /// If more than 2^57 bytes were appended.
    pub fn finish(mut self) -> PieceCommitment {
        if let Some(quad) = self.padder.finish() {
            self.tree.push_quad(&quad);
        }
        let padded = UnpaddedBytes::piece_for(self.payload_bytes).expect("a payload below 2^57 bytes").to_padded();
        let comm_p = CommP(self.tree.finish_at(padded.nodes().ilog2() as usize));
        PieceCommitment { comm_p, payload_bytes: self.payload_bytes, padded }
    }
}

/// A binary tree as a stack of complete subtrees: `roots[k]` is a subtree of 2^k leaves that waits for its right sibling.
#[derive(Debug, Clone, Default)]
struct TreeHasher {
    roots: Vec<Option<Node>>,
}

impl TreeHasher {
    fn push_quad(&mut self, quad: &[u8; QUAD_PADDED_BYTES]) {
        let word = |index: usize| -> &Node { quad[index * 32..][..32].try_into().expect("four words of 32 bytes") };
        let left = hash_pair(word(0), word(1));
        let right = hash_pair(word(2), word(3));
        self.push(2, hash_pair(&left, &right));
    }

    /// Appends a complete subtree of 2^level leaves; everything before it must be a multiple of that.
    fn push(&mut self, mut level: usize, mut root: Node) {
        loop {
            if self.roots.len() <= level {
                self.roots.resize(level + 1, None);
            }
            match self.roots[level].take() {
                Some(left) => {
                    root = hash_pair(&left, &root);
                    level += 1;
                }
                None => {
                    self.roots[level] = Some(root);
                    return;
                }
            }
        }
    }

    /// Fills up with zeros to 2^level leaves and gives the root.
    fn finish_at(self, level: usize) -> Node {
        let mut waiting: Option<Node> = None;
        let mut zero = [0u8; 32];
        for depth in 0..level {
            let left = self.roots.get(depth).copied().flatten();
            waiting = match (left, waiting) {
                (Some(left), Some(right)) => Some(hash_pair(&left, &right)),
                (Some(left), None) => Some(hash_pair(&left, &zero)),
                (None, Some(right)) => Some(hash_pair(&right, &zero)),
                (None, None) => None,
            };
            zero = hash_pair(&zero, &zero);
        }
        self.roots.get(level).copied().flatten().or(waiting).unwrap_or(zero)
    }
}

/// Commitment to a piece of nothing but zeros.
///
/// # Panics
/// If the size is not a power of two of at least 32 bytes.
pub fn zero_commitment(size: PaddedBytes) -> CommP {
    assert!(size.0 >= 32 && size.0.is_power_of_two(), "{size} is no subtree");
    CommP((0..size.nodes().ilog2()).fold([0u8; 32], |zero, _| hash_pair(&zero, &zero)))
}

/// Where each piece starts in a sector, in padded bytes: at the next multiple of its own size.
///
/// # Errors
/// [`PieceRejection`] names the first piece with a wrong size, or the first that does not fit.
pub fn piece_offsets(sector_size: SectorSize, pieces: &[PieceInfo]) -> Result<Vec<PaddedBytes>, PieceRejection> {
    let sector = sector_size.bytes();
    let mut end = 0u64;
    let mut offsets = Vec::with_capacity(pieces.len());
    for (index, piece) in pieces.iter().enumerate() {
        if !piece.size.is_piece_size() {
            return Err(PieceRejection::Size { index, got: piece.size.0 });
        }
        let overflow = |end| PieceRejection::Overflow { index, end, sector };
        if piece.size.0 > sector {
            return Err(overflow(piece.size.0));
        }
        let offset = end.next_multiple_of(piece.size.0);
        end = offset + piece.size.0;
        if end > sector {
            return Err(overflow(end));
        }
        offsets.push(PaddedBytes(offset));
    }
    Ok(offsets)
}

/// CommD of a sector that holds `pieces` in order, aligned, with zeros everywhere else.
///
/// # Errors
/// [`PieceRejection`] names the first piece that cannot be in the sector.
pub fn comm_d(sector_size: SectorSize, pieces: &[PieceInfo]) -> Result<CommD, PieceRejection> {
    let (tree, _) = tree_of(sector_size, pieces)?;
    Ok(CommD(tree.finish_at(sector_size.nodes().ilog2() as usize)))
}

/// Root of the smallest tree that holds `pieces`, aligned, and its size; a whole sector of zeros if there are none.
///
/// This is what the reference implementation calls the sector's data commitment: it leaves it to its caller to fill the
/// rest of the sector, where [`comm_d`] does so itself. The two agree whenever the pieces reach past half the sector.
///
/// # Errors
/// As [`comm_d`].
pub fn aggregate(sector_size: SectorSize, pieces: &[PieceInfo]) -> Result<PieceInfo, PieceRejection> {
    let (tree, filled) = tree_of(sector_size, pieces)?;
    let nodes = if filled == 0 { sector_size.nodes() } else { filled.next_power_of_two() };
    Ok(PieceInfo { comm_p: CommP(tree.finish_at(nodes.ilog2() as usize)), size: PaddedBytes(nodes * 32) })
}

/// The pieces with zeros between them, and the nodes they take up to the end of the last.
fn tree_of(sector_size: SectorSize, pieces: &[PieceInfo]) -> Result<(TreeHasher, u64), PieceRejection> {
    let offsets = piece_offsets(sector_size, pieces)?;
    let zeros = zero_subtrees();
    let mut tree = TreeHasher::default();
    let mut filled = 0u64;
    for (index, (piece, offset)) in pieces.iter().zip(offsets).enumerate() {
        if piece.comm_p.0[31] & 0xc0 != 0 {
            return Err(PieceRejection::CommP { index, comm_p: piece.comm_p });
        }
        while filled < offset.nodes() {
            let level = (filled.trailing_zeros()).min((offset.nodes() - filled).ilog2()) as usize;
            tree.push(level, zeros[level]);
            filled += 1 << level;
        }
        tree.push(piece.size.nodes().ilog2() as usize, piece.comm_p.0);
        filled += piece.size.nodes();
    }
    Ok((tree, filled))
}

fn zero_subtrees() -> [Node; LEVELS_MAX] {
    let mut zeros = [[0u8; 32]; LEVELS_MAX];
    for level in 1..LEVELS_MAX {
        zeros[level] = hash_pair(&zeros[level - 1], &zeros[level - 1]);
    }
    zeros
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn commit(payload: &[u8]) -> PieceCommitment {
        let mut hasher = PieceHasher::new();
        hasher.update(payload);
        hasher.finish()
    }

    /// The whole tree at once, from padded bytes.
    fn root_naive(padded: &[u8]) -> Node {
        let mut row: Vec<Node> = padded.chunks(32).map(|word| word.try_into().unwrap()).collect();
        while row.len() > 1 {
            row = row.chunks(2).map(|pair| hash_pair(&pair[0], &pair[1])).collect();
        }
        row[0]
    }

    fn pad_to(payload: &[u8], padded: PaddedBytes) -> Vec<u8> {
        let mut bytes = payload.to_vec();
        bytes.resize(padded.to_unpadded().0 as usize, 0);
        bytes.chunks(127).flat_map(|quad| crate::fr32::pad_quad_naive(quad.try_into().unwrap())).collect()
    }

    #[test]
    fn golden_pieces() {
        let vectors = cairn_fixtures::pieces();
        for piece in &vectors.pieces {
            let payload = match piece.label.as_str() {
                "zeros" => vec![0; piece.unpadded_bytes as usize],
                label => cairn_fixtures::labelled_data(label, piece.unpadded_bytes as usize),
            };
            let commitment = commit(&payload);
            assert_eq!(commitment.comm_p.0, piece.comm_p, "{} {}", piece.label, piece.unpadded_bytes);
            assert_eq!(commitment.padded.0, piece.padded_bytes);
            let first: [u8; 127] = payload[..127].try_into().unwrap();
            assert_eq!(crate::fr32::pad_quad(&first).to_vec(), piece.fr32_first_128);
            let mut digest = sha2::Sha256::default();
            for quad in payload.chunks(127) {
                sha2::Digest::update(&mut digest, crate::fr32::pad_quad(quad.try_into().unwrap()));
            }
            assert_eq!(<[u8; 32]>::from(sha2::Digest::finalize(digest)), piece.fr32_sha256);
        }
    }

    #[test]
    fn golden_sectors_with_alignment_gaps() {
        for sector in &cairn_fixtures::pieces().sectors {
            let pieces: Vec<_> = sector
                .pieces
                .iter()
                .map(|piece| PieceInfo {
                    comm_p: CommP(piece.comm_p),
                    size: UnpaddedBytes(piece.unpadded_bytes).to_padded(),
                })
                .collect();
            let size = SectorSize::from_bytes(sector.sector_size).unwrap();
            let aggregate = aggregate(size, &pieces).unwrap();
            assert_eq!(aggregate.comm_p.0, sector.comm_d);
            assert_eq!(comm_d(size, &pieces), comm_d(size, &[aggregate]));
            let offsets = piece_offsets(size, &pieces).unwrap();
            let mut end = 0;
            for (piece, (vector, offset)) in pieces.iter().zip(sector.pieces.iter().zip(offsets)) {
                let written = PaddedBytes(offset.0 + piece.size.0 - end).to_unpadded().0;
                assert_eq!(written, vector.bytes_written_with_alignment);
                end = offset.0 + piece.size.0;
            }
        }
    }

    #[test]
    fn published_zero_commitments() {
        let cases = [
            (64, "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb0b"),
            (128, "3731bb99ac689f66eef5973e4a94da188f4ddcae580724fc6f3fd60dfd488333"),
            (2048, "fc7e928296e516faade986b28f92d44a4f24b935485223376a799027bc18f833"),
            (32 << 30, "077e5fde35c50a9303a55009e3498a4ebedff39c42b710b730d8ec7ac7afa63e"),
            (64 << 30, "e64005a6bfe3777953b8ad6ef93f0fca1049b2041654f2a411f7702799cece02"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(zero_commitment(PaddedBytes(bytes)).to_string(), expected);
        }
        let empty = comm_d(SectorSize::GIB32, &[]).unwrap();
        assert_eq!(empty.0, zero_commitment(PaddedBytes(32 << 30)).0);
    }

    #[test]
    fn published_version_2_cid_of_four_quads() {
        // FRC-0069: 127 bytes each of 0, 1, 2, 3.
        let payload: Vec<u8> = (0..4u8).flat_map(|byte| [byte; 127]).collect();
        let commitment = commit(&payload);
        let cid = cairn_protocol::piece_cid_v2(&commitment.comm_p, commitment.payload_bytes, commitment.padded);
        assert_eq!(cid.to_string(), "bafkzcibcaaces3nobte6ezpp4wqan2age2s5yxcatzotcvobhgcmv5wi2xh5mbi");
        let cid = cairn_protocol::piece_cid_v1(&commitment.comm_p);
        assert_eq!(cid.to_string(), "baga6ea4seaqes3nobte6ezpp4wqan2age2s5yxcatzotcvobhgcmv5wi2xh5mbi");
        let cc = commit(&[0xcc; 127]);
        assert_eq!(
            cairn_protocol::piece_cid_v1(&cc.comm_p).to_string(),
            "baga6ea4seaqmfldjtozgne6adk7eve2vdxte7vzlivae7nzsbrawobo546zkijq"
        );
    }

    #[test]
    fn pieces_that_cannot_be_in_the_sector() {
        let piece = |size| PieceInfo { comm_p: zero_commitment(PaddedBytes(128)), size: PaddedBytes(size) };
        let size = SectorSize::KIB2;
        assert_eq!(comm_d(size, &[piece(100)]), Err(PieceRejection::Size { index: 0, got: 100 }));
        assert_eq!(
            comm_d(size, &[piece(128), piece(2048)]),
            Err(PieceRejection::Overflow { index: 1, end: 4096, sector: 2048 })
        );
        assert!(matches!(comm_d(size, &[piece(1 << 63)]), Err(PieceRejection::Overflow { .. })));
        let high = PieceInfo { comm_p: CommP([0xff; 32]), size: PaddedBytes(128) };
        assert!(matches!(comm_d(size, &[high]), Err(PieceRejection::CommP { index: 0, .. })));
    }

    proptest! {
        #[test]
        fn streaming_equals_the_whole_tree(payload in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let commitment = commit(&payload);
            prop_assert_eq!(commitment.comm_p.0, root_naive(&pad_to(&payload, commitment.padded)));
        }

        #[test]
        fn comm_d_equals_the_tree_over_the_sector(exponents in proptest::collection::vec(0u32..4, 0..5)) {
            let size = SectorSize::KIB2;
            let mut sector = vec![0u8; 2048];
            let mut pieces = vec![];
            for (index, exponent) in exponents.into_iter().enumerate() {
                let payload = cairn_fixtures::labelled_data(&format!("piece {index}"), 127 << exponent);
                let piece = commit(&payload).info();
                let mut longer = pieces.clone();
                longer.push(piece);
                let Ok(offsets) = piece_offsets(size, &longer) else { break };
                let offset = offsets.last().unwrap().0 as usize;
                let padded = pad_to(&payload, piece.size);
                sector[offset..offset + padded.len()].copy_from_slice(&padded);
                pieces = longer;
            }
            prop_assert_eq!(comm_d(size, &pieces).unwrap().0, root_naive(&sector));
        }
    }
}
