//! dag-pb: the wire form of interior nodes.
//!
//! A node is `Links` (field 2, any number) followed by `Data` (field 1, at most once); a link is `Hash` (1, required),
//! `Name` (2), `Tsize` (3), in this order. The decoder accepts the canonical form only, so one node has exactly one
//! encoding and `encode(decode(bytes)) == bytes`: minimal varints, fields in order, no unknown fields, links sorted by the
//! bytes of their names.

use bytes::Bytes;
use cid::Cid;

use crate::block::MAX_BLOCK_BYTES;
use crate::varint;

/// Most links a decoded node may have. A link takes at least 40 bytes, so a block cannot hold more than this anyway; the
/// limit only bounds what is allocated before the end of the block is seen.
const MAX_LINKS: usize = MAX_BLOCK_BYTES / 40;

/// A dag-pb node.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PbNode {
    /// Links, sorted by the bytes of their names (an absent name counts as empty).
    pub links: Vec<PbLink>,
    /// The data field; for UnixFS a protobuf message of its own.
    pub data: Option<Bytes>,
}

/// One link of a dag-pb node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PbLink {
    /// The block it points to.
    pub cid: Cid,
    /// Name in a folder; present and empty in the links of a file.
    pub name: Option<String>,
    /// Total bytes of all blocks below, the linked block included.
    pub tsize: Option<u64>,
}

/// Why bytes are not a canonical dag-pb node. `at` is the byte offset within the block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DagPbRejection {
    /// More bytes than a block may have.
    #[error("dag-pb node has {got} bytes; expected at most {MAX_BLOCK_BYTES}")]
    TooLarge {
        /// Length in bytes.
        got: usize,
    },
    /// A varint is cut off, too long, or not minimal.
    #[error("dag-pb byte {at}: expected a minimal varint of at most 64 bits")]
    Varint {
        /// Offset of the varint.
        at: usize,
    },
    /// A length runs past the end.
    #[error("dag-pb byte {at}: a field of {length} bytes, but only {left} are left")]
    Length {
        /// Offset of the field's content.
        at: usize,
        /// Length it claims.
        length: u64,
        /// Bytes that are left.
        left: usize,
    },
    /// An unknown field, a wrong wire type, or fields out of order.
    #[error("dag-pb byte {at}: unexpected field key 0x{key:x}; expected {expected}")]
    Field {
        /// Offset of the key.
        at: usize,
        /// The key found (field number and wire type).
        key: u64,
        /// What may stand here.
        expected: &'static str,
    },
    /// A link without a hash.
    #[error("dag-pb link {link} has no hash")]
    NoHash {
        /// Position of the link.
        link: usize,
    },
    /// A link whose hash is not a CID.
    #[error("dag-pb link {link}: its hash is not a CID: {reason}")]
    Cid {
        /// Position of the link.
        link: usize,
        /// What the CID decoder says.
        reason: String,
    },
    /// A link name that is not UTF-8.
    #[error("dag-pb link {link}: its name is not UTF-8")]
    Name {
        /// Position of the link.
        link: usize,
    },
    /// Links that are not sorted.
    #[error("dag-pb link {link}: its name sorts before the name of the link before it")]
    Order {
        /// Position of the link.
        link: usize,
    },
    /// More links than a block can hold.
    #[error("dag-pb node has more than {MAX_LINKS} links")]
    TooManyLinks,
}

impl PbNode {
    /// Canonical bytes. The links must be sorted by name; builders of this crate sort before.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        for link in &self.links {
            let body = encode_link(link);
            put_bytes(&mut out, 0x12, &body);
        }
        if let Some(data) = &self.data {
            put_bytes(&mut out, 0x0a, data);
        }
        out.into()
    }

    /// Decodes canonical bytes and refuses everything else.
    pub fn decode(bytes: &[u8]) -> Result<PbNode, DagPbRejection> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(DagPbRejection::TooLarge { got: bytes.len() });
        }
        let mut node = PbNode::default();
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            let at = cursor.at();
            match cursor.varint()? {
                0x12 if node.data.is_none() => {
                    let link = decode_link(&mut cursor, node.links.len())?;
                    push_sorted(&mut node.links, link)?;
                }
                0x0a if node.data.is_none() => node.data = Some(Bytes::copy_from_slice(cursor.bytes()?)),
                key => {
                    let expected = "links (0x12), then at most one data field (0x0a)";
                    return Err(DagPbRejection::Field { at, key, expected });
                }
            }
        }
        Ok(node)
    }
}

fn push_sorted(links: &mut Vec<PbLink>, link: PbLink) -> Result<(), DagPbRejection> {
    let name = |link: &PbLink| link.name.clone().unwrap_or_default();
    if links.last().is_some_and(|last| name(&link) < name(last)) {
        return Err(DagPbRejection::Order { link: links.len() });
    }
    if links.len() == MAX_LINKS {
        return Err(DagPbRejection::TooManyLinks);
    }
    links.push(link);
    Ok(())
}

fn encode_link(link: &PbLink) -> Vec<u8> {
    let mut out = Vec::with_capacity(56);
    put_bytes(&mut out, 0x0a, &link.cid.to_bytes());
    if let Some(name) = &link.name {
        put_bytes(&mut out, 0x12, name.as_bytes());
    }
    if let Some(tsize) = link.tsize {
        varint::put(&mut out, 0x18);
        varint::put(&mut out, tsize);
    }
    out
}

