//! What a provider signs about the bytes that it serves, and what it costs if they are wrong.
//!
//! A piece is cut into groups of about a megabyte ([`cairn_protocol::piece_proof`]). Whoever fetches one may ask the provider
//! to sign what it sends ([`ServedGroup`]): the root of the tree over the bytes of the group. That root is a node of the
//! piece's own tree, or the bytes are wrong. So it takes no bytes to convict: the signed statement, and a proof that CommP has
//! another node at that place ([`WrongBytes`], 1.3 kB at most), which whoever has the piece can make.
//!
//! # Rules
//! 1. *Signed*: by the owner of the provider that is named, or by a key with its leave ([`crate::serving_key`]), for this chain.
//! 2. *Recent*: of the last [`ServingRules::statement_epochs`] epochs, none to come. Who asks names the epoch.
//! 3. *Once*: a provider pays for a group of a piece once in that time, however often it signed for it. So no statement is
//!    used twice, and one bad disk does not cost everything.
//! 4. *Wrong*: the proof is about this group alone, of a piece of this size, leads to CommP, and has another root.
//! 5. *Price*: [`ServingRules::wrong_bytes_bp`] of the collateral; [`ServingRules::reporter_bp`] of that is the reporter's, the
//!    rest is burnt. The reputation falls to nothing; checkers may find it better again.
//!
//! A deal is not asked for: who signs vouches for the bytes, whoever paid for them, also after a deal has ended.
//!
//! # Why the honest cannot be slashed
//! With the size given, a group has one place in the tree, and CommP fixes what is there, as far as SHA-256 does. Who signs
//! nothing but roots of the true bytes has signed nothing that differs from it; what others sign is not theirs, unless they
//! gave them leave.
//!
//! # Who can profit from what
//! - *Reporting oneself*, by a second account, burns more than it brings: the reporter's share is less than half.
//! - *Signing true roots and sending other bytes*: the client hashes what came, and an answer whose bytes do not give the
//!   signed root is an answer without a signature. It can leave; it has proven nothing.
//! - *Not signing at all* cannot be punished, no more than not answering.
//! - *Leaving first*: collateral is there for as long as something is stored ([`crate::Command::WithdrawCollateral`]); a
//!   provider with nothing open may take it all, and then has nothing to lose.
//! - *Reporting what another found*: evidence in a transaction that waits can be copied; who is first in a block is paid.

use cairn_protocol::{Amount, CommP, Epoch, PaddedBytes, PieceInfo, ProviderId, RangeProof, RangeProofRejection};
use ed25519_consensus::SigningKey;
use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::codec;
use crate::emission::WHOLE_BP;
use crate::ids::{Address, ChainId};
use crate::invariants::InvariantViolation;
use crate::params::ParamsRejection;
use crate::queue::Due;
use crate::serving_key::SignedServingKey;
use crate::state::State;
use crate::transaction::SignatureBytes;

/// Most bytes of a signed statement's encoding.
pub const STATEMENT_BYTES_MAX: usize = 512;

/// Most bytes of the proof that convicts: one group of a piece of 64 GiB, 16 levels below its root.
pub const PROOF_BYTES_MAX: usize = 1_024;

/// What wrong bytes cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServingRules {
    /// Epochs for which a statement can be held against its signer.
    pub statement_epochs: u64,
    /// Of the collateral, for each group, in basis points; 0: wrong bytes cost nothing.
    pub wrong_bytes_bp: u32,
    /// Of that, what the reporter gets, in basis points; less than half. The rest is burnt.
    pub reporter_bp: u32,
}

impl ServingRules {
    /// A tenth of the collateral, a fifth of it for the reporter, who has so many epochs for it.
    pub const fn within(statement_epochs: u64) -> Self {
        Self { statement_epochs, wrong_bytes_bp: 1_000, reporter_bp: 2_000 }
    }

    /// Checks that the numbers fit each other.
    ///
    /// # Errors
    /// [`ParamsRejection`] names the first that does not.
    pub fn validate(&self) -> Result<(), ParamsRejection> {
        let check = |holds, name, got, rule| if holds { Ok(()) } else { Err(ParamsRejection { name, got, rule }) };
        let Self { statement_epochs, wrong_bytes_bp, reporter_bp } = *self;
        let epochs = (1..=1 << 40).contains(&statement_epochs);
        check(epochs, "serving.statement_epochs", statement_epochs, "must be at least 1 and at most 2^40")?;
        let part = wrong_bytes_bp.into();
        check(wrong_bytes_bp <= WHOLE_BP, "serving.wrong_bytes_bp", part, "must be at most 10,000 basis points")?;
        let reporter = u64::from(reporter_bp);
        let rule = "must be less than half: who reports itself must not gain";
        check(reporter * 2 < u64::from(WHOLE_BP), "serving.reporter_bp", reporter, rule)
    }
}

