//! The calendar at work: a place for each sector, window PoSts, missed deadlines, recovery, termination.
//!
//! A partition has one queue entry: the close of its current instance. At the close each of its sectors is either
//! accounted up to the challenge (a proof did that) or has missed it:
//!
//! - active or recovering: becomes faulty, the time since the last challenge counts as faulted;
//! - the same for a faulty one, and from the second deadline in a row that it misses on, a fee is burnt;
//! - missed too often, or the fee is more than the collateral: terminated for what that costs, its deals closed.
//!
//! A proof may skip sectors of its partition: they miss this deadline there and then, the others are proven. A sector whose expiration is reached leaves at the close. Then the next instance is queued.

use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber};

use super::{Step, ascending, in_range};
use crate::calendar::DEADLINES;
use crate::close::CloseReason;
use crate::command::DECLARED_SECTORS_MAX;
use crate::event::Event;
use crate::proof::{ProofStatement, WindowPostStatement};
use crate::provider::Provider;
use crate::queue::Due;
use crate::rejection::Rejection;
use crate::sector::{Health, Partition, ProofHistory, Proving, Sector, SectorStatus};
use crate::sector_rules::{SectorEvent, SectorRejection};
use crate::state::PartitionKey;
use crate::treasury::Pot;

impl Step<'_> {
    /// Gives a proven sector its place and starts its deals.
    pub(super) fn activate_sector(
        &mut self,
        provider: ProviderId,
        owned: &Provider,
        number: SectorNumber,
        mut record: Sector,
    ) {
        let now = self.now();
        let sectors_max = self.state.partition_sectors_max(owned, &record);
        let (deadline, partition) = self.choose_partition(provider, owned, sectors_max);
        let instance = self.state.calendar(provider).first_challenged_from(deadline, self.later(now, 1));
        let key = (provider, deadline, partition);
        let mut members = self.state.partitions.get(&key).cloned().unwrap_or(Partition {
            sectors: Vec::new(),
            proven_challenge: None,
            closes_at: instance.closes_at,
        });
        if members.sectors.is_empty() {
            members.closes_at = instance.closes_at;
            self.state.schedule(instance.closes_at, Due::PartitionClose(provider, deadline, partition));
        }
        let position = members.sectors.partition_point(|other| *other < number);
        members.sectors.insert(position, number);
        self.state.partitions.insert(key, members);
        self.count_partition(key);

        let deals = record.deals.clone();
        record.status = SectorStatus::Proving(Proving {
            activated_at: now,
            deadline,
            partition,
            health: Health::Active,
            history: ProofHistory::new(now),
            posts_accepted: 0,
        });
        self.state.sectors.insert((provider, number), record);
        let first_challenge = instance.challenge_epoch;
        self.emit(Event::SectorActivated { provider, sector: number, deadline, partition, first_challenge });
        for deal in deals {
            self.activate_deal(deal, number);
        }
    }

    /// A partition whose sectors may change now: one with room if there is any, else a new one in the deadline with the
    /// fewest; of equals the one that is challenged first.
    fn choose_partition(&self, provider: ProviderId, owned: &Provider, sectors_max: usize) -> (u32, u32) {
        let (now, calendar) = (self.now(), self.state.calendar(provider));
        let candidates = (0..DEADLINES).filter_map(|deadline| {
            let locked = calendar.current(deadline, now).is_locked_at(now);
            let next = calendar.first_challenged_from(deadline, self.later(now, 1)).challenge_epoch;
            let count = owned.partition_counts[deadline as usize];
            let last = count.checked_sub(1);
            let room = last.is_some_and(|last| {
                let partition = self.state.partitions.get(&(provider, deadline, last));
                partition.is_some_and(|partition| partition.sectors.len() < sectors_max)
            });
            let partition = if room { count - 1 } else { count };
            (!locked).then_some(((!room, if room { 0 } else { count }, next), deadline, partition))
        });
        let (_, deadline, partition) = candidates.min().expect("windows are shorter than a period");
        (deadline, partition)
    }

    /// Counts a partition that is new in its deadline.
    fn count_partition(&mut self, (provider, deadline, partition): PartitionKey) {
        self.state.providers.update(&provider, |p| {
            let count = &mut p.partition_counts[deadline as usize];
            *count = (*count).max(partition + 1);
        });
    }

    /// Removes empty partitions from the end of a deadline; those between others stay and are not refilled.
    pub(super) fn drop_empty_partitions(&mut self, provider: ProviderId, deadline: u32) {
        let counted =
            |state: &crate::State| state.provider(provider).map_or(0, |p| p.partition_counts[deadline as usize]);
        while let Some(last) = counted(self.state).checked_sub(1) {
            let key = (provider, deadline, last);
            if self.state.partitions.get(&key).is_some_and(|partition| !partition.sectors.is_empty()) {
                return;
            }
            self.state.partitions.remove(&key);
            self.state.providers.update(&provider, |p| p.partition_counts[deadline as usize] = last);
        }
    }

    pub(super) fn submit_window_post(
        &mut self,
        key: PartitionKey,
        challenge_epoch: Epoch,
        skipped: &[SectorNumber],
        proof: &[u8],
    ) -> Result<(), Rejection> {
        let (provider, deadline, partition) = key;
        self.owned_provider(provider)?;
        let now = self.now();
        // Closes are late only when the queue is; what is due is done before the next instance is looked at.
        while self.state.partitions.get(&key).is_some_and(|p| !p.sectors.is_empty() && p.closes_at <= now) {
            let due_at = self.state.partitions.get(&key).expect("just seen").closes_at;
            self.state.queue.remove(&(due_at, Due::PartitionClose(provider, deadline, partition)));
            self.close_partition(key, due_at);
        }
        let statement = self.post_to_prove(key, challenge_epoch, skipped)?;
        let sectors: Vec<SectorNumber> = statement.sectors.iter().map(|(number, _)| *number).collect();
        self.verify(ProofStatement::WindowPost(statement), proof)?;

        self.state.partitions.update(&key, |p| p.proven_challenge = Some(challenge_epoch));
        self.emit(Event::WindowPostAccepted {
            provider,
            deadline,
            partition,
            challenge_epoch,
            sectors: sectors.clone(),
        });
        for &sector in skipped {
            self.emit(Event::Sector(SectorEvent::Skipped { provider, sector }));
            if let Err((reason, owed)) = self.miss_deadline(provider, sector, challenge_epoch) {
                self.remove_from_partition(provider, sector);
                self.end_sector(provider, sector, reason, owed);
            } else {
                self.cut_long_history(provider, sector);
            }
        }
        let accounted = sectors.into_iter().map(|number| self.account_proven(provider, number, challenge_epoch));
        let sector_epochs: u64 = accounted.sum();
        let bytes = self.state.provider(provider).expect("providers are never removed").sector_size.bytes();
        self.count_proven_space(provider, sector_epochs, bytes);
        Ok(())
    }

    /// What a proof of the partition must show, if its deadline is open and not proven, and these may be skipped.
    pub(super) fn post_to_prove(
        &self,
        key: PartitionKey,
        challenge_epoch: Epoch,
        skipped: &[SectorNumber],
    ) -> Result<WindowPostStatement, Rejection> {
        let ((provider, deadline, partition), now) = (key, self.now());
        let members = self.state.partitions.get(&key).filter(|p| !p.sectors.is_empty());
        let members = members.ok_or(Rejection::UnknownPartition { deadline, partition })?.clone();
        let instance = self.state.calendar(provider).closing_at(deadline, members.closes_at);
        if challenge_epoch != instance.challenge_epoch {
            return Err(Rejection::WrongChallenge { expected: instance.challenge_epoch, got: challenge_epoch });
        }
        if !instance.is_open_at(now) {
            return Err(Rejection::DeadlineNotOpen { opens_at: instance.opens_at, now });
        }
        if members.proven_challenge >= Some(challenge_epoch) {
            return Err(Rejection::AlreadyProven { partition, challenge_epoch });
        }
        ascending("skipped", skipped)?;
        let statement = self.state.window_post_statement(provider, deadline, partition);
        let mut statement = statement.expect("challenges are kept while they may be answered");
        let shows = |number: &SectorNumber| statement.sectors.binary_search_by_key(number, |(shown, _)| *shown).is_ok();
        if let Some(&sector) = skipped.iter().find(|number| !shows(number)) {
            return Err(SectorRejection::NotSkippable { sector }.into());
        }
        statement.sectors.retain(|(number, _)| skipped.binary_search(number).is_err());
        if statement.sectors.is_empty() {
            return Err(Rejection::NothingToProve { partition });
        }
        Ok(statement)
    }

    /// Returns how many epochs are newly proven.
    fn account_proven(&mut self, provider: ProviderId, number: SectorNumber, challenge_epoch: Epoch) -> u64 {
        let account = |sector: &mut Sector| {
            let proving = sector.proving_mut().expect("partitions hold live sectors");
            let recovering = matches!(proving.health, Health::Recovering { .. });
            // The time before a recovery is proven was faulty, however good the proof.
            let epochs = if recovering { 0 } else { challenge_epoch.since(proving.history.accounted_until()) };
            proving.history.account(challenge_epoch, !recovering);
            proving.health = Health::Active;
            proving.posts_accepted += 1;
            (epochs, recovering)
        };
        let (epochs, recovered) = self.update_sector(provider, number, account);
        if recovered {
            self.emit(Event::SectorRecovered { provider, sector: number });
        }
        self.cut_long_history(provider, number);
        epochs
    }

    fn update_sector<R>(
        &mut self,
        provider: ProviderId,
        number: SectorNumber,
        change: impl FnOnce(&mut Sector) -> R,
    ) -> R {
        self.state.sectors.update(&(provider, number), change).expect("partitions hold existing sectors")
    }

    /// Keeps a sector's record short: settles all its deals and rails, then forgets what is settled.
    fn cut_long_history(&mut self, provider: ProviderId, number: SectorNumber) {
        let sector = self.state.sector(provider, number).expect("partitions hold existing sectors");
        if !sector.proving().is_some_and(|proving| proving.history.is_long()) {
            return;
        }
        for deal in sector.deals.clone() {
            self.settle_accounted(deal);
        }
        self.settle_rails_of(provider, number);
        self.update_sector(provider, number, |sector| {
            sector.proving_mut().expect("still live").history.cut();
        });
    }

    /// Closes the instance of a partition that was due at `due_at`; returns the weight of the work.
    pub(super) fn close_partition(&mut self, key: PartitionKey, due_at: Epoch) -> u64 {
        let (provider, deadline, partition) = key;
        let Some(members) = self.state.partitions.get(&key).filter(|p| p.closes_at == due_at).cloned() else {
            return 1;
        };
        let challenge_epoch = self.state.calendar(provider).closing_at(deadline, due_at).challenge_epoch;
        let mut staying = Vec::with_capacity(members.sectors.len());
        for &number in &members.sectors {
            if self.close_deadline_of_sector(provider, number, challenge_epoch, due_at) {
                staying.push(number);
            }
        }
        let closes_at = self.later(due_at, self.state.meta.params.proving_period());
        let emptied = staying.is_empty();
        self.state.partitions.update(&key, |p| (p.sectors, p.closes_at) = (staying, closes_at));
        if emptied {
            self.drop_empty_partitions(provider, deadline);
        } else {
            self.state.schedule(closes_at, Due::PartitionClose(provider, deadline, partition));
        }
        1 + members.sectors.len() as u64
    }

    /// Returns whether the sector stays in its partition.
    fn close_deadline_of_sector(
        &mut self,
        provider: ProviderId,
        number: SectorNumber,
        challenge_epoch: Epoch,
        due_at: Epoch,
    ) -> bool {
        let sector = self.state.sector(provider, number).expect("partitions hold existing sectors");
        let expired = sector.expiration <= due_at;
        let proving = sector.proving().expect("partitions hold live sectors");
        if proving.history.accounted_until() < challenge_epoch {
            if let Err((reason, owed)) = self.miss_deadline(provider, number, challenge_epoch) {
                self.end_sector(provider, number, reason, owed);
                return false;
            }
            self.cut_long_history(provider, number);
        }
        if expired {
            self.end_sector(provider, number, CloseReason::SectorExpired, Amount::ZERO);
        }
        !expired
    }

    /// Accounts a missed challenge and burns the fee, if it is not the first in a row. If the sector must be terminated,
    /// says why, and what of the fee is still owed.
    fn miss_deadline(
        &mut self,
        provider: ProviderId,
        number: SectorNumber,
        challenge_epoch: Epoch,
    ) -> Result<(), (CloseReason, Amount)> {
        let now = self.now();
        let account = |sector: &mut Sector| {
            let proving = sector.proving_mut().expect("partitions hold live sectors");
            proving.history.account(challenge_epoch, false);
            let (since, missed) = match proving.health {
                Health::Active => (now, 1),
                Health::Faulty { since, missed } | Health::Recovering { since, missed } => (since, missed + 1),
            };
            proving.health = Health::Faulty { since, missed };
            missed
        };
        let missed = self.update_sector(provider, number, account);
        let wanted = if missed > 1 { self.state.meta.params.fault_fee } else { Amount::ZERO };
        let fee = self.burn_collateral(provider, wanted);
        let owed = wanted.checked_sub(fee).expect("no more is burnt than wanted");
        self.emit(Event::SectorFaulted { provider, sector: number, missed, fee });
        if missed >= self.state.meta.params.fault_periods_max {
            Err((CloseReason::FaultyTooLong, owed))
        } else if !owed.is_zero() {
            Err((CloseReason::CollateralExhausted, owed))
        } else {
            Ok(())
        }
    }

    /// Burns this much collateral, or what there is; says how much.
    pub(super) fn burn_collateral(&mut self, provider: ProviderId, wanted: Amount) -> Amount {
        let take = |p: &mut Provider| {
            let burnt = wanted.min(p.collateral);
            p.collateral = p.collateral.checked_sub(burnt).expect("a minimum of both");
            burnt
        };
        let burnt = self.state.providers.update(&provider, take).expect("providers are never removed");
        self.state.burn(Pot::Collateral, burnt);
        burnt
    }

    /// Settles and closes a live sector's deals, then the sector. Before its expiration that costs a fee, with which what
    /// is `owed` is paid.
    pub(super) fn end_sector(&mut self, provider: ProviderId, number: SectorNumber, reason: CloseReason, owed: Amount) {
        let deals = self.state.sector(provider, number).expect("callers found the sector").deals.clone();
        for deal in deals {
            self.settle_accounted(deal);
            if self.state.deal(deal).is_some_and(|record| !record.is_closed()) {
                self.close_deal(deal, CloseReason::SectorTerminated);
            }
        }
        self.settle_rails_of(provider, number);
        let mut record = self.state.sector(provider, number).cloned().expect("closing deals keeps the sector");
        let burnt = match reason {
            CloseReason::SectorExpired => Amount::ZERO,
            _ => self.burn_termination_fee((provider, number), &mut record, owed),
        };
        self.close_sector(provider, number, record, reason, burnt);
        self.end_rails_of(provider, number);
    }

    pub(super) fn declare_faults(&mut self, provider: ProviderId, sectors: &[SectorNumber]) -> Result<(), Rejection> {
        self.check_declaration(provider, sectors)?;
        let since = self.now();
        for &number in sectors {
            let health = self.unlocked_health(provider, number)?;
            let Health::Active = health else {
                return Err(Rejection::WrongHealth { sector: number, expected: "active".to_owned() });
            };
            self.set_health(provider, number, Health::Faulty { since, missed: 0 });
            self.emit(Event::SectorFaulted { provider, sector: number, missed: 0, fee: Amount::ZERO });
        }
        Ok(())
    }

    pub(super) fn declare_recovery(&mut self, provider: ProviderId, sectors: &[SectorNumber]) -> Result<(), Rejection> {
        self.check_declaration(provider, sectors)?;
        for &number in sectors {
            let health = self.unlocked_health(provider, number)?;
            let Health::Faulty { since, missed } = health else {
                return Err(Rejection::WrongHealth { sector: number, expected: "faulty".to_owned() });
            };
            self.set_health(provider, number, Health::Recovering { since, missed });
            self.emit(Event::RecoveryDeclared { provider, sector: number });
        }
        Ok(())
    }

    pub(super) fn check_declaration(&self, provider: ProviderId, sectors: &[SectorNumber]) -> Result<(), Rejection> {
        self.owned_provider(provider)?;
        in_range("number of sectors", sectors.len() as u64, 1, DECLARED_SECTORS_MAX as u64)?;
        ascending("sectors", sectors)
    }

    /// Health of a live sector whose current challenge is not drawn, or answered.
    pub(super) fn unlocked_health(&self, provider: ProviderId, number: SectorNumber) -> Result<Health, Rejection> {
        let unknown = Rejection::UnknownSector { provider, sector: number };
        let sector = self.state.sector(provider, number).ok_or(unknown)?;
        let live = || Rejection::WrongHealth { sector: number, expected: "live".to_owned() };
        let proving = sector.proving().ok_or_else(live)?;
        match self.state.sector_locked_until(provider, proving, self.now()) {
            Some(until) => Err(Rejection::DeadlineLocked { sector: number, until }),
            None => Ok(proving.health),
        }
    }

    fn set_health(&mut self, provider: ProviderId, number: SectorNumber, health: Health) {
        self.update_sector(provider, number, |sector| {
            sector.proving_mut().expect("checked to be live").health = health;
        });
    }
}
