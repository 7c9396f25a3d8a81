//! All that the network agrees on after a block, how to read it, how to store it.
//!
//! A state is a handful of [`Table`]s and one record of singletons. Copies share what they have in common, so keeping the
//! state of an older block, or handing one to a reader, costs a few pointers. A store writes what
//! [`State::changes_since`] returns and gives every entry back to [`State::from_entries`]; the root tells whether they
//! are all there.

use cairn_protocol::{Amount, Epoch, PostRandomness, ProviderId, SectorNumber, SectorParams, Seed, Ticket};
use rs_merkle::{MerkleTree, algorithms::Sha256 as MerkleSha256};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use crate::calendar::{Calendar, DeadlineInfo};
use crate::codec;
use crate::economy::{Audit, Checker, EconomyMeta, ProviderRewards, ProviderScore, RewardRound, StoredStanding};
use crate::ids::{Address, Beacon, ChainId, DealId, OrderId, StateRoot};
use crate::jobs::{Job, JobBid, JobId, Worker};
use crate::market::{Attestation, Attributes};
use crate::order::{Bid, Deal, Order, OrderStatus};
use crate::params::{LedgerParams, ParamsRejection};
use crate::payments::{Channel, ChannelId, RailBook, RailId, VestingAccount};
use crate::proof::{PorepStatement, WindowPostStatement};
use crate::provider::{Account, Provider};
use crate::queue::Due;
use crate::randomness;
use crate::scores::ballot::Ballot;
use crate::sector::{Health, Partition, Sector, SectorStatus};
use crate::served::{GroupKey, PaidGroup};
use crate::sync::{Place, StateTop};
use crate::table::{Side, Table, TableKey, TreeNode};
use crate::treasury::Treasury;
use crate::validator::Validator;

/// A partition's name: provider, deadline, number in the deadline.
pub type PartitionKey = (ProviderId, u32, u32);

/// Singletons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meta {
    pub chain: ChainId,
    pub params: LedgerParams,
    pub epoch: Epoch,
    pub time_ms: u64,
    pub next_provider: u64,
    pub next_order: u64,
    pub next_deal: u64,
    pub next_channel: u64,
    pub treasury: Treasury,
    pub economy: EconomyMeta,
    pub next_job: u64,
}

/// The state after a block; see the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub(crate) meta: Meta,
    pub(crate) accounts: Table<Address, Account>,
    pub(crate) providers: Table<ProviderId, Provider>,
    pub(crate) orders: Table<OrderId, Order>,
    pub(crate) bids: Table<(OrderId, ProviderId), Bid>,
    pub(crate) deals: Table<DealId, Deal>,
    pub(crate) sectors: Table<(ProviderId, SectorNumber), Sector>,
    pub(crate) partitions: Table<PartitionKey, Partition>,
    pub(crate) beacons: Table<Epoch, Beacon>,
    pub(crate) queue: Table<(Epoch, Due), ()>,
    pub(crate) channels: Table<ChannelId, Channel>,
    pub(crate) validators: Table<Address, Validator>,
    pub(crate) offences: Table<(Address, Epoch), ()>,
    pub(crate) attributes: Table<ProviderId, Attributes>,
    pub(crate) attestations: Table<(ProviderId, Address), Attestation>,
    pub(crate) rails: RailBook,
    pub(crate) sector_rails: Table<(ProviderId, SectorNumber, RailId), ()>,
    pub(crate) vesting: Table<Address, VestingAccount>,
    pub(crate) rewards: Table<ProviderId, ProviderRewards>,
    pub(crate) reward_rounds: Table<u64, RewardRound>,
    pub(crate) scores: Table<ProviderId, ProviderScore>,
    pub(crate) checkers: Table<Address, Checker>,
    pub(crate) checker_exits: Table<(Address, Epoch), Amount>,
    pub(crate) ballots: Table<(u64, Address), Ballot>,
    pub(crate) standings: Table<(u64, Address), StoredStanding>,
    pub(crate) shelves: Table<ProviderId, u64>,
    pub(crate) serving: Table<(ProviderId, DealId), cid::Cid>,
    pub(crate) jobs: Table<JobId, Job>,
    pub(crate) job_bids: Table<(JobId, Address), JobBid>,
    pub(crate) workers: Table<Address, Worker>,
    pub(crate) live_jobs: Table<JobId, ()>,
    pub(crate) audits: Table<(u64, Address), Audit>,
    pub(crate) refutations: Table<(u64, Address, Address), ByteBuf>,
    pub(crate) paid_groups: Table<GroupKey, PaidGroup>,
}

