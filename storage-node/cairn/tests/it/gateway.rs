//! `cairn gateway` through the real binary: what it says, what it serves, how it stops.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cairn_content::{CarWriter, Dataset, ImportOptions};
use serde_json::Value;

use crate::support::{cairn, text};

/// A running gateway; killed if a test ends early.
pub struct Running {
    child: Child,
    pub lines: Vec<Value>,
}

impl Running {
    /// Starts it and reads `count` lines.
    pub fn start(arguments: &[&str], count: usize) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cairn"))
            .args(["gateway", "--listen", "127.0.0.1:0", "--json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.as_mut().unwrap());
        let lines = stdout.lines().take(count).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        Self { child, lines }
    }

    pub fn url(&self) -> &str {
        self.lines[0]["url"].as_str().unwrap()
    }

    /// Status line and body of an answer.
    pub fn get(&self, path: &str) -> (String, Vec<u8>) {
        let (head, body) = self.ask(path, &[]);
        (head.lines().next().unwrap().to_owned(), body)
    }

    /// Head and body of an answer.
    pub fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.url().strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end + 4..].to_vec())
    }

    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// All blocks of a dataset but its root, as an archive.
fn archive(data: &Path, path: &Path) -> Dataset {
    let dataset = Dataset::import(data, &ImportOptions::default()).unwrap();
    let mut writer = CarWriter::new(std::fs::File::create(path).unwrap(), &[dataset.root()]).unwrap();
    for (id, source) in dataset.blocks().skip(1) {
        writer.write(&id.cid(), &source.read().unwrap()).unwrap();
    }
    writer.finish().unwrap();
    dataset
}

#[test]
fn folders_and_archives_are_served_until_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("letters");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("a.txt"), "one letter").unwrap();
    std::fs::write(data.join("b.txt"), "and one").unwrap();
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("b.txt"), "another").unwrap();
    std::fs::write(other.join("c.txt"), "the last").unwrap();
    let car = dir.path().join("other.car");
    let packed = archive(&other, &car);
    let gateway = Running::start(&["--data", &text(&data), "--car", &text(&car)], 3);
    let root = gateway.lines[1]["root"].as_str().unwrap();
    assert_eq!(gateway.lines[1]["url"], format!("{}/data/{root}/", gateway.url()));
    assert_eq!((&gateway.lines[1]["kind"], &gateway.lines[1]["name"]), (&"dataset".into(), &"letters".into()));
    assert_eq!((&gateway.lines[2]["kind"], &gateway.lines[2]["blocks"]), (&"car".into(), &2.into()));
    assert_eq!(gateway.lines[2]["root"], packed.root().to_string());
    assert_eq!(gateway.get("/data/letters/a.txt"), ("HTTP/1.1 200 OK".into(), b"one letter".to_vec()));
    let leaf = packed.file("b.txt").unwrap().cid;
    assert_eq!(gateway.get(&format!("/ipfs/{leaf}?format=raw")), ("HTTP/1.1 200 OK".into(), b"another".to_vec()));
    assert!(gateway.get(&format!("/ipfs/{}?format=raw", packed.root())).0.starts_with("HTTP/1.1 404"));
    let out = dir.path().join("fetched");
    let report = cairn(["get", root, "--from", gateway.url(), "--out", &text(&out), "--json"]).json();
    assert_eq!(report["bytes_total"], 17);
    assert_eq!(std::fs::read(out.join("a.txt")).unwrap(), b"one letter");
    gateway.stop();
}

#[test]
fn what_cannot_be_served_is_named_before_anything_is() {
    let dir = tempfile::tempdir().unwrap();
    let nothing = cairn(["gateway", "--listen", "127.0.0.1:0"]);
    assert!(nothing.failure().contains("nothing to serve"), "{}", nothing.stderr);
    let path = dir.path().join("no.car");
    std::fs::write(&path, "hello").unwrap();
    let wrong = cairn(["gateway", "--listen", "127.0.0.1:0", "--car", &text(&path)]);
    assert!(wrong.failure().contains("no.car"), "{}", wrong.stderr);
}

