//! Proof jobs: somebody posts them, workers prove them, not all of them well.

use cairn_ledger::{Command, JobCommand, JobId, JobStatus, JobTerms, PorepStatement, ProofStatement, TransactionId};
use cairn_protocol::{Amount, CommD, CommR, Epoch, ProviderId, SealProof, SectorNumber, SectorSize, Seed, Ticket};

use super::Actor;
use crate::random::Random;
use crate::world::{AccountIndex, Offers, View, true_proof_of_any};

/// Pays for proofs.
pub struct JobPoster {
    account: AccountIndex,
}

impl JobPoster {
    pub(super) fn new(account: AccountIndex) -> Self {
        Self { account }
    }

    fn statement(random: &mut Random) -> ProofStatement {
        ProofStatement::Porep(PorepStatement {
            sector_size: SectorSize::KIB2,
            seal_proof: SealProof::V1_1,
            prover_id: ProviderId(1_000).prover_id(),
            sector_number: SectorNumber(random.below(1 << 20)),
            ticket: Ticket([1; 32]),
            seed: Seed([2; 32]),
            comm_d: CommD([3; 32]),
            comm_r: CommR([4; 32]),
        })
    }
}

/// Terms of a job about `statement` that leave at least `prove_epochs`, and some time for others after a failure.
pub(super) fn terms(statement: ProofStatement, prove_epochs: u64, view: &View<'_>, random: &mut Random) -> JobTerms {
    let least = view.params().jobs.bid_window + prove_epochs;
    JobTerms {
        statement,
        witness: TransactionId(random.bytes32()).cid(),
        witness_bytes: 1_000,
        source_url: "http://poster.test/".to_owned(),
        price_per_million_max: Amount(random.below(50_000)),
        prove_epochs,
        deadline: Epoch(view.next_epoch().0 + least + random.below(60)),
        tier_min: 0,
    }
}

impl Actor for JobPoster {
    fn name(&self) -> &str {
        "job-poster"
    }

    fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        if random.chance(150) {
            let (statement, prove_epochs) = (Self::statement(random), random.between(2, 15));
            let terms = Box::new(terms(statement, prove_epochs, view, random));
            offers.command(self.account, Command::Job(JobCommand::Post(terms)));
        }
        if random.chance(20)
            && let Some((job, _)) = view.state.live_jobs_from(JobId(0)).next()
        {
            offers.command(self.account, Command::Job(JobCommand::Cancel { job }));
        }
    }
}

/// Proves for money.
pub struct JobWorker {
    name: &'static str,
    account: AccountIndex,
    /// How often it sends something else than a proof, or gives up, in thousandths.
    fails: u64,
}

impl JobWorker {
    pub(super) fn new(name: &'static str, account: AccountIndex, fails: u64) -> Self {
        Self { name, account, fails }
    }
}

impl Actor for JobWorker {
    fn name(&self) -> &str {
        self.name
    }

    fn act(&mut self, view: &View<'_>, random: &mut Random, offers: &mut Offers<'_>) {
        let own = view.keys[self.account].address;
        for (job, record) in view.state.live_jobs_from(JobId(0)) {
            let wanted = match &record.status {
                JobStatus::Open { .. } if random.chance(150) => {
                    let price_per_million = Amount(random.between(0, record.terms.price_per_million_max.0));
                    JobCommand::Bid { job, price_per_million }
                }
                JobStatus::Assigned { worker, .. } if *worker == own && random.chance(250) => {
                    let proof = true_proof_of_any(&record.terms.statement);
                    match (random.chance(self.fails), random.chance(500)) {
                        (true, true) => JobCommand::Submit { job, proof: random.bytes32().to_vec() },
                        (true, false) => JobCommand::GiveUp { job },
                        (false, _) => JobCommand::Submit { job, proof },
                    }
                }
                _ => continue,
            };
            offers.command(self.account, Command::Job(wanted));
        }
    }
}
