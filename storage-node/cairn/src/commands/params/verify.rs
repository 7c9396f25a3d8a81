//! `cairn params verify`: key files from their first byte to their last.
//!
//! For each circuit that has files in the folder:
//! 1. The verifying key: its digest (published, or marked), every point on its curve and in its group.
//! 2. The parameter file, likewise, and that it begins with the same verifying key.
//! 3. The `.meta` file names the circuit's sector size.
//! 4. Files that are not published have as many inputs, variables and domain elements as the circuit under whose name
//!    they lie: somebody may have renamed another circuit's.

use std::fmt;
use std::fs;
use std::time::Instant;

use anyhow::{Context, anyhow, bail, ensure};
use cairn_compute::Workers;
use cairn_protocol::SectorSize;
use cairn_snark::groth16::params::ParamsSummary;
use cairn_snark::groth16::{Circuit, FileKind, Listing, Origin, meta};
use serde::Serialize;

use crate::cli::{KeyCircuit, ParamsVerifyArguments};
use crate::commands::keys::{self, Keys};
use crate::commands::seconds_since;
use crate::output::Output;
use crate::progress::Stage;

/// What was checked, and the first problem if there is one.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Circuits without a problem.
    circuits: Vec<Checked>,
}

/// The sound files of one circuit.
#[derive(Debug, Serialize)]
struct Checked {
    circuit: &'static str,
    sector_size: SectorSize,
    parameters: Origin,
    /// Digest and length of the parameter file, where there is one.
    params_digest: Option<String>,
    params_bytes: Option<u64>,
    /// Public inputs, not counting ONE.
    public_inputs: u64,
    /// Whether the verifying key has a file of its own.
    verifying_key: bool,
    meta: bool,
    seconds: f64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for checked in &self.circuits {
            let origin = match checked.parameters {
                Origin::Published => "published",
                Origin::Development => "development",
            };
            write!(f, "{:<16} {:>6}  {origin:<11}", checked.circuit, checked.sector_size.to_string())?;
            match (&checked.params_digest, checked.params_bytes) {
                (Some(digest), Some(bytes)) => write!(f, "  .params {bytes} bytes, digest {digest}")?,
                _ => write!(f, "  no .params")?,
            }
            write!(f, "{}", if checked.verifying_key { ", .vk" } else { ", no .vk" })?;
            writeln!(f, ", {} public inputs, {} s", checked.public_inputs, checked.seconds)?;
        }
        match &self.reason {
            None => f.write_str("ok"),
            Some(reason) => write!(f, "not ok: {reason}"),
        }
    }
}

/// Runs the command.
pub fn run(arguments: ParamsVerifyArguments) -> anyhow::Result<()> {
    let ParamsVerifyArguments { params, circuit, sector_size, trust, threads, json } = arguments;
    let output = Output::from_flag(json);
    let keys = Keys::open(params, None, trust)?;
    let wanted = |found: &Circuit| {
        circuit.is_none_or(|circuit| circuit.is(*found)) && sector_size.is_none_or(|size| size == found.sector_size())
    };
    let listings: Vec<Listing> = keys.store().list().into_iter().filter(|listing| wanted(&listing.circuit)).collect();
    if listings.is_empty() {
        return Err(nothing_to_verify(&keys, wanted, circuit.is_some() && sector_size.is_some()));
    }
    let workers = Workers::new(threads)?;
    let mut report = Report { ok: true, reason: None, circuits: vec![] };
    for listing in listings {
        match check(&keys, &listing, &workers) {
            Ok(checked) => report.circuits.push(checked),
            Err(problem) => {
                let reason = format!("{problem:#}");
                (report.ok, report.reason) = (false, Some(reason));
                output.print(&report)?;
                return Err(problem);
            }
        }
    }
    if report.circuits.iter().any(|checked| checked.parameters == Origin::Development) {
        keys::say_origin(Origin::Development);
    }
    output.print(&report)
}

fn nothing_to_verify(keys: &Keys, wanted: impl Fn(&Circuit) -> bool, one: bool) -> anyhow::Error {
    let names = Circuit::all().find(wanted).filter(|_| one).map_or_else(
        || "files under Filecoin's names (v28-..)".to_owned(),
        |circuit| circuit.file_name(FileKind::VerifyingKey),
    );
    anyhow!("{} has nothing to verify: expected {names}", keys.params().display())
}

/// All steps of the module, for one circuit.
fn check(keys: &Keys, listing: &Listing, workers: &Workers) -> anyhow::Result<Checked> {
    let started = Instant::now();
    let (circuit, store) = (listing.circuit, keys.store());
    let mut origins = vec![];
    let mut inputs = None;
    if listing.verifying_key_bytes.is_some() {
        let (key, origin) = store.verifying_key(circuit, workers).with_context(|| circuit.to_string())?;
        origins.push(origin);
        inputs = Some(key.ic.len() as u64);
    }
    let mut summary = None;
    if listing.params_bytes.is_some() {
        let stage = Stage::begin("parameters");
        let progress = |done, total| stage.report(done, total);
        let (read, origin) = store.check_params(circuit, workers, &progress).with_context(|| circuit.to_string())?;
        origins.push(origin);
        inputs = Some(read.inputs);
        summary = Some(read);
    }
    let inputs = inputs.expect("a listed circuit has one of the two files");
    let meta = check_meta(keys, circuit)?;
    let published = origins.iter().all(|origin| *origin == Origin::Published);
    if !published {
        check_counts(keys, circuit, inputs, summary.as_ref())?;
    }
    Ok(Checked {
        circuit: KeyCircuit::name_of(circuit),
        sector_size: circuit.sector_size(),
        parameters: if published { Origin::Published } else { Origin::Development },
        params_digest: summary.map(|summary| summary.digest.to_string()),
        params_bytes: summary.map(|summary| summary.bytes),
        public_inputs: inputs - 1,
        verifying_key: listing.verifying_key_bytes.is_some(),
        meta,
        seconds: seconds_since(started),
    })
}

/// Step 3. Gives whether there is such a file: nothing needs it.
fn check_meta(keys: &Keys, circuit: Circuit) -> anyhow::Result<bool> {
    let file = keys.store().path(circuit, FileKind::Meta);
    let bytes = match fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        read => read.with_context(|| format!("cannot read {}", file.display()))?,
    };
    let got = meta::from_bytes(&bytes, &file)?;
    let expected = circuit.sector_size();
    ensure!(got == expected, "{}: expected sector size {expected}, got {got}", file.display());
    Ok(true)
}

/// Step 4.
fn check_counts(keys: &Keys, circuit: Circuit, inputs: u64, params: Option<&ParamsSummary>) -> anyhow::Result<()> {
    // Only published files exist of a circuit that is not among ours.
    let Some(id) = circuit.id() else { bail!("{circuit}: expected the published files, got others") };
    let info = id.info().with_context(|| format!("cannot synthesise {id}"))?;
    let with_vk = (FileKind::VerifyingKey, "inputs with ONE", info.num_inputs_with_one, inputs);
    let mut counts = vec![with_vk];
    if let Some(params) = params {
        let domain = (info.num_constraints + info.num_inputs_with_one).next_power_of_two();
        counts[0].0 = FileKind::Params;
        counts.push((FileKind::Params, "auxiliary variables", info.num_aux, params.counts.aux()));
        counts.push((FileKind::Params, "elements of the domain", domain, params.counts.domain()));
    }
    for (kind, what, expected, got) in counts {
        let file = keys.store().path(circuit, kind);
        ensure!(expected == got, "{}: expected {expected} {what} as {circuit} has, got {got}", file.display());
    }
    Ok(())
}
