//! Workers against a real ledger and a real gateway.

mod town;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_compute::Workers;
use cairn_ledger::jobs::{JobBid, Worker as WorkerRecord};
use cairn_ledger::{
    Address, Job, JobCommand, JobId, JobParams, JobStatus, PorepStatement, ProofRejection, ProofStatement,
    ProofVerifier, SectorUpdateStatement, TransactionId, WindowPostStatement,
};
use cairn_protocol::{Amount, CommD, Epoch, PieceInfo, SectorSize};
use cairn_prover::*;
use cairn_sealing::verifier::to_update_statement;
use cairn_sealing::{
    Groth16ProofVerifier, LedgerClientError, NetworkCircuits, SnarkError, SnarkProver, SubmissionStatus,
};
use cairn_sector::porep::{self, PorepProof};
use cairn_sector::post::{PostProof, PostStatement};
use cairn_sector::update::{UpdateProof, UpdateStatement};
use cairn_snark::engine::Engine;
use cairn_snark::groth16::{Blinding, Circuit, KeyStore, Secrets, Trust};
use cairn_snark::proving::{CircuitProver, make_development_params};
use cairn_snark::verifying::Verifier as SnarkVerifier;
use town::*;

const WORKER: u8 = 2;

fn is_proven(job: &Job) -> bool {
    matches!(job.status, JobStatus::Proven { .. })
}

/// Spacetime for real: fetched by CID, proven with Groth16, verified by the ledger, paid in the same step.
#[test]
fn a_window_post_is_proven_for_another_and_paid_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::open(dir.path());
    let (statement, plain) = window_post();
    let job = town.post(statement, &plain, |_| {});
    let mut worker = Worker::open(town.worker_parts(WORKER, town.prover(true))).unwrap();
    let sum = town.work_until(&mut worker, job, is_proven);
    assert_eq!((sum.bids, sum.proven, sum.submitted), (1, 1, 1));
    assert_eq!(worker.step().unwrap(), WorkerTurn { paid: 1, ..WorkerTurn::default() });
    let JobStatus::Proven { proof, paid, .. } = town.state().job(job).unwrap().status.clone() else { unreachable!() };
    // 21,866 constraints at 1,000 for each million.
    assert_eq!((proof.len(), paid), (192, Amount(22)));
    assert_eq!(town.balance(WORKER), FUNDS + 22 - 2 * town.fee());
    let verification = town.state().params().jobs.verification_fee.0;
    assert_eq!(town.balance(POSTER), FUNDS - 22 - verification - town.fee());
    assert!(std::fs::read_dir(dir.path().join("worker-2")).unwrap().next().is_none(), "nothing is left in hand");
}

/// Who has no parameters of updates leaves the job to who has; a plain proof of something else gets no bid.
#[test]
fn an_update_is_proven_for_another_by_who_can() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::open(dir.path());
    let (statement, plain) = sector_update(dir.path());
    let mut parts = town.worker_parts(3, town.prover(false));
    parts.circuits = NetworkCircuits::from(SectorSize::KIB2).of_jobs();
    let mut other = Worker::open(parts).unwrap();
    let mut worker = Worker::open(town.worker_parts(WORKER, town.prover(false))).unwrap();
    town.post(statement.clone(), &porep().1, |_| {});
    assert_eq!(worker.step().unwrap().bids, 0);
    let job = town.post(statement, &plain, |_| {});
    assert_eq!(other.step().unwrap(), WorkerTurn::default());
    let sum = town.work_until(&mut worker, job, is_proven);
    assert_eq!((sum.bids, sum.proven, sum.submitted), (1, 1, 1));
    // 1,705,039 constraints at 1,000 for each million.
    let JobStatus::Proven { paid, .. } = town.state().job(job).unwrap().status else { unreachable!() };
    assert_eq!(paid, Amount(1_706));
    assert_eq!(town.balance(WORKER), FUNDS + 1_706 - 2 * town.fee());
}

/// Updates under a key of our own; everything else as in [`RealPosts`](real_posts::RealPosts).
struct RealUpdates {
    others: real_posts::RealPostVerifier,
    updates: Groth16ProofVerifier,
}

impl ProofVerifier for RealUpdates {
    fn comm_d(&self, size: SectorSize, pieces: &[PieceInfo]) -> Result<CommD, ProofRejection> {
        self.others.comm_d(size, pieces)
    }

    fn verify_porep(&self, statement: &PorepStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        self.others.verify_porep(statement, proof)
    }

    fn verify_window_post(&self, statement: &WindowPostStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        self.others.verify_window_post(statement, proof)
    }

    fn verify_sector_update(&self, statement: &SectorUpdateStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        self.updates.verify_sector_update(statement, proof)
    }
}

/// Makes them.
struct Updater(CircuitProver);

