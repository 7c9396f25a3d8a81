//! Proof jobs.

use std::collections::BTreeMap;

use cairn_ledger::jobs::WorkerFailure;
use cairn_ledger::testing::HashVerifier;
use cairn_ledger::{Address, Command, Event, JobCommand, JobEvent, JobId, ProofClaim, ProofVerifier, State};
use cairn_protocol::Amount;

use super::Checker;
use crate::observation::Observation;

/// See [`super::PROMISES`].
pub struct JobsPayForProofs {
    assigned: BTreeMap<JobId, (Address, Amount)>,
}

impl JobsPayForProofs {
    pub(super) fn new(_: &State) -> Self {
        Self { assigned: BTreeMap::new() }
    }

    fn read(&mut self, event: &JobEvent, asked: Option<(Address, &Command)>, seen: &Observation) -> Result<(), String> {
        match event {
            JobEvent::Assigned { job, worker, price, .. } => drop(self.assigned.insert(*job, (*worker, *price))),
            JobEvent::Proven { job, worker, paid, .. } => {
                let due = self.assigned.remove(job);
                if due != Some((*worker, *paid)) {
                    return Err(format!("{job} was given to {due:?}, {worker} is paid {paid}"));
                }
                if shown(*job, asked, seen) != Some((*worker, true)) {
                    return Err(format!("{job} is paid for what proves nothing, or to somebody else"));
                }
            }
            JobEvent::WorkerFailed { job, worker, failure, .. } => {
                self.assigned.remove(job);
                let refused = matches!(failure, WorkerFailure::Refused { .. });
                if refused && shown(*job, asked, seen) != Some((*worker, false)) {
                    return Err(format!("{job}: {worker} pays for a proof that holds"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Who sent a proof of the job, and whether it holds.
fn shown(job: JobId, asked: Option<(Address, &Command)>, seen: &Observation) -> Option<(Address, bool)> {
    let (sender, Command::Job(JobCommand::Submit { job: proven, proof })) = asked? else { return None };
    let statement = seen.before.job(job).filter(|_| *proven == job)?.terms.statement.clone();
    Some((sender, HashVerifier.verify(&ProofClaim { statement, proof }).is_ok()))
}

impl Checker for JobsPayForProofs {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        for event in seen.due_events() {
            if let Event::Job(event) = event {
                self.read(event, None, seen)?;
            }
        }
        for (offer, receipt) in seen.receipts() {
            let asked = (offer.signed.transaction.sender, &offer.signed.transaction.command);
            for event in &receipt.events {
                if let Event::Job(event) = event {
                    self.read(event, Some(asked), seen)?;
                }
            }
        }
        Ok(())
    }
}
