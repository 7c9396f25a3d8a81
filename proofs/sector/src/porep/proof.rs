//! What a proof of replication is made of. Field names in JSON are the reference implementation's.

use cairn_compute::{Node, NonCanonicalNode, Poseidon};
use serde::{Deserialize, Serialize};

use crate::merkle::MerkleProof;
use crate::wire::serde_nodes;

/// Openings for every challenge of every partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PorepProof {
    /// Partitions in order; in each, its challenges in order.
    pub partitions: Vec<Vec<ChallengeProof>>,
}

/// Bytes that are no proof at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a proof in canonical CBOR: {reason}")]
pub struct DecodeRejection {
    /// The decoder's words.
    pub reason: String,
}

impl PorepProof {
    /// DAG-CBOR.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(self).expect("a proof is plain data")
    }

    /// Reads what [`Self::to_bytes`] wrote. The caller bounds the number of bytes.
    ///
    /// # Errors
    /// [`DecodeRejection`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeRejection> {
        serde_ipld_dagcbor::from_slice(bytes).map_err(|error| DecodeRejection { reason: error.to_string() })
    }
}

/// All openings for one challenged node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeProof {
    /// The node's data in tree D.
    #[serde(rename = "comm_d_proofs")]
    pub data: MerkleProof,
    /// The node of the replica in tree R-last.
    #[serde(rename = "comm_r_last_proof")]
    pub replica: MerkleProof,
    /// Columns of the node and of its parents.
    #[serde(rename = "replica_column_proofs")]
    pub columns: ColumnProofs,
    /// One for each layer, in order.
    #[serde(rename = "labeling_proofs")]
    pub labels: Vec<LabelProof>,
    /// How the key that encodes the node's data comes about: the last layer's label once more.
    #[serde(rename = "encoding_proof")]
    pub encoding: LabelProof,
}

/// Columns of a challenged node and of its parents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnProofs {
    /// The challenged node.
    #[serde(rename = "c_x")]
    pub challenge: ColumnProof,
    /// Its six base parents, in the graph's order.
    #[serde(rename = "drg_parents")]
    pub base_parents: Vec<ColumnProof>,
    /// Its eight expander parents, in the graph's order.
    #[serde(rename = "exp_parents")]
    pub expander_parents: Vec<ColumnProof>,
}

/// A column and its place in tree C.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnProof {
    /// The labels.
    pub column: Column,
    /// Their hash is the leaf.
    pub inclusion_proof: MerkleProof,
}

/// The labels of one node, layer by layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The node.
    pub index: u32,
    /// Labels of layers 1, 2, ...
    #[serde(with = "serde_nodes")]
    pub rows: Vec<Node>,
    /// Always null: the reference names its hash function here.
    #[serde(rename = "_h", default)]
    pub hash_function: Option<()>,
}

impl Column {
    /// The leaf of tree C.
    ///
    /// # Errors
    /// [`NonCanonicalNode`] for a label that is no field element.
    ///
    /// # Panics
    /// If the number of rows is no column arity (2 or 11).
    pub fn hash(&self) -> Result<Node, NonCanonicalNode> {
        Poseidon::of_arity(self.rows.len()).hash_nodes(&self.rows)
    }
}

/// The parent labels that hash to a node's label in one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelProof {
    /// Layer, from 1.
    pub layer_index: u32,
    /// The node.
    pub node: u64,
    /// 37 labels, as they enter the hash.
    #[serde(with = "serde_nodes")]
    pub parents: Vec<Node>,
}
