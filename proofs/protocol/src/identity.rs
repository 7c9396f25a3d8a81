//! Who and when: providers, sectors, epochs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ProverId;

/// A provider's number on the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProviderId(pub u64);

impl ProviderId {
    /// The 32 bytes that stand for this provider in the proofs: the id in unsigned LEB128, left-aligned, zero-padded
    /// (`spec/proofs.md` 1.5: 1000 is `e807 00..`).
    pub fn prover_id(self) -> ProverId {
        let mut bytes = [0u8; 32];
        let mut buffer = unsigned_varint::encode::u64_buffer();
        let encoded = unsigned_varint::encode::u64(self.0, &mut buffer);
        bytes[..encoded.len()].copy_from_slice(encoded);
        ProverId(bytes)
    }

    /// The provider that `prover` stands for, if it stands for one.
    pub fn of_prover(prover: &ProverId) -> Option<Self> {
        let (number, _) = unsigned_varint::decode::u64(&prover.0).ok()?;
        let provider = Self(number);
        (provider.prover_id() == *prover).then_some(provider)
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "provider-{}", self.0)
    }
}

/// A sector's number, unique within its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SectorNumber(pub u64);

impl fmt::Display for SectorNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The ledger's clock: the height of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch `count` later, or `None` past the end of time.
    pub const fn checked_add(self, count: u64) -> Option<Self> {
        match self.0.checked_add(count) {
            Some(epoch) => Some(Self(epoch)),
            None => None,
        }
    }

    /// Epochs from `earlier` to this one; 0 if it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prover_id_is_leb128_left_aligned() {
        assert!(ProviderId(1000).prover_id().to_string().starts_with("e80700"));
        assert!(ProviderId(7749).prover_id().to_string().starts_with("c53c00"));
    }

    #[test]
    fn a_prover_id_stands_for_one_provider_or_none() {
        for number in [0, 1, 127, 128, 1000, u64::MAX] {
            let prover = ProviderId(number).prover_id();
            assert_eq!(ProviderId::of_prover(&prover), Some(ProviderId(number)));
            for at in [10, 31] {
                let mut longer = prover;
                longer.0[at] = 1;
                assert_eq!(ProviderId::of_prover(&longer), None);
            }
        }
        assert_eq!(ProviderId::of_prover(&ProverId([0xff; 32])), None);
    }
}
