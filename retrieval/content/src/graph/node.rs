//! What a block of a foreign graph means.

use bytes::Bytes;
use cid::Cid;
use ipld_core::ipld::Ipld;

use super::{Blocks, CODEC_DAG_CBOR, CODEC_DAG_PB, CODEC_RAW, GraphError, load};
use crate::dagpb::PbNode;
use crate::hamt;
use crate::unixfs::Message;

/// A block, read.
#[derive(Debug)]
pub(crate) enum Node {
    /// Plain bytes.
    Raw(Bytes),
    /// A file or a part of one.
    File(FileNode),
    /// A folder in one block, by name.
    Folder(Vec<(String, Cid)>),
    /// One shard of a large folder.
    Shard(ShardNode),
    /// A symbolic link; it is not followed.
    Symlink,
    /// A DAG-CBOR document.
    Document(Ipld),
    /// Another codec, or dag-pb that is not UnixFS: its links, as far as they are known.
    Opaque(Vec<Cid>),
}

/// Bytes of its own, then those of its parts.
#[derive(Debug)]
pub(crate) struct FileNode {
    pub data: Bytes,
    pub parts: Vec<(Cid, u64)>,
    pub size: u64,
}

/// Links named by slot and name, or by slot alone where they lead to a deeper shard.
#[derive(Debug)]
pub(crate) struct ShardNode {
    /// Bits of the name's hash that one level takes.
    pub bits: u32,
    pub links: Vec<(String, Cid)>,
}

impl ShardNode {
    /// Hex digits of a slot at the start of a link's name.
    pub fn prefix_digits(&self) -> usize {
        format!("{:X}", (1u64 << self.bits) - 1).len()
    }

    /// Slot of a name at a depth, in hex; nothing where its hash ends.
    pub fn slot(&self, name: &str, depth: u32) -> Option<String> {
        let end = (depth + 1) * self.bits;
        let hash = hamt::name_hash(name).checked_shr(64u32.checked_sub(end)?)?;
        Some(format!("{:0width$X}", hash & ((1 << self.bits) - 1), width = self.prefix_digits()))
    }
}

/// Reads a block that was loaded.
pub(crate) fn decode(cid: &Cid, bytes: &Bytes) -> Result<Node, GraphError> {
    match cid.codec() {
        CODEC_RAW => Ok(Node::Raw(bytes.clone())),
        CODEC_DAG_PB => dag_pb(cid, bytes),
        CODEC_DAG_CBOR => match serde_ipld_dagcbor::from_slice(bytes) {
            Ok(document) => Ok(Node::Document(document)),
            Err(error) => Err(GraphError::Malformed { cid: *cid, reason: error.to_string() }),
        },
        _ => Ok(Node::Opaque(Vec::new())),
    }
}

fn dag_pb(cid: &Cid, bytes: &[u8]) -> Result<Node, GraphError> {
    let malformed = |reason: String| GraphError::Malformed { cid: *cid, reason };
    let node = PbNode::decode(bytes).map_err(|reason| malformed(reason.to_string()))?;
    let message = node.data.as_deref().and_then(|data| Message::decode(data).ok());
    let Some(message) = message else {
        return Ok(Node::Opaque(node.links.into_iter().map(|link| link.cid).collect()));
    };
    let named = || node.links.iter().map(|link| (link.name.clone().unwrap_or_default(), link.cid)).collect();
    match message.kind {
        0 | 2 => {
            if message.blocksizes.len() != node.links.len() {
                let (links, sizes) = (node.links.len(), message.blocksizes.len());
                return Err(malformed(format!("a file of {links} parts with {sizes} sizes")));
            }
            let own = message.data.len() as u64;
            let size = message.blocksizes.iter().try_fold(own, |sum, size| sum.checked_add(*size));
            let size = size.ok_or_else(|| malformed("the sizes of its parts exceed 64 bits".into()))?;
            let parts = node.links.iter().map(|link| link.cid).zip(message.blocksizes).collect();
            Ok(Node::File(FileNode { data: message.data, parts, size }))
        }
        1 => Ok(Node::Folder(named())),
        4 => Ok(Node::Symlink),
        5 => {
            let fanout = message.fanout.unwrap_or_default();
            if !fanout.is_power_of_two() || !(2..=1024).contains(&fanout) {
                return Err(malformed(format!("a shard with a fanout of {fanout}")));
            }
            if message.hash_type != Some(hamt::HASH_TYPE) {
                return Err(malformed(format!("a shard by hash {:?}", message.hash_type)));
            }
            Ok(Node::Shard(ShardNode { bits: fanout.trailing_zeros(), links: named() }))
        }
        _ => Ok(Node::Opaque(node.links.into_iter().map(|link| link.cid).collect())),
    }
}

/// Loads and reads a block.
pub(crate) fn load_node(blocks: &dyn Blocks, cid: &Cid) -> Result<Node, GraphError> {
    decode(cid, &load(blocks, cid)?)
}

/// Links of a document in the order of their encoding: keys by length, then by bytes.
pub(crate) fn document_links(document: &Ipld, found: &mut Vec<Cid>) {
    match document {
        Ipld::Link(cid) => found.push(*cid),
        Ipld::List(items) => items.iter().for_each(|item| document_links(item, found)),
        Ipld::Map(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| (key.len(), key.as_bytes()));
            entries.into_iter().for_each(|(_, item)| document_links(item, found));
        }
        _ => {}
    }
}

/// What a CID stands for, as far as one block tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entity {
    /// A file of so many bytes.
    File(u64),
    /// A folder, sharded or not.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A block that is not UnixFS.
    Other,
}

/// Looks at one block.
///
/// # Errors
/// It is missing, unreadable or malformed.
pub fn entity(blocks: &dyn Blocks, cid: &Cid) -> Result<Entity, GraphError> {
    Ok(match load_node(blocks, cid)? {
        Node::Raw(bytes) => Entity::File(bytes.len() as u64),
        Node::File(file) => Entity::File(file.size),
        Node::Folder(_) | Node::Shard(_) => Entity::Folder,
        Node::Symlink => Entity::Symlink,
        Node::Document(_) | Node::Opaque(_) => Entity::Other,
    })
}
