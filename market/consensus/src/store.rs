//! Blocks and state on disk, in RocksDB.
//!
//! | column family | key | value |
//! | --- | --- | --- |
//! | `meta` | `format` | magic and version |
//! | | `genesis` | the genesis in DAG-CBOR |
//! | | `head` | header of the last block in DAG-CBOR |
//! | | `deciders` | the validators that decided the last block, in DAG-CBOR |
//! | | `oldest` | height of the oldest block kept, u64 BE |
//! | | `bytes` | bytes of all blocks, effects and commits kept, u64 BE |
//! | | `installing` | there while the state of a snapshot is written; see [`Store::install`] |
//! | `blocks` | height, u64 BE | [`Block`] in DAG-CBOR |
//! | `effects` | height, u64 BE | [`Effects`] in DAG-CBOR |
//! | `commits` | height, u64 BE | [`Commit`] in DAG-CBOR |
//! | `sets` | height, u64 BE, of the first block that they decided | [`Validators`] in DAG-CBOR |
//! | `lights` | height, u64 BE, a multiple of [`History::snapshot_every`] | header and [`Commit`] in DAG-CBOR |
//! | `undecided` | height u64 BE, round u32 BE, block id | [`Undecided`] in DAG-CBOR |
//! | `evidence` | height u64 BE, address of the validator | [`Evidence`] in DAG-CBOR that no block has named yet |
//! | `transactions` | transaction id | height u64 BE, index u32 BE |
//! | `state` | column, key | value, as in [`State::entries`] |
//!
//! A block is one write batch, synced before it is acknowledged: after a crash it is there whole or not at all. Blocks
//! beyond the configured [`History`] are removed in the same batch, and so are undecided blocks of its height and below.
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
use crate::evidence::Evidence;
use crate::genesis::{Genesis, GenesisError};
use crate::validators::Validators;

const FORMAT: &[u8] = b"cairn ledger store, version 3\n";
const KEY_FORMAT: &[u8] = b"format";
const KEY_GENESIS: &[u8] = b"genesis";
const KEY_HEAD: &[u8] = b"head";
const KEY_OLDEST: &[u8] = b"oldest";
const KEY_DECIDERS: &[u8] = b"deciders";
const KEY_BYTES: &[u8] = b"bytes";
const KEY_INSTALLING: &[u8] = b"installing";

/// Old blocks that one new block removes at most; more than one, so that a history made shorter is caught up with.
const BLOCKS_FORGOTTEN_MAX: u64 = 16;

const META: &str = "meta";
const BLOCKS: &str = "blocks";
const EFFECTS: &str = "effects";
const TRANSACTIONS: &str = "transactions";
const STATE: &str = "state";
const COMMITS: &str = "commits";
const UNDECIDED: &str = "undecided";
const SETS: &str = "sets";
const LIGHTS: &str = "lights";
const EVIDENCE: &str = "evidence";
const FAMILIES: [&str; 10] = [META, BLOCKS, EFFECTS, TRANSACTIONS, STATE, COMMITS, UNDECIDED, SETS, LIGHTS, EVIDENCE];

/// Headers at multiples of [`History::snapshot_every`] that are kept after their blocks are gone.
const LIGHTS_KEPT: u64 = 4_096;

/// Bytes of a snapshot's state that are written at once.
const INSTALL_BATCH_BYTES: usize = 8 << 20;

/// How much of the past a node keeps. The state is always the last one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// Most blocks, with their receipts and events; at least 1.
    pub blocks: u64,
    /// Most bytes of blocks, effects and commits, before compression; the last block stays in any case.
    pub bytes: u64,
    /// The state of every so manyth block is offered to nodes that catch up; at least 1.
    pub snapshot_every: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { blocks: 100_000, bytes: 16 << 30, snapshot_every: 128 }
    }
}

