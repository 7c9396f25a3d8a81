//! Digests of a file, one SHA-256 per chunk of 1 MiB, so that damage has a place.
//!
//! They are taken when a stage has written a file, and checked before another stage uses it. A proof made from a
//! damaged layer is found wrong only after the longest computation, and then says nothing about where; a digest says
//! which file and which mebibyte, for one sequential read.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cairn_compute::Workers;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::file::SectorFile;

/// Bytes under one digest.
pub const CHUNK_BYTES: u64 = 1 << 20;
/// Bytes of a digest.
const DIGEST_BYTES: usize = 32;

/// Length of a file and the SHA-256 of each chunk of [`CHUNK_BYTES`], the last one short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Encoded", into = "Encoded")]
pub struct FileDigests {
    length: u64,
    chunks: Vec<[u8; DIGEST_BYTES]>,
}

#[derive(Serialize, Deserialize)]
struct Encoded {
    length: u64,
    #[serde(with = "serde_bytes")]
    chunks: Vec<u8>,
}

impl From<FileDigests> for Encoded {
    fn from(digests: FileDigests) -> Self {
        Self { length: digests.length, chunks: digests.chunks.concat() }
    }
}

impl TryFrom<Encoded> for FileDigests {
    type Error = String;

    fn try_from(encoded: Encoded) -> Result<Self, String> {
        let expected = encoded.length.div_ceil(CHUNK_BYTES);
        let (chunks, rest) = encoded.chunks.as_chunks::<DIGEST_BYTES>();
        if !rest.is_empty() || chunks.len() as u64 != expected {
            let got = encoded.chunks.len();
            return Err(format!(
                "expected {expected} digests for {} bytes, got {got} bytes of digests",
                encoded.length
            ));
        }
        Ok(Self { length: encoded.length, chunks: chunks.to_vec() })
    }
}

/// A file is not what the journal says it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Which file.
    pub file: SectorFile,
    /// Where it lies.
    pub path: PathBuf,
    /// First byte of the damaged chunk; 0 if the file is missing.
    pub offset: u64,
    /// What is wrong.
    pub kind: DamageKind,
}

/// In which way a file is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// No such file.
    Missing,
    /// Longer or shorter than written.
    Length {
        /// Bytes recorded.
        expected: u64,
        /// Bytes found.
        got: u64,
    },
    /// A chunk with other content.
    Content {
        /// SHA-256 recorded.
        expected: [u8; DIGEST_BYTES],
        /// SHA-256 found.
        got: [u8; DIGEST_BYTES],
    },
    /// The device refuses to read a chunk.
    Unreadable {
        /// What the system said.
        reason: String,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) at byte {}: ", self.file, self.path.display(), self.offset)?;
        match &self.kind {
            DamageKind::Missing => f.write_str("the file is missing"),
            DamageKind::Length { expected, got } => write!(f, "expected {expected} bytes, got {got}"),
            DamageKind::Content { expected, got } => {
                write!(f, "expected SHA-256 {} for this MiB, got {}", hex::encode(expected), hex::encode(got))
            }
            DamageKind::Unreadable { reason } => write!(f, "cannot be read: {reason}"),
        }
    }
}

