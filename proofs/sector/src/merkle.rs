//! Inclusion proofs in the sector's three trees, and how their levels are shaped.
//!
//! Tree D is binary over the data. Tree C and tree R-last are *multi-trees*: base trees of arity 8, whose roots hash
//! together with arity `sub`, and those again with arity `top`. A leaf's path is one step per level, base first; at a
//! level of arity k a step holds the k-1 siblings and the position of the running hash among them, which is the digit of
//! the leaf's index in that mixed radix. So the positions are not data to trust: they are checked against the challenge.
//!
//! Serialised, a proof has the reference implementation's form: `{"data": {"Single": {leaf, path, root}}}`, or `Sub`,
//! or `Top` with one path for each part.

use cairn_compute::{Node, NonCanonicalNode, Poseidon};
use cairn_protocol::SectorParams;
use cairn_protocol::params::TREE_D_ARITY;
use serde::{Deserialize, Serialize};

use crate::sha256::hash_pair;
use crate::wire::{serde_node, serde_nodes};

/// Which of a sector's trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// Over the padded data: SHA-256, binary.
    D,
    /// Over the column hashes.
    C,
    /// Over the replica.
    RLast,
}

impl std::fmt::Display for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::D => "tree D",
            Self::C => "tree C",
            Self::RLast => "tree R-last",
        })
    }
}

/// Arities of a tree's levels from the leaves up, with the three parts of a multi-tree apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    /// Arity at every level of a base tree; for tree D, of the whole tree.
    pub base: Vec<usize>,
    /// Arity over the base roots, if there is such a level.
    pub sub: Option<usize>,
    /// Arity over the sub roots, if there is such a level.
    pub top: Option<usize>,
}

impl Levels {
    /// Levels of `tree` in a sector with these parameters.
    pub fn of(tree: Tree, params: &SectorParams) -> Self {
        match tree {
            Tree::D => Self { base: vec![TREE_D_ARITY; params.nodes().ilog2() as usize], sub: None, top: None },
            Tree::C | Tree::RLast => {
                let shape = params.tree_shape;
                let base_levels = (params.base_tree_leaves().ilog2() / shape.base.ilog2()) as usize;
                let level = |arity: usize| (arity > 0).then_some(arity);
                Self { base: vec![shape.base; base_levels], sub: level(shape.sub), top: level(shape.top) }
            }
        }
    }

    /// All levels, leaves first.
    pub fn arities(&self) -> impl Iterator<Item = usize> {
        self.base.iter().copied().chain(self.sub).chain(self.top)
    }
}

/// Hashes the children of one node of `tree`.
///
/// # Errors
/// [`NonCanonicalNode`] for a child that is no field element, in the Poseidon trees.
///
/// # Panics
/// If the number of children is no arity of the tree.
pub fn hash_children(tree: Tree, children: &[Node]) -> Result<Node, NonCanonicalNode> {
    match tree {
        Tree::D => Ok(hash_pair(&children[0], &children[1])),
        Tree::C | Tree::RLast => Poseidon::of_arity(children.len()).hash_nodes(children),
    }
}

/// One step up: the other children of a node and where the running hash stands among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathElement {
    /// Siblings in order, the running hash left out.
    #[serde(with = "serde_nodes")]
    pub hashes: Vec<Node>,
    /// Position of the running hash.
    pub index: u64,
}

/// Steps within one part of a multi-tree.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionPath {
    /// From the leaves up.
    pub path: Vec<PathElement>,
}

/// An inclusion proof, by the shape of its tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ProofData {
    /// One tree.
    Single {
        /// The leaf.
        #[serde(with = "serde_node")]
        leaf: Node,
        /// Steps to the root.
        path: InclusionPath,
        /// The root.
        #[serde(with = "serde_node")]
        root: Node,
    },
    /// Base trees under one level.
    Sub {
        /// The leaf.
        #[serde(with = "serde_node")]
        leaf: Node,
        /// Steps in the base tree.
        base_proof: InclusionPath,
        /// The step over base roots.
        sub_proof: InclusionPath,
        /// The root.
        #[serde(with = "serde_node")]
        root: Node,
    },
    /// Base trees under two levels.
    Top {
        /// The leaf.
        #[serde(with = "serde_node")]
        leaf: Node,
        /// Steps in the base tree.
        base_proof: InclusionPath,
        /// The step over base roots.
        sub_proof: InclusionPath,
        /// The step over sub roots.
        top_proof: InclusionPath,
        /// The root.
        #[serde(with = "serde_node")]
        root: Node,
    },
}

/// Proof that a leaf stands at an index of a tree with a certain root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MerkleProof {
    /// The proof in its shape.
    pub data: ProofData,
}

