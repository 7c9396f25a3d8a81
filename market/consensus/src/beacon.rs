//! Where the randomness of an epoch comes from.

use std::fmt;

use cairn_ledger::Beacon;
use cairn_protocol::Epoch;
use sha2::{Digest, Sha256};

use crate::drand::{DrandError, DrandRejection, DrandRound};

/// What a beacon's randomness is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeaconGrade {
    /// Whoever runs the node can predict it: for development networks alone.
    Development,
    /// Nobody can predict or bias it.
    Production,
}

/// What a beacon is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeaconSlot {
    /// The block's height.
    pub epoch: Epoch,
    /// The block's time, in milliseconds since 1970.
    pub time_ms: u64,
    /// The beacon of the block before.
    pub previous: Beacon,
}

/// A source of public randomness. The same block has the same beacon for everybody, so that blocks can be checked.
pub trait BeaconSource: Send + Sync {
    /// What it is worth.
    fn grade(&self) -> BeaconGrade;

    /// The beacon of a block that is being made, and the drand round that shows it to others, if it needs showing.
    ///
    /// # Errors
    /// [`DrandError`] if it is not to be had now.
    fn draw(&self, slot: &BeaconSlot) -> Result<(Beacon, Option<DrandRound>), DrandError>;

    /// The beacon of a block that carries `shown`.
    ///
    /// # Errors
    /// [`BeaconRejection`] if that shows nothing.
    fn check(&self, slot: &BeaconSlot, shown: Option<&DrandRound>) -> Result<Beacon, BeaconRejection>;
}

/// Why what a block carries shows no beacon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BeaconRejection {
    /// A round is there and must not be, or the other way round.
    #[error("the block must carry {expected} drand round, it carries {got}")]
    Misplaced {
        /// `a` or `no`.
        expected: &'static str,
        /// `one` or `none`.
        got: &'static str,
    },
    /// Not the round of the block's time.
    #[error(transparent)]
    Drand(#[from] DrandRejection),
}

/// A hash chain from a secret in the genesis: `SHA-256(tag || secret || previous || epoch u64 BE)`. It is as random as
/// its secret is unknown, which it is not: whoever holds the genesis computes every beacon to come.
#[derive(Clone)]
pub struct DevelopmentBeacon {
    secret: [u8; 32],
}

impl DevelopmentBeacon {
    /// The chain of this secret.
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    fn at(&self, slot: &BeaconSlot) -> Beacon {
        let mut hash = Sha256::new();
        hash.update(b"cairn/development-beacon/v1");
        hash.update(self.secret);
        hash.update(slot.previous.0);
        hash.update(slot.epoch.0.to_be_bytes());
        Beacon(hash.finalize().into())
    }
}

impl fmt::Debug for DevelopmentBeacon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DevelopmentBeacon")
    }
}

impl BeaconSource for DevelopmentBeacon {
    fn grade(&self) -> BeaconGrade {
        BeaconGrade::Development
    }

    fn draw(&self, slot: &BeaconSlot) -> Result<(Beacon, Option<DrandRound>), DrandError> {
        Ok((self.at(slot), None))
    }

    fn check(&self, slot: &BeaconSlot, shown: Option<&DrandRound>) -> Result<Beacon, BeaconRejection> {
        match shown {
            None => Ok(self.at(slot)),
            Some(_) => Err(BeaconRejection::Misplaced { expected: "no", got: "one" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(epoch: u64, previous: u8) -> BeaconSlot {
        BeaconSlot { epoch: Epoch(epoch), time_ms: 0, previous: Beacon([previous; 32]) }
    }

    #[test]
    fn the_chain_depends_on_everything() {
        let beacon = DevelopmentBeacon::new([1; 32]);
        let first = beacon.draw(&slot(1, 0)).unwrap().0;
        assert_eq!(beacon.check(&slot(1, 0), None), Ok(first));
        assert_ne!(beacon.check(&slot(2, 0), None), Ok(first));
        assert_ne!(beacon.check(&slot(1, 1), None), Ok(first));
        assert_ne!(DevelopmentBeacon::new([2; 32]).check(&slot(1, 0), None), Ok(first));
        assert!(!format!("{beacon:?}").contains("01"));
        let shown = DrandRound { round: 1, signature: [0; 48] };
        assert!(matches!(beacon.check(&slot(1, 0), Some(&shown)), Err(BeaconRejection::Misplaced { .. })));
    }
}
