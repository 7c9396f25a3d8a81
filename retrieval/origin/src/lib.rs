//! Gateways without a state of their own: datasets lie in an origin that many share, and each gateway keeps what is asked for.
//!
//! ```text
//! datasets/{root CID}/dataset.cbor   the index of a dataset; written last, so that nobody sees half a dataset
//! files/{file CID}                   the plain bytes of a file, once, however many datasets have it
//! ```
//!
//! 1. [`Origin::open`] takes an address, `file:///folder` or `s3://bucket/prefix` ([`OriginAddress`], [`S3Settings`]).
//! 2. [`Origin::publish`] copies a dataset in, each leaf checked on its way, and goes on where an earlier try ended.
//! 3. [`OriginSource`] serves: it keeps the indexes in memory, and asks the origin for leaves of 1 MiB through a [`SliceCache`].
//! 4. The cache (memory, then a folder) holds nothing that was not checked against its digest, so a damaged origin or disk is
//!    never served.
//!
//! Bounds, for one request of `n` bytes: the origin is asked for less than `n` + 2 MiB (the range, widened to whole leaves),
//! in one request per run of missing leaves and at most 8 MiB each. Readers of one missing leaf wait for one request.
//! Never more than a fixed number of requests are running or waiting; beyond it, and while the origin is away, the answer is
//! "later" at once.
//!
//! Why not a cache of some library: the names here are digests of what they name. So a folder of files needs no journal and no
//! checksums of its own, and a torn file is found when it is read; what is left is a list in order of use. `foyer`, which was
//! weighed, brings a block device and an engine for what is then two short files.

#![forbid(unsafe_code)]
#![allow(clippy::result_large_err)]

mod address;
mod cache;
mod disk;
mod memory;
mod metrics;
mod origin;
mod source;

pub use address::{AddressRejection, OriginAddress, S3Settings, SettingsRejection};
pub use cache::{CacheCounts, CacheOptions, FetchError, SliceCache};
pub use disk::{DiskError, DiskOptions};
pub use origin::{Origin, OriginError, Published};
pub use source::{OriginOptions, OriginSource};
