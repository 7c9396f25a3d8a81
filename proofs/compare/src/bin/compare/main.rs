//! Runs both sides in turn and prints what they took and whether they agree, one JSON object per line. See the library.

mod agreement;
mod child;
mod digests;
mod folders;
mod line;
mod proofs;
mod report;
mod setup;
mod verification;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use cairn_protocol::SectorSize;
use cairn_snark::{CircuitId, CircuitKind};
use child::Sides;
use clap::Parser;
use folders::Work;
use report::Report;

/// Compare our proofs with the reference implementation's: seconds, memory, and each one's word on the other's proofs.
///
/// Exits with 1 if the two disagree about a proof, a key file or a constraint system. A missed target is printed as
/// `"met": false` and does not fail the run: on a busy machine it says nothing.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  compare --dir .compare                  everything; the first time with the reference's setup (10 to 20 minutes)
  compare --dir .compare --small          without the 2 KiB proof of replication and its parameters: a minute
  compare --dir .compare --also window-post:32KiB --also update:4KiB --small")]
struct Cli {
    /// Folder for parameters, keys and records: 5 GB. What can be used again is kept there.
    #[arg(long)]
    dir: PathBuf,
    /// Proofs of replication on each side, in turn; the median is printed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Make the reference's parameters anew, to measure it, even if they are there.
    #[arg(long)]
    measure_reference_setup: bool,
    /// Leave out the 2 KiB proof of replication.
    #[arg(long)]
    small: bool,
    /// One more constraint system to compare, KIND:SIZE; may be given several times.
    #[arg(long, value_parser = circuit)]
    also: Vec<CircuitId>,
}

fn circuit(text: &str) -> Result<CircuitId, String> {
    let (kind, size) = text.split_once(':').ok_or("expected KIND:SIZE, such as window-post:4KiB")?;
    let kind: CircuitKind = kind.parse().map_err(|error| format!("{error}"))?;
    let sector_size: SectorSize = size.parse().map_err(|error| format!("{error}"))?;
    Ok(CircuitId { kind, sector_size })
}

fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let work = Work::open(&cli.dir).with_context(|| format!("prepare {}", cli.dir.display()))?;
    if !cli.small {
        work.check_space()?;
    }
    let sides = Sides::beside_this_program(&work)?;
    let mut report = Report::default();
    report.machine()?;
    digests::run(&sides, &work, &cli.also, &mut report)?;
    verification::run(&sides, &work, &mut report)?;
    agreement::posts(&sides, &work, &mut report)?;
    if !cli.small {
        setup::run(&sides, &work, cli.measure_reference_setup, &mut report)?;
        proofs::run(&sides, &work, cli.rounds, &mut report)?;
        agreement::poreps_with_our_parameters(&sides, &work, &mut report)?;
    }
    Ok(report.finish())
}
