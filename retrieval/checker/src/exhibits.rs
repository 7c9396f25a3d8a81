//! Looking at what others opened: the same bytes again, and a word if they are others.
//!
//! 1. When a round begins, note what every checker was told to fetch ([`Assigned`]): later nobody can tell. It is in the
//!    journal, so a restart does not forget it.
//! 2. When what was drawn is opened, fetch the range of each exhibit from the provider's gateway. Every leaf is checked
//!    against the CID, so what comes is the dataset's, whoever serves it.
//! 3. An exhibit about another dataset or provider than was assigned, or with another hash, is made up.
//!
//! What cannot be told is left alone: a checker that was not there when the round began, a range that nobody serves now.

use std::collections::BTreeMap;

use cairn_ledger::Address;
use cairn_ledger::scores::checks::CheckTask;
use cairn_protocol::ProviderId;
use cid::Cid;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::ledger::Exhibit;
use crate::measure::{MeasureOptions, carry_out};

/// What is said of an exhibit that was never assigned: no bytes hash to it.
const NEVER_ASSIGNED: [u8; 32] = [0; 32];

/// Who was told to fetch what in a round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assigned {
    /// The round.
    pub round: u64,
    /// Checker and slot, provider and dataset; ascending.
    pub tasks: Vec<(Address, u32, ProviderId, Cid)>,
}

impl Assigned {
    /// Of all checkers' tasks; `None` if there are none, or they are of several rounds.
    pub(crate) fn of(tasks: Vec<CheckTask>) -> Option<Self> {
        let round = tasks.first()?.round;
        if tasks.iter().any(|task| task.round != round) {
            return None;
        }
        let mut tasks: Vec<_> =
            tasks.into_iter().map(|task| (task.checker, task.slot, task.provider, task.root)).collect();
        tasks.sort_unstable();
        Some(Self { round, tasks })
    }

    /// Whether a task is certainly none that was assigned.
    fn denies(&self, task: &CheckTask) -> bool {
        // Who came later in the round is not in it at all.
        let is_known = self.tasks.iter().any(|(checker, ..)| *checker == task.checker);
        let as_told = (task.checker, task.slot, task.provider, task.root);
        task.round == self.round && is_known && self.tasks.binary_search(&as_told).is_err()
    }
}

/// A receipt of another checker that is made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MadeUp {
    pub round: u64,
    pub checker: Address,
    /// What it should say.
    pub content: [u8; 32],
}

/// A look at what is open about one round.
pub(crate) struct Look {
    pub round: u64,
    work: JoinHandle<Vec<MadeUp>>,
}

impl Look {
    /// Begins. Needs a tokio runtime.
    pub(crate) fn begin(
        round: u64,
        exhibits: Vec<Exhibit>,
        assigned: Option<Assigned>,
        options: MeasureOptions,
    ) -> Self {
        let unsaid = exhibits.into_iter().filter(|exhibit| !exhibit.said).collect();
        Self { round, work: tokio::spawn(look(unsaid, assigned, options)) }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.work.is_finished()
    }

    /// What it found; nothing if it was lost.
    pub(crate) async fn found(self) -> Vec<MadeUp> {
        self.work.await.unwrap_or_else(|error| {
            tracing::error!(round = self.round, %error, "what others opened could not be looked at");
            Vec::new()
        })
    }
}

/// Steps 2 and 3.
async fn look(exhibits: Vec<Exhibit>, assigned: Option<Assigned>, options: MeasureOptions) -> Vec<MadeUp> {
    let (mut made_up, mut endpoints, mut shown) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let mut tasks = Vec::new();
    for Exhibit { receipt, endpoint, .. } in exhibits {
        let (task, content) = (receipt.task.clone(), receipt.content());
        if assigned.as_ref().is_some_and(|assigned| assigned.denies(&task)) {
            made_up.push(MadeUp { round: task.round, checker: task.checker, content: NEVER_ASSIGNED });
            continue;
        }
        endpoints.insert(task.provider, endpoint.parse().ok());
        shown.insert(task.checker, content);
        tasks.push(task);
    }
    for found in carry_out(tasks, endpoints, &options).await {
        let (round, checker) = (found.task.round, found.task.checker);
        let differs = |content: &[u8; 32]| shown.get(&checker).copied().flatten().is_some_and(|said| said != *content);
        if let Some(content) = found.content().filter(differs) {
            made_up.push(MadeUp { round, checker, content });
        }
    }
    for MadeUp { round, checker, .. } in &made_up {
        tracing::warn!(round, %checker, "a receipt of another checker is made up");
    }
    made_up
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(round: u64, checker: u8, slot: u32, provider: u64) -> CheckTask {
        let checker = Address([checker; 32]);
        CheckTask { round, checker, slot, provider: ProviderId(provider), root: Cid::default(), point: 0, length: 1 }
    }

    #[test]
    fn only_what_was_certainly_not_assigned_is_denied() {
        let assigned = Assigned::of(vec![task(3, 1, 0, 7), task(3, 1, 2, 8)]).unwrap();
        assert!(!assigned.denies(&task(3, 1, 0, 7)));
        assert!(assigned.denies(&task(3, 1, 0, 8)), "another provider");
        assert!(assigned.denies(&task(3, 1, 1, 7)), "a slot that stayed empty");
        assert!(!assigned.denies(&task(3, 2, 0, 8)), "a checker that came later");
        assert!(!assigned.denies(&task(4, 1, 0, 8)), "a round that was not noted");
        let elsewhere = CheckTask { root: Cid::new_v1(0x55, *Cid::default().hash()), ..task(3, 1, 0, 7) };
        assert!(assigned.denies(&elsewhere), "another dataset");
        assert_eq!(Assigned::of(vec![task(3, 1, 0, 7), task(4, 1, 0, 7)]), None);
        assert_eq!(Assigned::of(Vec::new()), None);
    }
}
