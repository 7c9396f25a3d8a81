//! A label in a circuit: the twin of `cairn_sector::labels`.
//!
//! SHA-256, cut to 254 bits, over the replica id, the layer, the node, zeros to the end of the first block, then 37
//! parent labels.

use bellman::gadgets::boolean::Boolean;
use bellman::{ConstraintSystem, SynthesisError};
use cairn_protocol::params::LABEL_PARENTS;

use crate::gadgets::bits::to_sha256_bits;
use crate::gadgets::num::Num;
use crate::gadgets::sha256::hash_truncated;
use crate::scalar::Scalar;

/// Bits before the parents: one block.
const PREFIX_BITS: usize = 512;

/// Computes a label.
///
/// `replica_id` are its 256 bits as SHA-256 takes them; `node` are 64 bits, least significant first; `parents` are the
/// node's parents' labels, which repeat until 37 have entered.
///
/// # Errors
/// Those of the constraint system.
pub fn label<CS: ConstraintSystem<Scalar>>(
    mut cs: CS,
    replica_id: &[Boolean],
    layer: u32,
    node: &[Boolean],
    parents: &[&Num],
) -> Result<Num, SynthesisError> {
    let parents = parents
        .iter()
        .enumerate()
        .map(|(index, parent)| to_sha256_bits(cs.namespace(|| format!("parent {index}")), parent))
        .collect::<Result<Vec<_>, _>>()?;
    let mut message = replica_id.to_vec();
    message.extend((0..u32::BITS).rev().map(|bit| Boolean::constant(layer >> bit & 1 == 1)));
    message.extend(node.iter().rev().cloned());
    message.resize(PREFIX_BITS, Boolean::constant(false));
    for parent in parents.iter().cycle().take(LABEL_PARENTS) {
        message.extend_from_slice(parent);
    }
    hash_truncated(cs.namespace(|| "label"), &message)
}
