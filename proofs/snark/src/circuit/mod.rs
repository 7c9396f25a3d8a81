//! The circuits, and what they have in common.
//!
//! A circuit is a value: sector size and kind decide its shape, an optional witness its assignment. Without a witness it
//! only has a shape, which is all that keys, digests and matrices need.
//!
//! The files are twins of `cairn-sector`'s plain proofs: [`merkle`], [`labels`], [`porep`], [`post`], [`update`].
//!
//! Every circuit here is some constraints that all its parts share, and then one *segment* per challenge or sector that
//! refers to nothing in other segments. [`SegmentedCircuit`] says so, and lets witnesses be computed on all cores.

pub mod labels;
pub mod merkle;
pub mod porep;
pub mod post;
pub mod update;

use std::fmt;
use std::str::FromStr;

use bellman::{ConstraintSystem, SynthesisError};
use cairn_compute::NonCanonicalNode;
use cairn_protocol::SectorSize;

use crate::digest::{CircuitInfo, digest};
use crate::scalar::Scalar;
pub use porep::PorepCircuit;
pub use post::PostCircuit;
pub use update::UpdateCircuit;

/// A node in a plain proof that is no field element.
pub type NonCanonical = NonCanonicalNode;

/// A circuit in parts. Variables and constraints come in the order: shared, segment 0, segment 1, ...
pub trait SegmentedCircuit: Sync {
    /// Variables of the shared part that segments refer to.
    type Shared: Sync;

    /// Number of segments.
    fn segments(&self) -> usize;

    /// Synthesises what all segments share.
    ///
    /// # Errors
    /// Those of the constraint system.
    fn synthesize_shared<CS: ConstraintSystem<Scalar>>(&self, cs: &mut CS) -> Result<Self::Shared, SynthesisError>;

    /// Synthesises segment `index`.
    ///
    /// # Errors
    /// Those of the constraint system.
    fn synthesize_segment<CS: ConstraintSystem<Scalar>>(
        &self,
        cs: &mut CS,
        shared: &Self::Shared,
        index: usize,
    ) -> Result<(), SynthesisError>;

    /// Synthesises the whole circuit.
    ///
    /// # Errors
    /// Those of the constraint system.
    fn synthesize<CS: ConstraintSystem<Scalar>>(&self, cs: &mut CS) -> Result<(), SynthesisError> {
        let shared = self.synthesize_shared(cs)?;
        (0..self.segments()).try_for_each(|index| self.synthesize_segment(cs, &shared, index))
    }
}

/// Which statement a circuit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CircuitKind {
    /// One partition of a proof of replication.
    Porep,
    /// A winning proof of spacetime.
    WinningPost,
    /// One partition of a window proof of spacetime.
    WindowPost,
    /// One partition of a proof of a sector update.
    Update,
}

impl CircuitKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Porep, Self::WinningPost, Self::WindowPost, Self::Update];

    /// `porep`, `winning-post`, `window-post`, `update`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Porep => "porep",
            Self::WinningPost => "winning-post",
            Self::WindowPost => "window-post",
            Self::Update => "update",
        }
    }
}

impl fmt::Display for CircuitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text given names no circuit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a circuit of {}, got {text:?}", CircuitKind::ALL.map(CircuitKind::name).join(", "))]
pub struct ParseCircuitKindError {
    /// What was given.
    pub text: String,
}

impl FromStr for CircuitKind {
    type Err = ParseCircuitKindError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| ParseCircuitKindError { text: text.into() })
    }
}

/// One circuit of the protocol: there is exactly one for each kind and sector size, whatever the seal proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CircuitId {
    /// The statement.
    pub kind: CircuitKind,
    /// Size of the sectors it is about.
    pub sector_size: SectorSize,
}

impl CircuitId {
    /// Counts and digests of the circuit, computed by streaming through all of it.
    ///
    /// # Errors
    /// [`SynthesisError`] never comes out of a circuit of this crate; the type is bellman's.
    pub fn info(self) -> Result<CircuitInfo, SynthesisError> {
        self.visit(InfoVisitor)
    }

    /// Hands the circuit without witness to `visitor`, whatever its type.
    pub fn visit<V: CircuitVisitor>(self, visitor: V) -> V::Output {
        match self.kind {
            CircuitKind::Porep => visitor.visit(&PorepCircuit::blank(self.sector_size)),
            CircuitKind::WinningPost => {
                visitor.visit(&PostCircuit::blank(cairn_sector::post::PostKind::Winning, self.sector_size))
            }
            CircuitKind::WindowPost => {
                visitor.visit(&PostCircuit::blank(cairn_sector::post::PostKind::Window, self.sector_size))
            }
            CircuitKind::Update => visitor.visit(&UpdateCircuit::blank(self.sector_size)),
        }
    }
}

impl fmt::Display for CircuitId {
    /// `porep-2KiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind, self.sector_size)
    }
}

/// Something to do with a circuit of any type.
pub trait CircuitVisitor {
    /// What comes out.
    type Output;

    /// Does it.
    fn visit<C: SegmentedCircuit>(self, circuit: &C) -> Self::Output;
}

struct InfoVisitor;

impl CircuitVisitor for InfoVisitor {
    type Output = Result<CircuitInfo, SynthesisError>;

    fn visit<C: SegmentedCircuit>(self, circuit: &C) -> Self::Output {
        digest(circuit)
    }
}