/// How large a state is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSize {
    /// Stored entries.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// Why there is no first state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisRejection {
    /// Parameters that do not fit each other.
    #[error(transparent)]
    Params(#[from] ParamsRejection),
    /// One address twice.
    #[error("genesis gives to {address} twice")]
    DuplicateAllocation {
        /// Which.
        address: Address,
    },
    /// One validator twice.
    #[error("genesis names validator {address} twice")]
    DuplicateValidator {
        /// Which.
        address: Address,
    },
    /// A validator without a vote.
    #[error("genesis gives validator {address} a stake of {stake}, less than one vote")]
    StakeTooLow {
        /// Which.
        address: Address,
        /// Its stake.
        stake: Amount,
    },
    /// More money than 64 bits of micro-units.
    #[error("the genesis allocations and all rewards to come do not fit in 64 bits")]
    SupplyOverflow,
}

/// One entry to write or to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// Number of the column: a constant of [`columns`].
    pub column: u8,
    /// Key in the column, in canonical DAG-CBOR.
    pub key: Vec<u8>,
    /// Value in canonical DAG-CBOR; `None` if the entry is gone.
    pub value: Option<Vec<u8>>,
}

/// Stored entries that make no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateDamage {
    /// A column that no version knows.
    #[error("unknown state column {column}")]
    UnknownColumn {
        /// Its number.
        column: u8,
    },
    /// A key or value that does not decode.
    #[error("state column {column}, key {key}: {detail}")]
    BadEntry {
        /// Column.
        column: u8,
        /// Key in hex.
        key: String,
        /// What the decoder said.
        detail: String,
    },
    /// No singletons.
    #[error("the state's singleton record is missing")]
    MetaMissing,
}

/// Column numbers; they never change meaning.
pub mod columns {
    /// Singletons, under the empty key.
    pub const META: u8 = 0;
    /// Accounts by address.
    pub const ACCOUNTS: u8 = 1;
    /// Providers by number.
    pub const PROVIDERS: u8 = 2;
    /// Orders by number.
    pub const ORDERS: u8 = 3;
    /// Bids by order and provider.
    pub const BIDS: u8 = 4;
    /// Deals by number.
    pub const DEALS: u8 = 5;
    /// Sectors by provider and number.
    pub const SECTORS: u8 = 6;
    /// Partitions by provider, deadline and number.
    pub const PARTITIONS: u8 = 7;
    /// Beacons by epoch.
    pub const BEACONS: u8 = 8;
    /// Queue entries by epoch and what is due.
    pub const QUEUE: u8 = 9;
    /// Payment channels by number.
    pub const CHANNELS: u8 = 10;
    /// Validators by address.
    pub const VALIDATORS: u8 = 11;
    /// What validators were slashed for, by address and height.
    pub const OFFENCES: u8 = 30;
    /// What providers say about themselves, by provider.
    pub const ATTRIBUTES: u8 = 12;
    /// Who vouches for it, by provider and auditor.
    pub const ATTESTATIONS: u8 = 13;
    /// Rails by number.
    pub const RAILS: u8 = 20;
    /// Accounts for rails by address.
    pub const RAIL_ACCOUNTS: u8 = 21;
    /// Rails that stream by payer and number.
    pub const RAIL_STREAMS: u8 = 22;
    /// Accounts that stream by the epoch at which they run dry.
    pub const RAIL_QUEUE: u8 = 23;
    /// Rails bound to a sector, by sector and number.
    pub const SECTOR_RAILS: u8 = 24;
    /// Rewards that vest, by address.
    pub const VESTING: u8 = 25;
    /// What providers were not rewarded for yet.
    pub const REWARDS: u8 = 26;
    /// Emission of rounds that can be paid, by round.
    pub const REWARD_ROUNDS: u8 = 27;
    /// Scores by provider.
    pub const SCORES: u8 = 28;
    /// Checkers by address.
    pub const CHECKERS: u8 = 29;
    /// Checkers' stake that is leaving, by address and epoch.
    pub const CHECKER_EXITS: u8 = 40;
    /// Ballots by round and checker.
    pub const BALLOTS: u8 = 41;
    /// What a checker said of a group of providers, by group and checker.
    pub const STANDINGS: u8 = 42;
    /// Number of deals that a provider must serve.
    pub const SHELVES: u8 = 43;
    /// Datasets that must be served, by provider and deal.
    pub const SERVING: u8 = 44;
    /// Proof jobs by number.
    pub const JOBS: u8 = 16;
    /// Bids on open proof jobs by job and bidder.
    pub const JOB_BIDS: u8 = 17;
    /// Records of workers by address.
    pub const WORKERS: u8 = 18;
    /// Numbers of proof jobs that are not over.
    pub const LIVE_JOBS: u8 = 19;
    /// What checkers must account for, by round and checker.
    pub const AUDITS: u8 = 45;
    /// What others say that an opened receipt should say, by round, whose it is, and who says so.
    pub const REFUTATIONS: u8 = 46;
    /// Groups that were served wrong and paid for, by provider, piece and number.
    pub const PAID_GROUPS: u8 = 47;
}

