//! Proof jobs on the ledger: the rules are in [`crate::jobs`], here they act.
//!
//! Whatever waits has a queue entry: an open job the end of its bids, a job with a bid its assignment, an assigned one its
//! due epoch, an ended one the day it is forgotten. An entry that finds the job elsewhere does nothing.

use cairn_protocol::{Amount, Epoch};

use super::providers::check_url;
use super::{Step, in_range};
use crate::close::{CloseReason, Closure};
use crate::event::Event;
use crate::ids::Address;
use crate::jobs::{Job, JobBid, JobCommand, JobDue, JobEvent, JobId, JobRejection, JobStatus, JobTerms};
use crate::jobs::{Worker, WorkerFailure, price_of};
use crate::queue::Due;
use crate::randomness;
use crate::rejection::Rejection;
use crate::treasury::Pot;

/// The worker of an assigned job.
struct Assignment {
    worker: Address,
    price: Amount,
    bond: Amount,
}

impl Step<'_> {
    pub(super) fn carry_out_job(&mut self, command: &JobCommand) -> Result<(), Rejection> {
        match command {
            JobCommand::Post(terms) => self.post_job(terms),
            JobCommand::PostSectors(job) => {
                self.owned_provider(job.provider)?;
                let terms = self.state.complete_job(job)?;
                self.post_job(&terms)
            }
            JobCommand::Cancel { job } => self.cancel_job(*job),
            JobCommand::Bid { job, price_per_million } => self.bid_on_job(*job, *price_per_million),
            JobCommand::Submit { job, proof } => self.submit_job_proof(*job, proof),
            JobCommand::GiveUp { job } => {
                let (record, assignment) = self.assigned_job(*job)?;
                self.fail_worker(*job, record, assignment, WorkerFailure::GaveUp);
                Ok(())
            }
        }
    }

    fn tell(&mut self, event: JobEvent) {
        self.emit(Event::Job(event));
    }

    fn known_job(&self, job: JobId) -> Result<Job, Rejection> {
        Ok(self.state.job(job).cloned().ok_or(JobRejection::Unknown { job })?)
    }

    fn post_job(&mut self, terms: &JobTerms) -> Result<(), Rejection> {
        let (work, verification_fee) = self.state.job_work(&terms.statement)?;
        let params = &self.state.meta.params.jobs;
        in_range("prove_epochs", terms.prove_epochs, 1, params.prove_epochs_max)?;
        in_range("witness_bytes", terms.witness_bytes, 1, params.witness_bytes_max)?;
        in_range("tier_min", terms.tier_min.into(), 0, params.tiers.len() as u64)?;
        check_url("source_url", &terms.source_url)?;
        let (now, least) = (self.now(), params.bid_window + terms.prove_epochs);
        in_range("epochs to the deadline", terms.deadline.since(now), least, params.life_max)?;
        let overflow = || Rejection::Overflow { what: "price cap x work".to_owned() };
        let most = price_of(terms.price_per_million_max, work).ok_or_else(overflow)?;
        let escrow = most.checked_add(verification_fee).ok_or_else(overflow)?;
        self.state.lock(self.sender, Pot::JobEscrow, escrow)?;

        let job = JobId(self.state.meta.next_job);
        self.state.meta.next_job += 1;
        let bids_until = Epoch(terms.deadline.0 - least + 1);
        let record = Job {
            poster: self.sender,
            terms: terms.clone(),
            work,
            escrow,
            verification_fee,
            posted_at: now,
            bids_until,
            failed: Vec::new(),
            bids: 0,
            status: JobStatus::Open { bids_close_at: None },
        };
        self.state.jobs.insert(job, record);
        self.state.live_jobs.insert(job, ());
        self.state.schedule(bids_until, Due::Job(JobDue::BidsEnd, job));
        self.tell(JobEvent::Posted { job, poster: self.sender, work, escrow });
        Ok(())
    }

    fn cancel_job(&mut self, job: JobId) -> Result<(), Rejection> {
        let record = self.known_job(job)?;
        if record.poster != self.sender {
            return Err(JobRejection::NotPoster { job, poster: record.poster }.into());
        }
        if !matches!(record.status, JobStatus::Open { .. }) {
            return Err(JobRejection::NotOpen { job }.into());
        }
        let bidders: Vec<Address> = self.state.job_bids_on(job).map(|(worker, _)| worker).collect();
        for worker in bidders {
            self.return_job_bid(job, worker);
        }
        self.close_job(job, record, CloseReason::JobCancelled);
        Ok(())
    }

    fn bid_on_job(&mut self, job: JobId, price_per_million: Amount) -> Result<(), Rejection> {
        let mut record = self.known_job(job)?;
        self.check_job_bid(job, &record, price_per_million)?;
        let (worker, params) = (self.sender, &self.state.meta.params.jobs);
        let (bond, window) = (params.bond_of(record.work), params.bid_window);
        self.state.lock(worker, Pot::JobBonds, bond)?;
        if let JobStatus::Open { bids_close_at: close @ None } = &mut record.status {
            let at = self.later(self.now(), window);
            *close = Some(at);
            self.state.schedule(at, Due::Job(JobDue::Assign, job));
        }
        record.bids += 1;
        self.state.jobs.insert(job, record);
        self.state.job_bids.insert((job, worker), JobBid { price_per_million, bond });
        self.tell(JobEvent::BidPlaced { job, worker, price_per_million });
        Ok(())
    }

    fn check_job_bid(&self, job: JobId, record: &Job, got: Amount) -> Result<(), JobRejection> {
        let (worker, params) = (self.sender, &self.state.meta.params.jobs);
        if !record.takes_bids_at(self.now()) {
            return Err(JobRejection::NotOpen { job });
        }
        let cap = record.terms.price_per_million_max;
        if got > cap {
            return Err(JobRejection::PriceAboveCap { cap, got });
        }
        if record.failed.contains(&worker) {
            return Err(JobRejection::FailedBefore { job, worker });
        }
        let (needed, got) = (record.terms.tier_min, self.state.worker(worker).tier(&params.tiers));
        if got < needed {
            return Err(JobRejection::TierTooLow { job, worker, needed, got });
        }
        if self.state.job_bid(job, worker).is_some() {
            return Err(JobRejection::DuplicateBid { job, worker });
        }
        if record.bids >= params.bids_max {
            return Err(JobRejection::TooManyBids { job, limit: params.bids_max });
        }
        Ok(())
    }

    /// The bid is over and its bond back with the bidder.
    fn return_job_bid(&mut self, job: JobId, worker: Address) {
        let bid = self.state.job_bid(job, worker).copied().expect("called for bids that are there");
        self.state.job_bids.remove(&(job, worker));
        self.state.release(Pot::JobBonds, worker, bid.bond);
        self.tell(JobEvent::BidReturned { job, worker, bond: bid.bond });
    }

    /// Does what is due for a job; returns its weight.
    pub(super) fn process_job_due(&mut self, due_at: Epoch, due: JobDue, job: JobId) -> u64 {
        let Some(record) = self.state.job(job).cloned() else { return 1 };
        record.terms.statement.listed_sectors() + self.carry_out_job_due(due_at, due, job, record)
    }

    fn carry_out_job_due(&mut self, due_at: Epoch, due: JobDue, job: JobId, record: Job) -> u64 {
        match (due, &record.status) {
            (JobDue::Assign, JobStatus::Open { bids_close_at: Some(close) }) if *close == due_at => {
                self.assign_job(job, record)
            }
            (JobDue::Late, &JobStatus::Assigned { worker, price, bond, due }) if due == due_at => {
                self.fail_worker(job, record, Assignment { worker, price, bond }, WorkerFailure::Late);
                1
            }
            (JobDue::BidsEnd, JobStatus::Open { bids_close_at: None }) => {
                self.close_job(job, record, CloseReason::JobExpired);
                1
            }
            (JobDue::Forget, JobStatus::Proven { .. } | JobStatus::Closed(_)) => {
                self.state.jobs.remove(&job);
                1
            }
            _ => 1,
        }
    }

    /// The cheapest bid wins, equal ones are drawn; the other bonds return.
    fn assign_job(&mut self, job: JobId, mut record: Job) -> u64 {
        let now = self.now();
        let beacon = self.state.beacon(now).expect("the beacon of the block's own epoch is recorded first");
        let draw = |worker| randomness::job_tie_break(beacon, now, job, worker);
        let ranked = self.state.job_bids_on(job).map(|(who, bid)| (bid.price_per_million, draw(who), who));
        let (per_million, _, worker) = ranked.min().expect("a bid window opens with a bid");
        let losers: Vec<Address> =
            self.state.job_bids_on(job).map(|(who, _)| who).filter(|who| *who != worker).collect();
        for &loser in &losers {
            self.return_job_bid(job, loser);
        }
        let bid = self.state.job_bid(job, worker).copied().expect("the winner's bid is there");
        self.state.job_bids.remove(&(job, worker));
        let price = price_of(per_million, record.work).expect("a bid is at most the cap that the escrow was made of");
        let due = self.later(now, record.terms.prove_epochs);
        record.bids = 0;
        record.status = JobStatus::Assigned { worker, price, bond: bid.bond, due };
        self.state.jobs.insert(job, record);
        self.state.schedule(due, Due::Job(JobDue::Late, job));
        self.tell(JobEvent::Assigned { job, worker, price, bond: bid.bond, due });
        1 + losers.len() as u64
    }

    /// The job, if the sender is to prove it and its time is not over.
    fn assigned_job(&self, job: JobId) -> Result<(Job, Assignment), Rejection> {
        let record = self.known_job(job)?;
        match record.status {
            JobStatus::Assigned { worker, price, bond, due } if worker == self.sender && self.now() < due => {
                Ok((record, Assignment { worker, price, bond }))
            }
            _ => Err(JobRejection::NotAssigned { job, worker: self.sender }.into()),
        }
    }

    /// What the sender's proof of the job must show, if it would be taken now.
    pub(super) fn job_to_prove(&self, job: JobId) -> Option<crate::proof::ProofStatement> {
        self.assigned_job(job).ok().map(|(record, _)| record.terms.statement)
    }

    fn submit_job_proof(&mut self, job: JobId, proof: &[u8]) -> Result<(), Rejection> {
        let (record, assignment) = self.assigned_job(job)?;
        match self.verdict(record.terms.statement.clone(), proof) {
            Ok(()) => self.pay_worker(job, record, assignment, proof),
            Err(refused) => {
                let failure = WorkerFailure::Refused { reason: refused.reason };
                self.fail_worker(job, record, assignment, failure);
            }
        }
        Ok(())
    }

    fn pay_worker(&mut self, job: JobId, mut record: Job, assignment: Assignment, proof: &[u8]) {
        let Assignment { worker, price: paid, bond } = assignment;
        let (escrow, fee) = (std::mem::take(&mut record.escrow), record.verification_fee);
        let rest = paid.checked_add(fee).and_then(|spent| escrow.checked_sub(spent));
        let refunded = rest.expect("escrow covers the cap and the fee");
        self.state.burn(Pot::JobEscrow, fee);
        self.state.release(Pot::JobEscrow, worker, paid);
        self.state.release(Pot::JobEscrow, record.poster, refunded);
        self.state.release(Pot::JobBonds, worker, bond);
        if worker != record.poster {
            let work = record.work;
            self.note(worker, |past| {
                past.proven += 1;
                past.constraints = past.constraints.saturating_add(work);
            });
        }
        record.status = JobStatus::Proven { worker, paid, proof: proof.to_vec(), epoch: self.now() };
        self.end_job(job, record);
        self.tell(JobEvent::Proven { job, worker, paid, fee, refunded });
    }

    /// A part of the bond is burnt; the job is open again, or over.
    fn fail_worker(&mut self, job: JobId, mut record: Job, assignment: Assignment, failure: WorkerFailure) {
        let (worker, params) = (assignment.worker, &self.state.meta.params.jobs);
        let percent = match failure {
            WorkerFailure::Refused { .. } => params.slash_refused_percent,
            WorkerFailure::Late | WorkerFailure::GaveUp => params.slash_late_percent,
        };
        let attempts_max = params.attempts_max as usize;
        let slashed = assignment.bond.mul_ratio(percent.into(), 100).expect("a part fits");
        let returned = assignment.bond.checked_sub(slashed).expect("a part is at most the whole");
        self.state.burn(Pot::JobBonds, slashed);
        self.state.release(Pot::JobBonds, worker, returned);
        self.note(worker, |past| match failure {
            WorkerFailure::Refused { .. } => past.refused += 1,
            WorkerFailure::Late | WorkerFailure::GaveUp => past.late += 1,
        });
        self.tell(JobEvent::WorkerFailed { job, worker, failure, slashed, returned });
        record.failed.push(worker);
        if record.failed.len() >= attempts_max {
            return self.close_job(job, record, CloseReason::JobFailed);
        }
        if self.now() >= record.bids_until {
            return self.close_job(job, record, CloseReason::JobExpired);
        }
        let attempts = record.failed.len() as u32;
        record.status = JobStatus::Open { bids_close_at: None };
        self.state.jobs.insert(job, record);
        self.tell(JobEvent::Relisted { job, attempts });
    }

    fn note(&mut self, worker: Address, change: impl FnOnce(&mut Worker)) {
        let mut past = self.state.worker(worker);
        change(&mut past);
        self.state.workers.insert(worker, past);
    }

    /// Ends a job without a proof; its escrow returns.
    fn close_job(&mut self, job: JobId, mut record: Job, reason: CloseReason) {
        let refunded = std::mem::take(&mut record.escrow);
        self.state.release(Pot::JobEscrow, record.poster, refunded);
        let closure = Closure::new(reason, self.now());
        record.status = JobStatus::Closed(closure.clone());
        self.end_job(job, record);
        self.tell(JobEvent::Closed { job, refunded, closure });
    }

    fn end_job(&mut self, job: JobId, mut record: Job) {
        record.bids = 0;
        self.state.jobs.insert(job, record);
        self.state.live_jobs.remove(&job);
        self.state.schedule(self.retained_until(), Due::Job(JobDue::Forget, job));
    }
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
