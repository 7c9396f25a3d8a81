//! The loop in front of the HTTP library: ranges of plain files by `sendfile`.
//!
//! 1. A connection that waits for a request holds a socket and no buffer.
//! 2. A head that came is looked at ([`crate::head`]). Anything but a plain GET or HEAD of an object is handed over: the
//!    library gets the socket and every byte that was read, and keeps the connection until it ends.
//! 3. The answer is prepared by the same functions as for the library (`routes`, `answer`): one place decides what a request
//!    means. If its body is not a range of a plain file, and no short text, the request is handed over, too, before a byte of
//!    it is read: a read may wait for a network, and this thread has other connections.
//! 4. The head is written, then the system moves the file's bytes to the socket. What came behind the request (pipelining)
//!    waits until the answer is out.
//!
//! A read of the disk blocks the thread that serves the connection, as it does in any server that calls `sendfile` without
//! help threads; [`SEND_MAX`] bounds for how long. A peer that closed its sending side still gets its answer.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use hyper::header::ACCEPT;
use hyper::{HeaderMap, StatusCode};
use rustix::fs::sendfile;
use rustix::net::{SendFlags, send};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::answer::{self, Payload, Prepared, RequestHead, Sending};
use super::body::Handed;
use super::connection::{InFlight, Meter, head_bytes};
use super::socket::Socket;
use super::{Gateway, report, request_span, routes, shown};
use crate::head::{Head, PlainHead, parse};

/// Most bytes that one call moves: some hundred microseconds from memory, some milliseconds from a disk.
const SEND_MAX: u64 = 2 << 20;
/// Bytes that one read takes; a longer head takes several.
const READ_BYTES: usize = 4 << 10;

/// How the loop left a connection.
pub(crate) enum Left {
    /// It is over.
    Ended,
    /// The library goes on with it, beginning with these bytes.
    HandedOver { unread: Vec<u8> },
}

