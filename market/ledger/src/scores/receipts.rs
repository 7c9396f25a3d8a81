//! What a checker signs about one check.
//!
//! Source: `spec/market.md` 6 and 7.1. The checker signs
//! `tag || SHA-256(chain || canonical DAG-CBOR of the receipt)` with its Ed25519 key (ZIP-215 rules). A receipt names
//! its task, so it can be held against the beacon ([`super::checks::task`]). Two receipts of one
//! checker for one slot that say different things are a [`contradiction`]: the only thing about scores that is slashed,
//! because it is the only one that can be proven.
//!
//! Receipts are kept by the checker; the ledger gets their Merkle root with the opinions, and draws some to be opened
//! ([`OpenedReceipt`]).

use ed25519_consensus::SigningKey;
use rs_merkle::{MerkleTree, algorithms::Sha256 as MerkleSha256};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::checks::CheckTask;
use super::quality::Served;
use crate::claim::Claim;
use crate::codec;
use crate::ids::{Address, ChainId};
use crate::transaction::{SignatureBytes, address_of};

/// Most receipts that an opinion rests on, the first by slot, so that those behind any opinion fit in a transaction.
pub const OPENED_MAX: usize = 64;

/// Why a check failed. What is the checker's own fault is not a failure: it makes no receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CheckFailure {
    /// No connection.
    Unreachable,
    /// An HTTP status that serves nothing.
    Refused(u16),
    /// Too long without a byte.
    Stalled,
    /// Bytes that are not the dataset's.
    WrongContent,
}

/// How a check went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckResult {
    /// The whole range came, and is the dataset's.
    Served {
        /// How fast.
        served: Served,
        /// SHA-256 of the range: shows that the checker has seen it, to whoever has it too.
        content: [u8; 32],
    },
    /// It did not.
    Failed(CheckFailure),
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckReceipt {
    /// What was asked.
    pub task: CheckTask,
    /// How it went.
    pub result: CheckResult,
}

/// A receipt with its checker's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCheckReceipt {
    /// What is signed.
    pub receipt: CheckReceipt,
    /// By `receipt.task.checker`.
    pub signature: SignatureBytes,
}

/// Why a receipt is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptRejection {
    /// Not signed by the checker it names, for this chain.
    #[error("receipt of slot {slot} in round {round} is not signed by {checker}")]
    BadSignature {
        /// Whose it should be.
        checker: Address,
        /// Its round.
        round: u64,
        /// Its slot.
        slot: u32,
    },
}

impl Claim for CheckReceipt {
    const TAG: &'static [u8] = b"cairn/check-receipt/v1\0";
}

impl CheckReceipt {
    /// Signs with the checker's key.
    ///
    /// # Panics
    /// If `key` is not the checker's: a mistake of the caller, not of the input.
    pub fn sign(self, chain: ChainId, key: &SigningKey) -> SignedCheckReceipt {
        assert_eq!(address_of(key), self.task.checker, "a receipt is signed by its checker");
        let signature = self.signature(chain, key);
        SignedCheckReceipt { receipt: self, signature }
    }

    /// SHA-256 of the bytes that came; `None` for a failure.
    pub fn content(&self) -> Option<[u8; 32]> {
        match &self.result {
            CheckResult::Served { content, .. } => Some(*content),
            CheckResult::Failed(_) => None,
        }
    }

    /// What quality counts: `None` for a failure.
    pub fn served(&self) -> Option<Served> {
        match &self.result {
            CheckResult::Served { served, .. } => Some(*served),
            CheckResult::Failed(_) => None,
        }
    }
}

impl SignedCheckReceipt {
    /// Checks the signature.
    ///
    /// # Errors
    /// [`ReceiptRejection`] if it is not the named checker's, for this chain.
    pub fn verify(&self, chain: ChainId) -> Result<(), ReceiptRejection> {
        let CheckTask { checker, round, slot, .. } = self.receipt.task;
        let signed = self.receipt.is_signed(chain, &self.signature, checker);
        signed.then_some(()).ok_or(ReceiptRejection::BadSignature { checker, round, slot })
    }
}

