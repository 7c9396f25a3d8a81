//! The journal: what is done for every sector, durable.
//!
//! One RocksDB, written synchronously. Layout:
//!
//! ```text
//! default   "format"                       [magic, version, provider]
//! sectors   sector u64 BE                  [version, SectorRecord]
//! digests   sector u64 BE || file (CBOR)   [version, FileDigests]
//! posts     closes_at u64 BE || deadline u32 BE || partition u32 BE
//!                                          [version, PostRecord]
//! updates   sector u64 BE                  [version, UpdateRecord]
//! ```
//!
//! All values are DAG-CBOR. A state and the digests of the files it speaks of are one write batch: after a crash there
//! are both or neither.

use std::path::{Path, PathBuf};

use cairn_protocol::{Epoch, ProviderId, SectorNumber};
use rocksdb::{ColumnFamily, ColumnFamilyDescriptor, DB, IteratorMode, Options, WriteBatch, WriteOptions};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::digest::FileDigests;
use crate::file::SectorFile;
use crate::sector_update::UpdateRecord;
use crate::state::SectorRecord;
use crate::window_post::{PostKey, PostRecord};

const MAGIC: &str = "cairn sealing journal";
/// Version of this layout. Version 1 had no SNARKs: what it knew was about ledgers that took plain proofs.
pub const JOURNAL_VERSION: u32 = 2;
const KEY_FORMAT: &[u8] = b"format";
const CF_SECTORS: &str = "sectors";
const CF_DIGESTS: &str = "digests";
const CF_POSTS: &str = "posts";
const CF_UPDATES: &str = "updates";
const FAMILIES: [&str; 4] = [CF_SECTORS, CF_DIGESTS, CF_POSTS, CF_UPDATES];

/// The journal cannot be opened, read or written. None of these is repaired by trying again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The folder holds something else.
    #[error("{}: not a sealing journal: {found}", path.display())]
    NotAJournal {
        /// The folder.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// Written by an earlier or a later program.
    #[error(
        "{}: journal version {got}, this program reads version {expected}; {}", path.display(),
        if got > expected { "use a newer program" } else { "its ledger took plain proofs: start a new provider" }
    )]
    Version {
        /// The folder.
        path: PathBuf,
        /// Ours.
        expected: u32,
        /// The journal's.
        got: u32,
    },
    /// The journal of someone else.
    #[error("{}: journal of {got}, expected {expected}", path.display())]
    Provider {
        /// The folder.
        path: PathBuf,
        /// Ours.
        expected: ProviderId,
        /// The journal's.
        got: ProviderId,
    },
    /// Open in another process, or in this one.
    #[error("{}: the journal is in use: {detail}", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// What the database said.
        detail: String,
    },
    /// The database failed.
    #[error("{}: cannot {operation} the journal: {source}", path.display())]
    Database {
        /// The folder.
        path: PathBuf,
        /// What was tried.
        operation: &'static str,
        /// The database's reason.
        source: rocksdb::Error,
    },
    /// An entry does not decode.
    #[error("{}: entry {entry} is damaged: {detail}", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// Which entry.
        entry: String,
        /// What the decoder said.
        detail: String,
    },
}

/// The open journal of one provider. At most one exists per folder.
pub struct Journal {
    database: DB,
    path: PathBuf,
}

type KeyValue = (Box<[u8]>, Box<[u8]>);

#[derive(Serialize, Deserialize)]
struct Format(String, u32, ProviderId);

impl Journal {
    /// Opens the journal in `path`, or makes one if the folder is empty or missing.
    ///
    /// # Errors
    /// [`JournalError`] says if the folder holds something else, another version or another provider's journal, or if
    /// it is in use.
    pub fn open(path: &Path, provider: ProviderId) -> Result<Self, JournalError> {
        refuse_foreign_folder(path)?;
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_keep_log_file_num(2);
        let families = FAMILIES.map(|name| ColumnFamilyDescriptor::new(name, Options::default()));
        let database = DB::open_cf_descriptors(&options, path, families).map_err(|source| match source.kind() {
            rocksdb::ErrorKind::IOError if source.as_ref().contains("lock") => {
                JournalError::InUse { path: path.to_owned(), detail: source.to_string() }
            }
            _ => JournalError::Database { path: path.to_owned(), operation: "open", source },
        })?;
        let journal = Self { database, path: path.to_owned() };
        journal.check_format(provider)?;
        Ok(journal)
    }

