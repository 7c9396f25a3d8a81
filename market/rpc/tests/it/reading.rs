//! What is read is what the ledger has.

use cairn_ledger::testing::Network as Story;
use cairn_ledger::{OrderId, State};
use cairn_protocol::{Amount, Epoch, SectorNumber};
use cairn_rpc::ServerOptions;
use cairn_rpc::client::{ClientError, DealFilter, OrderFilter};
use cairn_rpc::wire::{BidState, DealState, DutyState, OrderState, OrderTerms, SectorState};

use crate::support::{FUNDS, Ledger, Served};

fn collect<T>(pages: impl Iterator<Item = Result<T, ClientError>>) -> Vec<T> {
    pages.collect::<Result<_, _>>().unwrap()
}

#[test]
fn orders_deals_and_sectors_are_told_as_they_are() {
    let served = Served::new(Ledger::new(1_000), ServerOptions::default());
    let (ledger, client) = (&served.ledger, served.client());
    let provider = ledger.provider(2);
    let order = ledger.deal(2, provider);
    ledger.pre_commit(2, provider, order);
    let state = ledger.handle().state();

    let told = client.order(order.0).unwrap().unwrap();
    assert_eq!((told.state, told.client, told.bids), (OrderState::Matched, Story::address(1), 1));
    assert_eq!(told.terms.to_terms(), state.order(order).unwrap().terms);
    assert_eq!(OrderTerms::of(&told.terms.to_terms()), told.terms);
    let bids = collect(client.bids(order.0));
    assert_eq!((bids.len(), bids[0].state, bids[0].price_per_epoch), (1, BidState::Won, Some(Amount(50))));

    let deals = collect(client.deals(&DealFilter { order: Some(order.0), ..DealFilter::default() }));
    assert_eq!(deals.iter().map(|deal| deal.id).collect::<Vec<_>>(), told.deals);
    assert_eq!((deals[0].state, deals[0].sector), (DealState::Bound, Some(SectorNumber(1))));
    assert_eq!(client.deal(deals[0].id.0).unwrap().as_ref(), Some(&deals[0]));

    let sectors = collect(client.sectors(provider));
    assert_eq!((sectors.len(), sectors[0].state, sectors[0].seed), (1, SectorState::PreCommitted, None));
    ledger.blocks_until(sectors[0].seed_epoch);
    let sector = client.sector(provider, SectorNumber(1)).unwrap().unwrap();
    assert_eq!(sector.seed, ledger.handle().state().seed(provider, SectorNumber(1)));
    assert!(sector.seed.is_some());
    let ticket = client.ticket(provider, Some(sector.ticket_epoch)).unwrap().unwrap();
    assert_eq!((ticket.ticket, ticket.usable), (sector.ticket, true));
    assert_eq!(client.ticket(provider, Some(Epoch(1 << 40))).unwrap(), None);
}

#[test]
fn an_open_duty_carries_what_must_be_proven() {
    let served = Served::new(Ledger::new(1_000), ServerOptions::default());
    let (ledger, client) = (&served.ledger, served.client());
    let provider = ledger.provider(2);
    let order = ledger.deal(2, provider);
    ledger.pre_commit(2, provider, order);
    let deal = client.order(order.0).unwrap().unwrap().deals[0];
    ledger.blocks_until(client.sector(provider, SectorNumber(1)).unwrap().unwrap().seed_epoch);
    let story = || Story { state: State::clone(&ledger.handle().state()), events: vec![] };
    ledger.command(2, story().prove_commit(provider, 1, &[deal]));

    let duties = client.duties(provider).unwrap();
    assert_eq!((duties.duties.len(), duties.duties[0].state, duties.later), (1, DutyState::Upcoming, 0));
    assert!(duties.duties[0].statement.is_none());
    ledger.blocks_until(duties.duties[0].challenge_epoch);
    let duty = client.duties(provider).unwrap().duties.remove(0);
    assert_eq!((duty.state, duty.sectors.as_slice()), (DutyState::Open, [SectorNumber(1)].as_slice()));
    let statement = ledger.handle().state().window_post_statement(provider, duty.deadline, duty.partition);
    assert_eq!(duty.statement.map(|told| told.to_statement()), statement);
    assert!(client.sector(provider, SectorNumber(1)).unwrap().unwrap().locked);
    let post = story().window_post(provider, &ledger.handle().state().post_duties(provider)[0]);
    ledger.command(2, post);
    let told = client.sector(provider, SectorNumber(1)).unwrap().unwrap();
    assert_eq!((told.state, told.posts_accepted, told.locked), (SectorState::Active, 1, false));
    assert_eq!(client.duties(provider).unwrap().duties[0].state, DutyState::Proven);
}

