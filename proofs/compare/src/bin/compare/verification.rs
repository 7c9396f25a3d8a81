//! Seconds to verify: one golden proof of replication, and a batch of them.

use anyhow::Result;
use cairn_compare::side::Outcome;

use crate::child::{BOTH, Sides};
use crate::folders::Work;
use crate::report::{Report, part, seconds};

/// Processes on each side, in turn.
const ROUNDS: usize = 3;

/// Measures both sides.
pub fn run(sides: &Sides, work: &Work, report: &mut Report) -> Result<()> {
    let mut runs: [Vec<Outcome>; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (who, runs) in BOTH.into_iter().zip(&mut runs) {
            runs.push(sides.verify_many(who, work)?);
        }
    }
    let of = |part_of: &dyn Fn(&[Outcome]) -> f64| runs.each_ref().map(|runs| part_of(runs));
    let ones = of(&|runs| seconds(runs, |run| run.work.seconds));
    report.compare_seconds("verify a statement, porep-2KiB", ones, None, "one proof, key in memory");
    for (what, name, note) in [
        ("verify a batch of statements, porep-2KiB", "batch_s", "100 proofs, key in memory"),
        ("verify the bare equation, porep-2KiB", "equation_s", "one proof; public inputs at hand"),
        ("verify a batch of bare equations, porep-2KiB", "equation_batch_s", "100 proofs; public inputs at hand"),
    ] {
        report.compare_seconds(what, of(&|runs| part(runs, name)), None, note);
    }
    Ok(())
}
