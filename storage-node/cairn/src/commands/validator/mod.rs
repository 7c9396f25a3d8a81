//! `cairn validator`: one of several that decide blocks.
//!
//! ```text
//! DIR/validator.key     the key and its grade, readable by the owner alone
//! DIR/validator.json    where it listens and where the others are; `init` writes it, flags of `run` go before it
//! DIR/genesis.json      what the network starts from
//! DIR/ledger/           blocks, state and the log of votes
//! ```

mod folder;
mod late;
mod make;
mod run;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use cairn_compute::Workers;
use cairn_consensus::{Genesis, Network};
use cairn_ledger::{ProofVerifier, VerifyingKeys};
use cairn_sealing::{Groth16ProofVerifier, NetworkCircuits};
use cairn_snark::verifying::Verifier;

use crate::cli::{ProofKeyArguments, ValidatorCommand};
use crate::commands::keys::Keys;
use crate::devnet::parameters::trust_in;

/// Runs the command that was typed.
pub fn run(command: ValidatorCommand) -> anyhow::Result<()> {
    match command {
        ValidatorCommand::Init(arguments) => make::init(&arguments),
        ValidatorCommand::Key(arguments) => make::key(&arguments),
        ValidatorCommand::Genesis(arguments) => make::genesis(&arguments),
        ValidatorCommand::Run(arguments) => run::run(&arguments),
    }
}

/// The checks of a network's proofs; without circuits every proof is refused.
fn verifier(
    params: Option<&Path>,
    network: Network,
    circuits: Option<NetworkCircuits>,
) -> anyhow::Result<Arc<Groth16ProofVerifier>> {
    let workers = Workers::new(0)?;
    let (Some(params), Some(circuits)) = (params, circuits) else {
        return Ok(Arc::new(Groth16ProofVerifier::new(Verifier::default(), [], workers)));
    };
    let keys = Keys::open(params.to_owned(), None, trust_in(network))?;
    let opened = Groth16ProofVerifier::open(keys.store(), circuits, workers);
    Ok(Arc::new(opened.with_context(|| format!("verifying keys in {}", params.display()))?))
}

/// The verifying keys for a new genesis.
fn verifying_keys(proofs: &ProofKeyArguments, network: Network) -> anyhow::Result<VerifyingKeys> {
    let circuits = proofs.sector_size.map(|sector_size| NetworkCircuits { sector_size, updates: proofs.updates });
    Ok(verifier(proofs.params.as_deref(), network, circuits)?.verifying_keys())
}

/// The circuits of a network's proofs; none if it takes none.
fn circuits_of(genesis: &Genesis) -> anyhow::Result<Option<NetworkCircuits>> {
    let sizes: BTreeSet<&str> =
        genesis.verifying_keys.keys().filter_map(|circuit| circuit.rsplit(' ').next()).collect();
    match sizes.into_iter().collect::<Vec<_>>().as_slice() {
        [] => Ok(None),
        [one] => {
            let size = one.parse().with_context(|| format!("the genesis has a circuit of size {one:?}"))?;
            Ok(Some(NetworkCircuits::named(size, genesis.verifying_keys.keys())))
        }
        several => bail!("the genesis has proofs of sectors of {several:?}, expected one size"),
    }
}
