//! What happens when something runs out: files, connections, patience, time.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use cairn_gateway::{
    ContentSource, DataEntry, GatewayOptions, PieceResource, RangeReader, Resource, SourceCounts, SourceError, serve,
};
use cairn_protocol::CommP;
use cid::Cid;

use super::common::*;

/// One endless-looking file whose reads fail from some byte on.
struct Faulty {
    bytes: u64,
    fails_at: u64,
}

struct FaultyReader(u64);

impl RangeReader for FaultyReader {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.0.saturating_sub(offset);
        if left == 0 {
            return Err(io::Error::other("bad sector"));
        }
        let count = buffer.len().min(left as usize);
        buffer[..count].fill(7);
        Ok(count)
    }
}

impl ContentSource for Faulty {
    fn piece(&self, _: &CommP) -> Result<Option<PieceResource>, SourceError> {
        Ok(None)
    }

    fn dataset_by_name(&self, _: &str) -> Result<Option<Cid>, SourceError> {
        Ok(Some("bafkqaaa".parse().unwrap()))
    }

    fn data(&self, root: &Cid, _: &[String]) -> Result<Option<DataEntry>, SourceError> {
        let resource = Resource { bytes: self.bytes, reader: Box::new(FaultyReader(self.fails_at)) };
        Ok(Some(DataEntry::File { name: "x".into(), cid: *root, resource }))
    }

    fn block(&self, _: &Cid) -> Result<Option<Resource>, SourceError> {
        Ok(None)
    }

    fn counts(&self) -> SourceCounts {
        SourceCounts::default()
    }
}

fn good(bytes: u64) -> Arc<Faulty> {
    Arc::new(Faulty { bytes, fails_at: bytes })
}

const GET_X: &[u8] = b"GET /data/x/f HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_file_that_fails_midway_cuts_the_connection() {
    let source = Arc::new(Faulty { bytes: 3_000_000, fails_at: 1_500_000 });
    let server = TestServer::start(source, GatewayOptions::default());
    let mut stream = connect(server.addr);
    stream.write_all(GET_X).unwrap();
    let answer = read_answer(&mut stream, false).unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (200, "3000000"));
    assert!(answer.body.len() < 3_000_000, "the body ended early");
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "and so did the connection");
    let served = server.wait_for(|request| request.bytes_promised == 3_000_000);
    assert!(served.bytes_sent < 3_000_000 && served.bytes_sent >= answer.body.len() as u64);
}

#[test]
fn a_file_that_cannot_be_read_at_all_is_an_error_status() {
    let server = TestServer::start(Arc::new(Faulty { bytes: 10, fails_at: 0 }), GatewayOptions::default());
    let answer = server.get("/data/x/f", &[]);
    assert_eq!((answer.status, answer.json()["error"].as_str()), (500, Some("storage_failed")));
    assert!(!answer.json().to_string().contains("sector"), "details of the machine stay in the log");
}

#[test]
fn a_file_that_changed_on_disk_is_not_served() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    std::fs::write(fixture.source_path("shards/exact.bin"), noise(9, MIB)).unwrap();
    let answer = server.get("/data/demo/shards/exact.bin", &[]);
    assert_eq!((answer.status, answer.json()["error"].as_str()), (500, Some("storage_failed")));
}

#[test]
fn bytes_sent_are_counted_exactly() {
    let server = TestServer::start(good(1_000_003), GatewayOptions::default());
    assert_eq!(server.get("/data/x/f", &[]).body.len(), 1_000_003);
    let served = server.wait_for(|request| request.status == 200);
    assert_eq!((served.bytes_sent, served.bytes_promised), (1_000_003, 1_000_003));
    server.get("/data/x/f", &[("Range", "bytes=5-14")]);
    assert_eq!(server.wait_for(|request| request.status == 206).bytes_sent, 10);
    server.head("/data/x/f", &[]);
    assert_eq!(server.wait_for(|request| request.method == "HEAD").bytes_sent, 0);
}

