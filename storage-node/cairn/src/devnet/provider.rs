//! The network's own provider: registered unless it is, and started beside the ledger.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use cairn_compute::Workers;
use cairn_consensus::LedgerHandle;
use cairn_content::HotStore;
use cairn_ledger::{Command, ProofVerifier, State, address_of};
use cairn_protocol::{ProviderId, SectorSize};
use cairn_sealing::{ProviderLedger, SnarkProver};
use ed25519_consensus::SigningKey;

use super::client::send;
use super::console::Console;
use super::home::Home;
use super::ledger_port::NodePort;
use crate::provider::{Provider, ProviderParts, Terms};

/// Collateral beyond the ledger's minimum, as a factor.
const COLLATERAL_FACTOR: u64 = 100;
/// Sectors that are worked on at the same time.
const PARALLEL_SECTORS: usize = 2;

/// Who makes the provider's SNARKs, and who checks them before they leave.
pub struct Proofs {
    /// This machine, or the market.
    pub prover: Arc<dyn SnarkProver>,
    /// The ledger's checks.
    pub verifier: Arc<dyn ProofVerifier + Send + Sync>,
}

/// Registers the provider unless it is, opens its pipeline, and starts its threads.
///
/// # Errors
/// What keeps the pipeline from opening, or the ledger's reason.
pub fn start(
    home: &Home,
    proofs: Proofs,
    ledger: LedgerHandle,
    hot: Arc<HotStore>,
    workers: Workers,
    gateway: SocketAddr,
    console: Arc<Console>,
) -> anyhow::Result<Provider> {
    let (key, sector_size) = (home.provider_key(), home.sector_size());
    let id = register(&ledger, &key, sector_size, gateway).context("registering the provider")?;
    Provider::start(ProviderParts {
        id,
        ledger: Arc::new(ProviderLedger::new(NodePort(ledger), id, key)),
        sector_size,
        terms: Terms::default(),
        journal_dir: home.journal_dir(),
        sectors_dir: home.sectors_dir(),
        parallel_sectors: PARALLEL_SECTORS,
        hot,
        workers,
        prover: proofs.prover,
        verifier: proofs.verifier,
        console,
    })
}

fn register(
    ledger: &LedgerHandle,
    key: &SigningKey,
    sector_size: SectorSize,
    gateway: SocketAddr,
) -> anyhow::Result<ProviderId> {
    let owned = |state: &State| state.providers_of(address_of(key)).next().map(|(id, _)| id);
    let state = ledger.state();
    if let Some(id) = owned(&state) {
        return Ok(id);
    }
    let collateral = state.params().collateral_min.checked_mul(COLLATERAL_FACTOR).context("the collateral")?;
    let endpoint = format!("http://{gateway}");
    send(ledger, key, Command::RegisterProvider { sector_size, collateral, endpoint })?;
    owned(&ledger.state()).context("the ledger took the registration but has no provider")
}
