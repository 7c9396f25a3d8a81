//! `cairn gateway`: serves folders, files, CAR archives and a hot store until it is told to stop.
//!
//! 1. Everything is opened and hashed; one thing that cannot be served stops the command before it listens.
//! 2. The listener is bound, and one line for each thing is printed: programs read the port there.
//! 3. The gateway runs until a signal; running transfers get its grace time.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use cairn_access::{AccessGate, PolicyFile, ProviderSigner, gate::system_clock};
use cairn_content::{CarArchive, Dataset, DatasetKind, HotStore, ImportOptions};
use cairn_gateway::{
    AccessLog, Collector, Gatekeeper, GatewayOptions, GroupSigner, Library, Metrics, Mount, OptionsRejection, Reporter,
    TlsIdentity, listen, serve, serve_metrics,
};
use cairn_ledger::{Address, ServingKey};
use cairn_origin::{CacheOptions, DiskOptions, Origin, OriginOptions, OriginSource, S3Settings};
use cairn_protocol::ProviderId;
use cairn_rpc::wire::Network;
use cairn_rpc::{ClientOptions, RpcClient};
use cairn_s3::{AccessKeys, IngestFolder, IngestOptions, S3Handler, S3Options};
use serde::Serialize;
use tokio::net::TcpListener;

use super::payments::{Payments, Redeeming};
use crate::cli::{GatewayArguments, OriginArguments};
use crate::devnet::ended_by_signal;
use crate::key_file::KeyFile;
use crate::progress::Stage;
use crate::secret_file::{self, Readers};
use crate::serving_key_file;

/// Most bytes of a file with a private key.
const TLS_KEY_BYTES_MAX: u64 = 64 << 10;
/// Most bytes of a file with the settings of an origin.
const ORIGIN_SETTINGS_BYTES_MAX: u64 = 16 << 10;

/// Most bytes of a file with keys of S3.
const S3_KEYS_BYTES_MAX: u64 = 4 << 20;

/// One line of what is served.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Gateway { url: String },
    S3 { url: String },
    Metrics { url: String },
    Dataset { root: String, url: String, name: String, files: usize, bytes: u64 },
    Car { root: Option<String>, url: Option<String>, path: String, blocks: usize, bytes: u64, left_out: u64 },
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway { url } => write!(f, "gateway: {url}"),
            Self::S3 { url } => write!(f, "s3: {url}"),
            Self::Metrics { url } => write!(f, "metrics: {url}"),
            Self::Dataset { root, url, name, files, bytes } => {
                write!(f, "{root}  {url}  {name}: {files} files, {bytes} bytes")
            }
            Self::Car { root, url, path, blocks, bytes, left_out } => {
                let (root, url) = (root.as_deref().unwrap_or("no root"), url.as_deref().unwrap_or("/ipfs/CID"));
                write!(f, "{root}  {url}  {path}: {blocks} blocks, {bytes} bytes")?;
                if *left_out > 0 {
                    write!(f, "; {left_out} blocks left out, they are not named by SHA-256")?;
                }
                Ok(())
            }
        }
    }
}

/// Hashes a file or folder; `what` is what it is called in an error.
pub(super) fn import(path: &Path, what: &str) -> anyhow::Result<Dataset> {
    let stage = Stage::begin("hash");
    let options = ImportOptions {
        workers: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        progress: &|done, total| stage.report(done, total),
        ..ImportOptions::default()
    };
    let dataset = Dataset::import(path, &options).with_context(|| format!("{what}{}", path.display()))?;
    drop(stage);
    for skipped in dataset.skipped() {
        eprintln!("cairn: note: {} is left out: {:?}", path.join(&skipped.path).display(), skipped.reason);
    }
    Ok(dataset)
}

