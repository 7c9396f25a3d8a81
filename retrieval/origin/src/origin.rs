//! What lies in an origin, and how it gets there.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_content::{Dataset, FileEntry, IndexRejection, LEAF_BYTES, ReadError};
use cid::Cid;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, WriteMultipart,
};
use sha2::{Digest as _, Sha256};

use crate::address::{OriginAddress, S3Settings};
use crate::cache::SLICE_LEAVES;

/// Most bytes of an index.
const INDEX_BYTES_MAX: u64 = 256 << 20;
/// Most datasets of an origin; others are not seen.
pub(crate) const DATASETS_MAX: usize = 4096;
/// Parts of an upload that are on their way at a time.
const PARTS_AT_ONCE: usize = 4;
/// S3 takes at most 10,000 parts.
const PARTS_MAX: u64 = 9_000;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Repetitions of one request, after 0.1 s and more, drawn by chance.
const RETRIES: usize = 2;

/// Why an origin cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// The store behind it failed. Retrying helps if it comes back.
    #[error("origin {address}: {source}")]
    Store {
        /// The origin.
        address: String,
        /// What the store says.
        source: Box<object_store::Error>,
    },
    /// An index is not usable. Publish the dataset again.
    #[error("origin {address}: the index of {root} is not usable: {rejection}")]
    Index {
        /// The origin.
        address: String,
        /// The dataset.
        root: Cid,
        /// What is wrong.
        rejection: IndexRejection,
    },
    /// An index larger than what is read.
    #[error("origin {address}: the index of {root} has {got} bytes, at most {INDEX_BYTES_MAX} are read")]
    IndexTooLarge {
        /// The origin.
        address: String,
        /// The dataset.
        root: Cid,
        /// Its bytes.
        got: u64,
    },
    /// The index under one root is that of another dataset.
    #[error("origin {address}: expected the index of {expected}, got that of {got}")]
    OtherRoot {
        /// The origin.
        address: String,
        /// The root in the name.
        expected: Cid,
        /// The root of the index.
        got: Cid,
    },
    /// A file of the dataset cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file of the dataset is not what was hashed. Import it again.
    #[error("{path} is not what was hashed, at byte {offset}; nothing of it was published")]
    FileDiffers {
        /// Path within the dataset.
        path: String,
        /// First byte of the leaf.
        offset: u64,
    },
    /// The origin has something else than what was written.
    #[error("origin {address}: {object} is damaged at byte {offset}; remove it there and publish again")]
    CopyDiffers {
        /// The origin.
        address: String,
        /// The object.
        object: String,
        /// First byte that is wrong.
        offset: u64,
    },
    /// The cache's folder cannot be used.
    #[error(transparent)]
    Disk(#[from] crate::DiskError),
    /// The system refused threads.
    #[error("cannot start the origin's threads: {0}")]
    Threads(std::io::Error),
}

/// What publishing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Published {
    /// Files copied.
    pub copied: usize,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Files that were there already.
    pub kept: usize,
}

/// A place that many gateways share.
#[derive(Clone)]
pub struct Origin {
    store: Arc<dyn ObjectStore>,
    address: String,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("address", &self.address).finish_non_exhaustive()
    }
}

pub(crate) fn file_path(cid: &Cid) -> ObjectPath {
    ObjectPath::from_iter(["files".to_owned(), cid.to_string()])
}

fn index_path(root: &Cid) -> ObjectPath {
    ObjectPath::from_iter(["datasets".to_owned(), root.to_string(), "dataset.cbor".to_owned()])
}

fn s3(bucket: &str, settings: &S3Settings) -> object_store::Result<Arc<dyn ObjectStore>> {
    // object_store's client takes the process's provider; whoever set one before keeps it.
    _ = rustls::crypto::ring::default_provider().install_default();
    let plain = settings.endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
    let client =
        ClientOptions::new().with_allow_http(plain).with_connect_timeout(CONNECT_TIMEOUT).with_timeout(ATTEMPT_TIMEOUT);
    let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: ATTEMPT_TIMEOUT };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&settings.region)
        .with_client_options(client)
        .with_retry(retry);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    builder = match &settings.keys {
        Some((access, secret)) => builder.with_access_key_id(access).with_secret_access_key(secret),
        None => builder.with_skip_signature(true),
    };
    Ok(Arc::new(builder.build()?))
}

