//! The chain: its head, and the ways to touch it: propose, validate, keep, commit.
//!
//! A [`Candidate`] is a block together with what it does to the head; it can only be made by applying the block. So a
//! block is never committed without having been executed here, whoever proposed it, and never without a [`Commit`] that
//! was checked here, whoever collected it.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_ledger::{
    Address, BlockContext, BlockOutcome, BlockRejection, Outcome, ProofVerifier, SignedTransaction, SlashRejection,
    State,
};
use cairn_protocol::Epoch;

use crate::beacon::{BeaconRejection, BeaconSlot, BeaconSource};
use crate::block::{Block, BlockHeader, BlockId, receipts_root, transactions_root};
use crate::commit::{Commit, CommitRejection};
use crate::drand::{DrandError, DrandRound, DrandSource};
use crate::evidence::{self, EVIDENCE_MAX, Evidence, EvidenceRejection, evidence_root};
use crate::genesis::{Genesis, GenesisError};
use crate::node::NodeError;
use crate::store::{Decision, Effects, Head, History, Store, StoreError, Undecided};
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
    history: History,
    header: BlockHeader,
    state: Arc<State>,
    /// Why the head is final, and who decided it.
    commit: Option<Commit>,
    deciders: Validators,
    /// Who decides the next block.
    validators: Validators,
    /// Contradictions that no block has named yet, each offence once; as in the store.
    pending: BTreeMap<(Epoch, Address), Evidence>,
}

/// Contradictions that wait for a block, in memory and on disk; more are dropped, others see them too.
const PENDING_EVIDENCE_MAX: usize = 256;

/// What [`Chain::open`] may be told; everything has a default.
#[derive(Clone, Default)]
pub struct ChainOptions {
    /// How much of the past is kept.
    pub history: History,
    /// Where a proposer's drand rounds come from, on a network that uses them.
    pub rounds: Option<Arc<dyn DrandSource>>,
}

