//! The loop in front of the library: the same bytes as the library gives, over every shape of connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use cairn_gateway::GatewayOptions;

use super::common::*;

/// One request, as it stands, on a connection of its own.
fn ask(server: &TestServer, request: &str) -> Answer {
    let mut stream = connect(server.addr);
    stream.write_all(request.as_bytes()).unwrap();
    read(&mut stream, request)
}

/// The answer to a request that was written, without its date: that may differ by a second.
fn read(stream: &mut TcpStream, request: &str) -> Answer {
    let mut answer = read_answer(stream, request.starts_with("HEAD")).expect(request);
    assert!(answer.headers.remove("date").is_some(), "{request}");
    answer
}

fn assert_alike(one: &Answer, other: &Answer, request: &str) {
    assert_eq!((one.status, &one.headers, one.complete), (other.status, &other.headers, other.complete), "{request}");
    assert!(one.body == other.body, "{request}");
}

#[test]
fn both_loops_answer_alike() {
    let fixture = Fixture::new();
    let fast = fixture.serve();
    let library =
        TestServer::start(fixture.store.clone(), GatewayOptions { sendfile: false, ..GatewayOptions::default() });
    let root = fixture.dataset.root();
    let big = format!("/data/{root}/{BIG}");
    let request = |method: &str, path: &str, more: &str| format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{more}\r\n");
    let mut cases = vec![
        request("GET", "/data/demo/empty.txt", ""),
        request("GET", "/data/demo/table%20%C3%A4.json", ""),
        request("GET", "/data/demo", ""),
        request("GET", "/data/demo/missing", ""),
        request("GET", "/data/demo/%zz", ""),
        request("GET", &format!("/ipfs/{root}/table%20%C3%A4.json"), ""),
        request("GET", &format!("/ipfs/{root}?format=raw"), ""),
        request("GET", "/nowhere", ""),
        request("POST", &big, "Content-Length: 0\r\n"),
        request("GET", "/data/demo/empty.txt", "Host: again\r\n"),
        request("GET", &format!("/data/{}", "x".repeat(9000)), ""),
        format!("GET {big} HTTP/1.1\r\nRange: bytes=0-9\r\n\r\n"),
    ];
    for range in ["0-0", "1-70000", "5242880-", "-9", "99999999-", "0-1,4-5", "x"] {
        for method in ["GET", "HEAD"] {
            cases.push(request(method, &big, &format!("Range: bytes={range}\r\n")));
        }
    }
    for condition in ["If-Match: \"x\"", "If-None-Match: *", "If-Range: \"x\"\r\nRange: bytes=0-9", "Connection: close"]
    {
        cases.push(request("GET", "/data/demo/table%20%C3%A4.json", &format!("{condition}\r\n")));
    }
    for case in &cases {
        assert_alike(&ask(&fast, case), &ask(&library, case), case);
    }
    // Behind each other on one connection, which is half closed after them: some for the loop, then one for the library,
    // which keeps the rest.
    let kept = |case: &&String| case.matches("Host").count() == 1 && !case.contains("close") && case.len() < 8000;
    let kept: Vec<_> = cases.iter().filter(kept).filter(|case| !case.starts_with("POST")).collect();
    for server in [&fast, &library] {
        let mut stream = connect(server.addr);
        stream.write_all(kept.iter().map(|case| case.as_str()).collect::<String>().as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        for case in &kept {
            assert_alike(&read(&mut stream, case), &ask(&library, case), case);
        }
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn heads_in_single_bytes_are_read_and_counted() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let mut stream = connect(server.addr);
    for _ in 0..2 {
        let head = format!("GET /data/demo/{BIG} HTTP/1.1\r\nHost: h\r\nRange: bytes=10-2000009\r\n\r\n");
        for byte in head.as_bytes() {
            stream.write_all(&[*byte]).unwrap();
        }
        let answer = read_answer(&mut stream, false).unwrap();
        assert_eq!((answer.status, answer.complete), (206, true));
        assert!(answer.body == fixture.big()[10..2_000_010]);
    }
    drop(stream);
    let served = server.wait_for(|request| request.bytes_promised == 2_000_000);
    assert_eq!((served.bytes_sent, served.status.as_u16()), (2_000_000, 206));
}

#[test]
fn a_reader_that_leaves_is_counted_by_what_it_took() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let mut stream = connect(server.addr);
    stream.write_all(format!("GET /data/demo/{BIG} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
    let mut some = vec![0; 100_000];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    let served = server.wait_for(|request| request.bytes_promised > 0);
    assert_eq!(served.bytes_promised, fixture.big().len() as u64);
    assert!(served.bytes_sent <= served.bytes_promised && served.bytes_sent > 90_000, "{served:?}");
    // Others are served meanwhile and afterwards.
    assert_eq!(server.get("/data/demo/empty.txt", &[]).status, 200);
}

#[test]
fn a_changed_file_is_never_served() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let path = fixture.source_path("shards/exact.bin");
    assert_eq!(server.get("/data/demo/shards/exact.bin", &[]).status, 200);
    std::fs::write(&path, noise(9, 1000)).unwrap();
    assert_eq!(server.get("/data/demo/shards/exact.bin", &[]).status, 500);
}

#[test]
fn a_stop_ends_connections_that_wait() {
    let fixture = Fixture::new();
    let mut server = fixture.serve();
    let mut idle = connect(server.addr);
    idle.write_all(b"GET /data/demo/empty.txt HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut idle, false).unwrap().status, 200);
    server.ask_to_stop();
    let mut rest = Vec::new();
    assert_eq!(idle.read_to_end(&mut rest).unwrap(), 0);
}

#[test]
fn a_connection_may_rest_longer_than_a_head_may_take() {
    let fixture = Fixture::new();
    let options = GatewayOptions { head_timeout: Duration::from_millis(300), ..GatewayOptions::default() };
    let server = TestServer::start(fixture.store.clone(), options);
    let mut resting = connect(server.addr);
    for _ in 0..2 {
        let request = format!("GET /data/demo/{BIG} HTTP/1.1\r\nHost: h\r\nRange: bytes=0-9\r\n\r\n");
        resting.write_all(request.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut resting, false).unwrap().status, 206);
        std::thread::sleep(Duration::from_millis(900));
    }
    // One that has asked nothing yet, or stops in the middle of a head, may not.
    for begun in ["", "GET /data/demo/empty.txt HTTP/1.1\r\n"] {
        let mut slow = connect(server.addr);
        slow.write_all(begun.as_bytes()).unwrap();
        assert_eq!(slow.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
}