/// Calls `$with!(column, table)` for every table.
macro_rules! each_table {
    ($with:ident) => {
        $with!(ACCOUNTS, accounts);
        $with!(PROVIDERS, providers);
        $with!(ORDERS, orders);
        $with!(BIDS, bids);
        $with!(DEALS, deals);
        $with!(SECTORS, sectors);
        $with!(PARTITIONS, partitions);
        $with!(BEACONS, beacons);
        $with!(QUEUE, queue);
        $with!(CHANNELS, channels);
        $with!(VALIDATORS, validators);
        $with!(OFFENCES, offences);
        $with!(ATTRIBUTES, attributes);
        $with!(ATTESTATIONS, attestations);
        $with!(RAILS, rails.rails);
        $with!(RAIL_ACCOUNTS, rails.accounts);
        $with!(RAIL_STREAMS, rails.streaming);
        $with!(RAIL_QUEUE, rails.queue);
        $with!(SECTOR_RAILS, sector_rails);
        $with!(VESTING, vesting);
        $with!(REWARDS, rewards);
        $with!(REWARD_ROUNDS, reward_rounds);
        $with!(SCORES, scores);
        $with!(CHECKERS, checkers);
        $with!(CHECKER_EXITS, checker_exits);
        $with!(BALLOTS, ballots);
        $with!(STANDINGS, standings);
        $with!(SHELVES, shelves);
        $with!(SERVING, serving);
        $with!(JOBS, jobs);
        $with!(JOB_BIDS, job_bids);
        $with!(WORKERS, workers);
        $with!(LIVE_JOBS, live_jobs);
        $with!(AUDITS, audits);
        $with!(REFUTATIONS, refutations);
        $with!(PAID_GROUPS, paid_groups);
    };
}

/// A partition's next proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostDuty {
    /// The instance that is open, or the next one.
    pub deadline: DeadlineInfo,
    /// Partition in the deadline.
    pub partition: u32,
    /// Sectors that the proof must include, ascending; empty if all are faulty.
    pub sectors: Vec<SectorNumber>,
    /// Whether this instance is proven.
    pub proven: bool,
}

impl State {
    /// The state before the first block: epoch 0, the given balances, nothing else.
    ///
    /// # Errors
    /// [`GenesisRejection`] if parameters or allocations cannot be.
    pub fn genesis(
        chain: ChainId,
        params: LedgerParams,
        time_ms: u64,
        allocations: &[(Address, Amount)],
    ) -> Result<Self, GenesisRejection> {
        params.validate()?;
        let mut accounts = Table::new();
        for &(address, balance) in allocations {
            if accounts.contains(&address) {
                return Err(GenesisRejection::DuplicateAllocation { address });
            }
            accounts.insert(address, Account { balance, nonce: 0 });
        }
        let supply = Amount::checked_sum(allocations.iter().map(|(_, balance)| *balance))
            .ok_or(GenesisRejection::SupplyOverflow)?;
        check_supply(&params, supply)?;
        let meta = Meta {
            chain,
            params,
            epoch: Epoch(0),
            time_ms,
            next_provider: FIRST_PROVIDER,
            next_order: 1,
            next_deal: 1,
            next_channel: 1,
            treasury: Treasury { supply, ..Treasury::default() },
            economy: EconomyMeta::default(),
            next_job: 1,
        };
        Ok(Self::empty(meta, accounts))
    }

