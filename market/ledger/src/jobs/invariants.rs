//! What must hold for proof jobs after every block.

use std::collections::{BTreeMap, BTreeSet};

use super::{JobDue, JobId, JobStatus, price_of};
use crate::invariants::{InvariantViolation, dangling};
use crate::queue::Due;
use crate::state::State;

impl State {
    /// What jobs and bids say is locked: escrow and bonds.
    pub(crate) fn locked_for_jobs(&self) -> (u128, u128) {
        let escrow = self.jobs.iter().map(|(_, job)| u128::from(job.escrow.0)).sum();
        let bids: u128 = self.job_bids.iter().map(|(_, bid)| u128::from(bid.bond.0)).sum();
        let working = self.jobs.iter().map(|(_, job)| u128::from(job.bond().0));
        (escrow, bids + working.sum::<u128>())
    }

    /// Every live job can pay what it may cost and waits for something; nothing is left of one that is over but its record.
    pub(crate) fn check_jobs(&self) -> Result<(), InvariantViolation> {
        let mut bids: BTreeMap<JobId, u32> = BTreeMap::new();
        for (&(job, _), _) in self.job_bids.iter() {
            *bids.entry(job).or_default() += 1;
        }
        let mut live = BTreeSet::new();
        for (id, job) in self.jobs() {
            if job.bids != bids.remove(&id).unwrap_or(0) {
                return Err(dangling(format!("{id} does not know how many bids it has")));
            }
            if !job.is_live() {
                if !job.escrow.is_zero() || job.bids > 0 {
                    return Err(dangling(format!("{id} is over and holds money or bids")));
                }
                continue;
            }
            live.insert(id);
            let most =
                price_of(job.terms.price_per_million_max, job.work).and_then(|p| p.checked_add(job.verification_fee));
            if most != Some(job.escrow) {
                return Err(dangling(format!("{id} has {} in escrow, may cost {most:?}", job.escrow)));
            }
            match job.status {
                JobStatus::Open { bids_close_at: Some(close) } if job.bids > 0 => {
                    self.queued(close.0, Due::Job(JobDue::Assign, id))?;
                }
                JobStatus::Open { bids_close_at: None } if job.bids == 0 => {
                    self.queued(job.bids_until.0, Due::Job(JobDue::BidsEnd, id))?;
                }
                JobStatus::Assigned { due, .. } if job.bids == 0 => self.queued(due.0, Due::Job(JobDue::Late, id))?,
                _ => return Err(dangling(format!("{id} has bids that do not fit its status"))),
            }
        }
        if let Some((job, _)) = bids.first_key_value() {
            return Err(dangling(format!("bids on {job}, which does not exist")));
        }
        if live != self.live_jobs.iter().map(|(id, ())| *id).collect() {
            return Err(dangling("the list of live jobs is not the jobs that are live".to_owned()));
        }
        Ok(())
    }
}
