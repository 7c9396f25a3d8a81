//! SNARKs from the market: a [`SnarkProver`] that posts jobs and hands over what others proved.
//!
//! Asked for a proof, it looks at the account's own jobs about this statement, and does the next thing:
//!
//! 1. One is proven: the ledger has verified the proof and keeps it for a while. It is handed over, and the plain proof
//!    withdrawn.
//! 2. One is open or assigned: the plain proof is kept on the shelf, and the caller told to come back. A second one, which
//!    a crash between handing in and looking can leave, is cancelled while that is possible.
//! 3. None is live: one is posted, at the cap of the first round, or at a higher one for each round that ended without a
//!    proof. When the rounds are used up the prover at home has to do it, if there is one.
//!
//! The ledger itself is the memory, so a provider killed at any moment goes on with the job that it posted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cairn_compute::Workers;
use cairn_ledger::{
    CloseReason, Job, JobCommand, JobId, JobStatus, JobTerms, PorepStatement, ProofStatement, SectorJob,
    SectorUpdateStatement, TransactionId, WindowPostStatement, codec,
};
use cairn_protocol::{Amount, Epoch, ProviderId};
use cairn_sealing::{LedgerClientError, SnarkError, SnarkProver, SubmissionStatus};
use cairn_sector::porep::{self, PorepProof};
use cairn_sector::post::{PostProof, PostStatement};
use cairn_sector::update::{HSelect, UpdateProof, UpdateStatement};

use crate::job_ledger::JobLedger;
use crate::witness::{Published, WitnessShelf};

/// What a provider pays, and for how long it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketOptions {
    /// Most for each million constraints, in the first round.
    pub price_per_million_max: Amount,
    /// By how much the cap grows with each round, in percent.
    pub raise_percent: u32,
    /// Jobs about one statement that may end without a proof.
    pub rounds_max: u32,
    /// Epochs that a worker gets.
    pub prove_epochs: u64,
    /// Epochs from posting until a proof is of no use any more.
    pub life_epochs: u64,
    /// Least tier of a worker.
    pub tier_min: u8,
    /// Most sectors of a window proof that a posting lists with their commitments; more are named by number, which only
    /// their owner's account may do. A thousand take 40 kB of a transaction.
    pub listed_sectors_max: usize,
    /// Epochs between two looks at a job.
    pub look_epochs: u64,
    /// Epochs without an answer after which a posting counts as lost and is sent again.
    pub submission_patience: u64,
}

impl Default for MarketOptions {
    fn default() -> Self {
        Self {
            price_per_million_max: Amount(2_000),
            raise_percent: 50,
            rounds_max: 3,
            prove_epochs: 1_000,
            life_epochs: 6_000,
            tier_min: 0,
            listed_sectors_max: 1_000,
            look_epochs: 5,
            submission_patience: 30,
        }
    }
}

/// See the module.
pub struct MarketSnarks {
    options: MarketOptions,
    ledger: Arc<dyn JobLedger>,
    shelf: Arc<dyn WitnessShelf>,
    home: Option<Arc<dyn SnarkProver>>,
    /// Postings that are not on the ledger yet, by statement.
    sent: Mutex<BTreeMap<Vec<u8>, (TransactionId, Epoch)>>,
}

impl MarketSnarks {
    /// Posts through `ledger`, publishes on `shelf`, and proves with `home`, if there is one, what the market does not.
    pub fn new(
        options: MarketOptions,
        ledger: Arc<dyn JobLedger>,
        shelf: Arc<dyn WitnessShelf>,
        home: Option<Arc<dyn SnarkProver>>,
    ) -> Self {
        Self { options, ledger, shelf, home, sent: Mutex::default() }
    }

