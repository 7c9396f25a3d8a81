//! Keys: what a validator signs, byte for byte, and how it is checked.
//!
//! Votes sign [`vote_message`] and proposals [`proposal_message`], so that certificates and contradictions can be checked
//! without the engine. The first part of a streamed block signs the fields of a proposal with its own tag and the block's
//! length.

use arc_malachitebft_core_types::{NilOrVal, SignedMessage, ValidatorProof, VoteExtensionScope, VoteType};
use arc_malachitebft_signing::{Error, Signer, VerificationResult, Verifier};
use async_trait::async_trait;
use cairn_ledger::{Address, ChainId, SignatureBytes, address_of};
use cairn_protocol::Epoch;
use ed25519_consensus::SigningKey;

use crate::block::BlockId;
use crate::commit::{VoteKind, is_signed, proposal_message, vote_message};
use crate::engine::context::{Context, Proposal, Signature, ValidatorKey, Vote};

/// Vote extensions are switched off, so being asked for one is a mistake of ours, not of a peer.
const NO_EXTENSIONS: &str = "votes carry no extensions";

pub(crate) fn vote_kind(kind: VoteType) -> VoteKind {
    match kind {
        VoteType::Prevote => VoteKind::Prevote,
        VoteType::Precommit => VoteKind::Precommit,
    }
}

pub(crate) fn voted_block(block: &NilOrVal<BlockId>) -> Option<&BlockId> {
    match block {
        NilOrVal::Nil => None,
        NilOrVal::Val(block) => Some(block),
    }
}

fn vote_bytes(chain: &ChainId, vote: &Vote) -> Option<Vec<u8>> {
    let (kind, block) = (vote_kind(vote.kind), voted_block(&vote.block));
    Some(vote_message(chain, kind, Epoch(vote.height.0), vote.round.as_u32()?, block, &vote.validator.0))
}

fn proposal_bytes(chain: &ChainId, proposal: &Proposal) -> Option<Vec<u8>> {
    let Proposal { height, round, block, valid_round, proposer } = proposal;
    Some(proposal_message(chain, Epoch(height.0), round.as_u32()?, valid_round.as_u32(), block, &proposer.0))
}

/// Checks signatures of one chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChainVerifier {
    pub chain: ChainId,
}

fn verdict(key: &ValidatorKey, message: Option<Vec<u8>>, signature: &Signature) -> VerificationResult {
    VerificationResult::from_bool(message.is_some_and(|message| is_signed(&key.0, &message, &signature.0)))
}

#[async_trait]
impl Verifier<Context> for ChainVerifier {
    async fn verify_signed_vote(
        &self,
        vote: &Vote,
        signature: &Signature,
        key: &ValidatorKey,
    ) -> Result<VerificationResult, Error> {
        Ok(verdict(key, vote_bytes(&self.chain, vote), signature))
    }

    async fn verify_signed_proposal(
        &self,
        proposal: &Proposal,
        signature: &Signature,
        key: &ValidatorKey,
    ) -> Result<VerificationResult, Error> {
        Ok(verdict(key, proposal_bytes(&self.chain, proposal), signature))
    }

    async fn verify_signed_vote_extension(
        &self,
        _: &VoteExtensionScope<Context>,
        (): &(),
        _: &Signature,
        _: &ValidatorKey,
    ) -> Result<VerificationResult, Error> {
        Ok(VerificationResult::Invalid)
    }

    async fn verify_validator_proof(&self, proof: &ValidatorProof<Context>) -> Result<VerificationResult, Error> {
        let Ok(key) = <[u8; 32]>::try_from(proof.public_key.as_slice()) else {
            return Ok(VerificationResult::Invalid);
        };
        Ok(verdict(&ValidatorKey(Address(key)), Some(proof.preimage()), &proof.signature))
    }
}

/// Signs with one key, for one chain.
#[derive(Clone)]
pub(crate) struct KeySigner {
    chain: ChainId,
    key: SigningKey,
}

impl std::fmt::Debug for KeySigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeySigner({})", self.address())
    }
}

impl KeySigner {
    pub(crate) fn new(chain: ChainId, key: SigningKey) -> Self {
        Self { chain, key }
    }

    pub(crate) fn chain(&self) -> &ChainId {
        &self.chain
    }

    pub(crate) fn address(&self) -> Address {
        address_of(&self.key)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        Signature(SignatureBytes(self.key.sign(message).to_bytes()))
    }

    /// Says that the key's holder is the peer `peer_id`, so that peers know validators from strangers.
    pub(crate) fn validator_proof(&self, peer_id: Vec<u8>) -> ValidatorProof<Context> {
        let key = self.address().0.to_vec();
        let signature = self.sign(&ValidatorProof::<Context>::signing_bytes(&key, &peer_id));
        ValidatorProof::new(key, peer_id, signature)
    }
}

#[async_trait]
impl Signer<Context> for KeySigner {
    async fn sign_vote(&self, vote: Vote) -> Result<SignedMessage<Context, Vote>, Error> {
        let message = vote_bytes(&self.chain, &vote).ok_or_else(|| Error::from_source("a vote without a round"))?;
        Ok(SignedMessage::new(vote, self.sign(&message)))
    }

    async fn sign_proposal(&self, proposal: Proposal) -> Result<SignedMessage<Context, Proposal>, Error> {
        let message = proposal_bytes(&self.chain, &proposal);
        let message = message.ok_or_else(|| Error::from_source("a proposal without a round"))?;
        Ok(SignedMessage::new(proposal, self.sign(&message)))
    }

    async fn sign_vote_extension(
        &self,
        _: VoteExtensionScope<Context>,
        (): (),
    ) -> Result<SignedMessage<Context, ()>, Error> {
        Err(Error::from_source(NO_EXTENSIONS))
    }

    async fn sign_validator_proof(&self, _: Vec<u8>, peer_id: Vec<u8>) -> Result<ValidatorProof<Context>, Error> {
        Ok(self.validator_proof(peer_id))
    }
}

#[cfg(test)]
mod tests {
    use arc_malachitebft_core_types::Round;

    use super::*;
    use crate::engine::context::Height;

    #[test]
    fn a_signature_is_good_for_one_proposal_on_one_chain() {
        let signer = KeySigner::new(ChainId([1; 32]), SigningKey::from([2; 32]));
        let key = ValidatorKey(signer.address());
        let proposal = Proposal {
            height: Height(3),
            round: Round::new(1),
            block: BlockId([4; 32]),
            valid_round: Round::Nil,
            proposer: key,
        };
        let good = proposal_bytes(signer.chain(), &proposal).unwrap();
        let signature = signer.sign(&good);
        let valid = |chain: u8, proposal: &Proposal| {
            verdict(&key, proposal_bytes(&ChainId([chain; 32]), proposal), &signature).is_valid()
        };
        assert!(valid(1, &proposal));
        assert!(!valid(2, &proposal));
        assert!(!valid(1, &Proposal { height: Height(4), ..proposal.clone() }));
        assert!(!valid(1, &Proposal { round: Round::new(2), ..proposal.clone() }));
        assert!(!valid(1, &Proposal { valid_round: Round::new(0), ..proposal.clone() }));
        assert!(!valid(1, &Proposal { block: BlockId([5; 32]), ..proposal.clone() }));
        assert!(!valid(1, &Proposal { round: Round::Nil, ..proposal }), "without a round there is nothing to sign");
    }
}
