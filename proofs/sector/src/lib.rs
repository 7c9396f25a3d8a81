//! A sector's arithmetic: from client bytes to a sealed replica, and the plain ("vanilla") proofs over it.
//!
//! One sector, in the order of the files here:
//! 1. [`fr32`] spreads client bytes so that every 32-byte word is a field element; [`pieces`] commits to them.
//! 2. [`replica_id`] makes this replica unlike any other; [`graph`] says which labels depend on which.
//! 3. [`labels`] and [`layer`] compute the layers, [`trees`] the trees over data, columns and replica; [`seal`] runs all
//!    of it over files.
//! 4. [`porep`] opens challenged nodes and checks such openings; [`post`] does the same for a sealed sector, again and
//!    again; [`unseal`] gives the client's bytes back; [`update`] puts new data into a sealed sector.
//!
//! Everything is bit-compatible with Filecoin's proofs (`spec/proofs.md` 1.1 to 1.10, 1.14 and 1.15); sector size and
//! proof variant are values. Verification returns a reason, never a bool.

#![forbid(unsafe_code)]

pub mod challenge;
pub mod error;
pub mod files;
pub mod fr32;
pub mod graph;
pub mod identity;
pub mod labels;
pub mod layer;
pub mod merkle;
pub mod nodes;
pub mod parent_cache;
pub mod pieces;
pub mod porep;
pub mod post;
pub mod replica_id;
pub mod seal;
pub mod sha256;
pub mod trees;
pub mod unseal;
pub mod update;
pub mod wire;

pub use error::{Progress, SealError};
pub use files::SectorFiles;
pub use identity::SectorIdentity;
