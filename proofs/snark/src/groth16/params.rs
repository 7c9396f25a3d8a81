//! The parameter file, `.params`: a verifying key and the points that a prover multiplies.
//!
//! ```text
//! verifying key (as in its own file) | h | l | a | b_g1 | b_g2        each: number of points, u32 big-endian | points
//! ```
//! - `h`: one point fewer than the domain has elements.
//! - `l`: one per auxiliary variable.
//! - `a`: every input, ONE first, then the auxiliary variables that occur in A.
//! - `b_g1`, `b_g2`: the inputs, then the auxiliary variables, that occur in B.
//!
//! Points at infinity are left out. Files go up to 63 GB, so reading streams: points are handed on in chunks
//! ([`ParamsSink`]), and memory stays below 100 MB whatever the file says.

use std::io::{Read, Write};
use std::path::Path;

use cairn_compute::Workers;
use rayon::prelude::*;

use super::catalog::FileDigest;
use super::curve::{G1Affine, G2Affine};
use super::error::{KeyFileError, KeyFileRejection, KeyIo};
use super::points::{Point, PointChecks, PointRejection};
use super::subgroup::first_outside;
use super::verifying_key::VerifyingKey;
use crate::r1cs::{Densities, Matrices};

/// Points decoded at once: enough for the subgroup's check of many to pay.
const CHUNK_POINTS: u64 = 1 << 16;

/// Largest domain of the curve's scalar field.
const MAX_DOMAIN_LOG2: u32 = 32;

/// A list of points in a parameter file, in the file's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    /// Powers of tau times the domain's polynomial.
    H,
    /// Auxiliary variables, for C.
    L,
    /// Variables of A.
    A,
    /// Variables of B, first group.
    BG1,
    /// Variables of B, second group.
    BG2,
}

impl Section {
    /// All five, in the file's order.
    pub const ALL: [Self; 5] = [Self::H, Self::L, Self::A, Self::BG1, Self::BG2];

    /// Its name: `h`, `l`, `a`, `b_g1`, `b_g2`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::H => "h",
            Self::L => "l",
            Self::A => "a",
            Self::BG1 => "b_g1",
            Self::BG2 => "b_g2",
        }
    }

    /// Bytes of one of its points, in memory as in the file.
    pub const fn point_bytes(self) -> u64 {
        match self {
            Self::BG2 => 192,
            _ => 96,
        }
    }
}

/// Numbers of points, in the order of [`Section::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SectionCounts(pub [u64; 5]);

impl SectionCounts {
    /// Points in one section.
    pub const fn get(&self, section: Section) -> u64 {
        self.0[section as usize]
    }

    /// Auxiliary variables of the circuit.
    pub const fn aux(&self) -> u64 {
        self.get(Section::L)
    }

    /// Elements of the domain.
    pub const fn domain(&self) -> u64 {
        self.get(Section::H) + 1
    }

    /// Those of a circuit's parameters. Every input occurs in A, by the rows that Groth16 appends.
    pub fn of_circuit(matrices: &Matrices, densities: &Densities) -> Self {
        let count = |marks: &[bool]| marks.iter().filter(|mark| **mark).count() as u64;
        let (inputs, aux) = (matrices.num_inputs() as u64, matrices.num_aux() as u64);
        let domain = (matrices.num_constraints() as u64 + inputs).next_power_of_two();
        let b = count(&densities.b_inputs) + count(&densities.b_aux);
        Self([domain - 1, aux, inputs + count(&densities.a_aux), b, b])
    }

    /// Bytes of a parameter file with so many inputs, ONE among them: the verifying key, then each section behind its
    /// number of points.
    pub fn file_bytes(&self, inputs: u64) -> u64 {
        let section = |section: Section| size_of::<u32>() as u64 + section.point_bytes() * self.get(section);
        VerifyingKey::file_bytes(inputs) + Section::ALL.into_iter().map(section).sum::<u64>()
    }

