//! The gateway over TLS, to curl and to our own fetcher.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use cairn_gateway::{FetchOptions, FetchRequest, GatewayOptions, SourceUrl, TlsIdentity, TlsTrust, fetch_blocking};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::common::*;
use super::curl::curl;
use super::fetching::fetch_request;

/// An authority of the test's own, and the identity of `localhost` that it signed.
fn authority_and_identity() -> (String, TlsIdentity) {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "an authority of the test");
    let authority = params.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority, &authority_key).unwrap();
    let identity = TlsIdentity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    (authority.pem(), identity)
}

fn serve(fixture: &Fixture) -> (String, TestServer) {
    serve_by(fixture, true)
}

/// A gateway whose kernel may encrypt, or not.
fn serve_by(fixture: &Fixture, kernel_tls: bool) -> (String, TestServer) {
    let (authority, identity) = authority_and_identity();
    let options = GatewayOptions {
        tls: Some(identity),
        kernel_tls,
        head_timeout: Duration::from_secs(1),
        ..GatewayOptions::default()
    };
    (authority, TestServer::start(fixture.store.clone(), options))
}

/// Whether this kernel encrypts; known once a gateway has asked for it.
fn kernel_encrypts() -> bool {
    let ways = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_ulp").unwrap_or_default();
    let encrypts = ways.split_whitespace().any(|way| way == "tls");
    if !encrypts {
        let _ = writeln!(
            std::io::stderr(),
            "check skipped: this kernel has no TLS, so that of this process was tested alone; `make test-kernel-tls` has one"
        );
    }
    encrypts
}

/// What a client reads that sends `requests` together with its last word of the handshake, then says that it is done. It must
/// be told that the answers are complete.
fn answers_to(authority: &str, server: &TestServer, requests: &[u8]) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut session = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    session.writer().write_all(requests).unwrap();
    let mut socket = TcpStream::connect(server.addr).unwrap();
    while session.is_handshaking() {
        while session.wants_write() {
            session.write_tls(&mut socket).unwrap();
        }
        session.read_tls(&mut socket).unwrap();
        session.process_new_packets().unwrap();
    }
    session.send_close_notify();
    let mut last = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut last).unwrap();
    }
    socket.write_all(&last).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut answers = Vec::new();
    let end = rustls::Stream::new(&mut session, &mut socket).read_to_end(&mut answers);
    end.unwrap_or_else(|error| {
        panic!("{error} after {} bytes of {}", answers.len(), String::from_utf8_lossy(requests))
    });
    answers
}

fn source(server: &TestServer) -> SourceUrl {
    format!("https://127.0.0.1:{}", server.addr.port()).parse().unwrap()
}

#[test]
fn curl_reads_ranges_from_whom_it_believes() {
    let fixture = Fixture::new();
    let (authority, server) = serve(&fixture);
    let file = fixture.target("authority.pem");
    std::fs::write(&file, authority).unwrap();
    let url = format!("https://localhost:{}/data/demo/{BIG}", server.addr.port());
    let believing =
        ["--cacert", file.to_str().unwrap(), "--resolve", &format!("localhost:{}:127.0.0.1", server.addr.port())];
    let Some(part) = curl(&[&believing[..], &["-r", "1000-1999999", &url]].concat()) else { return };
    assert!(part.status.success(), "{}", String::from_utf8_lossy(&part.stderr));
    assert!(part.stdout == fixture.big()[1000..2_000_000]);
    let whole = curl(&[&believing[..], &[&url]].concat()).unwrap();
    assert!(whole.stdout == fixture.big());
    let stranger = curl(&[&url]).unwrap();
    assert_eq!(stranger.status.code(), Some(60), "curl does not know the authority");
}

#[test]
fn the_fetcher_reads_over_tls_from_whom_it_believes() {
    let fixture = Fixture::new();
    let (authority, server) = serve(&fixture);
    let fetch = |trust: TlsTrust, name: &str| {
        let request = fetch_request(&fixture, &[source(&server)], "", name);
        fetch_blocking(&FetchRequest { options: FetchOptions { trust, retries: 0, ..request.options }, ..request })
    };
    fetch(TlsTrust::from_pem(authority.as_bytes()).unwrap(), "fetched").unwrap();
    fixture.assert_complete(&fixture.target("fetched"));
    let refused = fetch(TlsTrust::default(), "refused").unwrap_err().to_string();
    assert!(refused.contains("no TLS"), "{refused}");
}

#[test]
fn who_speaks_no_tls_is_cut_and_others_are_served() {
    let fixture = Fixture::new();
    let (authority, server) = serve(&fixture);
    let mut plain = TcpStream::connect(server.addr).unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // One that says nothing ends too, without a word from it.
    let mut silent = TcpStream::connect(server.addr).unwrap();
    silent.read_to_end(&mut Vec::new()).unwrap();
    let request = fetch_request(&fixture, &[source(&server)], "", "after");
    let trust = TlsTrust::from_pem(authority.as_bytes()).unwrap();
    fetch_blocking(&FetchRequest { options: FetchOptions { trust, ..request.options }, ..request }).unwrap();
    fixture.assert_complete(&fixture.target("after"));
}

#[test]
fn what_comes_with_the_last_word_of_the_handshake_is_answered_to_its_end() {
    let fixture = Fixture::new();
    for by_kernel in [true, false] {
        let (authority, server) = serve_by(&fixture, by_kernel);
        let big = format!("GET /data/demo/{BIG} HTTP/1.1\r\nhost: x\r\n\r\n");
        // The second is for the library, if the first was not.
        let health = "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        let answers = answers_to(&authority, &server, format!("{big}{health}").as_bytes());
        let body = answers.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        let (first, second) = answers[body..].split_at(fixture.big().len());
        assert!(first == fixture.big());
        assert!(second.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(second));
        assert_eq!(server.served.lock().unwrap()[0].by_system, by_kernel && kernel_encrypts());
        // And when there is no library.
        let last = format!("GET /data/demo/{BIG} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert!(answers_to(&authority, &server, last.as_bytes()).ends_with(fixture.big()));
    }
}

#[test]
fn curl_reads_by_every_suite() {
    let fixture = Fixture::new();
    let (authority, server) = serve(&fixture);
    let file = fixture.target("authority.pem");
    std::fs::write(&file, authority).unwrap();
    let resolve = format!("localhost:{}:127.0.0.1", server.addr.port());
    let url = format!("https://localhost:{}/data/demo/{BIG}", server.addr.port());
    let suites = [
        ["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        ["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"],
        ["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305"],
        ["--tlsv1.3", "--no-sessionid", "--tls13-ciphers", "TLS_AES_128_GCM_SHA256"],
        ["--tlsv1.3", "--no-sessionid", "--tls13-ciphers", "TLS_AES_256_GCM_SHA384"],
        ["--tlsv1.3", "--no-sessionid", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"],
    ];
    for suite in suites {
        let believing = ["--cacert", file.to_str().unwrap(), "--resolve", &resolve];
        // Three answers of one connection.
        let arguments = [&believing[..], &suite, &[&url, &url, &url]].concat();
        let Some(output) = curl(&arguments) else { return };
        assert!(output.status.success(), "{suite:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == fixture.big().repeat(3), "{suite:?}");
    }
    let by_kernel = kernel_encrypts();
    let served = server.served.lock().unwrap();
    assert_eq!(served.len(), 3 * suites.len());
    assert!(
        served.iter().all(|request| request.by_system == by_kernel && request.bytes_sent == request.bytes_promised)
    );
}
