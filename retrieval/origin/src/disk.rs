//! Leaves in a folder: one file each, named by its SHA-256.
//!
//! Invariants
//! - The files together never have more bytes than the bound; room is made before one is written.
//! - A file is written under a temporary name and renamed, and hashed whenever it is read. So nothing is synced and nothing is
//!   recorded: whatever a crash leaves behind is either a leaf, or found out and removed.
//! - One process has the folder at a time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use bytes::Bytes;
use cairn_content::LEAF_BYTES;
use sha2::{Digest as _, Sha256};

use crate::memory::{Digest, Recency};

/// A folder for leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskOptions {
    /// The folder; made if it is not there. Everything in it belongs to the cache.
    pub dir: PathBuf,
    /// Most bytes of leaves in it.
    pub bytes_max: u64,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// Another process has it. Retrying helps when that one ends.
    #[error("the cache folder {} is in use by another process", dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The system refused. Retrying helps if the disk or the permission comes back.
    #[error("cannot use the cache folder {}: {source}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

#[derive(Debug)]
pub(crate) struct DiskTier {
    dir: PathBuf,
    bytes_max: u64,
    leaves: Mutex<Recency>,
    _lock: File,
}

const LOCK: &str = "lock";
const TEMPORARY: &str = "writing";

impl DiskTier {
    pub(crate) fn open(options: &DiskOptions) -> Result<Self, DiskError> {
        let dir = options.dir.clone();
        let io = |source| DiskError::Io { dir: dir.clone(), source };
        fs::create_dir_all(&dir).map_err(io)?;
        let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK)).map_err(io)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => DiskError::InUse { dir: dir.clone() },
            TryLockError::Error(source) => DiskError::Io { dir: dir.clone(), source },
        })?;
        let mut found = scan(&dir).map_err(io)?;
        found.sort_by_key(|(modified, ..)| *modified);
        let mut leaves = Recency::default();
        for (_, digest, bytes) in found {
            leaves.add(digest, bytes);
        }
        let tier = Self { dir, bytes_max: options.bytes_max, leaves: Mutex::new(leaves), _lock: lock };
        tier.make_room(&mut tier.leaves.lock().expect("no panic holds the list"), 0);
        Ok(tier)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = hex::encode(digest);
        self.dir.join(&name[..2]).join(name)
    }

    fn make_room(&self, leaves: &mut Recency, bytes: u64) {
        while leaves.used() + bytes > self.bytes_max {
            let Some(oldest) = leaves.pop_oldest() else { break };
            _ = fs::remove_file(self.path(&oldest));
        }
    }

    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.leaves.lock().expect("no panic holds the list").contains(digest)
    }

    pub(crate) fn used(&self) -> u64 {
        self.leaves.lock().expect("no panic holds the list").used()
    }

    /// A leaf, checked; one that is damaged is removed and not given.
    pub(crate) fn read(&self, digest: &Digest) -> Option<Bytes> {
        if !self.leaves.lock().expect("no panic holds the list").touch(digest) {
            return None;
        }
        let path = self.path(digest);
        let bytes = fs::read(&path).unwrap_or_default();
        if Sha256::digest(&bytes)[..] == digest[..] {
            return Some(bytes.into());
        }
        tracing::warn!(path = %path.display(), "a leaf of the cache is damaged and is fetched again");
        let mut leaves = self.leaves.lock().expect("no panic holds the list");
        leaves.remove(digest);
        _ = fs::remove_file(path);
        None
    }

    /// Keeps a leaf that was checked. A disk that fails costs the copy, nothing else.
    pub(crate) fn insert(&self, digest: Digest, bytes: &[u8]) {
        let len = bytes.len() as u64;
        if len > self.bytes_max {
            return;
        }
        // Held while writing: one writer at a time, so that room that was made is not taken by another.
        let mut leaves = self.leaves.lock().expect("no panic holds the list");
        if leaves.contains(&digest) {
            return;
        }
        self.make_room(&mut leaves, len);
        let (path, temporary) = (self.path(&digest), self.dir.join(TEMPORARY));
        let written = fs::create_dir_all(path.parent().expect("it has a folder"))
            .and_then(|()| fs::write(&temporary, bytes))
            .and_then(|()| fs::rename(&temporary, &path));
        match written {
            Ok(()) => leaves.add(digest, len),
            Err(error) => {
                _ = fs::remove_file(temporary);
                tracing::warn!(path = %path.display(), %error, "a leaf cannot be kept in the cache folder");
            }
        }
    }
}

/// What is in the folder. Files that can be no leaf are removed.
fn scan(dir: &Path) -> io::Result<Vec<(SystemTime, Digest, u64)>> {
    let mut found = Vec::new();
    for folder in fs::read_dir(dir)? {
        let folder = folder?.path();
        if !folder.is_dir() {
            if folder.file_name().is_some_and(|name| name == TEMPORARY) {
                fs::remove_file(folder)?;
            }
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let mut digest = [0; 32];
            let named = entry.file_name().to_str().is_some_and(|name| hex::decode_to_slice(name, &mut digest).is_ok());
            if named && metadata.is_file() && metadata.len() <= LEAF_BYTES {
                found.push((metadata.modified()?, digest, metadata.len()));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(seed: u8) -> (Digest, Vec<u8>) {
        let bytes = vec![seed; 1000];
        (Sha256::digest(&bytes).into(), bytes)
    }

    #[test]
    fn what_a_kill_leaves_behind_is_found_out_and_the_bound_holds() {
        let dir = tempfile::tempdir().unwrap();
        let options = DiskOptions { dir: dir.path().join("cache"), bytes_max: 3000 };
        let tier = DiskTier::open(&options).unwrap();
        for seed in 0..5 {
            tier.insert(leaf(seed).0, &leaf(seed).1);
            assert!(tier.used() <= 3000);
        }
        assert!(matches!(DiskTier::open(&options), Err(DiskError::InUse { .. })));
        let torn = tier.path(&leaf(3).0);
        drop(tier);
        fs::write(&torn, b"half").unwrap();
        fs::write(options.dir.join(TEMPORARY), b"half").unwrap();

        let tier = DiskTier::open(&options).unwrap();
        assert!(!options.dir.join(TEMPORARY).exists());
        assert_eq!(tier.read(&leaf(3).0), None);
        assert!(!torn.exists() && !tier.contains(&leaf(3).0));
        assert_eq!(tier.read(&leaf(4).0).unwrap(), leaf(4).1);
        assert_eq!(tier.read(&leaf(0).0), None);
        drop(tier);

        let tier = DiskTier::open(&DiskOptions { bytes_max: 1000, ..options }).unwrap();
        assert_eq!(tier.used(), 1000);
    }
}
