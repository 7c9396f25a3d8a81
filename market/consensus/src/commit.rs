//! What makes a block final: signatures of validators with more than two thirds of the votes.
//!
//! A vote signs one message of a fixed layout, so that it means one thing on one chain:
//!
//! ```text
//! "cairn/vote/v1\0"  chain [32]  kind u8  height u64 BE  round u32 BE  value u8  block [32]  validator [32]
//! ```
//!
//! `kind` is 1 for a prevote and 2 for a precommit; `value` is 1 for a block, 0 for none, and then the block is zeros. A
//! [`Commit`] collects precommits. It needs neither the engine nor the network to be checked, only the set of validators.
//!
//! A proposal signs
//!
//! ```text
//! "cairn/proposal/v1\0"  chain [32]  height u64 BE  round u32 BE  valid round i64 BE (-1: none)  block [32]  proposer [32]
//! ```

use cairn_ledger::{Address, ChainId, SignatureBytes, codec};
use cairn_protocol::Epoch;
use ed25519_consensus::{Signature, VerificationKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::block::BlockId;
use crate::validators::{VALIDATORS_MAX, Validators};

const TAG_VOTE: &[u8] = b"cairn/vote/v1\0";
const TAG_PROPOSAL: &[u8] = b"cairn/proposal/v1\0";

/// Which step a vote belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum VoteKind {
    /// The block may be.
    Prevote = 1,
    /// The block is.
    Precommit = 2,
}

/// The bytes that a vote signs; see the module.
pub fn vote_message(
    chain: &ChainId,
    kind: VoteKind,
    height: Epoch,
    round: u32,
    block: Option<&BlockId>,
    validator: &Address,
) -> Vec<u8> {
    let mut message = TAG_VOTE.to_vec();
    message.extend(chain.0);
    message.push(kind as u8);
    message.extend(height.0.to_be_bytes());
    message.extend(round.to_be_bytes());
    message.push(u8::from(block.is_some()));
    message.extend(block.map_or([0; 32], |block| block.0));
    message.extend(validator.0);
    message
}

/// The bytes that a proposal signs; see the module.
pub fn proposal_message(
    chain: &ChainId,
    height: Epoch,
    round: u32,
    valid_round: Option<u32>,
    block: &BlockId,
    proposer: &Address,
) -> Vec<u8> {
    let mut message = TAG_PROPOSAL.to_vec();
    message.extend(chain.0);
    message.extend(height.0.to_be_bytes());
    message.extend(round.to_be_bytes());
    message.extend(valid_round.map_or(-1, i64::from).to_be_bytes());
    message.extend(block.0);
    message.extend(proposer.0);
    message
}

/// Whether `signature` is `signer`'s over `message`, by the rules of ZIP-215.
pub fn is_signed(signer: &Address, message: &[u8], signature: &SignatureBytes) -> bool {
    let key = VerificationKey::try_from(signer.0);
    key.and_then(|key| key.verify(&Signature::from(signature.0), message)).is_ok()
}

/// One validator's precommit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommitSignature {
    /// Who.
    pub validator: Address,
    /// Over the [`vote_message`].
    pub signature: SignatureBytes,
}

/// The decision for a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Height of the block.
    pub height: Epoch,
    /// Round in which it was decided.
    pub round: u32,
    /// The block.
    pub block: BlockId,
    /// By validator, ascending.
    pub signatures: Vec<CommitSignature>,
}

/// Why a commit decides nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitRejection {
    /// It is about something else.
    #[error("a commit for block {got} at height {got_height}, expected {expected} at {expected_height}")]
    WrongBlock {
        /// Height that it must have.
        expected_height: Epoch,
        /// Block that it must be for.
        expected: BlockId,
        /// Height that it has.
        got_height: Epoch,
        /// Block that it is for.
        got: BlockId,
    },
    /// Signers are not ascending, so one may be there twice.
    #[error("commit of height {height}: signers are not ascending at {validator}")]
    NotAscending {
        /// Of the block.
        height: Epoch,
        /// Where.
        validator: Address,
    },
    /// A signer that has no vote.
    #[error("commit of height {height}: {validator} is no validator")]
    UnknownValidator {
        /// Of the block.
        height: Epoch,
        /// Who.
        validator: Address,
    },
    /// A signature that is none.
    #[error("commit of height {height}: the signature of {validator} is not valid")]
    BadSignature {
        /// Of the block.
        height: Epoch,
        /// Whose.
        validator: Address,
    },
    /// Not enough votes.
    #[error("commit of height {height}: {got} of {all} votes, more than two thirds are needed")]
    TooFewVotes {
        /// Of the block.
        height: Epoch,
        /// Signed.
        got: u64,
        /// Of the whole set.
        all: u64,
    },
}

impl Commit {
    /// The hash by which the next block's header refers to it.
    pub fn root(&self) -> [u8; 32] {
        Sha256::new().chain_update(b"cairn/commit/v1").chain_update(codec::encode(self)).finalize().into()
    }

