//! A checker at work: what to do after each block.

use std::sync::Arc;
use std::time::Duration;

use cairn_ledger::scores::ballot::Phase;
use cairn_ledger::scores::checks::CheckTask;
use cairn_ledger::scores::receipts::OpenedReceipt;
use cairn_ledger::{Address, CheckCommand, Salt, address_of};
use cairn_protocol::Epoch;
use ed25519_consensus::SigningKey;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::exhibits::{Assigned, Look, MadeUp};
use crate::journal::{Journal, JournalError, Measured};
use crate::ledger::{AssignedCheck, CheckerLedger, CheckerView, Exhibit, Handed, LedgerFailure};
use crate::measure::{MeasureOptions, endpoints, measure};

const TAG_SALT: &[u8] = b"cairn/checker/salt/v1";
/// Blocks after which a vote that is in none is handed in again. Sooner, a second one might only cost its fee.
const VOTE_BLOCKS: u64 = 3;

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
    /// The last round whose assignments were asked for.
    noted: Option<u64>,
    looking: Option<Look>,
    /// The last round whose exhibits were looked at.
    looked: Option<u64>,
    /// What was found wrong with them and is not said yet.
    made_up: Vec<MadeUp>,
}

impl Checker {
    /// A checker with this key, and its journal.
    pub fn new(key: SigningKey, journal: Journal, options: CheckerOptions) -> Self {
        let (noted, looking, looked, made_up) = (None, None, None, Vec::new());
        Self { key, journal, options, running: None, noted, looking, looked, made_up }
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

    /// What to hand in for the next block: a commitment, a reveal, the receipts that were drawn, or nothing.
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
            Phase::Open => view.audit.is_some_and(|(of, _)| of == round),
            Phase::Quiet => false,
        };
        if !wanted {
            return Ok(None);
        }
        let Some(measured) = self.journal.get(round)? else { return Ok(None) };
        if let Some((_, provider)) = view.audit.filter(|_| phase == Phase::Open) {
            let places = measured.behind(provider);
            let receipts = places.filter_map(|at| OpenedReceipt::open(&measured.receipts, at)).collect();
            return Ok(Some(CheckCommand::Open { receipts }));
        }
        let (opinions, salt) = (measured.opinions(&view.quality), self.salt(round));
        if phase == Phase::Reveal {
            return Ok(Some(CheckCommand::Reveal { opinions, salt }));
        }
        let commitment = opinions.commitment(view.chain, self.address(), &salt);
        Ok(Some(CheckCommand::Commit { commitment }))
    }

    /// Whether it is time to [note](Checker::note) what everybody is told to fetch.
    pub fn wants_assignments(&self, view: &CheckerView) -> bool {
        view.is_checker && self.noted != Some(view.round()) && !self.journal.has_assigned(view.round())
    }

    /// Keeps what everybody is told to fetch in the round of `view`, to look at their receipts later. If nobody can tell
    /// any more, nothing is noted, and asked no more.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot be kept.
    pub fn note(&mut self, view: &CheckerView, tasks: Vec<CheckTask>) -> Result<(), JournalError> {
        let round = view.round();
        self.noted = Some(round);
        if let Some(assigned) = Assigned::of(tasks).filter(|assigned| assigned.round == round) {
            self.journal.put_assigned(&assigned)?;
        }
        match round.checked_sub(2) {
            Some(old) => self.journal.remove_assigned(old),
            None => Ok(()),
        }
    }

    /// The round whose exhibits may be [looked at](Checker::look): all that others open of it is open.
    pub fn round_to_look_at(&self, view: &CheckerView) -> Option<u64> {
        let round = view.round().checked_sub(1).filter(|_| view.is_checker && self.looking.is_none())?;
        (view.rounds.phase_at(view.epoch) == Phase::Quiet && self.looked != Some(round)).then_some(round)
    }

    /// Begins to look at what others opened about `round`. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`JournalError`] if what was assigned cannot be read.
    pub fn look(&mut self, round: u64, exhibits: Vec<Exhibit>) -> Result<(), JournalError> {
        self.looked = Some(round);
        let assigned = self.journal.get_assigned(round)?;
        self.looking = Some(Look::begin(round, exhibits, assigned, self.options.measure.clone()));
        Ok(())
    }

    /// Takes note of what looking found, if it is complete; with `wait`, waits for it.
    pub async fn finish_looking(&mut self, wait: bool) {
        if let Some(look) = self.looking.take_if(|look| wait || look.is_finished()) {
            let round = look.round;
            self.made_up = look.found().await;
            tracing::info!(round, made_up = self.made_up.len(), "looked at what others opened");
        }
    }

    /// The round about which there is something to [say](Checker::refutation).
    pub fn round_to_refute(&self) -> Option<u64> {
        self.made_up.first().map(|found| found.round)
    }

    /// The next thing to say about others, given what is open about [the round](Checker::round_to_refute): nothing if all
    /// is said, or over.
    pub fn refutation(&mut self, exhibits: &[Exhibit]) -> Option<CheckCommand> {
        let is_unsaid = |found: &MadeUp, exhibit: &Exhibit| {
            let task = &exhibit.receipt.task;
            (task.round, task.checker) == (found.round, found.checker) && !exhibit.said
        };
        self.made_up.retain(|found| exhibits.iter().any(|exhibit| is_unsaid(found, exhibit)));
        self.made_up.first().map(|found| CheckCommand::Refute {
            round: found.round,
            checker: found.checker,
            content: found.content,
        })
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
        self.finish_looking(false).await;
        let Some(view) = ask(ledger, |ledger| ledger.view()).await else { return Ok(()) };
        if *seen == Some(view.epoch) {
            return Ok(());
        }
        *seen = Some(view.epoch);
        let waits = |command: &CheckCommand| {
            sent.as_ref().is_some_and(|(last, at)| last == command && view.epoch.since(*at) < VOTE_BLOCKS)
        };
        let command = match self.vote(&view)? {
            Some(vote) => Some(vote),
            None => self.next_refutation(ledger).await,
        };
        if let Some(command) = command.filter(|command| !waits(command)) {
            *sent = Some((command.clone(), view.epoch));
            ask(ledger, |ledger| ledger.submit(command)).await;
        }
        if self.is_free(&view)
            && let Some(assigned) = ask(ledger, |ledger| ledger.tasks()).await
        {
            self.begin(&view, assigned);
        }
        if self.wants_assignments(&view)
            && let Some(tasks) = ask(ledger, |ledger| ledger.tasks_of_all()).await
        {
            self.note(&view, tasks)?;
        }
        if let Some(round) = self.round_to_look_at(&view)
            && let Some(exhibits) = ask(ledger, move |ledger| ledger.exhibits(round)).await
        {
            self.look(round, exhibits)?;
        }
        Ok(())
    }

    async fn next_refutation(&mut self, ledger: &Arc<dyn CheckerLedger>) -> Option<CheckCommand> {
        let round = self.round_to_refute()?;
        let exhibits = ask(ledger, move |ledger| ledger.exhibits(round)).await?;
        self.refutation(&exhibits)
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
