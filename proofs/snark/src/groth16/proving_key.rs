//! The proving key as provers want it: points as multi-scalar multiplications read them, mapped from disk.
//!
//! A `.params` file holds canonical big-endian numbers; before a point can be multiplied, both coordinates must be
//! converted, and a 32 GiB circuit has half a billion points. So a parameter file is converted once into this one:
//!
//! ```text
//! 0      "CAIRNPKY" | version 1, u32 | 0, u32 | digest of the .params file, 16 bytes | its length, u64
//! 40     inputs with ONE, u64 | verifying key: offset, u64; bytes, u64; digest, 16 bytes
//! 80     for h, l, a, b_g1, b_g2: offset, u64; points, u64; digest, 16 bytes        5 * 32 bytes
//! 240    zeros
//! 4064   BLAKE2b-256 of bytes 0 to 4064
//! 4096   the verifying key as in a .vk file; then each section from the next multiple of 4096 on
//! ```
//! Numbers are little-endian. Points are affine, Montgomery form, limbs least first ([`curve`](super::curve)): 96 and
//! 192 bytes. Digests are BLAKE2b-128.
//!
//! [`ProvingKey::open`] checks the header, the verifying key and every length; a section is only read in full by
//! [`ProvingKey::check_sections`]. That is enough: a key that rots gives a proof that does not verify, and a prover
//! verifies every proof before it hands it out.

use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use blake2b_simd::Params as Blake2b;
use cairn_compute::Workers;
use cairn_sector::Progress;
use rayon::prelude::*;

use super::catalog::FileDigest;
use super::curve::{G1Affine, G2Affine};
use super::error::{KeyFileError, KeyFileRejection, KeyIo};
use super::files::{Counted, NewFile};

use super::params::{ParamsSink, ParamsSummary, Section, SectionCounts, read_params};
use super::points::PointChecks;
use super::verifying_key::VerifyingKey;
use crate::mapped::{MappedFile, bytes_of, points_in};

const MAGIC: &[u8; 8] = b"CAIRNPKY";
const VERSION: u32 = 1;
const PAGE: u64 = 4096;
const CHECKSUM_AT: usize = 4064;
const VERIFYING_KEY_AT: usize = 48;
const SECTIONS_AT: usize = 80;
const EXTENT_BYTES: usize = 32;

/// A proving key, mapped.
pub struct ProvingKey {
    file: PathBuf,
    map: MappedFile,
    header: Header,
    verifying_key: VerifyingKey,
}

/// Where something lies in the file: offset and length in bytes, and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Extent {
    offset: u64,
    bytes: u64,
    digest: [u8; 16],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    params_digest: FileDigest,
    params_bytes: u64,
    inputs: u64,
    verifying_key: Extent,
    sections: [Extent; 5],
}

impl ProvingKey {
    /// Converts a parameter file. Existing files are replaced only once the new one is complete. `accept` sees what
    /// was read and may refuse it (by its digest, say); `progress` counts bytes of the parameter file.
    ///
    /// # Errors
    /// [`KeyFileError`]: what is wrong with the parameter file, that `accept` refused it, or that the disk did.
    pub fn convert(
        params_file: &Path,
        key_file: &Path,
        checks: PointChecks,
        workers: &Workers,
        progress: Progress<'_>,
        accept: impl FnOnce(&ParamsSummary) -> Result<(), KeyFileError>,
    ) -> Result<ParamsSummary, KeyFileError> {
        let reader = Counted::open(params_file, progress)?;
        let mut new = NewFile::create(key_file)?;
        let mut sink = KeySink::new(&mut new, key_file)?;
        let summary = read_params(reader, params_file, checks, workers, &mut sink)?;
        accept(&summary)?;
        let header = sink.finish(&summary)?;
        let writer = new.writer();
        writer.seek(SeekFrom::Start(0)).at("write", key_file)?;
        writer.write_all(&header.to_page()).at("write", key_file)?;
        new.finish()?;
        Ok(summary)
    }

    /// Maps a key file and checks it as far as the module says.
    ///
    /// # Errors
    /// [`KeyFileError::Rejected`] for a file that is damaged, cut short, or something else.
    pub fn open(file: &Path, workers: &Workers) -> Result<Self, KeyFileError> {
        let map = MappedFile::open(file).at("map", file)?;
        let header = Header::read(&map).map_err(|rejection| rejection.of(file))?;
        let verifying_key = VerifyingKey::from_bytes(header.verifying_key.of(&map), file, workers)?;
        let (expected, got) = (verifying_key.ic.len() as u64, header.inputs);
        if expected != got {
            return Err(value(40, "number of inputs", expected, got).of(file));
        }
        Ok(Self { file: file.to_owned(), map, header, verifying_key })
    }

