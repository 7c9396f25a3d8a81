//! A running ledger, and the handle through which everybody else uses it.
//!
//! [`LedgerNode::run`] takes part in deciding blocks: as the only validator, which needs no network, as one of several, or
//! as an observer without a vote. Executing a block (signatures, proofs, writing) holds the chain but not the shared
//! view, so that submitting and reading never wait for a proof. The view moves to a block only after the block is on disk.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cairn_ledger::{
    Address, AdmissionRejection, Command, Event, Receipt, SignatureBytes, SignedTransaction, State, Transaction,
    TransactionId, address_of, codec, signatures::verify_signature,
};
use cairn_protocol::Epoch;
use ed25519_consensus::SigningKey;
use tracing::{error, info, warn};

use crate::block::{Block, BlockHeader};
use crate::chain::{Chain, ChainOptions, ProposeError, SharedVerifier};
use crate::commit::{Commit, CommitRejection, CommitSignature, VoteKind, vote_message};
use crate::drand::{DrandError, DrandSource};
use crate::engine::gossip::Outbox;
use crate::engine::service;
use crate::genesis::{Genesis, GenesisError};
use crate::mempool::{Mempool, MempoolOptions, SubmitRejection};
use crate::snapshot::Offered;
use crate::store::{History, Store, StoreError};

/// File of the engine's log of votes, in the folder of the store.
pub(crate) const VOTES_LOG: &str = "votes.wal";

/// How a node runs.
#[derive(Clone)]
pub struct NodeOptions {
    /// Time between blocks; default 100 ms. A late block moves the ones after it, so a busy machine has slower epochs
    /// instead of bursts. Validators should agree on it; the slowest third decides.
    pub block_interval: Duration,
    /// The key that this node votes with. By default the only validator of a development network has the key that
    /// follows from the genesis, and everybody else observes.
    pub validator: Option<SigningKey>,
    /// The other nodes; by default there are none.
    pub network: NetworkOptions,
    /// How long to wait for others.
    pub timeouts: Timeouts,
    /// How much of the past is kept for receipts, events and nodes that catch up.
    pub history: History,
    /// Where drand's rounds come from, on a network whose beacon is drand; without them the node proposes no blocks.
    pub rounds: Option<Arc<dyn DrandSource>>,
    /// Bounds of the pool.
    pub mempool: MempoolOptions,
    /// Milliseconds since 1970; default [`system_clock`].
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            block_interval: Duration::from_millis(100),
            validator: None,
            network: NetworkOptions::default(),
            timeouts: Timeouts::default(),
            history: History::default(),
            rounds: None,
            mempool: MempoolOptions::default(),
            clock: Arc::new(system_clock),
        }
    }
}

/// Where the other nodes are. With neither a place to listen nor peers, the node is alone and opens no port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkOptions {
    /// Where peers may connect. A node that has peers listens on a port of the system's choice if this is not set: on
    /// loopback if all of them are there, else on every address.
    pub listen: Option<SocketAddr>,
    /// Whom to stay connected to.
    pub peers: Vec<SocketAddr>,
}

impl NetworkOptions {
    /// Whether there is nobody to talk to.
    pub fn is_alone(&self) -> bool {
        self.listen.is_none() && self.peers.is_empty()
    }