/// Everything that is served, and what counts beside the gateway.
fn open(arguments: &GatewayArguments) -> anyhow::Result<(Library, Vec<Box<dyn Collector>>)> {
    let GatewayArguments { cars, data, store, .. } = arguments;
    ensure!(
        !(cars.is_empty()
            && data.is_empty()
            && store.is_none()
            && arguments.s3_ingest.is_none()
            && arguments.origin.origin.is_none()),
        "nothing to serve: give --data, --car, --store, --origin or --s3-ingest"
    );
    let mut library = Library::default();
    if let Some(dir) = store {
        ensure!(dir.is_dir(), "--store {}: expected the folder of a hot store", dir.display());
        let store = HotStore::open(dir).with_context(|| format!("--store {}", dir.display()))?;
        for damaged in store.damaged() {
            eprintln!("cairn: note: {} is damaged and not served: {}", damaged.path.display(), damaged.reason);
        }
        library = library.with_store(Arc::new(store));
    }
    for path in data {
        library.add_dataset(Arc::new(import(path, "--data ")?));
    }
    for path in cars {
        library.add_archive(CarArchive::open(path).context("--car")?);
    }
    let mut collectors = Vec::new();
    if let Some(source) = origin_source(arguments)? {
        collectors.push(source.collector());
        library.add_origin(Arc::new(source));
    }
    Ok((library, collectors))
}

/// The origin that was asked for, behind its cache.
fn origin_source(arguments: &GatewayArguments) -> anyhow::Result<Option<OriginSource>> {
    let Some(origin) = open_origin(&arguments.origin)? else { return Ok(None) };
    let disk = arguments.cache_dir.clone().map(|dir| DiskOptions { dir, bytes_max: arguments.cache_mib << 20 });
    let cache = CacheOptions { memory_bytes: arguments.cache_memory_mib << 20, disk, ..CacheOptions::default() };
    Ok(Some(OriginSource::start(origin, &OriginOptions { cache, ..OriginOptions::default() })?))
}

/// The origin of some arguments, if they name one.
pub(super) fn open_origin(arguments: &OriginArguments) -> anyhow::Result<Option<Origin>> {
    let Some(address) = &arguments.origin else { return Ok(None) };
    let settings = match &arguments.origin_settings {
        None => S3Settings::default(),
        Some(path) => {
            let named = || format!("--origin-settings {}", path.display());
            let bytes =
                secret_file::read(path, Readers::Owner, ORIGIN_SETTINGS_BYTES_MAX).context("--origin-settings")?;
            S3Settings::parse(&String::from_utf8(bytes).with_context(named)?).with_context(named)?
        }
    };
    Ok(Some(Origin::open(address, &settings).context("--origin")?))
}

/// What is served, for a gateway at `url`.
fn lines(library: &Library, url: String) -> Vec<Line> {
    let mut lines = vec![Line::Gateway { url: url.clone() }];
    for dataset in library.datasets() {
        let root = dataset.root().to_string();
        let slash = if dataset.kind() == DatasetKind::Folder { "/" } else { "" };
        lines.push(Line::Dataset {
            url: format!("{url}/data/{root}{slash}"),
            root,
            name: dataset.name().to_owned(),
            files: dataset.files().len(),
            bytes: dataset.total_bytes(),
        });
    }
    for archive in library.archives() {
        let mut roots: Vec<_> = archive.roots().iter().map(|root| Some(root.to_string())).collect();
        if roots.is_empty() {
            roots.push(None);
        }
        lines.extend(roots.into_iter().map(|root| Line::Car {
            url: root.as_ref().map(|root| format!("{url}/ipfs/{root}")),
            root,
            path: archive.path().display().to_string(),
            blocks: archive.blocks(),
            bytes: archive.file_bytes(),
            left_out: archive.left_out(),
        }));
    }
    lines
}

fn print(lines: &[Line], json: bool) -> anyhow::Result<()> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    for line in lines {
        let text = if json { serde_json::to_string(line)? } else { line.to_string() };
        writeln!(stdout, "{text}").context("cannot write to standard output")?;
    }
    stdout.flush().context("cannot write to standard output")
}

/// The interface of S3 as it was asked for.
fn s3_handler(
    arguments: &GatewayArguments,
    library: &Arc<Library>,
    ingest: Option<Arc<IngestFolder>>,
    gatekeeper: Option<Arc<dyn Gatekeeper>>,
    prefix: &str,
) -> anyhow::Result<Mount> {
    let keys = match &arguments.s3_key {
        None => AccessKeys::open(),
        Some(path) => {
            let named = || format!("--s3-key {}", path.display());
            let bytes = secret_file::read(path, Readers::Owner, S3_KEYS_BYTES_MAX).context("--s3-key")?;
            AccessKeys::parse(&String::from_utf8(bytes).with_context(named)?).with_context(named)?
        }
    };
    ensure!(ingest.is_none() || keys.can_write(), "--s3-ingest: --s3-key has no key that may write");
    ensure!(gatekeeper.is_some() || !keys.needs_count(), "--s3-key: bytes= needs --access, which keeps the count");
    let region = arguments.s3_region.clone();
    let options = S3Options { prefix: prefix.into(), region, keys, ingest, gatekeeper, ..S3Options::default() };
    let handler = Arc::new(S3Handler::new(library.clone(), options));
    Ok(Mount { prefix: if prefix.is_empty() { "/".into() } else { prefix.into() }, handler })
}

