//! Circuits over a sector's plain proofs, and Groth16 over the circuits.
//!
//! 1. [`scalar`] puts arkworks' field behind the traits of bellman, whose `ConstraintSystem` and gadgets the circuits
//!    are written on; [`gadgets`] holds those that bellman lacks.
//! 2. [`circuit`] holds the circuits, file by file the twins of `cairn-sector`'s plain proofs. They are Filecoin's, term
//!    for term: [`digest`] hashes every constraint as it streams by, and golden digests are the judge.
//! 3. [`mock`] checks a circuit with its witness and names the first constraint that does not hold.
//! 4. [`r1cs`] records a circuit's matrices once; [`witness`] computes only the assignment, for every proof.
//! 5. [`groth16`] reads and writes keys, makes proofs and verifies them; [`engine`] chooses whose arithmetic does it.
//! 6. [`proving`] and [`verifying`] are what others use: a statement and its plain proof in, 192 bytes for each partition
//!    out; a statement and such bytes in, a verdict out.

pub mod circuit;
pub mod digest;
pub mod engine;
pub mod gadgets;
pub mod groth16;
mod mapped;
pub mod mock;
pub mod proving;
pub mod r1cs;
pub mod scalar;
pub mod terms;
pub mod verifying;
pub mod witness;

pub use circuit::{CircuitId, CircuitKind, SegmentedCircuit};
pub use digest::{CircuitInfo, digest};
pub use engine::Engine;
pub use scalar::Scalar;
pub use witness::{Assignment, assign};