    /// Where to listen, if not alone.
    pub(crate) fn listen_address(&self) -> SocketAddr {
        let local = self.peers.iter().all(|peer| peer.ip().is_loopback());
        let ip = match (self.peers.first().is_none_or(SocketAddr::is_ipv4), local) {
            (true, true) => IpAddr::from(Ipv4Addr::LOCALHOST),
            (true, false) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            (false, true) => IpAddr::from(Ipv6Addr::LOCALHOST),
            (false, false) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        self.listen.unwrap_or(SocketAddr::new(ip, 0))
    }
}

/// How long a round waits before it goes on without an answer. Each further round of a height waits longer by a half.
/// Too short costs rounds, too long costs time when a validator is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the block; default 1 s. Making, sending and executing a full block must fit.
    pub propose: Duration,
    /// For the missing votes once two thirds have voted, but not for the same; default 300 ms.
    pub vote: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { propose: Duration::from_secs(1), vote: Duration::from_millis(300) }
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
    /// A decision that decides nothing; a mistake of ours, or worse.
    #[error(transparent)]
    Commit(#[from] CommitRejection),
    /// The engine failed; the log may say more. Running again helps if the cause is gone.
    #[error("consensus engine: cannot {what}: {detail}")]
    Engine {
        /// While doing what.
        what: &'static str,
        /// What it said.
        detail: String,
    },
    /// There is no beacon for the next block; trying again later helps.
    #[error("no beacon for the next block: {0}")]
    Beacon(DrandError),
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
pub(crate) struct View {
    pub(crate) header: BlockHeader,
    pub(crate) state: Arc<State>,
    pub(crate) mempool: Mempool,
    stopped: Option<String>,
}

pub(crate) struct Shared {
    view: Mutex<View>,
    moved: Condvar,
    store: Arc<Store>,
    /// Transactions for peers; filled only while there may be some.
    pub(crate) outbox: Outbox,
    gossips: bool,
    offered: Offered,
    snapshot_every: u64,
}

impl Shared {
    /// The view, also after a panic elsewhere: it is only ever replaced as a whole.
    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets everybody see the head.
    pub(crate) fn publish(&self, chain: &Chain) {
        let mut view = self.view();
        view.header = chain.header().clone();
        view.state = chain.state().clone();
        let state = view.state.clone();
        view.mempool.update(&state);
        drop(view);
        self.moved.notify_all();
        if chain.header().height.0.is_multiple_of(self.snapshot_every) {
            self.offer(chain);
        }
    }

    /// Offers the state after the head to nodes that catch up. Not offering it does no harm to anybody else.
    fn offer(&self, chain: &Chain) {
        let header = chain.header();
        match chain.store().block(header.height) {
            Ok(Some(block)) => self.offered.push(header, chain.state().clone(), codec::encode(&block)),
            Ok(None) => {}
            Err(error) => warn!(%error, "a snapshot is not offered"),
        }
    }

    /// Lets a transaction wait. Its signature is checked without holding the view.
    pub(crate) fn submit(&self, transaction: SignedTransaction) -> Result<TransactionId, SubmitRejection> {
        self.view().check(&transaction)?;
        if !verify_signature(&transaction) {
            let sender = transaction.transaction.sender;
            return Err(AdmissionRejection::BadSignature { sender }.into());
        }
        self.view().insert(transaction)
    }
}

impl View {
    fn check(&self, transaction: &SignedTransaction) -> Result<(), SubmitRejection> {
        match &self.stopped {
            Some(reason) => Err(SubmitRejection::Stopped { reason: reason.clone() }),
            None => self.mempool.check(&self.state, transaction),
        }
    }

    /// Takes a transaction whose signature was checked.
    fn insert(&mut self, transaction: SignedTransaction) -> Result<TransactionId, SubmitRejection> {
        self.check(&transaction)?;
        Ok(self.mempool.insert(&self.state, transaction))
    }
}

/// A ledger that takes part in making its blocks.
pub struct LedgerNode {
    pub(crate) chain: Arc<Mutex<Chain>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) options: NodeOptions,
    pub(crate) validator: Option<SigningKey>,
    pub(crate) dir: PathBuf,
    running: AtomicBool,
    #[cfg(test)]
    pub(crate) mischief: Mischief,
}

/// What a validator does that it must not.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mischief {
    /// Changes the blocks that it proposes.
    pub(crate) tamper: Option<fn(&mut Block)>,
    /// Sends nothing of its blocks but their announcement.
    pub(crate) withhold: bool,
    /// Signs two of each, for different blocks.
    pub(crate) said_twice: Option<crate::engine::liar::SaidTwice>,
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
        let chain_options = ChainOptions { history: options.history, rounds: options.rounds.clone() };
        let chain = Chain::open(dir, genesis, chain_options, verifier)?;
        let validator = options.validator.clone().or_else(|| genesis.only_development_key());
        let view = View {
            header: chain.header().clone(),
            state: chain.state().clone(),
            mempool: Mempool::new(options.mempool),
            stopped: None,
        };
        info!(height = view.header.height.0, chain = %view.header.chain, "ledger open");
        let shared = Shared {
            view: Mutex::new(view),
            moved: Condvar::new(),
            store: chain.store().clone(),
            outbox: Outbox::default(),
            gossips: !options.network.is_alone(),
            offered: Offered::default(),
            snapshot_every: options.history.snapshot_every.max(1),
        };
        shared.offer(&chain);
        let (chain, dir) = (Arc::new(Mutex::new(chain)), dir.to_owned());
        Ok(Self {
            chain,
            shared: Arc::new(shared),
            options,
            validator,
            dir,
            running: AtomicBool::new(false),
            #[cfg(test)]
            mischief: Mischief::default(),
        })
    }

    /// A handle for others; any number, in any thread.
    pub fn handle(&self) -> LedgerHandle {
        LedgerHandle { shared: self.shared.clone() }
    }

    /// Makes one block of what waits, with this time in milliseconds since 1970, and decides it alone, without the engine.
    /// Blocks until it is on disk. For tests and tools: a running node makes its blocks by itself.
    ///
    /// # Errors
    /// [`NodeError::Production`] if the node is running, or is not the only validator. [`NodeError::Store`] if the block
    /// cannot be stored: the node must be opened again. Submissions are refused from then on.
    pub fn produce_block(&self, time_ms: u64) -> Result<BlockHeader, NodeError> {
        let mistake = |detail: &str| NodeError::Production { detail: detail.to_owned() };
        if self.running.load(Ordering::SeqCst) {
            return Err(mistake("the node is running and makes its blocks by itself"));
        }
        let mut chain = match self.chain.lock() {
            Ok(chain) => chain,
            Err(_) => return Err(self.stop(mistake("an earlier block panicked"))),
        };
        if let Some(detail) = self.shared.view().stopped.clone() {
            return Err(NodeError::Production { detail });
        }
        let Some(key) = &self.validator else { return Err(mistake("this node is no validator")) };
        let selected = self.shared.view().mempool.select(chain.state());
        let candidate = chain.propose(time_ms, address_of(key), selected).map_err(|error| match error {
            ProposeError::Beacon(error) => NodeError::Beacon(error),
            ProposeError::Invalid(invalid) => self.stop(NodeError::Production { detail: invalid.to_string() }),
        })?;
        let commit = decide_alone(key, &candidate.block().header);
        chain.commit(candidate, commit).map_err(|error| self.stop(error))?;
        self.shared.publish(&chain);
        Ok(chain.header().clone())
    }

    fn stop(&self, error: NodeError) -> NodeError {
        error!(%error, "ledger stopped");
        self.shared.view().stopped = Some(error.to_string());
        self.shared.moved.notify_all();
        error
    }

    /// Takes part until `shutdown` is ready. The step in progress is finished first; what was decided is on disk.
    ///
    /// # Errors
    /// [`NodeError`]: what keeps the node from taking part any longer. It does not vote after that.
    ///
    /// # Panics
    /// If it is running already: a mistake of the caller.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) -> Result<(), NodeError> {
        assert!(!self.running.swap(true, Ordering::SeqCst), "a node runs once at a time");
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut serving = service::run(self, stopped);
        tokio::pin!(shutdown);
        let result = tokio::select! {
            biased;
            () = &mut shutdown => {
                stop.send_replace(true);
                serving.await
            }
            ended = &mut serving => ended,
        };
        self.running.store(false, Ordering::SeqCst);
        result.map_err(|error| self.stop(error))
    }
}

