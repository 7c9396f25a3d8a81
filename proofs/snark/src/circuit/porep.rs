//! The proof of replication as a circuit: the twin of `cairn_sector::porep` (`spec/proofs.md` 1.11).
//!
//! Shared by all challenges of a partition:
//! 1. replica id, CommD and CommR become public inputs; the replica id also becomes bits;
//! 2. the roots of tree C and tree R-last hash to CommR.
//!
//! Then for each challenged node c:
//! 1. data\[c\] stands in tree D;
//! 2. the columns of its six base and eight expander parents stand in tree C;
//! 3. c becomes 64 bits and a public input;
//! 4. for every layer the label of c is the hash of its parents' labels;
//! 5. replica\[c\] = data\[c\] + last label stands in tree R-last;
//! 6. the hash of c's labels stands in tree C.
//!
//! Every inclusion makes its index a public input, in the order of `cairn_sector::porep::public_inputs`. That c and its
//! parents are the right nodes is for the verifier to compute; that all four of c's inputs are the same number too.

use bellman::gadgets::boolean::Boolean;
use bellman::gadgets::multipack::pack_into_inputs;
use bellman::{ConstraintSystem, SynthesisError};
use cairn_protocol::params::{BASE_DEGREE, EXPANDER_DEGREE};
use cairn_protocol::{SealProof, SectorParams, SectorSize};
use cairn_sector::merkle::{Levels, Tree};
use cairn_sector::porep::proof::{ChallengeProof, ColumnProof};
use cairn_sector::porep::{PorepProof, PorepRejection, PorepStatement, verify};

use super::labels::label;
use super::merkle::{Inclusion, enforce_inclusion, read_node, read_nodes};
use super::{NonCanonical, SegmentedCircuit};
use crate::gadgets::bits::{alloc_bits, to_sha256_bits};
use crate::gadgets::num::{Num, add, alloc, enforce_equal};
use crate::gadgets::poseidon::PoseidonCircuit;
use crate::scalar::Scalar;

/// Bits of a node's number in a label's message.
const NODE_NUMBER_BITS: usize = 64;

/// One partition of a proof of replication.
#[derive(Debug, Clone)]
pub struct PorepCircuit {
    params: SectorParams,
    levels_d: Levels,
    /// Of tree C and tree R-last.
    levels_c: Levels,
    witness: Option<Partition>,
}

/// The witness of a partition.
#[derive(Debug, Clone)]
struct Partition {
    replica_id: Scalar,
    comm_d: Scalar,
    comm_r: Scalar,
    comm_c: Scalar,
    comm_r_last: Scalar,
    challenges: Vec<Challenge>,
}

/// The witness of a challenge.
#[derive(Debug, Clone)]
struct Challenge {
    node: u64,
    data: Inclusion,
    replica: Inclusion,
    column: Column,
    base_parents: Vec<Column>,
    expander_parents: Vec<Column>,
}

/// A column with its place in tree C.
#[derive(Debug, Clone)]
struct Column {
    rows: Vec<Scalar>,
    inclusion: Inclusion,
}