fn decode_link(outer: &mut Cursor<'_>, link: usize) -> Result<PbLink, DagPbRejection> {
    let mut cursor = outer.nested()?;
    let expected = "hash (0x0a), name (0x12), tsize (0x18) of a link, in this order";
    let mut cid = None;
    let mut name = None;
    let mut tsize = None;
    while !cursor.is_empty() {
        let at = cursor.at();
        match cursor.varint()? {
            0x0a if cid.is_none() && name.is_none() && tsize.is_none() => {
                cid = Some(parse_cid(cursor.bytes()?).map_err(|reason| DagPbRejection::Cid { link, reason })?);
            }
            0x12 if name.is_none() && tsize.is_none() => {
                let text = std::str::from_utf8(cursor.bytes()?).map_err(|_| DagPbRejection::Name { link })?;
                name = Some(text.to_owned());
            }
            0x18 if tsize.is_none() => tsize = Some(cursor.varint()?),
            key => return Err(DagPbRejection::Field { at, key, expected }),
        }
    }
    let cid = cid.ok_or(DagPbRejection::NoHash { link })?;
    Ok(PbLink { cid, name, tsize })
}

/// The CID parser stops where the CID ends; here nothing may follow, and there is one form only.
fn parse_cid(bytes: &[u8]) -> Result<Cid, String> {
    let cid = Cid::try_from(bytes).map_err(|error| error.to_string())?;
    if cid.to_bytes() == bytes { Ok(cid) } else { Err(format!("{cid} is not all of it, or not in its shortest form")) }
}

/// Appends a key, a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, key: u64, bytes: &[u8]) {
    varint::put(out, key);
    varint::put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A reader of protobuf fields that knows its offset within the block.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DagPbRejection> {
        let at = self.at;
        let (value, rest) = varint::take(self.bytes).ok_or(DagPbRejection::Varint { at })?;
        self.at += self.bytes.len() - rest.len();
        self.bytes = rest;
        Ok(value)
    }

    /// A length and that many bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DagPbRejection> {
        let length = self.varint()?;
        let left = self.bytes.len();
        let taken = usize::try_from(length).ok().filter(|taken| *taken <= left);
        let Some(taken) = taken else {
            return Err(DagPbRejection::Length { at: self.at, length, left });
        };
        let (field, rest) = self.bytes.split_at(taken);
        self.at += taken;
        self.bytes = rest;
        Ok(field)
    }

    fn nested(&mut self) -> Result<Cursor<'a>, DagPbRejection> {
        let bytes = self.bytes()?;
        Ok(Cursor { bytes, at: self.at - bytes.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockId, Codec};
    use proptest::prelude::*;

    fn link(name: &str) -> PbLink {
        PbLink { cid: BlockId::of(Codec::Raw, b"").cid(), name: Some(name.into()), tsize: Some(7) }
    }

    fn arb_node() -> impl Strategy<Value = PbNode> {
        let links = proptest::collection::vec((".{0,8}", any::<Option<u64>>()), 0..20);
        (links, any::<Option<Vec<u8>>>()).prop_map(|(links, data)| {
            let mut links: Vec<PbLink> =
                links.into_iter().map(|(name, tsize)| PbLink { tsize, ..link(&name) }).collect();
            links.sort_by(|a, b| a.name.cmp(&b.name));
            PbNode { links, data: data.map(Bytes::from) }
        })
    }

    proptest! {
        #[test]
        fn a_node_survives_the_wire(node in arb_node()) {
            prop_assert_eq!(PbNode::decode(&node.encode()), Ok(node));
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_canonical(bytes: Vec<u8>) {
            if let Ok(node) = PbNode::decode(&bytes) {
                prop_assert_eq!(&node.encode()[..], &bytes[..]);
            }
        }

        #[test]
        fn a_damaged_node_is_refused_or_canonical(node in arb_node(), at: prop::sample::Index, bit in 0u8..8) {
            let mut bytes = node.encode().to_vec();
            prop_assume!(!bytes.is_empty());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(node) = PbNode::decode(&bytes) {
                prop_assert_eq!(&node.encode()[..], &bytes[..]);
            }
        }
    }

    #[test]
    fn data_before_links_is_refused() {
        let mut bytes = vec![];
        put_bytes(&mut bytes, 0x0a, b"x");
        bytes.extend_from_slice(&PbNode { links: vec![link("a")], data: None }.encode());
        assert!(matches!(PbNode::decode(&bytes), Err(DagPbRejection::Field { at: 3, key: 0x12, .. })));
    }

    #[test]
    fn unsorted_links_are_refused() {
        let node = PbNode { links: vec![link("b"), link("a")], data: None };
        assert_eq!(PbNode::decode(&node.encode()), Err(DagPbRejection::Order { link: 1 }));
    }

    #[test]
    fn each_kind_of_damage_has_its_own_reason() {
        assert_eq!(PbNode::decode(&[0x12, 0x80]), Err(DagPbRejection::Varint { at: 1 }));
        assert_eq!(PbNode::decode(&[0x0a, 0x81, 0x00]), Err(DagPbRejection::Varint { at: 1 }), "not minimal");
        assert_eq!(PbNode::decode(&[0x0a, 5, 1]), Err(DagPbRejection::Length { at: 2, length: 5, left: 1 }));
        assert_eq!(PbNode::decode(&[0x12, 0]), Err(DagPbRejection::NoHash { link: 0 }));
        assert!(matches!(PbNode::decode(&[0x12, 3, 0x0a, 1, 9]), Err(DagPbRejection::Cid { link: 0, .. })));
        assert!(matches!(PbNode::decode(&[0x1a, 0]), Err(DagPbRejection::Field { at: 0, key: 0x1a, .. })));
        let huge = vec![0; MAX_BLOCK_BYTES + 1];
        assert_eq!(PbNode::decode(&huge), Err(DagPbRejection::TooLarge { got: MAX_BLOCK_BYTES + 1 }));
    }
}
