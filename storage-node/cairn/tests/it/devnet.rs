//! `cairn devnet` and `cairn provider run` as processes: killed at any moment it continues, told to stop it stops, and what it stored comes back.
//!
//! The sectors have 8 MiB, because parameters for those are what `make demo` makes and keeps too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cairn_fixtures::labelled_data;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{cairn, sha256};

/// Longest wait for anything; a busy machine is no failure.
const PATIENCE: Duration = Duration::from_secs(900);

/// Parameters that are made once, by whoever needs them first.
fn params() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cairn-params").display().to_string()
}

/// A folder for a network, and what it shall store.
struct Place {
    folder: TempDir,
}

impl Place {
    /// Three files in one piece.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        for name in ["a.bin", "b.bin", "c.bin"] {
            fs::write(folder.path().join("data").join(name), labelled_data(name, 20_000)).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, more: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
        command.args(["devnet", "--params", &params(), "--dir"]).arg(self.path("net")).args(more);
        self.spawn(command, "")
    }

    /// A worker that leaves when it is paid once.
    fn prover(&self, rpc: &str, key: &str, name: &str) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
        command.args(["prover", "--rpc", rpc, "--key", key, "--params", &params(), "--jobs", "1", "--dir"]);
        command.arg(self.path("jobs"));
        self.spawn(command, name)
    }

    /// A provider of the network at `rpc`, with the devnet's key for one.
    fn provider(&self, rpc: &str, listen: &str, name: &str) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
        command.args(["provider", "run", "--rpc", rpc, "--listen", listen, "--params", &params()]);
        command.args(["--register", "100", "--sector-size", "8MiB", "--key"]).arg(self.path("provider.key"));
        command.arg("--dir").arg(self.path("provider"));
        self.spawn(command, name)
    }

    fn spawn(&self, mut command: Command, name: &str) -> Running {
        let (out, log) = (self.path(&format!("out{name}")), self.path(&format!("log{name}")));
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&log).unwrap());
        Running { child: command.spawn().unwrap(), out, log }
    }
}

struct Running {
    child: Child,
    out: PathBuf,
    log: PathBuf,
}

