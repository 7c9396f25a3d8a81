//! Groth16: keys in Filecoin's file formats, proofs, and their verification (`spec/proofs.md` 1.12).
//!
//! - [`curve`], [`points`]: arithmetic by `blst`; the encodings of points, read strictly; many points' subgroup at once.
//! - [`names`]: which file belongs to which circuit. [`catalog`]: digests of the published files.
//! - [`verifying_key`], [`params`], [`meta`]: the three files of a circuit, byte for byte. [`store`]: a folder of them,
//!   and whom to trust: published keys by their digest, development keys only where development is meant.
//! - [`proving_key`]: `.params` converted once into a mapped file in the layout that multi-scalar multiplications read.
//! - [`proof`]: 192 bytes. [`verify`]: one proof, or many at once.
//! - [`prove`] makes proofs; [`setup`] makes parameters for development.
//!
//! A file or a proof that is wrong is told by a *rejection* that says where, what was expected, and what was there.

pub mod catalog;
pub mod curve;
pub mod error;
mod files;
pub mod meta;
pub mod names;
pub mod params;
pub mod points;
pub mod proof;
pub mod prove;
pub mod proving_key;
pub mod setup;
pub mod store;
mod subgroup;
pub mod verify;
pub mod verifying_key;

pub use error::{KeyFileError, KeyFileRejection};
pub use names::{Circuit, FileKind};
pub use points::{PointChecks, PointRejection};
pub use proof::{Proof, ProofRejection};
pub use prove::{Blinding, PrepareError, ProveError, Prover};
pub use proving_key::ProvingKey;
pub use setup::{Secrets, Setup, SetupError};
pub use store::{KeyStore, Listing, Origin, Trust};
pub use verify::{BatchItem, BatchRejection, PreparedVerifyingKey, VerifyRejection, verify_batch};
pub use verifying_key::VerifyingKey;
