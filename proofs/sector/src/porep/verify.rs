//! Checking a proof of replication.

use cairn_compute::{Node, fr_from_node, fr_to_node};
use cairn_protocol::params::{BASE_DEGREE, EXPANDER_DEGREE, LABEL_PARENTS};
use cairn_protocol::{CommC, CommRLast, ReplicaId, SectorParams};

use super::PorepStatement;
use super::challenges::challenges;
use super::proof::{ChallengeProof, ColumnProof, LabelProof, PorepProof};
use super::rejection::{ColumnOf, Opening, OpeningRejection, PorepRejection};
use crate::graph::Graph;
use crate::labels::{label, repeat_parents};
use crate::merkle::{Levels, Tree};
use crate::seal::comm_r;

/// Checks every opening of `proof` against `statement`.
///
/// # Errors
/// [`PorepRejection`] names the first opening that fails and why.
pub fn verify(statement: &PorepStatement, proof: &PorepProof) -> Result<(), PorepRejection> {
    let challenges = challenges(statement);
    let (expected, got) = (challenges.len(), proof.partitions.len());
    if expected != got {
        return Err(PorepRejection::Partitions { expected, got });
    }
    for (partition, (challenges, proofs)) in challenges.iter().zip(&proof.partitions).enumerate() {
        let (expected, got) = (challenges.len(), proofs.len());
        if expected != got {
            return Err(PorepRejection::Challenges { partition, expected, got });
        }
    }
    let verifier = Verifier::new(statement, &proof.partitions[0][0])?;
    for (partition, (challenges, proofs)) in challenges.iter().zip(&proof.partitions).enumerate() {
        for (position, (node, proof)) in challenges.iter().zip(proofs).enumerate() {
            verifier.check_challenge(*node, proof).map_err(|(opening, reason)| PorepRejection::Opening {
                partition,
                position,
                node: *node,
                opening,
                reason,
            })?;
        }
    }
    Ok(())
}

/// An opening that fails, before it is known where in the proof it stands.
type Failed = (Opening, OpeningRejection);

/// What all challenges of one proof share.
struct Verifier {
    params: SectorParams,
    graph: Graph,
    replica_id: ReplicaId,
    comm_d: Node,
    comm_c: Node,
    comm_r_last: Node,
    levels_d: Levels,
    levels_c: Levels,
}

impl Verifier {
    /// CommR commits to the roots of tree C and tree R-last, which the statement does not name. The first opening does;
    /// if they hash to CommR they are the only ones there are, and every other opening must lead to them.
    fn new(statement: &PorepStatement, first: &ChallengeProof) -> Result<Self, PorepRejection> {
        let comm_c = *first.columns.challenge.inclusion_proof.root();
        let comm_r_last = *first.replica.root();
        let got = comm_r(&CommC(comm_c), &CommRLast(comm_r_last)).map_err(PorepRejection::Roots)?;
        if got != statement.comm_r {
            return Err(PorepRejection::CommR { expected: statement.comm_r, got });
        }
        let params = statement.identity.params();
        Ok(Self {
            params,
            graph: statement.identity.graph(),
            replica_id: statement.identity.replica_id(&statement.comm_d),
            comm_d: statement.comm_d.0,
            comm_c,
            comm_r_last,
            levels_d: Levels::of(Tree::D, &params),
            levels_c: Levels::of(Tree::C, &params),
        })
    }

    fn check_challenge(&self, node: u32, proof: &ChallengeProof) -> Result<(), Failed> {
        let index = u64::from(node);
        proof
            .data
            .verify(Tree::D, &self.levels_d, index, &self.comm_d)
            .map_err(|reason| (Opening::Data, reason.into()))?;
        proof
            .replica
            .verify(Tree::RLast, &self.levels_c, index, &self.comm_r_last)
            .map_err(|reason| (Opening::Replica, reason.into()))?;
        self.check_columns(node, proof)?;
        self.check_labels(node, proof)?;
        self.check_encoding(node, proof).map_err(|reason| (Opening::Encoding, reason))
    }

