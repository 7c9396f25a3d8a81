//! Starts the engine, keeps it company, stops it.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use arc_malachitebft_app_channel::app::config::{ConsensusConfig, NodeConfig, ValueSyncConfig};
use arc_malachitebft_app_channel::app::types::Keypair;
use arc_malachitebft_app_channel::app::types::codec::Codec;
use arc_malachitebft_app_channel::{
    AppMsg, Channels, ConsensusContext, EngineBuilder, EngineHandle, NetworkContext, NetworkIdentity, RequestContext,
    SyncContext, WalContext,
};
#[cfg(test)]
use arc_malachitebft_app_channel::{
    NetworkMsg,
    app::{engine::network::NetworkRef, metrics::SharedRegistry},
    spawn::spawn_network_actor,
};
use arc_malachitebft_core_types::LinearTimeouts;
use cairn_ledger::{Address, ChainId};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tracing::info;

use crate::engine::alone;
use crate::engine::application::{Application, Wiring};
use crate::engine::context::{Context, ValidatorKey};
use crate::engine::gossip;
#[cfg(test)]
use crate::engine::liar;
use crate::engine::signing::{ChainVerifier, KeySigner};
use crate::engine::wire::{PROTOCOL, Wire};
use crate::node::{LedgerNode, NetworkOptions, NodeError, Shared, Timeouts, VOTES_LOG};

/// Batches of transactions of peers that wait to be looked at.
const TRANSACTION_BATCHES_MAX: usize = 256;

/// Questions to the engine that may wait; we ask none.
const REQUESTS_MAX: usize = 1;

/// Bytes of the header of the engine's log.
const WAL_HEADER_BYTES: u64 = 12;

/// More than one page, so that a full file system shows.
const PROBE_BYTES: usize = 64 << 10;

/// How often peers tell each other their height, by which one that was away learns that it is behind.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Clone)]
struct EngineConfig {
    moniker: String,
    consensus: ConsensusConfig,
    value_sync: ValueSyncConfig,
}

impl NodeConfig for EngineConfig {
    fn moniker(&self) -> &str {
        &self.moniker
    }

    fn consensus(&self) -> &ConsensusConfig {
        &self.consensus
    }

    fn consensus_mut(&mut self) -> &mut ConsensusConfig {
        &mut self.consensus
    }

    fn value_sync(&self) -> &ValueSyncConfig {
        &self.value_sync
    }

    fn value_sync_mut(&mut self) -> &mut ValueSyncConfig {
        &mut self.value_sync
    }
}

fn failed(what: &'static str, error: impl std::fmt::Display) -> NodeError {
    NodeError::Engine { what, detail: error.to_string() }
}

fn engine_config(moniker: String, chain: &ChainId, network: &NetworkOptions, sizes: Sizes) -> EngineConfig {
    let address = |socket: &std::net::SocketAddr| {
        let family = if socket.is_ipv4() { "ip4" } else { "ip6" };
        format!("/{family}/{}/tcp/{}", socket.ip(), socket.port()).parse().expect("a socket address is a multiaddress")
    };
    let mut consensus = ConsensusConfig::default();
    let p2p = &mut consensus.p2p;
    p2p.listen_addr = address(&network.listen_address());
    p2p.persistent_peers = network.peers.iter().map(address).collect();
    p2p.discovery.max_connections_per_ip = network.peers.len() * 2 + 16;
    p2p.discovery.ip_throttle_duration = Duration::ZERO;
    p2p.protocol_names.consensus = format!("{PROTOCOL}/{chain}");
    p2p.pubsub_max_size.0 = sizes.transaction_max * 2 + (4 << 20);
    p2p.rpc_max_size.0 = sizes.block_max * 2 + (8 << 20);
    let value_sync = ValueSyncConfig {
        status_update_interval: STATUS_INTERVAL,
        max_response_size: p2p.rpc_max_size,
        ..ValueSyncConfig::default()
    };
    EngineConfig { moniker, consensus, value_sync }
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    transaction_max: u64,
    block_max: u64,
}

