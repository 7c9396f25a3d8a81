//! Gateways over one origin, which is a folder, or our own S3 over a socket.

#[allow(dead_code, reason = "the gateway's own tests use the rest")]
#[path = "../../../gateway/tests/it/common.rs"]
mod common;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cairn_content::{Dataset, ImportOptions};
use cairn_gateway::{ContentSource, GatewayOptions, Library, Metrics, Mount};
use cairn_origin::{CacheOptions, DiskOptions, Origin, OriginAddress, OriginOptions, OriginSource, S3Settings};
use cairn_s3::{AccessKeys, S3Handler, S3Options};
use common::{MIB, TestServer, noise};
use tempfile::TempDir;

const BIG: &str = "shards/big.tar";
/// Three slices, the last one short.
const BIG_BYTES: usize = 18 * MIB + 321;

/// A dataset, and an origin that has it.
struct World {
    dir: TempDir,
    dataset: Arc<Dataset>,
    big: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("demo");
        std::fs::create_dir_all(source.join("shards")).unwrap();
        let big = noise(7, BIG_BYTES);
        std::fs::write(source.join(BIG), &big).unwrap();
        std::fs::write(source.join("index ä.json"), b"{}").unwrap();
        std::fs::write(source.join("empty"), b"").unwrap();
        let dataset = Arc::new(Dataset::import(&source, &ImportOptions::default()).unwrap());
        std::fs::create_dir_all(dir.path().join("bucket/prefix")).unwrap();
        // Of a folder that holds one folder alone, an import takes the inner one.
        std::fs::write(dir.path().join("bucket/of-others"), b"not ours").unwrap();
        let world = Self { dir, dataset, big };
        let (origin, runtime) = (world.folder(), tokio::runtime::Runtime::new().unwrap());
        let first = runtime.block_on(origin.publish(&world.dataset, false)).unwrap();
        assert_eq!((first.copied, first.kept), (3, 0));
        let again = runtime.block_on(origin.publish(&world.dataset, true)).unwrap();
        assert_eq!((again.copied, again.kept), (0, 3));
        world
    }

    fn folder(&self) -> Origin {
        let address = OriginAddress::Folder(self.dir.path().join("bucket/prefix"));
        Origin::open(&address, &S3Settings::default()).unwrap()
    }

    /// The plain bytes of the large file, in the origin.
    fn big_path(&self) -> PathBuf {
        let cid = self.dataset.file(BIG).unwrap().cid;
        self.dir.path().join(format!("bucket/prefix/files/{cid}"))
    }

    fn big_url(&self) -> String {
        format!("/data/{}/{BIG}", self.dataset.root())
    }

    fn expected(&self, first: usize, last: usize) -> &[u8] {
        &self.big[first..=last]
    }
}

const KEYS: (&str, &str) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");

/// Our S3 over the origin's folder, on an address that can be used again.
struct S3Server(TestServer);

impl S3Server {
    fn start(world: &World, addr: SocketAddr) -> Self {
        let bucket = Dataset::import(&world.dir.path().join("bucket"), &ImportOptions::default()).unwrap();
        let mut library = Library::default();
        library.add_dataset(Arc::new(bucket));
        let library = Arc::new(library);
        let keys = AccessKeys::parse(&format!("{} {} read\n", KEYS.0, KEYS.1)).unwrap();
        let handler = Arc::new(S3Handler::new(library.clone(), S3Options { keys, ..S3Options::default() }));
        let options = GatewayOptions { mounts: vec![Mount { prefix: "/".into(), handler }], ..Default::default() };
        Self(TestServer::start_at(addr, library, options))
    }

    fn origin(&self) -> Origin {
        let settings = format!("endpoint http://{}\naccess-key {}\nsecret-key {}\n", self.0.addr, KEYS.0, KEYS.1);
        let address: OriginAddress = "s3://bucket/prefix".parse().unwrap();
        Origin::open(&address, &S3Settings::parse(&settings).unwrap()).unwrap()
    }

