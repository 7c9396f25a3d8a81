//! Workers against a ledger that is somewhere else: the traits that they see the ledger through, over HTTP.
//!
//! [`RemoteLedger`] is one account's access. [`ProviderSeat`] implements [`cairn_sealing::LedgerClient`] and
//! [`cairn_sealing::MarketLedger`] over it, so that bidding and the sealing pipeline run against a remote ledger as it does against a node in its own process, and [`JobSeat`]
//! implements [`cairn_prover::JobLedger`] for those who prove, or have proven, for money; [`CheckSeat`] implements
//! [`cairn_checker::CheckerLedger`] for those who check. Transactions are signed here, for the chain that the caller names;
//! the server never sees a key.
//!
//! What the server says is believed, as a node's own state is: a provider that wants to trust nobody runs a node.

#![forbid(unsafe_code)]

mod checks;
mod jobs;
mod provider;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use cairn_ledger::{Address, ChainId, Command, LedgerParams, TransactionId};
use cairn_rpc::wire::Outcome;
use cairn_rpc::{ClientError, RpcClient};
use cairn_sealing::{LedgerClientError, SubmissionStatus};
use ed25519_consensus::SigningKey;
use serde_json::Value;

pub use checks::CheckSeat;
pub use jobs::JobSeat;
pub use provider::ProviderSeat;
use sending::Sender;

/// One account's access to a remote ledger. Copies share the order in which they send.
#[derive(Clone)]
pub struct RemoteLedger {
    client: RpcClient,
    chain: ChainId,
    sender: Arc<Sender>,
}

impl RemoteLedger {
    /// Acts with `key` on the ledger of `chain` behind `client`.
    ///
    /// # Errors
    /// [`ClientError::WrongChain`] if it is another ledger, or that it cannot be asked.
    pub fn connect(client: RpcClient, chain: &ChainId, key: SigningKey) -> Result<Self, ClientError> {
        client.expect_chain(chain)?;
        let sender = Arc::new(Sender::new(client.clone(), *chain, key));
        Ok(Self { client, chain: *chain, sender })
    }

    /// The account.
    pub fn address(&self) -> Address {
        self.sender.address()
    }

    /// Asks whatever else there is to ask.
    pub fn client(&self) -> &RpcClient {
        &self.client
    }

    /// The network's numbers.
    ///
    /// # Errors
    /// [`LedgerClientError::Unavailable`] if it cannot be asked, or its parameters are those of another version.
    pub fn params(&self) -> Result<LedgerParams, LedgerClientError> {
        let params = self.client.params().map_err(unavailable)?.params;
        serde_json::from_value(Value::Object(params)).map_err(|error| LedgerClientError::Unavailable {
            detail: format!("the parameters of {} are of another version: {error}", self.client.url()),
        })
    }

    /// Signs a command with the next nonce and hands it in; `what` names it in errors. A transaction whose answer was lost
    /// is handed in again, the same, before anything else is signed: see [`sending`].
    ///
    /// # Errors
    /// [`LedgerClientError`] with the ledger's reason.
    pub fn send(&self, what: &'static str, command: &Command) -> Result<TransactionId, LedgerClientError> {
        self.sender.send(command).map_err(|error| match error {
            ClientError::Problem(problem) if !problem.code.is_transient() => {
                LedgerClientError::Refused { what, reason: problem.to_string() }
            }
            other => unavailable(other),
        })
    }

    /// What became of a transaction.
    ///
    /// # Errors
    /// [`LedgerClientError::Unavailable`] if it cannot be asked.
    pub fn submission(&self, transaction: &TransactionId) -> Result<SubmissionStatus, LedgerClientError> {
        let status = self.client.transaction(transaction, Duration::ZERO).map_err(unavailable)?;
        let Some(receipt) = status.and_then(|status| status.receipt) else { return Ok(SubmissionStatus::Pending) };
        Ok(match (receipt.outcome, receipt.refusal) {
            (Outcome::Applied, _) => SubmissionStatus::Applied(receipt.height),
            (_, refusal) => SubmissionStatus::Failed(refusal.map_or_else(String::new, |refusal| refusal.text)),
        })
    }
}

/// The ledger gave no useful answer.
fn unavailable(error: ClientError) -> LedgerClientError {
    LedgerClientError::Unavailable { detail: error.to_string() }
}
