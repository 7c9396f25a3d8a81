//! A CAR file of any tool, served block by block from where it lies.
//!
//! 1. Opening reads the file once, from one end to the other: each block is checked against its CID and its place is
//!    remembered. Nothing is copied.
//! 2. A lookup goes by multihash, so that a block answers to every CID of its bytes: version 0 and 1, whatever codec.
//! 3. A block is a [`FileSlice`]: reading it checks that the file still has the stamp that it was indexed with.
//!
//! CARv1 and CARv2 are read (of the latter its CARv1 payload; its own index is not trusted). Roots may be missing from the
//! file, and so may any block that another one links to: an archive is a bag of blocks. Blocks under another hash than
//! SHA-256 cannot be checked and are left out; their number is told.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use cid::Cid;
use cid::multihash::Multihash;
use sha2::{Digest, Sha256};

use crate::block::{BlockRejection, SHA2_256};
use crate::car::{CarError, CarLimits, CarReader, CarRejection};
use crate::source::{FileSlice, FileStamp};

/// The first 11 bytes of every CARv2: the header of an archive of version 2 without roots.
const V2_PRAGMA: [u8; 11] = [0x0a, 0xa1, 0x67, b'v', b'e', b'r', b's', b'i', b'o', b'n', 0x02];
/// After it: 16 bytes of characteristics, then offset and length of the payload and offset of the index.
const V2_HEADER_BYTES: usize = 40;
/// What is hashed to nothing: the CID holds the bytes.
const IDENTITY: u64 = 0x00;

/// Why a file is not served as an archive.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}", path = path.display())]
pub struct CarArchiveError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, or what the system says.
    pub reason: CarError,
}

/// An indexed CAR file.
#[derive(Debug)]
pub struct CarArchive {
    path: PathBuf,
    stamp: FileStamp,
    roots: Vec<Cid>,
    blocks: HashMap<Multihash<64>, Extent>,
    left_out: u64,
}

#[derive(Debug, Clone, Copy)]
struct Extent {
    offset: u64,
    len: u32,
}

