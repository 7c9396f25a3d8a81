//! The ten sector sizes. A size is a value; nothing in Cairn is generic over it.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::{PaddedBytes, UnpaddedBytes};

/// Bytes in a node: a leaf of every tree, one field element.
pub const NODE_BYTES: u64 = 32;

/// One of the ten sector sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SectorSize(u64);

/// The number given is no sector size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a sector size of {}, got {bytes} bytes", SectorSize::names())]
pub struct UnknownSectorSize {
    /// Bytes given.
    pub bytes: u64,
}

/// The text given is no sector size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a sector size of {}, got {text:?}", SectorSize::names())]
pub struct ParseSectorSizeError {
    /// What was given.
    pub text: String,
}

impl SectorSize {
    /// 2 KiB: 64 nodes, for tests.
    pub const KIB2: Self = Self(2 << 10);
    /// 4 KiB.
    pub const KIB4: Self = Self(4 << 10);
    /// 16 KiB.
    pub const KIB16: Self = Self(16 << 10);
    /// 32 KiB.
    pub const KIB32: Self = Self(32 << 10);
    /// 8 MiB: the development network's default.
    pub const MIB8: Self = Self(8 << 20);
    /// 16 MiB.
    pub const MIB16: Self = Self(16 << 20);
    /// 512 MiB.
    pub const MIB512: Self = Self(512 << 20);
    /// 1 GiB.
    pub const GIB1: Self = Self(1 << 30);
    /// 32 GiB: the size of real networks.
    pub const GIB32: Self = Self(32 << 30);
    /// 64 GiB.
    pub const GIB64: Self = Self(64 << 30);

    /// All sizes, ascending.
    pub const ALL: [Self; 10] = [
        Self::KIB2,
        Self::KIB4,
        Self::KIB16,
        Self::KIB32,
        Self::MIB8,
        Self::MIB16,
        Self::MIB512,
        Self::GIB1,
        Self::GIB32,
        Self::GIB64,
    ];

    /// The size of this many bytes.
    ///
    /// # Errors
    /// [`UnknownSectorSize`] unless it is one of the ten.
    pub fn from_bytes(bytes: u64) -> Result<Self, UnknownSectorSize> {
        Self::ALL.into_iter().find(|size| size.0 == bytes).ok_or(UnknownSectorSize { bytes })
    }

    /// Bytes of a sealed sector.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Nodes of 32 bytes.
    pub const fn nodes(self) -> u64 {
        self.0 / NODE_BYTES
    }

    /// The whole sector as padded bytes.
    pub const fn padded(self) -> PaddedBytes {
        PaddedBytes(self.0)
    }

    /// Client bytes that fit: 127 of every 128.
    pub const fn unpadded(self) -> UnpaddedBytes {
        self.padded().to_unpadded()
    }

    fn names() -> String {
        Self::ALL.map(|size| size.to_string()).join(", ")
    }
}

impl fmt::Display for SectorSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 30 => write!(f, "{}GiB", bytes >> 30),
            bytes if bytes >= 1 << 20 => write!(f, "{}MiB", bytes >> 20),
            bytes => write!(f, "{}KiB", bytes >> 10),
        }
    }
}

impl FromStr for SectorSize {
    type Err = ParseSectorSizeError;

    /// `8MiB` as displayed (any case, a space allowed), or the plain number of bytes.
    fn from_str(text: &str) -> Result<Self, ParseSectorSizeError> {
        let wanted = text.replace(' ', "");
        Self::ALL
            .into_iter()
            .find(|size| size.to_string().eq_ignore_ascii_case(&wanted) || size.0.to_string() == wanted)
            .ok_or_else(|| ParseSectorSizeError { text: text.to_owned() })
    }
}

impl Serialize for SectorSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for SectorSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_bytes(u64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for size in SectorSize::ALL {
            assert_eq!(size.to_string().parse(), Ok(size));
            assert_eq!(size.bytes().to_string().parse(), Ok(size));
        }
        assert_eq!(
            "3MiB".parse::<SectorSize>().unwrap_err().to_string(),
            "expected a sector size of 2KiB, 4KiB, 16KiB, 32KiB, 8MiB, 16MiB, 512MiB, 1GiB, 32GiB, 64GiB, got \"3MiB\""
        );
    }
}
