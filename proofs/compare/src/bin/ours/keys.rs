//! Parameters: made, and brought into the prover's form.

use std::time::Instant;

use anyhow::{Context, Result};
use cairn_compare::side::Work;
use cairn_snark::Engine;
use cairn_snark::groth16::{Circuit, Secrets};
use cairn_snark::proving::{CircuitProver, make_development_params};
use rand::RngCore;
use rand::rngs::OsRng;

use crate::Ours;

/// Makes parameters. A comparison begins with empty folders, so recording the circuit's matrices is part of it.
pub fn setup(ours: &Ours, circuit: Circuit) -> Result<Work> {
    let mut random = [0u8; 320];
    OsRng.fill_bytes(&mut random);
    let start = Instant::now();
    make_development_params(&ours.store, circuit, Secrets::from_bytes(&random), &ours.workers, &|_, _| {})
        .context("make development parameters")?;
    Ok(Work::since(start))
}

/// Records the circuit's matrices and converts the parameter file, unless both have been done.
pub fn prepare(ours: &Ours, circuit: Circuit) -> Result<Work> {
    let start = Instant::now();
    open(ours, circuit)?;
    Ok(Work::since(start))
}

/// A prover of the circuit.
pub fn open(ours: &Ours, circuit: Circuit) -> Result<CircuitProver> {
    CircuitProver::open(&ours.store, circuit, Engine::Auto, &ours.workers, &|_, _| {}).context("open the proving key")
}
