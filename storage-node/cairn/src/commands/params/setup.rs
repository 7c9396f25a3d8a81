//! `cairn params setup`: parameters for development.
//!
//! 1. Files that are there stay, unless they are marked as development parameters and `--force` says so.
//! 2. The circuit's matrices are recorded; from them follows how long the parameter file will be, to the byte, and how
//!    much memory making it takes. That is said, and refused if disk or memory has no room.
//! 3. The secrets are drawn from the operating system, and the files made and marked.
//!
//! Whatever stops it, an error or Ctrl-C, leaves the folder as it was ([`NewFiles`]).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use cairn_compute::Workers;
use cairn_protocol::SectorSize;
use cairn_snark::groth16::catalog::{self, FileDigest};
use cairn_snark::groth16::params::{ParamsSummary, Section};
use cairn_snark::groth16::setup::Setup;
use cairn_snark::groth16::{Circuit, FileKind, Secrets};
use cairn_snark::proving::make_development_params;
use cairn_snark::r1cs::Matrices;
use cairn_snark::{CircuitId, CircuitKind};
use rand::TryRng;
use rand::rngs::SysRng;
use serde::Serialize;

use super::new_files::NewFiles;
use crate::cli::{ParamsSetupArguments, TrustArguments};
use crate::commands::keys::{self, Keys};
use crate::commands::seconds_since;
use crate::memory;
use crate::output::Output;
use crate::progress::Stage;

/// Points of a verifying key besides those of the inputs, and the number of those.
const VERIFYING_KEY_BYTES: u64 = 868;

/// Bytes of one number of points.
const COUNT_BYTES: u64 = 4;

/// For `.meta` and the mark, and the file system's rounding.
const SMALL_FILES_BYTES: u64 = 64 << 10;

/// What was made.
#[derive(Debug, Serialize)]
struct SetupReport {
    circuit: CircuitKindName,
    sector_size: SectorSize,
    /// Always `development`.
    parameters: &'static str,
    params: PathBuf,
    params_bytes: u64,
    params_digest: String,
    verifying_key: PathBuf,
    /// Public inputs, not counting ONE.
    public_inputs: u64,
    mark: PathBuf,
    seconds: f64,
}

/// A kind of circuit, by name.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct CircuitKindName(&'static str);

impl fmt::Display for SetupReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "circuit        {} {}", self.circuit.0, self.sector_size)?;
        writeln!(f, "parameters     {}", self.params.display())?;
        writeln!(f, "               {} bytes, digest {}", self.params_bytes, self.params_digest)?;
        writeln!(f, "verifying key  {}, {} public inputs", self.verifying_key.display(), self.public_inputs)?;
        writeln!(f, "mark           {}: for development only", self.mark.display())?;
        writeln!(f, "{} seconds", self.seconds)
    }
}

/// Runs the command.
pub fn run(arguments: ParamsSetupArguments) -> anyhow::Result<()> {
    let ParamsSetupArguments { circuit: kind, sector_size, params, cache, force, threads, json } = arguments;
    let id = CircuitId { kind, sector_size };
    let circuit = Circuit::from(id);
    let keys = Keys::new(params, cache, TrustArguments { published_only: false });
    refuse_to_overwrite(&keys, circuit, force)?;
    let started = Instant::now();
    let summary = make_development(&keys, id, 1, &Workers::new(threads)?)?;
    Output::from_flag(json).print(&SetupReport {
        circuit: CircuitKindName(CircuitKind::name(kind)),
        sector_size,
        parameters: "development",
        params: keys.store().path(circuit, FileKind::Params),
        params_bytes: summary.bytes,
        params_digest: summary.digest.to_string(),
        verifying_key: keys.store().path(circuit, FileKind::VerifyingKey),
        public_inputs: summary.inputs - 1,
        mark: keys.store().mark_path(circuit),
        seconds: seconds_since(started),
    })
}

/// All steps of the module, where development parameters that are there in part may be replaced. `copies` says how often
/// the disk must have room for what is made: twice where a prover will convert it.
///
/// # Errors
/// Files that are not ours, no room, no randomness, or a file that cannot be written; the folder is as it was.
pub fn make_development(keys: &Keys, id: CircuitId, copies: u64, workers: &Workers) -> anyhow::Result<ParamsSummary> {
    let circuit = Circuit::from(id);
    refuse_to_overwrite(keys, circuit, true)?;
    let files = NewFiles::begin(folders(keys), new_paths(keys, circuit))?;
    let needs = Needs::of(&matrices(keys, id, circuit, workers)?, workers)?;
    let (disk_bytes, memory_bytes) = (copies * needs.disk_bytes, needs.memory_bytes);
    let folder = keys.params().display();
    keys::note(&format!("{circuit} takes {disk_bytes} bytes in {folder}, and {memory_bytes} bytes of memory"));
    let refused = || format!("cannot make parameters of {circuit}");
    keys::check_room(keys.params(), disk_bytes).with_context(refused)?;
    memory::check_available(memory_bytes).with_context(refused)?;

    let mut secret_bytes = [0; 320];
    SysRng.try_fill_bytes(&mut secret_bytes).map_err(|error| anyhow!("the system gives no randomness: {error}"))?;
    let stage = Stage::begin_share("parameters");
    let progress = |done, total| stage.report(done, total);
    let secrets = Secrets::from_bytes(&secret_bytes);
    let summary = make_development_params(keys.store(), circuit, secrets, workers, &progress)
        .with_context(|| format!("cannot make parameters of {circuit}"))?;
    drop(stage);
    files.keep();
    Ok(summary)
}

