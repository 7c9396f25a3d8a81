//! Verification: of a statement and its proof, and of the bare equation.

use std::fs::File;
use std::io::BufReader;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bellperson::groth16::{Proof, VerifyingKey, prepare_verifying_key, verify_proof, verify_proofs_batch};
use blstrs::{Bls12, Scalar};
use cairn_compare::side::{Work, median_seconds};
use cairn_compare::task::{BATCH, SECTOR_SIZE};
use cairn_fixtures::{PorepSnarkVector, porep_snark_vectors, porep_vector};
use cairn_snark::CircuitKind;
use filecoin_proofs::{
    PublicReplicaInfo, get_seal_inputs, verify_batch_seal, verify_seal, verify_window_post, verify_winning_post,
};
use rand::rngs::OsRng;
use storage_proofs_core::sector::SectorId;

use crate::config::{self, Tree};

/// One golden statement with a proof from outside.
pub fn one(circuit: CircuitKind, proof: &[u8]) -> Result<Work> {
    match circuit {
        CircuitKind::Porep => porep(proof),
        other => post(other, proof),
    }
}

fn porep(proof: &[u8]) -> Result<Work> {
    let vector = porep_vector("2KiB-v1_1-fixture-a.json");
    let start = Instant::now();
    let holds = verify_seal::<Tree>(
        &config::porep(SECTOR_SIZE.bytes(), vector.porep_id),
        vector.comm_r,
        vector.comm_d,
        vector.prover_id,
        SectorId::from(vector.sector_number),
        vector.ticket,
        vector.interactive_seed,
        proof,
    )?;
    ensure!(holds, "the reference says: not verified");
    Ok(Work::since(start))
}

fn post(circuit: CircuitKind, proof: &[u8]) -> Result<Work> {
    let vector = config::post_vector(circuit)?;
    let config = config::post(circuit, vector.sector_size).context("a proof of spacetime")?;
    let replica = |sector: &cairn_fixtures::PostSector| -> Result<(SectorId, PublicReplicaInfo)> {
        Ok((SectorId::from(sector.sector_number), PublicReplicaInfo::new(sector.comm_r)?))
    };
    let replicas = vector.sectors.iter().map(replica).collect::<Result<Vec<_>>>()?;
    let (randomness, prover_id) = (&vector.randomness, vector.prover_id);
    let start = Instant::now();
    let holds = match circuit {
        CircuitKind::WinningPost => verify_winning_post::<Tree>(&config, randomness, &replicas, prover_id, proof)?,
        _ => verify_window_post::<Tree>(&config, randomness, &replicas.into_iter().collect(), prover_id, proof)?,
    };
    ensure!(holds, "the reference says: not verified");
    Ok(Work::since(start))
}

/// The golden proofs of replication, over and over. The first verification, which reads the key, is not timed.
pub fn many() -> Result<Work> {
    let golden = porep_snark_vectors();
    let first = &golden[0];
    seal(first)?;
    let one = median_seconds(20, || seal(first))?;
    let batch: Vec<&PorepSnarkVector> = golden.iter().cycle().take(BATCH).collect();
    let batch = median_seconds(5, || seals(&batch))?;
    let (equation, equations) = bare(&golden)?;
    Ok(Work { seconds: one, ..Work::default() }
        .part("batch_s", batch)
        .part("equation_s", equation)
        .part("equation_batch_s", equations))
}

fn seal(vector: &PorepSnarkVector) -> Result<()> {
    let holds = verify_seal::<Tree>(
        &config::porep(SECTOR_SIZE.bytes(), vector.porep_id),
        vector.comm_r,
        vector.comm_d,
        vector.prover_id,
        SectorId::from(vector.sector_number),
        vector.ticket,
        vector.interactive_seed,
        &vector.proof,
    )?;
    ensure!(holds, "{} does not verify", vector.seed_label);
    Ok(())
}

fn seals(vectors: &[&PorepSnarkVector]) -> Result<()> {
    let of = |field: fn(&PorepSnarkVector) -> [u8; 32]| -> Vec<[u8; 32]> {
        vectors.iter().map(|vector| field(vector)).collect()
    };
    let holds = verify_batch_seal::<Tree>(
        &config::porep(SECTOR_SIZE.bytes(), vectors[0].porep_id),
        &of(|vector| vector.comm_r),
        &of(|vector| vector.comm_d),
        &of(|vector| vector.prover_id),
        &vectors.iter().map(|vector| SectorId::from(vector.sector_number)).collect::<Vec<_>>(),
        &of(|vector| vector.ticket),
        &of(|vector| vector.interactive_seed),
        &vectors.iter().map(|vector| vector.proof.as_slice()).collect::<Vec<_>>(),
    )?;
    ensure!(holds, "a golden proof does not verify in the batch");
    Ok(())
}

/// Seconds for the bare equation of one proof and of [`BATCH`]: proofs and public inputs are at hand.
fn bare(golden: &[PorepSnarkVector]) -> Result<(f64, f64)> {
    let file = config::porep(SECTOR_SIZE.bytes(), golden[0].porep_id).get_cache_verifying_key_path::<Tree>()?;
    let key = VerifyingKey::<Bls12>::read(BufReader::new(File::open(file)?))?;
    let key = prepare_verifying_key(&key);
    let proofs = golden.iter().map(|vector| Ok(Proof::read(&vector.proof[..])?)).collect::<Result<Vec<_>>>()?;
    let inputs = golden.iter().map(public_inputs).collect::<Result<Vec<_>>>()?;
    let many_proofs: Vec<&Proof<Bls12>> = proofs.iter().cycle().take(BATCH).collect();
    let many_inputs: Vec<Vec<Scalar>> = inputs.iter().cycle().take(BATCH).cloned().collect();
    let one = median_seconds(20, || {
        ensure!(verify_proof(&key, &proofs[0], &inputs[0])?, "a golden proof does not verify");
        Ok(())
    })?;
    let batch = median_seconds(5, || {
        ensure!(verify_proofs_batch(&key, &mut OsRng, &many_proofs, &many_inputs)?, "a golden batch does not verify");
        Ok(())
    })?;
    Ok((one, batch))
}

fn public_inputs(vector: &PorepSnarkVector) -> Result<Vec<Scalar>> {
    let partitions = get_seal_inputs::<Tree>(
        &config::porep(SECTOR_SIZE.bytes(), vector.porep_id),
        vector.comm_r,
        vector.comm_d,
        vector.prover_id,
        SectorId::from(vector.sector_number),
        vector.ticket,
        vector.interactive_seed,
    )?;
    partitions.into_iter().next().context("a partition")
}
