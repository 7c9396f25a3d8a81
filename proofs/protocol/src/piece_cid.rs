//! CIDs that carry commitments (`spec/proofs.md` 1.3; FRC-0069 for version 2).
//!
//! | what | codec | multihash | digest |
//! | --- | --- | --- | --- |
//! | piece, version 1 (and CommD) | 0xf101 | 0x1012 | 32-byte root |
//! | piece, version 2 | 0x55 raw | 0x1011 | varint padding, u8 tree height, 32-byte root |
//! | sealed sector | 0xf102 | 0xb401 | 32-byte CommR |
//!
//! In version 2 *padding* is the zero bytes appended to the payload, before fr32, to reach 127·2^k; the height is
//! log2 of the padded size in nodes. So it also tells the exact payload length, which version 1 does not.

use cid::Cid;
use multihash::Multihash;

use crate::{CommP, CommR, PaddedBytes, UnpaddedBytes};

const CODEC_UNSEALED: u64 = 0xf101;
const CODEC_SEALED: u64 = 0xf102;
const CODEC_RAW: u64 = 0x55;
const HASH_PIECE_V2: u64 = 0x1011;
const HASH_SHA256_TRUNC254_PADDED: u64 = 0x1012;
const HASH_POSEIDON_A2_FC1: u64 = 0xb401;

/// Height of the smallest piece tree: 128 bytes are 4 nodes.
const HEIGHT_MIN: u8 = 2;
/// Highest tree accepted: 2^50 nodes, far above every sector.
const HEIGHT_MAX: u8 = 50;

/// What a piece CID says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceCid {
    /// The commitment.
    pub comm_p: CommP,
    /// Payload length and padded size, which only version 2 carries.
    pub size: Option<PieceCidSize>,
}

/// The sizes in a version 2 piece CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceCidSize {
    /// Exact bytes of the payload.
    pub payload_bytes: u64,
    /// Size of the piece in the sector.
    pub padded: PaddedBytes,
}

/// Why a CID is no piece CID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParsePieceCidError {
    /// Another kind of CID.
    #[error(
        "expected a piece CID (codec 0xf101 with hash 0x1012, or codec 0x55 with hash 0x1011), got codec {codec:#x} with hash {hash:#x}"
    )]
    Kind {
        /// Codec found.
        codec: u64,
        /// Multihash code found.
        hash: u64,
    },
    /// A digest of the wrong length.
    #[error("piece CID: expected a digest of {expected} bytes, got {got}")]
    DigestLength {
        /// Bytes required.
        expected: usize,
        /// Bytes found.
        got: usize,
    },
    /// The padding is no canonical varint.
    #[error("piece CID: the padding is no canonical varint")]
    Padding,
    /// Height out of range.
    #[error("piece CID: expected a tree height of {HEIGHT_MIN} to {HEIGHT_MAX}, got {got}")]
    Height {
        /// Height found.
        got: u8,
    },
    /// More padding than the piece has room for.
    #[error("piece CID: padding of {padding} bytes does not fit a piece of {unpadded} bytes")]
    PaddingTooLarge {
        /// Padding found.
        padding: u64,
        /// Unpadded bytes of the piece.
        unpadded: u64,
    },
}

fn cid_v1(codec: u64, hash: u64, digest: &[u8]) -> Cid {
    let multihash = Multihash::wrap(hash, digest).expect("every digest here is shorter than 64 bytes");
    Cid::new_v1(codec, multihash)
}

/// Version 1: the commitment alone.
pub fn piece_cid_v1(comm_p: &CommP) -> Cid {
    cid_v1(CODEC_UNSEALED, HASH_SHA256_TRUNC254_PADDED, comm_p.as_bytes())
}

/// Version 2: the commitment with the payload's exact length and the size of its tree.
///
/// # Panics
/// If the payload does not fit a piece of `padded` bytes, which is the caller's own arithmetic gone wrong.
pub fn piece_cid_v2(comm_p: &CommP, payload_bytes: u64, padded: PaddedBytes) -> Cid {
    assert!(padded.is_piece_size(), "{padded} is no piece size");
    let padding = padded.to_unpadded().0.checked_sub(payload_bytes).expect("the payload fits its piece");
    let mut buffer = unsigned_varint::encode::u64_buffer();
    let mut digest = unsigned_varint::encode::u64(padding, &mut buffer).to_vec();
    digest.push(padded.nodes().ilog2() as u8);
    digest.extend_from_slice(comm_p.as_bytes());
    cid_v1(CODEC_RAW, HASH_PIECE_V2, &digest)
}

/// CID of a sealed sector.
pub fn sealed_cid(comm_r: &CommR) -> Cid {
    cid_v1(CODEC_SEALED, HASH_POSEIDON_A2_FC1, comm_r.as_bytes())
}

