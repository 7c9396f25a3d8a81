//! The third account of a network whose provider has no prover: it takes the provider's proof jobs, for money.
//!
//! It is the worker of `cairn prover`, over the ledger of this process: it fetches plain proofs from the provider's gateway
//! as it would from a stranger's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use cairn_compute::Workers;
use cairn_consensus::LedgerHandle;
use cairn_content::HotStore;
use cairn_gateway::fetch::FetchOptions;
use cairn_prover::{
    AccountJobs, HotShelf, MarketOptions, MarketSnarks, SplitSnarks, Worker, WorkerEvent, WorkerOptions, WorkerParts,
};
use cairn_sealing::SnarkProver;

use super::console::Console;
use super::home::Home;
use super::ledger_port::NodePort;
use super::parameters::Parameters;

/// A running worker.
pub struct ProofWorker {
    thread: JoinHandle<()>,
    stopping: Arc<AtomicBool>,
}

impl ProofWorker {
    /// Starts it in a thread of its own.
    ///
    /// # Errors
    /// What keeps its folder from opening.
    pub fn start(
        home: &Home,
        parameters: &Parameters,
        ledger: LedgerHandle,
        workers: Workers,
        console: Arc<Console>,
    ) -> anyhow::Result<Self> {
        let mut worker = Worker::open(WorkerParts {
            options: WorkerOptions::default(),
            dir: home.jobs_dir(),
            ledger: Arc::new(AccountJobs::new(NodePort(ledger), home.worker_key())),
            prover: parameters.prover.clone(),
            circuits: parameters.circuits.of_jobs(),
            verifier: parameters.verifier.clone(),
            workers,
            fetch: FetchOptions::default(),
            observer: Box::new(move |event| console.line(format!("worker: {}", say(event)))),
        })?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let thread = std::thread::Builder::new().name("proof-worker".to_owned()).spawn(move || worker.run(&stop))?;
        Ok(Self { thread, stopping })
    }

    /// Stops it and waits for the turn that it is in: a proof at most.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::SeqCst);
        if self.thread.join().is_err() {
            tracing::error!("the worker's thread panicked");
        }
    }
}

/// Proofs of replication from the market; window PoSts, which cannot wait, at home.
pub fn market_snarks(
    home: &Home,
    parameters: &Parameters,
    ledger: LedgerHandle,
    hot: Arc<HotStore>,
    gateway: std::net::SocketAddr,
) -> Arc<dyn SnarkProver> {
    let shelf = HotShelf::new(hot, format!("http://{gateway}"), home.scratch_dir());
    let jobs = AccountJobs::new(NodePort(ledger), home.provider_key());
    let market = MarketSnarks::new(market_options(), Arc::new(jobs), Arc::new(shelf), None);
    Arc::new(SplitSnarks { porep: Arc::new(market), window_post: parameters.prover.clone() })
}

/// Four minutes for a proof on a machine that also seals, and time for a second worker before the pre-commit expires.
fn market_options() -> MarketOptions {
    MarketOptions { prove_epochs: 2_500, life_epochs: 5_500, ..MarketOptions::default() }
}

/// An event in words.
pub fn say(event: &WorkerEvent) -> String {
    match event {
        WorkerEvent::Bid { job, price_per_million } => {
            format!("bid {price_per_million} a million constraints on {job}")
        }
        WorkerEvent::Declined { job, reason } => format!("declined {job}: {reason}"),
        WorkerEvent::Proving { job, due } => format!("proving {job}, due at epoch {due}"),
        WorkerEvent::Proven { job } => format!("proven {job}"),
        WorkerEvent::Submitted { job, transaction } => format!("handed in {job}, transaction {transaction}"),
        WorkerEvent::Paid { job, paid } => format!("paid {paid} for {job}"),
        WorkerEvent::Lost { job } => format!("{job} went to somebody else, or is over"),
        WorkerEvent::Trouble { what } => what.clone(),
        other => format!("{other:?}"),
    }
}
