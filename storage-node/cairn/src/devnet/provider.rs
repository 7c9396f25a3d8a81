//! The provider: bids for orders, fetches what it won, and has it sealed.
//!
//! One thread looks at the ledger after every block:
//! 1. An open order whose pieces fit, and whose cap is not below our ask, gets a bid.
//! 2. A deal that is ours and in no sector yet needs its dataset: it is fetched by root CID from the client's transfer
//!    URL into the hot copy, every block verified, and cut into pieces again. A piece whose CommP is not the deal's is
//!    never sealed.
//! 3. Deals whose pieces are here are packed into sectors and given to the pipeline, which does the rest.
//!
//! What was bid is on the ledger, what was fetched in the hot store, what was assigned in the pipeline's journal; a
//! restart finds all three.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cairn_compute::Workers;
use cairn_consensus::LedgerHandle;
use cairn_content::HotStore;
use cairn_gateway::fetch::{FetchOptions, FetchRequest, fetch_blocking};
use cairn_ledger::{
    Command, Deal, DealId, DealStatus, OrderId, OrderPiece, OrderTerms, ProofVerifier, State, address_of,
};
use cairn_protocol::{Amount, CommP, Epoch, PieceInfo, ProviderId, SealProof, SectorNumber, SectorSize};
use cairn_sealing::{
    Assignment, PieceSource, PieceSourceError, Pipeline, PipelineOptions, PipelineParts, ProviderLedger, Running,
    SectorPiece, SnarkProver,
};
use cairn_sector::pieces::piece_offsets;
use ed25519_consensus::SigningKey;

use super::client::send;
use super::console::Console;
use super::home::Home;
use super::ledger_port::NodePort;
use super::piece_max;

/// What the provider asks per MiB of piece and epoch, in micro-units.
const ASK_PER_MIB: u64 = 10;
/// Collateral beyond the ledger's minimum, as a factor.
const COLLATERAL_FACTOR: u64 = 100;
/// Pause after a transfer that failed.
const TRANSFER_PAUSE: Duration = Duration::from_secs(5);
/// Blocks to let pass after the ledger refused something.
const FAILURE_BLOCKS: u64 = 50;
/// How long the thread sleeps at most when no block comes.
const POLL: Duration = Duration::from_millis(500);
/// How sectors are sealed.
const SEAL_PROOF: SealProof = SealProof::V1_1;

/// Who makes the provider's SNARKs, and who checks them before they leave.
pub struct Proofs {
    /// This machine, or the market.
    pub prover: Arc<dyn SnarkProver>,
    /// The ledger's checks.
    pub verifier: Arc<dyn ProofVerifier + Send + Sync>,
}

/// A running provider.
pub struct Provider {
    /// Its number on the ledger.
    pub id: ProviderId,
    /// Its sectors.
    pub pipeline: Pipeline,
    running: Running,
    market: JoinHandle<()>,
    stopping: Arc<AtomicBool>,
}

/// Price per epoch of storing these pieces; `None` if it does not fit an amount.
pub fn ask(pieces: &[OrderPiece]) -> Option<Amount> {
    let mib = |piece: &OrderPiece| piece.piece.size.0.div_ceil(1 << 20);
    let total = pieces.iter().map(mib).try_fold(0u64, u64::checked_add)?;
    Amount(ASK_PER_MIB).checked_mul(total)
}

impl Provider {
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
    ) -> anyhow::Result<Self> {
        let key = home.provider_key();
        let id = register(&ledger, &key, home.sector_size(), gateway).context("registering the provider")?;
        let pipeline = Pipeline::open(PipelineParts {
            options: PipelineOptions { parallel_sectors: 2, ..PipelineOptions::default() },
            journal_dir: home.journal_dir(),
            sectors_dir: home.sectors_dir(),
            provider: id,
            post_workers: Workers::new(1)?,
            workers,
            ledger: Arc::new(ProviderLedger::new(NodePort(ledger.clone()), id, home.provider_key())),
            pieces: Arc::new(HotPieces(hot.clone())),
            prover: proofs.prover,
            verifier: proofs.verifier,
            observer: console.clone(),
        })?;
        let running = pipeline.start()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let market = Market {
            id,
            key,
            ledger,
            hot,
            pipeline: pipeline.clone(),
            sector_size: home.sector_size(),
            console,
            stopping: stopping.clone(),
            resting: BTreeMap::new(),
        };
        let market = std::thread::Builder::new().name("provider".to_owned()).spawn(move || market.run())?;
        Ok(Self { id, pipeline, running, market, stopping })
    }

    /// Stops the threads and waits for the step they are in.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.running.stop();
        if self.market.join().is_err() {
            tracing::error!("the provider's thread panicked");
        }
    }
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

/// Pieces out of the hot copy.
struct HotPieces(Arc<HotStore>);

impl PieceSource for HotPieces {
    fn open(&self, comm_p: &CommP) -> Result<Box<dyn Read + Send>, PieceSourceError> {
        let piece = self.0.piece(comm_p).ok_or(PieceSourceError::Unknown { comm_p: *comm_p })?;
        Ok(Box::new(piece.layout.reader()))
    }
}

