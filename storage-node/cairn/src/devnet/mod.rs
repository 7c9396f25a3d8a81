//! `cairn devnet`: every role in one process, on loopback, with development keys.
//!
//! ```text
//! client --order--> ledger <--bid, pre-commit, proofs-- provider
//!   |                                                     |
//!   +--- transfer gateway ---- dataset by root CID -----> hot copy --> sealing pipeline
//!                                                         |
//!                                                      gateway --> readers
//! ```
//!
//! 1. [`parameters`] sees to the keys of the proofs, [`home`] makes or opens the folder: genesis, accounts, ports; written
//!    once, whole.
//! 2. [`Devnet::start`] opens the ledger and starts block production and both gateways, then the provider: [`crate::provider`]
//!    bids for orders, fetches what it won and hands sectors to the pipeline of `cairn-sealing`.
//! 3. [`client`] imports datasets and orders storage. [`demo`] watches one of them all the way and fetches it back.
//!
//! Nothing here remembers anything that is not on the ledger, in the pipeline's journal or in a hot store, so stopping
//! and starting is the same as not having stopped.

mod checker;
pub mod client;
pub mod console;
pub mod demo;
pub mod home;
mod ledger_port;
pub mod parameters;
pub mod provider;
mod report;
mod worker;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cairn_access::ProviderSigner;
use cairn_compute::Workers;
use cairn_consensus::{Genesis, LedgerHandle, LedgerNode, Network, NodeOptions};
use cairn_content::HotStore;
use cairn_gateway::{GatewayOptions, serve};
use cairn_rpc::ServerOptions;
use cairn_rpc::wire::NetworkGrade;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use checker::say as say_check;
use client::Client;
use console::Console;
use home::Home;
use parameters::Parameters;
use provider::Proofs;
use worker::ProofWorker;
pub use worker::say as say_job;

use crate::cli::SnarkSource;
use crate::provider::Provider;

/// How long gateways may finish what they are sending when the network stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// The storage side of a network.
pub struct Storage {
    /// Seals and proves.
    pub provider: Provider,
    /// Where readers fetch.
    pub gateway: SocketAddr,
}

/// A running network.
pub struct Devnet {
    runtime: Runtime,
    stop: watch::Sender<bool>,
    services: Vec<JoinHandle<anyhow::Result<()>>>,
    worker: Option<ProofWorker>,
    /// Whose ledger and provider these are.
    pub ledger: LedgerHandle,
    /// The storage side, unless it is somewhere else.
    pub storage: Option<Storage>,
    /// The paying side.
    pub client: Client,
    /// Where the ledger answers, if it does.
    pub rpc: Option<SocketAddr>,
}

impl Devnet {
    /// Opens `home` and starts everything. Proofs are made and checked with `parameters`; `snarks` says by whom those of
    /// replication are made, nothing that providers are somewhere else.
    ///
    /// # Errors
    /// Whatever keeps a part from starting; what runs already is stopped.
    pub fn start(
        home: &Home,
        parameters: &Parameters,
        snarks: Option<SnarkSource>,
        threads: usize,
        rpc: Option<SocketAddr>,
        console: Arc<Console>,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (stop, stopping) = watch::channel(false);
        let mut services = vec![];

        let verifier = parameters.verifier.clone();
        let node = LedgerNode::open(&home.ledger_dir(), home.genesis(), NodeOptions::default(), verifier)
            .context("the ledger")?;
        let ledger = node.handle();
        let stopped = stopped(stopping.clone());
        services.push(runtime.spawn(async move { node.run(stopped).await.context("the ledger") }));

        let rpc = match rpc {
            Some(address) => {
                Some(start_rpc(&runtime, address, home.genesis(), ledger.clone(), &stopping, &mut services)?)
            }
            None => None,
        };
        let own = open_store(home, "client")?;
        let options = GatewayOptions::default();
        let transfer = start_gateway(&runtime, home.transfer(), own.clone(), options, &stopping, &mut services)?;
        let client = Client::new(ledger.clone(), home.client_key(), own, transfer, home.sector_size());
        let mut devnet = Self { runtime, stop, services, worker: None, ledger, storage: None, client, rpc };
        if let Some(snarks) = snarks {
            devnet.start_storage(home, parameters, snarks, threads, console)?;
        }
        Ok(devnet)
    }

