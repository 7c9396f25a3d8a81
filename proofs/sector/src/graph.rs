//! The graph of a sector: which labels enter which label (`spec/proofs.md` 1.6).
//!
//! Every node has six *base* parents, smaller nodes of the same layer found by bucket sampling (a depth-robust graph),
//! and eight *expander* parents, any nodes of the layer before, found by a Feistel permutation of the edges. Both depend
//! on the porep id alone, so all sectors of one size and proof share a graph.
//!
//! Two facts of the first version (v1) are kept because sectors exist that rely on them: `v - 1` stands last among the
//! base parents instead of first, and an expander edge is cut to 32 bits before its node is taken.

use blake2b_simd::many::{HashManyJob, MAX_DEGREE, hash_many};
use cairn_protocol::params::{BASE_DEGREE, DEGREE, EXPANDER_DEGREE};
use cairn_protocol::{PorepId, SealProof};
use chacha20::ChaCha8;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use sha2::{Digest, Sha256};

/// Parents that bucket sampling draws; the sixth is the node before.
const SAMPLED_DEGREE: usize = BASE_DEGREE - 1;
/// Rounds of the Feistel network.
const FEISTEL_ROUNDS: usize = 3;

/// The graph of all sectors of one size and porep id.
#[derive(Debug, Clone)]
pub struct Graph {
    nodes: u64,
    porep_id: PorepId,
    legacy: bool,
    feistel: Feistel,
}

impl Graph {
    /// The graph over `nodes` nodes.
    ///
    /// # Panics
    /// If `nodes` is not a power of two between 2 and 2^31.
    pub fn new(nodes: u64, porep_id: PorepId, seal_proof: SealProof) -> Self {
        assert!(nodes.is_power_of_two() && (2..=1 << 31).contains(&nodes), "no sector has {nodes} nodes");
        let feistel = Feistel::new(nodes * EXPANDER_DEGREE as u64, &porep_id);
        Self { nodes, porep_id, legacy: seal_proof.has_legacy_graph(), feistel }
    }

    /// Number of nodes.
    pub fn nodes(&self) -> u64 {
        self.nodes
    }

    /// All parents of a node: the base ones, then the expander ones.
    pub fn parents(&self, node: u32) -> [u32; DEGREE] {
        let mut parents = [0; DEGREE];
        parents[..BASE_DEGREE].copy_from_slice(&self.base_parents(node));
        parents[BASE_DEGREE..].copy_from_slice(&self.expander_parents(node));
        parents
    }

    /// Parents in the same layer, in the order in which they are hashed. Duplicates are possible and kept.
    pub fn base_parents(&self, node: u32) -> [u32; BASE_DEGREE] {
        if node < 2 {
            return [0; BASE_DEGREE];
        }
        let sampled = self.sampled_parents(node);
        let mut parents = [node - 1; BASE_DEGREE];
        let place = if self.legacy { 0 } else { 1 };
        parents[place..place + SAMPLED_DEGREE].copy_from_slice(&sampled);
        parents
    }

    /// Bucket sampling: a distance from a random power-of-two bucket, over a graph in which every node stands for
    /// [`SAMPLED_DEGREE`] nodes.
    fn sampled_parents(&self, node: u32) -> [u32; SAMPLED_DEGREE] {
        let mut random = self.node_randomness(node);
        let degree = SAMPLED_DEGREE as u64;
        let expanded = u64::from(node) * degree;
        let buckets = u64::from(expanded.next_power_of_two().ilog2());
        std::array::from_fn(|_| {
            let bucket = random.next_u64() % buckets + 1;
            let largest = expanded.min(1 << bucket);
            let smallest = (largest >> 1).max(2);
            let distance = smallest + random.next_u64() % (largest - smallest + 1);
            let parent = ((expanded - distance) / degree) as u32;
            if parent == node { node - 1 } else { parent }
        })
    }

    fn node_randomness(&self, node: u32) -> Keystream {
        let digest = Sha256::new().chain_update(b"Filecoin_DRSample").chain_update(self.porep_id.0).finalize();
        let mut key = [0u8; 32];
        key[..28].copy_from_slice(&digest[..28]);
        key[28..].copy_from_slice(&node.to_le_bytes());
        Keystream::new(&key)
    }

