//! Blocks and state on disk, in RocksDB.
//!
//! | column family | key | value |
//! | --- | --- | --- |
//! | `meta` | `format` | magic and version |
//! | | `genesis` | the genesis in DAG-CBOR |
//! | | `head` | header of the last block in DAG-CBOR |
//! | | `oldest` | height of the oldest block kept, u64 BE |
//! | `blocks` | height, u64 BE | [`Block`] in DAG-CBOR |
//! | `effects` | height, u64 BE | [`Effects`] in DAG-CBOR |
//! | `transactions` | transaction id | height u64 BE, index u32 BE |
//! | `state` | column, key | value, as in [`State::entries`] |
//!
//! A block is one write batch, synced before it is acknowledged: after a crash it is there whole or not at all. Blocks
//! beyond the configured history are removed in the same batch.

use std::path::{Path, PathBuf};

use cairn_ledger::state::StateChange;
use cairn_ledger::{Event, Receipt, State, TransactionId, codec};
use cairn_protocol::Epoch;
use rocksdb::{ColumnFamily, DB, DBCompressionType, IteratorMode, Options, WriteBatch, WriteOptions};
use serde::{Deserialize, Serialize};

use crate::block::{Block, BlockHeader, BlockId};
use crate::genesis::Genesis;

const FORMAT: &[u8] = b"cairn ledger store, version 1\n";
const KEY_FORMAT: &[u8] = b"format";
const KEY_GENESIS: &[u8] = b"genesis";
const KEY_HEAD: &[u8] = b"head";
const KEY_OLDEST: &[u8] = b"oldest";

/// Old blocks that one new block removes at most; more than one, so that a history made shorter is caught up with.
const BLOCKS_FORGOTTEN_MAX: u64 = 16;

const META: &str = "meta";
const BLOCKS: &str = "blocks";
const EFFECTS: &str = "effects";
const TRANSACTIONS: &str = "transactions";
const STATE: &str = "state";

/// What a block did, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// One per transaction.
    pub receipts: Vec<Receipt>,
    /// Everything that happened.
    pub events: Vec<Event>,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database failed: disk full, files damaged, in use by another process. Retrying helps only after the cause
    /// is gone.
    #[error("ledger store {dir}: {what}: {source}")]
    Database {
        /// Where.
        dir: PathBuf,
        /// While doing what.
        what: &'static str,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
    /// Not a store of ours, or of another version.
    #[error("ledger store {dir} has format {got:?}, expected {expected:?}")]
    WrongFormat {
        /// Where.
        dir: PathBuf,
        /// What this version writes.
        expected: String,
        /// What is there.
        got: String,
    },
    /// The store of another network.
    #[error("ledger store {dir} belongs to chain {got}, this node is configured for {expected}")]
    WrongGenesis {
        /// Where.
        dir: PathBuf,
        /// Chain of the given genesis.
        expected: String,
        /// Chain of the stored one.
        got: String,
    },
    /// Something that must be there is missing or unreadable.
    #[error("ledger store {dir} is damaged: {what}: {detail}")]
    Damaged {
        /// Where.
        dir: PathBuf,
        /// What.
        what: String,
        /// How it shows.
        detail: String,
    },
    /// The stored state is not the one that the last block left.
    #[error(
        "ledger store {dir} is damaged: state at height {height} has root {got}, the block's header says {expected}"
    )]
    WrongStateRoot {
        /// Where.
        dir: PathBuf,
        /// Height of the last block.
        height: Epoch,
        /// In the header.
        expected: String,
        /// Of the entries.
        got: String,
    },
}

/// An open store. Only one process can have it open.
pub struct Store {
    db: DB,
    dir: PathBuf,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// What a store holds after opening.
#[derive(Debug)]
pub struct Head {
    /// Header of the last block.
    pub header: BlockHeader,
    /// State after it.
    pub state: State,
}

impl Store {
    /// Opens the store in `dir` for the network of `genesis`, or makes it. Reads the whole state and checks its root.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong; nothing is changed then.
    pub fn open(dir: &Path, genesis: &Genesis, genesis_head: Head) -> Result<(Self, Head), StoreError> {
        let families = [META, BLOCKS, EFFECTS, TRANSACTIONS, STATE].map(|name| (name, family_options()));
        let db = DB::open_cf_with_opts(&database_options(), dir, families).map_err(|source| StoreError::Database {
            dir: dir.to_owned(),
            what: "open",
            source,
        })?;
        let store = Self { db, dir: dir.to_owned() };
        match store.get(META, KEY_FORMAT)? {
            None => {
                store.require_empty()?;
                store.create(genesis, &genesis_head)?;
                Ok((store, genesis_head))
            }
            Some(format) if format != FORMAT => Err(StoreError::WrongFormat {
                dir: store.dir.clone(),
                expected: String::from_utf8_lossy(FORMAT).trim().to_owned(),
                got: String::from_utf8_lossy(&format).chars().take(80).collect(),
            }),
            Some(_) => {
                store.check_genesis(genesis)?;
                let head = store.load()?;
                Ok((store, head))
            }
        }
    }

