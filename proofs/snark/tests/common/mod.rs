//! What the tests of circuits share: statements and plain proofs from the golden data.

#![allow(dead_code)] // each test file uses its part

use cairn_fixtures::{PorepVector, PostVector, porep_vector, post_vectors};
use cairn_protocol::{
    CommD, CommR, PorepId, PostRandomness, ProverId, SealProof, SectorNumber, SectorSize, Seed, Ticket,
};
use cairn_sector::SectorIdentity;
use cairn_sector::porep::{PorepProof, PorepStatement};
use cairn_sector::post::{PostProof, PostSector, PostStatement};
use cairn_snark::circuit::{PorepCircuit, PostCircuit};

pub fn porep_statement(vector: &PorepVector) -> PorepStatement {
    PorepStatement {
        identity: SectorIdentity {
            sector_size: SectorSize::from_bytes(vector.sector_size).unwrap(),
            seal_proof: vector.proof_variant.parse::<SealProof>().unwrap(),
            porep_id: PorepId(vector.porep_id),
            prover_id: ProverId(vector.prover_id),
            sector_number: SectorNumber(vector.sector_number),
            ticket: Ticket(vector.ticket),
        },
        comm_d: CommD(vector.comm_d),
        comm_r: CommR(vector.comm_r),
        seed: Seed(vector.interactive_seed),
    }
}

/// The sector whose plain proof is in the golden data.
pub fn fixture_a() -> (PorepStatement, PorepProof) {
    let vector = porep_vector("2KiB-v1_1-fixture-a.json");
    let proof = serde_json::from_value(vector.vanilla_proofs.clone().unwrap()).unwrap();
    (porep_statement(&vector), proof)
}

/// Its one partition.
pub fn fixture_a_circuit() -> PorepCircuit {
    let (statement, proof) = fixture_a();
    PorepCircuit::of_proof(&statement, &proof).unwrap().remove(0)
}

pub fn post_statement(vector: &PostVector) -> PostStatement {
    let sector = |sector: &cairn_fixtures::PostSector| PostSector {
        sector_number: SectorNumber(sector.sector_number),
        comm_r: CommR(sector.comm_r),
    };
    PostStatement {
        kind: serde_json::from_value(vector.kind.clone().into()).unwrap(),
        sector_size: SectorSize::from_bytes(vector.sector_size).unwrap(),
        prover_id: ProverId(vector.prover_id),
        randomness: PostRandomness(vector.randomness),
        sectors: vector.sectors.iter().map(sector).collect(),
    }
}

/// Winning, then window, with their plain proofs.
pub fn posts() -> Vec<(PostStatement, PostProof)> {
    let read = |vector: PostVector| {
        let proof = serde_json::from_value(vector.vanilla_proofs.clone().into()).unwrap();
        (post_statement(&vector), proof)
    };
    post_vectors().into_iter().map(read).collect()
}

pub fn post_circuits() -> Vec<PostCircuit> {
    posts().iter().map(|(statement, proof)| PostCircuit::of_proof(statement, proof).unwrap()).collect()
}
