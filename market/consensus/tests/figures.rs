//! How many transfers validators on one machine make final, and how soon. Prints one line of JSON; run with
//!
//! ```text
//! CAIRN_FIGURES_SECONDS=20 cargo test --release -p cairn-consensus --test figures -- --ignored --nocapture
//! ```

mod support;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cairn_consensus::{Allocation, LedgerHandle, MempoolOptions, NodeOptions};
use cairn_ledger::testing::Network;
use cairn_ledger::{Command, TransactionId};
use cairn_protocol::{Amount, Epoch};
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

fn measure(validators: u32, seconds: u64) {
    let mut genesis = genesis(validators);
    let rich = |n| Allocation { address: Network::address(n), amount: Amount(1_000_000_000_000) };
    genesis.allocations = (1..=SENDERS).map(rich).collect();
    let (dir, addresses) = (tempfile::tempdir().expect("a directory"), free_ports(validators));
    let nodes: Vec<Running> = (0..validators)
        .map(|number| {
            let mempool = MempoolOptions::default();
            let options = match validators {
                1 => NodeOptions { mempool, ..NodeOptions::default() },
                _ => NodeOptions { mempool, ..options(number, &addresses) },
            };
            Running::start(&dir.path().join(number.to_string()), &genesis, options)
        })
        .collect();
    nodes.iter().for_each(|node| node.reach(3));
    let first = nodes[0].handle.head().height;
    let mut load = Load { submitted: HashMap::new(), waits: Vec::new(), seen: first };
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        load.submit(&nodes);
        let _ = nodes[0].handle.wait_for_height(Epoch(load.seen.0 + 1), Duration::from_millis(20));
        load.settle(&nodes[0].handle);
    }
    let elapsed = started.elapsed().as_secs_f64();
    load.waits.sort();
    let quantile = |q: f64| load.waits[((load.waits.len() - 1) as f64 * q) as usize].as_millis();
    println!(
        "{{\"validators\":{validators},\"seconds\":{elapsed:.1},\"blocks\":{},\"transfers\":{},\"transfers_per_second\":{:.0},\
         \"finality_ms\":{{\"p50\":{},\"p90\":{},\"p99\":{}}}}}",
        load.seen.0 - first.0,
        load.waits.len(),
        load.waits.len() as f64 / elapsed,
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
    );
    nodes.into_iter().for_each(|node| node.stop().expect("it ends well"));
}

#[test]
#[ignore = "measures; takes as long as it is told"]
fn transfers_per_second() {
    let seconds = std::env::var("CAIRN_FIGURES_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    for validators in [1, 4] {
        measure(validators, seconds);
    }
}
