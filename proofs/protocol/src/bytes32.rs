//! The 32-byte values of the proofs, each a type of its own.
//!
//! A commitment, a ticket and a prover id are all 32 bytes; swapping two of them compiles nowhere else but fails
//! everywhere, so none of them is a bare array in a public signature. All are written as stored on disk (field
//! elements little-endian), as lower-case hex for people, and as a CBOR byte string between machines.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Why a text is not 32 bytes of hex.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseBytes32Error {
    /// Wrong number of hex digits.
    #[error("expected 64 hex digits (32 bytes), got {got} characters")]
    Length {
        /// Characters given.
        got: usize,
    },
    /// A character that is no hex digit.
    #[error("expected hex digits, got {character:?} at position {position}")]
    Digit {
        /// The offending character.
        character: char,
        /// Its index in the text.
        position: usize,
    },
}

/// Parses exactly 64 hex digits, of either case.
///
/// # Errors
/// [`ParseBytes32Error`] says whether the length or a digit is wrong.
pub fn parse_hex32(text: &str) -> Result<[u8; 32], ParseBytes32Error> {
    let mut bytes = [0u8; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|error| match error {
        hex::FromHexError::InvalidHexCharacter { c, index } => {
            ParseBytes32Error::Digit { character: text[index..].chars().next().unwrap_or(c), position: index }
        }
        _ => ParseBytes32Error::Length { got: text.chars().count() },
    })?;
    Ok(bytes)
}

struct Bytes32Visitor;

impl<'de> Visitor<'de> for Bytes32Visitor {
    type Value = [u8; 32];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("32 bytes, or 64 hex digits")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<[u8; 32], E> {
        parse_hex32(text).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<[u8; 32], E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }
}

/// Serialises 32 bytes: hex where people read, a byte string elsewhere. For `#[serde(with = "bytes32::serde32")]`.
pub mod serde32 {
    use super::*;

    /// See the module.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&hex::encode(bytes))
        } else {
            serializer.serialize_bytes(bytes)
        }
    }

    /// See the module.
    ///
    /// # Errors
    /// Anything but exactly 32 bytes in the format's own form.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Bytes32Visitor)
        } else {
            deserializer.deserialize_bytes(Bytes32Visitor)
        }
    }
}

macro_rules! bytes32 {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The bytes as stored.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseBytes32Error;

            fn from_str(text: &str) -> Result<Self, ParseBytes32Error> {
                parse_hex32(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde32::serialize(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                serde32::deserialize(deserializer).map(Self)
            }
        }
    )*};
}

bytes32! {
    /// Commitment to a piece: root of the binary SHA-256 tree over its fr32-padded bytes.
    CommP;
    /// Commitment to the data of a whole sector: the same tree over all its pieces.
    CommD;
    /// Root of tree C, over the column hashes of the labels.
    CommC;
    /// Root of tree R-last, over the replica.
    CommRLast;
    /// Commitment to the replica: Poseidon of CommC and CommRLast.
    CommR;
    /// What makes a replica unlike any other: hash of prover, sector, ticket, data and proof type.
    ReplicaId;
    /// The prover as the proofs see it: a provider's id in LEB128, zero-padded to 32 bytes.
    ProverId;
    /// Domain separation of the graph: registered proof number and nonce.
    PorepId;
    /// Sealing randomness, fixed before labelling begins.
    Ticket;
    /// Interactive PoRep randomness, unknown until the pre-commit is on the ledger.
    Seed;
    /// Randomness of a proof-of-spacetime.
    PostRandomness;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_errors_say_what_is_wrong() {
        let comm = CommD([0xab; 32]);
        assert_eq!(comm.to_string().parse::<CommD>(), Ok(comm));
        assert_eq!("abc".parse::<CommD>(), Err(ParseBytes32Error::Length { got: 3 }));
        let bad = format!("{}zz", "00".repeat(31));
        assert_eq!(bad.parse::<CommD>(), Err(ParseBytes32Error::Digit { character: 'z', position: 62 }));
    }

    #[test]
    fn multibyte_text_is_refused_without_panic() {
        let text = "é".repeat(32);
        assert!(text.parse::<CommD>().is_err());
    }

    #[test]
    fn serde_is_hex_for_people_and_bytes_for_machines() {
        let comm = CommR([7; 32]);
        assert_eq!(serde_json::to_string(&comm).unwrap(), format!("\"{comm}\""));
        let cbor = serde_ipld_dagcbor::to_vec(&comm).unwrap();
        assert_eq!(cbor.len(), 34);
        assert_eq!(serde_ipld_dagcbor::from_slice::<CommR>(&cbor).unwrap(), comm);
        assert!(serde_ipld_dagcbor::from_slice::<CommR>(&cbor[..33]).is_err());
    }
}