/// Whether the two prove that one checker lied: both signed by it, for the same slot of the same round, and different.
pub fn contradiction(chain: ChainId, a: &SignedCheckReceipt, b: &SignedCheckReceipt) -> bool {
    let slot = |signed: &SignedCheckReceipt| {
        let task = &signed.receipt.task;
        (task.checker, task.round, task.slot)
    };
    slot(a) == slot(b) && a.receipt != b.receipt && a.verify(chain).is_ok() && b.verify(chain).is_ok()
}

/// Merkle root over the SHA-256 of each receipt's canonical encoding, in the order given; zeros for none.
pub fn receipts_root(receipts: &[SignedCheckReceipt]) -> [u8; 32] {
    let leaves: Vec<[u8; 32]> = receipts.iter().map(|signed| Sha256::digest(codec::encode(signed)).into()).collect();
    MerkleTree::<MerkleSha256>::from_leaves(&leaves).root().unwrap_or([0; 32])
}

/// Leaf of a receipt in the tree of [`receipts_root`].
fn leaf_of(receipt: &SignedCheckReceipt) -> [u8; 32] {
    Sha256::digest(codec::encode(receipt)).into()
}

fn parent_of(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(left).chain_update(right).finalize().into()
}

/// One receipt of a root, with what shows that it is under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenedReceipt {
    /// Its place among the receipts of the root.
    pub index: u32,
    /// The receipt.
    pub signed: SignedCheckReceipt,
    /// The other child of each parent on the way to the root, from below.
    pub path: Vec<serde_bytes::ByteArray<32>>,
}

impl OpenedReceipt {
    /// Opens the receipt at `index`, which must be below their number.
    pub fn open(receipts: &[SignedCheckReceipt], index: usize) -> Option<Self> {
        let signed = receipts.get(index)?.clone();
        let (mut level, mut at, mut path) = (receipts.iter().map(leaf_of).collect::<Vec<_>>(), index, Vec::new());
        while level.len() > 1 {
            path.extend(level.get(at ^ 1).map(|sibling| serde_bytes::ByteArray::new(*sibling)));
            // The last of an odd level goes up as it is.
            level =
                level.chunks(2).map(|pair| pair.get(1).map_or(pair[0], |right| parent_of(&pair[0], right))).collect();
            at /= 2;
        }
        Some(Self { index: index as u32, signed, path })
    }

    /// Whether it is under a root of `count` receipts.
    pub fn is_under(&self, root: &[u8; 32], count: u32) -> bool {
        if self.index >= count {
            return false;
        }
        let (mut node, mut at, mut width) = (leaf_of(&self.signed), self.index, count);
        let mut path = self.path.iter();
        while width > 1 {
            if at ^ 1 < width {
                let Some(sibling) = path.next() else { return false };
                node = if at % 2 == 0 { parent_of(&node, sibling) } else { parent_of(sibling, &node) };
            }
            (at, width) = (at / 2, width.div_ceil(2));
        }
        path.next().is_none() && node == *root
    }
}

#[cfg(test)]
mod tests {
    use cairn_protocol::ProviderId;
    use cid::Cid;

    use super::*;

    const CHAIN: ChainId = ChainId([1; 32]);

    fn receipt(key: &SigningKey, result: CheckResult) -> CheckReceipt {
        let task = CheckTask {
            round: 3,
            checker: address_of(key),
            slot: 5,
            provider: ProviderId(1_000),
            root: Cid::default(),
            point: 10,
            length: 20,
        };
        CheckReceipt { task, result }
    }

