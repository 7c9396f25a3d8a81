//! What a command believes instead of the server.

use std::path::Path;

use anyhow::Context;
use cairn_consensus::Genesis;
use cairn_rpc::client::verify::{Trust, Verified};
use serde::Deserialize;

use crate::cli::BeliefArguments;

/// The settings of a development network, as far as they matter here.
#[derive(Deserialize)]
struct Devnet {
    genesis: Genesis,
}

/// Whom to believe; `None` if the server is.
///
/// # Errors
/// A genesis that cannot be read.
pub fn trust(arguments: &BeliefArguments) -> anyhow::Result<Option<Trust>> {
    let Some(path) = arguments.genesis.as_ref().filter(|_| arguments.verify) else { return Ok(None) };
    let genesis = read_genesis(path)?;
    let trust = Trust::new(&genesis, arguments.checkpoint).with_context(|| path.display().to_string())?;
    Ok(Some(trust))
}

fn read_genesis(path: &Path) -> anyhow::Result<Genesis> {
    let place = || path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", place()))?;
    match serde_json::from_str::<Devnet>(&text) {
        Ok(devnet) => Ok(devnet.genesis),
        Err(_) => Genesis::from_json(&text).with_context(place),
    }
}

/// A note on standard error where trust begins too long ago.
pub fn note(verified: &Verified) {
    if let Some(old_by) = verified.old_by {
        eprintln!(
            "cairn: note: the genesis is {old_by} blocks older than stake stays locked: validators who left since could \
             have signed another history; --checkpoint names a newer block"
        );
    }
}

/// How a block is known to be final, in words.
pub fn describe(verified: &Verified) -> String {
    let Verified { votes, of, since, .. } = verified;
    let since = match since.0 {
        0 => "the genesis".to_owned(),
        height => format!("the checkpoint at {height}"),
    };
    format!("{votes} of {of} votes signed it, from {since} on")
}
