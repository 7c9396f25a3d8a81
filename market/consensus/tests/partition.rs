//! Four validators as processes, each in a network of its own, joined by a bridge that is cut and mended.
//!
//! The networks are namespaces of the kernel, which takes the right to make them; without it the check is skipped.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cairn_ledger::testing::Network;
use cairn_ledger::{Command, TransactionId};
use cairn_protocol::{Amount, Epoch};
use support::{PATIENCE, Running, check_stores, genesis, options};

const CHILD: &str = "CAIRN_PARTITION_TEST_CHILD";
const VALIDATORS: u32 = 4;

/// Not a test of its own: what a child does until it is killed. `CHILD` is number, folder and addresses.
#[test]
fn child_validates() {
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
            let command = Command::Transfer { to: Network::address(8), amount: Amount(1) };
            if let Ok(id) = handle.submit_command(&key, command)
                && handle.wait_for_receipt(&id, Duration::from_secs(2)).expect("readable").is_some()
            {
                writeln!(std::io::stdout(), "committed {id}").expect("the parent reads");
            }
        }
    });
    for height in 1.. {
        // A network that is cut makes no blocks for as long as it is.
        while node.handle.wait_for_height(Epoch(height), Duration::from_secs(1)).is_err() {
            assert_eq!(node.handle.stopped(), None);
        }
        writeln!(std::io::stdout(), "height {}", node.handle.head().height).expect("the parent reads");
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Process::new("ip").args(arguments.split(' ')).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

#[derive(Default)]
struct Seen {
    heights: [u64; VALIDATORS as usize],
    committed: Vec<TransactionId>,
}

/// Namespaces of four validators and one with the two bridges between them.
struct Networks {
    name: String,
    children: Vec<Child>,
    seen: Arc<Mutex<Seen>>,
}

impl Networks {
    fn make() -> Result<Self, String> {
        let name = format!("cairn{}", std::process::id());
        let made = Self { name: name.clone(), children: Vec::new(), seen: Arc::default() };
        ip(&format!("netns add {name}s"))?;
        for bridge in ["one", "two"] {
            ip(&format!("-n {name}s link add {bridge} type bridge"))?;
            ip(&format!("-n {name}s link set {bridge} up"))?;
        }
        for number in 0..VALIDATORS {
            ip(&format!("netns add {name}v{number}"))?;
            ip(&format!("-n {name}s link add port{number} type veth peer name eth0 netns {name}v{number}"))?;
            ip(&format!("-n {name}s link set port{number} master one up"))?;
            ip(&format!("-n {name}v{number} addr add 10.91.0.{}/24 dev eth0", number + 1))?;
            ip(&format!("-n {name}v{number} link set eth0 up"))?;
            ip(&format!("-n {name}v{number} link set lo up"))?;
        }
        Ok(made)
    }

    /// Joins a validator to one of the two bridges.
    fn join(&self, number: u32, bridge: &str) {
        ip(&format!("-n {}s link set port{number} master {bridge}", self.name)).expect("the bridge is there");
    }

    fn spawn(&mut self, number: u32, dir: &std::path::Path) {
        let addresses: Vec<String> = (1..=VALIDATORS).map(|host| format!("10.91.0.{host}:7000")).collect();
        let dir = dir.join(number.to_string());
        let arguments = format!("{number} {} {}", dir.to_str().expect("a plain name"), addresses.join(" "));
        let mut child = Process::new("ip")
            .args(["netns", "exec", &format!("{}v{number}", self.name)])
            .arg(std::env::current_exe().expect("this test"))
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
                let mut seen = seen.lock().expect("no reader panics");
                match words.as_slice() {
                    ["committed", id] => seen.committed.extend(id.parse::<TransactionId>()),
                    ["height", height] => height.parse().into_iter().for_each(|h| seen.heights[number as usize] = h),
                    _ => {}
                }
            }
        });
        self.children.push(child);
    }

    fn heights(&self) -> [u64; VALIDATORS as usize] {
        self.seen.lock().expect("no reader panics").heights
    }

    /// Waits until these validators are `more` blocks above the highest of all.
    fn advance(&self, numbers: &[usize], more: u64) {
        let goal = self.heights().iter().max().expect("four") + more;
        let started = Instant::now();
        while numbers.iter().any(|number| self.heights()[*number] < goal) {
            assert!(started.elapsed() < PATIENCE, "stuck at {:?} on the way to {goal}", self.heights());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for number in 0..VALIDATORS {
            let _ = ip(&format!("netns del {}v{number}", self.name));
        }
        let _ = ip(&format!("netns del {}s", self.name));
    }
}

#[test]
fn a_network_that_is_cut_heals_by_itself() {
    let mut networks = match Networks::make() {
        Ok(networks) => networks,
        Err(reason) => return println!("check skipped: network namespaces cannot be made: {reason}"),
    };
    let dir = tempfile::tempdir().expect("a directory");
    (0..VALIDATORS).for_each(|number| networks.spawn(number, dir.path()));
    networks.advance(&[0, 1, 2, 3], 3);
    // One is cut off: the others go on, it does not; mended, it catches up.
    networks.join(3, "two");
    networks.advance(&[0, 1, 2], 5);
    let lonely = networks.heights()[3];
    networks.advance(&[0, 1, 2], 5);
    assert_eq!(networks.heights()[3], lonely, "nobody decides alone");
    networks.join(3, "one");
    networks.advance(&[0, 1, 2, 3], 3);
    // Two and two: nobody decides. What was under way when the bridge was cut may still arrive.
    networks.join(2, "two");
    networks.join(3, "two");
    std::thread::sleep(Duration::from_secs(2));
    let cut = networks.heights();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(networks.heights(), cut, "half of the votes decide nothing");
    networks.join(2, "one");
    networks.join(3, "one");
    networks.advance(&[0, 1, 2, 3], 5);
    let seen = networks.seen.clone();
    drop(networks);
    // Readers take what the children wrote before they died.
    std::thread::sleep(Duration::from_millis(200));
    let dirs: Vec<PathBuf> = (0..VALIDATORS).map(|number| dir.path().join(number.to_string())).collect();
    let committed = std::mem::take(&mut seen.lock().expect("no reader panics").committed);
    assert!(!committed.is_empty());
    check_stores(&genesis(VALIDATORS), &dirs, &committed);
}
