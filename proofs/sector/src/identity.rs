//! What identifies a sector before anything is computed.

use cairn_protocol::{CommD, PorepId, ProverId, ReplicaId, SealProof, SectorNumber, SectorParams, SectorSize, Ticket};
use serde::{Deserialize, Serialize};

use crate::graph::Graph;
use crate::replica_id::replica_id;

/// Everything that, with the data, decides a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorIdentity {
    /// Sector size.
    pub sector_size: SectorSize,
    /// How it is sealed.
    pub seal_proof: SealProof,
    /// Which graph; [`SealProof::porep_id`] unless a test says otherwise.
    pub porep_id: PorepId,
    /// Who seals.
    pub prover_id: ProverId,
    /// The prover's number for the sector.
    pub sector_number: SectorNumber,
    /// Sealing randomness.
    pub ticket: Ticket,
}

impl SectorIdentity {
    /// Protocol parameters of this size and proof.
    pub fn params(&self) -> SectorParams {
        SectorParams::new(self.sector_size, self.seal_proof)
    }

    /// The replica id for this data.
    pub fn replica_id(&self, comm_d: &CommD) -> ReplicaId {
        replica_id(&self.prover_id, self.sector_number, &self.ticket, comm_d, &self.porep_id)
    }

    /// The graph of this sector.
    pub fn graph(&self) -> Graph {
        Graph::new(self.sector_size.nodes(), self.porep_id, self.seal_proof)
    }
}
