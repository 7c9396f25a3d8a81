//! The other side of the engine: it asks and tells, we answer. One thread, one message at a time, no waiting for anybody.
//!
//! | the engine | we |
//! | --- | --- |
//! | is ready, or finished a height | name the next height, its validators and timeouts |
//! | started a height | give back the blocks that were kept for it before a crash, or came too early |
//! | wants a block | make one, or take the one made for this round before; keep it; name it; stream it |
//! | has a part | when the block is complete: check who sent it, execute it, keep it, give the verdict |
//! | has decided | store block, effects, state and certificate in one write; then let readers see it |
//! | has a block by sync, or wants some | check it like any other, or read them from the store |
//!
//! A fault of a peer is logged and costs the peer its proposal. A fault here (the store, or a decision that we hold to be
//! wrong) ends the application, and with it the node: it must not vote any more.

use std::collections::HashMap;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_malachitebft_app_channel::app::engine::host::{Next, SyncedValueOutcome};
use arc_malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use arc_malachitebft_app_channel::app::types::{LocallyProposedValue, ProposedValue};
use arc_malachitebft_app_channel::{AppMsg, NetworkMsg};
use arc_malachitebft_core_consensus::{MisbehaviorEvidence, VoteExtensionError};
use arc_malachitebft_core_types::{
    CommitCertificate, DoubleProposal, DoubleVote, ExtendedCommitCertificate, ExtendedCommitSignature, HeightParams,
    LinearTimeouts, Round, SignedMessage, Validity,
};
use arc_malachitebft_sync::RawDecidedValue;
use bytes::Bytes;
use cairn_ledger::codec;
use cairn_protocol::Epoch;
use serde_bytes::ByteBuf;
use tokio::sync::mpsc::Sender;
use tracing::{info, warn};

use crate::block::{Block, BlockId, encoded_bytes_max};
use crate::chain::{Candidate, Chain, InvalidBlock, ProposeError};
use crate::commit::{Commit, CommitSignature};
use crate::engine::context::{Context, Height, Proposal, Signature, ValidatorKey, ValidatorSet, Vote};
use crate::engine::parts::{Assembler, Init, Part, Place, split};
use crate::engine::signing::{KeySigner, vote_kind, voted_block};
use crate::evidence::{Evidence, ProposalStatement, VoteStatement};
use crate::node::{NodeError, Shared};
use crate::store::Undecided;

/// Rounds ahead of ours in which a block is listened to.
const ROUNDS_AHEAD_MAX: u32 = 16;

/// Different blocks kept for one round. An honest proposer sends one; the second is kept because it may be the one that
/// others voted for.
const BLOCKS_PER_ROUND_MAX: usize = 2;

/// Complete blocks for the height after the next, which come when others decide a moment before us.
const EARLY_MAX: usize = 4;

/// Bounds of one answer to a peer that catches up.
const SYNC_BLOCKS_MAX: usize = 64;
const SYNC_BYTES_MAX: usize = 8 << 20;

/// What the application was given.
pub(crate) struct Wiring {
    pub chain: Arc<Mutex<Chain>>,
    pub shared: Arc<Shared>,
    /// None if this node does not vote.
    pub signer: Option<KeySigner>,
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub block_interval: Duration,
    pub timeouts: LinearTimeouts,
    pub network: Sender<NetworkMsg<Context>>,
    /// Whether that network leads nowhere.
    pub is_alone: bool,
    /// Transactions that peers sent.
    pub transactions: SyncSender<Vec<ByteBuf>>,
    #[cfg(test)]
    pub mischief: crate::node::Mischief,
}

/// What executing a block of the next height gave.
enum Verdict {
    Valid(Box<Candidate>),
    Invalid,
}

/// See the module.
pub(crate) struct Application {
    wiring: Wiring,
    block_bytes_max: u64,
    assembler: Assembler,
    round: u32,
    /// The height whose kept blocks the engine was told of.
    told: Option<Height>,
    /// Blocks kept for the next height, newest last.
    kept: Vec<Undecided>,
    verdicts: HashMap<BlockId, Verdict>,
    early: Vec<(Init, Bytes)>,
    streams: u32,
}

impl Application {
    pub(crate) fn new(wiring: Wiring) -> Self {
        let (chain_id, block_bytes_max) = {
            let chain = lock(&wiring.chain);
            (chain.header().chain, encoded_bytes_max(chain.state().params()))
        };
        Self {
            wiring,
            block_bytes_max,
            assembler: Assembler::new(chain_id, block_bytes_max),
            round: 0,
            told: None,
            kept: Vec::new(),
            verdicts: HashMap::new(),
            early: Vec::new(),
            streams: 0,
        }
    }

