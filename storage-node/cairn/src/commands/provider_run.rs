//! `cairn provider run`: a storage provider as a process of its own, over a ledger that is somewhere else.
//!
//! ```text
//! DIR/provider.json   which provider of which ledger the folder is for; written once
//! DIR/lock            held while a process works here
//! DIR/hot/            datasets that were fetched, served by the gateway
//! DIR/journal/        sealing journal
//! DIR/sectors/        one folder for each sector
//! ```

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use cairn_access::ProviderSigner;
use cairn_compute::Workers;
use cairn_content::HotStore;
use cairn_gateway::{GatewayOptions, serve};
use cairn_ledger::{ChainId, Command};
use cairn_protocol::ProviderId;
use cairn_remote::{ProviderSeat, RemoteLedger};
use cairn_rpc::wire;
use cairn_rpc::{ClientError, ClientOptions, RpcClient};
use cairn_sealing::durable::write_file;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::cli::ProviderRunArguments;
use crate::devnet::console::Console;
use crate::devnet::parameters::Parameters;
use crate::devnet::{ended_by_signal, stopped};
use crate::key_file::KeyFile;
use crate::provider::{Provider, ProviderParts, Terms};

const FORMAT: u32 = 1;
const RECORD_NAME: &str = "provider.json";
/// Longest wait for a ledger that does not answer when the process starts.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Pause between questions to it.
const START_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait for the registration to be in a block.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the gateway may finish what it is sending when the process stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// The content of `provider.json`: numbers of sectors mean something for one provider of one ledger alone.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u32,
    chain: ChainId,
    provider: ProviderId,
}

/// Runs the command.
pub fn run(arguments: ProviderRunArguments) -> anyhow::Result<()> {
    let console = Arc::new(Console::new());
    let key = KeyFile::read(&arguments.key)?;
    let client = RpcClient::new(&arguments.rpc, ClientOptions::default()).context("--rpc")?;
    let dir = std::path::absolute(&arguments.dir)?;
    let _lock = lock(&dir)?;
    let network = first_answer(&client, &console)?;
    key.check_for(network.grade)?;
    let ledger = RemoteLedger::connect(client, &network.chain, key.key.clone())?;

    let runtime = Runtime::new().context("cannot start threads")?;
    let listener = runtime.block_on(TcpListener::bind(arguments.listen));
    let listener = listener.with_context(|| format!("--listen: cannot listen on {}", arguments.listen))?;
    let gateway = listener.local_addr()?;
    let endpoint = arguments.endpoint.clone().unwrap_or_else(|| format!("http://{gateway}"));
    let provider = match owned(&ledger, arguments.provider)? {
        Some(provider) => provider,
        None => register(&ledger, &key, &arguments, endpoint, &console)?,
    };
    keep_to(&dir, Record { format: FORMAT, chain: network.chain, provider: provider.id })?;
    let size = provider.sector_size;
    let params = arguments.params.as_deref();
    let parameters = Parameters::of_network(params, &arguments.rpc, &network, size, arguments.threads, &console)?;

    let hot = HotStore::open(&dir.join("hot")).context("the hot store")?;
    for damaged in hot.damaged() {
        let path = damaged.path.display();
        console.line(format!("{path}: damaged and not served: {}", damaged.reason));
    }
    let hot = Arc::new(hot);
    let running = Provider::start(ProviderParts {
        id: provider.id,
        ledger: Arc::new(ProviderSeat::new(ledger, provider.id)),
        sector_size: size,
        terms: Terms { ask_per_mib: arguments.ask, in_hand_max: arguments.in_hand as usize },
        journal_dir: dir.join("journal"),
        sectors_dir: dir.join("sectors"),
        parallel_sectors: arguments.parallel as usize,
        hot: hot.clone(),
        workers: Workers::new(arguments.threads)?,
        prover: parameters.prover.clone(),
        verifier: parameters.verifier.clone(),
        console: console.clone(),
    })?;
    console.line(format!("{} of {} at {}; Ctrl-C stops", provider.id, key.address(), arguments.rpc));
    console.line(format!("gateway: http://{gateway}, known as {}", provider.endpoint));
    let signer = ProviderSigner::new(network.chain, key.key);
    signer.signs_for(provider.id);
    let ended = serve_until_told(&runtime, listener, hot, Arc::new(signer));
    console.line("stopping");
    running.stop();
    runtime.shutdown_timeout(SHUTDOWN_GRACE);
    ended
}

