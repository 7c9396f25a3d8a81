//! CARv1: blocks in a row, with a header in front.
//!
//! ```text
//! archive = section(header) section(block)…
//! section = varint(length) bytes
//! header  = DAG-CBOR { "roots": [CID…], "version": 1 }
//! block   = CID data
//! ```
//!
//! The writer is two functions of framing and a thin [`CarWriter`] over them. The reader is strict and streaming: it holds
//! one block at a time, checks every block against its CID, knows version 1 only, and accepts CIDv1 with SHA-256 only.
//! A piece that comes out of a sector is followed by zeros up to its padded size; [`Trailing::ZeroPadding`] accepts exactly
//! that and nothing else.

use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use cid::Cid;
use serde::{Deserialize, Serialize};

use crate::block::{BlockRejection, CID_BYTES, MAX_BLOCK_BYTES, verify_block};
use crate::varint;

const VERSION: u64 = 1;

/// Most bytes of a CID of any kind: three numbers, and a digest of at most 64 bytes with its length.
const FOREIGN_CID_BYTES: u64 = 100;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    roots: Vec<Cid>,
    version: u64,
}

/// The header section with its length in front.
pub(crate) fn header(roots: &[Cid]) -> Vec<u8> {
    let header = Header { roots: roots.to_vec(), version: VERSION };
    let body = serde_ipld_dagcbor::to_vec(&header).expect("a list of CIDs and a number can be encoded");
    let mut out = Vec::with_capacity(body.len() + 2);
    varint::put(&mut out, body.len() as u64);
    out.extend_from_slice(&body);
    out
}

/// What stands before the data of a block: length and CID.
pub(crate) fn block_head(cid_bytes: &[u8], data_bytes: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(cid_bytes.len() + 4);
    varint::put(&mut out, cid_bytes.len() as u64 + data_bytes);
    out.extend_from_slice(cid_bytes);
    out
}

/// A header with one root, as it stands in an archive.
pub fn header_section(root: &Cid) -> Vec<u8> {
    header(std::slice::from_ref(root))
}

/// A block as it stands in an archive: length, CID, data.
pub fn block_section(cid: &Cid, data: &[u8]) -> Vec<u8> {
    let mut section = block_head(&cid.to_bytes(), data.len() as u64);
    section.extend_from_slice(data);
    section
}

/// Writes an archive.
#[derive(Debug)]
pub struct CarWriter<W: Write> {
    writer: W,
}

impl<W: Write> CarWriter<W> {
    /// Starts an archive with the given roots.
    pub fn new(mut writer: W, roots: &[Cid]) -> io::Result<CarWriter<W>> {
        writer.write_all(&header(roots))?;
        Ok(CarWriter { writer })
    }

    /// Appends a block. The caller vouches for the CID.
    pub fn write(&mut self, cid: &Cid, data: &[u8]) -> io::Result<()> {
        self.writer.write_all(&block_head(&cid.to_bytes(), data.len() as u64))?;
        self.writer.write_all(data)
    }

    /// Flushes and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.flush()?;
        Ok(self.writer)
    }
}

/// What may follow the last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trailing {
    /// Nothing: the stream ends.
    Nothing,
    /// Nothing, or zero bytes up to the end of the stream.
    ZeroPadding,
}

/// Bounds of what a reader accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarLimits {
    /// Most bytes of a header. Default: 4 KiB, about a hundred roots.
    pub header_bytes: u64,
    /// Most bytes of a block's data. Default: 2 MiB.
    pub block_bytes: u64,
    /// What may follow the last block. Default: nothing.
    pub trailing: Trailing,
}

impl Default for CarLimits {
    fn default() -> CarLimits {
        CarLimits { header_bytes: 4096, block_bytes: MAX_BLOCK_BYTES as u64, trailing: Trailing::Nothing }
    }
}

