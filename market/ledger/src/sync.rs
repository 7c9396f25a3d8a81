//! Carrying a state to somebody who has nothing but its root.
//!
//! 1. A [`StateTop`] is the root's preimage: the singletons and the roots of the tables. Its hash must be the root.
//! 2. A table is a tree of hashes ([`crate::table`]). A [`TreeNode`] is checked against the hash that its parent, or the
//!    top, has for it, before anything in it is used; then it tells the hashes of its own children.
//! 3. So a [`Download`] is a stack of subtrees whose hashes are known and whose nodes are not. It asks for the uppermost few
//!    ([`Download::wanted`]), takes nodes in the order in which [`State::list`] gives them, and is complete when the stack
//!    is empty. Nodes may come from anybody, each time from somebody else.
//!
//! # Invariants
//! - Nothing that was not checked is kept; a wrong node leaves the download as it was before it.
//! - What is kept never exceeds the limit that the caller gave.

use rs_merkle::{MerkleTree, algorithms::Sha256 as MerkleSha256};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::ids::StateRoot;
use crate::state::{State, StateDamage, column_leaf, columns};
use crate::table::{Side, TreeNode};

/// Most subtrees in one question.
pub const PLACES_MAX: usize = 64;

/// What a state's root is the hash of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateTop {
    /// The singletons, in canonical DAG-CBOR.
    pub meta: ByteBuf,
    /// Roots of the tables, by column, in the state's order.
    pub columns: Vec<(u8, ByteBuf)>,
}

impl StateTop {
    /// The root that it belongs to, whatever it says.
    pub fn root(&self) -> StateRoot {
        let mut leaves = vec![column_leaf(columns::META, Sha256::digest(&self.meta).into())];
        for (column, root) in &self.columns {
            let root = <[u8; 32]>::try_from(root.as_slice()).unwrap_or_else(|_| Sha256::digest(root).into());
            leaves.push(column_leaf(*column, root));
        }
        StateRoot(MerkleTree::<MerkleSha256>::from_leaves(&leaves).root().expect("there are leaves"))
    }
}

/// Names a subtree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Which table.
    pub column: u8,
    /// The node above it, by its key in canonical DAG-CBOR, and the side; none is the whole table.
    pub parent: Option<(ByteBuf, Side)>,
}

/// What is wrong with a part of a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyncRejection {
    /// Not the top of that state.
    #[error("top of the state: its root is {got}, expected {expected}")]
    WrongTop {
        /// The root asked for.
        expected: StateRoot,
        /// The root that it has.
        got: StateRoot,
    },
    /// A node that is not the one its parent speaks of.
    #[error("state column {column}, node with key {key}: its hash is {got}, expected {expected}")]
    WrongNode {
        /// Which table.
        column: u8,
        /// Key in hex.
        key: String,
        /// The hash that its parent has.
        expected: String,
        /// The hash that it has.
        got: String,
    },
    /// Nodes beyond those asked for.
    #[error("{count} nodes more than the state has")]
    TooManyNodes {
        /// How many.
        count: usize,
    },
    /// An answer without a single node.
    #[error("no nodes for a subtree that is not empty")]
    NoNodes,
    /// More than the caller wants to keep.
    #[error("the state is larger than {limit} bytes, the limit here")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// Whole, of the right root, and no state all the same: whoever signed the root is wrong.
    #[error("the parts make no state: {0}")]
    Damaged(#[from] StateDamage),
    /// The parts do not give the root: a mistake of ours.
    #[error("the parts make a state with root {got}, expected {expected}")]
    WrongRoot {
        /// The root asked for.
        expected: StateRoot,
        /// The root that came out.
        got: StateRoot,
    },
}

/// Serving.
impl State {
    /// Nodes of the named subtrees, one after the other, each node before its children, left before right, until there are
    /// `bytes_max`. `None` if a place is none of this state's.
    pub fn list(&self, places: &[Place], bytes_max: usize) -> Option<Vec<TreeNode>> {
        let (mut bytes_left, mut nodes) = (bytes_max, Vec::new());
        for place in places.iter().take(PLACES_MAX) {
            if bytes_left == 0 {
                break;
            }
            self.list_place(place, &mut bytes_left, &mut nodes)?;
        }
        Some(nodes)
    }
}

