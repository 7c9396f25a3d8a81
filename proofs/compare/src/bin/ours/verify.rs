//! Verification: of a statement and its proof, and of the bare equation.

use std::time::Instant;

use anyhow::{Context, Result};
use cairn_compare::side::{Work, median_seconds};
use cairn_compare::task::{BATCH, SECTOR_SIZE};
use cairn_sector::porep;
use cairn_sector::post::ChallengeNumbering;
use cairn_snark::groth16::{BatchItem, Circuit, PreparedVerifyingKey, Proof, verify_batch};
use cairn_snark::verifying::{Claim, Verifier};

use crate::{Ours, statements};

/// One golden statement with a proof from outside.
pub fn one(ours: &Ours, circuit: Circuit, proof: &[u8]) -> Result<Work> {
    let verifier = Verifier::open(&ours.store, [circuit], &ours.workers)?;
    if let Circuit::Porep(_) = circuit {
        let (statement, _) = statements::porep()?;
        let start = Instant::now();
        verifier.verify(&Claim::Porep { statement: &statement, proof })?;
        return Ok(Work::since(start));
    }
    let (statement, _) = statements::post(circuit)?;
    let numbering = ChallengeNumbering::of(statement.kind);
    let start = Instant::now();
    verifier.verify(&Claim::Post { statement: &statement, numbering, proof })?;
    Ok(Work::since(start))
}

/// The golden proofs of replication, over and over.
pub fn many(ours: &Ours) -> Result<Work> {
    let golden = statements::proven_poreps();
    let claims: Vec<Claim<'_>> =
        golden.iter().cycle().map(|(statement, proof)| Claim::Porep { statement, proof }).take(BATCH).collect();
    let verifier = Verifier::open(&ours.store, [Circuit::Porep(SECTOR_SIZE)], &ours.workers)?;
    let one = median_seconds(20, || Ok(verifier.verify(&claims[0])?))?;
    let batch = median_seconds(5, || {
        let results = verifier.verify_batch(&claims, [7; 32], &ours.workers);
        results.into_iter().collect::<Result<Vec<()>, _>>().context("a golden proof")?;
        Ok(())
    })?;
    let (equation, equations) = bare(ours)?;
    Ok(Work { seconds: one, ..Work::default() }
        .part("batch_s", batch)
        .part("equation_s", equation)
        .part("equation_batch_s", equations))
}

/// Seconds for the bare equation of one proof and of [`BATCH`]: proofs and public inputs are at hand.
fn bare(ours: &Ours) -> Result<(f64, f64)> {
    let (key, _) = ours.store.verifying_key(Circuit::Porep(SECTOR_SIZE), &ours.workers)?;
    let key = PreparedVerifyingKey::new(key);
    let read = |(statement, bytes): (_, Vec<u8>)| -> Result<_> {
        Ok((porep::public_inputs(&statement).into_iter().next().context("a partition")?, Proof::from_bytes(&bytes)?))
    };
    let proofs = statements::proven_poreps().into_iter().map(read).collect::<Result<Vec<_>>>()?;
    let items: Vec<BatchItem<'_>> =
        proofs.iter().cycle().map(|(inputs, proof)| BatchItem { key: &key, proof, inputs }).take(BATCH).collect();
    let one = median_seconds(20, || Ok(key.verify(items[0].proof, items[0].inputs)?))?;
    let batch = median_seconds(5, || Ok(verify_batch(&items, [7; 32], &ours.workers)?))?;
    Ok((one, batch))
}
