//! Sectors, partitions, and the record of which epochs a sector was proven in.
//!
//! ```text
//! PreCommitted --prove-commit--> Proving { Active <-> Faulty <- Recovering -> Active } --> Closed
//!       \--window ends--> Closed (PreCommitExpired)      (SectorExpired, FaultyTooLong, CollateralExhausted)
//! ```
//!
//! Time of a proving sector is *accounted* up to the last challenge that was answered or missed: a run of epochs is
//! proven or faulted. What comes after is open. Deals are paid from this record whenever somebody asks.

use cairn_protocol::{Amount, CommD, CommR, Epoch, SealProof, Ticket};
use serde::{Deserialize, Serialize};

use crate::close::Closure;
use crate::ids::DealId;
use crate::payments::{ProofSpan, Verdict};

/// A sector on the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sector {
    /// How it is sealed.
    pub seal_proof: SealProof,
    /// Commitment to the replica.
    pub comm_r: CommR,
    /// Commitment to the data.
    pub comm_d: CommD,
    /// Epoch of the ticket.
    pub ticket_epoch: Epoch,
    /// The ticket.
    pub ticket: Ticket,
    /// When it was pre-committed.
    pub pre_committed_at: Epoch,
    /// Epoch whose beacon is the seed; prove-commit is taken after it.
    pub seed_epoch: Epoch,
    /// When its life ends; it leaves at its first deadline that closes then or later.
    pub expiration: Epoch,
    /// Locked for the sector.
    pub deposit: Amount,
    /// Deals in it that are not closed.
    pub deals: Vec<DealId>,
    /// Where it stands.
    pub status: SectorStatus,
}

/// Where a sector stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SectorStatus {
    /// Waits for prove-commit.
    PreCommitted {
        /// First epoch that takes no prove-commit.
        expires_at: Epoch,
    },
    /// Proven, and to be proven once a period.
    Proving(Proving),
    /// Over.
    Closed(Closure),
}

/// A live sector's place in the calendar and its record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proving {
    /// First epoch of its life.
    pub activated_at: Epoch,
    /// Its deadline, below 48.
    pub deadline: u32,
    /// Its partition in that deadline.
    pub partition: u32,
    /// Whether it counts as stored.
    pub health: Health,
    /// Which epochs it was proven in.
    pub history: ProofHistory,
    /// Window PoSts accepted.
    pub posts_accepted: u64,
}

/// Whether a sector counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// Proven, or its first deadline is to come.
    Active,
    /// Missed a deadline, or was declared faulty: earns nothing, costs a fee per deadline.
    Faulty {
        /// Since when.
        since: Epoch,
        /// Deadlines missed in a row.
        missed: u32,
    },
    /// Declared repaired: must be proven at the next deadline.
    Recovering {
        /// Faulty since.
        since: Epoch,
        /// Deadlines missed in a row.
        missed: u32,
    },
}

/// Runs of proven and faulted epochs, without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofHistory {
    /// First epoch on record; what was before is settled.
    from: Epoch,
    /// Ascending; neighbours differ in `proven`.
    runs: Vec<ProofRun>,
}

/// Epochs of one kind, from the end of the run before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofRun {
    /// First epoch after the run.
    pub until: Epoch,
    /// Proven, or faulted.
    pub proven: bool,
}

impl ProofHistory {
    /// Runs at which the record is settled and cut.
    pub const RUNS_MAX: usize = 32;

    /// An empty record.
    pub fn new(from: Epoch) -> Self {
        Self { from, runs: Vec::new() }
    }

    /// First epoch that is still open.
    pub fn accounted_until(&self) -> Epoch {
        self.runs.last().map_or(self.from, |run| run.until)
    }

    /// The runs on record, ascending.
    pub fn runs(&self) -> &[ProofRun] {
        &self.runs
    }

    /// Extends the record to `until`; does nothing if it is there already.
    pub fn account(&mut self, until: Epoch, proven: bool) {
        if until <= self.accounted_until() {
            return;
        }
        match self.runs.last_mut() {
            Some(last) if last.proven == proven => last.until = until,
            _ => self.runs.push(ProofRun { until, proven }),
        }
    }

