//! A provider without a prover seals, and keeps its sector proven, through the market; cheats and sleepers pay for it.

mod town;

use std::io::{Cursor, Read};
use std::sync::Arc;
use std::time::Duration;

use cairn_ledger::{Command, Event, JobCommand, JobId, JobStatus, OrderPiece, SectorStatus, address_of};
use cairn_protocol::{Amount, CommP, ProviderId, SealProof, SectorNumber, SectorSize};
use cairn_prover::*;
use cairn_sealing::*;
use cairn_sector::pieces::PieceHasher;
use town::*;

const PROVIDER: u8 = POSTER;
const WORKER: u8 = 2;
const CHEAT: u8 = 3;
const SLEEPER: u8 = 4;
const SECTOR: SectorNumber = SectorNumber(0);

/// One piece.
struct OnePiece(Vec<u8>);

impl PieceSource for OnePiece {
    fn open(&self, _: &CommP) -> Result<Box<dyn Read + Send>, PieceSourceError> {
        Ok(Box::new(Cursor::new(self.0.clone())))
    }
}

struct House {
    town: Town,
    provider: ProviderId,
    pipeline: Pipeline,
    worker: Worker,
}

impl House {
    fn open(dir: &std::path::Path, market: MarketOptions, home: Option<Arc<dyn SnarkProver>>) -> Self {
        let town = Town::open(dir);
        let command = Command::RegisterProvider {
            sector_size: SectorSize::KIB2,
            collateral: town.state().params().collateral_min,
            endpoint: town.url.clone(),
        };
        let receipt = town.carry_out(PROVIDER, command);
        let [Event::ProviderRegistered { provider, .. }] = receipt.events[..] else { panic!("registered") };
        let snarks = MarketSnarks::new(market, town.ledger_of(PROVIDER), town.shelf(), home);
        let bytes: Vec<u8> = (0..1_000).map(|index| (index as u8).wrapping_mul(31)).collect();
        let mut hasher = PieceHasher::new();
        hasher.update(&bytes);
        let commitment = hasher.finish();
        let pipeline = Pipeline::open(PipelineParts {
            options: PipelineOptions { reserve_bytes: 0, retry_pause: Duration::ZERO, ..PipelineOptions::default() },
            journal_dir: dir.join("journal"),
            sectors_dir: dir.join("sectors"),
            provider,
            workers: town.workers(),
            post_workers: town.workers(),
            ledger: Arc::new(ProviderLedger::new(town.port(), provider, key(PROVIDER))),
            pieces: Arc::new(OnePiece(bytes)),
            prover: Arc::new(snarks),
            verifier: town.verifier.clone(),
            observer: Arc::new(Silent),
        })
        .unwrap();
        let piece = OrderPiece { piece: commitment.info(), payload_bytes: commitment.payload_bytes };
        let piece = SectorPiece { info: piece.piece, payload_bytes: piece.payload_bytes, deal: None };
        let (sector_size, seal_proof) = (SectorSize::KIB2, SealProof::V1_1);
        pipeline.assign(Assignment { sector: SECTOR, sector_size, seal_proof, pieces: vec![piece] }).unwrap();
        let worker = Worker::open(town.worker_parts(WORKER, town.prover(true))).unwrap();
        Self { town, provider, pipeline, worker }
    }

    /// Everybody has a turn, then there is a block.
    fn round(&mut self) {
        match self.pipeline.step(SECTOR).unwrap() {
            Progress::Failed(failure) => panic!("{failure:?}"),
            _ => self.pipeline.post_step().unwrap(),
        };
        self.worker.step().unwrap();
        self.town.block();
    }

    fn rounds_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..1_500 {
            if done(self) {
                return;
            }
            self.round();
        }
        let jobs: Vec<_> = self.town.state().jobs().map(|(id, job)| (id, format!("{:?}", job.status))).collect();
        panic!("{what} takes too long: {:?}, {jobs:?}", self.pipeline.sector(SECTOR).unwrap().state);
    }

    fn is_open(&self, job: JobId, failed: usize) -> bool {
        let state = self.town.state();
        state.job(job).is_some_and(|job| matches!(job.status, JobStatus::Open { .. }) && job.failed.len() == failed)
    }

    fn posts_accepted(&self) -> u64 {
        match self.town.state().sector(self.provider, SECTOR).map(|sector| sector.status.clone()) {
            Some(SectorStatus::Proving(proving)) => proving.posts_accepted,
            _ => 0,
        }
    }
}

