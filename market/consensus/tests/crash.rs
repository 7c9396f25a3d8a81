//! Kills the only validator with SIGKILL at random moments and checks what is left.
//!
//! The test runs itself as a child that decides blocks as fast as it can and prints the id of each transaction only after
//! its receipt is readable. After each kill the store is opened again: heights are contiguous, every block follows its
//! parent and is decided, a replay from the genesis gives every recorded root, and every printed transaction is there.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use cairn_consensus::NodeOptions;
use cairn_ledger::testing::Network;
use cairn_ledger::{Command, TransactionId};
use cairn_protocol::Amount;
use support::{PATIENCE, Running, check_stores, genesis};

const CHILD_DIR: &str = "CAIRN_CRASH_TEST_DIR";

/// Not a test of its own: what the child does, until it is killed.
#[test]
fn child_makes_blocks() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let options = NodeOptions { block_interval: Duration::from_millis(1), ..NodeOptions::default() };
    let node = Running::start(Path::new(&dir), &genesis(1), options);
    let mut stdout = std::io::stdout();
    loop {
        let ids: Vec<TransactionId> = (0..3)
            .map(|n| {
                let command = Command::Transfer { to: Network::address(2), amount: Amount(n + 1) };
                node.handle.submit_command(&Network::key(1), command).expect("the pool takes it")
            })
            .collect();
        for id in ids.iter().filter(|id| is_decided(&node, id)) {
            writeln!(stdout, "committed {id}").expect("the parent reads");
        }
        stdout.flush().expect("the parent reads");
    }
}

/// Waits until a transaction is in a block, or cannot be any more: what the killed process had proposed is decided first, and may
/// use its nonce.
fn is_decided(node: &Running, id: &TransactionId) -> bool {
    let started = Instant::now();
    loop {
        // Before the receipt is looked for: it leaves the pool after its block is stored.
        let waits = node.handle.is_waiting(id);
        if node.handle.wait_for_receipt(id, Duration::from_millis(100)).expect("readable").is_some() {
            return true;
        }
        if !waits {
            return false;
        }
        assert!(started.elapsed() < PATIENCE, "{id} waits in the pool and is not decided");
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
        child.wait().expect("reaped").signal()
    });
    while let Some(Ok(line)) = output.next() {
        take(Some(Ok(line)));
    }
    assert_eq!(killer.join().expect("killed"), Some(9), "the child ended by itself");
    committed
}

#[test]
fn killed_at_random_moments_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut committed = Vec::new();
    let mut height = 0;
    for round in 0..6u64 {
        // Moments that differ from round to round; where they fall among the child's steps is up to the machine.
        let extra = Duration::from_micros(round * 1_733 % 9_000);
        committed.extend(run_and_kill(dir.path(), 20 + 7 * round as usize, extra));
        let reached = check_stores(&genesis(1), &[dir.path().to_owned()], &committed);
        assert!(reached > height, "the chain went on after the crash");
        height = reached;
    }
}
