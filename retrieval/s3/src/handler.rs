//! The interface as a handler that a gateway mounts: authorises, finds, answers.
//!
//! Everything that may block (finding, sorting, opening) runs on the blocking pool; bodies of objects stream from there in
//! chunks. Every answer carries `x-amz-request-id`; a refusal is XML with the code of S3, without a body for HEAD.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use cairn_content::{Dataset, FileEntry};
use cairn_gateway::{
    MountedAnswer, MountedBody, MountedHandler, RangeReader, Resource, SourceError, media_type, range_body,
};
use cid::Cid;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};

use crate::access::AccessKeys;
use crate::bucket::{self, IndexCache, Shelf};
use crate::error::{ErrorCode, S3Rejection};
use crate::ingest::folder::Keys;
use crate::ingest::receive::BodyReader;
use crate::ingest::{IngestFolder, WriteAction};
use crate::object::{self, ObjectInfo};
use crate::request::{self, Action, RequestHead, Target};
use crate::{listing, time, xml};

const X_AMZ_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const X_AMZ_BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");
const X_CAIRN_ROOT: HeaderName = HeaderName::from_static("x-cairn-root");

/// For a bucket that is a root CID.
const CACHE_IMMUTABLE: &str = "public, max-age=29030400, immutable";
/// For a bucket that is a name.
const CACHE_NAMED: &str = "public, max-age=5";

/// The clock; a test brings its own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What an interface needs to know.
#[derive(Clone)]
pub struct S3Options {
    /// Where it is mounted, without a slash at the end; empty for a listener of its own.
    pub prefix: String,
    /// The region that signatures must name. Default `us-east-1`, which clients take unasked.
    pub region: String,
    /// Who may read.
    pub keys: AccessKeys,
    /// Bytes of a read from the disk. Default 256 KiB.
    pub chunk_bytes: usize,
    /// Where buckets are written, if they may be.
    pub ingest: Option<Arc<IngestFolder>>,
    /// The time.
    pub clock: Clock,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            region: "us-east-1".into(),
            keys: AccessKeys::open(),
            chunk_bytes: 256 << 10,
            ingest: None,
            clock: Arc::new(SystemTime::now),
        }
    }
}

impl std::fmt::Debug for S3Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Options").field("prefix", &self.prefix).field("region", &self.region).finish_non_exhaustive()
    }
}

/// Datasets as buckets.
pub struct S3Handler {
    inner: Arc<Inner>,
    /// Distinguishes the requests of one process in its logs and answers.
    next_request: AtomicU64,
}

struct Inner {
    shelf: Arc<dyn Shelf>,
    options: S3Options,
    indexes: IndexCache,
}

impl S3Handler {
    /// Serves what is on a shelf.
    pub fn new(shelf: Arc<dyn Shelf>, options: S3Options) -> Self {
        let inner = Arc::new(Inner { shelf, options, indexes: IndexCache::default() });
        Self { inner, next_request: AtomicU64::new(1) }
    }
}

impl MountedHandler for S3Handler {
    fn answer(&self, request: Request<Incoming>) -> MountedAnswer<'_> {
        let request_id = format!("{:016x}", self.next_request.fetch_add(1, Ordering::Relaxed));
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let (go, gone) = oneshot::channel();
            let (frames, reader) = mpsc::channel(4);
            let mut reader = BodyReader::new(go, reader);
            let inner = Arc::clone(&self.inner);
            let span = tracing::Span::current();
            let answering = tokio::task::spawn_blocking(move || {
                let _entered = span.entered();
                inner.respond(parts, &mut reader, &request_id)
            });
            // The word comes when the head was accepted; else the answer is on its way, and the body is left alone.
            if gone.await.is_ok() {
                forward(body, &frames).await;
            }
            drop(frames);
            answering.await.unwrap_or_else(|lost| {
                tracing::error!(%lost, "an answer was lost");
                let mut response = Response::new(empty());
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            })
        })
    }
}

impl Inner {
    /// Never fails: a refusal is an answer too.
    fn respond(&self, parts: Parts, body: &mut BodyReader, request_id: &str) -> Response<MountedBody> {
        let (path, method) = (parts.uri.path().to_owned(), parts.method.clone());
        let head = RequestHead::new(parts.method, &path, parts.uri.query(), parts.headers);
        let answered = head.and_then(|head| self.answer(&head, body));
        let mut response = answered.unwrap_or_else(|rejection| refused(&rejection, &method, &path, request_id));
        response.headers_mut().insert(X_AMZ_REQUEST_ID, text_value(request_id));
        response
    }

