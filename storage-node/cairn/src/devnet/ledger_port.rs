//! The node's handle as the port that sealing acts through.

use std::sync::Arc;
use std::time::Duration;

use cairn_consensus::{LedgerHandle, SubmitRejection};
use cairn_ledger::{Address, AdmissionRejection, Outcome, SignedTransaction, State, TransactionId};
use cairn_protocol::Epoch;
use cairn_sealing::{LedgerPort, PortRejection};

/// See the module.
#[derive(Clone)]
pub struct NodePort(pub LedgerHandle);

impl LedgerPort for NodePort {
    fn state(&self) -> Arc<State> {
        self.0.state()
    }

    fn next_nonce(&self, address: &Address) -> u64 {
        self.0.next_nonce(address)
    }

    fn submit(&self, transaction: SignedTransaction) -> Result<TransactionId, PortRejection> {
        self.0.submit(transaction).map_err(|rejection| {
            let reason = rejection.to_string();
            match rejection {
                SubmitRejection::Admission(AdmissionRejection::Nonce { .. }) => PortRejection::WrongNonce(reason),
                SubmitRejection::Full { .. } | SubmitRejection::Stopped { .. } => PortRejection::Busy(reason),
                _ => PortRejection::Refused(reason),
            }
        })
    }

    fn outcome(&self, transaction: &TransactionId) -> Option<(Epoch, Outcome)> {
        match self.0.receipt(transaction) {
            Ok(receipt) => receipt.map(|receipt| (receipt.epoch, receipt.outcome)),
            Err(error) => {
                tracing::error!(%error, %transaction, "cannot read a receipt");
                None
            }
        }
    }

    fn wait_for_height(&self, epoch: Epoch, timeout: Duration) -> Epoch {
        match self.0.wait_for_height(epoch, timeout) {
            Ok(header) => header.height,
            Err(late) => late.height,
        }
    }
}
