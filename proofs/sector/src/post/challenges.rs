//! Which sector wins, and which leaves are opened.

use cairn_protocol::params::{WINDOW_POST_CHALLENGES, WINNING_POST_CHALLENGES};
use cairn_protocol::{PostRandomness, ProverId, SectorNumber};

use super::{PostKind, PostStatement};
use crate::sha256::{Sha256Digest, truncate_254};

/// Leaves opened in one sector.
pub fn challenges_per_sector(kind: PostKind) -> usize {
    match kind {
        PostKind::Window => WINDOW_POST_CHALLENGES,
        PostKind::Winning => WINNING_POST_CHALLENGES,
    }
}

/// The leaves to open in `sector`, in order.
pub fn leaves(statement: &PostStatement, sector: SectorNumber) -> Vec<u64> {
    (0..challenges_per_sector(statement.kind) as u64)
        .map(|index| leaf(&statement.randomness, sector, index, statement.sector_size.nodes()))
        .collect()
}

/// Leaf challenge number `index` of a sector.
pub fn leaf(randomness: &PostRandomness, sector: SectorNumber, index: u64, nodes: u64) -> u64 {
    let randomness = truncate_254(randomness.0);
    first_u64([&randomness[..], &sector.0.to_le_bytes(), &index.to_le_bytes()]) % nodes
}

/// Position, among `sectors` sectors, of the one that a winning proof is made for.
///
/// # Panics
/// If there are no sectors.
pub fn winning_sector(randomness: &PostRandomness, prover_id: &ProverId, index: u64, sectors: u64) -> u64 {
    let randomness = truncate_254(randomness.0);
    first_u64([&prover_id.0[..], &randomness, &index.to_le_bytes()]) % sectors
}

fn first_u64<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let digest = Sha256Digest::of(parts).0;
    u64::from_le_bytes(digest[..8].try_into().expect("eight of 32 bytes"))
}
