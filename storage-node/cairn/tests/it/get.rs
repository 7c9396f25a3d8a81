//! `cairn get` through the real binary, from a gateway in this process that serves the demo dataset.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::support::{Ran, cairn, sha256};
use cairn_content::{HotStore, ImportOptions, Placement};
use cairn_gateway::GatewayOptions;
use tokio::sync::oneshot;

/// A gateway over the demo dataset; it stops when dropped.
struct Gateway {
    root: String,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _store: tempfile::TempDir,
}

impl Gateway {
    fn start() -> Self {
        Self::over(&cairn_fixtures::dataset_dir())
    }

    fn over(data: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(HotStore::open(folder.path()).unwrap());
        let dataset = store.import(data, None, Placement::Reference, &ImportOptions::default()).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, address) = std::sync::mpsc::channel::<SocketAddr>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                started.send(listener.local_addr().unwrap()).unwrap();
                let shutdown = async { stopped.await.unwrap_or_default() };
                cairn_gateway::serve(listener, store, GatewayOptions::default(), shutdown).await.unwrap();
            });
        });
        let url = format!("http://{}", address.recv().unwrap());
        Self { root: dataset.root().to_string(), url, stop: Some(stop), thread: Some(thread), _store: folder }
    }

    fn get(&self, what: &str, out: &Path, more: &[&str]) -> Ran {
        let what = format!("{}{what}", self.root);
        let out = out.display().to_string();
        let arguments = ["get", &what, "--json", "--from", &self.url, "--out", &out];
        cairn(arguments.iter().chain(more))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        self.thread.take().unwrap().join().unwrap();
    }
}

/// An address where nobody listens.
fn dead_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[test]
fn a_dataset_comes_back_byte_for_byte() {
    let gateway = Gateway::start();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("copy");
    let report = gateway.get("", &out, &[]).json();
    let sums = fs::read_to_string(cairn_fixtures::fixtures_dir().join("dataset/SHA256SUMS")).unwrap();
    let mut bytes = 0;
    for line in sums.lines() {
        let (digest, name) = line.split_once("  data/").unwrap();
        assert_eq!(hex::encode(sha256(&out.join(name))), digest, "{name}");
        bytes += fs::metadata(out.join(name)).unwrap().len();
    }
    assert_eq!(report["files"].as_array().unwrap().len(), sums.lines().count());
    assert_eq!((report["bytes_total"].as_u64(), report["bytes_fetched"].as_u64()), (Some(bytes), Some(bytes)));

    let again = gateway.get("", &out, &[]).json();
    assert_eq!(again["bytes_fetched"], 0, "what is there and correct is kept");
}

#[test]
fn one_file_comes_from_the_gateway_that_answers() {
    let gateway = Gateway::start();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("flights");
    let dead = dead_address();
    let report = gateway.get("/tables/flights-2013-q1.parquet", &out, &["--from", &dead]).json();
    assert_eq!(sha256(&out), sha256(&cairn_fixtures::dataset_dir().join("tables/flights-2013-q1.parquet")));
    assert_eq!(report["files"].as_array().unwrap().len(), 1);
}

#[test]
fn a_different_file_at_the_destination_is_kept_unless_told_otherwise() {
    let gateway = Gateway::start();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("README.md");
    fs::write(&out, "mine").unwrap();
    assert!(gateway.get("/README.md", &out, &[]).failure().contains("exists and differs"));
    assert_eq!(fs::read(&out).unwrap(), b"mine");
    gateway.get("/README.md", &out, &["--replace"]).json();
    assert_eq!(sha256(&out), sha256(&cairn_fixtures::dataset_dir().join("README.md")));
}

#[test]
fn what_cannot_be_fetched_is_one_clear_line() {
    let gateway = Gateway::start();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let to = out.display().to_string();
    let dead = dead_address();
    let root = gateway.root.clone();
    assert!(gateway.get("/no/such/file", &out, &[]).failure().contains("\"no/such/file\" does not exist in dataset"));
    assert!(gateway.get("/../etc", &out, &[]).failure().contains("no path in a dataset"));
    assert!(gateway.get("", &out, &["--parallel", "0"]).failure().contains("parallel: expected 1 to 256"));
    assert!(cairn(["get", "hello", "--from", &gateway.url, "--out", &to]).failure().contains("\"hello\" is no CID"));
    assert!(cairn(["get", &root, "--from", "ftp://x", "--out", &to]).failure().contains("--from"));
    assert!(cairn(["get", &root, "--out", &to]).failure().contains("--from"));
    let unreachable = cairn(["get", &root, "--from", &dead, "--out", &to, "--retries", "1"]);
    assert!(unreachable.failure().contains(&dead), "{}", unreachable.stderr);
    assert!(!out.exists());
}

/// Encrypted by the binary, served by a gateway that has no key, fetched and decrypted by whom it was granted to.
#[test]
fn an_encrypted_dataset_comes_back_to_whom_it_was_granted() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [mine, friend] = ["mine.txt", "friend.txt"].map(|name| {
        assert_eq!(cairn(["data", "identity", &path(name)]).code, Some(0));
        let text = fs::read_to_string(path(name)).unwrap();
        text.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned()
    });
    let plain = cairn_fixtures::dataset_dir();
    let sealed = path("sealed");
    let report = cairn(["data", "encrypt", plain.to_str().unwrap(), &sealed, "--to", &mine, "--json"]).json();
    assert_eq!(report["recipients"], serde_json::json!([mine]));
    let gateway = Gateway::over(Path::new(&sealed));
    let out = folder.path().join("copy");
    let failure = gateway.get("", &out, &["--identity", &path("friend.txt")]);
    assert!(failure.failure().contains(&format!("to none of {friend}")));
    gateway.get("", &out, &["--identity", &path("mine.txt")]).json();
    assert_eq!(sha256(&out.join("README.md")), sha256(&plain.join("README.md")));
    assert!(!out.join("cairn-keys.json").exists());
    let one = folder.path().join("one");
    gateway.get("/README.md", &one, &["--identity", &path("mine.txt")]).json();
    assert_eq!(sha256(&one), sha256(&plain.join("README.md")));
    let keys = format!("{sealed}/cairn-keys.json");
    cairn(["data", "grant", &keys, "--to", &friend, "--identity", &path("mine.txt"), "--json"]).json();
    cairn(["data", "decrypt", &sealed, &path("back"), "--identity", &path("friend.txt"), "--json"]).json();
    assert_eq!(sha256(&folder.path().join("back/README.md")), sha256(&plain.join("README.md")));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}
