//! `kill -9` in the middle of a fetch: the next one continues with every leaf that was verified.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cairn_gateway::{FetchOptions, FetchRequest, fetch_blocking};

use super::common::*;
use super::proxy::{Action, Proxy};

const ROOT: &str = "CAIRN_TEST_FETCH_ROOT";
const SOURCE: &str = "CAIRN_TEST_FETCH_SOURCE";
const DEST: &str = "CAIRN_TEST_FETCH_DEST";

/// Not a test of its own: the process that is killed. Does nothing unless the test below starts it.
#[test]
fn child_process() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let request = FetchRequest {
        root: root.parse().unwrap(),
        path: BIG.into(),
        sources: vec![std::env::var(SOURCE).unwrap().parse().unwrap()],
        dest: PathBuf::from(std::env::var(DEST).unwrap()),
        options: FetchOptions { parallel: 1, range_bytes: 1, ..FetchOptions::default() },
        progress: None,
    };
    fetch_blocking(&request).unwrap();
}

#[test]
fn a_killed_fetch_continues() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let started = Arc::new(AtomicUsize::new(0));
    let count = started.clone();
    // The fourth range stalls half way, so the process is certainly in the middle when it is killed.
    let proxy = Proxy::start(server.addr, move |seen| match seen.range {
        Some((first, _)) => {
            count.fetch_add(1, Ordering::SeqCst);
            if first >= 3 * MIB as u64 { Action::StallAfter(MIB / 2) } else { Action::Pass }
        }
        None => Action::Pass,
    });
    let dest = fixture.target("out.tar");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child_process"])
        .env(ROOT, fixture.dataset.root().to_string())
        .env(SOURCE, proxy.url().to_string())
        .env(DEST, &dest)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while started.load(Ordering::SeqCst) < 4 {
        assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!dest.exists());

    let mut request = super::fetching::fetch_request(&fixture, &[server.url()], BIG, "out.tar");
    request.options.parallel = 2;
    let report = fetch_blocking(&request).unwrap();
    assert_eq!(report.bytes_resumed, 3 * MIB as u64);
    assert!(std::fs::read(&dest).unwrap() == fixture.big());
}
