//! SHA-256 as the sector uses it: results cut to 254 bits, so that each is a field element.

use cairn_compute::Node;
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// SHA-256's initial state (FIPS 180-4, 5.3.3).
const INITIAL_STATE: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// A whole SHA-256 digest, all 256 bits of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sha256Digest(pub [u8; 32]);

impl Sha256Digest {
    /// SHA-256 of the parts in order.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }
}

/// Clears the two top bits, which makes any 32 bytes a field element.
pub fn truncate_254(mut digest: Node) -> Node {
    digest[31] &= 0x3f;
    digest
}

/// SHA-256 of the parts in order, cut to 254 bits.
pub fn hash_truncated<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Node {
    truncate_254(Sha256Digest::of(parts).0)
}

/// A node of tree D: SHA-256 of its two children, cut to 254 bits.
pub fn hash_pair(left: &Node, right: &Node) -> Node {
    // 64 bytes of message: one block of data, one of padding.
    let mut blocks = [[0u8; 64]; 2];
    blocks[0][..32].copy_from_slice(left);
    blocks[0][32..].copy_from_slice(right);
    blocks[1][0] = 0x80;
    blocks[1][56..].copy_from_slice(&512u64.to_be_bytes());
    hash_padded_blocks(&blocks)
}

/// SHA-256 of a message that already carries its padding, cut to 254 bits.
pub fn hash_padded_blocks(blocks: &[[u8; 64]]) -> Node {
    let mut state = INITIAL_STATE;
    compress256(&mut state, blocks);
    let mut digest = [0u8; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    truncate_254(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_the_plain_hash_of_its_bytes() {
        let (left, right) = ([0xaa; 32], [0x55; 32]);
        assert_eq!(hash_pair(&left, &right), hash_truncated([&left[..], &right[..]]));
    }
}
