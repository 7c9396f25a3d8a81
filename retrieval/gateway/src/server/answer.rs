//! From an object to an answer: conditions, range, headers, first chunk.
//!
//! This is the part of a request that may block, and it knows nothing of sockets: it takes the head of a request and
//! a source, and gives a status, headers and where the body comes from. The order is that of RFC 9110 13.2.2:
//!
//! 1. find the object (404 before any condition);
//! 2. `If-Match`, then `If-None-Match`;
//! 3. `Range`, for GET alone and only if `If-Range` agrees; other methods ignore it (RFC 9110 14.2);
//! 4. leave of the gatekeeper for the bytes that this comes to, before anything of 2 and 3 is told;
//! 5. for GET, read the first chunk, so that an unreadable file is an error status and not a broken 200.
//!
//! Where nothing is read, since reading may wait for a network, an object that is no plain file is left alone after 3.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION, RANGE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, StatusCode};

use super::body::{ChunkSource, RangeChunks};
use super::rejection::RequestRejection;
use super::shown;
use crate::conditional::{self, ETag, Precondition};
use crate::gate::{Account, Asked, Gatekeeper, Leave, Refusal, Subject};
use crate::range::{self, ByteRange, Selection};
use crate::source::{ContentSource, RangeReader, Resource, SourceError};

/// For names that always mean the same bytes.
pub(crate) const CACHE_IMMUTABLE: &str = "public, max-age=29030400, immutable";
/// For names that may be given to other bytes.
pub(crate) const CACHE_NAMED: &str = "public, max-age=5";
/// For what must be asked anew every time.
pub(crate) const CACHE_NEVER: &str = "no-store";

/// Headers that most answers have, at least: a map of them never grows.
const HEADERS: usize = 12;

/// What the routes answer to.
const METHODS: &str = "GET, HEAD, OPTIONS";
/// Headers that a page of another origin may send; credentials are in one of them, never in a cookie.
const REQUEST_HEADERS: &str = "Accept, Authorization, Cache-Control, If-Match, If-None-Match, If-Range, Payment-Signature, \
                               Range, Traceparent";
/// A day: what may be asked never changes while a gateway runs.
const PREFLIGHT_SECONDS: u64 = 86_400;
const EXPOSED: &str = "Accept-Ranges, Content-Length, Content-Range, ETag, Payment-Required, Payment-Response, Retry-After, \
                       X-Content-Cid, X-Ipfs-Path, X-Ipfs-Roots, X-Piece-Cid, X-Proof-Bytes, X-Served-Group";

/// The head of a request, as far as answers depend on it.
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    /// Raw path, still percent-encoded.
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
}

/// An object that was found, with what its answer says about it.
pub(crate) struct Found {
    pub(crate) subject: Subject,
    pub(crate) etag: ETag,
    pub(crate) cache_control: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) more: Vec<(HeaderName, HeaderValue)>,
    pub(crate) content: Content,
}

/// What there is to send.
pub(crate) enum Content {
    /// Bytes at any offset.
    Bytes(Resource),
    /// Bytes in one order only, of unknown number: an archive that is made while it is sent.
    Stream(Box<dyn ChunkSource>),
}

impl Content {
    /// See [`crate::source::RangeReader::plain_file`].
    fn is_plain_file(&self) -> bool {
        match self {
            Self::Bytes(resource) => resource.reader.plain_file().is_some(),
            Self::Stream(_) => false,
        }
    }
}

/// How bodies leave: what is read from the source, or what the system reads by itself.
#[derive(Clone, Copy)]
pub(crate) enum Sending {
    /// All bytes are read, in chunks of so many.
    Chunks(usize),
    /// Nothing is read: ranges of plain files are left to the system, and everything else to somebody who may wait.
    Files,
}

/// Where the body of an answer comes from.
pub(crate) enum Payload {
    None,
    Text(Bytes),
    /// So many bytes, or nobody knows how many; the first chunk was read.
    Stream {
        length: Option<u64>,
        first: Option<Bytes>,
        source: Box<dyn ChunkSource>,
    },
    /// A range of an object whose reader has a plain file.
    File {
        range: ByteRange,
        reader: Box<dyn RangeReader>,
    },
    /// Bytes that have to be read, where nothing is read ([`Sending::Files`]). Nobody was asked for leave: the request is to be
    /// prepared once more by who reads.
    Unread,
}

/// An answer before it is tied to a connection.
pub(crate) struct Prepared {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// Hears what was sent.
    pub(crate) account: Option<Arc<dyn Account>>,
}

