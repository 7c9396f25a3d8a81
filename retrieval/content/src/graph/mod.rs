//! Graphs of any tool: paths through them, selections of their blocks, bytes of their files.
//!
//! What this crate builds is strict (see `unixfs`); what a gateway is asked for is whatever people have: version 0 CIDs,
//! bytes inside dag-pb, trees of any width, HAMT shards of any fanout, documents in DAG-CBOR that link into UnixFS. Here
//! everything that has one meaning is read, and nothing is held but the blocks on the way.
//!
//! - [`resolve`] follows a path and names the blocks that it passes.
//! - [`BlockStream`] gives the blocks of a selection in depth-first order, one at a time.
//! - [`DagFile`] reads a file at any offset. [`list_folder`] gives the names in a folder.
//!
//! Blocks come from a [`Blocks`], which vouches that they match their CIDs.

mod file;
mod node;
mod resolve;
mod select;

pub use file::DagFile;
pub use node::{Entity, entity};
pub use resolve::{Resolved, list_folder, resolve};
pub use select::{BlockStream, EntityBytes, Scope};

use std::io;

use bytes::Bytes;
use cid::Cid;

pub(crate) const CODEC_RAW: u64 = 0x55;
pub(crate) const CODEC_DAG_PB: u64 = 0x70;
pub(crate) const CODEC_DAG_CBOR: u64 = 0x71;
const HASH_IDENTITY: u64 = 0x00;

/// Where blocks come from.
pub trait Blocks {
    /// The bytes of a block, nothing if it is not held. Identity CIDs are never asked for.
    ///
    /// # Errors
    /// The block should be there but cannot be read.
    fn block(&self, cid: &Cid) -> io::Result<Option<Bytes>>;
}

/// Why a graph cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A block is not held here.
    #[error("block {cid} is not held here")]
    Missing {
        /// The block.
        cid: Cid,
    },
    /// The path leads nowhere: this is certain, whoever is asked.
    #[error("{cid} has no {name:?}")]
    NoSuchName {
        /// The folder or document.
        cid: Cid,
        /// The name.
        name: String,
    },
    /// A block that is not what its codec says.
    #[error("block {cid}: {reason}")]
    Malformed {
        /// The block.
        cid: Cid,
        /// What is wrong.
        reason: String,
    },
    /// More is asked for than one request may hold.
    #[error("the graph has more than {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A block is held but cannot be read.
    #[error("cannot read block {cid}: {error}")]
    Read {
        /// The block.
        cid: Cid,
        /// What the system says.
        error: io::Error,
    },
}

/// Whether the CID holds its own bytes.
pub(crate) fn is_identity(cid: &Cid) -> bool {
    cid.hash().code() == HASH_IDENTITY
}

/// A block that must be there.
pub(crate) fn load(blocks: &dyn Blocks, cid: &Cid) -> Result<Bytes, GraphError> {
    if is_identity(cid) {
        return Ok(Bytes::copy_from_slice(cid.hash().digest()));
    }
    let block = blocks.block(cid).map_err(|error| GraphError::Read { cid: *cid, error })?;
    block.ok_or(GraphError::Missing { cid: *cid })
}
