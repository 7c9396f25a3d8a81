//! Retrieval over plain HTTP: a gateway that serves datasets, and a fetcher that trusts nobody.
//!
//! The idea behind both halves: bytes travel as ordinary HTTP ranges, at the speed of a file server and with tools that
//! everybody has; the proof travels beside them, as the interior nodes of the dataset's graph, 0.005 % of the data. So any
//! data loader can read from the gateway, and a client that wants certainty gets it per 1 MiB, from any source.
//!
//! - [`serve()`] answers `GET` and `HEAD` for `/piece/{PieceCID}`, `/data/{dataset}/{path}`, `/ipfs/{cid}?format=raw` and
//!   `/health`, from any [`ContentSource`]; `cairn_content::HotStore` is one, [`Library`] another. What it does with ranges is in [`range`],
//!   with conditions in [`conditional`], with paths in [`path`].
//! - [`fetch()`] brings a dataset, or a file or folder of it, from several sources in parallel, resumes after any
//!   interruption, verifies every leaf, and names whoever sent a wrong one. [`fetch_piece`] brings a piece.
//!
//! Reading order: [`range`] and [`conditional`] (pure rules), `server::answer` (from an object to an answer), `server`
//! (limits and life time), then `fetch` (its five steps), `fetch::download` and `fetch::target`.

#![deny(unsafe_code)]
// A source's fault carries the CIDs it is about, 96 bytes each, by value: it stays inside this crate until it is listed.
#![allow(clippy::result_large_err)]

pub mod conditional;
pub mod fetch;
mod gate;
pub mod head;
mod hot_store;
mod kernel_tls;
mod library;
pub mod path;
pub mod range;
mod server;
mod signing;
mod source;
mod tls;

pub use fetch::{
    ClockPause, DatasetOutline, FetchError, FetchOptions, FetchRejection, FetchReport, FetchRequest, FetchedFile,
    Pause, PieceReport, PieceRequest, Progress, ProgressFn, SignedGroup, SourceFailure, SourceFault, SourceUrl,
    SourceUrlRejection, VerifiedRange, fetch, fetch_blocking, fetch_group_proof, fetch_group_proof_blocking,
    fetch_piece, fetch_piece_blocking, fetch_signed_group, fetch_signed_group_blocking,
};
pub use gate::{Account, Asked, AskedByKey, Gatekeeper, KeyGrant, Leave, Refusal, Subject};
pub use hot_store::{data_entry, open as file_resource};
pub use library::{Library, RemoteShelf};
pub use server::{
    AccessLog, Collector, GatewayOptions, Metrics, Mount, MountedAnswer, MountedBody, MountedHandler, Observer,
    OptionsRejection, Reporter, RequestRejection, ServedRequest, listen, media_type, range_body, serve, serve_metrics,
};
pub use signing::{GroupClaim, GroupSigner};
pub use source::{
    ContentSource, DataEntry, FolderEntry, PieceResource, RangeReader, Resource, Seekable, SourceCounts, SourceError,
};
pub use tls::{TlsIdentity, TlsRejection, TlsTrust};
