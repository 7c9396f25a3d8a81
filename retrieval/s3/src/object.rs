//! From an object to the head of its answer: conditions, range, headers. Nothing is read here.
//!
//! The rules are the gateway's own (`cairn_gateway::conditional`, `cairn_gateway::range`), with what S3 has besides:
//!
//! - An entity tag may stand without its quotes, as some clients write it.
//! - There is a date: `If-Modified-Since` counts if there is no `If-None-Match`, `If-Unmodified-Since` if there is no `If-Match`.
//! - HEAD takes a range too.

use cairn_gateway::conditional::{self, ETag, Precondition};
use cairn_gateway::range::{self, ByteRange, Selection};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use hyper::{HeaderMap, StatusCode};

use crate::error::{ErrorCode, S3Rejection};
use crate::request::RequestHead;
use crate::time;

/// What is known of an object before it is opened.
#[derive(Debug, Clone)]
pub struct ObjectInfo {
    /// Size in bytes.
    pub size: u64,
    /// CID of the file.
    pub cid: String,
    /// Seconds since 1970.
    pub modified: u64,
    /// Media type.
    pub content_type: &'static str,
    /// How long caches may keep it.
    pub cache_control: &'static str,
    /// SHA-256 of the whole, where it is known without reading: of a file that is a single leaf.
    pub sha256_base64: Option<String>,
}

/// The head of an answer, and the bytes of its body.
#[derive(Debug)]
pub struct ObjectAnswer {
    /// 200, 206 or 304.
    pub status: StatusCode,
    /// Headers, the length included.
    pub headers: HeaderMap,
    /// Bytes that a GET sends.
    pub range: Option<ByteRange>,
}

const X_CONTENT_CID: HeaderName = HeaderName::from_static("x-content-cid");
const X_AMZ_CHECKSUM_SHA256: HeaderName = HeaderName::from_static("x-amz-checksum-sha256");
const X_AMZ_CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("header text of this crate is printable ASCII")
}

/// Decides what goes out.
///
/// # Errors
/// `PreconditionFailed`, or `InvalidRange` for a range that has nothing of the object.
pub fn answer(head: &RequestHead, object: &ObjectInfo) -> Result<ObjectAnswer, S3Rejection> {
    let etag = ETag::new(object.cid.clone());
    let mut headers = HeaderMap::new();
    headers.insert(ETAG, value(&etag.to_string()));
    headers.insert(LAST_MODIFIED, value(&time::http_date(object.modified)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(object.cache_control));
    headers.insert(X_CONTENT_CID, value(&object.cid));
    let asked = quoted(&head.headers);
    match precondition(&asked, &etag, object.modified) {
        Precondition::Failed => return Err(ErrorCode::PreconditionFailed.into()),
        Precondition::NotModified => {
            return Ok(ObjectAnswer { status: StatusCode::NOT_MODIFIED, headers, range: None });
        }
        Precondition::Proceed => {}
    }
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(object.content_type));
    let size = object.size;
    let (status, range) = match selection(&asked, &etag, size) {
        Selection::Unsatisfiable => return Err(ErrorCode::InvalidRange.into()),
        Selection::Whole => (StatusCode::OK, size.checked_sub(1).map(|last| ByteRange { first: 0, last })),
        Selection::Part(range) => {
            headers.insert(CONTENT_RANGE, value(&format!("bytes {}-{}/{size}", range.first, range.last)));
            (StatusCode::PARTIAL_CONTENT, Some(range))
        }
    };
    let wants_checksum = head.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    if let Some(checksum) = object.sha256_base64.as_ref().filter(|_| wants_checksum && status == StatusCode::OK) {
        headers.insert(X_AMZ_CHECKSUM_SHA256, value(checksum));
        headers.insert(X_AMZ_CHECKSUM_TYPE, HeaderValue::from_static("FULL_OBJECT"));
    }
    headers.insert(CONTENT_LENGTH, range.map_or(0, |range| range.len()).into());
    Ok(ObjectAnswer { status, headers, range })
}

/// The headers, with quotes around an entity tag that has none.
fn quoted(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [IF_MATCH, IF_NONE_MATCH, IF_RANGE] {
        let Some(bare) = headers.get(&name).and_then(|tag| tag.to_str().ok()) else { continue };
        let is_tag = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_tag {
            let tag = value(&format!("\"{bare}\""));
            headers.insert(name, tag);
        }
    }
    headers
}