impl CarArchive {
    /// Reads, checks and indexes an archive. Blocks of up to 2 MiB are accepted.
    ///
    /// # Errors
    /// The file cannot be read, is no CAR, or a block does not match its CID.
    pub fn open(path: &Path) -> Result<CarArchive, CarArchiveError> {
        let failed = |reason| CarArchiveError { path: path.to_owned(), reason };
        let path = std::path::absolute(path).map_err(|error| failed(error.into()))?;
        let mut file = File::open(&path).map_err(|error| failed(error.into()))?;
        let stamp = FileStamp::of(&file.metadata().map_err(|error| failed(error.into()))?);
        let (start, end) = payload(&mut file, stamp.size).map_err(failed)?;
        let reader = BufReader::with_capacity(1 << 20, file.take(end - start));
        let mut car = CarReader::new(reader, CarLimits::default()).map_err(failed)?;
        let roots = car.roots().to_vec();
        let mut archive = CarArchive { path, stamp, roots, blocks: HashMap::new(), left_out: 0 };
        while let Some(block) = car.next_foreign().map_err(failed)? {
            match block.cid.hash().code() {
                SHA2_256 => {
                    check(&block.cid, &block.data)
                        .map_err(|reason| failed(CarRejection::Block { at: start + block.offset, reason }.into()))?;
                    let extent = Extent { offset: start + block.offset, len: block.data.len() as u32 };
                    archive.blocks.insert(*block.cid.hash(), extent);
                }
                // Whoever knows such a CID has the bytes.
                IDENTITY => {}
                _ => archive.left_out += 1,
            }
        }
        Ok(archive)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The roots that its header names; their blocks need not be there.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// Number of blocks that can be served.
    pub fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Number of blocks that cannot be checked, and are not served.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> u64 {
        self.stamp.size
    }

    /// Where a block is.
    pub fn block(&self, cid: &Cid) -> Option<FileSlice> {
        let extent = self.blocks.get(cid.hash())?;
        let (offset, len) = (extent.offset, u64::from(extent.len));
        Some(FileSlice { path: self.path.clone(), offset, len, stamp: self.stamp })
    }
}

fn check(cid: &Cid, data: &[u8]) -> Result<(), BlockRejection> {
    let got: [u8; 32] = Sha256::digest(data).into();
    if cid.hash().digest() == got {
        return Ok(());
    }
    let hash = Multihash::wrap(SHA2_256, &got).expect("a 32-byte digest fits a multihash of 64");
    let got = if cid.version() == cid::Version::V0 { Cid::new_v0(hash) } else { Ok(Cid::new_v1(cid.codec(), hash)) };
    Err(BlockRejection::Mismatch { expected: *cid, got: got.expect("a SHA-256 multihash makes a version 0 CID") })
}

/// First byte and end of the CARv1, with the file's cursor at the first.
fn payload(file: &mut File, size: u64) -> Result<(u64, u64), CarError> {
    let mut head = [0; V2_PRAGMA.len() + V2_HEADER_BYTES];
    let version_2 = match file.read_exact(&mut head) {
        Ok(()) => head.starts_with(&V2_PRAGMA),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
        Err(error) => return Err(error.into()),
    };
    let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    let (start, end) = if version_2 {
        let (start, bytes) = (number(V2_PRAGMA.len() + 16), number(V2_PRAGMA.len() + 24));
        match start.checked_add(bytes).filter(|end| *end <= size && start >= head.len() as u64) {
            Some(end) => (start, end),
            None => {
                let reason = format!("a payload of {bytes} bytes at {start} in a file of {size} bytes");
                return Err(CarRejection::Header { reason }.into());
            }
        }
    } else {
        (0, size)
    };
    file.seek(SeekFrom::Start(start))?;
    Ok((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BlockId, Codec};
    use crate::car::CarWriter;

    fn archive(blocks: &[&[u8]]) -> Vec<u8> {
        let mut writer = CarWriter::new(Vec::new(), &[BlockId::of(Codec::Raw, b"absent").cid()]).unwrap();
        for data in blocks {
            writer.write(&BlockId::of(Codec::Raw, data).cid(), data).unwrap();
        }
        writer.finish().unwrap()
    }

    fn open(bytes: &[u8]) -> Result<CarArchive, CarArchiveError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.car");
        std::fs::write(&path, bytes).unwrap();
        let archive = CarArchive::open(&path)?;
        for block in [&b"one"[..], b"two"] {
            let slice = archive.block(&BlockId::of(Codec::Raw, block).cid()).expect("it is there");
            assert_eq!(slice.read().unwrap(), block);
        }
        Ok(archive)
    }

    #[test]
    fn blocks_answer_to_every_cid_of_their_bytes() {
        let archive = open(&archive(&[b"one", b"two"])).unwrap();
        assert_eq!((archive.blocks(), archive.roots().len(), archive.left_out()), (2, 1, 0));
        let hash = *BlockId::of(Codec::Raw, b"one").cid().hash();
        assert!(archive.block(&Cid::new_v0(hash).unwrap()).is_some());
        assert!(archive.block(&Cid::new_v1(0x71, hash)).is_some());
        assert!(archive.block(&archive.roots()[0]).is_none(), "a root that is not there");
    }

    #[test]
    fn version_2_is_read_through_its_payload() {
        let inner = archive(&[b"one", b"two"]);
        let mut bytes = V2_PRAGMA.to_vec();
        bytes.extend([0; 16]);
        for number in [64u64, inner.len() as u64, 64 + inner.len() as u64] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.resize(64, 0);
        bytes.extend(&inner);
        bytes.extend(b"an index of some kind");
        assert_eq!(open(&bytes).unwrap().blocks(), 2);
        bytes.truncate(64 + inner.len() - 1);
        assert!(open(&bytes).unwrap_err().to_string().contains("a payload of"));
    }

    #[test]
    fn a_damaged_block_is_named_and_foreign_ones_are_handled() {
        let mut bytes = archive(&[b"one", b"two"]);
        *bytes.last_mut().unwrap() ^= 1;
        assert!(open(&bytes).unwrap_err().to_string().contains("does not match its bytes"));
        let mut writer = CarWriter::new(Vec::new(), &[]).unwrap();
        let v0 = Cid::new_v0(*BlockId::of(Codec::Raw, b"one").cid().hash()).unwrap();
        let blake: Cid = Cid::new_v1(0x55, Multihash::wrap(0xb220, &[7; 32]).unwrap());
        let identity = Cid::new_v1(0x55, Multihash::wrap(0, b"inline").unwrap());
        for (cid, data) in [(v0, &b"one"[..]), (blake, b"?"), (identity, b"inline")] {
            writer.write(&cid, data).unwrap();
        }
        writer.write(&BlockId::of(Codec::DagPb, b"two").cid(), b"two").unwrap();
        let archive = open(&writer.finish().unwrap()).unwrap();
        assert_eq!((archive.blocks(), archive.left_out()), (2, 1));
    }
}
