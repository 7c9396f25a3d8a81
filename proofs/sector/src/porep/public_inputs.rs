//! Public inputs of the PoRep circuit (`spec/proofs.md` 1.11): what a verifier of the SNARK computes for itself.

use cairn_compute::Node;

use super::PorepStatement;
use super::challenges::challenges;

/// For each partition: replica id, CommD, CommR; then for each challenge the node (path in tree D), its six base and
/// eight expander parents (paths in tree C), and the node three times more (packed bits, path in tree R-last, path in
/// tree C). ONE is not among them.
pub fn public_inputs(statement: &PorepStatement) -> Vec<Vec<Node>> {
    let graph = statement.identity.graph();
    let head = [statement.identity.replica_id(&statement.comm_d).0, statement.comm_d.0, statement.comm_r.0];
    challenges(statement)
        .into_iter()
        .map(|nodes| {
            let of_node = |node: u32| {
                let parents = graph.parents(node);
                [node].into_iter().chain(parents).chain([node; 3]).map(index_node).collect::<Vec<_>>()
            };
            head.into_iter().chain(nodes.into_iter().flat_map(of_node)).collect()
        })
        .collect()
}

/// An index as a field element.
fn index_node(index: u32) -> Node {
    let mut node = [0u8; 32];
    node[..4].copy_from_slice(&index.to_le_bytes());
    node
}
