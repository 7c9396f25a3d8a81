//! SHA-256 as the sector uses it: results cut to 254 bits, so that each is a field element.

use cairn_compute::Node;
pub use cairn_protocol::sha256::{hash_padded_blocks, hash_pair, truncate_254};
use sha2::{Digest, Sha256};

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

/// SHA-256 of the parts in order, cut to 254 bits.
pub fn hash_truncated<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Node {
    truncate_254(Sha256Digest::of(parts).0)
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
