//! The interface as a handler that a gateway mounts: authorises, finds, asks for leave, answers.
//!
//! 1. A request about a bucket that is being written goes to [`IngestFolder`], if its key may write.
//! 2. Otherwise it reads a dataset: its key must open the bucket and the path ([`crate::access`]), and the gateway's
//!    gatekeeper, if there is one, must give leave for the bytes. A key stands for a token; a request without one gets what
//!    the gatekeeper gives to everybody. A refusal comes before 304, 412 and 416.
//!
//! Everything that may block (finding, sorting, opening) runs on the blocking pool; bodies of objects stream from there in
//! chunks. Every answer carries `x-amz-request-id`; a refusal is XML with the code of S3, without a body for HEAD.

use std::collections::BTreeMap;
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
    AskedByKey, Gatekeeper, KeyGrant, Leave, MountedAnswer, MountedBody, MountedHandler, RangeReader, Refusal,
    Resource, SourceError, media_type, range_body,
};
use cid::Cid;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{mpsc, oneshot};

use crate::access::{AccessKeys, Caller};
use crate::bucket::{self, IndexCache, Shelf};
use crate::error::{ErrorCode, S3Rejection};
use crate::ingest::copy::{CopySource, SourceBytes, SourceObject};
use crate::ingest::folder::Keys;
use crate::ingest::receive::BodyReader;
use crate::ingest::{IngestFolder, WriteAction, WriteRequest};
use crate::listing::{Below, SortedKeys};
use crate::object::{self, ObjectInfo};
use crate::request::{self, Action, ListQuery, RequestHead, Target};
use crate::{listing, time, xml};

const X_AMZ_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const X_AMZ_BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");
const X_CAIRN_ROOT: HeaderName = HeaderName::from_static("x-cairn-root");

