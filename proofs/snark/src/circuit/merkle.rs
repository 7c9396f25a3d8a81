//! Inclusion proofs in a circuit: the twin of `cairn_sector::merkle`.
//!
//! At each level, leaves first: the bits of the running hash's position among its siblings, the siblings, the node's
//! children in order, their hash. All position bits together are the leaf's index, which is a public input, so a proof
//! for another leaf does not verify; the last hash must be the root.

use bellman::gadgets::boolean::Boolean;
use bellman::gadgets::multipack::pack_into_inputs;
use bellman::{ConstraintSystem, SynthesisError};
use cairn_compute::Node;
use cairn_sector::merkle::{Levels, MerkleProof, ProofData, Tree};

use super::NonCanonical;
use crate::gadgets::bits::alloc_bits;
use crate::gadgets::insertion::insert;
use crate::gadgets::num::{Num, alloc, enforce_equal};
use crate::gadgets::poseidon::PoseidonCircuit;
use crate::gadgets::sha256::hash_pair;
use crate::scalar::Scalar;

/// The witness of an inclusion proof.
#[derive(Debug, Clone)]
pub struct Inclusion {
    /// The leaf.
    pub leaf: Scalar,
    /// From the leaf up.
    pub steps: Vec<Step>,
}

/// One level of an [`Inclusion`].
#[derive(Debug, Clone)]
pub struct Step {
    /// Siblings in order, the running hash left out.
    pub siblings: Vec<Scalar>,
    /// Position of the running hash.
    pub position: u64,
}

impl Inclusion {
    /// Reads a plain proof.
    ///
    /// # Errors
    /// [`NonCanonical`] for a hash that is no field element.
    pub fn read(proof: &MerkleProof) -> Result<Self, NonCanonical> {
        let parts = match &proof.data {
            ProofData::Single { path, .. } => vec![path],
            ProofData::Sub { base_proof, sub_proof, .. } => vec![base_proof, sub_proof],
            ProofData::Top { base_proof, sub_proof, top_proof, .. } => vec![base_proof, sub_proof, top_proof],
        };
        let steps = parts
            .into_iter()
            .flat_map(|part| &part.path)
            .map(|step| Ok(Step { siblings: read_nodes(&step.hashes)?, position: step.index }));
        Ok(Self { leaf: read_node(proof.leaf())?, steps: steps.collect::<Result<_, _>>()? })
    }
}

/// Reads nodes as numbers.
///
/// # Errors
/// [`NonCanonical`] for the first that is no field element.
pub fn read_nodes(nodes: &[Node]) -> Result<Vec<Scalar>, NonCanonical> {
    nodes.iter().map(read_node).collect()
}

/// Reads a node as a number.
///
/// # Errors
/// [`NonCanonical`] if it is no field element.
pub fn read_node(node: &Node) -> Result<Scalar, NonCanonical> {
    Ok(Scalar(cairn_compute::fr_from_node(node)?))
}

/// Enforces that `leaf` stands in the tree with the given root, at an index that becomes a public input.
///
/// # Errors
/// Those of the constraint system.
///
/// # Panics
/// If the proof has another shape than the tree.
pub fn enforce_inclusion<CS: ConstraintSystem<Scalar>>(
    mut cs: CS,
    tree: Tree,
    levels: &Levels,
    leaf: &Num,
    proof: Option<&Inclusion>,
    root: &Num,
) -> Result<(), SynthesisError> {
    let mut running = leaf.clone();
    let mut index_bits = vec![];
    for (level, arity) in levels.arities().enumerate() {
        let mut cs = cs.namespace(|| format!("level {level}"));
        let step = proof.map(|proof| &proof.steps[level]);
        let bits = alloc_bits(cs.namespace(|| "position"), step.map(|step| step.position), arity.ilog2() as usize)?;
        let siblings = (0..arity - 1)
            .map(|sibling| {
                alloc(cs.namespace(|| format!("sibling {sibling}")), step.map(|step| step.siblings[sibling]))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let children = insert(cs.namespace(|| "children"), &running, &bits, &siblings)?;
        running = hash_children(cs.namespace(|| "hash"), tree, &children)?;
        index_bits.extend(bits.into_iter().map(Boolean::from));
    }
    pack_into_inputs(cs.namespace(|| "path"), &index_bits)?;
    enforce_equal(cs.namespace(|| "root"), &running, root);
    Ok(())
}

pub(super) fn hash_children<CS: ConstraintSystem<Scalar>>(
    cs: CS,
    tree: Tree,
    children: &[Num],
) -> Result<Num, SynthesisError> {
    match tree {
        Tree::D => hash_pair(cs, &children[0], &children[1]),
        Tree::C | Tree::RLast => PoseidonCircuit::of_arity(children.len()).hash(cs, children),
    }
}
