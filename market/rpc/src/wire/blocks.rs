//! Blocks, transactions and what became of them.

use std::collections::BTreeMap;

use cairn_consensus::{BlockId, Member, Validators};
use cairn_ledger::{Address, Beacon, ChainId, SignatureBytes, StateRoot, TransactionId};
use cairn_protocol::Epoch;
use cairn_protocol::bytes32::serde32;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Hex32;
use crate::readable::{self, Tagged};

/// A hash among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(#[serde(with = "serde32")] pub [u8; 32]);

/// What kind of network a ledger belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NetworkGrade {
    /// To try things: keys, parameters and randomness may be of development grade.
    Development,
    /// For real data and money.
    Production,
}

/// The network, and how this server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Network {
    /// Its name: SHA-256 of its genesis; every signature is for one chain.
    #[schema(value_type = Hex32)]
    pub chain: ChainId,
    /// What it is for.
    pub grade: NetworkGrade,
    /// Height of the last block.
    #[schema(value_type = u64)]
    pub height: Epoch,
    /// Oldest block that can still be read here; 0 while there is none.
    #[schema(value_type = u64)]
    pub oldest_block: Epoch,
    /// Transactions that wait here for a block.
    pub waiting: u64,
    /// Why this node makes no more blocks, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Version of the software that answers.
    pub version: String,
    /// Digests of the keys that proofs are checked with, by the name of their circuit, as the genesis fixes them.
    #[serde(default)]
    pub verifying_keys: BTreeMap<String, String>,
}

/// Everything that a block says, in a few bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockHeader {
    /// The block's name: SHA-256 of its header in canonical DAG-CBOR.
    #[schema(value_type = Hex32)]
    pub id: BlockId,
    /// The network.
    #[schema(value_type = Hex32)]
    pub chain: ChainId,
    /// Height; the genesis is 0.
    #[schema(value_type = u64)]
    pub height: Epoch,
    /// The block before.
    #[schema(value_type = Hex32)]
    pub parent: BlockId,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Randomness of the epoch.
    #[schema(value_type = Hex32)]
    pub beacon: Beacon,
    /// The validator that made it.
    #[schema(value_type = Hex32)]
    pub proposer: Address,
    /// Name of the set of validators that decided it.
    #[serde(with = "serde32")]
    #[schema(value_type = Hex32)]
    pub validators_root: [u8; 32],
    /// Hash of the decision for the parent.
    #[serde(with = "serde32")]
    #[schema(value_type = Hex32)]
    pub commit_root: [u8; 32],
    /// Hash of the evidence in the block.
    #[serde(with = "serde32")]
    #[schema(value_type = Hex32)]
    pub evidence_root: [u8; 32],
    /// Merkle root over the transactions' ids.
    #[serde(with = "serde32")]
    #[schema(value_type = Hex32)]
    pub transactions_root: [u8; 32],
    /// Merkle root over the receipts.
    #[serde(with = "serde32")]
    #[schema(value_type = Hex32)]
    pub receipts_root: [u8; 32],
    /// Root of the state after the block.
    #[schema(value_type = Hex32)]
    pub state_root: StateRoot,
}

impl BlockHeader {
    pub(crate) fn of(header: &cairn_consensus::BlockHeader) -> Self {
        Self {
            id: header.id(),
            chain: header.chain,
            height: header.height,
            parent: header.parent,
            time_ms: header.time_ms,
            beacon: header.beacon,
            proposer: header.proposer,
            validators_root: header.validators_root,
            commit_root: header.commit_root,
            evidence_root: header.evidence_root,
            transactions_root: header.transactions_root,
            receipts_root: header.receipts_root,
            state_root: header.state_root,
        }
    }

    /// The same as the chain hashes it. Its name is computed, not believed.
    pub fn to_header(&self) -> cairn_consensus::BlockHeader {
        cairn_consensus::BlockHeader {
            chain: self.chain,
            height: self.height,
            parent: self.parent,
            time_ms: self.time_ms,
            beacon: self.beacon,
            proposer: self.proposer,
            validators_root: self.validators_root,
            commit_root: self.commit_root,
            evidence_root: self.evidence_root,
            transactions_root: self.transactions_root,
            receipts_root: self.receipts_root,
            state_root: self.state_root,
        }
    }
}