    fn requests_for(&self, name: &str) -> usize {
        self.0.served.lock().unwrap().iter().filter(|request| request.path.contains(name)).count()
    }
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn source_with(origin: Origin, cache: CacheOptions) -> Arc<OriginSource> {
    let source = OriginSource::start(origin, &OriginOptions { cache, ..OriginOptions::default() }).unwrap();
    source.refresh().unwrap();
    Arc::new(source)
}

fn gateway(source: &Arc<OriginSource>) -> TestServer {
    let mut library = Library::default();
    library.add_origin(source.clone());
    let library = Arc::new(library);
    let handler = Arc::new(S3Handler::new(library.clone(), S3Options { prefix: "/s3".into(), ..S3Options::default() }));
    let options = GatewayOptions { mounts: vec![Mount { prefix: "/s3".into(), handler }], ..GatewayOptions::default() };
    TestServer::start(library, options)
}

/// Asks a gateway that has the files, and two that have the origin, the same questions.
fn same_answers(world: &World, origins: [Origin; 2]) {
    let mut local = Library::default();
    local.add_dataset(world.dataset.clone());
    let local = TestServer::start(Arc::new(local), GatewayOptions::default());
    let sources = origins.map(|origin| source_with(origin, CacheOptions::default()));
    let gateways = sources.each_ref().map(gateway);
    let root = world.dataset.root();
    let (big, leaf) = (world.dataset.file(BIG).unwrap(), world.dataset.file(BIG).unwrap().leaves().nth(17).unwrap());
    let last = BIG_BYTES - 1;
    let questions = [
        (world.big_url(), "bytes=0-0".to_owned()),
        (world.big_url(), format!("bytes={}-{}", MIB - 5, MIB + 5)),
        (world.big_url(), format!("bytes={}-{last}", 7 * MIB + 3)),
        (world.big_url(), "bytes=-100".to_owned()),
        (world.big_url(), format!("bytes={BIG_BYTES}-")),
        (world.big_url(), String::new()),
        (format!("/data/{root}/index%20%C3%A4.json"), String::new()),
        (format!("/data/{root}/empty"), String::new()),
        (format!("/data/{root}/nothing"), String::new()),
        (format!("/data/{root}/"), String::new()),
        (format!("/ipfs/{root}?format=raw"), String::new()),
        (format!("/ipfs/{}?format=raw", big.cid), String::new()),
        (format!("/ipfs/{leaf}?format=raw"), String::new()),
        (format!("/ipfs/{root}?format=car"), String::new()),
        (format!("/ipfs/{}?format=car&dag-scope=entity&entity-bytes=1048576:2097151", big.cid), String::new()),
    ];
    for (path, range) in questions {
        let headers: Vec<(&str, &str)> = if range.is_empty() { vec![] } else { vec![("Range", range.as_str())] };
        let expected = local.get(&path, &headers);
        for gateway in &gateways {
            let got = gateway.get(&path, &headers);
            assert_eq!((got.status, got.complete), (expected.status, expected.complete), "{path} {range}");
            assert!(got.body == expected.body, "{path} {range}");
            for name in ["etag", "content-range", "content-length", "content-type", "cache-control"] {
                assert_eq!(got.header(name), expected.header(name), "{path} {range} {name}");
            }
            let (head, wanted) = (gateway.head(&path, &[]), local.head(&path, &[]));
            assert_eq!((head.status, head.header("etag")), (wanted.status, wanted.header("etag")), "HEAD {path}");
        }
    }
    for gateway in &gateways {
        let got = gateway.get(&format!("/s3/demo/{BIG}"), &[("Range", "bytes=9000000-9000099")]);
        assert_eq!((got.status, &got.body[..]), (206, world.expected(9_000_000, 9_000_099)));
    }
}

#[test]
fn two_gateways_over_one_folder_answer_as_one_that_has_the_files() {
    let world = World::new();
    same_answers(&world, [world.folder(), world.folder()]);
}

#[test]
fn two_gateways_over_one_s3_answer_as_one_that_has_the_files() {
    let world = World::new();
    let s3 = S3Server::start(&world, any_port());
    same_answers(&world, [s3.origin(), s3.origin()]);
}

#[test]
fn many_readers_of_one_file_cost_one_request_a_slice() {
    let world = World::new();
    let s3 = S3Server::start(&world, any_port());
    let source = source_with(s3.origin(), CacheOptions::default());
    let gateway = gateway(&source);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(gateway.get(&world.big_url(), &[]).body == world.big));
        }
    });
    let counts = source.counts();
    assert_eq!((counts.origin_requests, counts.origin_bytes), (3, BIG_BYTES as u64));
    let metrics = Metrics::with(vec![source.collector()]).text();
    for line in [
        "gateway_origin_requests_total 3".to_owned(),
        format!("gateway_origin_bytes_total {BIG_BYTES}"),
        format!("gateway_origin_leaves_total{{from=\"memory\"}} {}", counts.memory_hits),
        format!("gateway_origin_held_bytes{{tier=\"memory\"}} {}", counts.memory_bytes),
        "gateway_origin_datasets 1".to_owned(),
    ] {
        assert!(metrics.lines().any(|text| text == line), "{line}: {metrics}");
    }
    println!(
        "8 readers, 18 MiB: {} origin requests, {:.3} a client request, {:.1} % of leaves without one of their own",
        counts.origin_requests,
        counts.origin_requests as f64 / 8.0,
        100.0 * (counts.memory_hits + counts.disk_hits + counts.shared) as f64 / counts.leaves as f64
    );
    drop(gateway);
    // The log is complete when the server has ended.
    let (cid, log) = (world.dataset.file(BIG).unwrap().cid.to_string(), s3.0.served.clone());
    assert!(s3.requests_for(&cid) <= 3);
    drop(s3);
    assert_eq!(log.lock().unwrap().iter().filter(|request| request.path.contains(&cid)).count(), 3);
}

