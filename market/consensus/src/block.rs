//! Blocks and their headers.

use std::fmt;

use cairn_ledger::{
    Address, Beacon, ChainId, LedgerParams, Receipt, SignedTransaction, StateRoot, TransactionId, codec,
};
use cairn_protocol::Epoch;
use cairn_protocol::bytes32::serde32;
use rs_merkle::{MerkleProof, MerkleTree, algorithms::Sha256 as MerkleSha256};
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

/// Merkle root over the ids of transactions; zeros if there are none.
pub fn transactions_root(transactions: &[SignedTransaction]) -> [u8; 32] {
    transaction_ids_root(transactions.iter().map(SignedTransaction::id))
}

/// The same for who has the ids alone.
pub fn transaction_ids_root(ids: impl Iterator<Item = TransactionId>) -> [u8; 32] {
    merkle_root(ids.map(|id| leaf(b"cairn/transaction-leaf/v1", &id.0)))
}

/// Merkle root over receipts; zeros if there are none.
pub fn receipts_root(receipts: &[Receipt]) -> [u8; 32] {
    merkle_root(receipts.iter().map(receipt_leaf))
}

/// That a receipt is under a block's `receipts_root`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptPath {
    /// Its place.
    pub index: u32,
    /// Receipts of the block.
    pub count: u32,
    /// Hashes beside the way to the root, from the bottom up.
    pub hashes: Vec<[u8; 32]>,
}

/// Longest way to a root: of as many receipts as can be counted.
pub const RECEIPT_PATH_MAX: usize = u32::BITS as usize;

impl ReceiptPath {
    /// The way of the receipt at `index`; `None` if there is none.
    pub fn of(receipts: &[Receipt], index: u32) -> Option<Self> {
        let place = usize::try_from(index).ok().filter(|place| *place < receipts.len())?;
        let count = u32::try_from(receipts.len()).ok()?;
        let leaves: Vec<_> = receipts.iter().map(receipt_leaf).collect();
        let proof = MerkleTree::<MerkleSha256>::from_leaves(&leaves).proof(&[place]);
        Some(Self { index, count, hashes: proof.proof_hashes().to_vec() })
    }

    /// Whether it leads from `receipt` to `root`. The receipt itself says in which block and where it is, so that a path
    /// with another count or index shows nothing false.
    pub fn leads(&self, receipt: &Receipt, root: &[u8; 32]) -> bool {
        if self.hashes.len() > RECEIPT_PATH_MAX || self.index >= self.count || receipt.index != self.index {
            return false;
        }
        let (index, count) = (self.index as usize, self.count as usize);
        MerkleProof::<MerkleSha256>::new(self.hashes.clone()).verify(*root, &[index], &[receipt_leaf(receipt)], count)
    }
}

fn receipt_leaf(receipt: &Receipt) -> [u8; 32] {
    leaf(b"cairn/receipt-leaf/v1", &codec::encode(receipt))
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

#[cfg(test)]
mod tests {
    use cairn_ledger::Outcome;
    use proptest::prelude::*;

    use super::*;

    fn receipts(count: u32) -> Vec<Receipt> {
        let receipt = |index: u32| Receipt {
            transaction: TransactionId([index as u8; 32]),
            epoch: Epoch(7),
            index,
            outcome: Outcome::Applied,
            events: Vec::new(),
        };
        (0..count).map(receipt).collect()
    }

    #[test]
    fn every_receipt_has_its_way_and_no_other() {
        for count in 1..=9 {
            let all = receipts(count);
            let root = receipts_root(&all);
            for receipt in &all {
                let path = ReceiptPath::of(&all, receipt.index).unwrap();
                assert!(path.leads(receipt, &root), "{} of {count}", receipt.index);
                assert!(!path.leads(&Receipt { epoch: Epoch(8), ..receipt.clone() }, &root));
                assert!(!path.leads(receipt, &[1; 32]));
                for place in 0..path.hashes.len() {
                    let mut wrong = path.clone();
                    wrong.hashes[place][0] ^= 1;
                    assert!(!wrong.leads(receipt, &root));
                }
            }
            assert_eq!(ReceiptPath::of(&all, count), None);
        }
    }

    proptest! {
        #[test]
        fn any_path_is_judged_without_a_panic(
            index: u32,
            count: u32,
            hashes in prop::collection::vec(any::<[u8; 32]>(), 0..40),
            own in 0u32..5,
        ) {
            let all = receipts(5);
            let path = ReceiptPath { index, count, hashes: hashes.clone() };
            let moved = Receipt { index, ..all[own as usize].clone() };
            let found = path.leads(&moved, &receipts_root(&all));
            prop_assert!(!found);
            let path = ReceiptPath { index: own, count: count.max(5), hashes };
            let found = path.leads(&all[own as usize], &[9; 32]);
            prop_assert!(!found);
        }
    }
}
