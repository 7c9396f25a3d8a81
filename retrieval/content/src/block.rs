//! Blocks and their names.
//!
//! A block is at most 2 MiB and named by a CIDv1 with SHA-256. Only two codecs occur in a dataset: `raw` (leaves, plain
//! bytes of a file) and `dag-pb` (interior nodes: files of several leaves, folders). Inside this crate a block's name is a
//! [`BlockId`], 33 bytes on the stack; a [`Cid`] appears at the edges only.

use cid::Cid;
use cid::multihash::Multihash;
use sha2::{Digest, Sha256};

/// Bytes of a full leaf: 1 MiB (profile `unixfs-v1-2025`). The last leaf of a file may be shorter.
pub const LEAF_BYTES: u64 = 1 << 20;

/// Most links that one interior node of a file holds (profile `unixfs-v1-2025`).
pub const LINKS_PER_NODE: usize = 1024;

/// Most bytes of one block: 2 MiB, the limit of trustless gateways and their clients.
pub const MAX_BLOCK_BYTES: usize = 2 << 20;

/// Bytes of a CIDv1 with SHA-256: version, codec, hash code, digest length (one byte each) and the digest.
pub(crate) const CID_BYTES: usize = 36;

pub(crate) const SHA2_256: u64 = 0x12;
const SHA2_256_BYTES: u8 = 32;

const _: () = assert!(LEAF_BYTES as usize <= MAX_BLOCK_BYTES);

/// How the bytes of a block are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Plain bytes of a file (multicodec 0x55).
    Raw,
    /// A dag-pb node: a file of several leaves, or a folder (multicodec 0x70).
    DagPb,
}

impl Codec {
    /// The multicodec number.
    pub fn code(self) -> u64 {
        match self {
            Codec::Raw => 0x55,
            Codec::DagPb => 0x70,
        }
    }
}

/// Name of a block of a dataset: codec and SHA-256 digest, the variable part of its CID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId {
    /// How the block is to be read.
    pub codec: Codec,
    /// SHA-256 of the block's bytes.
    pub digest: [u8; 32],
}

impl BlockId {
    /// Name of `bytes` under `codec`.
    pub fn of(codec: Codec, bytes: &[u8]) -> BlockId {
        BlockId { codec, digest: Sha256::digest(bytes).into() }
    }

    /// The CIDv1.
    pub fn cid(&self) -> Cid {
        let hash = Multihash::wrap(SHA2_256, &self.digest).expect("a 32-byte digest fits a multihash of 64");
        Cid::new_v1(self.codec.code(), hash)
    }

    /// The CIDv1 in bytes, as it stands in links and archives.
    pub(crate) fn cid_bytes(&self) -> [u8; CID_BYTES] {
        let mut bytes = [0; CID_BYTES];
        bytes[0] = 1;
        bytes[1] = self.codec.code() as u8;
        bytes[2] = SHA2_256 as u8;
        bytes[3] = SHA2_256_BYTES;
        bytes[4..].copy_from_slice(&self.digest);
        bytes
    }
}

impl std::fmt::Debug for BlockId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.cid())
    }
}

impl std::fmt::Display for BlockId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.cid())
    }
}

impl TryFrom<&Cid> for BlockId {
    type Error = BlockRejection;

    /// Refuses CIDs that cannot name a block of a dataset: version 0, other codecs, other hashes.
    fn try_from(cid: &Cid) -> Result<BlockId, BlockRejection> {
        let digest = sha256_digest(cid)?;
        let codec = match cid.codec() {
            0x55 => Codec::Raw,
            0x70 => Codec::DagPb,
            code => return Err(BlockRejection::Codec { cid: *cid, code }),
        };
        Ok(BlockId { codec, digest })
    }
}