/// For a bucket that is a root CID: for everybody, or for a cache of whoever asked.
const CACHE_IMMUTABLE: [&str; 2] = ["public, max-age=29030400, immutable", "private, max-age=29030400, immutable"];
/// For a bucket that is a name.
const CACHE_NAMED: [&str; 2] = ["public, max-age=5", "private, max-age=5"];

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
    /// Is asked about every answer that tells of a dataset, and counts its bytes by key.
    pub gatekeeper: Option<Arc<dyn Gatekeeper>>,
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
            gatekeeper: None,
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
        let caller = options.keys.check_read(head, &options.region, time::seconds((options.clock)()))?;
        let Target { bucket, key, action } = request::target(head, &options.prefix)?;
        if let Action::ListBuckets { prefix, after, max_buckets } = &action {
            return Ok(document(head, self.buckets(&caller, prefix, after, *max_buckets), &[]));
        }
        let seen = self.dataset(&caller, &bucket)?;
        let (region, root) = (options.region.clone(), seen.dataset.root().to_string());
        let about = [(X_AMZ_BUCKET_REGION, region), (X_CAIRN_ROOT, root)];
        let small = |text: String| {
            let bytes = if head.method == Method::HEAD { 0 } else { text.len() as u64 };
            let leave = self.leave(&seen, "", None, bytes)?;
            Ok(with_leave(document(head, text, &about), leave))
        };
        match action {
            Action::ListBuckets { .. } => unreachable!("answered above"),
            Action::HeadBucket => small(String::new()),
            Action::GetBucketLocation => small(xml::location(&options.region)),
            Action::GetBucketVersioning => small(xml::versioning()),
            Action::ListObjects(query) => {
                let text = self.list(&seen, &query)?;
                // The folder that the prefix lies in: a listing shows no name from above it.
                let folder = query.prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
                let leave = self.leave(&seen, folder, None, text.len() as u64)?;
                Ok(with_leave(document(head, text, &about), leave))
            }
            Action::GetObject | Action::HeadObject => self.object(head, &seen, &key),
        }
    }

    /// A dataset by any of its names, if the caller may see some of it.
    fn dataset<'a>(&self, caller: &'a Caller<'a>, bucket: &'a str) -> Result<Seen<'a>, S3Rejection> {
        let dataset = self.shelf.dataset(bucket).ok_or(ErrorCode::NoSuchBucket)?;
        let seen = self.seen(caller, bucket, dataset);
        caller.check_bucket(&seen.names())?;
        Ok(seen)
    }

    fn seen<'a>(&self, caller: &'a Caller<'a>, bucket: &'a str, dataset: Arc<Dataset>) -> Seen<'a> {
        // Whoever is not limited needs no names, and shelves may be long.
        let named = caller.is_limited().then(|| self.shelf.dataset(dataset.name())).flatten();
        let own_name = named.is_some_and(|named| named.root() == dataset.root()).then(|| dataset.name().to_owned());
        Seen { caller, bucket, root: dataset.root().to_string(), own_name, dataset }
    }

    fn list(&self, seen: &Seen<'_>, query: &ListQuery) -> Result<String, S3Rejection> {
        let index = self.indexes.of(&seen.dataset);
        let page = page(index.as_ref(), seen.caller.paths(&seen.names()), query)?;
        Ok(xml::objects(seen.bucket, query, &page))
    }

    /// Leave to answer about a path of a dataset.
    fn leave(&self, seen: &Seen<'_>, path: &str, cid: Option<&Cid>, bytes: u64) -> Result<Leave, S3Rejection> {
        let Some(gatekeeper) = &self.options.gatekeeper else { return Ok(Leave::default()) };
        let key = seen.caller.key.map(|name| KeyGrant { name, bytes_max: seen.caller.bytes_max() });
        let asked = AskedByKey { key, root: &seen.dataset.root(), path, cid, bytes };
        gatekeeper.admit_key(&asked).map_err(|refusal| refused_by_gatekeeper(&refusal))
    }

    /// Answers what has to do with buckets that are being written; nothing if the request is about something else.
    fn ingest(&self, head: &RequestHead, body: &mut BodyReader) -> Result<Option<Response<MountedBody>>, S3Rejection> {
        let options = &self.options;
        let Some(folder) = &options.ingest else { return Ok(None) };
        let (bucket, key) = request::place(head, &options.prefix)?;
        let action = WriteAction::read(head, key)?;
        let only_reads = action.as_ref().is_none_or(WriteAction::only_lists);
        if bucket.is_empty() || (only_reads && !folder.has(bucket)) {
            return Ok(None);
        }
        let now = (options.clock)();
        let (verified, caller) = options.keys.check_write(head, &options.region, time::seconds(now))?;
        let Some(action) = action else { return self.written(head, &caller, folder).map(Some) };
        if !folder.has(bucket) && self.shelf.dataset(bucket).is_some() {
            return Err(S3Rejection::new(
                ErrorCode::BucketAlreadyExists,
                "a dataset has this name; datasets never change",
            ));
        }
        let open = |source: &CopySource| self.source(&caller, folder, source);
        let request = WriteRequest { head, verified: &verified, caller, now, open: &open };
        let written = folder.write(action, (bucket, key), &request, body)?;
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

    /// Opens what is to be copied: of a bucket that is being written, or of a dataset.
    fn source(
        &self,
        caller: &Caller<'_>,
        folder: &IngestFolder,
        CopySource { bucket, key, range, .. }: &CopySource,
    ) -> Result<SourceObject, S3Rejection> {
        if folder.has(bucket) {
            caller.check_key(&[bucket], key)?;
            let (file, stored) = folder.read(bucket, key)?;
            let (size, modified) = (stored.size, stored.modified);
            return Ok(SourceObject { size, modified, etag: stored.etag, bytes: SourceBytes::File(file) });
        }
        let seen = self.dataset(caller, bucket)?;
        caller.check_key(&seen.names(), key)?;
        let file = seen.dataset.file(key).ok_or(ErrorCode::NoSuchKey)?;
        // Whoever writes can read the copy, uncounted; so it counts as if it were read here.
        let bytes = range.map_or(file.size, |(first, last)| last.min(file.size).saturating_sub(first) + 1);
        if let Some(account) = self.leave(&seen, key, Some(&file.cid), bytes)?.account {
            account.sent(bytes);
        }
        let resource = self.open(&seen.dataset, file, 0..file.size)?;
        let (size, modified, etag) = (file.size, bucket::modified(file), file.cid.to_string());
        Ok(SourceObject { size, modified, etag, bytes: SourceBytes::Reader(resource.reader) })
    }

    /// Reads from a bucket that is being written.
    fn written(
        &self,
        head: &RequestHead,
        caller: &Caller<'_>,
        folder: &IngestFolder,
    ) -> Result<Response<MountedBody>, S3Rejection> {
        let Target { bucket, key, action } = request::target(head, &self.options.prefix)?;
        let names = [bucket.as_str()];
        caller.check_bucket(&names)?;
        match action {
            Action::ListBuckets { .. } | Action::HeadBucket => Ok(document(head, String::new(), &[])),
            Action::GetBucketLocation => Ok(document(head, xml::location(&self.options.region), &[])),
            Action::GetBucketVersioning => Ok(document(head, xml::versioning(), &[])),
            Action::ListObjects(query) => {
                let state = folder.state();
                let page = page(&Keys(state.objects(&bucket)?), caller.paths(&names), &query)?;
                Ok(document(head, xml::objects(&bucket, &query, &page), &[]))
            }
            Action::GetObject | Action::HeadObject => {
                caller.check_key(&names, &key)?;
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

    /// The buckets that the caller may see, those that are being written among them if it may write.
    fn buckets(&self, caller: &Caller<'_>, prefix: &str, after: &str, max_buckets: usize) -> String {
        let mut named = BTreeMap::new();
        for dataset in self.shelf.datasets() {
            let name = bucket::listed_name(&dataset);
            let created = dataset.files().first().map(bucket::modified).unwrap_or_default();
            let seen = self.seen(caller, &name, dataset);
            if caller.check_bucket(&seen.names()).is_ok() && self.leave(&seen, "", None, 0).is_ok() {
                named.insert(name.clone(), created);
            }
        }
        if let Some(folder) = self.options.ingest.as_ref().filter(|_| caller.writes()) {
            let buckets: Vec<String> = folder.state().buckets.keys().cloned().collect();
            let open = buckets.into_iter().filter(|bucket| caller.check_bucket(&[bucket]).is_ok());
            named.extend(open.map(|bucket| {
                let created = folder.created(&bucket);
                (bucket, created)
            }));
        }
        let mut named: Vec<(&str, u64)> = named
            .iter()
            .map(|(name, created)| (name.as_str(), *created))
            .filter(|(name, _)| name.starts_with(prefix) && *name > after)
            .collect();
        let more = named.len() > max_buckets;
        named.truncate(max_buckets);
        let next = named.last().filter(|_| more).map(|(name, _)| *name);
        xml::buckets(named.iter().copied(), prefix, next)
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
            match error {
                SourceError::Unavailable { retry_after_seconds, .. } => {
                    let retry_after_seconds = Some(retry_after_seconds);
                    S3Rejection { retry_after_seconds, ..ErrorCode::SlowDown.into() }
                }
                _ => ErrorCode::InternalError.into(),
            }
        })
    }

    fn object(&self, head: &RequestHead, seen: &Seen<'_>, key: &str) -> Result<Response<MountedBody>, S3Rejection> {
        seen.caller.check_key(&seen.names(), key)?;
        let file = seen.dataset.file(key).ok_or(ErrorCode::NoSuchKey)?;
        let single_leaf = file.leaf_digests().first().filter(|_| file.leaf_digests().len() == 1);
        let cache = if Cid::try_from(seen.bucket).is_ok() { CACHE_IMMUTABLE } else { CACHE_NAMED };
        let info = ObjectInfo {
            size: file.size,
            cid: file.cid.to_string(),
            modified: bucket::modified(file),
            content_type: media_type(key),
            cache_control: cache[usize::from(!self.options.keys.is_public())],
            sha256_base64: single_leaf.map(|digest| BASE64_STANDARD.encode(digest)),
        };
        let answer = object::answer(head, &info);
        let sent = answer.as_ref().ok().and_then(|answer| answer.range).filter(|_| head.method == Method::GET);
        let leave = self.leave(seen, key, Some(&file.cid), sent.map_or(0, |range| range.len()))?;
        let mut answer = answer?;
        if leave.private {
            answer.headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache[1]));
        }
        let body = match sent {
            None => empty(),
            Some(range) => {
                let resource = self.open(&seen.dataset, file, range.first..range.first + range.len())?;
                range_body(resource.reader, range.first, range.len(), self.options.chunk_bytes)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(with_leave(response, leave))
    }
}

/// A dataset, and who looks at it.
struct Seen<'a> {
    caller: &'a Caller<'a>,
    /// The name that was asked for.
    bucket: &'a str,
    root: String,
    /// The dataset's own name, if it matters and does not mean another one by now.
    own_name: Option<String>,
    dataset: Arc<Dataset>,
}

