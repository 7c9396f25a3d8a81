//! A sector update as a circuit: the twin of `cairn_sector::update` (`spec/proofs.md` 1.15).
//!
//! Shared by all challenges of a partition:
//! 1. the partition's number and the choice of h become one public input, and bits; so do CommR before, CommD new and
//!    CommR after, as numbers;
//! 2. phi = P2*(CommD new, CommR old);
//! 3. CommC and the roots of both trees R-last hash to both CommR;
//! 4. the apex leaves hash to the root of the partition, and that, along its path, to CommD;
//! 5. hashes of CommR after, as bits, are the challenges.
//!
//! Then for each challenged node c:
//! 1. the top h bits of c are packed for every choice of h; the choice picks one, and rho = P2*(phi, picked);
//! 2. new\[c\] = old\[c\] + data\[c\] · rho;
//! 3. old\[c\] and new\[c\] stand in their trees R-last at c;
//! 4. the bits of c pick an apex leaf, below which data\[c\] stands.
//!
//! Positions are bits of c, which the circuit computes for itself; none is a public input.

use std::sync::OnceLock;

use bellman::gadgets::boolean::{AllocatedBit, Boolean, field_into_allocated_bits_le};
use bellman::{ConstraintSystem, SynthesisError};
use cairn_compute::Poseidon;
use cairn_protocol::SectorSize;
use cairn_sector::merkle::{Levels, Tree};
use cairn_sector::update::encoding::randomness_tag;
use cairn_sector::update::params::{H_CHOICES, h_choices};
use cairn_sector::update::proof::{ChallengeProof, PartitionProof};
use cairn_sector::update::{UpdateParams, UpdateProof, UpdateRejection, UpdateStatement, verify};

use super::merkle::{Inclusion, Step, hash_children, read_node, read_nodes};
use super::{NonCanonical, SegmentedCircuit};
use crate::gadgets::bits::{alloc_bits, pack, packed_combination};
use crate::gadgets::insertion::insert;
use crate::gadgets::num::{Num, add, alloc, enforce_equal, pick};
use crate::gadgets::poseidon::PoseidonCircuit;
use crate::gadgets::sha256::hash_pair;
use crate::scalar::Scalar;

/// One partition of a proof of a sector update.
#[derive(Debug, Clone)]
pub struct UpdateCircuit {
    params: UpdateParams,
    h_choices: [usize; H_CHOICES],
    levels_d: Levels,
    levels_r: Levels,
    witness: Option<Partition>,
}

/// The witness of a partition.
#[derive(Debug, Clone)]
struct Partition {
    partition: u64,
    h_select: u64,
    comm_r_old: Scalar,
    comm_d_new: Scalar,
    comm_r_new: Scalar,
    comm_c: Scalar,
    root_old: Scalar,
    root_new: Scalar,
    apex_leaves: Vec<Scalar>,
    /// From the partition's root up.
    partition_path: Vec<Step>,
    challenges: Vec<Challenge>,
}

/// The witness of a challenge.
#[derive(Debug, Clone)]
struct Challenge {
    old_replica: Inclusion,
    new_replica: Inclusion,
    /// Of the whole path only the steps up to the apex leaf are the challenge's own.
    new_data: Inclusion,
}

/// A plain proof that cannot be a witness.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateWitnessRejection {
    /// It does not prove the statement.
    #[error(transparent)]
    Proof(#[from] UpdateRejection),
    /// It holds something that is no field element.
    #[error("the plain proof holds a node that is no field element: {0}")]
    NonCanonical(#[from] NonCanonical),
}

/// `P2*`, derived on first use and kept: it is a constant of the protocol.
fn randomness_hash() -> &'static PoseidonCircuit {
    static CIRCUIT: OnceLock<PoseidonCircuit> = OnceLock::new();
    CIRCUIT.get_or_init(|| PoseidonCircuit::derive(Poseidon::of_arity(2), randomness_tag()))
}

impl UpdateCircuit {
    /// The circuit of a sector size, without a witness.
    pub fn blank(sector_size: SectorSize) -> Self {
        let params = UpdateParams::new(sector_size);
        Self {
            params,
            h_choices: h_choices(sector_size),
            levels_d: Levels::of(Tree::D, &params.sector),
            levels_r: Levels::of(Tree::RLast, &params.sector),
            witness: None,
        }
    }

