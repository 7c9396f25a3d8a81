//! A running ledger in one process, and the handle through which everybody else uses it.
//!
//! Making a block (executing, checking proofs, writing) holds the chain but not the shared view, so that submitting and
//! reading never wait for a proof. The view moves to a block only after the block is on disk.

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cairn_ledger::{
    Address, Command, Event, Receipt, SignedTransaction, State, Transaction, TransactionId, address_of,
};
use cairn_protocol::Epoch;
use ed25519_consensus::SigningKey;
use tracing::{error, info};

use crate::block::{Block, BlockHeader};
use crate::chain::{Chain, SharedVerifier};
use crate::genesis::{Genesis, GenesisError};
use crate::mempool::{Mempool, MempoolOptions, SubmitRejection};
use crate::store::{Store, StoreError};

/// How a node runs.
#[derive(Clone)]
pub struct NodeOptions {
    /// Time between blocks; default 100 ms. A late block moves the ones after it, so a busy machine has slower epochs
    /// instead of bursts.
    pub block_interval: Duration,
    /// Blocks kept for receipts and events; default 100,000. At least 1.
    pub history_blocks: u64,
    /// Bounds of the pool.
    pub mempool: MempoolOptions,
    /// Milliseconds since 1970; default [`system_clock`].
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            block_interval: Duration::from_millis(100),
            history_blocks: 100_000,
            mempool: MempoolOptions::default(),
            clock: Arc::new(system_clock),
        }
    }
}

/// The machine's clock, in milliseconds since 1970; 0 if it stands before.
pub fn system_clock() -> u64 {
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The genesis starts no network; retrying does not help.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The store failed; see the cause.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Making a block failed in a way that is a mistake of ours.
    #[error("block production stopped: {detail}")]
    Production {
        /// What happened.
        detail: String,
    },
}

/// A height was not reached, or a transaction not in a block, in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("waited {waited:?}; the ledger is at height {height}")]
pub struct WaitTimeout {
    /// How long.
    pub waited: Duration,
    /// Height then.
    pub height: Epoch,
}

/// Why events cannot be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// They are beyond the history; start again from the state.
    #[error("events of block {height} are no longer kept")]
    Forgotten {
        /// The block.
        height: Epoch,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What happened in one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockEvents {
    /// The block.
    pub height: Epoch,
    /// In order.
    pub events: Vec<Event>,
}

/// What readers see; moves when a block is on disk.
struct View {
    header: BlockHeader,
    state: Arc<State>,
    mempool: Mempool,
    stopped: Option<String>,
}

struct Shared {
    view: Mutex<View>,
    moved: Condvar,
    store: Arc<Store>,
}

impl Shared {
    /// The view, also after a panic elsewhere: it is only ever replaced as a whole.
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A ledger that makes its own blocks.
pub struct LedgerNode {
    chain: Arc<Mutex<Chain>>,
    shared: Arc<Shared>,
    options: NodeOptions,
}

impl LedgerNode {
    /// Opens the ledger in `dir`, which is made if it is not there, and goes on where it stopped.
    ///
    /// # Errors
    /// [`NodeError`] says whether genesis or store is at fault, and how.
    pub fn open(
        dir: &Path,
        genesis: &Genesis,
        options: NodeOptions,
        verifier: SharedVerifier,
    ) -> Result<Self, NodeError> {
        let chain = Chain::open(dir, genesis, options.history_blocks, verifier)?;
        let view = View {
            header: chain.header().clone(),
            state: chain.state().clone(),
            mempool: Mempool::new(options.mempool),
            stopped: None,
        };
        info!(height = view.header.height.0, chain = %view.header.chain, "ledger open");
        let shared = Shared { view: Mutex::new(view), moved: Condvar::new(), store: chain.store().clone() };
        Ok(Self { chain: Arc::new(Mutex::new(chain)), shared: Arc::new(shared), options })
    }

    /// A handle for others; any number, in any thread.
    pub fn handle(&self) -> LedgerHandle {
        LedgerHandle { shared: self.shared.clone() }
    }

    /// Makes one block of what waits, with this time in milliseconds since 1970. Blocks until it is on disk.
    ///
    /// # Errors
    /// [`NodeError::Store`] if it cannot be stored: the node must be opened again. Submissions are refused from then on.
    pub fn produce_block(&self, time_ms: u64) -> Result<BlockHeader, NodeError> {
        let mut chain = match self.chain.lock() {
            Ok(chain) => chain,
            Err(_) => return Err(self.stop(NodeError::Production { detail: "an earlier block panicked".to_owned() })),
        };
        if let Some(detail) = self.shared.view().stopped.clone() {
            return Err(NodeError::Production { detail });
        }
        let selected = self.shared.view().mempool.select(chain.state());
        let candidate = chain
            .propose(time_ms, selected)
            .map_err(|invalid| self.stop(NodeError::Production { detail: invalid.to_string() }))?;
        chain.commit(candidate).map_err(|error| self.stop(error.into()))?;
        let mut view = self.shared.view();
        view.header = chain.header().clone();
        view.state = chain.state().clone();
        let state = view.state.clone();
        view.mempool.update(&state);
        self.shared.moved.notify_all();
        Ok(view.header.clone())
    }

    fn stop(&self, error: NodeError) -> NodeError {
        error!(%error, "ledger stopped");
        self.shared.view().stopped = Some(error.to_string());
        self.shared.moved.notify_all();
        error
    }

    /// Makes blocks at the configured interval until `shutdown` is ready. The block in progress is finished first.
    ///
    /// # Errors
    /// [`NodeError`] from the first block that fails.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) -> Result<(), NodeError> {
        let mut ticks = tokio::time::interval(self.options.block_interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                _ = ticks.tick() => {}
            }
            let node = Self { chain: self.chain.clone(), shared: self.shared.clone(), options: self.options.clone() };
            let made = tokio::task::spawn_blocking(move || node.produce_block((node.options.clock)())).await;
            match made {
                Ok(result) => {
                    result?;
                }
                Err(panic) => return Err(self.stop(NodeError::Production { detail: panic.to_string() })),
            }
        }
        info!(height = self.handle().head().height.0, "ledger closed");
        Ok(())
    }
}

