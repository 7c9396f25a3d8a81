//! Claims: what an account signs that is no transaction, and that may come before the ledger one day.
//!
//! Signed is the name of the claim's kind, and the SHA-256 of the chain and the claim's canonical encoding: a signature is good for
//! one kind of claim on one chain.

use ed25519_consensus::{Signature, SigningKey, VerificationKey};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::codec;
use crate::ids::{Address, ChainId};
use crate::transaction::SignatureBytes;

/// One kind of claim.
pub(crate) trait Claim: Serialize {
    /// Its name, which no other kind's begins with.
    const TAG: &'static [u8];

    /// The bytes that are signed.
    fn signing_message(&self, chain: ChainId) -> Vec<u8> {
        let digest = Sha256::new().chain_update(chain.0).chain_update(codec::encode(self)).finalize();
        [Self::TAG, digest.as_slice()].concat()
    }

    /// The signature of a key.
    fn signature(&self, chain: ChainId, key: &SigningKey) -> SignatureBytes {
        SignatureBytes(key.sign(&self.signing_message(chain)).to_bytes())
    }

    /// Whether a signature is the signer's, by the rules of ZIP-215.
    fn is_signed(&self, chain: ChainId, signature: &SignatureBytes, signer: Address) -> bool {
        let signature = Signature::from(signature.0);
        let key = VerificationKey::try_from(signer.0);
        key.and_then(|key| key.verify(&signature, &self.signing_message(chain))).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payments::Voucher;
    use crate::scores::receipts::CheckReceipt;
    use crate::served::ServedGroup;
    use crate::serving_key::ServingKey;

    #[test]
    fn no_kind_passes_for_another() {
        let tags = [Voucher::TAG, CheckReceipt::TAG, ServedGroup::TAG, ServingKey::TAG];
        for (at, tag) in tags.iter().enumerate() {
            assert!(tags.iter().enumerate().all(|(other, begun)| other == at || !begun.starts_with(tag)));
        }
    }
}
