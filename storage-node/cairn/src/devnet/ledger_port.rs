//! The node's handle as the port that sealing acts through.

use std::sync::Arc;
use std::time::Duration;

use cairn_consensus::{LedgerHandle, SubmitRejection};
use cairn_ledger::{Command, Receipt, State, TransactionId};
use cairn_protocol::Epoch;
use cairn_sealing::{LedgerPort, PortRejection};
use ed25519_consensus::SigningKey;

/// See the module.
#[derive(Clone)]
pub struct NodePort(pub LedgerHandle);

impl LedgerPort for NodePort {
    fn state(&self) -> Arc<State> {
        self.0.state()
    }

    fn submit_command(&self, key: &SigningKey, command: Command) -> Result<TransactionId, PortRejection> {
        self.0.submit_command(key, command).map_err(|rejection| {
            let reason = rejection.to_string();
            match rejection {
                SubmitRejection::PoolFull { .. }
                | SubmitRejection::SenderFull { .. }
                | SubmitRejection::Stopped { .. } => PortRejection::Busy(reason),
                _ => PortRejection::Refused(reason),
            }
        })
    }

    fn receipt(&self, transaction: &TransactionId) -> Result<Option<Receipt>, String> {
        self.0.receipt(transaction).map_err(|error| error.to_string())
    }

    fn wait_for_height(&self, epoch: Epoch, timeout: Duration) -> Epoch {
        match self.0.wait_for_height(epoch, timeout) {
            Ok(header) => header.height,
            Err(late) => late.height,
        }
    }
}
