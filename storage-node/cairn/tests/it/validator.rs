//! `cairn validator`: four processes decide blocks and answer over HTTP, one is killed and comes back, one comes back too
//! late for everybody's history, one joins late by snapshot.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{cairn, text};

const PATIENCE: Duration = Duration::from_secs(180);

/// Blocks that a validator keeps: enough for one that was away for a moment, too few for who comes at the end.
const HISTORY_BLOCKS: u64 = 60;

struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(log: PathBuf, dir: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
        command.args(["validator", "run", "--block-ms", "200", "--snapshot-every", "8"]);
        command.args(["--history-blocks", &HISTORY_BLOCKS.to_string()]).arg("--dir").arg(dir).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        Self { child: command.spawn().unwrap(), log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Where its ledger answers.
    fn rpc(&self) -> String {
        let begun = Instant::now();
        loop {
            if let Some(url) = self.log().lines().find_map(|line| Some(line.strip_prefix("rpc: ")?.to_owned())) {
                return url;
            }
            assert!(begun.elapsed() < PATIENCE, "no RPC: {}", self.log());
            sleep(Duration::from_millis(50));
        }
    }

    /// The last line that tells the head: its height, and the checkpoint.
    fn head(&self) -> (u64, String) {
        let log = self.log();
        let told = log.lines().rev().find_map(|line| {
            let (height, rest) = line.strip_prefix("epoch ")?.split_once(':')?;
            Some((height.parse().ok()?, rest.rsplit(' ').next()?.to_owned()))
        });
        told.unwrap_or_default()
    }

    fn reach(&mut self, height: u64) {
        let begun = Instant::now();
        while self.head().0 < height {
            assert!(self.child.try_wait().unwrap().is_none(), "ended before {height}: {}", self.log());
            assert!(begun.elapsed() < PATIENCE, "not at {height}: {}", self.log());
            sleep(Duration::from_millis(50));
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{}", self.log());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn four_processes_decide_and_a_killed_one_and_a_late_one_catch_up() {
    let folder = tempfile::tempdir().unwrap();
    let net = folder.path().join("net");
    let params = text(&cairn_fixtures::groth16_dir());
    let purse = text(&folder.path().join("purse.key"));
    let payer = cairn(["wallet", "new", "--development", "--out", &purse, "--json"]).json()["address"].clone();
    let allocation = format!("{}=1000", payer.as_str().unwrap());
    let init = ["validator", "init", "--validators", "4", "--json", "--params", &params, "--sector-size", "2KiB"];
    let made = cairn(init.into_iter().chain(["--dir", &text(&net), "--allocation", &allocation])).json();
    let validators = made["validators"].as_array().unwrap();
    assert_eq!(validators.len(), 4);
    let again = cairn(["validator", "init", "--dir", &text(&net)]);
    assert!(again.failure().contains("validator-0 is there"), "{}", again.stderr);
    let dir = |number: usize| PathBuf::from(validators[number]["dir"].as_str().unwrap());
    let start = |number: usize, life: u32| {
        Running::start(
            folder.path().join(format!("log-{number}-{life}")),
            &dir(number),
            &["--params", &params, "--rpc", "127.0.0.1:0"],
        )
    };
    let mut running: Vec<Running> = (0..4).map(|number| start(number, 0)).collect();
    running.iter_mut().for_each(|one| one.reach(8));

    // Money that is sent at one of them has arrived at another.
    let new = ["wallet", "new", "--out", &text(&folder.path().join("other.key")), "--json"];
    let to = cairn(new).json()["address"].as_str().unwrap().to_owned();
    let (here, there) = (running[0].rpc(), running[1].rpc());
    let sent =
        cairn(["wallet", "send", "--to", &to, "--amount", "2.5", "--key", &purse, "--rpc", &here, "--json"]).json();
    assert_eq!(sent["receipt"]["outcome"], "applied");
    running[1].reach(sent["receipt"]["height"].as_u64().unwrap() + 8);
    let arrived = cairn(["wallet", "balance", &to, "--rpc", &there, "--json"]).json();
    assert_eq!(arrived["balance"], 2_500_000);

    running[2].kill();
    let goal = running[0].head().0 + 8;
    for number in [0, 1, 3] {
        running[number].reach(goal);
    }
    running[2] = start(2, 1);
    running[2].reach(goal);

    // One is away for so long that nobody has the blocks it needs: it takes a snapshot by itself.
    running[3].kill();
    let gone_at = running[3].head().0;
    let goal = gone_at + HISTORY_BLOCKS + 24;
    running[..3].iter_mut().for_each(|one| one.reach(goal));
    running[3] = start(3, 1);
    running[3].reach(goal);
    let log = running[3].log();
    assert!(log.contains("TOO LATE: block ") && log.contains("snapshot: state of block "), "{log}");

    // Who has never been there needs to be told what to believe.
    let late = folder.path().join("late");
    let (height, checkpoint) = running[1].head();
    let genesis = text(&dir(0).join("genesis.json"));
    let at = |what: &str| validators[1][what].as_str().unwrap().to_owned();
    let (peer, snapshots) = (at("listen"), at("snapshots"));
    let mut arguments = vec!["--genesis", &genesis, "--observe", "--peer", &peer, "--params", &params];
    arguments.extend(["--checkpoint", &checkpoint, "--snapshot-from", &snapshots]);
    let mut joined = Running::start(folder.path().join("log-late"), &late, &arguments);
    joined.reach(height + 8);
    assert!(joined.log().contains("snapshot: state of block "), "{}", joined.log());
    joined.stop();
    running.into_iter().for_each(Running::stop);
}

#[test]
fn development_keys_stay_in_development_networks() {
    let folder = tempfile::tempdir().unwrap();
    let net = folder.path().join("net");
    let made: Value = cairn(["validator", "init", "--dir", &text(&net), "--validators", "1", "--json"]).json();
    let validator = &made["validators"][0];
    let (dir, address) = (validator["dir"].as_str().unwrap(), validator["address"].as_str().unwrap());
    let genesis = text(&folder.path().join("genesis.json"));
    let share = format!("{address}=1000");
    let written = ["validator", "genesis", "--out", &genesis, "--name", "real", "--network", "production"];
    cairn(written.into_iter().chain(["--validator", &share, "--json"])).json();
    let run = cairn(["validator", "run", "--dir", dir, "--genesis", &genesis]);
    assert!(run.failure().contains("a key of development grade, and the network is for production"), "{}", run.stderr);

    let own = text(&folder.path().join("own"));
    let key = cairn(["validator", "key", "--dir", &own]);
    assert_eq!((key.code, key.stdout.trim().len()), (Some(0), 64));
    assert!(cairn(["validator", "key", "--dir", &own]).failure().contains("it is not replaced"));
    let run = cairn(["validator", "run", "--dir", &own, "--genesis", &genesis]);
    assert!(run.failure().contains("its genesis is not complete"), "{}", run.stderr);
    let run = cairn(["validator", "run", "--dir", &own, "--genesis", &genesis, "--block-ms", "1000"]);
    assert!(run.failure().contains("are 30000 ms apart, as its genesis says"), "{}", run.stderr);
}
