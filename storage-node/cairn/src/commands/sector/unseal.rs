//! `cairn sector unseal`: a range of the original data, from the replica.

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use cairn_compute::Workers;
use cairn_sector::SectorFiles;
use cairn_sector::unseal::unseal_range;
use serde::Serialize;

use super::record::SectorRecord;
use crate::cli::UnsealArguments;
use crate::commands::{files, seconds_since};
use crate::output::Output;
use crate::progress::Stage;

/// What was written where.
#[derive(Debug, Serialize)]
struct UnsealReport {
    out: PathBuf,
    offset: u64,
    length: u64,
    sha256: String,
    seconds: f64,
}

impl fmt::Display for UnsealReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} bytes from {} -> {}", self.length, self.offset, self.out.display())?;
        writeln!(f, "SHA-256 {}", self.sha256)?;
        writeln!(f, "{} seconds", self.seconds)
    }
}

/// Runs the command.
pub fn run(arguments: UnsealArguments) -> anyhow::Result<()> {
    let UnsealArguments { dir, offset, length, out, threads, json } = arguments;
    let sector = SectorFiles::new(dir);
    let record = SectorRecord::load(&sector)?;
    let workers = Workers::new(threads)?;
    let start = Instant::now();
    let stage = Stage::begin("labels");
    files::replace(&out, |writer| {
        let comm_d = &record.commitments.comm_d;
        let progress = |done, total| stage.report(done, total);
        Ok(unseal_range(&sector, &record.identity, comm_d, offset, length, writer, &workers, &progress)?)
    })?;
    drop(stage);
    let sha256 = files::sha256(&out)?;
    Output::from_flag(json).print(&UnsealReport { out, offset, length, sha256, seconds: seconds_since(start) })
}