    fn sent(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, (TransactionId, Epoch)>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The proof, or when to ask again. `Ok(None)`: the market had its rounds.
    fn obtain(&self, statement: &ProofStatement, plain: &[u8]) -> Result<Option<Vec<u8>>, SnarkError> {
        let mut own = self.ledger.own_jobs().map_err(unavailable)?;
        own.retain(|(_, job)| job.terms.statement == *statement);
        let proven = own.iter().find_map(|(_, job)| match &job.status {
            JobStatus::Proven { proof, .. } => Some((proof.clone(), job.terms.witness)),
            _ => None,
        });
        if let Some((proof, witness)) = proven {
            self.forget(statement);
            if let Err(error) = self.shelf.withdraw(&witness) {
                tracing::warn!(%error, "a plain proof that is needed no more stays on its shelf");
            }
            return Ok(Some(proof));
        }
        let head = self.ledger.head().map_err(unavailable)?;
        let later = SnarkError::NotYet { until: Epoch(head.0.saturating_add(self.options.look_epochs.max(1))) };
        let live: Vec<_> = own.iter().filter(|(_, job)| job.is_live()).collect();
        if !live.is_empty() {
            self.forget(statement);
            self.publish(plain)?;
            self.cancel_others(&live);
            return Err(later);
        }
        if self.is_waiting(statement, head)? {
            return Err(later);
        }
        let ended = own.iter().filter(|(_, job)| counts_as_round(job)).count() as u32;
        if ended >= self.options.rounds_max {
            return Ok(None);
        }
        self.post(statement, plain, head, ended)?;
        Err(later)
    }

    fn forget(&self, statement: &ProofStatement) {
        self.sent().remove(&codec::encode(statement));
    }

    fn publish(&self, plain: &[u8]) -> Result<Published, SnarkError> {
        let published = self.shelf.publish(plain);
        published.map_err(|error| SnarkError::Unavailable { reason: format!("publishing the plain proof: {error}") })
    }

    /// Of several live jobs about one statement the first stays.
    fn cancel_others(&self, live: &[&(JobId, Job)]) {
        for (id, job) in live.iter().skip(1) {
            if matches!(job.status, JobStatus::Open { .. })
                && let Err(error) = self.ledger.send(JobCommand::Cancel { job: *id })
            {
                tracing::warn!(job = %id, %error, "a second job about one statement is not cancelled");
            }
        }
    }

    /// Whether a posting is on its way. One that the ledger refused is told, once.
    fn is_waiting(&self, statement: &ProofStatement, head: Epoch) -> Result<bool, SnarkError> {
        let key = codec::encode(statement);
        let Some((transaction, at)) = self.sent().get(&key).copied() else { return Ok(false) };
        match self.ledger.submission(&transaction).map_err(unavailable)? {
            SubmissionStatus::Pending | SubmissionStatus::Applied(_)
                if head.since(at) <= self.options.submission_patience =>
            {
                Ok(true)
            }
            SubmissionStatus::Failed(reason) => {
                self.sent().remove(&key);
                Err(SnarkError::Unavailable { reason: format!("the ledger refuses the proof job: {reason}") })
            }
            SubmissionStatus::Pending | SubmissionStatus::Applied(_) => {
                self.sent().remove(&key);
                Ok(false)
            }
        }
    }

    fn post(&self, statement: &ProofStatement, plain: &[u8], head: Epoch, round: u32) -> Result<(), SnarkError> {
        let Published { cid, url } = self.publish(plain)?;
        let options = &self.options;
        let price = raised(options.price_per_million_max, options.raise_percent, round);
        let terms = JobTerms {
            statement: statement.clone(),
            witness: cid,
            witness_bytes: plain.len() as u64,
            source_url: url,
            price_per_million_max: price,
            prove_epochs: options.prove_epochs,
            deadline: Epoch(head.0.saturating_add(options.life_epochs)),
            tier_min: options.tier_min,
        };
        let command = posting(terms, options.listed_sectors_max);
        let transaction = self.ledger.send(command).map_err(unavailable)?;
        tracing::info!(%transaction, price = price.0, round, "posted a proof job");
        self.sent().insert(codec::encode(statement), (transaction, head));
        Ok(())
    }
}

/// How these terms are posted: with all they are about, or, where that is too long, with sectors by number.
fn posting(terms: JobTerms, listed_sectors_max: usize) -> JobCommand {
    let provider = match &terms.statement {
        ProofStatement::WindowPost(statement) if statement.sectors.len() > listed_sectors_max => {
            ProviderId::of_prover(&statement.prover_id)
        }
        _ => None,
    };
    let by_number = provider.and_then(|provider| SectorJob::of(provider, terms.clone()));
    match by_number {
        Some(job) => JobCommand::PostSectors(Box::new(job)),
        None => JobCommand::Post(Box::new(terms)),
    }
}

fn unavailable(error: LedgerClientError) -> SnarkError {
    SnarkError::Unavailable { reason: error.to_string() }
}

/// A job that its poster cancelled says nothing about the market.
fn counts_as_round(job: &Job) -> bool {
    matches!(&job.status, JobStatus::Closed(closure) if closure.reason != CloseReason::JobCancelled)
}

/// A price that grows by a part of itself with each round; it stays where it no longer fits.
fn raised(price: Amount, percent: u32, rounds: u32) -> Amount {
    (0..rounds).fold(price, |price, _| price.mul_ratio(100 + u64::from(percent), 100).unwrap_or(price))
}

impl SnarkProver for MarketSnarks {
    fn prove_porep(
        &self,
        statement: &porep::PorepStatement,
        plain: &PorepProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        let asked = ProofStatement::Porep(of_porep(statement));
        match (self.obtain(&asked, &plain.to_bytes())?, &self.home) {
            (Some(proof), _) => Ok(proof),
            (None, Some(home)) => home.prove_porep(statement, plain, workers),
            (None, None) => Err(exhausted(self.options.rounds_max)),
        }
    }

