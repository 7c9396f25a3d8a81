//! `cairn sector verify`: checks a proof against its statement and says what is wrong with it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use cairn_protocol::{SealProof, SectorSize};
use cairn_sector::SectorIdentity;
use cairn_sector::porep::{self, PorepProof, PorepStatement};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::cli::VerifyArguments;
use crate::commands::files;
use crate::output::Output;

/// Above the proof of every sector size: 10 partitions of 64 GiB take about 100 MB as JSON.
const PROOF_FILE_BYTES_MAX: u64 = 1 << 30;

/// The verdict.
#[derive(Debug, Serialize)]
struct Verdict {
    ok: bool,
    /// Which challenge, layer or opening is wrong: expected and got.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => f.write_str("ok"),
            Some(reason) => write!(f, "not ok: {reason}"),
        }
    }
}

/// Runs the command. A refused proof is printed as a verdict and is an error as well, so that scripts stop.
pub fn run(arguments: VerifyArguments) -> anyhow::Result<()> {
    let path = arguments.file;
    let (statement, proof) = read(&path)?;
    let output = Output::from_flag(arguments.json);
    let Err(rejection) = porep::verify(&statement, &proof) else {
        return output.print(&Verdict { ok: true, reason: None });
    };
    let reason = rejection.to_string();
    output.print(&Verdict { ok: false, reason: Some(reason.clone()) })?;
    Err(anyhow!("{}: the proof is refused: {reason}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<(PorepStatement, PorepProof)> {
    let (file, bytes) = files::open(path)?;
    if bytes > PROOF_FILE_BYTES_MAX {
        bail!("{}: expected at most {PROOF_FILE_BYTES_MAX} bytes, got {bytes}", path.display());
    }
    let value = parse(file).with_context(|| format!("cannot read {}", path.display()))?;
    let Value::Object(mut fields) = value else {
        bail!("{}: expected a JSON object", path.display());
    };
    (|| {
        let sector_size = sector_size(&mut fields)?;
        let seal_proof: SealProof = required(&mut fields, "seal_proof")?;
        let identity = SectorIdentity {
            sector_size,
            seal_proof,
            porep_id: optional(&mut fields, "porep_id")?.unwrap_or_else(|| seal_proof.porep_id(sector_size)),
            prover_id: required(&mut fields, "prover_id")?,
            sector_number: required(&mut fields, "sector_number")?,
            ticket: required(&mut fields, "ticket")?,
        };
        let comm_d = required(&mut fields, "comm_d")?;
        let comm_r = required(&mut fields, "comm_r")?;
        let seed = required(&mut fields, "interactive_seed")?;
        let proof = required(&mut fields, "proof")?;
        anyhow::Ok((PorepStatement { identity, comm_d, comm_r, seed }, proof))
    })()
    .with_context(|| path.display().to_string())
}

fn parse(file: File) -> anyhow::Result<Value> {
    let mut text = Vec::new();
    file.take(PROOF_FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// In bytes, or by name.
fn sector_size(fields: &mut Map<String, Value>) -> anyhow::Result<SectorSize> {
    match fields.get("sector_size") {
        Some(Value::String(name)) => name.parse().context("field sector_size"),
        _ => required(fields, "sector_size"),
    }
}

fn required<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &str) -> anyhow::Result<T> {
    optional(fields, name)?.ok_or_else(|| anyhow!("field {name} is missing"))
}

fn optional<T: DeserializeOwned>(fields: &mut Map<String, Value>, name: &str) -> anyhow::Result<Option<T>> {
    let Some(value) = fields.remove(name) else { return Ok(None) };
    serde_json::from_value(value).map(Some).with_context(|| format!("field {name}"))
}