/// A state on its way; see the module.
#[derive(Debug)]
pub struct Download {
    root: StateRoot,
    limit: u64,
    bytes: u64,
    meta: Vec<u8>,
    /// Subtrees whose hash is known, the next one last.
    missing: Vec<(Place, [u8; 32])>,
    entries: Vec<(u8, Vec<u8>, Vec<u8>)>,
}

impl Download {
    /// Begins with the top of the state `root`; at most `limit` bytes of keys and values will be kept.
    ///
    /// # Errors
    /// [`SyncRejection::WrongTop`] or [`SyncRejection::TooLarge`].
    pub fn new(root: StateRoot, top: StateTop, limit: u64) -> Result<Self, SyncRejection> {
        let got = top.root();
        if got != root {
            return Err(SyncRejection::WrongTop { expected: root, got });
        }
        let bytes = top.meta.len() as u64;
        if bytes > limit {
            return Err(SyncRejection::TooLarge { limit });
        }
        let mut missing = Vec::new();
        for (column, table) in top.columns.into_iter().rev() {
            // A root of another length was hashed in its place, and has no preimage that anybody could send.
            let hash = <[u8; 32]>::try_from(table.as_slice()).unwrap_or([0xff; 32]);
            if hash != [0; 32] {
                missing.push((Place { column, parent: None }, hash));
            }
        }
        Ok(Self { root, limit, bytes, meta: top.meta.into_vec(), missing, entries: Vec::new() })
    }

    /// The state's root.
    pub fn root(&self) -> StateRoot {
        self.root
    }

    /// Bytes kept.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The subtrees to ask for next, in the order in which their nodes must come. Empty when all is there.
    pub fn wanted(&self) -> Vec<Place> {
        self.missing.iter().rev().take(PLACES_MAX).map(|(place, _)| place.clone()).collect()
    }

    /// Takes nodes. Those before a wrong one are kept.
    ///
    /// # Errors
    /// [`SyncRejection`] for the first that is wrong.
    pub fn accept(&mut self, nodes: Vec<TreeNode>) -> Result<(), SyncRejection> {
        if nodes.is_empty() && !self.missing.is_empty() {
            return Err(SyncRejection::NoNodes);
        }
        let count = nodes.len();
        for (index, node) in nodes.into_iter().enumerate() {
            let Some((place, expected)) = self.missing.last() else {
                return Err(SyncRejection::TooManyNodes { count: count - index });
            };
            let (column, got) = (place.column, node.hash());
            if got != *expected {
                let (key, expected, got) = (hex::encode(&node.key), hex::encode(expected), hex::encode(got));
                return Err(SyncRejection::WrongNode { column, key, expected, got });
            }
            let bytes = self.bytes + (node.key.len() + node.value.len()) as u64;
            if bytes > self.limit {
                return Err(SyncRejection::TooLarge { limit: self.limit });
            }
            self.bytes = bytes;
            self.missing.pop();
            for (side, hash) in [(Side::Right, node.right), (Side::Left, node.left)] {
                if hash != [0; 32] {
                    let parent = Some((ByteBuf::from(node.key.clone()), side));
                    self.missing.push((Place { column, parent }, hash));
                }
            }
            self.entries.push((column, node.key, node.value));
        }
        Ok(())
    }

