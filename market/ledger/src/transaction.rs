//! Transactions: what is signed, how it is written, how it is named.
//!
//! 1. A [`Transaction`] is a command with sender, nonce and chain.
//! 2. The sender signs `tag || SHA-256(chain || canonical DAG-CBOR of the transaction)`; the tag keeps the signature
//!    from meaning anything elsewhere, the chain from meaning anything on another network.
//! 3. The encoding of the [`SignedTransaction`] is what travels; its SHA-256 is the [`TransactionId`]. Signatures obey
//!    ZIP-215, so everybody agrees on validity, alone or in a batch; a second valid signature over the same transaction
//!    is another id with a used nonce.

use std::fmt;

use ed25519_consensus::SigningKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::codec::{self, CodecRejection};
use crate::command::Command;
use crate::ids::{Address, ChainId, TransactionId};

const TAG_SIGN: &[u8] = b"cairn/transaction/v1\0";

/// A command to be signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// The network it is for.
    pub chain: ChainId,
    /// Who asks, signs and pays the fee.
    pub sender: Address,
    /// The sender's transactions so far.
    pub nonce: u64,
    /// What is asked.
    pub command: Command,
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignatureBytes(pub [u8; 64]);

impl fmt::Debug for SignatureBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignatureBytes({})", hex::encode(self.0))
    }
}

impl Serialize for SignatureBytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::Bytes::new(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SignatureBytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_bytes::ByteArray::<64>::deserialize(deserializer).map(|bytes| Self(bytes.into_array()))
    }
}

/// A transaction and its sender's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedTransaction {
    /// What was signed.
    pub transaction: Transaction,
    /// By the sender.
    pub signature: SignatureBytes,
}

impl Transaction {
    /// The bytes that are signed.
    pub fn signing_message(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        hash.update(self.chain.0);
        hash.update(codec::encode(self));
        [TAG_SIGN, hash.finalize().as_slice()].concat()
    }

    /// Signs with the sender's key.
    ///
    /// # Panics
    /// If `key` is not the sender's: that is a mistake of the caller, not of the input.
    pub fn sign(self, key: &SigningKey) -> SignedTransaction {
        assert_eq!(address_of(key), self.sender, "a transaction is signed by its sender");
        let signature = SignatureBytes(key.sign(&self.signing_message()).to_bytes());
        SignedTransaction { transaction: self, signature }
    }
}

/// The address of a key.
pub fn address_of(key: &SigningKey) -> Address {
    Address(key.verification_key().to_bytes())
}

impl SignedTransaction {
    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a canonical encoding of at most `limit` bytes. Does not check the signature.
    ///
    /// # Errors
    /// [`CodecRejection`] if it is too long, malformed or not canonical.
    pub fn decode(bytes: &[u8], limit: usize) -> Result<Self, CodecRejection> {
        codec::decode_strict(bytes, limit)
    }

    /// The name: SHA-256 of the encoding.
    pub fn id(&self) -> TransactionId {
        TransactionId(Sha256::digest(self.encode()).into())
    }
}

#[cfg(test)]
mod tests {
    use cairn_protocol::Amount;
    use proptest::prelude::*;

    use super::*;

    fn sample() -> SignedTransaction {
        let key = SigningKey::from([3; 32]);
        let command = Command::Transfer { to: Address([9; 32]), amount: Amount(7) };
        Transaction { chain: ChainId([1; 32]), sender: address_of(&key), nonce: 4, command }.sign(&key)
    }

    #[test]
    fn round_trips_and_names_itself() {
        let signed = sample();
        let bytes = signed.encode();
        let read = SignedTransaction::decode(&bytes, 1_000).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.id(), signed.id());
        assert!(signed.id().to_string().starts_with("bafyrei"));
        assert!(SignedTransaction::decode(&bytes, bytes.len() - 1).is_err());
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = SignedTransaction::decode(&bytes, 200);
        }

        #[test]
        fn what_decodes_is_canonical(position in 0usize..250, value: u8) {
            let mut bytes = sample().encode();
            let position = position % bytes.len();
            bytes[position] = value;
            if let Ok(read) = SignedTransaction::decode(&bytes, 1_000) {
                prop_assert_eq!(read.encode(), bytes);
            }
        }
    }
}
