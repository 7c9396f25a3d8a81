//! The walk at 2 KiB over the real ledger: order, bid, deal, seal, activate, two window PoSts, payment.

#[path = "support/node_port.rs"]
mod node_port;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_compute::Workers;
use cairn_consensus::{Allocation, Genesis, LedgerNode, NodeOptions};
use cairn_ledger::{
    Address, Command, DealStatus, Event, OrderPiece, OrderTerms, Outcome, SectorStatus, State, TransactionId,
    address_of,
};
use cairn_protocol::{Amount, Epoch, ProviderId, SealProof, SectorNumber, SectorSize};
use cairn_sealing::*;
use cairn_sector::unseal::unseal_range;
use ed25519_consensus::SigningKey;
use node_port::Port;
use support::carried::{CarriedSnarks, CarriedVerifier};
use support::{MemoryPieces, Recorder, payload};

/// A network whose blocks the test makes.
struct Network {
    node: Arc<LedgerNode>,
    provider_key: SigningKey,
    client_key: SigningKey,
}

impl Network {
    fn open(dir: &Path) -> Self {
        let (provider_key, client_key) = (SigningKey::from([1; 32]), SigningKey::from([2; 32]));
        let rich = |key| Allocation { address: address_of(key), amount: Amount(1_000_000_000) };
        let genesis = Genesis::devnet(0, [7; 32], vec![rich(&provider_key), rich(&client_key)]);
        let verifier = Arc::new(CarriedVerifier);
        let node = LedgerNode::open(&dir.join("ledger"), &genesis, NodeOptions::default(), verifier).unwrap();
        Self { node: Arc::new(node), provider_key, client_key }
    }

    fn block(&self) {
        self.node.produce_block(cairn_consensus::system_clock()).unwrap();
    }

    /// Hands in a command, makes blocks until it is in one, returns what it did.
    fn carry_out(&self, key: &SigningKey, command: Command) -> Vec<Event> {
        let id = self.node.handle().submit_command(key, command).unwrap();
        self.block();
        let receipt = self.node.handle().receipt(&id).unwrap().expect("in the next block");
        assert_eq!(receipt.outcome, Outcome::Applied);
        receipt.events
    }

    fn provider(&self) -> ProviderId {
        let (sector_size, collateral) = (SectorSize::KIB2, Amount(20_000_000));
        let endpoint = "http://127.0.0.1:1".to_owned();
        let events =
            self.carry_out(&self.provider_key, Command::RegisterProvider { sector_size, collateral, endpoint });
        let registered = events.iter().find_map(|event| match event {
            Event::ProviderRegistered { provider, .. } => Some(*provider),
            _ => None,
        });
        registered.expect("registered")
    }

    /// An order for the pieces, the provider's bid, and the deals that follow.
    fn deals(&self, provider: ProviderId, pieces: &[SectorPiece]) -> Vec<SectorPiece> {
        let order_piece = |piece: &SectorPiece| OrderPiece { piece: piece.info, payload_bytes: piece.payload_bytes };
        let terms = OrderTerms {
            root: TransactionId([5; 32]).cid(),
            pieces: pieces.iter().map(order_piece).collect(),
            duration_epochs: 400,
            price_per_epoch_max: Amount(1_000),
            copies: 1,
            transfer_url: "http://127.0.0.1:2".to_owned(),
            requirements: Default::default(),
        };
        let events = self.carry_out(&self.client_key, Command::PlaceOrder(terms));
        let placed = events.iter().find_map(|event| match event {
            Event::OrderPlaced { order, .. } => Some(*order),
            _ => None,
        });
        let order = placed.expect("placed");
        self.carry_out(&self.provider_key, Command::PlaceBid { provider, order, price_per_epoch: Amount(900) });
        for _ in 0..20 {
            self.block();
        }
        let state = self.node.handle().state();
        let deal_of = |piece: &SectorPiece| {
            let found = state.deals_of(provider).find(|(_, deal)| deal.piece.piece == piece.info);
            SectorPiece { deal: Some(found.expect("a deal for each piece").0), ..*piece }
        };
        pieces.iter().map(deal_of).collect()
    }
}

fn open_pipeline(dir: &Path, network: &Network, provider: ProviderId, pieces: Arc<MemoryPieces>) -> Pipeline {
    let workers = Workers::new(2).unwrap();
    let ledger = ProviderLedger::new(Port(network.node.handle()), provider, network.provider_key.clone());
    Pipeline::open(PipelineParts {
        options: PipelineOptions {
            reserve_bytes: 0,
            poll: Duration::from_millis(20),
            retry_pause: Duration::from_millis(20),
            ..PipelineOptions::default()
        },
        journal_dir: dir.join("journal"),
        sectors_dir: dir.join("sectors"),
        provider,
        workers: workers.clone(),
        post_workers: workers,
        ledger: Arc::new(ledger),
        pieces,
        prover: Arc::new(CarriedSnarks::new(dir)),
        verifier: Arc::new(CarriedVerifier),
        observer: Arc::new(Recorder::default()),
    })
    .unwrap()
}

