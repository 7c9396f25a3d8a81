//! How many transactions validators on one machine make final, and how soon: signed transfers, and the traffic of deals
//! (orders, bids, pre-commits, prove-commits, their proofs checked by a hash in place of a curve). Prints lines of JSON,
//! each with how busy the machine was beside the test; run with
//!
//! ```text
//! CAIRN_FIGURES_SECONDS=20 cargo test --release -p cairn-consensus --test figures -- --ignored --nocapture
//! ```

mod support;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use cairn_consensus::{Allocation, LedgerHandle, NodeOptions};
use cairn_ledger::testing::{Network, order_terms, piece};
use cairn_ledger::{Command, DealId, Event, TransactionId};
use cairn_protocol::{Amount, Epoch, ProviderId, SectorSize};
use support::{Running, free_ports, genesis, options};

const SENDERS: u8 = 64;

/// Transactions of one sender that wait at most, so that the time measured is the network's and not the queue's.
const WINDOW: u64 = 24;

struct Load {
    submitted: HashMap<TransactionId, Instant>,
    waits: Vec<Duration>,
    seen: Epoch,
}

impl Load {
    /// Takes note of what became final.
    fn settle(&mut self, handle: &LedgerHandle) {
        let head = handle.head().height;
        for height in (self.seen.0 + 1..=head.0).map(Epoch) {
            for signed in handle.block(height).expect("readable").expect("kept").transactions {
                self.waits.extend(self.submitted.remove(&signed.id()).map(|since| since.elapsed()));
            }
        }
        self.seen = head;
    }

    /// Keeps every sender's window full, each at its own validator.
    fn submit(&mut self, nodes: &[Running]) {
        for sender in 1..=SENDERS {
            let (handle, key) = (&nodes[sender as usize % nodes.len()].handle, Network::key(sender));
            let (address, state) = (Network::address(sender), handle.state());
            let waiting = handle.next_nonce(&address) - state.account(&address).nonce;
            for _ in waiting..WINDOW {
                let command = Command::Transfer { to: Network::address(sender % SENDERS + 1), amount: Amount(1) };
                let Ok(id) = handle.submit_command(&key, command) else { break };
                self.submitted.insert(id, Instant::now());
            }
        }
    }
}

/// Seconds that all processors together were busy since the machine started, and that this process used of them.
fn busy_seconds() -> (f64, f64) {
    // Clock ticks a second, which Linux has fixed for programs.
    const TICKS: f64 = 100.0;
    let number = |text: &str| text.parse::<f64>().unwrap_or(0.0);
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let all: Vec<f64> = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).map(number).collect();
    let idle: f64 = all.get(3).unwrap_or(&0.0) + all.get(4).unwrap_or(&0.0);
    let own = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let own: Vec<f64> = own.rsplit(')').next().unwrap_or_default().split_whitespace().map(number).collect();
    let used = own.get(11).unwrap_or(&0.0) + own.get(12).unwrap_or(&0.0);
    ((all.iter().take(8).sum::<f64>() - idle) / TICKS, used / TICKS)
}

/// The traffic of deals: clients order, providers bid, announce and prove.
struct Deals {
    providers: Vec<(ProviderId, u8)>,
    /// Sectors that wait for their seed.
    sealing: Vec<(ProviderId, u8, u64, DealId, Epoch)>,
    next_sector: u64,
    seen: Epoch,
    active: u64,
    kinds: BTreeMap<&'static str, u64>,
}

/// Accounts that order; those above them provide.
const CLIENTS: u8 = 16;
const PROVIDERS: u8 = 16;

impl Deals {
    fn start(handle: &LedgerHandle) -> Self {
        let register = |n: u8| {
            let (sector_size, endpoint) = (SectorSize::KIB2, "http://127.0.0.1:1/".to_owned());
            let command = Command::RegisterProvider { sector_size, collateral: Amount(1_000_000_000), endpoint };
            let id = handle.submit_command(&Network::key(n), command).expect("taken");
            handle.wait_for_receipt(&id, Duration::from_secs(60)).expect("readable").expect("decided");
            let state = handle.state();
            (state.providers_of(Network::address(n)).next().expect("registered").0, n)
        };
        let providers = (CLIENTS + 1..=CLIENTS + PROVIDERS).map(register).collect();
        let seen = handle.head().height;
        Self { providers, sealing: Vec::new(), next_sector: 1, seen, active: 0, kinds: BTreeMap::new() }
    }

    fn account_of(&self, provider: ProviderId) -> u8 {
        self.providers.iter().find(|(id, _)| *id == provider).expect("one of ours").1
    }

