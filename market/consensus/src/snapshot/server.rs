//! Offering states of recent blocks, and answering questions about them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cairn_ledger::{State, StateRoot, codec};
use cairn_protocol::Epoch;
use serde_bytes::ByteBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::block::BlockHeader;
use crate::node::LedgerHandle;
use crate::snapshot::wire::{Answer, Ask, NODES_BYTES, QUESTION_BYTES_MAX, Question, Status, VERSION, frame};
use crate::store::StoreError;

/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 16;
/// Longest wait for the next question, and for an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(30);
/// Questions of one connection. A state of 8 GiB takes less than a tenth of them.
const QUESTIONS_MAX: u32 = 100_000;

/// States that are offered without being asked for.
const OFFERED: usize = 2;
/// States that are kept, because somebody takes them at the moment.
const OFFERED_MAX: usize = 4;
/// How long after a question a state counts as being taken.
const TAKEN_FOR: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Offer {
    height: Epoch,
    root: StateRoot,
    state: Arc<State>,
    /// Its encoding, because the history may be shorter than the offer is long.
    block: Vec<u8>,
    asked_at: Option<Instant>,
}

/// States of recent blocks. Copies of a state share what they have in common, so one costs what has changed since.
#[derive(Debug, Default)]
pub struct Offered {
    offers: Mutex<Vec<Offer>>,
}

impl Offered {
    fn offers(&self) -> MutexGuard<'_, Vec<Offer>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers the state after a block, and forgets the oldest that nobody takes.
    pub(crate) fn push(&self, header: &BlockHeader, state: Arc<State>, block: Vec<u8>) {
        let mut offers = self.offers();
        offers.push(Offer { height: header.height, root: header.state_root, state, block, asked_at: None });
        while offers.len() > OFFERED {
            let beyond = offers.len() - OFFERED;
            let is_free = |offer: &Offer| offer.asked_at.is_none_or(|asked| asked.elapsed() > TAKEN_FOR);
            let free = offers.iter().take(beyond).position(is_free);
            match free {
                Some(place) => drop(offers.remove(place)),
                None if offers.len() > OFFERED_MAX => drop(offers.remove(0)),
                None => break,
            }
        }
    }

    fn heights(&self) -> Vec<Epoch> {
        self.offers().iter().map(|offer| offer.height).collect()
    }

    fn block(&self, height: Epoch) -> Option<ByteBuf> {
        self.offers().iter().find(|offer| offer.height == height).map(|offer| ByteBuf::from(offer.block.clone()))
    }

    fn take(&self, root: &StateRoot) -> Option<Arc<State>> {
        let mut offers = self.offers();
        let offer = offers.iter_mut().find(|offer| offer.root == *root)?;
        offer.asked_at = Some(Instant::now());
        Some(offer.state.clone())
    }
}

/// Answers until `shutdown` is ready.
///
/// # Errors
/// Never while the listener works.
pub async fn serve(listener: TcpListener, ledger: LedgerHandle, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    tokio::pin!(shutdown);
    loop {
        let place = places.clone().acquire_owned().await.expect("never closed");
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or a peer that went away: neither is a reason to stop.
                warn!(%error, "cannot accept a connection for snapshots");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let ended = converse(stream, &ledger).await;
            debug!(%peer, ?ended, "a connection for snapshots ended");
            drop(place);
        });
    }
}

async fn converse(mut stream: TcpStream, ledger: &LedgerHandle) -> io::Result<()> {
    stream.set_nodelay(true)?;
    for _ in 0..QUESTIONS_MAX {
        let body = timeout(PATIENCE, read_frame(&mut stream)).await??;
        let question: Question = codec::decode_strict(&body, QUESTION_BYTES_MAX)
            .map_err(|rejection| io::Error::new(io::ErrorKind::InvalidData, rejection))?;
        if question.chain != (VERSION, ledger.head().chain) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a question about another chain"));
        }
        let ledger = ledger.clone();
        // Encoding a block or a megabyte of nodes is work, not waiting.
        let answer = tokio::task::spawn_blocking(move || answer(&ledger, question.what).map(|answer| frame(&answer)));
        let answer = answer.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        timeout(PATIENCE, stream.write_all(&answer)).await??;
    }
    Ok(())
}

async fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await? as usize;
    if length > QUESTION_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a question that is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

fn answer(ledger: &LedgerHandle, what: Ask) -> Result<Answer, StoreError> {
    let (store, offered) = (ledger.store(), ledger.offered());
    Ok(match what {
        Ask::Status => Answer::Status(Status {
            head: ledger.head().height,
            oldest: store.oldest()?,
            snapshots: offered.heights(),
            every: ledger.snapshot_every(),
        }),
        Ask::Light(height) => Answer::Light(store.light(height)?.map(Box::new)),
        Ask::Block(height) => Answer::Block(match offered.block(height) {
            Some(block) => Some(block),
            None => store.block(height)?.map(|block| ByteBuf::from(codec::encode(&block))),
        }),
        Ask::Top(root) => Answer::Top(offered.take(&root).map(|state| state.top())),
        Ask::Nodes(root, places) => {
            Answer::Nodes(offered.take(&root).and_then(|state| state.list(&places, NODES_BYTES)))
        }
    })
}

#[cfg(test)]
mod tests {
    use cairn_ledger::LedgerParams;
    use cairn_ledger::testing::Network;

    use super::*;
    use crate::genesis::Genesis;
    use crate::store::Head;

    #[test]
    fn what_is_being_taken_stays_a_while() {
        let state = Arc::new(Network::new(LedgerParams::devnet(), 1).state);
        let root = |n: u64| StateRoot([n as u8; 32]);
        let offered = Offered::default();
        let genesis = Genesis::devnet(0, [0; 32], vec![]);
        let header = Head::of_genesis(&genesis).unwrap().header;
        let push = |n: u64| {
            let header = BlockHeader { height: Epoch(n), state_root: root(n), ..header.clone() };
            offered.push(&header, state.clone(), vec![n as u8]);
        };
        let heights = || offered.heights().iter().map(|height| height.0).collect::<Vec<_>>();
        (1..=3).for_each(push);
        assert_eq!(heights(), [2, 3]);
        assert!(offered.block(Epoch(3)) == Some(ByteBuf::from([3])) && offered.block(Epoch(1)).is_none());
        assert!(offered.take(&root(2)).is_some() && offered.take(&root(1)).is_none());
        (4..=5).for_each(push);
        assert_eq!(heights(), [2, 4, 5], "2 is being taken");
        (4..=5).for_each(|n| drop(offered.take(&root(n))));
        (6..=7).for_each(push);
        assert_eq!(heights(), [4, 5, 6, 7], "but not for ever more of them");
    }
}