    /// Reads every section and compares its digest.
    ///
    /// # Errors
    /// [`KeyFileError::Rejected`] names the section that is damaged.
    pub fn check_sections(&self, workers: &Workers) -> Result<(), KeyFileError> {
        let check = |section: Section| {
            let extent = self.header.sections[section as usize];
            let (expected, got) = (extent.digest, digest(extent.of(&self.map)));
            if expected == got {
                return Ok(());
            }
            let what = format!("digest of section {}", section.name());
            Err(value(extent.offset, &what, hex::encode(expected), hex::encode(got)).of(&self.file))
        };
        workers.run(|| Section::ALL.into_par_iter().try_for_each(check))
    }

    /// Where it lies.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The verifying key.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.verifying_key
    }

    /// Digest of the parameter file that it was made from.
    pub fn params_digest(&self) -> FileDigest {
        self.header.params_digest
    }

    /// Length of the parameter file that it was made from.
    pub fn params_bytes(&self) -> u64 {
        self.header.params_bytes
    }

    /// Points in each section.
    pub fn counts(&self) -> SectionCounts {
        SectionCounts(Section::ALL.map(|section| self.header.sections[section as usize].bytes / section.point_bytes()))
    }

    /// The points of a section of the first group.
    ///
    /// # Panics
    /// For `b_g2`: see [`b_g2`](Self::b_g2).
    pub fn g1(&self, section: Section) -> &[G1Affine] {
        assert_ne!(section, Section::BG2, "b_g2 lies in the second group");
        points_in(self.header.sections[section as usize].of(&self.map))
    }

    /// Gives the memory of some points of a section back to the system. They stay readable: from the disk again.
    pub fn release(&self, section: Section, points: Range<usize>) {
        let extent = self.header.sections[section as usize];
        let size = section.point_bytes() as usize;
        let start = extent.offset as usize + points.start * size;
        self.map.release(start..start + points.len() * size);
    }

    /// The points of `b_g2`.
    pub fn b_g2(&self) -> &[G2Affine] {
        points_in(self.header.sections[Section::BG2 as usize].of(&self.map))
    }
}

impl std::fmt::Debug for ProvingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProvingKey").field("file", &self.file).field("header", &self.header).finish()
    }
}

impl Extent {
    fn of(self, file: &[u8]) -> &[u8] {
        &file[self.offset as usize..(self.offset + self.bytes) as usize]
    }