impl SnarkProver for Updater {
    fn prove_porep(&self, _: &porep::PorepStatement, _: &PorepProof, _: &Workers) -> Result<Vec<u8>, SnarkError> {
        panic!("nobody asked for it")
    }

    fn prove_window_post(&self, _: &PostStatement, _: &PostProof, _: &Workers) -> Result<Vec<u8>, SnarkError> {
        panic!("nobody asked for it")
    }

    fn prove_update(
        &self,
        statement: &UpdateStatement,
        plain: &UpdateProof,
        workers: &Workers,
    ) -> Result<Vec<u8>, SnarkError> {
        Ok(self.0.prove_update(statement, plain, &mut || Blinding::from_bytes(&[9; 128]), workers)?)
    }
}

/// An update for real: asked for by its provider, fetched by CID, proven with Groth16 under development parameters, verified
/// by the ledger, paid, and handed over.
#[test]
#[ignore = "slow: sets up and proves 1.7 million constraints"]
fn an_update_is_proven_with_groth16_for_another() {
    let (dir, workers) = (tempfile::tempdir().unwrap(), Workers::new(2).unwrap());
    let (store, circuit) =
        (KeyStore::new(dir.path(), dir.path(), Trust::Development), Circuit::Update(SectorSize::KIB2));
    make_development_params(
        &store,
        circuit,
        Secrets::from_bytes(&std::array::from_fn(|index| (index * 7 + 1) as u8)),
        &workers,
        &|_, _| {},
    )
    .unwrap();
    let verifier = SnarkVerifier::open(&store, [circuit], &workers).unwrap();
    let others = real_posts::RealPostVerifier::open(dir.path(), workers.clone());
    let updates = Groth16ProofVerifier::new(verifier, [circuit], workers.clone());
    let town = Town::with_verifier(dir.path(), Arc::new(RealUpdates { others, updates }));

    let (ProofStatement::SectorUpdate(statement), plain) = sector_update(dir.path()) else { unreachable!() };
    let (asked, plain) = (to_update_statement(&statement), UpdateProof::from_bytes(&plain).unwrap());
    let provider = MarketSnarks::new(MarketOptions::default(), town.ledger_of(POSTER), town.shelf(), None);
    assert!(matches!(provider.prove_update(&asked, &plain, &workers), Err(SnarkError::NotYet { .. })));
    town.block();
    let prover = CircuitProver::open(&store, circuit, Engine::Auto, &workers, &|_, _| {}).unwrap();
    let mut worker = Worker::open(town.worker_parts(WORKER, Arc::new(Updater(prover)))).unwrap();
    town.work_until(&mut worker, JobId(1), is_proven);
    let proof = provider.prove_update(&asked, &plain, &workers).unwrap();
    assert_eq!((proof.len(), town.verifier.verify_sector_update(&statement, &proof)), (192, Ok(())));
}