    fn chain(&self) -> MutexGuard<'_, Chain> {
        lock(&self.wiring.chain)
    }

    /// Answers one message.
    ///
    /// # Errors
    /// [`NodeError`]: the node must stop.
    pub(crate) fn handle(&mut self, message: AppMsg<Context>) -> Result<(), NodeError> {
        match message {
            AppMsg::ConsensusReady { reply } => answer(reply, self.next_height()),
            AppMsg::StartedRound { height, round, reply_value, .. } => {
                let values = self.started_round(height, round)?;
                answer(reply_value, values);
            }
            AppMsg::GetValue { height, round, reply, .. } => {
                let Some((place, block)) = self.value(height, round)? else { return Ok(()) };
                answer(reply, LocallyProposedValue::new(height, round, block.header.id()));
                self.stream(place, &block);
            }
            AppMsg::ReceivedProposalPart { from, published_by, part, reply } => {
                let sender = published_by.unwrap_or(from).to_bytes();
                let value = self.part(&sender, part)?;
                answer(reply, value);
            }
            AppMsg::RestreamProposal { height, round, valid_round, value_id, .. } => {
                self.restream(height, round, valid_round, &value_id);
            }
            AppMsg::Decided { certificate, reply, .. } => {
                self.decided(certificate)?;
                answer(reply, ());
            }
            AppMsg::Finalized { certificate, evidence, reply, .. } => {
                let mut chain = self.chain();
                for piece in evidence_of(&evidence) {
                    let (height, validator) = piece.offence();
                    warn!(%height, %validator, "a validator contradicted itself");
                    chain.note_evidence([piece])?;
                }
                chain.extend_commit(commit_of(&certificate));
                drop(chain);
                let (height, params) = self.next_height();
                answer(reply, Next::Start(height, params));
            }
            AppMsg::GetHistoryMinHeight { reply } => {
                let oldest = self.chain().store().oldest()?;
                answer(reply, Height(oldest.0));
            }
            AppMsg::GetDecidedValues { range, reply } => {
                let values = self.decided_values(range.start().0, range.end().0)?;
                answer(reply, values);
            }
            AppMsg::ProcessSyncedValue { height, round, proposer, value_bytes, reply } => {
                let outcome = self.synced(height, round, proposer, &value_bytes)?;
                answer(reply, outcome);
            }
            AppMsg::ExtendVote { reply, .. } => answer(reply, None),
            AppMsg::VerifyVoteExtensions { extensions, reply, .. } => {
                let refuse = |(validator, ())| (validator, Err(VoteExtensionError::InvalidVoteExtension));
                answer(reply, extensions.into_iter().map(refuse).collect());
            }
        }
        Ok(())
    }

    fn next_height(&self) -> (Height, HeightParams<Context>) {
        let chain = self.chain();
        let set = ValidatorSet::new(chain.validators().clone());
        let params = HeightParams::new(set, self.wiring.timeouts, Some(self.wiring.block_interval));
        (Height(chain.next_height().0), params)
    }

    /// The first time that a height is started, tells the engine of the blocks that it cannot know of.
    fn started_round(&mut self, height: Height, round: Round) -> Result<Vec<ProposedValue<Context>>, NodeError> {
        self.round = round.as_u32().unwrap_or(0);
        if self.told == Some(height) || height.0 != self.chain().next_height().0 {
            return Ok(Vec::new());
        }
        self.told = Some(height);
        let kept = self.chain().store().kept(Epoch(height.0))?;
        self.kept = kept;
        let mut values = Vec::new();
        for undecided in self.kept.clone() {
            let validity = self.judge(undecided.block.clone(), None);
            values.push(proposed(height, &undecided, validity));
        }
        for (init, encoding) in std::mem::take(&mut self.early) {
            values.extend(self.complete(&init, &encoding)?);
        }
        Ok(values)
    }

    /// The block that we propose in this round; always the same one.
    fn value(&mut self, height: Height, round: Round) -> Result<Option<(Place, Block)>, NodeError> {
        let (Some(signer), Some(round)) = (&self.wiring.signer, round.as_u32()) else { return Ok(None) };
        let proposer = signer.address();
        let place = Place { height: height.0, round, valid_round: None };
        let ours = |u: &&Undecided| (u.round, u.valid_round, u.proposer) == (round, None, proposer);
        if let Some(before) = self.kept.iter().find(ours) {
            return Ok(Some((place, before.block.clone())));
        }
        let candidate = {
            let chain = self.chain();
            if chain.next_height().0 != height.0 {
                return Ok(None);
            }
            let selected = self.wiring.shared.view().mempool.select(chain.state());
            match chain.propose((self.wiring.clock)(), proposer, selected) {
                Ok(candidate) => candidate,
                Err(ProposeError::Beacon(error)) => {
                    warn!(%height, %error, "our turn passes");
                    return Ok(None);
                }
                Err(invalid) => return Err(NodeError::Production { detail: invalid.to_string() }),
            }
        };
        let block = self.tampered(candidate.block().clone());
        self.verdicts.insert(block.header.id(), Verdict::Valid(Box::new(candidate)));
        self.keep(Undecided { round, valid_round: None, proposer, block: block.clone() })?;
        Ok(Some((place, block)))
    }

    #[cfg(not(test))]
    fn tampered(&self, block: Block) -> Block {
        block
    }

    #[cfg(not(test))]
    fn is_withholding(&self) -> bool {
        false
    }

    #[cfg(test)]
    fn is_withholding(&self) -> bool {
        self.wiring.mischief.withhold
    }

    #[cfg(test)]
    fn tampered(&self, mut block: Block) -> Block {
        self.wiring.mischief.tamper.inspect(|tamper| tamper(&mut block));
        block
    }

    fn keep(&mut self, undecided: Undecided) -> Result<(), NodeError> {
        self.chain().keep(&undecided)?;
        self.kept.push(undecided);
        Ok(())
    }

    fn stream(&mut self, place: Place, block: &Block) {
        let Some(signer) = self.wiring.signer.as_ref().filter(|_| !self.wiring.is_alone) else { return };
        self.streams = self.streams.wrapping_add(1);
        let id = [&place.height.to_be_bytes()[..], &place.round.to_be_bytes(), &self.streams.to_be_bytes()].concat();
        let id = StreamId::new(id.into());
        let parts = split(signer, place, block.header.id(), &codec::encode(block));
        let contents = parts.into_iter().map(StreamContent::Data).chain([StreamContent::Fin]);
        for (sequence, content) in (0..).zip(contents) {
            if sequence > 0 && self.is_withholding() {
                return;
            }
            let message = NetworkMsg::PublishProposalPart(StreamMessage::new(id.clone(), sequence, content));
            if self.wiring.network.blocking_send(message).is_err() {
                return;
            }
        }
    }

    fn restream(&mut self, height: Height, round: Round, valid_round: Round, id: &BlockId) {
        let Some(round) = round.as_u32() else { return };
        let found = self.kept.iter().find(|undecided| undecided.block.header.id() == *id);
        let Some(block) = found.map(|undecided| undecided.block.clone()) else {
            warn!(%height, round, block = %id, "a block to be proposed again is not here");
            return;
        };
        self.stream(Place { height: height.0, round, valid_round: valid_round.as_u32() }, &block);
    }

    fn part(
        &mut self,
        sender: &[u8],
        message: StreamMessage<Part>,
    ) -> Result<Option<ProposedValue<Context>>, NodeError> {
        let part = match message.content {
            StreamContent::Data(Part::Transactions(transactions)) => {
                // A full queue loses gossip, not transactions: whoever took them in proposes them in its turn.
                let _ = self.wiring.transactions.try_send(transactions);
                return Ok(None);
            }
            StreamContent::Data(part) => Some(part),
            StreamContent::Fin => None,
        };
        let id = [sender, &message.stream_id.to_bytes()].concat();
        match self.assembler.insert(&id, message.sequence, part) {
            Ok(Some((init, encoding))) => self.complete(&init, &encoding),
            Ok(None) => Ok(None),
            Err(rejection) => {
                warn!(%rejection, "a streamed block is dropped");
                Ok(None)
            }
        }
    }

    /// Judges a complete block, if it is one that we wait for.
    fn complete(&mut self, init: &Init, encoding: &Bytes) -> Result<Option<ProposedValue<Context>>, NodeError> {
        let next = self.chain().next_height().0;
        if init.height == next + 1 && self.early.len() < EARLY_MAX {
            self.early.push((init.clone(), encoding.clone()));
        }
        if init.height != next {
            return Ok(None);
        }
        if let Some(reason) = self.unwanted(init) {
            warn!(height = init.height, round = init.round, proposer = %init.proposer, reason, "a block is not wanted");
            return Ok(None);
        }
        let Some(block) = self.decode(encoding).filter(|block| block.header.id() == init.block) else {
            warn!(height = init.height, proposer = %init.proposer, "a block is not the one that was announced");
            return Ok(None);
        };
        let undecided = Undecided { round: init.round, valid_round: init.valid_round, proposer: init.proposer, block };
        let now_ms = (self.wiring.clock)();
        let validity = self.judge(undecided.block.clone(), Some(now_ms));
        let value = proposed(Height(init.height), &undecided, validity);
        if validity.is_valid() {
            self.keep(undecided)?;
        }
        Ok(Some(value))
    }

    /// Why nobody should look at an announced block.
    fn unwanted(&self, init: &Init) -> Option<&'static str> {
        if init.round > self.round.saturating_add(ROUNDS_AHEAD_MAX) {
            return Some("its round is far ahead");
        }
        if self.chain().validators().proposer(init.height, init.round).address != init.proposer {
            return Some("it is not the sender's turn");
        }
        let same_round = self.kept.iter().filter(|undecided| undecided.round == init.round);
        if same_round.count() >= BLOCKS_PER_ROUND_MAX {
            return Some("there are enough blocks of this round");
        }
        None
    }

    fn decode(&self, encoding: &[u8]) -> Option<Block> {
        let limit = usize::try_from(self.block_bytes_max).unwrap_or(usize::MAX);
        codec::decode_strict(encoding, limit).ok()
    }

    /// Executes a block of the next height, once. Without a clock its time is not judged.
    fn judge(&mut self, block: Block, now_ms: Option<u64>) -> Validity {
        let id = block.header.id();
        if let Some(verdict) = self.verdicts.get(&id) {
            return Validity::from_bool(matches!(verdict, Verdict::Valid(_)));
        }
        let judged = self.chain().validate(block, now_ms);
        let verdict = match judged {
            Ok(candidate) => Verdict::Valid(Box::new(candidate)),
            // What is too early now may be in time when it is proposed again.
            Err(InvalidBlock::FromTheFuture { height, time_ms, now_ms }) => {
                warn!(%height, block = %id, time_ms, now_ms, "a block is ahead of the clock");
                return Validity::Invalid;
            }
            Err(invalid) => {
                warn!(block = %id, %invalid, "a block is refused");
                Verdict::Invalid
            }
        };
        let validity = Validity::from_bool(matches!(verdict, Verdict::Valid(_)));
        self.verdicts.insert(id, verdict);
        validity
    }

    fn decided(&mut self, certificate: CommitCertificate<Context>) -> Result<(), NodeError> {
        let (height, id) = (certificate.height, certificate.value_id);
        if !matches!(self.verdicts.get(&id), Some(Verdict::Valid(_))) {
            let found = self.kept.iter().find(|undecided| undecided.block.header.id() == id);
            if let Some(block) = found.map(|undecided| undecided.block.clone()) {
                self.verdicts.remove(&id);
                self.judge(block, None);
            }
        }
        let Some(Verdict::Valid(candidate)) = self.verdicts.remove(&id) else {
            let detail = format!("block {id} was decided at height {height}, but is missing or not valid here");
            return Err(NodeError::Production { detail });
        };
        let mut chain = self.chain();
        chain.commit(*candidate, commit_of(&certificate))?;
        self.wiring.shared.publish(&chain);
        info!(%height, round = %certificate.round, block = %id, "block decided");
        drop(chain);
        self.verdicts.clear();
        self.kept.clear();
        self.assembler.forget_through(height.0);
        Ok(())
    }

    fn decided_values(&self, first: u64, last: u64) -> Result<Vec<RawDecidedValue<Context>>, NodeError> {
        let chain = self.chain();
        let (mut values, mut bytes) = (Vec::new(), 0);
        for height in (first..=last).take(SYNC_BLOCKS_MAX).map(Epoch) {
            let (Some(block), Some(commit)) = (chain.store().block(height)?, chain.store().commit(height)?) else {
                break;
            };
            let encoding = codec::encode(&block);
            bytes += encoding.len();
            if bytes > SYNC_BYTES_MAX && !values.is_empty() {
                break;
            }
            values.push(RawDecidedValue::new(encoding.into(), certificate_of(&commit)));
        }
        Ok(values)
    }

    fn synced(
        &mut self,
        height: Height,
        round: Round,
        proposer: ValidatorKey,
        encoding: &[u8],
    ) -> Result<SyncedValueOutcome<Context>, NodeError> {
        if height.0 != self.chain().next_height().0 {
            return Ok(SyncedValueOutcome::LocalTransientError);
        }
        let Some(block) = self.decode(encoding).filter(|block| block.header.height.0 == height.0) else {
            return Ok(SyncedValueOutcome::PeerFault);
        };
        let round = round.as_u32().unwrap_or(0);
        let undecided = Undecided { round, valid_round: None, proposer: proposer.0, block };
        let validity = self.judge(undecided.block.clone(), None);
        let value = proposed(height, &undecided, validity);
        if validity.is_valid() {
            self.keep(undecided)?;
        }
        Ok(SyncedValueOutcome::Verdict(value))
    }
}