#[test]
fn a_small_range_costs_its_leaves_and_no_more() {
    let world = World::new();
    let source = source_with(world.folder(), CacheOptions::default());
    let gateway = gateway(&source);
    let asked = |first: usize, bytes: usize| {
        let before = source.counts();
        let got = gateway.get(&world.big_url(), &[("Range", &format!("bytes={first}-{}", first + bytes - 1))]);
        assert!(got.body == world.expected(first, first + bytes - 1));
        let after = source.counts();
        (after.origin_requests - before.origin_requests, (after.origin_bytes - before.origin_bytes) as usize)
    };
    assert_eq!(asked(3 * MIB + 77, 64 << 10), (1, MIB));
    assert_eq!(asked(3 * MIB + 100_000, 64 << 10), (0, 0));
    assert_eq!(asked(5 * MIB, 1_000_000), (1, MIB));
    assert_eq!(asked(10 * MIB - 100, 200), (1, 2 * MIB));
    // Six leaves of which two are here: around them, never they again.
    assert_eq!(asked(2 * MIB, 6 * MIB), (3, 4 * MIB));
    assert_eq!(asked(BIG_BYTES - 10, 10), (1, 321));
}

#[test]
fn wrong_bytes_of_the_origin_are_never_served() {
    let world = World::new();
    let source = source_with(world.folder(), CacheOptions::default());
    let mut copy = world.big.clone();
    copy[4 * MIB + 17] ^= 1;
    std::fs::write(world.big_path(), &copy).unwrap();
    let gateway = gateway(&source);
    let ask = |first: usize| gateway.get(&world.big_url(), &[("Range", &format!("bytes={first}-{}", first + 9))]);
    let refused = ask(4 * MIB);
    assert_eq!((refused.status, refused.json()["error"].as_str()), (502, Some("origin_damaged")));
    assert_eq!(gateway.get(&format!("/s3/demo/{BIG}"), &[("Range", "bytes=4194304-4194305")]).status, 500);
    assert_eq!((ask(3 * MIB).status, ask(5 * MIB).status), (206, 206));
    // A transfer that has begun is cut before the wrong leaf.
    let whole = gateway.get(&world.big_url(), &[]);
    assert!(!whole.complete && whole.body.len() <= 4 * MIB && world.big.starts_with(&whole.body));
    assert!(source.counts().damaged >= 2);
    // Repaired, it is served without anybody's help.
    std::fs::write(world.big_path(), &world.big).unwrap();
    assert_eq!(ask(4 * MIB).status, 206);
    std::fs::remove_file(world.big_path()).unwrap();
    assert_eq!(ask(17 * MIB).status, 502);
}

#[test]
fn an_origin_that_is_away_or_overrun_means_later() {
    let world = World::new();
    let s3 = S3Server::start(&world, any_port());
    let addr = s3.0.addr;
    let cache = CacheOptions {
        fetches_max: 1,
        queue_max: 0,
        fetch_timeout: Duration::from_secs(3),
        retry_after: Duration::from_secs(7),
        ..CacheOptions::default()
    };
    let source = source_with(s3.origin(), cache);
    let gateway = gateway(&source);
    let ask = |leaf: usize| {
        let first = leaf * MIB;
        gateway.get(&world.big_url(), &[("Range", &format!("bytes={first}-{}", first + 9))])
    };
    assert_eq!(ask(0).status, 206);
    drop(s3);

    let later = |leaf: usize| {
        let answer = ask(leaf);
        assert_eq!((answer.status, answer.header("retry-after")), (503, "7"), "leaf {leaf}");
        assert_eq!(answer.json()["error"], "origin_unavailable");
    };
    later(1);
    assert_eq!(gateway.get(&format!("/s3/demo/{BIG}"), &[("Range", "bytes=2097152-2097153")]).status, 503);
    assert_eq!(ask(0).status, 206, "what is held is served");

    // One that takes connections and says nothing: the only turn is taken, and nobody else waits for it.
    let silent = TcpListener::bind(addr).unwrap();
    let before = source.counts();
    let asked = || source.counts().origin_requests > before.origin_requests;
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| later(3));
        while !asked() && !stuck.is_finished() {
            std::thread::sleep(Duration::from_millis(5));
        }
        later(12);
        stuck.join().unwrap();
    });
    assert!(source.counts().busy > before.busy || source.counts().origin_failures > before.origin_failures + 1);
    drop(silent);

    let _back = S3Server::start(&world, addr);
    assert_eq!(ask(3).status, 206);
    assert_eq!(ask(12).body, world.expected(12 * MIB, 12 * MIB + 9));
}