#[test]
fn tls_serves_whoever_believes_the_certificate_and_keys_are_kept_close() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("letters");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("a.txt"), "one letter").unwrap();
    std::fs::write(data.join("b.txt"), "another").unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (chain, key) = (text(&dir.path().join("chain.pem")), text(&dir.path().join("key.pem")));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.key_pair.serialize_pem()).unwrap();
    let arguments = ["--data", &text(&data), "--tls-cert", &chain, "--tls-key", &key];

    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let open = cairn(["gateway", "--listen", "127.0.0.1:0"].into_iter().chain(arguments));
    assert!(open.failure().contains("others may read it: expected mode 600 or 640, got 644"), "{}", open.stderr);
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let swapped =
        cairn(["gateway", "--listen", "127.0.0.1:0", "--data", &text(&data), "--tls-cert", &key, "--tls-key", &key]);
    assert!(swapped.failure().contains("expected at least one certificate"), "{}", swapped.stderr);

    let running = Running::start(&arguments, 2);
    assert!(running.url().starts_with("https://"));
    let root = running.lines[1]["root"].as_str().unwrap();
    let out = text(&dir.path().join("out"));
    let get = ["get", root, "--from", running.url(), "--retries", "0", "--out", &out];
    assert!(cairn(get).failure().contains("no TLS"));
    assert_eq!(cairn(get.into_iter().chain(["--ca", &chain])).code, Some(0));
    assert_eq!(std::fs::read(dir.path().join("out/a.txt")).unwrap(), b"one letter");
    running.stop();
}

#[test]
fn a_policy_asks_for_tokens_that_grant_issue_makes_and_what_was_sent_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (data, at) = (dir.path().join("letters"), |name: &str| text(&dir.path().join(name)));
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("a.txt"), "one letter").unwrap();
    std::fs::write(data.join("b.txt"), "another").unwrap();
    for key in ["gateway.key", "issuer.key"] {
        assert_eq!(cairn(["wallet", "new", "--out", &at(key)]).code, Some(0));
    }
    let issuer: Value = serde_json::from_str(&std::fs::read_to_string(at("issuer.key")).unwrap()).unwrap();
    let issuer = issuer["address"].as_str().unwrap();
    let policy = format!(r#"{{"key": "gateway.key", "state": "state", "issuers": ["{issuer}"]}}"#);
    std::fs::write(at("policy.json"), policy).unwrap();
    let (policy, log) = (at("policy.json"), at("requests.log"));
    let arguments = ["--data", &text(&data), "--access", &policy, "--access-log", &log, "--metrics", "127.0.0.1:0"];
    let gateway = Running::start(&arguments, 3);
    assert_eq!(gateway.lines[1]["kind"], "metrics");
    let root = gateway.lines[2]["root"].as_str().unwrap();
    let url = format!("/data/{root}/a.txt");
    let issue = ["grant", "issue", "--key", &at("issuer.key"), "--dataset", root, "--path", "a.txt"];
    let granted = cairn(issue.into_iter().chain(["--bytes", "15", "--days", "1", "--url", &url, "--json"])).json();
    let shown = cairn(["grant", "show", granted["token"].as_str().unwrap(), "--issuer", issuer, "--json"]).json();
    assert_eq!((&shown["path"], &shown["bytes"]), (&"a.txt".into(), &15.into()));
    let url = granted["url"].as_str().unwrap();
    assert!(gateway.get(&format!("/data/{root}/a.txt")).0.starts_with("HTTP/1.1 401"));
    assert_eq!(gateway.get(url), ("HTTP/1.1 200 OK".into(), b"one letter".to_vec()));
    assert!(gateway.get(url).0.starts_with("HTTP/1.1 403"), "5 of 15 bytes are left");
    gateway.stop();
    let lines = std::fs::read_to_string(&log).unwrap();
    assert_eq!((lines.lines().count(), lines.contains("token=")), (3, false), "{lines}");
    // An orderly end writes what was truly used.
    let state = std::fs::read_to_string(format!("{}/grant-{}", at("state"), granted["id"].as_str().unwrap())).unwrap();
    assert_eq!(state, "10\n");
    let again = Running::start(&arguments, 3);
    assert!(again.get(url).0.starts_with("HTTP/1.1 403"));
    again.stop();
}

