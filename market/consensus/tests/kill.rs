//! Four validators as processes under load, killed with SIGKILL: one at a time, then all at once.
//!
//! The test runs itself as child processes. Each submits transfers of its own account without end and prints an id once
//! its receipt is readable. In the end all stores must hold one chain, and every printed id must be in it.
//!
//! `CAIRN_KILL_ROUNDS` sets how often each kind of kill happens; the default keeps the test short.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cairn_ledger::testing::Network;
use cairn_ledger::{Command, TransactionId};
use cairn_protocol::{Amount, Epoch};
use support::{PATIENCE, Running, check_stores, free_ports, genesis, options};

const CHILD: &str = "CAIRN_KILL_TEST_CHILD";
const ROUNDS: &str = "CAIRN_KILL_ROUNDS";
const VALIDATORS: u32 = 4;

/// Not a test of its own: what a child does, until it is killed. `CHILD` is number, folder and addresses.
#[test]
fn child_validates() {
    let Ok(text) = std::env::var(CHILD) else { return };
    let mut words = text.split(' ');
    let number: u32 = words.next().expect("a number").parse().expect("a number");
    let dir = PathBuf::from(words.next().expect("a folder"));
    let addresses: Vec<SocketAddr> = words.map(|word| word.parse().expect("an address")).collect();
    let node = Running::start(&dir, &genesis(VALIDATORS), options(number, &addresses));
    let key = Network::key(number as u8 + 1);
    let mut stdout = std::io::stdout();
    let handle = node.handle.clone();
    std::thread::spawn(move || {
        for height in 1.. {
            let head = handle.wait_for_height(Epoch(height), PATIENCE).expect("the chain goes on");
            writeln!(std::io::stdout(), "height {}", head.height).expect("the parent reads");
        }
    });
    loop {
        let command = |amount| Command::Transfer { to: Network::address(8), amount: Amount(amount) };
        let ids: Vec<TransactionId> =
            (1..=20).filter_map(|amount| node.handle.submit_command(&key, command(amount)).ok()).collect();
        for id in ids {
            // A transaction of ours from before the kill may come back from a peer and take the nonce of a new one.
            if node.handle.wait_for_receipt(&id, Duration::from_secs(1)).expect("readable").is_some() {
                writeln!(stdout, "committed {id}").expect("the parent reads");
            }
        }
        stdout.flush().expect("the parent reads");
        assert_eq!(node.handle.stopped(), None);
    }
}

/// What the children have printed.
#[derive(Default)]
struct Seen {
    committed: Vec<TransactionId>,
    /// Of each validator.
    heights: [u64; VALIDATORS as usize],
}

struct Network4 {
    dir: tempfile::TempDir,
    addresses: Vec<SocketAddr>,
    children: Vec<Option<Child>>,
    seen: Arc<Mutex<Seen>>,
}

impl Network4 {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let children = (0..VALIDATORS).map(|_| None).collect();
        let mut network = Self { dir, addresses: free_ports(VALIDATORS), children, seen: Arc::default() };
        (0..VALIDATORS).for_each(|number| network.spawn(number));
        network
    }

    fn store_dir(&self, number: u32) -> PathBuf {
        self.dir.path().join(number.to_string())
    }

    fn spawn(&mut self, number: u32) {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let arguments = format!("{number} {} {}", path_text(&self.store_dir(number)), addresses.join(" "));
        let mut child = Process::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "child_validates", "--nocapture", "--test-threads", "1"])
            .env(CHILD, arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let seen = self.seen.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let words: Vec<&str> = line.split(' ').collect();
                // The kill may cut the last line anywhere; half an id does not parse.
                let mut seen = seen.lock().expect("no reader panics");
                match words.as_slice() {
                    ["committed", id] => seen.committed.extend(id.parse::<TransactionId>()),
                    ["height", height] => height.parse().into_iter().for_each(|h| seen.heights[number as usize] = h),
                    _ => {}
                }
            }
        });
        self.children[number as usize] = Some(child);
    }

    fn kill(&mut self, number: u32) {
        let mut child = self.children[number as usize].take().expect("it runs");
        child.kill().expect("SIGKILL");
        child.wait().expect("reaped");
    }

    /// Waits until every running validator has seen `more` blocks more than the highest had before.
    fn advance(&self, more: u64) {
        let goal = self.seen.lock().expect("no reader panics").heights.iter().max().expect("four") + more;
        let started = Instant::now();
        loop {
            let heights = self.seen.lock().expect("no reader panics").heights;
            let running = heights.iter().zip(&self.children).filter(|(_, child)| child.is_some());
            if running.clone().all(|(height, _)| *height >= goal) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "stuck at {heights:?} on the way to {goal}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Network4 {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("temporary folders have plain names").to_owned()
}

#[test]
fn killed_validators_come_back_and_nothing_is_lost() {
    let rounds: u32 = std::env::var(ROUNDS).ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let mut network = Network4::start();
    network.advance(3);
    for round in 0..rounds {
        network.kill(round % VALIDATORS);
        network.advance(3);
        network.spawn(round % VALIDATORS);
        network.advance(2);
    }
    for round in 0..rounds {
        // The moment of the kill differs from round to round, and so does the order of the victims.
        std::thread::sleep(Duration::from_millis(u64::from(round) * 37 % 200));
        (0..VALIDATORS).for_each(|number| network.kill((number + round) % VALIDATORS));
        (0..VALIDATORS).for_each(|number| network.spawn(number));
        network.advance(3);
    }
    (0..VALIDATORS).for_each(|number| network.kill(number));
    // Readers take what the children wrote before they died.
    std::thread::sleep(Duration::from_millis(200));
    let dirs: Vec<PathBuf> = (0..VALIDATORS).map(|number| network.store_dir(number)).collect();
    let committed = std::mem::take(&mut network.seen.lock().expect("no reader panics").committed);
    assert!(!committed.is_empty(), "there was load: something was acknowledged, so something could have been lost");
    let height = check_stores(&genesis(VALIDATORS), &dirs, &committed);
    println!("{rounds} kills of one, {rounds} of all: {height} blocks, {} transactions, one chain", committed.len());
}