/// What a provider says about a group of a piece that it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedGroup {
    /// Who serves.
    pub provider: ProviderId,
    /// Of which piece, and how large that is.
    pub piece: PieceInfo,
    /// Which group of it, from 0 on.
    pub group: u64,
    /// Root of the tree over the group's bytes, as they were sent: its CommP, if it were a piece by itself.
    pub root: CommP,
    /// When, as the client says: until `statement_epochs` after it the statement counts.
    pub epoch: Epoch,
    /// Chosen by the client, so that it knows the answer as its own.
    pub nonce: u64,
}

/// The same, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedServedGroup {
    /// What is signed.
    pub statement: ServedGroup,
    /// The signer's leave, unless it is the owner of `statement.provider`.
    pub serving_key: Option<SignedServingKey>,
    /// By the owner, or the key that has its leave.
    pub signature: SignatureBytes,
}

impl Claim for ServedGroup {
    const TAG: &'static [u8] = b"cairn/served-group/v1\0";
}

impl ServedGroup {
    /// Signs with the key of the provider's owner.
    pub fn sign(self, chain: ChainId, key: &SigningKey) -> SignedServedGroup {
        SignedServedGroup { statement: self, serving_key: None, signature: self.signature(chain, key) }
    }

    /// Signs with a key that has the owner's leave.
    pub fn sign_by_leave(self, chain: ChainId, key: &SigningKey, leave: SignedServingKey) -> SignedServedGroup {
        SignedServedGroup { serving_key: Some(leave), ..self.sign(chain, key) }
    }
}

impl SignedServedGroup {
    /// Whether `owner` signed it for `chain`, or a key to which it gave leave for that.
    pub fn is_signed_by(&self, chain: ChainId, owner: Address) -> bool {
        let signer = match &self.serving_key {
            None => owner,
            Some(key) if key.leave.covers(&self.statement) && key.is_signed_by(chain, owner) => key.leave.key,
            Some(_) => return false,
        };
        self.statement.is_signed(chain, &self.signature, signer)
    }

    /// The form that travels beside the bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads it; whose signature it is is not checked.
    ///
    /// # Errors
    /// [`codec::CodecRejection`] for anything but what [`SignedServedGroup::encode`] gives.
    pub fn decode(bytes: &[u8]) -> Result<Self, codec::CodecRejection> {
        codec::decode_strict(bytes, STATEMENT_BYTES_MAX)
    }
}

/// Evidence that a provider signed for wrong bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrongBytes {
    /// What it signed.
    pub signed: SignedServedGroup,
    /// A [`RangeProof`] for the one group, encoded: what is there.
    #[serde(with = "serde_bytes")]
    pub proof: Vec<u8>,
}

/// Why evidence does not convict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields are named in the message")]
pub enum WrongBytesRejection {
    /// Somebody else's word, or for another chain.
    #[error("the statement is not signed by {owner}, who owns {provider}, nor by a key with its leave for that epoch")]
    NotSigned { provider: ProviderId, owner: Address },
    /// Too old, or not of now.
    #[error("the statement is of epoch {got}, must be {oldest} to {now}")]
    NotRecent { got: Epoch, oldest: Epoch, now: Epoch },
    /// Paid for.
    #[error("{provider} paid for group {group} of {piece} at epoch {at}")]
    PaidFor { provider: ProviderId, piece: CommP, group: u64, at: Epoch },
    /// A proof that is none.
    #[error("the proof does not hold: {problem}")]
    BadProof { problem: String },
    /// A proof about something else.
    #[error(
        "the proof is about groups {first} to {last} of a piece of {size}, the statement about group {group} of {expected}"
    )]
    OtherPlace { group: u64, expected: PaddedBytes, first: u64, last: u64, size: PaddedBytes },
    /// The bytes are those of the piece.
    #[error("the bytes that {provider} signed for are those of the piece")]
    BytesAreRight { provider: ProviderId },
    /// Nothing to take.
    #[error("{provider} has {collateral} of collateral, too little to lose a part of")]
    NothingToTake { provider: ProviderId, collateral: Amount },
}

impl From<RangeProofRejection> for WrongBytesRejection {
    fn from(rejection: RangeProofRejection) -> Self {
        Self::BadProof { problem: rejection.to_string() }
    }
}

impl WrongBytes {
    /// Rule 4: whether the piece has something else at that place. A client asks this before it pays for a transaction.
    ///
    /// # Errors
    /// [`WrongBytesRejection`] if the proof does not hold, is about something else, or the bytes are right.
    pub fn check_bytes(&self) -> Result<(), WrongBytesRejection> {
        let ServedGroup { provider, piece, group, root, .. } = self.signed.statement;
        if self.proof.len() > PROOF_BYTES_MAX {
            let problem = format!("{} bytes, the proof of one group has at most {PROOF_BYTES_MAX}", self.proof.len());
            return Err(WrongBytesRejection::BadProof { problem });
        }
        let proof = RangeProof::decode(&self.proof)?;
        let (groups, size) = (proof.groups(), proof.shape().padded());
        if groups != (group..group.saturating_add(1)) || size != piece.size {
            let (first, last) = (groups.start, groups.end - 1);
            return Err(WrongBytesRejection::OtherPlace { group, expected: piece.size, first, last, size });
        }
        match proof.verify(&piece.comm_p)?.root(group) {
            Some(found) if found != root.0 => Ok(()),
            _ => Err(WrongBytesRejection::BytesAreRight { provider }),
        }
    }
}

