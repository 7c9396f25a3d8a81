//! A node's handle as sealing wants it, for tests whose blocks the test makes. Beside a running network
//! `cairn` has its own.

use std::sync::Arc;
use std::time::Duration;

use cairn_consensus::{LedgerHandle, SubmitRejection};
use cairn_ledger::{Command, Receipt, State, TransactionId};
use cairn_protocol::Epoch;
use cairn_sealing::{LedgerPort, PortRejection};
use ed25519_consensus::SigningKey;

#[derive(Clone)]
pub struct Port(pub LedgerHandle);

impl LedgerPort for Port {
    fn state(&self) -> Arc<State> {
        self.0.state()
    }

    fn submit_command(&self, key: &SigningKey, command: Command) -> Result<TransactionId, PortRejection> {
        self.0.submit_command(key, command).map_err(|rejection| match rejection {
            SubmitRejection::NotAdmitted(_) => PortRejection::Refused(rejection.to_string()),
            _ => PortRejection::Busy(rejection.to_string()),
        })
    }

    fn receipt(&self, transaction: &TransactionId) -> Result<Option<Receipt>, String> {
        self.0.receipt(transaction).map_err(|error| error.to_string())
    }

    fn wait_for_height(&self, epoch: Epoch, timeout: Duration) -> Epoch {
        self.0.wait_for_height(epoch, timeout).map_or_else(|late| late.height, |header| header.height)
    }
}
