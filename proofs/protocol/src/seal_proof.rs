//! The four ways to seal and their registered numbers (`spec/proofs.md` 1.5).
//!
//! A registered number is `5 * variant + size`, sizes in the order 2 KiB, 8 MiB, 512 MiB, 32 GiB, 64 GiB. Every number
//! has a graph of its own. The other five sizes are test shapes without a number; they use the 2 KiB number of the
//! variant unless the caller gives a [`PorepId`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{PorepId, SectorSize};

/// How a sector is sealed and how its replication is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SealProof {
    /// The first graph, with its parent order and its 32-bit cut of expander parents.
    #[serde(rename = "v1")]
    V1,
    /// The corrected graph, interactive challenges.
    #[serde(rename = "v1_1")]
    V1_1,
    /// Challenges chosen among a fixed synthetic set, so that layers may be dropped early.
    #[serde(rename = "synthetic", alias = "synth")]
    Synthetic,
    /// Challenges derived from CommR: no waiting for a seed, more of them.
    #[serde(rename = "non-interactive", alias = "ni")]
    NonInteractive,
}

/// The text given names no seal proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a seal proof of v1, v1_1, synthetic, non-interactive, got {text:?}")]
pub struct ParseSealProofError {
    /// What was given.
    pub text: String,
}

/// Sizes that have a registered number, in its order.
const REGISTERED_SIZES: [SectorSize; 5] =
    [SectorSize::KIB2, SectorSize::MIB8, SectorSize::MIB512, SectorSize::GIB32, SectorSize::GIB64];

impl SealProof {
    /// All variants, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::V1, Self::V1_1, Self::Synthetic, Self::NonInteractive];

    /// The registered number of this variant at `size`, if the size has one.
    pub fn registered_number(self, size: SectorSize) -> Option<u64> {
        let position = REGISTERED_SIZES.iter().position(|registered| *registered == size)?;
        Some(self as u64 * REGISTERED_SIZES.len() as u64 + position as u64)
    }

    /// The graph's domain separator at `size`: number as u64 LE, nonce 0 as u64 LE, 16 zero bytes. Sizes without a
    /// number use the 2 KiB one.
    pub fn porep_id(self, size: SectorSize) -> PorepId {
        let number = self.registered_number(size).unwrap_or(self as u64 * REGISTERED_SIZES.len() as u64);
        let mut bytes = [0u8; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        PorepId(bytes)
    }

    /// Whether base parents are ordered with `v - 1` last and expander indices are cut to 32 bits.
    pub const fn has_legacy_graph(self) -> bool {
        matches!(self, Self::V1)
    }
}

impl fmt::Display for SealProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V1_1 => "v1_1",
            Self::Synthetic => "synthetic",
            Self::NonInteractive => "non-interactive",
        })
    }
}

impl FromStr for SealProof {
    type Err = ParseSealProofError;

    fn from_str(text: &str) -> Result<Self, ParseSealProofError> {
        match text {
            "v1" => Ok(Self::V1),
            "v1_1" => Ok(Self::V1_1),
            "synthetic" | "synth" => Ok(Self::Synthetic),
            "non-interactive" | "ni" => Ok(Self::NonInteractive),
            _ => Err(ParseSealProofError { text: text.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_registered_ones() {
        assert_eq!(SealProof::V1.registered_number(SectorSize::KIB2), Some(0));
        assert_eq!(SealProof::V1_1.registered_number(SectorSize::GIB32), Some(8));
        assert_eq!(SealProof::Synthetic.registered_number(SectorSize::GIB32), Some(13));
        assert_eq!(SealProof::NonInteractive.registered_number(SectorSize::GIB64), Some(19));
        assert_eq!(SealProof::V1_1.registered_number(SectorSize::KIB4), None);
        assert_eq!(SealProof::V1_1.porep_id(SectorSize::KIB4).0[0], 5);
        assert_eq!(SealProof::V1_1.porep_id(SectorSize::MIB8).0[0], 6);
    }

    #[test]
    fn names_round_trip() {
        for proof in SealProof::ALL {
            assert_eq!(proof.to_string().parse(), Ok(proof));
            assert_eq!(serde_json::from_str::<SealProof>(&serde_json::to_string(&proof).unwrap()).unwrap(), proof);
        }
        assert!("v2".parse::<SealProof>().is_err());
    }
}
