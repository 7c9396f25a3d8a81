//! Blocks and state on disk, in RocksDB.
//!
//! | column family | key | value |
//! | --- | --- | --- |
//! | `meta` | `format` | magic and version |
//! | | `genesis` | the genesis in DAG-CBOR |
//! | | `head` | header of the last block in DAG-CBOR |
//! | | `deciders` | the validators that decided the last block, in DAG-CBOR |
//! | | `oldest` | height of the oldest block kept, u64 BE |
//! | `blocks` | height, u64 BE | [`Block`] in DAG-CBOR |
//! | `effects` | height, u64 BE | [`Effects`] in DAG-CBOR |
//! | `commits` | height, u64 BE | [`Commit`] in DAG-CBOR |
//! | `undecided` | height u64 BE, round u32 BE, block id | [`Undecided`] in DAG-CBOR |
//! | `transactions` | transaction id | height u64 BE, index u32 BE |
//! | `state` | column, key | value, as in [`State::entries`] |
//!
//! A block is one write batch, synced before it is acknowledged: after a crash it is there whole or not at all. Blocks
//! beyond the configured history are removed in the same batch, and so are undecided blocks of its height and below.
//!
//! An undecided block is on disk before anybody hears of it. A validator that voted for a block and then lost it could
//! neither decide it nor vote for another; if all of them did so at once, the chain would stand still for ever.

use std::path::{Path, PathBuf};

use cairn_ledger::state::StateChange;
use cairn_ledger::{Address, Event, Receipt, State, TransactionId, codec};
use cairn_protocol::Epoch;
use rocksdb::{ColumnFamily, DB, DBCompressionType, Direction, IteratorMode, Options, WriteBatch, WriteOptions};
use serde::{Deserialize, Serialize};

use crate::block::{Block, BlockHeader, BlockId};
use crate::commit::Commit;
use crate::genesis::{Genesis, GenesisError};
use crate::validators::Validators;

const FORMAT: &[u8] = b"cairn ledger store, version 2\n";
const KEY_FORMAT: &[u8] = b"format";
const KEY_GENESIS: &[u8] = b"genesis";
const KEY_HEAD: &[u8] = b"head";
const KEY_OLDEST: &[u8] = b"oldest";
const KEY_DECIDERS: &[u8] = b"deciders";

/// Old blocks that one new block removes at most; more than one, so that a history made shorter is caught up with.
const BLOCKS_FORGOTTEN_MAX: u64 = 16;

const META: &str = "meta";
const BLOCKS: &str = "blocks";
const EFFECTS: &str = "effects";
const TRANSACTIONS: &str = "transactions";
const STATE: &str = "state";
const COMMITS: &str = "commits";
const UNDECIDED: &str = "undecided";
const FAMILIES: [&str; 7] = [META, BLOCKS, EFFECTS, TRANSACTIONS, STATE, COMMITS, UNDECIDED];

/// What a block did, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// One per transaction.
    pub receipts: Vec<Receipt>,
    /// Everything that happened.
    pub events: Vec<Event>,
}

/// A block that was proposed and may yet be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undecided {
    /// Round in which it was proposed.
    pub round: u32,
    /// Earlier round in which enough validators had found it valid, if it was proposed again.
    pub valid_round: Option<u32>,
    /// Who proposed it in this round.
    pub proposer: Address,
    /// The block.
    pub block: Block,
}

/// A block and all that goes to disk with it.
#[derive(Debug)]
pub struct Decision<'a> {
    /// The block.
    pub block: &'a Block,
    /// Why it is final.
    pub commit: &'a Commit,
    /// Who decided it.
    pub deciders: &'a Validators,
    /// What it did.
    pub effects: &'a Effects,
    /// What to write over the state before it.
    pub changes: &'a [StateChange],
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
    /// Why it is final; none for the genesis.
    pub commit: Option<Commit>,
    /// Who decided it; nobody for the genesis.
    pub deciders: Validators,
}

impl Head {
    /// The start of a network: a block that nobody decided.
    ///
    /// # Errors
    /// [`GenesisError`] if the genesis cannot be.
    pub fn of_genesis(genesis: &Genesis) -> Result<Self, GenesisError> {
        let state = genesis.state()?;
        let header = BlockHeader {
            chain: genesis.chain(),
            height: Epoch(0),
            parent: BlockId(genesis.chain().0),
            time_ms: genesis.time_ms,
            beacon: genesis.first_beacon(),
            proposer: Address([0; 32]),
            validators_root: [0; 32],
            commit_root: [0; 32],
            transactions_root: [0; 32],
            receipts_root: [0; 32],
            state_root: state.root(),
        };
        Ok(Self { header, state, commit: None, deciders: Validators::default() })
    }
}

