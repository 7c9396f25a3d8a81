//! A gateway that asks: tokens, budgets, the denylist and payments, over real connections and through both loops.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cairn_access::vouchers::ChannelSource;
use cairn_access::x402::Price;
use cairn_access::{AccessGate, ChannelTerms, Grant, GrantId, PolicyFile, UnixSeconds, VoucherBook};
use cairn_gateway::{Asked, Gatekeeper, GatewayOptions, Leave, Refusal};
use cairn_ledger::payments::{Channel, ChannelId, ChannelView, Voucher};
use cairn_ledger::{Address, ChainId};
use cairn_protocol::Amount;
use ed25519_consensus::{SigningKey, VerificationKey};

use super::common::*;

const ISSUER: u8 = 9;
const GATEWAY: u8 = 2;
const PAYER: u8 = 1;
const CHAIN: ChainId = ChainId([3; 32]);
const CHANNEL: ChannelId = ChannelId(7);
const TERMS: ChannelTerms = ChannelTerms { price_per_mib: Amount(10), window_bytes: 1 << 20 };
const STEP: u64 = 1 << 20;

fn key(number: u8) -> SigningKey {
    SigningKey::from([number; 32])
}

fn address(number: u8) -> Address {
    Address(VerificationKey::from(&key(number)).to_bytes())
}

struct OneChannel(Mutex<Channel>);

impl ChannelSource for OneChannel {
    fn channel(&self, id: ChannelId) -> Result<Option<ChannelView>, String> {
        Ok((id == CHANNEL).then(|| self.0.lock().unwrap().view()))
    }
}

fn channel() -> Box<OneChannel> {
    let channel = Channel::open(CHANNEL, address(PAYER), address(GATEWAY), Amount(1_000), 10).unwrap();
    Box::new(OneChannel(Mutex::new(channel)))
}

/// A fixture behind a policy.
struct Guarded {
    fixture: Fixture,
    now: Arc<AtomicU64>,
}

impl Guarded {
    fn new() -> Self {
        Self { fixture: Fixture::new(), now: Arc::new(AtomicU64::new(1_000)) }
    }

    fn dir(&self) -> &Path {
        self.fixture.dir.path()
    }

    fn gate(&self, more: &str, paid: bool) -> Arc<AccessGate> {
        let text = format!(
            r#"{{"key": "unused", "state": "state", "step_bytes": {STEP}, "issuers": ["{}"]{more}}}"#,
            address(ISSUER)
        );
        let vouchers = paid.then(|| {
            VoucherBook::open(&self.dir().join("vouchers"), CHAIN, address(GATEWAY), TERMS, channel()).unwrap()
        });
        let now = self.now.clone();
        let clock = Arc::new(move || UnixSeconds(now.load(Ordering::Relaxed)));
        let policy = PolicyFile::parse(&text).unwrap();
        Arc::new(policy.open(self.dir(), key(GATEWAY), vouchers, clock).unwrap())
    }

    fn serve(&self, gate: Arc<AccessGate>, sendfile: bool) -> TestServer {
        let options = GatewayOptions { gatekeeper: Some(gate), sendfile, ..GatewayOptions::default() };
        TestServer::start(self.fixture.store.clone(), options)
    }