    /// Starts the provider and its gateway, and who proves for it.
    fn start_storage(
        &mut self,
        home: &Home,
        parameters: &Parameters,
        snarks: SnarkSource,
        threads: usize,
        console: Arc<Console>,
    ) -> anyhow::Result<()> {
        let (ledger, stopping) = (self.ledger.clone(), self.stop.subscribe());
        let hot = open_store(home, "provider")?;
        let signer = Arc::new(ProviderSigner::new(ledger.state().chain(), home.provider_key()));
        let vouched = GatewayOptions { group_signer: Some(signer.clone()), ..GatewayOptions::default() };
        let gateway =
            start_gateway(&self.runtime, home.gateway(), hot.clone(), vouched, &stopping, &mut self.services)?;
        let workers = Workers::new(threads)?;
        let prover = match snarks {
            SnarkSource::Local => parameters.prover.clone(),
            SnarkSource::Market | SnarkSource::Posted => {
                worker::market_snarks(home, parameters, ledger.clone(), hot.clone(), gateway)
            }
        };
        if snarks == SnarkSource::Market {
            let started = ProofWorker::start(home, parameters, ledger.clone(), workers.clone(), console.clone());
            self.worker = Some(started?);
        }
        let proofs = Proofs { prover, verifier: parameters.verifier.clone() };
        let provider = provider::start(home, proofs, ledger, hot, workers, gateway, console)?;
        signer.signs_for(provider.id);
        self.storage = Some(Storage { provider, gateway });
        Ok(())
    }

    /// Lets a checker work beside the network; see [`checker`].
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub fn start_checker(&mut self, home: &Home, console: Arc<Console>) -> anyhow::Result<()> {
        let stopped = stopped(self.stop.subscribe());
        let work = checker::start(home, self.ledger.clone(), console, stopped).context("the checker")?;
        self.services.push(self.runtime.spawn(work));
        Ok(())
    }

    /// Waits until somebody wants the process to end (Ctrl-C, SIGTERM), or the ledger or a gateway ends by itself.
    ///
    /// # Errors
    /// Why a service ended.
    pub fn wait(&mut self) -> anyhow::Result<()> {
        let services = &mut self.services;
        self.runtime.block_on(async {
            tokio::select! {
                signal = ended_by_signal() => signal.context("cannot listen for signals"),
                (ended, _, _) = futures_util::future::select_all(services.iter_mut()) => match ended? {
                    Ok(()) => anyhow::bail!("a service ended although nobody asked it to"),
                    Err(error) => Err(error),
                },
            }
        })
    }

    /// Whether the ledger has failed, and why.
    pub fn failure(&self) -> Option<String> {
        self.ledger.stopped()
    }

    /// Stops the parts in order: provider, worker, gateways, ledger.
    pub fn stop(self) {
        if let Some(storage) = self.storage {
            storage.provider.stop();
        }
        if let Some(worker) = self.worker {
            worker.stop();
        }
        self.stop.send_replace(true);
        self.runtime.block_on(async {
            for service in self.services {
                if !service.is_finished() {
                    let _ = tokio::time::timeout(SHUTDOWN_GRACE * 2, service).await;
                }
            }
        });
        self.runtime.shutdown_timeout(SHUTDOWN_GRACE);
    }
}

pub(crate) async fn ended_by_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

