//! What an owner may do with a proven sector: end it, prolong it, fill it. The rules are in [`crate::sector_rules`].

use cairn_protocol::{Amount, CommD, Epoch, PieceInfo, ProviderId, SectorNumber};

use super::{Step, in_range};
use crate::close::CloseReason;
use crate::command::ManifestPiece;
use crate::event::Event;
use crate::ids::DealId;
use crate::order::DealStatus;
use crate::proof::{ProofStatement, SectorUpdateStatement};
use crate::queue::Due;
use crate::rejection::Rejection;
use crate::sector::{Health, Sector};
use crate::sector_rules::{SectorCommand, SectorEvent, SectorRejection, SectorUpdate, TERMINATION_WORK_MAX};
use crate::treasury::Pot;

impl Step<'_> {
    pub(super) fn sector_command(&mut self, command: &SectorCommand) -> Result<(), Rejection> {
        match command {
            SectorCommand::Terminate { provider, sectors } => self.terminate_sectors(*provider, sectors),
            SectorCommand::Extend { provider, sectors, expiration } => {
                self.extend_sectors(*provider, sectors, *expiration)
            }
            SectorCommand::Update(update) => self.update_data(update),
        }
    }

    fn terminate_sectors(&mut self, provider: ProviderId, sectors: &[SectorNumber]) -> Result<(), Rejection> {
        self.check_declaration(provider, sectors)?;
        let mut work = 0;
        for &number in sectors {
            self.unlocked_health(provider, number)?;
            work += 1 + self.state.sector(provider, number).map_or(0, |sector| sector.deals.len() as u64);
        }
        if sectors.len() > 1 {
            in_range("number of sectors and deals that end", work, 1, TERMINATION_WORK_MAX)?;
        }
        for &number in sectors {
            self.remove_from_partition(provider, number);
            self.end_sector(provider, number, CloseReason::TerminatedByOwner, Amount::ZERO);
        }
        Ok(())
    }

    /// Takes a live sector out of its partition; the partition goes too if that was the last.
    pub(super) fn remove_from_partition(&mut self, provider: ProviderId, number: SectorNumber) {
        let sector = self.state.sector(provider, number).expect("callers found the sector");
        let proving = sector.proving().expect("callers found it live");
        let (deadline, partition) = (proving.deadline, proving.partition);
        let remove = |members: &mut crate::sector::Partition| {
            members.sectors.retain(|member| *member != number);
            members.sectors.is_empty().then_some(members.closes_at)
        };
        let emptied = self.state.partitions.update(&(provider, deadline, partition), remove);
        if let Some(closes_at) = emptied.expect("live sectors have a partition") {
            self.state.queue.remove(&(closes_at, Due::PartitionClose(provider, deadline, partition)));
            self.drop_empty_partitions(provider, deadline);
        }
    }

    /// Burns what the early end of a sector costs, and `owed` with it: from the sector's deposit, and what that does not
    /// hold from the collateral. The deposit's rest stays in the record. Returns how much of the deposit was burnt.
    pub(super) fn burn_termination_fee(
        &mut self,
        (provider, sector): (ProviderId, SectorNumber),
        record: &mut Sector,
        owed: Amount,
    ) -> Amount {
        let params = &self.state.meta.params;
        let age = record.proving().map_or(0, |proving| self.now().since(proving.activated_at));
        let fee = params.sectors.termination_fee(record.deposit, params.fault_fee, age, params.proving_period());
        let due = fee.checked_add(owed).unwrap_or(Amount(u64::MAX));
        let from_deposit = due.min(record.deposit);
        record.deposit = record.deposit.checked_sub(from_deposit).expect("a minimum of both");
        self.state.burn(Pot::SectorDeposits, from_deposit);
        let rest = due.checked_sub(from_deposit).expect("a minimum of both");
        let amount = self.burn_collateral(provider, rest);
        if !amount.is_zero() {
            self.emit(Event::Sector(SectorEvent::CollateralBurnt { provider, sector, amount }));
        }
        from_deposit
    }

    fn extend_sectors(
        &mut self,
        provider: ProviderId,
        sectors: &[SectorNumber],
        expiration: Epoch,
    ) -> Result<(), Rejection> {
        self.check_declaration(provider, sectors)?;
        for &number in sectors {
            let record = self.healthy_sector(provider, number)?;
            let (now, params) = (self.now(), &self.state.meta.params);
            let furthest = self.later(now, params.sectors.extension_epochs_max);
            let last = self.later(record.pre_committed_at, params.sector_epochs_max).min(furthest);
            in_range("expiration", expiration.0, record.expiration.0 + 1, last.0)?;
            self.state.sectors.update(&(provider, number), |sector| sector.expiration = expiration);
            self.emit(Event::Sector(SectorEvent::Extended { provider, sector: number, expiration }));
        }
        Ok(())
    }

    /// A sector that is active and has not expired.
    fn healthy_sector(&self, provider: ProviderId, number: SectorNumber) -> Result<Sector, Rejection> {
        let unknown = Rejection::UnknownSector { provider, sector: number };
        let record = self.state.sector(provider, number).ok_or(unknown)?;
        if record.proving().is_none_or(|proving| proving.health != Health::Active) {
            return Err(Rejection::WrongHealth { sector: number, expected: "active".to_owned() });
        }
        let (expiration, now) = (record.expiration, self.now());
        if expiration <= now {
            return Err(SectorRejection::Expired { sector: number, expiration, now }.into());
        }
        Ok(record.clone())
    }

    /// Steps: the sector is active, empty and not challenged; its deals wait for this provider and fit into its life; the
    /// proof holds; then it is another replica of other data, in its old place, and its deals start.
    fn update_data(&mut self, update: &SectorUpdate) -> Result<(), Rejection> {
        let (statement, deals) = self.update_to_prove(update)?;
        let SectorUpdateStatement { comm_d_new: comm_d, comm_r_new: comm_r, .. } = statement;
        self.verify(ProofStatement::SectorUpdate(statement), &update.proof)?;
        let (provider, sector) = (update.provider, update.sector);
        let change =
            |record: &mut Sector| (record.comm_r, record.comm_d, record.deals) = (comm_r, comm_d, deals.clone());
        self.state.sectors.update(&(provider, sector), change).expect("found above");
        self.emit(Event::Sector(SectorEvent::Updated { provider, sector, comm_r }));
        for deal in deals {
            self.activate_deal(deal, sector);
        }
        Ok(())
    }

    /// What the proof of an update must show, and the deals that it starts, ascending.
    pub(super) fn update_to_prove(
        &self,
        update: &SectorUpdate,
    ) -> Result<(SectorUpdateStatement, Vec<DealId>), Rejection> {
        let SectorUpdate { provider, sector, .. } = *update;
        let owned = self.owned_provider(provider)?;
        let record = self.healthy_sector(provider, sector)?;
        self.unlocked_health(provider, sector)?;
        let comm_d =
            |pieces: &[PieceInfo]| -> Result<CommD, Rejection> { Ok(self.verifier.comm_d(owned.sector_size, pieces)?) };
        if !record.deals.is_empty() || record.comm_d != comm_d(&[])? {
            return Err(SectorRejection::HoldsData { sector }.into());
        }
        let deals = self.check_update_deals(provider, sector, &record, &update.pieces)?;
        let pieces: Vec<PieceInfo> = update.pieces.iter().map(|entry| entry.piece).collect();
        let statement = SectorUpdateStatement {
            sector_size: owned.sector_size,
            comm_r_old: record.comm_r,
            comm_d_new: comm_d(&pieces)?,
            comm_r_new: update.comm_r,
        };
        Ok((statement, deals))
    }

    fn check_update_deals(
        &self,
        provider: ProviderId,
        sector: SectorNumber,
        record: &Sector,
        manifest: &[ManifestPiece],
    ) -> Result<Vec<DealId>, Rejection> {
        let params = &self.state.meta.params;
        in_range("number of pieces", manifest.len() as u64, 1, u64::from(params.sector_pieces_max))?;
        let (mut deals, now) = (Vec::new(), self.now());
        for entry in manifest {
            let Some(deal) = entry.deal else { continue };
            let waiting = self.waiting_deal(provider, deal)?;
            if waiting.piece.piece != entry.piece {
                let problem = "the deal is for another piece".to_owned();
                return Err(Rejection::ManifestMismatch { deal, problem });
            }
            // The challenge that accounts the deal's last epoch must find the sector: as in `sector_epochs_min`.
            let needed = self.later(now, waiting.duration_epochs + params.post_window());
            let expiration = record.expiration;
            if needed > expiration {
                return Err(SectorRejection::DealTooLong { sector, deal, needed, expiration }.into());
            }
            deals.push(deal);
        }
        deals.sort_unstable();
        if let Some(pair) = deals.windows(2).find(|pair| pair[0] == pair[1]) {
            let problem = "the deal stands there twice".to_owned();
            return Err(Rejection::ManifestMismatch { deal: pair[0], problem });
        }
        if deals.is_empty() { Err(SectorRejection::NoDeals { sector }.into()) } else { Ok(deals) }
    }

    /// A deal that waits for this provider to seal it.
    pub(super) fn waiting_deal(&self, provider: ProviderId, deal: DealId) -> Result<&crate::order::Deal, Rejection> {
        let record = self.state.deal(deal).ok_or(Rejection::UnknownDeal { deal })?;
        if record.provider != provider {
            return Err(Rejection::NotDealProvider { deal, provider: record.provider });
        }
        match record.status {
            DealStatus::Assigned { activate_by } if activate_by > self.now() => Ok(record),
            _ => Err(Rejection::DealNotAssigned { deal }),
        }
    }
}
