//! The file: header, tables, checks.

use std::ops::Range;
use std::path::Path;

use cairn_compute::{Fr, Workers, fr_from_node};
use rayon::prelude::*;

use super::{BLOCK_ROWS, Matrices, MatricesError};
use crate::circuit::CircuitId;
use crate::mapped::MappedFile;

/// The first bytes of every file.
const MAGIC: [u8; 16] = *b"CAIRN-R1CS\0\0\0\0\0\0";
/// Raised whenever the layout or the meaning of a byte changes.
const VERSION: u32 = 1;
/// Bytes of the header.
pub(super) const HEADER_BYTES: usize = 256;
/// Bytes of the circuit's name, filled up with zeros.
const NAME_BYTES: usize = 32;
/// Where the header's checksum lies: at its end.
const CHECKSUM_AT: usize = HEADER_BYTES - CHECKSUM_BYTES;
/// Bytes of a checksum.
pub(super) const CHECKSUM_BYTES: usize = 32;
/// Bytes of a coefficient.
const COEFFICIENT_BYTES: usize = 32;
/// Bytes of a block's entry in the table.
pub(super) const ENTRY_BYTES: usize = 8 + CHECKSUM_BYTES;

/// Counts and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Header {
    pub inputs: u64,
    pub aux: u64,
    pub constraints: u64,
    pub nnz: [u64; 3],
    /// Bytes of all blocks.
    pub body_bytes: u64,
    /// Entries of the coefficient table.
    pub coefficients: u64,
}

/// Where the bytes are.
pub(super) enum Storage {
    Mapped(MappedFile),
    Memory(Vec<u8>),
}

impl Storage {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Memory(bytes) => bytes,
        }
    }
}

/// BLAKE2b-256.
pub(super) fn checksum<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; CHECKSUM_BYTES] {
    let mut state = blake2b_simd::Params::new().hash_length(CHECKSUM_BYTES).to_state();
    for part in parts {
        state.update(part);
    }
    state.finalize().as_bytes().try_into().expect("a hash of 32 bytes")
}

impl Header {
    fn numbers(&self) -> [u64; 8] {
        let [a, b, c] = self.nnz;
        [self.inputs, self.aux, self.constraints, a, b, c, self.body_bytes, self.coefficients]
    }

    /// The header as bytes; `tables` are the bytes behind the body.
    pub(super) fn to_bytes(self, id: CircuitId, tables: &[u8]) -> [u8; HEADER_BYTES] {
        let mut bytes = [0u8; HEADER_BYTES];
        bytes[..16].copy_from_slice(&MAGIC);
        bytes[16..20].copy_from_slice(&VERSION.to_le_bytes());
        let name = id.to_string();
        bytes[24..24 + name.len()].copy_from_slice(name.as_bytes());
        for (slot, number) in bytes[24 + NAME_BYTES..].chunks_exact_mut(8).zip(self.numbers()) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        let sum = checksum([&bytes[..CHECKSUM_AT], tables]);
        bytes[CHECKSUM_AT..].copy_from_slice(&sum);
        bytes
    }

    /// Reads a header and checks everything but the blocks.
    fn read(id: CircuitId, bytes: &[u8]) -> Result<Self, MatricesError> {
        let length = |expected| MatricesError::Length { expected, got: bytes.len() as u64 };
        if !bytes.starts_with(&MAGIC) {
            let got = String::from_utf8_lossy(&bytes[..bytes.len().min(MAGIC.len())]).into_owned();
            return Err(MatricesError::Magic { got });
        }
        let head = bytes.get(..HEADER_BYTES).ok_or_else(|| length(HEADER_BYTES as u64))?;
        let version = u32::from_le_bytes(head[16..20].try_into().expect("four bytes"));
        if version != VERSION {
            return Err(MatricesError::Version { expected: VERSION, got: version });
        }
        let mut numbers = [0u64; 8];
        for (number, slot) in numbers.iter_mut().zip(head[24 + NAME_BYTES..].chunks_exact(8)) {
            *number = u64::from_le_bytes(slot.try_into().expect("eight bytes"));
        }
        let [inputs, aux, constraints, a, b, c, body_bytes, coefficients] = numbers;
        let header = Self { inputs, aux, constraints, nnz: [a, b, c], body_bytes, coefficients };
        let expected = header.file_bytes().ok_or(MatricesError::Tables { what: "their sizes are beyond any file" })?;
        if expected != bytes.len() as u64 {
            return Err(length(expected));
        }
        let tables = &bytes[header.body().end..];
        if checksum([&head[..CHECKSUM_AT], tables]) != head[CHECKSUM_AT..] {
            return Err(MatricesError::Checksum { part: "the header and tables".into() });
        }
        let name = String::from_utf8_lossy(&head[24..24 + NAME_BYTES]);
        let name = name.trim_end_matches('\0');
        if name != id.to_string() {
            return Err(MatricesError::Circuit { expected: id.to_string(), got: name.into() });
        }
        Ok(header)
    }

