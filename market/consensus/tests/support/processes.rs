//! Validators as processes: a test runs itself as children, and reads what they print.
//!
//! A child runs one validator, pays from an account of its own without end, and prints `committed ID` once the receipt is
//! readable and `height N` for each block that it sees, until it is killed.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cairn_ledger::testing::Network;
use cairn_ledger::{Command, TransactionId};
use cairn_protocol::{Amount, Epoch};

use super::{PATIENCE, Running, check_stores, genesis, options};

pub const VALIDATORS: u32 = 4;

/// Number, folder and addresses of a child.
const CHILD: &str = "CAIRN_TEST_VALIDATOR";
/// The name that the test of a child must have.
const CHILD_TEST: &str = "child_validates";
/// How long a child looks for a receipt: a transaction of its own from before a kill may come back from a peer and take
/// the nonce of a new one, and a network that is cut decides nothing.
const RECEIPT_PATIENCE: Duration = Duration::from_secs(2);

/// What a child does, in batches of `batch` payments; returns at once in any other process.
pub fn validate(batch: u64) {
    let Ok(text) = std::env::var(CHILD) else { return };
    let mut words = text.split(' ');
    let number: u32 = words.next().expect("a number").parse().expect("a number");
    let dir = PathBuf::from(words.next().expect("a folder"));
    let addresses: Vec<SocketAddr> = words.map(|word| word.parse().expect("an address")).collect();
    let node = Running::start(&dir, &genesis(VALIDATORS), options(number, &addresses));
    let handle = node.handle.clone();
    std::thread::spawn(move || {
        let key = Network::key(number as u8 + 1);
        loop {
            let command = |amount| Command::Transfer { to: Network::address(8), amount: Amount(amount) };
            let ids: Vec<TransactionId> =
                (1..=batch).filter_map(|amount| handle.submit_command(&key, command(amount)).ok()).collect();
            for id in ids {
                if handle.wait_for_receipt(&id, RECEIPT_PATIENCE).expect("readable").is_some() {
                    writeln!(std::io::stdout(), "committed {id}").expect("the parent reads");
                }
            }
        }
    });
    for height in 1.. {
        while node.handle.wait_for_height(Epoch(height), Duration::from_secs(1)).is_err() {
            assert_eq!(node.handle.stopped(), None);
        }
        writeln!(std::io::stdout(), "height {}", node.handle.head().height).expect("the parent reads");
    }
}

/// What the children have printed.
#[derive(Default)]
struct Seen {
    committed: Vec<TransactionId>,
    heights: [u64; VALIDATORS as usize],
}

/// The children, and the folder of their stores.
pub struct Processes {
    dir: tempfile::TempDir,
    addresses: Vec<SocketAddr>,
    children: Vec<Option<Child>>,
    seen: Arc<Mutex<Seen>>,
}

impl Processes {
    /// Of validators at these addresses; none runs yet.
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        let children = addresses.iter().map(|_| None).collect();
        Self { dir: tempfile::tempdir().expect("a directory"), addresses, children, seen: Arc::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no reader panics")
    }

    fn store_dir(&self, number: u32) -> PathBuf {
        self.dir.path().join(number.to_string())
    }

    /// Starts a validator behind `launcher`, a program and its arguments that run what follows them; empty for none.
    pub fn spawn(&mut self, number: u32, launcher: &[&str]) {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let arguments = format!("{number} {} {}", path_text(&self.store_dir(number)), addresses.join(" "));
        let this_test = std::env::current_exe().expect("this test");
        let mut process = match launcher {
            [] => Process::new(this_test),
            [program, arguments @ ..] => {
                let mut process = Process::new(program);
                process.args(arguments).arg(this_test);
                process
            }
        };
        let mut child = process
            .args(["--exact", CHILD_TEST, "--nocapture", "--test-threads", "1"])
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

    /// Kills a validator as nothing else does.
    pub fn kill(&mut self, number: u32) {
        let mut child = self.children[number as usize].take().expect("it runs");
        child.kill().expect("SIGKILL");
        child.wait().expect("reaped");
    }

    pub fn heights(&self) -> [u64; VALIDATORS as usize] {
        self.seen().heights
    }

    /// Waits until these validators have seen `more` blocks more than the highest of all had before.
    pub fn advance(&self, numbers: &[usize], more: u64) {
        let goal = self.heights().iter().max().expect("four") + more;
        let started = Instant::now();
        while numbers.iter().any(|number| self.heights()[*number] < goal) {
            assert!(started.elapsed() < PATIENCE, "stuck at {:?} on the way to {goal}", self.heights());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until these validators see no block for some seconds. What was under way may arrive until then.
    pub fn stand_still(&self, numbers: &[usize]) {
        let now = || numbers.iter().map(|number| self.heights()[*number]).collect::<Vec<_>>();
        let (started, mut seen, mut since) = (Instant::now(), now(), Instant::now());
        while since.elapsed() < Duration::from_secs(3) {
            assert!(started.elapsed() < PATIENCE, "{numbers:?} go on: {seen:?}");
            std::thread::sleep(Duration::from_millis(50));
            if now() != seen {
                (seen, since) = (now(), Instant::now());
            }
        }
    }

    /// Kills everybody and checks all stores: one chain, and every printed transaction is in it. Returns how many blocks
    /// and transactions that are.
    pub fn finish(mut self) -> (u64, usize) {
        let running: Vec<u32> = (0..VALIDATORS).filter(|number| self.children[*number as usize].is_some()).collect();
        running.into_iter().for_each(|number| self.kill(number));
        // Readers take what the children wrote before they died.
        std::thread::sleep(Duration::from_millis(200));
        let dirs: Vec<PathBuf> = (0..VALIDATORS).map(|number| self.store_dir(number)).collect();
        let committed = std::mem::take(&mut self.seen().committed);
        assert!(!committed.is_empty(), "there was load: something was acknowledged, so something could have been lost");
        (check_stores(&genesis(VALIDATORS), &dirs, &committed), committed.len())
    }
}

impl Drop for Processes {
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
