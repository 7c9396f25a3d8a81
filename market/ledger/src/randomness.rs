//! What provider and ledger derive from the beacon: tickets, seeds, PoSt challenges, tie-breaks.
//!
//! `SHA256(tag length || tag || beacon || epoch u64 BE || provider u64 BE)`, one tag per use, so that no value serves
//! two. Results that enter a circuit are field elements: the two top bits of the last byte (little-endian) are cleared.

use cairn_protocol::{Epoch, PostRandomness, ProviderId, Seed, Ticket};
use sha2::{Digest, Sha256};

use crate::ids::{Address, Beacon, OrderId};
use crate::jobs::JobId;

const TAG_TICKET: &[u8] = b"cairn/randomness/ticket/v1";
const TAG_SEED: &[u8] = b"cairn/randomness/seed/v1";
const TAG_POST: &[u8] = b"cairn/randomness/window-post/v1";
const TAG_TIE: &[u8] = b"cairn/randomness/assignment/v1";
const TAG_JOB: &[u8] = b"cairn/randomness/job/v1";

fn derive(tag: &[u8], beacon: &Beacon, epoch: Epoch, provider: ProviderId, extra: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([tag.len() as u8]);
    hash.update(tag);
    hash.update(beacon.0);
    hash.update(epoch.0.to_be_bytes());
    hash.update(provider.0.to_be_bytes());
    hash.update(extra);
    hash.finalize().into()
}

fn field_element(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes[31] &= 0x3f;
    bytes
}

/// The sealing ticket of `provider` from the beacon of `epoch`.
pub fn ticket(beacon: &Beacon, epoch: Epoch, provider: ProviderId) -> Ticket {
    Ticket(field_element(derive(TAG_TICKET, beacon, epoch, provider, &[])))
}

/// The interactive PoRep seed of `provider` from the beacon of `epoch`.
pub fn seed(beacon: &Beacon, epoch: Epoch, provider: ProviderId) -> Seed {
    Seed(field_element(derive(TAG_SEED, beacon, epoch, provider, &[])))
}

/// The window-PoSt randomness of `provider` from the beacon of a deadline's challenge epoch.
pub fn post_randomness(beacon: &Beacon, challenge_epoch: Epoch, provider: ProviderId) -> PostRandomness {
    PostRandomness(field_element(derive(TAG_POST, beacon, challenge_epoch, provider, &[])))
}

/// Decides between equal bids: the lower value wins.
pub fn tie_break(beacon: &Beacon, epoch: Epoch, provider: ProviderId, order: OrderId) -> [u8; 32] {
    derive(TAG_TIE, beacon, epoch, provider, &order.0.to_be_bytes())
}

/// Decides between equal bids on a proof job: the lower value wins.
pub fn job_tie_break(beacon: &Beacon, epoch: Epoch, job: JobId, worker: Address) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update([TAG_JOB.len() as u8]);
    hash.update(TAG_JOB);
    hash.update(beacon.0);
    hash.update(epoch.0.to_be_bytes());
    hash.update(job.0.to_be_bytes());
    hash.update(worker.0);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_separate_and_field_elements() {
        let beacon = Beacon([0xff; 32]);
        let ticket = ticket(&beacon, Epoch(5), ProviderId(1));
        let seed = seed(&beacon, Epoch(5), ProviderId(1));
        let post = post_randomness(&beacon, Epoch(5), ProviderId(1));
        assert_ne!(ticket.0, seed.0);
        assert_ne!(seed.0, post.0);
        for value in [ticket.0, seed.0, post.0] {
            assert_eq!(value[31] & 0xc0, 0);
        }
        assert_ne!(ticket, super::ticket(&beacon, Epoch(6), ProviderId(1)));
        assert_ne!(ticket, super::ticket(&beacon, Epoch(5), ProviderId(2)));
    }
}
