//! One range of a dataset from one source, verified, and how long it took: what a reader does, and a checker measures.
//!
//! 1. [`DatasetOutline::fetch`] walks the interior nodes: from then on every leaf of the dataset has a name. An outline is
//!    the same from any source.
//! 2. [`DatasetOutline::fetch_range`] asks for the leaves around a range, checks each against its CID, and hashes the
//!    range. The source is asked once, over a connection of its own, and nothing is tried again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cid::Cid;
use sha2::{Digest, Sha256};

use super::download::{check_part, request_path};
use super::error::{FetchError, SourceFault};
use super::http::{self, Part, Reply};
use super::plan::FilePlan;
use super::pool::SourcePool;
use super::url::SourceUrl;
use super::walk;
use super::{FetchOptions, FetchRequest};
use crate::tls::TlsTrust;

/// What a root CID names: files, and the names of their leaves.
#[derive(Debug, Clone)]
pub struct DatasetOutline {
    root: Cid,
    files: Vec<FilePlan>,
    bytes: u64,
}

/// A range that came, and is the dataset's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedRange {
    /// SHA-256 of the range.
    pub sha256: [u8; 32],
    /// Bytes that came for it: the leaves around it.
    pub bytes: u64,
    /// From the request to the head of the answer.
    pub first_byte: Duration,
    /// From the request to the last byte.
    pub total: Duration,
}

impl DatasetOutline {
    /// Learns the dataset from one source. Nothing is tried again.
    ///
    /// # Errors
    /// [`FetchError`]: the source's fault, or a root that names no dataset within the limits.
    pub async fn fetch(root: Cid, source: &SourceUrl, stall: Duration) -> Result<Self, FetchError> {
        let options = FetchOptions { retries: 0, stall, ..FetchOptions::default() };
        let sources = vec![source.clone()];
        options.check(&sources)?;
        let pool = Arc::new(SourcePool::new(&sources, options.clone()));
        let (path, dest, progress) = (String::new(), Default::default(), None);
        let selected = walk::walk(&pool, &FetchRequest { root, path, sources, dest, options, progress }).await?;
        let sizes = selected.files.iter().map(|file| file.bytes);
        let bytes = sizes.fold(0, u64::saturating_add);
        Ok(Self { root, files: selected.files, bytes })
    }

    /// The root.
    pub fn root(&self) -> Cid {
        self.root
    }

    /// Sum of the sizes of its files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file that holds byte `offset` of all files one after the other, and where in it that is.
    fn locate(&self, offset: u64) -> Option<(&FilePlan, u64)> {
        let mut before = 0;
        for file in &self.files {
            if offset - before < file.bytes {
                return Some((file, offset - before));
            }
            before += file.bytes;
        }
        None
    }

    /// Fetches `length` bytes from byte `offset` of all files one after the other, or up to the end of the file they are
    /// in.
    ///
    /// # Errors
    /// What the source did wrong.
    ///
    /// # Panics
    /// If there is no such byte, or no byte is asked for: the caller's mistake.
    pub async fn fetch_range(
        &self,
        offset: u64,
        length: u64,
        source: &SourceUrl,
        stall: Duration,
    ) -> Result<VerifiedRange, SourceFault> {
        assert!(length > 0, "a range of nothing");
        let (file, start) = self.locate(offset).expect("an offset in the dataset");
        let end = start.saturating_add(length).min(file.bytes);
        let leaf_bytes = cairn_content::LEAF_BYTES;
        let leaves = (start / leaf_bytes) as usize..end.div_ceil(leaf_bytes) as usize;
        let (first, last) = (file.leaf(leaves.start).offset, file.leaf(leaves.end - 1).end() - 1);
        let path = request_path(&format!("/data/{}", self.root), &file.path);
        let asked = Instant::now();
        let mut reply = http::get(None, source, &path, Part::Closed(first, last), &TlsTrust::default(), stall).await?;
        let first_byte = asked.elapsed();
        reply.check_status(&path).await?;
        check_part(&reply, &path, first, last, file.bytes)?;
        let (mut hash, mut body) = (Sha256::new(), Vec::new());
        for index in leaves {
            let leaf = file.leaf(index);
            let rest = read_at_least(&mut reply, &mut body, leaf.bytes as usize).await?;
            let bytes = std::mem::replace(&mut body, rest);
            leaf.matches(&bytes).map_err(|got| SourceFault::BadLeaf {
                file: file.path.clone(),
                leaf: index,
                expected: leaf.cid(),
                got: got.cid(),
            })?;
            let within = |byte: u64| (byte.clamp(leaf.offset, leaf.end()) - leaf.offset) as usize;
            hash.update(&bytes[within(start)..within(end)]);
        }
        let (sha256, bytes, total) = (hash.finalize().into(), last + 1 - first, asked.elapsed());
        Ok(VerifiedRange { sha256, bytes, first_byte, total })
    }
}

/// Reads on until `body` has `count` bytes, and returns what came beyond them.
async fn read_at_least(reply: &mut Reply, body: &mut Vec<u8>, count: usize) -> Result<Vec<u8>, SourceFault> {
    while body.len() < count {
        match reply.chunk().await? {
            Some(chunk) => body.extend_from_slice(&chunk),
            None => return Err(SourceFault::Broken { reason: "the body ended early".to_owned() }),
        }
    }
    Ok(body.split_off(count))
}