    fn empty(meta: Meta, accounts: Table<Address, Account>) -> Self {
        Self {
            meta,
            accounts,
            providers: Table::new(),
            orders: Table::new(),
            bids: Table::new(),
            deals: Table::new(),
            sectors: Table::new(),
            partitions: Table::new(),
            beacons: Table::new(),
            queue: Table::new(),
            channels: Table::new(),
            validators: Table::new(),
            offences: Table::new(),
            attributes: Table::new(),
            attestations: Table::new(),
            rails: RailBook::default(),
            sector_rails: Table::new(),
            vesting: Table::new(),
            rewards: Table::new(),
            reward_rounds: Table::new(),
            scores: Table::new(),
            checkers: Table::new(),
            checker_exits: Table::new(),
            ballots: Table::new(),
            standings: Table::new(),
            shelves: Table::new(),
            serving: Table::new(),
            jobs: Table::new(),
            job_bids: Table::new(),
            workers: Table::new(),
            live_jobs: Table::new(),
            audits: Table::new(),
            refutations: Table::new(),
            paid_groups: Table::new(),
        }
    }

    /// Merkle root: SHA-256 over the singletons and the roots of the tables, each leaf tagged with its column.
    pub fn root(&self) -> StateRoot {
        let mut leaves = vec![column_leaf(columns::META, Sha256::digest(codec::encode(&self.meta)).into())];
        macro_rules! leaf {
            ($column:ident, $($table:tt)+) => {
                leaves.push(column_leaf(columns::$column, self.$($table)+.root()));
            };
        }
        each_table!(leaf);
        StateRoot(MerkleTree::<MerkleSha256>::from_leaves(&leaves).root().expect("there are leaves"))
    }

    /// The part of the root's preimage that tells the tables' roots; the rest of the state is below them.
    pub fn top(&self) -> StateTop {
        let mut columns = Vec::new();
        macro_rules! column {
            ($column:ident, $($table:tt)+) => {
                columns.push((columns::$column, ByteBuf::from(self.$($table)+.root())));
            };
        }
        each_table!(column);
        StateTop { meta: ByteBuf::from(codec::encode(&self.meta)), columns }
    }

    /// Appends nodes of one subtree; see [`Table::list`]. `None` if there is no such column or key.
    pub(crate) fn list_place(&self, place: &Place, bytes_left: &mut usize, nodes: &mut Vec<TreeNode>) -> Option<()> {
        let parent = place.parent.as_ref().map(|(key, side)| (key.as_slice(), *side));
        macro_rules! list {
            ($column:ident, $($table:tt)+) => {
                if place.column == columns::$column {
                    return list_table(&self.$($table)+, parent, bytes_left, nodes);
                }
            };
        }
        each_table!(list);
        None
    }

    /// What to write over the stored `older` state to store this one.
    pub fn changes_since(&self, older: &Self) -> Vec<StateChange> {
        let mut changes = Vec::new();
        if self.meta != older.meta {
            changes.push(self.meta_entry());
        }
        macro_rules! diff {
            ($column:ident, $($table:tt)+) => {
                for change in self.$($table)+.changes_since(&older.$($table)+) {
                    changes.push(StateChange { column: columns::$column, key: change.key, value: change.value });
                }
            };
        }
        each_table!(diff);
        changes
    }

    /// Every entry, to store a state where there is none.
    pub fn entries(&self) -> Vec<StateChange> {
        let mut entries = Vec::new();
        let Ok(()) = self.for_each_entry(|entry| {
            entries.push(entry);
            Ok::<(), std::convert::Infallible>(())
        });
        entries
    }

    /// Gives every entry to `take`, one at a time, so that they need not all be in memory beside the state.
    ///
    /// # Errors
    /// The first of `take`.
    pub fn for_each_entry<E>(&self, mut take: impl FnMut(StateChange) -> Result<(), E>) -> Result<(), E> {
        macro_rules! give {
            ($column:ident, $($table:tt)+) => {
                for (key, value) in self.$($table)+.iter() {
                    let (key, value) = (codec::encode(key), Some(codec::encode(value)));
                    take(StateChange { column: columns::$column, key, value })?;
                }
            };
        }
        each_table!(give);
        take(self.meta_entry())
    }

