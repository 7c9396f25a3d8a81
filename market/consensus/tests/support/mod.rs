//! A network of validators in one process, over loopback, and what must be true of their stores.
#![allow(dead_code, reason = "each test takes what it needs")]

pub mod processes;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use cairn_consensus::{
    Allocation, Chain, ChainOptions, Genesis, History, LedgerHandle, LedgerNode, NetworkOptions, NodeError,
    NodeOptions, Store, Timeouts, development_validator_key,
};
use cairn_ledger::TransactionId;
use cairn_ledger::testing::{HashVerifier, Network};
use cairn_protocol::{Amount, Epoch};
use tokio::sync::oneshot;

pub const SECRET: [u8; 32] = [9; 32];

/// Long enough for everything on a machine that does other things too; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A development network with money for accounts 1 to 8.
pub fn genesis(validators: u32) -> Genesis {
    let rich = |n| Allocation { address: Network::address(n), amount: Amount(1_000_000_000_000) };
    Genesis::devnet_of(0, SECRET, (1..=8).map(rich).collect(), validators)
}

/// Ports that are free now.
pub fn free_ports(count: u32) -> Vec<SocketAddr> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("bound")).collect()
}

/// Options of validator `number` of those at `addresses`.
pub fn options(number: u32, addresses: &[SocketAddr]) -> NodeOptions {
    let own = addresses[number as usize];
    let peers = addresses.iter().copied().filter(|address| *address != own).collect();
    NodeOptions {
        block_interval: Duration::from_millis(100),
        validator: Some(development_validator_key(&SECRET, number)),
        network: NetworkOptions { listen: Some(own), peers },
        timeouts: Timeouts { propose: Duration::from_millis(1_500), vote: Duration::from_millis(500) },
        ..NodeOptions::default()
    }
}

/// A node that runs in a thread of its own.
pub struct Running {
    pub handle: LedgerHandle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), NodeError>>,
}

impl Running {
    pub fn start(dir: &Path, genesis: &Genesis, options: NodeOptions) -> Self {
        Self::run(LedgerNode::open(dir, genesis, options, Arc::new(HashVerifier)).expect("the store opens"))
    }

    pub fn run(node: LedgerNode) -> Self {
        let handle = node.handle();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("a runtime").block_on(node.run(async {
                let _ = stopped.await;
            }))
        });
        Self { handle, stop, thread }
    }

    /// Asks it to end, and waits for that.
    pub fn stop(self) -> Result<(), NodeError> {
        let _ = self.stop.send(());
        self.thread.join().expect("the node does not panic")
    }

    /// Waits for a height.
    pub fn reach(&self, height: u64) {
        let reached = self.handle.wait_for_height(Epoch(height), PATIENCE);
        reached.unwrap_or_else(|late| panic!("{late}; {:?}", self.handle.stopped()));
    }

    pub fn height(&self) -> u64 {
        self.handle.head().height.0
    }
}

/// Changes the options of a validator by its number.
type Tune = Box<dyn Fn(u32, &mut NodeOptions)>;

/// Validators in one folder.
pub struct Cluster {
    pub dir: tempfile::TempDir,
    pub genesis: Genesis,
    pub addresses: Vec<SocketAddr>,
    pub nodes: Vec<Option<Running>>,
    /// What is different about a validator's options.
    tune: Tune,
    /// Stores that are elsewhere.
    pub elsewhere: BTreeMap<u32, PathBuf>,
}

impl Cluster {
    pub fn start(validators: u32) -> Self {
        Self::start_with(validators, BTreeMap::new(), |_, _| ())
    }

