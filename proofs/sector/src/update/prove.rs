//! Making an update's proof from the files of both sectors.

use cairn_compute::{Node, Workers};
use cairn_protocol::CommC;
use rayon::prelude::*;

use super::challenges::challenges;
use super::proof::{ChallengeProof, PartitionProof, UpdateProof};
use super::rejection::UpdateRejection;
use super::{UpdateParams, UpdateStatement, verify};
use crate::error::SealError;
use crate::files::SectorFiles;
use crate::merkle::Tree;
use crate::seal::read_p_aux;
use crate::trees::StoredTree;

/// A proof could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateProveError {
    /// A file is missing, short, damaged or unreadable.
    #[error(transparent)]
    Files(#[from] SealError),
    /// The files are readable but do not prove the statement: they are damaged, or belong to another sector.
    #[error("the sector's files do not prove the statement: {0}")]
    Rejected(#[from] UpdateRejection),
}

/// Opens every challenge of `statement` in the files of the `old` and the `new` sector, and verifies the result before it
/// is returned. Of the old one, p_aux, replica and tree R-last are read; of the new one, tree D, replica and tree R-last.
///
/// # Errors
/// [`UpdateProveError`] says which file cannot be used, or which opening does not hold.
pub fn prove(
    old: &SectorFiles,
    new: &SectorFiles,
    statement: &UpdateStatement,
    workers: &Workers,
) -> Result<UpdateProof, UpdateProveError> {
    let params = statement.params();
    let challenges = (0..params.partitions)
        .map(|partition| challenges(&params, &statement.comm_r_new, partition))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| UpdateRejection::Statement { what: "new CommR", source })?;
    let prover = Prover::open(old, new, params)?;
    let partitions = workers.run(|| {
        challenges
            .into_par_iter()
            .enumerate()
            .map(|(partition, nodes)| prover.prove_partition(partition, nodes))
            .collect::<Result<_, SealError>>()
    })?;
    let proof = UpdateProof { partitions };
    verify(statement, &proof)?;
    Ok(proof)
}

struct Prover {
    params: UpdateParams,
    comm_c: CommC,
    old_replica: StoredTree,
    new_data: StoredTree,
    new_replica: StoredTree,
}

impl Prover {
    fn open(old: &SectorFiles, new: &SectorFiles, params: UpdateParams) -> Result<Self, SealError> {
        let (comm_c, _) = read_p_aux(old)?;
        Ok(Self {
            params,
            comm_c,
            old_replica: StoredTree::open(Tree::RLast, old, &params.sector)?,
            new_data: StoredTree::open(Tree::D, new, &params.sector)?,
            new_replica: StoredTree::open(Tree::RLast, new, &params.sector)?,
        })
    }

    fn prove_partition(&self, partition: usize, nodes: Vec<u64>) -> Result<PartitionProof, SealError> {
        let challenges = nodes.into_par_iter().map(|node| self.prove_challenge(node)).collect::<Result<_, _>>()?;
        Ok(PartitionProof { comm_c: self.comm_c, apex_leaves: self.apex_leaves(partition)?, challenges })
    }

    fn apex_leaves(&self, partition: usize) -> Result<Vec<Node>, SealError> {
        let count = self.params.apex_leaves;
        self.new_data.row(self.params.apex_height(), (partition * count) as u64, count)
    }

    fn prove_challenge(&self, node: u64) -> Result<ChallengeProof, SealError> {
        Ok(ChallengeProof {
            old_replica: self.old_replica.open_leaf(node)?,
            new_data: self.new_data.open_leaf(node)?,
            new_replica: self.new_replica.open_leaf(node)?,
        })
    }
}