#[test]
fn a_sector_lives_by_the_work_of_others_and_bad_workers_pay() {
    let dir = tempfile::tempdir().unwrap();
    // Its window proofs name sectors by number, as those of full partitions do.
    let market =
        MarketOptions { prove_epochs: 20, life_epochs: 2_000, listed_sectors_max: 0, ..MarketOptions::default() };
    let mut house = House::open(dir.path(), market, None);
    let (job, fee) = (JobId(1), house.town.fee());
    let cheap = JobCommand::Bid { job, price_per_million: Amount(1) };

    // The cheat underbids everybody and hands in something else.
    house.rounds_until("a job", |house| house.is_open(job, 0));
    house.town.job_command(CHEAT, cheap.clone());
    house.rounds_until("the cheat's turn", |house| {
        matches!(house.town.state().job(job).unwrap().status, JobStatus::Assigned { .. })
    });
    house.town.job_command(CHEAT, JobCommand::Submit { job, proof: vec![7; 192] });
    assert!(house.is_open(job, 1));
    let bond = house.town.state().params().jobs.bond_of(2_687_921).0;
    assert_eq!(house.town.balance(CHEAT), FUNDS - bond / 2 - 2 * fee);

    // The sleeper underbids everybody and does nothing.
    house.town.job_command(SLEEPER, cheap);
    house.rounds_until("the sleeper's end", |house| house.is_open(job, 2));
    assert_eq!(house.town.balance(SLEEPER), FUNDS - bond / 4 - fee);

    // The worker is left, and the sector becomes active with its proof.
    house.rounds_until("activation", |house| {
        house.pipeline.sector(SECTOR).unwrap().state.milestone() >= Milestone::Finalized
    });
    let JobStatus::Proven { worker, paid, proof, .. } = house.town.state().job(job).unwrap().status.clone() else {
        panic!("proven")
    };
    assert_eq!((worker, paid), (address_of(&key(WORKER)), Amount(2_688)));
    assert!(house.town.verifier.verify_porep(&porep_statement(&house, job), &proof).is_ok());
    assert!(house.town.store.datasets().is_empty(), "the plain proof is not served any more");
    assert_eq!(carried::CarriedSnarks::made(dir.path(), "porep"), 1, "one SNARK in all");

    // From then on window PoSts, with real SNARKs.
    house.rounds_until("the first window PoSt", |house| house.posts_accepted() >= 1);
    let done: Vec<_> = house.town.state().jobs().map(|(_, job)| job.clone()).collect();
    let post = done.iter().find(|job| matches!(job.terms.statement, cairn_ledger::ProofStatement::WindowPost(_)));
    let JobStatus::Proven { paid: post_paid, .. } = post.expect("a second job").status else { panic!("proven") };
    assert_eq!(post_paid, Amount(22));
    // Every micro-unit: two bids lost to the cheats cost a fee each, two jobs a bid and a proof.
    let record = house.town.state().worker(address_of(&key(WORKER)));
    assert_eq!((record.proven, record.refused, record.late), (2, 0, 0));
    let spent = FUNDS + 2_688 + 22 - house.town.balance(WORKER);
    assert!(spent.is_multiple_of(fee) && spent / fee <= 8, "{spent}");
    house.town.state().check_invariants().unwrap();
}

/// Nobody works: each round offers more, and then the prover at home has to do it.
#[test]
fn without_workers_the_price_rises_and_home_proves_at_last() {
    let dir = tempfile::tempdir().unwrap();
    let market = MarketOptions { prove_epochs: 5, life_epochs: 12, rounds_max: 2, ..MarketOptions::default() };
    let home: Arc<dyn SnarkProver> = Arc::new(carried::CarriedSnarks::new(dir.path()));
    let mut house = House::open(dir.path(), market, Some(home));
    let mut parts = house.town.worker_parts(5, house.town.prover(false));
    parts.options.jobs_max = 0;
    house.worker = Worker::open(parts).unwrap();
    house.rounds_until("activation", |house| {
        house.pipeline.sector(SECTOR).unwrap().state.milestone() >= Milestone::Active
    });
    let caps: Vec<_> = house.town.state().jobs().map(|(_, job)| job.terms.price_per_million_max.0).collect();
    assert_eq!(caps, [2_000, 3_000]);
    assert!(house.town.state().jobs().all(|(_, job)| matches!(&job.status, JobStatus::Closed(c) if c.code == 602)));
    assert_eq!(house.town.state().treasury().job_escrow, Amount::ZERO);
}

/// A provider that is killed and comes back finds its job and posts no second one.
#[test]
fn a_restarted_provider_goes_on_with_its_job() {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::open(dir.path());
    let (cairn_ledger::ProofStatement::Porep(statement), plain) = porep() else { unreachable!() };
    let plain = cairn_sector::porep::PorepProof::from_bytes(&plain).unwrap();
    let statement = cairn_sealing::verifier::to_porep_statement(&statement);
    let ask = || {
        // A new one each time: it remembers nothing.
        let snarks = MarketSnarks::new(MarketOptions::default(), town.ledger_of(POSTER), town.shelf(), None);
        snarks.prove_porep(&statement, &plain, &town.workers())
    };
    for _ in 0..3 {
        assert!(matches!(ask(), Err(SnarkError::NotYet { .. })));
        town.block();
    }
    assert_eq!(town.state().jobs().count(), 1);
    // Killed twice before the block: the second job is cancelled when both are seen.
    let twice = town.state().job(JobId(1)).unwrap().terms.clone();
    town.job_command(POSTER, JobCommand::Post(Box::new(twice)));
    assert!(matches!(ask(), Err(SnarkError::NotYet { .. })));
    town.block();
    assert!(matches!(&town.state().job(JobId(2)).unwrap().status, JobStatus::Closed(closure) if closure.code == 601));

    let mut worker = Worker::open(town.worker_parts(WORKER, town.prover(false))).unwrap();
    town.work_until(&mut worker, JobId(1), |job| matches!(job.status, JobStatus::Proven { .. }));
    let proof = ask().unwrap();
    assert!(
        matches!(&town.state().job(JobId(1)).unwrap().status, JobStatus::Proven { proof: kept, .. } if *kept == proof)
    );
    assert_eq!(ask(), Ok(proof), "asked again it is still there");
}

fn porep_statement(house: &House, job: JobId) -> cairn_ledger::PorepStatement {
    match &house.town.state().job(job).unwrap().terms.statement {
        cairn_ledger::ProofStatement::Porep(statement) => statement.clone(),
        other => panic!("{other:?}"),
    }
}
