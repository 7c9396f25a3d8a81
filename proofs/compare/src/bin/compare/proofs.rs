//! The 2 KiB proof of replication on both sides, in turn, with the reference's parameters.

use anyhow::Result;
use cairn_compare::side::Outcome;
use cairn_snark::CircuitKind;

use crate::agreement::judge;
use crate::child::{BOTH, Sides};
use crate::folders::{Keys, Work};
use crate::report::{Report, Target, part, seconds};

/// What is asked of witness and proof together.
const PROOF_TARGET: Target = Target { ratio: Some(5.0), peak_share: Some(0.5) };
/// What is asked of the witness alone: half the reference's synthesis.
const WITNESS_TARGET: f64 = 2.0;

/// Alternates, prints medians, and lets both sides judge every proof.
pub fn run(sides: &Sides, work: &Work, rounds: u32, report: &mut Report) -> Result<()> {
    let (mut proofs, mut witnesses): ([Vec<Outcome>; 2], Vec<Outcome>) = Default::default();
    for round in 0..rounds {
        eprintln!("compare: round {} of {rounds}", round + 1);
        for (who, proofs) in BOTH.into_iter().zip(&mut proofs) {
            proofs.push(sides.prove(who, work, Keys::Reference, CircuitKind::Porep)?);
        }
        witnesses.push(sides.witness(work)?);
    }
    let [ours, reference] = &proofs;
    let note = "from the plain proof to verified bytes, opening the key included";
    report.compare("witness and proof, porep-2KiB", [ours, reference], PROOF_TARGET, note);
    let synthesis = part(reference, "synthesis_s");
    let witness = seconds(&witnesses, |run| run.work.seconds);
    report.compare_seconds(
        "witness alone and synthesis, porep-2KiB",
        [witness, synthesis],
        Some(WITNESS_TARGET),
        "the first in its process",
    );
    let with_products = [witness + part(&witnesses, "products_s"), synthesis];
    let note = "as the reference's synthesis does, ours evaluates all constraints too";
    report.compare_seconds("witness with products and synthesis, porep-2KiB", with_products, None, note);
    for (who, outcomes) in BOTH.into_iter().zip(&proofs) {
        for outcome in outcomes {
            judge(sides, work, Keys::Reference, CircuitKind::Porep, who, outcome, report)?;
        }
    }
    Ok(())
}
