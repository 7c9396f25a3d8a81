//! Making a proof of replication from a sector's files.

use cairn_compute::Workers;
use cairn_protocol::SectorParams;
use rayon::prelude::*;

use super::challenges::challenges;
use super::proof::{ChallengeProof, Column, ColumnProof, ColumnProofs, LabelProof, PorepProof};
use super::rejection::PorepRejection;
use super::verify::parent_labels;
use super::{PorepStatement, verify};
use crate::error::SealError;
use crate::files::SectorFiles;
use crate::graph::Graph;
use crate::merkle::Tree;
use crate::nodes::NodeFile;
use crate::trees::StoredTree;

/// A proof could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// A file is missing, short, damaged or unreadable.
    #[error(transparent)]
    Files(#[from] SealError),
    /// The files are readable but do not prove the statement: they are damaged, or belong to another sector.
    #[error("the sector's files do not prove the statement: {0}")]
    Rejected(#[from] PorepRejection),
}

/// Opens every challenge of `statement` in the sector's files, and verifies the result before it is returned.
///
/// # Errors
/// [`ProveError`] says which file cannot be used, or which opening does not hold.
pub fn prove(files: &SectorFiles, statement: &PorepStatement, workers: &Workers) -> Result<PorepProof, ProveError> {
    let prover = Prover::open(files, statement)?;
    let partitions = workers.run(|| {
        challenges(statement)
            .into_par_iter()
            .map(|nodes| nodes.into_iter().map(|node| prover.prove_challenge(node)).collect())
            .collect::<Result<_, SealError>>()
    })?;
    let proof = PorepProof { partitions };
    verify(statement, &proof)?;
    Ok(proof)
}

struct Prover {
    params: SectorParams,
    graph: Graph,
    layers: Vec<NodeFile>,
    tree_d: StoredTree,
    tree_c: StoredTree,
    tree_r_last: StoredTree,
}

impl Prover {
    fn open(files: &SectorFiles, statement: &PorepStatement) -> Result<Self, SealError> {
        let params = statement.identity.params();
        let layers = (1..=params.layers)
            .map(|layer| NodeFile::open(&files.layer(layer), params.nodes()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            params,
            graph: statement.identity.graph(),
            layers,
            tree_d: StoredTree::open(Tree::D, files, &params)?,
            tree_c: StoredTree::open(Tree::C, files, &params)?,
            tree_r_last: StoredTree::open(Tree::RLast, files, &params)?,
        })
    }

    fn prove_challenge(&self, node: u32) -> Result<ChallengeProof, SealError> {
        let columns = ColumnProofs {
            challenge: self.prove_column(node)?,
            base_parents: self.prove_columns(&self.graph.base_parents(node))?,
            expander_parents: self.prove_columns(&self.graph.expander_parents(node))?,
        };
        let mut proof = ChallengeProof {
            data: self.tree_d.open_leaf(u64::from(node))?,
            replica: self.tree_r_last.open_leaf(u64::from(node))?,
            columns,
            labels: vec![],
            encoding: LabelProof { layer_index: self.params.layers as u32, node: u64::from(node), parents: vec![] },
        };
        proof.labels = (1..=self.params.layers)
            .map(|layer| LabelProof {
                layer_index: layer as u32,
                node: u64::from(node),
                parents: parent_labels(layer, &proof).to_vec(),
            })
            .collect();
        proof.encoding.parents = parent_labels(self.params.layers, &proof).to_vec();
        Ok(proof)
    }

    fn prove_columns(&self, nodes: &[u32]) -> Result<Vec<ColumnProof>, SealError> {
        nodes.iter().map(|node| self.prove_column(*node)).collect()
    }

    fn prove_column(&self, node: u32) -> Result<ColumnProof, SealError> {
        let rows = self.layers.iter().map(|layer| layer.node(u64::from(node))).collect::<Result<_, _>>()?;
        Ok(ColumnProof {
            column: Column { index: node, rows, hash_function: None },
            inclusion_proof: self.tree_c.open_leaf(u64::from(node))?,
        })
    }
}
