//! The blocks of a selection, one after the other.
//!
//! A selection is a path and a scope. Its blocks come depth-first, parents before children: those of the path, then
//!
//! - [`Scope::Block`]: the block at its end;
//! - [`Scope::Entity`]: of a file all blocks, or those that a byte range needs; of a sharded folder its shards, without what
//!   the names lead to; of everything else the one block;
//! - [`Scope::All`]: everything below.
//!
//! Identity CIDs are followed and never given: they are their own blocks. Without duplicates each block comes at its first
//! visit only; what is remembered for it is 16 bytes of its digest, so that finding two blocks that are taken for one costs
//! an attacker 2^64 hashes, and hurts nobody but the reader of the attacker's own graph.

use std::collections::HashMap;
use std::num::ParseIntError;
use std::str::FromStr;

use bytes::Bytes;
use cid::Cid;

use super::node::{Node, decode, document_links};
use super::{Blocks, CODEC_RAW, GraphError, Resolved, is_identity, load};

/// Most blocks that are remembered, and most that wait: some hundred MB.
const REMEMBERED_MAX: usize = 8 << 20;

/// How much of what a path leads to is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The block at the end of the path.
    Block,
    /// The file or folder there; of a file only the bytes from the first number to the second, inclusive.
    Entity(Option<(u64, u64)>),
    /// Everything below.
    All,
}

/// A byte range of a file, as it is asked for: `from:to`, inclusive, negative from the end, `*` for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntityBytes {
    /// First byte.
    pub from: i64,
    /// Last byte.
    pub to: Option<i64>,
}

impl FromStr for EntityBytes {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (from, to) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self { from: from.parse()?, to: if to == "*" { None } else { Some(to.parse()?) } })
    }
}

impl EntityBytes {
    /// First and last byte in a file of `size` bytes; nothing if no byte of it is meant.
    pub fn within(&self, size: u64) -> Option<(u64, u64)> {
        let size = i128::from(size);
        let place = |at: i64| if at < 0 { size + i128::from(at) } else { i128::from(at) };
        let first = place(self.from).max(0);
        let last = self.to.map_or(size - 1, place).min(size - 1);
        (first <= last).then_some((first as u64, last as u64))
    }
}

#[derive(Debug, Clone, Copy)]
enum Visit {
    /// This block alone.
    Alone,
    /// The end of the path.
    Terminus,
    /// This part of a file, of which bytes from the first to the second are wanted; all of them where nothing is said.
    Part(Option<(u64, u64)>),
    /// A shard, with its shards.
    Shard,
    /// Everything below.
    Deep,
}

/// Blocks in depth-first order.
pub struct BlockStream<B> {
    blocks: B,
    scope: Scope,
    /// Blocks that were given, and whether everything below was, too. Not kept where duplicates are wanted.
    given: Option<HashMap<u128, bool>>,
    stack: Vec<(Cid, Visit)>,
}

impl<B: Blocks> BlockStream<B> {
    /// The blocks of `path` and of what lies at its end.
    pub fn new(blocks: B, path: &Resolved, scope: Scope, duplicates: bool) -> Self {
        let mut stack = vec![(path.terminus, Visit::Terminus)];
        stack.extend(path.passed.iter().rev().map(|cid| (*cid, Visit::Alone)));
        Self { blocks, scope, given: (!duplicates).then(HashMap::new), stack }
    }

    /// The next block, nothing at the end. After an error the stream is spent.
    ///
    /// # Errors
    /// A block is missing, unreadable or malformed, or too many wait.
    pub fn next_block(&mut self) -> Result<Option<(Cid, Bytes)>, GraphError> {
        while let Some((cid, visit)) = self.stack.pop() {
            let whole = !matches!(visit, Visit::Alone | Visit::Part(Some(_)));
            let terminal = matches!(visit, Visit::Alone) || cid.codec() == CODEC_RAW;
            let before = self.remember(&cid, whole || cid.codec() == CODEC_RAW)?;
            if before == Some(true) || (before.is_some() && terminal) {
                continue;
            }
            let bytes = load(&self.blocks, &cid)?;
            if !terminal {
                self.expand(&cid, &bytes, visit)?;
            }
            if before.is_none() && !is_identity(&cid) {
                return Ok(Some((cid, bytes)));
            }
        }
        Ok(None)
    }

