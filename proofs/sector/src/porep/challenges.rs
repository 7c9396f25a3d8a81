//! Which nodes a proof of replication must open (`spec/proofs.md` 1.10). Node 0, which has no parents, is never one.

use cairn_protocol::params::SYNTHETIC_CHALLENGES_MAX;
use cairn_protocol::{CommR, ReplicaId, SealProof, SectorParams, Seed};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

use super::PorepStatement;
use crate::challenge::reduce;
use crate::sha256::Sha256Digest;

const NON_INTERACTIVE_DOMAIN: &[u8] = b"filecoin.io|PoRep|1|NonInteractive|1";
const SYNTHETIC_GENERATION_DOMAIN: &[u8] = b"filecoin.io|PoRep|1|Synthetic|1|Generation";
const SYNTHETIC_SELECTION_DOMAIN: &[u8] = b"filecoin.io|PoRep|1|Synthetic|1|Selection";
const SYNTHETIC_NONCE: &[u8; 12] = b"synth-porep\0";

/// Challenged nodes of every partition, in order.
pub fn challenges(statement: &PorepStatement) -> Vec<Vec<u32>> {
    let params = statement.identity.params();
    let replica_id = statement.identity.replica_id(&statement.comm_d);
    let all = match params.seal_proof {
        SealProof::V1 | SealProof::V1_1 => interactive(&params, &replica_id, &statement.seed),
        SealProof::NonInteractive => non_interactive(&params, &replica_id, &statement.comm_r),
        SealProof::Synthetic => {
            let candidates = params.nodes().min(SYNTHETIC_CHALLENGES_MAX);
            let set = SyntheticSet { nodes: params.nodes(), candidates, replica_id, comm_r: statement.comm_r };
            set.select(params.challenges(), &statement.seed)
        }
    };
    all.chunks(params.challenges_per_partition).map(<[u32]>::to_vec).collect()
}

/// The hash as a number, brought into `1..nodes`.
fn node_of(digest: &[u8; 32], nodes: u64) -> u32 {
    (reduce(digest, nodes - 1) + 1) as u32
}

fn interactive(params: &SectorParams, replica_id: &ReplicaId, seed: &Seed) -> Vec<u32> {
    hashed(params, |index| Sha256Digest::of([&replica_id.0[..], &seed.0, &index.to_le_bytes()]))
}

fn non_interactive(params: &SectorParams, replica_id: &ReplicaId, comm_r: &CommR) -> Vec<u32> {
    hashed(params, |index| Sha256Digest::of([NON_INTERACTIVE_DOMAIN, &replica_id.0, &comm_r.0, &index.to_le_bytes()]))
}

fn hashed(params: &SectorParams, digest: impl Fn(u32) -> Sha256Digest) -> Vec<u32> {
    (0..params.challenges() as u32).map(|index| node_of(&digest(index).0, params.nodes())).collect()
}

/// A fixed set of candidates that follows from replica and CommR.
struct SyntheticSet {
    nodes: u64,
    candidates: u64,
    replica_id: ReplicaId,
    comm_r: CommR,
}

impl SyntheticSet {
    /// The `count` candidates that the seed selects.
    fn select(&self, count: usize, seed: &Seed) -> Vec<u32> {
        let mut generation = keystream(SYNTHETIC_GENERATION_DOMAIN, &self.replica_id, &self.comm_r.0);
        let mut selection = keystream(SYNTHETIC_SELECTION_DOMAIN, &self.replica_id, &seed.0);
        (0..count)
            .map(|_| {
                let mut selected = [0u8; 4];
                selection.apply_keystream(&mut selected);
                let candidate = u64::from(u32::from_le_bytes(selected)) % self.candidates;
                synthetic_candidate(&mut generation, candidate, self.nodes)
            })
            .collect()
    }
}

fn synthetic_candidate(generation: &mut ChaCha20, candidate: u64, nodes: u64) -> u32 {
    let mut digest = [0u8; 32];
    generation.seek(candidate * 32);
    generation.apply_keystream(&mut digest);
    node_of(&digest, nodes)
}

fn keystream(domain: &[u8], replica_id: &ReplicaId, context: &[u8; 32]) -> ChaCha20 {
    let mut hash = blake2b_simd::Params::new().hash_length(32).key(domain).to_state();
    let digest = hash.update(&replica_id.0).update(context).finalize();
    let key: [u8; 32] = digest.as_bytes().try_into().expect("a hash of 32 bytes");
    ChaCha20::new(&key.into(), SYNTHETIC_NONCE.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: u8) -> [u8; 32] {
        let mut bytes = [0u8; 32];
        bytes[0] = value;
        bytes
    }

    #[test]
    fn published_synthetic_challenges() {
        // rust-fil-proofs' own test values (`spec/proofs.md` 4.1).
        let expected =
            [178, 297, 869, 211, 875, 477, 94, 781, 124, 332, 856, 801, 176, 692, 429, 691, 290, 204, 986, 210, 973];
        let (replica_id, comm_r) = (ReplicaId(number(55)), CommR(number(101)));
        let mut generation = keystream(SYNTHETIC_GENERATION_DOMAIN, &replica_id, &comm_r.0);
        let candidates: Vec<u32> =
            (0..21).map(|candidate| synthetic_candidate(&mut generation, candidate, 1 << 10)).collect();
        assert_eq!(candidates, expected);

        let set = SyntheticSet { nodes: 1 << 10, candidates: 21, replica_id, comm_r };
        assert_eq!(set.select(10, &Seed([1; 32])), [176, 781, 801, 986, 290, 211, 692, 856, 986, 332]);
    }
}
