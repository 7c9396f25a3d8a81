//! What a gateway tells its operator: counts for Prometheus, a line for each request, a trace to follow.
//!
//! | metric | labels | |
//! | --- | --- | --- |
//! | `gateway_requests_total` | `surface`, `status` | finished answers |
//! | `gateway_sent_bytes_total` | `surface`, `way` (`sendfile`, `copy`) | body bytes that sockets took |
//! | `gateway_cut_total` | `surface` | answers of which the socket took less than was promised |
//! | `gateway_first_byte_seconds` | | from the request's head to the answer's, a histogram |
//! | `gateway_request_seconds` | | to the end of the answer |
//! | `gateway_requests_in_flight`, `gateway_connections` | | at this moment |
//! | `gateway_log_lines_dropped_total` | | access log lines that did not fit the queue |
//!
//! What else is counted beside a gateway comes from collectors ([`Metrics::with`]).
//!
//! The log is a JSON object a line, written by a thread of its own; a disk that does not keep up costs lines, which are counted,
//! and never a request's time. Neither holds queries: a token may stand there.

use std::fs::OpenOptions;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::ServedRequest;

/// Lines that wait for the disk.
const LOG_QUEUE: usize = 8_192;
/// Scrapers at a time.
const SCRAPERS_MAX: usize = 8;
const SCRAPE_TIME: Duration = Duration::from_secs(10);

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    surface: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Moved {
    surface: &'static str,
    way: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSurface {
    surface: &'static str,
}

/// Counts of one or several listeners.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    sent: Family<Moved, Counter>,
    cut: Family<OfSurface, Counter>,
    first_byte: Histogram,
    duration: Histogram,
    in_flight: Gauge<i64, AtomicI64>,
    connections: Gauge<i64, AtomicI64>,
    dropped: Counter,
}

impl Metrics {
    /// All at nothing.
    pub fn new() -> Arc<Self> {
        Self::with(Vec::new())
    }

    /// Counts of a gateway, and what others count beside it; names of theirs get the same prefix.
    pub fn with(collectors: Vec<Box<dyn Collector>>) -> Arc<Self> {
        let seconds = || Histogram::new(exponential_buckets(0.000_1, 4.0, 12));
        let mut metrics = Self {
            registry: Registry::with_prefix("gateway"),
            requests: Family::default(),
            sent: Family::default(),
            cut: Family::default(),
            first_byte: seconds(),
            duration: seconds(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            dropped: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("requests", "Finished answers", metrics.requests.clone());
        registry.register("sent_bytes", "Body bytes that sockets took", metrics.sent.clone());
        registry.register("cut", "Answers that ended early", metrics.cut.clone());
        registry.register("first_byte_seconds", "From head to head", metrics.first_byte.clone());
        registry.register("request_seconds", "From head to end", metrics.duration.clone());
        registry.register("requests_in_flight", "Answers on their way", metrics.in_flight.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register("log_lines_dropped", "Access log lines dropped", metrics.dropped.clone());
        collectors.into_iter().for_each(|collector| registry.register_collector(collector));
        Arc::new(metrics)
    }

    /// Everything, as Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to memory does not fail");
        text
    }

    fn note(&self, served: &ServedRequest, surface: &'static str) {
        self.requests.get_or_create(&Answered { surface, status: served.status.as_u16() }).inc();
        let way = if served.by_system { "sendfile" } else { "copy" };
        self.sent.get_or_create(&Moved { surface, way }).inc_by(served.bytes_sent);
        if served.bytes_sent < served.bytes_promised {
            self.cut.get_or_create(&OfSurface { surface }).inc();
        }
        self.first_byte.observe(served.first_byte.as_secs_f64());
        self.duration.observe(served.elapsed.as_secs_f64());
    }
}

/// A log of requests.
#[derive(Debug)]
pub struct AccessLog {
    lines: Mutex<Option<SyncSender<Line>>>,
    dropped: AtomicU64,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Line {
    time: SystemTime,
    served: ServedRequest,
    surface: &'static str,
}

impl AccessLog {
    /// Appends to a file; `-` is standard output.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        let to: Box<dyn Write + Send> = if path == Path::new("-") {
            Box::new(io::stdout())
        } else {
            Box::new(OpenOptions::new().append(true).create(true).open(path)?)
        };
        Ok(Self::to(to, LOG_QUEUE))
    }

    /// Writes to anything; so many lines may wait.
    pub fn to(writer: Box<dyn Write + Send>, lines_max: usize) -> Arc<Self> {
        let (lines, queue) = sync_channel(lines_max);
        let writer = std::thread::spawn(move || write_lines(&queue, BufWriter::new(writer)));
        Arc::new(Self { lines: Mutex::new(Some(lines)), dropped: AtomicU64::new(0), writer: Mutex::new(Some(writer)) })
    }

    /// Lines that did not fit the queue.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes what waits, and takes no more lines.
    pub fn close(&self) {
        drop(self.lines.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            _ = writer.join();
        }
    }

    /// False if the line was dropped.
    fn note(&self, served: ServedRequest, surface: &'static str) -> bool {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lines) = lines.as_ref() else { return false };
        let sent = lines.try_send(Line { time: SystemTime::now(), served, surface });
        let full = matches!(sent, Err(TrySendError::Full(_) | TrySendError::Disconnected(_)));
        if full {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        !full
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close();
    }
}

fn write_lines(queue: &Receiver<Line>, mut to: BufWriter<Box<dyn Write + Send>>) {
    loop {
        let line = match queue.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => break,
            // Nothing waits: what is written is shown before the next wait.
            Err(TryRecvError::Empty) => match to.flush().map_err(drop).and_then(|()| queue.recv().map_err(drop)) {
                Ok(line) => line,
                Err(()) => break,
            },
        };
        if let Err(error) =
            serde_json::to_writer(&mut to, &line.json()).map_err(io::Error::from).and_then(|()| to.write_all(b"\n"))
        {
            tracing::error!(%error, "the access log cannot be written; it ends here");
            return;
        }
    }
    _ = to.flush();
}

impl Line {
    fn json(&self) -> serde_json::Value {
        let Self { time, served, surface } = self;
        let micros = |duration: Duration| duration.as_micros() as u64;
        serde_json::json!({
            "time_ms": time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            "peer": served.peer.to_string(),
            "method": served.method.as_str(),
            "path": served.path,
            "surface": surface,
            "status": served.status.as_u16(),
            "bytes_promised": served.bytes_promised,
            "bytes_sent": served.bytes_sent,
            "way": if served.by_system { "sendfile" } else { "copy" },
            "first_byte_us": micros(served.first_byte),
            "elapsed_us": micros(served.elapsed),
            "trace": served.trace,
        })
    }
}

/// Tells of the requests of one listener.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// A line for each request, if one is wanted.
    pub log: Option<Arc<AccessLog>>,
    /// What the listener is for, if all of it is one thing.
    pub surface: Option<&'static str>,
}