    /// Whether the block was given before, and then whether everything below it was.
    fn remember(&mut self, cid: &Cid, whole: bool) -> Result<Option<bool>, GraphError> {
        let Some(given) = &mut self.given else { return Ok(None) };
        if is_identity(cid) {
            return Ok(None);
        }
        let mut key = [0; 16];
        let digest = cid.hash().digest();
        let count = digest.len().min(16);
        key[..count].copy_from_slice(&digest[..count]);
        // The same bytes under another codec are another block.
        let before = given.insert(u128::from_le_bytes(key) ^ u128::from(cid.codec()), whole);
        if before == Some(true) && !whole {
            given.insert(u128::from_le_bytes(key) ^ u128::from(cid.codec()), true);
        }
        if given.len() > REMEMBERED_MAX {
            return Err(GraphError::Limit { what: "blocks to remember", limit: REMEMBERED_MAX });
        }
        Ok(before)
    }

    fn expand(&mut self, cid: &Cid, bytes: &Bytes, visit: Visit) -> Result<(), GraphError> {
        let node = decode(cid, bytes)?;
        let visit = match (visit, self.scope) {
            (Visit::Terminus, Scope::Block) => return Ok(()),
            (Visit::Terminus, Scope::All) => Visit::Deep,
            (Visit::Terminus, Scope::Entity(range)) => match &node {
                Node::File(_) => Visit::Part(range),
                Node::Shard(_) => Visit::Shard,
                _ => return Ok(()),
            },
            (visit, _) => visit,
        };
        let mut next: Vec<(Cid, Visit)> = Vec::new();
        match (visit, node) {
            (Visit::Part(range), Node::File(file)) => {
                let mut start = file.data.len() as u64;
                for (part, size) in file.parts {
                    let end = start + size;
                    match range {
                        None => next.push((part, Visit::Part(None))),
                        Some((first, last)) if size > 0 && first < end && last >= start => {
                            let inner = (first.max(start) - start, last.min(end - 1) - start);
                            let whole = inner == (0, size - 1);
                            next.push((part, Visit::Part((!whole).then_some(inner))));
                        }
                        Some(_) => {}
                    }
                    start = end;
                }
            }
            (Visit::Shard, Node::Shard(shard)) => {
                let digits = shard.prefix_digits();
                let deeper = shard.links.into_iter().filter(|(name, _)| name.len() == digits);
                next.extend(deeper.map(|(_, cid)| (cid, Visit::Shard)));
            }
            (Visit::Deep, node) => next.extend(links(node).into_iter().map(|cid| (cid, Visit::Deep))),
            (_, _) => {
                let reason = "another kind of block than the link to it says".into();
                return Err(GraphError::Malformed { cid: *cid, reason });
            }
        }
        self.stack.extend(next.into_iter().rev());
        if self.stack.len() > REMEMBERED_MAX {
            return Err(GraphError::Limit { what: "blocks that wait", limit: REMEMBERED_MAX });
        }
        Ok(())
    }
}

fn links(node: Node) -> Vec<Cid> {
    match node {
        Node::Raw(_) | Node::Symlink => Vec::new(),
        Node::File(file) => file.parts.into_iter().map(|(cid, _)| cid).collect(),
        Node::Folder(links) | Node::Shard(super::node::ShardNode { links, .. }) => {
            links.into_iter().map(|(_, cid)| cid).collect()
        }
        Node::Document(document) => {
            let mut found = Vec::new();
            document_links(&document, &mut found);
            found
        }
        Node::Opaque(links) => links,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_inclusive_clamped_and_count_from_either_end() {
        let table = [
            ("0:*", Some((0, 1025))),
            ("512:*", Some((512, 1025))),
            ("512:1023", Some((512, 1023))),
            ("512:-256", Some((512, 770))),
            ("-5:*", Some((1021, 1025))),
            ("-9999:*", Some((0, 1025))),
            ("-9999:-3", Some((0, 1023))),
            ("0:0", Some((0, 0))),
            ("1026:*", None),
            ("5:4", None),
            ("0:-2000", None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<EntityBytes>().unwrap().within(1026), expected, "{text}");
        }
        assert_eq!("0:*".parse::<EntityBytes>().unwrap().within(0), None);
        for text in ["", ":", "1", "1:", "*:1", "a:b", "1:2:3"] {
            assert!(text.parse::<EntityBytes>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_range_leaves_its_file(from: i64, to: Option<i64>, size: u64) {
            if let Some((first, last)) = (EntityBytes { from, to }).within(size) {
                prop_assert!(first <= last && last < size);
            }
        }
    }
}
