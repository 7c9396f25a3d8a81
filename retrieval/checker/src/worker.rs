//! A checker at work: what to do at the state of now.

use std::sync::Arc;
use std::time::Duration;

use cairn_ledger::scores::ballot::{Ballot, Phase};
use cairn_ledger::{Address, CheckCommand, Salt, State, address_of};
use cairn_protocol::Epoch;
use ed25519_consensus::SigningKey;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::journal::{Journal, JournalError, Measured};
use crate::measure::{MeasureOptions, endpoints, measure};

const TAG_SALT: &[u8] = b"cairn/checker/salt/v1";

/// The ledger did not take a command, or cannot be reached. The next block is another chance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ledger did not take the command: {reason}")]
pub struct LedgerFailure {
    /// What it said.
    pub reason: String,
}

/// A ledger as a checker sees it. Called from async code: must not block for long.
pub trait CheckerLedger: Send + Sync {
    /// The state after the last block.
    fn state(&self) -> Arc<State>;

    /// Hands in a command of the checker's.
    ///
    /// # Errors
    /// [`LedgerFailure`] if it is certain that it will be in no block.
    fn submit(&self, command: CheckCommand) -> Result<(), LedgerFailure>;
}

/// How a checker works.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckerOptions {
    /// How it measures.
    pub measure: MeasureOptions,
}

/// See the crate.
pub struct Checker {
    key: SigningKey,
    journal: Journal,
    options: CheckerOptions,
    /// The round that is being measured.
    running: Option<(u64, JoinHandle<Measured>)>,
}

impl Checker {
    /// A checker with this key, and its journal.
    pub fn new(key: SigningKey, journal: Journal, options: CheckerOptions) -> Self {
        Self { key, journal, options, running: None }
    }

    /// Its address.
    pub fn address(&self) -> Address {
        address_of(&self.key)
    }

    /// The salt of a round: nobody without the key can guess it, and it needs no memory.
    fn salt(&self, round: u64) -> Salt {
        let secret = Sha256::new().chain_update(TAG_SALT).chain_update(self.key.as_bytes());
        Salt(secret.chain_update(round.to_be_bytes()).finalize().into())
    }

    /// Begins to measure the state's round, unless that was done, is being done, or there is nothing to do. The tasks are
    /// those of this state; see [`State::check_tasks`]. A round that began while the one before was still measured is
    /// left out: late measurements would be worth nothing. Needs a tokio runtime.
    pub fn begin(&mut self, state: &State) {
        let round = state.round_at(state.epoch());
        if self.running.is_some() || self.journal.has(round) {
            return;
        }
        let tasks = state.check_tasks(self.address());
        if tasks.is_empty() {
            return;
        }
        tracing::info!(round, tasks = tasks.len(), "measuring");
        let endpoints = endpoints(state, &tasks);
        let (chain, key, options) = (state.chain(), self.key.clone(), self.options.measure.clone());
        let work = async move {
            let receipts = measure(tasks, endpoints, chain, &key, &options).await;
            Measured { round, receipts }
        };
        self.running = Some((round, tokio::spawn(work)));
    }

    /// Puts a round whose measurements are complete into the journal; with `wait`, waits for it.
    ///
    /// # Errors
    /// [`JournalError`]: the round is lost, and there will be no vote on it.
    pub async fn finish(&mut self, wait: bool) -> Result<(), JournalError> {
        let Some((round, task)) = self.running.take_if(|(_, task)| wait || task.is_finished()) else { return Ok(()) };
        match task.await {
            Ok(measured) => {
                self.journal.put(&measured)?;
                // Whatever is older than the round that can be voted on is done with.
                if let Some(old) = round.checked_sub(2) {
                    self.journal.remove(old)?;
                }
                tracing::info!(round, receipts = measured.receipts.len(), "measured");
            }
            Err(error) => tracing::error!(round, %error, "a round's measurements were lost"),
        }
        Ok(())
    }

    /// What to hand in for the next block: a commitment, a reveal, or nothing.
    ///
    /// # Errors
    /// [`JournalError`] if what was measured cannot be read.
    pub fn vote(&self, state: &State) -> Result<Option<CheckCommand>, JournalError> {
        let (next, economy) = (Epoch(state.epoch().0 + 1), &state.params().economy);
        let phase = economy.rounds.phase_at(next);
        let Some(round) = economy.rounds.round_at(next).checked_sub(1).filter(|_| phase != Phase::Quiet) else {
            return Ok(None);
        };
        if state.checker(&self.address()).is_none() {
            return Ok(None);
        }
        let ballot = state.ballot(round, self.address());
        let wanted = match ballot {
            None => phase == Phase::Commit,
            Some(Ballot::Committed(_)) => phase == Phase::Reveal,
            Some(Ballot::Revealed(_)) => false,
        };
        if !wanted {
            return Ok(None);
        }
        let Some(measured) = self.journal.get(round)? else { return Ok(None) };
        let (opinions, salt) = (measured.opinions(&economy.quality), self.salt(round));
        if phase == Phase::Reveal {
            return Ok(Some(CheckCommand::Reveal { opinions, salt }));
        }
        let commitment = opinions.commitment(state.chain(), self.address(), &salt);
        Ok(Some(CheckCommand::Commit { commitment }))
    }

    /// Works until `stopping` completes: after each block, votes if it is time, and measures what is new. `poll` is how
    /// often it looks for a block.
    ///
    /// # Errors
    /// [`JournalError`]: a checker that cannot keep what it measured must not go on.
    pub async fn run(
        mut self,
        ledger: Arc<dyn CheckerLedger>,
        poll: Duration,
        stopping: impl Future<Output = ()>,
    ) -> Result<(), JournalError> {
        let mut stopping = std::pin::pin!(stopping);
        let mut seen = None;
        loop {
            let state = ledger.state();
            self.finish(false).await?;
            if seen != Some(state.epoch()) {
                seen = Some(state.epoch());
                if let Some(command) = self.vote(&state)?
                    && let Err(error) = ledger.submit(command)
                {
                    tracing::warn!(%error, "a vote was not taken");
                }
                self.begin(&state);
            }
            tokio::select! {
                () = &mut stopping => return Ok(()),
                () = tokio::time::sleep(poll) => {}
            }
        }
    }
}
