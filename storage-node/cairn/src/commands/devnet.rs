//! `cairn devnet`: runs the network of [`crate::devnet`] until it is told to stop, or until its demo is done.

use std::sync::Arc;

use crate::cli::DevnetArguments;
use crate::devnet::console::Console;
use crate::devnet::home::Home;
use crate::devnet::{Devnet, demo};
use crate::output::Output;

/// Runs the command.
pub fn run(arguments: DevnetArguments) -> anyhow::Result<()> {
    let console = Arc::new(Console::new());
    let home = Home::open(&arguments.dir, arguments.sector_size)?;
    let mut devnet = Devnet::start(&home, arguments.threads, console.clone())?;
    let head = devnet.ledger.head().height;
    console.line(format!("devnet in {}: epoch {head}, {}", arguments.dir.display(), devnet.provider.id));
    console.line(format!("gateway: http://{}", devnet.gateway));
    let result = work(&arguments, &home, &mut devnet, &console);
    console.line("stopping");
    devnet.stop();
    result
}

fn work(arguments: &DevnetArguments, home: &Home, devnet: &mut Devnet, console: &Arc<Console>) -> anyhow::Result<()> {
    for path in &arguments.store {
        let imported = devnet.client.import(path, &|done, total| console.progress("import", done, total))?;
        let order = devnet.client.order(&imported)?;
        let url = format!("http://{}/data/{}/", devnet.gateway, imported.root);
        console.line(format!("{}: {order}; once it is transferred: {url}", path.display()));
    }
    if arguments.demo {
        let report = demo::run(devnet, home, &arguments.dataset, console)?;
        Output::from_flag(arguments.json).print(&report)?;
    }
    if arguments.exit {
        return Ok(());
    }
    console.line("running; Ctrl-C stops");
    devnet.wait()
}