impl Reporter {
    pub(crate) fn began(&self) {
        self.metrics.in_flight.inc();
    }

    pub(crate) fn finished(&self, served: &ServedRequest) {
        let surface = self.surface.unwrap_or_else(|| surface(&served.path));
        self.metrics.in_flight.dec();
        self.metrics.note(served, surface);
        if self.log.as_ref().is_some_and(|log| !log.note(served.clone(), surface)) {
            self.metrics.dropped.inc();
        }
    }

    pub(crate) fn connection(&self) -> Connected {
        self.metrics.connections.inc();
        Connected(self.metrics.clone())
    }
}

/// An open connection, counted while it lives.
pub(crate) struct Connected(Arc<Metrics>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

fn surface(path: &str) -> &'static str {
    let first = path.strip_prefix('/').map_or("", |rest| rest.split('/').next().unwrap_or_default());
    ["data", "ipfs", "piece", "outboard", "s3", "health"].into_iter().find(|name| *name == first).unwrap_or("other")
}

/// Writes `Traceparent` (the client's trace, or a new one) and `Server-Timing` to an answer; gives the trace's id.
pub(crate) fn trace(asked: Option<&HeaderValue>, answer: &mut HeaderMap, started: Instant) -> String {
    let given = asked.and_then(|value| value.to_str().ok()).filter(|text| is_traceparent(text));
    let parent = given.map_or_else(new_traceparent, str::to_owned);
    let timing = format!("prepare;dur={:.3}", started.elapsed().as_secs_f64() * 1e3);
    for (name, text) in [(TRACEPARENT, &parent), (SERVER_TIMING, &timing)] {
        answer.insert(name, HeaderValue::from_str(text).expect("digits and letters"));
    }
    parent[3..35].to_owned()
}

pub(crate) fn asked_trace(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(TRACEPARENT).cloned()
}

/// `00-`, 32 digits of the trace, 16 of the span, 2 of flags; in lower case, and not all nought.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let lengths = parts.iter().map(|part| part.len()).eq([2, 32, 16, 2]);
    let named = |part: &str| part.bytes().any(|byte| byte != b'0');
    lengths && parts[0] == "00" && parts.iter().all(|part| hex(part)) && named(parts[1]) && named(parts[2])
}

fn new_traceparent() -> String {
    // Keys of the process's hash maps are random; a trace's id has to be new, not secret.
    let random = || RandomState::new().hash_one(SystemTime::now()) | 1;
    format!("00-{:016x}{:016x}-{:016x}-00", random(), random(), random())
}

/// Answers `GET /metrics` on a listener of its own until `shutdown` completes.
pub async fn serve_metrics(listener: TcpListener, metrics: Arc<Metrics>, shutdown: impl Future<Output = ()> + Send) {
    let scrapers = Arc::new(Semaphore::new(SCRAPERS_MAX));
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(permit) = scrapers.clone().try_acquire_owned() else { continue };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = scraped(&metrics, &request);
                async { Ok::<_, hyper::http::Error>(answer) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(SCRAPE_TIME).keep_alive(false);
            let serving = builder.serve_connection(TokioIo::new(stream), service);
            _ = tokio::time::timeout(SCRAPE_TIME, serving).await;
            drop(permit);
        });
    }
}

fn scraped(metrics: &Metrics, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, text) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, metrics.text()),
        _ => (StatusCode::NOT_FOUND, "only /metrics is here\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_kept_if_it_is_one() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good) && is_traceparent(&new_traceparent()));
        for bad in ["", "00", &good[1..], &good.to_uppercase(), &good.replace('b', "0-"), &format!("{good}-x")] {
            assert!(!is_traceparent(bad), "{bad}");
        }
        let mut answer = HeaderMap::new();
        let asked = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(trace(Some(&asked), &mut answer, Instant::now()), good[3..35]);
        assert_eq!(answer[TRACEPARENT], good);
    }

    #[test]
    fn a_path_names_its_surface() {
        for (path, expected) in
            [("/data/x/y", "data"), ("/s3", "s3"), ("/health", "health"), ("/x", "other"), ("", "other")]
        {
            assert_eq!(surface(path), expected, "{path}");
        }
    }
}
