//! What a block costs over a large state, and how that grows with the state.
//!
//! A state of a given size is made ([`cairn_ledger::testing::populated`]), with the calendar and windows of a real network
//! (epochs of 30 s, 2,880 a day). Then three things are timed, each from the block's bytes to the new root:
//!
//! 1. *Quiet*: blocks of ordinary transactions alone, on copies of one state: what the size of the state alone costs.
//! 2. *Busy*: blocks in a row with the window PoSts that fall due and the deadlines that close, as the calendar brings
//!    them. A PoSt covers up to 2,349 sectors.
//! 3. *Burst*: every PoSt that may be sent now, in one block: the most that the calendar allows at once.
//!
//! Proofs are checked by a stand-in, so that this is the ledger's own time; a real one adds its batch of proofs.

use std::collections::BTreeMap;
use std::fmt;

use cairn_ledger::testing::{HashVerifier, Population, order_terms, piece, populated, post_delay};
use cairn_ledger::{
    BlockContext, Command, DealId, Event, LedgerParams, OrderId, Outcome, SignedTransaction, State, Transaction,
};
use cairn_protocol::{Amount, Epoch, ProviderId};
use serde::Serialize;

use crate::random::Random;
use crate::world::{KeyPair, true_proof};

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScaleOptions {
    /// Names the traffic.
    pub seed: u64,
    /// Live sectors.
    pub sectors: u64,
    /// Providers of them.
    pub providers: u64,
    /// Active deals in them.
    pub deals: u64,
    /// Ordinary transactions in a block.
    pub transactions: u64,
    /// Blocks of each kind.
    pub blocks: u64,
}

impl ScaleOptions {
    /// A thousand sectors for each provider, a deal in every tenth; 200 ordinary transactions in a block.
    pub fn of_sectors(seed: u64, sectors: u64) -> Self {
        let (providers, deals) = ((sectors / 1_000).max(1), sectors / 10);
        Self { seed, sectors, providers, deals, transactions: 200, blocks: 130 }
    }
}

/// Seconds of many blocks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// Half of them took at most this.
    pub p50_s: f64,
    /// 99 of a hundred.
    pub p99_s: f64,
    /// All of them.
    pub max_s: f64,
}

impl Times {
    fn of(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |part: f64| seconds[((seconds.len() - 1) as f64 * part).round() as usize];
        Self { p50_s: at(0.5), p99_s: at(0.99), max_s: at(1.0) }
    }
}

/// One size, measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScaleRow {
    /// Live sectors.
    pub sectors: u64,
    /// Providers.
    pub providers: u64,
    /// Active deals.
    pub deals: u64,
    /// Entries of the state.
    pub entries: u64,
    /// Bytes of their keys and values, as stored or sent in a snapshot.
    pub state_bytes: u64,
    /// Memory that the state takes: resident set after making it and its root, less before. `None` if unknown.
    pub resident_bytes: Option<u64>,
    /// Seconds to hash the whole state once.
    pub first_root_s: f64,
    /// Blocks of ordinary transactions alone.
    pub quiet: Times,
    /// Blocks with what the calendar brings.
    pub busy: Times,
    /// Sectors proven in a busy block, on average.
    pub busy_sectors_proven: u64,
    /// One block with every PoSt that may be sent.
    pub burst_s: f64,
    /// PoSts in it.
    pub burst_posts: u64,
    /// Sectors in it.
    pub burst_sectors: u64,
}

impl ScaleRow {
    /// Head of a table of rows.
    pub const HEAD: &'static str = "   sectors providers     deals    entries  state MB  memory MB  root s \
        | quiet p50   p99   max ms | busy p50    p99    max ms  sectors/block | burst ms   PoSts   sectors";
}

impl fmt::Display for ScaleRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let ms = |seconds: f64| seconds * 1e3;
        let memory = self.resident_bytes.map_or("?".to_owned(), |bytes| format!("{:.0}", megabytes(bytes)));
        write!(
            f,
            "{:>10} {:>9} {:>9} {:>10} {:>9.0} {:>10} {:>7.1} | {:>9.2} {:>5.2} {:>8.2} | {:>8.1} {:>6.1} {:>9.1} {:>14} \
             | {:>8.0} {:>7} {:>9}",
            self.sectors,
            self.providers,
            self.deals,
            self.entries,
            megabytes(self.state_bytes),
            memory,
            self.first_root_s,
            ms(self.quiet.p50_s),
            ms(self.quiet.p99_s),
            ms(self.quiet.max_s),
            ms(self.busy.p50_s),
            ms(self.busy.p99_s),
            ms(self.busy.max_s),
            self.busy_sectors_proven,
            ms(self.burst_s),
            self.burst_posts,
            self.burst_sectors,
        )
    }
}

