//! Both sides of a provider's word for the bytes that it sends: the signer that a gateway asks, and the client that holds it
//! to its word ([`cairn_ledger::served`]).
//!
//! 1. [`ProviderSigner`] signs for one provider of one ledger: as its owner, or with the owner's leave for some time.
//! 2. [`Word::read`] checks what came: the statement is about what was asked, about the bytes that came, and signed by the
//!    provider's owner, or with its leave. Otherwise the answer is as good as none.
//! 3. [`Word::hold`] compares it with a proof of what the piece has there. Either the bytes are right, or there is evidence for
//!    the ledger ([`WrongBytes`]).

use std::sync::OnceLock;

use cairn_content::group_root;
use cairn_gateway::{GroupClaim, GroupSigner, SignedGroup};
use cairn_ledger::served::{ServedGroup, SignedServedGroup, WrongBytes, WrongBytesRejection};
use cairn_ledger::{Address, ChainId, CodecRejection, SignedServingKey};
use cairn_protocol::piece_proof::GROUP_PADDED;
use cairn_protocol::{CommP, GROUP_BYTES, PaddedBytes, ProviderId};
use ed25519_consensus::SigningKey;

/// Signs for a provider what its gateway sends.
pub struct ProviderSigner {
    chain: ChainId,
    key: SigningKey,
    leave: Option<SignedServingKey>,
    provider: OnceLock<ProviderId>,
}

impl ProviderSigner {
    /// With the key of the provider's owner. Signs nothing until it knows for which provider.
    pub fn new(chain: ChainId, key: SigningKey) -> Self {
        Self { chain, key, leave: None, provider: OnceLock::new() }
    }

    /// With a key that has the leave of the provider's owner. Signs nothing that the leave does not cover.
    pub fn by_leave(chain: ChainId, key: SigningKey, leave: SignedServingKey) -> Self {
        Self { chain, key, leave: Some(leave), provider: OnceLock::from(leave.leave.provider) }
    }

    /// Says for which provider; once.
    pub fn signs_for(&self, provider: ProviderId) {
        // A second name changes nothing: what is signed is for one provider.
        let _ = self.provider.set(provider);
    }
}

impl GroupSigner for ProviderSigner {
    fn sign(&self, claim: &GroupClaim) -> Option<Vec<u8>> {
        let GroupClaim { piece, group, root, epoch, nonce } = *claim;
        let provider = *self.provider.get()?;
        let statement = ServedGroup { provider, piece, group, root, epoch, nonce };
        let signed = match self.leave {
            None => statement.sign(self.chain, &self.key),
            Some(leave) if leave.leave.covers(&statement) => statement.sign_by_leave(self.chain, &self.key, leave),
            Some(_) => return None,
        };
        Some(signed.encode())
    }
}

/// What was asked of a provider: everything that its statement must say, but the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedGroup {
    /// The ledger.
    pub chain: ChainId,
    /// Who owns the provider.
    pub owner: Address,
    /// What must be signed; its root is not looked at.
    pub statement: ServedGroup,
}

/// Why an answer is as good as none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WordRejection {
    /// Bytes that are no statement.
    #[error("the statement cannot be read: {0}")]
    Unreadable(#[from] CodecRejection),
    /// A statement about something else than what was asked.
    #[error("the statement is about {got:?}, asked was {asked:?}")]
    OtherGroup {
        /// What was asked, with the root of what came.
        asked: Box<ServedGroup>,
        /// What is signed.
        got: Box<ServedGroup>,
    },
    /// More bytes than a group of the piece has.
    #[error("{got} bytes came, a group of the piece has at most {most}")]
    TooManyBytes {
        /// Bytes of a group, at most.
        most: u64,
        /// Bytes that came.
        got: u64,
    },
    /// Signed for other bytes than those that came.
    #[error("the signed root is {signed}, the bytes that came have {got}: they are not signed")]
    OtherBytes {
        /// In the statement.
        signed: CommP,
        /// Of the bytes.
        got: CommP,
    },
    /// Not signed by the owner for this ledger, nor with its leave.
    #[error("the statement is not signed by {owner}, who owns {provider}, nor by a key with its leave for that epoch")]
    BadSignature {
        /// The provider.
        provider: ProviderId,
        /// Its owner.
        owner: Address,
    },
}

