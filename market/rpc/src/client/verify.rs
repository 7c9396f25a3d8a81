//! Checking what a server says, as far as that can be done without a node.
//!
//! A client that has the network's genesis, or knows one recent block of it, believes no server about blocks:
//!
//! 1. *Who decides* is believed from the genesis, or from the [`Checkpoint`] that the operator names.
//! 2. *A block* is believed if it follows from that by signatures ([`cairn_consensus::snapshot::trust`], the same rules by
//!    which a node catches up): its header names its validators, two thirds of their votes signed it, and more than a third
//!    of those believed before are among the signers, over light blocks between if it must be.
//! 3. *The transactions* of a block are believed if their Merkle root is the header's.
//! 4. *What became of a transaction* is believed if its receipt is under the header's `receipts_root`.
//!
//! # What rests on trust
//! - Everything that is read out of the state: balances, orders, scores. The header names the state's root, but the server
//!   proves no entry of it.
//! - That the answer is of now. A server may show an old block, and keep silent about newer ones.
//! - Two thirds of the stake, as ever; and whoever gave the genesis or the checkpoint. Validators of long ago have nothing
//!   to lose by signing another history, so a checkpoint must be younger than stake stays locked. A genesis that is older
//!   is told as such ([`Verified::old_by`]).

use cairn_consensus::block::{ReceiptPath, transaction_ids_root};
use cairn_consensus::snapshot::trust::{self, Believed};
use cairn_consensus::snapshot::{Checkpoint, TrustRejection};
use cairn_consensus::{Genesis, GenesisError, LightBlock, Validators};
use cairn_ledger::{ChainId, CodecRejection, LedgerParams, SignedTransaction, TransactionId, codec};
use cairn_protocol::Epoch;
use serde::Serialize;

use super::{ClientError, RpcClient};
use crate::wire::{Block, Digest, Receipt, Transaction, TransactionProof};

/// Light blocks that are asked for on the way to one that is believed.
const LIGHTS_MAX: u32 = 256;
/// Most bytes of a transaction or a receipt that are read.
const RECORD_BYTES_MAX: usize = 8 << 20;

/// Whom a client believes before it asks.
#[derive(Debug, Clone)]
pub struct Trust {
    chain: ChainId,
    params: LedgerParams,
    genesis: Validators,
    checkpoint: Option<Checkpoint>,
}

impl Trust {
    /// The network that starts from `genesis`; and, if there is one, who decided the checkpoint instead of who is in the
    /// genesis.
    ///
    /// # Errors
    /// [`GenesisError`] if it starts no network.
    pub fn new(genesis: &Genesis, checkpoint: Option<Checkpoint>) -> Result<Self, GenesisError> {
        let state = genesis.state()?;
        let (chain, params) = (genesis.chain(), genesis.params.clone());
        Ok(Self { chain, params, genesis: Validators::after(&state), checkpoint })
    }
}

/// Why an answer is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no answer to check.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The block does not follow from what is believed.
    #[error("the server's block is not believed: {0}")]
    Trust(#[from] TrustRejection),
    /// A part of the answer is not what the rest says it is.
    #[error("the server's answer is not believed: {what}: expected {expected}, got {got}")]
    Mismatch {
        /// Which part of what.
        what: String,
        /// What follows from the rest.
        expected: String,
        /// What it said.
        got: String,
    },
    /// A part of the answer cannot be read.
    #[error("the server's answer is not believed: {what}: {rejection}")]
    Malformed {
        /// Which part of what.
        what: String,
        /// What is wrong.
        rejection: CodecRejection,
    },
    /// The way from what is believed is too long.
    #[error("block {height} is not reached from what is believed over {LIGHTS_MAX} others: name a newer checkpoint")]
    TooFar {
        /// The block.
        height: Epoch,
    },
}

/// How a block is known to be final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The block.
    pub height: Epoch,
    /// Votes that signed it.
    pub votes: u64,
    /// Votes of all who could.
    pub of: u64,
    /// Where trust began: the checkpoint's height, 0 for the genesis.
    pub since: Epoch,
    /// By how many blocks that is older than stake stays locked: validators who left since could have signed another history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_by: Option<u64>,
}

fn mismatch(what: impl Into<String>, expected: impl ToString, got: impl ToString) -> VerifyError {
    VerifyError::Mismatch { what: what.into(), expected: expected.to_string(), got: got.to_string() }
}

