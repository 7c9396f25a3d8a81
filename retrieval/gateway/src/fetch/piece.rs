//! Fetching a whole piece.
//!
//! A piece is named by its commitment alone, so nothing can be said about any byte before the last one is there. Hence:
//!
//! 1. Bytes are appended to a partial file and to the commitment's hasher at the same time.
//! 2. A broken connection continues at the next byte, from any source. After a restart the partial file is hashed again
//!    first.
//! 3. At the end the commitment decides. If it is wrong and all bytes came from one source, that source is avoided. If they
//!    came from several, or from before a restart, nobody can be blamed: everything is fetched again, this time never
//!    mixing sources.
//! 4. Only a piece with the right commitment (and, for a version 2 PieceCID, the right length) gets its final name.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use cairn_protocol::{PieceCid, UnpaddedBytes, parse_piece_cid};
use cairn_sector::pieces::{PieceCommitment, PieceHasher};
use cid::Cid;
use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE};

use super::download::blocking;
use super::error::{FetchError, FetchRejection, SourceFault};
use super::http::{Part, Reply};
use super::pool::SourcePool;
use super::target::sync_dir;
use super::{FetchOptions, Progress, ProgressFn, SourceFailure, SourceUrl};
use crate::range::parse_content_range;

/// Bytes that are hashed and written at once.
const BLOCK_BYTES: usize = 1 << 20;
/// Bytes after which an attempt counts as progress.
const PROGRESS_BYTES: u64 = 16 << 10;

/// Which piece to fetch, from where, to where.
#[derive(Clone)]
pub struct PieceRequest {
    /// PieceCID of version 1 or 2.
    pub cid: Cid,
    /// Gateways that hold the piece.
    pub sources: Vec<SourceUrl>,
    /// Final path of the file.
    pub dest: PathBuf,
    /// How; `parallel` and `range_bytes` have no meaning here, because a piece is one stream.
    pub options: FetchOptions,
    /// Sees the progress, in bytes received; they are verified together at the end.
    pub progress: Option<ProgressFn>,
}

/// What a piece fetch brought.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PieceReport {
    /// The commitment of the file, recomputed from its bytes.
    pub commitment: PieceCommitment,
    /// Bytes that came over the network.
    pub bytes_fetched: u64,
    /// Whether it was there already, complete and correct.
    pub kept: bool,
    /// Sources that were avoided from some moment on, and why.
    pub avoided: Vec<SourceFailure>,
}

/// Who contributed to the partial file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    EarlierRun,
    Source(usize),
}

/// The partial file and its running commitment.
struct Partial {
    path: PathBuf,
    file: File,
    hasher: PieceHasher,
    bytes: u64,
    origins: BTreeSet<Origin>,
}

struct PieceFetch {
    asked: PieceCid,
    path: String,
    bytes_max: u64,
    pool: SourcePool,
    progress: Option<ProgressFn>,
    /// Set after a mix of sources gave a wrong piece: from then on a partial file belongs to one source.
    unmixed: bool,
    fetched: u64,
}

/// What the commitment says.
enum Verdict {
    Right(Partial, PieceCommitment),
    /// The emptied file, and the fault if one source is to blame.
    Wrong(Partial, Option<SourceFault>),
}

enum Failure {
    Fault(SourceFault),
    Fatal(FetchError),
}

impl From<SourceFault> for Failure {
    fn from(fault: SourceFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Fatal(error)
    }
}

/// Fetches a piece and checks its commitment. Runs on the current tokio runtime.
///
/// # Errors
/// [`FetchError`]. The bytes received stay in `.NAME.cairn-piece-…` beside the destination, and the same call continues
/// with them. Nothing unverified has the final name.
pub async fn fetch_piece(request: &PieceRequest) -> Result<PieceReport, FetchError> {
    request.options.check(&request.sources)?;
    let cid = request.cid;
    let asked = parse_piece_cid(&cid).map_err(|error| FetchRejection::NotAPiece { cid, reason: error.to_string() })?;
    let bytes_max = request.options.bytes_max;
    if let Some(size) = asked.size.filter(|size| size.payload_bytes > bytes_max) {
        return Err(
            FetchRejection::TooLarge { what: "the piece".into(), max: bytes_max, got: size.payload_bytes }.into()
        );
    }
    let (dest, overwrite) = (request.dest.clone(), request.options.overwrite);
    if let Some(commitment) = blocking(move || existing(&dest, &asked, overwrite)).await?? {
        return Ok(PieceReport { commitment, bytes_fetched: 0, kept: true, avoided: Vec::new() });
    }
    let path = partial_path(&request.dest, &asked);
    let partial = blocking(move || Partial::open(path, &asked)).await??;
    let mut fetch = PieceFetch {
        asked,
        path: format!("/piece/{cid}"),
        bytes_max,
        pool: SourcePool::new(&request.sources, request.options.clone()),
        progress: request.progress.clone(),
        unmixed: false,
        fetched: 0,
    };
    let (partial, commitment) = fetch.run(partial).await?;
    let dest = request.dest.clone();
    blocking(move || put_in_place(&partial, &dest)).await??;
    Ok(PieceReport { commitment, bytes_fetched: fetch.fetched, kept: false, avoided: fetch.pool.avoided() })
}

