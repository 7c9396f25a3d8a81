//! A run: blocks from a seed, a look at each of them, and what came of it.
//!
//! 1. Everybody offers transactions, in an order that the seed decides.
//! 2. The block is applied; [`crate::damage`] may break what it left behind.
//! 3. Every checker looks at it.
//! 4. After the last step everybody stops; empty blocks pass until nothing waits any more, and the checkers look at what
//!    is left.
//!
//! A step is a transaction that was offered to a block.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use cairn_ledger::economy::CheckerParams;
use cairn_ledger::emission::EmissionParams;
use cairn_ledger::jobs::circuit_of;
use cairn_ledger::payments::VestingRule;
use cairn_ledger::scores::ballot::RoundCalendar;
use cairn_ledger::work::HEAVIEST;
use cairn_ledger::{
    BlockContext, ChainId, EconomyParams, Event, JobEvent, JobParams, LedgerParams, Outcome, ServingRules,
    SignedTransaction, StakeParams, State,
};
use cairn_protocol::{Amount, Epoch};
use serde::Serialize;

use crate::actors::{self, Member};
use crate::checkers::{Checker, PROMISES, QueueWatch};
use crate::damage::{Act, Damage};
use crate::observation::{CountingVerifier, Observation, Tools};
use crate::random::Random;
use crate::world::{Board, KeyPair, Offer, Offers, View};

/// What a run is made of.
#[derive(Clone)]
pub struct LedgerOptions {
    /// Names the run.
    pub seed: u64,
    /// Transactions to offer, at least; the last block may hold more.
    pub steps: u64,
    /// Blocks between two looks at the whole state.
    pub full_every: u64,
    /// Actors that do nothing.
    pub without: Vec<String>,
    /// The one checker that looks; all of them if `None`.
    pub only: Option<&'static str>,
    /// What is broken on purpose.
    pub damage: Option<&'static Damage>,
}

impl LedgerOptions {
    /// A run of everybody, with every checker.
    pub fn new(seed: u64, steps: u64) -> Self {
        Self { seed, steps, full_every: 128, without: Vec::new(), only: None, damage: None }
    }
}

/// A broken promise, and how to see it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Of the run.
    pub seed: u64,
    /// Transactions offered until then.
    pub step: u64,
    /// Height of the block.
    pub block: u64,
    /// Which checker.
    pub checker: &'static str,
    /// What it watches over.
    pub promise: &'static str,
    /// What is wrong.
    pub reason: String,
    /// Actors that it does not take.
    pub without: Vec<String>,
    /// What was broken on purpose.
    pub damage: Option<&'static str>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, block, checker, promise, reason, without, damage } = self;
        writeln!(f, "seed {seed}, step {step}, block {block}: {checker} failed")?;
        writeln!(f, "  promise: {promise}")?;
        writeln!(f, "  {reason}")?;
        write!(f, "  repeat:  cairn sim ledger --seed {seed} --steps {step} --checker {checker}")?;
        without.iter().try_for_each(|name| write!(f, " --without {name}"))?;
        damage.map_or(Ok(()), |name| write!(f, " --damage {name}"))
    }
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerReport {
    /// Of the run.
    pub seed: u64,
    /// Transactions offered.
    pub steps: u64,
    /// Blocks, empty ones at the end included.
    pub blocks: u64,
    /// Transactions carried out.
    pub applied: u64,
    /// Transactions that failed.
    pub failed: u64,
    /// Transactions that were refused.
    pub refused: u64,
    /// Offers that their authors knew to be crimes.
    pub crimes: u64,
    /// Most epochs that due work was late.
    pub lag: u64,
    /// Checkers that looked at every block.
    pub checkers: Vec<&'static str>,
    /// Events, by name.
    pub events: BTreeMap<String, u64>,
    /// Reasons of failure, by name.
    pub rejections: BTreeMap<String, u64>,
}

