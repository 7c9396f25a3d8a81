//! Waiting transactions between validators.
//!
//! Who takes a transaction in passes it on; who gets one from a peer does not, because the transport already brings every
//! message to everybody. Several transactions travel in one part. Gossip may lose some: they stay with whoever took them
//! in and enter a block when it proposes one.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_malachitebft_app_channel::NetworkMsg;
use arc_malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use cairn_ledger::SignedTransaction;
use serde_bytes::ByteBuf;
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tracing::debug;

use crate::engine::context::Context;
use crate::engine::parts::Part;
use crate::node::Shared;

/// Bytes of transactions in one part, unless a single one is larger.
const PART_BYTES: usize = 64 << 10;

/// Transactions that wait to be passed on; more are not passed on.
const OUTBOX_MAX: usize = 10_000;

/// How long the first transaction waits for others to travel with.
const LINGER: Duration = Duration::from_millis(5);

/// Transactions to pass on.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<VecDeque<Vec<u8>>>,
    filled: Notify,
}

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, transaction: &SignedTransaction) {
        let mut waiting = self.waiting();
        if waiting.len() < OUTBOX_MAX {
            waiting.push_back(transaction.encode());
            self.filled.notify_one();
        }
    }

    /// Takes what fits into one part; nothing if nothing waits.
    fn take(&self) -> Vec<ByteBuf> {
        let (mut waiting, mut taken, mut bytes) = (self.waiting(), Vec::new(), 0);
        while let Some(next) = waiting.front() {
            bytes += next.len();
            if bytes > PART_BYTES && !taken.is_empty() {
                break;
            }
            taken.extend(waiting.pop_front().map(ByteBuf::from));
        }
        taken
    }
}

/// Passes transactions on until the network is gone.
pub(crate) async fn send(outbox: Arc<Shared>, network: Sender<NetworkMsg<Context>>) {
    let outbox = &outbox.outbox;
    for number in 0u64.. {
        let mut transactions = outbox.take();
        while transactions.is_empty() {
            outbox.filled.notified().await;
            tokio::time::sleep(LINGER).await;
            transactions = outbox.take();
        }
        let id = StreamId::new([&b"transactions"[..], &number.to_be_bytes()].concat().into());
        let message = StreamMessage::new(id, 0, StreamContent::Data(Part::Transactions(transactions)));
        if network.send(NetworkMsg::PublishProposalPart(message)).await.is_err() {
            return;
        }
    }
}

/// Takes in what peers send, until the application is gone.
pub(crate) fn receive(shared: &Shared, transactions: &Receiver<Vec<ByteBuf>>) {
    let limit = shared.view().state.params().transaction_bytes_max as usize;
    while let Ok(batch) = transactions.recv() {
        for encoding in batch {
            let taken = SignedTransaction::decode(&encoding, limit).map(|transaction| shared.submit(transaction));
            if !matches!(taken, Ok(Ok(_))) {
                debug!(?taken, "a peer's transaction is not taken");
            }
        }
    }
}