impl Running {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The rest of the first line that begins with `start`, once there is one.
    fn line(&mut self, start: &str) -> String {
        let begun = Instant::now();
        loop {
            // Asked before the log is read: what it said last counts.
            let ended = self.child.try_wait().unwrap().is_some();
            let log = self.log();
            if let Some(rest) = log.lines().find_map(|line| line.strip_prefix(start)) {
                return rest.to_owned();
            }
            assert!(!ended, "ended before {start:?}: {log}");
            assert!(begun.elapsed() < PATIENCE, "no line {start:?} in: {log}");
            sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    fn wait(mut self) -> (ExitStatus, String, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, fs::read_to_string(&self.out).unwrap(), self.log());
            }
            assert!(begun.elapsed() < PATIENCE, "still running: {}", self.log());
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed leaves no network behind; one that is over cannot be killed any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn same(expected: &Path, got: &Path) {
    assert_eq!(sha256(expected), sha256(got), "{}", got.display());
}

/// One network's life; every step builds on what the ones before left.
#[test]
fn killed_again_and_again_stopped_and_started_it_loses_nothing() {
    let place = Place::new();
    let data = place.path("data").display().to_string();
    let demo = ["--demo", "--exit", "--json", "--dataset", &data];
    // Counted from when the network is up, whoever makes the parameters first: transfer, labels, trees, the SNARK on a
    // quiet machine.
    for milliseconds in [300, 1_500, 5_000, 12_000] {
        let mut running = place.start(&demo);
        running.line("devnet in ");
        sleep(Duration::from_millis(milliseconds));
        running.signal("-KILL");
        running.wait();
    }
    let (status, out, log) = place.start(&demo).wait();
    assert!(status.success(), "{log}");
    check_report(&serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}")));
    for name in ["a.bin", "b.bin", "c.bin"] {
        same(&place.path("data").join(name), &place.path("net/fetched").join(name));
    }

    let mut running = place.start(&["--store", &data]);
    let gateway = running.line("gateway: ");
    let order = running.line(&format!("{data}: "));
    assert!(order.starts_with("order-1;"), "nothing is ordered twice: {order}");
    let root = order.split("/data/").nth(1).unwrap().trim_end_matches('/').to_owned();
    running.signal("-INT");
    let (status, _, log) = running.wait();
    assert!(status.success() && log.ends_with("stopping\n"), "{log}");

    let mut running = place.start(&["--rpc", "127.0.0.1:0"]);
    assert_eq!(running.line("gateway: "), gateway, "the URL stays");
    let rpc = running.line("rpc: ");
    let deals = cairn(["deal", "list", "--state", "active", "--rpc", &rpc, "--json"]).json();
    assert_eq!(deals[0]["order"], 1, "{deals}");
    let provider = cairn(["provider", "show", "1000", "--rpc", &rpc]).stdout;
    assert!(provider.contains(&gateway) && provider.contains("active"), "{provider}");
    running.line("window PoSt deadline ");
    let out = place.path("copy");
    let ran = cairn(["get", &root, "--from", &gateway, "--out", out.to_str().unwrap(), "--json"]).json();
    assert_eq!(ran["bytes_total"], 60_000);
    same(&place.path("data/b.bin"), &out.join("b.bin"));
    running.signal("-TERM");
    assert!(running.wait().0.success());
    other_parameters_are_refused(&place);
}

fn check_report(report: &Value) {
    for (what, count) in [("pieces", 1), ("deals", 1), ("sealed", 1)] {
        assert_eq!(report[what].as_array().unwrap().len(), count, "{report}");
    }
    let rows = report["stages"].as_array().unwrap();
    let row = |stage: &str| rows.iter().find(|row| row["stage"] == stage);
    for stage in ["parameters", "labels", "vanilla-proof", "prove-commit", "window PoSt 2", "fetch", "compare"] {
        assert!(row(stage).is_some(), "{stage} is not in {rows:?}");
    }
    assert_eq!(row("snark").unwrap()["bytes"], 192, "one partition, and made once however often it was killed");
}

/// A network's proofs belong to its parameters, not to any of the same size.
fn other_parameters_are_refused(place: &Place) {
    let (net, empty) = (place.path("net").display().to_string(), place.path("empty").display().to_string());
    let refused = |params: &str| {
        let ran = cairn(["devnet", "--dir", &net, "--params", params]);
        assert_eq!(ran.code, Some(1));
        ran.stderr.lines().last().unwrap().to_owned()
    };
    let line = refused(&empty);
    assert!(line.contains("has no parameters of porep 8MiB, which the network was made with"), "{line}");
    let settings = place.path("net/devnet.json");
    let text = fs::read_to_string(&settings).unwrap();
    let mut changed: Value = serde_json::from_str(&text).unwrap();
    changed["genesis"]["verifying_keys"]["window-post 8MiB"] = "00".into();
    fs::write(&settings, changed.to_string()).unwrap();
    let line = refused(&params());
    assert!(line.contains("does not belong to the network in") && line.contains("window-post 8MiB"), "{line}");
}

#[test]
fn what_cannot_be_stored_is_said_in_one_line() {
    let place = Place::new();
    let dir = place.path("net").display().to_string();
    let missing = place.path("nothing").display().to_string();
    let ran = cairn(["devnet", "--dir", &dir, "--params", &params(), "--demo", "--exit", "--dataset", &missing]);
    assert_eq!(ran.code, Some(1));
    let last = ran.stderr.lines().last().unwrap();
    assert!(last.starts_with("cairn: cannot import ") && last.contains("nothing"), "{last}");
    let ran = cairn(["devnet", "--dir", &dir, "--params", &params(), "--sector-size", "2KiB", "--demo", "--exit"]);
    assert!(ran.failure().ends_with("has 8MiB, got 2KiB"), "{}", ran.stderr);
}

/// A provider that does not prove replication itself: another process with an account of its own takes the job over HTTP,
/// fetches the plain proof, proves, and is paid by the ledger. Killed when the proof is made, it is paid for that one when it
/// is back, and makes no other. The network stands still from before the proof is made until the worker is dead, so that no
/// machine is fast enough to be paid before the kill; and it stays until the next worker has seen its pay.
#[test]
fn a_worker_elsewhere_proves_for_the_provider_and_is_paid() {
    let place = Place::new();
    let data = place.path("data").display().to_string();
    let demo = ["--snarks", "posted", "--rpc", "127.0.0.1:0", "--demo", "--json", "--dataset", &data];
    let mut devnet = place.start(&demo);
    let rpc = devnet.line("rpc: ");
    let (net, key) = (place.path("net").display().to_string(), place.path("worker.key").display().to_string());
    cairn(["wallet", "import", "--devnet", &net, "--role", "worker", "--out", &key, "--json"]).json();

    let mut worker = place.prover(&rpc, &key, "first");
    worker.line("bid ");
    worker.line("proving job-1");
    devnet.signal("-STOP");
    worker.line("proven job-1");
    worker.signal("-KILL");
    let (_, _, before) = worker.wait();
    devnet.signal("-CONT");
    assert!(!before.contains("paid "), "{before}");
    let (status, _, after) = place.prover(&rpc, &key, "second").wait();
    assert!(status.success() && after.contains("paid "), "{after}");
    assert!(!after.contains("proving job-1"), "made twice: {after}");

    devnet.line("running; ");
    devnet.signal("-INT");
    let (status, out, log) = devnet.wait();
    assert!(status.success(), "{log}");
    check_report(&serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}")));
    same(&place.path("data/c.bin"), &place.path("net/fetched/c.bin"));
}

/// What the ledger has of the first sector of provider 1000, once `enough` is true of it.
fn sector_when(rpc: &str, enough: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let shown = cairn(["provider", "show", "1000", "--rpc", rpc, "--json"]).json();
        let sector = shown["sectors"][0].clone();
        if enough(&sector) {
            return sector;
        }
        assert!(begun.elapsed() < PATIENCE, "{shown}");
        sleep(Duration::from_millis(100));
    }
}

/// A provider that is another process than the ledger: it registers, bids, fetches, seals and proves over HTTP. Killed in
/// the middle of sealing and again when the sector is active, it goes on; while the ledger is away it waits.
#[test]
fn a_provider_elsewhere_seals_and_goes_on_proving() {
    let place = Place::new();
    let data = place.path("data").display().to_string();
    let serving = ["--no-provider", "--rpc", "127.0.0.1:0", "--store", &data];
    let mut devnet = place.start(&serving);
    let rpc = devnet.line("rpc: ");
    let (net, key) = (place.path("net").display().to_string(), place.path("provider.key").display().to_string());
    cairn(["wallet", "import", "--devnet", &net, "--role", "provider", "--out", &key, "--json"]).json();

    let mut first = place.provider(&rpc, "127.0.0.1:0", "first");
    let gateway = first.line("gateway: http://");
    let gateway = gateway.split(',').next().unwrap().to_owned();
    first.line("provider: sector 0 takes deal-1");
    let second = place.provider(&rpc, "127.0.0.1:0", "beside").wait();
    assert!(!second.0.success() && second.2.contains("another process works there"), "{}", second.2);
    first.signal("-KILL");
    first.wait();

    let mut second = place.provider(&rpc, &gateway, "second");
    let sector = sector_when(&rpc, |sector| sector["state"] == "active" && sector["posts_accepted"].as_u64() > Some(0));
    assert_eq!(sector["deals"], serde_json::json!([1]), "{sector}");
    let log = second.log();
    assert!(!log.contains("is registered") && !log.contains("provider: bid"), "nothing is done twice: {log}");
    let root = devnet.line(&format!("{data}: ")).rsplit(' ').next().unwrap().to_owned();
    let out = place.path("copy");
    cairn(["get", &root, "--from", &format!("http://{gateway}"), "--out", out.to_str().unwrap(), "--json"]).json();
    same(&place.path("data/c.bin"), &out.join("c.bin"));
    second.line("provider-1000 of ");
    second.signal("-KILL");
    second.wait();

    // The ledger goes away under the third, and comes back at the same place.
    let mut third = place.provider(&rpc, &gateway, "third");
    third.line("provider-1000 of ");
    devnet.signal("-KILL");
    devnet.wait();
    third.line("provider: the ledger is not available");
    let address = rpc.strip_prefix("http://").unwrap();
    let devnet = place.start(&["--no-provider", "--rpc", address]);
    third.line("provider: the ledger answers again");
    let before = sector["posts_accepted"].as_u64();
    // A machine that was slow to start may have missed a deadline: then it recovers by itself.
    sector_when(&rpc, |sector| sector["state"] == "active" && sector["posts_accepted"].as_u64() > before);
    third.signal("-INT");
    let (status, _, log) = third.wait();
    assert!(status.success() && log.contains("\nstopping\n"), "{log}");
    devnet.signal("-INT");
    assert!(devnet.wait().0.success());
}
