//! A ledger whose blocks are made on demand, with a server in front of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_consensus::{Allocation, Genesis, History, LedgerHandle, LedgerNode, NodeOptions};
use cairn_ledger::scores::ballot::{Opinions, RoundCalendar};
use cairn_ledger::scores::checks::CheckTask;
use cairn_ledger::scores::quality;
use cairn_ledger::scores::receipts::{CheckReceipt, CheckResult, OpenedReceipt, SignedCheckReceipt, receipts_root};
use cairn_ledger::testing::{HashVerifier, Network as Story, order_terms, piece};
use cairn_ledger::{ChainId, CheckCommand, Command, Event, OrderId, OrderStatus, Outcome, TransactionId};
use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber, SectorSize};
use cairn_rpc::{ClientOptions, RpcClient, ServerOptions, serve};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What each account has at first.
pub const FUNDS: u64 = 1_000_000_000_000;
/// Longest wait for anything; a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A ledger without a server.
pub struct Ledger {
    node: LedgerNode,
    time_ms: AtomicU64,
    _dir: tempfile::TempDir,
}

impl Ledger {
    /// Accounts 1 to 4 have money.
    pub fn new(history_blocks: u64) -> Self {
        Self::of(&Self::genesis(), history_blocks)
    }

    /// A development network where accounts 1 to 4 have money.
    pub fn genesis() -> Genesis {
        let allocation = |n| Allocation { address: Story::address(n), amount: Amount(FUNDS) };
        Genesis::devnet(1_000, [3; 32], (1..=4).map(allocation).collect())
    }

    /// The same network with rounds of 16 epochs: 4 to commit, 4 to reveal, 4 to open receipts.
    pub fn genesis_of_short_rounds() -> Genesis {
        let mut genesis = Self::genesis();
        genesis.params.economy.rounds =
            RoundCalendar { round_epochs: 16, commit_epochs: 4, reveal_epochs: 4, open_epochs: 4 };
        genesis
    }

    /// The ledger of a network with this genesis.
    pub fn of(genesis: &Genesis, history_blocks: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let history = History { blocks: history_blocks, ..History::default() };
        let options = NodeOptions { history, ..NodeOptions::default() };
        let node = LedgerNode::open(dir.path(), genesis, options, Arc::new(HashVerifier)).unwrap();
        Self { node, time_ms: AtomicU64::new(1_000), _dir: dir }
    }

    pub fn handle(&self) -> LedgerHandle {
        self.node.handle()
    }

    pub fn chain(&self) -> ChainId {
        self.handle().head().chain
    }

    /// Makes a block of what waits.
    pub fn block(&self) -> Epoch {
        let time_ms = self.time_ms.fetch_add(100, Ordering::SeqCst) + 100;
        self.node.produce_block(time_ms).unwrap().height
    }

    pub fn blocks_until(&self, height: Epoch) {
        while self.handle().head().height < height {
            self.block();
        }
    }

    /// A command of account `n`, in a block of its own.
    pub fn command(&self, n: u8, command: Command) -> (TransactionId, Vec<Event>) {
        let id = self.handle().submit_command(&Story::key(n), command).unwrap();
        self.block();
        let receipt = self.handle().receipt(&id).unwrap().unwrap();
        assert_eq!(receipt.outcome, Outcome::Applied);
        (id, receipt.events)
    }

    /// Account `n` registers a provider.
    pub fn provider(&self, n: u8) -> ProviderId {
        self.provider_at(n, &format!("http://provider-{n}.test/"))
    }

    /// The same, with its gateway at `endpoint`.
    pub fn provider_at(&self, n: u8, endpoint: &str) -> ProviderId {
        let collateral = self.handle().state().params().collateral_min.checked_mul(10).unwrap();
        let endpoint = endpoint.to_owned();
        let command = Command::RegisterProvider { sector_size: SectorSize::MIB8, collateral, endpoint };
        match self.command(n, command).1.as_slice() {
            [Event::ProviderRegistered { provider, .. }] => *provider,
            other => panic!("expected a registration, got {other:?}"),
        }
    }

    /// Account `n` places an order for one piece.
    pub fn order(&self, n: u8, tag: u8) -> OrderId {
        let mut terms = order_terms(self.handle().state().params(), vec![piece(tag, 1 << 20)], 100);
        // One that names a dataset, so that checkers may ask for it.
        terms.root = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy".parse().unwrap();
        match self.command(n, Command::PlaceOrder(terms)).1.as_slice() {
            [Event::OrderPlaced { order, .. }] => *order,
            other => panic!("expected an order, got {other:?}"),
        }
    }

