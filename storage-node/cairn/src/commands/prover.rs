//! `cairn prover`: takes proof jobs from a ledger until it is told to stop, or has done as many as were asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Context;
use cairn_compute::Workers;
use cairn_gateway::fetch::FetchOptions;
use cairn_prover::{Worker, WorkerEvent, WorkerOptions, WorkerParts};
use cairn_remote::{JobSeat, RemoteLedger};
use cairn_rpc::{ClientOptions, RpcClient};

use crate::cli::ProveJobsArguments;
use crate::devnet::console::Console;
use crate::devnet::parameters::Parameters;
use crate::devnet::{ended_by_signal, say_job};
use crate::key_file::KeyFile;

/// Runs the command.
pub fn run(arguments: ProveJobsArguments) -> anyhow::Result<()> {
    let console = Arc::new(Console::new());
    let client = RpcClient::new(&arguments.rpc, ClientOptions::default()).context("--rpc")?;
    let network = client.network()?;
    let key = KeyFile::read(&arguments.key)?;
    key.check_for(network.grade)?;
    let account = key.address();
    let ledger = RemoteLedger::connect(client, &network.chain, key.key)?;
    let parameters = Parameters::of_network(
        arguments.params.as_deref(),
        &arguments.rpc,
        &network,
        arguments.sector_size,
        arguments.threads,
        &console,
    )?;

    let (stop, paid) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
    let (stopping, wanted, told) = (stop.clone(), arguments.jobs, console.clone());
    let observer = move |event: &WorkerEvent| {
        told.line(say_job(event));
        if matches!(event, WorkerEvent::Paid { .. }) && Some(paid.fetch_add(1, Ordering::SeqCst) + 1) == wanted {
            stopping.store(true, Ordering::SeqCst);
        }
    };
    let mut worker = Worker::open(WorkerParts {
        options: WorkerOptions {
            price_per_million: arguments.price,
            bond_max: arguments.bond_max,
            jobs_max: arguments.in_hand,
            epochs_per_proof: arguments.epochs,
            witness_bytes_max: arguments.witness_bytes_max,
            ..WorkerOptions::default()
        },
        dir: arguments.dir,
        ledger: Arc::new(JobSeat::new(ledger)),
        prover: parameters.prover.clone(),
        circuits: parameters.circuits.of_jobs(),
        verifier: parameters.verifier.clone(),
        workers: Workers::new(arguments.threads)?,
        fetch: FetchOptions::default(),
        observer: Box::new(observer),
    })?;
    console.line(format!("proving for {account} from {}; Ctrl-C stops after the proof in hand", arguments.rpc));
    let (ended, end) = tokio::sync::oneshot::channel();
    let stopped = stop.clone();
    let thread = std::thread::Builder::new().name("proof-worker".to_owned()).spawn(move || {
        worker.run(&stopped);
        // Nobody listens if a signal came first.
        let _ = ended.send(());
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signalled = runtime.block_on(async {
        tokio::select! {
            signal = ended_by_signal() => signal.context("cannot listen for signals"),
            _ = end => Ok(()),
        }
    });
    stop.store(true, Ordering::SeqCst);
    thread.join().map_err(|_| anyhow::anyhow!("the worker panicked"))?;
    signalled
}