impl PieceFetch {
    async fn run(&mut self, mut partial: Partial) -> Result<(Partial, PieceCommitment), FetchError> {
        let mut attempts = self.pool.attempts();
        loop {
            let owner = partial.only_source().filter(|_| self.unmixed);
            let index = self.pool.next(&attempts, owner, "the piece").await?.index;
            if owner.is_some_and(|owner| owner != index) {
                partial = partial.emptied().await?;
            }
            let before = self.fetched;
            let (back, ended) = self.attempt(partial, index).await?;
            let fault = match ended {
                Err(fault) => {
                    partial = back;
                    Some(fault)
                }
                Ok(()) => match self.judge(back).await? {
                    Verdict::Right(partial, commitment) => return Ok((partial, commitment)),
                    Verdict::Wrong(emptied, fault) => {
                        partial = emptied;
                        fault
                    }
                },
            };
            if self.fetched - before >= PROGRESS_BYTES {
                attempts.progressed(index);
            }
            if let Some(fault) = fault {
                self.pool.failed(&mut attempts, index, fault);
            }
        }
    }

    /// One request from the next missing byte to the end. The partial file comes back with what was received.
    async fn attempt(
        &mut self,
        partial: Partial,
        index: usize,
    ) -> Result<(Partial, Result<(), SourceFault>), FetchError> {
        let mut slot = Some(partial);
        let ended = match self.stream(&mut slot, index).await {
            Ok(()) => Ok(()),
            Err(Failure::Fault(fault)) => Err(fault),
            Err(Failure::Fatal(error)) => return Err(error),
        };
        Ok((slot.expect("the partial file is only away while it is written"), ended))
    }

    async fn stream(&mut self, slot: &mut Option<Partial>, index: usize) -> Result<(), Failure> {
        let offset = slot.as_ref().map_or(0, |partial| partial.bytes);
        if self.asked.size.is_some_and(|size| size.payload_bytes == offset) {
            return Ok(());
        }
        let part = if offset == 0 { Part::Whole } else { Part::From(offset) };
        let mut reply = self.pool.get(index, &self.path, part).await?;
        let total = self.check_total(&reply, offset)?;
        let mut left = total - offset;
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let ended = loop {
            if left == 0 {
                break Ok(());
            }
            let chunk = match reply.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break Err(SourceFault::Broken { reason: format!("the body ended {left} bytes early") }),
                Err(fault) => break Err(fault),
            };
            let taken = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            left -= taken as u64;
            block.extend_from_slice(&chunk[..taken]);
            if block.len() >= BLOCK_BYTES {
                block = self.append(slot, index, block, total).await?;
            }
        };
        self.append(slot, index, block, total).await?;
        ended?;
        self.pool.give_back(index, reply);
        Ok(())
    }

    async fn append(
        &mut self,
        slot: &mut Option<Partial>,
        index: usize,
        block: Vec<u8>,
        total: u64,
    ) -> Result<Vec<u8>, FetchError> {
        if block.is_empty() {
            return Ok(block);
        }
        let mut partial = slot.take().expect("one write at a time");
        let (partial, mut block) = blocking(move || {
            partial.append(&block, Origin::Source(index))?;
            Ok::<_, FetchError>((partial, block))
        })
        .await??;
        self.fetched += block.len() as u64;
        self.pool.count(index, block.len() as u64);
        if let Some(progress) = &self.progress {
            progress(Progress { verified_bytes: partial.bytes, total_bytes: total });
        }
        *slot = Some(partial);
        block.clear();
        Ok(block)
    }

    /// Bytes of the whole piece as the answer says, checked against all that is known.
    fn check_total(&self, reply: &Reply, offset: u64) -> Result<u64, SourceFault> {
        let target = || self.path.clone();
        let mismatch = |problem: String| SourceFault::Mismatch { target: target(), problem };
        let text = |name| reply.headers.get(name).and_then(|value: &hyper::header::HeaderValue| value.to_str().ok());
        let total = match reply.status {
            StatusCode::OK if offset > 0 => return Err(SourceFault::RangeIgnored { target: target() }),
            StatusCode::OK => text(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            _ => text(CONTENT_RANGE).and_then(|header| match parse_content_range(header.as_bytes()) {
                Some((range, total)) if range.first == offset && range.last + 1 == total => Some(total),
                _ => None,
            }),
        };
        let total: u64 = total.ok_or_else(|| mismatch(format!("no length that fits a request from byte {offset}")))?;
        match self.asked.size {
            Some(size) if size.payload_bytes != total => {
                Err(mismatch(format!("{total} bytes; expected {}", size.payload_bytes)))
            }
            _ if total > self.bytes_max => {
                Err(mismatch(format!("{total} bytes; at most {} are allowed", self.bytes_max)))
            }
            _ if UnpaddedBytes::piece_for(total).is_none() => {
                Err(mismatch(format!("{total} bytes, more than any piece")))
            }
            _ => Ok(total),
        }
    }

    /// The commitment decides. A wrong piece is emptied.
    async fn judge(&mut self, partial: Partial) -> Result<Verdict, FetchError> {
        let hasher = partial.hasher.clone();
        let commitment = blocking(move || hasher.finish()).await?;
        if commitment.comm_p == self.asked.comm_p {
            return Ok(Verdict::Right(partial, commitment));
        }
        self.unmixed = true;
        let fault = SourceFault::BadPiece { expected: self.asked.comm_p, got: commitment.comm_p };
        let culprit = partial.only_source();
        match culprit {
            Some(index) => tracing::warn!(source = %self.pool.url(index), %fault, "the piece is wrong"),
            None => tracing::warn!(%fault, "the piece is wrong and has no single source; it is fetched again"),
        }
        // Without any byte there is no source to blame, but asking again would change nothing either.
        let blamed = culprit.is_some() || partial.origins.is_empty();
        Ok(Verdict::Wrong(partial.emptied().await?, blamed.then_some(fault)))
    }
}

