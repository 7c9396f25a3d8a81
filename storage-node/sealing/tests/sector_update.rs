//! A deal goes onto a sealed sector of zeros, at 2 KiB and with real replicas: the ledger takes the update, refuses it for
//! anything else, and has the new replica proven from then on.

mod support;

use std::path::Path;

use cairn_compute::Workers;
use cairn_ledger::{
    BlockContext, BlockOutcome, Command, DeadlineInfo, DealId, DealStatus, LedgerParams, ManifestPiece, OrderPiece,
    OrderTerms, Outcome, PostDuty, PreCommit, Rejection, SectorCommand, SectorUpdate, State, Transaction,
    TransactionId, address_of,
};
use cairn_protocol::{Amount, Epoch, PieceInfo, ProviderId, SealProof, SectorNumber, SectorSize};
use cairn_sealing::verifier::{to_porep_statement, to_post_statement, to_update_statement};
use cairn_sector::seal::{self, PieceSource};
use cairn_sector::update::{self, HSelect, UpdateStatement};
use cairn_sector::{SectorFiles, SectorIdentity, pieces, porep, post};
use ed25519_consensus::SigningKey;
use support::carried::CarriedVerifier;
use support::payload;

const SIZE: SectorSize = SectorSize::KIB2;
const PROVIDER: ProviderId = ProviderId(1_000);
const SECTOR: SectorNumber = SectorNumber(7);

/// A ledger of one provider and one client.
struct Ledger {
    state: State,
    provider: SigningKey,
    client: SigningKey,
}

impl Ledger {
    fn new() -> Self {
        let (provider, client) = (SigningKey::from([1; 32]), SigningKey::from([2; 32]));
        let rich = [&provider, &client].map(|key| (address_of(key), Amount(1_000_000_000)));
        let state = State::genesis(cairn_ledger::ChainId([5; 32]), LedgerParams::devnet(), 0, &rich).unwrap();
        Self { state, provider, client }
    }

    fn block(&mut self, sent: Option<(&SigningKey, Command)>) -> BlockOutcome {
        let epoch = Epoch(self.state.epoch().0 + 1);
        let beacon = cairn_ledger::Beacon(std::array::from_fn(|index| (epoch.0 >> (8 * (index % 3))) as u8));
        let signed = sent.map(|(key, command)| {
            let (chain, sender) = (self.state.chain(), address_of(key));
            Transaction { chain, sender, nonce: self.state.account(&sender).nonce, command }.sign(key)
        });
        let context = BlockContext { epoch, time_ms: epoch.0, beacon };
        let outcome = self.state.apply_block(&context, signed.as_slice(), &CarriedVerifier).unwrap();
        self.state.check_invariants().unwrap();
        outcome
    }

    fn result(&mut self, key: &SigningKey, command: Command) -> Outcome {
        self.block(Some((key, command))).receipts.remove(0).outcome
    }

    fn carry_out(&mut self, key: &SigningKey, command: Command) {
        assert_eq!(self.result(key, command), Outcome::Applied);
    }

    fn advance_to(&mut self, epoch: Epoch) {
        while self.state.epoch() < epoch {
            self.block(None);
        }
    }
}

/// As [`CarriedVerifier`] takes it.
fn carried(plain: Vec<u8>) -> Vec<u8> {
    [&[0; 8], plain.as_slice()].concat()
}

fn workers() -> Workers {
    Workers::new(2).unwrap()
}

/// Registers a provider, seals a sector of zeros, and proves it on the ledger.
fn seal_empty(ledger: &mut Ledger, dir: &Path) -> SectorFiles {
    let key = ledger.provider.clone();
    let collateral = ledger.state.params().collateral_min;
    let endpoint = "http://provider.test/".to_owned();
    ledger.carry_out(&key, Command::RegisterProvider { sector_size: SIZE, collateral, endpoint });
    let ticket_epoch = ledger.state.epoch();
    let identity = SectorIdentity {
        sector_size: SIZE,
        seal_proof: SealProof::V1_1,
        porep_id: SealProof::V1_1.porep_id(SIZE),
        prover_id: PROVIDER.prover_id(),
        sector_number: SECTOR,
        ticket: ledger.state.ticket(PROVIDER, ticket_epoch).unwrap(),
    };
    let files = SectorFiles::new(dir);
    seal::add_pieces(&files, SIZE, &mut [], &|_, _| {}).unwrap();
    let sealed = seal::seal(&files, &identity, &workers(), &|_, _, _| {}).unwrap();
    let params = ledger.state.params();
    let pre_commit = PreCommit {
        provider: PROVIDER,
        sector: SECTOR,
        seal_proof: SealProof::V1_1,
        comm_r: sealed.comm_r,
        comm_d: sealed.comm_d,
        ticket_epoch,
        expiration: Epoch(ledger.state.epoch().0 + 1 + params.sector_epochs_min(1_000)),
        deals: vec![],
    };
    ledger.carry_out(&key, Command::PreCommit(pre_commit));
    ledger.advance_to(ledger.state.sector(PROVIDER, SECTOR).unwrap().seed_epoch);
    let statement = to_porep_statement(&ledger.state.porep_statement(PROVIDER, SECTOR).unwrap());
    let proof = carried(porep::prove(&files, &statement, &workers()).unwrap().to_bytes());
    ledger.carry_out(&key, Command::ProveCommit { provider: PROVIDER, sector: SECTOR, pieces: vec![], proof });
    files
}

