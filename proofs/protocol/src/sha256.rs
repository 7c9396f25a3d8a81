//! SHA-256 as trees over data use it: results cut to 254 bits, so that each is a field element.

use sha2::block_api::compress256;

use crate::piece_proof::TreeNode;

/// SHA-256's initial state (FIPS 180-4, 5.3.3).
const INITIAL_STATE: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// Clears the two top bits, which makes any 32 bytes a field element.
#[inline]
pub fn truncate_254(mut digest: TreeNode) -> TreeNode {
    digest[31] &= 0x3f;
    digest
}

/// A node of tree D: SHA-256 of its two children, cut to 254 bits.
#[inline]
pub fn hash_pair(left: &TreeNode, right: &TreeNode) -> TreeNode {
    // 64 bytes of message: one block of data, one of padding.
    let mut blocks = [[0u8; 64]; 2];
    blocks[0][..32].copy_from_slice(left);
    blocks[0][32..].copy_from_slice(right);
    blocks[1][0] = 0x80;
    blocks[1][56..].copy_from_slice(&512u64.to_be_bytes());
    hash_padded_blocks(&blocks)
}

/// SHA-256 of a message that already carries its padding, cut to 254 bits.
#[inline]
pub fn hash_padded_blocks(blocks: &[[u8; 64]]) -> TreeNode {
    let mut state = INITIAL_STATE;
    compress256(&mut state, blocks);
    let mut digest = [0u8; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    truncate_254(digest)
}
