//! The head of a request, decoded once, and the action it asks for.
//!
//! Path style alone: the first name of the path is the bucket, the rest the key. What a request means depends on its
//! method, on whether there is a bucket and a key, and on the names in its query; a name that asks for a part of S3 that is
//! not here (`acl`, `tagging`, `policy` ...) is refused, never taken for a plain read.

use hyper::{HeaderMap, Method};

use crate::encoding::{decode_path, decode_query};
use crate::error::{ErrorCode, S3Rejection};

/// Most bytes of a key, as in S3.
pub const KEY_BYTES_MAX: usize = 1024;
/// Most keys on a page, as in S3.
pub const PAGE_MAX: usize = 1000;

/// A decoded head.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The whole path, decoded.
    pub path: String,
    /// Names and values of the query, decoded, in the order of the request.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
}

impl RequestHead {
    /// Decodes path and query.
    ///
    /// # Errors
    /// `InvalidURI` if one of them is not UTF-8.
    pub fn new(method: Method, path: &str, query: Option<&str>, headers: HeaderMap) -> Result<Self, S3Rejection> {
        let path = decode_path(path).ok_or(ErrorCode::InvalidURI)?;
        let query = decode_query(query.unwrap_or_default()).ok_or(ErrorCode::InvalidURI)?;
        Ok(Self { method, path, query, headers })
    }

    /// The first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A header that stands there once, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?;
        if values.next().is_some() { None } else { first.to_str().ok() }
    }
}

/// Which keys a listing wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Version 1 has a marker, version 2 tokens.
    pub version: ListVersion,
    /// Every key begins with it.
    pub prefix: String,
    /// Keys are grouped up to its first place after the prefix.
    pub delimiter: Option<String>,
    /// Keys and groups on the page, at most [`PAGE_MAX`].
    pub max_keys: usize,
    /// Whether names in the answer are percent-encoded.
    pub encode_url: bool,
}

/// How a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListVersion {
    /// ListObjects.
    V1 {
        /// Keys after this one.
        marker: String,
    },
    /// ListObjectsV2.
    V2 {
        /// Keys after this one.
        start_after: String,
        /// Where an earlier page ended; it beats `start_after`.
        continuation_token: Option<String>,
    },
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The buckets, a page at a time.
    ListBuckets {
        /// Every name begins with it.
        prefix: String,
        /// Names after this one.
        after: String,
        /// Names on the page.
        max_buckets: usize,
    },
    /// Whether a bucket exists.
    HeadBucket,
    /// The region.
    GetBucketLocation,
    /// That there are no versions.
    GetBucketVersioning,
    /// Keys of a bucket.
    ListObjects(ListQuery),
    /// An object.
    GetObject,
    /// An object's headers.
    HeadObject,
}

/// Where a request goes and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The bucket; empty for the service itself.
    pub bucket: String,
    /// The key; empty for the bucket itself.
    pub key: String,
    /// What is asked for.
    pub action: Action,
}

/// Query names that ask for parts of S3 that are not here.
const ABSENT: [&str; 30] = [
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "website",
];

/// Bucket and key of a path, either of them perhaps empty.
///
/// # Errors
/// A path that is not below the prefix, or a key that is too long.
pub fn place<'a>(head: &'a RequestHead, prefix: &str) -> Result<(&'a str, &'a str), S3Rejection> {
    let path = head.path.strip_prefix(prefix).ok_or(ErrorCode::InvalidURI)?;
    let path = path.strip_prefix('/').unwrap_or(path);
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    if key.len() > KEY_BYTES_MAX { Err(ErrorCode::KeyTooLongError.into()) } else { Ok((bucket, key)) }
}

