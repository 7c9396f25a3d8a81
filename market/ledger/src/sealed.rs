//! Commit and reveal: what is decided now and shown later.
//!
//! Source: `spec/market.md` 4 (sealed bids) and 6 (weights). A commitment is
//! `SHA-256(tag length u8 || tag || chain || sender || salt || SHA-256(canonical DAG-CBOR of what is sealed))`:
//!
//! - the tag keeps a commitment to one kind of thing from being revealed as another ([`SealedUse`]);
//! - the chain and the sender keep it from being copied: somebody else's commitment cannot be revealed by me;
//! - the salt, 32 random bytes, keeps it from being guessed while the choices are few. A sender who picks a poor salt
//!   shows its own hand, nobody else's.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::codec;
use crate::ids::{Address, ChainId, Commitment, Salt};

/// What a commitment is for. Tags never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedUse {
    /// A price for an order.
    Bid,
    /// A checker's opinions of a round.
    Opinions,
}

impl SealedUse {
    const fn tag(self) -> &'static [u8] {
        match self {
            Self::Bid => b"cairn/sealed/bid/v1",
            Self::Opinions => b"cairn/sealed/opinions/v1",
        }
    }
}

/// The commitment of `sender` on `chain` to `sealed`.
pub fn commitment<T: Serialize + ?Sized>(
    purpose: SealedUse,
    chain: ChainId,
    sender: Address,
    sealed: &T,
    salt: &Salt,
) -> Commitment {
    let mut hash = Sha256::new();
    hash.update([purpose.tag().len() as u8]);
    hash.update(purpose.tag());
    hash.update(chain.0);
    hash.update(sender.0);
    hash.update(salt.0);
    hash.update(Sha256::digest(codec::encode(sealed)));
    Commitment(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_depends_on_everything() {
        let (chain, sender, salt) = (ChainId([1; 32]), Address([2; 32]), Salt([3; 32]));
        let own = commitment(SealedUse::Bid, chain, sender, &7u64, &salt);
        assert_eq!(own, commitment(SealedUse::Bid, chain, sender, &7u64, &salt));
        assert_ne!(own, commitment(SealedUse::Opinions, chain, sender, &7u64, &salt));
        assert_ne!(own, commitment(SealedUse::Bid, ChainId([9; 32]), sender, &7u64, &salt));
        assert_ne!(own, commitment(SealedUse::Bid, chain, Address([9; 32]), &7u64, &salt));
        assert_ne!(own, commitment(SealedUse::Bid, chain, sender, &8u64, &salt));
        assert_ne!(own, commitment(SealedUse::Bid, chain, sender, &7u64, &Salt([9; 32])));
    }
}
