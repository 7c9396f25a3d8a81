//! Parameters of the 2 KiB proof of replication: the reference's are made once and kept, ours in every run.

use std::fs;
use std::io::Write;

use anyhow::{Context, Result};
use cairn_compare::side::Outcome;
use cairn_snark::CircuitKind;

use crate::child::{Sides, Who};
use crate::folders::{Keys, Work};
use crate::line::Line;
use crate::report::{Report, Target};

const TARGET: Target = Target { ratio: Some(5.0), peak_share: None };

/// Makes both, as far as necessary, and compares the times.
pub fn run(sides: &Sides, work: &Work, anew: bool, report: &mut Report) -> Result<()> {
    let recorded = if anew { None } else { record(work)? };
    let from = if recorded.is_some() { "an earlier run" } else { "this run" };
    let reference = match recorded {
        Some(outcome) => outcome,
        None => make_the_references(sides, work)?,
    };
    let ours = sides.setup(Who::Ours, work, Keys::Ours, CircuitKind::Porep)?;
    report.compare("setup, porep-2KiB", [&[ours], &[reference]], TARGET, &format!("the reference's in {from}"));
    let converted = sides.prepare(Who::Ours, work, Keys::Reference, CircuitKind::Porep)?;
    let line = Line::about("our one-time conversion of the reference's parameters, porep-2KiB")
        .figure("ours_s", converted.work.seconds)
        .with("ours_peak_kb", converted.peak_kb)
        .with("note", "next to nothing where an earlier run did it");
    report.print(&line);
    Ok(())
}

/// How long it took when it was done. Without a record the files may be cut short, and are made again.
fn record(work: &Work) -> Result<Option<Outcome>> {
    let file = work.reference_setup_record();
    if !file.exists() {
        return Ok(None);
    }
    let bytes = fs::read(&file)?;
    Ok(Some(
        serde_json::from_slice(&bytes).with_context(|| format!("read {}: remove it to start anew", file.display()))?,
    ))
}

fn make_the_references(sides: &Sides, work: &Work) -> Result<Outcome> {
    eprintln!("compare: the reference makes its parameters: 10 to 20 minutes, once");
    work.empty(Keys::Reference)?;
    let outcome = sides.setup(Who::Reference, work, Keys::Reference, CircuitKind::Porep)?;
    let mut file = fs::File::create(work.reference_setup_record())?;
    file.write_all(&serde_json::to_vec_pretty(&outcome)?)?;
    file.sync_all()?;
    Ok(outcome)
}
