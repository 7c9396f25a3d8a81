//! A ledger whose blocks the test makes, a gateway with plain proofs, and people with keys.

#![allow(dead_code, reason = "each test uses its part")]

#[path = "../../../sealing/tests/support/carried.rs"]
pub mod carried;
#[path = "../../../sealing/tests/support/node_port.rs"]
pub mod node_port;
#[path = "../../../sealing/tests/support/real_posts.rs"]
pub mod real_posts;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_compute::Workers;
use cairn_consensus::{Allocation, Genesis, LedgerNode, NodeOptions, system_clock};
use cairn_content::HotStore;
use cairn_fixtures::{porep_vector, post_vectors};
use cairn_gateway::fetch::FetchOptions;
use cairn_gateway::{GatewayOptions, serve};
use cairn_ledger::jobs::JobParams;
use cairn_ledger::{
    Command, JobCommand, JobEvent, JobId, JobTerms, LedgerParams, Outcome, PorepStatement, ProofStatement,
    ProofVerifier, Receipt, SectorUpdateStatement, State, WindowPostStatement, address_of,
};
use cairn_protocol::{
    Amount, CommD, CommR, Epoch, PostRandomness, ProverId, ProviderId, SealProof, SectorNumber, SectorSize, Seed,
    Ticket,
};
use cairn_prover::*;
use cairn_sealing::{NetworkCircuits, SnarkProver};
use cairn_sector::porep::PorepProof;
use cairn_sector::post::PostProof;
use cairn_sector::update::{self, HSelect, UpdateStatement};
use cairn_sector::{SectorFiles, SectorIdentity, seal};
use ed25519_consensus::SigningKey;

use node_port::Port;
use real_posts::{RealPostVerifier, RealPosts};

/// Who is rich at first: poster, workers.
pub const PEOPLE: u8 = 5;
pub const POSTER: u8 = 1;
pub const FUNDS: u64 = 1_000_000_000;

pub fn key(n: u8) -> SigningKey {
    SigningKey::from([n; 32])
}

pub struct Town {
    pub dir: PathBuf,
    pub node: Arc<LedgerNode>,
    pub store: Arc<HotStore>,
    pub url: String,
    pub verifier: Arc<dyn ProofVerifier + Send + Sync>,
    workers: Workers,
    _gateway: tokio::runtime::Runtime,
}

impl Town {
    /// Opens the town in `dir`, as it was left.
    pub fn open(dir: &Path) -> Self {
        Self::with_verifier(dir, Arc::new(RealPostVerifier::open(dir, Workers::new(2).unwrap())))
    }

    /// The same, where proofs are checked in another way.
    pub fn with_verifier(dir: &Path, verifier: Arc<dyn ProofVerifier + Send + Sync>) -> Self {
        let workers = Workers::new(2).unwrap();
        let rich = |n| Allocation { address: address_of(&key(n)), amount: Amount(FUNDS) };
        let mut genesis = Genesis::devnet(0, [7; 32], (1..=PEOPLE).map(rich).collect());
        genesis.verifying_keys = verifier.verifying_keys();
        genesis.params = LedgerParams {
            jobs: JobParams { bid_window: 3, ..JobParams::devnet() },
            challenge_delay: 2,
            ..genesis.params
        };
        let node = LedgerNode::open(&dir.join("ledger"), &genesis, NodeOptions::default(), verifier.clone()).unwrap();
        let store = Arc::new(HotStore::open(&dir.join("hot")).unwrap());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(serve(listener, store.clone(), GatewayOptions::default(), std::future::pending()));
        let town = Self { dir: dir.to_owned(), node: Arc::new(node), store, url, verifier, workers, _gateway: runtime };
        if town.state().epoch() == Epoch(0) {
            town.block();
        }
        town
    }

    pub fn state(&self) -> Arc<State> {
        self.node.handle().state()
    }

    pub fn port(&self) -> Port {
        Port(self.node.handle())
    }

    pub fn workers(&self) -> Workers {
        self.workers.clone()
    }

    pub fn block(&self) {
        self.node.produce_block(system_clock()).unwrap();
    }

    pub fn balance(&self, n: u8) -> u64 {
        self.state().account(&address_of(&key(n))).balance.0
    }

    pub fn fee(&self) -> u64 {
        self.state().params().transaction_fee.0
    }

    pub fn ledger_of(&self, n: u8) -> Arc<dyn JobLedger> {
        Arc::new(AccountJobs::new(self.port(), key(n)))
    }

    /// Hands in a command of `n`, makes a block, and gives the receipt.
    pub fn carry_out(&self, n: u8, command: Command) -> Receipt {
        let id = self.node.handle().submit_command(&key(n), command).unwrap();
        self.block();
        let receipt = self.node.handle().receipt(&id).unwrap().expect("in the next block");
        assert_eq!(receipt.outcome, Outcome::Applied);
        receipt
    }

    pub fn job_command(&self, n: u8, command: JobCommand) {
        self.carry_out(n, Command::Job(command));
    }

    pub fn shelf(&self) -> Arc<HotShelf> {
        Arc::new(HotShelf::new(self.store.clone(), self.url.clone(), self.dir.join("scratch")))
    }

