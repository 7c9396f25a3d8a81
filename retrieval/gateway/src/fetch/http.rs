//! One HTTP/1.1 request at a time over a connection that can be used again.
//!
//! A connection goes back to its pool only after its answer was read to the end; every other way out drops it, which
//! also tells the server to stop sending. A reused connection that turns out to be closed is replaced once, silently:
//! servers close idle connections whenever they like.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HOST, RANGE, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::error::SourceFault;
use super::url::SourceUrl;
use crate::tls::TlsTrust;

/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most bytes of an error body that are read for its message.
const MESSAGE_BYTES_MAX: usize = 1024;

/// What to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    /// First and last byte.
    Closed(u64, u64),
    /// From a byte to the end.
    From(u64),
}

/// An open connection.
pub(crate) struct Link {
    sender: SendRequest<Empty<Bytes>>,
    _driver: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer whose body is yet to be read.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    ended: bool,
    link: Link,
    stall: Duration,
}

/// Sends a GET and waits for the head of the answer.
///
/// # Errors
/// No connection, a broken one, or silence for longer than `stall`.
pub(crate) async fn get(
    link: Option<Link>,
    url: &SourceUrl,
    path: &str,
    part: Part,
    trust: &TlsTrust,
    stall: Duration,
) -> Result<Reply, SourceFault> {
    if let Some(link) = link {
        match send(link, url, path, part, stall).await {
            Err(SourceFault::Broken { .. }) => {}
            other => return other,
        }
    }
    send(connect(url, trust, stall).await?, url, path, part, stall).await
}

async fn connect(url: &SourceUrl, trust: &TlsTrust, stall: Duration) -> Result<Link, SourceFault> {
    let opened =
        timeout(stall, TcpStream::connect(url.address())).await.map_err(|_| SourceFault::Stalled { after: stall })?;
    let stream = opened.map_err(|error| SourceFault::Unreachable { reason: error.to_string() })?;
    let _ = stream.set_nodelay(true);
    if !url.is_tls() {
        return speak(stream).await;
    }
    let (host, _) = url.address();
    let agreed =
        timeout(stall, trust.connect(host, stream)).await.map_err(|_| SourceFault::Stalled { after: stall })?;
    speak(agreed.map_err(|error| SourceFault::Unreachable { reason: format!("no TLS: {error}") })?).await
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Link, SourceFault> {
    let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX.max(512 << 10)).handshake(TokioIo::new(stream));
    let (sender, connection) = handshake.await.map_err(broken)?;
    let driver = tokio::spawn(async move {
        // Whoever waits for the answer is told of the same error.
        let _ = connection.await;
    });
    Ok(Link { sender, _driver: AbortOnDrop(driver) })
}

async fn send(mut link: Link, url: &SourceUrl, path: &str, part: Part, stall: Duration) -> Result<Reply, SourceFault> {
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(url.target(path))
        .header(HOST, url.authority())
        .header(ACCEPT_ENCODING, "identity");
    match part {
        Part::Whole => {}
        Part::Closed(first, last) => request = request.header(RANGE, format!("bytes={first}-{last}")),
        Part::From(first) => request = request.header(RANGE, format!("bytes={first}-")),
    }
    let request = request.body(Empty::new()).map_err(|error| SourceFault::Mismatch {
        target: path.into(),
        problem: format!("nothing: no request can be made of it ({error})"),
    })?;
    let answer = async {
        link.sender.ready().await?;
        link.sender.send_request(request).await
    };
    let response: Response<Incoming> =
        timeout(stall, answer).await.map_err(|_| SourceFault::Stalled { after: stall })?.map_err(broken)?;
    let (parts, body) = response.into_parts();
    Ok(Reply { status: parts.status, headers: parts.headers, body, ended: false, link, stall })
}

fn broken(error: hyper::Error) -> SourceFault {
    let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
    SourceFault::Broken { reason: format!("{error}{cause}") }
}

impl Reply {
    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// A broken connection (also one that ends before the promised length), or silence for too long.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, SourceFault> {
        loop {
            let frame =
                timeout(self.stall, self.body.frame()).await.map_err(|_| SourceFault::Stalled { after: self.stall })?;
            match frame {
                None => {
                    self.ended = true;
                    return Ok(None);
                }
                Some(Err(error)) => return Err(broken(error)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The connection, if the body was read to its end.
    pub(crate) fn into_link(mut self) -> Option<Link> {
        use hyper::body::Body;
        // The last chunk may have been taken without asking for the end behind it.
        if !self.ended && self.body.is_end_stream() {
            self.ended = true;
        }
        self.ended.then_some(self.link)
    }

    /// Turns an answer other than 200 and 206, or an encoded one, into a fault.
    ///
    /// # Errors
    /// The fault, with the first line of the server's own message.
    pub(crate) async fn check_status(&mut self, target: &str) -> Result<(), SourceFault> {
        if matches!(self.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return match self.headers.get(CONTENT_ENCODING).filter(|encoding| encoding.as_bytes() != b"identity") {
                None => Ok(()),
                Some(encoding) => Err(SourceFault::Mismatch {
                    target: target.into(),
                    problem: format!("Content-Encoding {encoding:?}, which was not accepted"),
                }),
            };
        }
        let (status, target) = (self.status, target.to_owned());
        if status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) {
            let seconds = self.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            return Err(SourceFault::Busy { status, target, retry_after: seconds.map(Duration::from_secs) });
        }
        let message = self.message().await;
        Err(SourceFault::Refused { status, target, message })
    }

    async fn message(&mut self) -> String {
        let mut text = Vec::new();
        while text.len() < MESSAGE_BYTES_MAX {
            match self.chunk().await {
                Ok(Some(chunk)) => text.extend_from_slice(&chunk[..chunk.len().min(MESSAGE_BYTES_MAX - text.len())]),
                _ => break,
            }
        }
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().next().unwrap_or_default();
        line.chars().filter(|character| !character.is_control()).take(300).collect()
    }
}