fn folders(keys: &Keys) -> Vec<PathBuf> {
    vec![keys.params().to_owned(), keys.cache().to_owned()]
}

/// Every file that may come into being.
fn new_paths(keys: &Keys, circuit: Circuit) -> Vec<PathBuf> {
    let store = keys.store();
    let kinds = [FileKind::Params, FileKind::VerifyingKey, FileKind::Meta].map(|kind| store.path(circuit, kind));
    let matrices = store.matrices_path(circuit);
    let recording = matrices.with_extension("partial");
    kinds.into_iter().chain([store.mark_path(circuit), matrices, recording]).collect()
}

/// Step 1. Published files could be fetched again, others perhaps not: neither is touched, marked or not.
fn refuse_to_overwrite(keys: &Keys, circuit: Circuit, force: bool) -> anyhow::Result<()> {
    let store = keys.store();
    let kinds = [FileKind::Params, FileKind::VerifyingKey, FileKind::Meta];
    let Some(there) = kinds.into_iter().map(|kind| store.path(circuit, kind)).find(|path| path.exists()) else {
        return Ok(());
    };
    let there = there.display();
    if !store.mark_path(circuit).exists() {
        bail!(
            "{there} is there and not marked as development parameters: choose another folder, or remove it yourself"
        );
    }
    if !force {
        bail!("{there} is there: --force replaces development parameters");
    }
    for kind in [FileKind::Params, FileKind::VerifyingKey] {
        let path = store.path(circuit, kind);
        if begins_with_published_key(circuit, &path)? {
            bail!(
                "{} is the published file beside a mark of development parameters: remove one of them",
                path.display()
            );
        }
    }
    Ok(())
}

/// Whether a file begins with the published verifying key: a `.vk` and a `.params` file do, each of its circuit.
fn begins_with_published_key(circuit: Circuit, file: &Path) -> anyhow::Result<bool> {
    use std::io::Read;
    let Some(published) = catalog::published(&circuit.file_name(FileKind::VerifyingKey)) else { return Ok(false) };
    if !file.exists() {
        return Ok(false);
    }
    let mut reader = fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut bytes = vec![];
    let read = |error| anyhow!("cannot read {}: {error}", file.display());
    reader.by_ref().take(VERIFYING_KEY_BYTES).read_to_end(&mut bytes).map_err(read)?;
    let Some(count) = bytes.last_chunk::<4>().filter(|_| bytes.len() as u64 == VERIFYING_KEY_BYTES) else {
        return Ok(false);
    };
    let points = u64::from(u32::from_be_bytes(*count)).min(cairn_snark::groth16::verifying_key::MAX_IC);
    reader.take(Section::A.point_bytes() * points).read_to_end(&mut bytes).map_err(read)?;
    Ok(published.digest == FileDigest::of(&bytes))
}

/// The circuit's matrices, recorded unless they are there.
fn matrices(keys: &Keys, id: CircuitId, circuit: Circuit, workers: &Workers) -> anyhow::Result<Matrices> {
    let file = keys.store().matrices_path(circuit);
    if let Ok(matrices) = Matrices::open(id, &file, workers) {
        return Ok(matrices);
    }
    let stage = Stage::begin_count("constraints");
    Ok(Matrices::record(id, &file, workers, &|done| stage.count(done))?)
}

/// What making parameters takes.
struct Needs {
    /// Bytes of the parameter file and of the verifying key.
    disk_bytes: u64,
    memory_bytes: u64,
}

impl Needs {
    /// Step 2.
    fn of(matrices: &Matrices, workers: &Workers) -> anyhow::Result<Self> {
        let densities = matrices.densities(workers)?;
        let count = |marks: &[bool]| marks.iter().filter(|mark| **mark).count() as u64;
        let (inputs, aux) = (matrices.num_inputs() as u64, matrices.num_aux() as u64);
        let domain = (matrices.num_constraints() as u64 + inputs).next_power_of_two();
        let b = count(&densities.b_inputs) + count(&densities.b_aux);
        let points = [domain - 1, aux, inputs + count(&densities.a_aux), b, b];
        let sections = Section::ALL.iter().zip(points);
        let key = VERIFYING_KEY_BYTES + Section::A.point_bytes() * inputs;
        let params: u64 = sections.map(|(section, points)| COUNT_BYTES + section.point_bytes() * points).sum();
        let disk_bytes = 2 * key + params + SMALL_FILES_BYTES;
        Ok(Self { disk_bytes, memory_bytes: Setup::memory_bytes(matrices) })
    }
}
