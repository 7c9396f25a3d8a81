//! What a gateway tells of its requests: counts, a log of bytes truly sent, traces.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_gateway::{AccessLog, GatewayOptions, Metrics, Reporter, serve_metrics};

use super::common::*;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Asks a listener of its own for `/metrics`.
fn scraped(metrics: &Arc<Metrics>, path: &str) -> Answer {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let metrics = metrics.clone();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        serve_metrics(listener, metrics, std::future::pending()).await;
    });
    request(addr, "GET", path, &[])
}

#[test]
fn requests_are_counted_and_logged_with_the_bytes_that_left() {
    let fixture = Fixture::new();
    let (metrics, written) = (Metrics::new(), Written::default());
    let log = AccessLog::to(Box::new(written.clone()), 64);
    let reporter = Reporter { metrics: metrics.clone(), log: Some(log.clone()), surface: None };
    let options = GatewayOptions { reporter: Some(reporter), ..GatewayOptions::default() };
    let server = TestServer::start(fixture.store.clone(), options);
    let path = format!("/data/demo/{BIG}");
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let part = server.get(&format!("{path}?token=secret"), &[("Range", "bytes=0-99"), ("Traceparent", parent)]);
    assert_eq!((part.status, part.header("traceparent")), (206, parent));
    assert!(part.header("server-timing").starts_with("prepare;dur="));
    let copied = server.get(&format!("/ipfs/{}?format=raw", fixture.dataset.root()), &[]);
    assert_eq!((copied.status, copied.header("traceparent").len()), (200, 55));
    assert_eq!(server.get(&path, &[("Range", "bytes=99999999-")]).status, 416);
    let mut stream = connect(server.addr);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    stream.read_exact(&mut [0; 4096]).unwrap();
    drop(stream);
    let left = server.wait_for(|request| request.status == 200 && request.path == path);
    drop(server);
    log.close();

    let lines = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    assert!(!lines.contains("secret"), "no query, no token");
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), log.dropped()), (4, 0));
    let find = |status: u16, path: &str| {
        let is_it = |line: &&serde_json::Value| line["status"] == status && line["path"] == path;
        lines.iter().find(is_it).unwrap_or_else(|| panic!("{status} {path}: {lines:?}"))
    };
    let first = find(206, &path);
    assert_eq!((&first["status"], &first["bytes_sent"], &first["way"]), (&206.into(), &100.into(), &"sendfile".into()));
    assert_eq!((&first["trace"], &first["surface"]), (&"4bf92f3577b34da6a3ce929d0e0e4736".into(), &"data".into()));
    let second = find(200, &format!("/ipfs/{}", fixture.dataset.root()));
    assert_eq!((&second["way"], &second["surface"]), (&"copy".into(), &"ipfs".into()));
    assert_eq!(find(200, &path)["bytes_sent"], left.bytes_sent);

    let text = String::from_utf8(scraped(&metrics, "/metrics").body).unwrap();
    let sent = 100 + left.bytes_sent;
    for expected in [
        "gateway_requests_total{surface=\"data\",status=\"206\"} 1".to_owned(),
        "gateway_requests_total{surface=\"data\",status=\"416\"} 1".to_owned(),
        format!("gateway_sent_bytes_total{{surface=\"data\",way=\"sendfile\"}} {sent}"),
        format!("gateway_sent_bytes_total{{surface=\"ipfs\",way=\"copy\"}} {}", copied.body.len()),
        "gateway_requests_in_flight 0".to_owned(),
        "gateway_connections 0".to_owned(),
        "gateway_first_byte_seconds_count 4".to_owned(),
        "# EOF".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected} is not in\n{text}");
    }
    assert_eq!(scraped(&metrics, "/other").status, 404);
}

#[test]
fn a_log_that_does_not_keep_up_loses_lines_and_counts_them() {
    /// Takes nothing until it is told to.
    struct Stuck(std::sync::mpsc::Receiver<()>);
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            _ = self.0.recv_timeout(Duration::from_secs(60));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let fixture = Fixture::new();
    let (release, stuck) = std::sync::mpsc::channel();
    let log = AccessLog::to(Box::new(Stuck(stuck)), 16);
    let metrics = Metrics::new();
    let reporter = Reporter { metrics: metrics.clone(), log: Some(log.clone()), surface: None };
    let options = GatewayOptions { reporter: Some(reporter), ..GatewayOptions::default() };
    let server = TestServer::start(fixture.store.clone(), options);
    let mut stream = connect(server.addr);
    // The queue, what the writer holds in its buffer, and more.
    stream.write_all("HEAD /data/demo/empty.txt HTTP/1.1\r\nHost: h\r\n\r\n".repeat(300).as_bytes()).unwrap();
    for _ in 0..300 {
        assert_eq!(read_answer(&mut stream, true).unwrap().status, 200);
    }
    drop(server);
    assert!(log.dropped() > 0, "and no request waited");
    assert!(metrics.text().contains(&format!("gateway_log_lines_dropped_total {}", log.dropped())));
    drop(release);
}