fn linear(timeouts: Timeouts) -> LinearTimeouts {
    let Timeouts { propose, vote } = timeouts;
    LinearTimeouts {
        propose,
        propose_delta: propose / 2,
        prevote: vote,
        prevote_delta: vote / 2,
        precommit: vote,
        precommit_delta: vote / 2,
        rebroadcast: propose + vote * 2,
        ..LinearTimeouts::default()
    }
}

/// The key by which peers know the connection. It follows from the validator's, but is another, so that no signature of
/// the transport can be taken for one of ours.
fn peer_key(signer: Option<&KeySigner>) -> Result<Keypair, NodeError> {
    let Some(signer) = signer else { return Ok(Keypair::generate_ed25519()) };
    let secret = Sha256::digest(signer.sign(b"cairn/peer-key/v1").0.0);
    Keypair::ed25519_from_bytes(<[u8; 32]>::from(secret)).map_err(|error| failed("make the peer key", error))
}

/// A log that was cut while its header was written has never held a vote.
fn remove_torn_log(path: &Path) -> Result<(), NodeError> {
    let torn = std::fs::metadata(path).is_ok_and(|meta| meta.len() < WAL_HEADER_BYTES);
    if torn {
        std::fs::remove_file(path).map_err(|error| failed("remove a log without a header", error))?;
    }
    Ok(())
}

async fn start(
    chain: ChainId,
    signer: Option<KeySigner>,
    node: &LedgerNode,
    sizes: Sizes,
) -> Result<(Channels<Context>, EngineHandle), NodeError> {
    let (wal, network) = (node.dir.join(VOTES_LOG), &node.options.network);
    remove_torn_log(&wal)?;
    let keypair = peer_key(signer.as_ref())?;
    let peer_id = keypair.public().to_peer_id().to_bytes();
    let moniker = signer.as_ref().map_or_else(|| "observer".to_owned(), |signer| signer.address().to_string());
    let verifier = Box::new(ChainVerifier { chain });
    #[cfg(test)]
    let lying_signer = signer.clone();
    let (identity, consensus) = match signer {
        Some(signer) => {
            let proof = signer.validator_proof(peer_id);
            let proof = Wire.encode(&proof).map_err(|error| failed("encode the validator proof", error))?;
            let address = signer.address();
            let identity = NetworkIdentity::new_validator(moniker.clone(), keypair, address.to_string(), proof);
            (identity, ConsensusContext::new_validator(ValidatorKey(address), verifier, Box::new(signer)))
        }
        None => {
            let identity = NetworkIdentity::new(moniker.clone(), keypair, None);
            (identity, ConsensusContext::new_full_node(ValidatorKey(Address([0; 32])), verifier))
        }
    };
    let config = engine_config(moniker, &chain, network, sizes);
    #[cfg(test)]
    let lies = node.mischief.said_twice.map(|said_twice| (said_twice, lying_signer, identity.clone(), config.clone()));
    let builder = EngineBuilder::new(Context, config)
        .with_default_wal(WalContext::new(wal, Wire))
        .with_default_consensus(consensus)
        .with_default_request(RequestContext::new(REQUESTS_MAX));
    #[cfg(test)]
    if let Some((said_twice, signer, identity, config)) = lies {
        let network = spawned_network(identity, &config).await?;
        let signer = signer.expect("a liar has a key");
        let (network, sender) =
            liar::before(said_twice, signer, network).await.map_err(|error| failed("start", error))?;
        let builder = builder.with_custom_network(network, sender).with_default_sync(SyncContext::new(Wire));
        return builder.build().await.map_err(|error| failed("start", format!("{error:#}")));
    }
    let started = if network.is_alone() {
        let (network, sender) = alone::spawn().await.map_err(|error| failed("start", error))?;
        builder.with_custom_network(network, sender).with_no_sync().build().await
    } else {
        let network = NetworkContext::new(identity, Wire);
        builder.with_default_network(network).with_default_sync(SyncContext::new(Wire)).build().await
    };
    started.map_err(|error| failed("start", format!("{error:#}")))
}

