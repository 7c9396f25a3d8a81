//! The ledger as a checker sees it.

use cairn_ledger::scores::ballot::{Ballot, RoundCalendar};
use cairn_ledger::scores::checks::CheckTask;
use cairn_ledger::scores::quality::QualityTarget;
use cairn_ledger::scores::receipts::CheckReceipt;
use cairn_ledger::{Address, ChainId, CheckCommand, State};
use cairn_protocol::{Epoch, ProviderId};

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
    /// A round, and the provider about whom its receipts were drawn, while they are not opened.
    pub audit: Option<(u64, ProviderId)>,
}

impl CheckerView {
    /// The view of `checker` on a state.
    pub fn of(state: &State, checker: Address) -> Self {
        let (epoch, economy) = (state.epoch(), &state.params().economy);
        let before = economy.rounds.round_at(epoch).checked_sub(1);
        let ballot = before.and_then(|round| {
            let handed = match state.ballot(round, checker)? {
                Ballot::Committed(_) => Handed::Committed,
                Ballot::Revealed(_) => Handed::Revealed,
            };
            Some((round, handed))
        });
        let drawn = |round| Some((round, state.audit(round, checker).filter(|audit| !audit.opened)?.provider));
        Self {
            chain: state.chain(),
            epoch,
            rounds: economy.rounds,
            quality: economy.quality.clone(),
            is_checker: state.checker(&checker).is_some(),
            ballot,
            audit: before.and_then(drawn),
        }
    }

    /// The round that is measured now.
    pub fn round(&self) -> u64 {
        self.rounds.round_at(self.epoch)
    }
}

/// Whether what a state assigns is still what was drawn when its round began.
fn is_as_drawn(state: &State) -> bool {
    let round = state.round_at(state.epoch());
    state.params().economy.rounds.first_epoch(round).is_some_and(|first| state.catalogue_changed() <= first)
}

fn endpoint_of(state: &State, provider: ProviderId) -> String {
    state.provider(provider).map_or_else(String::new, |provider| provider.endpoint.clone())
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
    /// See [`CheckerLedger::tasks`].
    pub fn all_of(state: &State, checker: Address) -> Vec<Self> {
        let assigned = |task: CheckTask| Self { endpoint: endpoint_of(state, task.provider), task };
        let tasks = if is_as_drawn(state) { state.check_tasks(checker) } else { Vec::new() };
        tasks.into_iter().map(assigned).collect()
    }

    /// See [`CheckerLedger::tasks_of_all`].
    pub fn of_all(state: &State) -> Vec<CheckTask> {
        let checkers = state.checkers().filter(|_| is_as_drawn(state));
        checkers.flat_map(|(checker, _)| state.check_tasks(checker)).collect()
    }
}

/// One receipt of another checker, opened for all to see, and not refuted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhibit {
    /// What it says: that these bytes were served.
    pub receipt: CheckReceipt,
    /// The provider's gateway, as the ledger names it.
    pub endpoint: String,
    /// Whether this checker has said already that it is made up.
    pub said: bool,
}

impl Exhibit {
    /// See [`CheckerLedger::exhibits`].
    pub fn all_of(state: &State, round: u64, own: Address) -> Vec<Self> {
        let audits = state.audits_from(round, Address([0; 32]));
        let others = audits.filter(|(checker, audit)| *checker != own && !audit.refuted);
        let exhibits = others.filter_map(|(checker, audit)| {
            let receipt = audit.exhibit.clone()?;
            let endpoint = endpoint_of(state, audit.provider);
            Some(Self { receipt, endpoint, said: state.refutation(round, checker, own).is_some() })
        });
        exhibits.collect()
    }
}

/// A ledger as a checker sees it. Calls may block: they are made on threads for that.
pub trait CheckerLedger: Send + Sync + 'static {
    /// What there is to know after the last block.
    ///
    /// # Errors
    /// [`LedgerFailure`] if it cannot be asked.
    fn view(&self) -> Result<CheckerView, LedgerFailure>;

    /// What to fetch in the round of now. Nothing if deals came or went after the round's first epoch: then nobody can
    /// tell any more what was drawn, and whoever could would take a receipt about something else for made up.
    ///
    /// # Errors
    /// [`LedgerFailure`] if it cannot be asked.
    fn tasks(&self) -> Result<Vec<AssignedCheck>, LedgerFailure>;

    /// What every checker is to fetch in the round of now; nothing in the same case. At most a round's checks of all.
    ///
    /// # Errors
    /// [`LedgerFailure`] if it cannot be asked.
    fn tasks_of_all(&self) -> Result<Vec<CheckTask>, LedgerFailure>;

    /// What others opened about a round. At most one for each checker.
    ///
    /// # Errors
    /// [`LedgerFailure`] if it cannot be asked.
    fn exhibits(&self, round: u64) -> Result<Vec<Exhibit>, LedgerFailure>;

    /// Hands in a command of the checker's.
    ///
    /// # Errors
    /// [`LedgerFailure`] if it was not taken, or nobody knows whether it was.
    fn submit(&self, command: CheckCommand) -> Result<(), LedgerFailure>;
}
