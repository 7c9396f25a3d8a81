//! `cairn sector prove`: that a sector is sealed as stated, either by Groth16 or, with `--vanilla`, by the openings
//! themselves.

use std::fmt;
use std::time::Instant;

use anyhow::{Context, bail};
use cairn_compute::Workers;
use cairn_protocol::{CommD, CommR, Seed};
use cairn_sector::porep::{self, PorepProof, PorepStatement};
use cairn_sector::{SectorFiles, SectorIdentity};
use cairn_snark::groth16::proof::PROOF_BYTES;
use cairn_snark::groth16::{Circuit, Origin};
use serde::Serialize;

use super::proof_type;
use super::record::SectorRecord;
use crate::cli::ProveArguments;
use crate::commands::keys::{self, Keys};
use crate::commands::seconds_since;
use crate::output::Output;

/// A proof with its whole statement: what `cairn sector verify` reads.
#[derive(Debug, Serialize)]
struct ProofReport {
    #[serde(flatten)]
    identity: SectorIdentity,
    /// The reference implementation's name of size and seal proof, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof_type: Option<&'static str>,
    comm_d: CommD,
    comm_r: CommR,
    interactive_seed: Seed,
    /// Public inputs of the circuit, per partition, hex little-endian.
    public_inputs: Vec<Vec<String>>,
    proof: ProofForm,
    /// Where the parameters of a Groth16 proof come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Origin>,
    seconds: f64,
}

/// The openings, or hex.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ProofForm {
    Vanilla(PorepProof),
    Groth16(String),
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
        let (partitions, inputs) = (self.public_inputs.len(), self.public_inputs.first().map_or(0, Vec::len));
        write!(f, "proof      {partitions} partitions, {inputs} public inputs each")?;
        match &self.proof {
            ProofForm::Vanilla(_) => writeln!(f, "; --json prints them")?,
            ProofForm::Groth16(hex) => {
                writeln!(f, "; Groth16, verified")?;
                for (partition, start) in (0..hex.len()).step_by(2 * PROOF_BYTES).enumerate() {
                    writeln!(f, "{partition:<10} {}", &hex[start..start + 2 * PROOF_BYTES])?;
                }
            }
        }
        writeln!(f, "{} seconds", self.seconds)
    }
}

/// Runs the command.
pub fn run(arguments: ProveArguments) -> anyhow::Result<()> {
    let ProveArguments { dir, seed, vanilla, params, prover: options, json } = arguments;
    if params.is_none() && !vanilla {
        bail!("a Groth16 proof needs parameters: give --params DIR, or --vanilla for the openings");
    }
    let sector = SectorFiles::new(dir);
    let record = SectorRecord::load(&sector)?;
    let workers = Workers::new(options.threads)?;
    let statement = PorepStatement {
        identity: record.identity,
        comm_d: record.commitments.comm_d,
        comm_r: record.commitments.comm_r,
        seed,
    };
    let circuit = Circuit::Porep(statement.identity.sector_size);
    let open = |params| Keys::open(params, options.cache.clone(), options.trust)?.prover(circuit, &options, &workers);
    let prover = params.map(open).transpose()?;
    let start = Instant::now();
    let openings = porep::prove(&sector, &statement, &workers)
        .with_context(|| format!("cannot prove {}", sector.dir().display()))?;
    let mut parameters = None;
    let proof = match prover {
        None => ProofForm::Vanilla(openings),
        Some((prover, origin)) => {
            let proof = prover
                .prove_porep(&statement, &openings, &mut keys::blinding, &workers)
                .with_context(|| format!("cannot prove {}", sector.dir().display()))?;
            parameters = Some(origin);
            ProofForm::Groth16(hex::encode(proof))
        }
    };
    parameters.into_iter().for_each(keys::say_origin);
    Output::from_flag(json).print(&report(&statement, proof, parameters, seconds_since(start)))
}

fn report(statement: &PorepStatement, proof: ProofForm, parameters: Option<Origin>, seconds: f64) -> ProofReport {
    let public_inputs = porep::public_inputs(statement);
    ProofReport {
        identity: statement.identity,
        proof_type: proof_type::name_of(&statement.identity),
        comm_d: statement.comm_d,
        comm_r: statement.comm_r,
        interactive_seed: statement.seed,
        public_inputs: public_inputs.iter().map(|partition| partition.iter().map(hex::encode).collect()).collect(),
        proof,
        parameters,
        seconds,
    }
}
