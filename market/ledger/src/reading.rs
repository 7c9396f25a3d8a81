//! Lists from any place on, for readers that take a page at a time: starting costs a walk down a table, each entry one step.

use cairn_protocol::{ProviderId, SectorNumber};

use crate::economy::{Checker, ProviderScore, RewardRound};
use crate::ids::{Address, DealId, OrderId};
use crate::market::Attestation;
use crate::order::{Bid, Deal, Order};
use crate::payments::{Channel, ChannelId, PayAccount, Rail, RailId};
use crate::provider::Provider;
use crate::sector::Sector;
use crate::state::State;
use crate::validator::Validator;

impl State {
    /// Providers with this number or a greater one, ascending.
    pub fn providers_from(&self, first: ProviderId) -> impl Iterator<Item = (ProviderId, &Provider)> {
        self.providers.iter_from(&first).map(|(id, provider)| (*id, provider))
    }

    /// Orders with this number or a greater one, ascending.
    pub fn orders_from(&self, first: OrderId) -> impl Iterator<Item = (OrderId, &Order)> {
        self.orders.iter_from(&first).map(|(id, order)| (*id, order))
    }

    /// Bids on an order by this provider or one with a greater number, ascending.
    pub fn bids_from(&self, order: OrderId, first: ProviderId) -> impl Iterator<Item = (ProviderId, &Bid)> {
        let bids = self.bids.iter_from(&(order, first));
        bids.take_while(move |((o, _), _)| *o == order).map(|((_, id), bid)| (*id, bid))
    }

    /// Deals with this number or a greater one, ascending.
    pub fn deals_from(&self, first: DealId) -> impl Iterator<Item = (DealId, &Deal)> {
        self.deals.iter_from(&first).map(|(id, deal)| (*id, deal))
    }

    /// Sectors of a provider with this number or a greater one, ascending.
    pub fn sectors_from(
        &self,
        provider: ProviderId,
        first: SectorNumber,
    ) -> impl Iterator<Item = (SectorNumber, &Sector)> {
        let sectors = self.sectors.iter_from(&(provider, first));
        sectors.take_while(move |((p, _), _)| *p == provider).map(|((_, number), sector)| (*number, sector))
    }

    /// Channels with this number or a greater one, ascending.
    pub fn channels_from(&self, first: ChannelId) -> impl Iterator<Item = (ChannelId, &Channel)> {
        self.channels.iter_from(&first).map(|(id, channel)| (*id, channel))
    }

    /// Validators with this address or a greater one, ascending.
    pub fn validators_from(&self, first: Address) -> impl Iterator<Item = (Address, &Validator)> {
        self.validators.iter_from(&first).map(|(address, validator)| (*address, validator))
    }

    /// What auditors with this address or a greater one vouch for about a provider, ascending.
    pub fn attestations_from(
        &self,
        provider: ProviderId,
        first: Address,
    ) -> impl Iterator<Item = (Address, &Attestation)> {
        let entries = self.attestations.iter_from(&(provider, first));
        entries.take_while(move |((of, _), _)| *of == provider).map(|((_, auditor), entry)| (*auditor, entry))
    }

    /// Rails that are not over, with this number or a greater one, ascending.
    pub fn rails_from(&self, first: RailId) -> impl Iterator<Item = (RailId, &Rail)> {
        self.rails.rails.iter_from(&first).map(|(id, rail)| (*id, rail))
    }

    /// An address's account for rails, with what streamed until now in its lockup.
    pub fn rail_account(&self, address: &Address) -> PayAccount {
        self.rails.accrued(address, self.meta.epoch)
    }

    /// Rounds whose emission can still be paid, from this one on, ascending.
    pub fn reward_rounds_from(&self, first: u64) -> impl Iterator<Item = (u64, &RewardRound)> {
        self.reward_rounds.iter_from(&first).map(|(round, record)| (*round, record))
    }

    /// Scores of providers with this number or a greater one, ascending; those that were never scored are left out.
    pub fn scores_from(&self, first: ProviderId) -> impl Iterator<Item = (ProviderId, &ProviderScore)> {
        self.scores.iter_from(&first).map(|(provider, score)| (*provider, score))
    }

    /// Checkers with this address or a greater one, ascending.
    pub fn checkers_from(&self, first: Address) -> impl Iterator<Item = (Address, &Checker)> {
        self.checkers.iter_from(&first).map(|(address, checker)| (*address, checker))
    }

    /// What checkers last said of a provider and the bonds that they have with it, in levels of 1/65,535, by checker. At
    /// most as many as there were checkers in one round.
    pub fn opinions_on(&self, provider: ProviderId) -> impl Iterator<Item = (Address, Option<u16>, u16)> {
        let group = provider.0 / u64::from(self.meta.params.economy.group_providers);
        let standings = self.standings.iter_from(&(group, Address([0; 32])));
        let standings = standings.take_while(move |((of, _), _)| *of == group);
        standings.filter_map(move |((_, checker), stored)| {
            let (opinion, bond) = stored.with(provider);
            (opinion.is_some() || bond > 0).then_some((*checker, opinion, bond))
        })
    }

    /// The round whose providers are being scored, if one is.
    pub fn scoring_round(&self) -> Option<u64> {
        self.meta.economy.scoring.as_ref().map(|scoring| scoring.round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Network;
    use crate::{LedgerParams, testing::FUNDS};

    #[test]
    fn a_list_goes_on_where_it_is_told_to() {
        let mut network = Network::new(LedgerParams::devnet(), 3);
        let (first, second) = (network.register(1), network.register(2));
        let ids = |from| network.state.providers_from(from).map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!((ids(ProviderId(0)), ids(second)), (vec![first, second], vec![second]));
        assert!(ids(ProviderId(second.0 + 1)).is_empty());
        assert!(network.state.account(&Network::address(1)).balance < FUNDS);
    }
}
