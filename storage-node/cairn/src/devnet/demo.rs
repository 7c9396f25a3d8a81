//! The demo: one dataset all the way, from a folder to a sector that is proven again and again, and back over HTTP.
//!
//! It acts as a client would and otherwise only watches: the ledger for orders, deals and proofs, the pipeline's journal
//! for what each stage took. At the end every file that came back is compared with the one that went in.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use cairn_gateway::fetch::{FetchOptions, FetchRequest, fetch_blocking};
use cairn_ledger::{DealId, DealStatus, OrderId, OrderStatus};
use cairn_protocol::{Epoch, SectorNumber, piece_cid_v2, sealed_cid};
use cairn_sealing::{Milestone, PostState, SectorRecord};
use sha2::{Digest, Sha256};

use super::console::Console;
use super::home::Home;
use super::parameters::Parameters;
use super::report::{DemoReport, Row};
use super::{Devnet, Storage};
use crate::dataset::Imported;

/// Window PoSts that every sector must pass.
const POSTS: usize = 2;
/// Longest wait for any one step. Generous: a slow machine is no failure.
const PATIENCE: Duration = Duration::from_secs(1800);
/// How often the demo looks.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the demo on a network that is up.
///
/// # Errors
/// The first step that does not succeed, and why.
pub fn run(
    devnet: &Devnet,
    home: &Home,
    parameters: &Parameters,
    dataset: &Path,
    console: &Console,
) -> anyhow::Result<DemoReport> {
    let storage = devnet.storage.as_ref().context("the demo needs the network's own provider")?;
    let mut demo = Demo { devnet, storage, console, started: Instant::now(), rows: vec![parameters_row(parameters)] };
    let imported = demo.import(dataset)?;
    let order = demo.order(&imported)?;
    let deals = demo.wait_for_deals(order)?;
    let sectors = demo.wait_for_sectors(&deals, imported.dataset.total_bytes())?;
    demo.wait_for_posts(&sectors)?;
    demo.fetch_and_compare(home, &imported)?;
    Ok(demo.report(&imported, &deals, &sectors))
}

/// What it took before the network could start. Not in the total, which is the dataset's way.
fn parameters_row(parameters: &Parameters) -> Row {
    let made: Vec<_> = parameters.made.iter().map(|(circuit, _)| circuit.as_str()).collect();
    let bytes: u64 = parameters.made.iter().map(|(_, bytes)| bytes).sum();
    Row {
        stage: "parameters".to_owned(),
        seconds: Some(parameters.seconds),
        bytes: (bytes > 0).then_some(bytes),
        result: match made.is_empty() {
            true => "found".to_owned(),
            false => format!("made for {}", made.join(", ")),
        },
    }
}

struct Demo<'a> {
    devnet: &'a Devnet,
    storage: &'a Storage,
    console: &'a Console,
    started: Instant,
    rows: Vec<Row>,
}