/// Why an archive could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarError {
    /// The archive is wrong. Retrying with the same bytes does not help.
    #[error(transparent)]
    Rejected(#[from] CarRejection),
    /// The stream failed. Retrying helps if the source comes back.
    #[error("cannot read the archive: {0}")]
    Io(#[from] io::Error),
}

/// What is wrong with an archive. `at` is a byte offset within it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CarRejection {
    /// It ends in the middle of something.
    #[error("archive byte {at}: the archive ends within {what}")]
    Truncated {
        /// Where it ended, or where the thing begins that is cut off.
        at: u64,
        /// What was being read.
        what: &'static str,
    },
    /// A length that is not a minimal varint of at most 64 bits.
    #[error("archive byte {at}: expected a minimal varint")]
    Varint {
        /// Where the length begins.
        at: u64,
    },
    /// A header or block beyond the limits.
    #[error("archive byte {at}: {what} of {got} bytes; expected at most {limit}")]
    TooLarge {
        /// Where the section begins.
        at: u64,
        /// Header or block.
        what: &'static str,
        /// Its length.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// A header that is not canonical, or of another version.
    #[error("the archive's header is not one of CARv1: {reason}")]
    Header {
        /// What is wrong with it.
        reason: String,
    },
    /// A section of no bytes where blocks are expected, or padding that is not zero.
    #[error("archive byte {at}: expected {expected}, got 0x{got:02x}")]
    Padding {
        /// Where.
        at: u64,
        /// What may stand there.
        expected: &'static str,
        /// What stands there.
        got: u8,
    },
    /// A section that does not begin with a CIDv1 of SHA-256.
    #[error("archive byte {at}: {reason}")]
    Cid {
        /// Where the section begins.
        at: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A block that does not match its CID.
    #[error("archive byte {at}: {reason}")]
    Block {
        /// Where the section begins.
        at: u64,
        /// What is wrong with it.
        reason: BlockRejection,
    },
}

/// A block, checked against its CID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarBlock {
    /// Its name.
    pub cid: Cid,
    /// Its bytes.
    pub data: Bytes,
    /// Where `data` begins in the archive.
    pub offset: u64,
}

/// Where a block's data stands in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// The block's name, not checked yet.
    pub cid: Cid,
    /// Where its data begins.
    pub offset: u64,
    /// Bytes of data.
    pub len: u64,
}

/// Reads an archive, block by block.
///
/// Either call [`CarReader::next_block`] until it gives nothing, or call [`CarReader::next_section`] and, for each section,
/// [`CarReader::read_data`] or [`CarReader::skip_data`]. After an error the reader is spent.
#[derive(Debug)]
pub struct CarReader<R> {
    reader: R,
    limits: CarLimits,
    roots: Vec<Cid>,
    at: u64,
    /// Section whose data has not been read or skipped.
    open: Option<Section>,
}

impl<R: Read> CarReader<R> {
    /// Reads the header. `reader` is read in small steps, so it should be buffered.
    pub fn new(reader: R, limits: CarLimits) -> Result<CarReader<R>, CarError> {
        let mut car = CarReader { reader, limits, roots: Vec::new(), at: 0, open: None };
        let length = car.varint("the header")?.ok_or(CarRejection::Truncated { at: 0, what: "the header" })?;
        if length > limits.header_bytes {
            let (what, limit) = ("header", limits.header_bytes);
            return Err(CarRejection::TooLarge { at: 0, what, got: length, limit }.into());
        }
        let mut body = vec![0; length as usize];
        car.fill(&mut body, "the header")?;
        car.roots = parse_header(&body).map_err(|reason| CarRejection::Header { reason })?;
        Ok(car)
    }

    /// Roots in the header.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// The next block, or nothing at the end.
    pub fn next_block(&mut self) -> Result<Option<CarBlock>, CarError> {
        let Some(section) = self.next_section()? else { return Ok(None) };
        let data = self.read_data()?;
        Ok(Some(CarBlock { cid: section.cid, data, offset: section.offset }))
    }

    /// The next block under any CID that the format allows (version 0, any codec, any hash), or nothing at the end. It is
    /// not checked: which hashes can be is the caller's affair.
    pub fn next_foreign(&mut self) -> Result<Option<CarBlock>, CarError> {
        let at = self.at;
        let Some(length) = self.section_length(FOREIGN_CID_BYTES)? else { return Ok(None) };
        let mut section = vec![0; length as usize];
        self.fill(&mut section, "a block")?;
        let mut rest = &section[..];
        let cid = Cid::read_bytes(&mut rest).map_err(|error| CarRejection::Cid { at, reason: error.to_string() })?;
        let offset = self.at - rest.len() as u64;
        let data = Bytes::copy_from_slice(rest);
        Ok(Some(CarBlock { cid, data, offset }))
    }

    /// Where a section begins: how many bytes name and data have, or nothing at the end.
    fn section_length(&mut self, cid_bytes: u64) -> Result<Option<u64>, CarError> {
        assert!(self.open.is_none(), "the data of the last section was neither read nor skipped");
        let at = self.at;
        let length = match self.varint("a length")? {
            None => return Ok(None),
            Some(0) => return self.padding(at).map(|()| None),
            Some(length) => length,
        };
        let limit = self.limits.block_bytes + cid_bytes;
        if length > limit {
            return Err(CarRejection::TooLarge { at, what: "section", got: length, limit }.into());
        }
        Ok(Some(length))
    }

