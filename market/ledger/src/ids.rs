//! Names of things on the ledger: accounts, chains, orders, deals, transactions, roots.

use std::fmt;
use std::str::FromStr;

use cairn_protocol::bytes32::{ParseBytes32Error, parse_hex32, serde32};
use cid::Cid;
use multihash::Multihash;
use serde::{Deserialize, Serialize};

/// Multicodec of DAG-CBOR.
pub const CODEC_DAG_CBOR: u64 = 0x71;
/// Multihash code of SHA-256.
pub const HASH_SHA2_256: u64 = 0x12;

macro_rules! bytes32 {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(#[serde(with = "serde32")] pub [u8; 32]);

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
    )*};
}

bytes32! {
    /// An account: its Ed25519 verification key.
    Address;
    /// A network: the SHA-256 of its genesis. Part of every signed message, so a transaction is good on one chain.
    ChainId;
    /// Public randomness of one epoch.
    Beacon;
    /// Merkle root over the whole state.
    StateRoot;
    /// A hash that binds its sender to what it will reveal; see [`crate::sealed`].
    Commitment;
    /// Random bytes that keep a commitment from being guessed.
    Salt;
}

/// An order's number, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(pub u64);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order-{}", self.0)
    }
}

/// A deal's number, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DealId(pub u64);

impl fmt::Display for DealId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deal-{}", self.0)
    }
}

/// A transaction's name: the SHA-256 of its canonical encoding, signature included; shown as a CIDv1 of DAG-CBOR.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(pub [u8; 32]);

/// Why a text or bytes name no transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a CIDv1 of DAG-CBOR with SHA-256, got {text:?}")]
pub struct ParseTransactionIdError {
    /// What was given.
    pub text: String,
}

impl TransactionId {
    /// The CID.
    ///
    /// # Panics
    /// Never: 32 bytes fit in a multihash.
    pub fn cid(&self) -> Cid {
        Cid::new_v1(CODEC_DAG_CBOR, Multihash::wrap(HASH_SHA2_256, &self.0).expect("32 bytes fit in a multihash"))
    }

    fn from_cid(cid: &Cid) -> Option<Self> {
        let fits = cid.codec() == CODEC_DAG_CBOR && cid.hash().code() == HASH_SHA2_256;
        fits.then(|| cid.hash().digest().try_into().ok().map(Self)).flatten()
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cid().fmt(f)
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransactionId({self})")
    }
}

impl FromStr for TransactionId {
    type Err = ParseTransactionIdError;

    fn from_str(text: &str) -> Result<Self, ParseTransactionIdError> {
        let parsed = Cid::from_str(text).ok().as_ref().and_then(Self::from_cid);
        parsed.ok_or_else(|| ParseTransactionIdError { text: text.chars().take(80).collect() })
    }
}

impl Serialize for TransactionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.cid().serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for TransactionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            let cid = Cid::deserialize(deserializer)?;
            Self::from_cid(&cid).ok_or_else(|| D::Error::custom(ParseTransactionIdError { text: cid.to_string() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn transaction_ids_are_cids_everywhere() {
        let id = TransactionId([7; 32]);
        assert_eq!(id.to_string().parse::<TransactionId>(), Ok(id));
        assert_eq!(codec::decode_strict::<TransactionId>(&codec::encode(&id), 100), Ok(id));
        assert!("bafkqaaa".parse::<TransactionId>().is_err());
        assert_eq!(serde_json::from_str::<TransactionId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
    }
}
