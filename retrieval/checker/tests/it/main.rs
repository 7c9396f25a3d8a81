//! Checkers with real gateways: one honest, one that corrupts, one that is dead. The ledger is the real one, block by block.

use std::net::SocketAddr;
use std::sync::Arc;

use cairn_checker::{AssignedCheck, Checker, CheckerOptions, CheckerView, Exhibit, Journal};
use cairn_content::{HotStore, ImportOptions, Placement};
use cairn_gateway::{
    ContentSource, DataEntry, GatewayOptions, PieceResource, RangeReader, Resource, SourceCounts, SourceError, serve,
};
use cairn_ledger::economy::{CheckerParams, NEUTRAL_REPUTATION};
use cairn_ledger::scores::Fraction;
use cairn_ledger::scores::ballot::RoundCalendar;
use cairn_ledger::scores::checks::CheckPlan;
use cairn_ledger::scores::quality::QualityTarget;
use cairn_ledger::scores::receipts::{CheckFailure, CheckReceipt, CheckResult};
use cairn_ledger::testing::{Network, order_terms, piece};
use cairn_ledger::{CheckCommand, Command, EconomyParams, Event, LedgerParams, ScoreEvent};
use cairn_protocol::{Amount, CommP, Epoch, ProviderId, SectorSize};
use cid::Cid;
use tokio::net::TcpListener;

const CLIENT: u8 = 1;
const ROUND: u64 = 16;
const CHECKERS: std::ops::Range<u8> = 5..8;
const STAKE: Amount = Amount(10_000_000);

fn params() -> LedgerParams {
    let devnet = EconomyParams::devnet();
    let economy = EconomyParams {
        rounds: RoundCalendar { round_epochs: ROUND, commit_epochs: 3, reveal_epochs: 3, open_epochs: 3 },
        checks: CheckPlan { targets: 9, samples: 5, range_bytes: 10_000 },
        // However slow the machine is: only what comes, and whether it is right, counts here.
        quality: QualityTarget { samples_min: 5, ttfb_exponent: 0, throughput_exponent: 0, ..devnet.quality },
        checkers: CheckerParams { checkers_max: 4, ..devnet.checkers },
        ..devnet
    };
    LedgerParams { challenge_delay: 2, bid_window: 2, economy, ..LedgerParams::devnet() }
}

/// Serves a store, with one bit of every byte of data flipped. Blocks of the graph are as they are.
struct Corrupting(Arc<HotStore>);

struct Flipped(Box<dyn RangeReader>);

impl RangeReader for Flipped {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read_at(offset, buffer)?;
        buffer[..count].iter_mut().for_each(|byte| *byte ^= 1);
        Ok(count)
    }
}

impl ContentSource for Corrupting {
    fn piece(&self, comm_p: &CommP) -> Result<Option<PieceResource>, SourceError> {
        ContentSource::piece(self.0.as_ref(), comm_p)
    }

    fn dataset_by_name(&self, name: &str) -> Result<Option<Cid>, SourceError> {
        self.0.dataset_by_name(name)
    }

    fn data(&self, root: &Cid, path: &[String]) -> Result<Option<DataEntry>, SourceError> {
        Ok(self.0.data(root, path)?.map(|entry| match entry {
            DataEntry::File { name, cid, resource: Resource { bytes, reader } } => {
                DataEntry::File { name, cid, resource: Resource { bytes, reader: Box::new(Flipped(reader)) } }
            }
            folder => folder,
        }))
    }

    fn block(&self, cid: &Cid) -> Result<Option<Resource>, SourceError> {
        ContentSource::block(self.0.as_ref(), cid)
    }

    fn counts(&self) -> SourceCounts {
        self.0.counts()
    }
}

