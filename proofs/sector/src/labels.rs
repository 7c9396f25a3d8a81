//! Labels: the slow part of sealing, on purpose (`spec/proofs.md` 1.7).
//!
//! A label is SHA-256, cut to 254 bits, over 1,248 bytes: the replica id, the layer (u32 BE, from 1), the node (u64 BE),
//! 20 zero bytes, then 37 parent labels. Layer 1 has only base parents, so it repeats those six; later layers repeat all
//! fourteen. Node 0 has no parents and hashes the first 64 bytes alone. A label depends on the one before it, so a layer
//! is computed strictly from node 0 upwards.
//!
//! The bound: 20 compressions of 64 bytes for each label; 8 MiB with two layers hash 671 MB.

use cairn_compute::Node;
use cairn_protocol::ReplicaId;
use cairn_protocol::params::{BASE_DEGREE, DEGREE, EXPANDER_DEGREE, LABEL_PARENTS};

use crate::sha256::{hash_padded_blocks, hash_truncated};

/// Bytes before the parents: exactly one block.
const PREFIX_BYTES: usize = 64;
/// Blocks of a label's message with its padding.
const LABEL_BLOCKS: usize = 20;
/// Bytes of a label's message.
const LABEL_MESSAGE_BYTES: usize = PREFIX_BYTES + LABEL_PARENTS * 32;

const _: () =
    assert!(LABEL_MESSAGE_BYTES + 9 <= LABEL_BLOCKS * 64 && LABEL_MESSAGE_BYTES + 9 > (LABEL_BLOCKS - 1) * 64);

/// The label of a node with parents, given the 37 labels that enter it. Plain hashing: the oracle, and the check of a
/// labelling proof.
pub fn label(replica_id: &ReplicaId, layer: u32, node: u64, parents: &[Node; LABEL_PARENTS]) -> Node {
    hash_truncated([&prefix(replica_id, layer, node)[..], parents.as_flattened()])
}

/// The label of node 0.
pub fn first_label(replica_id: &ReplicaId, layer: u32) -> Node {
    hash_truncated([&prefix(replica_id, layer, 0)[..]])
}

/// Repeats a node's parent labels to the 37 that enter its hash: `base` in layer 1, `base` and `expander` in later ones.
pub fn repeat_parents(base: &[Node; BASE_DEGREE], expander: Option<&[Node; EXPANDER_DEGREE]>) -> [Node; LABEL_PARENTS] {
    let own: Vec<Node> = base.iter().chain(expander.into_iter().flatten()).copied().collect();
    std::array::from_fn(|index| own[index % own.len()])
}

fn prefix(replica_id: &ReplicaId, layer: u32, node: u64) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0u8; PREFIX_BYTES];
    prefix[..32].copy_from_slice(&replica_id.0);
    prefix[32..36].copy_from_slice(&layer.to_be_bytes());
    prefix[36..44].copy_from_slice(&node.to_be_bytes());
    prefix
}

/// Computes labels of one layer in order, over one message buffer.
pub struct Labeller<'a> {
    blocks: [[u8; 64]; LABEL_BLOCKS],
    replica_id: ReplicaId,
    layer: u32,
    previous: Option<&'a [Node]>,
    labels: Vec<Node>,
}

impl<'a> Labeller<'a> {
    /// Starts layer `layer` (from 1); `previous` is the whole layer before, absent for layer 1.
    ///
    /// # Panics
    /// If the previous layer is there in layer 1, or missing in a later one, or has another length.
    pub fn new(replica_id: ReplicaId, layer: u32, nodes: u64, previous: Option<&'a [Node]>) -> Self {
        assert_eq!(previous.is_some(), layer > 1, "every layer but the first builds on another");
        assert!(previous.is_none_or(|labels| labels.len() as u64 == nodes), "the layer before has another size");
        let mut blocks = [[0u8; 64]; LABEL_BLOCKS];
        let bytes = blocks.as_flattened_mut();
        bytes[LABEL_MESSAGE_BYTES] = 0x80;
        bytes[LABEL_BLOCKS * 64 - 8..].copy_from_slice(&(LABEL_MESSAGE_BYTES as u64 * 8).to_be_bytes());
        Self { blocks, replica_id, layer, previous, labels: Vec::with_capacity(nodes as usize) }
    }

