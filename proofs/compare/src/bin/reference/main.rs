//! The reference's side of the comparison. See the library.
//!
//! The reference finds its key files through two environment variables, `FIL_PROOFS_PARAMETER_CACHE` and
//! `FIL_PROOFS_PARENT_CACHE`; whoever starts this process sets them to the folders that it is given as arguments.

mod config;
mod digest;
mod log_times;
mod plain;
mod prove;
mod setup;
mod verify;

use std::path::Path;

use anyhow::{Result, bail, ensure};
use cairn_compare::side::{self, Side, Work};
use cairn_compare::task::Folders;
use cairn_protocol::SectorSize;
use cairn_snark::CircuitKind;
use log_times::LogTimes;
use storage_proofs_core::parameter_cache::parameter_cache_dir;

fn main() -> Result<()> {
    side::run(|folders: Folders| {
        let used = parameter_cache_dir();
        ensure!(same(&used, &folders.params), "the reference looks for keys in {used:?}, not in {:?}", folders.params);
        Ok(Reference { times: LogTimes::listen()? })
    })
}

/// filecoin-proofs on all cores.
struct Reference {
    times: LogTimes,
}

impl Side for Reference {
    fn setup(&self, circuit: CircuitKind) -> Result<Work> {
        setup::setup(circuit)
    }

    /// Nothing to do: the reference proves from its parameter file.
    fn prepare(&self, _: CircuitKind) -> Result<Work> {
        Ok(Work::default())
    }

    fn prove(&self, circuit: CircuitKind) -> Result<Work> {
        prove::prove(circuit, &self.times)
    }

    fn witness(&self) -> Result<Work> {
        bail!("the reference has no such function: a proof of it reports its synthesis")
    }

    fn verify(&self, circuit: CircuitKind, proof: &[u8]) -> Result<Work> {
        verify::one(circuit, proof)
    }

    fn verify_many(&self) -> Result<Work> {
        verify::many()
    }

    fn digest(&self, circuit: CircuitKind, size: SectorSize) -> Result<Work> {
        digest::digest(circuit, size)
    }
}

fn same(left: &Path, right: &Path) -> bool {
    match (left.canonicalize(), right.canonicalize()) {
        (Ok(left), Ok(right)) => left == right,
        _ => false,
    }
}