    fn blocks(&self) -> u64 {
        self.constraints.div_ceil(BLOCK_ROWS)
    }

    fn file_bytes(&self) -> Option<u64> {
        let tables = self.coefficients.checked_mul(COEFFICIENT_BYTES as u64)?;
        let tables = tables.checked_add(self.blocks().checked_mul(ENTRY_BYTES as u64)?)?;
        (HEADER_BYTES as u64).checked_add(self.body_bytes)?.checked_add(tables)
    }

    fn body(&self) -> Range<usize> {
        HEADER_BYTES..HEADER_BYTES + self.body_bytes as usize
    }
}

impl Matrices {
    /// Maps recorded matrices and checks all of the file, on all workers.
    ///
    /// # Errors
    /// [`MatricesError`] says what about the file is wrong, and where.
    pub fn open(id: CircuitId, file: &Path, workers: &Workers) -> Result<Self, MatricesError> {
        let map =
            MappedFile::open(file).map_err(|source| MatricesError::Io { action: "map", file: file.into(), source })?;
        Self::check(id, Storage::Mapped(map), workers)
    }

    pub(super) fn check(id: CircuitId, storage: Storage, workers: &Workers) -> Result<Self, MatricesError> {
        let bytes = storage.bytes();
        let header = Header::read(id, bytes)?;
        let (coefficients, entries) =
            bytes[header.body().end..].split_at(header.coefficients as usize * COEFFICIENT_BYTES);
        let coefficients = read_coefficients(coefficients)?;
        let blocks = read_block_table(&header, entries)?;
        workers.run(|| {
            blocks.par_iter().zip(entries.par_chunks_exact(ENTRY_BYTES)).enumerate().try_for_each(
                |(block, (range, entry))| {
                    let sum = checksum([&bytes[range.clone()]]);
                    let part = || format!("block {block}");
                    (sum == entry[8..]).then_some(()).ok_or_else(|| MatricesError::Checksum { part: part() })
                },
            )
        })?;
        Ok(Self { id, header, storage, coefficients, blocks })
    }
}

fn read_coefficients(bytes: &[u8]) -> Result<Vec<Fr>, MatricesError> {
    let read = |bytes: &[u8]| {
        let node = bytes.try_into().expect("32 bytes");
        fr_from_node(node).map_err(|_| MatricesError::Tables { what: "a coefficient is no field element" })
    };
    bytes.chunks_exact(COEFFICIENT_BYTES).map(read).collect()
}

/// Blocks follow each other without gaps.
fn read_block_table(header: &Header, entries: &[u8]) -> Result<Vec<Range<usize>>, MatricesError> {
    let starts = entries
        .chunks_exact(ENTRY_BYTES)
        .map(|entry| u64::from_le_bytes(entry[..8].try_into().expect("eight bytes")))
        .map(|start| usize::try_from(start).ok())
        .collect::<Option<Vec<usize>>>();
    let body = header.body();
    let malformed = MatricesError::Tables { what: "the blocks do not lie one behind the other" };
    let Some(starts) = starts.filter(|starts| starts.first().is_none_or(|first| *first == body.start)) else {
        return Err(malformed);
    };
    let ends = starts.iter().skip(1).copied().chain(std::iter::once(body.end));
    let blocks: Vec<_> = starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect();
    if blocks.iter().all(|block| block.start <= block.end && block.end <= body.end) {
        Ok(blocks)
    } else {
        Err(malformed)
    }
}
