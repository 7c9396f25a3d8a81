//! What the Groth16 tests share: keys and statements of the golden proofs.

#![allow(dead_code)] // each test file uses its part

use cairn_compute::Workers;
use cairn_compute::fr::Node;
use cairn_fixtures::{PorepSnarkVector, groth16_dir, porep_snark_vectors, post_vectors};
use cairn_protocol::{
    CommD, CommR, PorepId, PostRandomness, ProverId, SealProof, SectorNumber, SectorSize, Seed, Ticket,
};
use cairn_sector::SectorIdentity;
use cairn_sector::porep::{self, PorepStatement};
use cairn_sector::post::{ChallengeNumbering, PostSector, PostStatement, public_inputs_numbered};
use cairn_snark::groth16::{Circuit, KeyStore, PreparedVerifyingKey, Proof, Trust};

pub const POREP: Circuit = Circuit::Porep(SectorSize::KIB2);
pub const WINDOW: Circuit = Circuit::WindowPost(SectorSize::KIB2);
pub const WINNING: Circuit = Circuit::WinningPost(SectorSize::KIB2);

pub fn workers() -> Workers {
    Workers::new(2).unwrap()
}

/// The reference's keys; nothing may be converted there.
pub fn store() -> KeyStore {
    KeyStore::new(groth16_dir(), "/nonexistent", Trust::Development)
}

pub fn prepared(circuit: Circuit) -> PreparedVerifyingKey {
    PreparedVerifyingKey::new(store().verifying_key(circuit, &workers()).unwrap().0)
}

/// A golden proof with the public inputs that we derive from its statement.
pub struct Golden {
    pub name: String,
    pub circuit: Circuit,
    pub inputs: Vec<Node>,
    pub proof_bytes: Vec<u8>,
}

impl Golden {
    pub fn proof(&self) -> Proof {
        Proof::from_bytes(&self.proof_bytes).unwrap()
    }
}

/// All seven: five proofs of replication, a winning and a window proof of spacetime.
pub fn golden() -> Vec<Golden> {
    porep_snark_vectors().iter().map(porep_golden).chain(post_golden()).collect()
}

pub fn porep_statement(vector: &PorepSnarkVector) -> PorepStatement {
    let identity = SectorIdentity {
        sector_size: SectorSize::KIB2,
        seal_proof: SealProof::V1_1,
        porep_id: PorepId(vector.porep_id),
        prover_id: ProverId(vector.prover_id),
        sector_number: SectorNumber(vector.sector_number),
        ticket: Ticket(vector.ticket),
    };
    PorepStatement {
        identity,
        comm_d: CommD(vector.comm_d),
        comm_r: CommR(vector.comm_r),
        seed: Seed(vector.interactive_seed),
    }
}

fn porep_golden(vector: &PorepSnarkVector) -> Golden {
    let statement = porep_statement(vector);
    let inputs = porep::public_inputs(&statement);
    if !vector.public_inputs.is_empty() {
        assert_eq!(inputs, vector.public_inputs, "{}", vector.seed_label);
    }
    let inputs = inputs.into_iter().next().unwrap();
    Golden { name: vector.seed_label.clone(), circuit: POREP, inputs, proof_bytes: vector.proof.clone() }
}

fn post_golden() -> impl Iterator<Item = Golden> {
    post_vectors().into_iter().map(|vector| {
        let sector = |sector: &cairn_fixtures::PostSector| PostSector {
            sector_number: SectorNumber(sector.sector_number),
            comm_r: CommR(sector.comm_r),
        };
        let statement = PostStatement {
            kind: serde_json::from_value(vector.kind.clone().into()).unwrap(),
            sector_size: SectorSize::from_bytes(vector.sector_size).unwrap(),
            prover_id: ProverId(vector.prover_id),
            randomness: PostRandomness(vector.randomness),
            sectors: vector.sectors.iter().map(sector).collect(),
        };
        let circuit = if vector.kind == "window" { WINDOW } else { WINNING };
        // The reference was told API version 1.2 for both; see `ChallengeNumbering`.
        let inputs = public_inputs_numbered(&statement, ChallengeNumbering::WithinSector).unwrap();
        Golden { name: vector.kind.clone(), circuit, inputs, proof_bytes: vector.proof.clone() }
    })
}
