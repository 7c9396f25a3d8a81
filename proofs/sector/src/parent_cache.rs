//! Filecoin's parent cache: all parents of a graph in one file, so that labelling only reads them
//! (`spec/proofs.md` 1.6).
//!
//! For every node in order, fourteen u32 LE: 56 bytes. The file's name carries a hash of the graph. Cairn computes
//! parents as it labels; this file is for tools that expect it, and its published digests judge our graph as a whole.

use std::io::{self, Write};

use cairn_compute::Workers;
use cairn_protocol::params::{BASE_DEGREE, DEGREE, EXPANDER_DEGREE};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::graph::Graph;
use crate::nodes::{chunks, chunks_of};

/// Nodes whose parents one worker computes together.
const RANGE_NODES: u64 = 256;

/// Name of the graph's cache file.
pub fn file_name(graph: &Graph) -> String {
    let identifier = format!(
        "stacked_graph::StackedGraph{{expansion_degree: {EXPANDER_DEGREE} base_graph: drgraph::BucketGraph{{size: {}; degree: {BASE_DEGREE}; hasher: poseidon_hasher}} }}",
        graph.nodes()
    );
    let mut hasher = Sha256::new();
    hasher.update("poseidon_hasher");
    hasher.update(identifier);
    for key in graph.feistel_keys() {
        hasher.update(key.to_le_bytes());
    }
    hasher.update((graph.nodes() as u32).to_le_bytes());
    format!("v28-sdr-parent-{}.cache", hex::encode(hasher.finalize()))
}

/// Writes the cache file's content.
///
/// # Errors
/// Those of `out`.
pub fn write(graph: &Graph, workers: &Workers, out: &mut dyn Write) -> io::Result<()> {
    for (first, count) in chunks(graph.nodes()) {
        for parents in parents_of(graph, workers, first, count) {
            let mut record = [0u8; DEGREE * 4];
            for (bytes, parent) in record.chunks_exact_mut(4).zip(parents) {
                bytes.copy_from_slice(&parent.to_le_bytes());
            }
            out.write_all(&record)?;
        }
    }
    Ok(())
}

/// Parents of `count` nodes from `first` on, computed on all workers.
pub fn parents_of(graph: &Graph, workers: &Workers, first: u64, count: usize) -> Vec<[u32; DEGREE]> {
    workers.run(|| {
        let groups: Vec<(u64, usize)> = chunks_of(count as u64, RANGE_NODES).collect();
        let parents = groups
            .into_par_iter()
            .flat_map_iter(|(start, count)| graph.parents_of_range((first + start) as u32, count));
        parents.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_protocol::{SealProof, SectorSize};

    struct DigestWriter(Sha256);

    impl Write for DigestWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn digest(size: SectorSize, proof: SealProof) -> String {
        let workers = Workers::new(0).unwrap();
        let mut digest = DigestWriter(Sha256::new());
        write(&Graph::new(size.nodes(), proof.porep_id(size), proof), &workers, &mut digest).unwrap();
        hex::encode(digest.0.finalize())
    }

    #[test]
    fn published_digests() {
        // rust-fil-proofs' parent_cache.json (`spec/proofs.md` 4.1).
        let cases = [
            (SectorSize::KIB2, SealProof::V1, "3da49221e2ed55371b86d0bf3d6526fcf128af61bed904f966428db1b531750d"),
            (SectorSize::KIB2, SealProof::V1_1, "840057702eea7652cf97e04306c30fe57174714d90de156a25eddd6075c25b97"),
            (SectorSize::MIB8, SealProof::V1, "a76604f2f59f2744c7151653bbb1d8596b6b57d295e6fa6c1f0c41d725b502ce"),
            (SectorSize::MIB8, SealProof::V1_1, "03cd13565ded97c240a5f52e54295ad127bd0461b57904cb3a4d79b097bbecab"),
        ];
        for (size, proof, expected) in cases {
            assert_eq!(digest(size, proof), expected, "{size} {proof}");
        }
    }

    #[test]
    #[ignore = "slow: 16.8 million nodes twice; run by make test-slow"]
    fn published_digests_of_512_mib() {
        let expected = "3adcc092423aa76d6a7184016893406da44dd974b219a89cd3ece25e4e3018f5";
        assert_eq!(digest(SectorSize::MIB512, SealProof::V1), expected);
        let expected = "b5877d1963793efebc261fd8fde4dd6bc59e6b5c7abf52617a4ee023b8dc173a";
        assert_eq!(digest(SectorSize::MIB512, SealProof::V1_1), expected);
    }
}
