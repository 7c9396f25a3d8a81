//! Constraint systems that are not among the golden ones: every constraint must be the same.

use anyhow::{Context, Result};
use cairn_protocol::SectorSize;
use cairn_snark::{CircuitId, CircuitKind};

use crate::child::{Sides, Who};
use crate::folders::Work;
use crate::report::Report;

const ALWAYS: [CircuitId; 2] = [
    CircuitId { kind: CircuitKind::WindowPost, sector_size: SectorSize::KIB4 },
    CircuitId { kind: CircuitKind::WinningPost, sector_size: SectorSize::KIB4 },
];

/// Compares the constraint systems of these circuits and of `also`.
pub fn run(sides: &Sides, work: &Work, also: &[CircuitId], report: &mut Report) -> Result<()> {
    for id in ALWAYS.iter().chain(also) {
        let ours = sides.digest(Who::Ours, work, *id)?.work;
        let reference = sides.digest(Who::Reference, work, *id)?.work;
        let (our_digest, reference_digest) = (ours.digest.context("a digest")?, reference.digest.context("a digest")?);
        report.agreement(&format!("r1cs {id}"), our_digest == reference_digest, |line| {
            line.with("ours", &our_digest)
                .with("reference", &reference_digest)
                .figure("ours_s", ours.seconds)
                .figure("reference_s", reference.seconds)
        });
    }
    Ok(())
}
