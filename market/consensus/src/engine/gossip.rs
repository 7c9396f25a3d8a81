//! Waiting transactions between validators.
//!
//! Who takes a transaction in passes it on; who gets one from a peer does not, because the transport already brings every
//! message to everybody. Several transactions travel in one part. Gossip may lose some: what still waits after a while is
//! passed on again by whoever took it in, a few times; after that it stays there and enters a block when that validator
//! proposes one.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_malachitebft_app_channel::NetworkMsg;
use arc_malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use cairn_ledger::{SignedTransaction, TransactionId};
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

/// How long a transaction waits for a block until it is passed on again, and after that each time as long again.
const REPEAT_AFTER: Duration = Duration::from_secs(2);

/// How often it is passed on again.
const REPEATS_MAX: u32 = 5;

/// Transactions that are passed on again at once.
const REPEATED_MAX: usize = 1_000;

/// Transactions to pass on.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<VecDeque<Vec<u8>>>,
    /// What was passed on, oldest first.
    own: Mutex<VecDeque<Own>>,
    filled: Notify,
}

/// A transaction that was taken in here.
#[derive(Debug)]
struct Own {
    id: TransactionId,
    encoding: Vec<u8>,
    last: Instant,
    repeats: u32,
}

impl Outbox {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, transaction: &SignedTransaction) {
        let encoding = transaction.encode();
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if own.len() < OUTBOX_MAX {
            let (id, last) = (transaction.id(), Instant::now());
            own.push_back(Own { id, encoding: encoding.clone(), last, repeats: 0 });
        }
        drop(own);
        self.pass_on(encoding);
    }

    fn pass_on(&self, encoding: Vec<u8>) {
        let mut waiting = self.waiting();
        if waiting.len() < OUTBOX_MAX {
            waiting.push_back(encoding);
            self.filled.notify_one();
        }
    }

    /// Passes on again what still waits for a block; in the order in which it came, which is that of the nonces.
    fn repeat(&self, now: Instant, is_waiting: impl Fn(&TransactionId) -> bool) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.retain(|own| own.repeats < REPEATS_MAX && is_waiting(&own.id));
        let late = |own: &&mut Own| now.saturating_duration_since(own.last) >= REPEAT_AFTER * (own.repeats + 1);
        for own in own.iter_mut().filter(late).take(REPEATED_MAX) {
            (own.last, own.repeats) = (now, own.repeats + 1);
            self.pass_on(own.encoding.clone());
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

/// Passes on again what was lost, until it is aborted.
pub(crate) async fn repeat(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(REPEAT_AFTER / 4).await;
        let view = shared.view();
        shared.outbox.repeat(Instant::now(), |id| view.mempool.is_waiting(id));
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

#[cfg(test)]
mod tests {
    use cairn_ledger::testing::Network;
    use cairn_ledger::{Command, LedgerParams};
    use cairn_protocol::Amount;

    use super::*;

    #[test]
    fn what_still_waits_is_passed_on_again_a_few_times_and_in_order() {
        let network = Network::new(LedgerParams::devnet(), 2);
        let command = |amount| Command::Transfer { to: Network::address(2), amount: Amount(amount) };
        let sent: Vec<_> = (0..3).map(|n| network.transaction(1, n, command(n))).collect();
        let outbox = Outbox::default();
        sent.iter().for_each(|transaction| outbox.push(transaction));
        let encodings: Vec<_> = sent.iter().map(|transaction| ByteBuf::from(transaction.encode())).collect();
        assert_eq!(outbox.take(), encodings);
        let start = Instant::now();
        outbox.repeat(start, |_| true);
        assert!(outbox.take().is_empty(), "too early");
        let mut now = start;
        for repeat in 1..=REPEATS_MAX {
            now += REPEAT_AFTER * (repeat + 1);
            outbox.repeat(now, |id| *id != sent[0].id());
            assert_eq!(outbox.take(), encodings[1..], "the first is in a block");
        }
        outbox.repeat(now + REPEAT_AFTER * 100, |_| true);
        assert!(outbox.take().is_empty() && outbox.own.lock().unwrap().is_empty(), "not for ever");
    }
}