/// The next challenge of the sector, drawn now.
fn next_duty(ledger: &mut Ledger) -> PostDuty {
    loop {
        let duty = ledger.state.post_duties(PROVIDER).remove(0);
        ledger.advance_to(if duty.proven { duty.deadline.closes_at } else { duty.deadline.challenge_epoch });
        if !duty.proven {
            return duty;
        }
    }
}

fn prove_window(ledger: &mut Ledger, files: &SectorFiles) {
    let PostDuty { deadline: DeadlineInfo { deadline, challenge_epoch, .. }, partition, .. } = next_duty(ledger);
    let statement = ledger.state.window_post_statement(PROVIDER, deadline, partition).unwrap();
    let plain = post::prove(&to_post_statement(&statement), std::slice::from_ref(files), &workers()).unwrap();
    let (proof, skipped, key) = (carried(plain.to_bytes()), vec![], ledger.provider.clone());
    let post = Command::SubmitWindowPost { provider: PROVIDER, deadline, partition, challenge_epoch, proof, skipped };
    ledger.carry_out(&key, post);
}

/// Orders the storage of one piece of a whole sector, and has the provider win it.
fn deal(ledger: &mut Ledger, data: &[u8]) -> (DealId, PieceInfo) {
    let mut hasher = pieces::PieceHasher::new();
    hasher.update(data);
    let commitment = hasher.finish();
    let piece = commitment.info();
    let terms = OrderTerms {
        root: TransactionId([5; 32]).cid(),
        pieces: vec![OrderPiece { piece, payload_bytes: commitment.payload_bytes }],
        duration_epochs: 400,
        price_per_epoch_max: Amount(900),
        copies: 1,
        transfer_url: "http://client.test/".to_owned(),
        requirements: Default::default(),
    };
    let (client, provider) = (ledger.client.clone(), ledger.provider.clone());
    ledger.carry_out(&client, Command::PlaceOrder(terms));
    let (order, record) = ledger.state.orders().next().map(|(id, order)| (id, order.clone())).unwrap();
    let price_per_epoch = Amount(700);
    ledger.carry_out(&provider, Command::PlaceBid { provider: PROVIDER, order, price_per_epoch });
    ledger.advance_to(record.bids_close_at);
    let deal = ledger.state.deals_of(PROVIDER).next().unwrap().0;
    (deal, piece)
}

#[test]
fn a_deal_goes_onto_a_sealed_sector_of_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::new();
    let old = seal_empty(&mut ledger, &dir.path().join("old"));
    let data = payload(SIZE.unpadded().0 as usize, 3);
    prove_window(&mut ledger, &old);
    let (deal, piece) = deal(&mut ledger, &data);

    let new = SectorFiles::new(dir.path().join("new"));
    let source = PieceSource { payload_bytes: data.len() as u64, reader: &mut data.as_slice() };
    seal::add_pieces(&new, SIZE, &mut [source], &|_, _| {}).unwrap();
    let h_select = HSelect::default_of(SIZE);
    let made: UpdateStatement = update::update(&old, &new, SIZE, h_select, &workers(), &|_, _| {}).unwrap();
    let plain = update::prove(&old, &new, &made, &workers()).unwrap();
    let good = SectorUpdate {
        provider: PROVIDER,
        sector: SECTOR,
        comm_r: made.comm_r_new,
        pieces: vec![ManifestPiece { piece, deal: Some(deal) }],
        proof: carried(plain.to_bytes()),
    };
    let command = |update: &SectorUpdate| Command::Sector(SectorCommand::Update(update.clone()));
    let key = ledger.provider.clone();
    let mut wrong = good.clone();
    wrong.comm_r.0[0] ^= 1;
    let refused = ledger.result(&key, command(&wrong));
    assert!(matches!(refused, Outcome::Failed(Rejection::Proof(_))), "{refused:?}");
    ledger.carry_out(&key, command(&good));
    assert!(matches!(ledger.state.deal(deal).unwrap().status, DealStatus::Active { sector: SECTOR, .. }));
    let record = ledger.state.sector(PROVIDER, SECTOR).unwrap();
    assert_eq!((record.comm_r, record.comm_d), (made.comm_r_new, made.comm_d_new));

    // What is proven from now on is the new replica; the old one answers no challenge.
    let duty = next_duty(&mut ledger);
    let statement = ledger.state.window_post_statement(PROVIDER, duty.deadline.deadline, duty.partition).unwrap();
    assert!(post::prove(&to_post_statement(&statement), &[old], &workers()).is_err());
    prove_window(&mut ledger, &new);
    let before = ledger.state.account(&address_of(&key)).balance;
    ledger.carry_out(&ledger.client.clone(), Command::Settle { deal });
    assert!(ledger.state.account(&address_of(&key)).balance > before, "and it is paid for");
}

#[test]
fn statements_of_updates_are_the_sector_crates() {
    let statement = cairn_ledger::SectorUpdateStatement {
        sector_size: SectorSize::GIB32,
        comm_r_old: cairn_protocol::CommR([1; 32]),
        comm_d_new: cairn_protocol::CommD([2; 32]),
        comm_r_new: cairn_protocol::CommR([3; 32]),
    };
    let translated = to_update_statement(&statement);
    assert_eq!(translated.h_select.bits(SectorSize::GIB32), 10, "what Filecoin uses");
    assert_eq!(
        (translated.comm_r_old.0, translated.comm_d_new.0, translated.comm_r_new.0),
        ([1; 32], [2; 32], [3; 32])
    );
}