/// What a bad plain proof, or none, costs a worker: nothing.
#[test]
fn a_plain_proof_that_does_not_hold_gets_no_bid() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::open(dir.path());
    let ((statement, plain), (_, other)) = (porep(), window_post());
    let mut damaged = plain.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    town.post(statement.clone(), &damaged, |_| {});
    town.post(statement.clone(), &other, |_| {});
    town.post(statement.clone(), &plain, |terms| terms.witness_bytes += 1);
    town.post(statement.clone(), &plain, |terms| terms.source_url = "http://127.0.0.1:1/".to_owned());
    town.post(statement, &plain, |terms| terms.source_url = "https://exotic.test:x/".to_owned());
    let declined = Arc::new(Mutex::new(vec![]));
    let mut parts = town.worker_parts(WORKER, town.prover(false));
    let told = declined.clone();
    parts.observer = Box::new(move |event| told.lock().unwrap().push(event.clone()));
    let mut worker = Worker::open(parts).unwrap();
    for _ in 0..3 {
        assert_eq!(worker.step().unwrap(), WorkerTurn::default());
        town.block();
    }
    let declined = declined.lock().unwrap();
    let reasons: Vec<_> = declined
        .iter()
        .map(|event| match event {
            WorkerEvent::Declined { job, reason } => (job.0, reason.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(reasons.len(), 5, "each is looked at once: {reasons:?}");
    assert!(reasons[0].1.contains("does not hold") && reasons[1].1.contains("does not hold"), "{reasons:?}");
    assert!(reasons[2].1.contains("bytes, got"), "{reasons:?}");
    assert_eq!(town.balance(WORKER), FUNDS);
}

/// What the operator does not want is not even fetched.
#[test]
fn jobs_outside_the_operators_limits_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::open(dir.path());
    let (statement, plain) = porep();
    town.post(statement.clone(), &plain, |terms| terms.price_per_million_max = Amount(999));
    town.post(statement.clone(), &plain, |terms| terms.prove_epochs = 9);
    town.post(statement, &plain, |terms| terms.tier_min = 1);
    let panics = |_: &WorkerEvent| panic!("nothing is wanted");
    let parts = WorkerParts { observer: Box::new(panics), ..town.worker_parts(WORKER, town.prover(false)) };
    assert_eq!(Worker::open(parts).unwrap().step().unwrap(), WorkerTurn::default());
    let mut parts = town.worker_parts(3, town.prover(false));
    parts.options.bond_max = Amount(1);
    assert_eq!(Worker::open(parts).unwrap().step().unwrap(), WorkerTurn::default());
}

/// A ledger that loses what is handed in, while it is told to.
struct Forgetful {
    ledger: Arc<dyn JobLedger>,
    lose_proofs: bool,
}

impl JobLedger for Forgetful {
    fn account(&self) -> Address {
        self.ledger.account()
    }

    fn params(&self) -> Result<JobParams, LedgerClientError> {
        self.ledger.params()
    }

    fn head(&self) -> Result<Epoch, LedgerClientError> {
        self.ledger.head()
    }

    fn wait_for(&self, epoch: Epoch, timeout: Duration) -> Result<Epoch, LedgerClientError> {
        self.ledger.wait_for(epoch, timeout)
    }

    fn live_jobs(&self, from: JobId, limit: usize) -> Result<Vec<(JobId, Job)>, LedgerClientError> {
        self.ledger.live_jobs(from, limit)
    }

    fn job(&self, job: JobId) -> Result<Option<Job>, LedgerClientError> {
        self.ledger.job(job)
    }

    fn own_bid(&self, job: JobId) -> Result<Option<JobBid>, LedgerClientError> {
        self.ledger.own_bid(job)
    }

    fn own_record(&self) -> Result<WorkerRecord, LedgerClientError> {
        self.ledger.own_record()
    }

    fn own_jobs(&self) -> Result<Vec<(JobId, Job)>, LedgerClientError> {
        self.ledger.own_jobs()
    }

    fn send(&self, command: JobCommand) -> Result<TransactionId, LedgerClientError> {
        if self.lose_proofs && matches!(command, JobCommand::Submit { .. }) {
            return Err(LedgerClientError::Unavailable { detail: "nobody is there".to_owned() });
        }
        self.ledger.send(command)
    }

    fn submission(&self, transaction: &TransactionId) -> Result<SubmissionStatus, LedgerClientError> {
        self.ledger.submission(transaction)
    }
}

/// A prover that must not be asked.
struct Idle;

impl SnarkProver for Idle {
    fn prove_porep(&self, _: &porep::PorepStatement, _: &PorepProof, _: &Workers) -> Result<Vec<u8>, SnarkError> {
        panic!("the proof was made before")
    }

    fn prove_window_post(&self, _: &PostStatement, _: &PostProof, _: &Workers) -> Result<Vec<u8>, SnarkError> {
        panic!("the proof was made before")
    }
}

#[test]
fn a_proof_that_was_made_is_handed_in_by_the_next_worker() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::open(dir.path());
    let (statement, plain) = porep();
    let job = town.post(statement, &plain, |_| {});
    let mut parts = town.worker_parts(WORKER, town.prover(false));
    parts.ledger = Arc::new(Forgetful { ledger: town.ledger_of(WORKER), lose_proofs: true });
    let mut worker = Worker::open(parts).unwrap();
    for _ in 0..8 {
        let _ = worker.step();
        town.block();
    }
    assert_eq!(carried::CarriedSnarks::made(dir.path(), "porep"), 1, "made once, however often it is not taken");
    drop(worker);
    let mut worker = Worker::open(town.worker_parts(WORKER, Arc::new(Idle))).unwrap();
    town.work_until(&mut worker, job, is_proven);
    assert_eq!(worker.step().unwrap().paid, 1);
}

/// Two workers of equal price: one wins, the other's bond is back and its hands are free.
#[test]
fn who_loses_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::open(dir.path());
    let (statement, plain) = porep();
    let job = town.post(statement, &plain, |_| {});
    let mut parts = town.worker_parts(3, town.prover(false));
    parts.options.price_per_million = Amount(900);
    let (mut dear, mut cheap) =
        (Worker::open(town.worker_parts(WORKER, town.prover(false))).unwrap(), Worker::open(parts).unwrap());
    assert_eq!((dear.step().unwrap().bids, cheap.step().unwrap().bids), (1, 1));
    for _ in 0..5 {
        town.block();
    }
    assert_eq!(dear.step().unwrap().in_hand, 0);
    assert_eq!(town.balance(WORKER), FUNDS - town.fee());
    town.work_until(&mut cheap, job, is_proven);
    assert_eq!(town.balance(3), FUNDS - 2 * town.fee() + 2_420);
}
