//! `cairn devnet`: runs the network of [`crate::devnet`] until it is told to stop, or until its demo is done.

use std::sync::Arc;

use anyhow::{Context, ensure};
use cairn_consensus::Network;
use cairn_sealing::NetworkCircuits;

use crate::cli::DevnetArguments;
use crate::devnet::console::Console;
use crate::devnet::home::Home;
use crate::devnet::parameters::{self, Parameters};
use crate::devnet::{Devnet, demo};
use crate::output::Output;

/// Runs the command.
pub fn run(arguments: DevnetArguments) -> anyhow::Result<()> {
    let console = Arc::new(Console::new());
    let (home, parameters) = open(&arguments, &console)?;
    let DevnetArguments { threads, rpc, .. } = arguments;
    let snarks = (!arguments.no_provider).then_some(arguments.snarks);
    let mut devnet = Devnet::start(&home, &parameters, snarks, threads, rpc, console.clone())?;
    let head = devnet.ledger.head().height;
    let dir = arguments.dir.display();
    match &devnet.storage {
        Some(storage) => {
            console.line(format!("devnet in {dir}: epoch {head}, {}", storage.provider.id));
            console.line(format!("gateway: http://{}", storage.gateway));
        }
        None => console.line(format!("devnet in {dir}: epoch {head}, no provider here")),
    }
    if let Some(rpc) = devnet.rpc {
        console.line(format!("rpc: http://{rpc}"));
    }
    let result = start_checker(&arguments, &home, &mut devnet, &console)
        .and_then(|()| work(&arguments, &home, &parameters, &mut devnet, &console));
    console.line("stopping");
    devnet.stop();
    result
}

/// The network's folder, and its parameters. A new network takes what parameters there are or are made now; an old one
/// needs its own.
fn open(arguments: &DevnetArguments, console: &Console) -> anyhow::Result<(Home, Parameters)> {
    let params = match &arguments.params {
        Some(dir) => dir.clone(),
        None => parameters::default_dir(|name| std::env::var(name).ok())?,
    };
    let (dir, size) = (&arguments.dir, arguments.sector_size);
    let found = Home::find(dir, size)?;
    let network = found.as_ref().map_or(Network::Development, |home| home.genesis().network);
    let circuits = match &found {
        Some(home) => NetworkCircuits::named(size, home.genesis().verifying_keys.keys()),
        None => NetworkCircuits { sector_size: size, updates: arguments.updates },
    };
    ensure!(circuits.updates || !arguments.updates, "--updates: the network in {} takes none", dir.display());
    let parameters = Parameters::open(&params, network, circuits, found.is_none(), arguments.threads, console)?;
    let keys = parameters.verifying_keys();
    let home = match found {
        Some(home) => home,
        None => Home::create(dir, size, keys.clone())?,
    };
    let other = || format!("--params {} does not belong to the network in {}", params.display(), dir.display());
    home.genesis().check_keys(&keys).with_context(other)?;
    Ok((home, parameters))
}

fn start_checker(
    arguments: &DevnetArguments,
    home: &Home,
    devnet: &mut Devnet,
    console: &Arc<Console>,
) -> anyhow::Result<()> {
    if arguments.checker { devnet.start_checker(home, console.clone()) } else { Ok(()) }
}

fn work(
    arguments: &DevnetArguments,
    home: &Home,
    parameters: &Parameters,
    devnet: &mut Devnet,
    console: &Arc<Console>,
) -> anyhow::Result<()> {
    for path in &arguments.store {
        let imported = devnet.client.import(path, &|done, total| console.progress("import", done, total))?;
        let order = devnet.client.order(&imported)?;
        let place = match &devnet.storage {
            Some(storage) => format!("once it is transferred: http://{}/data/{}/", storage.gateway, imported.root),
            None => format!("dataset {}", imported.root),
        };
        console.line(format!("{}: {order}; {place}", path.display()));
    }
    if arguments.demo {
        let report = demo::run(devnet, home, parameters, &arguments.dataset, console)?;
        Output::from_flag(arguments.json).print(&report)?;
    }
    if arguments.exit {
        return Ok(());
    }
    console.line("running; Ctrl-C stops");
    devnet.wait()
}