    /// Checks a section's number against the sections before it: every circuit's numbers fit together.
    fn check(&self, section: Section, inputs: u64) -> Result<(), String> {
        let got = self.get(section);
        let variables = inputs + self.aux();
        match section {
            Section::H if (got + 1).is_power_of_two() && (got + 1).ilog2() <= MAX_DOMAIN_LOG2 => Ok(()),
            Section::H => Err("a power of two less one".into()),
            Section::L => Ok(()),
            Section::A if (inputs..=variables).contains(&got) => Ok(()),
            Section::A => Err(format!("{inputs} (inputs) to {variables} (all variables)")),
            Section::BG1 if got <= variables => Ok(()),
            Section::BG1 => Err(format!("at most {variables} (all variables)")),
            Section::BG2 if got == self.get(Section::BG1) => Ok(()),
            Section::BG2 => Err(format!("{} (as in b_g1)", self.get(Section::BG1))),
        }
    }
}

/// Takes what a parameter file holds, in order.
pub trait ParamsSink {
    /// The verifying key, first.
    ///
    /// # Errors
    /// Ends the reading.
    fn verifying_key(&mut self, key: &VerifyingKey) -> Result<(), KeyFileError>;

    /// A section starts.
    ///
    /// # Errors
    /// Ends the reading.
    fn section(&mut self, section: Section, points: u64) -> Result<(), KeyFileError>;

    /// The next points of a section in the first group.
    ///
    /// # Errors
    /// Ends the reading.
    fn g1(&mut self, section: Section, points: &[G1Affine]) -> Result<(), KeyFileError>;

    /// The next points of the section in the second group.
    ///
    /// # Errors
    /// Ends the reading.
    fn g2(&mut self, points: &[G2Affine]) -> Result<(), KeyFileError>;
}

/// What a parameter file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParamsSummary {
    /// Inputs of the circuit, with ONE.
    pub inputs: u64,
    /// Points in each section.
    pub counts: SectionCounts,
    /// Length of the file.
    pub bytes: u64,
    /// Digest of the file.
    pub digest: FileDigest,
}

/// Reads a parameter file from its first byte to its last into `sink`. Nothing is to be used unless this succeeds, and
/// whether to trust the file is another question: see [`KeyStore`](super::KeyStore).
///
/// # Errors
/// [`KeyFileError`] with what is wrong and where.
pub fn read_params<R: Read>(
    reader: R,
    file: &Path,
    checks: PointChecks,
    workers: &Workers,
    sink: &mut dyn ParamsSink,
) -> Result<ParamsSummary, KeyFileError> {
    let mut source = Source::new(reader, file, checks, workers);
    let key = VerifyingKey::read_from(&mut source)?;
    let inputs = key.ic.len() as u64;
    sink.verifying_key(&key)?;
    let mut counts = SectionCounts::default();
    for section in Section::ALL {
        let offset = source.offset();
        let count = u64::from(source.count(section.name())?);
        counts.0[section as usize] = count;
        counts.check(section, inputs).map_err(|expected| {
            let what = format!("number of points in {}", section.name());
            KeyFileRejection::Value { offset, what, expected, got: count.to_string() }.of(file)
        })?;
        sink.section(section, count)?;
        if section == Section::BG2 {
            source.points(section.name(), count, &mut |_, points| sink.g2(points))?;
        } else {
            source.points(section.name(), count, &mut |_, points| sink.g1(section, points))?;
        }
    }
    source.end(Section::BG2.name())?;
    Ok(ParamsSummary { inputs, counts, bytes: source.offset, digest: FileDigest::finish(&source.digest) })
}

/// Writes a parameter file, in order: see [`ParamsSink`].
pub struct ParamsWriter<'a, W: Write> {
    writer: W,
    file: &'a Path,
    digest: blake2b_simd::State,
    announced: SectionCounts,
    written: SectionCounts,
    bytes: u64,
    inputs: u64,
}

impl<'a, W: Write> ParamsWriter<'a, W> {
    /// Writes to `writer`; `file` is for messages.
    pub fn new(writer: W, file: &'a Path) -> Self {
        Self {
            writer,
            file,
            digest: blake2b_simd::State::new(),
            announced: SectionCounts::default(),
            written: SectionCounts::default(),
            bytes: 0,
            inputs: 0,
        }
    }

