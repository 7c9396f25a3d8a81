//! `cairn validator run`: takes part in deciding blocks until it is told to stop.
//!
//! 1. Folder, genesis, key and the keys of the proofs are read and must fit each other.
//! 2. With a checkpoint, a snapshot is taken if the servers no longer have the blocks that this node needs.
//! 3. The node runs; beside it what gives others access to its ledger ([`start_services`]), and a lookout for the case that
//!    nobody has the block that it needs ([`Lookout`]). Then everything stops, a snapshot is taken on the word of the own
//!    head, and everything starts again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use cairn_consensus::{
    BeaconConfig, CaughtUp, Checkpoint, DrandNetwork, DrandSource, Genesis, History, HttpOptions, HttpRounds,
    LedgerHandle, LedgerNode, Network, NetworkOptions, NodeOptions, PUBLIC_RELAYS, RecordedRounds, SnapshotError,
    SnapshotOptions, Timeouts, Trust, Validators, snapshot, system_clock,
};
use cairn_ledger::address_of;
use cairn_protocol::Epoch;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::folder::{Folder, Settings, read_genesis};
use super::late::Lookout;
use super::{circuits_of, verifier};
use crate::cli::ValidatorRunArguments;
use crate::devnet::console::Console;
use crate::devnet::{ended_by_signal, parameters, start_rpc, stopped};

/// How long services may finish what they are doing.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How often the head is looked at for what is worth a line.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// How often a store that somebody still reads from is opened again.
const REOPENINGS_MAX: u32 = 20;

/// What a round waits for its proposer, at least and at most: nodes begin a height within a second of each other, and a dead
/// proposer should not cost an epoch of 30 s.
const PROPOSE_MIN: Duration = Duration::from_millis(1_500);
const PROPOSE_MAX: Duration = Duration::from_secs(5);

type Service = JoinHandle<anyhow::Result<()>>;

/// Runs the command.
pub fn run(arguments: &ValidatorRunArguments) -> anyhow::Result<()> {
    let console = Arc::new(Console::new());
    let folder = Folder::new(&arguments.dir);
    let settings = settings(arguments, &folder)?;
    let path = arguments.genesis.clone().unwrap_or_else(|| folder.genesis());
    let genesis = read_genesis(&path)?;
    let options = options(arguments, &folder, &settings, &genesis)?;
    let verifier = verifier_of(arguments, &genesis).with_context(|| path.display().to_string())?;
    std::fs::create_dir_all(&arguments.dir).with_context(|| format!("cannot make {}", arguments.dir.display()))?;
    if let Some(checkpoint) = arguments.checkpoint {
        ensure!(!settings.snapshot_peers.is_empty(), "--checkpoint: --snapshot-from must say whom to ask");
        let options = SnapshotOptions::new(settings.snapshot_peers.clone(), checkpoint);
        tell(snapshot::catch_up(&folder.ledger(), &genesis, &options)?, &console);
    }
    let rounds = rounds(arguments, &genesis, &console)?;
    let validator = Validator {
        arguments,
        folder,
        settings,
        genesis,
        options: NodeOptions { rounds, ..options },
        verifier,
        console,
    };
    validator.run()
}

/// Why a node stopped running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Somebody wanted it to.
    Asked,
    /// Nobody has the block that it needs.
    TooLate,
}

/// All that a node is made of, however often it starts.
struct Validator<'a> {
    arguments: &'a ValidatorRunArguments,
    folder: Folder,
    settings: Settings,
    genesis: Genesis,
    options: NodeOptions,
    verifier: Arc<cairn_sealing::Groth16ProofVerifier>,
    console: Arc<Console>,
}

