//! Proofs and witnesses of the golden sectors.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use cairn_compare::side::Work;
use cairn_compare::task::SECTOR_SIZE;
use cairn_sector::post::ChallengeNumbering;
use cairn_snark::circuit::PorepCircuit;
use cairn_snark::groth16::{Blinding, Circuit};
use cairn_snark::r1cs::Matrices;
use cairn_snark::{CircuitId, CircuitKind, assign};
use rand::RngCore;
use rand::rngs::OsRng;

use crate::{Ours, keys, statements};

/// Opens the key and proves.
pub fn prove(ours: &Ours, circuit: Circuit) -> Result<Work> {
    match circuit {
        Circuit::Porep(_) => prove_porep(ours, circuit),
        Circuit::WinningPost(_) | Circuit::WindowPost(_) => prove_post(ours, circuit),
        _ => bail!("no golden sector is proven by circuit {circuit}"),
    }
}

fn prove_porep(ours: &Ours, circuit: Circuit) -> Result<Work> {
    let (statement, plain) = statements::porep()?;
    let start = Instant::now();
    let prover = keys::open(ours, circuit)?;
    let opened = start.elapsed().as_secs_f64();
    let proof = prover.prove_porep(&statement, &plain, &mut blinding, &ours.workers).context("prove")?;
    Ok(Work::since(start).part("open_s", opened).with_proof(&proof))
}

fn prove_post(ours: &Ours, circuit: Circuit) -> Result<Work> {
    let (statement, plain) = statements::post(circuit)?;
    let start = Instant::now();
    let prover = keys::open(ours, circuit)?;
    let opened = start.elapsed().as_secs_f64();
    let proof = prover
        .prove_post(&statement, &plain, ChallengeNumbering::of(statement.kind), &mut blinding, &ours.workers)
        .context("prove")?;
    Ok(Work::since(start).part("open_s", opened).with_proof(&proof))
}

fn blinding() -> Blinding {
    let mut random = [0u8; 128];
    OsRng.fill_bytes(&mut random);
    Blinding::from_bytes(&random)
}

/// The witness, timed; then its products with the matrices, which the reference computes in the same pass.
pub fn witness(ours: &Ours) -> Result<Work> {
    let (statement, plain) = statements::porep()?;
    let id = CircuitId { kind: CircuitKind::Porep, sector_size: SECTOR_SIZE };
    let matrices = Matrices::record_in_memory(id, &ours.workers)?;
    let start = Instant::now();
    let circuits = PorepCircuit::of_proof(&statement, &plain)?;
    let assignment = assign(circuits.first().context("a partition")?, &ours.workers)?;
    let work = Work::since(start);
    let start = Instant::now();
    let evaluations = matrices.evaluate(&assignment, &ours.workers)?;
    let products = start.elapsed().as_secs_f64();
    anyhow::ensure!(evaluations.first_unsatisfied().is_none(), "the witness does not satisfy the circuit");
    Ok(work.part("products_s", products))
}