/// The folder that uploads go to, if they are taken.
fn ingest(arguments: &GatewayArguments) -> anyhow::Result<Option<Arc<IngestFolder>>> {
    let Some(folder) = &arguments.s3_ingest else { return Ok(None) };
    let options = IngestOptions {
        upload_idle_seconds: arguments.s3_upload_days * 24 * 3600,
        staged_bytes_max: arguments.s3_upload_gib << 30,
    };
    Ok(Some(Arc::new(IngestFolder::open(folder, options).context("--s3-ingest")?)))
}

/// The policy of a file, opened, and who redeems what it takes.
fn gatekeeper(path: &Path) -> anyhow::Result<(Arc<AccessGate>, Option<Redeeming>)> {
    let named = || format!("--access {}", path.display());
    let text = std::fs::read_to_string(path).with_context(named)?;
    let policy = PolicyFile::parse(&text).with_context(named)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let key = KeyFile::read(&dir.join(&policy.key)).with_context(named)?;
    let payments = policy.payments.as_ref().map(|payments| Payments::open(payments, dir, &key));
    let (payments, vouchers) = payments.transpose().with_context(named)?.unzip();
    let gate = Arc::new(policy.open(dir, key.key, vouchers, system_clock()).with_context(named)?);
    let redeeming = payments.map(|payments| payments.redeem(gate.clone())).transpose()?;
    Ok((gate, redeeming))
}

/// Who signs for a provider, if that is asked for: the key must be the owner's, or have its leave.
fn group_signer(arguments: &GatewayArguments) -> anyhow::Result<Option<Arc<dyn GroupSigner>>> {
    let (Some(provider), Some(path), Some(url)) = (arguments.sign_for, &arguments.sign_key, &arguments.sign_rpc) else {
        return Ok(None);
    };
    let (key, id) = (KeyFile::read(path).context("--sign-key")?, ProviderId(provider));
    let client = RpcClient::new(url, ClientOptions::default()).context("--sign-rpc")?;
    let network = client.network().context("--sign-rpc")?;
    key.check_for(network.grade).context("--sign-key")?;
    let owner = client.provider(id).context("--sign-rpc")?.with_context(|| format!("--sign-for: no {id}"))?.owner;
    let signer = match &arguments.sign_leave {
        None => {
            ensure!(owner == key.address(), "--sign-key: {id} is owned by {owner}, the key is of {}", key.address());
            let signer = ProviderSigner::new(network.chain, key.key);
            signer.signs_for(id);
            signer
        }
        Some(path) => signer_by_leave(path, key, id, owner, &network)?,
    };
    Ok(Some(Arc::new(signer)))
}

/// Who signs with the leave of a provider's owner, which must be for this key and must not have ended.
fn signer_by_leave(
    path: &Path,
    key: KeyFile,
    id: ProviderId,
    owner: Address,
    network: &Network,
) -> anyhow::Result<ProviderSigner> {
    let leave = serving_key_file::read(path).context("--sign-leave")?;
    let ServingKey { provider, key: allowed, until } = leave.leave;
    ensure!(provider == id, "--sign-leave: expected leave for {id}, got {provider}");
    ensure!(allowed == key.address(), "--sign-leave: it is for {allowed}, --sign-key is of {}", key.address());
    ensure!(
        leave.is_signed_by(network.chain, owner),
        "--sign-leave: not signed by {owner}, who owns {id}, for this ledger"
    );
    ensure!(until >= network.height, "--sign-leave: it ended at epoch {until}, the ledger is at {}", network.height);
    Ok(ProviderSigner::by_leave(network.chain, key.key, leave))
}

