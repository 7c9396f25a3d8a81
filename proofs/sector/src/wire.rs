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
