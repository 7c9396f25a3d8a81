//! Public inputs of the update circuit: what a verifier of the SNARK computes for itself.

use cairn_compute::{Fr, Node, fr_to_node};

use super::UpdateStatement;

/// Number of public inputs of one partition, ONE not counted.
pub const PUBLIC_INPUTS: usize = 4;

/// For each partition k: `k | h_select << partition_bits`, CommR before, CommD new, CommR after. ONE is not among them.
pub fn public_inputs(statement: &UpdateStatement) -> Vec<[Node; PUBLIC_INPUTS]> {
    let params = statement.params();
    let h_select = statement.h_select.one_hot() << params.partition_bits();
    (0..params.partitions as u64)
        .map(|partition| {
            let partition_and_h = fr_to_node(&Fr::from(partition | h_select));
            [partition_and_h, statement.comm_r_old.0, statement.comm_d_new.0, statement.comm_r_new.0]
        })
        .collect()
}