/// Checking. Each call fails with [`VerifyError`].
#[allow(clippy::missing_errors_doc, reason = "said once for all")]
impl RpcClient {
    /// A header that is final, by steps 1 and 2 of the module.
    pub fn verified_light(&self, trust: &Trust, height: Epoch) -> Result<(LightBlock, Verified), VerifyError> {
        let (target, every) = self.light(trust, height)?;
        let (since, old_by) = match trust.checkpoint {
            None => {
                let believed = Believed { validators: trust.genesis.clone(), height: Epoch(0) };
                self.reach(trust, believed, &target, every)?;
                (Epoch(0), trust::check_age(Epoch(0), height, &trust.params).err())
            }
            Some(Checkpoint::Block { height: known, block }) => {
                trust::check_age(known, height, &trust.params)?;
                let (light, _) = self.light(trust, known)?;
                if light.header.id() != block {
                    let got = light.header.id();
                    return Err(TrustRejection::OtherCheckpoint { height: known, expected: block, got }.into());
                }
                if height < known {
                    return Err(mismatch(
                        "the block's height",
                        format!("{known} or above, where trust begins"),
                        height,
                    ));
                }
                let believed = Believed { validators: light.deciders, height: known };
                self.reach(trust, believed, &target, every)?;
                (known, None)
            }
            Some(Checkpoint::Validators { root }) => {
                if target.deciders.root() != root {
                    return Err(TrustRejection::UnknownValidators { height }.into());
                }
                (height, None)
            }
        };
        let votes = target.commit.signatures.iter().filter_map(|signed| target.deciders.get(&signed.validator));
        let votes = votes.map(|member| member.power).sum();
        let old_by = old_by.and_then(|rejection| match rejection {
            TrustRejection::TooOld { age, limit, .. } => Some(age - limit),
            _ => None,
        });
        let verified = Verified { height, votes, of: target.deciders.power(), since, old_by };
        Ok((target, verified))
    }

    /// A light block that is right by itself, and how often such are kept.
    fn light(&self, trust: &Trust, height: Epoch) -> Result<(LightBlock, u64), VerifyError> {
        let told = self.light_block(height)?;
        let signatures = || mismatch("signatures", "64 bytes each", format!("other ones at height {height}"));
        let light = told.to_light().ok_or_else(signatures)?;
        trust::check_light(&light, &trust.chain, height)?;
        Ok((light, told.kept_every.max(1)))
    }

    fn reach(&self, trust: &Trust, from: Believed, to: &LightBlock, every: u64) -> Result<(), VerifyError> {
        let (mut left, height) = (LIGHTS_MAX, to.header.height);
        trust::reach(from, to, every, &mut |between| {
            left = left.checked_sub(1).ok_or(VerifyError::TooFar { height })?;
            Ok(self.light(trust, between)?.0)
        })
    }

    /// A block that is final, with the transactions that are in it, by steps 1 to 3 of the module.
    pub fn verified_block(&self, trust: &Trust, height: Epoch) -> Result<(Block, Verified), VerifyError> {
        let (light, verified) = self.verified_light(trust, height)?;
        let block = self.block(height)?;
        let (expected, got) = (light.header.id(), block.header.to_header().id());
        if expected != got || block.header.id != expected {
            return Err(mismatch(format!("the header of block {height}"), expected, got));
        }
        let (expected, got) =
            (light.header.transactions_root, transaction_ids_root(block.transactions.iter().copied()));
        if expected != got {
            let what = format!("the transactions of block {height}");
            return Err(mismatch(what, hex::encode(expected), hex::encode(got)));
        }
        Ok((block, verified))
    }

    /// What was signed and what became of it in a block that is final, by all steps of the module; `None` if the server
    /// knows of no block with it.
    pub fn verified_transaction(
        &self,
        trust: &Trust,
        id: &TransactionId,
    ) -> Result<Option<(Transaction, Receipt, Verified)>, VerifyError> {
        let Some(proof) = self.transaction_proof(id)? else { return Ok(None) };
        let (signed, receipt) = read(&proof)?;
        if signed.id() != *id {
            return Err(mismatch("the transaction", id, signed.id()));
        }
        if receipt.transaction != *id || receipt.epoch != proof.height {
            let got = format!("that of {} at {}", receipt.transaction, receipt.epoch);
            return Err(mismatch("the receipt", format!("that of {id} at {}", proof.height), got));
        }
        let (light, verified) = self.verified_light(trust, proof.height)?;
        let hashes = proof.path.iter().map(|Digest(hash)| *hash).collect();
        let path = ReceiptPath { index: proof.index, count: proof.count, hashes };
        if !path.leads(&receipt, &light.header.receipts_root) {
            let root = hex::encode(light.header.receipts_root);
            return Err(mismatch(format!("the receipt of {id}"), format!("one under {root}"), "another"));
        }
        Ok(Some((Transaction::of(&signed.transaction), Receipt::of(&receipt), verified)))
    }
}

fn read(proof: &TransactionProof) -> Result<(SignedTransaction, cairn_ledger::Receipt), VerifyError> {
    // What is no hex is no record either; an empty one says so.
    let bytes = |text: &str| hex::decode(text).unwrap_or_default();
    let malformed = |what: &str| {
        let what = what.to_owned();
        move |rejection| VerifyError::Malformed { what, rejection }
    };
    let signed = SignedTransaction::decode(&bytes(&proof.transaction), RECORD_BYTES_MAX);
    let receipt = codec::decode_strict(&bytes(&proof.receipt), RECORD_BYTES_MAX);
    Ok((signed.map_err(malformed("the transaction"))?, receipt.map_err(malformed("the receipt"))?))
}