    /// Posts a job about `statement` whose witness is `plain`.
    pub fn post(&self, statement: ProofStatement, plain: &[u8], change: impl FnOnce(&mut JobTerms)) -> JobId {
        let published = self.shelf().publish(plain).unwrap();
        let mut terms = JobTerms {
            statement,
            witness: published.cid,
            witness_bytes: plain.len() as u64,
            source_url: published.url,
            price_per_million_max: Amount(2_000),
            prove_epochs: 1_000,
            deadline: Epoch(self.state().epoch().0 + 10_000),
            tier_min: 0,
        };
        change(&mut terms);
        let receipt = self.carry_out(POSTER, Command::Job(JobCommand::Post(Box::new(terms))));
        match receipt.events.as_slice() {
            [cairn_ledger::Event::Job(JobEvent::Posted { job, .. })] => *job,
            other => panic!("expected a job, got {other:?}"),
        }
    }

    /// Provers of this machine; carried ones are counted in the town's folder.
    pub fn prover(&self, with_posts: bool) -> Arc<dyn SnarkProver> {
        Arc::new(RealPosts::open(&self.dir, with_posts, &self.workers))
    }

    pub fn worker_parts(&self, n: u8, prover: Arc<dyn SnarkProver>) -> WorkerParts {
        WorkerParts {
            options: WorkerOptions { epochs_per_proof: 10, ..WorkerOptions::default() },
            dir: self.dir.join(format!("worker-{n}")),
            ledger: self.ledger_of(n),
            prover,
            circuits: NetworkCircuits { sector_size: SectorSize::KIB2, updates: true }.of_jobs(),
            verifier: self.verifier.clone(),
            workers: self.workers(),
            fetch: FetchOptions { retries: 0, ..FetchOptions::default() },
            observer: Box::new(|_| {}),
        }
    }

    /// Turns of the worker and blocks, until the job's status satisfies `done`.
    pub fn work_until(&self, worker: &mut Worker, job: JobId, done: impl Fn(&cairn_ledger::Job) -> bool) -> WorkerTurn {
        let mut sum = WorkerTurn::default();
        for _ in 0..200 {
            if self.state().job(job).is_some_and(&done) {
                return sum;
            }
            let turn = worker.step().unwrap();
            sum.bids += turn.bids;
            sum.proven += turn.proven;
            sum.submitted += turn.submitted;
            sum.paid += turn.paid;
            self.block();
        }
        panic!("{job} is {:?}", self.state().job(job));
    }
}

/// The reference's plain proof of replication of an empty-ish sector, and what it proves.
pub fn porep() -> (ProofStatement, Vec<u8>) {
    let vector = porep_vector("2KiB-v1_1-fixture-a.json");
    let plain: PorepProof = serde_json_value(vector.vanilla_proofs.clone().unwrap());
    let statement = PorepStatement {
        sector_size: SectorSize::KIB2,
        seal_proof: SealProof::V1_1,
        prover_id: ProverId(vector.prover_id),
        sector_number: SectorNumber(vector.sector_number),
        ticket: Ticket(vector.ticket),
        seed: Seed(vector.interactive_seed),
        comm_d: CommD(vector.comm_d),
        comm_r: CommR(vector.comm_r),
    };
    (ProofStatement::Porep(statement), plain.to_bytes())
}

/// The reference's plain window proof, and what it proves.
pub fn window_post() -> (ProofStatement, Vec<u8>) {
    let vector = post_vectors().into_iter().find(|vector| vector.kind == "window").unwrap();
    let plain: PostProof = serde_json_value(vector.vanilla_proofs.clone().into());
    let sectors = vector.sectors.iter().map(|s| (SectorNumber(s.sector_number), CommR(s.comm_r)));
    let statement = WindowPostStatement {
        sector_size: SectorSize::KIB2,
        prover_id: ProverId(vector.prover_id),
        randomness: PostRandomness(vector.randomness),
        sectors: sectors.collect(),
    };
    (ProofStatement::WindowPost(statement), plain.to_bytes())
}

/// A sector of zeros that was sealed and takes new data: the plain proof of that, and what it proves.
pub fn sector_update(dir: &Path) -> (ProofStatement, Vec<u8>) {
    let (size, seal_proof, workers) = (SectorSize::KIB2, SealProof::V1_1, Workers::new(2).unwrap());
    let (old, new) = (SectorFiles::new(dir.join("old")), SectorFiles::new(dir.join("new")));
    let identity = SectorIdentity {
        sector_size: size,
        seal_proof,
        porep_id: seal_proof.porep_id(size),
        prover_id: ProviderId(1_000).prover_id(),
        sector_number: SectorNumber(3),
        ticket: Ticket([5; 32]),
    };
    seal::add_pieces(&old, size, &mut [], &|_, _| {}).unwrap();
    seal::seal(&old, &identity, &workers, &|_, _, _| {}).unwrap();
    let data: Vec<u8> = (0..size.unpadded().0).map(|index| (index as u8).wrapping_mul(37)).collect();
    let source = seal::PieceSource { payload_bytes: data.len() as u64, reader: &mut data.as_slice() };
    seal::add_pieces(&new, size, &mut [source], &|_, _| {}).unwrap();
    let made = update::update(&old, &new, size, HSelect::default_of(size), &workers, &|_, _| {}).unwrap();
    let plain = update::prove(&old, &new, &made, &workers).unwrap();
    let UpdateStatement { sector_size, comm_r_old, comm_d_new, comm_r_new, .. } = made;
    let statement = SectorUpdateStatement { sector_size, comm_r_old, comm_d_new, comm_r_new };
    (ProofStatement::SectorUpdate(statement), plain.to_bytes())
}

fn serde_json_value<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}