/// One validator's vote for a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommitSignature {
    /// Who.
    #[schema(value_type = Hex32)]
    pub validator: Address,
    /// Ed25519, 128 hex digits.
    pub signature: String,
}

/// The decision for a block: signatures of validators with more than two thirds of the votes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Commit {
    /// Height of the block.
    #[schema(value_type = u64)]
    pub height: Epoch,
    /// Round in which it was decided.
    pub round: u32,
    /// The block.
    #[schema(value_type = Hex32)]
    pub block: BlockId,
    /// By validator, ascending.
    pub signatures: Vec<CommitSignature>,
}

impl Commit {
    pub(crate) fn of(commit: &cairn_consensus::Commit) -> Self {
        let signature = |signed: &cairn_consensus::CommitSignature| CommitSignature {
            validator: signed.validator,
            signature: hex::encode(signed.signature.0),
        };
        let signatures = commit.signatures.iter().map(signature).collect();
        Self { height: commit.height, round: commit.round, block: commit.block, signatures }
    }
}

/// Who took part in a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decider {
    /// Its key.
    #[schema(value_type = Hex32)]
    pub address: Address,
    /// Its votes.
    pub power: u64,
}

/// A header, the decision for it, and who decided: all that it takes to check that a block is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LightBlock {
    /// The header.
    pub header: BlockHeader,
    /// The decision.
    pub commit: Commit,
    /// The set that the header names by `validators_root`, by address.
    pub deciders: Vec<Decider>,
    /// Light blocks at multiples of this are kept longer than blocks.
    pub kept_every: u64,
}

impl LightBlock {
    pub(crate) fn of(light: &cairn_consensus::LightBlock, kept_every: u64) -> Self {
        let decider = |member: &Member| Decider { address: member.address, power: member.power };
        let deciders = light.deciders.members().iter().map(decider).collect();
        Self { header: BlockHeader::of(&light.header), commit: Commit::of(&light.commit), deciders, kept_every }
    }

    /// The same as the chain has it, for [`cairn_consensus::snapshot::trust`] to check; `None` if a signature is no
    /// signature at all.
    pub fn to_light(&self) -> Option<cairn_consensus::LightBlock> {
        let member = |decider: &Decider| Member { address: decider.address, power: decider.power, absent: false };
        let signature = |signed: &CommitSignature| {
            let mut bytes = [0; 64];
            hex::decode_to_slice(&signed.signature, &mut bytes).ok()?;
            let signature = SignatureBytes(bytes);
            Some(cairn_consensus::CommitSignature { validator: signed.validator, signature })
        };
        let Commit { height, round, block, signatures } = &self.commit;
        let signatures = signatures.iter().map(signature).collect::<Option<Vec<_>>>()?;
        Some(cairn_consensus::LightBlock {
            header: self.header.to_header(),
            commit: cairn_consensus::Commit { height: *height, round: *round, block: *block, signatures },
            deciders: Validators::claimed(self.deciders.iter().map(member).collect()),
        })
    }
}

/// What shows that a transaction is in a block, and what became of it there, to who knows that the block is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionProof {
    /// Its name.
    #[schema(value_type = String)]
    pub id: TransactionId,
    /// The block.
    #[schema(value_type = u64)]
    pub height: Epoch,
    /// Its place in the block.
    pub index: u32,
    /// Transactions of the block.
    pub count: u32,
    /// The signed transaction in canonical DAG-CBOR, as hex digits.
    pub transaction: String,
    /// The ledger's receipt in canonical DAG-CBOR, as hex digits.
    pub receipt: String,
    /// Hashes beside the way from the receipt to the block's `receipts_root`, from the bottom up.
    #[schema(value_type = Vec<Hex32>)]
    pub path: Vec<Digest>,
}