impl Validator<'_> {
    fn run(&self) -> anyhow::Result<()> {
        let (dir, servers) = (self.arguments.dir.clone(), self.settings.snapshot_peers.clone());
        let mut lookout = Lookout::new(dir, self.genesis.clone(), servers, self.options.block_interval);
        while self.live(&mut lookout)? == Ended::TooLate {
            self.catch_up(&mut lookout)?;
        }
        Ok(())
    }

    /// Runs once. Afterwards nobody has the store open.
    fn live(&self, lookout: &mut Lookout) -> anyhow::Result<Ended> {
        let (genesis, options, console) = (&self.genesis, self.options.clone(), &self.console);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let who = options.validator.as_ref().map_or_else(|| "observer".to_owned(), |key| address_of(key).to_string());
        let node = LedgerNode::open(&self.folder.ledger(), genesis, options, self.verifier.clone());
        let node = node.context("the ledger")?;
        let ledger = node.handle();
        let (name, chain) = (&genesis.name, genesis.chain());
        console.line(format!("validator {who} of {name} ({chain}): epoch {}", ledger.head().height));
        let (stop, stopping) = watch::channel(false);
        let mut services = self.start_services(&runtime, &ledger, &stopping)?;
        services.push(runtime.spawn(report(ledger.clone(), stopping.clone(), console.clone())));
        let stopped = stopped(stopping);
        let node = runtime.spawn(async move { node.run(stopped).await.context("the ledger") });
        let result = wait(&runtime, node, &mut services, &stop, lookout.too_late(&ledger, console), console);
        runtime.shutdown_timeout(SHUTDOWN_GRACE);
        result
    }

    /// What gives others access to the ledger. Each service has its own handle and ends when `stopping` says so.
    fn start_services(
        &self,
        runtime: &Runtime,
        ledger: &LedgerHandle,
        stopping: &watch::Receiver<bool>,
    ) -> anyhow::Result<Vec<Service>> {
        let mut services = vec![];
        if let Some(address) = self.settings.snapshots {
            let bound = runtime.block_on(TcpListener::bind(address));
            let listener = bound.with_context(|| format!("cannot listen on {address} for snapshots"))?;
            self.console.line(format!("snapshots: {}", listener.local_addr()?));
            let (ledger, stopped) = (ledger.clone(), stopped(stopping.clone()));
            services.push(
                runtime.spawn(async move { snapshot::serve(listener, ledger, stopped).await.context("snapshots") }),
            );
        }
        if let Some(address) = self.arguments.rpc {
            let address = start_rpc(runtime, address, &self.genesis, ledger.clone(), stopping, &mut services)?;
            self.console.line(format!("rpc: http://{address}"));
        }
        Ok(services)
    }

    /// Takes a snapshot on the word of the own head. When that fails, the node goes on as it was.
    fn catch_up(&self, lookout: &mut Lookout) -> anyhow::Result<()> {
        let trust = Trust::OwnHead { now_ms: system_clock(), block_interval: self.options.block_interval };
        let options = SnapshotOptions::new(self.settings.snapshot_peers.clone(), trust);
        let mut reopenings = 0;
        loop {
            match snapshot::catch_up(&self.folder.ledger(), &self.genesis, &options) {
                Ok(caught_up) => {
                    if !matches!(caught_up, CaughtUp::Installed { .. }) {
                        lookout.rest();
                    }
                    tell(caught_up, &self.console);
                    return Ok(());
                }
                Err(SnapshotError::Store(_)) if reopenings < REOPENINGS_MAX => {
                    reopenings += 1;
                    std::thread::sleep(REPORT_EVERY);
                }
                Err(SnapshotError::Store(error)) => return Err(error).context("the ledger"),
                Err(error) => {
                    self.console.line(format!("{error}"));
                    self.console.line(lookout.what_helps());
                    lookout.rest();
                    return Ok(());
                }
            }
        }
    }
}

/// Flags go before what `init` wrote.
fn settings(arguments: &ValidatorRunArguments, folder: &Folder) -> anyhow::Result<Settings> {
    let mut settings = folder.settings()?;
    settings.listen = arguments.listen.or(settings.listen);
    settings.snapshots = arguments.snapshots.or(settings.snapshots);
    if !arguments.peer.is_empty() {
        settings.peers.clone_from(&arguments.peer);
    }
    if !arguments.snapshot_from.is_empty() {
        settings.snapshot_peers.clone_from(&arguments.snapshot_from);
    }
    Ok(settings)
}

fn options(
    arguments: &ValidatorRunArguments,
    folder: &Folder,
    settings: &Settings,
    genesis: &Genesis,
) -> anyhow::Result<NodeOptions> {
    let validator = if arguments.observe { None } else { Some(folder.key(genesis.network)?) };
    let block_interval = block_interval(arguments, genesis)?;
    Ok(NodeOptions {
        block_interval,
        validator,
        network: NetworkOptions { listen: settings.listen, peers: settings.peers.clone() },
        timeouts: Timeouts { propose: block_interval.clamp(PROPOSE_MIN, PROPOSE_MAX), ..Timeouts::default() },
        history: History {
            blocks: arguments.history_blocks,
            bytes: arguments.history_mib << 20,
            snapshot_every: arguments.snapshot_every,
        },
        ..NodeOptions::default()
    })
}

/// How far apart blocks are. All durations of the ledger are counted in epochs, so a production network that ran at another
/// pace than its genesis says would unlock stake and end deals at other times than people were told.
fn block_interval(arguments: &ValidatorRunArguments, genesis: &Genesis) -> anyhow::Result<Duration> {
    let epoch_ms = genesis.params.epoch_ms;
    match arguments.block_ms {
        Some(got) if genesis.network == Network::Production && got != epoch_ms => {
            bail!("--block-ms {got}: blocks of this production network are {epoch_ms} ms apart, as its genesis says")
        }
        given => Ok(Duration::from_millis(given.unwrap_or(epoch_ms))),
    }
}

