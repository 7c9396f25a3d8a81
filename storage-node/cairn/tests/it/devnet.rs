//! `cairn devnet` as a process: killed at any moment it continues, told to stop it stops, and what it stored comes back.

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
const PATIENCE: Duration = Duration::from_secs(300);

/// A folder for a network of small sectors, and what it shall store.
struct Place {
    folder: TempDir,
}

impl Place {
    /// Three files that fill three pieces of a 32 KiB sector each on its own.
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
        let (out, log) = (self.path("out"), self.path("log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
        command.args(["devnet", "--sector-size", "32KiB", "--threads", "1", "--dir"]).arg(self.path("net")).args(more);
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
            let log = self.log();
            if let Some(rest) = log.lines().find_map(|line| line.strip_prefix(start)) {
                return rest.to_owned();
            }
            assert!(self.child.try_wait().unwrap().is_none(), "ended before {start:?}: {log}");
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

#[test]
fn killed_again_and_again_the_demo_still_ends_well() {
    let place = Place::new();
    let data = place.path("data").display().to_string();
    let demo = ["--demo", "--exit", "--json", "--dataset", &data];
    for milliseconds in [150, 400, 900, 1_600, 2_500, 4_000] {
        let running = place.start(&demo);
        sleep(Duration::from_millis(milliseconds));
        running.signal("-KILL");
        running.wait();
    }
    let (status, out, log) = place.start(&demo).wait();
    assert!(status.success(), "{log}");
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
    assert_eq!(report["pieces"].as_array().unwrap().len(), 3);
    assert_eq!(report["deals"].as_array().unwrap().len(), 3);
    assert_eq!(report["sealed"].as_array().unwrap().len(), 3);
    let stages: Vec<&str> =
        report["stages"].as_array().unwrap().iter().map(|row| row["stage"].as_str().unwrap()).collect();
    for stage in ["labels", "vanilla-proof", "prove-commit", "window PoSt 2", "fetch", "compare"] {
        assert!(stages.contains(&stage), "{stage} is not in {stages:?}");
    }
    for name in ["a.bin", "b.bin", "c.bin"] {
        same(&place.path("data").join(name), &place.path("net/fetched").join(name));
    }
}

#[test]
fn told_to_stop_it_stops_and_starts_again_where_it_was() {
    let place = Place::new();
    let single = place.path("data/b.bin").display().to_string();
    let mut running = place.start(&["--store", &single]);
    let gateway = running.line("gateway: ");
    let order = running.line(&format!("{single}: "));
    let root = order.split("/data/").nth(1).unwrap().trim_end_matches('/').to_owned();
    running.line("sector 0: finalize done");
    running.signal("-INT");
    let (status, _, log) = running.wait();
    assert!(status.success() && log.ends_with("stopping\n"), "{log}");

    let mut running = place.start(&["--store", &single]);
    assert_eq!(running.line("gateway: "), gateway, "the URL stays");
    assert!(running.line(&format!("{single}: ")).starts_with("order-1;"), "nothing is ordered twice");
    let out = place.path("copy.bin");
    let ran = cairn(["get", &root, "--from", &gateway, "--out", out.to_str().unwrap(), "--json"]).json();
    assert_eq!(ran["bytes_total"], 20_000);
    same(Path::new(&single), &out);
    running.signal("-TERM");
    assert!(running.wait().0.success());
}

#[test]
fn what_cannot_be_stored_is_said_in_one_line() {
    let place = Place::new();
    let dir = place.path("net").display().to_string();
    let missing = place.path("nothing").display().to_string();
    let ran = cairn(["devnet", "--dir", &dir, "--sector-size", "32KiB", "--demo", "--exit", "--dataset", &missing]);
    assert_eq!(ran.code, Some(1));
    let last = ran.stderr.lines().last().unwrap();
    assert!(last.starts_with("cairn: cannot import ") && last.contains("nothing"), "{last}");
    let ran = cairn(["devnet", "--dir", &dir, "--sector-size", "8MiB", "--demo", "--exit"]);
    assert!(ran.failure().ends_with("has 32KiB, got 8MiB"), "{}", ran.stderr);
}