    /// Entries in all columns, and the bytes of their keys and values. Encodes every one.
    pub fn size(&self) -> StateSize {
        let mut size = StateSize { entries: 1, bytes: codec::encode(&self.meta).len() as u64 };
        macro_rules! count {
            ($column:ident, $($table:tt)+) => {
                size.entries += self.$($table)+.len() as u64;
                size.bytes += self.$($table)+.encoded_bytes();
            };
        }
        each_table!(count);
        size
    }

    fn meta_entry(&self) -> StateChange {
        StateChange { column: columns::META, key: Vec::new(), value: Some(codec::encode(&self.meta)) }
    }

    /// The state made of stored entries `(column, key, value)`, in any order. Compare [`State::root`] with the
    /// header to know that none is missing.
    ///
    /// # Errors
    /// [`StateDamage`] names the first entry that cannot be read.
    pub fn from_entries(entries: impl IntoIterator<Item = (u8, Vec<u8>, Vec<u8>)>) -> Result<Self, StateDamage> {
        let mut meta: Option<Meta> = None;
        let mut state: Option<Self> = None;
        let mut waiting = Vec::new();
        for (column, key, value) in entries {
            if column == columns::META {
                meta = Some(stored(column, &key, &value)?);
            } else {
                waiting.push((column, key, value));
            }
            if let (None, Some(meta)) = (&state, &meta) {
                state = Some(Self::empty(meta.clone(), Table::new()));
            }
            if let Some(state) = &mut state {
                for (column, key, value) in waiting.drain(..) {
                    state.load(column, &key, &value)?;
                }
            }
        }
        state.ok_or(StateDamage::MetaMissing)
    }

    fn load(&mut self, column: u8, key: &[u8], value: &[u8]) -> Result<(), StateDamage> {
        macro_rules! load {
            ($column:ident, $($table:tt)+) => {
                if column == columns::$column {
                    return load_into(&mut self.$($table)+, column, key, value);
                }
            };
        }
        each_table!(load);
        Err(StateDamage::UnknownColumn { column })
    }
}

/// Number of the first provider. Not 0, so that no prover id is all zeros.
const FIRST_PROVIDER: u64 = 1_000;

fn list_table<K: TableKey, V: Clone + Serialize>(
    table: &Table<K, V>,
    parent: Option<(&[u8], Side)>,
    bytes_left: &mut usize,
    nodes: &mut Vec<TreeNode>,
) -> Option<()> {
    let Some((key, side)) = parent else { return table.list(None, bytes_left, nodes) };
    let key: K = codec::decode_strict(key, key.len()).ok()?;
    table.list(Some((&key, side)), bytes_left, nodes)
}

/// Checks that a supply and all rewards to come fit in 64 bits.
pub(crate) fn check_supply(params: &LedgerParams, supply: Amount) -> Result<(), GenesisRejection> {
    let all = u128::from(supply.0) + params.economy.emission.scheduled_ever();
    if all <= u128::from(u64::MAX) { Ok(()) } else { Err(GenesisRejection::SupplyOverflow) }
}

