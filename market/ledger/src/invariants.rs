//! What must hold after every block, checked against the whole state.
//!
//! This walks everything, so it is for tests, simulators and audits, not for the step itself.

use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::{Amount, ProviderId};

use crate::ids::{Address, DealId, OrderId};
use crate::order::{BidStatus, DealStatus, OrderStatus};
use crate::payments::channels::ChannelStatus;
use crate::queue::Due;
use crate::sector::{Partition, Sector, SectorStatus};
use crate::state::State;
use crate::validator::Validator;

/// A promise that the ledger broke: a mistake of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvariantViolation {
    /// Money appeared or vanished.
    #[error("supply is {expected}, but balances, pots and burnt money make {got}")]
    Supply {
        /// Genesis supply, and what was minted.
        expected: u128,
        /// The sum.
        got: u128,
    },
    /// A pot does not hold what is recorded as locked in it.
    #[error("pot {pot} holds {held}, its entries have locked {locked}")]
    Pot {
        /// Which.
        pot: &'static str,
        /// In the treasury.
        held: u128,
        /// Sum over the entries.
        locked: u128,
    },
    /// The emission is not what the schedule says.
    #[error("the schedule brought {expected}, of which {got} is accounted for")]
    Schedule {
        /// Up to the last closed round.
        expected: u128,
        /// Minted, not minted, and still to be paid.
        got: u128,
    },
    /// A deal's escrow is not what its remaining epochs may cost.
    #[error("{deal} has {escrow} in escrow and {paid} paid, of {total}")]
    DealMoney {
        /// Which.
        deal: String,
        /// Locked.
        escrow: u128,
        /// Paid.
        paid: u128,
        /// Rate x duration.
        total: u128,
    },
    /// A provider's count of open things is wrong.
    #[error("{provider} records {recorded} obligations, has {counted}")]
    Obligations {
        /// Whose.
        provider: ProviderId,
        /// In the provider's record.
        recorded: u64,
        /// Counted.
        counted: u64,
    },
    /// Something waits without a queue entry that ends the waiting.
    #[error("{what} waits without a queue entry at epoch {epoch}")]
    NotQueued {
        /// What.
        what: String,
        /// When it should be taken.
        epoch: u64,
    },
    /// Two entries that should point at each other do not.
    #[error("{what}")]
    Dangling {
        /// Which.
        what: String,
    },
}

pub(crate) fn dangling(what: String) -> InvariantViolation {
    InvariantViolation::Dangling { what }
}

impl State {
    /// Checks every promise of the ledger.
    ///
    /// # Errors
    /// [`InvariantViolation`] names the first that is broken.
    pub fn check_invariants(&self) -> Result<(), InvariantViolation> {
        self.check_pots()?;
        self.check_supply()?;
        self.check_deals()?;
        self.check_sectors()?;
        self.check_orders()?;
        self.check_copies()?;
        self.check_channels()?;
        self.check_stakes()?;
        self.check_economy()?;
        self.check_jobs()?;
        self.check_paid_groups()?;
        self.check_obligations()
    }

    fn check_supply(&self) -> Result<(), InvariantViolation> {
        let treasury = self.treasury();
        let free: u128 = self.accounts().map(|(_, account)| account.balance).sum();
        let (deposits, rest) = ([treasury.bid_deposits, treasury.sector_deposits], [treasury.channels, treasury.stake]);
        let economy = [treasury.rails, treasury.vesting, treasury.checker_stake];
        let jobs = [treasury.job_escrow, treasury.job_bonds, treasury.attestations];
        let pots = [treasury.escrow, treasury.collateral].into_iter().chain(deposits).chain(rest).chain(jobs);
        let locked: u128 = pots.chain(economy).sum();
        let (expected, got) = (u128::from(treasury.supply.0), free + locked + u128::from(treasury.burnt.0));
        if expected == got { Ok(()) } else { Err(InvariantViolation::Supply { expected, got }) }
    }

