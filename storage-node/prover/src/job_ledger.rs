//! The ledger's proof jobs, as one account sees them.

use std::time::Duration;

use cairn_ledger::jobs::{JobBid, Worker as WorkerRecord};
use cairn_ledger::{Address, Command, Job, JobCommand, JobId, JobParams, Outcome, TransactionId, address_of};
use cairn_protocol::Epoch;
use cairn_sealing::{LedgerClientError, LedgerPort, PortRejection, SubmissionStatus};
use ed25519_consensus::SigningKey;

/// What posters and workers ask of a ledger. Blocking; one account.
pub trait JobLedger: Send + Sync {
    /// The account that acts.
    fn account(&self) -> Address;

    /// The network's numbers.
    ///
    /// # Errors
    /// [`LedgerClientError`], here and below.
    fn params(&self) -> Result<JobParams, LedgerClientError>;

    /// Epoch of the last block.
    ///
    /// # Errors
    /// See [`JobLedger::params`].
    fn head(&self) -> Result<Epoch, LedgerClientError>;

    /// Waits until the head is `epoch` or `timeout` has passed; returns the head.
    ///
    /// # Errors
    /// See [`JobLedger::params`]. A timeout is no error.
    fn wait_for(&self, epoch: Epoch, timeout: Duration) -> Result<Epoch, LedgerClientError>;

    /// At most `limit` jobs from `from` on that are not over, by number.
    ///
    /// # Errors
    /// See [`JobLedger::params`].
    fn live_jobs(&self, from: JobId, limit: usize) -> Result<Vec<(JobId, Job)>, LedgerClientError>;

    /// A job, unless it is forgotten.
    ///
    /// # Errors
    /// See [`JobLedger::params`].
    fn job(&self, job: JobId) -> Result<Option<Job>, LedgerClientError>;

    /// The account's bid on an open job.
    ///
    /// # Errors
    /// See [`JobLedger::params`].
    fn own_bid(&self, job: JobId) -> Result<Option<JobBid>, LedgerClientError>;

    /// What the account proved for others.
    ///
    /// # Errors
    /// See [`JobLedger::params`].
    fn own_record(&self) -> Result<WorkerRecord, LedgerClientError>;

    /// Jobs that the account posted and that are not forgotten, by number.
    ///
    /// # Errors
    /// See [`JobLedger::params`].
    fn own_jobs(&self) -> Result<Vec<(JobId, Job)>, LedgerClientError>;

    /// Signs and hands in a command.
    ///
    /// # Errors
    /// See [`JobLedger::params`].
    fn send(&self, command: JobCommand) -> Result<TransactionId, LedgerClientError>;

    /// What became of a transaction.
    ///
    /// # Errors
    /// See [`JobLedger::params`].
    fn submission(&self, transaction: &TransactionId) -> Result<SubmissionStatus, LedgerClientError>;
}

/// [`JobLedger`] over a node in this process.
pub struct AccountJobs<P> {
    port: P,
    key: SigningKey,
}

impl<P: LedgerPort> AccountJobs<P> {
    /// Acts with `key`.
    pub fn new(port: P, key: SigningKey) -> Self {
        Self { port, key }
    }
}

impl<P: LedgerPort> JobLedger for AccountJobs<P> {
    fn account(&self) -> Address {
        address_of(&self.key)
    }

    fn params(&self) -> Result<JobParams, LedgerClientError> {
        Ok(self.port.state().params().jobs.clone())
    }

    fn head(&self) -> Result<Epoch, LedgerClientError> {
        Ok(self.port.state().epoch())
    }

    fn wait_for(&self, epoch: Epoch, timeout: Duration) -> Result<Epoch, LedgerClientError> {
        Ok(self.port.wait_for_height(epoch, timeout))
    }

    fn live_jobs(&self, from: JobId, limit: usize) -> Result<Vec<(JobId, Job)>, LedgerClientError> {
        Ok(self.port.state().live_jobs_from(from).take(limit).map(|(id, job)| (id, job.clone())).collect())
    }

    fn job(&self, job: JobId) -> Result<Option<Job>, LedgerClientError> {
        Ok(self.port.state().job(job).cloned())
    }

    fn own_bid(&self, job: JobId) -> Result<Option<JobBid>, LedgerClientError> {
        Ok(self.port.state().job_bid(job, self.account()).copied())
    }

    fn own_record(&self) -> Result<WorkerRecord, LedgerClientError> {
        Ok(self.port.state().worker(self.account()))
    }

    fn own_jobs(&self) -> Result<Vec<(JobId, Job)>, LedgerClientError> {
        let (state, account) = (self.port.state(), self.account());
        let own = state.jobs().filter(|(_, job)| job.poster == account);
        Ok(own.map(|(id, job)| (id, job.clone())).collect())
    }

    fn send(&self, command: JobCommand) -> Result<TransactionId, LedgerClientError> {
        let what = command.what();
        self.port.submit_command(&self.key, Command::Job(command)).map_err(|rejection| match rejection {
            PortRejection::Busy(detail) => LedgerClientError::Unavailable { detail },
            other => LedgerClientError::Refused { what, reason: other.to_string() },
        })
    }

    fn submission(&self, transaction: &TransactionId) -> Result<SubmissionStatus, LedgerClientError> {
        let receipt = self.port.receipt(transaction).map_err(|detail| LedgerClientError::Unavailable { detail })?;
        Ok(match receipt {
            None => SubmissionStatus::Pending,
            Some(receipt) => match receipt.outcome {
                Outcome::Applied => SubmissionStatus::Applied(receipt.epoch),
                Outcome::Failed(rejection) => SubmissionStatus::Failed(rejection.to_string()),
                Outcome::Refused(rejection) => SubmissionStatus::Failed(rejection.to_string()),
            },
        })
    }
}
