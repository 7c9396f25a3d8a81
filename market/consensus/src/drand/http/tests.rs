//! Relays that are gone, silent, endless, late and lying, and one that is none of that.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use serde_json::json;

use super::*;

/// Fourteen seconds between rounds, so that the recorded ones, 1000 to 1002, are all that a moment needs.
fn network() -> DrandNetwork {
    DrandNetwork { period_s: 14, ..DrandNetwork::quicknet() }
}

/// The first moment whose block uses round 1000.
const NOW_MS: u64 = (1_692_803_367 + 999 * 14 + LAG_S) * 1_000;

fn recorded(round: u64) -> Option<String> {
    let path = cairn_fixtures::fixtures_dir().join("vectors/published/drand-quicknet.json");
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let found = file["rounds"].as_array().unwrap().iter().find(|r| r["round"] == round)?.clone();
    Some(json!({"round": round, "randomness": found["randomness"], "signature": found["signature"]}).to_string())
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

/// Answers each request by what follows `/CHAIN/public/`.
fn relay(answer_to: fn(&str, TcpStream)) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream, answer_to));
        }
    });
    url
}

/// Answers one request, unless the other side goes first.
fn serve<S: Read>(mut stream: S, answer_to: fn(&str, S)) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() {
            return;
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    let prefix = format!("GET /{}/public/", hex::encode(network().chain_hash));
    let what = request.strip_prefix(&prefix).expect("the path names the chain");
    answer_to(what.split(' ').next().unwrap(), stream);
}

/// An honest relay behind TLS, and the certificate that it shows, as PEM.
fn tls_relay() -> (String, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.key_pair.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into());
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            std::thread::spawn(move || serve(rustls::StreamOwned::new(session, stream), honest));
        }
    });
    (url, made.cert.pem().into_bytes())
}

fn honest<S: Write>(what: &str, mut stream: S) {
    let round = if what == "latest" { 1_002 } else { what.parse().unwrap() };
    let found = recorded(round).map_or_else(|| answer("404 Not Found", ""), |round| answer("200 OK", &round));
    stream.write_all(&found).unwrap();
}

/// Nobody listens there.
const GONE: &str = "http://127.0.0.1:1";

/// Waits so long that no machine is too slow for it.
fn fetcher(urls: Vec<String>) -> Fetcher {
    let options = HttpOptions { answer_timeout: Duration::from_secs(60), ..HttpOptions::new(urls) };
    Fetcher::new(&network(), options).unwrap()
}