#[test]
fn who_waits_for_the_origin_keeps_nobody_else_waiting() {
    let world = World::new();
    let s3 = S3Server::start(&world, any_port());
    let addr = s3.0.addr;
    let cache = CacheOptions { fetch_timeout: Duration::from_secs(30), ..CacheOptions::default() };
    let source = source_with(s3.origin(), cache);
    let gateway = gateway(&source);
    drop(s3);
    let silent = TcpListener::bind(addr).unwrap();
    let before = source.counts().origin_requests;
    std::thread::scope(|scope| {
        // More of them than the server has threads for its connections.
        for leaf in [0, 8, 16] {
            let (gateway, url) = (&gateway, world.big_url());
            let range = format!("bytes={}-{}", leaf * MIB, leaf * MIB + 9);
            scope.spawn(move || assert_eq!(gateway.get(&url, &[("Range", &range)]).status, 503));
        }
        for _ in 0..1500 {
            if source.counts().origin_requests == before + 3 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(source.counts().origin_requests, before + 3, "all of them wait at the same time");
        assert_eq!(gateway.get("/health", &[]).status, 200);
        assert_eq!(gateway.get(&format!("/data/{}/", world.dataset.root()), &[]).status, 200);
        drop(silent);
    });
}

#[test]
fn a_block_of_a_dataset_of_the_origin_is_known_as_a_part_of_it() {
    let world = World::new();
    let mut library = Library::default();
    library.add_origin(source_with(world.folder(), CacheOptions::default()));
    let (root, leaf) = (world.dataset.root(), world.dataset.file(BIG).unwrap().leaves().nth(3).unwrap());
    assert!(library.holds(&root, &root) && library.holds(&root, &leaf));
    assert!(!library.holds(&leaf, &leaf));
}

#[test]
fn the_folder_outlives_the_gateway_and_is_checked() {
    let world = World::new();
    let dir = world.dir.path().join("cache");
    let bytes_max = 12 * MIB as u64;
    let cache = || CacheOptions {
        memory_bytes: 2 * MIB as u64,
        disk: Some(DiskOptions { dir: dir.clone(), bytes_max }),
        ..CacheOptions::default()
    };
    let source = source_with(world.folder(), cache());
    let asking = gateway(&source);
    assert!(asking.get(&world.big_url(), &[]).body == world.big);
    drop(asking);
    assert!(source.counts().memory_bytes <= 2 * MIB as u64 && source.counts().disk_bytes <= bytes_max);
    drop(source);

    // Nothing is written when a gateway ends, so a kill leaves the same folder; what it may leave besides is torn.
    let held = std::fs::read_dir(&dir).unwrap().filter_map(|entry| std::fs::read_dir(entry.unwrap().path()).ok());
    let files: Vec<PathBuf> = held.flatten().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty() && files.len() <= 12);
    std::fs::write(&files[0], b"torn").unwrap();
    let opened = (0..1000).find_map(|_| {
        // The last transfer of the first gateway may still hold the folder for a moment.
        let options = OriginOptions { cache: cache(), ..OriginOptions::default() };
        let opened = OriginSource::start(world.folder(), &options).ok();
        opened.or_else(|| {
            std::thread::sleep(Duration::from_millis(10));
            None
        })
    });
    let source = Arc::new(opened.expect("the folder comes free"));
    let asking = gateway(&source);
    assert!(asking.get(&world.big_url(), &[]).body == world.big);
    assert!(source.counts().disk_bytes <= bytes_max);
}

#[test]
fn a_dataset_without_its_index_is_not_there_and_one_that_comes_is_found() {
    let world = World::new();
    let index = world.dir.path().join(format!("bucket/prefix/datasets/{}/dataset.cbor", world.dataset.root()));
    let bytes = std::fs::read(&index).unwrap();
    std::fs::remove_file(&index).unwrap();
    let source = source_with(world.folder(), CacheOptions::default());
    let gateway = gateway(&source);
    assert_eq!(gateway.get(&world.big_url(), &[]).status, 404);
    std::fs::write(&index, &bytes[..bytes.len() - 1]).unwrap();
    source.refresh().unwrap();
    assert_eq!(gateway.get(&world.big_url(), &[]).status, 404);
    std::fs::write(&index, bytes).unwrap();
    source.refresh().unwrap();
    assert_eq!(gateway.head(&world.big_url(), &[]).status, 200);
    assert_eq!(gateway.head(&format!("/data/demo/{BIG}"), &[]).status, 200);
}
