//! From a deal to a sector: the dataset is fetched by root CID from the client's transfer URL into the hot copy, every block
//! verified, and cut into pieces again. A piece whose CommP is not the deal's is never sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cairn_content::HotStore;
use cairn_gateway::fetch::{FetchOptions, FetchRequest, fetch_blocking};
use cairn_ledger::{DealId, OrderId, OrderTerms};
use cairn_protocol::{PieceInfo, SealProof, SectorNumber, SectorSize};
use cairn_sealing::{Assignment, LedgerClientError, LedgerSector, MarketLedger, Pipeline, SectorPiece, WaitingDeal};
use cairn_sector::pieces::piece_offsets;

use crate::devnet::console::Console;

/// Most waiting deals that are looked at; the oldest come first.
const DEALS_MAX: usize = 1_000;
/// Pause after a transfer that failed; twice as long after each further one.
const TRANSFER_PAUSE: Duration = Duration::from_secs(5);
/// Longest such pause.
const TRANSFER_PAUSE_MAX: Duration = Duration::from_secs(300);
/// How sectors are sealed.
const SEAL_PROOF: SealProof = SealProof::V1_1;

/// See the module.
pub struct Intake {
    ledger: Arc<dyn MarketLedger>,
    pipeline: Pipeline,
    hot: Arc<HotStore>,
    sector_size: SectorSize,
    console: Arc<Console>,
    /// Orders whose dataset could not be fetched.
    resting: BTreeMap<OrderId, Rest>,
}

struct Rest {
    until: Instant,
    pause: Duration,
}

impl Intake {
    /// Takes deals in from now on.
    pub fn new(
        ledger: Arc<dyn MarketLedger>,
        pipeline: Pipeline,
        hot: Arc<HotStore>,
        sector_size: SectorSize,
        console: Arc<Console>,
    ) -> Self {
        Self { ledger, pipeline, hot, sector_size, console, resting: BTreeMap::new() }
    }

    /// Looks at all waiting deals once.
    ///
    /// # Errors
    /// The ledger's, and the journal's. A dataset that cannot be fetched is none: it is tried again later.
    pub fn look(&mut self) -> anyhow::Result<()> {
        let mut waiting = self.ledger.waiting_deals(DEALS_MAX)?;
        self.resting.retain(|order, _| waiting.iter().any(|deal| deal.order == *order));
        let sealing: BTreeSet<DealId> =
            self.pipeline.sectors()?.iter().flat_map(|record| record.assignment.deals()).collect();
        waiting.retain(|deal| !sealing.contains(&deal.deal));
        let mut ready = vec![];
        for deal in waiting {
            if self.resting.get(&deal.order).is_some_and(|rest| Instant::now() < rest.until) {
                continue;
            }
            // The ledger's absence says nothing about the dataset.
            let terms = self.ledger.order_terms(deal.order)?;
            match self.prepare(terms, &deal) {
                Ok(()) => {
                    self.resting.remove(&deal.order);
                    ready.push(deal);
                }
                Err(error) => self.rest(deal.order, &error),
            }
        }
        self.assign(&ready)
    }

    fn rest(&mut self, order: OrderId, error: &anyhow::Error) {
        let longer = |rest: &Rest| rest.pause.saturating_mul(2).min(TRANSFER_PAUSE_MAX);
        let pause = self.resting.get(&order).map_or(TRANSFER_PAUSE, longer);
        self.console.line(format!("provider: {order}: {error:#}; trying again in {} s", pause.as_secs()));
        self.resting.insert(order, Rest { until: Instant::now() + pause, pause });
    }

    /// Has the deal's piece in the hot copy when it returns.
    fn prepare(&self, terms: Option<OrderTerms>, deal: &WaitingDeal) -> anyhow::Result<()> {
        let terms = terms.context("a deal without its order")?;
        self.transfer(&terms).with_context(|| format!("fetching dataset {}", terms.root))?;
        self.check_piece(deal)
    }

    /// Brings a dataset into the hot copy and cuts it into pieces; does nothing if it is there.
    fn transfer(&self, terms: &OrderTerms) -> anyhow::Result<()> {
        let root = terms.root;
        if self.hot.get(&root).is_none() {
            let console = self.console.clone();
            let staging = self.hot.begin(&root)?;
            let report = fetch_blocking(&FetchRequest {
                root,
                path: String::new(),
                sources: vec![terms.transfer_url.parse()?],
                dest: staging.files_dir(),
                options: FetchOptions { into_folder: true, ..FetchOptions::default() },
                progress: Some(Arc::new(move |at| console.progress("transfer", at.verified_bytes, at.total_bytes))),
            })?;
            let workers = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
            staging.commit(None, workers, &|_, _| {})?;
            self.console
                .line(format!("provider: dataset {root} is here, {} bytes fetched and verified", report.bytes_fetched));
        }
        self.hot.add_pieces(&root, self.sector_size.unpadded())?;
        Ok(())
    }

    /// What the client promised must be what its dataset gives.
    fn check_piece(&self, deal: &WaitingDeal) -> anyhow::Result<()> {
        let expected = deal.piece;
        let stored = self.hot.piece(&expected.piece.comm_p);
        let got = stored.map(|piece| (piece.commitment.info(), piece.commitment.payload_bytes));
        ensure!(
            got == Some((expected.piece, expected.payload_bytes)),
            "the dataset has no piece with CommP {} and {} bytes, which the deal is about",
            expected.piece.comm_p,
            expected.payload_bytes
        );
        Ok(())
    }

    /// Packs deals into as few sectors as their order allows.
    fn assign(&self, waiting: &[WaitingDeal]) -> anyhow::Result<()> {
        let mut sector: Vec<SectorPiece> = vec![];
        for WaitingDeal { deal, piece, .. } in waiting {
            let piece = SectorPiece { info: piece.piece, payload_bytes: piece.payload_bytes, deal: Some(*deal) };
            let infos: Vec<PieceInfo> = sector.iter().chain([&piece]).map(|piece| piece.info).collect();
            if piece_offsets(self.sector_size, &infos).is_err() {
                self.assign_sector(std::mem::take(&mut sector))?;
            }
            sector.push(piece);
        }
        if sector.is_empty() { Ok(()) } else { self.assign_sector(sector) }
    }

    fn assign_sector(&self, pieces: Vec<SectorPiece>) -> anyhow::Result<()> {
        let sector = self.free_number()?;
        let names = pieces.iter().filter_map(|piece| piece.deal).map(|deal| deal.to_string()).collect::<Vec<_>>();
        self.pipeline.assign(Assignment { sector, sector_size: self.sector_size, seal_proof: SEAL_PROOF, pieces })?;
        self.console.line(format!("provider: sector {sector} takes {}", names.join(", ")));
        Ok(())
    }

    /// Above every number in the journal, and unknown to the ledger: a lost journal costs a few questions.
    fn free_number(&self) -> anyhow::Result<SectorNumber> {
        let here = self.pipeline.sectors()?.into_iter().map(|record| record.sector().0).max();
        let mut number = SectorNumber(here.map_or(0, |last| last + 1));
        while self.is_taken(number)? {
            number = SectorNumber(number.0 + 1);
        }
        Ok(number)
    }

    fn is_taken(&self, number: SectorNumber) -> Result<bool, LedgerClientError> {
        Ok(self.ledger.sector(number)? != LedgerSector::Unknown)
    }
}
