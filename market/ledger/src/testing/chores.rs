//! What a provider that does everything right would do next.

use cairn_protocol::{Amount, Epoch, ProviderId, SectorNumber};

use super::Network;
use crate::*;

/// The salt of every sealed bid that is to be revealed by a diligent owner.
pub const SALT: Salt = Salt([5; 32]);
/// Sector numbers that a provider uses, lowest free first.
const SECTORS: u64 = 4;
/// Epochs that a sector lives longer than its deals need, so that there is time for others.
const EPOCHS_TO_SPARE: u64 = 300;
/// Deals that go into one sector.
const DEALS_PER_SECTOR: usize = 3;

impl Network {
    /// The commands of a diligent owner for the next block: bids on what it may take, seals what it won, fills empty
    /// sectors, proves, repairs. Every order is bid for at `price` or its cap, whichever is less.
    pub fn chores(&self, provider: ProviderId, price: u64) -> Vec<Command> {
        let mut commands: Vec<Command> = self.bids(provider, price).collect();
        commands.extend(self.reveals(provider));
        commands.extend(self.sealing(provider));
        let recovering: Vec<SectorNumber> = self.state.faulty_sectors(provider).collect();
        if !recovering.is_empty() {
            commands.push(Command::DeclareRecovery { provider, sectors: recovering });
        }
        commands.extend(self.open_posts(provider, &[]));
        commands
    }

    fn bids(&self, provider: ProviderId, price: u64) -> impl Iterator<Item = Command> {
        // As late as may be: others have had their say, and the client its time to think again.
        let last = Epoch(self.state.epoch().0 + 2);
        let new = move |order: &OrderId| self.state.bid(*order, provider).is_none();
        let open = self.state.open_orders().filter(move |(order, record)| record.bids_close_at == last && new(order));
        open.map(move |(order, record)| {
            let price_per_epoch = Amount(price).min(record.terms.price_per_epoch_max);
            Command::PlaceBid { provider, order, price_per_epoch }
        })
    }

    /// Reveals of its sealed bids, if their prices are among the least and their salt is [`SALT`].
    fn reveals(&self, provider: ProviderId) -> Vec<Command> {
        let next = Epoch(self.state.epoch().0 + 1);
        let revealing = self.state.open_orders().filter(|(_, order)| order.bids_close_at <= next);
        let owner = self.state.provider(provider).expect("the provider exists").owner;
        let reveal = |(order, _): (OrderId, &Order)| {
            let BidStatus::Sealed { commitment } = self.state.bid(order, provider)?.status else { return None };
            let priced = |price| SealedBid { order, provider, price_per_epoch: Amount(price) };
            let shown = |bid: &SealedBid| bid.commitment(self.state.chain(), owner, &SALT) == commitment;
            let SealedBid { price_per_epoch, .. } = (0..4).map(priced).find(shown)?;
            Some(Command::RevealBid { provider, order, price_per_epoch, salt: SALT })
        };
        revealing.filter_map(reveal).collect()
    }

    /// Deals that wait for the provider and fit into one of its sectors together.
    fn waiting(&self, provider: ProviderId) -> Vec<DealId> {
        let Some(mut room) = self.state.provider(provider).map(|p| p.sector_size.bytes()) else { return Vec::new() };
        let waiting = self.state.deals_of(provider).filter(|(_, deal)| {
            let size = deal.piece.piece.size.0;
            let fits = matches!(deal.status, DealStatus::Assigned { .. }) && size <= room;
            room -= if fits { size } else { 0 };
            fits
        });
        waiting.map(|(id, _)| id).take(DEALS_PER_SECTOR).collect()
    }

    fn sealing(&self, provider: ProviderId) -> Vec<Command> {
        let (mut commands, waiting) = (Vec::new(), self.waiting(provider));
        let empty = self.state.sectors_of(provider).find(|(_, sector)| {
            let active = sector.proving().is_some_and(|proving| proving.health == Health::Active);
            active && sector.deals.is_empty() && sector.comm_d == self.comm_d_of_zeros(provider)
        });
        let free = (0..SECTORS).find(|number| self.state.sector(provider, SectorNumber(*number)).is_none());
        match (waiting.is_empty(), empty, free) {
            (false, Some((number, _)), _) => {
                commands.push(Command::Sector(SectorCommand::Update(self.update(provider, number.0, &waiting))));
            }
            (_, None, Some(number)) => {
                let mut pre_commit = self.pre_commit(provider, number, &waiting);
                pre_commit.expiration.0 += EPOCHS_TO_SPARE;
                commands.push(Command::PreCommit(pre_commit));
            }
            _ => {}
        }
        let ready = self.state.sectors_of(provider).filter(|(_, sector)| {
            matches!(sector.status, SectorStatus::PreCommitted { .. }) && sector.seed_epoch <= self.state.epoch()
        });
        commands.extend(ready.map(|(number, sector)| self.prove_commit(provider, number.0, &sector.deals)));
        commands
    }

    /// Proofs of all partitions that take one in the next block, leaving out these sectors.
    pub fn open_posts(&self, provider: ProviderId, skipped: &[SectorNumber]) -> Vec<Command> {
        let next = Epoch(self.state.epoch().0 + 1);
        let open = self.state.post_duties(provider).into_iter().filter(|duty| {
            duty.deadline.is_open_at(next) && !duty.proven && duty.sectors.iter().any(|s| !skipped.contains(s))
        });
        open.map(|duty| {
            let skipped: Vec<SectorNumber> = skipped.iter().copied().filter(|s| duty.sectors.contains(s)).collect();
            self.window_post_skipping(provider, &duty, &skipped)
        })
        .collect()
    }
}
