//! A provider without a prover seals, and keeps its sector proven, through the market; cheats and sleepers pay for it.

mod town;

use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cairn_ledger::{
    Command, DealId, DealStatus, Event, JobCommand, JobId, JobStatus, OrderPiece, OrderTerms, SectorStatus, address_of,
};
use cairn_protocol::{Amount, CommP, ProviderId, SealProof, SectorNumber, SectorSize};
use cairn_prover::*;
use cairn_sealing::*;
use cairn_sector::pieces::PieceHasher;
use cairn_sector::update::{UpdateEncoding, decode_range};
use town::*;

const PROVIDER: u8 = POSTER;
const WORKER: u8 = 2;
const CHEAT: u8 = 3;
const SLEEPER: u8 = 4;
const CLIENT: u8 = 5;
const SECTOR: SectorNumber = SectorNumber(0);

fn payload() -> Vec<u8> {
    (0..1_000).map(|index| (index as u8).wrapping_mul(31)).collect()
}

/// The piece of that payload.
fn piece(deal: Option<DealId>) -> SectorPiece {
    let mut hasher = PieceHasher::new();
    hasher.update(&payload());
    let commitment = hasher.finish();
    SectorPiece { info: commitment.info(), payload_bytes: commitment.payload_bytes, deal }
}

/// One piece.
struct OnePiece(Vec<u8>);

impl PieceSource for OnePiece {
    fn open(&self, _: &CommP) -> Result<Box<dyn Read + Send>, PieceSourceError> {
        Ok(Box::new(Cursor::new(self.0.clone())))
    }
}

fn open_pipeline(
    town: &Town,
    provider: ProviderId,
    market: MarketOptions,
    home: Option<Arc<dyn SnarkProver>>,
) -> Pipeline {
    let snarks = MarketSnarks::new(market, town.ledger_of(PROVIDER), town.shelf(), home);
    Pipeline::open(PipelineParts {
        options: PipelineOptions { reserve_bytes: 0, retry_pause: Duration::ZERO, ..PipelineOptions::default() },
        journal_dir: town.dir.join("journal"),
        sectors_dir: town.dir.join("sectors"),
        provider,
        workers: town.workers(),
        post_workers: town.workers(),
        ledger: Arc::new(ProviderLedger::new(town.port(), provider, key(PROVIDER))),
        pieces: Arc::new(OnePiece(payload())),
        prover: Arc::new(snarks),
        verifier: town.verifier.clone(),
        observer: Arc::new(Silent),
    })
    .unwrap()
}

struct House {
    town: Town,
    provider: ProviderId,
    pipeline: Pipeline,
    worker: Worker,
}

impl House {
    /// A provider with a sector of one piece.
    fn open(dir: &Path, market: MarketOptions, home: Option<Arc<dyn SnarkProver>>) -> Self {
        let house = Self::open_idle(dir, market, home);
        house.assign(vec![piece(None)]);
        house
    }

    fn open_idle(dir: &Path, market: MarketOptions, home: Option<Arc<dyn SnarkProver>>) -> Self {
        let town = Town::open(dir);
        let command = Command::RegisterProvider {
            sector_size: SectorSize::KIB2,
            collateral: town.state().params().collateral_min,
            endpoint: town.url.clone(),
        };
        let receipt = town.carry_out(PROVIDER, command);
        let [Event::ProviderRegistered { provider, .. }] = receipt.events[..] else { panic!("registered") };
        let pipeline = open_pipeline(&town, provider, market, home);
        let worker = Worker::open(town.worker_parts(WORKER, town.prover(true))).unwrap();
        Self { town, provider, pipeline, worker }
    }

    fn assign(&self, pieces: Vec<SectorPiece>) {
        let (sector_size, seal_proof) = (SectorSize::KIB2, SealProof::V1_1);
        self.pipeline.assign(Assignment { sector: SECTOR, sector_size, seal_proof, pieces }).unwrap();
    }

    /// A client's order for the piece, which the provider wins.
    fn win_deal(&mut self) -> DealId {
        let SectorPiece { info: piece, payload_bytes, .. } = piece(None);
        let duration_epochs = self.town.state().params().deal_epochs_min;
        let terms = OrderTerms {
            root: cairn_ledger::TransactionId([5; 32]).cid(),
            pieces: vec![OrderPiece { piece, payload_bytes }],
            duration_epochs,
            price_per_epoch_max: Amount(900),
            copies: 1,
            transfer_url: "http://client.test/".to_owned(),
            requirements: Default::default(),
        };
        self.town.carry_out(CLIENT, Command::PlaceOrder(terms));
        let order = self.town.state().orders().next().unwrap().0;
        let (provider, price_per_epoch) = (self.provider, Amount(700));
        self.town.carry_out(PROVIDER, Command::PlaceBid { provider, order, price_per_epoch });
        self.rounds_until("the deal", |house| house.town.state().deals_of(house.provider).next().is_some());
        self.town.state().deals_of(self.provider).next().unwrap().0
    }

    fn update_state(&self) -> UpdateState {
        self.pipeline.update(SECTOR).unwrap().expect("assigned").state
    }

