//! The chain: its head, and the three ways to touch it: propose, validate, commit.
//!
//! A [`Candidate`] is a block together with what it does to the head; it can only be made by applying the block. So a
//! block is never committed without having been executed here, whoever proposed it.

use std::sync::Arc;

use cairn_ledger::{BlockContext, BlockOutcome, BlockRejection, Outcome, ProofVerifier, SignedTransaction, State};
use cairn_protocol::Epoch;

use crate::beacon::BeaconSource;
use crate::block::{Block, BlockHeader, BlockId, receipts_root, transactions_root};
use crate::genesis::Genesis;
use crate::node::NodeError;
use crate::store::{Effects, Head, Store, StoreError};

/// A verifier that block makers can share.
pub type SharedVerifier = Arc<dyn ProofVerifier + Send + Sync>;

/// The chain of one network in one store.
pub struct Chain {
    store: Arc<Store>,
    beacon: Box<dyn BeaconSource>,
    verifier: SharedVerifier,
    history_blocks: u64,
    header: BlockHeader,
    state: Arc<State>,
}

/// An executed block that may follow the head.
#[derive(Debug)]
pub struct Candidate {
    block: Block,
    outcome: BlockOutcome,
    state: State,
}

impl Candidate {
    /// The block.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// What it does.
    pub fn outcome(&self) -> &BlockOutcome {
        &self.outcome
    }
}

