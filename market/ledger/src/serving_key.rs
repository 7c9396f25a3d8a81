//! A key that signs for what a provider serves, and can do nothing else.
//!
//! The key of a provider's owner moves its money, and a gateway faces the whole network. So the owner may sign, once and off the
//! ledger, that another key signs [`ServedGroup`]s for one of its providers until an epoch ([`ServingKey`]). That goes with
//! every statement which the key signs, and whoever checks a statement checks two signatures in place of one. The ledger keeps
//! nothing of it: what the key signs is the owner's word, and costs the owner if it is false.
//!
//! It cannot be taken back, only end. Who steals such a key can sign for wrong bytes until then; it cannot touch money, speak for
//! another provider or on another ledger, or pass its leave on. So a leave is short, and is renewed.

use cairn_protocol::{Epoch, ProviderId};
use ed25519_consensus::SigningKey;
use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::codec;
use crate::ids::{Address, ChainId};
use crate::served::ServedGroup;
use crate::transaction::SignatureBytes;

/// Most bytes of a signed leave's encoding.
pub const SERVING_KEY_BYTES_MAX: usize = 192;

/// An owner's leave for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServingKey {
    /// For which of its providers.
    pub provider: ProviderId,
    /// Whose signature is as good as the owner's.
    pub key: Address,
    /// The last epoch of which it may sign statements.
    pub until: Epoch,
}

impl Claim for ServingKey {
    const TAG: &'static [u8] = b"cairn/serving-key/v1\0";
}

/// The same, signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedServingKey {
    /// What is signed.
    pub leave: ServingKey,
    /// By the owner of `leave.provider`.
    pub signature: SignatureBytes,
}

impl ServingKey {
    /// Signs with the key of the provider's owner.
    pub fn sign(self, chain: ChainId, owner: &SigningKey) -> SignedServingKey {
        SignedServingKey { leave: self, signature: self.signature(chain, owner) }
    }

    /// Whether it is about such a statement.
    pub fn covers(&self, statement: &ServedGroup) -> bool {
        statement.provider == self.provider && statement.epoch <= self.until
    }
}

impl SignedServingKey {
    /// Whether `owner` signed it for `chain`.
    pub fn is_signed_by(&self, chain: ChainId, owner: Address) -> bool {
        self.leave.is_signed(chain, &self.signature, owner)
    }

    /// The form in which a gateway gets it.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads it; whose signature it is is not checked.
    ///
    /// # Errors
    /// [`codec::CodecRejection`] for anything but what [`SignedServingKey::encode`] gives.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::CodecRejection> {
        codec::decode_strict(bytes, SERVING_KEY_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_leave_fits() {
        let widest = ServingKey { provider: ProviderId(u64::MAX), key: Address([0xff; 32]), until: Epoch(u64::MAX) };
        let signed = widest.sign(ChainId([1; 32]), &SigningKey::from([4; 32]));
        assert!(signed.encode().len() <= SERVING_KEY_BYTES_MAX, "{}", signed.encode().len());
        assert_eq!(SignedServingKey::decode(&signed.encode()), Ok(signed));
        assert!(SignedServingKey::decode(&[signed.encode(), vec![0]].concat()).is_err());
    }
}