/// A group for which a provider has paid; kept while statements about it could come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaidGroup {
    /// When it paid.
    pub at: Epoch,
    /// Whose evidence it was.
    pub reporter: Address,
    /// What it lost.
    pub taken: Amount,
}

/// A group of a piece of a provider.
pub type GroupKey = (ProviderId, CommP, u64);

/// Reading.
impl State {
    /// Whether evidence convicts, and what its provider loses: all rules, in the epoch after this one or any other.
    ///
    /// # Errors
    /// [`WrongBytesRejection`] names the first rule that it fails; nothing is said of a provider that does not exist.
    pub fn check_wrong_bytes(&self, evidence: &WrongBytes, now: Epoch) -> Result<Option<Amount>, WrongBytesRejection> {
        let ServedGroup { provider, piece, group, epoch: got, .. } = evidence.signed.statement;
        let Some(record) = self.provider(provider) else { return Ok(None) };
        if !evidence.signed.is_signed_by(self.chain(), record.owner) {
            return Err(WrongBytesRejection::NotSigned { provider, owner: record.owner });
        }
        let rules = self.params().serving;
        let oldest = Epoch(now.0.saturating_sub(rules.statement_epochs));
        if got < oldest || got > now {
            return Err(WrongBytesRejection::NotRecent { got, oldest, now });
        }
        if let Some(paid) = self.paid_groups.get(&(provider, piece.comm_p, group)) {
            return Err(WrongBytesRejection::PaidFor { provider, piece: piece.comm_p, group, at: paid.at });
        }
        evidence.check_bytes()?;
        let collateral = record.collateral;
        let taken = crate::emission::part_of(collateral, rules.wrong_bytes_bp);
        if taken.is_zero() {
            return Err(WrongBytesRejection::NothingToTake { provider, collateral });
        }
        Ok(Some(taken))
    }

    /// Groups for which a provider has paid, from one on, ascending; for a while.
    pub fn paid_groups_from(
        &self,
        provider: ProviderId,
        first: (CommP, u64),
    ) -> impl Iterator<Item = ((CommP, u64), &PaidGroup)> {
        let groups = self.paid_groups.iter_from(&(provider, first.0, first.1));
        let own = groups.take_while(move |((of, _, _), _)| *of == provider);
        own.map(|((_, piece, group), paid)| ((*piece, *group), paid))
    }

    /// Every group that was paid for is forgotten one day.
    pub(crate) fn check_paid_groups(&self) -> Result<(), InvariantViolation> {
        let kept = self.params().serving.statement_epochs;
        self.paid_groups.iter().try_for_each(|(&(provider, piece, group), paid)| {
            self.queued(paid.at.0 + kept + 1, Due::ForgetPaidGroup(provider, piece, group))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving_key::ServingKey;
    use crate::transaction::address_of;

    #[test]
    fn the_rules_of_a_network_cannot_make_reporting_oneself_pay() {
        let broken = |change: fn(&mut ServingRules)| {
            let mut rules = ServingRules::within(100);
            assert_eq!(rules.validate(), Ok(()));
            change(&mut rules);
            rules.validate().unwrap_err().name
        };
        assert_eq!(broken(|rules| rules.statement_epochs = 0), "serving.statement_epochs");
        assert_eq!(broken(|rules| rules.wrong_bytes_bp = 10_001), "serving.wrong_bytes_bp");
        assert_eq!(broken(|rules| rules.reporter_bp = 5_000), "serving.reporter_bp");
        let all = ServingRules { statement_epochs: 1, wrong_bytes_bp: 10_000, reporter_bp: 4_999 };
        assert_eq!(all.validate(), Ok(()));
    }

    #[test]
    fn the_widest_statement_and_the_longest_proof_fit() {
        let key = SigningKey::from([4; 32]);
        let piece = PieceInfo { comm_p: CommP([0xff; 32]), size: PaddedBytes(u64::MAX) };
        let (provider, epoch) = (ProviderId(u64::MAX), Epoch(u64::MAX));
        let widest = ServedGroup { provider, piece, group: u64::MAX, root: CommP([0xff; 32]), epoch, nonce: u64::MAX };
        let leave = ServingKey { provider, key: address_of(&key), until: epoch }.sign(ChainId([9; 32]), &key);
        let bytes = widest.sign_by_leave(ChainId([9; 32]), &key, leave).encode();
        assert!(bytes.len() <= STATEMENT_BYTES_MAX, "{}", bytes.len());
        assert!(SignedServedGroup::decode(&bytes).is_ok());
        let largest = cairn_protocol::piece_proof::PieceShape::of(PaddedBytes(64 << 30).to_unpadded().0).unwrap();
        let proof = RangeProof::assemble(largest, 5, vec![[0; 32]], |_, _| [0; 32]).encode();
        assert!(proof.len() <= PROOF_BYTES_MAX, "{}", proof.len());
    }
}
