//! The gateway over TLS, to curl and to our own fetcher.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use cairn_gateway::{FetchOptions, FetchRequest, GatewayOptions, SourceUrl, TlsIdentity, TlsTrust, fetch_blocking};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

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
    let (authority, identity) = authority_and_identity();
    let options =
        GatewayOptions { tls: Some(identity), head_timeout: Duration::from_secs(1), ..GatewayOptions::default() };
    (authority, TestServer::start(fixture.store.clone(), options))
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