pub(crate) async fn stopped(mut stopping: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn open_store(home: &Home, role: &str) -> anyhow::Result<Arc<HotStore>> {
    let store = HotStore::open(&home.hot_dir(role)).with_context(|| format!("the hot store of the {role}"))?;
    for damaged in store.damaged() {
        tracing::error!(path = %damaged.path.display(), reason = damaged.reason, "a dataset is damaged and not served");
    }
    Ok(Arc::new(store))
}

fn start_gateway(
    runtime: &Runtime,
    address: SocketAddr,
    store: Arc<HotStore>,
    options: GatewayOptions,
    stopping: &watch::Receiver<bool>,
    services: &mut Vec<JoinHandle<anyhow::Result<()>>>,
) -> anyhow::Result<SocketAddr> {
    let listener = runtime
        .block_on(TcpListener::bind(address))
        .with_context(|| format!("cannot listen on {address}; if another program has this port, stop it"))?;
    let address = listener.local_addr()?;
    let options = GatewayOptions { shutdown_grace: SHUTDOWN_GRACE, ..options };
    let stopped = stopped(stopping.clone());
    services.push(runtime.spawn(async move { serve(listener, store, options, stopped).await.context("the gateway") }));
    Ok(address)
}

/// Serves the ledger of `genesis` over HTTP.
pub(crate) fn start_rpc(
    runtime: &Runtime,
    address: SocketAddr,
    genesis: &Genesis,
    ledger: LedgerHandle,
    stopping: &watch::Receiver<bool>,
    services: &mut Vec<JoinHandle<anyhow::Result<()>>>,
) -> anyhow::Result<SocketAddr> {
    let listener =
        runtime.block_on(TcpListener::bind(address)).with_context(|| format!("--rpc: cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    let grade = match genesis.network {
        Network::Development => NetworkGrade::Development,
        Network::Production => NetworkGrade::Production,
    };
    let verifying_keys = genesis.verifying_keys.clone();
    let options = ServerOptions { grade, verifying_keys, shutdown_grace: SHUTDOWN_GRACE, ..ServerOptions::default() };
    let stopped = stopped(stopping.clone());
    let serving = async move { cairn_rpc::serve(listener, ledger, options, stopped).await.context("the ledger's RPC") };
    services.push(runtime.spawn(serving));
    Ok(address)
}

#[cfg(test)]
mod tests {
    use cairn_consensus::{BeaconConfig, DrandNetwork};
    use cairn_ledger::testing::HashVerifier;
    use cairn_ledger::{KeyDigest, LedgerParams};
    use cairn_rpc::{ClientOptions, RpcClient};

    use super::*;
    use crate::key_file::KeyFile;

    /// What a validator's RPC says decides which keys commands sign with and which parameters workers take.
    #[test]
    fn the_interface_says_the_grade_and_the_keys_of_its_genesis() {
        let runtime = Runtime::new().unwrap();
        let development = Genesis::devnet(1_000, [3; 32], vec![]);
        let production = Genesis {
            network: Network::Production,
            params: LedgerParams::mainnet(),
            beacon: BeaconConfig::Drand(DrandNetwork::quicknet()),
            ..development.clone()
        };
        for (mut genesis, grade) in [(development, NetworkGrade::Development), (production, NetworkGrade::Production)] {
            let chain = genesis.chain();
            let folder = tempfile::tempdir().unwrap();
            let options = NodeOptions::default();
            let node = LedgerNode::open(folder.path(), &genesis, options, Arc::new(HashVerifier)).unwrap();
            // The node checks by hashes, which have no keys; the interface says what the genesis says.
            genesis.verifying_keys.insert("porep 2KiB".to_owned(), KeyDigest("aa".to_owned()));
            let (stop, stopping) = watch::channel(false);
            let mut services = vec![];
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let at = start_rpc(&runtime, any, &genesis, node.handle(), &stopping, &mut services).unwrap();
            let client = RpcClient::new(&format!("http://{at}"), ClientOptions::default()).unwrap();
            let network = client.network().unwrap();
            assert_eq!((network.grade, network.chain), (grade, chain));
            assert_eq!(network.verifying_keys.get("porep 2KiB").map(String::as_str), Some("aa"));
            let key = KeyFile::generate(NetworkGrade::Development);
            assert_eq!(key.check_for(network.grade).is_ok(), grade == NetworkGrade::Development);
            stop.send_replace(true);
            runtime.block_on(async { services.pop().unwrap().await.unwrap().unwrap() });
        }
    }
}