impl Seen<'_> {
    fn names(&self) -> Vec<&str> {
        [self.bucket, &self.root].into_iter().chain(self.own_name.as_deref()).collect()
    }
}

/// A page of those keys that the caller may see.
fn page(keys: &dyn SortedKeys, paths: Option<Vec<&str>>, query: &ListQuery) -> Result<listing::Page, S3Rejection> {
    match paths {
        None => listing::page(keys, query),
        Some(paths) => listing::page(&Below { keys, paths: &paths }, query),
    }
}

/// What the gatekeeper says, in the words of S3. What belongs to tokens and payments is for other interfaces.
fn refused_by_gatekeeper(refusal: &Refusal) -> S3Rejection {
    let retry_after = refusal.headers.iter().find(|(name, _)| *name == RETRY_AFTER);
    let retry_after_seconds = retry_after.and_then(|(_, value)| value.to_str().ok()?.parse().ok());
    let denied = |message: &str| S3Rejection::new(ErrorCode::AccessDenied, message);
    match refusal.status {
        StatusCode::GONE => ErrorCode::Gone.into(),
        StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => ErrorCode::UnavailableForLegalReasons.into(),
        StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED => {
            denied("this dataset is not free: the request needs the signature of a key")
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            let slow: S3Rejection = ErrorCode::SlowDown.into();
            S3Rejection { retry_after_seconds: retry_after_seconds.or(slow.retry_after_seconds), ..slow }
        }
        _ => denied(&refusal.message),
    }
}

/// The answer with what the gatekeeper adds: its headers, and who hears of the bytes.
fn with_leave(mut response: Response<MountedBody>, leave: Leave) -> Response<MountedBody> {
    response.headers_mut().extend(leave.headers);
    if let Some(account) = leave.account {
        response.extensions_mut().insert(account);
    }
    response
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
    let mut response = xml_response(rejection.code.status(), method, text);
    if let Some(seconds) = rejection.retry_after_seconds {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

#[cfg(test)]
mod tests;
