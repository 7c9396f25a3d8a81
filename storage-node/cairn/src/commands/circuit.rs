//! `cairn circuit info`: counts and digest of a circuit, streaming.

use std::fmt;

use anyhow::Context;
use cairn_protocol::SectorSize;
use cairn_snark::{CircuitId, CircuitInfo, CircuitKind};
use serde::Serialize;

use crate::cli::CircuitCommand;
use crate::output::Output;

/// A circuit in numbers.
#[derive(Debug, Serialize)]
struct InfoReport {
    circuit: &'static str,
    sector_size: SectorSize,
    /// Public inputs, ONE among them.
    num_inputs_with_one: u64,
    num_aux: u64,
    num_constraints: u64,
    /// Terms in A, B and C.
    nnz: [u64; 3],
    r1cs_sha256: String,
    /// Only if asked for.
    #[serde(flatten)]
    chunks: Option<Chunks>,
}

/// What finds the first difference between two circuits.
#[derive(Debug, Serialize)]
struct Chunks {
    chunk_digests: Vec<String>,
    /// Constraints and auxiliary variables before a place, and its name.
    marks: Vec<(u64, u64, String)>,
}

impl fmt::Display for InfoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.nnz;
        writeln!(f, "circuit          {} {}", self.circuit, self.sector_size)?;
        writeln!(f, "inputs with one  {}", self.num_inputs_with_one)?;
        writeln!(f, "aux variables    {}", self.num_aux)?;
        writeln!(f, "constraints      {}", self.num_constraints)?;
        writeln!(f, "terms in A B C   {a} {b} {c}")?;
        writeln!(f, "SHA-256          {}", self.r1cs_sha256)?;
        let Some(chunks) = &self.chunks else { return Ok(()) };
        for (index, digest) in chunks.chunk_digests.iter().enumerate() {
            writeln!(f, "chunk {index:<10} {digest}")?;
        }
        for (constraint, aux, name) in &chunks.marks {
            writeln!(f, "at {constraint} {aux}  {name}")?;
        }
        Ok(())
    }
}

/// Runs `cairn circuit`.
pub fn run(command: CircuitCommand) -> anyhow::Result<()> {
    match command {
        CircuitCommand::Info { circuit, sector_size, chunks, json } => {
            Output::from_flag(json).print(&info(circuit, sector_size, chunks)?)
        }
    }
}

fn info(kind: CircuitKind, sector_size: SectorSize, chunks: bool) -> anyhow::Result<InfoReport> {
    let id = CircuitId { kind, sector_size };
    let info = id.info().with_context(|| format!("cannot synthesise {id}"))?;
    let CircuitInfo { num_inputs_with_one, num_aux, num_constraints, nnz, r1cs_sha256, chunk_digests, marks } = info;
    let chunks = chunks.then_some(Chunks { chunk_digests, marks });
    let circuit = kind.name();
    Ok(InfoReport { circuit, sector_size, num_inputs_with_one, num_aux, num_constraints, nnz, r1cs_sha256, chunks })
}