impl FileDigests {
    /// Reads the file at `path` once, on all `workers`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of_file(path: &Path, workers: &Workers) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let digest = |index: u64| digest_chunk(&file, index, length);
        let chunks = workers
            .run(|| (0..length.div_ceil(CHUNK_BYTES)).into_par_iter().map(digest).collect::<io::Result<Vec<_>>>())?;
        Ok(Self { length, chunks })
    }

    /// Bytes in the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// One digest over length and chunk digests: names the content of the whole file.
    pub fn summary(&self) -> [u8; DIGEST_BYTES] {
        let mut hash = Sha256::new();
        hash.update(self.length.to_be_bytes());
        self.chunks.iter().for_each(|chunk| hash.update(chunk));
        hash.finalize().into()
    }

    /// Reads the file at `path` and compares. The first damaged chunk is reported; files of another length are
    /// reported as such without being read.
    ///
    /// # Errors
    /// The [`Damage`].
    pub fn check(&self, file: SectorFile, path: &Path, workers: &Workers) -> Result<(), Damage> {
        let damage = |offset, kind| Damage { file, path: path.to_owned(), offset, kind };
        let unreadable = |offset, error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => damage(0, DamageKind::Missing),
            io::ErrorKind::UnexpectedEof => damage(offset, DamageKind::Length { expected: self.length, got: offset }),
            _ => damage(offset, DamageKind::Unreadable { reason: error.to_string() }),
        };
        let opened = File::open(path).map_err(|error| unreadable(0, error))?;
        let got = opened.metadata().map_err(|error| unreadable(0, error))?.len();
        if got != self.length {
            return Err(damage(got.min(self.length), DamageKind::Length { expected: self.length, got }));
        }
        let check_chunk = |(index, expected): (usize, &[u8; DIGEST_BYTES])| {
            let offset = index as u64 * CHUNK_BYTES;
            match digest_chunk(&opened, index as u64, self.length) {
                Ok(got) if got == *expected => None,
                Ok(got) => Some(damage(offset, DamageKind::Content { expected: *expected, got })),
                Err(error) => Some(unreadable(offset, error)),
            }
        };
        workers
            .run(|| self.chunks.par_iter().enumerate().map(check_chunk).find_map_first(|found| found))
            .map_or(Ok(()), Err)
    }

    /// First byte of the first chunk in which two versions of a file differ, if they do.
    pub fn first_difference(&self, other: &Self) -> Option<u64> {
        let same = self.chunks.iter().zip(&other.chunks).take_while(|(a, b)| a == b).count();
        let differs = self.length != other.length || same < self.chunks.len();
        differs.then_some(same as u64 * CHUNK_BYTES)
    }
}

fn digest_chunk(file: &File, index: u64, length: u64) -> io::Result<[u8; DIGEST_BYTES]> {
    let offset = index * CHUNK_BYTES;
    let mut chunk = vec![0; (length - offset).min(CHUNK_BYTES) as usize];
    file.read_exact_at(&mut chunk, offset)?;
    Ok(Sha256::digest(&chunk).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn workers() -> Workers {
        Workers::new(2).unwrap()
    }

    #[test]
    fn damage_has_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layer");
        let mut content = vec![7u8; 3 * CHUNK_BYTES as usize + 5];
        std::fs::write(&path, &content).unwrap();
        let digests = FileDigests::of_file(&path, &workers()).unwrap();
        assert_eq!(digests.check(SectorFile::Layer(1), &path, &workers()), Ok(()));

        content[2 * CHUNK_BYTES as usize + 9] ^= 1;
        content[3 * CHUNK_BYTES as usize] ^= 1;
        std::fs::write(&path, &content).unwrap();
        let damage = digests.check(SectorFile::Layer(1), &path, &workers()).unwrap_err();
        assert_eq!(damage.offset, 2 * CHUNK_BYTES);
        assert!(matches!(damage.kind, DamageKind::Content { expected, got } if expected != got));
        assert!(damage.to_string().starts_with("layer 1 ("), "{damage}");

        std::fs::write(&path, &content[1..]).unwrap();
        let damage = digests.check(SectorFile::Layer(1), &path, &workers()).unwrap_err();
        assert_eq!(damage.kind, DamageKind::Length { expected: 3 * CHUNK_BYTES + 5, got: 3 * CHUNK_BYTES + 4 });

        std::fs::remove_file(&path).unwrap();
        assert_eq!(digests.check(SectorFile::Layer(1), &path, &workers()).unwrap_err().kind, DamageKind::Missing);
    }

    #[test]
    fn the_summary_names_content_and_length() {
        let dir = tempfile::tempdir().unwrap();
        let summary = |bytes: &[u8]| {
            let path = dir.path().join("file");
            std::fs::write(&path, bytes).unwrap();
            FileDigests::of_file(&path, &workers()).unwrap().summary()
        };
        assert_eq!(summary(b"abc"), summary(b"abc"));
        assert_ne!(summary(b"abc"), summary(b"abd"));
        assert_ne!(summary(b""), summary(b"\0"));
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = serde_ipld_dagcbor::from_slice::<FileDigests>(&bytes);
        }

        #[test]
        fn encoding_round_trips(length in 0u64..5 * CHUNK_BYTES, byte in any::<u8>()) {
            let chunks = vec![[byte; 32]; length.div_ceil(CHUNK_BYTES) as usize];
            let digests = FileDigests { length, chunks };
            let encoded = serde_ipld_dagcbor::to_vec(&digests).unwrap();
            prop_assert_eq!(serde_ipld_dagcbor::from_slice::<FileDigests>(&encoded).unwrap(), digests);
        }
    }
}
