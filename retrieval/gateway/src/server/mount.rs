//! Another handler behind a path prefix of the same server, or on a listener of its own.
//!
//! A gateway's own routes take GET and HEAD alone; an interface of another shape (S3, say) is mounted beside them. It gets
//! whole requests, of any method and with their bodies, and gives whole answers; limits, time-outs, the count of bytes that
//! were truly sent and the observer stay with the server. Mounted at `/`, it has a listener to itself.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::{Request, Response};

use super::body::{GatewayBody, RangeChunks, StreamBody};
use crate::range::ByteRange;
use crate::source::RangeReader;

/// Body of a mounted handler's answer.
pub type MountedBody = UnsyncBoxBody<Bytes, io::Error>;

/// What is to come of a request.
pub type MountedAnswer<'a> = Pin<Box<dyn Future<Output = Response<MountedBody>> + Send + 'a>>;

/// Answers requests of any method below a prefix.
pub trait MountedHandler: Send + Sync + 'static {
    /// Answers one request. The path is whole, the prefix included. What may block belongs on the blocking pool; an answer
    /// that cannot be finished ends its body with an error, and the connection is cut.
    fn answer(&self, request: Request<Incoming>) -> MountedAnswer<'_>;
}

/// A handler and its place.
#[derive(Clone)]
pub struct Mount {
    /// Path prefix without a slash at its end, like `/s3`; it takes the path itself and everything below it. `/` takes all.
    pub prefix: String,
    /// Who answers.
    pub handler: Arc<dyn MountedHandler>,
}

impl Mount {
    pub(crate) fn takes(&self, path: &str) -> bool {
        let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
        self.prefix == "/" || path.strip_prefix(self.prefix.as_str()).is_some_and(below)
    }
}

/// A body of `len` bytes of an object from `first` on, read in chunks of `chunk_bytes` while they are sent.
pub fn range_body(reader: Box<dyn RangeReader>, first: u64, len: u64, chunk_bytes: usize) -> MountedBody {
    if len == 0 {
        return GatewayBody::Empty.boxed_unsync();
    }
    let chunks = RangeChunks::new(reader, ByteRange { first, last: first + len - 1 }, chunk_bytes);
    let body = GatewayBody::Stream(StreamBody::new(Some(len), None, Box::new(chunks), Arc::default(), None));
    body.boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl MountedHandler for Nobody {
        fn answer(&self, _: Request<Incoming>) -> MountedAnswer<'_> {
            Box::pin(async { Response::new(GatewayBody::Empty.boxed_unsync()) })
        }
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        let mount = |prefix: &str| Mount { prefix: prefix.into(), handler: Arc::new(Nobody) };
        for path in ["/s3", "/s3/", "/s3/bucket/key"] {
            assert!(mount("/s3").takes(path), "{path}");
        }
        for path in ["/", "/s33", "/data/s3"] {
            assert!(!mount("/s3").takes(path) && mount("/").takes(path), "{path}");
        }
    }
}
