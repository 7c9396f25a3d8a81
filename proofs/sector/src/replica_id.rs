//! The replica id: one hash that binds a replica to prover, sector, time and data (`spec/proofs.md` 1.5).

use cairn_protocol::{CommD, PorepId, ProverId, ReplicaId, SectorNumber, Ticket};

use crate::sha256::hash_truncated;

/// SHA-256 over prover id, sector number (u64 BE), ticket, CommD and porep id, cut to 254 bits.
pub fn replica_id(
    prover_id: &ProverId,
    sector_number: SectorNumber,
    ticket: &Ticket,
    comm_d: &CommD,
    porep_id: &PorepId,
) -> ReplicaId {
    let number = sector_number.0.to_be_bytes();
    let parts: [&[u8]; 5] = [prover_id.as_bytes(), &number, ticket.as_bytes(), comm_d.as_bytes(), porep_id.as_bytes()];
    ReplicaId(hash_truncated(parts))
}