/// Plays a run to its end, or to the first broken promise.
///
/// # Errors
/// [`Failure`] names the checker and how to repeat it.
pub fn run_ledger(options: &LedgerOptions) -> Result<LedgerReport, Box<Failure>> {
    let mut run = Run::new(options);
    while run.steps < options.steps && !run.broken {
        let offers = run.offers();
        run.block(offers)?;
    }
    run.drain()?;
    Ok(run.report())
}

/// The same failure with fewer actors: each is left out in turn, and stays out if the same checker still fails.
pub fn minimise(options: &LedgerOptions, failure: &Failure) -> Failure {
    let mut smallest = failure.clone();
    let mut options = LedgerOptions { steps: failure.step, ..options.clone() };
    for name in actors::names() {
        options.without.push(name);
        match run_ledger(&options) {
            Err(again) if again.checker == failure.checker => smallest = *again,
            _ => drop(options.without.pop()),
        }
    }
    smallest
}

/// The network's numbers in a run: windows are short, so that everything ends soon; some seeds have queues that fall
/// behind, or small blocks.
fn params(random: &mut Random) -> LedgerParams {
    let prove_commit_window = random.between(20, 40);
    LedgerParams {
        epochs_per_deadline: random.between(1, 2),
        post_challenge_lead: random.between(5, 20),
        challenge_delay: random.between(1, 5),
        prove_commit_window,
        ticket_age_max: 60,
        beacon_window: 120,
        bid_window: random.between(2, 6),
        reveal_window: random.between(2, 6),
        activation_window: random.between(40, 80),
        replacements_max: random.below(3) as u32,
        record_retention: random.between(20, 60),
        channel_settle_delay: random.between(5, 30),
        deal_epochs_min: 48,
        fault_periods_max: random.between(2, 4) as u32,
        queue_weight_per_block: [16, 100, 10_000][random.below(3) as usize],
        block_transactions_max: [30, 100, 1_000][random.below(3) as usize],
        block_weight_max: HEAVIEST,
        economy: economy(),
        stake: StakeParams { unbonding_epochs: 60, slash_permille: 50 },
        serving: ServingRules::within(60),
        jobs: JobParams { bid_window: random.between(1, 4), attempts_max: 3, ..JobParams::devnet() },
        ..LedgerParams::devnet()
    }
}

/// Rounds of a few blocks, which pay, burn and score.
fn economy() -> EconomyParams {
    let devnet = EconomyParams::devnet();
    EconomyParams {
        rounds: RoundCalendar { round_epochs: 12, commit_epochs: 3, reveal_epochs: 3, open_epochs: 3 },
        emission: EmissionParams { settlement_burn_bp: 200, service_match_bp: 200, ..devnet.emission },
        vesting: VestingRule { free_bp: 2_500, duration_epochs: 30, bucket_epochs: 7 },
        checkers: CheckerParams { exit_epochs: 20, ..devnet.checkers },
        group_providers: 3,
        reward_rounds_kept: 3,
        sector_rails_max: 2,
        ..devnet
    }
}

const CHAIN: ChainId = ChainId([0x51; 32]);
const FUNDS: Amount = Amount(1_000_000_000_000);
const PAST_MAX: usize = 512;
/// Empty blocks after which everything must have ended.
const DRAIN_BLOCKS_MAX: u64 = 5_000;

/// Counts things by the name of their variant: `Transferred`, `Channel.NothingNew`.
#[derive(Default)]
struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn count(&mut self, thing: &impl fmt::Debug) {
        let mut name = VariantName(String::new());
        // Writing ends with an error where the name ends, so that the rest is never formatted.
        let _ = fmt::Write::write_fmt(&mut name, format_args!("{thing:?}"));
        self.count_name(name.0);
    }

    fn count_name(&mut self, name: String) {
        match self.0.get_mut(&name) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(name, 1)),
        }
    }
}

struct VariantName(String);

impl fmt::Write for VariantName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '(' => self.0.push('.'),
                c if c.is_alphanumeric() => self.0.push(c),
                _ => return Err(fmt::Error),
            }
        }
        Ok(())
    }
}

