//! Sizes of pieces: unpadded is what the client has, padded is what the sector holds.
//!
//! fr32 padding turns 127 bytes into 128, so a padded size is 128/127 of the unpadded one. A *piece* has a padded size
//! that is a power of two of at least 128 bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::CommP;

/// Bytes as the client counts them, before fr32 padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnpaddedBytes(pub u64);

/// Bytes as the sector counts them, after fr32 padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PaddedBytes(pub u64);

/// Smallest unpadded piece: one fr32 quad.
pub const PIECE_UNPADDED_BYTES_MIN: u64 = 127;
/// Smallest padded piece.
pub const PIECE_PADDED_BYTES_MIN: u64 = 128;

impl UnpaddedBytes {
    /// The piece size that holds `payload_bytes`: the smallest 127·2^k that is not less. `None` past 2^57 bytes.
    pub const fn piece_for(payload_bytes: u64) -> Option<Self> {
        let quads = payload_bytes.div_ceil(PIECE_UNPADDED_BYTES_MIN);
        let quads = if quads == 0 { 1 } else { quads };
        if quads > 1 << 50 {
            return None;
        }
        Some(Self(quads.next_power_of_two() * PIECE_UNPADDED_BYTES_MIN))
    }

    /// The padded size; a multiple of 127 gives an exact result.
    pub const fn to_padded(self) -> PaddedBytes {
        PaddedBytes(self.0 + self.0.div_ceil(127))
    }

    /// Whether this is 127·2^k.
    pub const fn is_piece_size(self) -> bool {
        self.0 >= PIECE_UNPADDED_BYTES_MIN && self.0.is_multiple_of(127) && (self.0 / 127).is_power_of_two()
    }
}

impl PaddedBytes {
    /// The unpadded size; a multiple of 128 gives an exact result.
    pub const fn to_unpadded(self) -> UnpaddedBytes {
        UnpaddedBytes(self.0 - self.0 / 128)
    }

    /// Whether this is 128·2^k.
    pub const fn is_piece_size(self) -> bool {
        self.0 >= PIECE_PADDED_BYTES_MIN && self.0.is_power_of_two()
    }

    /// Nodes of 32 bytes.
    pub const fn nodes(self) -> u64 {
        self.0 / 32
    }
}

impl fmt::Display for UnpaddedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} unpadded bytes", self.0)
    }
}

impl fmt::Display for PaddedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} padded bytes", self.0)
    }
}

/// A piece as a sector and the ledger know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PieceInfo {
    /// Its commitment.
    pub comm_p: CommP,
    /// Its padded size, a power of two.
    pub size: PaddedBytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piece_sizes() {
        for (payload, unpadded) in [(0, 127), (1, 127), (127, 127), (128, 254), (254, 254), (255, 508), (1000, 1016)] {
            let piece = UnpaddedBytes::piece_for(payload).unwrap();
            assert_eq!(piece, UnpaddedBytes(unpadded), "payload {payload}");
            assert!(piece.is_piece_size() && piece.to_padded().is_piece_size());
            assert_eq!(piece.to_padded().to_unpadded(), piece);
        }
        assert_eq!(UnpaddedBytes::piece_for(u64::MAX), None);
        assert!(!UnpaddedBytes(381).is_piece_size() && !PaddedBytes(64).is_piece_size());
    }
}