fn precondition(headers: &HeaderMap, etag: &ETag, modified: u64) -> Precondition {
    let date = |name: HeaderName| {
        let value = headers.get(name)?;
        time::parse_http_date(value.to_str().ok()?)
    };
    let changed_since = |name| date(name).map(|since| modified > since);
    if !headers.contains_key(IF_MATCH) && changed_since(IF_UNMODIFIED_SINCE) == Some(true) {
        return Precondition::Failed;
    }
    let decided = conditional::evaluate(headers, etag);
    let dated = decided == Precondition::Proceed && !headers.contains_key(IF_NONE_MATCH);
    if dated && changed_since(IF_MODIFIED_SINCE) == Some(false) { Precondition::NotModified } else { decided }
}

fn selection(headers: &HeaderMap, etag: &ETag, size: u64) -> Selection {
    let mut lines = headers.get_all(RANGE).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) if conditional::range_is_current(headers, etag) => range::select(line.as_bytes(), size),
        _ => Selection::Whole,
    }
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;

    fn info() -> ObjectInfo {
        ObjectInfo {
            size: 100,
            cid: "bafkrei".into(),
            modified: 1_369_353_600,
            content_type: "application/x-tar",
            cache_control: "no-store",
            sha256_base64: Some("c2hh".into()),
        }
    }

    fn ask(headers: &[(&'static str, &str)]) -> Result<ObjectAnswer, ErrorCode> {
        let mut map = HeaderMap::new();
        for (name, text) in headers {
            map.append(*name, value(text));
        }
        let head = RequestHead::new(Method::GET, "/b/k", None, map).unwrap();
        answer(&head, &info()).map_err(|error| error.code)
    }

    #[test]
    fn conditions() {
        let status = |headers: &[(&'static str, &str)]| ask(headers).map(|answer| answer.status.as_u16());
        let (before, after) = ("Thu, 23 May 2013 00:00:00 GMT", "Sat, 25 May 2013 00:00:00 GMT");
        assert_eq!(status(&[]), Ok(200));
        assert_eq!(status(&[("if-match", "\"bafkrei\"")]), Ok(200));
        assert_eq!(status(&[("if-match", "bafkrei")]), Ok(200));
        assert_eq!(status(&[("if-match", "*")]), Ok(200));
        assert_eq!(status(&[("if-match", "\"other\"")]), Err(ErrorCode::PreconditionFailed));
        assert_eq!(status(&[("if-match", "\"other\""), ("range", "bytes=0-1")]), Err(ErrorCode::PreconditionFailed));
        assert_eq!(status(&[("if-none-match", "bafkrei")]), Ok(304));
        assert_eq!(status(&[("if-none-match", "\"other\"")]), Ok(200));
        assert_eq!(status(&[("if-modified-since", before)]), Ok(200));
        assert_eq!(status(&[("if-modified-since", after)]), Ok(304));
        assert_eq!(status(&[("if-modified-since", after), ("if-none-match", "\"other\"")]), Ok(200));
        assert_eq!(status(&[("if-unmodified-since", before)]), Err(ErrorCode::PreconditionFailed));
        assert_eq!(status(&[("if-unmodified-since", before), ("if-match", "bafkrei")]), Ok(200));
        assert_eq!(status(&[("if-unmodified-since", after)]), Ok(200));
        assert_eq!(status(&[("if-modified-since", "yesterday")]), Ok(200));
    }

    #[test]
    fn ranges_are_clamped_or_refused() {
        let range = |text| {
            ask(&[("range", text), ("if-match", "bafkrei")])
                .map(|answer| answer.range.map(|range| (range.first, range.last)))
        };
        assert_eq!(range("bytes=0-9"), Ok(Some((0, 9))));
        assert_eq!(range("bytes=90-1000"), Ok(Some((90, 99))));
        assert_eq!(range("bytes=-7"), Ok(Some((93, 99))));
        assert_eq!(range("bytes=5-"), Ok(Some((5, 99))));
        assert_eq!(range("bytes=100-"), Err(ErrorCode::InvalidRange));
        let answer = ask(&[("range", "bytes=90-1000")]).unwrap();
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(answer.headers[CONTENT_RANGE], "bytes 90-99/100");
        assert_eq!(answer.headers[CONTENT_LENGTH], "10");
    }

    #[test]
    fn a_checksum_goes_with_the_whole_object_only() {
        let has =
            |headers: &[(&'static str, &str)]| ask(headers).unwrap().headers.contains_key("x-amz-checksum-sha256");
        assert!(has(&[("x-amz-checksum-mode", "ENABLED")]));
        assert!(!has(&[]));
        assert!(!has(&[("x-amz-checksum-mode", "ENABLED"), ("range", "bytes=0-9")]));
    }
}