fn posts_accepted(state: &State, provider: ProviderId, sector: SectorNumber) -> u64 {
    match state.sector(provider, sector).map(|sector| &sector.status) {
        Some(SectorStatus::Proving(proving)) => proving.posts_accepted,
        _ => 0,
    }
}

/// Makes blocks, each after the pipeline had time to hand in what it wanted, until `done`.
fn blocks_until(network: &Network, what: &str, mut done: impl FnMut(&State) -> bool) {
    let started = Instant::now();
    while !done(&network.node.handle().state()) {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} takes too long");
        network.block();
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn deal_seal_activate_prove_and_be_paid() {
    let dir = tempfile::tempdir().unwrap();
    let network = Network::open(dir.path());
    let provider = network.provider();
    let (pieces, source) = support::pieces();
    let pieces = network.deals(provider, &pieces);
    let number = SectorNumber(0);
    let assignment = Assignment { sector: number, sector_size: SectorSize::KIB2, seal_proof: SealProof::V1_1, pieces };

    let pipeline = open_pipeline(dir.path(), &network, provider, source.clone());
    pipeline.assign(assignment.clone()).unwrap();
    let running = pipeline.start().unwrap();
    blocks_until(&network, "activation", |state| {
        state.sector(provider, number).is_some_and(|sector| sector.proving().is_some())
    });
    blocks_until(&network, "the first window PoSt", |state| posts_accepted(state, provider, number) >= 1);

    // A restart in between changes nothing.
    running.stop();
    drop(pipeline);
    let pipeline = open_pipeline(dir.path(), &network, provider, source);
    let running = pipeline.start().unwrap();
    blocks_until(&network, "the second window PoSt", |state| posts_accepted(state, provider, number) >= 2);
    blocks_until(&network, "its confirmation", |_| {
        let confirmed = |record: &PostRecord| matches!(record.state, PostState::Confirmed { .. });
        pipeline.posts().unwrap().iter().filter(|(_, record)| confirmed(record)).count() >= 2
    });
    running.stop();

    let state = network.node.handle().state();
    let record = pipeline.sector(number).unwrap();
    assert!(matches!(record.state, SectorState::Finalized { .. }), "{:?}", record.state);
    assert_eq!(state.sector(provider, number).unwrap().comm_r, record.state.sealed().unwrap().comm_r);
    for deal in assignment.deals() {
        assert!(matches!(state.deal(deal).unwrap().status, DealStatus::Active { .. }));
        network.carry_out(&network.client_key, Command::Settle { deal });
        assert!(network.node.handle().state().deal(deal).unwrap().paid > Amount::ZERO);
    }
    check_unsealed(&pipeline, &record);
}

/// What was kept is enough to give the client's bytes back.
fn check_unsealed(pipeline: &Pipeline, record: &SectorRecord) {
    let (identity, inputs) = (record.identity().unwrap(), *record.state.inputs().unwrap());
    let mut first = Vec::new();
    let workers = Workers::new(2).unwrap();
    let files = pipeline.sector_files(record.sector());
    unseal_range(&files, &identity, &inputs.comm_d, 0, 200, &mut first, &workers, &|_, _| {}).unwrap();
    assert_eq!(first, payload(200, 1));
}

#[test]
fn the_adapter_reads_what_the_ledger_says() {
    let dir = tempfile::tempdir().unwrap();
    let network = Network::open(dir.path());
    let provider = network.provider();
    let client = ProviderLedger::new(Port(network.node.handle()), provider, network.provider_key.clone());
    assert_eq!(client.address(), Address(network.provider_key.verification_key().to_bytes()));
    assert_eq!(client.sector(SectorNumber(0)), Ok(LedgerSector::Unknown));
    assert_eq!(client.post_duties(), Ok(Vec::new()));
    let drawn = client.draw_ticket().unwrap();
    assert_eq!(drawn.epoch, client.head().unwrap());
    assert_eq!(client.is_ticket_usable(drawn.epoch), Ok(true));
    assert_eq!(client.is_ticket_usable(Epoch(u64::MAX)), Ok(false));
    assert_eq!(client.submission(&TransactionId([9; 32])), Ok(SubmissionStatus::Pending));
    assert_eq!(client.wait_for(Epoch(1_000), Duration::from_millis(1)), client.head());

    let recovery = client.send_recovery(&[SectorNumber(0)]).unwrap();
    network.block();
    let SubmissionStatus::Failed(reason) = client.submission(&recovery).unwrap() else { panic!("no such sector") };
    assert!(reason.contains("does not exist"), "{reason}");
    let stranger = ProviderLedger::new(Port(network.node.handle()), provider, SigningKey::from([3; 32]));
    assert!(matches!(
        stranger.send_faults(&[SectorNumber(0)]),
        Err(LedgerClientError::Refused { what: "declaration of faults", .. })
    ));
}