struct Run<'o> {
    options: &'o LedgerOptions,
    random: Random,
    state: State,
    keys: Vec<KeyPair>,
    members: Vec<Member>,
    board: Board,
    past: VecDeque<SignedTransaction>,
    checkers: Vec<(usize, Box<dyn Checker>)>,
    queue: QueueWatch,
    tools: Tools,
    steps: u64,
    /// A damaged state is looked at once and not built upon.
    broken: bool,
    damaged: bool,
    counts: [u64; 4],
    events: Tally,
    rejections: Tally,
}

impl<'o> Run<'o> {
    fn new(options: &'o LedgerOptions) -> Self {
        let mut random = Random::fork(options.seed, 0);
        let members = actors::cast(options.seed);
        let keys: Vec<KeyPair> = (0..members.len()).map(KeyPair::of).collect();
        let allocations: Vec<_> = keys.iter().map(|pair| (pair.address, FUNDS)).collect();
        let validators = [(KeyPair::of(keys.len()).address, Amount::from_units(10).expect("small"))];
        let state = State::genesis(CHAIN, params(&mut random), 0, &allocations)
            .and_then(|state| state.with_validators(&validators))
            .expect("parameters are drawn from what fits");
        let watched = |name: &str| options.only.is_none_or(|only| only == name);
        let promises = PROMISES.iter().enumerate().filter(|(_, promise)| watched(promise.name));
        let checkers = promises.map(|(index, promise)| (index, (promise.checker)(&state))).collect();
        let tools = match options.damage.map(|damage| damage.act) {
            Some(Act::Tools(tools)) => tools(),
            _ => Tools::default(),
        };
        Self {
            options,
            random,
            state,
            keys,
            members,
            board: Board::default(),
            past: VecDeque::new(),
            checkers,
            queue: QueueWatch::default(),
            tools,
            steps: 0,
            broken: false,
            damaged: false,
            counts: [0; 4],
            events: Tally::default(),
            rejections: Tally::default(),
        }
    }

    /// What everybody wants in the next block, as far as it fits.
    fn offers(&mut self) -> Vec<Offer> {
        let first = self.random.below(self.members.len() as u64) as usize;
        let view = View { state: &self.state, board: &self.board, keys: &self.keys, past: self.past.make_contiguous() };
        let mut offers = Offers::new(view);
        let count = self.members.len();
        for index in (0..count).map(|n| (first + n) % count) {
            let member = &mut self.members[index];
            if !self.options.without.iter().any(|name| name == member.actor.name()) {
                member.act(&view, &mut offers);
            }
        }
        let params = self.state.params();
        let mut list = offers.list;
        list.truncate(params.block_transactions_max as usize);
        let (mut room, mut strength) = (params.block_bytes_max as usize, params.block_weight_max);
        let fits = list.iter().take_while(|offer| {
            let (bytes, weight) = (offer.signed.encode().len(), self.state.weight_of(&offer.signed));
            let fits = bytes <= room && weight <= strength;
            (room, strength) = (room.saturating_sub(bytes), strength.saturating_sub(weight));
            fits
        });
        let fitting = fits.count();
        list.truncate(fitting);
        list
    }

    fn context(&mut self) -> BlockContext {
        let time_ms = self.state.time_ms() + self.random.below(200);
        let beacon = cairn_ledger::Beacon(self.random.bytes32());
        BlockContext { epoch: Epoch(self.state.epoch().0 + 1), time_ms, beacon }
    }

    fn block(&mut self, offers: Vec<Offer>) -> Result<(), Box<Failure>> {
        self.steps += offers.len() as u64;
        let mut seen = self.apply(offers);
        self.queue.read(&seen.changes, seen.now());
        seen.lag = self.queue.lag();
        if let Some(Damage { act: Act::Block(act), .. }) = self.options.damage
            && !self.damaged
        {
            self.damage(*act, &mut seen);
        }
        self.look(&seen)?;
        self.remember(seen);
        Ok(())
    }