/// The decision of a validator that has all votes.
fn decide_alone(key: &SigningKey, header: &BlockHeader) -> Commit {
    let (height, block, validator) = (header.height, header.id(), address_of(key));
    let message = vote_message(&header.chain, VoteKind::Precommit, height, 0, Some(&block), &validator);
    let signature = SignatureBytes(key.sign(&message).to_bytes());
    Commit { height, round: 0, block, signatures: vec![CommitSignature { validator, signature }] }
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
        let announced = self.shared.gossips.then(|| transaction.clone());
        let id = self.shared.submit(transaction)?;
        announced.inspect(|transaction| self.shared.outbox.push(transaction));
        Ok(id)
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
        let nonce = view.mempool.next_nonce(&view.state, &sender);
        let transaction = Transaction { chain: view.state.chain(), sender, nonce, command }.sign(key);
        let announced = self.shared.gossips.then(|| transaction.clone());
        let id = view.insert(transaction)?;
        drop(view);
        announced.inspect(|transaction| self.shared.outbox.push(transaction));
        Ok(id)
    }

    /// The nonce that the next transaction of `sender` must carry, waiting ones counted.
    pub fn next_nonce(&self, sender: &Address) -> u64 {
        let view = self.shared.view();
        view.mempool.next_nonce(&view.state, sender)
    }

    /// Blocks, as they are on disk.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// States that nodes may take which catch up.
    pub(crate) fn offered(&self) -> &Offered {
        &self.shared.offered
    }

    /// See [`History::snapshot_every`].
    pub fn snapshot_every(&self) -> u64 {
        self.shared.snapshot_every
    }

    /// Transactions waiting for a block.
    pub fn waiting(&self) -> usize {
        self.shared.view().mempool.len()
    }

    /// Whether this transaction waits for a block.
    pub fn is_waiting(&self, id: &TransactionId) -> bool {
        self.shared.view().mempool.contains(id)
    }

    /// Height of the oldest block of the history.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn oldest_block(&self) -> Result<Epoch, StoreError> {
        self.shared.store.oldest()
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

    /// The decision for a block of the history, as this node saw it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn commit(&self, height: Epoch) -> Result<Option<Commit>, StoreError> {
        self.shared.store.commit(height)
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