/// What a block carries beside its transactions.
#[derive(Debug, Clone, Default)]
struct Carried {
    commit: Option<Commit>,
    evidence: Vec<Evidence>,
    drand: Option<DrandRound>,
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
    /// It accuses somebody wrongly.
    #[error("block {height}: {rejection}")]
    Evidence {
        /// The block.
        height: Epoch,
        /// How.
        rejection: EvidenceRejection,
    },
    /// What it carries shows no beacon.
    #[error("block {height}: {rejection}")]
    Beacon {
        /// The block.
        height: Epoch,
        /// How.
        rejection: BeaconRejection,
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

/// Why no block can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// The transactions make no block; a mistake of the caller.
    #[error(transparent)]
    Invalid(#[from] InvalidBlock),
    /// There is no beacon for it now; trying again later helps.
    #[error("no beacon for the next block: {0}")]
    Beacon(#[from] DrandError),
}

impl Chain {
    /// Opens or makes the store in `dir`.
    ///
    /// # Errors
    /// [`NodeError`] if the genesis cannot be, the verifier has other keys, or the store is not usable.
    pub fn open(
        dir: &std::path::Path,
        genesis: &Genesis,
        options: ChainOptions,
        verifier: SharedVerifier,
    ) -> Result<Self, NodeError> {
        genesis.check_keys(&verifier.verifying_keys())?;
        let (store, head) = Store::open(dir, genesis, Head::of_genesis(genesis)?)?;
        // A block removes what it settles; after a snapshot there may be more of that, which the next block removes.
        let pending = store.evidence()?.into_iter().map(|piece| (piece.offence(), piece)).collect();
        Ok(Self {
            store: Arc::new(store),
            beacon: genesis.beacon.source(options.rounds).map_err(GenesisError::from)?,
            verifier,
            history: options.history,
            validators: Validators::after(&head.state),
            header: head.header,
            state: Arc::new(head.state),
            commit: head.commit,
            deciders: head.deciders,
            pending,
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

    fn slot_at(&self, time_ms: u64) -> BeaconSlot {
        BeaconSlot { epoch: self.next_height(), time_ms, previous: self.header.beacon }
    }

    /// Takes note of contradictions, so that a crash does not forget them; those that show nothing or cannot be punished
    /// any more are ignored.
    ///
    /// # Errors
    /// [`StoreError`] if one cannot be written.
    pub fn note_evidence(&mut self, evidence: impl IntoIterator<Item = Evidence>) -> Result<(), StoreError> {
        for piece in evidence {
            let (height, validator) = piece.offence();
            let is_new = !self.pending.contains_key(&(height, validator)) && self.pending.len() < PENDING_EVIDENCE_MAX;
            if is_new && piece.verify(&self.header.chain).is_ok() && self.state.check_slash(validator, height).is_ok() {
                self.store.keep_evidence(&piece)?;
                self.pending.insert((height, validator), piece);
            }
        }
        Ok(())
    }

    /// Contradictions that wait for a block, by height.
    pub fn pending_evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.pending.values()
    }

    /// The evidence for the next block: what may be punished in the state that its transactions will find.
    fn due_evidence(&self, commit: Option<&Commit>) -> Vec<Evidence> {
        let mut state = self.attended(commit);
        let mut due: Vec<Evidence> = Vec::new();
        for piece in self.pending.values() {
            let (height, validator) = piece.offence();
            if due.len() < EVIDENCE_MAX && state.slash(validator, height).is_ok() {
                due.push(piece.clone());
            }
        }
        due
    }

    /// The head's state with who signed for it on record.
    fn attended(&self, commit: Option<&Commit>) -> State {
        let mut state = State::clone(&self.state);
        if let Some(commit) = commit {
            let deciders = self.deciders.members().iter();
            state.record_attendance(deciders.map(|m| (m.address, commit.is_signed_by(&m.address))));
        }
        state
    }

    /// Makes the next block of `transactions` that can be in it, in the name of `proposer`. A clock that went back is
    /// held at the head's time.
    ///
    /// # Errors
    /// [`ProposeError::Invalid`] if the transactions are more than a block may hold, [`ProposeError::Beacon`] if there is
    /// no beacon for it now.
    pub fn propose(
        &self,
        time_ms: u64,
        proposer: Address,
        transactions: Vec<SignedTransaction>,
    ) -> Result<Candidate, ProposeError> {
        let slot = self.slot_at(time_ms.max(self.header.time_ms));
        let (beacon, drand) = self.beacon.draw(&slot)?;
        let context = BlockContext { epoch: slot.epoch, time_ms: slot.time_ms, beacon };
        let evidence = self.due_evidence(self.commit.as_ref());
        let carried = Carried { commit: self.commit.clone(), evidence, drand };
        let (state, outcome) = self.execute(&context, &carried, &transactions)?;
        let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
        if !outcome.receipts.iter().any(|receipt| refused(&receipt.outcome)) {
            return Ok(self.candidate(&context, proposer, carried, transactions, (state, outcome)));
        }
        let pairs = transactions.into_iter().zip(&outcome.receipts);
        let admitted: Vec<_> = pairs.filter(|(_, r)| !refused(&r.outcome)).map(|(signed, _)| signed).collect();
        // A refused transaction has no effect, so the others fare as before and none is refused now.
        let executed = self.execute(&context, &carried, &admitted)?;
        Ok(self.candidate(&context, proposer, carried, admitted, executed))
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
        let slot = self.slot_at(time_ms);
        let shown = self.beacon.check(&slot, block.drand.as_ref());
        let beacon = shown.map_err(|rejection| InvalidBlock::Beacon { height, rejection })?;
        evidence::verify_all(&block.evidence, &self.header.chain)
            .map_err(|rejection| InvalidBlock::Evidence { height, rejection })?;
        let context = BlockContext { epoch: slot.epoch, time_ms, beacon };
        let Block { header, commit, evidence, drand, transactions } = block;
        let carried = Carried { commit, evidence, drand };
        let executed = self.execute(&context, &carried, &transactions)?;
        let candidate = self.candidate(&context, proposer, carried, transactions, executed);
        compare_headers(&candidate.block.header, &header)?;
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
        carried: &Carried,
        transactions: &[SignedTransaction],
    ) -> Result<(State, BlockOutcome), InvalidBlock> {
        let mut state = self.attended(carried.commit.as_ref());
        let mut events = Vec::new();
        for piece in &carried.evidence {
            let (height, validator) = piece.offence();
            let refused = |rejection: SlashRejection| InvalidBlock::Evidence {
                height: context.epoch,
                rejection: rejection.into(),
            };
            events.push(state.slash(validator, height).map_err(refused)?);
        }
        let mut outcome = state.apply_block(context, transactions, self.verifier.as_ref())?;
        events.append(&mut outcome.events);
        Ok((state, BlockOutcome { events, ..outcome }))
    }

    fn candidate(
        &self,
        context: &BlockContext,
        proposer: Address,
        carried: Carried,
        transactions: Vec<SignedTransaction>,
        (state, outcome): (State, BlockOutcome),
    ) -> Candidate {
        let Carried { commit, evidence, drand } = carried;
        let header = BlockHeader {
            chain: self.header.chain,
            height: context.epoch,
            parent: self.header.id(),
            time_ms: context.time_ms,
            beacon: context.beacon,
            proposer,
            validators_root: self.validators.root(),
            commit_root: commit.as_ref().map_or([0; 32], Commit::root),
            evidence_root: evidence_root(&evidence),
            transactions_root: transactions_root(&transactions),
            receipts_root: receipts_root(&outcome.receipts),
            state_root: outcome.state_root,
        };
        Candidate { block: Block { header, commit, evidence, drand, transactions }, outcome, state }
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
        let offences = self.pending.keys().copied();
        let settled: Vec<_> = offences.filter(|&(height, who)| state.check_slash(who, height).is_err()).collect();
        let decision = Decision {
            block: &block,
            commit: &commit,
            deciders: &self.validators,
            new_deciders: block.header.validators_root != self.header.validators_root,
            effects: &effects,
            changes: &changes,
            settled: &settled,
        };
        self.store.append(&decision, &self.history)?;
        self.deciders = std::mem::replace(&mut self.validators, Validators::after(&state));
        self.header = block.header;
        self.commit = Some(commit);
        self.pending.retain(|offence, _| !settled.contains(offence));
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
        ("evidence_root", hex::encode(expected.evidence_root), hex::encode(got.evidence_root)),
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