    #[test]
    fn a_receipt_is_signed_for_one_chain() {
        let key = SigningKey::from([4; 32]);
        let failed = receipt(&key, CheckResult::Failed(CheckFailure::Stalled)).sign(CHAIN, &key);
        assert_eq!(failed.verify(CHAIN), Ok(()));
        assert!(failed.verify(ChainId([2; 32])).is_err());
        let mut forged = failed.clone();
        forged.receipt.result = CheckResult::Failed(CheckFailure::WrongContent);
        assert!(forged.verify(CHAIN).is_err());
        assert!(!contradiction(CHAIN, &failed, &forged), "what is not signed proves nothing");
        let bytes = codec::encode(&failed);
        assert_eq!(codec::decode_strict::<SignedCheckReceipt>(&bytes, 1_000), Ok(failed));
    }

    #[test]
    fn every_receipt_of_a_root_can_be_opened_and_no_other() {
        let key = SigningKey::from([4; 32]);
        for count in 1..=17usize {
            let receipts: Vec<_> = (0..count as u16)
                .map(|n| receipt(&key, CheckResult::Failed(CheckFailure::Refused(n))).sign(CHAIN, &key))
                .collect();
            let root = receipts_root(&receipts);
            for index in 0..count {
                let opened = OpenedReceipt::open(&receipts, index).unwrap();
                assert!(opened.is_under(&root, count as u32), "{index} of {count}");
                assert!(!opened.is_under(&[9; 32], count as u32));
                let elsewhere = OpenedReceipt { index: (index as u32 + 1) % 32, ..opened.clone() };
                assert!(!elsewhere.is_under(&root, count as u32), "{index} of {count} elsewhere");
                let mut longer = opened.clone();
                longer.path.push(serde_bytes::ByteArray::new([0; 32]));
                assert!(!longer.is_under(&root, count as u32));
                let mut other = opened;
                other.signed.receipt.task.slot += 1;
                assert!(!other.is_under(&root, count as u32));
            }
            assert_eq!(OpenedReceipt::open(&receipts, count), None);
        }
    }

    #[test]
    fn the_largest_opening_fits_in_a_transaction() {
        for params in [crate::LedgerParams::devnet(), crate::LedgerParams::mainnet()] {
            let (key, slots) = (SigningKey::from([4; 32]), params.economy.checks.slots());
            let served = Served { ttfb_ms: u32::MAX, total_ms: u32::MAX, bytes: u64::MAX };
            let mut widest = receipt(&key, CheckResult::Served { served, content: [0xff; 32] });
            let root = Cid::new_v1(0x70, multihash::Multihash::wrap(0x12, &[0xff; 32]).unwrap());
            let provider = ProviderId(u64::MAX);
            widest.task = CheckTask {
                round: u64::MAX,
                slot: slots,
                provider,
                root,
                point: u64::MAX,
                length: u64::MAX,
                ..widest.task
            };
            let receipts = vec![widest.sign(CHAIN, &key); slots as usize];
            let opened: Vec<_> = (0..OPENED_MAX).filter_map(|at| OpenedReceipt::open(&receipts, at)).collect();
            let bytes = codec::encode(&opened).len() as u64;
            assert!(bytes + 1_000 < params.transaction_bytes_max, "{bytes} bytes for {} receipts", opened.len());
        }
    }

    #[test]
    fn two_stories_of_one_check_are_a_lie() {
        let (key, other) = (SigningKey::from([4; 32]), SigningKey::from([5; 32]));
        let served = Served { ttfb_ms: 1, total_ms: 2, bytes: 20 };
        let good = receipt(&key, CheckResult::Served { served, content: [6; 32] }).sign(CHAIN, &key);
        let bad = receipt(&key, CheckResult::Failed(CheckFailure::Unreachable)).sign(CHAIN, &key);
        let elsewhere = receipt(&other, CheckResult::Failed(CheckFailure::Unreachable)).sign(CHAIN, &other);
        assert!(contradiction(CHAIN, &good, &bad));
        assert!(!contradiction(CHAIN, &good, &good));
        assert!(!contradiction(CHAIN, &good, &elsewhere), "two checkers may differ");
        assert_ne!(receipts_root(&[good.clone(), bad.clone()]), receipts_root(&[bad, good]));
        assert_eq!(receipts_root(&[]), [0; 32]);
    }
}
