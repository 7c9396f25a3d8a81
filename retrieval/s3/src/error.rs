//! What is wrong with a request, in the words of S3.
//!
//! Clients act on the code and the status alone, so both are those that S3 documents; the message is for people.

use hyper::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $status:ident, $message:literal;)*) => {
        /// An error code of S3.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// The code as it stands in an answer.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// What it says when nothing more is known.
            fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }
        }
    };
}

codes! {
    /// No, for whoever asks.
    AccessDenied, FORBIDDEN, "access denied";
    /// The `Authorization` header cannot be read, or names another day, region or service.
    AuthorizationHeaderMalformed, BAD_REQUEST, "the authorization header is malformed";
    /// The same, in a presigned address.
    AuthorizationQueryParametersError, BAD_REQUEST, "the authorization in the query is malformed";
    /// The body is not what its checksum says.
    BadDigest, BAD_REQUEST, "the body does not have the checksum that the request names";
    /// The bucket is there already.
    BucketAlreadyExists, CONFLICT, "a bucket of this name exists";
    /// The bucket holds objects or open uploads.
    BucketNotEmpty, CONFLICT, "the bucket holds objects or open uploads";
    /// The upload is larger than what is taken.
    EntityTooLarge, BAD_REQUEST, "the upload is larger than this gateway takes";
    /// A part that is not the last is too small.
    EntityTooSmall, BAD_REQUEST, "a part that is not the last has less than 5 MiB";
    /// The body ended early.
    IncompleteBody, BAD_REQUEST, "the body ended before its announced length";
    /// The disk is full.
    InsufficientStorage, INSUFFICIENT_STORAGE, "the disk of this gateway is full; nothing of the upload was kept";
    /// On the denylist; a code of this gateway.
    Gone, GONE, "this object is not served here any more";
    /// The gateway failed.
    InternalError, INTERNAL_SERVER_ERROR, "the object is held here but cannot be read at the moment";
    /// The access key is not known.
    InvalidAccessKeyId, FORBIDDEN, "the access key is not known here";
    /// A parameter has no meaning.
    InvalidArgument, BAD_REQUEST, "a parameter is not acceptable";
    /// A bucket that cannot be.
    InvalidBucketName, BAD_REQUEST, "the bucket name is not acceptable";
    /// A part that was not uploaded.
    InvalidPart, BAD_REQUEST, "a part of the list was not uploaded, or has another ETag";
    /// Parts that are not in ascending order.
    InvalidPartOrder, BAD_REQUEST, "the parts are not in ascending order";
    /// The range has nothing of the object.
    InvalidRange, RANGE_NOT_SATISFIABLE, "the range lies outside the object";
    /// A request that cannot be understood.
    InvalidRequest, BAD_REQUEST, "the request is not acceptable";
    /// A path or query that is not UTF-8.
    InvalidURI, BAD_REQUEST, "the path or query is not percent-encoded UTF-8";
    /// A key that is too long.
    KeyTooLongError, BAD_REQUEST, "the key is longer than 1024 bytes";
    /// A body that is no XML of the expected form.
    MalformedXML, BAD_REQUEST, "the body is not the XML that this request needs";
    /// The method does not go with the resource.
    MethodNotAllowed, METHOD_NOT_ALLOWED, "this resource does not take that method";
    /// No length.
    MissingContentLength, LENGTH_REQUIRED, "an upload must carry Content-Length";
    /// No such bucket.
    NoSuchBucket, NOT_FOUND, "no dataset has this name or root CID here";
    /// No such object.
    NoSuchKey, NOT_FOUND, "the dataset has no file of this path";
    /// No such upload.
    NoSuchUpload, NOT_FOUND, "no such multipart upload";
    /// No such version.
    NoSuchVersion, NOT_FOUND, "objects here have no versions";
    /// A part of S3 that is not here.
    NotImplemented, NOT_IMPLEMENTED, "this part of S3 is not implemented";
    /// A condition did not hold.
    PreconditionFailed, PRECONDITION_FAILED, "a condition of the request does not hold";
    /// The body stopped coming.
    RequestTimeout, BAD_REQUEST, "the body stopped coming";
    /// The clock of the client is wrong, or somebody sends an old request again.
    RequestTimeTooSkewed, FORBIDDEN, "the time of the request differs from the time here by more than 15 minutes";
    /// The signature is not the one of this request.
    SignatureDoesNotMatch, FORBIDDEN, "the signature is not the one that this request has under the key";
    /// Too much at once.
    SlowDown, SERVICE_UNAVAILABLE, "too many requests at the moment";
    /// More than may be open at once.
    TooManyBuckets, BAD_REQUEST, "the limit of what may be staged at once is reached";
    /// On the denylist, for legal reasons; a code of this gateway.
    UnavailableForLegalReasons, UNAVAILABLE_FOR_LEGAL_REASONS, "this object is not served here any more";
    /// The declared hash of the payload is not that of the body.
    XAmzContentSHA256Mismatch, BAD_REQUEST, "the body does not have the x-amz-content-sha256 of the request";
}

/// What `SlowDown` tells clients to wait, where nobody knows better.
const RETRY_AFTER_SECONDS: u64 = 2;

/// A refusal: its code, and what there is to say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.text())]
pub struct S3Rejection {
    /// The code.
    pub code: ErrorCode,
    /// One line for people.
    pub message: String,
    /// `Retry-After` in seconds; always there with `SlowDown`.
    pub retry_after_seconds: Option<u64>,
}

impl S3Rejection {
    /// A refusal that says something of its own.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let retry_after_seconds = (code == ErrorCode::SlowDown).then_some(RETRY_AFTER_SECONDS);
        Self { code, message: message.into(), retry_after_seconds }
    }
}

impl From<ErrorCode> for S3Rejection {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.message())
    }
}