impl Demo<'_> {
    fn row(&mut self, stage: &str, since: Option<Instant>, bytes: Option<u64>, result: impl Into<String>) {
        let seconds = since.map(|since| since.elapsed().as_secs_f64());
        self.rows.push(Row { stage: stage.to_owned(), seconds, bytes, result: result.into() });
    }

    /// Looks until `found` has something, the network fails, or patience ends.
    fn wait_for<T>(&self, what: &str, mut found: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
        let start = Instant::now();
        loop {
            if let Some(found) = found()? {
                return Ok(found);
            }
            if let Some(reason) = self.devnet.failure() {
                bail!("waiting for {what}: the ledger has stopped: {reason}");
            }
            ensure!(start.elapsed() < PATIENCE, "waited {} s for {what}", PATIENCE.as_secs());
            std::thread::sleep(LOOK);
        }
    }

    fn import(&mut self, dataset: &Path) -> anyhow::Result<Imported> {
        let start = Instant::now();
        let console = self.console;
        let imported = self.devnet.client.import(dataset, &|done, total| console.progress("import", done, total))?;
        let result = format!("{} files, {} piece(s)", imported.dataset.files().len(), imported.pieces.len());
        self.row("import", Some(start), Some(imported.dataset.total_bytes()), result);
        Ok(imported)
    }

    fn order(&mut self, imported: &Imported) -> anyhow::Result<OrderId> {
        let start = Instant::now();
        let order = self.devnet.client.order(imported)?;
        self.row("order", Some(start), None, order.to_string());
        Ok(order)
    }

    fn wait_for_deals(&mut self, order: OrderId) -> anyhow::Result<Vec<DealId>> {
        let start = Instant::now();
        let ledger = &self.devnet.ledger;
        let deals = self.wait_for("a bid", || {
            let state = ledger.state();
            match state.order(order).map(|order| &order.status) {
                Some(OrderStatus::Matched { deals, .. }) => Ok(Some(deals.clone())),
                Some(OrderStatus::Closed(closure)) => bail!("{order} was closed: {closure:?}"),
                Some(OrderStatus::Open) => Ok(None),
                None => bail!("{order} is not on the ledger"),
            }
        })?;
        self.row("bid, deal", Some(start), None, format!("{} deal(s)", deals.len()));
        Ok(deals)
    }

    /// Waits until all deals are active, and tells what the pipeline took for each stage.
    fn wait_for_sectors(&mut self, deals: &[DealId], bytes: u64) -> anyhow::Result<Vec<SectorNumber>> {
        let start = Instant::now();
        self.wait_for("the transfer", || Ok(self.records(deals)?.map(drop)))?;
        self.row("transfer", Some(start), Some(bytes), "every block verified");

        let start = Instant::now();
        let records = self.wait_for("active sectors", || {
            let Some(records) = self.records(deals)? else { return Ok(None) };
            if let Some(failure) = records.iter().find_map(|record| record.state.failure())
                && !failure.kind.is_transient()
            {
                bail!("sealing failed in stage {}: {}", failure.stage, failure.cause);
            }
            Ok(records.iter().all(|record| record.state.milestone() >= Milestone::Finalized).then_some(records))
        })?;
        for record in &records {
            for timing in &record.timings {
                self.rows.push(Row {
                    stage: timing.stage.to_string(),
                    seconds: Some(timing.milliseconds as f64 / 1000.0),
                    bytes: (timing.bytes > 0).then_some(timing.bytes),
                    result: format!("sector {}", record.sector()),
                });
            }
        }
        let state = self.devnet.ledger.state();
        for deal in deals {
            let status = state.deal(*deal).map(|deal| deal.status.clone());
            ensure!(matches!(status, Some(DealStatus::Active { .. })), "{deal} is not active: {status:?}");
        }
        self.row("activation", Some(start), None, format!("{} deal(s) active", deals.len()));
        Ok(records.iter().map(SectorRecord::sector).collect())
    }

    /// The sectors of all deals, once each has one.
    fn records(&self, deals: &[DealId]) -> anyhow::Result<Option<Vec<SectorRecord>>> {
        let mut missing: BTreeSet<DealId> = deals.iter().copied().collect();
        let mut records = vec![];
        for record in self.storage.provider.pipeline.sectors()? {
            let before = missing.len();
            missing.retain(|deal| !record.assignment.deals().contains(deal));
            if missing.len() < before {
                records.push(record);
            }
        }
        Ok(missing.is_empty().then_some(records))
    }

    /// Waits until every sector was proven at [`POSTS`] deadlines, as the ledger confirms them.
    fn wait_for_posts(&mut self, sectors: &[SectorNumber]) -> anyhow::Result<()> {
        for count in 1..=POSTS {
            let start = Instant::now();
            let last = self.wait_for("window PoSts", || {
                let passed =
                    sectors.iter().map(|sector| self.confirmed_posts(*sector)).collect::<Result<Vec<_>, _>>()?;
                Ok(passed.iter().map(|epochs| epochs.get(count - 1).copied()).collect::<Option<Vec<_>>>())
            })?;
            let epochs = last.iter().map(|epoch| format!("deadline closing at epoch {epoch}")).collect::<Vec<_>>();
            self.row(&format!("window PoSt {count}"), Some(start), None, epochs.join(", "));
        }
        let state = self.devnet.ledger.state();
        for sector in sectors {
            let health = state
                .sector(self.storage.provider.id, *sector)
                .and_then(|sector| sector.proving().map(|proving| proving.health));
            ensure!(health == Some(cairn_ledger::Health::Active), "sector {sector} is not healthy: {health:?}");
        }
        Ok(())
    }

    fn confirmed_posts(&self, sector: SectorNumber) -> anyhow::Result<Vec<Epoch>> {
        let posts = self.storage.provider.pipeline.posts()?;
        let passed = posts
            .into_iter()
            .filter(|(_, post)| post.sectors.contains(&sector) && matches!(post.state, PostState::Confirmed { .. }));
        Ok(passed.map(|(key, _)| key.closes_at).collect())
    }

    fn fetch_and_compare(&mut self, home: &Home, imported: &Imported) -> anyhow::Result<()> {
        let dest = home.fetched_dir();
        if dest.exists() {
            fs::remove_dir_all(&dest).with_context(|| format!("cannot empty {}", dest.display()))?;
        }
        let start = Instant::now();
        let report = fetch_blocking(&FetchRequest {
            root: imported.root,
            path: String::new(),
            sources: vec![format!("http://{}", self.storage.gateway).parse()?],
            dest: dest.clone(),
            options: FetchOptions { into_folder: true, ..FetchOptions::default() },
            progress: None,
        })?;
        self.row("fetch", Some(start), Some(report.bytes_fetched), "every 1 MiB leaf verified");

        let start = Instant::now();
        let originals = imported.dataset.files();
        ensure!(report.files.len() == originals.len(), "{} of {} files came back", report.files.len(), originals.len());
        for (original, fetched) in originals.iter().zip(&report.files) {
            ensure!(original.path == fetched.path, "expected file {:?}, got {:?}", original.path, fetched.path);
            let (expected, got) =
                (sha256_of(&imported.dataset.slice(original).path)?, sha256_of(&fetched.destination)?);
            ensure!(
                expected == got,
                "{}: expected SHA-256 {}, got {}",
                fetched.destination.display(),
                hex::encode(expected),
                hex::encode(got)
            );
        }
        let result = format!("{} files identical (SHA-256)", report.files.len());
        self.row("compare", Some(start), Some(imported.dataset.total_bytes()), result);
        Ok(())
    }

    fn report(self, imported: &Imported, deals: &[DealId], sectors: &[SectorNumber]) -> DemoReport {
        let state = self.devnet.ledger.state();
        let provider = self.storage.provider.id;
        let sealed = sectors.iter().filter_map(|sector| state.sector(provider, *sector));
        let piece_cid = |piece: &cairn_content::StoredPiece| {
            let commitment = &piece.commitment;
            piece_cid_v2(&commitment.comm_p, commitment.payload_bytes, commitment.padded).to_string()
        };
        DemoReport {
            stages: self.rows,
            dataset: imported.root.to_string(),
            pieces: imported.pieces.iter().map(piece_cid).collect(),
            sealed: sealed.map(|sector| sealed_cid(&sector.comm_r).to_string()).collect(),
            deals: deals.iter().map(ToString::to_string).collect(),
            url: format!("http://{}/data/{}/", self.storage.gateway, imported.root),
            seconds: self.started.elapsed().as_secs_f64(),
        }
    }
}

fn sha256_of(path: &Path) -> anyhow::Result<[u8; 32]> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        match file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))? {
            0 => return Ok(hasher.finalize().into()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