/// A provider's word for bytes that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    signed: SignedServedGroup,
}

impl Word {
    /// Checks an answer against what was asked.
    ///
    /// # Errors
    /// [`WordRejection`]: whatever came is not the provider's word for it.
    pub fn read(asked: &AskedGroup, answer: &SignedGroup) -> Result<Self, WordRejection> {
        let signed = SignedServedGroup::decode(&answer.statement)?;
        let (size, got) = (asked.statement.piece.size, answer.bytes.len() as u64);
        let group_padded = PaddedBytes(size.0.min(GROUP_PADDED));
        let most = group_padded.to_unpadded().0.min(GROUP_BYTES);
        if got > most {
            return Err(WordRejection::TooManyBytes { most, got });
        }
        let root = CommP(group_root(group_padded, &answer.bytes));
        let expected = ServedGroup { root: signed.statement.root, ..asked.statement };
        if signed.statement != expected {
            let asked = Box::new(ServedGroup { root, ..asked.statement });
            return Err(WordRejection::OtherGroup { asked, got: Box::new(signed.statement) });
        }
        if signed.statement.root != root {
            return Err(WordRejection::OtherBytes { signed: signed.statement.root, got: root });
        }
        if !signed.is_signed_by(asked.chain, asked.owner) {
            let (provider, owner) = (asked.statement.provider, asked.owner);
            return Err(WordRejection::BadSignature { provider, owner });
        }
        Ok(Self { signed })
    }