    fn end(self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

impl Header {
    fn to_page(self) -> [u8; PAGE as usize] {
        let mut page = [0u8; PAGE as usize];
        page[..8].copy_from_slice(MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
        page[16..32].copy_from_slice(&self.params_digest.0);
        page[32..40].copy_from_slice(&self.params_bytes.to_le_bytes());
        page[40..48].copy_from_slice(&self.inputs.to_le_bytes());
        put_extent(&mut page[VERIFYING_KEY_AT..], &self.verifying_key, 1);
        for section in Section::ALL {
            let at = SECTIONS_AT + EXTENT_BYTES * section as usize;
            put_extent(&mut page[at..], &self.sections[section as usize], section.point_bytes());
        }
        let checksum = checksum(&page);
        page[CHECKSUM_AT..].copy_from_slice(&checksum);
        page
    }

    fn read(file: &[u8]) -> Result<Self, KeyFileRejection> {
        let got = file.len() as u64;
        if got < PAGE {
            return Err(KeyFileRejection::Truncated { offset: 0, what: "header".into(), expected: PAGE, got });
        }
        let page = &file[..PAGE as usize];
        if &page[..8] != MAGIC {
            return Err(value(0, "magic", hex::encode(MAGIC), hex::encode(&page[..8])));
        }
        let version = u32::from_le_bytes(page[8..12].try_into().expect("four bytes"));
        if version != VERSION {
            return Err(value(8, "version", VERSION, version));
        }
        let (expected, got) = (checksum(page), &page[CHECKSUM_AT..]);
        if expected != got {
            return Err(value(CHECKSUM_AT as u64, "header checksum", hex::encode(expected), hex::encode(got)));
        }
        let header = Self {
            params_digest: FileDigest(page[16..32].try_into().expect("16 bytes")),
            params_bytes: get_u64(page, 32),
            inputs: get_u64(page, 40),
            verifying_key: get_extent(page, VERIFYING_KEY_AT, 1),
            sections: Section::ALL
                .map(|section| get_extent(page, SECTIONS_AT + EXTENT_BYTES * section as usize, section.point_bytes())),
        };
        header.check_extents(file)?;
        Ok(header)
    }

    /// One part follows the other on page boundaries, up to the end of the file, and the verifying key is intact.
    fn check_extents(&self, file: &[u8]) -> Result<(), KeyFileRejection> {
        let mut end = PAGE;
        let names = ["verifying key"].into_iter().chain(Section::ALL.map(Section::name));
        for (position, (name, extent)) in names.zip([self.verifying_key].iter().chain(&self.sections)).enumerate() {
            let expected = end.next_multiple_of(PAGE);
            if extent.offset != expected {
                let at = (VERIFYING_KEY_AT + EXTENT_BYTES * position) as u64;
                return Err(value(at, &format!("offset of {name}"), expected, extent.offset));
            }
            end = extent.end();
            if end > file.len() as u64 {
                let got = (file.len() as u64).saturating_sub(extent.offset);
                let (offset, expected) = (extent.offset, extent.bytes);
                return Err(KeyFileRejection::Truncated { offset, what: name.into(), expected, got });
            }
        }
        if end < file.len() as u64 {
            return Err(KeyFileRejection::Trailing { offset: end, what: Section::BG2.name().into() });
        }
        let (expected, got) = (self.verifying_key.digest, digest(self.verifying_key.of(file)));
        if expected != got {
            return Err(value(PAGE, "digest of the verifying key", hex::encode(expected), hex::encode(got)));
        }
        Ok(())
    }
}

fn put_extent(out: &mut [u8], extent: &Extent, unit: u64) {
    out[..8].copy_from_slice(&extent.offset.to_le_bytes());
    out[8..16].copy_from_slice(&(extent.bytes / unit).to_le_bytes());
    out[16..32].copy_from_slice(&extent.digest);
}

fn get_extent(page: &[u8], at: usize, unit: u64) -> Extent {
    Extent {
        offset: get_u64(page, at),
        bytes: get_u64(page, at + 8).saturating_mul(unit),
        digest: page[at + 16..at + 32].try_into().expect("16 bytes"),
    }
}

fn get_u64(page: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(page[at..at + 8].try_into().expect("eight bytes"))
}

fn checksum(page: &[u8]) -> [u8; 32] {
    let hash = Blake2b::new().hash_length(32).hash(&page[..CHECKSUM_AT]);
    hash.as_bytes().try_into().expect("32 bytes were asked for")
}

fn digest(bytes: &[u8]) -> [u8; 16] {
    Blake2b::new().hash_length(16).hash(bytes).as_bytes().try_into().expect("16 bytes were asked for")
}

fn value(offset: u64, what: &str, expected: impl ToString, got: impl ToString) -> KeyFileRejection {
    KeyFileRejection::Value { offset, what: what.to_owned(), expected: expected.to_string(), got: got.to_string() }
}

/// Writes a key file's parts as a parameter file is read.
struct KeySink<'a> {
    new: &'a mut NewFile,
    file: &'a Path,
    position: u64,
    verifying_key: Extent,
    sections: [Extent; 5],
    current: Option<(Section, blake2b_simd::State)>,
}

impl<'a> KeySink<'a> {
    fn new(new: &'a mut NewFile, file: &'a Path) -> Result<Self, KeyFileError> {
        let mut sink = Self {
            new,
            file,
            position: 0,
            verifying_key: Extent::default(),
            sections: Default::default(),
            current: None,
        };
        sink.put(&[0; PAGE as usize])?;
        Ok(sink)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), KeyFileError> {
        self.position += bytes.len() as u64;
        self.new.writer().write_all(bytes).at("write", self.file)
    }

    fn pad_to_page(&mut self) -> Result<(), KeyFileError> {
        let gap = self.position.next_multiple_of(PAGE) - self.position;
        self.put(&[0; PAGE as usize][..gap as usize])
    }

    fn put_points(&mut self, section: Section, bytes: &[u8]) -> Result<(), KeyFileError> {
        let (current, state) = self.current.as_mut().expect("a section was started");
        assert_eq!(*current, section, "sections come one after the other");
        state.update(bytes);
        self.sections[section as usize].bytes += bytes.len() as u64;
        self.put(bytes)
    }

    fn end_section(&mut self) {
        if let Some((section, state)) = self.current.take() {
            let digest = state.finalize();
            self.sections[section as usize].digest = digest.as_bytes().try_into().expect("16 bytes were asked for");
        }
    }

    fn finish(mut self, summary: &ParamsSummary) -> Result<Header, KeyFileError> {
        self.end_section();
        Ok(Header {
            params_digest: summary.digest,
            params_bytes: summary.bytes,
            inputs: summary.inputs,
            verifying_key: self.verifying_key,
            sections: self.sections,
        })
    }
}

impl ParamsSink for KeySink<'_> {
    fn verifying_key(&mut self, key: &VerifyingKey) -> Result<(), KeyFileError> {
        let bytes = key.to_bytes();
        self.verifying_key = Extent { offset: self.position, bytes: bytes.len() as u64, digest: digest(&bytes) };
        self.put(&bytes)
    }

    fn section(&mut self, section: Section, _: u64) -> Result<(), KeyFileError> {
        self.end_section();
        self.pad_to_page()?;
        self.sections[section as usize].offset = self.position;
        self.current = Some((section, Blake2b::new().hash_length(16).to_state()));
        Ok(())
    }

    fn g1(&mut self, section: Section, points: &[G1Affine]) -> Result<(), KeyFileError> {
        self.put_points(section, bytes_of(points))
    }

    fn g2(&mut self, points: &[G2Affine]) -> Result<(), KeyFileError> {
        self.put_points(Section::BG2, bytes_of(points))
    }
}