/// Why an inclusion proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MerkleRejection {
    /// The proof has another shape than the tree.
    #[error("expected a proof of {expected} levels, got {got}")]
    Levels {
        /// Levels of each part: base, sub, top.
        expected: String,
        /// Levels found.
        got: String,
    },
    /// A step with the wrong number of siblings.
    #[error("level {level}: expected {expected} siblings, got {got}")]
    Siblings {
        /// Level above the leaves, from 0.
        level: usize,
        /// Siblings required.
        expected: usize,
        /// Siblings found.
        got: usize,
    },
    /// The path leads from another leaf.
    #[error("level {level}: expected position {expected}, got {got}")]
    Position {
        /// Level above the leaves, from 0.
        level: usize,
        /// Position that the leaf's index demands.
        expected: u64,
        /// Position found.
        got: u64,
    },
    /// Something that is no field element.
    #[error("level {level}: {source}")]
    NonCanonical {
        /// Level above the leaves, from 0.
        level: usize,
        /// The bytes.
        source: NonCanonicalNode,
    },
    /// The proof names another root than the statement.
    #[error("expected root {}, got {}", hex::encode(expected), hex::encode(got))]
    ClaimedRoot {
        /// Root that was committed to.
        expected: Node,
        /// Root that the proof names.
        got: Node,
    },
    /// The path does not lead to the root.
    #[error("the path leads to {}, expected root {}", hex::encode(got), hex::encode(expected))]
    Path {
        /// Root that was committed to.
        expected: Node,
        /// Where the path leads.
        got: Node,
    },
}

impl MerkleProof {
    /// Puts a path over all levels into the shape of the tree.
    pub(crate) fn new(levels: &Levels, leaf: Node, path: Vec<PathElement>, root: Node) -> Self {
        let mut steps = path.into_iter();
        let mut take = |count: usize| InclusionPath { path: steps.by_ref().take(count).collect() };
        let base = take(levels.base.len());
        let data = match (levels.sub, levels.top) {
            (None, _) => ProofData::Single { leaf, path: base, root },
            (Some(_), None) => ProofData::Sub { leaf, base_proof: base, sub_proof: take(1), root },
            (Some(_), Some(_)) => {
                ProofData::Top { leaf, base_proof: base, sub_proof: take(1), top_proof: take(1), root }
            }
        };
        Self { data }
    }

    /// The leaf.
    pub fn leaf(&self) -> &Node {
        match &self.data {
            ProofData::Single { leaf, .. } | ProofData::Sub { leaf, .. } | ProofData::Top { leaf, .. } => leaf,
        }
    }

    /// The root that the proof names.
    pub fn root(&self) -> &Node {
        match &self.data {
            ProofData::Single { root, .. } | ProofData::Sub { root, .. } | ProofData::Top { root, .. } => root,
        }
    }

    fn parts(&self) -> Vec<&InclusionPath> {
        match &self.data {
            ProofData::Single { path, .. } => vec![path],
            ProofData::Sub { base_proof, sub_proof, .. } => vec![base_proof, sub_proof],
            ProofData::Top { base_proof, sub_proof, top_proof, .. } => vec![base_proof, sub_proof, top_proof],
        }
    }

    /// All steps, from the leaf up.
    pub fn steps(&self) -> impl Iterator<Item = &PathElement> {
        self.parts().into_iter().flat_map(|part| &part.path)
    }

    /// Checks that the proof's leaf stands at `index` in `tree`, whose root is `root`.
    ///
    /// # Errors
    /// [`MerkleRejection`] names the level and what was expected there.
    pub fn verify(&self, tree: Tree, levels: &Levels, index: u64, root: &Node) -> Result<(), MerkleRejection> {
        if self.root() != root {
            return Err(MerkleRejection::ClaimedRoot { expected: *root, got: *self.root() });
        }
        self.check_shape(levels)?;
        let mut running = *self.leaf();
        let mut rest = index;
        for (level, (step, arity)) in self.steps().zip(levels.arities()).enumerate() {
            let children = step.children(level, arity, rest % arity as u64, running)?;
            running =
                hash_children(tree, &children).map_err(|source| MerkleRejection::NonCanonical { level, source })?;
            rest /= arity as u64;
        }
        if running != *root {
            return Err(MerkleRejection::Path { expected: *root, got: running });
        }
        Ok(())
    }

    fn check_shape(&self, levels: &Levels) -> Result<(), MerkleRejection> {
        let expected: Vec<usize> =
            [Some(levels.base.len()), levels.sub.map(|_| 1), levels.top.map(|_| 1)].into_iter().flatten().collect();
        let got: Vec<usize> = self.parts().iter().map(|part| part.path.len()).collect();
        if expected != got {
            let show = |parts: &[usize]| parts.iter().map(usize::to_string).collect::<Vec<_>>().join(" + ");
            return Err(MerkleRejection::Levels { expected: show(&expected), got: show(&got) });
        }
        Ok(())
    }
}

impl PathElement {
    fn children(&self, level: usize, arity: usize, position: u64, running: Node) -> Result<Vec<Node>, MerkleRejection> {
        if self.hashes.len() != arity - 1 {
            return Err(MerkleRejection::Siblings { level, expected: arity - 1, got: self.hashes.len() });
        }
        if self.index != position {
            return Err(MerkleRejection::Position { level, expected: position, got: self.index });
        }
        let mut children = self.hashes.clone();
        children.insert(position as usize, running);
        Ok(children)
    }
}
