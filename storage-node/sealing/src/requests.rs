//! What a provider asks of the ledger, as commands. One home for them, wherever the ledger is.

use cairn_ledger::{Command, LedgerParams, OrderId, PreCommit, SectorCommand, SectorUpdate};
use cairn_protocol::{Amount, CommR, Epoch, ProviderId, SectorNumber};

use crate::ledger_client::PostDuty;
use crate::state::{Assignment, Sealed, SectorPiece};

/// A command, and what to call it in errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub what: &'static str,
    /// The command.
    pub command: Command,
}

/// End of a sector that is announced after `head`: its deals, the longest of `longest` epochs, fit into it wherever in
/// their windows they start, and one proving period is to spare.
pub fn expiration(params: &LedgerParams, head: Epoch, longest: Option<u64>) -> Epoch {
    let life = params.sector_epochs_min(longest.unwrap_or(params.deal_epochs_min));
    let life = life.saturating_add(params.proving_period()).min(params.sector_epochs_max);
    Epoch(head.0.saturating_add(life))
}

/// A bid on an order.
pub fn bid(provider: ProviderId, order: OrderId, price_per_epoch: Amount) -> Request {
    Request { what: "bid", command: Command::PlaceBid { provider, order, price_per_epoch } }
}

/// The announcement of a replica.
pub fn pre_commit(provider: ProviderId, assignment: &Assignment, sealed: &Sealed, expiration: Epoch) -> Request {
    let pre_commit = PreCommit {
        provider,
        sector: assignment.sector,
        seal_proof: assignment.seal_proof,
        comm_r: sealed.comm_r,
        comm_d: sealed.inputs.comm_d,
        ticket_epoch: sealed.inputs.ticket_epoch,
        expiration,
        deals: assignment.deals(),
    };
    Request { what: "pre-commit", command: Command::PreCommit(pre_commit) }
}

/// A proof of replication, with the piece manifest.
pub fn prove_commit(provider: ProviderId, assignment: &Assignment, proof: Vec<u8>) -> Request {
    let pieces = SectorPiece::manifest(&assignment.pieces);
    Request {
        what: "prove-commit",
        command: Command::ProveCommit { provider, sector: assignment.sector, pieces, proof },
    }
}

/// New data for a sector of zeros, with its proof.
pub fn update(
    provider: ProviderId,
    sector: SectorNumber,
    pieces: &[SectorPiece],
    comm_r: CommR,
    proof: Vec<u8>,
) -> Request {
    let update = SectorUpdate { provider, sector, comm_r, pieces: SectorPiece::manifest(pieces), proof };
    Request { what: "sector update", command: Command::Sector(SectorCommand::Update(update)) }
}

/// A proof of spacetime.
pub fn window_post(provider: ProviderId, duty: &PostDuty, proof: Vec<u8>) -> Request {
    let command = Command::SubmitWindowPost {
        provider,
        deadline: duty.deadline,
        partition: duty.partition,
        challenge_epoch: duty.challenge_epoch,
        proof,
        skipped: Vec::new(),
    };
    Request { what: "window PoSt", command }
}

/// Sectors (ascending) that leave the next proofs.
pub fn faults(provider: ProviderId, sectors: &[SectorNumber]) -> Request {
    let command = Command::DeclareFaults { provider, sectors: sectors.to_vec() };
    Request { what: "declaration of faults", command }
}

/// Repaired sectors (ascending) for the next proofs.
pub fn recovery(provider: ProviderId, sectors: &[SectorNumber]) -> Request {
    let command = Command::DeclareRecovery { provider, sectors: sectors.to_vec() };
    Request { what: "declaration of recovery", command }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_outlives_its_longest_deal_and_never_the_ledgers_bound() {
        let params = LedgerParams::devnet();
        let end = |longest| expiration(&params, Epoch(7), longest).0 - 7;
        assert_eq!(end(None), end(Some(params.deal_epochs_min)));
        assert_eq!(end(Some(5_000)), params.sector_epochs_min(5_000) + params.proving_period());
        assert_eq!(end(Some(params.sector_epochs_max - params.sector_epochs_min(0))), params.sector_epochs_max);
    }
}
