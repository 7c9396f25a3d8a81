//! The golden sectors as statements and plain proofs of ours.

use anyhow::{Context, Result};
use cairn_fixtures::{PorepSnarkVector, PostVector, porep_snark_vectors, porep_vector, post_vectors};
use cairn_protocol::{
    CommD, CommR, PorepId, PostRandomness, ProverId, SealProof, SectorNumber, SectorSize, Seed, Ticket,
};
use cairn_sector::SectorIdentity;
use cairn_sector::porep::{PorepProof, PorepStatement};
use cairn_sector::post::{PostProof, PostSector, PostStatement};
use cairn_snark::groth16::Circuit;

/// The sector whose plain proof of replication is in the golden data.
pub fn porep() -> Result<(PorepStatement, PorepProof)> {
    let vector = porep_vector("2KiB-v1_1-fixture-a.json");
    let identity = SectorIdentity {
        sector_size: SectorSize::KIB2,
        seal_proof: SealProof::V1_1,
        porep_id: PorepId(vector.porep_id),
        prover_id: ProverId(vector.prover_id),
        sector_number: SectorNumber(vector.sector_number),
        ticket: Ticket(vector.ticket),
    };
    let statement = PorepStatement {
        identity,
        comm_d: CommD(vector.comm_d),
        comm_r: CommR(vector.comm_r),
        seed: Seed(vector.interactive_seed),
    };
    let proof = vector.vanilla_proofs.context("the vector holds its plain proof")?;
    Ok((statement, serde_json::from_value(proof)?))
}

/// The golden proof of spacetime of a circuit.
pub fn post(circuit: Circuit) -> Result<(PostStatement, PostProof)> {
    let vector = post_vector(circuit)?;
    let sector = |sector: &cairn_fixtures::PostSector| PostSector {
        sector_number: SectorNumber(sector.sector_number),
        comm_r: CommR(sector.comm_r),
    };
    let statement = PostStatement {
        kind: serde_json::from_value(vector.kind.into())?,
        sector_size: SectorSize::from_bytes(vector.sector_size)?,
        prover_id: ProverId(vector.prover_id),
        randomness: PostRandomness(vector.randomness),
        sectors: vector.sectors.iter().map(sector).collect(),
    };
    Ok((statement, serde_json::from_value(vector.vanilla_proofs.into())?))
}

fn post_vector(circuit: Circuit) -> Result<PostVector> {
    let kind = match circuit {
        Circuit::WinningPost(_) => "winning",
        Circuit::WindowPost(_) => "window",
        _ => anyhow::bail!("no golden proof of spacetime is of circuit {circuit}"),
    };
    post_vectors().into_iter().find(|vector| vector.kind == kind).context("a vector of each kind")
}

/// The golden Groth16 proofs of replication.
pub fn proven_poreps() -> Vec<(PorepStatement, Vec<u8>)> {
    let read = |vector: PorepSnarkVector| {
        let identity = SectorIdentity {
            sector_size: SectorSize::KIB2,
            seal_proof: SealProof::V1_1,
            porep_id: PorepId(vector.porep_id),
            prover_id: ProverId(vector.prover_id),
            sector_number: SectorNumber(vector.sector_number),
            ticket: Ticket(vector.ticket),
        };
        let statement = PorepStatement {
            identity,
            comm_d: CommD(vector.comm_d),
            comm_r: CommR(vector.comm_r),
            seed: Seed(vector.interactive_seed),
        };
        (statement, vector.proof)
    };
    porep_snark_vectors().into_iter().map(read).collect()
}