/// Seconds and memory, which a library does not look up by itself.
pub struct Meters<'m> {
    /// Seconds since some moment.
    pub clock: &'m dyn Fn() -> f64,
    /// Bytes of this process that are resident now, if that can be known.
    pub resident: &'m dyn Fn() -> Option<u64>,
    /// Told what is being done.
    pub note: &'m dyn Fn(&str),
}

/// Makes a state of this size and measures blocks on it.
pub fn measure(options: &ScaleOptions, meters: &Meters<'_>) -> ScaleRow {
    let resident_before = (meters.resident)();
    (meters.note)(&format!("making a state of {} sectors", options.sectors));
    let mut traffic = Traffic::new(options);
    let (first_root_s, _) = timed(meters, || traffic.state.root());
    let resident_after = (meters.resident)();
    let size = traffic.state.size();
    traffic.busy_block(meters);
    (meters.note)("quiet blocks");
    let quiet = (0..options.blocks).map(|_| traffic.quiet_block(meters)).collect();
    (meters.note)("burst");
    let (burst_s, burst_posts, burst_sectors) = traffic.burst(meters);
    (meters.note)("busy blocks");
    let mut proven = 0;
    let busy = (0..options.blocks).map(|_| {
        let (seconds, sectors) = traffic.busy_block(meters);
        proven += sectors;
        seconds
    });
    let busy = Times::of(busy.collect());
    ScaleRow {
        sectors: options.sectors,
        providers: options.providers,
        deals: options.deals,
        entries: size.entries,
        state_bytes: size.bytes,
        resident_bytes: resident_after.zip(resident_before).map(|(after, before)| after.saturating_sub(before)),
        first_root_s,
        quiet: Times::of(quiet),
        busy,
        busy_sectors_proven: proven / options.blocks.max(1),
        burst_s,
        burst_posts,
        burst_sectors,
    }
}

fn timed<R>(meters: &Meters<'_>, work: impl FnOnce() -> R) -> (f64, R) {
    let start = (meters.clock)();
    let result = work();
    ((meters.clock)() - start, result)
}

/// Orders that bids are spread over.
const OPEN_ORDERS_MAX: usize = 100;

struct Traffic<'o> {
    options: &'o ScaleOptions,
    random: Random,
    state: State,
    owners: Vec<KeyPair>,
    first_provider: u64,
    first_deal: u64,
    /// Orders that take bids.
    open: Vec<OrderId>,
}

impl<'o> Traffic<'o> {
    fn new(options: &'o ScaleOptions) -> Self {
        let owners: Vec<KeyPair> = (0..options.providers as usize).map(KeyPair::of).collect();
        let (providers, sectors, deals) = (options.providers, options.sectors, options.deals);
        let population = Population { providers, sectors, deals };
        // Long before its expiration a sector lives; the windows are those of a real network.
        let state = populated(&LedgerParams::mainnet(), &population, |index| owners[index as usize].address);
        let first_provider = state.providers().nth(1).expect("populated").0.0;
        let first_deal = state.deals().nth(1).map_or(0, |(deal, _)| deal.0);
        let (random, open) = (Random::new(options.seed), Vec::new());
        Self { options, random, state, owners, first_provider, first_deal, open }
    }

    /// Notes the orders that a block placed.
    fn note_orders(&mut self, events: &[Event]) {
        let placed = events.iter().filter_map(|event| match event {
            Event::OrderPlaced { order, .. } => Some(*order),
            _ => None,
        });
        self.open.extend(placed);
        self.open.drain(..self.open.len().saturating_sub(OPEN_ORDERS_MAX));
    }

    fn context(&mut self) -> BlockContext {
        let epoch = Epoch(self.state.epoch().0 + 1);
        let beacon = cairn_ledger::Beacon(self.random.bytes32());
        BlockContext { epoch, time_ms: self.state.time_ms() + 30_000, beacon }
    }

    fn sign(&self, index: u64, ahead: &mut BTreeMap<u64, u64>, command: Command) -> SignedTransaction {
        let KeyPair { key, address } = &self.owners[index as usize];
        let ahead = ahead.entry(index).or_default();
        let nonce = self.state.account(address).nonce + *ahead;
        *ahead += 1;
        Transaction { chain: self.state.chain(), sender: *address, nonce, command }.sign(key)
    }

