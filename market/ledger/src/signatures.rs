//! Checks the signatures of a block in one batch, and finds the bad ones if there are any.
//!
//! ZIP-215 rules make batch and single verification agree, so the result does not depend on how a block is split. The
//! batch needs random weights that a signer cannot choose; they come from a hash over everything that is checked, so
//! that the check stays a pure function.

use ed25519_consensus::batch;
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest, Sha256};

use crate::transaction::SignedTransaction;

/// Which of `transactions` carry a valid signature of their sender, in order.
pub fn verify_signatures(transactions: &[SignedTransaction]) -> Vec<bool> {
    let items: Vec<batch::Item> = transactions.iter().map(item).collect();
    let mut verifier = batch::Verifier::new();
    for item in &items {
        verifier.queue(item.clone());
    }
    if verifier.verify(HashRng::new(transactions)).is_ok() {
        return vec![true; transactions.len()];
    }
    items.into_iter().map(|item| item.verify_single().is_ok()).collect()
}

/// Whether `transaction` carries a valid signature of its sender.
pub fn verify_signature(transaction: &SignedTransaction) -> bool {
    item(transaction).verify_single().is_ok()
}

fn item(signed: &SignedTransaction) -> batch::Item {
    let message = signed.transaction.signing_message();
    (signed.transaction.sender.0.into(), signed.signature.0.into(), &message).into()
}

/// SHA-256 in counter mode over a seed that commits to the batch.
struct HashRng {
    seed: [u8; 32],
    counter: u64,
}

impl HashRng {
    fn new(transactions: &[SignedTransaction]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"cairn/signature-batch/v1");
        for signed in transactions {
            hash.update(signed.id().0);
        }
        Self { seed: hash.finalize().into(), counter: 0 }
    }
}

impl RngCore for HashRng {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, destination: &mut [u8]) {
        for chunk in destination.chunks_mut(32) {
            let block = Sha256::new().chain_update(self.seed).chain_update(self.counter.to_be_bytes()).finalize();
            self.counter += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, destination: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(destination);
        Ok(())
    }
}

impl CryptoRng for HashRng {}

#[cfg(test)]
mod tests {
    use cairn_protocol::Amount;
    use ed25519_consensus::SigningKey;

    use super::*;
    use crate::command::Command;
    use crate::ids::{Address, ChainId};
    use crate::transaction::{Transaction, address_of};

    fn signed(seed: u8, nonce: u64) -> SignedTransaction {
        let key = SigningKey::from([seed; 32]);
        let command = Command::Transfer { to: Address([9; 32]), amount: Amount(1) };
        Transaction { chain: ChainId([1; 32]), sender: address_of(&key), nonce, command }.sign(&key)
    }

    #[test]
    fn a_batch_names_its_bad_members() {
        let mut batch: Vec<_> = (0..8).map(|n| signed(n as u8 % 3, n)).collect();
        assert_eq!(verify_signatures(&batch), vec![true; 8]);
        batch[2].signature.0[5] ^= 1;
        batch[6].transaction.nonce = 99;
        let expected: Vec<bool> = (0..8).map(|n| n != 2 && n != 6).collect();
        assert_eq!(verify_signatures(&batch), expected);
        assert!(verify_signature(&batch[0]) && !verify_signature(&batch[2]));
    }

    #[test]
    fn a_key_that_is_no_point_is_a_bad_signature() {
        let mut batch = vec![signed(1, 0), signed(1, 1)];
        batch[1].transaction.sender = Address([0xff; 32]);
        assert_eq!(verify_signatures(&batch), vec![true, false]);
        assert_eq!(verify_signatures(&[]), Vec::<bool>::new());
    }
}