    /// Computes the next node's label from its parents.
    ///
    /// # Panics
    /// If a base parent is not smaller than the node.
    pub fn push(&mut self, parents: &[u32; DEGREE]) {
        let node = self.labels.len() as u64;
        if node == 0 {
            self.labels.push(first_label(&self.replica_id, self.layer));
            return;
        }
        let bytes = self.blocks.as_flattened_mut();
        bytes[..PREFIX_BYTES].copy_from_slice(&prefix(&self.replica_id, self.layer, node));
        let message = &mut bytes[PREFIX_BYTES..LABEL_MESSAGE_BYTES];
        let own = if self.previous.is_some() { DEGREE } else { BASE_DEGREE };
        let (once, repeated) = message.split_at_mut(own * 32);
        for (slot, parent) in once.chunks_exact_mut(32).zip(&parents[..BASE_DEGREE]) {
            slot.copy_from_slice(&self.labels[*parent as usize]);
        }
        if let Some(previous) = self.previous {
            for (slot, parent) in once[BASE_DEGREE * 32..].chunks_exact_mut(32).zip(&parents[BASE_DEGREE..]) {
                slot.copy_from_slice(&previous[*parent as usize]);
            }
        }
        for copy in repeated.chunks_mut(own * 32) {
            copy.copy_from_slice(&once[..copy.len()]);
        }
        self.labels.push(hash_padded_blocks(&self.blocks));
    }

    /// The labels computed so far.
    pub fn finish(self) -> Vec<Node> {
        self.labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use cairn_protocol::{PorepId, SealProof};

    /// All layers in memory, by the plain formula.
    fn layers_naive(replica_id: ReplicaId, graph: &Graph, layers: u32) -> Vec<Vec<Node>> {
        let mut done: Vec<Vec<Node>> = vec![];
        for layer in 1..=layers {
            let mut labels = vec![first_label(&replica_id, layer)];
            for node in 1..graph.nodes() {
                let base = graph.base_parents(node as u32).map(|parent| labels[parent as usize]);
                let expander = done
                    .last()
                    .map(|previous| graph.expander_parents(node as u32).map(|parent| previous[parent as usize]));
                labels.push(label(&replica_id, layer, node, &repeat_parents(&base, expander.as_ref())));
            }
            done.push(labels);
        }
        done
    }

    fn layers_fast(replica_id: ReplicaId, graph: &Graph, layers: u32) -> Vec<Vec<Node>> {
        let mut done: Vec<Vec<Node>> = vec![];
        for layer in 1..=layers {
            let mut labeller = Labeller::new(replica_id, layer, graph.nodes(), done.last().map(Vec::as_slice));
            (0..graph.nodes()).for_each(|node| labeller.push(&graph.parents(node as u32)));
            done.push(labeller.finish());
        }
        done
    }

    #[test]
    fn published_last_labels_of_eleven_layers() {
        // rust-fil-proofs' own test values (`spec/proofs.md` 4.1): u64 limbs, least significant first.
        let cases = [
            (
                SealProof::V1,
                0u8,
                64,
                [0xd3faa96b9a0fba04u64, 0xea81a283d106485e, 0xe3d51b9afa5ac2b3, 0x0462f4f4f1a68d37],
            ),
            (SealProof::V1, 0, 128, [0x7e191e52c4a8da86, 0x5ae8a1c9e6fac148, 0xce239f3b88a894b8, 0x234c00d1dc1d53be]),
            (
                SealProof::V1_1,
                123,
                64,
                [0xabb3f38bb70defcf, 0x777a2e4d7769119f, 0x3448959d495490bc, 0x06021188c7a71cb5],
            ),
            (
                SealProof::Synthetic,
                123,
                64,
                [0xabb3f38bb70defcf, 0x777a2e4d7769119f, 0x3448959d495490bc, 0x06021188c7a71cb5],
            ),
            (
                SealProof::V1_1,
                123,
                128,
                [0x22ab81cf68c4676d, 0x7a77a82fc7c9c189, 0xc6c03d32c1e42d23, 0x0f777c18cc2c55bd],
            ),
        ];
        for (proof, byte, nodes, limbs) in cases {
            let graph = Graph::new(nodes, PorepId([byte; 32]), proof);
            let layers = layers_naive(ReplicaId([9; 32]), &graph, 11);
            let expected: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
            assert_eq!(layers[10].last().unwrap().to_vec(), expected, "{proof}, {nodes} nodes");
            assert_eq!(layers, layers_fast(ReplicaId([9; 32]), &graph, 11), "{proof}, {nodes} nodes");
        }
    }
}