#[test]
fn a_list_is_given_page_by_page_and_nothing_twice() {
    let served =
        Served::new(Ledger::new(1_000), ServerOptions { page_max: 2, scan_max: 3, ..ServerOptions::default() });
    let (ledger, client) = (&served.ledger, served.client());
    for n in [1, 2, 1, 1, 2, 1, 2] {
        ledger.order(n, n);
    }
    let ids = |filter: &OrderFilter| collect(client.orders(filter)).iter().map(|order| order.id.0).collect::<Vec<_>>();
    assert_eq!(ids(&OrderFilter::default()), [1, 2, 3, 4, 5, 6, 7]);
    let client_two = Some(Story::address(2));
    assert_eq!(ids(&OrderFilter { client: client_two, state: Some(OrderState::Open) }), [2, 5, 7]);
    // Three at a time are looked at and none is closed, so some pages are empty and still lead on.
    assert_eq!(ids(&OrderFilter { client: None, state: Some(OrderState::Closed) }), [0u64; 0]);
    let empty = served.get("/v1/orders?state=closed");
    assert!(empty.contains("\"items\":[]") && empty.contains("\"next\":\""), "{empty}");
    let one = served.get("/v1/orders?limit=1");
    assert_eq!(one.matches("\"placed_at\"").count(), 1, "{one}");
    let heights: Vec<u64> = collect(client.blocks()).iter().map(|block| block.header.height.0).collect();
    assert_eq!(heights, [7, 6, 5, 4, 3, 2, 1]);
}

#[test]
fn blocks_come_with_the_decision_and_forgotten_ones_are_said_to_be() {
    let served = Served::new(Ledger::new(3), ServerOptions::default());
    let (ledger, client) = (&served.ledger, served.client());
    for tag in 1..=6 {
        ledger.order(1, tag);
    }
    let block = client.block(Epoch(6)).unwrap();
    let commit = block.commit.unwrap();
    assert_eq!((block.header.height, block.transactions.len()), (Epoch(6), 1));
    assert_eq!((commit.block, commit.signatures.len()), (block.header.id, 1));
    assert_eq!(client.head().unwrap(), block.header);
    let network = client.network().unwrap();
    assert_eq!((network.height, network.chain), (Epoch(6), ledger.chain()));
    assert!(served.get("/v1/blocks/7").starts_with("HTTP/1.1 404 "));
    let gone = served.get("/v1/blocks/1");
    assert!(gone.starts_with("HTTP/1.1 410 ") && gone.contains("\"code\":\"forgotten\""), "{gone}");
    assert!(network.oldest_block > Epoch(1));
}

#[test]
fn money_adds_up() {
    let served = Served::new(Ledger::new(1_000), ServerOptions::default());
    let (ledger, client) = (&served.ledger, served.client());
    let provider = ledger.provider(2);
    ledger.deal(2, provider);
    let supply = client.supply().unwrap();
    let pots: u64 = supply.pots.values().sum();
    assert_eq!(supply.free.0 + supply.burnt.0 + pots, supply.supply.0);
    let accounts: u64 = ledger.handle().state().accounts().map(|(_, account)| account.balance.0).sum();
    assert_eq!(supply.free, Amount(accounts));
    assert!(supply.pots["escrow"] > 0 && supply.pots["collateral"] > 0);
    let report = client.invariants().unwrap();
    assert!(report.holds && report.violation.is_none());
    ledger.block();
    assert_eq!(client.invariants().unwrap(), report, "the state is not read again at once");
    let account = client.account(&Story::address(1)).unwrap();
    assert!(account.balance.0 < FUNDS && account.nonce == 1 && account.next_nonce == 1);
    let validators = collect(client.validators());
    assert_eq!((validators.len(), validators[0].missed), (1, 0));
    assert_eq!(client.params().unwrap().params["bid_window"], ledger.handle().state().params().bid_window);
    assert!(collect(client.channels()).is_empty());
}

#[test]
fn a_quote_is_the_ledgers() {
    let served = Served::new(Ledger::new(1_000), ServerOptions::default());
    let (ledger, client) = (&served.ledger, served.client());
    ledger.order(1, 1);
    let mut terms = client.order(1).unwrap().unwrap().terms;
    let state = ledger.handle().state();
    let quote = client.quote(&Story::address(1), &terms).unwrap();
    let expected = state.quote_order(&Story::address(1), &terms.to_terms()).unwrap();
    assert_eq!((quote.total, quote.paid_until), (expected.total, expected.paid_until));
    terms.copies = 0;
    let refused = client.quote(&Story::address(1), &terms).unwrap_err();
    let ClientError::Problem(problem) = refused else { panic!("{refused}") };
    assert_eq!((problem.code.status().as_u16(), problem.got.as_deref()), (422, Some("OutOfRange")));
    assert_eq!(state.order(OrderId(2)), None);
}