pub(crate) fn column_leaf(column: u8, root: [u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(b"cairn/state-column/v1").chain_update([column]).chain_update(root).finalize().into()
}

fn stored<T: Serialize + serde::de::DeserializeOwned>(column: u8, key: &[u8], bytes: &[u8]) -> Result<T, StateDamage> {
    codec::decode_strict(bytes, usize::MAX).map_err(|rejection| StateDamage::BadEntry {
        column,
        key: hex::encode(key),
        detail: rejection.to_string(),
    })
}

fn load_into<K: TableKey, V: Clone + Serialize + serde::de::DeserializeOwned>(
    table: &mut Table<K, V>,
    column: u8,
    key: &[u8],
    value: &[u8],
) -> Result<(), StateDamage> {
    table.insert(stored(column, key, key)?, stored(column, key, value)?);
    Ok(())
}

/// Reading.
impl State {
    /// The network.
    pub fn chain(&self) -> ChainId {
        self.meta.chain
    }

    /// The network's numbers.
    pub fn params(&self) -> &LedgerParams {
        &self.meta.params
    }

    /// Epoch of the last block; 0 before the first.
    pub fn epoch(&self) -> Epoch {
        self.meta.epoch
    }

    /// Time of the last block, in milliseconds since 1970.
    pub fn time_ms(&self) -> u64 {
        self.meta.time_ms
    }

    /// Totals of locked and burnt money.
    pub fn treasury(&self) -> &Treasury {
        &self.meta.treasury
    }

    /// Balance and nonce; zeros if the address was never used.
    pub fn account(&self, address: &Address) -> Account {
        self.accounts.get(address).copied().unwrap_or_default()
    }

    /// All accounts, by address.
    pub fn accounts(&self) -> impl Iterator<Item = (Address, &Account)> {
        self.accounts.iter().map(|(address, account)| (*address, account))
    }

    /// A provider.
    pub fn provider(&self, provider: ProviderId) -> Option<&Provider> {
        self.providers.get(&provider)
    }

    /// All providers, by number.
    pub fn providers(&self) -> impl Iterator<Item = (ProviderId, &Provider)> {
        self.providers.iter().map(|(id, provider)| (*id, provider))
    }

    /// Providers of one owner. Reads all providers.
    pub fn providers_of(&self, owner: Address) -> impl Iterator<Item = (ProviderId, &Provider)> {
        self.providers().filter(move |(_, provider)| provider.owner == owner)
    }

    /// An order.
    pub fn order(&self, order: OrderId) -> Option<&Order> {
        self.orders.get(&order)
    }

    /// All orders that are not forgotten, by number.
    pub fn orders(&self) -> impl Iterator<Item = (OrderId, &Order)> {
        self.orders.iter().map(|(id, order)| (*id, order))
    }

    /// Orders that take bids. Reads all orders.
    pub fn open_orders(&self) -> impl Iterator<Item = (OrderId, &Order)> {
        self.orders().filter(|(_, order)| order.status == OrderStatus::Open)
    }

    /// A bid.
    pub fn bid(&self, order: OrderId, provider: ProviderId) -> Option<&Bid> {
        self.bids.get(&(order, provider))
    }

    /// The bids on an order, by provider.
    pub fn bids_on(&self, order: OrderId) -> impl Iterator<Item = (ProviderId, &Bid)> {
        let from = (order, ProviderId(0));
        self.bids.iter_from(&from).take_while(move |((o, _), _)| *o == order).map(|((_, id), bid)| (*id, bid))
    }

    /// A deal.
    pub fn deal(&self, deal: DealId) -> Option<&Deal> {
        self.deals.get(&deal)
    }

    /// All deals that are not forgotten, by number.
    pub fn deals(&self) -> impl Iterator<Item = (DealId, &Deal)> {
        self.deals.iter().map(|(id, deal)| (*id, deal))
    }

    /// Deals of one provider. Reads all deals.
    pub fn deals_of(&self, provider: ProviderId) -> impl Iterator<Item = (DealId, &Deal)> {
        self.deals().filter(move |(_, deal)| deal.provider == provider)
    }

    /// A payment channel.
    pub fn channel(&self, channel: ChannelId) -> Option<&Channel> {
        self.channels.get(&channel)
    }

    /// All payment channels that are not forgotten, by number.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, &Channel)> {
        self.channels.iter().map(|(id, channel)| (*id, channel))
    }

    /// A sector.
    pub fn sector(&self, provider: ProviderId, sector: SectorNumber) -> Option<&Sector> {
        self.sectors.get(&(provider, sector))
    }

    /// The sectors of one provider, by number.
    pub fn sectors_of(&self, provider: ProviderId) -> impl Iterator<Item = (SectorNumber, &Sector)> {
        let from = (provider, SectorNumber(0));
        self.sectors.iter_from(&from).take_while(move |((p, _), _)| *p == provider).map(|((_, n), s)| (*n, s))
    }

    /// A partition.
    pub fn partition(&self, provider: ProviderId, deadline: u32, partition: u32) -> Option<&Partition> {
        self.partitions.get(&(provider, deadline, partition))
    }

    /// The partitions of one provider, by deadline and number.
    pub fn partitions_of(&self, provider: ProviderId) -> impl Iterator<Item = (u32, u32, &Partition)> {
        let partitions = self.partitions.iter_from(&(provider, 0, 0));
        partitions.take_while(move |((p, _, _), _)| *p == provider).map(|((_, d, n), partition)| (*d, *n, partition))
    }

    /// The beacon of an epoch: known from the block of that epoch on, for `beacon_window` epochs.
    pub fn beacon(&self, epoch: Epoch) -> Option<&Beacon> {
        self.beacons.get(&epoch)
    }
}

