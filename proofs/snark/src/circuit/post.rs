//! Proofs of spacetime as circuits: the twin of `cairn_sector::post` (`spec/proofs.md` 1.14).
//!
//! For each sector: CommR becomes a public input; the roots of tree C and tree R-last hash to it; each challenged leaf
//! stands in tree R-last, at an index that becomes a public input.
//!
//! A winning proof opens 66 leaves of one sector. Its circuit is made for 66 sectors with one leaf each, so the sector's
//! roots are given 66 times. A window circuit holds a full partition; one with fewer sectors repeats its last.

use bellman::{ConstraintSystem, SynthesisError};
use cairn_protocol::params::{WINDOW_POST_CHALLENGES, WINNING_POST_CHALLENGES};
use cairn_protocol::{SealProof, SectorParams, SectorSize};
use cairn_sector::merkle::{Levels, MerkleProof, Tree};
use cairn_sector::post::proof::SectorProof;
use cairn_sector::post::{ChallengeNumbering, PostKind, PostProof, PostRejection, PostStatement, verify};

use super::merkle::{Inclusion, enforce_inclusion, read_node};
use super::{NonCanonical, SegmentedCircuit};
use crate::gadgets::num::{alloc, enforce_equal};
use crate::gadgets::poseidon::PoseidonCircuit;
use crate::scalar::Scalar;

/// A winning proof, or one partition of a window proof.
#[derive(Debug, Clone)]
pub struct PostCircuit {
    shape: Shape,
    levels: Levels,
    witness: Option<Vec<Sector>>,
}

/// How many of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    /// Sectors as the circuit counts them.
    sectors: usize,
    /// Leaves opened in each.
    leaves: usize,
}

impl Shape {
    fn of(kind: PostKind, params: &SectorParams) -> Self {
        match kind {
            PostKind::Winning => Self { sectors: WINNING_POST_CHALLENGES, leaves: 1 },
            PostKind::Window => Self { sectors: params.window_sectors_per_partition, leaves: WINDOW_POST_CHALLENGES },
        }
    }
}

/// The witness of a sector as the circuit counts them.
#[derive(Debug, Clone)]
struct Sector {
    comm_r: Scalar,
    comm_c: Scalar,
    comm_r_last: Scalar,
    inclusions: Vec<Inclusion>,
}

/// A plain proof that cannot be a witness.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PostWitnessRejection {
    /// It does not prove the statement.
    #[error(transparent)]
    Proof(#[from] PostRejection),
    /// It holds something that is no field element.
    #[error("the plain proof holds a node that is no field element: {0}")]
    NonCanonical(#[from] NonCanonical),
    /// It does not open the leaves of such a numbering.
    #[error("a window proof numbers its challenges within each sector")]
    Numbering,
}

impl PostCircuit {
    /// The circuit of a kind and a sector size, without a witness.
    pub fn blank(kind: PostKind, sector_size: SectorSize) -> Self {
        let params = SectorParams::new(sector_size, SealProof::V1_1);
        Self { shape: Shape::of(kind, &params), levels: Levels::of(Tree::RLast, &params), witness: None }
    }

    /// The circuit with the witness of a plain proof, which is verified first. The statement of a window proof is one
    /// partition's. Challenges are numbered as the network does.
    ///
    /// # Errors
    /// [`PostWitnessRejection`] names what is wrong with the proof.
    pub fn of_proof(statement: &PostStatement, proof: &PostProof) -> Result<Self, PostWitnessRejection> {
        Self::of_proof_numbered(statement, proof, ChallengeNumbering::of(statement.kind))
    }

    /// As [`of_proof`](Self::of_proof), with another numbering than the network's. A plain proof has the leaves of the
    /// network's numbering, so only the one other case whose leaves are among them is possible: a winning proof that
    /// numbers within sectors shows its first leaf 66 times.
    ///
    /// # Errors
    /// [`PostWitnessRejection`]; `Numbering` for a window proof numbered across sectors.
    pub fn of_proof_numbered(
        statement: &PostStatement,
        proof: &PostProof,
        numbering: ChallengeNumbering,
    ) -> Result<Self, PostWitnessRejection> {
        verify(statement, proof)?;
        let blank = Self::blank(statement.kind, statement.sector_size);
        let mut sectors = vec![];
        for proof in &proof.sectors {
            for openings in proof.openings.sectors[0].inclusion_proofs.chunks(blank.shape.leaves) {
                sectors.push(Sector::read(proof, openings)?);
            }
        }
        match (statement.kind, numbering) {
            (PostKind::Window, ChallengeNumbering::WithinSector)
            | (PostKind::Winning, ChallengeNumbering::AcrossSectors) => {}
            (PostKind::Winning, ChallengeNumbering::WithinSector) => sectors.truncate(1),
            (PostKind::Window, ChallengeNumbering::AcrossSectors) => return Err(PostWitnessRejection::Numbering),
        }
        let last = sectors.last().expect("a verified proof has sectors").clone();
        sectors.resize(blank.shape.sectors, last);
        Ok(Self { witness: Some(sectors), ..blank })
    }
}

impl SegmentedCircuit for PostCircuit {
    type Shared = ();

    fn segments(&self) -> usize {
        self.shape.sectors
    }

    fn synthesize_shared<CS: ConstraintSystem<Scalar>>(&self, _cs: &mut CS) -> Result<(), SynthesisError> {
        Ok(())
    }

    fn synthesize_segment<CS: ConstraintSystem<Scalar>>(
        &self,
        cs: &mut CS,
        _shared: &(),
        index: usize,
    ) -> Result<(), SynthesisError> {
        let mut cs = cs.namespace(|| format!("sector_{index}"));
        let witness = self.witness.as_ref().map(|sectors| &sectors[index]);
        let comm_r_last = alloc(cs.namespace(|| "comm_r_last"), witness.map(|witness| witness.comm_r_last))?;
        let comm_c = alloc(cs.namespace(|| "comm_c"), witness.map(|witness| witness.comm_c))?;
        let comm_r = alloc(cs.namespace(|| "comm_r"), witness.map(|witness| witness.comm_r))?;
        comm_r.inputize(cs.namespace(|| "comm_r_input"))?;
        let roots = [comm_c, comm_r_last.clone()];
        let hash = PoseidonCircuit::of_arity(2).hash(cs.namespace(|| "H_comm_c_comm_r_last"), &roots)?;
        enforce_equal(cs.namespace(|| "comm_r_equality"), &comm_r, &hash);
        for leaf in 0..self.shape.leaves {
            let mut cs = cs.namespace(|| format!("challenge_inclusion_{leaf}"));
            let inclusion = witness.map(|witness| &witness.inclusions[leaf]);
            let num = alloc(cs.namespace(|| "leaf"), inclusion.map(|inclusion| inclusion.leaf))?;
            enforce_inclusion(cs, Tree::RLast, &self.levels, &num, inclusion, &comm_r_last)?;
        }
        Ok(())
    }
}

impl Sector {
    fn read(proof: &SectorProof, openings: &[MerkleProof]) -> Result<Self, NonCanonical> {
        let roots = &proof.openings.sectors[0];
        Ok(Self {
            comm_r: read_node(&proof.comm_r.0)?,
            comm_c: read_node(&roots.comm_c.0)?,
            comm_r_last: read_node(&roots.comm_r_last.0)?,
            inclusions: openings.iter().map(Inclusion::read).collect::<Result<_, _>>()?,
        })
    }
}