/// An engine that does not wait for the answer any more is about to stop.
fn answer<T>(reply: tokio::sync::oneshot::Sender<T>, value: T) {
    let _ = reply.send(value);
}

/// The chain, also after a panic elsewhere: its head moves in one step, after the write.
fn lock(chain: &Mutex<Chain>) -> MutexGuard<'_, Chain> {
    chain.lock().unwrap_or_else(PoisonError::into_inner)
}

fn proposed(height: Height, undecided: &Undecided, validity: Validity) -> ProposedValue<Context> {
    ProposedValue {
        height,
        round: Round::new(undecided.round),
        valid_round: Round::from(undecided.valid_round),
        proposer: ValidatorKey(undecided.proposer),
        value: undecided.block.header.id(),
        validity,
    }
}

/// What the engine saw of each liar, as we check and store it: one contradiction is enough.
fn evidence_of(seen: &MisbehaviorEvidence<Context>) -> Vec<Evidence> {
    let votes = seen.votes.iter().filter_map(|(_, pairs)| pairs.iter().find_map(double_vote));
    let proposals = seen.proposals.iter().filter_map(|(_, pairs)| pairs.iter().find_map(double_proposal));
    votes.chain(proposals).collect()
}

fn double_vote((first, second): &DoubleVote<Context>) -> Option<Evidence> {
    let statement = |signed: &SignedMessage<Context, Vote>| VoteStatement {
        block: voted_block(&signed.message.block).copied(),
        signature: signed.signature.0,
    };
    let Vote { kind, height, round, validator, .. } = &first.message;
    let evidence = Evidence::Votes {
        validator: validator.0,
        height: Epoch(height.0),
        round: round.as_u32()?,
        kind: vote_kind(*kind),
        statements: [statement(first), statement(second)],
    };
    Some(evidence.sorted())
}

