//! Who gets an order. Who can profit from these rules, and how, is in [`crate::market`].
//!
//! 1. Set aside the bids of providers that do not meet the order's requirements any more, and of those whose owner or
//!    region holds another copy by now. For a replacement these are the other copies of the piece, and the owner who
//!    dropped this one holds one, as it were.
//! 2. Sort the others by score, which is price and reputation; ties by a hash of the epoch's beacon, order and provider.
//! 3. Take them in this order, skipping owners that have a copy, and regions unless the order does not mind, until every
//!    copy has one.

use std::collections::BTreeSet;

use cairn_protocol::{Amount, ProviderId};

use super::Step;
use crate::ids::{Address, OrderId};
use crate::market::{BidScore, MarketRejection, RegionRule};
use crate::order::{BidStatus, Order, Replaced};
use crate::randomness;
use crate::rejection::Rejection;

/// The bids of an order, sorted out.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    /// Who gets a copy, the best score first, and for which price.
    pub winners: Vec<(ProviderId, Amount)>,
    /// Whose bid was not needed.
    pub losers: Vec<ProviderId>,
    /// Who may not take the order any more.
    pub unfit: Vec<ProviderId>,
}

/// Owners and regions that have a copy.
#[derive(Debug, Default)]
struct Taken {
    owners: BTreeSet<Address>,
    regions: BTreeSet<String>,
}

impl Step<'_> {
    /// Whether `provider` may take an order; asked when it bids, and again at assignment.
    pub(super) fn check_bidder(&self, order: OrderId, record: &Order, provider: ProviderId) -> Result<(), Rejection> {
        let taken = self.taken(record);
        if taken.owners.contains(&self.owner_of(provider)) {
            return Err(Rejection::HoldsCopy { order, provider });
        }
        if let Some(region) = self.state.region_of(provider).filter(|region| taken.regions.contains(region)) {
            return Err(MarketRejection::RegionTaken { order, provider, region }.into());
        }
        Ok(self.state.check_requirements(&record.terms.requirements, provider)?)
    }

    /// Owners and regions that may not take an order.
    fn taken(&self, record: &Order) -> Taken {
        let Some(Replaced { group, piece_index, dropped_by, .. }) = record.replaces else { return Taken::default() };
        let first = self.state.order(group).expect("an order outlives its replacements");
        let holders = &first.holders[piece_index as usize];
        let regions = match record.terms.requirements.regions {
            RegionRule::Any => BTreeSet::new(),
            RegionRule::Declared | RegionRule::Required => {
                holders.iter().filter_map(|provider| self.state.region_of(*provider)).collect()
            }
        };
        Taken {
            owners: holders.iter().chain([&dropped_by]).map(|provider| self.owner_of(*provider)).collect(),
            regions,
        }
    }

    /// The steps of the module.
    pub(super) fn rank_bids(&self, order: OrderId, record: &Order) -> Ranking {
        let now = self.now();
        let beacon = self.state.beacon(now).expect("the beacon of the block's own epoch is recorded first");
        let weight = self.state.meta.params.market.reputation_weight_bp;
        let mut ranking = Ranking::default();
        let mut bids = Vec::new();
        for (provider, bid) in self.state.bids_on(order).filter(|(_, bid)| bid.status == BidStatus::Open) {
            if self.check_bidder(order, record, provider).is_err() {
                ranking.unfit.push(provider);
                continue;
            }
            let score = BidScore::new(bid.price_per_epoch, self.state.reputation_of(provider), weight);
            bids.push((score, randomness::tie_break(beacon, now, provider, order), provider, bid.price_per_epoch));
        }
        bids.sort_unstable();
        let mut taken = self.taken(record);
        for (_, _, provider, price) in bids {
            if ranking.winners.len() < record.terms.copies as usize && self.take_place(&mut taken, record, provider) {
                ranking.winners.push((provider, price));
            } else {
                ranking.losers.push(provider);
            }
        }
        ranking
    }

    /// Takes owner and region of `provider`, if both are free.
    fn take_place(&self, taken: &mut Taken, record: &Order, provider: ProviderId) -> bool {
        let (owner, region) = (self.owner_of(provider), self.state.region_of(provider));
        let region = region.filter(|_| record.terms.requirements.regions != RegionRule::Any);
        if taken.owners.contains(&owner) || region.as_ref().is_some_and(|region| taken.regions.contains(region)) {
            return false;
        }
        taken.owners.insert(owner);
        taken.regions.extend(region);
        true
    }
}
