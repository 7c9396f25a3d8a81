//! `cairn provider delegate`: the owner's leave for another key to sign what a gateway sends.

use anyhow::{Context, ensure};
use cairn_ledger::{Address, ServingKey};
use cairn_protocol::{Epoch, ProviderId};
use serde::Serialize;

use super::session::Session;
use super::table::facts;
use crate::cli::DelegateArguments;
use crate::key_file::KeyFile;
use crate::serving_key_file;

/// What was given.
#[derive(Debug, Serialize)]
struct Given {
    provider: ProviderId,
    key: Address,
    until: Epoch,
    file: String,
}

/// Runs the command.
pub fn run(arguments: &DelegateArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let (provider, key) = (ProviderId(arguments.provider), KeyFile::read(&arguments.key).context("--key")?);
    let network = session.client.network()?;
    key.check_for(network.grade).context("--key")?;
    let owner = session.client.provider(provider)?.with_context(|| format!("the ledger has no {provider}"))?.owner;
    ensure!(owner == key.address(), "--key: {provider} is owned by {owner}, the key is of {}", key.address());
    ensure!(arguments.to != owner, "--to: this is the owner's own address, which needs no leave");
    let until = Epoch(network.height.0.saturating_add(arguments.epochs));
    let leave = ServingKey { provider, key: arguments.to, until };
    serving_key_file::write_new(&arguments.out, &leave.sign(network.chain, &key.key)).context("--out")?;
    let given = Given { provider, key: arguments.to, until, file: arguments.out.display().to_string() };
    session.output.print_as(&given, || {
        facts([
            ("provider", Some(given.provider.to_string())),
            ("signed for by", Some(given.key.to_string())),
            ("until epoch", Some(given.until.to_string())),
            ("leave", Some(given.file.clone())),
        ])
    })
}