/// None if they differ in the earlier round alone, which is no proof that the chain could have split.
fn double_proposal((first, second): &DoubleProposal<Context>) -> Option<Evidence> {
    let statement = |signed: &SignedMessage<Context, Proposal>| ProposalStatement {
        block: signed.message.block,
        valid_round: signed.message.valid_round.as_u32(),
        signature: signed.signature.0,
    };
    let Proposal { height, round, proposer, .. } = &first.message;
    let evidence = Evidence::Proposals {
        validator: proposer.0,
        height: Epoch(height.0),
        round: round.as_u32()?,
        statements: [statement(first), statement(second)],
    };
    (first.message.block != second.message.block).then(|| evidence.sorted())
}

/// The engine's certificate as we store it: sorted, without the engine's types.
fn commit_of(certificate: &CommitCertificate<Context>) -> Commit {
    let signature = |s: &arc_malachitebft_core_types::CommitSignature<Context>| CommitSignature {
        validator: s.address.0,
        signature: s.signature.0,
    };
    let mut signatures: Vec<CommitSignature> = certificate.commit_signatures.iter().map(signature).collect();
    signatures.sort_by_key(|signature| signature.validator);
    Commit {
        height: Epoch(certificate.height.0),
        round: certificate.round.as_u32().unwrap_or(0),
        block: certificate.value_id,
        signatures,
    }
}

fn certificate_of(commit: &Commit) -> ExtendedCommitCertificate<Context> {
    let signature =
        |s: &CommitSignature| ExtendedCommitSignature::new(ValidatorKey(s.validator), Signature(s.signature), None);
    ExtendedCommitCertificate {
        height: Height(commit.height.0),
        round: Round::new(commit.round),
        value_id: commit.block,
        commit_signatures: commit.signatures.iter().map(signature).collect(),
    }
}
