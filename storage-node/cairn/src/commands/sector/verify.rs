//! `cairn sector verify`: checks a proof of replication against its statement and says what is wrong with it.
//!
//! The proof is either the openings themselves or Groth16 bytes in hex. The statement names sector size and seal proof
//! itself, or by the reference implementation's `proof_type`, or the seal proof by its graph (`porep_id`).

use std::path::Path;

use anyhow::{anyhow, ensure};
use cairn_compute::Workers;
use cairn_protocol::{PorepId, SealProof, SectorSize};
use cairn_sector::SectorIdentity;
use cairn_sector::porep::{self, PorepProof, PorepStatement};
use cairn_snark::groth16::Circuit;
use cairn_snark::verifying::Claim;

use super::proof_type::ProofType;
use crate::cli::VerifyArguments;
use crate::commands::keys::Keys;
use crate::commands::proof_file::{self, Fields, conclude, missing};
use crate::output::Output;

/// What is in a file.
enum Proof {
    Vanilla(PorepProof),
    Groth16(Vec<u8>),
}

/// Runs the command.
pub fn run(arguments: VerifyArguments) -> anyhow::Result<()> {
    let VerifyArguments { file, params, trust, json } = arguments;
    let output = Output::from_flag(json);
    let (statement, proof) = read(&file)?;
    let bytes = match proof {
        Proof::Vanilla(proof) => return conclude(&file, porep::verify(&statement, &proof), None, output),
        Proof::Groth16(bytes) => bytes,
    };
    let needed = || anyhow!("{} holds a Groth16 proof: --params DIR with its verifying key is needed", file.display());
    let keys = Keys::open(params.ok_or_else(needed)?, None, trust)?;
    let workers = Workers::new(0)?;
    let (verifier, origin) = keys.verifier(Circuit::Porep(statement.identity.sector_size), &workers)?;
    let verdict = verifier.verify(&Claim::Porep { statement: &statement, proof: &bytes });
    conclude(&file, verdict, Some(origin), output)
}

fn read(path: &Path) -> anyhow::Result<(PorepStatement, Proof)> {
    proof_file::read(path, |fields| {
        let (sector_size, seal_proof, porep_id) = variant(fields)?;
        let identity = SectorIdentity {
            sector_size,
            seal_proof,
            porep_id,
            prover_id: fields.required("prover_id")?,
            sector_number: fields.required("sector_number")?,
            ticket: fields.required("ticket")?,
        };
        let comm_d = fields.required("comm_d")?;
        let comm_r = fields.required("comm_r")?;
        let seed = fields.required("interactive_seed")?;
        let proof = if fields.is_text("proof") {
            Proof::Groth16(fields.hex("proof")?)
        } else {
            Proof::Vanilla(fields.required("proof")?)
        };
        Ok((PorepStatement { identity, comm_d, comm_r, seed }, proof))
    })
}

/// Sector size, seal proof and graph, from whatever names them. What is named twice must agree.
fn variant(fields: &mut Fields) -> anyhow::Result<(SectorSize, SealProof, PorepId)> {
    let named: Option<ProofType> = fields.text("proof_type")?;
    let size = fields.sector_size()?.or(named.map(|named| named.sector_size));
    let size = size.ok_or_else(|| missing("sector_size"))?;
    let given: Option<PorepId> = fields.optional("porep_id")?;
    let by_graph = || SealProof::ALL.into_iter().find(|proof| Some(proof.porep_id(size)) == given);
    let seal_proof: Option<SealProof> = fields.optional("seal_proof")?;
    let seal_proof = seal_proof.or(named.map(|named| named.seal_proof)).or_else(by_graph);
    let seal_proof = seal_proof.ok_or_else(|| match given {
        Some(id) => {
            anyhow!("field porep_id: expected the registered one of a seal proof at {size}, got {id} and no seal_proof")
        }
        None => missing("seal_proof"),
    })?;
    let porep_id = given.unwrap_or_else(|| seal_proof.porep_id(size));
    if let Some(named) = named {
        let registered = seal_proof.porep_id(size) == porep_id;
        let agrees = (named.sector_size, named.seal_proof) == (size, seal_proof) && registered;
        ensure!(
            agrees,
            "field proof_type: expected the name of {size}, {seal_proof}, PoRep id {porep_id}, got that of {}, {}, PoRep id {}",
            named.sector_size,
            named.seal_proof,
            named.seal_proof.porep_id(named.sector_size)
        );
    }
    Ok((size, seal_proof, porep_id))
}