async fn gateway(source: Arc<dyn ContentSource>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, source, GatewayOptions::default(), std::future::pending()));
    address
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Makes account `n` a provider at `endpoint` with an active deal for the dataset.
fn provider(network: &mut Network, n: u8, endpoint: SocketAddr, root: Cid) -> ProviderId {
    let collateral = network.state.params().collateral_min;
    let endpoint = format!("http://{endpoint}");
    let events = network.command(n, Command::RegisterProvider { sector_size: SectorSize::MIB8, collateral, endpoint });
    let [Event::ProviderRegistered { provider, .. }] = events[..] else { panic!("{events:?}") };
    let mut terms = order_terms(network.state.params(), vec![piece(n, 1 << 20)], 100);
    (terms.root, terms.duration_epochs) = (root, 100_000);
    let order = network.order(CLIENT, terms);
    network.command(n, Command::PlaceBid { provider, order, price_per_epoch: Amount(50) });
    let deals = network.deals_of_order(order);
    network.seal(n, provider, 1, &deals);
    provider
}

fn view(network: &Network, checker: &Checker) -> CheckerView {
    CheckerView::of(&network.state, checker.address())
}

/// Begins with what the state assigns, and notes what it assigns to all.
fn begin(network: &Network, checker: &mut Checker) {
    let (view, state) = (view(network, checker), &network.state);
    if checker.wants_assignments(&view) {
        checker.note(&view, AssignedCheck::of_all(state)).unwrap();
    }
    checker.begin(&view, AssignedCheck::all_of(state, checker.address()));
}

/// One block with what every checker wants to hand in.
fn block(network: &mut Network, checkers: &mut [(u8, Checker)]) {
    let mut commands = Vec::new();
    for (n, checker) in checkers {
        let vote = checker.vote(&view(network, checker)).unwrap();
        let exhibits = |round| Exhibit::all_of(&network.state, round, Network::address(*n));
        let refuted = checker.round_to_refute().map(exhibits);
        let command = vote.or_else(|| checker.refutation(&refuted?));
        commands.extend(command.map(|command| network.transaction(*n, 0, Command::Check(command))));
    }
    let outcome = network.block(&commands);
    assert!(outcome.receipts.iter().all(|receipt| receipt.outcome == cairn_ledger::Outcome::Applied), "{outcome:?}");
}

fn stake(network: &mut Network, journals: &std::path::Path) -> Vec<(u8, Checker)> {
    let seat = |n: u8| {
        network.command(n, Command::Check(CheckCommand::Stake { amount: STAKE }));
        let journal = Journal::open(&journals.join(format!("checker-{n}"))).unwrap();
        (n, Checker::new(Network::key(n), journal, CheckerOptions::default()))
    };
    CHECKERS.map(seat).collect()
}

