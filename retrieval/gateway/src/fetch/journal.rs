//! Which leaves of a partial file were verified: a bitmap beside it, so that a killed fetch continues.
//!
//! A bit is set only after the leaf's bytes were written, and both writes go through the same kernel, so `kill -9` loses
//! nothing that was marked. A power cut may keep the bit and lose the bytes; therefore a resumed fetch hashes every marked
//! leaf again, and the bitmap only says where looking is worth while.
//!
//! ```text
//! offset  bytes
//!      0      8  magic "CRNFETCH"
//!      8      4  version, little-endian: 1
//!     12      4  first four bytes of SHA-256 over bytes 16..64
//!     16      8  leaves, little-endian
//!     24      8  bytes of the file, little-endian
//!     32     32  SHA-256 of the file's root CID
//!     64      n  bitmap, leaf i at bit i % 8 of byte i / 8
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use cid::Cid;
use sha2::{Digest, Sha256};

const MAGIC: [u8; 8] = *b"CRNFETCH";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;

/// The bitmap of one partial file.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    bits: Mutex<Vec<u8>>,
}

/// What a journal belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalKey {
    pub(crate) cid: Cid,
    pub(crate) bytes: u64,
    pub(crate) leaves: usize,
}

impl JournalKey {
    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[16..24].copy_from_slice(&(self.leaves as u64).to_le_bytes());
        header[24..32].copy_from_slice(&self.bytes.to_le_bytes());
        header[32..].copy_from_slice(&Sha256::digest(self.cid.to_bytes()));
        let checksum = Sha256::digest(&header[16..]);
        header[12..16].copy_from_slice(&checksum[..4]);
        header
    }

    fn bitmap_bytes(&self) -> usize {
        self.leaves.div_ceil(8)
    }
}

impl Journal {
    /// A new journal in which nothing is marked. An older file of that name is replaced.
    pub(crate) fn create(path: &Path, key: &JournalKey) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        let bits = vec![0; key.bitmap_bytes()];
        file.write_all_at(&bits, HEADER_BYTES as u64)?;
        file.write_all_at(&key.header(), 0)?;
        Ok(Self { file, bits: Mutex::new(bits) })
    }

    /// Opens a journal; `None` if there is none, or it is damaged, or it belongs to something else.
    pub(crate) fn open(path: &Path, key: &JournalKey) -> io::Result<Option<Self>> {
        let mut file = match File::options().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = HEADER_BYTES + key.bitmap_bytes();
        if file.metadata()?.len() != length as u64 {
            return Ok(None);
        }
        let mut content = vec![0; length];
        file.read_exact(&mut content)?;
        let bits = content.split_off(HEADER_BYTES);
        if content != key.header() {
            return Ok(None);
        }
        Ok(Some(Self { file, bits: Mutex::new(bits) }))
    }

    /// Whether a leaf is marked.
    pub(crate) fn is_marked(&self, leaf: usize) -> bool {
        self.bits.lock().expect("no panic under this lock")[leaf / 8] & (1 << (leaf % 8)) != 0
    }

    /// Marks a leaf whose bytes are written.
    pub(crate) fn mark(&self, leaf: usize) -> io::Result<()> {
        self.set(leaf, true)
    }

    /// Takes a mark back: the bytes were not what the mark said.
    pub(crate) fn unmark(&self, leaf: usize) -> io::Result<()> {
        self.set(leaf, false)
    }

    fn set(&self, leaf: usize, marked: bool) -> io::Result<()> {
        let mut bits = self.bits.lock().expect("no panic under this lock");
        let (at, mask) = (leaf / 8, 1 << (leaf % 8));
        bits[at] = if marked { bits[at] | mask } else { bits[at] & !mask };
        self.file.write_all_at(&bits[at..=at], (HEADER_BYTES + at) as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> JournalKey {
        JournalKey { cid: "bafkqaaa".parse().unwrap(), bytes: 20_000_000, leaves: 20 }
    }

    #[test]
    fn marks_survive_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let journal = Journal::create(&path, &key()).unwrap();
        for leaf in [0, 7, 8, 19] {
            journal.mark(leaf).unwrap();
        }
        journal.unmark(8).unwrap();
        drop(journal);
        let journal = Journal::open(&path, &key()).unwrap().unwrap();
        let marked: Vec<_> = (0..20).filter(|&leaf| journal.is_marked(leaf)).collect();
        assert_eq!(marked, [0, 7, 19]);
    }

    #[test]
    fn foreign_and_damaged_journals_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        assert!(Journal::open(&path, &key()).unwrap().is_none(), "absent");
        Journal::create(&path, &key()).unwrap();
        for other in [
            JournalKey { leaves: 19, ..key() },
            JournalKey { bytes: 1, ..key() },
            JournalKey { cid: "bafkqaaa".parse::<Cid>().map(|cid| Cid::new_v1(0x71, *cid.hash())).unwrap(), ..key() },
        ] {
            assert!(Journal::open(&path, &other).unwrap().is_none(), "{other:?}");
        }
        let whole = std::fs::read(&path).unwrap();
        for at in 0..HEADER_BYTES {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert!(Journal::open(&path, &key()).unwrap().is_none(), "byte {at}");
        }
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Journal::open(&path, &key()).unwrap().is_none(), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_journal(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("j");
            std::fs::write(&path, bytes).unwrap();
            prop_assert!(Journal::open(&path, &key()).unwrap().is_none());
        }
    }
}