/// What a provider needs to know to seal and to prove.
impl State {
    /// The sealing ticket of `provider` at `epoch`; `None` if that beacon is not known.
    pub fn ticket(&self, provider: ProviderId, epoch: Epoch) -> Option<Ticket> {
        self.beacon(epoch).map(|beacon| randomness::ticket(beacon, epoch, provider))
    }

    /// The seed of a pre-committed sector; `None` while its epoch is to come.
    pub fn seed(&self, provider: ProviderId, sector: SectorNumber) -> Option<Seed> {
        let epoch = self.sector(provider, sector)?.seed_epoch;
        self.beacon(epoch).map(|beacon| randomness::seed(beacon, epoch, provider))
    }

    /// The window-PoSt randomness of `provider` for a challenge epoch; `None` if that beacon is not known.
    pub fn post_randomness(&self, provider: ProviderId, challenge_epoch: Epoch) -> Option<PostRandomness> {
        self.beacon(challenge_epoch).map(|beacon| randomness::post_randomness(beacon, challenge_epoch, provider))
    }

    /// What a prove-commit of this sector must prove; `None` unless it is pre-committed and its seed is known.
    pub fn porep_statement(&self, provider: ProviderId, number: SectorNumber) -> Option<PorepStatement> {
        let sector = self.sector(provider, number)?;
        if !matches!(sector.status, SectorStatus::PreCommitted { .. }) {
            return None;
        }
        Some(PorepStatement {
            sector_size: self.provider(provider)?.sector_size,
            seal_proof: sector.seal_proof,
            prover_id: provider.prover_id(),
            sector_number: number,
            ticket: sector.ticket,
            seed: self.seed(provider, number)?,
            comm_d: sector.comm_d,
            comm_r: sector.comm_r,
        })
    }

    /// The deadlines of `provider`, through all time.
    pub fn calendar(&self, provider: ProviderId) -> Calendar {
        Calendar::new(&self.meta.params, provider)
    }

    /// The deadline of `provider` in whose slot `epoch` lies.
    pub fn deadline_info(&self, epoch: Epoch, provider: ProviderId) -> DeadlineInfo {
        self.calendar(provider).slot_at(epoch)
    }

    /// The next proof of each partition of `provider`, first to close first. Partitions without sectors are left out.
    pub fn post_duties(&self, provider: ProviderId) -> Vec<PostDuty> {
        let calendar = self.calendar(provider);
        let mut duties: Vec<PostDuty> = self
            .partitions_of(provider)
            .filter(|(_, _, partition)| !partition.sectors.is_empty())
            .map(|(deadline, number, partition)| {
                let instance = calendar.closing_at(deadline, partition.closes_at);
                PostDuty {
                    deadline: instance,
                    partition: number,
                    sectors: self.provable_sectors(provider, partition).map(|(number, _)| number).collect(),
                    proven: partition.proven_challenge >= Some(instance.challenge_epoch),
                }
            })
            .collect();
        duties.sort_by_key(|duty| (duty.deadline.closes_at, duty.deadline.deadline, duty.partition));
        duties
    }

    /// What a window PoSt of this partition must prove at its current instance; `None` if there is no such partition
    /// or its challenge is not drawn.
    pub fn window_post_statement(
        &self,
        provider: ProviderId,
        deadline: u32,
        partition: u32,
    ) -> Option<WindowPostStatement> {
        let partition = self.partition(provider, deadline, partition)?;
        let instance = self.calendar(provider).closing_at(deadline, partition.closes_at);
        Some(WindowPostStatement {
            sector_size: self.provider(provider)?.sector_size,
            prover_id: provider.prover_id(),
            randomness: self.post_randomness(provider, instance.challenge_epoch)?,
            sectors: self.provable_sectors(provider, partition).map(|(number, s)| (number, s.comm_r)).collect(),
        })
    }

