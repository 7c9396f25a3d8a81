//! Where the randomness of an epoch comes from.

use std::fmt;

use cairn_ledger::Beacon;
use cairn_protocol::Epoch;
use sha2::{Digest, Sha256};

/// What a beacon's randomness is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeaconGrade {
    /// Whoever runs the node can predict it: for development networks alone.
    Development,
    /// Nobody can predict or bias it.
    Production,
}

/// A source of public randomness. The same arguments give the same beacon, so that blocks can be checked.
pub trait BeaconSource: Send + Sync {
    /// What it is worth.
    fn grade(&self) -> BeaconGrade;
    /// The beacon of `epoch`, which follows the one of the block before.
    fn beacon(&self, epoch: Epoch, previous: &Beacon) -> Beacon;
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

    fn beacon(&self, epoch: Epoch, previous: &Beacon) -> Beacon {
        let mut hash = Sha256::new();
        hash.update(b"cairn/development-beacon/v1");
        hash.update(self.secret);
        hash.update(previous.0);
        hash.update(epoch.0.to_be_bytes());
        Beacon(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_depends_on_everything() {
        let beacon = DevelopmentBeacon::new([1; 32]);
        let first = beacon.beacon(Epoch(1), &Beacon([0; 32]));
        assert_eq!(first, beacon.beacon(Epoch(1), &Beacon([0; 32])));
        assert_ne!(first, beacon.beacon(Epoch(2), &Beacon([0; 32])));
        assert_ne!(first, beacon.beacon(Epoch(1), &Beacon([1; 32])));
        assert_ne!(first, DevelopmentBeacon::new([2; 32]).beacon(Epoch(1), &Beacon([0; 32])));
        assert!(!format!("{beacon:?}").contains("01"));
    }
}
