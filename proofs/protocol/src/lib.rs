//! Types and constants that every part of Cairn must agree on; no I/O, and no algorithm but the check of a range proof.
//!
//! What lives here is what two parties, or two crates, could misunderstand: sizes (padded or unpadded), 32-byte values
//! that must not be swapped ([`bytes32`]), the ten sector sizes and what follows from each ([`params`]), the
//! seal-proof variants and their registered numbers ([`seal_proof`]), the CIDs that carry commitments outside
//! ([`piece_cid`]), and what shows that bytes belong to a piece ([`piece_proof`]). The numbers are those of Filecoin's proofs, so that its trusted setup and tools fit ours.

#![forbid(unsafe_code)]

pub mod amount;
pub mod bytes32;
pub mod identity;
pub mod params;
pub mod piece;
pub mod piece_cid;
pub mod piece_proof;
pub mod seal_proof;
pub mod sector_size;
pub mod sha256;

pub use amount::Amount;
pub use bytes32::{
    CommC, CommD, CommP, CommR, CommRLast, ParseBytes32Error, PorepId, PostRandomness, ProverId, ReplicaId, Seed,
    Ticket,
};
pub use identity::{Epoch, ProviderId, SectorNumber};
pub use params::{SectorParams, TreeShape};
pub use piece::{PaddedBytes, PieceInfo, UnpaddedBytes};
pub use piece_cid::{ParsePieceCidError, PieceCid, parse_piece_cid, piece_cid_v1, piece_cid_v2, sealed_cid};
pub use piece_proof::{GROUP_BYTES, RangeProof, RangeProofRejection, VerifiedGroups};
pub use seal_proof::{ParseSealProofError, SealProof};
pub use sector_size::{ParseSectorSizeError, SectorSize, UnknownSectorSize};
