//! A ledger with keys and a clock, to write tests as stories.

use cairn_protocol::{
    Amount, CommD, CommP, CommR, Epoch, PaddedBytes, PieceInfo, ProviderId, SealProof, SectorNumber, SectorSize,
};
use cid::Cid;
use ed25519_consensus::SigningKey;
use multihash::Multihash;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::*;

/// Accepts as proof the SHA-256 of the statement, and takes as CommD the SHA-256 of the pieces.
#[derive(Debug, Clone, Copy, Default)]
pub struct HashVerifier;

impl HashVerifier {
    /// The proof that this verifier accepts for `statement`.
    pub fn proof_of<T: Serialize>(statement: &T) -> Vec<u8> {
        Sha256::digest(codec::encode(statement)).to_vec()
    }

    fn check<T: Serialize>(statement: &T, proof: &[u8]) -> Result<(), ProofRejection> {
        let expected = Self::proof_of(statement);
        if proof == expected { Ok(()) } else { Err(ProofRejection::new("not the hash of the statement")) }
    }
}

impl ProofVerifier for HashVerifier {
    fn comm_d(&self, size: SectorSize, pieces: &[PieceInfo]) -> Result<CommD, ProofRejection> {
        let total: u128 = pieces.iter().map(|piece| u128::from(piece.size.0)).sum();
        if total > u128::from(size.bytes()) {
            return Err(ProofRejection::new(format!("{total} bytes of pieces do not fit {size}")));
        }
        let mut digest: [u8; 32] = Sha256::digest(codec::encode(&(size, pieces))).into();
        digest[31] &= 0x3f;
        Ok(CommD(digest))
    }

    fn verify_porep(&self, statement: &PorepStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        Self::check(statement, proof)
    }

    fn verify_window_post(&self, statement: &WindowPostStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        Self::check(statement, proof)
    }

    fn verify_sector_update(&self, statement: &SectorUpdateStatement, proof: &[u8]) -> Result<(), ProofRejection> {
        Self::check(statement, proof)
    }
}

/// A ledger on which keys 1.. have money. Every block is checked against the invariants, against a replay from the
/// state's stored entries, and against the changes it says it made.
#[derive(Debug, Clone)]
pub struct Network {
    /// The state after the last block.
    pub state: State,
    /// Events of all blocks.
    pub events: Vec<Event>,
}

/// What each account of a [`Network`] has at first.
pub const FUNDS: Amount = Amount(1_000_000_000_000);

/// The chain of a [`Network`].
pub const CHAIN: ChainId = ChainId([0xca; 32]);

impl Network {
    /// A network with `accounts` funded keys.
    pub fn new(params: LedgerParams, accounts: u8) -> Self {
        let allocations: Vec<_> = (1..=accounts).map(|n| (Self::address(n), FUNDS)).collect();
        let state = State::genesis(CHAIN, params, 0, &allocations).expect("a valid genesis");
        Self { state, events: Vec::new() }
    }

    /// The key of account `n`.
    pub fn key(n: u8) -> SigningKey {
        SigningKey::from([n; 32])
    }

    /// The address of account `n`.
    pub fn address(n: u8) -> Address {
        address_of(&Self::key(n))
    }

    /// A transaction of account `n` with its next nonce plus `ahead`.
    pub fn transaction(&self, n: u8, ahead: u64, command: Command) -> SignedTransaction {
        let key = Self::key(n);
        let sender = address_of(&key);
        let nonce = self.state.account(&sender).nonce + ahead;
        Transaction { chain: self.state.chain(), sender, nonce, command }.sign(&key)
    }

    /// The context of the next block.
    pub fn next_context(&self) -> BlockContext {
        let epoch = Epoch(self.state.epoch().0 + 1);
        let beacon = Beacon(Sha256::digest(epoch.0.to_be_bytes()).into());
        BlockContext { epoch, time_ms: epoch.0 * 100, beacon }
    }

    /// Applies a block of these transactions.
    pub fn block(&mut self, transactions: &[SignedTransaction]) -> BlockOutcome {
        let before = self.state.clone();
        let outcome =
            self.state.apply_block(&self.next_context(), transactions, &HashVerifier).expect("the block follows");
        self.state.check_invariants().expect("invariants hold after every block");
        assert_eq!(outcome.state_root, self.state.root());
        assert_eq!(self.state.root(), replayed(&before, &self.state).root(), "changes lead to the same state");
        let closes = outcome.events.iter().filter_map(closure_of);
        closes.for_each(|closure| assert_eq!(*closure, Closure::new(closure.reason, self.state.epoch())));
        self.events.extend(outcome.events.iter().cloned());
        outcome
    }

    /// Applies a block with one transaction of account `n` and returns what became of it.
    pub fn try_command(&mut self, n: u8, command: Command) -> Receipt {
        let transaction = self.transaction(n, 0, command);
        self.block(&[transaction]).receipts.remove(0)
    }

