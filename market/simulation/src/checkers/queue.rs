//! Due work: done in time, and never too much at once.

use std::collections::BTreeSet;

use cairn_ledger::jobs::JobDue;
use cairn_ledger::queue::Due;
use cairn_ledger::state::columns;
use cairn_ledger::{Command, JobCommand, SectorCommand, State, StateChange, codec};
use cairn_protocol::Epoch;

use super::Checker;
use crate::observation::Observation;

/// What waits in the queue, known from the changes of each block.
#[derive(Debug, Clone, Default)]
pub struct QueueWatch {
    waiting: BTreeSet<(Epoch, Due)>,
    /// Of those, what the last block put there after it had done what was due.
    fresh: BTreeSet<(Epoch, Due)>,
    lag: u64,
}

impl QueueWatch {
    /// Reads a block's changes; returns what was taken out of the queue.
    pub fn read(&mut self, changes: &[StateChange], now: Epoch) -> Vec<(Epoch, Due)> {
        let mut taken = Vec::new();
        self.fresh.clear();
        for change in changes.iter().filter(|change| change.column == columns::QUEUE) {
            let key: (Epoch, Due) = codec::decode_strict(&change.key, usize::MAX).expect("a key of the queue");
            if change.value.is_some() {
                self.waiting.insert(key);
                self.fresh.insert(key);
            } else if self.waiting.remove(&key) {
                taken.push(key);
            }
        }
        if let Some((oldest, _)) = self.late(now).copied() {
            self.lag = self.lag.max(now.since(oldest) + 1);
        }
        taken
    }

    /// Most epochs that anything has waited too long so far.
    pub fn lag(&self) -> u64 {
        self.lag
    }