    /// Parents in the layer before, in the order in which they are hashed.
    pub fn expander_parents(&self, node: u32) -> [u32; EXPANDER_DEGREE] {
        std::array::from_fn(|index| {
            let edge = u64::from(node) * EXPANDER_DEGREE as u64 + index as u64;
            self.node_of_edge(self.feistel.permute(edge))
        })
    }

    fn node_of_edge(&self, edge: u64) -> u32 {
        let edge = if self.legacy { u64::from(edge as u32) } else { edge };
        (edge / EXPANDER_DEGREE as u64) as u32
    }

    /// [`Self::parents`] of `count` nodes from `first` on, with the Feistel rounds of many edges side by side.
    pub fn parents_of_range(&self, first: u32, count: usize) -> Vec<[u32; DEGREE]> {
        let edges = u64::from(first) * EXPANDER_DEGREE as u64;
        let mut permuted: Vec<u64> = (edges..edges + (count * EXPANDER_DEGREE) as u64).collect();
        self.feistel.permute_many(&mut permuted);
        let edges_of_nodes = permuted.as_chunks::<EXPANDER_DEGREE>().0;
        (first..)
            .zip(edges_of_nodes)
            .map(|(node, edges)| {
                let mut parents = [0; DEGREE];
                parents[..BASE_DEGREE].copy_from_slice(&self.base_parents(node));
                for (parent, edge) in parents[BASE_DEGREE..].iter_mut().zip(edges) {
                    *parent = self.node_of_edge(*edge);
                }
                parents
            })
            .collect()
    }

    /// Keys of the Feistel network, which name the graph's parent cache file.
    pub(crate) fn feistel_keys(&self) -> [u64; 4] {
        self.feistel.keys
    }
}

/// ChaCha8 from block 0, taken as u64s, low word first. Ten numbers (two blocks) are all that a node needs.
struct Keystream {
    bytes: [u8; 128],
    position: usize,
}

impl Keystream {
    fn new(key: &[u8; 32]) -> Self {
        let mut bytes = [0u8; 128];
        ChaCha8::new(key.into(), &[0u8; 12].into()).apply_keystream(&mut bytes);
        Self { bytes, position: 0 }
    }

    fn next_u64(&mut self) -> u64 {
        let bytes = &self.bytes[self.position..self.position + 8];
        self.position += 8;
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    }
}

/// A permutation of `0..edges`: three Feistel rounds over an even number of bits, repeated until the result is in range.
#[derive(Debug, Clone)]
struct Feistel {
    edges: u64,
    half_bits: u32,
    keys: [u64; 4],
}

impl Feistel {
    fn new(edges: u64, porep_id: &PorepId) -> Self {
        let digest = Sha256::new().chain_update(b"Filecoin_Feistel").chain_update(porep_id.0).finalize();
        let keys = std::array::from_fn(|index| {
            u64::from_le_bytes(digest[index * 8..][..8].try_into().expect("eight of 32 bytes"))
        });
        let bits = edges.next_power_of_two().ilog2();
        Self { edges, half_bits: bits.div_ceil(2).max(1), keys }
    }

    fn permute(&self, edge: u64) -> u64 {
        let mut value = self.pass(edge);
        while value >= self.edges {
            value = self.pass(value);
        }
        value
    }

    /// [`Self::permute`] of each: the same passes, with the round function of all values that are still out of range
    /// computed together.
    fn permute_many(&self, edges: &mut [u64]) {
        let mask = (1u64 << self.half_bits) - 1;
        let mut walking: Vec<usize> = (0..edges.len()).collect();
        let mut halves: Vec<(u64, u64)> = Vec::with_capacity(edges.len());
        while !walking.is_empty() {
            halves.clear();
            halves.extend(walking.iter().map(|index| (edges[*index] >> self.half_bits & mask, edges[*index] & mask)));
            for key in &self.keys[..FEISTEL_ROUNDS] {
                round_many(&mut halves, *key, mask);
            }
            for (index, (left, right)) in walking.iter().zip(&halves) {
                edges[*index] = left << self.half_bits | right;
            }
            walking.retain(|index| edges[*index] >= self.edges);
        }
    }