    /// Flushes, and says what was written.
    ///
    /// # Errors
    /// [`KeyFileError::Io`].
    ///
    /// # Panics
    /// If a section got another number of points than announced.
    pub fn finish(mut self) -> Result<ParamsSummary, KeyFileError> {
        assert_eq!(self.announced, self.written, "every section has the points that were announced");
        self.writer.flush().at("write", self.file)?;
        let digest = FileDigest::finish(&self.digest);
        Ok(ParamsSummary { inputs: self.inputs, counts: self.written, bytes: self.bytes, digest })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), KeyFileError> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.writer.write_all(bytes).at("write", self.file)
    }

    fn put_points<P: Point>(&mut self, section: Section, points: &[P]) -> Result<(), KeyFileError> {
        self.written.0[section as usize] += points.len() as u64;
        for chunk in points.chunks(CHUNK_POINTS as usize) {
            let mut bytes = Vec::with_capacity(chunk.len() * P::UNCOMPRESSED_BYTES);
            chunk.iter().for_each(|point| point.write_uncompressed(&mut bytes));
            self.put(&bytes)?;
        }
        Ok(())
    }
}

impl<W: Write> ParamsSink for ParamsWriter<'_, W> {
    fn verifying_key(&mut self, key: &VerifyingKey) -> Result<(), KeyFileError> {
        self.inputs = key.ic.len() as u64;
        self.put(&key.to_bytes())
    }

    fn section(&mut self, section: Section, points: u64) -> Result<(), KeyFileError> {
        self.announced.0[section as usize] = points;
        let count = u32::try_from(points).expect("a circuit has fewer than 2^32 variables");
        self.put(&count.to_be_bytes())
    }

    fn g1(&mut self, section: Section, points: &[G1Affine]) -> Result<(), KeyFileError> {
        self.put_points(section, points)
    }

    fn g2(&mut self, points: &[G2Affine]) -> Result<(), KeyFileError> {
        self.put_points(Section::BG2, points)
    }
}

/// A whole parameter file in memory: for small circuits and for those that make parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Verifying key.
    pub verifying_key: VerifyingKey,
    /// Section h.
    pub h: Vec<G1Affine>,
    /// Section l.
    pub l: Vec<G1Affine>,
    /// Section a.
    pub a: Vec<G1Affine>,
    /// Section b_g1.
    pub b_g1: Vec<G1Affine>,
    /// Section b_g2.
    pub b_g2: Vec<G2Affine>,
}

impl Params {
    /// Reads a whole file.
    ///
    /// # Errors
    /// As [`read_params`].
    pub fn read<R: Read>(
        reader: R,
        file: &Path,
        checks: PointChecks,
        workers: &Workers,
    ) -> Result<(Self, ParamsSummary), KeyFileError> {
        let mut collect = Collect::default();
        let summary = read_params(reader, file, checks, workers, &mut collect)?;
        let [h, l, a, b_g1] = collect.g1;
        let verifying_key = collect.key.expect("a file that was read has a key");
        Ok((Self { verifying_key, h, l, a, b_g1, b_g2: collect.g2 }, summary))
    }

    /// Hands everything to `sink` in the file's order; with a [`ParamsWriter`] that writes the file.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn send_to(&self, sink: &mut dyn ParamsSink) -> Result<(), KeyFileError> {
        sink.verifying_key(&self.verifying_key)?;
        for (section, points) in Section::ALL.into_iter().zip([&self.h, &self.l, &self.a, &self.b_g1]) {
            sink.section(section, points.len() as u64)?;
            sink.g1(section, points)?;
        }
        sink.section(Section::BG2, self.b_g2.len() as u64)?;
        sink.g2(&self.b_g2)
    }
}

#[derive(Default)]
struct Collect {
    key: Option<VerifyingKey>,
    g1: [Vec<G1Affine>; 4],
    g2: Vec<G2Affine>,
}

impl ParamsSink for Collect {
    fn verifying_key(&mut self, key: &VerifyingKey) -> Result<(), KeyFileError> {
        self.key = Some(key.clone());
        Ok(())
    }

    fn section(&mut self, _: Section, _: u64) -> Result<(), KeyFileError> {
        Ok(())
    }

    fn g1(&mut self, section: Section, points: &[G1Affine]) -> Result<(), KeyFileError> {
        self.g1[section as usize].extend_from_slice(points);
        Ok(())
    }

    fn g2(&mut self, points: &[G2Affine]) -> Result<(), KeyFileError> {
        self.g2.extend_from_slice(points);
        Ok(())
    }
}

/// What [`Source::points`] hands its chunks to: index of the first, the points.
type TakeChunk<'a, P> = &'a mut dyn FnMut(u64, &[P]) -> Result<(), KeyFileError>;