    fn answer(&self, head: &RequestHead, body: &mut BodyReader) -> Result<Response<MountedBody>, S3Rejection> {
        let options = &self.options;
        if let Some(answer) = self.ingest(head, body)? {
            return Ok(answer);
        }
        options.keys.check_read(head, &options.region, time::seconds((options.clock)()))?;
        let Target { bucket, key, action } = request::target(head, &options.prefix)?;
        if let Action::ListBuckets { prefix, after, max_buckets } = &action {
            return Ok(document(head, self.buckets(prefix, after, *max_buckets), &[]));
        }
        let dataset = self.shelf.dataset(&bucket).ok_or(ErrorCode::NoSuchBucket)?;
        let about = [(X_AMZ_BUCKET_REGION, options.region.clone()), (X_CAIRN_ROOT, dataset.root().to_string())];
        match action {
            Action::ListBuckets { .. } => unreachable!("answered above"),
            Action::HeadBucket => Ok(document(head, String::new(), &about)),
            Action::GetBucketLocation => Ok(document(head, xml::location(&options.region), &about)),
            Action::GetBucketVersioning => Ok(document(head, xml::versioning(), &about)),
            Action::ListObjects(query) => {
                let page = listing::page(self.indexes.of(&dataset).as_ref(), &query)?;
                Ok(document(head, xml::objects(&bucket, &query, &page), &about))
            }
            Action::GetObject | Action::HeadObject => self.object(head, &dataset, &bucket, &key),
        }
    }

