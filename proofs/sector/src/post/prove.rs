//! Making a proof of spacetime from sectors' files.

use cairn_compute::Workers;
use cairn_protocol::SectorNumber;
use rayon::prelude::*;

use super::challenges::leaves;
use super::proof::{PostProof, SectorOpenings, SectorOpeningsList, SectorProof};
use super::rejection::PostRejection;
use super::verify::params;
use super::{PostSector, PostStatement, verify};
use crate::error::SealError;
use crate::files::SectorFiles;
use crate::merkle::Tree;
use crate::seal::read_p_aux;
use crate::trees::StoredTree;

/// A proof could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostProveError {
    /// A file of one sector is missing, short, damaged or unreadable.
    #[error("sector {sector}: {source}")]
    Files {
        /// The sector.
        sector: SectorNumber,
        /// Which file, and what is wrong.
        source: SealError,
    },
    /// The files are readable but do not prove the statement: they are damaged, or belong to another sector.
    #[error("the sectors' files do not prove the statement: {0}")]
    Rejected(#[from] PostRejection),
}

/// Opens every challenged leaf, and verifies the result before it is returned. `files` has the statement's order.
///
/// # Errors
/// [`PostProveError`] names the sector.
///
/// # Panics
/// If there are not as many sets of files as sectors.
pub fn prove(statement: &PostStatement, files: &[SectorFiles], workers: &Workers) -> Result<PostProof, PostProveError> {
    assert_eq!(files.len(), statement.sectors.len(), "one set of files for each sector");
    let sectors = workers.run(|| {
        statement
            .sectors
            .par_iter()
            .zip(files)
            .map(|(sector, files)| {
                prove_sector(statement, sector, files)
                    .map_err(|source| PostProveError::Files { sector: sector.sector_number, source })
            })
            .collect::<Result<Vec<_>, _>>()
    })?;
    let proof = PostProof { sectors };
    verify(statement, &proof)?;
    Ok(proof)
}

fn prove_sector(statement: &PostStatement, sector: &PostSector, files: &SectorFiles) -> Result<SectorProof, SealError> {
    let (comm_c, comm_r_last) = read_p_aux(files)?;
    let tree = StoredTree::open(Tree::RLast, files, &params(statement))?;
    let inclusion_proofs = leaves(statement, sector.sector_number)
        .into_par_iter()
        .map(|leaf| tree.open_leaf(leaf))
        .collect::<Result<_, _>>()?;
    Ok(SectorProof {
        sector_number: sector.sector_number,
        comm_r: sector.comm_r,
        openings: SectorOpeningsList { sectors: [SectorOpenings { comm_c, comm_r_last, inclusion_proofs }] },
    })
}