#[test]
fn what_a_grant_has_used_outlives_kills() {
    const FILE_BYTES: usize = 300_000;
    const GRANTED_BYTES: usize = 5 * FILE_BYTES;
    let dir = tempfile::tempdir().unwrap();
    let (data, at) = (dir.path().join("noise"), |name: &str| text(&dir.path().join(name)));
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("a.bin"), vec![7; FILE_BYTES]).unwrap();
    for key in ["gateway.key", "issuer.key"] {
        assert_eq!(cairn(["wallet", "new", "--out", &at(key)]).code, Some(0));
    }
    let issuer: Value = serde_json::from_str(&std::fs::read_to_string(at("issuer.key")).unwrap()).unwrap();
    let issuer = issuer["address"].as_str().unwrap();
    // A kill may cost the bearer a third of the file, never the issuer a byte.
    let policy = format!(
        r#"{{"key": "gateway.key", "state": "state", "issuers": ["{issuer}"], "step_bytes": {}}}"#,
        FILE_BYTES / 3
    );
    std::fs::write(at("policy.json"), policy).unwrap();
    let policy = at("policy.json");
    let arguments = ["--data", &text(&data), "--access", &policy];
    let mut gateway = Running::start(&arguments, 2);
    let url = format!("/data/{}/a.bin", gateway.lines[1]["root"].as_str().unwrap());
    let issue = ["grant", "issue", "--key", &at("issuer.key"), "--dataset", gateway.lines[1]["root"].as_str().unwrap()];
    let bytes = GRANTED_BYTES.to_string();
    let granted = cairn(issue.into_iter().chain(["--bytes", &bytes, "--days", "1", "--url", &url, "--json"])).json();
    let mut served_bytes = 0;
    loop {
        let (status, body) = gateway.get(granted["url"].as_str().unwrap());
        if status == "HTTP/1.1 403 Forbidden" {
            break;
        }
        assert_eq!((status.as_str(), body.len()), ("HTTP/1.1 200 OK", FILE_BYTES));
        served_bytes += body.len();
        assert!(served_bytes <= GRANTED_BYTES, "more was served than was granted");
        // Killed: no end is orderly here.
        drop(gateway);
        gateway = Running::start(&arguments, 2);
    }
    assert!(
        served_bytes >= 3 * FILE_BYTES,
        "kills cost the bearer more than their steps: {served_bytes} bytes were served"
    );
}

#[test]
fn publishing_goes_on_after_a_kill() {
    const FILES: u64 = 40;
    let dir = tempfile::tempdir().unwrap();
    let (data, folder) = (dir.path().join("noise"), dir.path().join("origin"));
    std::fs::create_dir(&data).unwrap();
    std::fs::create_dir(&folder).unwrap();
    for file in 0..FILES {
        std::fs::write(data.join(format!("{file:02}.bin")), vec![file as u8; 1 << 20]).unwrap();
    }
    let origin = format!("file://{}", folder.display());
    let publish = ["data", "publish", &text(&data), "--origin", &origin, "--json"];
    let is_empty = |folder: &Path| std::fs::read_dir(folder).unwrap().next().is_none();
    // One that ends before it is killed shows nothing: then another begins.
    let was_killed = (0..20).any(|_| {
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::create_dir(&folder).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_cairn")).args(publish).stdout(Stdio::null()).spawn().unwrap();
        while is_empty(&folder) && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap().code().is_none()
    });
    assert!(was_killed, "20 times it ended before it was killed");

    let done = cairn(publish).json();
    assert_eq!(done["copied_files"].as_u64().unwrap() + done["kept_files"].as_u64().unwrap(), FILES);
    let running = Running::start(&["--origin", &origin], 2);
    assert_eq!(running.lines[1]["root"], done["root"]);
    let out = dir.path().join("out");
    let fetched = cairn(["get", done["root"].as_str().unwrap(), "--from", running.url(), "--out", &text(&out)]);
    assert_eq!(fetched.code, Some(0), "{}", fetched.stderr);
    for file in 0..FILES {
        assert!(std::fs::read(out.join(format!("{file:02}.bin"))).unwrap() == vec![file as u8; 1 << 20]);
    }
    running.stop();
}

