//! A provider's seat at a remote ledger answers what one beside the node answers, through a sector's life.

#[path = "../../../market/rpc/tests/it/support.rs"]
#[allow(dead_code, reason = "shared with the tests of the interface itself")]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cairn_checker::{AssignedCheck, CheckerLedger, CheckerView, Exhibit, Handed};
use cairn_consensus::LedgerHandle;
use cairn_ledger::testing::Network as Story;
use cairn_ledger::{
    ChainId, CheckCommand, Command, JobCommand, JobId, JobTerms, OrderId, ProofStatement, Receipt, Salt, State,
    TransactionId,
};
use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber};
use cairn_prover::{AccountJobs, JobLedger};
use cairn_remote::{CheckSeat, JobSeat, ProviderSeat, RemoteLedger};
use cairn_rpc::{ClientOptions, RpcClient, ServerOptions};
use cairn_sealing::{
    DutyStatus, LedgerClient, LedgerClientError, LedgerPort, LedgerSector, MarketLedger, PortRejection, ProviderLedger,
    SubmissionStatus,
};
use ed25519_consensus::SigningKey;

use crate::support::{Ledger, PATIENCE, Served};

struct Port(LedgerHandle);

impl LedgerPort for Port {
    fn state(&self) -> Arc<State> {
        self.0.state()
    }

    fn submit_command(&self, key: &SigningKey, command: Command) -> Result<TransactionId, PortRejection> {
        self.0.submit_command(key, command).map_err(|rejection| PortRejection::Refused(rejection.to_string()))
    }

    fn receipt(&self, transaction: &TransactionId) -> Result<Option<Receipt>, String> {
        self.0.receipt(transaction).map_err(|error| error.to_string())
    }

    fn wait_for_height(&self, epoch: Epoch, timeout: Duration) -> Epoch {
        self.0.wait_for_height(epoch, timeout).map_or_else(|late| late.height, |header| header.height)
    }
}

struct Both {
    near: ProviderLedger<Port>,
    far: ProviderSeat,
}

impl Both {
    /// Asks both everything, and gives what they agree on.
    fn agree(&self, ticket_epoch: Epoch) -> (LedgerSector, Vec<cairn_sealing::PostDuty>) {
        let number = SectorNumber(1);
        assert_eq!(self.far.head(), self.near.head());
        assert_eq!(self.far.draw_ticket(), self.near.draw_ticket());
        for epoch in [ticket_epoch, Epoch(0), Epoch(1 << 40)] {
            assert_eq!(self.far.is_ticket_usable(epoch), self.near.is_ticket_usable(epoch), "{epoch}");
        }
        let sector = self.near.sector(number).unwrap();
        assert_eq!(self.far.sector(number).as_ref(), Ok(&sector));
        assert_eq!(self.far.sector(SectorNumber(2)), Ok(LedgerSector::Unknown));
        let duties = self.near.post_duties().unwrap();
        assert_eq!(self.far.post_duties().as_ref(), Ok(&duties));
        for limit in [0, 1, 100] {
            assert_eq!(self.far.open_orders(limit), self.near.open_orders(limit));
            assert_eq!(self.far.waiting_deals(limit), self.near.waiting_deals(limit));
        }
        for order in (1..4).map(OrderId) {
            assert_eq!(self.far.has_bid(order), self.near.has_bid(order), "{order}");
            assert_eq!(self.far.order_terms(order), self.near.order_terms(order), "{order}");
        }
        (sector, duties)
    }
}

fn seats(served: &Served, provider: ProviderId) -> Both {
    let far = RemoteLedger::connect(served.client(), &served.ledger.chain(), Story::key(2)).unwrap();
    let near = ProviderLedger::new(Port(served.ledger.handle()), provider, Story::key(2));
    Both { near, far: ProviderSeat::new(far, provider) }
}

