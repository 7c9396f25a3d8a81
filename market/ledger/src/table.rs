//! A sorted map that is cheap to copy, knows its own Merkle root, and can say what changed since an older copy.
//!
//! It is a treap: a binary search tree by key, a heap by priority, where a key's priority is a hash of the key. Its
//! shape depends only on the keys it holds, not on their history, so the same content has the same root everywhere.
//! Nodes are shared between copies:
//!
//! 1. `clone` copies one pointer; a transaction that fails is undone by keeping the copy made before it.
//! 2. A write copies the path to the node, about `1.4 log2(n)` nodes; their hashes are recomputed on the next `root`.
//! 3. [`Table::changes_since`] walks only what the two copies do not share.
//!
//! `leaf = SHA256(0 || key length u32 BE || key || value)`, `node = SHA256(1 || leaf || left || right)`, a missing child
//! and an empty table are 32 zero bytes; keys and values in canonical DAG-CBOR.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, OnceLock};

use cairn_protocol::bytes32::serde32;
use serde::de::{self, DeserializeOwned};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::codec;

const HASH_EMPTY: [u8; 32] = [0; 32];

/// Counts the entries that this thread looks at, writes and hashes, for tests that show what a block's work depends on.
pub(crate) mod visits {
    #[cfg(test)]
    thread_local!(static COUNT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });

    /// So many until now.
    #[cfg(test)]
    pub(crate) fn count() -> u64 {
        COUNT.get()
    }

    #[inline]
    pub(super) fn add() {
        #[cfg(test)]
        COUNT.set(COUNT.get() + 1);
    }
}

struct Entry<K, V> {
    priority: u64,
    key: K,
    value: V,
    leaf_hash: OnceLock<[u8; 32]>,
}

struct Node<K, V> {
    entry: Arc<Entry<K, V>>,
    left: Link<K, V>,
    right: Link<K, V>,
    len: usize,
    hash: OnceLock<[u8; 32]>,
}

type Link<K, V> = Option<Arc<Node<K, V>>>;

/// The path along the right edge of a tree in the making, top first: entries with their left subtrees, whose right ones
/// are not known yet.
type Edge<K, V> = Vec<(Arc<Entry<K, V>>, Link<K, V>)>;

/// What a key must be able to do.
pub trait TableKey: Ord + Clone + Serialize + DeserializeOwned {}
impl<T: Ord + Clone + Serialize + DeserializeOwned> TableKey for T {}

/// A sorted, persistent map with a Merkle root; see the module.
pub struct Table<K, V> {
    root: Link<K, V>,
}

/// One entry that differs between two copies of a table: its key, and its new value unless it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableChange {
    /// Canonical encoding of the key.
    pub key: Vec<u8>,
    /// Canonical encoding of the value; `None` if removed.
    pub value: Option<Vec<u8>>,
}

impl<K: TableKey, V: Clone + Serialize> Table<K, V> {
    /// An empty table.
    pub fn new() -> Self {
        Self { root: None }
    }

    /// The table of these entries, whose keys ascend: each node is made once, where inserting one by one would copy a
    /// path for each.
    ///
    /// # Panics
    /// If the keys do not ascend: that is a mistake of the caller, not of the input.
    pub fn from_ascending(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut edge: Edge<K, V> = Vec::new();
        for (key, value) in entries {
            let entry = Arc::new(Entry { priority: priority(&key), key, value, leaf_hash: OnceLock::new() });
            assert!(edge.last().is_none_or(|(last, _)| last.key < entry.key), "keys of a table ascend");
            let below = edge.iter().rposition(|(other, _)| above(other, &entry)).map_or(0, |last| last + 1);
            let left = joined(edge.split_off(below));
            edge.push((entry, left));
        }
        Self { root: joined(edge) }
    }

