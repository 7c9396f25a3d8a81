//! Pieces: a dataset cut into archives that fit sectors.
//!
//! 1. The blocks of a dataset are taken in depth-first pre-order, each once.
//! 2. A piece is one valid CARv1: a header whose root is the dataset's root, then a run of consecutive blocks. The next piece
//!    goes on where the last one ended; together they hold every block exactly once.
//! 3. A block goes into the current piece if the piece stays within its limit of unpadded bytes, else it opens the next one.
//!
//! So the cut follows from dataset and limit alone, and a provider that has the plain files can compute every piece, and its
//! CommP, without having received it. A piece never exists as a file: it is a list of segments, inline bytes (header,
//! framing, interior nodes) and ranges of plain files, found by binary search over their offsets.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cairn_protocol::{SectorSize, UnpaddedBytes};
use cairn_sector::pieces::{PieceCommitment, PieceHasher};
use cid::Cid;

use crate::block::CID_BYTES;
use crate::car;
use crate::dag::{Block, Place};
use crate::dataset::Dataset;
use crate::piece_proof::PieceGroups;
use crate::source::{ByteSource, FileSlice, ReadError, open_stamped, read_exact_at};
use crate::varint;

/// Bytes that [`PieceLayout::commitment`] reads at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Why a dataset cannot be cut into pieces of a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutRejection {
    /// A block does not fit even into an empty piece.
    #[error(
        "block {cid} needs a piece of {needed} bytes, but a piece has at most {max} unpadded bytes; \
         the smallest sector size that works for this dataset is {smallest}"
    )]
    BlockTooLarge {
        /// The first block that does not fit.
        cid: Cid,
        /// Bytes of a piece that holds this block alone.
        needed: u64,
        /// Bytes a piece may have.
        max: u64,
        /// The smallest sector size into which every block of the dataset fits.
        smallest: SectorSize,
    },
}

/// One piece of a dataset. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct PieceLayout {
    dataset: Arc<Dataset>,
    number: usize,
    blocks: Range<usize>,
    segments: Arc<[Segment]>,
    payload_bytes: u64,
}

#[derive(Debug)]
struct Segment {
    /// Offset within the piece.
    start: u64,
    bytes: SegmentBytes,
}

#[derive(Debug)]
enum SegmentBytes {
    Inline(Bytes),
    File { file: u32, offset: u64, len: u32 },
}

impl Segment {
    fn len(&self) -> u64 {
        match &self.bytes {
            SegmentBytes::Inline(bytes) => bytes.len() as u64,
            SegmentBytes::File { len, .. } => u64::from(*len),
        }
    }
}

/// Cuts `dataset` into pieces of at most `max` bytes.
pub(crate) fn plan(dataset: &Arc<Dataset>, max: UnpaddedBytes) -> Result<Vec<PieceLayout>, LayoutRejection> {
    let header = car::header(&[dataset.root()]);
    let mut pieces = Vec::new();
    let mut draft = Draft::new(0, &header);
    for (number, block) in dataset.dag_blocks().iter().enumerate() {
        let section = section_bytes(block);
        if header.len() as u64 + section > max.0 {
            return Err(too_large(dataset, block, header.len() as u64, max));
        }
        if draft.len + section > max.0 {
            let next = Draft::new(number, &header);
            let full = std::mem::replace(&mut draft, next);
            pieces.push(full.finish(dataset, pieces.len(), number));
        }
        draft.push(block);
    }
    pieces.push(draft.finish(dataset, pieces.len(), dataset.dag_blocks().len()));
    Ok(pieces)
}

/// Bytes of a block with its framing.
fn section_bytes(block: &Block) -> u64 {
    let content = CID_BYTES as u64 + u64::from(block.len);
    varint::len(content) + content
}

fn too_large(dataset: &Dataset, block: &Block, header: u64, max: UnpaddedBytes) -> LayoutRejection {
    let largest = dataset.dag_blocks().iter().map(section_bytes).max().unwrap_or_default();
    let fits = |size: &SectorSize| size.padded().to_unpadded().0 >= header + largest;
    let smallest = SectorSize::ALL.into_iter().filter(fits).min_by_key(|size| size.bytes());
    LayoutRejection::BlockTooLarge {
        cid: block.id.cid(),
        needed: header + section_bytes(block),
        max: max.0,
        smallest: smallest.expect("blocks are at most 2 MiB, and larger sector sizes exist"),
    }
}

/// A piece that is being filled.
struct Draft {
    first: usize,
    segments: Vec<Segment>,
    /// Inline bytes that are not a segment yet; they end at `len`.
    inline: Vec<u8>,
    len: u64,
}

impl Draft {
    fn new(first: usize, header: &[u8]) -> Draft {
        Draft { first, segments: Vec::new(), inline: header.to_vec(), len: header.len() as u64 }
    }

    fn push(&mut self, block: &Block) {
        let head = car::block_head(&block.id.cid_bytes(), u64::from(block.len));
        self.inline.extend_from_slice(&head);
        self.len += head.len() as u64;
        match &block.place {
            Place::Node(bytes) => {
                self.inline.extend_from_slice(bytes);
                self.len += bytes.len() as u64;
            }
            Place::Leaf { .. } if block.len == 0 => {}
            Place::Leaf { file, leaf } => {
                self.flush();
                let offset = u64::from(*leaf) * crate::block::LEAF_BYTES;
                let bytes = SegmentBytes::File { file: *file, offset, len: block.len };
                self.segments.push(Segment { start: self.len, bytes });
                self.len += u64::from(block.len);
            }
        }
    }