    /// Applies a block with one transaction of account `n` that must succeed.
    pub fn command(&mut self, n: u8, command: Command) -> Vec<Event> {
        let receipt = self.try_command(n, command);
        assert_eq!(receipt.outcome, Outcome::Applied);
        receipt.events
    }

    /// Applies a block with one transaction of account `n` that must fail, and returns why.
    pub fn rejection(&mut self, n: u8, command: Command) -> Rejection {
        match self.try_command(n, command).outcome {
            Outcome::Failed(rejection) => rejection,
            other => panic!("expected a failed command, got {other:?}"),
        }
    }

    /// Applies empty blocks until the state is at `epoch`.
    pub fn advance_to(&mut self, epoch: Epoch) {
        while self.state.epoch() < epoch {
            self.block(&[]);
        }
    }

    /// Registers account `n` as a provider of 8 MiB sectors with ten times the least collateral.
    pub fn register(&mut self, n: u8) -> ProviderId {
        let collateral = self.state.params().collateral_min.checked_mul(10).expect("small");
        let endpoint = format!("http://provider-{n}.test/");
        let command = Command::RegisterProvider { sector_size: SectorSize::MIB8, collateral, endpoint };
        match self.command(n, command).as_slice() {
            [Event::ProviderRegistered { provider, .. }] => *provider,
            other => panic!("expected a registration, got {other:?}"),
        }
    }

    /// Places an order of account `n`.
    pub fn order(&mut self, n: u8, terms: OrderTerms) -> OrderId {
        match self.command(n, Command::PlaceOrder(terms)).as_slice() {
            [Event::OrderPlaced { order, .. }] => *order,
            other => panic!("expected an order, got {other:?}"),
        }
    }

    /// Lets the bid window of an order end and returns its deals.
    pub fn deals_of_order(&mut self, order: OrderId) -> Vec<DealId> {
        self.advance_to(self.state.order(order).expect("the order exists").bids_close_at);
        match &self.state.order(order).expect("the order exists").status {
            OrderStatus::Matched { deals, .. } => deals.clone(),
            other => panic!("expected a matched order, got {other:?}"),
        }
    }

    /// The manifest of a sector that holds exactly these deals.
    pub fn manifest(&self, deals: &[DealId]) -> Vec<ManifestPiece> {
        let piece = |deal: &DealId| self.state.deal(*deal).expect("the deal exists").piece.piece;
        deals.iter().map(|deal| ManifestPiece { piece: piece(deal), deal: Some(*deal) }).collect()
    }

    /// A pre-commit for a sector of these deals, sealed with the ticket of the last epoch.
    pub fn pre_commit(&self, provider: ProviderId, sector: u64, deals: &[DealId]) -> PreCommit {
        let pieces: Vec<PieceInfo> = self.manifest(deals).iter().map(|entry| entry.piece).collect();
        let size = self.state.provider(provider).expect("the provider exists").sector_size;
        let params = self.state.params();
        let durations = deals.iter().filter_map(|deal| self.state.deal(*deal)).map(|deal| deal.duration_epochs);
        let longest = durations.max().unwrap_or(params.deal_epochs_min);
        PreCommit {
            provider,
            sector: SectorNumber(sector),
            seal_proof: SealProof::V1_1,
            comm_r: CommR([sector as u8; 32]),
            comm_d: HashVerifier.comm_d(size, &pieces).expect("the pieces fit"),
            ticket_epoch: self.state.epoch(),
            expiration: Epoch(self.state.epoch().0 + 1 + params.sector_epochs_min(longest)),
            deals: deals.to_vec(),
        }
    }

    /// A prove-commit with a proof that holds.
    pub fn prove_commit(&self, provider: ProviderId, sector: u64, deals: &[DealId]) -> Command {
        let sector = SectorNumber(sector);
        let statement = self.state.porep_statement(provider, sector).expect("the seed is known");
        let proof = HashVerifier::proof_of(&statement);
        Command::ProveCommit { provider, sector, pieces: self.manifest(deals), proof }
    }

    /// Pre-commits and proves a sector of account `n`.
    pub fn seal(&mut self, n: u8, provider: ProviderId, sector: u64, deals: &[DealId]) {
        let pre_commit = self.pre_commit(provider, sector, deals);
        self.command(n, Command::PreCommit(pre_commit));
        let seed_epoch = self.state.sector(provider, SectorNumber(sector)).expect("just made").seed_epoch;
        self.advance_to(seed_epoch);
        let prove = self.prove_commit(provider, sector, deals);
        self.command(n, prove);
    }

    /// CommD of a sector of this provider that holds nothing.
    pub fn comm_d_of_zeros(&self, provider: ProviderId) -> CommD {
        let size = self.state.provider(provider).expect("the provider exists").sector_size;
        HashVerifier.comm_d(size, &[]).expect("nothing fits")
    }