    fn check_format(&self, provider: ProviderId) -> Result<(), JournalError> {
        let path = || self.path.clone();
        let stored = self.database.get(KEY_FORMAT).map_err(|source| self.database_error("read", source))?;
        let Some(bytes) = stored else {
            let is_empty = self.database.iterator(IteratorMode::Start).next().is_none();
            if !is_empty {
                let found = "a RocksDB without our format entry".to_owned();
                return Err(JournalError::NotAJournal { path: path(), found });
            }
            let mut batch = WriteBatch::default();
            batch.put(KEY_FORMAT, encode(&Format(MAGIC.to_owned(), JOURNAL_VERSION, provider)));
            return self.write(batch);
        };
        let format: Format = serde_ipld_dagcbor::from_slice(&bytes)
            .map_err(|error| JournalError::NotAJournal { path: path(), found: format!("format entry: {error}") })?;
        match format {
            Format(magic, ..) if magic != MAGIC => Err(JournalError::NotAJournal { path: path(), found: magic }),
            Format(_, got, _) if got != JOURNAL_VERSION => {
                Err(JournalError::Version { path: path(), expected: JOURNAL_VERSION, got })
            }
            Format(_, _, got) if got != provider => {
                Err(JournalError::Provider { path: path(), expected: provider, got })
            }
            Format(..) => Ok(()),
        }
    }

    /// The record of `sector`.
    ///
    /// # Errors
    /// [`JournalError`] of the database or of a damaged entry.
    pub fn sector(&self, sector: SectorNumber) -> Result<Option<SectorRecord>, JournalError> {
        self.get(CF_SECTORS, &sector.0.to_be_bytes())
    }

    /// All records, ascending by number.
    ///
    /// # Errors
    /// As [`Journal::sector`].
    pub fn sectors(&self) -> Result<Vec<SectorRecord>, JournalError> {
        self.all(CF_SECTORS)
    }

    fn all<T: DeserializeOwned>(&self, family: &'static str) -> Result<Vec<T>, JournalError> {
        self.database
            .iterator_cf(self.family(family), IteratorMode::Start)
            .map(|entry| {
                let (key, bytes) = entry.map_err(|source| self.database_error("read", source))?;
                self.decode(family, &key, &bytes)
            })
            .collect()
    }

    /// What is known about the update of `sector`.
    ///
    /// # Errors
    /// As [`Journal::sector`].
    pub fn update(&self, sector: SectorNumber) -> Result<Option<UpdateRecord>, JournalError> {
        self.get(CF_UPDATES, &sector.0.to_be_bytes())
    }

    /// All updates, ascending by sector.
    ///
    /// # Errors
    /// As [`Journal::sector`].
    pub fn updates(&self) -> Result<Vec<UpdateRecord>, JournalError> {
        self.all(CF_UPDATES)
    }

    /// Writes what is known about an update.
    ///
    /// # Errors
    /// As [`Journal::sector`].
    ///
    /// # Panics
    /// If the state of `record` cannot follow the one in the journal, as [`Journal::write_sector`].
    pub fn write_update(&self, record: &UpdateRecord) -> Result<(), JournalError> {
        let sector = record.sector;
        if let Some(before) = self.update(sector)? {
            let (from, to) = (before.state.name(), record.state.name());
            assert!(before.state.can_become(&record.state), "the update of {sector} cannot go from {from} to {to}");
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(CF_UPDATES), sector.0.to_be_bytes(), encode_versioned(record));
        self.write(batch)
    }

    /// Writes `record`, and with it digests of files just made.
    ///
    /// # Errors
    /// As [`Journal::sector`].
    ///
    /// # Panics
    /// If the state of `record` cannot follow the one in the journal: that is a mistake of ours, and carrying on would
    /// lose work.
    pub fn write_sector(
        &self,
        record: &SectorRecord,
        digests: &[(SectorFile, FileDigests)],
    ) -> Result<(), JournalError> {
        let sector = record.sector();
        if let Some(before) = self.sector(sector)? {
            let (from, to) = (&before.state, &record.state);
            assert!(from.can_become(to, &record.params()), "sector {sector} cannot go from {from:?} to {to:?}");
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(CF_SECTORS), sector.0.to_be_bytes(), encode_versioned(record));
        for (file, digest) in digests {
            batch.put_cf(self.family(CF_DIGESTS), digest_key(sector, *file), encode_versioned(digest));
        }
        self.write(batch)
    }