/// A header, why it is final, and who decided it: what a node that knows the validators believes without executing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LightBlock {
    /// The header.
    pub header: BlockHeader,
    /// The decision for it.
    pub commit: Commit,
    /// Who made the decision; the header names them.
    pub deciders: Validators,
}

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
    /// Whether others decided the block before.
    pub new_deciders: bool,
    /// What it did.
    pub effects: &'a Effects,
    /// What to write over the state before it.
    pub changes: &'a [StateChange],
    /// Offences whose evidence is of no more use after it.
    pub settled: &'a [(Epoch, Address)],
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
            evidence_root: [0; 32],
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
        if store.get(META, KEY_INSTALLING)?.is_some() {
            // What an interrupted snapshot left is neither the old state nor the new one.
            store.wipe()?;
        }
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

    /// Removes everything.
    fn wipe(&self) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        // The mark goes last: until then there is nothing to read.
        for name in FAMILIES.iter().filter(|name| **name != META) {
            batch.delete_range_cf(self.family(name), &[][..], &[u8::MAX; 64][..]);
        }
        batch.delete_range_cf(self.family(META), &[][..], &[u8::MAX; 64][..]);
        self.write(batch, "remove everything")
    }

    /// Puts the block of `light` and `state`, which is after it, in the place of everything that is here, except evidence. The
    /// caller has checked them. A crash on the way leaves a store that starts from the genesis.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn install(
        &self,
        genesis: &Genesis,
        block: &Block,
        light: &LightBlock,
        state: &State,
    ) -> Result<(), StoreError> {
        let mut mark = WriteBatch::default();
        mark.put_cf(self.family(META), KEY_INSTALLING, height_key(light.header.height));
        self.write(mark, "begin a snapshot")?;
        let mut batch = WriteBatch::default();
        for name in FAMILIES.iter().filter(|name| ![META, EVIDENCE].contains(name)) {
            batch.delete_range_cf(self.family(name), &[][..], &[u8::MAX; 64][..]);
        }
        self.write(batch, "make room for a snapshot")?;
        let mut batch = WriteBatch::default();
        state.for_each_entry(|entry| {
            self.put_changes(&mut batch, &[entry]);
            match batch.size_in_bytes() > INSTALL_BATCH_BYTES {
                true => self.write(std::mem::take(&mut batch), "write a snapshot"),
                false => Ok(()),
            }
        })?;
        let key = height_key(light.header.height);
        let (block, commit) = (codec::encode(block), codec::encode(&light.commit));
        let nothing = codec::encode(&Effects { receipts: Vec::new(), events: Vec::new() });
        let bytes = (block.len() + commit.len() + nothing.len()) as u64;
        batch.put_cf(self.family(BLOCKS), key, block);
        batch.put_cf(self.family(COMMITS), key, commit);
        batch.put_cf(self.family(EFFECTS), key, nothing);
        batch.put_cf(self.family(SETS), key, codec::encode(&light.deciders));
        batch.put_cf(self.family(META), KEY_FORMAT, FORMAT);
        batch.put_cf(self.family(META), KEY_GENESIS, codec::encode(genesis));
        batch.put_cf(self.family(META), KEY_HEAD, codec::encode(&light.header));
        batch.put_cf(self.family(META), KEY_DECIDERS, codec::encode(&light.deciders));
        batch.put_cf(self.family(META), KEY_OLDEST, key);
        batch.put_cf(self.family(META), KEY_BYTES, bytes.to_be_bytes());
        batch.delete_cf(self.family(META), KEY_INSTALLING);
        self.write(batch, "finish a snapshot")
    }

    /// Stores a block that follows the last, in one synced write.
    ///
    /// # Errors
    /// [`StoreError::Database`]; the block is then stored whole or not at all, which the next opening tells.
    pub fn append(&self, decision: &Decision<'_>, history: &History) -> Result<(), StoreError> {
        let Decision { block, commit, deciders, new_deciders, effects, changes, settled } = decision;
        let height = block.header.height;
        let key = height_key(height);
        let mut batch = WriteBatch::default();
        let values =
            [(BLOCKS, codec::encode(block)), (EFFECTS, codec::encode(effects)), (COMMITS, codec::encode(commit))];
        let mut bytes = self.number(KEY_BYTES)?.unwrap_or(0);
        for (family, value) in values {
            bytes += value.len() as u64;
            batch.put_cf(self.family(family), key, value);
        }
        batch.put_cf(self.family(META), KEY_DECIDERS, codec::encode(deciders));
        for receipt in &effects.receipts {
            let place = [&key[..], &receipt.index.to_be_bytes()].concat();
            batch.put_cf(self.family(TRANSACTIONS), receipt.transaction.0, place);
        }
        self.put_changes(&mut batch, changes);
        batch.put_cf(self.family(META), KEY_HEAD, codec::encode(&block.header));
        settled.iter().for_each(|offence| batch.delete_cf(self.family(EVIDENCE), evidence_key(*offence)));
        self.forget_undecided(&mut batch, height)?;
        let oldest = self.forget_blocks(&mut batch, height, history, &mut bytes)?;
        batch.put_cf(self.family(META), KEY_BYTES, bytes.to_be_bytes());
        if *new_deciders {
            batch.put_cf(self.family(SETS), key, codec::encode(deciders));
            self.forget_sets(&mut batch, oldest)?;
        }
        let every = history.snapshot_every.max(1);
        if height.0.is_multiple_of(every) {
            batch.put_cf(self.family(LIGHTS), key, codec::encode(&(&block.header, commit)));
            if let Some(forgotten) = height.0.checked_sub(every.saturating_mul(LIGHTS_KEPT)) {
                batch.delete_cf(self.family(LIGHTS), height_key(Epoch(forgotten)));
            }
        }
        self.write(batch, "append a block")
    }

    /// Removes the blocks that were not decided at this height; those of each height before went with its own block. One
    /// by one: a removed range for each block would be looked through by every read until the table is written out.
    fn forget_undecided(&self, batch: &mut WriteBatch, height: Epoch) -> Result<(), StoreError> {
        let from = height_key(height);
        for entry in self.db.iterator_cf(self.family(UNDECIDED), IteratorMode::From(&from, Direction::Forward)) {
            let (key, _) = entry.map_err(|source| self.failed("read undecided blocks", source))?;
            if !key.starts_with(&from) {
                break;
            }
            batch.delete_cf(self.family(UNDECIDED), key);
        }
        Ok(())
    }

    /// Removes blocks until what is left with the one at `head` is within the history, or enough is done for one block.
    /// Returns the oldest height that is left, and takes what is gone off `bytes`.
    fn forget_blocks(
        &self,
        batch: &mut WriteBatch,
        head: Epoch,
        history: &History,
        bytes: &mut u64,
    ) -> Result<Epoch, StoreError> {
        let oldest = self.oldest()?.0;
        let mut kept_from = oldest;
        let beyond = |from: u64, bytes: u64| head.0 + 1 - from > history.blocks.max(1) || bytes > history.bytes;
        while kept_from < head.0 && kept_from < oldest + BLOCKS_FORGOTTEN_MAX && beyond(kept_from, *bytes) {
            *bytes = bytes.saturating_sub(self.forget_block(batch, Epoch(kept_from))?);
            kept_from += 1;
        }
        if kept_from > oldest {
            batch.put_cf(self.family(META), KEY_OLDEST, kept_from.to_be_bytes());
        }
        Ok(Epoch(kept_from))
    }

    /// Removes sets of validators that decided neither a block nor a light block that is kept. At most a few each time.
    fn forget_sets(&self, batch: &mut WriteBatch, oldest_block: Epoch) -> Result<(), StoreError> {
        let mut lights = self.db.iterator_cf(self.family(LIGHTS), IteratorMode::Start);
        let oldest_light = match lights.next() {
            Some(entry) => self.height_of(&entry.map_err(|source| self.failed("read light blocks", source))?.0)?,
            None => oldest_block,
        };
        let needed = height_key(oldest_block.min(oldest_light));
        let mut last: Option<Box<[u8]>> = None;
        for entry in self.db.iterator_cf(self.family(SETS), IteratorMode::Start).take(BLOCKS_FORGOTTEN_MAX as usize) {
            let (key, _) = entry.map_err(|source| self.failed("read validators", source))?;
            if key[..] > needed[..] {
                break;
            }
            if let Some(before) = last.replace(key) {
                batch.delete_cf(self.family(SETS), before);
            }
        }
        Ok(())
    }

    fn height_of(&self, key: &[u8]) -> Result<Epoch, StoreError> {
        let bytes = key.try_into().map_err(|_| self.damaged("a height", "has the wrong length"))?;
        Ok(Epoch(u64::from_be_bytes(bytes)))
    }

    fn number(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        self.get(META, key)?.map(|bytes| self.height_of(&bytes).map(|number| number.0)).transpose()
    }

    /// Height of the oldest block kept, or of the first if there is none yet.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn oldest(&self) -> Result<Epoch, StoreError> {
        Ok(self.number(KEY_OLDEST)?.map_or(Epoch(1), Epoch))
    }

    /// Bytes of all blocks, effects and commits that are kept, before compression.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn history_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.number(KEY_BYTES)?.unwrap_or(0))
    }

    /// Who decided the block at `height`, if that is still known.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn deciders(&self, height: Epoch) -> Result<Option<Validators>, StoreError> {
        let key = height_key(height);
        let mut sets = self.db.iterator_cf(self.family(SETS), IteratorMode::From(&key, Direction::Reverse));
        let Some(entry) = sets.next() else { return Ok(None) };
        let (_, value) = entry.map_err(|source| self.failed("read validators", source))?;
        let set = codec::decode_strict(&value, usize::MAX);
        set.map(Some).map_err(|rejection| self.damaged("validators", &rejection.to_string()))
    }

    /// The header at `height` with what makes it final: of any block that is kept, and of multiples of
    /// [`History::snapshot_every`] longer than that.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub fn light(&self, height: Epoch) -> Result<Option<LightBlock>, StoreError> {
        let what = format!("light block {height}");
        let kept: Option<(BlockHeader, Commit)> = self.read_optional(LIGHTS, &height_key(height), &what)?;
        let found = match kept {
            Some(found) => Some(found),
            None => self.block(height)?.map(|block| block.header).zip(self.commit(height)?),
        };
        let Some((header, commit)) = found else { return Ok(None) };
        let deciders = self.deciders(height)?.filter(|deciders| deciders.root() == header.validators_root);
        Ok(deciders.map(|deciders| LightBlock { header, commit, deciders }))
    }

    /// Returns the bytes that are gone.
    fn forget_block(&self, batch: &mut WriteBatch, height: Epoch) -> Result<u64, StoreError> {
        for receipt in self.effects(height)?.map(|effects| effects.receipts).unwrap_or_default() {
            batch.delete_cf(self.family(TRANSACTIONS), receipt.transaction.0);
        }
        let mut bytes = 0;
        for family in [BLOCKS, EFFECTS, COMMITS] {
            let key = height_key(height);
            let value = self.db.get_pinned_cf(self.family(family), key);
            bytes += value.map_err(|source| self.failed("read", source))?.map_or(0, |value| value.len() as u64);
            batch.delete_cf(self.family(family), key);
        }
        Ok(bytes)
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

    /// Keeps evidence through a crash until a block settles it.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn keep_evidence(&self, evidence: &Evidence) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family(EVIDENCE), evidence_key(evidence.offence()), codec::encode(evidence));
        self.write(batch, "keep evidence")
    }

    /// Evidence that no block has settled, by height.
    ///
    /// # Errors
    /// [`StoreError`] if a piece cannot be read.
    pub fn evidence(&self) -> Result<Vec<Evidence>, StoreError> {
        let mut found = Vec::new();
        for entry in self.db.iterator_cf(self.family(EVIDENCE), IteratorMode::Start) {
            let (_, value) = entry.map_err(|source| self.failed("read evidence", source))?;
            let evidence = codec::decode_strict(&value, usize::MAX);
            found.push(evidence.map_err(|rejection| self.damaged("evidence", &rejection.to_string()))?);
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

fn evidence_key((height, validator): (Epoch, Address)) -> Vec<u8> {
    [&height_key(height)[..], &validator.0].concat()
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
