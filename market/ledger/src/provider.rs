//! Accounts and providers.

use cairn_protocol::{Amount, SectorSize};
use serde::{Deserialize, Serialize};

use crate::ids::Address;

/// What an address owns freely. Accounts are never forgotten: a nonce that starts again would let old transactions
/// be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Account {
    /// Free money; locked money is in pots ([`crate::treasury`]).
    pub balance: Amount,
    /// Nonce that the next transaction must carry.
    pub nonce: u64,
}

/// Someone who stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provider {
    /// Signs for the provider and is paid.
    pub owner: Address,
    /// Size of all its sectors.
    pub sector_size: SectorSize,
    /// Locked money that pays fault fees.
    pub collateral: Amount,
    /// Where it serves retrievals: a URL.
    pub endpoint: String,
    /// Bids, deals and sectors that are not closed. Collateral below the minimum can be withdrawn only at 0.
    pub obligations: u64,
    /// Partitions in each of its 48 deadlines.
    pub partition_counts: Vec<u32>,
}

/// Longest endpoint or transfer URL, in bytes.
pub const URL_BYTES_MAX: usize = 512;