    /// What is on record about `from` and the epochs after it. What was before the record counts as faulted: it was
    /// settled, and pays nothing twice.
    pub fn span(&self, from: Epoch) -> ProofSpan {
        if from < self.from {
            return ProofSpan { verdict: Verdict::Faulted, until: self.from };
        }
        match self.runs.iter().find(|run| from < run.until) {
            Some(ProofRun { until, proven: true }) => ProofSpan { verdict: Verdict::Proven, until: *until },
            Some(ProofRun { until, proven: false }) => ProofSpan { verdict: Verdict::Faulted, until: *until },
            None => ProofSpan { verdict: Verdict::Open, until: Epoch(u64::MAX) },
        }
    }

    /// Proven epochs in `from..until`, as far as they are on record.
    pub fn proven_epochs(&self, from: Epoch, until: Epoch) -> u64 {
        let mut start = self.from;
        let mut count = 0;
        for run in &self.runs {
            if run.proven {
                count += run.until.min(until).since(start.max(from));
            }
            start = run.until;
        }
        count
    }

    /// Whether the record should be settled and cut.
    pub fn is_long(&self) -> bool {
        self.runs.len() >= Self::RUNS_MAX
    }

    /// Forgets all runs; everything on record must be settled.
    pub fn cut(&mut self) {
        *self = Self::new(self.accounted_until());
    }
}

impl Sector {
    /// The calendar place and record, if the sector is live.
    pub fn proving(&self) -> Option<&Proving> {
        match &self.status {
            SectorStatus::Proving(proving) => Some(proving),
            SectorStatus::PreCommitted { .. } | SectorStatus::Closed(_) => None,
        }
    }

    pub(crate) fn proving_mut(&mut self) -> Option<&mut Proving> {
        match &mut self.status {
            SectorStatus::Proving(proving) => Some(proving),
            SectorStatus::PreCommitted { .. } | SectorStatus::Closed(_) => None,
        }
    }

    /// Whether a window PoSt of its partition must include it.
    pub fn is_provable(&self) -> bool {
        self.proving().is_some_and(|proving| !matches!(proving.health, Health::Faulty { .. }))
    }
}

/// Sectors of one deadline that are proven together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its sectors, ascending; at most `SectorParams::window_sectors_per_partition`.
    pub sectors: Vec<cairn_protocol::SectorNumber>,
    /// Challenge epoch of the last accepted proof.
    pub proven_challenge: Option<Epoch>,
    /// When its current instance closes; a queue entry is waiting there while the partition has sectors.
    pub closes_at: Epoch,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_record_counts_what_a_list_of_epochs_counts(
            steps in prop::collection::vec((1u64..20, any::<bool>()), 0..20),
            from in 0u64..200,
            length in 0u64..200,
        ) {
            let mut history = ProofHistory::new(Epoch(10));
            let mut proven = vec![false; 500];
            let mut at = 10u64;
            for (epochs, good) in steps {
                history.account(Epoch(at + epochs), good);
                for epoch in at..at + epochs { proven[epoch as usize] = good; }
                at += epochs;
            }
            let counted = (from..from + length).filter(|epoch| proven[*epoch as usize]).count() as u64;
            prop_assert_eq!(history.proven_epochs(Epoch(from), Epoch(from + length)), counted);
            let span = history.span(Epoch(from));
            let known = (10..at).contains(&from) && proven[from as usize];
            prop_assert_eq!(span.verdict == Verdict::Proven, known);
            prop_assert_eq!(span.verdict == Verdict::Open, from >= at.max(10));
            prop_assert!((from..span.until.0.min(at)).all(|epoch| proven[epoch as usize] == known));
            prop_assert_eq!(history.accounted_until(), Epoch(at));
            prop_assert!(history.runs().windows(2).all(|pair| pair[0].proven != pair[1].proven));
        }
    }

    #[test]
    fn going_back_changes_nothing() {
        let mut history = ProofHistory::new(Epoch(10));
        history.account(Epoch(20), true);
        history.account(Epoch(15), false);
        assert_eq!(history.proven_epochs(Epoch(0), Epoch(100)), 10);
        history.cut();
        assert_eq!((history.accounted_until(), history.runs().len()), (Epoch(20), 0));
    }
}