    /// Holds it against a proof of what the piece has at that group, encoded, from whomever: nothing if the bytes are right,
    /// evidence if they are wrong.
    ///
    /// # Errors
    /// [`WrongBytesRejection`] if the proof does not hold, or is about something else.
    pub fn hold(self, proof: Vec<u8>) -> Result<Option<WrongBytes>, WrongBytesRejection> {
        let evidence = WrongBytes { signed: self.signed, proof };
        match evidence.check_bytes() {
            Ok(()) => Ok(Some(evidence)),
            Err(WrongBytesRejection::BytesAreRight { .. }) => Ok(None),
            Err(rejection) => Err(rejection),
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_content::PieceGroups;
    use cairn_ledger::{ServingKey, address_of};
    use cairn_protocol::Epoch;
    use proptest::prelude::*;

    use super::*;

    const CHAIN: ChainId = ChainId([5; 32]);
    const PROVIDER: ProviderId = ProviderId(1_000);

    fn payload() -> Vec<u8> {
        (0..GROUP_BYTES + 1_000).map(|at| (at ^ (at >> 9)) as u8).collect()
    }

    /// What a gateway with this signer sends for a group of the payload, and what was asked of it.
    fn answered(payload: &[u8], group: u64, key: &SigningKey) -> (AskedGroup, SignedGroup) {
        let groups = PieceGroups::read(payload).unwrap().unwrap();
        let (piece, place) = (groups.commitment().info(), groups.shape().payload(group));
        let bytes = payload[place.start as usize..place.end as usize].to_vec();
        let root = CommP(group_root(groups.shape().group_padded(), &bytes));
        let (epoch, nonce) = (Epoch(7), 99);
        let signer = ProviderSigner::new(CHAIN, key.clone());
        let claim = GroupClaim { piece, group, root, epoch, nonce };
        assert_eq!(signer.sign(&claim), None, "for nobody yet");
        signer.signs_for(PROVIDER);
        signer.signs_for(ProviderId(2));
        let statement = ServedGroup { provider: PROVIDER, piece, group, root: CommP([0; 32]), epoch, nonce };
        let asked = AskedGroup { chain: CHAIN, owner: address_of(key), statement };
        (asked, SignedGroup { bytes, statement: signer.sign(&claim).unwrap() })
    }

    #[test]
    fn an_honest_word_holds_and_a_false_one_is_evidence() {
        let key = SigningKey::from([3; 32]);
        let payload = payload();
        let groups = PieceGroups::read(payload.as_slice()).unwrap().unwrap();
        for group in 0..2 {
            let byte = group * GROUP_BYTES;
            let proof = groups.prove(byte..byte + 1).unwrap().encode();
            let (asked, answer) = answered(&payload, group, &key);
            assert_eq!(Word::read(&asked, &answer).unwrap().hold(proof.clone()), Ok(None));
            // Bytes that are not those of the statement.
            let mut other = answer.clone();
            other.bytes[3] ^= 1;
            assert!(matches!(Word::read(&asked, &other), Err(WordRejection::OtherBytes { .. })));
            // A provider that signs for what it sends, and that is wrong.
            let root = CommP(group_root(groups.shape().group_padded(), &other.bytes));
            other.statement = ServedGroup { root, ..asked.statement }.sign(CHAIN, &key).encode();
            let word = Word::read(&asked, &other).unwrap();
            let evidence = word.clone().hold(proof.clone()).unwrap().expect("the bytes are wrong");
            assert_eq!(evidence.check_bytes(), Ok(()));
            let elsewhere = groups.prove((1 - group) * GROUP_BYTES..(1 - group) * GROUP_BYTES + 1).unwrap().encode();
            assert!(matches!(word.clone().hold(elsewhere), Err(WrongBytesRejection::OtherPlace { .. })));
            assert!(matches!(word.hold(vec![1, 2]), Err(WrongBytesRejection::BadProof { .. })));
        }
    }

    #[test]
    fn what_was_not_asked_or_not_signed_is_no_word() {
        let key = SigningKey::from([3; 32]);
        let payload = payload();
        let (asked, answer) = answered(&payload, 0, &key);
        for change in [
            |statement: &mut ServedGroup| statement.nonce += 1,
            |statement: &mut ServedGroup| statement.epoch.0 += 1,
            |statement: &mut ServedGroup| statement.group += 1,
            |statement: &mut ServedGroup| statement.provider.0 += 1,
            |statement: &mut ServedGroup| statement.piece.comm_p.0[0] ^= 1,
        ] {
            let mut asked = asked;
            change(&mut asked.statement);
            assert!(matches!(Word::read(&asked, &answer), Err(WordRejection::OtherGroup { .. })));
        }
        let stranger = AskedGroup { owner: address_of(&SigningKey::from([4; 32])), ..asked };
        assert!(matches!(Word::read(&stranger, &answer), Err(WordRejection::BadSignature { .. })));
        let elsewhere = AskedGroup { chain: ChainId([6; 32]), ..asked };
        assert!(matches!(Word::read(&elsewhere, &answer), Err(WordRejection::BadSignature { .. })));
        let mut long = answer.clone();
        long.bytes.push(0);
        assert!(matches!(Word::read(&asked, &long), Err(WordRejection::TooManyBytes { .. })));
        assert!(matches!(
            Word::read(&asked, &SignedGroup { statement: vec![0xff], ..answer }),
            Err(WordRejection::Unreadable(_))
        ));
    }

    #[test]
    fn a_key_with_leave_signs_until_the_leave_ends() {
        let (owner, key) = (SigningKey::from([3; 32]), SigningKey::from([8; 32]));
        let payload = payload();
        let (asked, answer) = answered(&payload, 0, &owner);
        let ServedGroup { piece, group, epoch, nonce, .. } = asked.statement;
        let root = CommP(group_root(PaddedBytes(GROUP_PADDED), &answer.bytes));
        let leave = ServingKey { provider: PROVIDER, key: address_of(&key), until: epoch }.sign(CHAIN, &owner);
        let signer = ProviderSigner::by_leave(CHAIN, key, leave);
        let claim = GroupClaim { piece, group, root, epoch, nonce };
        let answer = SignedGroup { statement: signer.sign(&claim).unwrap(), ..answer };
        assert!(Word::read(&asked, &answer).is_ok());
        let stranger = AskedGroup { owner: address_of(&SigningKey::from([4; 32])), ..asked };
        assert!(matches!(Word::read(&stranger, &answer), Err(WordRejection::BadSignature { .. })));
        assert_eq!(signer.sign(&GroupClaim { epoch: Epoch(epoch.0 + 1), ..claim }), None, "it has ended");
    }

    proptest! {
        #[test]
        fn foreign_statements_never_panic(statement in prop::collection::vec(any::<u8>(), 0..300)) {
            let key = SigningKey::from([3; 32]);
            let (asked, answer) = answered(&[7; 1_000], 0, &key);
            let foreign = SignedGroup { statement, ..answer };
            prop_assert!(Word::read(&asked, &foreign).is_err());
        }
    }
}