/// A header value from text of this crate, which is always printable ASCII.
pub(crate) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("header text of this crate is printable ASCII")
}

/// Headers that every answer carries.
fn common_headers() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers
}

/// Asks for leave to send `bytes` of an object; everybody has it where nobody is to be asked.
fn leave(
    head: &RequestHead,
    subject: &Subject,
    bytes: Option<u64>,
    source: &dyn ContentSource,
    gate: Option<&dyn Gatekeeper>,
) -> Result<Leave, RequestRejection> {
    let Some(gate) = gate else { return Ok(Leave::default()) };
    let RequestHead { method, path, query, headers } = head;
    let bytes = if *method == Method::HEAD { Some(0) } else { bytes };
    let asked = Asked { method, path, query: query.as_deref(), headers, subject, bytes, source };
    gate.admit(&asked).map_err(RequestRejection::Refused)
}

/// Answers a request for an object that exists.
///
/// # Errors
/// No leave, a failed precondition, an unsatisfiable range, or a first chunk that cannot be read.
pub(crate) fn object(
    head: &RequestHead,
    found: Found,
    sending: Sending,
    source: &dyn ContentSource,
    gate: Option<&dyn Gatekeeper>,
) -> Result<Prepared, RequestRejection> {
    let outcome = conditional::evaluate(&head.headers, &found.etag);
    let selection = match &found.content {
        Content::Bytes(resource) => Some((requested_range(head, &found.etag, resource.bytes), resource.bytes)),
        Content::Stream(_) => None,
    };
    let bytes = match (&outcome, &selection) {
        (Precondition::Proceed, None) => None,
        (Precondition::Proceed, Some((Selection::Whole, bytes))) => Some(*bytes),
        (Precondition::Proceed, Some((Selection::Part(range), _))) => Some(range.len()),
        _ => Some(0),
    };
    let sends = head.method == Method::GET && bytes != Some(0);
    if sends && matches!(sending, Sending::Files) && !found.content.is_plain_file() {
        return Ok(unread());
    }
    let leave = leave(head, &found.subject, bytes, source, gate)?;
    let mut headers = common_headers();
    headers.insert(ETAG, value(&found.etag.to_string()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control(found.cache_control, leave.private)));
    headers.extend(found.more);
    headers.extend(leave.headers);
    let account = leave.account;
    match outcome {
        Precondition::Failed => return Err(RequestRejection::Precondition { etag: found.etag.to_string() }),
        Precondition::NotModified => {
            return Ok(Prepared { status: StatusCode::NOT_MODIFIED, headers, payload: Payload::None, account });
        }
        Precondition::Proceed => {}
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(found.content_type));
    let (resource, (selection, bytes)) = match (found.content, selection) {
        (Content::Bytes(resource), Some(selection)) => (resource, selection),
        (Content::Stream(source), _) => {
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
            let source: Box<dyn ChunkSource> = match &account {
                Some(account) => Box::new(CountedChunks { source, account: account.clone() }),
                None => source,
            };
            let get = head.method == Method::GET;
            let payload = if get { start_stream(None, source)? } else { Payload::None };
            return Ok(Prepared { status: StatusCode::OK, headers, payload, account });
        }
        (Content::Bytes(_), None) => unreachable!("bytes were selected above"),
    };
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let (status, range) = match selection {
        Selection::Unsatisfiable => return Err(RequestRejection::Range { bytes }),
        Selection::Whole if bytes == 0 => (StatusCode::OK, None),
        Selection::Whole => (StatusCode::OK, Some(ByteRange { first: 0, last: bytes - 1 })),
        Selection::Part(range) => {
            headers.insert(CONTENT_RANGE, value(&format!("bytes {}-{}/{bytes}", range.first, range.last)));
            (StatusCode::PARTIAL_CONTENT, Some(range))
        }
    };
    headers.insert(CONTENT_LENGTH, range.map_or(0, |range| range.len()).into());
    let payload = match (range.filter(|_| head.method == Method::GET), sending) {
        (None, _) => Payload::None,
        (Some(range), Sending::Files) => Payload::File { range, reader: resource.reader },
        (Some(range), Sending::Chunks(bytes)) => {
            start_stream(Some(range.len()), Box::new(RangeChunks::new(resource.reader, range, bytes)))?
        }
    };
    Ok(Prepared { status, headers, payload, account })
}

