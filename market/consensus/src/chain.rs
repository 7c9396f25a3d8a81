//! The chain: its head, and the ways to touch it: propose, validate, keep, commit.
//!
//! A [`Candidate`] is a block together with what it does to the head; it can only be made by applying the block. So a
//! block is never committed without having been executed here, whoever proposed it, and never without a [`Commit`] that
//! was checked here, whoever collected it.

use std::sync::Arc;

use cairn_ledger::{
    Address, BlockContext, BlockOutcome, BlockRejection, Outcome, ProofVerifier, SignedTransaction, State,
};
use cairn_protocol::Epoch;

use crate::beacon::BeaconSource;
use crate::block::{Block, BlockHeader, BlockId, receipts_root, transactions_root};
use crate::commit::{Commit, CommitRejection};
use crate::genesis::Genesis;
use crate::node::NodeError;
use crate::store::{Decision, Effects, Head, Store, StoreError, Undecided};
use crate::validators::Validators;

/// A verifier that block makers can share.
pub type SharedVerifier = Arc<dyn ProofVerifier + Send + Sync>;

/// How far a proposed block's time may be ahead of the clock of who judges it, in milliseconds.
pub const CLOCK_DRIFT_MAX_MS: u64 = 10_000;

/// The chain of one network in one store.
pub struct Chain {
    store: Arc<Store>,
    beacon: Box<dyn BeaconSource>,
    verifier: SharedVerifier,
    history_blocks: u64,
    header: BlockHeader,
    state: Arc<State>,
    /// Why the head is final, and who decided it.
    commit: Option<Commit>,
    deciders: Validators,
    /// Who decides the next block.
    validators: Validators,
}