    fn apply(&mut self, offers: Vec<Offer>) -> Observation {
        let before = self.state.clone();
        let context = self.context();
        let verifier = CountingVerifier::default();
        let transactions: Vec<SignedTransaction> = offers.iter().map(|offer| offer.signed.clone()).collect();
        let outcome =
            crate::world::apply(&mut self.state, &context, &transactions, &verifier).expect("the block follows");
        let after = self.state.clone();
        let changes = (self.tools.changes)(&before, &after);
        let full = context.epoch.0.is_multiple_of(self.options.full_every);
        let (proofs, tools) = (verifier.proofs.get(), self.tools);
        Observation { before, after, context, offers, outcome, changes, proofs, lag: 0, full, tools }
    }

    fn damage(&mut self, act: fn(&mut Observation) -> bool, seen: &mut Observation) {
        let mut damaged = Observation { full: true, ..seen.clone() };
        if !act(&mut damaged) {
            return;
        }
        self.damaged = true;
        if damaged.after.root() != seen.after.root() {
            self.broken = true;
            damaged.changes = (self.tools.changes)(&damaged.before, &damaged.after);
        }
        *seen = damaged;
    }

    fn look(&mut self, seen: &Observation) -> Result<(), Box<Failure>> {
        let wrong = self.checkers.iter_mut().find_map(|(index, checker)| Some((*index, checker.check(seen).err()?)));
        wrong.map_or(Ok(()), |(index, reason)| Err(self.failure(index, reason)))
    }

    fn failure(&self, index: usize, reason: String) -> Box<Failure> {
        Box::new(Failure {
            seed: self.options.seed,
            step: self.steps,
            block: self.state.epoch().0,
            checker: PROMISES[index].name,
            promise: PROMISES[index].text,
            reason,
            without: self.options.without.clone(),
            damage: self.options.damage.map(|damage| damage.name),
        })
    }

    fn remember(&mut self, seen: Observation) {
        self.board.read(&seen.outcome.events);
        for event in &seen.outcome.events {
            self.events.count(event);
            if let Event::Job(JobEvent::Proven { job, .. }) = event
                && let Some(Ok((circuit, ..))) = seen.after.job(*job).map(|job| circuit_of(&job.terms.statement))
            {
                self.events.count_name(format!("Job.Proven.{circuit}"));
            }
        }
        for (offer, receipt) in seen.offers.into_iter().zip(&seen.outcome.receipts) {
            self.counts[3] += u64::from(offer.crime.is_some());
            match &receipt.outcome {
                Outcome::Applied => self.counts[0] += 1,
                Outcome::Failed(rejection) => {
                    self.counts[1] += 1;
                    self.rejections.count(rejection);
                }
                Outcome::Refused(_) => {
                    self.counts[2] += 1;
                    continue;
                }
            }
            self.past.push_back(offer.signed);
        }
        self.past.drain(..self.past.len().saturating_sub(PAST_MAX));
    }

    /// Nobody acts any more.
    fn drain(&mut self) -> Result<(), Box<Failure>> {
        let mut blocks = 0;
        while !self.queue.is_empty() && blocks < DRAIN_BLOCKS_MAX && !self.broken {
            self.block(Vec::new())?;
            blocks += 1;
        }
        if self.broken {
            return Ok(());
        }
        let state = &self.state;
        let wrong = self.checkers.iter_mut().find_map(|(index, checker)| Some((*index, checker.finish(state).err()?)));
        wrong.map_or(Ok(()), |(index, reason)| Err(self.failure(index, reason)))
    }

    fn report(&self) -> LedgerReport {
        let [applied, failed, refused, crimes] = self.counts;
        LedgerReport {
            seed: self.options.seed,
            steps: self.steps,
            blocks: self.state.epoch().0,
            applied,
            failed,
            refused,
            crimes,
            lag: self.queue.lag(),
            checkers: self.checkers.iter().map(|(index, _)| PROMISES[*index].name).collect(),
            events: self.events.0.clone(),
            rejections: self.rejections.0.clone(),
        }
    }
}