    /// The first entry that was due and still waits.
    fn late(&self, now: Epoch) -> Option<&(Epoch, Due)> {
        let mut due = self.waiting.iter().take_while(|(at, _)| *at <= now);
        due.find(|entry| !self.fresh.contains(*entry))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// At least the weight that the ledger counts for an entry.
fn weight_at_most(due: &Due, state: &State) -> u64 {
    match *due {
        Due::PartitionClose(provider, deadline, number) => {
            1 + state.partition(provider, deadline, number).map_or(0, |partition| partition.sectors.len() as u64)
        }
        Due::PreCommitExpiry(provider, number) => {
            1 + state.sector(provider, number).map_or(0, |sector| sector.deals.len() as u64)
        }
        Due::BidWindowClose(order) | Due::RevealWindowClose(order) | Due::ForgetOrder(order) => {
            let pieces = state.order(order).map_or(0, |order| order.terms.pieces.len() as u64);
            1 + state.bids_on(order).count() as u64 * (1 + pieces)
        }
        Due::Job(due, job) => {
            let listed = state.job(job).map_or(0, |job| job.terms.statement.listed_sectors());
            let bids = if due == JobDue::Assign { state.job_bids_on(job).count() as u64 } else { 0 };
            1 + listed + bids
        }
        Due::StakeRelease(_) => cairn_ledger::validator::LEAVING_MAX,
        _ => 1,
    }
}

/// See [`super::PROMISES`].
pub struct QueuePunctual {
    watch: QueueWatch,
}

impl QueuePunctual {
    pub(super) fn new(_: &State) -> Self {
        Self { watch: QueueWatch::default() }
    }
}

impl Checker for QueuePunctual {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        let taken = self.watch.read(&seen.changes, seen.now());
        let Some((at, due)) = self.watch.late(seen.now()) else { return Ok(()) };
        let used: u64 = taken.iter().map(|(_, due)| weight_at_most(due, &seen.before)).sum();
        let budget = seen.after.params().queue_weight_per_block;
        if used >= budget {
            return Ok(());
        }
        Err(format!("{due:?} was due at epoch {at} and waits, while the block used {used} of {budget}"))
    }

    fn finish(&mut self, _: &State) -> Result<(), String> {
        if self.watch.is_empty() { Ok(()) } else { Err(format!("the queue never empties: {:?}", self.watch.waiting)) }
    }
}

/// See [`super::PROMISES`].
pub struct WorkBounded {
    watch: QueueWatch,
}

impl WorkBounded {
    pub(super) fn new(_: &State) -> Self {
        Self { watch: QueueWatch::default() }
    }
}

/// Entries that one unit of queued work may change: a sector that ends with a deal that is ordered again touches the
/// sector, its provider, the deal, three accounts, two orders, and four queue entries.
const CHANGES_PER_UNIT: u64 = 16;

/// Entries that change in every block: singletons and two beacons.
const CHANGES_PER_BLOCK: u64 = 3;

/// Entries that a round of the economy may change besides: two rounds of rewards; account, vesting and two events for each
/// validator and each checker; and scores for a group of providers.
fn changes_of_round(state: &State) -> u64 {
    let (validators, checkers) = (state.validators().count() as u64, state.checkers().count() as u64);
    let group = if checkers > 0 { u64::from(state.params().economy.group_providers) } else { 0 };
    8 + 4 * validators + 8 * checkers + 4 * group
}

/// Units of work that a command may be.
fn units(command: &Command, state: &State) -> u64 {
    match command {
        Command::ProveCommit { pieces, .. } => 2 + pieces.len() as u64,
        Command::Sector(SectorCommand::Update(update)) => 2 + update.pieces.len() as u64,
        Command::Sector(SectorCommand::Terminate { provider, sectors }) => {
            let deals = |number| state.sector(*provider, number).map_or(0, |sector| sector.deals.len() as u64);
            2 + sectors.iter().map(|number| 1 + deals(*number)).sum::<u64>()
        }
        Command::PreCommit(announced) => 2 + announced.deals.len() as u64,
        Command::DeclareFaults { sectors, .. } | Command::DeclareRecovery { sectors, .. } => 1 + sectors.len() as u64,
        Command::Job(JobCommand::Cancel { job }) => 2 + state.job_bids_on(*job).count() as u64,
        Command::CancelOrder { order } => 2 + state.bids_on(*order).count() as u64,
        Command::SubmitWindowPost { provider, deadline, partition, .. } => {
            let members = state.partition(*provider, *deadline, *partition);
            let sectors = members.map(|partition| partition.sectors.as_slice()).unwrap_or_default();
            let deals = |number| state.sector(*provider, number).map_or(0, |sector| sector.deals.len() as u64);
            2 + sectors.iter().map(|number| 1 + deals(*number)).sum::<u64>()
        }
        _ => 1,
    }
}

impl Checker for WorkBounded {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        let taken = self.watch.read(&seen.changes, seen.now());
        let heaviest = taken.iter().map(|(_, due)| weight_at_most(due, &seen.before)).max().unwrap_or(0);
        let queued = seen.after.params().queue_weight_per_block + heaviest;
        let asked: u64 = seen.paying().map(|(offer, _)| units(&offer.signed.transaction.command, &seen.before)).sum();
        let most = CHANGES_PER_BLOCK + changes_of_round(&seen.before) + CHANGES_PER_UNIT * (queued + asked);
        let (changed, happened) = (seen.changes.len() as u64, seen.outcome.events.len() as u64);
        if changed > most || happened > most {
            return Err(format!("{changed} entries changed, {happened} events, at most {most} are allowed"));
        }
        let weight: u64 = seen.offers.iter().map(|offer| seen.before.weight_of(&offer.signed)).sum();
        let limit = seen.after.params().block_weight_max;
        if weight > limit {
            return Err(format!("the block weighs {weight} in proofs and sectors, {limit} is allowed"));
        }
        let proofs = |(offer, _): &(&crate::world::Offer, _)| {
            let command = &offer.signed.transaction.command;
            let submits = matches!(command, Command::Job(JobCommand::Submit { .. }));
            let updates = matches!(command, Command::Sector(SectorCommand::Update(_)));
            submits || updates || matches!(command, Command::ProveCommit { .. } | Command::SubmitWindowPost { .. })
        };
        // Once together, and once more alone if a transaction before it changed what it speaks of.
        let most = 2 * seen.receipts().filter(proofs).count() as u64;
        if seen.proofs > most {
            return Err(format!("{} proofs were looked at, {most} are allowed", seen.proofs));
        }
        Ok(())
    }
}