    /// One circuit with its witness for each partition of a plain proof, which is verified first: a circuit would only
    /// find out by making a proof that does not verify.
    ///
    /// # Errors
    /// [`UpdateWitnessRejection`] names what is wrong with the proof.
    pub fn of_proof(statement: &UpdateStatement, proof: &UpdateProof) -> Result<Vec<Self>, UpdateWitnessRejection> {
        verify(statement, proof)?;
        let blank = Self::blank(statement.sector_size);
        let circuit = |(partition, proof)| {
            Ok(Self { witness: Some(Partition::read(statement, partition, proof)?), ..blank.clone() })
        };
        proof.partitions.iter().enumerate().map(circuit).collect()
    }

    /// The bits of the partition's number and of the choice of h, which together are the first public input.
    fn partition_and_h<CS: ConstraintSystem<Scalar>>(
        &self,
        mut cs: CS,
    ) -> Result<(Vec<AllocatedBit>, Vec<Boolean>), SynthesisError> {
        let partition_bits = self.params.partition_bits();
        let value = self.witness.as_ref().map(|witness| witness.partition | witness.h_select << partition_bits);
        let packed = alloc(cs.namespace(|| "k_and_h_select"), value.map(Scalar::from))?;
        packed.inputize(cs.namespace(|| "k_and_h_select_input"))?;
        let mut bits = alloc_bits(cs.namespace(|| "k_and_h_select_bits"), value, partition_bits + H_CHOICES)?;
        let all: Vec<Boolean> = bits.iter().cloned().map(Boolean::from).collect();
        cs.enforce(
            || "k_and_h_select is its bits",
            |lc| packed_combination(lc, CS::one(), &all),
            |lc| lc + CS::one(),
            |lc| lc + packed.get_variable(),
        );
        let h_select = bits.split_off(partition_bits).into_iter().map(Boolean::from).collect();
        Ok((bits, h_select))
    }

    /// The apex leaves lead to CommD.
    fn enforce_apex<CS: ConstraintSystem<Scalar>>(
        &self,
        mut cs: CS,
        apex_leaves: &[Num],
        partition: &[AllocatedBit],
        path: &[Vec<Num>],
        comm_d: &Num,
    ) -> Result<(), SynthesisError> {
        let mut row = apex_leaves.to_vec();
        let mut height = 0;
        while row.len() > 1 {
            row = row
                .chunks_exact(2)
                .enumerate()
                .map(|(node, pair)| {
                    hash_pair(cs.namespace(|| format!("apex row {height} node {node}")), &pair[0], &pair[1])
                })
                .collect::<Result<_, _>>()?;
            height += 1;
        }
        enforce_path(cs.namespace(|| "partition path"), Tree::D, &row[0], partition, path, comm_d)
    }

    /// Every challenge of the partition as the bits of its node, least significant first.
    fn challenge_bits<CS: ConstraintSystem<Scalar>>(
        &self,
        mut cs: CS,
        comm_r_new: &Num,
        partition: &Num,
        partition_bits: &[AllocatedBit],
    ) -> Result<Vec<Vec<AllocatedBit>>, SynthesisError> {
        let bits = self.params.challenge_bits();
        let digests = self.params.digests_per_partition();
        let mut challenges = Vec::with_capacity(self.params.challenges_per_partition);
        for digest in 0..digests {
            let (digests, digest) = (Scalar::from(digests as u64), Scalar::from(digest as u64));
            let mut cs = cs.namespace(|| format!("digest {digest:?}"));
            let value = partition.get_value().map(|partition| partition * digests + digest);
            let index = alloc(cs.namespace(|| "index"), value)?;
            cs.enforce(
                || "index constraint",
                |lc| lc + (digests, partition.get_variable()) + (digest, CS::one()),
                |lc| lc + CS::one(),
                |lc| lc + index.get_variable(),
            );
            let hash = randomness_hash().hash(cs.namespace(|| "hash"), &[comm_r_new.clone(), index])?;
            let hash = unpack(cs.namespace(|| "bits"), &hash)?;
            let drawn = hash.chunks_exact(bits).take(self.params.challenges_per_digest());
            challenges.extend(drawn.map(|within| [within, partition_bits].concat()));
        }
        challenges.truncate(self.params.challenges_per_partition);
        Ok(challenges)
    }

