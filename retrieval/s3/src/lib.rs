//! Datasets behind S3, for the loaders that speak nothing else, and folders that they write to ([`ingest`]).
//!
//! A dataset is a bucket, named by its root CID or its name; a path is a key; the ETag is the CID of the file, so that
//! whoever kept one can check the bytes against it. The decisions are functions of a request's head, a clock and a dataset:
//!
//! 1. [`sigv4`] and [`access`]: who asks, and what is open to them. Signatures in the header and in presigned addresses, or
//!    none. A gatekeeper, if there is one, is asked once more when the bytes are known.
//! 2. [`request`]: what is asked for, in path style. Parts of S3 that are not here are refused by name.
//! 3. [`listing`] over [`bucket`]: pages of keys in S3's order, each found by seeking.
//! 4. [`object`]: conditions, ranges and headers of one object, by the gateway's own rules.
//! 5. [`xml`]: answers and refusals.
//!
//! [`S3Handler`] joins them to a gateway's server as a `MountedHandler`.
//!
//! Why not a library: the ones that exist for servers (`s3s` above all) bring all hundred operations with their types, their
//! own bodies and their own clock; this is two dozen operations over an index that never changes and plain folders, and its bodies
//! are the gateway's.
//! Version 2 of the signatures is refused with a line that says what to set instead.

#![forbid(unsafe_code)]

pub mod access;
pub mod bucket;
pub mod checksum;
pub mod chunked;
pub mod documents;
pub mod encoding;
pub mod error;
mod handler;
pub mod ingest;
pub mod listing;
pub mod object;
pub mod request;
pub mod sigv4;
pub mod time;
pub mod xml;

pub use access::{AccessKeys, KeysRejection};
pub use error::{ErrorCode, S3Rejection};
pub use handler::{Clock, S3Handler, S3Options};
pub use ingest::{IngestError, IngestFolder, IngestOptions};