    /// Everybody has a turn, then there is a block.
    fn round(&mut self) {
        if self.pipeline.update(SECTOR).unwrap().is_some()
            && let UpdateProgress::Failed { cause, .. } = self.pipeline.update_step(SECTOR).unwrap()
        {
            panic!("{cause}");
        }
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

/// A sector of zeros takes a deal: its provider encodes the new replica, a worker elsewhere proves that, the ledger pays the
/// one and starts the deal of the other. From then on the new replica is what is proven.
#[test]
fn new_data_goes_into_a_sector_by_the_work_of_others() {
    let dir = tempfile::tempdir().unwrap();
    let market = MarketOptions { prove_epochs: 20, life_epochs: 2_000, ..MarketOptions::default() };
    let mut house = House::open_idle(dir.path(), market, None);
    house.assign(vec![]);
    let early = house.pipeline.assign_update(SECTOR, vec![piece(None)]);
    assert!(matches!(early, Err(PipelineError::NotUpdatable { .. })), "{early:?}");
    house.rounds_until("finalization", |house| {
        house.pipeline.sector(SECTOR).unwrap().state.milestone() == Milestone::Finalized
    });
    let deal = house.win_deal();
    house.pipeline.assign_update(SECTOR, vec![piece(Some(deal))]).unwrap();
    house.pipeline.assign_update(SECTOR, vec![piece(Some(deal))]).unwrap();
    let other = house.pipeline.assign_update(SECTOR, vec![piece(None)]);
    assert!(matches!(other, Err(PipelineError::AssignedDifferently { .. })), "{other:?}");
    house.rounds_until("the update", |house| matches!(house.update_state(), UpdateState::Active { .. }));

    let encoded = house.update_state().encoded().unwrap().clone();
    let statement = cairn_ledger::ProofStatement::SectorUpdate(encoded.statement.clone());
    let state = house.town.state();
    let job = state.jobs().find(|(_, job)| job.terms.statement == statement).expect("the update's job").1;
    let JobStatus::Proven { worker, paid, .. } = job.status else { panic!("{job:?}") };
    assert_eq!((worker, paid), (address_of(&key(WORKER)), Amount(1_706)));
    assert_eq!(carried::CarriedSnarks::made(dir.path(), "update"), 1, "one SNARK of the update");
    assert!(matches!(state.deal(deal).unwrap().status, DealStatus::Active { sector: SECTOR, .. }));
    assert_eq!(state.sector(house.provider, SECTOR).unwrap().comm_r, encoded.statement.comm_r_new);

    // The data is what both replicas differ by.
    let (old, new) = (house.pipeline.sector_files(SECTOR), house.pipeline.update_files(SECTOR));
    assert!(!new.staged().exists() && !new.tree_d().exists(), "nothing that only the proof needed is left");
    let encoding = UpdateEncoding::from(&cairn_sealing::verifier::to_update_statement(&encoded.statement));
    let mut read = vec![];
    decode_range(&old, &new, &encoding, 0, payload().len() as u64, &mut read, &house.town.workers()).unwrap();
    assert_eq!(read, payload());

    // Damage to the new replica is found, and mended from the old one and the piece.
    let mut replica = std::fs::read(new.sealed()).unwrap();
    replica[100] ^= 1;
    std::fs::write(new.sealed(), &replica).unwrap();
    assert_eq!(house.pipeline.check_sector(SECTOR).unwrap().len(), 1);
    house.pipeline.repair_sector(SECTOR).unwrap();
    assert_eq!(house.pipeline.check_sector(SECTOR).unwrap(), []);
    let before = house.posts_accepted();
    house.rounds_until("a window PoSt of the new replica", |house| house.posts_accepted() > before + 1);
    house.town.state().check_invariants().unwrap();
}

/// Stopped between any two steps, an update goes on where it was. One that the ledger refuses says why, and makes room for
/// another; one that is handed in does not.
#[test]
fn an_update_goes_on_after_every_restart() {
    let dir = tempfile::tempdir().unwrap();
    let market = MarketOptions { prove_epochs: 20, life_epochs: 2_000, ..MarketOptions::default() };
    let mut house = House::open_idle(dir.path(), market.clone(), None);
    house.assign(vec![]);
    house.rounds_until("finalization", |house| {
        house.pipeline.sector(SECTOR).unwrap().state.milestone() == Milestone::Finalized
    });
    let deal = house.win_deal();
    let House { town, provider, pipeline, mut worker } = house;
    // Gives what ended it, and the pipeline as the last restart left it.
    let mut until_end = |mut pipeline: Pipeline| {
        for _ in 0..1_500 {
            drop(pipeline);
            pipeline = open_pipeline(&town, provider, market.clone(), None);
            match pipeline.update_step(SECTOR).unwrap() {
                UpdateProgress::Advanced(_) | UpdateProgress::Waiting(_) => {}
                end => return (end, pipeline),
            }
            pipeline.post_step().unwrap();
            worker.step().unwrap();
            town.block();
        }
        panic!("{:?}", pipeline.update(SECTOR));
    };
    pipeline.assign_update(SECTOR, vec![piece(None)]).unwrap();
    let (refused, pipeline) = until_end(pipeline);
    let UpdateProgress::Failed { kind: FailureKind::LedgerRefused, cause } = refused else { panic!("{refused:?}") };
    assert!(cause.contains("sector update was refused"), "{cause}");
    pipeline.withdraw_update(SECTOR).unwrap();
    assert!(pipeline.update(SECTOR).unwrap().is_none() && !pipeline.update_files(SECTOR).dir().exists());

    pipeline.assign_update(SECTOR, vec![piece(Some(deal))]).unwrap();
    let (done, pipeline) = until_end(pipeline);
    assert_eq!(done, UpdateProgress::Finished);
    assert!(matches!(pipeline.withdraw_update(SECTOR), Err(PipelineError::UpdateSent { .. })));
    assert!(matches!(town.state().deal(deal).unwrap().status, DealStatus::Active { .. }));
    // Both were about the same data and the same replica: what was proven for the first served the second.
    assert_eq!(carried::CarriedSnarks::made(dir.path(), "update"), 1);
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