/// Serves a connection as far as its requests are plain.
///
/// # Errors
/// The socket failed, the peer took no byte for too long, or a file shrank while it was sent.
pub(crate) async fn run(
    gateway: &Gateway,
    socket: &mut Socket,
    meter: &Arc<Meter>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<Left> {
    let mut unread = Vec::new();
    let mut patience = gateway.options.head_timeout;
    loop {
        let head = tokio::select! {
            read = read_head(gateway, socket, &mut unread, patience) => read?,
            () = async { _ = stopping.wait_for(|stop| *stop).await }, if unread.is_empty() => return Ok(Left::Ended),
        };
        let mut head = match head {
            Some(Head::Plain(head)) => head,
            Some(_) => return Ok(Left::HandedOver { unread }),
            None => return Ok(Left::Ended),
        };
        head.close |= *stopping.borrow() || meter.is_used_up();
        let (bytes, close) = (head.bytes, head.close);
        if !answer(gateway, &socket.stream, meter, head).await? {
            return Ok(Left::HandedOver { unread });
        }
        if close {
            return Ok(Left::Ended);
        }
        patience = gateway.options.idle_timeout;
        unread.drain(..bytes);
        if unread.is_empty() {
            unread = Vec::new();
        }
    }
}

/// Reads until there is a head; nothing if the peer is gone, or says nothing for `patience`, or then is too slow.
async fn read_head(
    gateway: &Gateway,
    socket: &mut Socket,
    unread: &mut Vec<u8>,
    patience: Duration,
) -> io::Result<Option<Head>> {
    let options = &gateway.options;
    if unread.is_empty() && !matches!(timeout(patience, read_some(socket, unread)).await, Ok(Ok(1..))) {
        return Ok(None);
    }
    let reading = async {
        loop {
            match parse(unread) {
                Head::Partial if unread.len() <= options.head_bytes_max => {}
                Head::Partial => return Ok(Some(Head::Foreign)),
                head => return Ok(Some(head)),
            }
            if read_some(socket, unread).await? == 0 {
                return Ok(None);
            }
        }
    };
    timeout(options.head_timeout, reading).await.unwrap_or(Ok(None))
}

/// Waits for bytes and appends them; says how many, 0 at the end. While it waits there is no buffer.
async fn read_some(socket: &mut Socket, unread: &mut Vec<u8>) -> io::Result<usize> {
    poll_fn(|context| {
        let mut bytes = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer))?;
        unread.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

/// Whether the loop may prepare the answer: an object's path, of a format that is never made while it is sent.
fn is_eligible(gateway: &Gateway, head: &PlainHead) -> bool {
    let target = head.path.len() + head.query.as_ref().map_or(0, |query| query.len() + 1);
    let limits = target <= gateway.options.target_bytes_max && head.headers.len() <= gateway.options.headers_max;
    let mounted = gateway.options.mounts.iter().any(|mount| mount.takes(&head.path));
    let negotiated = || head.query.is_some() || head.headers.get_all(ACCEPT).iter().any(names_a_format);
    let object = head.path.starts_with("/data/") || (head.path.starts_with("/ipfs/") && !negotiated());
    limits && object && !mounted
}

fn names_a_format(accept: &hyper::header::HeaderValue) -> bool {
    accept.as_bytes().windows(4).any(|window| window.eq_ignore_ascii_case(b"/vnd"))
}

/// Answers one request; `false` if it is for the library and nothing was written.
async fn answer(gateway: &Gateway, stream: &TcpStream, meter: &Meter, plain: PlainHead) -> io::Result<bool> {
    if !is_eligible(gateway, &plain) {
        return Ok(false);
    }
    let Ok(permit) = gateway.transfers.clone().try_acquire_owned() else { return Ok(false) };
    let started = Instant::now();
    let span = request_span(&plain.method, &plain.path);
    let PlainHead { method, path, query, headers, close, .. } = plain;
    let head = RequestHead { method, path, query, headers };
    let prepared = span.in_scope(|| {
        routes::prepare(&gateway.source, &head, Sending::Files, gateway.options.gatekeeper.as_deref())
            .unwrap_or_else(|rejection| answer::refused(&head, &rejection))
    });
    let Prepared { status, mut headers, payload, account } = prepared;
    let (text, range) = match payload {
        Payload::Stream { .. } | Payload::Unread => return Ok(false),
        Payload::None => (None, None),
        Payload::Text(text) => (Some(text), None),
        Payload::File { range, reader } => (None, Some((reader, range))),
    };
    span.record("status", status.as_u16());
    let reported = gateway.options.reporter.is_some();
    let trace = reported.then(|| report::trace(head.headers.get("traceparent"), &mut headers, started));
    let handed = Arc::new(Handed::default());
    let text_bytes = text.as_ref().map_or(0, |text| text.len());
    meter.begin(InFlight {
        span,
        started,
        path: shown(&head.path).to_owned(),
        status,
        head_bytes: head_bytes(status, &headers) + if close { CLOSE.len() as u64 } else { 0 },
        bytes_promised: range.as_ref().map_or(text_bytes as u64, |(_, range)| range.len()),
        handed: handed.clone(),
        method: head.method,
        account,
        first_byte: started.elapsed(),
        by_system: range.is_some(),
        trace,
    });
    handed.add(text_bytes);
    let mut first = written_head(status, &headers, close);
    first.extend_from_slice(text.as_deref().unwrap_or_default());
    let writer = Writer { stream, meter, stall: gateway.options.write_stall };
    writer.send(&first, range.is_some()).await?;
    if let Some((reader, range)) = &range {
        let (file, begin) = reader.plain_file().expect("asked before the range was promised");
        writer.send_file(file, begin + range.first, range.len(), &handed).await?;
    }
    drop(permit);
    meter.finish();
    Ok(true)
}

const CLOSE: &str = "connection: close\r\n";

/// Status line and headers, as the library writes them.
fn written_head(status: StatusCode, headers: &HeaderMap, close: bool) -> Vec<u8> {
    let mut head = Vec::with_capacity(1024);
    head.extend_from_slice(b"HTTP/1.1 ");
    head.extend_from_slice(status.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    head.extend_from_slice(b"\r\n");
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    if close {
        head.extend_from_slice(CLOSE.as_bytes());
    }
    head.extend_from_slice(b"date: ");
    head.extend_from_slice(httpdate::fmt_http_date(SystemTime::now()).as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    head
}

struct Writer<'a> {
    stream: &'a TcpStream,
    meter: &'a Meter,
    stall: Duration,
}

impl Writer<'_> {
    /// Repeats a write that does not block until it has taken something.
    async fn take(&self, mut write: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
        loop {
            match self.stream.try_io(Interest::WRITABLE, || write().map_err(io::Error::from)) {
                Ok(count) => {
                    self.meter.add_written(count as u64);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let stalled = || {
                        let text = format!("the peer took no byte for {} s", self.stall.as_secs());
                        io::Error::new(io::ErrorKind::TimedOut, text)
                    };
                    timeout(self.stall, self.stream.writable()).await.map_err(|_| stalled())??;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// All of some bytes; with more to come, the system may wait for it before it sends a packet.
    async fn send(&self, bytes: &[u8], more: bool) -> io::Result<()> {
        let flags = if more { SendFlags::MORE | SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL };
        let mut left = bytes;
        while !left.is_empty() {
            let count = self.take(|| send(self.stream.as_fd(), left, flags)).await?;
            left = &left[count..];
        }
        Ok(())
    }

    /// A range of a file.
    async fn send_file(&self, file: &File, offset: u64, bytes: u64, handed: &Handed) -> io::Result<()> {
        let (mut at, end) = (offset, offset + bytes);
        while at < end {
            let count = (end - at).min(SEND_MAX) as usize;
            let sent = self.take(|| sendfile(self.stream.as_fd(), file.as_fd(), Some(&mut at), count)).await?;
            if sent == 0 {
                let error = format!("the file ends at byte {at}, {} bytes before the end of the answer", end - at);
                tracing::error!(error, "the connection is cut");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error));
            }
            handed.add(sent);
            // Other connections of this thread get their turn.
            tokio::task::consume_budget().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_as_long_as_the_meter_counts() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, hyper::header::HeaderValue::from_static("x"));
        for status in [StatusCode::OK, StatusCode::PARTIAL_CONTENT, StatusCode::RANGE_NOT_SATISFIABLE] {
            let written = written_head(status, &headers, false);
            assert_eq!(written.len() as u64, head_bytes(status, &headers));
            assert!(written.ends_with(b"\r\n\r\n"));
        }
    }
}