/// The thread that deals with the market.
struct Market {
    id: ProviderId,
    key: SigningKey,
    ledger: LedgerHandle,
    hot: Arc<HotStore>,
    pipeline: Pipeline,
    sector_size: SectorSize,
    console: Arc<Console>,
    stopping: Arc<AtomicBool>,
    /// Orders whose dataset could not be fetched: when to try again.
    resting: BTreeMap<OrderId, Instant>,
}

impl Market {
    fn run(mut self) {
        while !self.stopping.load(Ordering::SeqCst) {
            let looked = self.look();
            if let Err(error) = &looked {
                self.console.line(format!("provider: {error:#}"));
            }
            let (blocks, longest) = if looked.is_ok() { (1, POLL) } else { (FAILURE_BLOCKS, TRANSFER_PAUSE) };
            let next = Epoch(self.ledger.head().height.0 + blocks);
            // A block that does not come is noticed elsewhere.
            let _ = self.ledger.wait_for_height(next, longest);
        }
    }

    fn look(&mut self) -> anyhow::Result<()> {
        let state = self.ledger.state();
        self.bid(&state)?;
        let sealing: BTreeSet<DealId> =
            self.pipeline.sectors()?.iter().flat_map(|record| record.assignment.deals()).collect();
        let waiting = state
            .deals_of(self.id)
            .filter(|(id, deal)| matches!(deal.status, DealStatus::Assigned { .. }) && !sealing.contains(id));
        let mut ready = vec![];
        for (id, deal) in waiting {
            if self.resting.get(&deal.order).is_some_and(|moment| Instant::now() < *moment) {
                continue;
            }
            match self.prepare(&state, deal) {
                Ok(()) => ready.push((id, deal)),
                Err(error) => {
                    let pause = TRANSFER_PAUSE.as_secs();
                    self.console.line(format!("provider: {}: {error:#}; trying again in {pause} s", deal.order));
                    self.resting.insert(deal.order, Instant::now() + TRANSFER_PAUSE);
                }
            }
        }
        self.assign(&state, &ready)
    }

    /// Has the deal's piece in the hot copy when it returns.
    fn prepare(&self, state: &State, deal: &Deal) -> anyhow::Result<()> {
        let order = state.order(deal.order).context("a deal without its order")?;
        self.transfer(&order.terms).with_context(|| format!("fetching dataset {}", order.terms.root))?;
        self.check_piece(deal)
    }

    fn bid(&self, state: &State) -> anyhow::Result<()> {
        for (order, open) in state.open_orders() {
            let fits = open.terms.pieces.iter().all(|piece| piece.piece.size <= self.sector_size.padded());
            let Some(price_per_epoch) = ask(&open.terms.pieces).filter(|ask| *ask <= open.terms.price_per_epoch_max)
            else {
                continue;
            };
            let late = state.epoch().0 + 1 >= open.bids_close_at.0;
            if !fits || late || state.bid(order, self.id).is_some() {
                continue;
            }
            send(&self.ledger, &self.key, Command::PlaceBid { provider: self.id, order, price_per_epoch })?;
            self.console.line(format!("provider: bid {price_per_epoch} per epoch on {order}"));
        }
        Ok(())
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
        self.hot.add_pieces(&root, piece_max(self.sector_size))?;
        Ok(())
    }

    /// What the client promised must be what its dataset gives.
    fn check_piece(&self, deal: &Deal) -> anyhow::Result<()> {
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
    fn assign(&self, state: &State, waiting: &[(DealId, &Deal)]) -> anyhow::Result<()> {
        let mut sector: Vec<SectorPiece> = vec![];
        for (id, deal) in waiting {
            let piece =
                SectorPiece { info: deal.piece.piece, payload_bytes: deal.piece.payload_bytes, deal: Some(*id) };
            let infos: Vec<PieceInfo> = sector.iter().chain([&piece]).map(|piece| piece.info).collect();
            if piece_offsets(self.sector_size, &infos).is_err() {
                self.assign_sector(state, std::mem::take(&mut sector))?;
            }
            sector.push(piece);
        }
        if sector.is_empty() { Ok(()) } else { self.assign_sector(state, sector) }
    }

    fn assign_sector(&self, state: &State, pieces: Vec<SectorPiece>) -> anyhow::Result<()> {
        let here = self.pipeline.sectors()?.into_iter().map(|record| record.sector().0);
        let on_ledger = state.sectors_of(self.id).map(|(number, _)| number.0);
        let sector = SectorNumber(here.chain(on_ledger).max().map_or(0, |last| last + 1));
        let names = pieces.iter().filter_map(|piece| piece.deal).map(|deal| deal.to_string()).collect::<Vec<_>>();
        self.pipeline.assign(Assignment { sector, sector_size: self.sector_size, seal_proof: SEAL_PROOF, pieces })?;
        self.console.line(format!("provider: sector {sector} takes {}", names.join(", ")));
        Ok(())
    }
}
