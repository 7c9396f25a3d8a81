//! A storage provider: bids for orders, fetches what it won, and has it sealed. The same beside a ledger (`cairn devnet`)
//! and as a process of its own (`cairn provider run`).
//!
//! 1. [`bidding`]: an open order whose pieces fit, and whose cap is not below our ask, gets a bid.
//! 2. [`intake`]: a deal that is ours and in no sector yet needs its dataset, which comes into the hot copy, every block
//!    verified. Deals whose pieces are here are packed into sectors and given to the pipeline of `cairn-sealing`, which
//!    does the rest.
//!
//! Each is a thread that looks at the ledger after every block. What was bid is on the ledger, what was fetched in the hot
//! store, what was assigned in the pipeline's journal; a restart finds all three. While the ledger does not answer they say
//! so once, and wait.

mod bidding;
mod intake;

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use cairn_compute::Workers;
use cairn_content::HotStore;
use cairn_ledger::{OrderPiece, ProofVerifier};
use cairn_protocol::{Amount, CommP, Epoch, ProviderId, SectorSize};
use cairn_sealing::{
    LedgerClientError, MarketLedger, PieceSource, PieceSourceError, Pipeline, PipelineOptions, PipelineParts, Running,
    SnarkProver,
};

use crate::devnet::console::Console;
use bidding::Bidding;
use intake::Intake;

/// Pause after the ledger or the disk failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);
/// How long a thread sleeps at most when no block comes.
const POLL: Duration = Duration::from_millis(500);

/// What a provider asks for its work, and how much of it it takes on.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Price of each started MiB of a piece, per epoch.
    pub ask_per_mib: Amount,
    /// Most deals that are bid for, or won and not sealed yet. More than can be sealed in time cost their deposits.
    pub in_hand_max: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Self { ask_per_mib: Amount(10), in_hand_max: 64 }
    }
}

impl Terms {
    /// Price per epoch of storing these pieces; `None` if it does not fit an amount.
    pub fn ask(&self, pieces: &[OrderPiece]) -> Option<Amount> {
        let mib = |piece: &OrderPiece| piece.piece.size.0.div_ceil(1 << 20);
        let total = pieces.iter().map(mib).try_fold(0u64, u64::checked_add)?;
        self.ask_per_mib.checked_mul(total)
    }
}

/// Everything a provider works with.
pub struct ProviderParts {
    /// Its number on the ledger.
    pub id: ProviderId,
    /// Its seat there.
    pub ledger: Arc<dyn MarketLedger>,
    /// Size of its sectors.
    pub sector_size: SectorSize,
    /// What it asks for.
    pub terms: Terms,
    /// Folder of the pipeline's journal.
    pub journal_dir: PathBuf,
    /// Folder of the sectors.
    pub sectors_dir: PathBuf,
    /// Sectors that are worked on at the same time.
    pub parallel_sectors: usize,
    /// The hot copy.
    pub hot: Arc<HotStore>,
    /// Where it computes.
    pub workers: Workers,
    /// Who makes its SNARKs.
    pub prover: Arc<dyn SnarkProver>,
    /// The ledger's checks, which every SNARK passes before it leaves.
    pub verifier: Arc<dyn ProofVerifier + Send + Sync>,
    /// Who is told.
    pub console: Arc<Console>,
}

/// A running provider.
pub struct Provider {
    /// Its number on the ledger.
    pub id: ProviderId,
    /// Its sectors.
    pub pipeline: Pipeline,
    running: Running,
    threads: Vec<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
}

impl Provider {
    /// Opens the pipeline and starts the threads.
    ///
    /// # Errors
    /// What keeps the pipeline from opening, or the system from starting threads.
    pub fn start(parts: ProviderParts) -> anyhow::Result<Self> {
        let ProviderParts { id, ledger, sector_size, terms, hot, console, .. } = parts;
        let pipeline = Pipeline::open(PipelineParts {
            options: PipelineOptions { parallel_sectors: parts.parallel_sectors, ..PipelineOptions::default() },
            journal_dir: parts.journal_dir,
            sectors_dir: parts.sectors_dir,
            provider: id,
            post_workers: Workers::new(1)?,
            workers: parts.workers,
            ledger: ledger.clone(),
            pieces: Arc::new(HotPieces(hot.clone())),
            prover: parts.prover,
            verifier: parts.verifier,
            observer: console.clone(),
        })?;
        let stopping = Arc::new(AtomicBool::new(false));
        let bidding = Bidding::new(ledger.clone(), pipeline.clone(), sector_size, terms, console.clone());
        let intake = Intake::new(ledger.clone(), pipeline.clone(), hot, sector_size, console.clone());
        let mut provider = Self { id, running: pipeline.start()?, pipeline, threads: vec![], stopping };
        let turns = Turns { ledger, console, stopping: provider.stopping.clone() };
        provider.thread("bidding", bidding, turns.clone(), Bidding::look)?;
        provider.thread("intake", intake, turns, Intake::look)?;
        Ok(provider)
    }

    fn thread<T: Send + 'static>(
        &mut self,
        name: &str,
        mut worker: T,
        turns: Turns,
        look: impl Fn(&mut T) -> anyhow::Result<()> + Send + 'static,
    ) -> std::io::Result<()> {
        let thread =
            std::thread::Builder::new().name(name.to_owned()).spawn(move || turns.run(|| look(&mut worker)))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Stops the threads and waits for the step they are in.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.running.stop();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the provider panicked");
            }
        }
    }
}

/// A turn after every block.
#[derive(Clone)]
struct Turns {
    ledger: Arc<dyn MarketLedger>,
    console: Arc<Console>,
    stopping: Arc<AtomicBool>,
}

impl Turns {
    fn run(&self, mut look: impl FnMut() -> anyhow::Result<()>) {
        let mut is_away = false;
        while !self.stopping.load(Ordering::SeqCst) {
            let looked = look().and_then(|()| Ok(self.ledger.head()?));
            match looked {
                Ok(head) => {
                    if std::mem::take(&mut is_away) {
                        self.console.line("provider: the ledger answers again");
                    }
                    // A block that does not come is noticed by the next look.
                    let _ = self.ledger.wait_for(Epoch(head.0.saturating_add(1)), POLL);
                }
                Err(error) => {
                    let unavailable = is_unavailable(&error);
                    if !(unavailable && is_away) {
                        self.console.line(format!("provider: {error:#}"));
                    }
                    is_away = unavailable;
                    self.pause(FAILURE_PAUSE);
                }
            }
        }
    }

    /// Sleeps, but not past the end.
    fn pause(&self, pause: Duration) {
        let begun = std::time::Instant::now();
        while begun.elapsed() < pause && !self.stopping.load(Ordering::SeqCst) {
            std::thread::sleep(POLL.min(pause));
        }
    }
}

fn is_unavailable(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LedgerClientError::Unavailable { .. }))
}

/// Pieces out of the hot copy.
struct HotPieces(Arc<HotStore>);

impl PieceSource for HotPieces {
    fn open(&self, comm_p: &CommP) -> Result<Box<dyn Read + Send>, PieceSourceError> {
        let piece = self.0.piece(comm_p).ok_or(PieceSourceError::Unknown { comm_p: *comm_p })?;
        Ok(Box::new(piece.layout.reader()))
    }
}
