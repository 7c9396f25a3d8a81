//! UnixFS: what an interior node means.
//!
//! The data field of a dag-pb node is a protobuf message: type (1), data (2), filesize (3), blocksizes (4, repeated),
//! hashType (5), fanout (6), mode (7), mtime (8). This crate writes three kinds, the ones `ipfs-car` writes:
//!
//! - a file of several blocks: type 2, filesize, and one blocksize per link;
//! - a folder: type 1 and nothing else, one named link per entry;
//! - a shard of a large folder: type 5, the bitfield of used slots, hashType 0x22, fanout 256.
//!
//! The decoder gives back the same three, checked: sums agree, names are single safe path components and unique, every
//! shard entry sits in the slot its hash asks for. Mode and mtime, which other writers add, are read over. Files whose
//! bytes sit inside dag-pb nodes (the old default of other tools) are refused by name: leaves here are raw blocks.

use bytes::Bytes;
use cid::Cid;

use crate::block::{BlockId, BlockRejection, Codec};
use crate::dagpb::{Cursor, DagPbRejection, PbLink, PbNode, put_bytes};
use crate::{hamt, varint};

const TYPE_FOLDER: u64 = 1;
const TYPE_FILE: u64 = 2;
const TYPE_SHARD: u64 = 5;

/// Longest name of one entry in bytes, the limit of common file systems.
pub(crate) const MAX_NAME_BYTES: usize = 255;

/// An interior node, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnixFsNode {
    /// A file (or a part of one) of several blocks, in order.
    File {
        /// Bytes of file content below this node.
        size: u64,
        /// The blocks that make it up.
        parts: Vec<FilePart>,
    },
    /// A folder whose entries stand in one block, sorted by the bytes of their names.
    Folder {
        /// The entries.
        entries: Vec<FolderEntry>,
    },
    /// One shard of a large folder, its entries sorted by slot.
    Shard {
        /// The entries.
        entries: Vec<ShardEntry>,
    },
}

/// One link of a file node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// A raw leaf or another file node.
    pub id: BlockId,
    /// Bytes of file content below the link.
    pub size: u64,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderEntry {
    /// A single path component: not empty, not `.` or `..`, without `/` and NUL.
    pub name: String,
    /// A raw leaf (a file of one block), a file node or a folder.
    pub id: BlockId,
    /// Total bytes of the blocks below; for a raw leaf the size of the file.
    pub tsize: u64,
}

/// One entry of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardEntry {
    /// An entry of the folder.
    Entry(FolderEntry),
    /// A shard one level down, which holds every entry whose hash continues with `slot`.
    Shard {
        /// The slot, 0 to 255.
        slot: u8,
        /// The shard's block.
        id: BlockId,
    },
}

