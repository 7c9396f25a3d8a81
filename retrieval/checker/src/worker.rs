//! A checker at work: what to do at the state of now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cairn_ledger::scores::ballot::{Ballot, Phase};
use cairn_ledger::scores::receipts::{CheckReceipt, OpenedReceipt};
use cairn_ledger::{Address, CheckCommand, Salt, State, address_of};
use cairn_protocol::{Epoch, ProviderId};
use cid::Cid;
use ed25519_consensus::SigningKey;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

use crate::journal::{Journal, JournalError, Measured};
use crate::measure::{MeasureOptions, carry_out, endpoints, measure};

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
    /// What everybody was to check in the last rounds that were seen from their first epoch.
    assigned: BTreeMap<u64, Assigned>,
    /// The round whose exhibits are looked at, or were last.
    looked: Option<u64>,
    looking: Option<JoinHandle<Vec<CheckReceipt>>>,
    /// What is wrong with them: round, whose, and what should be there.
    wrong: Vec<(u64, Address, [u8; 32])>,
}

/// Provider and dataset by checker and slot.
type Assigned = BTreeMap<(Address, u32), (ProviderId, Cid)>;

/// What is said of an exhibit that was never assigned.
const NEVER_ASSIGNED: [u8; 32] = [0; 32];

impl Checker {
    /// A checker with this key, and its journal.
    pub fn new(key: SigningKey, journal: Journal, options: CheckerOptions) -> Self {
        let (assigned, wrong) = (BTreeMap::new(), Vec::new());
        Self { key, journal, options, running: None, assigned, looked: None, looking: None, wrong }
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
        self.note_assigned(state, round);
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

    /// Remembers who was to check what, if this is the epoch in which that can be known.
    fn note_assigned(&mut self, state: &State, round: u64) {
        if state.params().economy.rounds.first_epoch(round) != Some(state.epoch()) {
            return;
        }
        let tasks = state.checkers().flat_map(|(checker, _)| state.check_tasks(checker));
        let assigned = tasks.map(|task| ((task.checker, task.slot), (task.provider, task.root))).collect();
        self.assigned.insert(round, assigned);
        self.assigned.retain(|known, _| known + 2 > round);
    }

    /// Begins to look at what the other checkers opened of the last round, once all of it is open. Needs a tokio runtime.
    pub fn look(&mut self, state: &State) {
        let rounds = state.params().economy.rounds;
        let round = state.round_at(state.epoch()).checked_sub(1);
        let Some(round) = round.filter(|_| rounds.phase_at(state.epoch()) == Phase::Quiet) else { return };
        if self.looked == Some(round) || self.looking.is_some() || state.checker(&self.address()).is_none() {
            return;
        }
        self.looked = Some(round);
        self.wrong.retain(|(of, ..)| *of == round);
        let (own, mut tasks) = (self.address(), Vec::new());
        let assigned = self.assigned.get(&round);
        for (_, checker, audit) in state.audits().filter(|(of, checker, _)| *of == round && *checker != own) {
            let Some(exhibit) = &audit.exhibit else { continue };
            let task = &exhibit.task;
            match assigned.map(|all| all.get(&(checker, task.slot))) {
                Some(found) if found != Some(&(task.provider, task.root)) => {
                    self.wrong.push((round, checker, NEVER_ASSIGNED));
                }
                _ => tasks.push(task.clone()),
            }
        }
        let (endpoints, options) = (endpoints(state, &tasks), self.options.measure.clone());
        self.looking = Some(tokio::spawn(async move { carry_out(tasks, endpoints, &options).await }));
    }

    /// Takes note of what looking found, if it is complete; with `wait`, waits for it.
    pub async fn finish_looking(&mut self, state: &State, wait: bool) {
        let Some(task) = self.looking.take_if(|task| wait || task.is_finished()) else { return };
        match task.await {
            Ok(found) => {
                for (receipt, content) in found.iter().filter_map(|receipt| Some((receipt, receipt.content()?))) {
                    let (round, checker) = (receipt.task.round, receipt.task.checker);
                    let shown = state.audit(round, checker).and_then(|audit| audit.exhibit.as_ref()?.content());
                    if shown.is_some_and(|shown| shown != content) {
                        tracing::warn!(round, %checker, "a receipt of another checker is made up");
                        self.wrong.push((round, checker, content));
                    }
                }
            }
            Err(error) => tracing::error!(%error, "what others opened could not be looked at"),
        }
    }

    /// The next thing that must be said about others.
    fn refutation(&self, state: &State) -> Option<CheckCommand> {
        let unsaid = self.wrong.iter().find(|(round, checker, _)| {
            let open = state.audit(*round, *checker).is_some_and(|audit| !audit.refuted);
            open && state.refutation(*round, *checker, self.address()).is_none()
        });
        unsaid.map(|(round, checker, content)| CheckCommand::Refute {
            round: *round,
            checker: *checker,
            content: *content,
        })
    }

    /// Opens what was drawn, if it was not opened yet.
    fn opening(&self, state: &State, round: u64) -> Result<Option<CheckCommand>, JournalError> {
        let audit = state.audit(round, self.address()).filter(|audit| !audit.opened);
        let Some((audit, measured)) = audit.zip(self.journal.get(round)?) else { return Ok(None) };
        let about = |at: &usize| measured.receipts[*at].receipt.task.provider == audit.provider;
        let places = (0..measured.receipts.len()).filter(about);
        let receipts = places.filter_map(|at| OpenedReceipt::open(&measured.receipts, at)).collect();
        Ok(Some(CheckCommand::Open { receipts }))
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

    /// What to hand in for the next block: a commitment, a reveal, the receipts that were drawn, what is wrong with those
    /// of others, or nothing.
    ///
    /// # Errors
    /// [`JournalError`] if what was measured cannot be read.
    pub fn vote(&self, state: &State) -> Result<Option<CheckCommand>, JournalError> {
        let (next, economy) = (Epoch(state.epoch().0 + 1), &state.params().economy);
        let phase = economy.rounds.phase_at(next);
        let Some(round) = economy.rounds.round_at(next).checked_sub(1) else { return Ok(None) };
        if state.checker(&self.address()).is_none() {
            return Ok(None);
        }
        match phase {
            Phase::Commit | Phase::Reveal => {}
            Phase::Open => return self.opening(state, round),
            Phase::Quiet => return Ok(self.refutation(state)),
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
            self.finish_looking(&state, false).await;
            if seen != Some(state.epoch()) {
                seen = Some(state.epoch());
                if let Some(command) = self.vote(&state)?
                    && let Err(error) = ledger.submit(command)
                {
                    tracing::warn!(%error, "a vote was not taken");
                }
                self.begin(&state);
                self.look(&state);
            }
            tokio::select! {
                () = &mut stopping => return Ok(()),
                () = tokio::time::sleep(poll) => {}
            }
        }
    }
}