    /// Forgets an update.
    ///
    /// # Errors
    /// As [`Journal::sector`].
    pub fn forget_update(&self, sector: SectorNumber) -> Result<(), JournalError> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.family(CF_UPDATES), sector.0.to_be_bytes());
        self.write(batch)
    }

    /// The digests recorded for `file`.
    ///
    /// # Errors
    /// As [`Journal::sector`].
    pub fn digests(&self, sector: SectorNumber, file: SectorFile) -> Result<Option<FileDigests>, JournalError> {
        self.get(CF_DIGESTS, &digest_key(sector, file))
    }

    /// What is known about one window PoSt.
    ///
    /// # Errors
    /// As [`Journal::sector`].
    pub fn post(&self, key: &PostKey) -> Result<Option<PostRecord>, JournalError> {
        self.get(CF_POSTS, &key.to_bytes())
    }

    /// The oldest window PoSt on record.
    ///
    /// # Errors
    /// As [`Journal::sector`].
    pub fn first_post(&self) -> Result<Option<(PostKey, PostRecord)>, JournalError> {
        let mut posts = self.database.iterator_cf(self.family(CF_POSTS), IteratorMode::Start);
        posts.next().map(|entry| self.decode_post(entry)).transpose()
    }

    /// All window PoSts on record, oldest first.
    ///
    /// # Errors
    /// As [`Journal::sector`].
    pub fn posts(&self) -> Result<Vec<(PostKey, PostRecord)>, JournalError> {
        let posts = self.database.iterator_cf(self.family(CF_POSTS), IteratorMode::Start);
        posts.map(|entry| self.decode_post(entry)).collect()
    }

    fn decode_post(&self, entry: Result<KeyValue, rocksdb::Error>) -> Result<(PostKey, PostRecord), JournalError> {
        let (key, bytes) = entry.map_err(|source| self.database_error("read", source))?;
        let named = PostKey::from_bytes(&key).ok_or_else(|| JournalError::Damaged {
            path: self.path.clone(),
            entry: format!("{CF_POSTS}/{}", hex::encode(&key)),
            detail: "expected a key of 16 bytes".to_owned(),
        })?;
        Ok((named, self.decode(CF_POSTS, &key, &bytes)?))
    }

    /// Writes what is known about one window PoSt.
    ///
    /// # Errors
    /// As [`Journal::sector`].
    pub fn write_post(&self, key: &PostKey, record: &PostRecord) -> Result<(), JournalError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(CF_POSTS), key.to_bytes(), encode_versioned(record));
        self.write(batch)
    }

    /// Forgets window PoSts whose deadline closed before `epoch`.
    ///
    /// # Errors
    /// As [`Journal::sector`].
    pub fn forget_posts_before(&self, epoch: Epoch) -> Result<(), JournalError> {
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.family(CF_POSTS), [0u8; 16], PostKey::first_closing_at(epoch).to_bytes());
        self.write(batch)
    }

    fn get<T: DeserializeOwned>(&self, family: &'static str, key: &[u8]) -> Result<Option<T>, JournalError> {
        let bytes = self.database.get_cf(self.family(family), key);
        let Some(bytes) = bytes.map_err(|source| self.database_error("read", source))? else { return Ok(None) };
        self.decode(family, key, &bytes).map(Some)
    }

    fn decode<T: DeserializeOwned>(&self, family: &str, key: &[u8], bytes: &[u8]) -> Result<T, JournalError> {
        decode_versioned(bytes).map_err(|detail| JournalError::Damaged {
            path: self.path.clone(),
            entry: format!("{family}/{}", hex::encode(key)),
            detail,
        })
    }

    fn write(&self, batch: WriteBatch) -> Result<(), JournalError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.database.write_opt(batch, &options).map_err(|source| self.database_error("write", source))
    }

    fn family(&self, name: &'static str) -> &ColumnFamily {
        self.database.cf_handle(name).expect("all column families are opened with the database")
    }

    fn database_error(&self, operation: &'static str, source: rocksdb::Error) -> JournalError {
        JournalError::Database { path: self.path.clone(), operation, source }
    }
}

/// A folder with files, but no RocksDB of ours, is somebody else's; RocksDB would happily move in.
fn refuse_foreign_folder(path: &Path) -> Result<(), JournalError> {
    let foreign = |found: String| Err(JournalError::NotAJournal { path: path.to_owned(), found });
    let mut entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return foreign(error.to_string()),
    };
    let Some(first) = entries.next() else { return Ok(()) };
    if !path.join("CURRENT").exists() && !path.join("IDENTITY").exists() && !path.join("LOCK").exists() {
        let name = first.map(|entry| entry.file_name().to_string_lossy().into_owned()).unwrap_or_default();
        return foreign(format!("a folder with {name:?}"));
    }
    if let Ok(families) = DB::list_cf(&Options::default(), path) {
        let is_ours = |name: &str| name == "default" || FAMILIES.contains(&name);
        if let Some(other) = families.iter().find(|name| !is_ours(name)) {
            return foreign(format!("a RocksDB with column family {other:?}"));
        }
    }
    Ok(())
}

fn digest_key(sector: SectorNumber, file: SectorFile) -> Vec<u8> {
    [sector.0.to_be_bytes().as_slice(), &encode(&file)].concat()
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("journal types have no floats and no keys but text")
}

fn encode_versioned<T: Serialize>(value: &T) -> Vec<u8> {
    encode(&(JOURNAL_VERSION, value))
}

fn decode_versioned<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (version, _): (u32, IgnoredAny) = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| error.to_string())?;
    if version != JOURNAL_VERSION {
        return Err(format!("expected version {JOURNAL_VERSION}, got {version}"));
    }
    let (_, value): (u32, T) = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok(value)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