/// The gateway, until somebody wants the process to end or the gateway fails.
fn serve_until_told(
    runtime: &Runtime,
    listener: TcpListener,
    hot: Arc<HotStore>,
    signer: Arc<ProviderSigner>,
) -> anyhow::Result<()> {
    let (stop, stopping) = watch::channel(false);
    let options =
        GatewayOptions { shutdown_grace: SHUTDOWN_GRACE, group_signer: Some(signer), ..GatewayOptions::default() };
    let mut gateway = runtime.spawn(serve(listener, hot, options, stopped(stopping)));
    runtime.block_on(async {
        tokio::select! {
            signal = ended_by_signal() => {
                signal.context("cannot listen for signals")?;
                stop.send_replace(true);
                gateway.await?.context("the gateway")
            }
            ended = &mut gateway => {
                ended?.context("the gateway")?;
                bail!("the gateway ended although nobody asked it to")
            }
        }
    })
}

/// One process for each folder.
fn lock(dir: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join("lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => bail!("--dir {}: another process works there", dir.display()),
        Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// A ledger that is about to start, or to start again, is waited for.
fn first_answer(client: &RpcClient, console: &Console) -> anyhow::Result<wire::Network> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        match client.network() {
            Err(error) if error.is_transient() && begun.elapsed() < START_PATIENCE => {
                if !std::mem::replace(&mut told, true) {
                    console.line(format!("{error}; waiting {} s for it", START_PATIENCE.as_secs()));
                }
                std::thread::sleep(START_PAUSE);
            }
            answered => return Ok(answered?),
        }
    }
}

/// The provider of the key that is meant, if there is one.
fn owned(ledger: &RemoteLedger, wanted: Option<u64>) -> anyhow::Result<Option<wire::Provider>> {
    let own = ledger.address();
    // Whoever owns more than this says which one is meant.
    let mut providers = ledger.client().providers(Some(&own)).take(2).collect::<Result<Vec<_>, ClientError>>()?;
    let Some(wanted) = wanted else {
        let is_one = providers.len() < 2;
        ensure!(is_one, "{own} owns several providers: --provider says which");
        return Ok(providers.pop());
    };
    let provider = ledger.client().provider(ProviderId(wanted))?;
    let provider = provider.with_context(|| format!("--provider: the ledger has no {}", ProviderId(wanted)))?;
    ensure!(provider.owner == own, "--provider: {} belongs to {}, the key is of {own}", provider.id, provider.owner);
    Ok(Some(provider))
}

fn register(
    ledger: &RemoteLedger,
    key: &KeyFile,
    arguments: &ProviderRunArguments,
    endpoint: String,
    console: &Console,
) -> anyhow::Result<wire::Provider> {
    let own = key.address();
    let (Some(collateral), Some(sector_size)) = (arguments.register, arguments.sector_size) else {
        bail!("{own} has no provider: --register UNITS --sector-size SIZE, or `cairn provider register`, makes one")
    };
    let id = ledger
        .send("registration", &Command::RegisterProvider { sector_size, collateral, endpoint })
        .context("registering the provider")?;
    let receipt = ledger.client().wait_for_receipt(&id, REGISTRATION_TIMEOUT)?;
    if let Some(refusal) = receipt.refusal {
        bail!("the ledger refuses the registration: {}", refusal.text);
    }
    let provider = owned(ledger, None)?.context("the ledger took the registration but has no provider")?;
    console.line(format!("{} is registered with {collateral} units of collateral", provider.id));
    Ok(provider)
}

/// Writes down whose folder this is, or finds that it is this one's.
fn keep_to(dir: &Path, record: Record) -> anyhow::Result<()> {
    let path = dir.join(RECORD_NAME);
    match fs::read(&path) {
        Ok(bytes) => {
            let Record { format, chain, provider } =
                serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
            ensure!(
                Record { format, chain, provider } == record,
                "--dir {}: it is the folder of {provider} of chain {chain}, expected {} of chain {}",
                dir.display(),
                record.provider,
                record.chain
            );
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = serde_json::to_string_pretty(&record).expect("a record of numbers and names") + "\n";
            write_file(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_provider_of_one_ledger_and_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let record =
            |chain, provider| Record { format: FORMAT, chain: ChainId([chain; 32]), provider: ProviderId(provider) };
        let held = lock(folder.path()).unwrap();
        let refused = lock(folder.path()).unwrap_err().to_string();
        assert!(refused.ends_with("another process works there"), "{refused}");
        drop(held);
        assert!(lock(folder.path()).is_ok());
        keep_to(folder.path(), record(1, 1000)).unwrap();
        keep_to(folder.path(), record(1, 1000)).unwrap();
        for other in [record(2, 1000), record(1, 1001)] {
            let refused = keep_to(folder.path(), other).unwrap_err().to_string();
            assert!(refused.contains("it is the folder of"), "{refused}");
        }
        fs::write(folder.path().join(RECORD_NAME), "{").unwrap();
        assert!(keep_to(folder.path(), record(1, 1000)).is_err());
    }
}