    fn check_pots(&self) -> Result<(), InvariantViolation> {
        let orders: u128 = self.orders.iter().map(|(_, order)| order.deposit).sum();
        let deals: u128 = self.deals.iter().map(|(_, deal)| deal.escrow).sum();
        let bids: u128 = self.bids.iter().map(|(_, bid)| bid.deposit).sum();
        let collateral: u128 = self.providers.iter().map(|(_, provider)| provider.collateral).sum();
        let sectors: u128 = self.sectors.iter().map(|(_, sector)| sector.deposit).sum();
        let channels: u128 = self.channels.iter().map(|(_, channel)| channel.held()).sum();
        let stake: u128 = self.validators.iter().map(|(_, validator)| validator.locked()).sum();
        let held = self.treasury();
        let vesting: u128 = self.vesting.iter().map(|(_, account)| account.locked()).sum();
        let (job_escrow, job_bonds) = self.locked_for_jobs();
        let attestations: u128 = self.attestations.iter().map(|(_, entry)| entry.deposit).sum();
        let pots: [(&'static str, Amount, u128); 12] = [
            ("escrow", held.escrow, orders + deals),
            ("bid deposits", held.bid_deposits, bids),
            ("collateral", held.collateral, collateral),
            ("sector deposits", held.sector_deposits, sectors),
            ("channels", held.channels, channels),
            ("stake", held.stake, stake),
            ("rails", held.rails, self.rails.total_funds()),
            ("vesting", held.vesting, vesting),
            ("checker stake", held.checker_stake, self.checker_stakes()),
            ("job escrow", held.job_escrow, job_escrow),
            ("job bonds", held.job_bonds, job_bonds),
            ("attestations", held.attestations, attestations),
        ];
        for (pot, held, locked) in pots {
            if u128::from(held.0) != locked {
                return Err(InvariantViolation::Pot { pot, held: held.0.into(), locked });
            }
        }
        Ok(())
    }

    fn check_stakes(&self) -> Result<(), InvariantViolation> {
        let leaving = |(address, validator): (Address, &Validator)| {
            let untils = validator.leaving.iter().map(|(until, _)| *until);
            untils.map(move |until| (until, Due::StakeRelease(address))).collect::<Vec<_>>()
        };
        self.validators().flat_map(leaving).try_for_each(|(until, due)| self.queued(until.0, due))?;
        let unbonding = self.params().stake.unbonding_epochs;
        let offences = self.offences.iter().map(|(&(validator, height), ())| (validator, height));
        offences.into_iter().try_for_each(|(validator, height)| {
            self.queued(height.0 + unbonding + 1, Due::ForgetOffence(validator, height))
        })
    }

    fn check_deals(&self) -> Result<(), InvariantViolation> {
        let end = |((_, due), ()): (&(cairn_protocol::Epoch, Due), &())| match due {
            Due::DealEnd(deal) => Some(*deal),
            _ => None,
        };
        let ends: BTreeSet<DealId> = self.queue.iter().filter_map(end).collect();
        for (id, deal) in self.deals() {
            let total = u128::from(deal.rate.0) * u128::from(deal.duration_epochs);
            let (escrow, paid) = (u128::from(deal.escrow.0), u128::from(deal.paid.0));
            let fits = match deal.status {
                DealStatus::Assigned { .. } | DealStatus::Bound { .. } => paid == 0 && escrow == total,
                DealStatus::Active { end, settled_until, .. } => {
                    escrow + paid <= total && escrow >= u128::from(deal.rate.0) * u128::from(end.since(settled_until))
                }
                DealStatus::Closed(_) => escrow == 0 && paid <= total,
            };
            if !fits {
                return Err(InvariantViolation::DealMoney { deal: id.to_string(), escrow, paid, total });
            }
            if let DealStatus::Assigned { activate_by } | DealStatus::Bound { activate_by, .. } = deal.status {
                self.queued(activate_by.0, Due::DealActivation(id))?;
            }
            if let DealStatus::Active { .. } = deal.status
                && !ends.contains(&id)
            {
                return Err(InvariantViolation::NotQueued { what: id.to_string(), epoch: self.epoch().0 });
            }
            if let Some(number) = deal.sector() {
                let held = self.sector(deal.provider, number).is_some_and(|sector| sector.deals.contains(&id));
                if !held {
                    return Err(dangling(format!("{id} is in sector {number}, which does not hold it")));
                }
            }
        }
        Ok(())
    }

    fn check_sectors(&self) -> Result<(), InvariantViolation> {
        let mut placed = BTreeSet::new();
        for (&(provider, deadline, number), partition) in self.partitions.iter() {
            for sector in &partition.sectors {
                if !placed.insert((provider, *sector)) {
                    return Err(dangling(format!("sector {sector} of {provider} is in two partitions")));
                }
            }
            let count = self.provider(provider).map_or(0, |p| p.partition_counts[deadline as usize]);
            if number >= count {
                return Err(dangling(format!(
                    "{provider} counts {count} partitions in deadline {deadline}, has {number}"
                )));
            }
            if !partition.sectors.is_empty() {
                self.queued(partition.closes_at.0, Due::PartitionClose(provider, deadline, number))?;
            }
            self.check_partition_order(partition)?;
        }
        let mut live = 0;
        for (&(provider, number), sector) in self.sectors.iter() {
            match &sector.status {
                SectorStatus::PreCommitted { expires_at } => {
                    self.queued(expires_at.0, Due::PreCommitExpiry(provider, number))?;
                }
                SectorStatus::Proving(_) => {
                    live += 1;
                    self.check_placed(provider, number, sector)?;
                }
                SectorStatus::Closed(_) if sector.deals.is_empty() => {}
                SectorStatus::Closed(_) => {
                    return Err(dangling(format!("closed sector {number} of {provider} has open deals")));
                }
            }
            if let Some(deal) = sector.deals.iter().find(|deal| self.deal(**deal).is_none_or(|d| d.is_closed())) {
                return Err(dangling(format!("sector {number} of {provider} holds {deal}, which is closed")));
            }
        }
        if live != placed.len() {
            return Err(dangling(format!("{live} sectors are live, {} are in partitions", placed.len())));
        }
        Ok(())
    }

    fn check_partition_order(&self, partition: &Partition) -> Result<(), InvariantViolation> {
        if partition.sectors.windows(2).all(|pair| pair[0] < pair[1]) {
            Ok(())
        } else {
            Err(dangling("sectors of a partition are not ascending".to_owned()))
        }
    }

    fn check_placed(
        &self,
        provider: ProviderId,
        number: cairn_protocol::SectorNumber,
        sector: &Sector,
    ) -> Result<(), InvariantViolation> {
        let proving = sector.proving().expect("called for live sectors");
        let partition = self.partition(provider, proving.deadline, proving.partition);
        if partition.is_some_and(|partition| partition.sectors.contains(&number)) {
            Ok(())
        } else {
            Err(dangling(format!("live sector {number} of {provider} is not in its partition")))
        }
    }

    fn check_orders(&self) -> Result<(), InvariantViolation> {
        for (id, order) in self.orders() {
            if order.status == OrderStatus::Open {
                let assigned_at = (order.reveals_close_at.0, Due::RevealWindowClose(id));
                let bids_close = (order.bids_close_at.0, Due::BidWindowClose(id));
                let (epoch, due) = if order.sealed_bids > 0 { assigned_at } else { bids_close };
                self.queued(epoch, due)?;
            } else if !order.deposit.is_zero() {
                return Err(dangling(format!("{id} is not open and holds a deposit")));
            }
        }
        for (&(order, provider), bid) in self.bids.iter() {
            let closed = matches!(bid.status, BidStatus::Closed(_));
            if closed && !bid.deposit.is_zero() {
                return Err(dangling(format!("closed bid of {provider} on {order} holds a deposit")));
            }
            let open_order = self.order(order).is_some_and(|order| order.status == OrderStatus::Open);
            if matches!(bid.status, BidStatus::Sealed { .. }) && !(open_order && bid.price_per_epoch.is_zero()) {
                return Err(dangling(format!(
                    "sealed bid of {provider} on {order} outlives the order, or has a price"
                )));
            }
            if !closed && self.order(order).is_none() {
                return Err(dangling(format!("open bid of {provider} on {order}, which is forgotten")));
            }
        }
        Ok(())
    }

    /// Holders and replacements are counted, and every chain's first order is there.
    fn check_copies(&self) -> Result<(), InvariantViolation> {
        let mut holders: BTreeMap<(OrderId, usize), BTreeSet<ProviderId>> = BTreeMap::new();
        for (id, deal) in self.deals().filter(|(_, deal)| !deal.is_closed()) {
            if !holders.entry((deal.group, deal.piece_index as usize)).or_default().insert(deal.provider) {
                return Err(dangling(format!("{id} is a second copy of its piece with {}", deal.provider)));
            }
        }
        let mut replacing: BTreeMap<OrderId, u32> = BTreeMap::new();
        for replaced in self.orders().filter(|(_, o)| o.status == OrderStatus::Open).filter_map(|(_, o)| o.replaces) {
            *replacing.entry(replaced.group).or_default() += 1;
        }
        for (id, order) in self.orders() {
            let mut counted = replacing.remove(&id).unwrap_or(0) == order.replacing;
            for (index, recorded) in order.holders.iter().enumerate() {
                let held = holders.remove(&(id, index)).unwrap_or_default();
                counted &= recorded.len() == held.len() && recorded.iter().all(|provider| held.contains(provider));
            }
            if !counted {
                return Err(dangling(format!("{id} does not know who holds its copies")));
            }
        }
        match holders.into_keys().map(|(id, _)| id).chain(replacing.into_keys()).next() {
            Some(id) => Err(dangling(format!("{id} is needed and forgotten"))),
            None => Ok(()),
        }
    }

    fn check_channels(&self) -> Result<(), InvariantViolation> {
        for (id, channel) in self.channels() {
            match channel.status() {
                ChannelStatus::Open => {}
                ChannelStatus::Closing { until } => self.queued(until.0, Due::ChannelClose(id))?,
                ChannelStatus::Closed if channel.held().is_zero() => {}
                ChannelStatus::Closed => return Err(dangling(format!("{id} is closed and holds money"))),
            }
        }
        Ok(())
    }

    fn check_obligations(&self) -> Result<(), InvariantViolation> {
        let mut counts: BTreeMap<ProviderId, u64> = BTreeMap::new();
        let open_bids = self.bids.iter().filter(|(_, bid)| !matches!(bid.status, BidStatus::Closed(_)));
        let open_deals = self.deals.iter().filter(|(_, deal)| !deal.is_closed());
        let open_sectors = self.sectors.iter().filter(|(_, s)| !matches!(s.status, SectorStatus::Closed(_)));
        let owners = open_bids.map(|((_, provider), _)| *provider);
        let owners = owners.chain(open_deals.map(|(_, deal)| deal.provider));
        for provider in owners.chain(open_sectors.map(|((provider, _), _)| *provider)) {
            *counts.entry(provider).or_default() += 1;
        }
        for (provider, record) in self.providers() {
            let counted = counts.remove(&provider).unwrap_or(0);
            if counted != record.obligations {
                return Err(InvariantViolation::Obligations { provider, recorded: record.obligations, counted });
            }
        }
        match counts.into_keys().next() {
            Some(provider) => Err(dangling(format!("{provider} has obligations but no record"))),
            None => Ok(()),
        }
    }

    pub(crate) fn queued(&self, epoch: u64, due: Due) -> Result<(), InvariantViolation> {
        if self.queue.contains(&(cairn_protocol::Epoch(epoch), due)) {
            Ok(())
        } else {
            Err(InvariantViolation::NotQueued { what: format!("{due:?}"), epoch })
        }
    }
}