impl Origin {
    /// Makes ready to talk to an origin. Nothing is asked yet; a folder must be there.
    ///
    /// # Errors
    /// [`OriginError::Store`] for a folder that is not there, or settings that the store refuses.
    pub fn open(address: &OriginAddress, settings: &S3Settings) -> Result<Self, OriginError> {
        let store: object_store::Result<Arc<dyn ObjectStore>> = match address {
            OriginAddress::Folder(path) => {
                LocalFileSystem::new_with_prefix(path).map(|store| Arc::new(store.with_fsync(true)) as _)
            }
            OriginAddress::S3 { bucket, prefix } if prefix.is_empty() => s3(bucket, settings),
            OriginAddress::S3 { bucket, prefix } => {
                s3(bucket, settings).map(|store| Arc::new(PrefixStore::new(store, prefix.as_str())) as _)
            }
        };
        let address = address.to_string();
        match store {
            Ok(store) => Ok(Self { store, address }),
            Err(error) => Err(OriginError::Store { address, source: error.into() }),
        }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    fn failed(&self, error: object_store::Error) -> OriginError {
        OriginError::Store { address: self.address.clone(), source: error.into() }
    }

    /// The roots of what is published, in no order.
    pub(crate) async fn roots(&self) -> Result<Vec<Cid>, OriginError> {
        let listed = self.store.list_with_delimiter(Some(&ObjectPath::from("datasets"))).await;
        let prefixes = listed.map_err(|error| self.failed(error))?.common_prefixes;
        Ok(prefixes.iter().filter_map(|path| path.filename()?.parse().ok()).take(DATASETS_MAX).collect())
    }

    /// The index of a dataset, checked; its base is the empty path.
    pub(crate) async fn index(&self, root: &Cid) -> Result<Dataset, OriginError> {
        let found = self.store.get(&index_path(root)).await.map_err(|error| self.failed(error))?;
        let (address, root, got) = (self.address.clone(), *root, found.meta.size);
        if got > INDEX_BYTES_MAX {
            return Err(OriginError::IndexTooLarge { address, root, got });
        }
        let bytes = found.bytes().await.map_err(|error| self.failed(error))?;
        let decoded = tokio::task::spawn_blocking(move || Dataset::from_published_index(&bytes)).await;
        let decoded = decoded.unwrap_or_else(|lost| std::panic::resume_unwind(lost.into_panic()));
        let dataset = decoded.map_err(|rejection| OriginError::Index { address: address.clone(), root, rejection })?;
        if dataset.root() != root {
            return Err(OriginError::OtherRoot { address, expected: root, got: dataset.root() });
        }
        Ok(dataset)
    }

    /// Copies a dataset in: files that are not there yet, each leaf checked on its way, then the index. A file appears whole or
    /// not at all, so after an interruption the same call goes on with the first file that is missing. With `recheck`, files
    /// that are there already are read back and compared.
    ///
    /// # Errors
    /// [`OriginError`]; the index was not written then.
    pub async fn publish(&self, dataset: &Dataset, recheck: bool) -> Result<Published, OriginError> {
        let mut done = Published::default();
        let mut seen = HashSet::new();
        for file in dataset.files().iter().filter(|file| seen.insert(file.cid)) {
            let path = file_path(&file.cid);
            match self.store.head(&path).await {
                Ok(there) if there.size == file.size => {
                    if recheck {
                        self.recheck(file, &path).await?;
                    }
                    done.kept += 1;
                    continue;
                }
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed(error)),
            }
            self.copy(dataset, file, &path).await?;
            done.copied += 1;
            done.copied_bytes += file.size;
        }
        let index = PutPayload::from(dataset.published_index());
        self.store.put(&index_path(&dataset.root()), index).await.map_err(|error| self.failed(error))?;
        Ok(done)
    }

    async fn copy(&self, dataset: &Dataset, file: &FileEntry, path: &ObjectPath) -> Result<(), OriginError> {
        let source = dataset.slice(file).open()?;
        if file.leaf_digests().len() <= SLICE_LEAVES {
            let mut whole = Vec::with_capacity(usize::try_from(file.size).expect("eight leaves fit memory"));
            for number in 0..file.leaf_digests().len() {
                whole.extend_from_slice(&leaf(dataset, file, &source, number)?);
            }
            self.store.put(path, PutPayload::from(whole)).await.map_err(|error| self.failed(error))?;
            return Ok(());
        }
        let part_bytes = (file.size / PARTS_MAX).next_multiple_of(LEAF_BYTES).max(SLICE_LEAVES as u64 * LEAF_BYTES);
        let upload = self.store.put_multipart(path).await.map_err(|error| self.failed(error))?;
        let mut upload =
            WriteMultipart::new_with_chunk_size(upload, usize::try_from(part_bytes).expect("a part fits memory"));
        for number in 0..file.leaf_digests().len() {
            let sent = match leaf(dataset, file, &source, number) {
                Ok(bytes) => {
                    let room = upload.wait_for_capacity(PARTS_AT_ONCE).await;
                    room.map(|()| upload.put(bytes)).map_err(|error| self.failed(error))
                }
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                _ = upload.abort().await;
                return Err(error);
            }
        }
        upload.finish().await.map_err(|error| self.failed(error))?;
        Ok(())
    }

    async fn recheck(&self, file: &FileEntry, path: &ObjectPath) -> Result<(), OriginError> {
        for (number, digest) in file.leaf_digests().iter().enumerate() {
            let offset = number as u64 * LEAF_BYTES;
            let end = (offset + LEAF_BYTES).min(file.size);
            if offset == end {
                continue;
            }
            let bytes = self.store.get_range(path, offset..end).await.map_err(|error| self.failed(error))?;
            if Sha256::digest(&bytes)[..] != digest[..] {
                let (address, object) = (self.address.clone(), path.to_string());
                return Err(OriginError::CopyDiffers { address, object, offset });
            }
        }
        Ok(())
    }
}

/// A leaf of a plain file, checked.
fn leaf(dataset: &Dataset, file: &FileEntry, source: &File, number: usize) -> Result<Bytes, OriginError> {
    let offset = number as u64 * LEAF_BYTES;
    let mut bytes = vec![0; (file.size - offset).min(LEAF_BYTES) as usize];
    source.read_exact_at(&mut bytes, offset).map_err(|error| {
        let path = dataset.base().join(&file.path);
        OriginError::Read(ReadError::Io { path, error })
    })?;
    if Sha256::digest(&bytes)[..] != file.leaf_digests()[number][..] {
        return Err(OriginError::FileDiffers { path: file.path.clone(), offset });
    }
    Ok(bytes.into())
}
