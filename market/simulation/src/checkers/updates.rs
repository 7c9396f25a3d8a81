//! New data in sealed sectors.

use std::collections::BTreeSet;

use cairn_ledger::testing::HashVerifier;
use cairn_ledger::{
    Command, Event, ProofClaim, ProofStatement, ProofVerifier, SectorCommand, SectorEvent, SectorUpdate,
    SectorUpdateStatement, State,
};
use cairn_protocol::{PieceInfo, ProviderId, SectorNumber};

use super::Checker;
use crate::observation::Observation;

/// See [`super::PROMISES`].
pub struct UpdatesAreProven {
    updated: BTreeSet<(ProviderId, SectorNumber)>,
}

impl UpdatesAreProven {
    pub(super) fn new(_: &State) -> Self {
        Self { updated: BTreeSet::new() }
    }

    fn updated(&mut self, update: &SectorUpdate, seen: &Observation) -> Result<(), String> {
        let SectorUpdate { provider, sector, comm_r, pieces, proof } = update;
        if !self.updated.insert((*provider, *sector)) {
            return Err(format!("sector {sector} of {provider} is updated twice"));
        }
        let (Some(before), Some(owned)) = (seen.before.sector(*provider, *sector), seen.before.provider(*provider))
        else {
            return Err(format!("sector {sector} of {provider} is updated and was not there"));
        };
        if !before.deals.is_empty() {
            return Err(format!("sector {sector} of {provider} held deals and is updated"));
        }
        let infos: Vec<PieceInfo> = pieces.iter().map(|entry| entry.piece).collect();
        let comm_d = HashVerifier.comm_d(owned.sector_size, &infos).map_err(|rejection| rejection.to_string())?;
        let statement = ProofStatement::SectorUpdate(SectorUpdateStatement {
            sector_size: owned.sector_size,
            comm_r_old: before.comm_r,
            comm_d_new: comm_d,
            comm_r_new: *comm_r,
        });
        HashVerifier
            .verify(&ProofClaim { statement, proof })
            .map_err(|_| format!("sector {sector}: proves nothing"))?;
        let kept = seen.after.sector(*provider, *sector).map(|record| (record.comm_r, record.comm_d));
        match kept {
            Some(kept) if kept != (*comm_r, comm_d) => Err(format!("sector {sector} keeps other commitments")),
            _ => Ok(()),
        }
    }
}

impl Checker for UpdatesAreProven {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        for (offer, receipt) in seen.receipts() {
            for event in &receipt.events {
                let Event::Sector(SectorEvent::Updated { .. }) = event else { continue };
                match &offer.signed.transaction.command {
                    Command::Sector(SectorCommand::Update(update)) => self.updated(update, seen)?,
                    other => return Err(format!("a sector is updated by {other:?}")),
                }
            }
        }
        Ok(())
    }
}