    fn token(&self, path: &str, bytes_max: Option<u64>) -> String {
        let (id, dataset) = (GrantId([5; 16]), Some(self.fixture.dataset.root()));
        let (path_prefix, expires) = (path.to_owned(), UnixSeconds(2_000));
        Grant { id, dataset, path_prefix, bytes_max, channel: None, expires }.sign(&key(ISSUER)).unwrap()
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[test]
fn tokens_open_what_they_cover_through_both_loops() {
    let guarded = Guarded::new();
    let root = guarded.fixture.dataset.root();
    let leaf = guarded.fixture.dataset.file("shards/exact.bin").unwrap().cid;
    let token = guarded.token("shards", None);
    let whole = guarded.token("", None);
    let (token, whole) = (token.as_str(), whole.as_str());
    for sendfile in [true, false] {
        let server = guarded.serve(guarded.gate("", false), sendfile);
        let big = format!("/data/{root}/{BIG}");
        for (path, token, status, code) in [
            (big.clone(), None, 401, "token_missing"),
            (big.clone(), Some(token), 200, ""),
            (big.clone(), Some("v4.public.x"), 401, "bad_token"),
            (format!("/ipfs/{root}/{BIG}"), Some(token), 200, ""),
            (format!("/data/{root}/empty.txt"), Some(token), 403, "not_covered"),
            (format!("/ipfs/{root}?format=car"), Some(token), 403, "not_covered"),
            (format!("/ipfs/{root}?format=car"), Some(whole), 200, ""),
            (format!("/ipfs/{root}?format=raw"), Some(token), 200, ""),
            (format!("/ipfs/{leaf}?format=raw"), Some(token), 403, "not_covered"),
            (format!("/ipfs/{leaf}?format=raw"), Some(whole), 200, ""),
            (format!("/outboard/{root}"), Some(token), 200, ""),
            ("/data/demo/missing".to_owned(), None, 404, "not_found"),
        ] {
            let headers: Vec<_> = token.map(|token| ("Authorization", bearer(token))).into_iter().collect();
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = server.get(&path, &headers);
            assert_eq!(answer.status, status, "{path} {token:?}");
            if status == 200 {
                assert!(answer.header("cache-control").starts_with("private"), "{path}");
            } else {
                assert_eq!(answer.json()["error"], code, "{path}");
            }
        }
        // In the query, as loaders carry it; nothing about the object is said without one.
        let query = format!("{big}?token={token}");
        assert_eq!(server.get(&query, &[("Range", "bytes=0-9")]).body, &guarded.fixture.big()[..10]);
        let refused = server.get(&big, &[("If-None-Match", "*")]);
        assert_eq!((refused.status, refused.header("etag")), (401, ""));
        assert_eq!(refused.header("www-authenticate"), "Bearer realm=\"cairn\"");
        guarded.now.store(2_000, Ordering::Relaxed);
        assert_eq!(server.get(&query, &[]).status, 401, "expired");
        guarded.now.store(1_000, Ordering::Relaxed);
    }
}

/// Gives leave to everybody, and counts.
#[derive(Default)]
struct Counted(AtomicU64);

impl Gatekeeper for Counted {
    fn admit(&self, _: &Asked<'_>) -> Result<Leave, Refusal> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Leave::default())
    }

    fn denies(&self, _: &cid::Cid) -> Option<Refusal> {
        None
    }
}

#[test]
fn leave_is_asked_once_an_answer_in_either_loop() {
    let fixture = Fixture::new();
    let root = fixture.dataset.root();
    for sendfile in [true, false] {
        let gate = Arc::new(Counted::default());
        let options = GatewayOptions { gatekeeper: Some(gate.clone()), sendfile, ..GatewayOptions::default() };
        let server = TestServer::start(fixture.store.clone(), options);
        let paths = [format!("/data/{root}/{BIG}"), format!("/data/{root}/"), format!("/ipfs/{root}?format=raw")];
        for (number, path) in paths.iter().enumerate() {
            assert_eq!(server.get(path, &[]).status, 200);
            assert_eq!(gate.0.load(Ordering::Relaxed), number as u64 + 1, "{path}");
        }
    }
}

#[test]
fn what_is_denied_is_gone_for_everybody_and_the_list_is_read_again() {
    let guarded = Guarded::new();
    let list = guarded.dir().join("deny");
    let root = guarded.fixture.dataset.root();
    let exact = guarded.fixture.dataset.file("shards/exact.bin").unwrap().cid;
    std::fs::write(&list, format!("/ipfs/{root}/{BIG} http=451\n/ipfs/{exact}\n")).unwrap();
    let server = guarded.serve(guarded.gate(r#", "open": true, "denylist": "deny""#, false), true);
    let (exact_path, big) = ("/data/demo/shards/exact.bin", format!("/data/demo/{BIG}"));
    assert_eq!(server.get(exact_path, &[]).status, 410);
    assert_eq!(server.get(&format!("/ipfs/{exact}?format=raw"), &[]).status, 410);
    let archive = server.get(&format!("/ipfs/{root}?format=car"), &[]);
    assert!(!archive.complete, "no archive holds a denied block");
    assert_eq!(server.get(&big, &[]).status, 451);
    assert_eq!(server.get("/data/demo/empty.txt", &[]).status, 200);
    // A list that is not understood leaves the one before it in force; a good one takes its place.
    std::fs::write(&list, "nonsense\n").unwrap();
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(server.get(&big, &[]).status, 451);
    std::fs::write(&list, format!("/ipfs/{exact}\n")).unwrap();
    for _ in 0..200 {
        if server.get(&big, &[("Range", "bytes=0-0")]).status == 206 {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the new list was never read");
}

#[test]
fn a_reader_that_leaves_pays_for_what_it_took_and_a_crash_gives_nothing_back() {
    let guarded = Guarded::new();
    let size = guarded.fixture.big().len() as u64;
    let budget = size + 4 * STEP;
    let token = guarded.token("", Some(budget));
    let (path, name) = (format!("/data/demo/{BIG}?token={token}"), format!("grant-{}", GrantId([5; 16])));
    let gate = guarded.gate("", false);
    let meter = gate.access().meter().clone();
    let server = guarded.serve(gate, true);
    let mut stream = connect(server.addr);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut some = [0; 4096];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    let served = server.wait_for(|request| request.path.ends_with(BIG));
    // The account hears before the observer does; its reservation goes with the answer.
    let used = || meter.used(&name).unwrap();
    for _ in 0..1_000 {
        if used() == served.bytes_sent {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(used(), served.bytes_sent);
    // A process that is killed flushes nothing: the next one begins at the mark, which is ahead by at most a step.
    let marked: u64 = std::fs::read_to_string(guarded.dir().join("state").join(&name)).unwrap().trim().parse().unwrap();
    assert!(marked >= size, "all that was reserved is marked before the first byte");
    assert!(marked <= size + STEP);
    let again = guarded.serve(guarded.gate("", false), true);
    let refused = again.get(&path, &[]);
    assert_eq!((refused.status, &refused.json()["error"]), (403, &"bytes_spent".into()));
    let left = budget - marked;
    assert_eq!(again.get(&path, &[("Range", &format!("bytes=0-{}", left - 1))]).status, 206);
    assert_eq!(again.get(&path, &[("Range", "bytes=0-0")]).status, 403);
}

#[test]
fn an_archive_of_unknown_length_is_cut_where_the_budget_ends() {
    let guarded = Guarded::new();
    let server = guarded.serve(guarded.gate("", false), true);
    let path = |token: &str| format!("/ipfs/{}?format=car&token={token}", guarded.fixture.dataset.root());
    let cut = server.get(&path(&guarded.token("", Some(3 << 20))), &[]);
    assert!(cut.status == 200 && !cut.complete && cut.body.len() <= 3 << 20);
    let other = guarded.token("", Some(3 << 20));
    assert_eq!(server.get(&path(&other), &[]).status, 403, "the next one gets not even its first chunk");
}

#[test]
fn one_payment_buys_a_token_for_many_ranges() {
    let guarded = Guarded::new();
    let server = guarded.serve(guarded.gate("", true), true);
    let path = format!("/data/demo/{BIG}");
    let refused = server.get(&path, &[]);
    assert_eq!(refused.status, 402);
    let json = |header: &str| -> serde_json::Value {
        serde_json::from_slice(&BASE64_STANDARD.decode(header).unwrap()).unwrap()
    };
    let price = json(refused.header("payment-required"));
    assert_eq!((&price["x402Version"], &price["resource"]["url"]), (&2.into(), &path.as_str().into()));
    let amount: u64 = price["accepts"][0]["amount"].as_str().unwrap().parse().unwrap();
    let voucher = Voucher { channel: CHANNEL, cumulative: Amount(amount) }.sign(CHAIN, &key(PAYER));
    let payment = Price { chain: CHAIN, payee: address(GATEWAY), terms: TERMS }.write_payment(&voucher);
    let paid = server.get(&path, &[("Payment-Signature", &payment), ("Range", "bytes=0-1048575")]);
    assert_eq!(paid.status, 206);
    let settled = json(paid.header("payment-response"));
    let token = bearer(settled["extra"]["token"].as_str().unwrap());
    for first in (1..5).map(|mib| mib * MIB) {
        let range = format!("bytes={first}-{}", first + MIB - 1);
        let headers = [("Range", range.as_str()), ("Authorization", token.as_str())];
        assert_eq!(server.get(&path, &headers).status, 206, "paid for once: no range asks for money");
    }
    // What was paid for and the window are used up soon; then the next budget has a price.
    let mut statuses =
        (0..3).map(|_| server.get(&path, &[("Authorization", &token), ("Range", "bytes=0-1048575")]).status);
    assert!(statuses.any(|status| status == 402));
}