    /// The state, once nothing is wanted any more.
    ///
    /// # Errors
    /// [`SyncRejection`] if the parts make no state of that root.
    ///
    /// # Panics
    /// If something is still wanted: a mistake of the caller.
    pub fn finish(self) -> Result<State, SyncRejection> {
        assert!(self.missing.is_empty(), "a state is made of all its parts");
        let meta = (columns::META, Vec::new(), self.meta);
        let state = State::from_entries(std::iter::once(meta).chain(self.entries))?;
        match state.root() {
            got if got == self.root => Ok(state),
            got => Err(SyncRejection::WrongRoot { expected: self.root, got }),
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_protocol::Amount;
    use proptest::prelude::*;

    use super::*;
    use crate::command::Command;
    use crate::params::LedgerParams;
    use crate::testing::Network;

    /// A state with some accounts, a provider and a validator.
    fn state() -> State {
        let mut network = Network::new(LedgerParams::devnet(), 60);
        network.register(2);
        network.command(3, Command::Bond { amount: Amount(5_000_000) });
        network.state
    }

    fn download(state: &State, bytes_max: usize) -> Result<(State, usize), SyncRejection> {
        let mut download = Download::new(state.root(), state.top(), 1 << 20)?;
        let mut questions = 0;
        loop {
            let wanted = download.wanted();
            if wanted.is_empty() {
                return Ok((download.finish()?, questions));
            }
            questions += 1;
            download.accept(state.list(&wanted, bytes_max).expect("places of this state"))?;
        }
    }

    #[test]
    fn a_state_comes_over_in_parts_of_any_size() {
        let state = state();
        for (bytes_max, questions_max) in [(1, 10_000), (500, 200), (4_000, 12), (1 << 20, 1)] {
            let (got, questions) = download(&state, bytes_max).unwrap();
            assert_eq!(got, state);
            assert!(questions <= questions_max, "{questions} questions with {bytes_max} bytes each");
        }
    }

    #[test]
    fn limits_and_foreign_tops_are_refused() {
        let state = state();
        let other = Network::new(LedgerParams::devnet(), 2).state;
        let wrong = Download::new(state.root(), other.top(), 1 << 20).unwrap_err();
        assert!(matches!(wrong, SyncRejection::WrongTop { .. }));
        assert!(matches!(Download::new(state.root(), state.top(), 10), Err(SyncRejection::TooLarge { limit: 10 })));
        let limit = state.top().meta.len() as u64 + 100;
        let mut small = Download::new(state.root(), state.top(), limit).unwrap();
        let nodes = state.list(&small.wanted(), 1 << 20).unwrap();
        assert!(matches!(small.accept(nodes), Err(SyncRejection::TooLarge { .. })));
        assert!(small.bytes() <= limit);
        let mut whole = Download::new(state.root(), state.top(), 1 << 20).unwrap();
        let mut nodes = state.list(&whole.wanted(), 1 << 20).unwrap();
        assert_eq!(whole.accept(vec![]), Err(SyncRejection::NoNodes));
        nodes.push(nodes[0].clone());
        assert_eq!(whole.accept(nodes), Err(SyncRejection::TooManyNodes { count: 1 }));
        let nowhere = Place { column: 99, parent: None };
        let no_key = Place { column: columns::ACCOUNTS, parent: Some((ByteBuf::from([1]), Side::Left)) };
        assert!(state.list(&[nowhere], 100).is_none() && state.list(&[no_key], 100).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_is_changed_is_noticed_at_the_node(
            which in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            field in 0u8..4,
            bit in 0u8..8,
        ) {
            let state = state();
            let mut download = Download::new(state.root(), state.top(), 1 << 20).unwrap();
            let mut nodes = state.list(&download.wanted(), 1 << 20).unwrap();
            let place = which.index(nodes.len());
            let node = &mut nodes[place];
            let bytes: &mut [u8] = match field {
                0 => &mut node.key,
                1 => &mut node.value,
                2 => &mut node.left,
                _ => &mut node.right,
            };
            let offset = at.index(bytes.len());
            bytes[offset] ^= 1 << bit;
            let key = hex::encode(&node.key);
            match download.accept(nodes) {
                Err(SyncRejection::WrongNode { key: named, .. }) => prop_assert_eq!(named, key),
                other => prop_assert!(false, "{:?}", other),
            }
            // The honest rest completes it.
            while !download.wanted().is_empty() {
                let nodes = state.list(&download.wanted(), 700).unwrap();
                download.accept(nodes).unwrap();
            }
            prop_assert_eq!(download.finish().unwrap().root(), state.root());
        }
    }
}
