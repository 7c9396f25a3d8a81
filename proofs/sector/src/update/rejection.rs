//! Why an update's proof does not hold: which partition, challenge, opening, and what was expected there.

use std::fmt;

use cairn_compute::{Node, NonCanonicalNode};
use cairn_protocol::{CommD, CommR};

use crate::merkle::MerkleRejection;

/// A proof that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateRejection {
    /// A commitment of the statement is no field element.
    #[error("{what} of the statement: {source}")]
    Statement {
        /// Which: `old CommR`, `new CommD` or `new CommR`.
        what: &'static str,
        /// The bytes.
        source: NonCanonicalNode,
    },
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
    /// Wrong number of apex leaves in a partition.
    #[error("partition {partition}: expected {expected} apex leaves, got {got}")]
    ApexLeaves {
        /// The partition.
        partition: usize,
        /// Apex leaves required.
        expected: usize,
        /// Apex leaves found.
        got: usize,
    },
    /// The roots that the partition starts from are not those in CommR.
    #[error(
        "partition {partition}: CommC and the root of the {replica} replica hash to {got}, expected CommR {expected}"
    )]
    CommR {
        /// The partition.
        partition: usize,
        /// Before or after the update.
        replica: Replica,
        /// CommR of the statement.
        expected: CommR,
        /// What the roots hash to.
        got: CommR,
    },
    /// A root that is no field element.
    #[error("partition {partition}, CommC and the root of the {replica} replica: {source}")]
    Roots {
        /// The partition.
        partition: usize,
        /// Before or after the update.
        replica: Replica,
        /// The bytes.
        source: NonCanonicalNode,
    },
    /// The apex leaves are not the row of tree D that they stand for.
    #[error("partition {partition}: the apex leaves lead to {got}, expected CommD {expected}")]
    ApexRoot {
        /// The partition.
        partition: usize,
        /// CommD of the statement.
        expected: CommD,
        /// Where they lead.
        got: CommD,
    },
    /// One opening fails.
    #[error("partition {partition}, challenge {position} (node {node}), {opening}: {reason}")]
    Opening {
        /// The partition.
        partition: usize,
        /// Position of the challenge in it.
        position: usize,
        /// The challenged node.
        node: u64,
        /// Which opening.
        opening: Opening,
        /// What is wrong with it.
        reason: OpeningRejection,
    },
}

/// Before or after the update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replica {
    /// Before.
    Old,
    /// After.
    New,
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "old",
            Self::New => "new",
        })
    }
}

/// One of the openings for a challenged node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// A node of a replica in its tree R-last.
    Replica(Replica),
    /// New data in tree D.
    Data,
    /// How the three belong together.
    Encoding,
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(replica) => write!(f, "{replica} replica in tree R-last"),
            Self::Data => f.write_str("new data in tree D"),
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
    /// Old replica and data do not make the new replica.
    #[error("old replica and data make {}, expected the new replica's {}", hex::encode(got), hex::encode(expected))]
    Encoding {
        /// Node of the new replica.
        expected: Node,
        /// What the others make.
        got: Node,
    },
    /// Something that is no field element.
    #[error(transparent)]
    NonCanonical(#[from] NonCanonicalNode),
}
