//! The client: keeps datasets where they are, orders storage for them, and lets providers fetch them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use cairn_consensus::LedgerHandle;
use cairn_content::HotStore;
use cairn_ledger::{Command, Event, Order, OrderId, OrderStatus, OrderTerms, Outcome, address_of};
use cairn_protocol::{Amount, SectorSize};
use cid::Cid;
use ed25519_consensus::SigningKey;

use crate::dataset::{self, Imported};
use crate::provider::Terms;

/// Length of the deals that the client asks for, in epochs of the development network: some hours.
const DURATION_EPOCHS: u64 = 100_000;
/// The client pays at most this many times the provider's ask.
const PRICE_CAP_FACTOR: u64 = 2;
/// How long a transaction may take to be in a block.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(20);

/// See the module.
pub struct Client {
    ledger: LedgerHandle,
    key: SigningKey,
    hot: Arc<HotStore>,
    transfer: SocketAddr,
    sector_size: SectorSize,
}

impl Client {
    /// A client with its own hot store, which `transfer` serves.
    pub fn new(
        ledger: LedgerHandle,
        key: SigningKey,
        hot: Arc<HotStore>,
        transfer: SocketAddr,
        sector_size: SectorSize,
    ) -> Self {
        Self { ledger, key, hot, transfer, sector_size }
    }

    /// Hashes a file or folder into a dataset, which stays where it is, and cuts it into pieces.
    ///
    /// # Errors
    /// What cannot be read, or does not fit sectors of this size.
    pub fn import(&self, path: &Path, progress: &(dyn Fn(u64, u64) + Sync)) -> anyhow::Result<Imported> {
        dataset::import(&self.hot, path, self.sector_size, progress)
    }

    /// The client's order for this dataset that is open or became deals, if there is one.
    pub fn order_of(&self, root: &Cid) -> Option<(OrderId, Order)> {
        let (state, client) = (self.ledger.state(), address_of(&self.key));
        state
            .orders()
            .filter(|(_, order)| order.client == client && order.terms.root == *root)
            .filter(|(_, order)| !matches!(order.status, OrderStatus::Closed(_)))
            .last()
            .map(|(id, order)| (id, order.clone()))
    }

    /// Orders one copy, unless that was done before.
    ///
    /// # Errors
    /// The ledger's reason.
    pub fn order(&self, imported: &Imported) -> anyhow::Result<OrderId> {
        if let Some((order, _)) = self.order_of(&imported.root) {
            return Ok(order);
        }
        let pieces = imported.order_pieces();
        let price =
            Terms::default().ask(&pieces).and_then(|ask| ask.checked_mul(PRICE_CAP_FACTOR)).unwrap_or(Amount(u64::MAX));
        let terms = OrderTerms {
            root: imported.root,
            pieces,
            duration_epochs: DURATION_EPOCHS,
            price_per_epoch_max: price,
            copies: 1,
            transfer_url: format!("http://{}", self.transfer),
            requirements: Default::default(),
        };
        let events = self.send(Command::PlaceOrder(terms))?;
        let placed = events.iter().find_map(|event| match event {
            Event::OrderPlaced { order, .. } => Some(*order),
            _ => None,
        });
        placed.context("the ledger took the order but named none")
    }

    fn send(&self, command: Command) -> anyhow::Result<Vec<Event>> {
        send(&self.ledger, &self.key, command)
    }
}

/// Signs, hands in, and waits for the receipt; the events of a command that was carried out.
pub fn send(ledger: &LedgerHandle, key: &SigningKey, command: Command) -> anyhow::Result<Vec<Event>> {
    let id = ledger.submit_command(key, command)?;
    let Some(receipt) = ledger.wait_for_receipt(&id, RECEIPT_TIMEOUT)? else {
        bail!("transaction {id} was in no block after {RECEIPT_TIMEOUT:?}");
    };
    match receipt.outcome {
        Outcome::Applied => Ok(receipt.events),
        Outcome::Failed(rejection) => bail!("the ledger refuses transaction {id}: {rejection}"),
        Outcome::Refused(rejection) => bail!("the ledger refuses transaction {id}: {rejection}"),
    }
}
