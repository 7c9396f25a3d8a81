//! Each side's word on proofs and key files of the other.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use cairn_compare::side::Outcome;
use cairn_snark::CircuitKind;
use serde_json::Value;

use crate::child::{BOTH, Sides, Who};
use crate::folders::{Keys, Work};
use crate::line::Line;
use crate::report::Report;

/// Proofs of spacetime: with the golden parameters, and with parameters that we make here.
pub fn posts(sides: &Sides, work: &Work, report: &mut Report) -> Result<()> {
    both_prove(sides, work, Keys::Vectors, CircuitKind::WindowPost, report)?;
    for circuit in [CircuitKind::WindowPost, CircuitKind::WinningPost] {
        let made = sides.setup(Who::Ours, work, Keys::Ours, circuit)?;
        report.print(&Line::about(&format!("our setup, {circuit}-2KiB")).figure("ours_s", made.work.seconds));
        both_prove(sides, work, Keys::Ours, circuit, report)?;
    }
    Ok(())
}

/// Proofs of replication with the parameters that [`crate::setup`] made on our side.
pub fn poreps_with_our_parameters(sides: &Sides, work: &Work, report: &mut Report) -> Result<()> {
    sides.prepare(Who::Ours, work, Keys::Ours, CircuitKind::Porep)?;
    both_prove(sides, work, Keys::Ours, CircuitKind::Porep, report)
}

/// Each side proves once; both judge both proofs.
fn both_prove(sides: &Sides, work: &Work, keys: Keys, circuit: CircuitKind, report: &mut Report) -> Result<()> {
    sides.prepare(Who::Ours, work, keys, circuit)?;
    for prover in BOTH {
        let outcome = sides.prove(prover, work, keys, circuit)?;
        judge(sides, work, keys, circuit, prover, &outcome, report)?;
    }
    Ok(())
}

/// Both sides verify a proof.
pub fn judge(
    sides: &Sides,
    work: &Work,
    keys: Keys,
    circuit: CircuitKind,
    prover: Who,
    outcome: &Outcome,
    report: &mut Report,
) -> Result<()> {
    let proof = outcome.work.proof.as_ref().context("a proof")?;
    let verdicts = BOTH.map(|who| (who, sides.verdict(who, work, keys, circuit, proof)));
    let agree = verdicts.iter().all(|(_, verdict)| verdict.is_ok());
    let word = |verdict: &Result<(), String>| match verdict {
        Ok(()) => Value::from("holds"),
        Err(why) => why.as_str().into(),
    };
    let verdicts: BTreeMap<&str, Value> = verdicts.iter().map(|(who, verdict)| (who.name(), word(verdict))).collect();
    report.agreement(&format!("proof, {circuit}-2KiB"), agree, |line| {
        line.with("proof_by", prover.name())
            .with("parameters_by", keys.maker())
            .with("verified_by", verdicts)
            .figure("seconds", outcome.work.seconds)
            .with("proof", proof)
    });
    Ok(())
}