    /// Nothing but an interrupted creation may be without a format.
    fn require_empty(&self) -> Result<(), StoreError> {
        for name in [META, BLOCKS, EFFECTS, TRANSACTIONS, STATE] {
            if self.db.iterator_cf(self.family(name), IteratorMode::Start).next().is_some() {
                return Err(self.damaged("format record", "missing, but there is data"));
            }
        }
        Ok(())
    }

    fn create(&self, genesis: &Genesis, head: &Head) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(META), KEY_FORMAT, FORMAT);
        batch.put_cf(self.family(META), KEY_GENESIS, codec::encode(genesis));
        batch.put_cf(self.family(META), KEY_HEAD, codec::encode(&head.header));
        self.put_changes(&mut batch, &head.state.entries());
        self.write(batch, "create")
    }

    fn check_genesis(&self, genesis: &Genesis) -> Result<(), StoreError> {
        let stored: Genesis = self.read(META, KEY_GENESIS, "genesis")?;
        if stored != *genesis {
            return Err(StoreError::WrongGenesis {
                dir: self.dir.clone(),
                expected: genesis.chain().to_string(),
                got: stored.chain().to_string(),
            });
        }
        Ok(())
    }

    fn load(&self) -> Result<Head, StoreError> {
        let header: BlockHeader = self.read(META, KEY_HEAD, "head")?;
        if header.height > Epoch(0) {
            let what = format!("block {}", header.height);
            let block: Block = self.read(BLOCKS, &height_key(header.height), &what)?;
            if block.header != header {
                return Err(self.damaged(&what, "is not the block that the head names"));
            }
        }
        let mut entries = Vec::new();
        for entry in self.db.iterator_cf(self.family(STATE), IteratorMode::Start) {
            let (key, value) = entry.map_err(|source| self.failed("read the state", source))?;
            let Some((column, key)) = key.split_first() else {
                return Err(self.damaged("state", "an entry has an empty key"));
            };
            entries.push((*column, key.to_vec(), value.into_vec()));
        }
        let state = State::from_entries(entries).map_err(|damage| self.damaged("state", &damage.to_string()))?;
        let root = state.root();
        if root != header.state_root || state.epoch() != header.height {
            return Err(StoreError::WrongStateRoot {
                dir: self.dir.clone(),
                height: header.height,
                expected: header.state_root.to_string(),
                got: root.to_string(),
            });
        }
        Ok(Head { header, state })
    }

    /// Stores a block that follows the last, in one synced write.
    ///
    /// # Errors
    /// [`StoreError::Database`]; the block is then stored whole or not at all, which the next opening tells.
    pub fn append(
        &self,
        block: &Block,
        effects: &Effects,
        changes: &[StateChange],
        history_blocks: u64,
    ) -> Result<(), StoreError> {
        let key = height_key(block.header.height);
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(BLOCKS), key, codec::encode(block));
        batch.put_cf(self.family(EFFECTS), key, codec::encode(effects));
        for receipt in &effects.receipts {
            let place = [&key[..], &receipt.index.to_be_bytes()].concat();
            batch.put_cf(self.family(TRANSACTIONS), receipt.transaction.0, place);
        }
        self.put_changes(&mut batch, changes);
        batch.put_cf(self.family(META), KEY_HEAD, codec::encode(&block.header));
        self.forget_blocks(&mut batch, block.header.height, history_blocks)?;
        self.write(batch, "append a block")
    }

    /// Removes blocks until `history_blocks` are left with the one at `head`, or enough is done for one block.
    fn forget_blocks(&self, batch: &mut WriteBatch, head: Epoch, history_blocks: u64) -> Result<(), StoreError> {
        let oldest = match self.get(META, KEY_OLDEST)? {
            None => 1,
            Some(bytes) => {
                let bytes = bytes.try_into().map_err(|_| self.damaged("oldest height", "has the wrong length"))?;
                u64::from_be_bytes(bytes)
            }
        };
        let kept_from = (head.0 + 1).saturating_sub(history_blocks).min(oldest + BLOCKS_FORGOTTEN_MAX);
        if kept_from > oldest {
            for height in oldest..kept_from {
                self.forget_block(batch, Epoch(height))?;
            }
            batch.put_cf(self.family(META), KEY_OLDEST, kept_from.to_be_bytes());
        }
        Ok(())
    }

    fn forget_block(&self, batch: &mut WriteBatch, height: Epoch) -> Result<(), StoreError> {
        let Some(effects) = self.effects(height)? else { return Ok(()) };
        for receipt in effects.receipts {
            batch.delete_cf(self.family(TRANSACTIONS), receipt.transaction.0);
        }
        batch.delete_cf(self.family(BLOCKS), height_key(height));
        batch.delete_cf(self.family(EFFECTS), height_key(height));
        Ok(())
    }

    fn put_changes(&self, batch: &mut WriteBatch, changes: &[StateChange]) {
        let family = self.family(STATE);
        for change in changes {
            let key = [&[change.column], &change.key[..]].concat();
            match &change.value {
                Some(value) => batch.put_cf(family, key, value),
                None => batch.delete_cf(family, key),
            }
        }
    }

    /// A block; `None` if it is beyond the history or above the head.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn block(&self, height: Epoch) -> Result<Option<Block>, StoreError> {
        self.read_optional(BLOCKS, &height_key(height), &format!("block {height}"))
    }

    /// What a block did; `None` if it is beyond the history or above the head.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn effects(&self, height: Epoch) -> Result<Option<Effects>, StoreError> {
        self.read_optional(EFFECTS, &height_key(height), &format!("effects of block {height}"))
    }

    /// The receipt of a transaction; `None` if it is in no block of the history.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn receipt(&self, id: &TransactionId) -> Result<Option<Receipt>, StoreError> {
        let Some(place) = self.get(TRANSACTIONS, &id.0)? else { return Ok(None) };
        let what = format!("place of transaction {id}");
        let parsed = place.split_first_chunk::<8>().and_then(|(height, rest)| Some((height, rest.try_into().ok()?)));
        let Some((height, index)) = parsed else {
            return Err(self.damaged(&what, "has the wrong length"));
        };
        let (height, index) = (Epoch(u64::from_be_bytes(*height)), u32::from_be_bytes(index));
        let receipts = self.effects(height)?.map(|effects| effects.receipts).unwrap_or_default();
        match receipts.into_iter().nth(index as usize) {
            Some(receipt) if receipt.transaction == *id => Ok(Some(receipt)),
            _ => Err(self.damaged(&what, &format!("block {height} does not have it at {index}"))),
        }
    }

    /// The name of the block at `height`, if it is in the history.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn block_id(&self, height: Epoch) -> Result<Option<BlockId>, StoreError> {
        Ok(self.block(height)?.map(|block| block.header.id()))
    }

    fn family(&self, name: &str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("all column families are opened")
    }

    fn get(&self, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.family(family), key).map_err(|source| self.failed("read", source))
    }

    fn read_optional<T>(&self, family: &str, key: &[u8], what: &str) -> Result<Option<T>, StoreError>
    where
        T: Serialize + serde::de::DeserializeOwned,
    {
        let Some(bytes) = self.get(family, key)? else { return Ok(None) };
        let value = codec::decode_strict(&bytes, usize::MAX);
        value.map(Some).map_err(|rejection| self.damaged(what, &rejection.to_string()))
    }

    fn read<T>(&self, family: &str, key: &[u8], what: &str) -> Result<T, StoreError>
    where
        T: Serialize + serde::de::DeserializeOwned,
    {
        self.read_optional(family, key, what)?.ok_or_else(|| self.damaged(what, "missing"))
    }

    fn write(&self, batch: WriteBatch, what: &'static str) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options).map_err(|source| self.failed(what, source))
    }

    fn failed(&self, what: &'static str, source: rocksdb::Error) -> StoreError {
        StoreError::Database { dir: self.dir.clone(), what, source }
    }

    fn damaged(&self, what: &str, detail: &str) -> StoreError {
        StoreError::Damaged { dir: self.dir.clone(), what: what.to_owned(), detail: detail.to_owned() }
    }
}

fn height_key(height: Epoch) -> [u8; 8] {
    height.0.to_be_bytes()
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(256);
    options.set_max_total_wal_size(64 << 20);
    options.set_keep_log_file_num(4);
    options
}

fn family_options() -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(8 << 20);
    options
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
