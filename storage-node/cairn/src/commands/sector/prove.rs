//! `cairn sector prove --vanilla`: the openings that show a sector to be sealed as stated.

use std::fmt;
use std::time::Instant;

use anyhow::Context;
use cairn_compute::Workers;
use cairn_protocol::{CommD, CommR, Seed};
use cairn_sector::porep::{self, PorepProof, PorepStatement};
use cairn_sector::{SectorFiles, SectorIdentity};
use serde::Serialize;

use super::record::SectorRecord;
use crate::cli::ProveArguments;
use crate::commands::seconds_since;
use crate::output::Output;

/// A proof with its whole statement: what `cairn sector verify` reads.
#[derive(Debug, Serialize)]
struct ProofReport {
    #[serde(flatten)]
    identity: SectorIdentity,
    comm_d: CommD,
    comm_r: CommR,
    interactive_seed: Seed,
    /// Public inputs of the circuit, per partition, hex little-endian.
    public_inputs: Vec<Vec<String>>,
    proof: PorepProof,
    seconds: f64,
}

impl fmt::Display for ProofReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "sector     {}, {}, number {}",
            self.identity.sector_size, self.identity.seal_proof, self.identity.sector_number
        )?;
        writeln!(f, "CommR      {}", self.comm_r)?;
        writeln!(f, "seed       {}", self.interactive_seed)?;
        let inputs = self.public_inputs.first().map_or(0, Vec::len);
        writeln!(
            f,
            "proof      {} partitions, {inputs} public inputs each; --json prints them",
            self.public_inputs.len()
        )?;
        writeln!(f, "{} seconds", self.seconds)
    }
}

/// Runs the command.
pub fn run(arguments: ProveArguments) -> anyhow::Result<()> {
    let ProveArguments { dir, seed, vanilla: _, threads, json } = arguments;
    let sector = SectorFiles::new(dir);
    let record = SectorRecord::load(&sector)?;
    let workers = Workers::new(threads)?;
    let statement = PorepStatement {
        identity: record.identity,
        comm_d: record.commitments.comm_d,
        comm_r: record.commitments.comm_r,
        seed,
    };
    let start = Instant::now();
    let proof = porep::prove(&sector, &statement, &workers)
        .with_context(|| format!("cannot prove {}", sector.dir().display()))?;
    let seconds = seconds_since(start);
    let public_inputs =
        porep::public_inputs(&statement).iter().map(|partition| partition.iter().map(hex::encode).collect()).collect();
    Output::from_flag(json).print(&ProofReport {
        identity: statement.identity,
        comm_d: statement.comm_d,
        comm_r: statement.comm_r,
        interactive_seed: seed,
        public_inputs,
        proof,
        seconds,
    })
}