fn cache_control(public: &'static str, private: bool) -> &'static str {
    match public {
        CACHE_IMMUTABLE if private => "private, max-age=29030400, immutable",
        CACHE_NAMED if private => "private, max-age=5",
        other => other,
    }
}

/// Chunks of unknown number, each sent with leave.
struct CountedChunks {
    source: Box<dyn ChunkSource>,
    account: Arc<dyn Account>,
}

impl ChunkSource for CountedChunks {
    fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let chunk = self.source.next_chunk()?;
        if let Some(chunk) = &chunk {
            self.account.more(chunk.len() as u64).map_err(io::Error::other)?;
        }
        Ok(chunk)
    }
}

/// The refusal inside an error of reading, if that is what stopped it.
pub(crate) fn refusal_in(error: &io::Error) -> Option<Refusal> {
    let inner = error.get_ref()?;
    let of_source = inner.downcast_ref::<SourceError>().and_then(|error| match error {
        SourceError::Refused(refusal) => Some(refusal),
        _ => None,
    });
    of_source.or_else(|| inner.downcast_ref()).cloned()
}

fn requested_range(head: &RequestHead, etag: &ETag, bytes: u64) -> Selection {
    let mut lines = head.headers.get_all(RANGE).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) if head.method == Method::GET && conditional::range_is_current(&head.headers, etag) => {
            range::select(line.as_bytes(), bytes)
        }
        // None, or two headers that contradict each other.
        _ => Selection::Whole,
    }
}

fn start_stream(length: Option<u64>, mut source: Box<dyn ChunkSource>) -> Result<Payload, RequestRejection> {
    let first = source.next_chunk().map_err(|error| match refusal_in(&error) {
        Some(refusal) => RequestRejection::Refused(refusal),
        None => SourceError::of_read(error, "an object of the store").into(),
    })?;
    Ok(Payload::Stream { length, first, source })
}

/// What there is to say where nothing is read.
fn unread() -> Prepared {
    Prepared { status: StatusCode::OK, headers: HeaderMap::new(), payload: Payload::Unread, account: None }
}

/// Answers with another place to ask.
pub(crate) fn moved(location: &str) -> Prepared {
    let mut headers = common_headers();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(CACHE_IMMUTABLE));
    headers.insert(LOCATION, value(location));
    headers.insert(CONTENT_LENGTH, 0.into());
    Prepared { status: StatusCode::MOVED_PERMANENTLY, headers, payload: Payload::None, account: None }
}

/// Tells a browser what a page of another origin may ask (a CORS preflight); it is the same for every path.
pub(crate) fn preflight() -> Prepared {
    let mut headers = common_headers();
    headers.insert(ALLOW, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS.into());
    Prepared { status: StatusCode::NO_CONTENT, headers, payload: Payload::None, account: None }
}

/// Answers with JSON that is made at this moment.
pub(crate) fn json(head: &RequestHead, status: StatusCode, body: &serde_json::Value) -> Prepared {
    let text = Bytes::from(body.to_string());
    let mut headers = common_headers();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(CACHE_NEVER));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, (text.len() as u64).into());
    let payload = if head.method == Method::HEAD { Payload::None } else { Payload::Text(text) };
    Prepared { status, headers, payload, account: None }
}

/// Answers a request that is refused.
pub(crate) fn refused(head: &RequestHead, rejection: &RequestRejection) -> Prepared {
    if let RequestRejection::Store(error) = rejection {
        tracing::error!(%error, "the store failed");
    }
    let what = shown(&head.path);
    let body = serde_json::json!({ "error": rejection.code(), "message": rejection.to_string(), "what": what });
    let mut prepared = json(head, rejection.status(), &body);
    match rejection {
        RequestRejection::Method => {
            prepared.headers.insert(ALLOW, HeaderValue::from_static(METHODS));
        }
        RequestRejection::Range { bytes } => {
            prepared.headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            prepared.headers.insert(CONTENT_RANGE, value(&format!("bytes */{bytes}")));
        }
        RequestRejection::Precondition { etag } => {
            prepared.headers.insert(ETAG, value(etag));
        }
        RequestRejection::Refused(refusal) => prepared.headers.extend(refusal.headers.iter().cloned()),
        RequestRejection::Busy { retry_after_seconds, .. }
        | RequestRejection::Store(SourceError::Unavailable { retry_after_seconds, .. }) => {
            prepared.headers.insert(RETRY_AFTER, (*retry_after_seconds).into());
        }
        _ => {}
    }
    prepared
}