/// Reads what a request asks for. `prefix` is where the interface is mounted, without a slash at its end.
///
/// # Errors
/// The refusal to answer with.
pub fn target(head: &RequestHead, prefix: &str) -> Result<Target, S3Rejection> {
    let (bucket, key) = place(head, prefix)?;
    let action = match (bucket, key) {
        ("", "") => service(head),
        ("", _) => Err(ErrorCode::InvalidBucketName.into()),
        (_, "") => on_bucket(head),
        _ => on_object(head),
    }?;
    Ok(Target { bucket: bucket.to_owned(), key: key.to_owned(), action })
}

fn service(head: &RequestHead) -> Result<Action, S3Rejection> {
    if head.method != Method::GET {
        return Err(ErrorCode::MethodNotAllowed.into());
    }
    let text = |name| head.parameter(name).unwrap_or_default().to_owned();
    let max_buckets = number(head, "max-buckets", 10_000, 1)?;
    Ok(Action::ListBuckets { prefix: text("prefix"), after: text("continuation-token"), max_buckets })
}

fn on_bucket(head: &RequestHead) -> Result<Action, S3Rejection> {
    let has = |name| head.parameter(name).is_some();
    match head.method {
        Method::HEAD => return Ok(Action::HeadBucket),
        Method::GET => {}
        Method::PUT | Method::POST | Method::DELETE => return Err(read_only()),
        _ => return Err(ErrorCode::MethodNotAllowed.into()),
    }
    refuse_absent(head)?;
    if has("location") {
        return Ok(Action::GetBucketLocation);
    }
    if has("versioning") {
        return Ok(Action::GetBucketVersioning);
    }
    if has("versions") {
        return Err(ErrorCode::NotImplemented.into());
    }
    list_query(head).map(Action::ListObjects)
}

fn on_object(head: &RequestHead) -> Result<Action, S3Rejection> {
    let action = match head.method {
        Method::GET => Action::GetObject,
        Method::HEAD => Action::HeadObject,
        Method::PUT | Method::POST | Method::DELETE => return Err(read_only()),
        _ => return Err(ErrorCode::MethodNotAllowed.into()),
    };
    if head.parameter("partNumber").is_some_and(|part| part != "1") {
        return Err(S3Rejection::new(ErrorCode::InvalidRange, "every object here is one part"));
    }
    if head.parameter("versionId").is_some_and(|version| version != "null") {
        return Err(ErrorCode::NoSuchVersion.into());
    }
    if head.parameter("partNumber").is_none() {
        refuse_absent(head)?;
    }
    Ok(action)
}

fn read_only() -> S3Rejection {
    S3Rejection::new(ErrorCode::AccessDenied, "a dataset never changes; this interface reads")
}

fn refuse_absent(head: &RequestHead) -> Result<(), S3Rejection> {
    match head.query.iter().find(|(name, _)| ABSENT.contains(&name.as_str())) {
        Some((name, _)) => Err(S3Rejection::new(ErrorCode::NotImplemented, format!("{name:?} is not implemented"))),
        None => Ok(()),
    }
}

fn list_query(head: &RequestHead) -> Result<ListQuery, S3Rejection> {
    let text = |name| head.parameter(name).unwrap_or_default().to_owned();
    let version = match head.parameter("list-type") {
        None => ListVersion::V1 { marker: text("marker") },
        Some("2") => ListVersion::V2 {
            start_after: text("start-after"),
            continuation_token: head.parameter("continuation-token").map(str::to_owned),
        },
        Some(_) => return Err(S3Rejection::new(ErrorCode::InvalidArgument, "list-type is 2, or absent")),
    };
    let encode_url = match head.parameter("encoding-type") {
        None | Some("") => false,
        Some("url") => true,
        Some(_) => return Err(S3Rejection::new(ErrorCode::InvalidArgument, "encoding-type is url, or absent")),
    };
    Ok(ListQuery {
        version,
        prefix: text("prefix"),
        delimiter: head.parameter("delimiter").filter(|delimiter| !delimiter.is_empty()).map(str::to_owned),
        max_keys: number(head, "max-keys", PAGE_MAX, 0)?,
        encode_url,
    })
}