    /// The top bits of a node's index that decide its factor: packed for every choice of h, of which one is selected.
    fn high_bits<CS: ConstraintSystem<Scalar>>(
        &self,
        mut cs: CS,
        node: &[AllocatedBit],
        h_select: &[Boolean],
    ) -> Result<Num, SynthesisError> {
        let mut candidates = Vec::with_capacity(H_CHOICES);
        for (choice, (h, selected)) in self.h_choices.iter().zip(h_select).enumerate() {
            let mut cs = cs.namespace(|| format!("choice {choice}"));
            let high: Vec<Boolean> = node[node.len() - h..].iter().cloned().map(Boolean::from).collect();
            let high = pack(cs.namespace(|| "high bits"), &high)?;
            let value = high.get_value().zip(selected.get_value());
            let candidate = alloc(
                cs.namespace(|| "high bits or zero"),
                value.map(|(high, selected)| high * Scalar::of_bit(selected)),
            )?;
            cs.enforce(
                || "selection",
                |lc| lc + high.get_variable(),
                |_| selected.lc(CS::one(), Scalar::from(1)),
                |lc| lc + candidate.get_variable(),
            );
            candidates.push(candidate);
        }
        let value = candidates.iter().map(Num::get_value).sum::<Option<Scalar>>();
        let selected = alloc(cs.namespace(|| "selected"), value)?;
        cs.enforce(
            || "sum of candidates",
            |lc| candidates.iter().fold(lc, |lc, candidate| lc + candidate.get_variable()),
            |lc| lc + CS::one(),
            |lc| lc + selected.get_variable(),
        );
        Ok(selected)
    }

    /// The replica stands in its tree R-last.
    fn enforce_replica<CS: ConstraintSystem<Scalar>>(
        &self,
        mut cs: CS,
        node: &[AllocatedBit],
        leaf: &Num,
        inclusion: Option<&Inclusion>,
        root: &Num,
    ) -> Result<(), SynthesisError> {
        let arities: Vec<usize> = self.levels_r.arities().collect();
        let steps = inclusion.map(|inclusion| inclusion.steps.as_slice());
        let path = alloc_path(cs.namespace(|| "siblings"), &arities, steps)?;
        enforce_path(cs.namespace(|| "path"), Tree::RLast, leaf, node, &path, root)
    }

    /// The data stands below its apex leaf.
    fn enforce_data<CS: ConstraintSystem<Scalar>>(
        &self,
        mut cs: CS,
        node: &[AllocatedBit],
        leaf: &Num,
        inclusion: Option<&Inclusion>,
        apex_leaves: &[Num],
    ) -> Result<(), SynthesisError> {
        let height = self.params.apex_height();
        let (below, above) = node.split_at(height);
        let apex_leaf = select(cs.namespace(|| "apex leaf"), apex_leaves, &above[..self.params.apex_bits()])?;
        let steps = inclusion.map(|inclusion| &inclusion.steps[..height]);
        let path = alloc_path(cs.namespace(|| "siblings"), &self.levels_d.base[..height], steps)?;
        enforce_path(cs.namespace(|| "path"), Tree::D, leaf, below, &path, &apex_leaf)
    }
}

/// Variables of a partition that its challenges refer to.
pub struct UpdateShared {
    phi: Num,
    h_select: Vec<Boolean>,
    root_old: Num,
    root_new: Num,
    apex_leaves: Vec<Num>,
    challenges: Vec<Vec<AllocatedBit>>,
}

impl SegmentedCircuit for UpdateCircuit {
    type Shared = UpdateShared;

    fn segments(&self) -> usize {
        self.params.challenges_per_partition
    }

