//! The published key files: names and digests of Filecoin's parameter ceremony.
//!
//! The list (`data/filecoin-parameters.json`) is the one that `filecoin-proofs` 19.1.0 carries (MIT OR Apache-2.0). A
//! digest is the first half of the BLAKE2b-512 of a file, as hex; who holds a file with that digest holds the published one.

use std::collections::BTreeMap;
use std::fmt;

use cairn_protocol::SectorSize;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

const LIST: &str = include_str!("../../data/filecoin-parameters.json");

/// First 16 bytes of the BLAKE2b-512 of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileDigest(pub [u8; 16]);

/// What is known about a published file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Published {
    /// Its CID, as text.
    pub cid: String,
    /// Its digest.
    pub digest: FileDigest,
    /// Sector size of its circuit.
    pub sector_size: SectorSize,
}

/// The published file of this name, if there is one.
pub fn published(name: &str) -> Option<Published> {
    list().remove(name)
}

/// Names of all published files.
pub fn names() -> Vec<String> {
    list().into_keys().collect()
}

fn list() -> BTreeMap<String, Published> {
    serde_json::from_str(LIST).expect("the list in this repository is well-formed: a test reads it")
}

impl FileDigest {
    /// Digest of a whole file's content.
    pub fn of(content: &[u8]) -> Self {
        Self::finish(blake2b_simd::State::new().update(content))
    }

    /// Digest of everything that a hash has seen.
    pub fn finish(state: &blake2b_simd::State) -> Self {
        let hash = state.finalize();
        Self(hash.as_bytes()[..16].try_into().expect("16 of 64 bytes"))
    }
}

impl fmt::Display for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileDigest({self})")
    }
}

impl Serialize for FileDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut digest = [0u8; 16];
        hex::decode_to_slice(&text, &mut digest)
            .map_err(|_| D::Error::custom(format!("expected a digest of 32 hex digits, got {text:?}")))?;
        Ok(Self(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_keys_of_22_circuits() {
        assert_eq!(names().len(), 44);
        assert_eq!(published("v28-anything.vk"), None);
    }
}