    fn flush(&mut self) {
        if !self.inline.is_empty() {
            let bytes = Bytes::from(std::mem::take(&mut self.inline).into_boxed_slice());
            let start = self.len - bytes.len() as u64;
            self.segments.push(Segment { start, bytes: SegmentBytes::Inline(bytes) });
        }
    }

    fn finish(mut self, dataset: &Arc<Dataset>, number: usize, end: usize) -> PieceLayout {
        self.flush();
        PieceLayout {
            dataset: Arc::clone(dataset),
            number,
            blocks: self.first..end,
            segments: self.segments.into(),
            payload_bytes: self.len,
        }
    }
}

impl PieceLayout {
    /// Position of the piece among the pieces of its dataset.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Length of the archive in bytes, without the zeros that fill it up to a piece size.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// The dataset.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }

    /// Positions, in [`Dataset::blocks`], of the blocks in this piece.
    pub fn blocks(&self) -> Range<usize> {
        self.blocks.clone()
    }

    /// The same piece over an equal dataset, whose files have other stamps or stand elsewhere.
    pub(crate) fn over(&self, dataset: &Arc<Dataset>) -> PieceLayout {
        PieceLayout { dataset: Arc::clone(dataset), ..self.clone() }
    }

    /// A reader over the whole piece.
    pub fn reader(&self) -> PieceReader {
        PieceReader { layout: self.clone(), position: 0, open: None }
    }

    /// Reads the piece once and gives its CommP.
    pub fn commitment(&self) -> Result<PieceCommitment, ReadError> {
        let mut hasher = PieceHasher::new();
        let mut reader = self.reader();
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let count = reader.read_some(&mut buffer)?;
            if count == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(&buffer[..count]);
        }
    }

    /// Reads the piece once and gives the roots of its groups, from which CommP and proofs follow; nothing if it is larger
    /// than the largest sector.
    pub fn groups(&self) -> Result<Option<PieceGroups>, ReadError> {
        let mut reader = self.reader();
        PieceGroups::read(&mut reader).map_err(|error| {
            let path = self.dataset.base().to_owned();
            // The reader's own error is inside; anything else is the system's.
            match error.downcast::<ReadError>() {
                Ok(error) => error,
                Err(error) => ReadError::io(&path, error),
            }
        })
    }

    /// What lies at `range`, in order: inline bytes and ranges of plain files. Bytes beyond the payload are left out.
    pub fn segments_in(&self, range: Range<u64>) -> impl Iterator<Item = ByteSource> + '_ {
        let end = range.end.min(self.payload_bytes);
        let first = if range.start < end { self.segment_at(range.start) } else { self.segments.len() };
        let wanted = self.segments[first..].iter().take_while(move |segment| segment.start < end);
        wanted.map(move |segment| {
            let from = range.start.saturating_sub(segment.start);
            let to = segment.len().min(end - segment.start);
            match &segment.bytes {
                SegmentBytes::Inline(bytes) => ByteSource::Inline(bytes.slice(from as usize..to as usize)),
                SegmentBytes::File { file, offset, .. } => {
                    ByteSource::File(self.dataset.leaf_slice(*file, offset + from, to - from))
                }
            }
        })
    }

    /// The segment that holds the byte at `offset`, which must be below the payload's length.
    fn segment_at(&self, offset: u64) -> usize {
        self.segments.partition_point(|segment| segment.start <= offset) - 1
    }
}

/// Reads a piece from memory and plain files. Keeps one file open at a time; each is checked against its stamp when it is
/// opened. An error of the `Read` implementation carries a [`ReadError`].
#[derive(Debug)]
pub struct PieceReader {
    layout: PieceLayout,
    position: u64,
    open: Option<(u32, FileSlice, File)>,
}

impl PieceReader {
    /// Reads at the current position: at least one byte unless `buffer` is empty or the piece has ended.
    pub fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        if buffer.is_empty() || self.position >= self.layout.payload_bytes {
            return Ok(0);
        }
        let segments = Arc::clone(&self.layout.segments);
        let segment = &segments[self.layout.segment_at(self.position)];
        let from = self.position - segment.start;
        let count = (segment.len() - from).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..count];
        match &segment.bytes {
            SegmentBytes::Inline(bytes) => buffer.copy_from_slice(&bytes[from as usize..from as usize + count]),
            SegmentBytes::File { file, offset, .. } => {
                let (slice, open) = self.file(*file)?;
                read_exact_at(open, &slice.path, offset + from, buffer)?;
            }
        }
        self.position += count as u64;
        Ok(count)
    }

    fn file(&mut self, file: u32) -> Result<(&FileSlice, &File), ReadError> {
        if self.open.as_ref().is_none_or(|(open, ..)| *open != file) {
            let slice = self.layout.dataset.slice(&self.layout.dataset.files()[file as usize]);
            let opened = open_stamped(&slice.path, &slice.stamp)?;
            self.open = Some((file, slice, opened));
        }
        let (_, slice, opened) = self.open.as_ref().expect("it was just opened");
        Ok((slice, opened))
    }
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(io::Error::other)
    }
}

impl Seek for PieceReader {
    /// Seeking beyond the end is allowed; reading there gives nothing.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => self.layout.payload_bytes.checked_add_signed(delta),
        };
        let message = "expected a position within 0 and 2^64";
        self.position = target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, message))?;
        Ok(self.position)
    }
}
