//! `cairn prover`: takes proof jobs from a ledger until it is told to stop, or has done as many as were asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, ensure};
use cairn_compute::Workers;
use cairn_consensus::Network;
use cairn_gateway::fetch::FetchOptions;
use cairn_ledger::{KeyDigest, VerifyingKeys};
use cairn_protocol::SectorSize;
use cairn_prover::{Worker, WorkerEvent, WorkerOptions, WorkerParts};
use cairn_remote::{JobSeat, RemoteLedger};
use cairn_rpc::wire::NetworkGrade;
use cairn_rpc::{ClientOptions, RpcClient};
use cairn_sealing::NetworkCircuits;
use cairn_snark::groth16::Circuit;

use crate::cli::ProveJobsArguments;
use crate::commands::keys::Keys;
use crate::devnet::console::Console;
use crate::devnet::parameters::{self, Parameters};
use crate::devnet::{ended_by_signal, say_job};
use crate::key_file::KeyFile;

/// Refuses parameters under which the network would refuse every proof, before a bond is at stake.
fn check_keys(rpc: &str, network: &BTreeMap<String, String>, own: &VerifyingKeys) -> anyhow::Result<()> {
    for (circuit, KeyDigest(got)) in own {
        let expected = network.get(circuit).map_or("none", String::as_str);
        ensure!(
            expected == got,
            "the network of {rpc} checks {circuit} proofs with verifying key {expected}, these parameters have {got}: \
             --params names the folder of the network's"
        );
    }
    Ok(())
}

/// What there is to prove for the network: updates only with their parameters, everything else needs its own.
fn circuits(
    sector_size: SectorSize,
    network: &BTreeMap<String, String>,
    params: &Path,
    grade: Network,
    console: &Console,
) -> NetworkCircuits {
    let circuits = NetworkCircuits::named(sector_size, network.keys());
    let keys = Keys::new(params.to_owned(), None, parameters::trust_in(grade));
    if circuits.updates && !keys.store().has(Circuit::Update(sector_size)) {
        console.line(format!("no parameters of updates in {}: jobs about them are left to others", params.display()));
        return sector_size.into();
    }
    circuits
}

/// Runs the command.
pub fn run(arguments: ProveJobsArguments) -> anyhow::Result<()> {
    let console = Arc::new(Console::new());
    let client = RpcClient::new(&arguments.rpc, ClientOptions::default()).context("--rpc")?;
    let network = client.network()?;
    let key = KeyFile::read(&arguments.key)?;
    key.check_for(network.grade)?;
    let account = key.address();
    let ledger = RemoteLedger::connect(client, &network.chain, key.key)?;
    let params = match &arguments.params {
        Some(dir) => dir.clone(),
        None => parameters::default_dir(|name| std::env::var(name).ok())?,
    };
    let grade = match network.grade {
        NetworkGrade::Development => Network::Development,
        NetworkGrade::Production => Network::Production,
    };
    let circuits = circuits(arguments.sector_size, &network.verifying_keys, &params, grade, &console);
    let parameters = Parameters::open(&params, grade, circuits, false, arguments.threads, &console)?;
    check_keys(&arguments.rpc, &network.verifying_keys, &parameters.verifying_keys())
        .with_context(|| params.display().to_string())?;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_another_network_are_refused_by_name() {
        let key = |name: &str, digest: &str| (name.to_owned(), KeyDigest(digest.to_owned()));
        let own = VerifyingKeys::from([key("porep 2KiB", "aa"), key("window-post 2KiB", "bb")]);
        let network = |porep: &str| {
            let keys = [("porep 2KiB", porep), ("window-post 2KiB", "bb"), ("update 2KiB", "cc")];
            keys.map(|(name, digest)| (name.to_owned(), digest.to_owned())).into_iter().collect()
        };
        assert!(check_keys("http://here", &network("aa"), &own).is_ok());
        let refused = check_keys("http://here", &network("ff"), &own).unwrap_err().to_string();
        assert!(
            refused.contains("checks porep 2KiB proofs with verifying key ff, these parameters have aa"),
            "{refused}"
        );
        let none = check_keys("http://here", &BTreeMap::new(), &own).unwrap_err().to_string();
        assert!(none.contains("verifying key none"), "{none}");
    }
}