/// A number up to `max`, which is also the default; more counts as `max`.
pub(crate) fn number(head: &RequestHead, name: &'static str, max: usize, min: usize) -> Result<usize, S3Rejection> {
    let Some(text) = head.parameter(name).filter(|text| !text.is_empty()) else { return Ok(max) };
    let digits = text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    let value = text.parse::<usize>().ok().filter(|value| digits && *value >= min);
    let refused =
        || S3Rejection::new(ErrorCode::InvalidArgument, format!("{name} is a number from {min} on, got {text:?}"));
    value.map(|value| value.min(max)).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(method: Method, path: &str, query: &str) -> Result<Target, S3Rejection> {
        target(&RequestHead::new(method, path, Some(query), HeaderMap::new())?, "/s3")
    }

    #[test]
    fn actions_follow_method_path_and_query() {
        let code =
            |method, path, query| ask(method, path, query).map(|target| target.action).map_err(|error| error.code);
        assert!(matches!(code(Method::GET, "/s3", ""), Ok(Action::ListBuckets { .. })));
        assert_eq!(code(Method::HEAD, "/s3/b", ""), Ok(Action::HeadBucket));
        assert_eq!(code(Method::GET, "/s3/b/", "location"), Ok(Action::GetBucketLocation));
        assert_eq!(code(Method::GET, "/s3/b/k", ""), Ok(Action::GetObject));
        assert_eq!(code(Method::GET, "/s3/b/k", "partNumber=1"), Ok(Action::GetObject));
        assert_eq!(code(Method::GET, "/s3/b/k", "partNumber=2"), Err(ErrorCode::InvalidRange));
        assert_eq!(code(Method::GET, "/s3/b/k", "versionId=7"), Err(ErrorCode::NoSuchVersion));
        assert_eq!(code(Method::GET, "/s3/b/k", "acl"), Err(ErrorCode::NotImplemented));
        assert_eq!(code(Method::GET, "/s3/b", "uploads="), Err(ErrorCode::NotImplemented));
        assert_eq!(code(Method::GET, "/s3/b", "max-keys=-1"), Err(ErrorCode::InvalidArgument));
        assert_eq!(code(Method::GET, "/s3/b", "list-type=3"), Err(ErrorCode::InvalidArgument));
        assert_eq!(code(Method::PUT, "/s3/b/k", ""), Err(ErrorCode::AccessDenied));
        assert_eq!(code(Method::PATCH, "/s3/b/k", ""), Err(ErrorCode::MethodNotAllowed));
        assert_eq!(code(Method::GET, "/s3//k", ""), Err(ErrorCode::InvalidBucketName));
        assert_eq!(code(Method::GET, "/s3/b/%ff", ""), Err(ErrorCode::InvalidURI));
        assert_eq!(code(Method::GET, &format!("/s3/b/{}", "k".repeat(1025)), ""), Err(ErrorCode::KeyTooLongError));
        assert_eq!(ask(Method::GET, "/s3/b/a%2Fb/c+d", "").unwrap().key, "a/b/c+d");
    }

    #[test]
    fn a_listing_reads_all_its_parameters() {
        let query = "list-type=2&prefix=a%2Fb+c&delimiter=%2F&max-keys=5000&start-after=x&continuation-token=t&encoding-type=url";
        let Action::ListObjects(list) = ask(Method::GET, "/s3/b", query).unwrap().action else { panic!("a listing") };
        assert_eq!((list.prefix.as_str(), list.delimiter.as_deref(), list.max_keys), ("a/b c", Some("/"), PAGE_MAX));
        assert!(list.encode_url);
        let version = ListVersion::V2 { start_after: "x".into(), continuation_token: Some("t".into()) };
        assert_eq!(list.version, version);
    }

    proptest! {
        #[test]
        fn never_panics(path in "/s3[ -~]{0,40}", query in "[ -~]{0,60}") {
            let _ = ask(Method::GET, &path, &query);
        }
    }
}