/// A block: its header, the decision for it, and the names of its transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Block {
    /// The header.
    pub header: BlockHeader,
    /// The decision for this block, as this node saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// In the order in which they were applied.
    #[schema(value_type = Vec<String>)]
    pub transactions: Vec<TransactionId>,
}

/// A block in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockSummary {
    /// The header.
    pub header: BlockHeader,
    /// How many transactions it holds.
    pub transactions: u64,
}

/// A transaction to hand in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// The signed transaction in canonical DAG-CBOR, as hex digits.
    #[schema(pattern = "^([0-9a-f]{2})+$")]
    pub transaction: String,
}

/// A transaction was taken, or was there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// Its name: ask for its receipt with it.
    #[schema(value_type = String)]
    pub id: TransactionId,
}

/// Where a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionState {
    /// It waits for a block.
    Waiting,
    /// It is in a block; see the receipt.
    InBlock,
}

/// A transaction and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionStatus {
    /// Its name.
    #[schema(value_type = String)]
    pub id: TransactionId,
    /// Where it is.
    pub state: TransactionState,
    /// What became of it, once it is in a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// What was asked, once it is in a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<Transaction>,
}

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transaction {
    /// Who asked and paid the fee.
    #[schema(value_type = Hex32)]
    pub sender: Address,
    /// The sender's transactions before it.
    pub nonce: u64,
    /// Name of the command.
    pub kind: String,
    /// What the command says, under the names that the ledger uses.
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
}

impl Transaction {
    /// What a transaction says, for people.
    pub fn of(transaction: &cairn_ledger::Transaction) -> Self {
        let Tagged { kind, fields } = readable::tagged(&transaction.command);
        Self { sender: transaction.sender, nonce: transaction.nonce, kind, fields }
    }
}

/// Whether a transaction did what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did.
    Applied,
    /// Nonce and fee are spent, nothing else happened.
    Failed,
    /// It had no effect at all.
    Refused,
}

/// The ledger's reason for not doing something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// Name of the reason. It never changes meaning.
    pub kind: String,
    /// In words.
    pub text: String,
    /// Expected, got and whatever else the reason has, under the names that the ledger uses.
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
}

impl Refusal {
    pub(crate) fn of<T: Serialize + ToString>(rejection: &T) -> Self {
        let Tagged { kind, fields } = readable::tagged(rejection);
        Self { kind, text: rejection.to_string(), fields }
    }
}

/// A transaction's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// In which block.
    #[schema(value_type = u64)]
    pub height: Epoch,
    /// Position in the block.
    pub index: u32,
    /// Whether it did what it asked for.
    pub outcome: Outcome,
    /// Why not, unless applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// What it did, in order.
    pub events: Vec<LedgerEvent>,
}

impl Receipt {
    pub(crate) fn of(receipt: &cairn_ledger::Receipt) -> Self {
        let (outcome, refusal) = match &receipt.outcome {
            cairn_ledger::Outcome::Applied => (Outcome::Applied, None),
            cairn_ledger::Outcome::Failed(rejection) => (Outcome::Failed, Some(Refusal::of(rejection))),
            cairn_ledger::Outcome::Refused(rejection) => (Outcome::Refused, Some(Refusal::of(rejection))),
        };
        let events = receipt.events.iter().map(LedgerEvent::of).collect();
        Self { height: receipt.epoch, index: receipt.index, outcome, refusal, events }
    }

    /// A number that an event of this kind carries, such as the `order` of `OrderPlaced`.
    pub fn number(&self, kind: &str, field: &str) -> Option<u64> {
        self.events.iter().find(|event| event.kind == kind)?.fields.get(field)?.as_u64()
    }
}

/// A fact about one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerEvent {
    /// What happened. It never changes meaning.
    pub kind: String,
    /// To whom, how much, until when: under the names that the ledger uses.
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
}

impl LedgerEvent {
    pub(crate) fn of(event: &cairn_ledger::Event) -> Self {
        let Tagged { kind, fields } = readable::tagged(event);
        Self { kind, fields }
    }
}