/// A plain proof that cannot be a witness.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PorepWitnessRejection {
    /// It does not prove the statement.
    #[error(transparent)]
    Proof(#[from] PorepRejection),
    /// It holds something that is no field element.
    #[error("the plain proof holds a node that is no field element: {0}")]
    NonCanonical(#[from] NonCanonical),
}

impl PorepCircuit {
    /// The circuit of a sector size, without a witness. It does not depend on the seal proof.
    pub fn blank(sector_size: SectorSize) -> Self {
        let params = SectorParams::new(sector_size, SealProof::V1_1);
        let (levels_d, levels_c) = (Levels::of(Tree::D, &params), Levels::of(Tree::C, &params));
        Self { params, levels_d, levels_c, witness: None }
    }

    /// One circuit with its witness for each partition of a plain proof, which is verified first: a circuit would only
    /// find out by making a proof that does not verify.
    ///
    /// # Errors
    /// [`PorepWitnessRejection`] names what is wrong with the proof.
    pub fn of_proof(statement: &PorepStatement, proof: &PorepProof) -> Result<Vec<Self>, PorepWitnessRejection> {
        verify(statement, proof)?;
        let blank = Self::blank(statement.identity.sector_size);
        let circuit = |challenges: &Vec<ChallengeProof>| {
            Ok(Self { witness: Some(Partition::read(statement, challenges)?), ..blank.clone() })
        };
        proof.partitions.iter().map(circuit).collect()
    }

    fn enforce_column<CS: ConstraintSystem<Scalar>>(
        &self,
        mut cs: CS,
        name: &str,
        column: Option<&Column>,
        comm_c: &Num,
    ) -> Result<Vec<Num>, SynthesisError> {
        let rows = (0..self.params.layers)
            .map(|layer| alloc(cs.namespace(|| format!("{name}_num_{layer}")), column.map(|column| column.rows[layer])))
            .collect::<Result<Vec<_>, _>>()?;
        self.enforce_column_in_tree(cs, name, &rows, column.map(|column| &column.inclusion), comm_c)?;
        Ok(rows)
    }

    fn enforce_column_in_tree<CS: ConstraintSystem<Scalar>>(
        &self,
        mut cs: CS,
        name: &str,
        rows: &[Num],
        inclusion: Option<&Inclusion>,
        comm_c: &Num,
    ) -> Result<(), SynthesisError> {
        let hash = PoseidonCircuit::of_arity(rows.len());
        let leaf = hash.hash(cs.namespace(|| format!("{name}_column_hash")), rows)?;
        let cs = cs.namespace(|| format!("{name}_inclusion"));
        enforce_inclusion(cs, Tree::C, &self.levels_c, &leaf, inclusion, comm_c)
    }

    /// The labels of the challenged node, layer by layer.
    fn labels<CS: ConstraintSystem<Scalar>>(
        &self,
        mut cs: CS,
        replica_id: &[Boolean],
        node: &[Boolean],
        base_parents: &[Vec<Num>],
        expander_parents: &[Vec<Num>],
    ) -> Result<Vec<Num>, SynthesisError> {
        (0..self.params.layers)
            .map(|layer| {
                let same_layer = base_parents.iter().map(|column| &column[layer]);
                let layer_before = expander_parents.iter().filter(|_| layer > 0).map(|column| &column[layer - 1]);
                let parents: Vec<&Num> = same_layer.chain(layer_before).collect();
                let number = layer as u32 + 1;
                label(cs.namespace(|| format!("labeling_{number}")), replica_id, number, node, &parents)
            })
            .collect()
    }
}

/// Variables of a partition that its challenges refer to.
pub struct PorepShared {
    replica_id: Vec<Boolean>,
    comm_d: Num,
    comm_c: Num,
    comm_r_last: Num,
}

impl SegmentedCircuit for PorepCircuit {
    type Shared = PorepShared;

    fn segments(&self) -> usize {
        self.params.challenges_per_partition
    }

    fn synthesize_shared<CS: ConstraintSystem<Scalar>>(&self, cs: &mut CS) -> Result<PorepShared, SynthesisError> {
        let witness = self.witness.as_ref();
        let replica_id = alloc(cs.namespace(|| "replica_id"), witness.map(|witness| witness.replica_id))?;
        replica_id.inputize(cs.namespace(|| "replica_id_input"))?;
        let replica_id = to_sha256_bits(cs.namespace(|| "replica_id_bits"), &replica_id)?;
        let comm_d = alloc(cs.namespace(|| "comm_d"), witness.map(|witness| witness.comm_d))?;
        comm_d.inputize(cs.namespace(|| "comm_d_input"))?;
        let comm_r = alloc(cs.namespace(|| "comm_r"), witness.map(|witness| witness.comm_r))?;
        comm_r.inputize(cs.namespace(|| "comm_r_input"))?;
        let comm_r_last = alloc(cs.namespace(|| "comm_r_last"), witness.map(|witness| witness.comm_r_last))?;
        let comm_c = alloc(cs.namespace(|| "comm_c"), witness.map(|witness| witness.comm_c))?;
        let roots = [comm_c.clone(), comm_r_last.clone()];
        let hash = PoseidonCircuit::of_arity(2).hash(cs.namespace(|| "H_comm_c_comm_r_last"), &roots)?;
        enforce_equal(cs.namespace(|| "comm_r_equality"), &comm_r, &hash);
        Ok(PorepShared { replica_id, comm_d, comm_c, comm_r_last })
    }

    fn synthesize_segment<CS: ConstraintSystem<Scalar>>(
        &self,
        cs: &mut CS,
        shared: &PorepShared,
        index: usize,
    ) -> Result<(), SynthesisError> {
        let mut cs = cs.namespace(|| format!("challenge_{index}"));
        let witness = self.witness.as_ref().map(|witness| &witness.challenges[index]);
        let data = alloc(cs.namespace(|| "data_leaf"), witness.map(|witness| witness.data.leaf))?;
        enforce_inclusion(
            cs.namespace(|| "comm_d_inclusion"),
            Tree::D,
            &self.levels_d,
            &data,
            witness.map(|witness| &witness.data),
            &shared.comm_d,
        )?;
        let mut columns = |name: &str, count: usize, of: fn(&Challenge) -> &Vec<Column>| {
            (0..count)
                .map(|parent| {
                    let column = witness.map(|witness| &of(witness)[parent]);
                    self.enforce_column(&mut cs, &format!("{name}_parent_{parent}"), column, &shared.comm_c)
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let base_parents = columns("drg", BASE_DEGREE, |witness| &witness.base_parents)?;
        let expander_parents = columns("exp", EXPANDER_DEGREE, |witness| &witness.expander_parents)?;
        let number = witness.map(|witness| witness.node);
        let node = alloc_bits(cs.namespace(|| "challenge"), number, NODE_NUMBER_BITS)?;
        let node: Vec<Boolean> = node.into_iter().map(Boolean::from).collect();
        pack_into_inputs(cs.namespace(|| "challenge input"), &node)?;

        let labels = self.labels(&mut cs, &shared.replica_id, &node, &base_parents, &expander_parents)?;
        let key = labels.last().expect("there are layers");
        let replica = add(cs.namespace(|| "encode_node"), key, &data)?;
        enforce_inclusion(
            cs.namespace(|| "comm_r_last_data_inclusion"),
            Tree::RLast,
            &self.levels_c,
            &replica,
            witness.map(|witness| &witness.replica),
            &shared.comm_r_last,
        )?;
        let inclusion = witness.map(|witness| &witness.column.inclusion);
        self.enforce_column_in_tree(cs, "c_x", &labels, inclusion, &shared.comm_c)
    }
}

impl Partition {
    fn read(statement: &PorepStatement, challenges: &[ChallengeProof]) -> Result<Self, NonCanonical> {
        let first = &challenges[0];
        Ok(Self {
            replica_id: read_node(&statement.identity.replica_id(&statement.comm_d).0)?,
            comm_d: read_node(&statement.comm_d.0)?,
            comm_r: read_node(&statement.comm_r.0)?,
            comm_c: read_node(first.columns.challenge.inclusion_proof.root())?,
            comm_r_last: read_node(first.replica.root())?,
            challenges: challenges.iter().map(Challenge::read).collect::<Result<_, _>>()?,
        })
    }
}

impl Challenge {
    fn read(proof: &ChallengeProof) -> Result<Self, NonCanonical> {
        let columns = |proofs: &[ColumnProof]| proofs.iter().map(Column::read).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            node: u64::from(proof.columns.challenge.column.index),
            data: Inclusion::read(&proof.data)?,
            replica: Inclusion::read(&proof.replica)?,
            column: Column::read(&proof.columns.challenge)?,
            base_parents: columns(&proof.columns.base_parents)?,
            expander_parents: columns(&proof.columns.expander_parents)?,
        })
    }
}

impl Column {
    fn read(proof: &ColumnProof) -> Result<Self, NonCanonical> {
        Ok(Self { rows: read_nodes(&proof.column.rows)?, inclusion: Inclusion::read(&proof.inclusion_proof)? })
    }
}