#[test]
fn whatever_relays_do_rounds_come_from_one_that_is_right() {
    let endless = relay(|_, mut stream| {
        let begun = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while begun.is_ok() && stream.write_all(&[b' '; 1_024]).is_ok() {}
    });
    let absent = relay(|_, mut stream| drop(stream.write_all(&answer("404 Not Found", "no such round"))));
    let babbling = relay(|_, mut stream| drop(stream.write_all(&answer("200 OK", "[1000]"))));
    let elsewhere = relay(|_, mut stream| {
        drop(stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"));
    });
    let forging = relay(|what, mut stream| {
        let round: u64 = what.parse().unwrap();
        let other = recorded(1_002).unwrap().replace("\"round\":1002", &format!("\"round\":{round}"));
        drop(stream.write_all(&answer("200 OK", &other)));
    });
    let swapping = relay(|_, mut stream| drop(stream.write_all(&answer("200 OK", &recorded(1_002).unwrap()))));
    let bad = [GONE.to_owned(), endless, absent, babbling, elsewhere, forging, swapping];
    let mut fetcher = fetcher(bad.iter().cloned().chain([relay(honest)]).collect());
    let mut faults = Vec::new();
    for _ in 0..bad.len() {
        fetcher.step(NOW_MS);
        faults.push(fetcher.kept.fault());
    }
    assert!(fetcher.kept.rounds().is_empty(), "nothing of theirs is believed");
    let expected = [
        "",
        "the response body is larger than request limit",
        "it answers with status 404",
        "its answer is no round: ",
        "it answers with status 302",
        "the signature of round 1000 does not verify",
        "it gave round 1002 for round 1000",
    ];
    for ((fault, url), expected) in faults.iter().zip(&bad).zip(expected) {
        assert!(fault.starts_with(&format!("{url}: {expected}")), "{fault}");
    }
    for round in [1_000, 1_001, 1_002] {
        assert_eq!(fetcher.missing(NOW_MS), Some(round));
        fetcher.step(NOW_MS);
    }
    assert_eq!(fetcher.missing(NOW_MS), None);
    assert_eq!(fetcher.kept.rounds().keys().copied().collect::<Vec<_>>(), [1_000, 1_001, 1_002]);
    // Liars rest for as long as there is; the others for a moment, and then twice as long.
    let rests: Vec<u64> = fetcher.relays[..bad.len()].iter().map(|relay| relay.rests_until_ms - NOW_MS).collect();
    assert_eq!(rests, [REST_MS, REST_MS, REST_MS, REST_MS, REST_MS, REST_MAX_MS, REST_MAX_MS]);
    fetcher.kept.rounds().clear();
    fetcher.step(NOW_MS + REST_MS);
    assert_eq!(fetcher.relays[0].rests_until_ms, NOW_MS + REST_MS + 2 * REST_MS);
}

#[test]
fn a_relay_behind_tls_is_believed_if_its_certificate_is() {
    let (url, certificate) = tls_relay();
    let start = |authorities| {
        let options = HttpOptions { answer_timeout: Duration::from_secs(60), ..HttpOptions::new(vec![url.clone()]) };
        Fetcher::new(&network(), HttpOptions { authorities, ..options })
    };
    let mut trusting = start(Some(certificate)).unwrap();
    trusting.step(NOW_MS);
    assert_eq!(trusting.kept.rounds().keys().copied().collect::<Vec<_>>(), [1_000], "{}", trusting.kept.fault());
    let mut careful = start(None).unwrap();
    careful.step(NOW_MS);
    assert!(
        careful.kept.rounds().is_empty() && careful.kept.fault().contains("certificate"),
        "{}",
        careful.kept.fault()
    );
    for wrong in [&b""[..], b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        let refused = start(Some(wrong.to_vec())).err();
        assert!(matches!(refused, Some(HttpRoundsRejection::BadAuthorities { .. })), "{refused:?}");
    }
}

#[test]
fn a_relay_that_says_nothing_is_not_waited_for_long() {
    let silent = relay(|_, mut stream| {
        // Until the other side gives up.
        let _ = stream.read(&mut [0]);
    });
    let options = HttpOptions { answer_timeout: Duration::from_millis(200), ..HttpOptions::new(vec![silent]) };
    let mut fetcher = Fetcher::new(&network(), options).unwrap();
    fetcher.step(NOW_MS);
    assert!(fetcher.kept.fault().contains("timeout: "), "{}", fetcher.kept.fault());
    assert_eq!(fetcher.relays[0].rests_until_ms, NOW_MS + REST_MS);
}

#[test]
fn a_clock_that_is_ahead_is_told_so() {
    let mut fetcher = fetcher(vec![relay(honest)]);
    let ahead_ms = NOW_MS + 3_600_000;
    let first = fetcher.missing(ahead_ms).unwrap();
    assert_eq!(first, 1_000 + 3_600 / 14);
    fetcher.step(ahead_ms);
    assert!(fetcher.kept.fault().ends_with("it answers with status 404"), "{}", fetcher.kept.fault());
    fetcher.step(ahead_ms);
    assert!(
        fetcher.kept.fault().starts_with("drand is at round 1002: the clock here is 3598 s ahead"),
        "{}",
        fetcher.kept.fault()
    );
    assert!(fetcher.kept.rounds().is_empty());
}

#[test]
fn only_what_may_be_needed_is_wanted() {
    let fetcher = fetcher(vec![GONE.to_owned()]);
    assert_eq!(fetcher.missing(0), None, "there are no rounds yet");
    assert_eq!(fetcher.missing(NOW_MS - 1), Some(999));
    let late = fetcher.newest(NOW_MS).unwrap();
    assert_eq!((fetcher.missing(NOW_MS), late), (Some(1_000), 1_002));
}

#[test]
fn addresses_are_checked() {
    for good in ["http://127.0.0.1:80", "https://api.drand.sh/", "https://host/path"] {
        assert!(checked(good).is_ok(), "{good}");
    }
    for bad in ["", "api.drand.sh", "ftp://x", "https://", "http:///x", "http://u@h", "http://h?x"] {
        assert!(matches!(checked(bad), Err(HttpRoundsRejection::BadUrl { .. })), "{bad}");
    }
    let nobody = HttpRounds::start(&network(), HttpOptions::new(vec![]));
    assert!(matches!(nobody, Err(HttpRoundsRejection::NoRelay)));
    assert!(PUBLIC_RELAYS.iter().all(|url| checked(url).is_ok()));
}
