//! A checker at work: what to do after each block.

use std::sync::Arc;
use std::time::Duration;

use cairn_ledger::scores::ballot::{Ballot, Phase, RoundCalendar};
use cairn_ledger::scores::checks::CheckTask;
use cairn_ledger::scores::quality::QualityTarget;
use cairn_ledger::{Address, ChainId, CheckCommand, Salt, State, address_of};
use cairn_protocol::Epoch;
use ed25519_consensus::SigningKey;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::journal::{Journal, JournalError, Measured};
use crate::measure::{MeasureOptions, endpoints, measure};

const TAG_SALT: &[u8] = b"cairn/checker/salt/v1";
/// Blocks after which a vote that is in none is handed in again. Sooner, a second one might only cost its fee.
const VOTE_BLOCKS: u64 = 3;

/// The ledger did not take a command, or cannot be reached. The next block is another chance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the ledger did not take the command or gave no answer: {reason}")]
pub struct LedgerFailure {
    /// What it said.
    pub reason: String,
}

/// What a checker has handed in about a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// A commitment.
    Committed,
    /// And what it commits to.
    Revealed,
}

/// What a checker must know of the ledger after a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckerView {
    /// The network.
    pub chain: ChainId,
    /// Height of the block.
    pub epoch: Epoch,
    /// When rounds begin, and when to vote.
    pub rounds: RoundCalendar,
    /// What good service is.
    pub quality: QualityTarget,
    /// Whether it has stake.
    pub is_checker: bool,
    /// A round, and what the ledger has of its ballot about that.
    pub ballot: Option<(u64, Handed)>,
}

impl CheckerView {
    /// The view of `checker` on a state.
    pub fn of(state: &State, checker: Address) -> Self {
        let (epoch, economy) = (state.epoch(), &state.params().economy);
        let ballot = economy.rounds.round_at(epoch).checked_sub(1).and_then(|round| {
            let handed = match state.ballot(round, checker)? {
                Ballot::Committed(_) => Handed::Committed,
                Ballot::Revealed(_) => Handed::Revealed,
            };
            Some((round, handed))
        });
        Self {
            chain: state.chain(),
            epoch,
            rounds: economy.rounds,
            quality: economy.quality.clone(),
            is_checker: state.checker(&checker).is_some(),
            ballot,
        }
    }

    /// The round that is measured now.
    pub fn round(&self) -> u64 {
        self.rounds.round_at(self.epoch)
    }
}

/// A task, and where to carry it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignedCheck {
    /// What to fetch.
    pub task: CheckTask,
    /// The provider's gateway, as the ledger names it.
    pub endpoint: String,
}

impl AssignedCheck {
    /// The tasks of `checker` in the state's round; see [`State::check_tasks`].
    pub fn all_of(state: &State, checker: Address) -> Vec<Self> {
        let assigned = |task: CheckTask| {
            let provider = state.provider(task.provider);
            let endpoint = provider.map_or_else(String::new, |provider| provider.endpoint.clone());
            Self { task, endpoint }
        };
        state.check_tasks(checker).into_iter().map(assigned).collect()
    }
}

