//! Nodes in proofs: hex where people read, byte strings between machines.

use cairn_compute::Node;
use cairn_protocol::bytes32::serde32;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One node.
pub use cairn_protocol::bytes32::serde32 as serde_node;

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct WireNode(#[serde(with = "serde32")] Node);

/// A list of nodes.
pub mod serde_nodes {
    use super::*;

    /// See the module.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(nodes: &[Node], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(nodes.iter().map(|node| WireNode(*node)))
    }

    /// See the module.
    ///
    /// # Errors
    /// Those of the deserializer, and nodes that are not 32 bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Node>, D::Error> {
        Ok(Vec::<WireNode>::deserialize(deserializer)?.into_iter().map(|node| node.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::porep::PorepProof;
    use crate::post::PostProof;
    use crate::update::UpdateProof;
    use proptest::prelude::*;

    proptest! {
        /// Decoders see bytes from strangers: whatever they are, the answer is a proof or a rejection.
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = PorepProof::from_bytes(&bytes);
            let _ = PostProof::from_bytes(&bytes);
            let _ = UpdateProof::from_bytes(&bytes);
            let _ = serde_json::from_slice::<PorepProof>(&bytes);
        }

        #[test]
        fn damaged_proofs_never_panic(cut in 0usize..10_000, byte: u8) {
            let vector = cairn_fixtures::porep_vector("2KiB-v1_1-fixture-a.json");
            let proof: PorepProof = serde_json::from_value(vector.vanilla_proofs.unwrap()).unwrap();
            let mut bytes = proof.to_bytes();
            let place = cut % bytes.len();
            bytes[place] ^= byte;
            let _ = PorepProof::from_bytes(&bytes);
            prop_assert!(PorepProof::from_bytes(&bytes[..place]).is_err());
        }
    }
}
