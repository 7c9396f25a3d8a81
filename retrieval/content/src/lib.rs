//! Content: what a dataset is, and how its bytes become blocks, archives and pieces.
//!
//! A dataset is a file or a folder of plain files plus a small index. Everything else is computed from these two and
//! never stored a second time:
//!
//! 1. [`Dataset::import`] scans the files (`scan`), hashes each 1 MiB leaf once (`hash`) and builds the UnixFS graph over
//!    the leaf digests (`dag`, `hamt`). The root CID equals the one that `ipfs-car pack --no-wrap` prints.
//! 2. The index ([`Dataset::save`], [`Dataset::load`]) keeps paths, sizes and leaf digests; interior nodes are rebuilt on
//!    load, which also proves the index against its own root CID.
//! 3. [`Dataset::pieces`] cuts the graph, in depth-first pre-order, into CARv1 archives that fit a sector
//!    ([`PieceLayout`]). A piece is a list of segments: a few inline bytes of framing, then a range of a plain file, and so
//!    on. It is read, hashed ([`PieceLayout::commitment`]) and served without ever existing as a file.
//!    A [`RangeProof`] says that some of its bytes are those under its CommP.
//! 4. [`restore`] goes the other way: pieces in, plain files out, every block checked against its CID.
//! 5. [`DagWalk`] tells a client that holds only a root CID which blocks to ask for, and ends with the list of files and
//!    leaves. It does no I/O itself.
//! 6. [`CarArchive`] serves single blocks out of a CAR file of any tool, where it lies.
//! 7. [`graph`] follows paths and selects blocks in whatever graph somebody asks for, also those that this crate would not build.
//! 8. [`HotStore`] keeps datasets on disk by root CID and pieces by CommP, and survives a crash at any moment.
//!
//! Bytes from elsewhere (archives, blocks, index files) are never trusted: decoders are strict, bounded, and answer with a
//! rejection that says what was wrong, where, what was expected and what came.

#![forbid(unsafe_code)]
// Errors name blocks by CID, 96 bytes each; they are cold, and a box around each name would cost every reader of the code.
#![allow(clippy::result_large_err)]

mod archive;
mod block;
mod car;
mod dag;
mod dagpb;
mod dataset;
pub mod durable;
mod envelope;
pub mod graph;
mod hamt;
mod hash;
mod index;
mod piece;
mod piece_proof;
mod restore;
mod scan;
mod source;
mod staging;
mod store;
mod unixfs;
mod varint;
mod walk;

pub use archive::{CarArchive, CarArchiveError};
pub use block::{BlockId, BlockRejection, Codec, LEAF_BYTES, LINKS_PER_NODE, MAX_BLOCK_BYTES, verify_block};
pub use cairn_protocol::piece_proof::PieceShape;
pub use cairn_protocol::{GROUP_BYTES, RangeProof, RangeProofRejection, VerifiedGroups};
pub use cairn_sector::pieces::{PieceCommitment, PieceHasher};
pub use car::{
    CarBlock, CarError, CarLimits, CarReader, CarRejection, CarWriter, Section, Trailing, block_section, header_section,
};
pub use dagpb::{DagPbRejection, PbLink, PbNode};
pub use dataset::{Dataset, DatasetKind, FileEntry, ImportError, ImportOptions, VerifyError};
pub use index::{IndexError, IndexRejection};
pub use piece::{LayoutRejection, PieceLayout, PieceReader};
pub use piece_proof::{CheckGroup, PieceGroups, group_root};
pub use restore::{RestoreError, RestoreOptions, Restored, restore};
pub use scan::{ImportRejection, Selection, SkipReason, Skipped};
pub use source::{ByteSource, FileSlice, FileStamp, ReadError};
pub use staging::{CommitError, Staging};
pub use store::{DamagedDataset, HotStore, Placement, StoreError, StoredPiece};
pub use unixfs::{FilePart, FolderEntry, ShardEntry, UnixFsNode, UnixFsRejection, decode_node};
pub use walk::{DagWalk, RemoteDataset, RemoteFile, RemoteLeaf, WalkLimits, WalkRejection};