    /// Transfers, settlements, orders, bids and collateral, from random owners about random things.
    fn ordinary(&mut self, ahead: &mut BTreeMap<u64, u64>) -> Vec<SignedTransaction> {
        (0..self.options.transactions)
            .map(|_| {
                let index = self.random.below(self.options.providers);
                let provider = ProviderId(self.first_provider + index);
                let command = match self.random.below(10) {
                    0..=3 => {
                        let to = self.owners[self.random.below(self.options.providers) as usize].address;
                        Command::Transfer { to, amount: Amount(1) }
                    }
                    4..=6 if self.options.deals > 0 => {
                        Command::Settle { deal: DealId(self.first_deal + self.random.below(self.options.deals)) }
                    }
                    7 => {
                        let pieces = vec![piece(self.random.below(200) as u8, 1 << 30)];
                        Command::PlaceOrder(order_terms(self.state.params(), pieces, 100))
                    }
                    8 if !self.open.is_empty() => {
                        let order = self.open[self.random.below(self.open.len() as u64) as usize];
                        Command::PlaceBid { provider, order, price_per_epoch: Amount(self.random.below(100)) }
                    }
                    _ => Command::AddCollateral { provider, amount: Amount(1) },
                };
                self.sign(index, ahead, command)
            })
            .collect()
    }

    fn quiet_block(&mut self, meters: &Meters<'_>) -> f64 {
        let (transactions, context) = (self.ordinary(&mut BTreeMap::new()), self.context());
        let mut state = self.state.clone();
        let (seconds, outcome) = timed(meters, || state.apply_block(&context, &transactions, &HashVerifier));
        outcome.expect("the block follows");
        seconds
    }

    /// The PoSts of the next block: by everybody whose turn it is, or by everybody who may.
    fn posts(&self, ahead: &mut BTreeMap<u64, u64>, everybody: bool) -> (Vec<SignedTransaction>, u64) {
        let next = Epoch(self.state.epoch().0 + 1);
        let (mut posts, mut sectors) = (Vec::new(), 0);
        for index in 0..self.options.providers {
            let provider = ProviderId(self.first_provider + index);
            let calendar = self.state.calendar(provider);
            for (deadline, partition, members) in self.state.partitions_of(provider) {
                let instance = calendar.closing_at(deadline, members.closes_at);
                let proven = members.proven_challenge >= Some(instance.challenge_epoch);
                let turn = instance.challenge_epoch.0 + post_delay(self.state.params(), provider) == next.0;
                if proven || members.sectors.is_empty() || !instance.is_open_at(next) || !(turn || everybody) {
                    continue;
                }
                let statement = self.state.window_post_statement(provider, deadline, partition);
                let proof = true_proof(&statement.expect("the challenge is drawn"));
                let challenge_epoch = instance.challenge_epoch;
                let skipped = Vec::new();
                let post = Command::SubmitWindowPost { provider, deadline, partition, challenge_epoch, proof, skipped };
                posts.push(self.sign(index, ahead, post));
                sectors += members.sectors.len() as u64;
            }
        }
        (posts, sectors)
    }

    fn burst(&mut self, meters: &Meters<'_>) -> (f64, u64, u64) {
        let context = self.context();
        let (mut posts, sectors) = self.posts(&mut BTreeMap::new(), true);
        posts.truncate(self.state.params().block_transactions_max as usize);
        let mut weight = 0;
        posts.retain(|post| {
            weight += self.state.weight_of(post);
            weight <= self.state.params().block_weight_max
        });
        let mut state = self.state.clone();
        let (seconds, outcome) = timed(meters, || state.apply_block(&context, &posts, &HashVerifier));
        let outcome = outcome.expect("the block follows");
        assert!(outcome.receipts.iter().all(|receipt| receipt.outcome == Outcome::Applied), "every proof holds");
        (seconds, posts.len() as u64, sectors)
    }

    fn busy_block(&mut self, meters: &Meters<'_>) -> (f64, u64) {
        let mut ahead = BTreeMap::new();
        let (mut transactions, sectors) = self.posts(&mut ahead, false);
        transactions.extend(self.ordinary(&mut ahead));
        let context = self.context();
        let before = self.state.clone();
        let (seconds, outcome) = timed(meters, || {
            let outcome = self.state.apply_block(&context, &transactions, &HashVerifier);
            drop(before);
            outcome
        });
        self.note_orders(&outcome.expect("the block follows").events);
        (seconds, sectors)
    }
}
