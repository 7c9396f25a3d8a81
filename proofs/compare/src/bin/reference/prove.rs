//! Proofs of the golden sectors, from their plain proofs.

use std::time::Instant;

use anyhow::{Context, Result};
use cairn_compare::side::Work;
use cairn_compare::task::SECTOR_SIZE;
use cairn_fixtures::porep_vector;
use cairn_snark::CircuitKind;
use filecoin_hashers::Domain;
use filecoin_hashers::poseidon::PoseidonDomain;
use filecoin_proofs::types::SealCommitPhase1Output;
use filecoin_proofs::{generate_window_post_with_vanilla, generate_winning_post_with_vanilla, seal_commit_phase2};
use storage_proofs_core::sector::SectorId;

use crate::config::{self, Tree};
use crate::log_times::LogTimes;
use crate::plain;

/// Proves, and verifies as the reference does before it returns a proof of replication.
pub fn prove(circuit: CircuitKind, times: &LogTimes) -> Result<Work> {
    let mut work = match circuit {
        CircuitKind::Porep => porep()?,
        other => post(other)?,
    };
    work = work.part("synthesis_s", times.synthesis_seconds().context("bellperson logs its synthesis")?);
    Ok(work.part("prover_s", times.prover_seconds().context("bellperson logs its prover")?))
}

fn porep() -> Result<Work> {
    let vector = porep_vector("2KiB-v1_1-fixture-a.json");
    let phase1 = SealCommitPhase1Output::<Tree> {
        vanilla_proofs: plain::read(vector.vanilla_proofs.context("the vector holds its plain proof")?)?,
        comm_r: vector.comm_r,
        comm_d: vector.comm_d,
        replica_id: PoseidonDomain::try_from_bytes(&vector.replica_id)?,
        seed: vector.interactive_seed,
        ticket: vector.ticket,
    };
    let config = config::porep(SECTOR_SIZE.bytes(), vector.porep_id);
    let start = Instant::now();
    let output = seal_commit_phase2(&config, phase1, vector.prover_id, SectorId::from(vector.sector_number))?;
    Ok(Work::since(start).with_proof(&output.proof))
}

fn post(circuit: CircuitKind) -> Result<Work> {
    let vector = config::post_vector(circuit)?;
    let config = config::post(circuit, vector.sector_size).context("a proof of spacetime")?;
    let plain = plain::read(vector.vanilla_proofs.into())?;
    let start = Instant::now();
    let proof = match circuit {
        CircuitKind::WinningPost => {
            generate_winning_post_with_vanilla::<Tree>(&config, &vector.randomness, vector.prover_id, plain)?
        }
        _ => generate_window_post_with_vanilla::<Tree>(&config, &vector.randomness, vector.prover_id, plain)?,
    };
    Ok(Work::since(start).with_proof(&proof))
}
