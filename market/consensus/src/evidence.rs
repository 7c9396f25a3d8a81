//! Two signed statements of one validator that contradict each other, in a form that anybody can check.
//!
//! A correct validator signs one proposal for a height and round, and one vote for a height, round and step. Whoever has
//! two has proof of a lie, and needs neither the engine nor the network to show it. How such proof acts:
//!
//! 1. The engine hands what it saw to [`Chain::note_evidence`](crate::Chain::note_evidence) when a height is over.
//! 2. The next proposer puts it into its block; the header names it (`evidence_root`).
//! 3. Every validator checks both signatures, that they contradict each other, that the height is recent and that it was
//!    not punished before; one wrong piece makes the block invalid.
//! 4. [`State::slash`](cairn_ledger::State::slash) acts before the block's transactions do.
//!
//! The two statements stand in ascending order, and pieces in a block too, so there is one encoding of each.

use cairn_ledger::{Address, ChainId, SignatureBytes, SlashRejection, codec};
use cairn_protocol::Epoch;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::block::BlockId;
use crate::commit::{VoteKind, is_signed, proposal_message, vote_message};

/// Most pieces of evidence in one block; the rest waits for the next.
pub const EVIDENCE_MAX: usize = 16;

/// Half of a [`Evidence::Votes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoteStatement {
    /// What for; none is a vote for no block.
    pub block: Option<BlockId>,
    /// Over the [`vote_message`].
    pub signature: SignatureBytes,
}

/// Half of a [`Evidence::Proposals`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposalStatement {
    /// Which block.
    pub block: BlockId,
    /// Earlier round in which it was found valid.
    pub valid_round: Option<u32>,
    /// Over the [`proposal_message`].
    pub signature: SignatureBytes,
}

/// A contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Evidence {
    /// Two votes in one step.
    Votes {
        /// Whose.
        validator: Address,
        /// Height of the block that was being decided.
        height: Epoch,
        /// Round.
        round: u32,
        /// Step.
        kind: VoteKind,
        /// By block, ascending.
        statements: [VoteStatement; 2],
    },
    /// Two proposals in one round.
    Proposals {
        /// Whose.
        validator: Address,
        /// Height of the block that was being decided.
        height: Epoch,
        /// Round.
        round: u32,
        /// By block, ascending.
        statements: [ProposalStatement; 2],
    },
}

/// Why evidence shows nothing, or does not belong in a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceRejection {
    /// Both say the same, or they stand in the wrong order.
    #[error("evidence against {validator} at height {height}: the two blocks are not ascending")]
    NoContradiction {
        /// Against whom.
        validator: Address,
        /// Of what height.
        height: Epoch,
    },
    /// One of them is not the validator's.
    #[error("evidence against {validator} at height {height}: signature {index} is not valid")]
    BadSignature {
        /// Against whom.
        validator: Address,
        /// Of what height.
        height: Epoch,
        /// 0 or 1.
        index: usize,
    },
    /// More than one block may carry.
    #[error("{got} pieces of evidence in a block, {EVIDENCE_MAX} are allowed")]
    TooMany {
        /// How many.
        got: usize,
    },
    /// By height and validator, each once.
    #[error("evidence against {validator} at height {height} is not in ascending order")]
    NotAscending {
        /// Against whom.
        validator: Address,
        /// Of what height.
        height: Epoch,
    },
    /// The ledger does not take it.
    #[error(transparent)]
    Slash(#[from] SlashRejection),
}

impl Evidence {
    /// Against whom, and of what height.
    pub fn offence(&self) -> (Epoch, Address) {
        match self {
            Self::Votes { validator, height, .. } | Self::Proposals { validator, height, .. } => (*height, *validator),
        }
    }

    /// Puts the two statements in order.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        match &mut self {
            Self::Votes { statements, .. } => statements.sort_by_key(|statement| statement.block),
            Self::Proposals { statements, .. } => statements.sort_by_key(|statement| statement.block),
        }
        self
    }

    /// Checks that it shows a contradiction on `chain`.
    ///
    /// # Errors
    /// [`EvidenceRejection`] says what is wrong.
    pub fn verify(&self, chain: &ChainId) -> Result<(), EvidenceRejection> {
        let (height, validator) = self.offence();
        let (ascending, signed) = match self {
            Self::Votes { round, kind, statements, .. } => {
                let signed = statements.map(|VoteStatement { block, signature }| {
                    let message = vote_message(chain, *kind, height, *round, block.as_ref(), &validator);
                    is_signed(&validator, &message, &signature)
                });
                (statements[0].block < statements[1].block, signed)
            }
            Self::Proposals { round, statements, .. } => {
                let signed = statements.map(|ProposalStatement { block, valid_round, signature }| {
                    let message = proposal_message(chain, height, *round, valid_round, &block, &validator);
                    is_signed(&validator, &message, &signature)
                });
                (statements[0].block < statements[1].block, signed)
            }
        };
        if !ascending {
            return Err(EvidenceRejection::NoContradiction { validator, height });
        }
        match signed.iter().position(|signed| !signed) {
            None => Ok(()),
            Some(index) => Err(EvidenceRejection::BadSignature { validator, height, index }),
        }
    }
}

