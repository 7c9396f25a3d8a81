//! [`JobLedger`] over HTTP. What it answers equals what [`cairn_prover::AccountJobs`] answers beside a node.

use std::time::Duration;

use cairn_ledger::jobs::{JobBid, Worker};
use cairn_ledger::{Address, Command, Job, JobCommand, JobId, JobParams, TransactionId};
use cairn_protocol::Epoch;
use cairn_prover::JobLedger;
use cairn_rpc::{ClientError, wire};
use cairn_sealing::{LedgerClientError, SubmissionStatus};

use crate::{RemoteLedger, unavailable};

/// An account's seat at a remote ledger's proof jobs.
#[derive(Clone)]
pub struct JobSeat(RemoteLedger);

impl JobSeat {
    /// Acts with the key that `ledger` holds.
    pub fn new(ledger: RemoteLedger) -> Self {
        Self(ledger)
    }
}

/// The ledger's own record of a job.
fn record(job: Result<wire::Job, ClientError>) -> Result<(JobId, Job), LedgerClientError> {
    let job = job.map_err(unavailable)?;
    let record = job.to_record().map_err(|rejection| LedgerClientError::Unavailable {
        detail: format!("{} is of another version: {rejection}", job.id),
    })?;
    Ok((job.id, record))
}

impl JobLedger for JobSeat {
    fn account(&self) -> Address {
        self.0.address()
    }

    fn params(&self) -> Result<JobParams, LedgerClientError> {
        Ok(self.0.params()?.jobs)
    }

    fn head(&self) -> Result<Epoch, LedgerClientError> {
        Ok(self.0.client.head().map_err(unavailable)?.height)
    }

    fn wait_for(&self, epoch: Epoch, timeout: Duration) -> Result<Epoch, LedgerClientError> {
        Ok(self.0.client.wait_for_height(epoch, timeout).map_err(unavailable)?.height)
    }

    fn live_jobs(&self, from: JobId, limit: usize) -> Result<Vec<(JobId, Job)>, LedgerClientError> {
        self.0.client.jobs(from.0, true, None).take(limit).map(record).collect()
    }

    fn job(&self, job: JobId) -> Result<Option<Job>, LedgerClientError> {
        let job = self.0.client.job(job.0).map_err(unavailable)?;
        job.map(|job| record(Ok(job)).map(|(_, job)| job)).transpose()
    }

    fn own_bid(&self, job: JobId) -> Result<Option<JobBid>, LedgerClientError> {
        let own = self.account();
        for bid in self.0.client.job_bids(job.0) {
            match bid {
                Ok(bid) if bid.worker == own => {
                    return Ok(Some(JobBid { price_per_million: bid.price_per_million, bond: bid.bond }));
                }
                Ok(_) => {}
                Err(ClientError::Problem(problem)) if problem.code == cairn_rpc::ProblemCode::NotFound => break,
                Err(error) => return Err(unavailable(error)),
            }
        }
        Ok(None)
    }

    fn own_record(&self) -> Result<Worker, LedgerClientError> {
        let wire::Worker { proven, refused, late, constraints, .. } =
            self.0.client.worker(&self.account()).map_err(unavailable)?;
        Ok(Worker { proven, refused, late, constraints })
    }

    fn own_jobs(&self) -> Result<Vec<(JobId, Job)>, LedgerClientError> {
        self.0.client.jobs(0, false, Some(&self.account())).map(record).collect()
    }

    fn send(&self, command: JobCommand) -> Result<TransactionId, LedgerClientError> {
        let what = command.what();
        self.0.send(what, &Command::Job(command))
    }

    fn submission(&self, transaction: &TransactionId) -> Result<SubmissionStatus, LedgerClientError> {
        self.0.submission(transaction)
    }
}