/// Why a block is not a UnixFS node that this network uses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnixFsRejection {
    /// The bytes are not the block that was asked for, or a link names a block that cannot exist here.
    #[error(transparent)]
    Block(#[from] BlockRejection),
    /// The block is not canonical dag-pb.
    #[error("{cid}: {reason}")]
    DagPb {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        reason: DagPbRejection,
    },
    /// The data field is missing or not a UnixFS message.
    #[error("{cid}: its data field is not a UnixFS message: {reason}")]
    Message {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        reason: String,
    },
    /// A kind of node that this network does not store: symlinks, inline files, metadata nodes.
    #[error("{cid} is {got}; expected a file of raw leaves or a folder (profile unixfs-v1-2025)")]
    Unsupported {
        /// The block.
        cid: Cid,
        /// What it is.
        got: String,
    },
    /// Sizes that do not agree with each other.
    #[error("{cid}: {what}: expected {expected}, got {got}")]
    Sizes {
        /// The block.
        cid: Cid,
        /// Which number.
        what: &'static str,
        /// What it should be.
        expected: u64,
        /// What it is.
        got: u64,
    },
    /// An entry name that could not be a file name, or comes twice.
    #[error("{cid}: entry {name:?} {reason}")]
    Name {
        /// The folder's block.
        cid: Cid,
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A shard that contradicts itself.
    #[error("{cid}: shard link {name:?}: {reason}")]
    Shard {
        /// The shard's block.
        cid: Cid,
        /// The link's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Checks that `bytes` are the dag-pb block `id` and gives its meaning. `shard_depth` is the number of shards above the
/// block: 0 for every block that was not reached through a [`ShardEntry::Shard`].
pub fn decode_node(id: &BlockId, bytes: &[u8], shard_depth: usize) -> Result<UnixFsNode, UnixFsRejection> {
    let cid = id.cid();
    crate::block::verify_block(&cid, bytes)?;
    if id.codec != Codec::DagPb {
        return Err(UnixFsRejection::Unsupported { cid, got: "a raw leaf".into() });
    }
    let node = PbNode::decode(bytes).map_err(|reason| UnixFsRejection::DagPb { cid, reason })?;
    let data = node.data.clone().unwrap_or_default();
    let message =
        Message::decode(&data).map_err(|reason| UnixFsRejection::Message { cid, reason: reason.to_string() })?;
    match message.kind {
        TYPE_FILE => file_node(cid, &message, &node.links),
        TYPE_FOLDER if shard_depth == 0 => folder_node(cid, &node.links),
        TYPE_SHARD => shard_node(cid, &message, &node.links, shard_depth),
        other => Err(UnixFsRejection::Unsupported { cid, got: kind_name(other) }),
    }
}

fn kind_name(kind: u64) -> String {
    match kind {
        0 => "a raw node in dag-pb".into(),
        TYPE_FOLDER => "a folder in the place of a shard".into(),
        3 => "a metadata node".into(),
        4 => "a symlink".into(),
        other => format!("a node of unknown type {other}"),
    }
}

fn file_node(cid: Cid, message: &Message, links: &[PbLink]) -> Result<UnixFsNode, UnixFsRejection> {
    if !message.data.is_empty() || links.is_empty() {
        return Err(UnixFsRejection::Unsupported { cid, got: "a file with its bytes inside dag-pb".into() });
    }
    let sizes = |what, expected, got| UnixFsRejection::Sizes { cid, what, expected, got };
    let (link_count, size_count) = (links.len() as u64, message.blocksizes.len() as u64);
    if link_count != size_count {
        return Err(sizes("number of blocksizes", link_count, size_count));
    }
    let sum = message.blocksizes.iter().try_fold(0u64, |sum, size| sum.checked_add(*size));
    let size = message.filesize.unwrap_or_default();
    if sum != Some(size) {
        return Err(sizes("filesize (sum of blocksizes)", sum.unwrap_or(u64::MAX), size));
    }
    let mut parts = Vec::with_capacity(links.len());
    for (link, size) in links.iter().zip(&message.blocksizes) {
        if let Some(name) = link.name.as_ref().filter(|name| !name.is_empty()) {
            return Err(UnixFsRejection::Name { cid, name: name.clone(), reason: "names a part of a file" });
        }
        let id = BlockId::try_from(&link.cid)?;
        let tsize = link.tsize.unwrap_or(*size);
        if id.codec == Codec::Raw && tsize != *size {
            return Err(sizes("tsize of a raw leaf", *size, tsize));
        }
        parts.push(FilePart { id, size: *size });
    }
    Ok(UnixFsNode::File { size, parts })
}

fn folder_node(cid: Cid, links: &[PbLink]) -> Result<UnixFsNode, UnixFsRejection> {
    let mut entries: Vec<FolderEntry> = Vec::with_capacity(links.len());
    for link in links {
        let entry = folder_entry(cid, link.name.as_deref().unwrap_or_default(), link)?;
        if entries.last().is_some_and(|last| last.name == entry.name) {
            return Err(UnixFsRejection::Name { cid, name: entry.name, reason: "comes twice" });
        }
        entries.push(entry);
    }
    Ok(UnixFsNode::Folder { entries })
}

fn folder_entry(cid: Cid, name: &str, link: &PbLink) -> Result<FolderEntry, UnixFsRejection> {
    check_name(name).map_err(|reason| UnixFsRejection::Name { cid, name: name.into(), reason })?;
    let id = BlockId::try_from(&link.cid)?;
    let Some(tsize) = link.tsize else {
        return Err(UnixFsRejection::Name { cid, name: name.into(), reason: "has no tsize" });
    };
    Ok(FolderEntry { name: name.into(), id, tsize })
}

/// Checks that a name is one path component that may be created on disk without leaving its folder.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("is empty"),
        "." | ".." => Err("would leave its folder"),
        _ if name.contains('/') => Err("contains a slash"),
        _ if name.contains('\0') => Err("contains a NUL byte"),
        _ if name.len() > MAX_NAME_BYTES => Err("is longer than 255 bytes"),
        _ => Ok(()),
    }
}

fn shard_node(cid: Cid, message: &Message, links: &[PbLink], depth: usize) -> Result<UnixFsNode, UnixFsRejection> {
    let sizes = |what, expected, got| UnixFsRejection::Sizes { cid, what, expected, got };
    if message.fanout != Some(hamt::FANOUT as u64) {
        return Err(sizes("fanout of a shard", hamt::FANOUT as u64, message.fanout.unwrap_or_default()));
    }
    if message.hash_type != Some(hamt::HASH_TYPE) {
        return Err(sizes("hash of a shard", hamt::HASH_TYPE, message.hash_type.unwrap_or_default()));
    }
    let slots = hamt::slots(&message.data).ok_or(sizes("bytes of a bitfield", 32, message.data.len() as u64))?;
    if slots.len() != links.len() {
        return Err(sizes("links of a shard", slots.len() as u64, links.len() as u64));
    }
    let mut entries = Vec::with_capacity(links.len());
    for (slot, link) in slots.into_iter().zip(links) {
        let full = link.name.as_deref().unwrap_or_default();
        let shard = |reason| UnixFsRejection::Shard { cid, name: full.into(), reason };
        let name = full.strip_prefix(&hamt::prefix(slot)).ok_or_else(|| shard("is not in the slot it names"))?;
        if name.is_empty() {
            entries.push(ShardEntry::Shard { slot, id: BlockId::try_from(&link.cid)? });
            continue;
        }
        let entry = folder_entry(cid, name, link)?;
        if hamt::slot(name, depth) != Some(slot) {
            return Err(shard("its hash belongs into another slot"));
        }
        entries.push(ShardEntry::Entry(entry));
    }
    Ok(UnixFsNode::Shard { entries })
}

/// Data field of a file node: its size and the sizes below each link.
pub(crate) fn file_data(blocksizes: &[u64]) -> Bytes {
    let mut out = vec![0x08, TYPE_FILE as u8, 0x18];
    varint::put(&mut out, blocksizes.iter().sum());
    for size in blocksizes {
        out.push(0x20);
        varint::put(&mut out, *size);
    }
    out.into()
}

/// Data field of a folder in one block.
pub(crate) fn folder_data() -> Bytes {
    Bytes::from_static(&[0x08, TYPE_FOLDER as u8])
}

/// Data field of a shard with the given bitfield.
pub(crate) fn shard_data(bitfield: &[u8]) -> Bytes {
    let mut out = vec![0x08, TYPE_SHARD as u8];
    put_bytes(&mut out, 0x12, bitfield);
    out.push(0x28);
    varint::put(&mut out, hamt::HASH_TYPE);
    out.push(0x30);
    varint::put(&mut out, hamt::FANOUT as u64);
    out.into()
}

/// The protobuf message in the data field, as it stands on the wire.
#[derive(Default)]
pub(crate) struct Message {
    pub kind: u64,
    pub data: Bytes,
    pub filesize: Option<u64>,
    pub blocksizes: Vec<u64>,
    pub hash_type: Option<u64>,
    pub fanout: Option<u64>,
}

impl Message {
    /// Fields in ascending order, only blocksizes may repeat.
    pub fn decode(bytes: &[u8]) -> Result<Message, DagPbRejection> {
        let expected = "the fields of a UnixFS message in ascending order, type first";
        let mut message = Message::default();
        let mut last = 0;
        let mut cursor = Cursor::new(bytes);
        loop {
            let at = cursor.at();
            if cursor.is_empty() {
                let typed = last != 0;
                return if typed { Ok(message) } else { Err(DagPbRejection::Field { at, key: 0, expected }) };
            }
            let key = cursor.varint()?;
            let follows = key > last || (key == last && key == 0x20);
            if !follows || (last == 0 && key != 0x08) {
                return Err(DagPbRejection::Field { at, key, expected });
            }
            last = key;
            match key {
                0x08 => message.kind = cursor.varint()?,
                0x12 => message.data = Bytes::copy_from_slice(cursor.bytes()?),
                0x18 => message.filesize = Some(cursor.varint()?),
                0x20 => message.blocksizes.push(cursor.varint()?),
                0x28 => message.hash_type = Some(cursor.varint()?),
                0x30 => message.fanout = Some(cursor.varint()?),
                0x38 => drop(cursor.varint()?),
                0x42 => drop(cursor.bytes()?),
                key => return Err(DagPbRejection::Field { at, key, expected }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(node: &PbNode) -> Result<UnixFsNode, UnixFsRejection> {
        let bytes = node.encode();
        decode_node(&BlockId::of(Codec::DagPb, &bytes), &bytes, 0)
    }

    fn link(name: &str, tsize: u64) -> PbLink {
        PbLink { cid: BlockId::of(Codec::Raw, b"x").cid(), name: Some(name.into()), tsize: Some(tsize) }
    }

    #[test]
    fn a_file_node_with_wrong_sums_is_refused() {
        let good = PbNode { links: vec![link("", 5), link("", 3)], data: Some(file_data(&[5, 3])) };
        assert!(matches!(decode(&good), Ok(UnixFsNode::File { size: 8, parts }) if parts.len() == 2));
        let leaf_size = PbNode { links: vec![link("", 5), link("", 4)], ..good.clone() };
        assert!(matches!(decode(&leaf_size), Err(UnixFsRejection::Sizes { expected: 3, got: 4, .. })));
        let count = PbNode { links: vec![link("", 5)], ..good.clone() };
        assert!(matches!(decode(&count), Err(UnixFsRejection::Sizes { expected: 1, got: 2, .. })));
        let sum = Bytes::from_static(&[0x08, 2, 0x18, 9, 0x20, 5, 0x20, 3]);
        assert!(matches!(
            decode(&PbNode { data: Some(sum), ..good }),
            Err(UnixFsRejection::Sizes { expected: 8, got: 9, .. })
        ));
    }

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        for name in ["", ".", "..", "a/b", "/etc/passwd", "nul\0", &"x".repeat(256)] {
            let node = PbNode { links: vec![link(name, 1)], data: Some(folder_data()) };
            assert!(matches!(decode(&node), Err(UnixFsRejection::Name { .. })), "{name:?}");
        }
        let twice = PbNode { links: vec![link("a", 1), link("a", 1)], data: Some(folder_data()) };
        assert!(matches!(decode(&twice), Err(UnixFsRejection::Name { reason: "comes twice", .. })));
    }

    #[test]
    fn what_the_network_does_not_store_is_named() {
        let inline = PbNode { links: vec![], data: Some(Bytes::from_static(&[0x08, 2, 0x12, 1, b'x', 0x18, 1])) };
        assert!(decode(&inline).unwrap_err().to_string().contains("inside dag-pb"));
        let symlink = PbNode { links: vec![], data: Some(Bytes::from_static(&[0x08, 4, 0x12, 1, b'x'])) };
        assert!(decode(&symlink).unwrap_err().to_string().contains("a symlink"));
        let none = PbNode { links: vec![], data: None };
        assert!(matches!(decode(&none), Err(UnixFsRejection::Message { .. })));
    }

    #[test]
    fn a_shard_entry_in_the_wrong_slot_is_refused() {
        let slot = hamt::slot("name", 0).unwrap();
        let shard = |slot: u8| {
            let data = Some(shard_data(&hamt::bitfield(&[slot])));
            PbNode { links: vec![link(&format!("{}name", hamt::prefix(slot)), 1)], data }
        };
        assert!(matches!(decode(&shard(slot)), Ok(UnixFsNode::Shard { entries }) if entries.len() == 1));
        assert!(matches!(decode(&shard(slot ^ 1)), Err(UnixFsRejection::Shard { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_messages_never_panic(data: Vec<u8>, links in proptest::collection::vec(".{0,4}", 0..4)) {
            let mut links: Vec<PbLink> = links.iter().map(|name| link(name, 1)).collect();
            links.sort_by(|a, b| a.name.cmp(&b.name));
            let _ = decode(&PbNode { links, data: Some(data.into()) });
        }
    }
}