/// The network that the engine would start by itself.
#[cfg(test)]
async fn spawned_network(
    identity: NetworkIdentity,
    config: &EngineConfig,
) -> Result<(NetworkRef<Context>, mpsc::Sender<NetworkMsg<Context>>), NodeError> {
    let registry = SharedRegistry::global().with_moniker(config.moniker());
    let spawned = spawn_network_actor(identity, &config.consensus, &config.value_sync, &registry, Wire).await;
    spawned.map_err(|error| failed("start the network", format!("{error:#}")))
}

/// What [`run`] returns. Boxed here, so that the engine is compiled once, and not again in every crate that runs a node.
pub(crate) type Run<'a> = Pin<Box<dyn Future<Output = Result<(), NodeError>> + Send + 'a>>;

/// Runs the engine until told to stop or the application fails.
pub(crate) fn run(node: &LedgerNode, stopped: watch::Receiver<bool>) -> Run<'_> {
    Box::pin(run_engine(node, stopped))
}

async fn run_engine(node: &LedgerNode, stopped: watch::Receiver<bool>) -> Result<(), NodeError> {
    let (chain, sizes) = {
        let view = node.shared.view();
        let params = view.state.params();
        let sizes = Sizes { transaction_max: params.transaction_bytes_max, block_max: params.block_bytes_max };
        (view.header.chain, sizes)
    };
    let signer = node.validator.clone().map(|key| KeySigner::new(chain, key));
    let (channels, engine) = start(chain, signer.clone(), node, sizes).await?;
    let Channels { consensus, network, .. } = channels;
    let (transactions, received) = sync_channel(TRANSACTION_BATCHES_MAX);
    let wiring = Wiring {
        chain: node.chain.clone(),
        shared: node.shared.clone(),
        signer,
        clock: node.options.clock.clone(),
        block_interval: node.options.block_interval,
        timeouts: linear(node.options.timeouts),
        network: network.clone(),
        is_alone: node.options.network.is_alone(),
        transactions,
        #[cfg(test)]
        mischief: node.mischief,
    };
    let sender = tokio::spawn(gossip::send(node.shared.clone(), network));
    let repeater = tokio::spawn(gossip::repeat(node.shared.clone()));
    let shared: Arc<Shared> = node.shared.clone();
    let receiver = tokio::task::spawn_blocking(move || gossip::receive(&shared, &received));
    let runtime = tokio::runtime::Handle::current();
    let application = move || serve(&runtime, Application::new(wiring), consensus, stopped);
    let result = tokio::task::spawn_blocking(application).await;
    engine.actor.get_cell().stop_children(Some("the node stops".to_owned()));
    engine.actor.stop(Some("the node stops".to_owned()));
    let _ = engine.handle.await;
    sender.abort();
    repeater.abort();
    let _ = receiver.await;
    info!(height = node.handle().head().height.0, "engine stopped");
    let result = result.unwrap_or_else(|panic| Err(NodeError::Production { detail: panic.to_string() }));
    result.map_err(|error| explained(error, &node.dir))
}

/// The engine does not say why it stopped; a disk that takes nothing is the likeliest cause, and easy to see.
fn explained(error: NodeError, dir: &Path) -> NodeError {
    let NodeError::Engine { what, detail } = error else { return error };
    let probe = dir.join(".probe");
    let written = std::fs::write(&probe, [0; PROBE_BYTES]);
    let _ = std::fs::remove_file(&probe);
    match written {
        Ok(()) => NodeError::Engine { what, detail },
        Err(error) => NodeError::Engine { what, detail: format!("{detail}: {}: {error}", dir.display()) },
    }
}

/// Answers the engine until told to stop; the message in hand is finished first.
fn serve(
    runtime: &tokio::runtime::Handle,
    mut application: Application,
    mut messages: mpsc::Receiver<AppMsg<Context>>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), NodeError> {
    loop {
        let next = runtime.block_on(async {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => None,
                message = messages.recv() => Some(message),
            }
        });
        match next {
            None => return Ok(()),
            Some(None) => {
                return Err(failed(
                    "run",
                    "the engine stopped by itself; its log of votes cannot be written, or is damaged",
                ));
            }
            Some(Some(message)) => application.handle(message)?,
        }
    }
}
