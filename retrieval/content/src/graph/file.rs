//! Bytes of a file, at any offset, through its tree.

use bytes::Bytes;
use cid::Cid;

use super::node::{Node, load_node};
use super::{Blocks, GraphError};

/// Deepest tree of one file.
const DEPTH_MAX: usize = 64;

/// A file of any tree. It holds the blocks between the root and the last leaf that was read, and nothing else.
pub struct DagFile<B> {
    blocks: B,
    root: Cid,
    size: u64,
    /// From the root down; each lies within the one before.
    path: Vec<Span>,
}

/// A block, and which bytes of the file it stands for.
struct Span {
    start: u64,
    end: u64,
    /// Bytes of its own, at its start.
    data: Bytes,
    /// CIDs, and where each ends.
    parts: Vec<(Cid, u64)>,
}

impl<B: Blocks> DagFile<B> {
    /// Opens a file; nothing if the block is no file.
    ///
    /// # Errors
    /// Its first block is missing, unreadable or malformed.
    pub fn open(blocks: B, root: &Cid) -> Result<Option<Self>, GraphError> {
        let Some(span) = span(&blocks, root, 0)? else { return Ok(None) };
        Ok(Some(Self { blocks, root: *root, size: span.end, path: vec![span] }))
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads up to `buffer.len()` bytes at `offset`; none means the end.
    ///
    /// # Errors
    /// A block is missing, unreadable, malformed, or of another size than the link to it says.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, GraphError> {
        if offset >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        self.path.retain(|span| span.start <= offset && offset < span.end);
        if self.path.is_empty() {
            self.path.extend(span(&self.blocks, &self.root, 0)?);
        }
        loop {
            let here = self.path.last().expect("the root covers every offset of the file");
            let within = (offset - here.start) as usize;
            if let Some(bytes) = here.data.get(within..).filter(|bytes| !bytes.is_empty()) {
                let count = bytes.len().min(buffer.len());
                buffer[..count].copy_from_slice(&bytes[..count]);
                return Ok(count);
            }
            let number = here.parts.partition_point(|(_, end)| *end <= offset);
            let (cid, end) = here.parts[number];
            let start = if number == 0 { here.start + here.data.len() as u64 } else { here.parts[number - 1].1 };
            let malformed = |reason: String| GraphError::Malformed { cid, reason };
            let next = span(&self.blocks, &cid, start)?.ok_or_else(|| malformed("expected a part of a file".into()))?;
            if next.end != end {
                let (expected, got) = (end - start, next.end - start);
                return Err(malformed(format!("expected {expected} bytes of a file, got {got}")));
            }
            if self.path.len() == DEPTH_MAX {
                return Err(GraphError::Limit { what: "levels of a file", limit: DEPTH_MAX });
            }
            self.path.push(next);
        }
    }
}

fn span(blocks: &dyn Blocks, cid: &Cid, start: u64) -> Result<Option<Span>, GraphError> {
    let overflow = || GraphError::Malformed { cid: *cid, reason: "its size exceeds 64 bits".into() };
    match load_node(blocks, cid)? {
        Node::Raw(data) => {
            let end = start.checked_add(data.len() as u64).ok_or_else(overflow)?;
            Ok(Some(Span { start, end, data, parts: Vec::new() }))
        }
        Node::File(file) => {
            let end = start.checked_add(file.size).ok_or_else(overflow)?;
            let mut at = start + file.data.len() as u64;
            let place = |(cid, size): (Cid, u64)| {
                at += size;
                (cid, at)
            };
            let parts = file.parts.into_iter().map(place).collect();
            Ok(Some(Span { start, end, data: file.data, parts }))
        }
        _ => Ok(None),
    }
}