/// Access to a running ledger. All calls return at once, except the waiting ones.
#[derive(Clone)]
pub struct LedgerHandle {
    shared: Arc<Shared>,
}

impl LedgerHandle {
    /// Lets a transaction wait for a block.
    ///
    /// # Errors
    /// [`SubmitRejection`] says why it may not.
    pub fn submit(&self, transaction: SignedTransaction) -> Result<TransactionId, SubmitRejection> {
        let mut view = self.shared.view();
        if let Some(reason) = &view.stopped {
            return Err(SubmitRejection::Stopped { reason: reason.clone() });
        }
        let state = view.state.clone();
        view.mempool.submit(&state, transaction)
    }

    /// Signs a command with the next nonce of the key and lets it wait; for holders of keys with several threads.
    ///
    /// # Errors
    /// [`SubmitRejection`] says why it may not.
    pub fn submit_command(&self, key: &SigningKey, command: Command) -> Result<TransactionId, SubmitRejection> {
        let sender = address_of(key);
        let mut view = self.shared.view();
        if let Some(reason) = &view.stopped {
            return Err(SubmitRejection::Stopped { reason: reason.clone() });
        }
        let state = view.state.clone();
        let nonce = view.mempool.next_nonce(&state, &sender);
        let transaction = Transaction { chain: state.chain(), sender, nonce, command }.sign(key);
        view.mempool.submit(&state, transaction)
    }

    /// The nonce that the next transaction of `sender` must carry, waiting ones counted.
    pub fn next_nonce(&self, sender: &Address) -> u64 {
        let view = self.shared.view();
        view.mempool.next_nonce(&view.state, sender)
    }

    /// Transactions waiting for a block.
    pub fn waiting(&self) -> usize {
        self.shared.view().mempool.len()
    }

    /// State after the last block. It stays as it is while the ledger goes on.
    pub fn state(&self) -> Arc<State> {
        self.shared.view().state.clone()
    }

    /// Header of the last block.
    pub fn head(&self) -> BlockHeader {
        self.shared.view().header.clone()
    }

    /// Why the ledger makes no more blocks, if it failed.
    pub fn stopped(&self) -> Option<String> {
        self.shared.view().stopped.clone()
    }

    /// A block of the history.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn block(&self, height: Epoch) -> Result<Option<Block>, StoreError> {
        self.shared.store.block(height)
    }

    /// The receipt of a transaction, once it is in a block of the history.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn receipt(&self, id: &TransactionId) -> Result<Option<Receipt>, StoreError> {
        self.shared.store.receipt(id)
    }

    /// Events of at most `blocks_max` blocks above `height`, block by block, oldest first. Go on from the last height.
    ///
    /// # Errors
    /// [`EventsError::Forgotten`] if they are beyond the history.
    pub fn events_since(&self, height: Epoch, blocks_max: u64) -> Result<Vec<BlockEvents>, EventsError> {
        let last = self.head().height.0.min(height.0.saturating_add(blocks_max));
        let mut blocks = Vec::new();
        for height in (height.0.saturating_add(1)..=last).map(Epoch) {
            let effects = self.shared.store.effects(height)?.ok_or(EventsError::Forgotten { height })?;
            blocks.push(BlockEvents { height, events: effects.events });
        }
        Ok(blocks)
    }

    /// Waits until the ledger is at `height` or above.
    ///
    /// # Errors
    /// [`WaitTimeout`] if it is not by then, or has stopped.
    pub fn wait_for_height(&self, height: Epoch, timeout: Duration) -> Result<BlockHeader, WaitTimeout> {
        let (started, mut view) = (Instant::now(), self.shared.view());
        while view.header.height < height {
            let waited = started.elapsed();
            if waited >= timeout || view.stopped.is_some() {
                return Err(WaitTimeout { waited, height: view.header.height });
            }
            let woken = self.shared.moved.wait_timeout(view, timeout - waited);
            view = woken.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        Ok(view.header.clone())
    }

    /// Waits until a transaction is in a block; `Ok(None)` if it is not by then, or the ledger has stopped.
    ///
    /// # Errors
    /// [`StoreError`] if receipts cannot be read.
    pub fn wait_for_receipt(&self, id: &TransactionId, timeout: Duration) -> Result<Option<Receipt>, StoreError> {
        let started = Instant::now();
        loop {
            let height = self.head().height;
            if let Some(receipt) = self.receipt(id)? {
                return Ok(Some(receipt));
            }
            let left = timeout.saturating_sub(started.elapsed());
            if self.wait_for_height(Epoch(height.0 + 1), left).is_err() {
                return self.receipt(id);
            }
        }
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