    /// Bytes of all keys and values in their canonical encoding. Encodes every entry.
    pub fn encoded_bytes(&self) -> u64 {
        self.iter().map(|(key, value)| (codec::encode(key).len() + codec::encode(value).len()) as u64).sum()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        len(&self.root)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The value under `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        let mut link = &self.root;
        while let Some(node) = link {
            visits::add();
            link = match key.cmp(&node.entry.key) {
                Ordering::Equal => return Some(&node.entry.value),
                Ordering::Less => &node.left,
                Ordering::Greater => &node.right,
            };
        }
        None
    }

    /// Whether `key` is there.
    pub fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Puts `value` under `key`, in place of what was there.
    pub fn insert(&mut self, key: K, value: V) {
        let entry = Arc::new(Entry { priority: priority(&key), key, value, leaf_hash: OnceLock::new() });
        self.root = Some(insert(&self.root, entry));
    }

    /// Takes `key` out; says whether it was there.
    pub fn remove(&mut self, key: &K) -> bool {
        let removed = remove(&self.root, key);
        let found = removed.is_some();
        if let Some(root) = removed {
            self.root = root;
        }
        found
    }

    /// Changes the value under `key` in place; `None` if it is not there.
    pub fn update<R>(&mut self, key: &K, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        let mut value = self.get(key)?.clone();
        let result = change(&mut value);
        self.insert(key.clone(), value);
        Some(result)
    }

    /// All entries, ascending.
    pub fn iter(&self) -> Iter<'_, K, V> {
        let mut iter = Iter { path: Vec::new() };
        iter.descend(&self.root);
        iter
    }

    /// Entries from `key` on, ascending.
    pub fn iter_from(&self, key: &K) -> Iter<'_, K, V> {
        let mut iter = Iter { path: Vec::new() };
        let mut link = &self.root;
        while let Some(node) = link {
            visits::add();
            if node.entry.key < *key {
                link = &node.right;
            } else {
                iter.path.push(node);
                link = &node.left;
            }
        }
        iter
    }

    /// The smallest entry.
    pub fn first(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// The entry at a place, counted from 0 in the order of keys.
    pub fn nth(&self, place: usize) -> Option<(&K, &V)> {
        let (mut link, mut place) = (&self.root, place);
        while let Some(node) = link {
            let below = len(&node.left);
            match place.cmp(&below) {
                Ordering::Less => link = &node.left,
                Ordering::Equal => return Some((&node.entry.key, &node.entry.value)),
                Ordering::Greater => {
                    place -= below + 1;
                    link = &node.right;
                }
            }
        }
        None
    }

    /// Number of entries with smaller keys.
    pub fn rank(&self, key: &K) -> usize {
        let (mut link, mut smaller) = (&self.root, 0);
        while let Some(node) = link {
            if node.entry.key < *key {
                smaller += len(&node.left) + 1;
                link = &node.right;
            } else {
                link = &node.left;
            }
        }
        smaller
    }

    /// Merkle root over all entries.
    pub fn root(&self) -> [u8; 32] {
        link_hash(&self.root)
    }

    /// What to write over `older` to get this table, in no particular order.
    pub fn changes_since(&self, older: &Self) -> Vec<TableChange> {
        let mut changes = Vec::new();
        diff(&older.root, &self.root, &mut changes);
        changes
    }
}

/// A node of a table's tree with everything that its hash is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeNode {
    /// Canonical encoding of the key.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// Canonical encoding of the value.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Hash of the subtree with smaller keys; zeros if there is none.
    #[serde(with = "serde32")]
    pub left: [u8; 32],
    /// Hash of the subtree with greater keys; zeros if there is none.
    #[serde(with = "serde32")]
    pub right: [u8; 32],
}

impl TreeNode {
    /// The node's hash, as its parent or the table's root has it.
    pub fn hash(&self) -> [u8; 32] {
        node_hash(&entry_hash(&self.key, &self.value), &self.left, &self.right)
    }

    /// Bytes that it is made of.
    pub fn len(&self) -> usize {
        self.key.len() + self.value.len() + 64
    }

    /// Never: a node has hashes.
    pub fn is_empty(&self) -> bool {
        false
    }
}

/// Which child of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// Smaller keys.
    Left,
    /// Greater keys.
    Right,
}

impl<K: TableKey, V: Clone + Serialize> Table<K, V> {
    /// Appends the nodes of a subtree to `nodes`, each before its children, left before right, until `bytes_left` is used
    /// up; the last one may exceed it. The subtree is the whole table, or a child of the node of a key. `None` if there is
    /// no such key.
    pub(crate) fn list(
        &self,
        parent: Option<(&K, Side)>,
        bytes_left: &mut usize,
        nodes: &mut Vec<TreeNode>,
    ) -> Option<()> {
        let top = match parent {
            None => &self.root,
            Some((key, side)) => {
                let parent = self.node_of(key)?;
                if side == Side::Left { &parent.left } else { &parent.right }
            }
        };
        let mut waiting: Vec<&Arc<Node<K, V>>> = top.iter().collect();
        while let Some(node) = waiting.pop().filter(|_| *bytes_left > 0) {
            let (key, value) = (codec::encode(&node.entry.key), codec::encode(&node.entry.value));
            let node_out = TreeNode { key, value, left: link_hash(&node.left), right: link_hash(&node.right) };
            *bytes_left = bytes_left.saturating_sub(node_out.len());
            nodes.push(node_out);
            waiting.extend(node.right.iter().chain(&node.left));
        }
        Some(())
    }

    fn node_of(&self, key: &K) -> Option<&Arc<Node<K, V>>> {
        let mut link = &self.root;
        while let Some(node) = link {
            link = match key.cmp(&node.entry.key) {
                Ordering::Equal => return Some(node),
                Ordering::Less => &node.left,
                Ordering::Greater => &node.right,
            };
        }
        None
    }
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone() }
    }
}

impl<K: TableKey, V: Clone + Serialize> Default for Table<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: TableKey + fmt::Debug, V: Clone + Serialize + fmt::Debug> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: TableKey, V: Clone + Serialize> PartialEq for Table<K, V> {
    /// By root, so at the price of hashing what was not hashed yet.
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.root() == other.root()
    }
}

/// Entries of a [`Table`], ascending.
pub struct Iter<'a, K, V> {
    path: Vec<&'a Arc<Node<K, V>>>,
}

impl<'a, K, V> Iter<'a, K, V> {
    fn descend(&mut self, mut link: &'a Link<K, V>) {
        while let Some(node) = link {
            visits::add();
            self.path.push(node);
            link = &node.left;
        }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let node = self.path.pop()?;
        self.descend(&node.right);
        Some((&node.entry.key, &node.entry.value))
    }
}

impl<K: TableKey, V: Clone + Serialize> Serialize for Table<K, V> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(Some(self.len()))?;
        for entry in self.iter() {
            sequence.serialize_element(&entry)?;
        }
        sequence.end()
    }
}

impl<'de, K: TableKey, V: Clone + Serialize + Deserialize<'de>> Deserialize<'de> for Table<K, V> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<K, V>(std::marker::PhantomData<(K, V)>);
        impl<'de, K: TableKey, V: Clone + Serialize + Deserialize<'de>> de::Visitor<'de> for Entries<K, V> {
            type Value = Table<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("entries with ascending keys")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut entries: A) -> Result<Table<K, V>, A::Error> {
                let mut read: Vec<(K, V)> = Vec::new();
                while let Some((key, value)) = entries.next_element::<(K, V)>()? {
                    if read.last().is_some_and(|(last, _)| *last >= key) {
                        return Err(de::Error::custom("keys of a table are not ascending"));
                    }
                    read.push((key, value));
                }
                Ok(Table::from_ascending(read))
            }
        }
        deserializer.deserialize_seq(Entries(std::marker::PhantomData))
    }
}

fn priority<K: Serialize>(key: &K) -> u64 {
    let digest: [u8; 32] = Sha256::digest(codec::encode(key)).into();
    u64::from_be_bytes(digest[..8].try_into().expect("eight bytes"))
}

/// Whether `a` stands above `b` in the heap. Keys decide between equal priorities, so the order is total.
fn above<K: Ord, V>(a: &Entry<K, V>, b: &Entry<K, V>) -> bool {
    (a.priority, &a.key) > (b.priority, &b.key)
}

fn len<K, V>(link: &Link<K, V>) -> usize {
    link.as_ref().map_or(0, |node| node.len)
}

fn node<K, V>(entry: Arc<Entry<K, V>>, left: Link<K, V>, right: Link<K, V>) -> Arc<Node<K, V>> {
    visits::add();
    let len = 1 + len(&left) + len(&right);
    Arc::new(Node { entry, left, right, len, hash: OnceLock::new() })
}

/// The tree of a right edge, each entry with its left subtree, top first.
fn joined<K, V>(edge: Edge<K, V>) -> Link<K, V> {
    edge.into_iter().rev().fold(None, |right, (entry, left)| Some(node(entry, left, right)))
}

fn insert<K: Ord, V>(link: &Link<K, V>, entry: Arc<Entry<K, V>>) -> Arc<Node<K, V>> {
    let Some(here) = link else { return node(entry, None, None) };
    match entry.key.cmp(&here.entry.key) {
        Ordering::Equal => node(entry, here.left.clone(), here.right.clone()),
        // An equal key would stand above `here` too, so it is not below and the split meets no equal.
        _ if above(&entry, &here.entry) => {
            let (left, right) = split(link, &entry.key);
            node(entry, left, right)
        }
        Ordering::Less => node(here.entry.clone(), Some(insert(&here.left, entry)), here.right.clone()),
        Ordering::Greater => node(here.entry.clone(), here.left.clone(), Some(insert(&here.right, entry))),
    }
}

/// Entries below and above `key`, which is not among them.
fn split<K: Ord, V>(link: &Link<K, V>, key: &K) -> (Link<K, V>, Link<K, V>) {
    let Some(here) = link else { return (None, None) };
    if here.entry.key < *key {
        let (less, greater) = split(&here.right, key);
        (Some(node(here.entry.clone(), here.left.clone(), less)), greater)
    } else {
        let (less, greater) = split(&here.left, key);
        (less, Some(node(here.entry.clone(), greater, here.right.clone())))
    }
}

/// The tree without `key`; `None` if it is not there.
fn remove<K: Ord, V>(link: &Link<K, V>, key: &K) -> Option<Link<K, V>> {
    let here = link.as_ref()?;
    match key.cmp(&here.entry.key) {
        Ordering::Equal => Some(merge(&here.left, &here.right)),
        Ordering::Less => Some(Some(node(here.entry.clone(), remove(&here.left, key)?, here.right.clone()))),
        Ordering::Greater => Some(Some(node(here.entry.clone(), here.left.clone(), remove(&here.right, key)?))),
    }
}

/// Joins two trees where every key of `left` is below every key of `right`.
fn merge<K: Ord, V>(left: &Link<K, V>, right: &Link<K, V>) -> Link<K, V> {
    match (left, right) {
        (None, other) | (other, None) => other.clone(),
        (Some(a), Some(b)) if above(&a.entry, &b.entry) => {
            Some(node(a.entry.clone(), a.left.clone(), merge(&a.right, right)))
        }
        (Some(_), Some(b)) => Some(node(b.entry.clone(), merge(left, &b.left), b.right.clone())),
    }
}

fn link_hash<K: Serialize, V: Serialize>(link: &Link<K, V>) -> [u8; 32] {
    let Some(here) = link else { return HASH_EMPTY };
    *here.hash.get_or_init(|| {
        visits::add();
        node_hash(&leaf_hash(&here.entry), &link_hash(&here.left), &link_hash(&here.right))
    })
}

fn node_hash(leaf: &[u8; 32], left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([1]).chain_update(leaf).chain_update(left).chain_update(right).finalize().into()
}

fn entry_hash(key: &[u8], value: &[u8]) -> [u8; 32] {
    let length = (key.len() as u32).to_be_bytes();
    Sha256::new().chain_update([0]).chain_update(length).chain_update(key).chain_update(value).finalize().into()
}

fn leaf_hash<K: Serialize, V: Serialize>(entry: &Entry<K, V>) -> [u8; 32] {
    *entry.leaf_hash.get_or_init(|| entry_hash(&codec::encode(&entry.key), &codec::encode(&entry.value)))
}

/// Walks both trees from the top. Their shapes follow from their keys, so an entry that stands above the other tree's
/// top is missing there, and splitting the other tree around it keeps the halves comparable.
fn diff<K: TableKey, V: Serialize>(old: &Link<K, V>, new: &Link<K, V>, changes: &mut Vec<TableChange>) {
    match (old, new) {
        (None, None) => {}
        (Some(a), Some(b)) if Arc::ptr_eq(a, b) => {}
        (Some(a), Some(b)) if a.entry.key == b.entry.key => {
            if !Arc::ptr_eq(&a.entry, &b.entry) && leaf_hash(&a.entry) != leaf_hash(&b.entry) {
                changes.push(written(&b.entry));
            }
            diff(&a.left, &b.left, changes);
            diff(&a.right, &b.right, changes);
        }
        (Some(a), _) if new.as_ref().is_none_or(|b| above(&a.entry, &b.entry)) => {
            let (less, greater) = split(new, &a.entry.key);
            changes.push(TableChange { key: codec::encode(&a.entry.key), value: None });
            diff(&a.left, &less, changes);
            diff(&a.right, &greater, changes);
        }
        (_, Some(b)) => {
            let (less, greater) = split(old, &b.entry.key);
            changes.push(written(&b.entry));
            diff(&less, &b.left, changes);
            diff(&greater, &b.right, changes);
        }
        (Some(_), None) => unreachable!("covered by the removal above"),
    }
}

fn written<K: Serialize, V: Serialize>(entry: &Entry<K, V>) -> TableChange {
    TableChange { key: codec::encode(&entry.key), value: Some(codec::encode(&entry.value)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn build(entries: impl IntoIterator<Item = (u16, u16)>) -> Table<u16, u16> {
        let mut table = Table::new();
        for (key, value) in entries {
            table.insert(key, value);
        }
        table
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(steps in prop::collection::vec((0u16..60, prop::option::of(any::<u16>())), 0..200)) {
            let mut table = Table::new();
            let mut model = BTreeMap::new();
            for (key, value) in steps {
                match value {
                    Some(value) => { table.insert(key, value); model.insert(key, value); }
                    None => prop_assert_eq!(table.remove(&key), model.remove(&key).is_some()),
                }
            }
            prop_assert_eq!(table.len(), model.len());
            prop_assert!(table.iter().eq(model.iter()));
            prop_assert!(table.iter_from(&30).eq(model.range(30..)));
            prop_assert_eq!(table.rank(&30), model.range(..30).count());
            prop_assert!((0..model.len() + 1).all(|place| table.nth(place) == model.iter().nth(place)));
            // The root depends on content alone.
            prop_assert_eq!(table.root(), build(model.clone().into_iter().rev()).root());
            let at_once = Table::from_ascending(model);
            prop_assert_eq!((at_once.root(), at_once.len()), (table.root(), table.len()));
            prop_assert!(at_once.changes_since(&table).is_empty(), "the same shape");
        }

        #[test]
        fn changes_lead_from_the_old_to_the_new(
            old in prop::collection::btree_map(0u16..60, 0u16..4, 0..50),
            steps in prop::collection::vec((0u16..60, prop::option::of(0u16..4)), 0..30),
        ) {
            let before = build(old.clone());
            let mut after = before.clone();
            for (key, value) in steps {
                match value {
                    Some(value) => after.insert(key, value),
                    None => { after.remove(&key); }
                }
            }
            let mut replayed = old;
            let changes = after.changes_since(&before);
            for change in &changes {
                let key: u16 = codec::decode_strict(&change.key, 10).unwrap();
                match &change.value {
                    Some(value) => {
                        let value: u16 = codec::decode_strict(value, 10).unwrap();
                        prop_assert_ne!(replayed.insert(key, value), Some(value), "nothing is written twice");
                    }
                    None => prop_assert!(replayed.remove(&key).is_some()),
                }
            }
            prop_assert!(after.iter().eq(replayed.iter()));
        }
    }

    #[test]
    fn round_trips_and_refuses_unsorted_entries() {
        let table = build([(3, 4), (1, 2)]);
        let bytes = codec::encode(&table);
        assert_eq!(codec::decode_strict::<Table<u16, u16>>(&bytes, 100).unwrap(), table);
        let unsorted = codec::encode(&[(3u16, 4u16), (1, 2)]);
        assert!(codec::decode_strict::<Table<u16, u16>>(&unsorted, 100).is_err());
    }
}
