//! One TCP connection: how long a stuck peer may hold it, and how many bytes truly left.
//!
//! A reader may be as slow as it likes, as long as it takes a byte now and then: the timer runs only while the socket
//! refuses bytes, and starts anew with every byte that it takes. The same wrapper counts what the socket accepted, so that
//! the log, the metrics and whoever charges for traffic see bytes sent and not bytes promised.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::body::Handed;
use super::{Observer, Reporter};
use crate::gate::Account;

/// A finished request, as the observer sees it.
#[derive(Debug, Clone)]
pub struct ServedRequest {
    /// Who asked.
    pub peer: SocketAddr,
    /// Method of the request.
    pub method: Method,
    /// Path without the query, shortened to 256 bytes.
    pub path: String,
    /// Status that was answered.
    pub status: StatusCode,
    /// Body bytes that the answer promised.
    pub bytes_promised: u64,
    /// Body bytes that the socket accepted; over TLS, that the session took: some 64 KiB may lie between the two.
    pub bytes_sent: u64,
    /// Whether the system moved the body (`sendfile`).
    pub by_system: bool,
    /// From the end of the request head to the beginning of the answer.
    pub first_byte: Duration,
    /// From the end of the request head to the end of the answer.
    pub elapsed: Duration,
    /// The trace that it belongs to, where requests are reported.
    pub trace: Option<String>,
}

/// The answer that is on its way.
pub(crate) struct InFlight {
    pub(crate) span: tracing::Span,
    pub(crate) started: Instant,
    pub(crate) first_byte: Duration,
    pub(crate) by_system: bool,
    pub(crate) trace: Option<String>,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) status: StatusCode,
    pub(crate) head_bytes: u64,
    pub(crate) bytes_promised: u64,
    pub(crate) handed: Arc<Handed>,
    /// Hears what was sent.
    pub(crate) account: Option<Arc<dyn Account>>,
}

/// Counts of one connection, shared by its socket and its service.
pub(crate) struct Meter {
    written: AtomicU64,
    bytes_max: AtomicU64,
    current: Mutex<Option<(InFlight, u64)>>,
    observer: Option<Observer>,
    reporter: Option<Reporter>,
    peer: SocketAddr,
}

impl Meter {
    pub(crate) fn new(observer: Option<Observer>, reporter: Option<Reporter>, peer: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            written: AtomicU64::new(0),
            bytes_max: AtomicU64::new(u64::MAX),
            current: Mutex::new(None),
            observer,
            reporter,
            peer,
        })
    }

    /// Lets the connection give its last answer after so many bytes.
    pub(crate) fn bound(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Whether the next answer is the connection's last.
    pub(crate) fn is_used_up(&self) -> bool {
        self.written.load(Ordering::Relaxed) >= self.bytes_max.load(Ordering::Relaxed)
    }

    /// The socket took bytes.
    pub(crate) fn add_written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The answer's head is about to be written.
    pub(crate) fn begin(&self, in_flight: InFlight) {
        self.finish();
        if let Some(reporter) = &self.reporter {
            reporter.began();
        }
        let written = self.written.load(Ordering::Relaxed);
        *self.current.lock().expect("no panic under this lock") = Some((in_flight, written));
    }

    /// The answer is over: the next request has come, or the connection has ended.
    pub(crate) fn finish(&self) {
        let Some((request, written_before)) = self.current.lock().expect("no panic under this lock").take() else {
            return;
        };
        let left_socket = self.written.load(Ordering::Relaxed) - written_before;
        let served = ServedRequest {
            peer: self.peer,
            bytes_sent: left_socket.saturating_sub(request.head_bytes).min(request.handed.bytes()),
            by_system: request.by_system,
            first_byte: request.first_byte,
            elapsed: request.started.elapsed(),
            trace: request.trace,
            method: request.method,
            path: request.path,
            status: request.status,
            bytes_promised: request.bytes_promised,
        };
        request.span.record("bytes", served.bytes_sent);
        if served.bytes_sent < served.bytes_promised {
            request.span.record("error", "the transfer ended early");
        }
        if let Some(account) = request.account {
            account.sent(served.bytes_sent);
        }
        let _entered = request.span.enter();
        tracing::debug!(seconds = served.elapsed.as_secs_f64(), "served");
        if let Some(observer) = &self.observer {
            observer(&served);
        }
        if let Some(reporter) = &self.reporter {
            reporter.finished(&served);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Bytes of a response head as hyper writes it, the `date` it adds included.
pub(crate) fn head_bytes(status: StatusCode, headers: &HeaderMap) -> u64 {
    let reason = status.canonical_reason().map_or(0, str::len);
    let lines: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len();
    ("HTTP/1.1 200 \r\n".len() + reason + lines + date + 2) as u64
}

/// A socket that gives up when its peer takes nothing for too long, and counts what it took.
pub(crate) struct MeteredStream<S> {
    inner: S,
    /// What was read before, and is to be read first.
    unread: Vec<u8>,
    meter: Arc<Meter>,
    write_stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> MeteredStream<S> {
    /// A socket of which `unread` was read already.
    pub(crate) fn new(inner: S, unread: Vec<u8>, meter: Arc<Meter>, write_stall: Duration) -> Self {
        Self { inner, unread, meter, write_stall, stalled: None }
    }

    fn after_write(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = written {
            self.meter.add_written(count as u64);
        }
        self.patiently(cx, written)
    }

    /// What the socket did, or an error if it has done nothing for too long.
    fn patiently<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.stalled = None;
            return done;
        }
        let stall = self.write_stall;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        timer.as_mut().poll(cx).map(|()| {
            let text = format!("the peer took no byte for {} s", stall.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread[..count]);
            self.unread.drain(..count);
            if self.unread.is_empty() {
                self.unread = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.after_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.after_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.patiently(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.patiently(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{CONTENT_LENGTH, HeaderValue};

    use super::*;

    #[test]
    fn a_connection_is_used_up_after_the_bytes_that_it_may_write() {
        let meter = Meter::new(None, None, "127.0.0.1:1".parse().unwrap());
        meter.add_written(u64::MAX - 1);
        assert!(!meter.is_used_up(), "nothing bounds a socket in the clear");
        let meter = Meter::new(None, None, "127.0.0.1:1".parse().unwrap());
        meter.bound(10);
        meter.add_written(9);
        assert!(!meter.is_used_up());
        meter.add_written(1);
        assert!(meter.is_used_up());
    }

    #[test]
    fn head_is_counted_as_written() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        assert_eq!(head_bytes(StatusCode::OK, &headers), text.len() as u64);
    }
}
