//! Uploads: buckets that are being written, until they are published as datasets.

pub mod folder;

pub use folder::{IngestError, IngestFolder};