    fn pass(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits & mask, value & mask);
        for key in &self.keys[..FEISTEL_ROUNDS] {
            (left, right) = (right, left ^ (round_function(right, *key) & mask));
        }
        left << self.half_bits | right
    }
}

fn round_function(right: u64, key: u64) -> u64 {
    round_value(&blake2b_simd::blake2b(&round_message(right, key)))
}

fn round_message(right: u64, key: u64) -> [u8; 16] {
    let mut message = [0u8; 16];
    message[..8].copy_from_slice(&right.to_be_bytes());
    message[8..].copy_from_slice(&key.to_be_bytes());
    message
}

fn round_value(digest: &blake2b_simd::Hash) -> u64 {
    u64::from_be_bytes(digest.as_bytes()[..8].try_into().expect("eight of 64 bytes"))
}

/// One Feistel round of many values: as many BLAKE2b side by side as the processor has lanes.
fn round_many(halves: &mut [(u64, u64)], key: u64, mask: u64) {
    let params = blake2b_simd::Params::new();
    for group in halves.chunks_mut(MAX_DEGREE) {
        let mut messages = [[0u8; 16]; MAX_DEGREE];
        for (message, (_, right)) in messages.iter_mut().zip(group.iter()) {
            *message = round_message(*right, key);
        }
        let mut jobs: [HashManyJob<'_>; MAX_DEGREE] =
            std::array::from_fn(|lane| HashManyJob::new(&params, &messages[lane]));
        hash_many(&mut jobs[..group.len()]);
        for ((left, right), job) in group.iter_mut().zip(&jobs) {
            (*left, *right) = (*right, *left ^ (round_value(&job.to_hash()) & mask));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal_proof(api_version: &str) -> SealProof {
        match api_version {
            "1.0.0" => SealProof::V1,
            "1.1.0" => SealProof::V1_1,
            "1.2.0" => SealProof::Synthetic,
            other => panic!("unknown API version {other}"),
        }
    }

    #[test]
    fn golden_parents_at_every_size_and_version() {
        let graphs = cairn_fixtures::parents();
        assert_eq!(graphs.len(), 10);
        for vector in graphs {
            let graph = Graph::new(vector.nodes, PorepId(vector.porep_id), seal_proof(&vector.api_version));
            for node in &vector.parents {
                let what = format!("{} nodes, API {}, node {}", vector.nodes, vector.api_version, node.node);
                assert_eq!(graph.base_parents(node.node as u32), node.drg, "base, {what}");
                assert_eq!(graph.expander_parents(node.node as u32), node.exp, "expander, {what}");
            }
        }
    }

    #[test]
    fn ranges_equal_single_nodes() {
        for (nodes, proof) in [(64, SealProof::V1), (128, SealProof::V1_1), (1 << 20, SealProof::V1_1)] {
            let graph = Graph::new(nodes, PorepId([3; 32]), proof);
            for (first, count) in [(0, 7), (1, 63), (nodes as u32 / 2 - 5, 13)] {
                let expected: Vec<_> = (first..).take(count).map(|node| graph.parents(node)).collect();
                assert_eq!(graph.parents_of_range(first, count), expected, "{nodes} nodes from {first}");
            }
        }
    }

    #[test]
    fn base_parents_are_smaller_and_the_permutation_permutes() {
        let graph = Graph::new(1 << 10, SealProof::V1_1.porep_id(cairn_protocol::SectorSize::KIB32), SealProof::V1_1);
        let mut hits = vec![0; 1 << 10];
        for node in 0..1 << 10 {
            assert!(node < 2 || graph.base_parents(node).iter().all(|parent| *parent < node));
            graph.expander_parents(node).iter().for_each(|parent| hits[*parent as usize] += 1);
        }
        assert!(hits.iter().all(|count| *count == EXPANDER_DEGREE));
    }
}