    fn check_columns(&self, node: u32, proof: &ChallengeProof) -> Result<(), Failed> {
        let columns = &proof.columns;
        self.check_column(ColumnOf::Challenge, node, &columns.challenge)?;
        count("base parents", BASE_DEGREE, columns.base_parents.len())
            .map_err(|reason| (Opening::Column(ColumnOf::BaseParent(0)), reason))?;
        for (position, parent) in self.graph.base_parents(node).into_iter().enumerate() {
            self.check_column(ColumnOf::BaseParent(position), parent, &columns.base_parents[position])?;
        }
        count("expander parents", EXPANDER_DEGREE, columns.expander_parents.len())
            .map_err(|reason| (Opening::Column(ColumnOf::ExpanderParent(0)), reason))?;
        for (position, parent) in self.graph.expander_parents(node).into_iter().enumerate() {
            self.check_column(ColumnOf::ExpanderParent(position), parent, &columns.expander_parents[position])?;
        }
        Ok(())
    }

    fn check_column(&self, whose: ColumnOf, node: u32, proof: &ColumnProof) -> Result<(), Failed> {
        let check = || {
            index("node", u64::from(node), u64::from(proof.column.index))?;
            count("labels in the column", self.params.layers, proof.column.rows.len())?;
            let (expected, got) = (*proof.inclusion_proof.leaf(), proof.column.hash()?);
            if expected != got {
                return Err(OpeningRejection::ColumnHash { expected, got });
            }
            Ok(proof.inclusion_proof.verify(Tree::C, &self.levels_c, u64::from(node), &self.comm_c)?)
        };
        check().map_err(|reason| (Opening::Column(whose), reason))
    }

    fn check_labels(&self, node: u32, proof: &ChallengeProof) -> Result<(), Failed> {
        let layers = self.params.layers;
        count("labelling proofs", layers, proof.labels.len())
            .map_err(|reason| (Opening::Label { layer: 1 }, reason))?;
        for (layer, label) in (1..=layers).zip(&proof.labels) {
            self.check_label(node, layer, label, proof).map_err(|reason| (Opening::Label { layer }, reason))?;
        }
        Ok(())
    }

    /// The parents are those in the opened columns, and they hash to the label in the node's column.
    fn check_label(
        &self,
        node: u32,
        layer: usize,
        opened: &LabelProof,
        proof: &ChallengeProof,
    ) -> Result<(), OpeningRejection> {
        index("layer", layer as u64, u64::from(opened.layer_index))?;
        index("node", u64::from(node), opened.node)?;
        count("parent labels", LABEL_PARENTS, opened.parents.len())?;
        let expected = parent_labels(layer, proof);
        for (position, (expected, got)) in expected.iter().zip(&opened.parents).enumerate() {
            if expected != got {
                return Err(OpeningRejection::Parent { position, expected: *expected, got: *got });
            }
        }
        let got = label(&self.replica_id, layer as u32, u64::from(node), &expected);
        let expected = proof.columns.challenge.column.rows[layer - 1];
        if expected != got {
            return Err(OpeningRejection::Label { expected, got });
        }
        Ok(())
    }

    fn check_encoding(&self, node: u32, proof: &ChallengeProof) -> Result<(), OpeningRejection> {
        let layers = self.params.layers;
        self.check_label(node, layers, &proof.encoding, proof)?;
        let key = fr_from_node(&proof.columns.challenge.column.rows[layers - 1])?;
        let got = fr_to_node(&(fr_from_node(proof.data.leaf())? + key));
        let expected = *proof.replica.leaf();
        if expected != got {
            return Err(OpeningRejection::Replica { expected, got });
        }
        Ok(())
    }
}

/// The 37 labels that enter the challenged node's label in `layer`, from its parents' columns.
pub(super) fn parent_labels(layer: usize, proof: &ChallengeProof) -> [Node; LABEL_PARENTS] {
    let base = std::array::from_fn(|parent| proof.columns.base_parents[parent].column.rows[layer - 1]);
    let expander = (layer > 1)
        .then(|| std::array::from_fn(|parent| proof.columns.expander_parents[parent].column.rows[layer - 2]));
    repeat_parents(&base, expander.as_ref())
}

fn count(what: &'static str, expected: usize, got: usize) -> Result<(), OpeningRejection> {
    if expected == got { Ok(()) } else { Err(OpeningRejection::Count { what, expected, got }) }
}

fn index(what: &'static str, expected: u64, got: u64) -> Result<(), OpeningRejection> {
    if expected == got { Ok(()) } else { Err(OpeningRejection::Index { what, expected, got }) }
}