/// Reads a piece CID of either version.
///
/// # Errors
/// [`ParsePieceCidError`] says what is not as it must be.
pub fn parse_piece_cid(cid: &Cid) -> Result<PieceCid, ParsePieceCidError> {
    match (cid.codec(), cid.hash().code()) {
        (CODEC_UNSEALED, HASH_SHA256_TRUNC254_PADDED) => {
            Ok(PieceCid { comm_p: CommP(digest32(cid.hash().digest())?), size: None })
        }
        (CODEC_RAW, HASH_PIECE_V2) => parse_v2(cid.hash().digest()),
        (codec, hash) => Err(ParsePieceCidError::Kind { codec, hash }),
    }
}

fn digest32(digest: &[u8]) -> Result<[u8; 32], ParsePieceCidError> {
    digest.try_into().map_err(|_| ParsePieceCidError::DigestLength { expected: 32, got: digest.len() })
}

fn parse_v2(digest: &[u8]) -> Result<PieceCid, ParsePieceCidError> {
    let (padding, rest) = unsigned_varint::decode::u64(digest).map_err(|_| ParsePieceCidError::Padding)?;
    // The decoder drops bits beyond the 64th, which would give one number several encodings.
    let mut buffer = unsigned_varint::encode::u64_buffer();
    if !digest.starts_with(unsigned_varint::encode::u64(padding, &mut buffer)) {
        return Err(ParsePieceCidError::Padding);
    }
    let (height, root) = rest.split_first().ok_or(ParsePieceCidError::DigestLength { expected: 33, got: 0 })?;
    let comm_p = CommP(digest32(root)?);
    if !(HEIGHT_MIN..=HEIGHT_MAX).contains(height) {
        return Err(ParsePieceCidError::Height { got: *height });
    }
    let padded = PaddedBytes(32 << height);
    let UnpaddedBytes(unpadded) = padded.to_unpadded();
    let payload_bytes =
        unpadded.checked_sub(padding).ok_or(ParsePieceCidError::PaddingTooLarge { padding, unpadded })?;
    Ok(PieceCid { comm_p, size: Some(PieceCidSize { payload_bytes, padded }) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comm(hex: &str) -> CommP {
        hex.parse().unwrap()
    }

    const ZERO_128: &str = "3731bb99ac689f66eef5973e4a94da188f4ddcae580724fc6f3fd60dfd488333";
    const ZERO_32_GIB: &str = "077e5fde35c50a9303a55009e3498a4ebedff39c42b710b730d8ec7ac7afa63e";

    #[test]
    fn published_version_2_cids() {
        // FRC-0069's vectors, `spec/market.md` 2.6.
        let cases = [
            (ZERO_128, 0, 128, "bafkzcibcp4bdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigmy"),
            (ZERO_128, 127, 128, "bafkzcibcaabdomn3tgwgrh3g532zopskstnbrd2n3sxfqbze7rxt7vqn7veigmy"),
            (
                ZERO_32_GIB,
                (32 << 30) / 128 * 127,
                32 << 30,
                "bafkzcibcaapao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq",
            ),
        ];
        for (root, payload_bytes, padded, expected) in cases {
            let cid = piece_cid_v2(&comm(root), payload_bytes, PaddedBytes(padded));
            assert_eq!(cid.to_string(), expected);
            let size = Some(PieceCidSize { payload_bytes, padded: PaddedBytes(padded) });
            assert_eq!(parse_piece_cid(&cid), Ok(PieceCid { comm_p: comm(root), size }));
        }
    }

    #[test]
    fn version_1_and_sealed_prefixes() {
        let bytes = piece_cid_v1(&comm(ZERO_128)).to_bytes();
        assert_eq!(hex::encode(&bytes[..7]), "0181e203922020");
        assert_eq!(hex::encode(&sealed_cid(&CommR([1; 32])).to_bytes()[..8]), "0182e20381e80220");
        assert_eq!(
            parse_piece_cid(&piece_cid_v1(&comm(ZERO_128))),
            Ok(PieceCid { comm_p: comm(ZERO_128), size: None })
        );
    }

    #[test]
    fn foreign_cids_are_refused_by_name() {
        assert!(matches!(parse_piece_cid(&sealed_cid(&CommR([1; 32]))), Err(ParsePieceCidError::Kind { .. })));
        let short = cid_v1(CODEC_RAW, HASH_PIECE_V2, &[0, 2, 1, 2, 3]);
        assert_eq!(parse_piece_cid(&short), Err(ParsePieceCidError::DigestLength { expected: 32, got: 3 }));
        let mut digest = vec![127, 2];
        digest.extend([0; 32]);
        assert!(parse_piece_cid(&cid_v1(CODEC_RAW, HASH_PIECE_V2, &digest)).is_ok());
        let mut twice = digest.clone();
        twice.splice(..1, [0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]);
        assert_eq!(
            parse_piece_cid(&cid_v1(CODEC_RAW, HASH_PIECE_V2, &twice)),
            Err(ParsePieceCidError::Padding),
            "a second encoding of 127"
        );
        digest.splice(..1, [128, 1]);
        assert_eq!(
            parse_piece_cid(&cid_v1(CODEC_RAW, HASH_PIECE_V2, &digest)),
            Err(ParsePieceCidError::PaddingTooLarge { padding: 128, unpadded: 127 })
        );
    }
}