    fn synthesize_shared<CS: ConstraintSystem<Scalar>>(&self, cs: &mut CS) -> Result<UpdateShared, SynthesisError> {
        let witness = self.witness.as_ref();
        let (partition_bits, h_select) = self.partition_and_h(&mut *cs)?;
        let packed: Vec<Boolean> = partition_bits.iter().cloned().map(Boolean::from).collect();
        let partition = pack(cs.namespace(|| "partition"), &packed)?;
        let comm_r_old = alloc(cs.namespace(|| "comm_r_old"), witness.map(|witness| witness.comm_r_old))?;
        comm_r_old.inputize(cs.namespace(|| "comm_r_old_input"))?;
        let comm_d_new = alloc(cs.namespace(|| "comm_d_new"), witness.map(|witness| witness.comm_d_new))?;
        comm_d_new.inputize(cs.namespace(|| "comm_d_new_input"))?;
        let comm_r_new = alloc(cs.namespace(|| "comm_r_new"), witness.map(|witness| witness.comm_r_new))?;
        comm_r_new.inputize(cs.namespace(|| "comm_r_new_input"))?;
        let phi = randomness_hash().hash(cs.namespace(|| "phi"), &[comm_d_new.clone(), comm_r_old.clone()])?;

        let comm_c = alloc(cs.namespace(|| "comm_c"), witness.map(|witness| witness.comm_c))?;
        let root_old = alloc(cs.namespace(|| "root_r_old"), witness.map(|witness| witness.root_old))?;
        let root_new = alloc(cs.namespace(|| "root_r_new"), witness.map(|witness| witness.root_new))?;
        let apex_leaves = (0..self.params.apex_leaves)
            .map(|leaf| {
                alloc(cs.namespace(|| format!("apex_leaf_{leaf}")), witness.map(|witness| witness.apex_leaves[leaf]))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let path = alloc_path(
            cs.namespace(|| "partition_path"),
            &self.levels_d.base[self.params.challenge_bits()..],
            witness.map(|witness| witness.partition_path.as_slice()),
        )?;
        for (name, root, comm_r) in [("comm_r_old", &root_old, &comm_r_old), ("comm_r_new", &root_new, &comm_r_new)] {
            let mut cs = cs.namespace(|| format!("{name}_calc"));
            let hash = PoseidonCircuit::of_arity(2).hash(cs.namespace(|| "hash"), &[comm_c.clone(), root.clone()])?;
            enforce_equal(cs.namespace(|| "equality"), &hash, comm_r);
        }
        self.enforce_apex(cs.namespace(|| "apex"), &apex_leaves, &partition_bits, &path, &comm_d_new)?;
        let challenges =
            self.challenge_bits(cs.namespace(|| "challenges"), &comm_r_new, &partition, &partition_bits)?;
        Ok(UpdateShared { phi, h_select, root_old, root_new, apex_leaves, challenges })
    }

    fn synthesize_segment<CS: ConstraintSystem<Scalar>>(
        &self,
        cs: &mut CS,
        shared: &UpdateShared,
        index: usize,
    ) -> Result<(), SynthesisError> {
        let mut cs = cs.namespace(|| format!("challenge_{index}"));
        let witness = self.witness.as_ref().map(|witness| &witness.challenges[index]);
        let node = &shared.challenges[index];
        let high_bits = self.high_bits(cs.namespace(|| "high_bits"), node, &shared.h_select)?;
        let rho = randomness_hash().hash(cs.namespace(|| "rho"), &[shared.phi.clone(), high_bits])?;

        let old = alloc(cs.namespace(|| "leaf_r_old"), witness.map(|witness| witness.old_replica.leaf))?;
        let data = alloc(cs.namespace(|| "leaf_d_new"), witness.map(|witness| witness.new_data.leaf))?;
        let difference = data.mul(cs.namespace(|| "leaf_d_new * rho"), &rho)?;
        let new = add(cs.namespace(|| "leaf_r_new"), &old, &difference)?;

        let inclusion = witness.map(|witness| &witness.old_replica);
        self.enforce_replica(cs.namespace(|| "tree_r_old"), node, &old, inclusion, &shared.root_old)?;
        let inclusion = witness.map(|witness| &witness.new_replica);
        self.enforce_replica(cs.namespace(|| "tree_r_new"), node, &new, inclusion, &shared.root_new)?;
        let inclusion = witness.map(|witness| &witness.new_data);
        self.enforce_data(cs.namespace(|| "tree_d_new"), node, &data, inclusion, &shared.apex_leaves)
    }
}

/// The 255 bits of a number, least significant first: `(sum 2^i bit_i) * 1 = number`. A number may be given as itself
/// plus the modulus, as long as that is below `2^255`; Filecoin's circuit allows it.
fn unpack<CS: ConstraintSystem<Scalar>>(mut cs: CS, number: &Num) -> Result<Vec<AllocatedBit>, SynthesisError> {
    let bits = field_into_allocated_bits_le(cs.namespace(|| "bits"), number.get_value())?;
    let all: Vec<Boolean> = bits.iter().cloned().map(Boolean::from).collect();
    cs.enforce(
        || "packing",
        |lc| packed_combination(lc, CS::one(), &all),
        |lc| lc + CS::one(),
        |lc| lc + number.get_variable(),
    );
    Ok(bits)
}

/// Allocates the siblings of a path, level by level.
fn alloc_path<CS: ConstraintSystem<Scalar>>(
    mut cs: CS,
    arities: &[usize],
    steps: Option<&[Step]>,
) -> Result<Vec<Vec<Num>>, SynthesisError> {
    let mut path = Vec::with_capacity(arities.len());
    for (level, arity) in arities.iter().enumerate() {
        let siblings = (0..arity - 1)
            .map(|sibling| {
                let value = steps.map(|steps| steps[level].siblings[sibling]);
                alloc(cs.namespace(|| format!("level {level} sibling {sibling}")), value)
            })
            .collect::<Result<Vec<_>, _>>()?;
        path.push(siblings);
    }
    Ok(path)
}

/// Enforces that `leaf`, at the position that the bits say, leads to `root`. The positions at all levels take all bits.
fn enforce_path<CS: ConstraintSystem<Scalar>>(
    mut cs: CS,
    tree: Tree,
    leaf: &Num,
    position: &[AllocatedBit],
    path: &[Vec<Num>],
    root: &Num,
) -> Result<(), SynthesisError> {
    let mut running = leaf.clone();
    let mut rest = position;
    for (level, siblings) in path.iter().enumerate() {
        let (bits, above) = rest.split_at((siblings.len() + 1).ilog2() as usize);
        let children = insert(cs.namespace(|| format!("level {level} children")), &running, bits, siblings)?;
        running = hash_children(cs.namespace(|| format!("level {level} hash")), tree, &children)?;
        rest = above;
    }
    assert!(rest.is_empty(), "{} bits of a position left over", rest.len());
    enforce_equal(cs.namespace(|| "root"), &running, root);
    Ok(())
}

/// The number at the index that the bits make: each bit, the highest first, halves what is left.
fn select<CS: ConstraintSystem<Scalar>>(
    mut cs: CS,
    numbers: &[Num],
    index: &[AllocatedBit],
) -> Result<Num, SynthesisError> {
    let mut left = numbers.to_vec();
    for (height, bit) in index.iter().rev().enumerate() {
        let bit = Boolean::from(bit.clone());
        let (low, high) = left.split_at(left.len() / 2);
        left = high
            .iter()
            .zip(low)
            .enumerate()
            .map(|(place, (high, low))| pick(cs.namespace(|| format!("pick {height}, {place}")), &bit, high, low))
            .collect::<Result<_, _>>()?;
    }
    assert_eq!(left.len(), 1, "bits for every number");
    Ok(left.remove(0))
}

impl Partition {
    fn read(statement: &UpdateStatement, partition: usize, proof: &PartitionProof) -> Result<Self, NonCanonical> {
        let first = &proof.challenges[0];
        let mut path = Inclusion::read(&first.new_data)?.steps;
        Ok(Self {
            partition: partition as u64,
            h_select: statement.h_select.one_hot(),
            comm_r_old: read_node(&statement.comm_r_old.0)?,
            comm_d_new: read_node(&statement.comm_d_new.0)?,
            comm_r_new: read_node(&statement.comm_r_new.0)?,
            comm_c: read_node(&proof.comm_c.0)?,
            root_old: read_node(first.old_replica.root())?,
            root_new: read_node(first.new_replica.root())?,
            apex_leaves: read_nodes(&proof.apex_leaves)?,
            partition_path: path.split_off(statement.params().challenge_bits()),
            challenges: proof.challenges.iter().map(Challenge::read).collect::<Result<_, _>>()?,
        })
    }
}

impl Challenge {
    fn read(proof: &ChallengeProof) -> Result<Self, NonCanonical> {
        Ok(Self {
            old_replica: Inclusion::read(&proof.old_replica)?,
            new_replica: Inclusion::read(&proof.new_replica)?,
            new_data: Inclusion::read(&proof.new_data)?,
        })
    }
}