    /// An update of an empty sector by the pieces of these deals, with a proof that holds.
    pub fn update(&self, provider: ProviderId, sector: u64, deals: &[DealId]) -> SectorUpdate {
        let (sector, pieces) = (SectorNumber(sector), self.manifest(deals));
        let sector_size = self.state.provider(provider).expect("the provider exists").sector_size;
        let infos: Vec<PieceInfo> = pieces.iter().map(|entry| entry.piece).collect();
        let comm_r_old = self.state.sector(provider, sector).expect("the sector exists").comm_r;
        let mut comm_r = comm_r_old;
        comm_r.0[1] ^= 0x55;
        let statement = SectorUpdateStatement {
            sector_size,
            comm_r_old,
            comm_d_new: HashVerifier.comm_d(sector_size, &infos).expect("the pieces fit"),
            comm_r_new: comm_r,
        };
        SectorUpdate { provider, sector, comm_r, pieces, proof: HashVerifier::proof_of(&statement) }
    }

    /// A window PoSt with a proof that holds, for the partition's current instance.
    pub fn window_post(&self, provider: ProviderId, duty: &PostDuty) -> Command {
        self.window_post_skipping(provider, duty, &[])
    }

    /// The same, with a proof that leaves these sectors out.
    pub fn window_post_skipping(&self, provider: ProviderId, duty: &PostDuty, skipped: &[SectorNumber]) -> Command {
        let (deadline, partition) = (duty.deadline.deadline, duty.partition);
        let statement = self.state.window_post_statement(provider, deadline, partition);
        let mut statement = statement.expect("the challenge is drawn");
        statement.sectors.retain(|(number, _)| !skipped.contains(number));
        let proof = HashVerifier::proof_of(&statement);
        let (challenge_epoch, skipped) = (duty.deadline.challenge_epoch, skipped.to_vec());
        Command::SubmitWindowPost { provider, deadline, partition, challenge_epoch, proof, skipped }
    }

    /// Waits for the next unproven instance of the provider's first partition and proves it.
    pub fn prove_next(&mut self, n: u8, provider: ProviderId) -> Epoch {
        loop {
            let duty =
                self.state.post_duties(provider).into_iter().find(|duty| !duty.proven && !duty.sectors.is_empty());
            match duty {
                Some(duty) => {
                    self.advance_to(duty.deadline.challenge_epoch);
                    let command = self.window_post(provider, &duty);
                    self.command(n, command);
                    return duty.deadline.challenge_epoch;
                }
                None => {
                    self.block(&[]);
                }
            }
        }
    }
}

/// How something ended, if the event says that something did.
fn closure_of(event: &Event) -> Option<&Closure> {
    match event {
        Event::OrderClosed { closure, .. }
        | Event::BidClosed { closure, .. }
        | Event::DealClosed { closure, .. }
        | Event::SectorClosed { closure, .. }
        | Event::ChannelClosed { closure, .. } => Some(closure),
        _ => None,
    }
}

/// `newer` as a store rebuilds it: the entries of `older`, changed as `newer` says, read again.
fn replayed(older: &State, newer: &State) -> State {
    let mut stored: std::collections::BTreeMap<(u8, Vec<u8>), Vec<u8>> =
        older.entries().into_iter().filter_map(|entry| Some(((entry.column, entry.key), entry.value?))).collect();
    for change in newer.changes_since(older) {
        match change.value {
            Some(value) => stored.insert((change.column, change.key), value),
            None => stored.remove(&(change.column, change.key)),
        };
    }
    State::from_entries(stored.into_iter().map(|((column, key), value)| (column, key, value)))
        .expect("readable entries")
}

/// A piece of `padded_bytes` named by `tag`, full to the last payload byte.
pub fn piece(tag: u8, padded_bytes: u64) -> OrderPiece {
    let size = PaddedBytes(padded_bytes);
    let mut comm_p = [tag; 32];
    comm_p[31] &= 0x3f;
    OrderPiece { piece: PieceInfo { comm_p: CommP(comm_p), size }, payload_bytes: size.to_unpadded().0 }
}

/// Terms for one copy of these pieces, over two proving periods, for at most `price` per epoch.
pub fn order_terms(params: &LedgerParams, pieces: Vec<OrderPiece>, price: u64) -> OrderTerms {
    let root = Multihash::wrap(ids::HASH_SHA2_256, &[7; 32]).expect("32 bytes fit");
    OrderTerms {
        root: Cid::new_v1(ids::CODEC_DAG_CBOR, root),
        pieces,
        duration_epochs: (2 * params.proving_period()).max(params.deal_epochs_min),
        price_per_epoch_max: Amount(price),
        copies: 1,
        transfer_url: "http://client.test/".to_owned(),
        requirements: Requirements::default(),
    }
}
