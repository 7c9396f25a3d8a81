//! What an update's proof is made of.

use cairn_compute::Node;
use cairn_protocol::CommC;
use serde::{Deserialize, Serialize};

use crate::merkle::MerkleProof;
use crate::porep::proof::DecodeRejection;
use crate::wire::serde_nodes;

/// Openings for every challenge of every partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UpdateProof {
    /// Partitions in order.
    pub partitions: Vec<PartitionProof>,
}

/// The proof of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionProof {
    /// Root of tree C, which an update leaves as it is.
    pub comm_c: CommC,
    /// A row of the new tree D, as much of it as lies in the partition.
    #[serde(with = "serde_nodes")]
    pub apex_leaves: Vec<Node>,
    /// One for each challenge, in order.
    #[serde(rename = "challenge_proofs")]
    pub challenges: Vec<ChallengeProof>,
}

/// The openings for one challenged node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeProof {
    /// The node of the old replica in its tree R-last.
    #[serde(rename = "proof_r_old")]
    pub old_replica: MerkleProof,
    /// The node's new data in its tree D.
    #[serde(rename = "proof_d_new")]
    pub new_data: MerkleProof,
    /// The node of the new replica in its tree R-last.
    #[serde(rename = "proof_r_new")]
    pub new_replica: MerkleProof,
}

impl UpdateProof {
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
