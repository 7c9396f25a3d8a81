//! What strangers send, and too much of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use cairn_rpc::ServerOptions;

use crate::support::{Ledger, PATIENCE, Served};

fn served(options: ServerOptions) -> Served {
    Served::new(Ledger::new(1_000), options)
}

#[test]
fn every_refusal_is_a_problem_with_a_code() {
    let served = served(ServerOptions::default());
    let json = "content-type: application/json\r\n";
    let large = "x".repeat(300 << 10);
    for (method, path, headers, body, status, code) in [
        ("GET", "/v2/head", "", "", 404, "unknown_route"),
        ("DELETE", "/v1/head", "", "", 405, "method_not_allowed"),
        ("GET", "/v1/orders/x", "", "", 400, "bad_parameter"),
        ("GET", "/v1/orders/99", "", "", 404, "not_found"),
        ("GET", "/v1/orders?limit=0", "", "", 400, "bad_parameter"),
        ("GET", "/v1/orders?unknown=1", "", "", 400, "bad_parameter"),
        ("GET", "/v1/orders?cursor=zz", "", "", 400, "bad_parameter"),
        ("GET", "/v1/deals?cursor=6f72646572732f31", "", "", 400, "bad_parameter"),
        ("GET", "/v1/accounts/0x12", "", "", 400, "bad_parameter"),
        ("GET", "/v1/transactions/abc", "", "", 400, "bad_parameter"),
        ("POST", "/v1/transactions", "", "{}", 415, "unsupported_media_type"),
        ("POST", "/v1/transactions", json, "{}", 400, "bad_body"),
        ("POST", "/v1/transactions", json, large.as_str(), 413, "body_too_large"),
        ("POST", "/v1/quotes", json, "[]", 400, "bad_body"),
    ] {
        let answer = served.ask(method, path, headers, body);
        let start = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&start), "{method} {path}: {}", &answer[..answer.len().min(300)]);
        assert!(answer.contains("content-type: application/problem+json"), "{answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{method} {path}: {answer}");
    }
}

#[test]
fn pages_of_other_origins_get_no_permission() {
    let served = served(ServerOptions::default());
    let answer = served.ask("GET", "/v1/head", "origin: http://evil.test\r\n", "");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let asked = "origin: http://evil.test\r\naccess-control-request-method: POST\r\n";
    let preflight = served.ask("OPTIONS", "/v1/transactions", asked, "");
    assert!(preflight.starts_with("HTTP/1.1 405 "), "{preflight}");
    assert!(!(answer + &preflight).to_ascii_lowercase().contains("access-control"));
}

#[test]
fn heads_that_are_too_large_or_never_end_cost_a_connection_and_no_more() {
    let served = served(ServerOptions { head_timeout: Duration::from_millis(100), ..ServerOptions::default() });
    let long = format!("GET /v1/head HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(20 << 10));
    let answer = served.raw(long.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = format!("GET /v1/head HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(100));
    assert!(served.raw(many.as_bytes()).starts_with("HTTP/1.1 431 "));
    let slow = served.raw(b"GET /v1/head HTTP/1.1\r\nhost: x\r\n");
    assert!(slow.is_empty() || slow.starts_with("HTTP/1.1 408 "), "{slow}");
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\r\n\r\n", b"GET\r\n\r\n", b"\xff\xff \xff HTTP/1.1\r\n\r\n"]
    {
        served.raw(garbage);
    }
    assert!(served.get("/v1/head").starts_with("HTTP/1.1 200 "));
}

#[test]
fn too_many_streams_are_told_to_come_back() {
    let served = served(ServerOptions { streams_max: 1, ..ServerOptions::default() });
    let mut first = TcpStream::connect(served.address).unwrap();
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    first.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut head = [0; 15];
    first.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let second = served.get("/v1/events");
    assert!(second.starts_with("HTTP/1.1 503 ") && second.contains("retry-after: 1"), "{second}");
    drop(first);
    // The server sees that the reader is gone when it next writes or looks.
    let begun = std::time::Instant::now();
    loop {
        served.ledger.block();
        let mut again = TcpStream::connect(served.address).unwrap();
        again.set_read_timeout(Some(PATIENCE)).unwrap();
        again.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        again.read_exact(&mut head).unwrap();
        if &head == b"HTTP/1.1 200 OK" {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the place of a reader that left is never free again");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn too_many_requests_are_told_to_come_back() {
    let served = served(ServerOptions { requests_max: 1, ..ServerOptions::default() });
    let mut first = TcpStream::connect(served.address).unwrap();
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "POST /v1/transactions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\n\
        content-type: application/json\r\ncontent-length: 2\r\n\r\n";
    first.write_all(head.as_bytes()).unwrap();
    // The server asks for the body: from now on the request has the one place.
    let mut asked = [0; 21];
    first.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue");
    let answer = served.get("/v1/head");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains("\"code\":\"busy\""), "{answer}");
    first.write_all(b"{}").unwrap();
    let mut answer = String::new();
    first.read_to_string(&mut answer).unwrap();
    assert!(answer.trim_start().starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(served.get("/v1/head").starts_with("HTTP/1.1 200 "));
}

#[test]
fn stopping_ends_streams_and_waits() {
    let mut served = served(ServerOptions::default());
    let address = served.address;
    let id = cairn_ledger::TransactionId([7; 32]);
    let reader = |path: String| {
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            let mut answer = String::new();
            // A connection that is reset has no answer.
            let _ = stream.read_to_string(&mut answer);
            answer
        })
    };
    let (stream, wait) = (reader("/v1/events".to_owned()), reader(format!("/v1/transactions/{id}?wait_ms=30000")));
    std::thread::sleep(Duration::from_millis(200));
    // If one of them is slow enough to come now only, it is not answered, which is well too.
    served.stop();
    for (answer, status) in [(stream.join().unwrap(), "200"), (wait.join().unwrap(), "404")] {
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}