#[test]
fn a_remote_seat_answers_what_one_beside_the_node_does() {
    let served = Served::new(Ledger::new(100_000), ServerOptions::default());
    let ledger = &served.ledger;
    let provider = ledger.provider(2);
    let order = ledger.deal(2, provider);
    let both = seats(&served, provider);
    let ticket_epoch = ledger.handle().head().height;
    assert_eq!(both.agree(ticket_epoch).0, LedgerSector::Unknown);
    ledger.pre_commit(2, provider, order);
    assert!(matches!(both.agree(ticket_epoch).0, LedgerSector::PreCommitted { seed: None, .. }));
    let state = ledger.handle().state();
    ledger.blocks_until(state.sector(provider, SectorNumber(1)).unwrap().seed_epoch);
    assert!(matches!(both.agree(ticket_epoch).0, LedgerSector::PreCommitted { seed: Some(_), .. }));

    let story = || Story { state: State::clone(&ledger.handle().state()), events: vec![] };
    let deals: Vec<_> = state.deals_of(provider).map(|(id, _)| id).collect();
    ledger.command(2, story().prove_commit(provider, 1, &deals));
    let (sector, duties) = both.agree(ticket_epoch);
    assert!(matches!(sector, LedgerSector::Proving { .. }) && duties[0].status == DutyStatus::Upcoming);

    // Into the middle of the open instance, and over its end: proven by nobody, the sector is faulty.
    ledger.blocks_until(duties[0].challenge_epoch);
    let (_, duties) = both.agree(ticket_epoch);
    assert!(matches!(duties[0].status, DutyStatus::Open(_)));
    ledger.blocks_until(duties[0].closes_at);
    ledger.block();
    let (sector, _) = both.agree(ticket_epoch);
    assert!(matches!(sector, LedgerSector::Proving { health: cairn_sealing::LedgerHealth::Faulty, .. }), "{sector:?}");

    let id = both.far.send_recovery(&[SectorNumber(1)]).unwrap();
    assert_eq!(both.far.submission(&id), Ok(SubmissionStatus::Pending));
    ledger.block();
    let became = both.far.submission(&id).unwrap();
    assert_eq!(both.near.submission(&id), Ok(became.clone()));
    assert!(!matches!(became, SubmissionStatus::Pending));
    let head = both.far.head().unwrap();
    assert_eq!(both.far.wait_for(Epoch(head.0 + 5), Duration::from_millis(20)), Ok(head), "a timeout is no error");
    assert_eq!(both.far.wait_for(head, PATIENCE), Ok(head));
}

#[test]
fn proof_jobs_are_told_as_beside_the_node() {
    let served = Served::new(Ledger::new(100_000), ServerOptions { page_max: 1, ..ServerOptions::default() });
    let ledger = &served.ledger;
    let provider = ledger.provider(2);
    let order = ledger.deal(2, provider);
    ledger.pre_commit(2, provider, order);
    let state = ledger.handle().state();
    ledger.blocks_until(state.sector(provider, SectorNumber(1)).unwrap().seed_epoch);
    let statement = ledger.handle().state().porep_statement(provider, SectorNumber(1)).unwrap();
    let terms = JobTerms {
        statement: ProofStatement::Porep(statement),
        witness: state.order(order).unwrap().terms.root,
        witness_bytes: 1_000,
        source_url: "http://provider.test/".to_owned(),
        price_per_million_max: Amount(10),
        prove_epochs: 100,
        deadline: Epoch(ledger.handle().head().height.0 + 5_000),
        tier_min: 0,
    };
    ledger.command(2, Command::Job(JobCommand::Post(Box::new(terms.clone()))));
    ledger.command(2, Command::Job(JobCommand::Post(Box::new(terms))));
    let remote = |n| RemoteLedger::connect(served.client(), &ledger.chain(), Story::key(n)).unwrap();
    let (far, near) = (JobSeat::new(remote(3)), AccountJobs::new(Port(ledger.handle()), Story::key(3)));
    let id = far.send(JobCommand::Bid { job: JobId(1), price_per_million: Amount(5) }).unwrap();
    ledger.block();
    assert!(matches!(far.submission(&id), Ok(SubmissionStatus::Applied(_))));
    assert_eq!((far.account(), far.params()), (near.account(), near.params()));
    for (from, limit) in [(0, 1), (1, 10), (2, 10), (3, 10)] {
        assert_eq!(far.live_jobs(JobId(from), limit), near.live_jobs(JobId(from), limit), "from {from}");
    }
    assert_eq!(far.live_jobs(JobId(0), 10).unwrap().len(), 2);
    for job in [JobId(1), JobId(2), JobId(9)] {
        assert_eq!((far.job(job), far.own_bid(job)), (near.job(job), near.own_bid(job)), "{job}");
    }
    assert!(far.own_bid(JobId(1)).unwrap().is_some());
    assert_eq!((far.own_record(), far.own_jobs()), (near.own_record(), near.own_jobs()));
    let (far, near) = (JobSeat::new(remote(2)), AccountJobs::new(Port(ledger.handle()), Story::key(2)));
    assert_eq!(far.own_jobs(), near.own_jobs());
    assert_eq!(far.own_jobs().unwrap().len(), 2);
}