    /// Answers what has to do with buckets that are being written; nothing if the request is about something else.
    fn ingest(&self, head: &RequestHead, body: &mut BodyReader) -> Result<Option<Response<MountedBody>>, S3Rejection> {
        let options = &self.options;
        let Some(folder) = &options.ingest else { return Ok(None) };
        let (bucket, key) = request::place(head, &options.prefix)?;
        let action = WriteAction::read(head, key)?;
        if bucket.is_empty() || (action.is_none() && !folder.has(bucket)) {
            return Ok(None);
        }
        let now = (options.clock)();
        let verified = options.keys.check_write(head, &options.region, time::seconds(now))?;
        let Some(action) = action else { return self.written(head, folder).map(Some) };
        if !folder.has(bucket) && self.shelf.dataset(bucket).is_some() {
            return Err(S3Rejection::new(
                ErrorCode::BucketAlreadyExists,
                "a dataset has this name; datasets never change",
            ));
        }
        let seed = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let written = folder.write(action, (bucket, key), (head, &verified), body, seed)?;
        let mut response = document(head, written.text, &[]);
        if written.no_content {
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        if let Some(etag) = written.etag {
            response.headers_mut().insert(ETAG, text_value(&format!("\"{etag}\"")));
        }
        Ok(Some(response))
    }

    /// Reads from a bucket that is being written.
    fn written(&self, head: &RequestHead, folder: &IngestFolder) -> Result<Response<MountedBody>, S3Rejection> {
        let Target { bucket, key, action } = request::target(head, &self.options.prefix)?;
        match action {
            Action::ListBuckets { .. } | Action::HeadBucket => Ok(document(head, String::new(), &[])),
            Action::GetBucketLocation => Ok(document(head, xml::location(&self.options.region), &[])),
            Action::GetBucketVersioning => Ok(document(head, xml::versioning(), &[])),
            Action::ListObjects(query) => {
                let state = folder.state();
                let page = listing::page(&Keys(state.objects(&bucket)?), &query)?;
                Ok(document(head, xml::objects(&bucket, &query, &page), &[]))
            }
            Action::GetObject | Action::HeadObject => {
                let (file, stored) = folder.read(&bucket, &key)?;
                let info = ObjectInfo {
                    size: stored.size,
                    cid: stored.etag,
                    modified: stored.modified,
                    content_type: media_type(&key),
                    cache_control: "no-store",
                    sha256_base64: None,
                };
                let mut answer = object::answer(head, &info)?;
                answer.headers.remove("x-content-cid");
                let body = match answer.range.filter(|_| head.method == Method::GET) {
                    None => empty(),
                    Some(range) => {
                        range_body(Box::new(Opened(file)), range.first, range.len(), self.options.chunk_bytes)
                    }
                };
                let mut response = Response::new(body);
                *response.status_mut() = answer.status;
                *response.headers_mut() = answer.headers;
                Ok(response)
            }
        }
    }

    fn buckets(&self, prefix: &str, after: &str, max_buckets: usize) -> String {
        let mut named: Vec<(String, Arc<Dataset>)> =
            self.shelf.datasets().into_iter().map(|dataset| (bucket::listed_name(&dataset), dataset)).collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        named.dedup_by(|a, b| a.0 == b.0);
        named.retain(|(name, _)| name.starts_with(prefix) && name.as_str() > after);
        let more = named.len() > max_buckets;
        named.truncate(max_buckets);
        let next = named.last().filter(|_| more).map(|(name, _)| name.as_str());
        xml::buckets(named.iter().map(|(name, dataset)| (name.as_str(), dataset.as_ref())), prefix, next)
    }

    /// Opens a file. Bytes that come from afar are tried before the status line goes out.
    fn open(&self, dataset: &Arc<Dataset>, file: &FileEntry, bytes: Range<u64>) -> Result<Resource, S3Rejection> {
        let opened = self.shelf.open_file(dataset, file).and_then(|mut resource| {
            if resource.reader.plain_file().is_none() {
                let first = bytes.start;
                resource.reader.expect(bytes);
                let tried = resource.reader.read_at(first, &mut [0]);
                tried.map_err(|error| SourceError::of_read(error, "a file of a dataset"))?;
            }
            Ok(resource)
        });
        opened.map_err(|error| {
            tracing::error!(%error, "the store failed");
            let busy = matches!(error, SourceError::Unavailable { .. });
            if busy { ErrorCode::SlowDown.into() } else { ErrorCode::InternalError.into() }
        })
    }

    fn object(
        &self,
        head: &RequestHead,
        dataset: &Arc<Dataset>,
        bucket: &str,
        key: &str,
    ) -> Result<Response<MountedBody>, S3Rejection> {
        let file = dataset.file(key).ok_or(ErrorCode::NoSuchKey)?;
        let single_leaf = file.leaf_digests().first().filter(|_| file.leaf_digests().len() == 1);
        let info = ObjectInfo {
            size: file.size,
            cid: file.cid.to_string(),
            modified: bucket::modified(file),
            content_type: media_type(key),
            cache_control: if Cid::try_from(bucket).is_ok() { CACHE_IMMUTABLE } else { CACHE_NAMED },
            sha256_base64: single_leaf.map(|digest| BASE64_STANDARD.encode(digest)),
        };
        let answer = object::answer(head, &info)?;
        let body = match answer.range.filter(|_| head.method == Method::GET) {
            None => empty(),
            Some(range) => {
                let resource = self.open(dataset, file, range.first..range.first + range.len())?;
                range_body(resource.reader, range.first, range.len(), self.options.chunk_bytes)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

/// An object that was opened: a later upload of the same key does not change it.
struct Opened(File);

impl RangeReader for Opened {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(&self.0, buffer, offset)
    }
}

/// How long a body may rest between two frames.
const BODY_STALL: Duration = Duration::from_secs(60);

/// Hands on the frames of a body and, at last, its end.
async fn forward(mut body: Incoming, frames: &mpsc::Sender<Result<Option<Bytes>, S3Rejection>>) {
    loop {
        let next = match tokio::time::timeout(BODY_STALL, body.frame()).await {
            Err(_) => Err(ErrorCode::RequestTimeout.into()),
            Ok(None) => Ok(None),
            Ok(Some(Err(_))) => Err(ErrorCode::IncompleteBody.into()),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => Ok(Some(bytes)),
                Err(_) => continue,
            },
        };
        let last = !matches!(next, Ok(Some(_)));
        if frames.send(next).await.is_err() || last {
            return;
        }
    }
}

fn empty() -> MountedBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("header text of this crate is printable ASCII")
}

/// An answer in XML, never cached. HEAD gets its head.
fn document(head: &RequestHead, text: String, headers: &[(HeaderName, String)]) -> Response<MountedBody> {
    let mut response = xml_response(StatusCode::OK, &head.method, text);
    for (name, value) in headers {
        response.headers_mut().insert(name, text_value(value));
    }
    response
}

fn xml_response(status: StatusCode, method: &Method, text: String) -> Response<MountedBody> {
    let length = text.len() as u64;
    let body = match method {
        &Method::HEAD => empty(),
        _ => Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    headers.insert(CONTENT_LENGTH, length.into());
    response
}

fn refused(rejection: &S3Rejection, method: &Method, path: &str, request_id: &str) -> Response<MountedBody> {
    let resource: String = path.chars().take(256).collect();
    let text = xml::error(rejection, &resource, request_id);
    xml_response(rejection.code.status(), method, text)
}
