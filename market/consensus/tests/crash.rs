//! Kills the node with SIGKILL at random moments and checks what is left.
//!
//! The test runs itself as a child that makes blocks as fast as it can and prints the id of each transaction only after
//! its receipt is readable. After each kill the store is opened again: heights are contiguous, every block follows its
//! parent, a replay from the genesis gives every recorded root, and every printed transaction is there.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cairn_consensus::{Allocation, Genesis, LedgerNode, NodeOptions};
use cairn_ledger::testing::{HashVerifier, Network};
use cairn_ledger::{BlockContext, Command, TransactionId};
use cairn_protocol::{Amount, Epoch};

const CHILD_DIR: &str = "CAIRN_CRASH_TEST_DIR";

fn genesis() -> Genesis {
    let allocation = |n| Allocation { address: Network::address(n), amount: Amount(1_000_000_000_000) };
    Genesis::devnet(0, [9; 32], vec![allocation(1), allocation(2)])
}

fn open(dir: &Path) -> LedgerNode {
    LedgerNode::open(dir, &genesis(), NodeOptions::default(), Arc::new(HashVerifier)).expect("the store opens")
}

/// Not a test of its own: what the child does, until it is killed.
#[test]
fn child_makes_blocks() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let node = open(Path::new(&dir));
    let handle = node.handle();
    let mut stdout = std::io::stdout();
    loop {
        let ids: Vec<TransactionId> = (0..3)
            .map(|n| {
                let command = Command::Transfer { to: Network::address(2), amount: Amount(n + 1) };
                handle.submit_command(&Network::key(1), command).expect("the pool takes it")
            })
            .collect();
        node.produce_block(handle.head().height.0).expect("the block is stored");
        for id in ids {
            handle.receipt(&id).expect("readable").expect("in the block just made");
            writeln!(stdout, "committed {id}").expect("the parent reads");
        }
        stdout.flush().expect("the parent reads");
    }
}

/// Runs the child until it has committed `lines` transactions and a little more, kills it, returns what it committed.
fn run_and_kill(dir: &Path, lines: usize, extra: Duration) -> Vec<TransactionId> {
    let mut child = Process::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child_makes_blocks", "--nocapture", "--test-threads", "1"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let mut output = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut committed = Vec::new();
    let mut take = |line: Option<std::io::Result<String>>| {
        let Some(Ok(line)) = line else { return false };
        if let Some((_, id)) = line.split_once("committed ") {
            // The kill may cut the last line anywhere; half an id does not parse.
            committed.extend(id.parse::<TransactionId>());
        }
        committed.len() < lines
    };
    while take(output.next()) {}
    let killer = std::thread::spawn(move || {
        std::thread::sleep(extra);
        child.kill().expect("SIGKILL");
        child.wait().expect("reaped");
    });
    while let Some(Ok(line)) = output.next() {
        take(Some(Ok(line)));
    }
    killer.join().expect("killed");
    committed
}

/// Opens the store and checks it block by block; returns its height.
fn check(dir: &Path, committed: &[TransactionId]) -> Epoch {
    let node = open(dir);
    let handle = node.handle();
    let mut state = genesis().state().expect("a valid genesis");
    let mut parent = None;
    for height in (1..=handle.head().height.0).map(Epoch) {
        let block = handle.block(height).expect("readable").expect("heights are contiguous");
        assert_eq!(block.header.height, height);
        assert!(parent.is_none_or(|parent| parent == block.header.parent), "block {height} follows its parent");
        parent = Some(block.header.id());
        let context = BlockContext { epoch: height, time_ms: block.header.time_ms, beacon: block.header.beacon };
        let outcome = state.apply_block(&context, &block.transactions, &HashVerifier).expect("follows");
        assert_eq!(outcome.state_root, block.header.state_root, "replay of block {height}");
    }
    assert_eq!(state.root(), handle.state().root());
    state.check_invariants().expect("invariants hold");
    for id in committed {
        handle.receipt(id).expect("readable").unwrap_or_else(|| panic!("{id} was acknowledged and is gone"));
    }
    handle.head().height
}

#[test]
fn killed_at_random_moments_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut committed = Vec::new();
    let mut height = Epoch(0);
    for round in 0..6u64 {
        // Moments that differ from round to round; where they fall among the child's steps is up to the machine.
        let extra = Duration::from_micros(round * 1_733 % 9_000);
        committed.extend(run_and_kill(dir.path(), 20 + 7 * round as usize, extra));
        let reached = check(dir.path(), &committed);
        assert!(reached > height, "the chain went on after the crash");
        height = reached;
    }
}
