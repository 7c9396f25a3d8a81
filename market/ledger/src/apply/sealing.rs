//! Pre-commit, prove-commit, and what happens when the second does not follow.

use cairn_protocol::{Amount, Epoch, PieceInfo, ProviderId, SectorNumber};

use super::{Step, ascending, in_range};
use crate::close::{CloseReason, Closure};
use crate::command::{ManifestPiece, PreCommit};
use crate::event::Event;
use crate::ids::DealId;
use crate::order::DealStatus;
use crate::proof::ProofStatement;
use crate::provider::Provider;
use crate::queue::Due;
use crate::rejection::Rejection;
use crate::sector::{Sector, SectorStatus};
use crate::treasury::Pot;

impl Step<'_> {
    pub(super) fn pre_commit(&mut self, announced: &PreCommit) -> Result<(), Rejection> {
        let PreCommit { provider, sector, .. } = *announced;
        self.committing_provider(provider)?;
        if self.state.sector(provider, sector).is_some() {
            return Err(Rejection::SectorExists { provider, sector });
        }
        let ticket_epoch = self.check_ticket_epoch(announced.ticket_epoch)?;
        let deal_epochs_longest = self.check_deals(announced)?;
        let (now, params) = (self.now(), self.state.meta.params.clone());
        let life = announced.expiration.since(now);
        in_range("life of the sector", life, params.sector_epochs_min(deal_epochs_longest), params.sector_epochs_max)?;
        self.state.lock(self.sender, Pot::SectorDeposits, params.sector_deposit)?;

        let seed_epoch = self.later(now, params.challenge_delay);
        let expires_at = self.later(seed_epoch, params.prove_commit_window);
        let record = Sector {
            seal_proof: announced.seal_proof,
            comm_r: announced.comm_r,
            comm_d: announced.comm_d,
            ticket_epoch,
            ticket: self.state.ticket(provider, ticket_epoch).expect("the beacon was checked"),
            pre_committed_at: now,
            seed_epoch,
            expiration: announced.expiration,
            deposit: params.sector_deposit,
            deals: announced.deals.clone(),
            status: SectorStatus::PreCommitted { expires_at },
        };
        self.state.sectors.insert((provider, sector), record);
        for deal in &announced.deals {
            self.bind_deal(*deal, sector);
        }
        self.add_obligations(provider, 1);
        self.state.schedule(expires_at, Due::PreCommitExpiry(provider, sector));
        self.emit(Event::SectorPreCommitted { provider, sector, seed_epoch, expires_at });
        Ok(())
    }

    fn check_ticket_epoch(&self, got: Epoch) -> Result<Epoch, Rejection> {
        let now = self.now();
        let oldest = Epoch(now.0.saturating_sub(self.state.meta.params.ticket_age_max).max(1));
        if got < oldest || got >= now || self.state.beacon(got).is_none() {
            return Err(Rejection::BadTicketEpoch { got, oldest, now });
        }
        Ok(got)
    }

    /// Checks that the deals wait for this provider; returns the duration of the longest, or the shortest possible one.
    fn check_deals(&self, announced: &PreCommit) -> Result<u64, Rejection> {
        let params = &self.state.meta.params;
        in_range("number of deals", announced.deals.len() as u64, 0, u64::from(params.sector_pieces_max))?;
        ascending("deals", &announced.deals)?;
        let mut longest = params.deal_epochs_min;
        for &deal in &announced.deals {
            longest = longest.max(self.waiting_deal(announced.provider, deal)?.duration_epochs);
        }
        Ok(longest)
    }

    fn bind_deal(&mut self, deal: DealId, sector: SectorNumber) {
        self.state.deals.update(&deal, |record| {
            if let DealStatus::Assigned { activate_by } = record.status {
                record.status = DealStatus::Bound { sector, activate_by };
            }
        });
    }

    fn unbind_deal(&mut self, deal: DealId) {
        self.state.deals.update(&deal, |record| {
            if let DealStatus::Bound { activate_by, .. } = record.status {
                record.status = DealStatus::Assigned { activate_by };
            }
        });
    }

    /// A pre-commit without proof: the deposit is burnt, its deals may go into another sector.
    pub(super) fn expire_pre_commit(&mut self, provider: ProviderId, number: SectorNumber, due_at: Epoch) -> u64 {
        let Some(mut record) = self.state.sector(provider, number).cloned() else { return 1 };
        if record.status != (SectorStatus::PreCommitted { expires_at: due_at }) {
            return 1;
        }
        let weight = 1 + record.deals.len() as u64;
        for deal in std::mem::take(&mut record.deals) {
            self.unbind_deal(deal);
        }
        let burnt = std::mem::take(&mut record.deposit);
        self.state.burn(Pot::SectorDeposits, burnt);
        self.close_sector(provider, number, record, CloseReason::PreCommitExpired, burnt);
        weight
    }

    /// Ends a sector without open deals, of which `burnt` was burnt; what is left of its deposit returns to the owner.
    pub(super) fn close_sector(
        &mut self,
        provider: ProviderId,
        number: SectorNumber,
        mut record: Sector,
        reason: CloseReason,
        burnt: Amount,
    ) {
        let deposit = std::mem::take(&mut record.deposit);
        self.state.release(Pot::SectorDeposits, self.owner_of(provider), deposit);
        let closure = Closure::new(reason, self.now());
        record.status = SectorStatus::Closed(closure.clone());
        self.state.sectors.insert((provider, number), record);
        self.end_obligation(provider);
        self.state.schedule(self.retained_until(), Due::ForgetSector(provider, number));
        self.emit(Event::SectorClosed { provider, sector: number, burnt, closure });
    }

    /// Steps: the sector waits and its seed is known; the manifest covers its deals; CommD of the manifest is the
    /// announced one; the proof holds; then the sector gets its place in the calendar and its deals start.
    pub(super) fn prove_commit(
        &mut self,
        provider: ProviderId,
        number: SectorNumber,
        manifest: &[ManifestPiece],
        proof: &[u8],
    ) -> Result<(), Rejection> {
        let (owned, record) = self.sector_to_prove(provider, number)?;
        self.check_manifest(&record, manifest)?;
        let pieces: Vec<PieceInfo> = manifest.iter().map(|entry| entry.piece).collect();
        let comm_d = self.verifier.comm_d(owned.sector_size, &pieces)?;
        if comm_d != record.comm_d {
            return Err(Rejection::WrongCommD { expected: record.comm_d, got: comm_d });
        }
        let statement = self.state.porep_statement(provider, number).expect("seeds outlive pre-commits");
        self.verify(ProofStatement::Porep(statement), proof)?;
        self.activate_sector(provider, &owned, number, record);
        Ok(())
    }

    /// The sender's provider and its sector, if that waits for a proof and its seed is known.
    pub(super) fn sector_to_prove(
        &self,
        provider: ProviderId,
        number: SectorNumber,
    ) -> Result<(Provider, Sector), Rejection> {
        let owned = self.owned_provider(provider)?;
        let unknown = Rejection::UnknownSector { provider, sector: number };
        let record = self.state.sector(provider, number).ok_or(unknown)?.clone();
        let SectorStatus::PreCommitted { expires_at } = record.status else {
            return Err(Rejection::NotPreCommitted { sector: number });
        };
        let (now, seed_epoch) = (self.now(), record.seed_epoch);
        if now >= expires_at {
            return Err(Rejection::NotPreCommitted { sector: number });
        }
        if now <= seed_epoch {
            return Err(Rejection::SeedNotReady { seed_epoch, now });
        }
        Ok((owned, record))
    }

    /// Each open deal of the sector stands in the manifest once, with its piece. Entries for deals that were closed
    /// since the pre-commit are data without a deal.
    fn check_manifest(&self, record: &Sector, manifest: &[ManifestPiece]) -> Result<(), Rejection> {
        let most = u64::from(self.state.meta.params.sector_pieces_max);
        in_range("number of pieces", manifest.len() as u64, 0, most)?;
        let mismatch = |deal, problem: &str| Rejection::ManifestMismatch { deal, problem: problem.to_owned() };
        let mut found = Vec::new();
        for entry in manifest {
            let Some(deal) = entry.deal else { continue };
            if !record.deals.contains(&deal) {
                if self.state.deal(deal).is_none_or(|other| other.is_closed()) {
                    continue;
                }
                return Err(mismatch(deal, "the deal was not pre-committed in this sector"));
            }
            if self.state.deal(deal).is_none_or(|bound| bound.piece.piece != entry.piece) {
                return Err(mismatch(deal, "the deal is for another piece"));
            }
            if found.contains(&deal) {
                return Err(mismatch(deal, "the deal stands there twice"));
            }
            found.push(deal);
        }
        match record.deals.iter().find(|deal| !found.contains(deal)) {
            Some(missing) => Err(mismatch(*missing, "the deal is missing")),
            None => Ok(()),
        }
    }
}
