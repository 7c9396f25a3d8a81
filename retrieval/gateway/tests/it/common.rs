//! A dataset on disk, a running gateway, and a client that shows raw answers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_content::{Dataset, HotStore, ImportOptions, Placement, Selection, StoredPiece};
use cairn_gateway::{ContentSource, GatewayOptions, Pause, ServedRequest, SourceUrl, serve};
use cairn_protocol::UnpaddedBytes;
use tempfile::TempDir;
use tokio::sync::oneshot;

pub const MIB: usize = 1 << 20;

/// Bytes that look random and are the same every time.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A folder with a large file, small ones, an empty one and an empty folder, imported into a store.
pub struct Fixture {
    pub dir: TempDir,
    pub store: Arc<HotStore>,
    pub dataset: Arc<Dataset>,
    pub pieces: Vec<StoredPiece>,
    pub files: BTreeMap<&'static str, Vec<u8>>,
}

pub const BIG: &str = "shards/big.tar";

impl Fixture {
    pub fn new() -> Self {
        let files = BTreeMap::from([
            (BIG, noise(1, 5 * MIB + 12_345)),
            ("shards/exact.bin", noise(2, MIB)),
            ("table ä.json", b"{\"a\": 1}".to_vec()),
            ("empty.txt", Vec::new()),
        ]);
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        for (path, bytes) in &files {
            let path = source.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        std::fs::create_dir_all(source.join("void/deep")).unwrap();
        let store = Arc::new(HotStore::open(&dir.path().join("store")).unwrap());
        let options = ImportOptions { selection: Selection::Exact, ..ImportOptions::default() };
        let dataset = store.import(&source, Some("demo"), Placement::Reference, &options).unwrap();
        let pieces = store.add_pieces(&dataset.root(), UnpaddedBytes(127 << 14)).unwrap();
        Self { dir, store, dataset, pieces, files }
    }

    pub fn big(&self) -> &[u8] {
        &self.files[BIG]
    }

    pub fn source_path(&self, path: &str) -> PathBuf {
        self.dir.path().join("source").join(path)
    }

    pub fn target(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn serve(&self) -> TestServer {
        TestServer::start(self.store.clone(), GatewayOptions::default())
    }

    /// Checks that a folder holds the dataset, and nothing but the dataset.
    pub fn assert_complete(&self, target: &Path) {
        for (path, bytes) in &self.files {
            assert!(std::fs::read(target.join(path)).unwrap() == *bytes, "{path} differs");
        }
        assert!(target.join("void/deep").is_dir());
        let mut names: Vec<_> =
            std::fs::read_dir(target).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["empty.txt", "shards", "table ä.json", "void"]);
    }
}

/// A gateway in a thread of its own, stopped when dropped.
pub struct TestServer {
    pub addr: SocketAddr,
    pub served: Arc<Mutex<Vec<ServedRequest>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl TestServer {
    pub fn start(source: Arc<dyn ContentSource>, options: GatewayOptions) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), source, options)
    }

    pub fn start_at(addr: SocketAddr, source: Arc<dyn ContentSource>, mut options: GatewayOptions) -> Self {
        let served = Arc::new(Mutex::new(Vec::new()));
        let log = served.clone();
        options.observer = Some(Arc::new(move |request: &ServedRequest| log.lock().unwrap().push(request.clone())));
        let listener = std::net::TcpListener::bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                serve(listener, source, options, async { _ = stopped.await }).await.unwrap();
            });
        });
        Self { addr, served, stop: Some(stop), thread: Some(thread) }
    }

    pub fn url(&self) -> SourceUrl {
        format!("http://{}", self.addr).parse().unwrap()
    }

    /// Asks the server to stop, without waiting for it.
    pub fn ask_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            _ = stop.send(());
        }
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        request(self.addr, "GET", path, headers)
    }

    pub fn head(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        request(self.addr, "HEAD", path, headers)
    }

    /// Waits until the observer has seen a request for which `wanted` holds.
    pub fn wait_for(&self, wanted: impl Fn(&ServedRequest) -> bool) -> ServedRequest {
        for _ in 0..2000 {
            if let Some(found) = self.served.lock().unwrap().iter().find(|request| wanted(request)) {
                return found.clone();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the observer never saw it; it saw {:?}", self.served.lock().unwrap());
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.ask_to_stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

/// An answer as it came over the wire.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub complete: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// One request on a connection of its own.
pub fn request(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut stream = connect(addr);
    stream.write_all(head.as_bytes()).unwrap();
    let answer = read_answer(&mut stream, method == "HEAD").expect("an answer");
    let mut rest = Vec::new();
    _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty(), "{} bytes after the end of the answer", rest.len());
    answer
}

/// Reads one answer; `None` if the connection ended before a complete head. A short body is returned as it is.
pub fn read_answer(stream: &mut TcpStream, is_head: bool) -> Option<Answer> {
    let head = read_head(stream)?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = Vec::new();
    let mut complete = true;
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") && !is_head {
        complete = read_chunks(stream, &mut body).is_some();
    } else if !is_head {
        let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        _ = stream.take(length as u64).read_to_end(&mut body);
        complete = body.len() == length;
    }
    Some(Answer { status, headers, body, complete })
}

fn read_chunks(stream: &mut TcpStream, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte).ok()?;
            line.push(byte[0]);
        }
        let length = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk).ok()?;
        if length == 0 {
            return Some(());
        }
        body.extend_from_slice(&chunk[..length]);
    }
}

/// Everything up to the empty line, without it.
pub fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    head.truncate(head.len() - 4);
    String::from_utf8(head).ok()
}

/// Does not wait, and remembers how long it would have.
#[derive(Default)]
pub struct NoPause {
    pub asked: Mutex<Vec<Duration>>,
}

impl Pause for NoPause {
    fn pause(&self, duration: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.asked.lock().unwrap().push(duration);
        Box::pin(async {})
    }
}
