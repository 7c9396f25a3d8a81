//! Our types, in the shapes that the engine wants.

use std::fmt;

use arc_malachitebft_core_types as core;
use cairn_ledger::{Address, SignatureBytes};
use core::{LinearTimeouts, NilOrVal, Round, SignedExtension, VoteType};
use serde::{Deserialize, Serialize};

use crate::block::BlockId;
use crate::engine::parts::Part;
use crate::validators::{Member, Validators};

/// Height of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Height(pub u64);

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Height for Height {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

/// A validator's key, which is its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ValidatorKey(pub Address);

impl fmt::Display for ValidatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Address for ValidatorKey {}

/// An Ed25519 signature that can be sorted, as the engine wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Signature(pub SignatureBytes);

impl PartialOrd for Signature {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Signature {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.0.cmp(&other.0.0)
    }
}

/// Ed25519 by the rules of ZIP-215.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ed25519;

impl core::SigningScheme for Ed25519 {
    type DecodingError = &'static str;
    type Signature = Signature;
    type PublicKey = ValidatorKey;
    /// Private keys stay in [`super::signing::KeySigner`]; the engine never asks for one.
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<Signature, Self::DecodingError> {
        bytes.try_into().map(|bytes| Signature(SignatureBytes(bytes))).map_err(|_| "a signature has 64 bytes")
    }

    fn encode_signature(signature: &Signature) -> Vec<u8> {
        signature.0.0.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<ValidatorKey, Self::DecodingError> {
        bytes.try_into().map(|bytes| ValidatorKey(Address(bytes))).map_err(|_| "a key has 32 bytes")
    }

    fn encode_public_key(key: &ValidatorKey) -> Vec<u8> {
        key.0.0.to_vec()
    }
}

/// One who votes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validator {
    key: ValidatorKey,
    power: u64,
}

impl core::Validator<Context> for Validator {
    fn address(&self) -> &ValidatorKey {
        &self.key
    }

    fn public_key(&self) -> &ValidatorKey {
        &self.key
    }

    fn voting_power(&self) -> u64 {
        self.power
    }
}

/// Who decides a height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ValidatorSet {
    validators: Vec<Validator>,
    source: Validators,
}

impl ValidatorSet {
    pub(crate) fn new(source: Validators) -> Self {
        let validator = |member: &Member| Validator { key: ValidatorKey(member.address), power: member.power };
        Self { validators: source.members().iter().map(validator).collect(), source }
    }
}

impl core::ValidatorSet<Context> for ValidatorSet {
    fn count(&self) -> usize {
        self.validators.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.source.power()
    }

    fn get_by_address(&self, key: &ValidatorKey) -> Option<&Validator> {
        self.validators.binary_search_by_key(key, |validator| validator.key).ok().map(|place| &self.validators[place])
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.validators.get(index)
    }
}

impl core::Value for BlockId {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

/// A proposer's word that a block is its proposal for a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub height: Height,
    pub round: Round,
    pub block: BlockId,
    pub valid_round: Round,
    pub proposer: ValidatorKey,
}

impl core::Proposal<Context> for Proposal {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &BlockId {
        &self.block
    }

    fn take_value(self) -> BlockId {
        self.block
    }

    fn pol_round(&self) -> Round {
        self.valid_round
    }

    fn validator_address(&self) -> &ValidatorKey {
        &self.proposer
    }
}

/// A vote, without its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vote {
    pub kind: VoteType,
    pub height: Height,
    pub round: Round,
    pub block: NilOrVal<BlockId>,
    pub validator: ValidatorKey,
    /// Never there: votes are not extended. The engine's shape has a place for it.
    pub extension: Option<SignedExtension<Context>>,
}

impl core::Vote<Context> for Vote {
    fn height(&self) -> Height {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<BlockId> {
        &self.block
    }

    fn take_value(self) -> NilOrVal<BlockId> {
        self.block
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &ValidatorKey {
        &self.validator
    }

    fn extension(&self) -> Option<&SignedExtension<Context>> {
        self.extension.as_ref()
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Context>> {
        self.extension.take()
    }

    fn extend(self, extension: SignedExtension<Context>) -> Self {
        Self { extension: Some(extension), ..self }
    }
}

impl core::ProposalPart<Context> for Part {
    fn is_first(&self) -> bool {
        matches!(self, Part::Init(_))
    }

    fn is_last(&self) -> bool {
        false
    }
}

/// The bundle of all these types.
#[derive(Debug, Clone)]
pub(crate) struct Context;

impl Context {
    fn vote(kind: VoteType, height: Height, round: Round, block: NilOrVal<BlockId>, validator: ValidatorKey) -> Vote {
        Vote { kind, height, round, block, validator, extension: None }
    }
}

impl core::Context for Context {
    type Address = ValidatorKey;
    type Height = Height;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = ValidatorSet;
    type Timeouts = LinearTimeouts;
    type Value = BlockId;
    type Vote = Vote;
    type Extension = ();
    type SigningScheme = Ed25519;

    fn select_proposer<'a>(&self, set: &'a ValidatorSet, height: Height, round: Round) -> &'a Validator {
        let proposer = set.source.proposer(height.0, round.as_u32().unwrap_or(0)).address;
        core::ValidatorSet::get_by_address(set, &ValidatorKey(proposer)).expect("the proposer is of the set")
    }

    fn new_proposal(
        &self,
        height: Height,
        round: Round,
        block: BlockId,
        valid_round: Round,
        proposer: ValidatorKey,
    ) -> Proposal {
        Proposal { height, round, block, valid_round, proposer }
    }

    fn new_prevote(&self, height: Height, round: Round, block: NilOrVal<BlockId>, validator: ValidatorKey) -> Vote {
        Self::vote(VoteType::Prevote, height, round, block, validator)
    }

    fn new_precommit(&self, height: Height, round: Round, block: NilOrVal<BlockId>, validator: ValidatorKey) -> Vote {
        Self::vote(VoteType::Precommit, height, round, block, validator)
    }
}