/// Why a block of somebody else's cannot follow the head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBlock {
    /// The ledger refuses it.
    #[error(transparent)]
    Ledger(#[from] BlockRejection),
    /// A field of the header is not what executing the block gives.
    #[error("block {height}: {field} is {got}, expected {expected}")]
    WrongHeader {
        /// The block.
        height: Epoch,
        /// Which field.
        field: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// It holds a transaction that does not belong in a block.
    #[error("block {height} holds at {index} a transaction that is not admitted: {reason}")]
    NotAdmitted {
        /// The block.
        height: Epoch,
        /// Position of the transaction.
        index: u32,
        /// Why not.
        reason: String,
    },
}

impl Chain {
    /// Opens or makes the store in `dir`.
    ///
    /// # Errors
    /// [`NodeError`] if the genesis cannot be, the verifier has other keys, or the store is not usable.
    pub fn open(
        dir: &std::path::Path,
        genesis: &Genesis,
        history_blocks: u64,
        verifier: SharedVerifier,
    ) -> Result<Self, NodeError> {
        let state = genesis.state()?;
        genesis.check_keys(&verifier.verifying_keys())?;
        let header = BlockHeader {
            chain: genesis.chain(),
            height: Epoch(0),
            parent: BlockId(genesis.chain().0),
            time_ms: genesis.time_ms,
            beacon: genesis.first_beacon(),
            transactions_root: [0; 32],
            receipts_root: [0; 32],
            state_root: state.root(),
        };
        let (store, head) = Store::open(dir, genesis, Head { header, state })?;
        Ok(Self {
            store: Arc::new(store),
            beacon: genesis.beacon.source(),
            verifier,
            history_blocks: history_blocks.max(1),
            header: head.header,
            state: Arc::new(head.state),
        })
    }

    /// Header of the last block.
    pub fn header(&self) -> &BlockHeader {
        &self.header
    }

    /// State after the last block.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    fn context_at(&self, time_ms: u64) -> BlockContext {
        let epoch = Epoch(self.header.height.0 + 1);
        BlockContext { epoch, time_ms, beacon: self.beacon.beacon(epoch, &self.header.beacon) }
    }

    /// Makes the next block of `transactions` that can be in it. A clock that went back is held at the head's time.
    ///
    /// # Errors
    /// [`InvalidBlock::Ledger`] if the transactions are more than a block may hold.
    pub fn propose(&self, time_ms: u64, transactions: Vec<SignedTransaction>) -> Result<Candidate, InvalidBlock> {
        let context = self.context_at(time_ms.max(self.header.time_ms));
        let (state, outcome) = self.execute(&context, &transactions)?;
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
        if !outcome.receipts.iter().any(|receipt| refused(&receipt.outcome)) {
            return Ok(self.candidate(&context, transactions, state, outcome));
        }
        let pairs = transactions.into_iter().zip(&outcome.receipts);
        let admitted: Vec<_> = pairs.filter(|(_, r)| !refused(&r.outcome)).map(|(signed, _)| signed).collect();
        // A refused transaction has no effect, so the others fare as before and none is refused now.
        let (state, outcome) = self.execute(&context, &admitted)?;
        Ok(self.candidate(&context, admitted, state, outcome))
    }

    /// Executes a block of somebody else's and checks every field of its header.
    ///
    /// # Errors
    /// [`InvalidBlock`] names the field or transaction.
    pub fn validate(&self, block: Block) -> Result<Candidate, InvalidBlock> {
        let context = self.context_at(block.header.time_ms);
        let (state, outcome) = self.execute(&context, &block.transactions)?;
        let candidate = self.candidate(&context, block.transactions, state, outcome);
        compare_headers(&candidate.block.header, &block.header)?;
        for receipt in &candidate.outcome.receipts {
            if let Outcome::Refused(rejection) = &receipt.outcome {
                let (height, index, reason) = (receipt.epoch, receipt.index, rejection.to_string());
                return Err(InvalidBlock::NotAdmitted { height, index, reason });
            }
        }
        Ok(candidate)
    }

    fn execute(
        &self,
        context: &BlockContext,
        transactions: &[SignedTransaction],
    ) -> Result<(State, BlockOutcome), InvalidBlock> {
        let mut state = State::clone(&self.state);
        let outcome = state.apply_block(context, transactions, self.verifier.as_ref())?;
        Ok((state, outcome))
    }

    fn candidate(
        &self,
        context: &BlockContext,
        transactions: Vec<SignedTransaction>,
        state: State,
        outcome: BlockOutcome,
    ) -> Candidate {
        let header = BlockHeader {
            chain: self.header.chain,
            height: context.epoch,
            parent: self.header.id(),
            time_ms: context.time_ms,
            beacon: context.beacon,
            transactions_root: transactions_root(&transactions),
            receipts_root: receipts_root(&outcome.receipts),
            state_root: outcome.state_root,
        };
        Candidate { block: Block { header, transactions }, outcome, state }
    }

    /// Stores a candidate and makes it the head. When this returns, the block survives a crash.
    ///
    /// # Errors
    /// [`StoreError`]; the head is unchanged here, but the block may be on disk. Open the store again to know.
    ///
    /// # Panics
    /// If the candidate was made on another head: a mistake of the caller.
    pub fn commit(&mut self, candidate: Candidate) -> Result<(), StoreError> {
        let Candidate { block, outcome, state } = candidate;
        assert_eq!(block.header.parent, self.header.id(), "a candidate is committed on the head it was made on");
        let changes = state.changes_since(&self.state);
        let effects = Effects { receipts: outcome.receipts, events: outcome.events };
        self.store.append(&block, &effects, &changes, self.history_blocks)?;
        self.header = block.header;
        self.state = Arc::new(state);
        Ok(())
    }
}

fn compare_headers(expected: &BlockHeader, got: &BlockHeader) -> Result<(), InvalidBlock> {
    let fields = [
        ("chain", expected.chain.to_string(), got.chain.to_string()),
        ("height", expected.height.to_string(), got.height.to_string()),
        ("parent", expected.parent.to_string(), got.parent.to_string()),
        ("beacon", expected.beacon.to_string(), got.beacon.to_string()),
        ("transactions_root", hex::encode(expected.transactions_root), hex::encode(got.transactions_root)),
        ("receipts_root", hex::encode(expected.receipts_root), hex::encode(got.receipts_root)),
        ("state_root", expected.state_root.to_string(), got.state_root.to_string()),
    ];
    for (field, expected_value, got_value) in fields {
        if expected_value != got_value {
            let (height, expected, got) = (expected.height, expected_value, got_value);
            return Err(InvalidBlock::WrongHeader { height, field, expected, got });
        }
    }
    Ok(())
}