/// Checks the evidence of a block: number, order, and each piece.
///
/// # Errors
/// [`EvidenceRejection`] for the first that does not belong there.
pub fn verify_all(evidence: &[Evidence], chain: &ChainId) -> Result<(), EvidenceRejection> {
    if evidence.len() > EVIDENCE_MAX {
        return Err(EvidenceRejection::TooMany { got: evidence.len() });
    }
    for pair in evidence.windows(2) {
        let (height, validator) = pair[1].offence();
        if pair[0].offence() >= (height, validator) {
            return Err(EvidenceRejection::NotAscending { validator, height });
        }
    }
    evidence.iter().try_for_each(|piece| piece.verify(chain))
}

/// The hash by which a header refers to its block's evidence; zeros if there is none.
pub fn evidence_root(evidence: &[Evidence]) -> [u8; 32] {
    if evidence.is_empty() {
        return [0; 32];
    }
    Sha256::new().chain_update(b"cairn/evidence/v1").chain_update(codec::encode(evidence)).finalize().into()
}

#[cfg(test)]
pub(crate) mod tests {
    use cairn_ledger::address_of;
    use ed25519_consensus::SigningKey;
    use proptest::prelude::*;

    use super::*;

    /// Two votes of `key` at `height`.
    pub(crate) fn double_vote(chain: &ChainId, key: &SigningKey, height: u64) -> Evidence {
        let (validator, height, round, kind) = (address_of(key), Epoch(height), 3, VoteKind::Prevote);
        let statement = |block: Option<BlockId>| {
            let message = vote_message(chain, kind, height, round, block.as_ref(), &validator);
            VoteStatement { block, signature: SignatureBytes(key.sign(&message).to_bytes()) }
        };
        let statements = [statement(None), statement(Some(BlockId([5; 32])))];
        Evidence::Votes { validator, height, round, kind, statements }
    }

    fn double_proposal(chain: &ChainId, key: &SigningKey) -> Evidence {
        let (validator, height, round) = (address_of(key), Epoch(8), 0);
        let statement = |block: u8, valid_round| {
            let block = BlockId([block; 32]);
            let message = proposal_message(chain, height, round, valid_round, &block, &validator);
            ProposalStatement { block, valid_round, signature: SignatureBytes(key.sign(&message).to_bytes()) }
        };
        let statements = [statement(9, None), statement(4, Some(0))];
        Evidence::Proposals { validator, height, round, statements }.sorted()
    }

    const CHAIN: ChainId = ChainId([7; 32]);

    fn key() -> SigningKey {
        SigningKey::from([3; 32])
    }

    #[test]
    fn contradictions_are_shown_and_encode_in_one_way() {
        for evidence in [double_vote(&CHAIN, &key(), 8), double_proposal(&CHAIN, &key())] {
            assert_eq!(evidence.verify(&CHAIN), Ok(()));
            let encoding = codec::encode(&evidence);
            assert_eq!(codec::decode_strict::<Evidence>(&encoding, 1_000), Ok(evidence.clone()));
            assert!(matches!(
                evidence.verify(&ChainId([8; 32])),
                Err(EvidenceRejection::BadSignature { index: 0, .. })
            ));
        }
    }

    #[test]
    fn whoever_says_one_thing_is_not_guilty() {
        let Evidence::Votes { validator, height, round, kind, statements: [none, some] } =
            double_vote(&CHAIN, &key(), 8)
        else {
            unreachable!()
        };
        let of = |statements| Evidence::Votes { validator, height, round, kind, statements };
        let same = Err(EvidenceRejection::NoContradiction { validator, height });
        assert_eq!(of([some, some]).verify(&CHAIN), same);
        assert_eq!(of([some, none]).verify(&CHAIN), same, "one order alone");
        let other_step =
            Evidence::Votes { validator, height, round, kind: VoteKind::Precommit, statements: [none, some] };
        assert!(matches!(other_step.verify(&CHAIN), Err(EvidenceRejection::BadSignature { index: 0, .. })));
        let mut forged = some;
        forged.block = Some(BlockId([6; 32]));
        assert_eq!(
            of([none, forged]).verify(&CHAIN),
            Err(EvidenceRejection::BadSignature { validator, height, index: 1 })
        );
    }

    #[test]
    fn a_block_names_each_offence_once_and_in_order() {
        let (one, two) = (double_vote(&CHAIN, &key(), 8), double_vote(&CHAIN, &key(), 9));
        assert_eq!(verify_all(&[one.clone(), two.clone()], &CHAIN), Ok(()));
        let not_ascending =
            |evidence: &[Evidence]| matches!(verify_all(evidence, &CHAIN), Err(EvidenceRejection::NotAscending { .. }));
        assert!(not_ascending(&[two.clone(), one.clone()]) && not_ascending(&[one.clone(), one.clone()]));
        let many: Vec<_> = (1..=EVIDENCE_MAX as u64 + 1).map(|height| double_vote(&CHAIN, &key(), height)).collect();
        assert_eq!(verify_all(&many, &CHAIN), Err(EvidenceRejection::TooMany { got: EVIDENCE_MAX + 1 }));
        assert_ne!(evidence_root(&[one]), evidence_root(&[two]));
        assert_eq!(evidence_root(&[]), [0; 32]);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(evidence) = codec::decode_strict::<Evidence>(&bytes, 1_000) {
                let _ = evidence.verify(&CHAIN);
            }
        }

        #[test]
        fn a_flipped_bit_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut encoding = codec::encode(&double_vote(&CHAIN, &key(), 8));
            let place = at.index(encoding.len());
            encoding[place] ^= 1 << bit;
            if let Ok(evidence) = codec::decode_strict::<Evidence>(&encoding, 1_000) {
                prop_assert!(evidence.verify(&CHAIN).is_err());
            }
        }
    }
}
