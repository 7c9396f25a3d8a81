//! Field elements and their 32-byte form, the *node*: canonical (not Montgomery), little-endian.

use ark_ff::{BigInt, PrimeField};

/// The scalar field of BLS12-381.
pub type Fr = ark_bls12_381::Fr;

/// A field element as stored: 32 bytes, little-endian, below the modulus.
pub type Node = [u8; 32];

/// A node that is no field element: its number is not below the modulus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a field element below the BLS12-381 scalar modulus, got {}", hex(.node))]
pub struct NonCanonicalNode {
    /// The bytes found.
    pub node: Node,
}

fn hex(node: &Node) -> String {
    node.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a node.
///
/// # Errors
/// [`NonCanonicalNode`] if the number is not below the modulus.
pub fn fr_from_node(node: &Node) -> Result<Fr, NonCanonicalNode> {
    let mut limbs = [0u64; 4];
    for (limb, bytes) in limbs.iter_mut().zip(node.chunks_exact(8)) {
        *limb = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
    }
    Fr::from_bigint(BigInt(limbs)).ok_or(NonCanonicalNode { node: *node })
}

/// Writes a node.
pub fn fr_to_node(fr: &Fr) -> Node {
    let mut node = [0u8; 32];
    for (bytes, limb) in node.chunks_exact_mut(8).zip(fr.into_bigint().0) {
        bytes.copy_from_slice(&limb.to_le_bytes());
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_modulus_is_refused_and_one_less_is_not() {
        let modulus = fr_to_node(&-Fr::from(1u64));
        assert!(fr_from_node(&modulus).is_ok());
        let mut above = modulus;
        above[0] += 1;
        assert_eq!(fr_from_node(&above), Err(NonCanonicalNode { node: above }));
        assert!(fr_from_node(&[0xff; 32]).is_err());
    }

    proptest! {
        #[test]
        fn nodes_round_trip(mut node: [u8; 32]) {
            node[31] &= 0x3f;
            prop_assert_eq!(fr_to_node(&fr_from_node(&node).unwrap()), node);
        }
    }
}