/// Who tells of requests, if anybody wants to know.
fn reporter(arguments: &GatewayArguments, collectors: Vec<Box<dyn Collector>>) -> anyhow::Result<Option<Reporter>> {
    let log = arguments
        .access_log
        .as_ref()
        .map(|path| AccessLog::open(path).with_context(|| format!("--access-log {}", path.display())));
    let log = log.transpose()?;
    let wanted = log.is_some() || arguments.metrics.is_some();
    Ok(wanted.then(|| Reporter { metrics: Metrics::with(collectors), log, surface: None }))
}

/// Certificate and key, if TLS was asked for.
fn tls_identity(arguments: &GatewayArguments) -> anyhow::Result<Option<TlsIdentity>> {
    let (Some(chain), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) else { return Ok(None) };
    let named = || format!("--tls-cert {}, --tls-key {}", chain.display(), key.display());
    let chain = std::fs::read(chain).with_context(named)?;
    let key = secret_file::read(key, Readers::Group, TLS_KEY_BYTES_MAX).context("--tls-key")?;
    TlsIdentity::from_pem(&chain, &key).with_context(named).map(Some)
}

fn bind(address: SocketAddr, flag: &str, tls: bool) -> anyhow::Result<(TcpListener, String)> {
    let listener = listen(address).with_context(|| format!("{flag} {address}"))?;
    let scheme = if tls { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr().context("the listener has no address")?);
    Ok((listener, url))
}

/// Runs the command.
pub fn run(arguments: GatewayArguments) -> anyhow::Result<()> {
    let (library, collectors) = open(&arguments)?;
    let library = Arc::new(library);
    let (gate, redeeming) = arguments.access.as_deref().map(gatekeeper).transpose()?.unzip();
    let mut options = GatewayOptions {
        connections_max: arguments.connections,
        transfers_max: arguments.transfers,
        group_signer: group_signer(&arguments)?,
        gatekeeper: gate.clone().map(|gate| gate as Arc<dyn Gatekeeper>),
        reporter: reporter(&arguments, collectors)?,
        tls: tls_identity(&arguments)?,
        ..GatewayOptions::default()
    };
    let reporter = options.reporter.clone();
    let mut s3_options = options.clone();
    let ingest = ingest(&arguments)?;
    if arguments.s3.is_some() {
        let gatekeeper = options.gatekeeper.clone();
        options.mounts.push(s3_handler(&arguments, &library, ingest.clone(), gatekeeper.clone(), "/s3")?);
        s3_options.reporter = reporter.clone().map(|reporter| Reporter { surface: Some("s3"), ..reporter });
        s3_options.mounts.push(s3_handler(&arguments, &library, ingest, gatekeeper, "")?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let tls = options.tls.is_some();
    let served = runtime.block_on(async {
        let (listener, url) = bind(arguments.listen, "--listen", tls)?;
        let mut lines = lines(&library, url);
        let s3 = match arguments.s3 {
            None => None,
            Some(address) => {
                let (listener, url) = bind(address, "--s3", tls)?;
                lines.insert(1, Line::S3 { url });
                Some(listener)
            }
        };
        let metrics = match arguments.metrics {
            None => None,
            Some(address) => {
                let (listener, url) = bind(address, "--metrics", false)?;
                lines.insert(1, Line::Metrics { url: format!("{url}/metrics") });
                Some(listener)
            }
        };
        print(&lines, arguments.json)?;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let until = |mut stopped: tokio::sync::watch::Receiver<bool>| async move {
            _ = stopped.wait_for(|stop| *stop).await;
        };
        let signal = async {
            if let Err(error) = ended_by_signal().await {
                eprintln!("cairn: note: cannot listen for signals: {error}");
            }
            stop.send_replace(true);
            Ok::<(), OptionsRejection>(())
        };
        let s3_serving = async {
            match s3 {
                None => Ok(()),
                Some(listener) => serve(listener, library.clone(), s3_options, until(stopped.clone())).await,
            }
        };
        let scraped = async {
            if let (Some(listener), Some(reporter)) = (metrics, &reporter) {
                serve_metrics(listener, reporter.metrics.clone(), until(stopped.clone())).await;
            }
            Ok(())
        };
        let serving = serve(listener, library.clone(), options, until(stopped.clone()));
        tokio::try_join!(signal, serving, s3_serving, scraped).map(drop).context("--connections, --transfers")
    });
    // Whatever still held a count goes with the runtime; then the truth is written.
    drop(runtime);
    drop(redeeming);
    if let Some(gate) = gate {
        gate.access().meter().flush().context("--access")?;
    }
    served
}