    /// Whether `validator` signed.
    pub fn is_signed_by(&self, validator: &Address) -> bool {
        self.signatures.iter().any(|signature| signature.validator == *validator)
    }

    /// Checks that it decides `block` at `height`, by `validators`.
    ///
    /// # Errors
    /// [`CommitRejection`] says what is missing or wrong.
    pub fn verify(
        &self,
        chain: &ChainId,
        height: Epoch,
        block: &BlockId,
        validators: &Validators,
    ) -> Result<(), CommitRejection> {
        if (self.height, self.block) != (height, *block) {
            return Err(CommitRejection::WrongBlock {
                expected_height: height,
                expected: *block,
                got_height: self.height,
                got: self.block,
            });
        }
        let mut power = 0;
        let mut last: Option<Address> = None;
        for CommitSignature { validator, signature } in self.signatures.iter().take(VALIDATORS_MAX + 1) {
            let validator = *validator;
            if last.is_some_and(|last| last >= validator) {
                return Err(CommitRejection::NotAscending { height, validator });
            }
            last = Some(validator);
            let Some(member) = validators.get(&validator) else {
                return Err(CommitRejection::UnknownValidator { height, validator });
            };
            let message = vote_message(chain, VoteKind::Precommit, height, self.round, Some(block), &validator);
            if !is_signed(&validator, &message, signature) {
                return Err(CommitRejection::BadSignature { height, validator });
            }
            power += member.power;
        }
        if !validators.is_quorum(power) {
            return Err(CommitRejection::TooFewVotes { height, got: power, all: validators.power() });
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use cairn_ledger::address_of;
    use ed25519_consensus::SigningKey;

    use super::*;
    use crate::validators::Member;

    const CHAIN: ChainId = ChainId([7; 32]);
    const BLOCK: BlockId = BlockId([8; 32]);

    fn keys() -> Vec<SigningKey> {
        let mut keys: Vec<SigningKey> = (1..=4).map(|seed| SigningKey::from([seed; 32])).collect();
        keys.sort_by_key(address_of);
        keys
    }

    fn set() -> Validators {
        let members: Vec<Member> =
            keys().iter().map(|key| Member { address: address_of(key), power: 1, absent: false }).collect();
        codec::decode_strict(&codec::encode(&members), 10_000).unwrap()
    }

    fn commit(signers: &[usize]) -> Commit {
        let sign = |place: &usize| {
            let key = &keys()[*place];
            let validator = address_of(key);
            let message = vote_message(&CHAIN, VoteKind::Precommit, Epoch(5), 2, Some(&BLOCK), &validator);
            CommitSignature { validator, signature: SignatureBytes(key.sign(&message).to_bytes()) }
        };
        Commit { height: Epoch(5), round: 2, block: BLOCK, signatures: signers.iter().map(sign).collect() }
    }

    fn verdict(commit: &Commit) -> Result<(), CommitRejection> {
        commit.verify(&CHAIN, Epoch(5), &BLOCK, &set())
    }

    #[test]
    fn three_of_four_decide_and_two_do_not() {
        assert_eq!(verdict(&commit(&[0, 1, 3])), Ok(()));
        assert_eq!(verdict(&commit(&[0, 1, 2, 3])), Ok(()));
        assert!(matches!(verdict(&commit(&[0, 3])), Err(CommitRejection::TooFewVotes { got: 2, all: 4, .. })));
    }

    #[test]
    fn every_part_is_signed() {
        let refused = |change: fn(&mut Commit)| {
            let mut commit = commit(&[0, 1, 2]);
            change(&mut commit);
            verdict(&commit).unwrap_err()
        };
        assert!(matches!(refused(|c| c.height = Epoch(6)), CommitRejection::WrongBlock { .. }));
        assert!(matches!(refused(|c| c.block = BlockId([9; 32])), CommitRejection::WrongBlock { .. }));
        assert!(matches!(refused(|c| c.round = 3), CommitRejection::BadSignature { .. }));
        assert!(matches!(refused(|c| c.signatures[1].signature.0[0] ^= 1), CommitRejection::BadSignature { .. }));
        assert!(matches!(refused(|c| c.signatures.swap(0, 1)), CommitRejection::NotAscending { .. }));
        assert!(matches!(refused(|c| c.signatures[1] = c.signatures[0]), CommitRejection::NotAscending { .. }));
        let strange = |c: &mut Commit| c.signatures[2].validator = Address([0xff; 32]);
        assert!(matches!(refused(strange), CommitRejection::UnknownValidator { .. }));
        let other_chain = commit(&[0, 1, 2]).verify(&ChainId([6; 32]), Epoch(5), &BLOCK, &set());
        assert!(matches!(other_chain, Err(CommitRejection::BadSignature { .. })));
    }
}