    /// The name and place of the next block, or nothing at the end. Data of the section before must have been read or
    /// skipped.
    pub fn next_section(&mut self) -> Result<Option<Section>, CarError> {
        let at = self.at;
        let Some(length) = self.section_length(CID_BYTES as u64)? else { return Ok(None) };
        if length < CID_BYTES as u64 {
            let reason = format!("a section of {length} bytes is too short for a CIDv1 with SHA-256");
            return Err(CarRejection::Cid { at, reason }.into());
        }
        let mut name = [0; CID_BYTES];
        self.fill(&mut name, "a CID")?;
        let cid = parse_cid(&name).map_err(|reason| CarRejection::Cid { at, reason })?;
        let section = Section { cid, offset: self.at, len: length - CID_BYTES as u64 };
        self.open = Some(section);
        Ok(Some(section))
    }

    /// Data of the section that was just given, checked against its CID.
    pub fn read_data(&mut self) -> Result<Bytes, CarError> {
        let section = self.open.take().expect("a section was just given");
        let mut data = vec![0; section.len as usize];
        self.fill(&mut data, "a block")?;
        let at = section.offset - CID_BYTES as u64;
        verify_block(&section.cid, &data).map_err(|reason| CarRejection::Block { at, reason })?;
        Ok(data.into())
    }

