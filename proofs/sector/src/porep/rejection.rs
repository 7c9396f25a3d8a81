//! Why a proof of replication does not hold: which partition, challenge, opening, and what was expected there.

use std::fmt;

use cairn_compute::{Node, NonCanonicalNode};
use cairn_protocol::CommR;

use crate::merkle::MerkleRejection;

/// A proof that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PorepRejection {
    /// Wrong number of partitions.
    #[error("expected {expected} partitions, got {got}")]
    Partitions {
        /// Partitions required.
        expected: usize,
        /// Partitions found.
        got: usize,
    },
    /// Wrong number of challenges in a partition.
    #[error("partition {partition}: expected proofs for {expected} challenges, got {got}")]
    Challenges {
        /// The partition.
        partition: usize,
        /// Challenges required.
        expected: usize,
        /// Challenges found.
        got: usize,
    },
    /// The roots that the proof starts from are not those in CommR.
    #[error("the roots of tree C and tree R-last hash to {got}, expected CommR {expected}")]
    CommR {
        /// CommR of the statement.
        expected: CommR,
        /// What the proof's roots hash to.
        got: CommR,
    },
    /// A root that is no field element.
    #[error("the roots of tree C and tree R-last: {0}")]
    Roots(NonCanonicalNode),
    /// One opening fails.
    #[error("partition {partition}, challenge {position} (node {node}), {opening}: {reason}")]
    Opening {
        /// The partition.
        partition: usize,
        /// Position of the challenge in it.
        position: usize,
        /// The challenged node.
        node: u32,
        /// Which opening.
        opening: Opening,
        /// What is wrong with it.
        reason: OpeningRejection,
    },
}

/// One of the openings for a challenged node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// Data in tree D.
    Data,
    /// Replica in tree R-last.
    Replica,
    /// A column in tree C.
    Column(ColumnOf),
    /// The label of one layer.
    Label {
        /// Layer, from 1.
        layer: usize,
    },
    /// The key and the sum.
    Encoding,
}

/// Whose column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnOf {
    /// The challenged node.
    Challenge,
    /// A base parent, by position.
    BaseParent(usize),
    /// An expander parent, by position.
    ExpanderParent(usize),
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data => f.write_str("data in tree D"),
            Self::Replica => f.write_str("replica in tree R-last"),
            Self::Column(ColumnOf::Challenge) => f.write_str("column of the node"),
            Self::Column(ColumnOf::BaseParent(index)) => write!(f, "column of base parent {index}"),
            Self::Column(ColumnOf::ExpanderParent(index)) => write!(f, "column of expander parent {index}"),
            Self::Label { layer } => write!(f, "label of layer {layer}"),
            Self::Encoding => f.write_str("encoding"),
        }
    }
}

/// What is wrong with an opening.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpeningRejection {
    /// The path in the tree.
    #[error(transparent)]
    Inclusion(#[from] MerkleRejection),
    /// A list of the wrong length.
    #[error("expected {expected} {what}, got {got}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// Number required.
        expected: usize,
        /// Number found.
        got: usize,
    },
    /// A number that does not follow from the challenge.
    #[error("expected {what} {expected}, got {got}")]
    Index {
        /// What is numbered.
        what: &'static str,
        /// Number required.
        expected: u64,
        /// Number found.
        got: u64,
    },
    /// The column's hash is not the leaf that the path starts from.
    #[error("the column hashes to {}, expected leaf {}", hex::encode(got), hex::encode(expected))]
    ColumnHash {
        /// Leaf of the path.
        expected: Node,
        /// Hash of the column.
        got: Node,
    },
    /// A parent label that is not the one in the parent's column.
    #[error("parent {position}: expected label {}, got {}", hex::encode(expected), hex::encode(got))]
    Parent {
        /// Position among the 37.
        position: usize,
        /// Label in the opened column.
        expected: Node,
        /// Label in the proof.
        got: Node,
    },
    /// The parents do not hash to the label in the node's column.
    #[error("the parents hash to {}, expected label {}", hex::encode(got), hex::encode(expected))]
    Label {
        /// Label in the node's column.
        expected: Node,
        /// Hash of the parents.
        got: Node,
    },
    /// Data plus key is not the replica.
    #[error("data plus key is {}, expected the replica's {}", hex::encode(got), hex::encode(expected))]
    Replica {
        /// Node of the replica.
        expected: Node,
        /// The sum.
        got: Node,
    },
    /// Something that is no field element.
    #[error(transparent)]
    NonCanonical(#[from] NonCanonicalNode),
}
