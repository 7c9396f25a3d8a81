//! What a proof of spacetime is made of. Field names in JSON are the reference implementation's.

use cairn_protocol::{CommC, CommR, CommRLast, SectorNumber};
use serde::{Deserialize, Serialize};

use crate::merkle::MerkleProof;
use crate::porep::proof::DecodeRejection;

/// Openings for every sector of the statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PostProof {
    /// In the statement's order.
    pub sectors: Vec<SectorProof>,
}

/// The proof of one sector with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorProof {
    /// Its number.
    #[serde(rename = "sector_id")]
    pub sector_number: SectorNumber,
    /// Its replica.
    pub comm_r: CommR,
    /// The openings; the reference keeps them in a list of one.
    #[serde(rename = "vanilla_proof")]
    pub openings: SectorOpeningsList,
}

/// A list of exactly one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorOpeningsList {
    /// The one.
    pub sectors: [SectorOpenings; 1],
}

/// Openings in one sector's tree R-last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectorOpenings {
    /// Root of tree C: with the next field it makes CommR.
    pub comm_c: CommC,
    /// Root of tree R-last.
    pub comm_r_last: CommRLast,
    /// One for each challenged leaf, in order.
    pub inclusion_proofs: Vec<MerkleProof>,
}

impl PostProof {
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