    /// What is to be done after the blocks since the last call.
    fn next(&mut self, handle: &LedgerHandle) -> Vec<(u8, &'static str, Command)> {
        let network = Network { state: cairn_ledger::State::clone(&handle.state()), events: Vec::new() };
        let mut todo = Vec::new();
        for block in handle.events_since(self.seen, u64::MAX).expect("kept") {
            self.seen = block.height;
            for event in block.events {
                match event {
                    Event::OrderPlaced { order, .. } => {
                        let (provider, n) = self.providers[order.0 as usize % self.providers.len()];
                        todo.push((n, "bid", Command::PlaceBid { provider, order, price_per_epoch: Amount(50) }));
                    }
                    Event::DealAssigned { deal, provider, .. } => {
                        let (n, sector) = (self.account_of(provider), self.next_sector);
                        self.next_sector += 1;
                        let mut announced = network.pre_commit(provider, sector, &[deal]);
                        announced.expiration.0 += 1_000;
                        self.sealing.push((provider, n, sector, deal, Epoch(u64::MAX)));
                        todo.push((n, "pre-commit", Command::PreCommit(announced)));
                    }
                    Event::SectorPreCommitted { provider, sector, seed_epoch, .. } => {
                        let found = self.sealing.iter_mut().find(|s| (s.0, s.2) == (provider, sector.0));
                        found.into_iter().for_each(|sealing| sealing.4 = seed_epoch);
                    }
                    Event::DealActivated { .. } => self.active += 1,
                    _ => {}
                }
            }
        }
        let now = network.state.epoch();
        let (ready, waiting): (Vec<_>, Vec<_>) = self.sealing.drain(..).partition(|sealing| sealing.4 <= now);
        self.sealing = waiting;
        for (provider, n, sector, deal, _) in ready {
            todo.push((n, "prove-commit", network.prove_commit(provider, sector, &[deal])));
        }
        for client in 1..=CLIENTS {
            let waiting =
                handle.next_nonce(&Network::address(client)) - network.state.account(&Network::address(client)).nonce;
            for _ in waiting..8 {
                let terms = order_terms(network.state.params(), vec![piece(client, 2_048)], 100);
                todo.push((client, "order", Command::PlaceOrder(terms)));
            }
        }
        todo
    }

    fn submit(&mut self, nodes: &[Running], load: &mut Load) {
        for (n, kind, command) in self.next(&nodes[0].handle) {
            let handle = &nodes[n as usize % nodes.len()].handle;
            if let Ok(id) = handle.submit_command(&Network::key(n), command) {
                load.submitted.insert(id, Instant::now());
                *self.kinds.entry(kind).or_default() += 1;
            }
        }
    }
}

fn measure(validators: u32, seconds: u64, with_deals: bool) {
    let mut genesis = genesis(validators);
    let rich = |n| Allocation { address: Network::address(n), amount: Amount(1_000_000_000_000) };
    genesis.allocations = (1..=SENDERS).map(rich).collect();
    let (dir, addresses) = (tempfile::tempdir().expect("a directory"), free_ports(validators));
    let nodes: Vec<Running> = (0..validators)
        .map(|number| {
            let options = match validators {
                1 => NodeOptions::default(),
                _ => options(number, &addresses),
            };
            Running::start(&dir.path().join(number.to_string()), &genesis, options)
        })
        .collect();
    nodes.iter().for_each(|node| node.reach(3));
    let mut deals = with_deals.then(|| Deals::start(&nodes[0].handle));
    let first = nodes[0].handle.head().height;
    let mut load = Load { submitted: HashMap::new(), waits: Vec::new(), seen: first };
    let (started, before) = (Instant::now(), busy_seconds());
    while started.elapsed() < Duration::from_secs(seconds) {
        match &mut deals {
            Some(deals) => deals.submit(&nodes, &mut load),
            None => load.submit(&nodes),
        }
        let _ = nodes[0].handle.wait_for_height(Epoch(load.seen.0 + 1), Duration::from_millis(20));
        load.settle(&nodes[0].handle);
    }
    let (elapsed, after) = (started.elapsed().as_secs_f64(), busy_seconds());
    let (busy, own) = (after.0 - before.0, after.1 - before.1);
    let traffic = match &deals {
        None => serde_json::json!({ "kind": "transfers" }),
        Some(deals) => {
            let (active, submitted) = (deals.active, &deals.kinds);
            serde_json::json!({ "kind": "deals", "submitted": submitted, "deals_active": active,
                "deals_active_per_second": (active as f64 / elapsed).round() })
        }
    };
    load.waits.sort();
    let quantile =
        |q: f64| load.waits.get(((load.waits.len().max(1) - 1) as f64 * q) as usize).map(Duration::as_millis);
    let line = serde_json::json!({
        "validators": validators,
        "traffic": traffic,
        "seconds": (elapsed * 10.0).round() / 10.0,
        "blocks": load.seen.0 - first.0,
        "transactions": load.waits.len(),
        "transactions_per_second": (load.waits.len() as f64 / elapsed).round(),
        "finality_ms": { "p50": quantile(0.5), "p90": quantile(0.9), "p99": quantile(0.99) },
        "machine": {
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "busy_core_seconds_of_this": own.round(),
            "busy_core_seconds_of_others": (busy - own).max(0.0).round(),
        },
    });
    println!("{line}");
    nodes.into_iter().for_each(|node| node.stop().expect("it ends well"));
}

#[test]
#[ignore = "measures; takes as long as it is told"]
fn transactions_per_second() {
    let seconds = std::env::var("CAIRN_FIGURES_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    for (validators, with_deals) in [(1, false), (4, false), (1, true), (4, true)] {
        measure(validators, seconds, with_deals);
    }
}
