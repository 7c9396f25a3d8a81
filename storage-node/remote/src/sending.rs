//! Signing with one key for a ledger that is somewhere else, so that no two transactions share a nonce and none is lost.
//!
//! 1. One transaction at a time: the next nonce is asked for, signed and handed in under one lock, because several parts of
//!    a provider (bidding, sealing, proofs) sign with one key.
//! 2. No answer does not say that the ledger has nothing. The same transaction, byte for byte, is handed in a few times
//!    more; a ledger that has it says so and does nothing.
//! 3. Still no answer: it is kept, and handed in before anything else is signed. Whoever asks for the same command again
//!    gets that transaction, not a second one.
//!
//! A nonce that somebody else with the same key took meanwhile is asked for anew, a few times. What is kept is in memory
//! alone: a process that starts again asks the ledger for the next nonce, which counts what waits there.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cairn_ledger::{Address, ChainId, Command, SignedTransaction, Transaction, TransactionId, address_of};
use cairn_rpc::{ClientError, RpcClient};
use ed25519_consensus::SigningKey;

/// Pauses before a transaction without answer is handed in again.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];
/// How often a nonce may be lost to somebody else with the same key.
const NONCE_TRIES: u32 = 4;

/// See the module.
pub(crate) struct Sender {
    client: RpcClient,
    chain: ChainId,
    key: SigningKey,
    /// Handed in, and no answer came.
    unanswered: Mutex<Option<SignedTransaction>>,
}

impl Sender {
    pub(crate) fn new(client: RpcClient, chain: ChainId, key: SigningKey) -> Self {
        Self { client, chain, key, unanswered: Mutex::default() }
    }

    pub(crate) fn address(&self) -> Address {
        address_of(&self.key)
    }

    /// Steps 1 to 3 of the module.
    pub(crate) fn send(&self, command: &Command) -> Result<TransactionId, ClientError> {
        let mut unanswered = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signed) = unanswered.take() {
            match self.hand_in(&signed) {
                Ok(id) if signed.transaction.command == *command => return Ok(id),
                Err(error) if is_unanswered(&error) || error.is_transient() => {
                    *unanswered = Some(signed);
                    return Err(error);
                }
                // The ledger has it, or never will.
                Ok(_) | Err(_) => {}
            }
        }
        let mut tries = 1;
        loop {
            let nonce = self.client.account(&self.address())?.next_nonce;
            let transaction =
                Transaction { chain: self.chain, sender: self.address(), nonce, command: command.clone() };
            let signed = transaction.sign(&self.key);
            match self.hand_in(&signed) {
                Err(error) if error.is_wrong_nonce() && tries < NONCE_TRIES => tries += 1,
                Err(error) if is_unanswered(&error) => {
                    *unanswered = Some(signed);
                    return Err(error);
                }
                done => return done,
            }
        }
    }

    /// Step 2 of the module.
    fn hand_in(&self, signed: &SignedTransaction) -> Result<TransactionId, ClientError> {
        for pause in AGAIN_AFTER {
            match self.client.submit(signed) {
                Err(error) if is_unanswered(&error) => std::thread::sleep(pause),
                done => return done,
            }
        }
        self.client.submit(signed)
    }
}

/// Whether the ledger may have the transaction all the same.
fn is_unanswered(error: &ClientError) -> bool {
    !matches!(error, ClientError::Problem(_))
}
