//! `cairn validator run`: takes part in deciding blocks until it is told to stop.
//!
//! 1. Folder, genesis, key and the keys of the proofs are read and must fit each other.
//! 2. With a checkpoint, a snapshot is taken if the servers no longer have the blocks that this node needs.
//! 3. The node runs; beside it what gives others access to its ledger ([`start_services`]).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use cairn_consensus::{
    CaughtUp, Checkpoint, DrandSource, Genesis, History, LedgerHandle, LedgerNode, Network, NetworkOptions,
    NodeOptions, RecordedRounds, SnapshotOptions, Timeouts, Validators, snapshot,
};
use cairn_ledger::address_of;
use cairn_protocol::Epoch;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::folder::{Folder, Settings, read_genesis};
use super::{sector_size_of, verifier};
use crate::cli::ValidatorRunArguments;
use crate::devnet::console::Console;
use crate::devnet::{ended_by_signal, parameters};

/// How long services may finish what they are doing.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How often the head is looked at for what is worth a line.
const REPORT_EVERY: Duration = Duration::from_millis(500);

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
    catch_up(arguments, &folder, &genesis, &console)?;

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let who = options.validator.as_ref().map_or_else(|| "observer".to_owned(), |key| address_of(key).to_string());
    let node = LedgerNode::open(&folder.ledger(), &genesis, options, verifier).context("the ledger")?;
    let ledger = node.handle();
    console.line(format!("validator {who} of {} ({}): epoch {}", genesis.name, genesis.chain(), ledger.head().height));
    let (stop, stopping) = watch::channel(false);
    let mut services = start_services(&runtime, &settings, &ledger, &stopping, &console)?;
    services.push(runtime.spawn(report(ledger, stopping.clone(), console.clone())));
    let stopped = stopped(stopping);
    let node = runtime.spawn(async move { node.run(stopped).await.context("the ledger") });
    let result = wait(&runtime, node, &mut services, &stop, &console);
    runtime.shutdown_timeout(SHUTDOWN_GRACE);
    result
}

/// What gives others access to the ledger. Each service has its own handle and ends when `stopping` says so.
fn start_services(
    runtime: &Runtime,
    settings: &Settings,
    ledger: &LedgerHandle,
    stopping: &watch::Receiver<bool>,
    console: &Console,
) -> anyhow::Result<Vec<Service>> {
    let mut services = vec![];
    if let Some(address) = settings.snapshots {
        let bound = runtime.block_on(TcpListener::bind(address));
        let listener = bound.with_context(|| format!("cannot listen on {address} for snapshots"))?;
        console.line(format!("snapshots: {}", listener.local_addr()?));
        let (ledger, stopped) = (ledger.clone(), stopped(stopping.clone()));
        services
            .push(runtime.spawn(async move { snapshot::serve(listener, ledger, stopped).await.context("snapshots") }));
    }
    Ok(services)
}

/// Flags go before what `init` wrote.
fn settings(arguments: &ValidatorRunArguments, folder: &Folder) -> anyhow::Result<Settings> {
    let mut settings = folder.settings()?;
    settings.listen = arguments.listen.or(settings.listen);
    settings.snapshots = arguments.snapshots.or(settings.snapshots);
    if !arguments.peer.is_empty() {
        settings.peers.clone_from(&arguments.peer);
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
    let rounds: Option<Arc<dyn DrandSource>> = match &arguments.drand_rounds {
        None => None,
        Some(path) => Some(Arc::new(read_rounds(path)?)),
    };
    let block_interval = Duration::from_millis(arguments.block_ms);
    Ok(NodeOptions {
        block_interval,
        validator,
        network: NetworkOptions { listen: settings.listen, peers: settings.peers.clone() },
        timeouts: Timeouts { propose: block_interval.max(Duration::from_millis(1_500)), ..Timeouts::default() },
        history: History {
            blocks: arguments.history_blocks,
            bytes: arguments.history_mib << 20,
            snapshot_every: arguments.snapshot_every,
        },
        rounds,
        ..NodeOptions::default()
    })
}

fn read_rounds(path: &Path) -> anyhow::Result<RecordedRounds> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    RecordedRounds::from_json(&text).with_context(|| path.display().to_string())
}

fn verifier_of(
    arguments: &ValidatorRunArguments,
    genesis: &Genesis,
) -> anyhow::Result<Arc<cairn_sealing::Groth16ProofVerifier>> {
    let size = sector_size_of(genesis)?;
    let params = match (&arguments.params, size) {
        (Some(params), _) => Some(params.clone()),
        (None, Some(_)) => Some(parameters::default_dir(|name| std::env::var(name).ok())?),
        (None, None) => None,
    };
    if genesis.network == Network::Production && size.is_none() {
        bail!("a production network without verifying keys takes no sectors: its genesis is not complete");
    }
    let verifier = verifier(params.as_deref(), genesis.network, size)?;
    genesis.check_keys(&cairn_ledger::ProofVerifier::verifying_keys(verifier.as_ref()))?;
    Ok(verifier)
}

fn catch_up(
    arguments: &ValidatorRunArguments,
    folder: &Folder,
    genesis: &Genesis,
    console: &Console,
) -> anyhow::Result<()> {
    let Some(checkpoint) = arguments.checkpoint else { return Ok(()) };
    let options = SnapshotOptions::new(arguments.snapshot_from.clone(), checkpoint);
    match snapshot::catch_up(&folder.ledger(), genesis, &options)? {
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
    Ok(())
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

/// Waits until somebody wants the process to end or a part of it ends by itself, and stops the rest.
fn wait(
    runtime: &Runtime,
    mut node: Service,
    services: &mut [Service],
    stop: &watch::Sender<bool>,
    console: &Console,
) -> anyhow::Result<()> {
    runtime.block_on(async {
        let early = tokio::select! {
            signal = ended_by_signal() => {
                signal.context("cannot listen for signals")?;
                None
            }
            ended = &mut node => Some(ended),
            (ended, _, _) = futures_util::future::select_all(services.iter_mut()) => Some(ended),
        };
        console.line("stopping");
        stop.send_replace(true);
        let ended_early = early.is_some();
        let result = match early {
            Some(ended) => ended?.and_then(|()| bail!("a service ended although nobody asked it to")),
            None => node.await?,
        };
        if !ended_early {
            for service in services.iter_mut() {
                let _ = tokio::time::timeout(SHUTDOWN_GRACE, service).await;
            }
        }
        result
    })
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}