impl Partial {
    /// Opens a partial file and hashes what is there. Blocks.
    fn open(path: PathBuf, asked: &PieceCid) -> Result<Self, FetchError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(FetchError::disk("create", folder))?;
        }
        let file = File::options().read(true).append(true).create(true).open(&path);
        let file = file.map_err(FetchError::disk("create", &path))?;
        let mut partial = Self { path, file, hasher: PieceHasher::new(), bytes: 0, origins: BTreeSet::new() };
        let found = partial.file.metadata().map_err(FetchError::disk("read", &partial.path))?.len();
        let useful = match asked.size {
            Some(size) => found.min(size.payload_bytes),
            // Without a length a complete file looks like an incomplete one; asking for its last byte again is always a
            // valid request.
            None => found.saturating_sub(1),
        };
        partial.file.set_len(useful).map_err(FetchError::disk("cut", &partial.path))?;
        partial.hash_content().map_err(FetchError::disk("read", &partial.path))?;
        if partial.bytes > 0 {
            partial.origins.insert(Origin::EarlierRun);
        }
        Ok(partial)
    }

    fn hash_content(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; BLOCK_BYTES];
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(()),
                count => {
                    self.hasher.update(&buffer[..count]);
                    self.bytes += count as u64;
                }
            }
        }
    }

    fn append(&mut self, block: &[u8], origin: Origin) -> Result<(), FetchError> {
        self.file.write_all(block).map_err(FetchError::disk("write", &self.path))?;
        self.hasher.update(block);
        self.bytes += block.len() as u64;
        self.origins.insert(origin);
        Ok(())
    }

    /// The source of all bytes, if there is exactly one.
    fn only_source(&self) -> Option<usize> {
        match (self.origins.len(), self.origins.first()) {
            (1, Some(Origin::Source(index))) => Some(*index),
            _ => None,
        }
    }

    async fn emptied(self) -> Result<Self, FetchError> {
        let Self { path, file, .. } = self;
        blocking(move || {
            file.set_len(0).map_err(FetchError::disk("cut", &path))?;
            Ok(Self { path, file, hasher: PieceHasher::new(), bytes: 0, origins: BTreeSet::new() })
        })
        .await?
    }
}

/// The commitment of what is at the destination already, if it is the piece. Blocks.
fn existing(dest: &Path, asked: &PieceCid, overwrite: bool) -> Result<Option<PieceCommitment>, FetchError> {
    let mut file = match File::open(dest) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FetchError::disk("open", dest)(error)),
    };
    let mut hasher = PieceHasher::new();
    let mut buffer = vec![0; BLOCK_BYTES];
    loop {
        match file.read(&mut buffer).map_err(FetchError::disk("read", dest))? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let found = hasher.finish();
    if found.comm_p == asked.comm_p && asked.size.is_none_or(|size| size.payload_bytes == found.payload_bytes) {
        return Ok(Some(found));
    }
    if overwrite {
        return Ok(None);
    }
    let difference = format!("it has CommP {} and {} bytes", found.comm_p, found.payload_bytes);
    Err(FetchRejection::Exists { path: dest.to_owned(), difference }.into())
}

fn partial_path(dest: &Path, asked: &PieceCid) -> PathBuf {
    let name: String = dest.file_name().unwrap_or_default().to_string_lossy().chars().take(60).collect();
    let parent = dest.parent().unwrap_or(Path::new(""));
    parent.join(format!(".{name}.cairn-piece-{}", asked.comm_p))
}

fn put_in_place(partial: &Partial, dest: &Path) -> Result<(), FetchError> {
    partial.file.sync_all().map_err(FetchError::disk("sync", &partial.path))?;
    fs::rename(&partial.path, dest).map_err(FetchError::disk("put in place", dest))?;
    sync_dir(dest.parent().unwrap_or(Path::new("")))
}
