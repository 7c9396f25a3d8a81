//! Proof jobs.

use std::collections::BTreeMap;

use cairn_ledger::jobs::{WorkerFailure, statement_digest};
use cairn_ledger::testing::HashVerifier;
use cairn_ledger::{
    Address, Command, Event, JobCommand, JobEvent, JobId, ProofClaim, ProofStatement, ProofVerifier, State,
};
use cairn_protocol::Amount;

use super::Checker;
use crate::observation::Observation;

/// See [`super::PROMISES`].
pub struct JobsPayForProofs {
    /// What each job was posted about, with the sectors that the ledger had then.
    posted: BTreeMap<JobId, ProofStatement>,
    assigned: BTreeMap<JobId, (Address, Amount)>,
}

impl JobsPayForProofs {
    pub(super) fn new(_: &State) -> Self {
        Self { posted: BTreeMap::new(), assigned: BTreeMap::new() }
    }

    fn read(&mut self, event: &JobEvent, asked: Option<(Address, &Command)>, seen: &Observation) -> Result<(), String> {
        match event {
            JobEvent::Posted { job, .. } => {
                self.posted.insert(*job, as_posted(*job, asked, seen)?);
            }
            JobEvent::Assigned { job, worker, price, .. } => drop(self.assigned.insert(*job, (*worker, *price))),
            JobEvent::Proven { job, worker, paid, .. } => {
                let due = self.assigned.remove(job);
                if due != Some((*worker, *paid)) {
                    return Err(format!("{job} was given to {due:?}, {worker} is paid {paid}"));
                }
                if self.shown(*job, asked) != Some((*worker, true)) {
                    return Err(format!("{job} is paid for what proves nothing, or to somebody else"));
                }
            }
            JobEvent::WorkerFailed { job, worker, failure, .. } => {
                self.assigned.remove(job);
                let refused = matches!(failure, WorkerFailure::Refused { .. });
                if refused && self.shown(*job, asked) != Some((*worker, false)) {
                    return Err(format!("{job}: {worker} pays for a proof that holds"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Who sent a proof of the job, and whether it shows what the job was posted about.
    fn shown(&self, job: JobId, asked: Option<(Address, &Command)>) -> Option<(Address, bool)> {
        let (sender, Command::Job(JobCommand::Submit { job: proven, proof })) = asked? else { return None };
        let statement = self.posted.get(&job).filter(|_| *proven == job)?.clone();
        Some((sender, HashVerifier.verify(&ProofClaim { statement, proof }).is_ok()))
    }
}

/// What a job is about: what its poster listed, or, of a job that names sectors, what the ledger completed and the poster
/// signed for by digest.
fn as_posted(job: JobId, asked: Option<(Address, &Command)>, seen: &Observation) -> Result<ProofStatement, String> {
    match asked {
        Some((_, Command::Job(JobCommand::Post(terms)))) => Ok(terms.statement.clone()),
        Some((sender, Command::Job(JobCommand::PostSectors(wanted)))) => {
            let owner = seen.before.provider(wanted.provider).map(|provider| provider.owner);
            let record = seen.after.job(job).filter(|_| owner == Some(sender));
            let statement = record.map(|record| record.terms.statement.clone());
            let statement = statement.ok_or_else(|| format!("{job} is posted by {sender} for {owner:?}"))?;
            let ProofStatement::WindowPost(completed) = &statement else {
                return Err(format!("{job} names sectors and proves something else"));
            };
            let numbers: Vec<_> = completed.sectors.iter().map(|(number, _)| *number).collect();
            match numbers == wanted.sectors && statement_digest(&statement) == wanted.digest {
                true => Ok(statement),
                false => Err(format!("{job} is about other sectors than its poster signed for")),
            }
        }
        other => Err(format!("{job} is posted by {other:?}")),
    }
}

impl Checker for JobsPayForProofs {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        self.posted.retain(|job, _| seen.before.job(*job).is_some());
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