/// A ledger as a checker sees it. Calls may block: they are made on threads for that.
pub trait CheckerLedger: Send + Sync + 'static {
    /// What there is to know after the last block.
    ///
    /// # Errors
    /// [`LedgerFailure`] if it cannot be asked.
    fn view(&self) -> Result<CheckerView, LedgerFailure>;

    /// What to fetch in the round of now, as of the last block.
    ///
    /// # Errors
    /// [`LedgerFailure`] if it cannot be asked.
    fn tasks(&self) -> Result<Vec<AssignedCheck>, LedgerFailure>;

    /// Hands in a command of the checker's.
    ///
    /// # Errors
    /// [`LedgerFailure`] if it was not taken, or nobody knows whether it was.
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

    /// Whether there may be tasks to begin with: it has stake, and has neither measured this round nor measures now.
    pub fn is_free(&self, view: &CheckerView) -> bool {
        view.is_checker && self.running.is_none() && !self.journal.has(view.round())
    }

    /// Begins to measure what it was assigned, if it [is free](Checker::is_free). A round that began while the one before
    /// was still measured is left out: late measurements would be worth nothing. Needs a tokio runtime.
    pub fn begin(&mut self, view: &CheckerView, assigned: Vec<AssignedCheck>) {
        let Some(round) = assigned.first().map(|first| first.task.round) else { return };
        // A new round may have begun since the view, or while the list was read.
        let one_round = assigned.iter().all(|check| check.task.round == round);
        if !self.is_free(view) || !one_round || self.journal.has(round) {
            return;
        }
        tracing::info!(round, tasks = assigned.len(), "measuring");
        let (endpoints, tasks) = (endpoints(&assigned), assigned.into_iter().map(|check| check.task).collect());
        let (chain, key, options) = (view.chain, self.key.clone(), self.options.measure.clone());
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
    pub fn vote(&self, view: &CheckerView) -> Result<Option<CheckCommand>, JournalError> {
        let next = Epoch(view.epoch.0 + 1);
        let phase = view.rounds.phase_at(next);
        let Some(round) = view.rounds.round_at(next).checked_sub(1).filter(|_| view.is_checker) else {
            return Ok(None);
        };
        let handed = view.ballot.filter(|(of, _)| *of == round).map(|(_, handed)| handed);
        let wanted = match phase {
            Phase::Commit => handed.is_none(),
            Phase::Reveal => handed == Some(Handed::Committed),
            Phase::Open | Phase::Quiet => false,
        };
        if !wanted {
            return Ok(None);
        }
        let Some(measured) = self.journal.get(round)? else { return Ok(None) };
        let (opinions, salt) = (measured.opinions(&view.quality), self.salt(round));
        if phase == Phase::Reveal {
            return Ok(Some(CheckCommand::Reveal { opinions, salt }));
        }
        let commitment = opinions.commitment(view.chain, self.address(), &salt);
        Ok(Some(CheckCommand::Commit { commitment }))
    }

    /// Works until `stopping` completes: after each block, votes if it is time, and measures what is new. `poll` is how
    /// often it looks for a block. A ledger that cannot be asked is asked again.
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
        let (mut seen, mut sent) = (None, None);
        loop {
            let turn = self.turn(&ledger, &mut seen, &mut sent);
            tokio::select! {
                () = &mut stopping => return Ok(()),
                turned = turn => turned?,
            }
            tokio::select! {
                () = &mut stopping => return Ok(()),
                () = tokio::time::sleep(poll) => {}
            }
        }
    }

    /// One look at the ledger. `seen` is the last block that was acted on, `sent` the last vote and when.
    async fn turn(
        &mut self,
        ledger: &Arc<dyn CheckerLedger>,
        seen: &mut Option<Epoch>,
        sent: &mut Option<(CheckCommand, Epoch)>,
    ) -> Result<(), JournalError> {
        self.finish(false).await?;
        let Some(view) = ask(ledger, |ledger| ledger.view()).await else { return Ok(()) };
        if *seen == Some(view.epoch) {
            return Ok(());
        }
        *seen = Some(view.epoch);
        let waits = |vote: &CheckCommand| {
            sent.as_ref().is_some_and(|(last, at)| last == vote && view.epoch.since(*at) < VOTE_BLOCKS)
        };
        if let Some(command) = self.vote(&view)?.filter(|vote| !waits(vote)) {
            *sent = Some((command.clone(), view.epoch));
            ask(ledger, |ledger| ledger.submit(command)).await;
        }
        if self.is_free(&view)
            && let Some(assigned) = ask(ledger, |ledger| ledger.tasks()).await
        {
            self.begin(&view, assigned);
        }
        Ok(())
    }
}

/// Asks where it may block; what went wrong is logged, since the next block is another chance.
async fn ask<T: Send + 'static>(
    ledger: &Arc<dyn CheckerLedger>,
    question: impl FnOnce(&dyn CheckerLedger) -> Result<T, LedgerFailure> + Send + 'static,
) -> Option<T> {
    let ledger = ledger.clone();
    match tokio::task::spawn_blocking(move || question(ledger.as_ref())).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the next block is another chance");
            None
        }
        Err(error) => {
            tracing::error!(%error, "a question to the ledger ended early");
            None
        }
    }
}