impl Store {
    /// Opens the store in `dir` for the network of `genesis`, or makes it. Reads the whole state and checks its root.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong; nothing is changed then.
    pub fn open(dir: &Path, genesis: &Genesis, genesis_head: Head) -> Result<(Self, Head), StoreError> {
        let families = FAMILIES.map(|name| (name, family_options()));
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
        for name in FAMILIES {
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
        batch.put_cf(self.family(META), KEY_DECIDERS, codec::encode(&head.deciders));
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
        let deciders: Validators = self.read(META, KEY_DECIDERS, "deciders")?;
        let commit = self.load_commit(&header, &deciders)?;
        let state = self.load_state(&header)?;
        Ok(Head { header, state, commit, deciders })
    }

    /// Reads the last block and checks that it is the one that was decided.
    fn load_commit(&self, header: &BlockHeader, deciders: &Validators) -> Result<Option<Commit>, StoreError> {
        if header.height == Epoch(0) {
            return Ok(None);
        }
        let what = format!("block {}", header.height);
        let block: Block = self.read(BLOCKS, &height_key(header.height), &what)?;
        if block.header != *header {
            return Err(self.damaged(&what, "is not the block that the head names"));
        }
        let commit: Commit = self.read(COMMITS, &height_key(header.height), &format!("commit of {what}"))?;
        let verdict = commit.verify(&header.chain, header.height, &header.id(), deciders);
        verdict.map_err(|rejection| self.damaged(&what, &rejection.to_string()))?;
        Ok(Some(commit))
    }

    /// Reads the whole state and compares its root with the last block's.
    fn load_state(&self, header: &BlockHeader) -> Result<State, StoreError> {
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
        Ok(state)
    }

    /// Stores a block that follows the last, in one synced write.
    ///
    /// # Errors
    /// [`StoreError::Database`]; the block is then stored whole or not at all, which the next opening tells.
    pub fn append(&self, decision: &Decision<'_>, history_blocks: u64) -> Result<(), StoreError> {
        let Decision { block, commit, deciders, effects, changes } = decision;
        let key = height_key(block.header.height);
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(BLOCKS), key, codec::encode(block));
        batch.put_cf(self.family(EFFECTS), key, codec::encode(effects));
        batch.put_cf(self.family(COMMITS), key, codec::encode(commit));
        batch.put_cf(self.family(META), KEY_DECIDERS, codec::encode(deciders));
        for receipt in &effects.receipts {
            let place = [&key[..], &receipt.index.to_be_bytes()].concat();
            batch.put_cf(self.family(TRANSACTIONS), receipt.transaction.0, place);
        }
        self.put_changes(&mut batch, changes);
        batch.put_cf(self.family(META), KEY_HEAD, codec::encode(&block.header));
        let above = height_key(Epoch(block.header.height.0 + 1));
        batch.delete_range_cf(self.family(UNDECIDED), height_key(Epoch(0)), above);
        self.forget_blocks(&mut batch, block.header.height, history_blocks)?;
        self.write(batch, "append a block")
    }

    /// Removes blocks until `history_blocks` are left with the one at `head`, or enough is done for one block.
    fn forget_blocks(&self, batch: &mut WriteBatch, head: Epoch, history_blocks: u64) -> Result<(), StoreError> {
        let oldest = self.oldest()?.0;
        let kept_from = (head.0 + 1).saturating_sub(history_blocks).min(oldest + BLOCKS_FORGOTTEN_MAX);
        if kept_from > oldest {
            for height in oldest..kept_from {
                self.forget_block(batch, Epoch(height))?;
            }
            batch.put_cf(self.family(META), KEY_OLDEST, kept_from.to_be_bytes());
        }
        Ok(())
    }

    /// Height of the oldest block kept, or of the first if there is none yet.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn oldest(&self) -> Result<Epoch, StoreError> {
        let Some(bytes) = self.get(META, KEY_OLDEST)? else { return Ok(Epoch(1)) };
        let bytes = bytes.try_into().map_err(|_| self.damaged("oldest height", "has the wrong length"))?;
        Ok(Epoch(u64::from_be_bytes(bytes)))
    }

    fn forget_block(&self, batch: &mut WriteBatch, height: Epoch) -> Result<(), StoreError> {
        let Some(effects) = self.effects(height)? else { return Ok(()) };
        for receipt in effects.receipts {
            batch.delete_cf(self.family(TRANSACTIONS), receipt.transaction.0);
        }
        batch.delete_cf(self.family(BLOCKS), height_key(height));
        batch.delete_cf(self.family(EFFECTS), height_key(height));
        batch.delete_cf(self.family(COMMITS), height_key(height));
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

    /// The decision for a block; `None` if it is beyond the history or above the head.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn commit(&self, height: Epoch) -> Result<Option<Commit>, StoreError> {
        self.read_optional(COMMITS, &height_key(height), &format!("commit of block {height}"))
    }

    /// Keeps a block that may be decided. When this returns, it survives a crash.
    ///
    /// # Errors
    /// [`StoreError::Database`]; nobody may hear of the block then.
    pub fn keep(&self, undecided: &Undecided) -> Result<(), StoreError> {
        let header = &undecided.block.header;
        let key = [&height_key(header.height)[..], &undecided.round.to_be_bytes(), &header.id().0].concat();
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(UNDECIDED), key, codec::encode(undecided));
        self.write(batch, "keep an undecided block")
    }

    /// The blocks that were kept for `height`, by round.
    ///
    /// # Errors
    /// [`StoreError`] if one cannot be read.
    pub fn kept(&self, height: Epoch) -> Result<Vec<Undecided>, StoreError> {
        let from = height_key(height);
        let mut found = Vec::new();
        for entry in self.db.iterator_cf(self.family(UNDECIDED), IteratorMode::From(&from, Direction::Forward)) {
            let (key, value) = entry.map_err(|source| self.failed("read undecided blocks", source))?;
            if !key.starts_with(&from) {
                break;
            }
            let undecided = codec::decode_strict(&value, usize::MAX);
            found.push(undecided.map_err(|rejection| self.damaged("an undecided block", &rejection.to_string()))?);
        }
        Ok(found)
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