/// Why bytes are not the block they were said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockRejection {
    /// A version 0 CID.
    #[error("{cid} is a version 0 CID; expected version 1")]
    Version {
        /// The CID in question.
        cid: Cid,
    },
    /// A codec that no dataset uses.
    #[error("{cid} has codec 0x{code:x}; expected raw (0x55) or dag-pb (0x70)")]
    Codec {
        /// The CID in question.
        cid: Cid,
        /// Its multicodec number.
        code: u64,
    },
    /// A hash other than SHA-256 with 32 bytes.
    #[error("{cid} has hash 0x{code:x} of {digest_bytes} bytes; expected SHA-256 (0x12) of 32 bytes")]
    Hash {
        /// The CID in question.
        cid: Cid,
        /// Its multihash number.
        code: u64,
        /// Length of its digest in bytes.
        digest_bytes: usize,
    },
    /// More bytes than a block may have.
    #[error("block {cid} has {got} bytes; expected at most {MAX_BLOCK_BYTES}")]
    TooLarge {
        /// The block's name.
        cid: Cid,
        /// Its length in bytes.
        got: u64,
    },
    /// The bytes hash to something else.
    #[error("block {expected} does not match its bytes, which hash to {got}")]
    Mismatch {
        /// The name that was given.
        expected: Cid,
        /// The name that the bytes have.
        got: Cid,
    },
}

/// Checks that `bytes` are the block `cid`: size limit and SHA-256. Any codec is accepted, so that archives of other tools
/// can be checked too.
pub fn verify_block(cid: &Cid, bytes: &[u8]) -> Result<(), BlockRejection> {
    let expected = sha256_digest(cid)?;
    if bytes.len() > MAX_BLOCK_BYTES {
        return Err(BlockRejection::TooLarge { cid: *cid, got: bytes.len() as u64 });
    }
    let got: [u8; 32] = Sha256::digest(bytes).into();
    if got != expected {
        let hash = Multihash::wrap(SHA2_256, &got).expect("a 32-byte digest fits a multihash of 64");
        return Err(BlockRejection::Mismatch { expected: *cid, got: Cid::new_v1(cid.codec(), hash) });
    }
    Ok(())
}

/// The digest inside a CIDv1 with SHA-256.
fn sha256_digest(cid: &Cid) -> Result<[u8; 32], BlockRejection> {
    if cid.version() != cid::Version::V1 {
        return Err(BlockRejection::Version { cid: *cid });
    }
    let hash = cid.hash();
    match <[u8; 32]>::try_from(hash.digest()) {
        Ok(digest) if hash.code() == SHA2_256 => Ok(digest),
        _ => Err(BlockRejection::Hash { cid: *cid, code: hash.code(), digest_bytes: hash.digest().len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_raw_block_has_its_well_known_name() {
        let id = BlockId::of(Codec::Raw, b"");
        assert_eq!(id.to_string(), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
        assert_eq!(id.cid().to_bytes(), id.cid_bytes());
        assert_eq!(BlockId::try_from(&id.cid()), Ok(id));
    }

    #[test]
    fn foreign_cids_are_refused_by_name() {
        let v0: Cid = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn".parse().unwrap();
        assert!(matches!(BlockId::try_from(&v0), Err(BlockRejection::Version { .. })));
        let identity: Cid = "bafkqaaa".parse().unwrap();
        assert!(matches!(BlockId::try_from(&identity), Err(BlockRejection::Hash { digest_bytes: 0, .. })));
        let cbor = Cid::new_v1(0x71, *BlockId::of(Codec::Raw, b"").cid().hash());
        assert!(matches!(BlockId::try_from(&cbor), Err(BlockRejection::Codec { code: 0x71, .. })));
    }

    #[test]
    fn one_flipped_bit_is_noticed() {
        let cid = BlockId::of(Codec::Raw, b"abc").cid();
        assert_eq!(verify_block(&cid, b"abc"), Ok(()));
        assert!(matches!(verify_block(&cid, b"abb"), Err(BlockRejection::Mismatch { .. })));
        assert!(matches!(verify_block(&cid, &vec![0; MAX_BLOCK_BYTES + 1]), Err(BlockRejection::TooLarge { .. })));
    }
}