    /// Sectors of `provider` that are faulty and not declared recovering.
    pub fn faulty_sectors(&self, provider: ProviderId) -> impl Iterator<Item = SectorNumber> {
        self.sectors_of(provider)
            .filter(|(_, sector)| sector.proving().is_some_and(|p| matches!(p.health, Health::Faulty { .. })))
            .map(|(number, _)| number)
    }

    fn provable_sectors<'a>(
        &'a self,
        provider: ProviderId,
        partition: &'a Partition,
    ) -> impl Iterator<Item = (SectorNumber, &'a Sector)> {
        let sectors = partition.sectors.iter().filter_map(move |n| Some((*n, self.sector(provider, *n)?)));
        sectors.filter(|(_, sector)| sector.is_provable())
    }

    /// Sectors in one partition of this provider, at most.
    pub(crate) fn partition_sectors_max(&self, provider: &Provider, sector: &Sector) -> usize {
        SectorParams::new(provider.sector_size, sector.seal_proof).window_sectors_per_partition
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Network, order_terms, piece};

    /// A state with an order, a bid, a deal and a live sector.
    fn lively() -> State {
        static STATE: std::sync::OnceLock<State> = std::sync::OnceLock::new();
        STATE.get_or_init(make_lively).clone()
    }

    fn make_lively() -> State {
        let mut network = Network::new(LedgerParams::devnet(), 3);
        let provider = network.register(2);
        let order = network.order(1, order_terms(&LedgerParams::devnet(), vec![piece(1, 1 << 20)], 100));
        let price_per_epoch = Amount(50);
        network.command(2, crate::Command::PlaceBid { provider, order, price_per_epoch });
        let deals = network.deals_of_order(order);
        network.seal(2, provider, 1, &deals);
        network.state
    }

    #[test]
    fn entries_and_encoding_give_the_state_back() {
        let state = lively();
        let entries = state.entries().into_iter().map(|e| (e.column, e.key, e.value.expect("all are written")));
        let mut entries: Vec<_> = entries.collect();
        entries.reverse();
        assert_eq!(State::from_entries(entries.clone()).unwrap(), state);
        assert_eq!(codec::decode_strict::<State>(&codec::encode(&state), usize::MAX).unwrap().root(), state.root());
        entries.pop();
        assert_ne!(State::from_entries(entries.clone()).map(|state| state.root()), Ok(state.root()));
        assert_eq!(State::from_entries([]), Err(StateDamage::MetaMissing));
        entries.push((77, vec![], vec![]));
        assert_eq!(State::from_entries(entries), Err(StateDamage::UnknownColumn { column: 77 }));
    }

    #[test]
    fn genesis_is_refused_by_rule() {
        let make = |params, allocations: &[(Address, Amount)]| State::genesis(ChainId([0; 32]), params, 0, allocations);
        let (a, b) = (Address([1; 32]), Address([2; 32]));
        let twice = make(LedgerParams::devnet(), &[(a, Amount(1)), (a, Amount(1))]);
        assert_eq!(twice, Err(GenesisRejection::DuplicateAllocation { address: a }));
        let rich = make(LedgerParams::devnet(), &[(a, Amount(u64::MAX)), (b, Amount(1))]);
        assert_eq!(rich, Err(GenesisRejection::SupplyOverflow));
        let params = LedgerParams { bid_window: 0, ..LedgerParams::devnet() };
        assert!(matches!(make(params, &[]), Err(GenesisRejection::Params(_))));
    }

    proptest! {
        #[test]
        fn reading_damaged_entries_never_panics(
            which in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            byte: u8,
            garbage in prop::collection::vec(any::<u8>(), 0..60),
            column in 0u8..50,
        ) {
            let mut entries: Vec<_> =
                lively().entries().into_iter().map(|e| (e.column, e.key, e.value.unwrap())).collect();
            let damaged = which.index(entries.len());
            let entry = &mut entries[damaged].2;
            let position = at.index(entry.len());
            entry[position] = byte;
            let _ = State::from_entries(entries.clone());
            entries.push((column, garbage.clone(), garbage.clone()));
            let _ = State::from_entries(entries);
            let _ = codec::decode_strict::<State>(&garbage, 1_000);
        }
    }
}
