//! Checking a proof of spacetime.

use cairn_protocol::{SealProof, SectorParams};

use super::challenges::leaves;
use super::proof::{PostProof, SectorOpenings};
use super::rejection::PostRejection;
use super::{PostKind, PostSector, PostStatement};
use crate::merkle::{Levels, Tree};
use crate::seal::comm_r;

/// Checks every opening of `proof` against `statement`.
///
/// # Errors
/// [`PostRejection`] names the first sector and challenge that fails, and why.
pub fn verify(statement: &PostStatement, proof: &PostProof) -> Result<(), PostRejection> {
    check_statement(statement)?;
    let (expected, got) = (statement.sectors.len(), proof.sectors.len());
    if expected != got {
        return Err(PostRejection::Sectors { expected, got });
    }
    for (position, (sector, proof)) in statement.sectors.iter().zip(&proof.sectors).enumerate() {
        let (expected, got) = (sector.sector_number, proof.sector_number);
        if expected != got {
            return Err(PostRejection::SectorNumber { position, expected, got });
        }
        if proof.comm_r != sector.comm_r {
            return Err(PostRejection::CommR { sector: expected, expected: sector.comm_r, got: proof.comm_r });
        }
        check_openings(statement, sector, &proof.openings.sectors[0])?;
    }
    Ok(())
}

/// Tree shapes do not depend on how a sector was sealed.
pub(super) fn params(statement: &PostStatement) -> SectorParams {
    SectorParams::new(statement.sector_size, SealProof::V1_1)
}

pub(super) fn check_statement(statement: &PostStatement) -> Result<(), PostRejection> {
    let (kind, most) = match statement.kind {
        PostKind::Window => ("window", params(statement).window_sectors_per_partition),
        PostKind::Winning => ("winning", 1),
    };
    let got = statement.sectors.len();
    if (1..=most).contains(&got) { Ok(()) } else { Err(PostRejection::Statement { kind, most, got }) }
}

fn check_openings(
    statement: &PostStatement,
    sector: &PostSector,
    openings: &SectorOpenings,
) -> Result<(), PostRejection> {
    let number = sector.sector_number;
    let got = comm_r(&openings.comm_c, &openings.comm_r_last)
        .map_err(|source| PostRejection::NonCanonical { sector: number, source })?;
    if got != sector.comm_r {
        return Err(PostRejection::CommR { sector: number, expected: sector.comm_r, got });
    }
    let leaves = leaves(statement, number);
    let (expected, got) = (leaves.len(), openings.inclusion_proofs.len());
    if expected != got {
        return Err(PostRejection::Openings { sector: number, expected, got });
    }
    let levels = Levels::of(Tree::RLast, &params(statement));
    for (position, (leaf, proof)) in leaves.into_iter().zip(&openings.inclusion_proofs).enumerate() {
        proof.verify(Tree::RLast, &levels, leaf, &openings.comm_r_last.0).map_err(|reason| PostRejection::Opening {
            sector: number,
            position,
            leaf,
            reason,
        })?;
    }
    Ok(())
}