#[test]
fn a_round_is_told_as_beside_the_node() {
    let ledger = Ledger::of(&Ledger::genesis_of_short_rounds(), 100_000);
    let served = Served::new(ledger, ServerOptions { page_max: 7, ..ServerOptions::default() });
    let (ledger, own, other) = (&served.ledger, Story::address(3), Story::address(4));
    let provider = ledger.provider(2);
    ledger.active_deal(2, provider);
    let seat = CheckSeat::new(RemoteLedger::connect(served.client(), &ledger.chain(), Story::key(3)).unwrap()).unwrap();
    let agree = || {
        let state = ledger.handle().state();
        assert_eq!(seat.view(), Ok(CheckerView::of(&state, own)));
        assert_eq!(seat.tasks(), Ok(AssignedCheck::all_of(&state, own)));
        assert_eq!(seat.tasks_of_all(), Ok(AssignedCheck::of_all(&state)));
        let round = state.round_at(state.epoch()).saturating_sub(1);
        assert_eq!(seat.exhibits(round), Ok(Exhibit::all_of(&state, round, own)));
        seat.view().unwrap()
    };
    assert!(!agree().is_checker && seat.tasks().unwrap().is_empty());
    let stake = ledger.handle().state().params().economy.checkers.stake_min;
    seat.submit(CheckCommand::Stake { amount: stake }).unwrap();
    ledger.command(4, Command::Check(CheckCommand::Stake { amount: stake }));
    let view = agree();
    assert!(view.is_checker && seat.tasks().unwrap().is_empty(), "it came after the round began");
    ledger.blocks_until(view.rounds.first_epoch(view.round() + 1).unwrap());
    let view = agree();
    let tasks = seat.tasks().unwrap().len();
    assert!(tasks > 0 && seat.tasks_of_all().unwrap().len() == 2 * tasks);

    let [(receipts, opinions), (others, other_opinions)] = [3, 4].map(|n| ledger.measured(n));
    let (round, salt) = (view.round(), Salt([7; 32]));
    let first = view.rounds.first_epoch(round + 1).unwrap();
    ledger.blocks_until(first);
    let commitment = opinions.commitment(ledger.chain(), own, &salt);
    seat.submit(CheckCommand::Commit { commitment }).unwrap();
    let commitment = other_opinions.commitment(ledger.chain(), other, &salt);
    ledger.command(4, Command::Check(CheckCommand::Commit { commitment }));
    assert_eq!(agree().ballot, Some((round, Handed::Committed)));
    ledger.blocks_until(Epoch(first.0 + view.rounds.commit_epochs));
    seat.submit(CheckCommand::Reveal { opinions, salt }).unwrap();
    ledger.command(4, Command::Check(CheckCommand::Reveal { opinions: other_opinions, salt }));
    assert_eq!(agree().ballot, Some((round, Handed::Revealed)));
    assert_eq!(agree().audit, None);
    ledger.blocks_until(Epoch(first.0 + view.rounds.commit_epochs + view.rounds.reveal_epochs));
    assert_eq!(agree().audit, Some((round, provider)));
    seat.submit(Ledger::opened(&receipts)).unwrap();
    ledger.command(4, Command::Check(Ledger::opened(&others)));
    assert_eq!(agree().audit, None);
    let said = || seat.exhibits(round).unwrap().iter().map(|exhibit| exhibit.said).collect::<Vec<_>>();
    assert_eq!(said(), [false]);
    seat.submit(CheckCommand::Refute { round, checker: other, content: [9; 32] }).unwrap();
    ledger.block();
    agree();
    assert_eq!(said(), [true]);
}