fn counted(network: &Network, what: fn(&ScoreEvent) -> bool) -> usize {
    network.events.iter().filter(|event| matches!(event, Event::Score(score) if what(score))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reputations_come_out_as_the_gateways_serve() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("data");
    std::fs::create_dir_all(source.join("folder")).unwrap();
    let noise = |seed: u32, bytes: u32| {
        (0..bytes).map(|n| (n.wrapping_mul(2_654_435_761 ^ seed) >> 13) as u8).collect::<Vec<u8>>()
    };
    std::fs::write(source.join("folder/large"), noise(1, 2_500_000)).unwrap();
    std::fs::write(source.join("small"), noise(2, 700)).unwrap();
    std::fs::write(source.join("empty"), b"").unwrap();
    let store = Arc::new(HotStore::open(&dir.path().join("store")).unwrap());
    let root = store.import(&source, None, Placement::Reference, &ImportOptions::default()).unwrap().root();

    let mut network = Network::new(params(), 8);
    let honest = provider(&mut network, 2, gateway(store.clone()).await, root);
    let corrupting = provider(&mut network, 3, gateway(Arc::new(Corrupting(store))).await, root);
    let dead = provider(&mut network, 4, nobody().await, root);
    let mut checkers = stake(&mut network, dir.path());

    let first = network.state.round_at(network.state.epoch()) + 1;
    let rounds = 4;
    for round in first..=first + rounds {
        while network.state.epoch() < Epoch(round * ROUND) {
            block(&mut network, &mut checkers);
        }
        for (_, checker) in &mut checkers {
            begin(&network, checker);
            checker.finish(true).await.unwrap();
        }
    }
    // The votes on the round before the last are in its first epochs.
    for _ in 1..ROUND {
        block(&mut network, &mut checkers);
    }
    let reputation = |provider| network.state.reputation_of(provider);
    println!(
        "after {rounds} rounds of {} checks each by {} checkers: honest {}, corrupting {}, dead {}",
        network.state.params().economy.checks.slots(),
        checkers.len(),
        reputation(honest),
        reputation(corrupting),
        reputation(dead)
    );
    let moved =
        |towards| (0..rounds).fold(NEUTRAL_REPUTATION, |r: Fraction, _| r.moved_towards(towards, Fraction::of(1, 10)));
    assert_eq!(reputation(honest), moved(Fraction::ONE), "served every range");
    assert_eq!(reputation(corrupting), moved(Fraction::ZERO));
    assert_eq!(reputation(dead), moved(Fraction::ZERO));

    // What the receipts say is why.
    let journal = Journal::open(&dir.path().join("checker-5")).unwrap();
    let measured = journal.get(first + rounds).unwrap().expect("the last round is kept");
    assert!(measured.receipts.iter().all(|signed| signed.verify(network.state.chain()).is_ok()));
    for signed in &measured.receipts {
        let (task, result) = (&signed.receipt.task, &signed.receipt.result);
        match result {
            CheckResult::Served { served, .. } => assert!(task.provider == honest && served.bytes > 0),
            CheckResult::Failed(CheckFailure::WrongContent) => assert_eq!(task.provider, corrupting),
            CheckResult::Failed(CheckFailure::Unreachable) => assert_eq!(task.provider, dead),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(network.state.checkers().all(|(_, record)| record.stake == STAKE), "nobody was punished");
    let (drawn, opened) = (
        counted(&network, |event| matches!(event, ScoreEvent::Audited { .. })),
        counted(&network, |event| matches!(event, ScoreEvent::Opened { .. })),
    );
    assert_eq!((drawn, opened), (rounds as usize * checkers.len(), drawn), "everybody is asked each time, and answers");
}

/// What the forger of a story makes of its honest receipts.
type Forgery = fn(&mut CheckReceipt);

/// One round and the next of three checkers with one honest provider; the last checker signs what `forgery` leaves of its
/// receipts, and everybody is killed and started again before looking.
async fn forged(forgery: Forgery) -> (Network, ProviderId) {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("data");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("file"), (0..300_000u32).map(|n| (n >> 3) as u8).collect::<Vec<u8>>()).unwrap();
    let store = Arc::new(HotStore::open(&dir.path().join("store")).unwrap());
    let root = store.import(&source, None, Placement::Reference, &ImportOptions::default()).unwrap().root();
    let mut network = Network::new(params(), 8);
    let honest = provider(&mut network, 2, gateway(store).await, root);
    let mut checkers = stake(&mut network, dir.path());
    let round = network.state.round_at(network.state.epoch()) + 1;
    network.advance_to(Epoch(round * ROUND));
    for (_, checker) in &mut checkers {
        begin(&network, checker);
        checker.finish(true).await.unwrap();
    }
    let forger = CHECKERS.end - 1;
    let journal = |n: u8| Journal::open(&dir.path().join(format!("checker-{n}"))).unwrap();
    let mut measured = journal(forger).get(round).unwrap().expect("measured");
    for signed in &mut measured.receipts {
        let mut receipt = signed.receipt.clone();
        forgery(&mut receipt);
        *signed = receipt.sign(network.state.chain(), &Network::key(forger));
    }
    journal(forger).put(&measured).unwrap();
    let mut checkers: Vec<_> =
        CHECKERS.map(|n| (n, Checker::new(Network::key(n), journal(n), CheckerOptions::default()))).collect();
    while network.state.epoch() < Epoch((round + 2) * ROUND) {
        block(&mut network, &mut checkers);
        for (n, checker) in &mut checkers {
            if let Some(round) = checker.round_to_look_at(&view(&network, checker)) {
                checker.look(round, Exhibit::all_of(&network.state, round, Network::address(*n))).unwrap();
                checker.finish_looking(true).await;
            }
        }
    }
    (network, honest)
}

fn stakes(network: &Network) -> [u64; 3] {
    [5, 6, 7].map(|n| network.state.checker(&Network::address(n)).unwrap().stake.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_bytes_are_found_out_and_honest_ones_are_not() {
    let (network, honest) = forged(|receipt| {
        if let CheckResult::Served { content, .. } = &mut receipt.result {
            content[0] ^= 1;
        }
    })
    .await;
    assert_eq!(counted(&network, |event| matches!(event, ScoreEvent::Refuted { .. })), 1);
    assert_eq!(stakes(&network), [STAKE.0, STAKE.0, STAKE.0 - STAKE.0 / 5]);
    assert!(network.state.reputation_of(honest) > NEUTRAL_REPUTATION);
}

/// It has the bytes of another dataset, and says that it was asked for those.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_dataset_than_was_assigned_is_found_out() {
    let (network, _) = forged(|receipt| receipt.task.root = Cid::new_v1(0x70, *receipt.task.root.hash())).await;
    assert_eq!(counted(&network, |event| matches!(event, ScoreEvent::Refuted { .. })), 1);
    assert_eq!(stakes(&network), [STAKE.0, STAKE.0, STAKE.0 - STAKE.0 / 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_measured_once_deals_have_moved_the_draws() {
    let dir = tempfile::tempdir().unwrap();
    let mut network = Network::new(params(), 8);
    let root = order_terms(network.state.params(), Vec::new(), 1).root;
    provider(&mut network, 2, nobody().await, root);
    let mut checkers = stake(&mut network, dir.path());
    let round = network.state.round_at(network.state.epoch()) + 1;
    network.advance_to(Epoch(round * ROUND));
    let own = checkers[0].1.address();
    let drawn = AssignedCheck::all_of(&network.state, own);
    assert!(!drawn.is_empty());
    network.advance_to(Epoch(round * ROUND + 3));
    assert_eq!(AssignedCheck::all_of(&network.state, own), drawn, "nothing came or went");
    provider(&mut network, 3, nobody().await, root);
    assert!(network.state.round_at(network.state.epoch()) == round && !network.state.check_tasks(own).is_empty());
    assert!(AssignedCheck::all_of(&network.state, own).is_empty() && AssignedCheck::of_all(&network.state).is_empty());
    let (_, checker) = &mut checkers[0];
    begin(&network, checker);
    checker.finish(true).await.unwrap();
    assert!(checker.is_free(&view(&network, checker)), "it waits for the next round");
}

#[tokio::test]
async fn a_round_is_measured_once_and_an_outsider_measures_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut network = Network::new(params(), 8);
    let root = order_terms(network.state.params(), Vec::new(), 1).root;
    provider(&mut network, 2, nobody().await, root);
    let journal = || Journal::open(dir.path()).unwrap();
    let mut outsider = Checker::new(Network::key(6), journal(), CheckerOptions::default());
    let round = network.state.round_at(network.state.epoch()) + 1;
    network.advance_to(Epoch(round * ROUND));
    begin(&network, &mut outsider);
    outsider.finish(true).await.unwrap();
    assert!(!journal().has(round));
    network.command(6, Command::Check(CheckCommand::Stake { amount: STAKE }));
    let round = round + 1;
    network.advance_to(Epoch(round * ROUND));
    // A restart in the middle of a round finds what was measured and signs nothing twice.
    let mut checker = Checker::new(Network::key(6), journal(), CheckerOptions::default());
    begin(&network, &mut checker);
    checker.finish(true).await.unwrap();
    let before = journal().get(round).unwrap().expect("measured");
    let mut restarted = Checker::new(Network::key(6), journal(), CheckerOptions::default());
    network.advance_to(Epoch(network.state.epoch().0 + 1));
    begin(&network, &mut restarted);
    restarted.finish(true).await.unwrap();
    assert_eq!(journal().get(round).unwrap(), Some(before));
    network.advance_to(Epoch((round + 1) * ROUND));
    let command = restarted.vote(&view(&network, &restarted)).unwrap();
    assert!(matches!(command, Some(CheckCommand::Commit { .. })));
}