    pub fn start_with(
        validators: u32,
        elsewhere: BTreeMap<u32, PathBuf>,
        tune: impl Fn(u32, &mut NodeOptions) + 'static,
    ) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let addresses = free_ports(validators);
        let nodes = (0..validators).map(|_| None).collect();
        let mut cluster = Self { dir, genesis: genesis(validators), addresses, nodes, tune: Box::new(tune), elsewhere };
        for number in 0..validators {
            cluster.restart(number);
        }
        cluster
    }

    pub fn store_dir(&self, number: u32) -> PathBuf {
        self.elsewhere.get(&number).cloned().unwrap_or_else(|| self.dir.path().join(number.to_string()))
    }

    pub fn restart(&mut self, number: u32) {
        let mut options = options(number, &self.addresses);
        (self.tune)(number, &mut options);
        let node = Running::start(&self.store_dir(number), &self.genesis, options);
        self.nodes[number as usize] = Some(node);
    }

    pub fn stop(&mut self, number: u32) {
        self.nodes[number as usize].take().expect("it runs").stop().expect("it ends well");
    }

    pub fn node(&self, number: u32) -> &Running {
        self.nodes[number as usize].as_ref().expect("it runs")
    }

    /// Waits until all that run are at `height`.
    pub fn reach(&self, height: u64) {
        self.nodes.iter().flatten().for_each(|node| node.reach(height));
    }

    /// Stops everybody and checks all stores against each other.
    pub fn finish(mut self, committed: &[TransactionId]) -> u64 {
        for number in 0..self.nodes.len() as u32 {
            if self.nodes[number as usize].is_some() {
                self.stop(number);
            }
        }
        let dirs: Vec<PathBuf> = (0..self.nodes.len() as u32).map(|number| self.store_dir(number)).collect();
        check_stores(&self.genesis, &dirs, committed)
    }
}

fn keep_all() -> ChainOptions {
    ChainOptions { history: History { blocks: u64::MAX, bytes: u64::MAX, ..History::default() }, rounds: None }
}

/// Opens a store that no node uses.
pub fn open_store(genesis: &Genesis, dir: &Path) -> Arc<Store> {
    Chain::open(dir, genesis, keep_all(), Arc::new(HashVerifier)).expect("the store opens").store().clone()
}

/// Replays the longest chain from the genesis, certificates and all, and compares the others with it height by height.
/// Every one of `committed` must be in it. Returns its height.
pub fn check_stores(genesis: &Genesis, dirs: &[PathBuf], committed: &[TransactionId]) -> u64 {
    let stores: Vec<Arc<Store>> = dirs.iter().map(|dir| open_store(genesis, dir)).collect();
    let replay_dir = tempfile::tempdir().expect("a directory");
    let mut replay = Chain::open(replay_dir.path(), genesis, keep_all(), Arc::new(HashVerifier)).expect("a new store");
    loop {
        let height = replay.next_height();
        let blocks: Vec<_> = stores.iter().map(|store| store.block(height).expect("readable")).collect();
        let Some((holder, block)) = blocks.iter().enumerate().find_map(|(n, block)| Some((n, block.as_ref()?))) else {
            break;
        };
        for (number, other) in blocks.iter().enumerate().filter_map(|(n, block)| Some((n, block.as_ref()?))) {
            assert_eq!(other, block, "height {height}: validators {holder} and {number} have decided differently");
        }
        let commit = stores[holder].commit(height).expect("readable").expect("every block is decided");
        let candidate = replay.validate(block.clone(), None).unwrap_or_else(|invalid| panic!("{height}: {invalid}"));
        replay.commit(candidate, commit).expect("a quorum");
    }
    replay.state().check_invariants().expect("invariants hold");
    for id in committed {
        let receipt = replay.store().receipt(id).expect("readable");
        assert!(receipt.is_some(), "{id} was acknowledged and is gone");
    }
    replay.header().height.0
}

/// Serves a node's snapshots from a thread of its own, until what it returns is dropped.
pub fn serve_snapshots(ledger: LedgerHandle) -> (SocketAddr, oneshot::Sender<()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let (said, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
            said.send(listener.local_addr().expect("bound")).expect("somebody waits");
            let _ = cairn_consensus::snapshot::serve(listener, ledger, async { drop(stopped.await) }).await;
        });
    });
    (address.recv().expect("it listens"), stop)
}