/// An executed block that may follow the head.
#[derive(Debug, Clone)]
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
    /// The decision for the parent that it carries is none.
    #[error(transparent)]
    Commit(#[from] CommitRejection),
    /// It carries no decision for its parent, or one for the genesis.
    #[error("block {height} must carry the decision for its parent, unless that is the genesis")]
    CommitMisplaced {
        /// The block.
        height: Epoch,
    },
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
    /// Its maker does not decide blocks.
    #[error("block {height} was made by {proposer}, who is no validator")]
    UnknownProposer {
        /// The block.
        height: Epoch,
        /// Who.
        proposer: Address,
    },
    /// Its time is too far ahead of the clock here.
    #[error("block {height} is of time {time_ms} ms, the clock here says {now_ms} ms")]
    FromTheFuture {
        /// The block.
        height: Epoch,
        /// Its time.
        time_ms: u64,
        /// The clock.
        now_ms: u64,
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
        genesis.check_keys(&verifier.verifying_keys())?;
        let (store, head) = Store::open(dir, genesis, Head::of_genesis(genesis)?)?;
        Ok(Self {
            store: Arc::new(store),
            beacon: genesis.beacon.source(),
            verifier,
            history_blocks: history_blocks.max(1),
            validators: Validators::after(&head.state),
            header: head.header,
            state: Arc::new(head.state),
            commit: head.commit,
            deciders: head.deciders,
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

    /// Who decides the next block.
    pub fn validators(&self) -> &Validators {
        &self.validators
    }

    /// Height of the next block.
    pub fn next_height(&self) -> Epoch {
        Epoch(self.header.height.0 + 1)
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    fn context_at(&self, time_ms: u64) -> BlockContext {
        let epoch = self.next_height();
        BlockContext { epoch, time_ms, beacon: self.beacon.beacon(epoch, &self.header.beacon) }
    }

    /// Makes the next block of `transactions` that can be in it, in the name of `proposer`. A clock that went back is
    /// held at the head's time.
    ///
    /// # Errors
    /// [`InvalidBlock::Ledger`] if the transactions are more than a block may hold.
    pub fn propose(
        &self,
        time_ms: u64,
        proposer: Address,
        transactions: Vec<SignedTransaction>,
    ) -> Result<Candidate, InvalidBlock> {
        let context = self.context_at(time_ms.max(self.header.time_ms));
        let commit = self.commit.clone();
        let (state, outcome) = self.execute(&context, commit.as_ref(), &transactions)?;
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
        if !outcome.receipts.iter().any(|receipt| refused(&receipt.outcome)) {
            return Ok(self.candidate(&context, proposer, commit, transactions, (state, outcome)));
        }
        let pairs = transactions.into_iter().zip(&outcome.receipts);
        let admitted: Vec<_> = pairs.filter(|(_, r)| !refused(&r.outcome)).map(|(signed, _)| signed).collect();
        // A refused transaction has no effect, so the others fare as before and none is refused now.
        let executed = self.execute(&context, commit.as_ref(), &admitted)?;
        Ok(self.candidate(&context, proposer, commit, admitted, executed))
    }

    /// Executes a block of somebody else's and checks every field of its header. `now_ms` is the clock, for a block
    /// that is not decided yet; a decided one has the time that it has.
    ///
    /// # Errors
    /// [`InvalidBlock`] names the field or transaction.
    pub fn validate(&self, block: Block, now_ms: Option<u64>) -> Result<Candidate, InvalidBlock> {
        let BlockHeader { height, proposer, time_ms, .. } = block.header;
        self.check_commit(height, block.commit.as_ref())?;
        if self.validators.get(&proposer).is_none() {
            return Err(InvalidBlock::UnknownProposer { height, proposer });
        }
        if let Some(now_ms) = now_ms
            && time_ms > now_ms.saturating_add(CLOCK_DRIFT_MAX_MS).max(self.header.time_ms)
        {
            return Err(InvalidBlock::FromTheFuture { height, time_ms, now_ms });
        }
        let context = self.context_at(time_ms);
        let executed = self.execute(&context, block.commit.as_ref(), &block.transactions)?;
        let candidate = self.candidate(&context, proposer, block.commit, block.transactions, executed);
        compare_headers(&candidate.block.header, &block.header)?;
        for receipt in &candidate.outcome.receipts {
            if let Outcome::Refused(rejection) = &receipt.outcome {
                let (height, index, reason) = (receipt.epoch, receipt.index, rejection.to_string());
                return Err(InvalidBlock::NotAdmitted { height, index, reason });
            }
        }
        Ok(candidate)
    }

    fn check_commit(&self, height: Epoch, commit: Option<&Commit>) -> Result<(), InvalidBlock> {
        match commit {
            None if self.header.height == Epoch(0) => Ok(()),
            Some(commit) if self.header.height > Epoch(0) => {
                Ok(commit.verify(&self.header.chain, self.header.height, &self.header.id(), &self.deciders)?)
            }
            _ => Err(InvalidBlock::CommitMisplaced { height }),
        }
    }

    fn execute(
        &self,
        context: &BlockContext,
        commit: Option<&Commit>,
        transactions: &[SignedTransaction],
    ) -> Result<(State, BlockOutcome), InvalidBlock> {
        let mut state = State::clone(&self.state);
        if let Some(commit) = commit {
            let deciders = self.deciders.members().iter();
            state.record_attendance(deciders.map(|m| (m.address, commit.is_signed_by(&m.address))));
        }
        let outcome = state.apply_block(context, transactions, self.verifier.as_ref())?;
        Ok((state, outcome))
    }

    fn candidate(
        &self,
        context: &BlockContext,
        proposer: Address,
        commit: Option<Commit>,
        transactions: Vec<SignedTransaction>,
        (state, outcome): (State, BlockOutcome),
    ) -> Candidate {
        let header = BlockHeader {
            chain: self.header.chain,
            height: context.epoch,
            parent: self.header.id(),
            time_ms: context.time_ms,
            beacon: context.beacon,
            proposer,
            validators_root: self.validators.root(),
            commit_root: commit.as_ref().map_or([0; 32], Commit::root),
            transactions_root: transactions_root(&transactions),
            receipts_root: receipts_root(&outcome.receipts),
            state_root: outcome.state_root,
        };
        Candidate { block: Block { header, commit, transactions }, outcome, state }
    }

    /// Keeps a block for the next height through a crash. Only then may anybody hear of it.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be written.
    pub fn keep(&self, undecided: &Undecided) -> Result<(), StoreError> {
        self.store.keep(undecided)
    }

    /// Stores a decided candidate and makes it the head. When this returns, the block survives a crash.
    ///
    /// # Errors
    /// [`NodeError::Store`]: the head is unchanged here, but the block may be on disk; open the store again to know.
    /// [`NodeError::Commit`] if `commit` does not decide it.
    ///
    /// # Panics
    /// If the candidate was made on another head: a mistake of the caller.
    pub fn commit(&mut self, candidate: Candidate, commit: Commit) -> Result<(), NodeError> {
        let Candidate { block, outcome, state } = candidate;
        assert_eq!(block.header.parent, self.header.id(), "a candidate is committed on the head it was made on");
        commit.verify(&self.header.chain, block.header.height, &block.header.id(), &self.validators)?;
        let changes = state.changes_since(&self.state);
        let effects = Effects { receipts: outcome.receipts, events: outcome.events };
        let (deciders, changes) = (&self.validators, changes.as_slice());
        let decision = Decision { block: &block, commit: &commit, deciders, effects: &effects, changes };
        self.store.append(&decision, self.history_blocks)?;
        self.deciders = std::mem::replace(&mut self.validators, Validators::after(&state));
        self.header = block.header;
        self.commit = Some(commit);
        self.state = Arc::new(state);
        Ok(())
    }

    /// Takes a commit for the head with signatures that came late, so that the next block names everybody who signed.
    /// One that is not for the head, not valid or smaller is ignored.
    pub fn extend_commit(&mut self, commit: Commit) {
        let more = self.commit.as_ref().is_some_and(|known| known.signatures.len() < commit.signatures.len());
        let (height, id) = (self.header.height, self.header.id());
        if more && commit.verify(&self.header.chain, height, &id, &self.deciders).is_ok() {
            self.commit = Some(commit);
        }
    }

    /// The name of the last block.
    pub fn head_id(&self) -> BlockId {
        self.header.id()
    }
}

fn compare_headers(expected: &BlockHeader, got: &BlockHeader) -> Result<(), InvalidBlock> {
    let fields = [
        ("chain", expected.chain.to_string(), got.chain.to_string()),
        ("height", expected.height.to_string(), got.height.to_string()),
        ("parent", expected.parent.to_string(), got.parent.to_string()),
        ("beacon", expected.beacon.to_string(), got.beacon.to_string()),
        ("validators_root", hex::encode(expected.validators_root), hex::encode(got.validators_root)),
        ("commit_root", hex::encode(expected.commit_root), hex::encode(got.commit_root)),
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