    /// An order of account 1 that provider `provider` of account `n` won.
    pub fn deal(&self, n: u8, provider: ProviderId) -> OrderId {
        let order = self.order(1, 9);
        self.command(n, Command::PlaceBid { provider, order, price_per_epoch: Amount(50) });
        self.blocks_until(self.handle().state().order(order).unwrap().bids_close_at);
        let state = self.handle().state();
        assert!(matches!(state.order(order).unwrap().status, OrderStatus::Matched { .. }));
        order
    }

    /// Pre-commits a sector with what `order` became.
    pub fn pre_commit(&self, n: u8, provider: ProviderId, order: OrderId) {
        let state = self.handle().state();
        let OrderStatus::Matched { deals, .. } = &state.order(order).unwrap().status else { panic!("no deals") };
        let story = Story { state: (*state).clone(), events: vec![] };
        self.command(n, Command::PreCommit(story.pre_commit(provider, 1, deals)));
    }

    /// An order of account 1 whose deals provider `provider` of account `n` has sealed and proven.
    pub fn active_deal(&self, n: u8, provider: ProviderId) -> OrderId {
        let order = self.deal(n, provider);
        self.pre_commit(n, provider, order);
        let state = self.handle().state();
        self.blocks_until(state.sector(provider, SectorNumber(1)).unwrap().seed_epoch);
        let OrderStatus::Matched { deals, .. } = &state.order(order).unwrap().status else { panic!("no deals") };
        let story = Story { state: (*self.handle().state()).clone(), events: vec![] };
        self.command(n, story.prove_commit(provider, 1, deals));
        order
    }

    /// What account `n` signs if everything that it is told to fetch now is served well, and the opinions that makes.
    pub fn measured(&self, n: u8) -> (Vec<SignedCheckReceipt>, Opinions) {
        let (state, served) = (self.handle().state(), quality::Served { ttfb_ms: 1, total_ms: 1, bytes: 1 << 20 });
        let sign = |task: CheckTask| {
            let result = CheckResult::Served { served, content: [task.slot as u8; 32] };
            CheckReceipt { task, result }.sign(self.chain(), &Story::key(n))
        };
        let receipts: Vec<_> = state.check_tasks(Story::address(n)).into_iter().map(sign).collect();
        let mut levels: BTreeMap<ProviderId, u16> = BTreeMap::new();
        levels.extend(receipts.iter().map(|signed| (signed.receipt.task.provider, u16::MAX)));
        let opinions = Opinions {
            round: state.round_at(state.epoch()),
            levels: levels.into_iter().collect(),
            receipts_root: receipts_root(&receipts),
            receipts: receipts.len() as u32,
        };
        (receipts, opinions)
    }

    /// Opens all of them; in these stories there is one provider.
    pub fn opened(receipts: &[SignedCheckReceipt]) -> CheckCommand {
        let receipts = (0..receipts.len()).filter_map(|at| OpenedReceipt::open(receipts, at)).collect();
        CheckCommand::Open { receipts }
    }
}

/// A server in front of a ledger.
pub struct Served {
    pub ledger: Ledger,
    pub address: SocketAddr,
    runtime: Runtime,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    options: ServerOptions,
}

impl Served {
    pub fn new(ledger: Ledger, options: ServerOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut served = Self { ledger, address, runtime, running: None, options };
        served.start();
        served
    }

    /// Listens, on the same port as before if there was one.
    pub fn start(&mut self) {
        let listener = self.runtime.block_on(TcpListener::bind(self.address)).unwrap();
        self.address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (ledger, options) = (self.ledger.handle(), self.options.clone());
        let stopped = async { drop(stopped.await) };
        let task = self.runtime.spawn(async move { serve(listener, ledger, options, stopped).await.unwrap() });
        self.running = Some((stop, task));
    }

    /// Asks the server to stop and waits until it has.
    pub fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        drop(stop);
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap() });
    }

    pub fn client(&self) -> RpcClient {
        RpcClient::new(&format!("http://{}", self.address), ClientOptions::default()).unwrap()
    }

    /// Sends bytes as they are and reads until the server closes.
    pub fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A server that refuses early may close before everything is sent.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A request with a body, or without one if it is empty; the whole answer.
    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        self.raw(
            format!(
                "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
            )
            .as_bytes(),
        )
    }

    pub fn get(&self, path: &str) -> String {
        self.ask("GET", path, "", "")
    }
}