/// A key file being read: knows where it is, hashes what it reads.
pub(super) struct Source<'a, R> {
    reader: R,
    file: &'a Path,
    checks: PointChecks,
    workers: &'a Workers,
    offset: u64,
    digest: blake2b_simd::State,
}

impl<'a, R: Read> Source<'a, R> {
    pub(super) fn new(reader: R, file: &'a Path, checks: PointChecks, workers: &'a Workers) -> Self {
        Self { reader, file, checks, workers, offset: 0, digest: blake2b_simd::State::new() }
    }

    pub(super) fn file(&self) -> &'a Path {
        self.file
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next point.
    pub(super) fn point<P: Point>(&mut self, name: &str) -> Result<P, KeyFileError> {
        let offset = self.offset;
        let bytes = self.take(P::UNCOMPRESSED_BYTES, P::UNCOMPRESSED_BYTES, |_| name.to_owned())?;
        P::from_uncompressed_bytes(&bytes, self.checks)
            .map_err(|source| KeyFileRejection::Point { offset, what: name.to_owned(), source }.of(self.file))
    }

    /// The number of points that follow.
    pub(super) fn count(&mut self, list: &str) -> Result<u32, KeyFileError> {
        let bytes = self.take(4, 4, |_| format!("the number of points in {list}"))?;
        Ok(u32::from_be_bytes(bytes.try_into().expect("four bytes were read")))
    }

    /// The next `count` points, in chunks.
    pub(super) fn points<P: Point>(
        &mut self,
        list: &str,
        count: u64,
        take_chunk: TakeChunk<'_, P>,
    ) -> Result<(), KeyFileError> {
        let point_bytes = P::UNCOMPRESSED_BYTES;
        let mut first = 0;
        while first < count {
            let len = CHUNK_POINTS.min(count - first);
            let start = self.offset;
            let name = |index: u64| format!("{list}[{}]", first + index);
            let bytes = self.take(len as usize * point_bytes, point_bytes, name)?;
            let points = self.decode(&bytes).map_err(|(index, source)| {
                let (index, offset) = (index as u64, start + (index * point_bytes) as u64);
                KeyFileRejection::Point { offset, what: name(index), source }.of(self.file)
            })?;
            take_chunk(first, &points)?;
            first += len;
        }
        Ok(())
    }

    /// Points, or the first that is none.
    fn decode<P: Point>(&self, bytes: &[u8]) -> Result<Vec<P>, (usize, PointRejection)> {
        let decode =
            |(index, bytes)| P::from_uncompressed_bytes(bytes, PointChecks::OnCurve).map_err(|source| (index, source));
        let encoded = bytes.par_chunks_exact(P::UNCOMPRESSED_BYTES).enumerate();
        let points: Vec<P> = self.workers.run(|| encoded.map(decode).collect::<Result<_, _>>())?;
        let outside = match self.checks {
            PointChecks::Full => first_outside(&points, bytes, self.workers),
            PointChecks::OnCurve => None,
        };
        outside.map_or(Ok(points), |index| Err((index, PointRejection::NotInSubgroup)))
    }

    /// The file must end here.
    pub(super) fn end(&mut self, last: &str) -> Result<(), KeyFileError> {
        let mut more = vec![];
        (&mut self.reader).take(1).read_to_end(&mut more).at("read", self.file)?;
        if more.is_empty() {
            return Ok(());
        }
        Err(KeyFileRejection::Trailing { offset: self.offset, what: last.to_owned() }.of(self.file))
    }

    /// Reads `bytes` bytes, items of `item_bytes` that `name` names.
    fn take(&mut self, bytes: usize, item_bytes: usize, name: impl Fn(u64) -> String) -> Result<Vec<u8>, KeyFileError> {
        let mut buffer = Vec::with_capacity(bytes);
        (&mut self.reader).take(bytes as u64).read_to_end(&mut buffer).at("read", self.file)?;
        let got = buffer.len();
        if got < bytes {
            let item = got / item_bytes;
            return Err(KeyFileRejection::Truncated {
                offset: self.offset + (item * item_bytes) as u64,
                what: name(item as u64),
                expected: item_bytes as u64,
                got: (got - item * item_bytes) as u64,
            }
            .of(self.file));
        }
        self.digest.update(&buffer);
        self.offset += bytes as u64;
        Ok(buffer)
    }
}