    fn fill(&mut self, buffer: &mut [u8], what: &'static str) -> Result<(), CarError> {
        match self.reader.read_exact(buffer) {
            Ok(()) => {
                self.at += buffer.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(CarRejection::Truncated { at: self.at, what }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A length, or nothing at the end of the stream.
    fn varint(&mut self, what: &'static str) -> Result<Option<u64>, CarError> {
        let at = self.at;
        let mut bytes = [0; varint::MAX_BYTES];
        for length in 1..=bytes.len() {
            match self.fill(&mut bytes[length - 1..length], what) {
                Err(CarError::Rejected(CarRejection::Truncated { .. })) if length == 1 => return Ok(None),
                other => other?,
            }
            if bytes[length - 1] < 0x80 {
                let (value, _) = varint::take(&bytes[..length]).ok_or(CarRejection::Varint { at })?;
                return Ok(Some(value));
            }
        }
        Err(CarRejection::Varint { at }.into())
    }

    /// After a zero where a length should be: only zeros may follow, if any may.
    fn padding(&mut self, at: u64) -> Result<(), CarError> {
        if self.limits.trailing == Trailing::Nothing {
            return Err(CarRejection::Padding { at, expected: "a block or the end", got: 0 }.into());
        }
        let mut buffer = [0; 8192];
        loop {
            let count = match self.reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if let Some(place) = buffer[..count].iter().position(|byte| *byte != 0) {
                let at = self.at + place as u64;
                return Err(CarRejection::Padding { at, expected: "zero padding", got: buffer[place] }.into());
            }
            self.at += count as u64;
        }
    }
}

impl<R: Read + Seek> CarReader<R> {
    /// Jumps over the data of the section that was just given, without checking it; only that it is there.
    pub fn skip_data(&mut self) -> Result<(), CarError> {
        let section = self.open.take().expect("a section was just given");
        if section.len > 0 {
            self.reader.seek(SeekFrom::Current(section.len as i64 - 1))?;
            self.at += section.len - 1;
            self.fill(&mut [0], "a block")?;
        }
        Ok(())
    }

    /// The stream underneath, wherever it stands.
    pub fn into_inner(self) -> R {
        self.reader
    }
}

fn parse_header(body: &[u8]) -> Result<Vec<Cid>, String> {
    let header: Header = serde_ipld_dagcbor::from_slice(body).map_err(|error| error.to_string())?;
    if header.version != VERSION {
        return Err(format!("expected version {VERSION}, got {}", header.version));
    }
    if serde_ipld_dagcbor::to_vec(&header).ok().as_deref() != Some(body) {
        return Err("it is not canonical DAG-CBOR".into());
    }
    Ok(header.roots)
}

fn parse_cid(bytes: &[u8; CID_BYTES]) -> Result<Cid, String> {
    let cid = Cid::read_bytes(&bytes[..]).map_err(|error| format!("expected a CIDv1 with SHA-256: {error}"))?;
    if cid.version() != cid::Version::V1 || cid.hash().code() != 0x12 || cid.encoded_len() != CID_BYTES {
        return Err(format!("expected a CIDv1 with SHA-256, got {cid}"));
    }
    Ok(cid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockId, Codec};
    use proptest::prelude::*;

    fn archive(blocks: &[Vec<u8>]) -> Vec<u8> {
        let root = BlockId::of(Codec::Raw, b"root").cid();
        let mut writer = CarWriter::new(Vec::new(), &[root]).unwrap();
        for data in blocks {
            writer.write(&BlockId::of(Codec::Raw, data).cid(), data).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8], limits: CarLimits) -> Result<Vec<CarBlock>, CarError> {
        let mut reader = CarReader::new(bytes, limits)?;
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block()? {
            blocks.push(block);
        }
        Ok(blocks)
    }

    fn rejection(bytes: &[u8], limits: CarLimits) -> CarRejection {
        match read(bytes, limits) {
            Err(CarError::Rejected(rejection)) => rejection,
            other => panic!("expected a rejection, got {other:?}"),
        }
    }

    proptest! {
        #[test]
        fn blocks_survive(blocks: Vec<Vec<u8>>) {
            let bytes = archive(&blocks);
            let read = read(&bytes, CarLimits::default()).unwrap();
            for block in &read {
                let at = block.offset as usize;
                prop_assert_eq!(&bytes[at..at + block.data.len()], &block.data[..]);
            }
            prop_assert_eq!(read.into_iter().map(|block| block.data.to_vec()).collect::<Vec<_>>(), blocks);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = read(&bytes, CarLimits::default());
            let mut behind_a_header = header(&[]);
            behind_a_header.extend_from_slice(&bytes);
            let limits = CarLimits { trailing: Trailing::ZeroPadding, ..CarLimits::default() };
            let _ = read(&behind_a_header, limits);
        }

        #[test]
        fn a_cut_or_damaged_archive_is_refused_or_shorter(
            blocks in proptest::collection::vec(any::<Vec<u8>>(), 1..5), at: prop::sample::Index, flip in 1u8..
        ) {
            let bytes = archive(&blocks);
            let at = at.index(bytes.len());
            if let Ok(read) = read(&bytes[..at], CarLimits::default()) {
                prop_assert!(read.len() < blocks.len(), "a cut between two blocks");
            }
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            if let Ok(blocks_read) = read(&damaged, CarLimits::default()) {
                // Only the codec of a CID and the roots are not bound by a hash here.
                let data: Vec<_> = blocks_read.iter().map(|block| block.data.to_vec()).collect();
                prop_assert_eq!(data, blocks);
            }
        }
    }

    #[test]
    fn padding_is_accepted_only_when_asked_for_and_only_zeros() {
        let limits = CarLimits { trailing: Trailing::ZeroPadding, ..CarLimits::default() };
        let mut bytes = archive(&[b"abc".to_vec()]);
        let end = bytes.len() as u64;
        bytes.resize(bytes.len() + 20_000, 0);
        assert_eq!(read(&bytes, limits).unwrap().len(), 1);
        let refused = CarRejection::Padding { at: end, expected: "a block or the end", got: 0 };
        assert_eq!(rejection(&bytes, CarLimits::default()), refused);
        *bytes.last_mut().unwrap() = 7;
        let at = bytes.len() as u64 - 1;
        assert_eq!(rejection(&bytes, limits), CarRejection::Padding { at, expected: "zero padding", got: 7 });
    }

    #[test]
    fn each_kind_of_damage_has_its_own_reason() {
        let limits = CarLimits::default();
        assert_eq!(rejection(&[], limits), CarRejection::Truncated { at: 0, what: "the header" });
        assert!(matches!(rejection(&[0xff, 0xff, 0x7f], limits), CarRejection::TooLarge { what: "header", .. }));
        let mut v2 = vec![11];
        v2.extend_from_slice(b"\xa1gversion\x02");
        v2[0] = (v2.len() - 1) as u8;
        assert!(matches!(rejection(&v2, limits), CarRejection::Header { .. }));
        let mut long = header(&[]);
        let at = long.len() as u64;
        varint::put(&mut long, MAX_BLOCK_BYTES as u64 + 37);
        assert!(matches!(rejection(&long, limits), CarRejection::TooLarge { what: "section", .. }));
        let mut short = header(&[]);
        short.extend_from_slice(&[3, 1, 2, 3]);
        assert!(matches!(rejection(&short, limits), CarRejection::Cid { at: got, .. } if got == at));
        let mut wrong = archive(&[b"abc".to_vec()]);
        *wrong.last_mut().unwrap() ^= 1;
        assert!(matches!(rejection(&wrong, limits), CarRejection::Block { .. }));
    }

    #[test]
    fn skipping_needs_the_bytes_to_be_there() {
        let bytes = archive(&[b"abcdef".to_vec()]);
        let open = |bytes| CarReader::new(io::Cursor::new(bytes), CarLimits::default()).unwrap();
        let mut whole = open(&bytes[..]);
        assert_eq!(whole.next_section().unwrap().map(|section| section.len), Some(6));
        whole.skip_data().unwrap();
        assert_eq!(whole.next_section().unwrap(), None);
        let mut cut = open(&bytes[..bytes.len() - 1]);
        cut.next_section().unwrap();
        assert!(matches!(cut.skip_data(), Err(CarError::Rejected(CarRejection::Truncated { .. }))));
    }
}