#[test]
fn what_is_refused_and_what_cannot_be_asked_are_told_apart() {
    let mut served = Served::new(Ledger::new(1_000), ServerOptions::default());
    let provider = served.ledger.provider(2);
    let wrong = RemoteLedger::connect(served.client(), &ChainId([9; 32]), Story::key(2));
    assert!(wrong.is_err(), "another chain");
    // Nobody has sent money to this account, so it cannot pay a fee.
    let poor = RemoteLedger::connect(served.client(), &served.ledger.chain(), Story::key(77)).unwrap();
    assert_eq!(poor.params().as_ref(), Ok(served.ledger.handle().state().params()));
    let refused = ProviderSeat::new(poor, provider).send_recovery(&[]).unwrap_err();
    assert!(matches!(refused, LedgerClientError::Refused { .. }), "{refused}");
    let far = seats(&served, provider).far;
    served.stop();
    assert!(matches!(far.head().unwrap_err(), LedgerClientError::Unavailable { .. }));
}

/// Between a client and its ledger: carries requests, but swallows the next `n` answers to transactions.
struct Wire {
    address: SocketAddr,
    swallow: Arc<AtomicUsize>,
}

impl Wire {
    fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, swallow) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let left = swallow.clone();
        // It ends with the process; nobody waits for it.
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, left) = (near.unwrap(), left.clone());
                std::thread::spawn(move || drop(carry(near, to, &left)));
            }
        });
        Self { address, swallow }
    }
}

/// Requests of one connection and their answers.
fn carry(mut near: TcpStream, to: SocketAddr, swallow: &AtomicUsize) -> std::io::Result<()> {
    let mut far = TcpStream::connect(to)?;
    let mut back = far.try_clone()?;
    let mut out = near.try_clone()?;
    let is_swallowed = Arc::new(AtomicUsize::new(0));
    let swallowed = is_swallowed.clone();
    let answers = std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(length @ 1..) = back.read(&mut piece) {
            // An answer that is lost: the connection breaks instead.
            if swallowed.load(Ordering::SeqCst) > 0 || out.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        let _ = out.shutdown(std::net::Shutdown::Both);
    });
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = near.read(&mut piece) {
        let posts = piece[..length].starts_with(b"POST /v1/transactions ");
        if posts && swallow.load(Ordering::SeqCst) > 0 && is_swallowed.load(Ordering::SeqCst) == 0 {
            is_swallowed.store(1, Ordering::SeqCst);
            swallow.fetch_sub(1, Ordering::SeqCst);
        }
        far.write_all(&piece[..length])?;
    }
    drop(answers.join());
    Ok(())
}

/// An answer that never came was taken for no answer of the ledger's, and the command was signed once more with the next
/// nonce: two pre-commits, one of them refused for a fee.
#[test]
fn a_transaction_whose_answer_is_lost_is_handed_in_again_and_not_signed_twice() {
    let served = Served::new(Ledger::new(1_000), ServerOptions::default());
    let (handle, wire) = (served.ledger.handle(), Wire::new(served.address));
    let client = || RpcClient::new(&format!("http://{}", wire.address), ClientOptions::default()).unwrap();
    let ledger = RemoteLedger::connect(client(), &served.ledger.chain(), Story::key(1)).unwrap();
    let transfer = |amount| Command::Transfer { to: Story::address(2), amount: Amount(amount) };
    let waiting = || handle.waiting();

    wire.swallow.store(1, Ordering::SeqCst);
    let id = ledger.send("transfer", &transfer(5)).unwrap();
    assert_eq!((waiting(), wire.swallow.load(Ordering::SeqCst)), (1, 0), "the second try was answered");

    // No try is answered: the caller is told that the ledger is away, though it has the transaction.
    wire.swallow.store(3, Ordering::SeqCst);
    let lost = ledger.send("transfer", &transfer(6)).unwrap_err();
    assert!(matches!(lost, LedgerClientError::Unavailable { .. }), "{lost}");
    assert_eq!((waiting(), wire.swallow.load(Ordering::SeqCst)), (2, 0));
    let again = ledger.send("transfer", &transfer(6)).unwrap();
    assert_eq!(waiting(), 2, "asked for again, it is the same");
    // A copy of the seat, and another command in between.
    wire.swallow.store(3, Ordering::SeqCst);
    assert!(ledger.send("transfer", &transfer(7)).is_err());
    let other = ledger.clone().send("transfer", &transfer(8)).unwrap();
    assert_eq!(waiting(), 4, "the lost one, then the other");
    served.ledger.block();
    for id in [id, again, other] {
        assert!(matches!(ledger.submission(&id), Ok(SubmissionStatus::Applied(_))));
    }
}