#[test]
fn a_client_that_leaves_is_charged_for_what_left() {
    let server = TestServer::start(good(1 << 30), GatewayOptions::default());
    let mut stream = connect(server.addr);
    stream.write_all(GET_X).unwrap();
    let mut some = vec![0; 100_000];
    stream.read_exact(&mut some).unwrap();
    drop(stream);
    let served = server.wait_for(|request| request.status == 200);
    assert!(served.bytes_sent < served.bytes_promised && served.bytes_sent > 50_000, "{served:?}");
}

#[test]
fn over_the_connection_limit_the_answer_is_503() {
    let options = GatewayOptions { connections_max: 1, ..GatewayOptions::default() };
    let server = TestServer::start(good(10), options);
    let mut first = connect(server.addr);
    first.write_all(GET_X).unwrap();
    assert_eq!(read_answer(&mut first, false).unwrap().status, 200);
    let refused = server.get("/data/x/f", &[]);
    assert_eq!((refused.status, refused.header("retry-after")), (503, "2"));
    assert_eq!(refused.json()["error"], "busy");
    // The connection that is in still works.
    first.write_all(GET_X).unwrap();
    assert_eq!(read_answer(&mut first, false).unwrap().body.len(), 10);
}

#[test]
fn over_the_transfer_limit_the_answer_is_503() {
    let options = GatewayOptions { transfers_max: 1, ..GatewayOptions::default() };
    let server = TestServer::start(good(1 << 30), options);
    let mut first = connect(server.addr);
    first.write_all(GET_X).unwrap();
    first.read_exact(&mut [0; 1000]).unwrap();
    let refused = server.get("/data/x/f", &[("Range", "bytes=0-0")]);
    assert_eq!((refused.status, refused.header("retry-after")), (503, "2"));
    drop(first);
    server.wait_for(|request| request.status == 200);
    assert_eq!(server.get("/data/x/f", &[("Range", "bytes=0-0")]).status, 206);
}

#[test]
fn a_slow_request_head_is_cut() {
    let options = GatewayOptions { head_timeout: Duration::from_millis(200), ..GatewayOptions::default() };
    let server = TestServer::start(good(10), options);
    let mut stream = connect(server.addr);
    stream.write_all(b"GET /data/x/f HTT").unwrap();
    let mut rest = Vec::new();
    _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "no answer to half a request");
}

#[test]
fn a_reader_that_takes_nothing_is_cut_and_one_that_is_slow_is_not() {
    let options = GatewayOptions { write_stall: Duration::from_millis(600), ..GatewayOptions::default() };
    let server = TestServer::start(good(24 << 20), options);
    let mut stuck = connect(server.addr);
    stuck.write_all(b"GET /data/x/stuck HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut slow = connect(server.addr);
    slow.write_all(b"GET /data/x/slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    // Slower than the limit in all, but never silent.
    let mut received = 0;
    let mut buffer = vec![0; 512 << 10];
    loop {
        match slow.read(&mut buffer).unwrap() {
            0 => break,
            count => received += count,
        }
        if received < 16 << 20 {
            std::thread::sleep(Duration::from_millis(15));
        }
    }
    assert!(received > 24 << 20, "head and whole body");
    let cut = server.wait_for(|request| request.path.ends_with("stuck"));
    assert!(cut.bytes_sent < cut.bytes_promised);
}

#[test]
fn a_running_transfer_survives_a_shutdown() {
    let mut server = TestServer::start(good(64 << 20), GatewayOptions::default());
    let mut stream = connect(server.addr);
    stream.write_all(GET_X).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    server.ask_to_stop();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > (64 << 20) - 1000, "the body came to its end");
}

#[test]
fn the_grace_time_ends_a_transfer_that_does_not() {
    let options = GatewayOptions { shutdown_grace: Duration::from_millis(100), ..GatewayOptions::default() };
    let mut server = TestServer::start(good(1 << 40), options);
    let mut stream = connect(server.addr);
    stream.write_all(GET_X).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    server.ask_to_stop();
    // Dropping joins the server's thread, which must end although nobody reads.
    drop(server);
}

#[test]
fn options_that_cannot_work_are_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = GatewayOptions { connections_max: 0, ..GatewayOptions::default() };
        serve(listener, good(1), options, async {}).await
    });
    assert_eq!(refused.unwrap_err().option, "connections_max");
}