/// Publishes a folder, serves it by two gateways that have nothing of their own, and fetches it from both.
fn publish_and_fetch(dir: &Path, origin: &[&str]) {
    let data = dir.join("letters");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("a.bin"), vec![7; 9 << 20]).unwrap();
    std::fs::write(data.join("b.txt"), "another").unwrap();
    let data = text(&data);
    let publish = ["data", "publish", &data, "--json"];
    let first = cairn(publish.iter().chain(origin)).json();
    assert_eq!((&first["copied_files"], &first["kept_files"]), (&2.into(), &0.into()));
    let again = cairn(publish.iter().chain(&["--recheck"]).chain(origin)).json();
    assert_eq!((&again["copied_files"], &again["kept_files"]), (&0.into(), &2.into()));
    let root = first["root"].as_str().unwrap();
    for name in ["one", "two"] {
        let cache = text(&dir.join(name).join("cache"));
        std::fs::create_dir(dir.join(name)).unwrap();
        let running = Running::start(&[origin, &["--cache-dir", &cache, "--cache-mib", "64"]].concat(), 2);
        assert_eq!(running.lines[1]["root"], root);
        let out = dir.join(name).join("out");
        let fetched = cairn(["get", root, "--from", running.url(), "--out", &text(&out)]);
        assert_eq!(fetched.code, Some(0), "{}", fetched.stderr);
        assert!(std::fs::read(out.join("a.bin")).unwrap() == vec![7; 9 << 20]);
        assert_eq!(std::fs::read(out.join("b.txt")).unwrap(), b"another");
        running.stop();
    }
}

#[test]
fn gateways_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("origin")).unwrap();
    publish_and_fetch(dir.path(), &["--origin", &format!("file://{}", dir.path().join("origin").display())]);
}

#[test]
fn gateways_share_a_bucket_of_our_own_s3() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("ingest/shared")).unwrap();
    let (keys, ingest) = (text(&dir.path().join("keys.txt")), text(&dir.path().join("ingest")));
    std::fs::write(&keys, "AKIDEXAMPLE wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY write\n").unwrap();
    std::fs::set_permissions(&keys, Permissions::from_mode(0o644)).unwrap();
    let arguments = ["--s3", "127.0.0.1:0", "--s3-key", &keys, "--s3-ingest", &ingest];
    let open = cairn(["gateway", "--listen", "127.0.0.1:0"].into_iter().chain(arguments));
    assert!(open.failure().contains("others may read it: expected mode 600, got 644"), "{}", open.stderr);
    std::fs::set_permissions(&keys, Permissions::from_mode(0o600)).unwrap();
    let counted = text(&dir.path().join("counted.txt"));
    std::fs::write(&counted, "AKID secret read bytes=1").unwrap();
    std::fs::set_permissions(&counted, Permissions::from_mode(0o600)).unwrap();
    let data = text(&dir.path().join("letter"));
    std::fs::write(&data, "one letter").unwrap();
    let limited = cairn(["gateway", "--data", &data, "--s3", "127.0.0.1:0", "--s3-key", &counted]);
    assert!(limited.failure().contains("bytes= needs --access"), "{}", limited.stderr);
    let s3 = Running::start(&arguments, 2);
    let settings = text(&dir.path().join("origin.txt"));
    let endpoint = s3.lines[1]["url"].as_str().unwrap();
    let lines =
        format!("endpoint {endpoint}\naccess-key AKIDEXAMPLE\nsecret-key wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY\n");
    std::fs::write(&settings, lines).unwrap();
    std::fs::set_permissions(&settings, Permissions::from_mode(0o600)).unwrap();
    publish_and_fetch(dir.path(), &["--origin", "s3://shared/ml", "--origin-settings", &settings]);
    s3.stop();
}
