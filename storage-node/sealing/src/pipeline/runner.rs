//! Threads that run the pipeline until they are told to stop.
//!
//! Each sealing thread takes a sector that has something to do and does one step; repairs that window PoSts wait for
//! come first. One more thread runs the window-PoSt schedule, once per block. Stopping waits for the steps that run:
//! a layer or a tree at most. A process that cannot wait that long may simply be killed; the journal is made for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use cairn_protocol::{Epoch, SectorNumber};

use super::{Pipeline, Progress, UpdateProgress};
use crate::error::PipelineError;
use crate::event::PipelineEvent;
use crate::ledger_client::LedgerClientError;
use crate::sector_update::UpdateState;

/// A pipeline at work. Dropping it stops and joins the threads.
pub struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    pipeline: Pipeline,
    stop: AtomicBool,
    /// Sectors that have nothing to do before an epoch or a moment.
    resting: Mutex<BTreeMap<SectorNumber, Rest>>,
    /// Whether it was said that the ledger does not answer.
    is_ledger_away: AtomicBool,
}

#[derive(Clone, Copy)]
enum Rest {
    UntilEpoch(Epoch),
    Until(Instant),
    UntilRetry,
}

impl Pipeline {
    /// Starts `parallel_sectors` sealing threads and one for window PoSts.
    ///
    /// # Errors
    /// The system's, if a thread cannot be started; those that were are stopped again.
    pub fn start(&self) -> std::io::Result<Running> {
        let shared = Arc::new(Shared {
            pipeline: self.clone(),
            stop: AtomicBool::new(false),
            resting: Mutex::default(),
            is_ledger_away: AtomicBool::new(false),
        });
        let mut running = Running { shared: shared.clone(), threads: Vec::new() };
        for index in 0..self.inner.options.parallel_sectors.max(1) {
            let shared = shared.clone();
            running.threads.push(Builder::new().name(format!("sealing-{index}")).spawn(move || shared.seal())?);
        }
        running.threads.push(Builder::new().name("window-post".to_owned()).spawn(move || shared.prove())?);
        Ok(running)
    }
}

impl Running {
    /// Tells the threads to stop and waits for the steps they are in.
    pub fn stop(mut self) {
        self.join();
    }

    /// Tells the threads to stop, without waiting.
    pub fn request_stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }

    /// Lets a sector go on that waits for an operator: see [`Pipeline::retry`].
    ///
    /// # Errors
    /// As [`Pipeline::retry`].
    pub fn retry(&self, sector: SectorNumber) -> Result<(), PipelineError> {
        self.shared.pipeline.retry(sector)?;
        self.shared.rests().remove(&sector);
        Ok(())
    }

    fn join(&mut self) {
        self.request_stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the pipeline panicked");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.join();
    }
}

impl Shared {
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn rests(&self) -> std::sync::MutexGuard<'_, BTreeMap<SectorNumber, Rest>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ledger that is away is said once, until it answers.
    fn trouble(&self, what: PipelineError) {
        let is_away = matches!(what, PipelineError::Ledger(LedgerClientError::Unavailable { .. }));
        if is_away && self.is_ledger_away.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::error!(%what, "pipeline trouble");
        self.pipeline.inner.emit(PipelineEvent::Trouble { what: what.to_string() });
    }

    fn seal(&self) {
        while !self.stopping() {
            match self.seal_something() {
                Ok(true) => {}
                Ok(false) => self.wait_for_block(),
                Err(error) => {
                    self.trouble(error);
                    std::thread::sleep(self.pipeline.inner.options.retry_pause);
                }
            }
        }
    }

    /// One repair, or one step of each sector that has something to do; says whether anything was done.
    fn seal_something(&self) -> Result<bool, PipelineError> {
        let head = self.pipeline.inner.ledger.head()?;
        let wanted = self.pipeline.repair_wanted();
        if let Some(sector) = wanted.into_iter().find(|sector| !self.rests_at(*sector, head)) {
            if let Err(error) = self.pipeline.repair_sector(sector) {
                self.trouble(error);
                self.rests().insert(sector, Rest::Until(Instant::now() + self.pipeline.inner.options.retry_pause));
            }
            return Ok(true);
        }
        let mut done = false;
        for record in self.pipeline.sectors()? {
            if self.stopping() {
                return Ok(done);
            }
            if record.state.next_stage(&record.params()).is_some() && !self.rests_at(record.sector(), head) {
                done |= self.step(record.sector())?;
            }
        }
        for update in self.pipeline.updates()? {
            if self.stopping() {
                return Ok(done);
            }
            if !matches!(update.state, UpdateState::Active { .. }) && !self.rests_at(update.sector, head) {
                done |= self.update_step(update.sector)?;
            }
        }
        Ok(done)
    }

    /// One step of an update; says whether it may have another right away.
    fn update_step(&self, sector: SectorNumber) -> Result<bool, PipelineError> {
        let rest = match self.pipeline.update_step(sector) {
            Ok(UpdateProgress::Advanced(_) | UpdateProgress::Finished) => None,
            Ok(UpdateProgress::Waiting(epoch)) => Some(Rest::UntilEpoch(epoch)),
            Ok(UpdateProgress::Failed { .. }) => {
                Some(Rest::Until(Instant::now() + self.pipeline.inner.options.retry_pause))
            }
            Err(PipelineError::Busy { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        self.set_rest(sector, rest);
        Ok(rest.is_none())
    }

    fn set_rest(&self, sector: SectorNumber, rest: Option<Rest>) {
        match rest {
            Some(rest) => self.rests().insert(sector, rest),
            None => self.rests().remove(&sector),
        };
    }

    fn rests_at(&self, sector: SectorNumber, head: Epoch) -> bool {
        match self.rests().get(&sector) {
            None => false,
            Some(Rest::UntilEpoch(epoch)) => head < *epoch,
            Some(Rest::Until(moment)) => Instant::now() < *moment,
            Some(Rest::UntilRetry) => true,
        }
    }

    /// One step; says whether the sector may have another right away.
    fn step(&self, sector: SectorNumber) -> Result<bool, PipelineError> {
        let options = &self.pipeline.inner.options;
        let rest = match self.pipeline.step(sector) {
            Ok(Progress::Advanced(_) | Progress::Finished) => None,
            Ok(Progress::Waiting(epoch)) => Some(Rest::UntilEpoch(epoch)),
            Ok(Progress::Failed(failure)) if failure.kind.is_transient() || failure.attempts < options.attempts_max => {
                Some(Rest::Until(Instant::now() + options.retry_pause))
            }
            Ok(Progress::Failed(_)) => Some(Rest::UntilRetry),
            Err(PipelineError::Busy { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        self.set_rest(sector, rest);
        Ok(rest.is_none())
    }

    fn prove(&self) {
        while !self.stopping() {
            match self.pipeline.post_step() {
                Ok(_) => self.wait_for_block(),
                Err(error) => {
                    self.trouble(error);
                    std::thread::sleep(self.pipeline.inner.options.poll);
                }
            }
        }
    }

    fn wait_for_block(&self) {
        let inner = &self.pipeline.inner;
        let next = inner.ledger.head().map(|head| Epoch(head.0.saturating_add(1)));
        match next.and_then(|next| inner.ledger.wait_for(next, inner.options.poll)) {
            Ok(_) => self.is_ledger_away.store(false, Ordering::SeqCst),
            Err(_) => std::thread::sleep(inner.options.poll),
        }
    }
}