/// Where this node has its rounds of drand from, if the network uses them.
fn rounds(
    arguments: &ValidatorRunArguments,
    genesis: &Genesis,
    console: &Console,
) -> anyhow::Result<Option<Arc<dyn DrandSource>>> {
    let (urls, recorded) = (&arguments.drand_url, &arguments.drand_rounds);
    let BeaconConfig::Drand(network) = &genesis.beacon else {
        ensure!(
            urls.is_empty() && recorded.is_none(),
            "--drand-url, --drand-rounds: the network's beacon is not drand"
        );
        return Ok(None);
    };
    if let Some(path) = recorded {
        return Ok(Some(Arc::new(read_rounds(path)?)));
    }
    if urls.is_empty() && arguments.observe {
        return Ok(None);
    }
    let is_public = *network == DrandNetwork::quicknet();
    ensure!(
        is_public || !urls.is_empty(),
        "--drand-url: the public relays do not have the drand network of this genesis"
    );
    let urls = if urls.is_empty() { PUBLIC_RELAYS.map(str::to_owned).to_vec() } else { urls.clone() };
    console.line(format!("drand: {}", urls.join(", ")));
    let authorities = arguments
        .drand_ca
        .as_ref()
        .map(|path| std::fs::read(path).with_context(|| format!("--drand-ca {}", path.display())));
    let options = HttpOptions { authorities: authorities.transpose()?, ..HttpOptions::new(urls) };
    Ok(Some(Arc::new(HttpRounds::start(network, options).context("--drand-url, --drand-ca")?)))
}

fn read_rounds(path: &Path) -> anyhow::Result<RecordedRounds> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    RecordedRounds::from_json(&text).with_context(|| path.display().to_string())
}

fn verifier_of(
    arguments: &ValidatorRunArguments,
    genesis: &Genesis,
) -> anyhow::Result<Arc<cairn_sealing::Groth16ProofVerifier>> {
    let circuits = circuits_of(genesis)?;
    let params = match (&arguments.params, circuits) {
        (Some(params), _) => Some(params.clone()),
        (None, Some(_)) => Some(parameters::default_dir(|name| std::env::var(name).ok())?),
        (None, None) => None,
    };
    if genesis.network == Network::Production && circuits.is_none() {
        bail!("a production network without verifying keys takes no sectors: its genesis is not complete");
    }
    let verifier = verifier(params.as_deref(), genesis.network, circuits)?;
    genesis.check_keys(&cairn_ledger::ProofVerifier::verifying_keys(verifier.as_ref()))?;
    Ok(verifier)
}

fn tell(caught_up: CaughtUp, console: &Console) {
    match caught_up {
        CaughtUp::NotNeeded { next, oldest } => {
            console.line(format!("snapshot: not needed, blocks from {oldest} on are there and {next} is next"));
        }
        CaughtUp::Installed { height, bytes, refused } => {
            for (server, fault) in refused {
                console.line(format!("snapshot: {server} was given up: {fault}"));
            }
            console.line(format!("snapshot: state of block {height}, {bytes} bytes"));
        }
    }
}

/// A line for each block whose state is offered, and for the first.
async fn report(ledger: LedgerHandle, stopping: watch::Receiver<bool>, console: Arc<Console>) -> anyhow::Result<()> {
    let mut told = Epoch(0);
    while !*stopping.borrow() && ledger.stopped().is_none() {
        let head = ledger.head();
        let every = ledger.snapshot_every();
        let newest = Epoch(head.height.0 / every * every);
        if told == Epoch(0) && head.height > told || newest > told {
            // Headers at these heights are kept for longest, so they are what somebody may start from later.
            let at = if newest > Epoch(0) { newest } else { head.height };
            if let Some(block) = ledger.store().light(at)?.map(|light| light.header.id()) {
                let validators = Validators::after(&ledger.state()).members().len();
                let (waiting, checkpoint) = (ledger.waiting(), Checkpoint::Block { height: at, block });
                console.line(format!(
                    "epoch {}: {validators} validators, {waiting} transactions waiting, checkpoint {checkpoint}",
                    head.height
                ));
            }
            told = head.height;
        }
        tokio::time::sleep(REPORT_EVERY).await;
    }
    stopped(stopping).await;
    Ok(())
}

/// Waits until somebody wants the process to end, a part of it ends by itself, or it is too late for everybody's history,
/// and stops what runs.
fn wait(
    runtime: &Runtime,
    mut node: Service,
    services: &mut [Service],
    stop: &watch::Sender<bool>,
    too_late: impl Future<Output = ()>,
    console: &Console,
) -> anyhow::Result<Ended> {
    runtime.block_on(async {
        let wanted = tokio::select! {
            signal = ended_by_signal() => Ok(signal.map(|()| Ended::Asked).context("cannot listen for signals")?),
            () = too_late => Ok(Ended::TooLate),
            ended = &mut node => Err(ended),
            (ended, _, _) = futures_util::future::select_all(services.iter_mut()) => Err(ended),
        };
        console.line("stopping");
        stop.send_replace(true);
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(ended) => {
                ended??;
                bail!("a service ended although nobody asked it to");
            }
        };
        node.await??;
        for service in services.iter_mut() {
            let _ = tokio::time::timeout(SHUTDOWN_GRACE, service).await;
        }
        Ok(wanted)
    })
}
