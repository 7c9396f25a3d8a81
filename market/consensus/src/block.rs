//! Blocks and their headers.

use std::fmt;

use cairn_ledger::{Address, Beacon, ChainId, LedgerParams, Receipt, SignedTransaction, StateRoot, codec};
use cairn_protocol::Epoch;
use cairn_protocol::bytes32::serde32;
use rs_merkle::{MerkleTree, algorithms::Sha256 as MerkleSha256};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::commit::Commit;
use crate::drand::DrandRound;
use crate::evidence::Evidence;

/// A block's name: SHA-256 of its header in canonical DAG-CBOR.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockId(#[serde(with = "serde32")] pub [u8; 32]);

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockId({self})")
    }
}

/// Everything that a block says, in a few bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockHeader {
    /// The network.
    pub chain: ChainId,
    /// Height, which is the ledger's epoch. The genesis is 0.
    pub height: Epoch,
    /// The block before; the chain's name before the first.
    pub parent: BlockId,
    /// Milliseconds since 1970; never before the parent's.
    pub time_ms: u64,
    /// Randomness of the epoch.
    pub beacon: Beacon,
    /// The validator that made it.
    pub proposer: Address,
    /// Name of the set of validators that decides it.
    #[serde(with = "serde32")]
    pub validators_root: [u8; 32],
    /// Hash of the decision for the parent; zeros if the parent is the genesis.
    #[serde(with = "serde32")]
    pub commit_root: [u8; 32],
    /// Hash of the evidence in the block; zeros if there is none.
    #[serde(with = "serde32")]
    pub evidence_root: [u8; 32],
    /// Merkle root over the transactions' ids.
    #[serde(with = "serde32")]
    pub transactions_root: [u8; 32],
    /// Merkle root over the receipts.
    #[serde(with = "serde32")]
    pub receipts_root: [u8; 32],
    /// Root of the state after the block.
    pub state_root: StateRoot,
}

impl BlockHeader {
    /// The block's name.
    pub fn id(&self) -> BlockId {
        BlockId(Sha256::digest(codec::encode(self)).into())
    }
}

/// A header and what it speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The header.
    pub header: BlockHeader,
    /// The decision for the parent, as its maker knew it; none if the parent is the genesis.
    pub commit: Option<Commit>,
    /// Contradictions of validators, by height and validator, ascending.
    pub evidence: Vec<Evidence>,
    /// The round of drand that the beacon comes from; none where the beacon comes from elsewhere.
    pub drand: Option<DrandRound>,
    /// In the order in which they are applied.
    pub transactions: Vec<SignedTransaction>,
}

/// Merkle root over transaction ids; zeros if there are none.
pub fn transactions_root(transactions: &[SignedTransaction]) -> [u8; 32] {
    merkle_root(transactions.iter().map(|signed| leaf(b"cairn/transaction-leaf/v1", &signed.id().0)))
}

/// Merkle root over receipts; zeros if there are none.
pub fn receipts_root(receipts: &[Receipt]) -> [u8; 32] {
    merkle_root(receipts.iter().map(|receipt| leaf(b"cairn/receipt-leaf/v1", &codec::encode(receipt))))
}

/// Bytes of a block's encoding: its transactions, a header, a commit of all validators, evidence, and what holds them
/// together.
pub(crate) fn encoded_bytes_max(params: &LedgerParams) -> u64 {
    params.block_bytes_max + (64 << 10)
}

fn leaf(tag: &[u8], bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(tag).chain_update(bytes).finalize().into()
}

fn merkle_root(leaves: impl Iterator<Item = [u8; 32]>) -> [u8; 32] {
    let leaves: Vec<_> = leaves.collect();
    MerkleTree::<MerkleSha256>::from_leaves(&leaves).root().unwrap_or([0; 32])
}