    fn prove_window_post(
        &self,
        statement: &PostStatement,
        plain: &PostProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        let asked = ProofStatement::WindowPost(of_post(statement));
        match (self.obtain(&asked, &plain.to_bytes())?, &self.home) {
            (Some(proof), _) => Ok(proof),
            (None, Some(home)) => home.prove_window_post(statement, plain, workers),
            (None, None) => Err(exhausted(self.options.rounds_max)),
        }
    }

    fn prove_update(
        &self,
        statement: &UpdateStatement,
        plain: &UpdateProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        let asked = ProofStatement::SectorUpdate(of_update(statement)?);
        match (self.obtain(&asked, &plain.to_bytes())?, &self.home) {
            (Some(proof), _) => Ok(proof),
            (None, Some(home)) => home.prove_update(statement, plain, workers),
            (None, None) => Err(exhausted(self.options.rounds_max)),
        }
    }
}

fn exhausted(rounds: u32) -> SnarkError {
    SnarkError::Unavailable { reason: format!("{rounds} proof jobs ended without a proof; a higher price may help") }
}

/// A statement about replication in the ledger's words.
fn of_porep(statement: &porep::PorepStatement) -> PorepStatement {
    let identity = &statement.identity;
    PorepStatement {
        sector_size: identity.sector_size,
        seal_proof: identity.seal_proof,
        prover_id: identity.prover_id,
        sector_number: identity.sector_number,
        ticket: identity.ticket,
        seed: statement.seed,
        comm_d: statement.comm_d,
        comm_r: statement.comm_r,
    }
}

/// A statement about a partition in the ledger's words.
fn of_post(statement: &PostStatement) -> WindowPostStatement {
    WindowPostStatement {
        sector_size: statement.sector_size,
        prover_id: statement.prover_id,
        randomness: statement.randomness,
        sectors: statement.sectors.iter().map(|sector| (sector.sector_number, sector.comm_r)).collect(),
    }
}

/// An update in the ledger's words, which know the usual choice of h alone.
fn of_update(statement: &UpdateStatement) -> Result<SectorUpdateStatement, SnarkError> {
    let UpdateStatement { sector_size, h_select, comm_r_old, comm_d_new, comm_r_new } = *statement;
    if h_select != HSelect::default_of(sector_size) {
        let (got, usual) = (h_select.bits(sector_size), HSelect::default_of(sector_size).bits(sector_size));
        return Err(SnarkError::Refused { reason: format!("the ledger takes updates of h = {usual}, got h = {got}") });
    }
    Ok(SectorUpdateStatement { sector_size, comm_r_old, comm_d_new, comm_r_new })
}

/// Window PoSts at home, proofs of replication and of updates from the market: what a provider with a small prover wants,
/// since a window PoSt cannot wait.
pub struct SplitSnarks {
    /// Who proves replication and updates.
    pub porep: Arc<dyn SnarkProver>,
    /// Who proves spacetime.
    pub window_post: Arc<dyn SnarkProver>,
}

impl SnarkProver for SplitSnarks {
    fn prove_porep(
        &self,
        statement: &porep::PorepStatement,
        plain: &PorepProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        self.porep.prove_porep(statement, plain, workers)
    }

    fn prove_window_post(
        &self,
        statement: &PostStatement,
        plain: &PostProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        self.window_post.prove_window_post(statement, plain, workers)
    }

    fn prove_update(
        &self,
        statement: &UpdateStatement,
        plain: &UpdateProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        self.porep.prove_update(statement, plain, workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_sectors_are_posted_by_number() {
        let provider = ProviderId(1_000);
        let sectors = (0..3).map(|n| (cairn_protocol::SectorNumber(n), cairn_protocol::CommR([1; 32]))).collect();
        let mut statement = WindowPostStatement {
            sector_size: cairn_protocol::SectorSize::KIB2,
            prover_id: provider.prover_id(),
            randomness: Default::default(),
            sectors,
        };
        let posted = |statement: &WindowPostStatement, listed_sectors_max| {
            let terms = JobTerms {
                statement: ProofStatement::WindowPost(statement.clone()),
                witness: TransactionId([5; 32]).cid(),
                witness_bytes: 1,
                source_url: "http://poster.test/".to_owned(),
                price_per_million_max: Amount(1),
                prove_epochs: 1,
                deadline: Epoch(1),
                tier_min: 0,
            };
            posting(terms, listed_sectors_max)
        };
        assert!(matches!(posted(&statement, 3), JobCommand::Post(_)));
        assert!(matches!(posted(&statement, 2), JobCommand::PostSectors(job) if job.provider == provider));
        statement.prover_id.0 = [0xff; 32];
        assert!(matches!(posted(&statement, 2), JobCommand::Post(_)), "no provider that the ledger could ask");
    }

    #[test]
    fn each_round_offers_more_and_never_overflows() {
        assert_eq!(raised(Amount(100), 50, 0), Amount(100));
        assert_eq!(raised(Amount(100), 50, 2), Amount(225));
        assert_eq!(raised(Amount(u64::MAX), 50, 3), Amount(u64::MAX));
    }
}
