//! Buckets: datasets by root CID or name, with their files in the order of S3.
//!
//! Invariants
//! - A bucket is one dataset, hence it never changes; a key is the path of a file. Folders, empty ones too, are not keys.
//! - The order of keys is that of their bytes. A dataset sorts by names of the path instead, so each bucket that is listed
//!   has one permutation of its files (4 bytes a file), made at the first listing and kept for the [`INDEXES_MAX`] buckets
//!   that were listed last.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use cairn_content::{Dataset, FileEntry, HotStore};
use cairn_gateway::{Library, Resource, SourceError, file_resource};

use crate::listing::{Listed, SortedKeys};

/// Permutations that are kept.
const INDEXES_MAX: usize = 64;

/// Where datasets are found.
pub trait Shelf: Send + Sync + 'static {
    /// The dataset with this root CID, in text, or with this name.
    fn dataset(&self, root_or_name: &str) -> Option<Arc<Dataset>>;

    /// All of them.
    fn datasets(&self) -> Vec<Arc<Dataset>>;

    /// Opens a file of one of them.
    ///
    /// # Errors
    /// [`SourceError`] if it cannot be opened.
    fn open_file(&self, dataset: &Arc<Dataset>, file: &FileEntry) -> Result<Resource, SourceError> {
        file_resource(&dataset.slice(file))
    }
}

impl Shelf for HotStore {
    fn dataset(&self, root_or_name: &str) -> Option<Arc<Dataset>> {
        self.find(root_or_name)
    }

    fn datasets(&self) -> Vec<Arc<Dataset>> {
        HotStore::datasets(self)
    }
}

impl Shelf for Library {
    fn dataset(&self, root_or_name: &str) -> Option<Arc<Dataset>> {
        Library::dataset(self, root_or_name)
    }

    fn datasets(&self) -> Vec<Arc<Dataset>> {
        Library::datasets(self)
    }

    fn open_file(&self, dataset: &Arc<Dataset>, file: &FileEntry) -> Result<Resource, SourceError> {
        Library::open_file(self, dataset, file)
    }
}

/// Whether S3 allows a bucket of this name: 3 to 63 of `a-z 0-9 . -`, a letter or digit at both ends.
pub fn is_bucket_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    let end = |byte: Option<u8>| byte.is_some_and(|byte| inner(byte) && byte.is_ascii_alphanumeric());
    (3..=63).contains(&name.len())
        && name.bytes().all(inner)
        && end(name.bytes().next())
        && end(name.bytes().last())
        && !name.contains("..")
}

/// The name under which a dataset is listed: its own if S3 allows it, else its root CID. Both are always answered.
pub fn listed_name(dataset: &Dataset) -> String {
    let name = dataset.name();
    if is_bucket_name(name) { name.to_owned() } else { dataset.root().to_string() }
}

/// Seconds since 1970 when a file was last modified, as far as it is known.
pub fn modified(file: &FileEntry) -> u64 {
    u64::try_from(file.stamp.modified_seconds).unwrap_or_default()
}

/// A dataset with its files in the order of their keys' bytes.
#[derive(Debug)]
pub struct KeyIndex {
    dataset: Arc<Dataset>,
    order: Vec<u32>,
}

impl KeyIndex {
    /// Sorts the files of a dataset.
    pub fn new(dataset: Arc<Dataset>) -> Self {
        let files = dataset.files();
        let mut order: Vec<u32> = (0..files.len() as u32).collect();
        order.sort_unstable_by(|a, b| files[*a as usize].path.as_bytes().cmp(files[*b as usize].path.as_bytes()));
        Self { dataset, order }
    }

    fn file(&self, place: usize) -> Option<&FileEntry> {
        self.order.get(place).map(|number| &self.dataset.files()[*number as usize])
    }
}

impl SortedKeys for KeyIndex {
    fn seek(&self, position: &[u8]) -> Option<&str> {
        let files = self.dataset.files();
        let place = self.order.partition_point(|number| files[*number as usize].path.as_bytes() < position);
        self.file(place).map(|file| file.path.as_str())
    }

    fn describe(&self, key: &str) -> Listed {
        let file = self.dataset.file(key).expect("a key that was just found");
        Listed { key: key.to_owned(), size: file.size, etag: file.cid.to_string(), modified: modified(file) }
    }
}

/// The permutations that are kept, the one used last at the end.
#[derive(Debug, Default)]
pub struct IndexCache(Mutex<VecDeque<Arc<KeyIndex>>>);

impl IndexCache {
    /// The permutation of a dataset, made if it is not there.
    pub fn of(&self, dataset: &Arc<Dataset>) -> Arc<KeyIndex> {
        // Found by the value itself and not by its root: a dataset that was read anew has other stamps.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = kept.iter().position(|index| Arc::ptr_eq(&index.dataset, dataset)) {
            let index = kept.remove(place).expect("a place that was just found");
            kept.push_back(Arc::clone(&index));
            return index;
        }
        drop(kept);
        // Sorted outside the lock: two requests may do it twice, none waits for a stranger's dataset.
        let index = Arc::new(KeyIndex::new(Arc::clone(dataset)));
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == INDEXES_MAX {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&index));
        index
    }
}

#[cfg(test)]
mod tests {
    use cairn_content::ImportOptions;

    use super::*;

    #[test]
    fn keys_are_sorted_by_bytes_and_described_by_cid() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/b", "a-b", "a.b", "b"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, name).unwrap();
        }
        let dataset = Arc::new(Dataset::import(folder.path(), &ImportOptions::default()).unwrap());
        let cache = IndexCache::default();
        let index = cache.of(&dataset);
        assert!(Arc::ptr_eq(&index, &cache.of(&dataset)));
        let (mut keys, mut position) = (vec![], vec![]);
        while let Some(key) = index.seek(&position) {
            keys.push(key);
            position = [key.as_bytes(), &[0]].concat();
        }
        assert_eq!(keys, ["a-b", "a.b", "a/b", "b"]);
        let listed = index.describe("a/b");
        assert_eq!((listed.size, listed.etag), (3, dataset.file("a/b").unwrap().cid.to_string()));
    }

    #[test]
    fn bucket_names_are_those_of_s3() {
        for name in ["abc", "a.b-c9", &"a".repeat(63), "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"] {
            assert!(is_bucket_name(name), "{name}");
        }
        for name in ["", "ab", "Abc", "a_b", "-ab", "ab-", "a..b", "a/b", &"a".repeat(64), "äbc"] {
            assert!(!is_bucket_name(name), "{name}");
        }
    }
}
