//! `cairn params list`: which key files a folder holds, and what they seem to be. Only verifying keys are read.

use std::fmt;
use std::fs::File;
use std::io::Read;

use cairn_protocol::SectorSize;
use cairn_snark::groth16::catalog::{self, FileDigest};
use cairn_snark::groth16::verifying_key::MAX_IC;
use cairn_snark::groth16::{FileKind, Listing};
use serde::Serialize;

use crate::cli::{KeyCircuit, ParamsListArguments, TrustArguments};
use crate::commands::keys::Keys;
use crate::output::Output;

/// No verifying key is longer.
const KEY_BYTES_MAX: u64 = 868 + 96 * MAX_IC;

/// What the verifying key of a circuit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Looks {
    /// Its digest is the published one.
    Published,
    /// A mark beside the files says so.
    Development,
    /// Neither published nor marked.
    Unmarked,
    /// There is none, or it cannot be read.
    Unknown,
}

/// The files of one circuit; lengths in bytes.
#[derive(Debug, Serialize)]
struct Entry {
    circuit: &'static str,
    sector_size: SectorSize,
    parameters: Looks,
    /// Name of the files, without extension.
    files: String,
    params_bytes: Option<u64>,
    verifying_key_bytes: Option<u64>,
    converted_key_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Entries(Vec<Entry>);

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no key files");
        }
        writeln!(
            f,
            "{:<16} {:>6}  {:<11} {:>14} {:>13} {:>14}",
            "circuit", "sector", "parameters", ".params", ".vk", "converted"
        )?;
        for entry in &self.0 {
            let bytes = |bytes: Option<u64>| bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
            let looks = match entry.parameters {
                Looks::Published => "published",
                Looks::Development => "development",
                Looks::Unmarked => "unmarked",
                Looks::Unknown => "unknown",
            };
            writeln!(
                f,
                "{:<16} {:>6}  {looks:<11} {:>14} {:>13} {:>14}",
                entry.circuit,
                entry.sector_size.to_string(),
                bytes(entry.params_bytes),
                bytes(entry.verifying_key_bytes),
                bytes(entry.converted_key_bytes)
            )?;
        }
        f.write_str("lengths in bytes; `cairn params verify` checks the files")
    }
}

/// Runs the command.
pub fn run(arguments: ParamsListArguments) -> anyhow::Result<()> {
    let ParamsListArguments { params, cache, json } = arguments;
    let keys = Keys::open(params, cache, TrustArguments { published_only: false })?;
    let entries = keys.store().list().into_iter().map(|listing| entry(&keys, &listing)).collect();
    Output::from_flag(json).print(&Entries(entries))
}

fn entry(keys: &Keys, listing: &Listing) -> Entry {
    let Listing { circuit, params_bytes, verifying_key_bytes, key_bytes, marked } = *listing;
    Entry {
        circuit: KeyCircuit::name_of(circuit),
        sector_size: circuit.sector_size(),
        parameters: looks(keys, listing, marked),
        files: circuit.file_stem(),
        params_bytes,
        verifying_key_bytes,
        converted_key_bytes: key_bytes,
    }
}

fn looks(keys: &Keys, listing: &Listing, marked: bool) -> Looks {
    let published = catalog::published(&listing.circuit.file_name(FileKind::VerifyingKey));
    let mut bytes = vec![];
    let file = File::open(keys.store().path(listing.circuit, FileKind::VerifyingKey));
    match file.and_then(|file| file.take(KEY_BYTES_MAX).read_to_end(&mut bytes)) {
        Ok(_) if published.is_some_and(|published| published.digest == FileDigest::of(&bytes)) => Looks::Published,
        _ if marked => Looks::Development,
        Ok(_) => Looks::Unmarked,
        Err(_) => Looks::Unknown,
    }
}
