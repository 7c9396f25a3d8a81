//! A state as large as one likes, made without the blocks that would lead to it.
//!
//! A small network lives through one provider, an order, a deal, two sectors and a proof. What it leaves on the ledger is
//! copied under other names, with everything that points at it, and the money it locks is added to the supply. So records
//! are what the rules make, and [`State::check_invariants`] holds.

use std::ops::Range;

use cairn_protocol::{Amount, CommR, Epoch, ProviderId, SectorNumber, SectorSize};

use super::network::{HashVerifier, Network, order_terms, piece};
use crate::calendar::DEADLINES;
use crate::ids::{Address, DealId, OrderId};
use crate::order::{DealStatus, OrderStatus};
use crate::provider::{Account, Provider};
use crate::queue::Due;
use crate::sector::{Partition, ProofHistory, Sector, SectorStatus};
use crate::state::State;
use crate::table::{Table, TableKey};
use crate::{Command, Deal, Event, LedgerParams, Order, Outcome};

/// How much there is of everything. Sectors and deals are divided evenly among the providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    /// Providers, of 32 GiB sectors; at least 1.
    pub providers: u64,
    /// Live sectors.
    pub sectors: u64,
    /// Active deals, at most one in a sector.
    pub deals: u64,
}

impl Population {
    fn part(&self, total: u64, index: u64) -> Range<u64> {
        total * index / self.providers..total * (index + 1) / self.providers
    }

    /// Number of sectors of one provider; they are numbered from 0.
    pub fn sectors_of(&self, index: u64) -> u64 {
        let part = self.part(self.sectors, index);
        part.end - part.start
    }

    /// The deals of one provider, in its first sectors.
    pub fn deals_of(&self, index: u64) -> Range<u64> {
        self.part(self.deals, index)
    }

    /// Index of the provider that holds a deal: the inverse of [`Population::deals_of`].
    pub fn holder_of(&self, deal: u64) -> u64 {
        ((deal + 1) * self.providers - 1) / self.deals
    }
}

/// Money of each owner.
const OWNER_FUNDS: Amount = Amount(100_000_000_000);

/// Length of the deals, in proving periods.
const DEAL_PERIODS: u64 = 100;

/// Epochs after its challenge at which a provider answers; evenly spread, and always in time.
pub fn post_delay(params: &LedgerParams, provider: ProviderId) -> u64 {
    1 + provider.0 % (params.post_window() - 1)
}

/// A state with this population, whose providers' owners `owner` names; every challenge so far was answered.
///
/// # Panics
/// If the parameters are not valid, or a network with them cannot live through a deal.
pub fn populated(params: &LedgerParams, population: &Population, owner: impl Fn(u64) -> Address) -> State {
    let owners: Vec<Address> = (0..population.providers).map(owner).collect();
    let made = Populating { templates: live_once(params), population, owners };
    let mut state = made.templates.state.clone();
    made.add_owners(&mut state);
    let (partitions, mut queue) = made.calendar();
    queue.extend((0..population.deals).map(|deal| made.deal_end(deal)));
    queue.sort_unstable();
    extend(&mut state.providers, (0..population.providers).map(|index| (made.id(index), made.provider(index))));
    let sectors = (0..population.providers).flat_map(|index| {
        let made = &made;
        (0..population.sectors_of(index)).map(move |number| made.sector(index, number))
    });
    extend(&mut state.sectors, sectors);
    extend(&mut state.partitions, partitions);
    extend(&mut state.deals, (0..population.deals).map(|deal| (made.deal_id(deal), made.deal(deal))));
    extend(&mut state.orders, (0..population.deals).map(|deal| (made.order_id(deal), made.order(deal))));
    let root = made.templates.order.terms.root;
    let served = (0..population.providers).flat_map(|index| population.deals_of(index).map(move |deal| (index, deal)));
    extend(&mut state.serving, served.map(|(index, deal)| ((made.id(index), made.deal_id(deal)), root)));
    let counts = (0..population.providers).map(|index| (made.id(index), population.deals_of(index).count() as u64));
    extend(&mut state.shelves, counts.filter(|(_, count)| *count > 0));
    let mut all: Vec<_> = state.queue.iter().map(|(key, ())| *key).chain(queue).collect();
    all.sort_unstable();
    state.queue = Table::from_ascending(all.into_iter().map(|key| (key, ())));
    made.add_money(&mut state);
    state.meta.next_provider += population.providers;
    state.meta.next_deal += population.deals;
    state.meta.next_order += population.deals;
    state
}

/// Appends entries whose keys come after all that are there.
fn extend<K: TableKey, V: Clone + serde::Serialize>(table: &mut Table<K, V>, more: impl Iterator<Item = (K, V)>) {
    let old: Vec<_> = table.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    *table = Table::from_ascending(old.into_iter().chain(more));
}

/// One of each kind of record, as a small network left them.
struct Templates {
    state: State,
    provider: Provider,
    idle: Sector,
    dealt: Sector,
    deal: Deal,
    order: Order,
}

struct Populating<'p> {
    templates: Templates,
    population: &'p Population,
    owners: Vec<Address>,
}

/// Where the sectors of a provider stand in the calendar.
struct Place {
    deadline: u32,
    closes_at: Epoch,
    answered: Epoch,
}

impl Populating<'_> {
    fn id(&self, index: u64) -> ProviderId {
        ProviderId(self.templates.state.meta.next_provider + index)
    }

    fn deal_id(&self, deal: u64) -> DealId {
        DealId(self.templates.state.meta.next_deal + deal)
    }

    fn order_id(&self, deal: u64) -> OrderId {
        OrderId(self.templates.state.meta.next_order + deal)
    }

    /// Sectors in one partition, at most.
    fn partition_max(&self) -> u64 {
        self.templates.state.partition_sectors_max(&self.templates.provider, &self.templates.idle) as u64
    }

    /// All sectors of a provider stand in one deadline, those of different providers evenly in all.
    fn place(&self, index: u64) -> Place {
        let (state, provider) = (&self.templates.state, self.id(index));
        let deadline = (index / u64::from(DEADLINES) % u64::from(DEADLINES)) as u32;
        let instance = state.calendar(provider).current(deadline, state.epoch());
        let params = state.params();
        let is_answered = state.epoch().0 >= instance.challenge_epoch.0 + post_delay(params, provider);
        let before = Epoch(instance.challenge_epoch.0 - params.proving_period());
        let answered = if is_answered { instance.challenge_epoch } else { before };
        Place { deadline, closes_at: instance.closes_at, answered }
    }

    fn add_owners(&self, state: &mut State) {
        let mut accounts: Vec<(Address, Account)> = state.accounts.iter().map(|(key, value)| (*key, *value)).collect();
        accounts.extend(self.owners.iter().map(|owner| (*owner, Account { balance: OWNER_FUNDS, nonce: 0 })));
        accounts.sort_unstable_by_key(|(address, _)| *address);
        state.accounts = Table::from_ascending(accounts);
    }

    fn provider(&self, index: u64) -> Provider {
        let (count, deals) = (self.population.sectors_of(index), self.population.deals_of(index));
        let mut partition_counts = vec![0; DEADLINES as usize];
        partition_counts[self.place(index).deadline as usize] = count.div_ceil(self.partition_max()) as u32;
        Provider {
            owner: self.owners[index as usize],
            obligations: count + deals.end - deals.start,
            partition_counts,
            ..self.templates.provider.clone()
        }
    }

    fn sector(&self, index: u64, number: u64) -> ((ProviderId, SectorNumber), Sector) {
        let (deals, place) = (self.population.deals_of(index), self.place(index));
        let has_deal = number < deals.end - deals.start;
        let mut record = if has_deal { self.templates.dealt.clone() } else { self.templates.idle.clone() };
        if has_deal {
            record.deals = vec![self.deal_id(deals.start + number)];
        }
        let mut comm_r = [0; 32];
        comm_r[..8].copy_from_slice(&index.to_le_bytes());
        comm_r[8..16].copy_from_slice(&number.to_le_bytes());
        record.comm_r = CommR(comm_r);
        if let SectorStatus::Proving(proving) = &mut record.status {
            (proving.deadline, proving.partition) = (place.deadline, (number / self.partition_max()) as u32);
            proving.history = ProofHistory::new(proving.activated_at);
            proving.history.account(place.answered, true);
        }
        ((self.id(index), SectorNumber(number)), record)
    }

    /// Partitions by name, and what is due for them.
    #[allow(clippy::type_complexity, reason = "keys of two tables")]
    fn calendar(&self) -> (impl Iterator<Item = ((ProviderId, u32, u32), Partition)> + use<>, Vec<(Epoch, Due)>) {
        let (mut partitions, mut queue) = (Vec::new(), Vec::new());
        for index in 0..self.population.providers {
            let Place { deadline, closes_at, answered } = self.place(index);
            let (count, most) = (self.population.sectors_of(index), self.partition_max());
            for partition in 0..count.div_ceil(most) {
                let sectors = partition * most..count.min((partition + 1) * most);
                let sectors = sectors.map(SectorNumber).collect();
                let key = (self.id(index), deadline, partition as u32);
                partitions.push((key, Partition { sectors, proven_challenge: Some(answered), closes_at }));
                queue.push((closes_at, Due::PartitionClose(key.0, key.1, key.2)));
            }
        }
        (partitions.into_iter(), queue)
    }

    fn deal(&self, deal: u64) -> Deal {
        let index = self.population.holder_of(deal);
        let (order, provider) = (self.order_id(deal), self.id(index));
        let mut record = Deal { provider, order, group: order, ..self.templates.deal.clone() };
        if let DealStatus::Active { sector, .. } = &mut record.status {
            *sector = SectorNumber(deal - self.population.deals_of(index).start);
        }
        record
    }

    fn deal_end(&self, deal: u64) -> (Epoch, Due) {
        let DealStatus::Active { end, .. } = self.templates.deal.status else { panic!("the deal is active") };
        let index = self.population.holder_of(deal);
        let calendar = self.templates.state.calendar(self.id(index));
        let last = calendar.first_challenged_from(self.place(index).deadline, end);
        (Epoch(last.closes_at.0 + 1), Due::DealEnd(self.deal_id(deal)))
    }

    fn order(&self, deal: u64) -> Order {
        let holder = self.id(self.population.holder_of(deal));
        let mut record = Order { holders: vec![vec![holder]], ..self.templates.order.clone() };
        if let OrderStatus::Matched { deals, .. } = &mut record.status {
            *deals = vec![self.deal_id(deal)];
        }
        record
    }

    /// Adds what the copies hold to the pots, and that and the owners' money to the supply.
    fn add_money(&self, state: &mut State) {
        let times = |amount: Amount, count: u64| amount.checked_mul(count).expect("a population's money fits");
        let (population, templates) = (self.population, &self.templates);
        let collateral = times(templates.provider.collateral, population.providers);
        let deposits = times(templates.idle.deposit, population.sectors);
        let escrow = times(templates.deal.escrow, population.deals);
        let free = times(OWNER_FUNDS, population.providers);
        let treasury = &mut state.meta.treasury;
        for amount in [collateral, deposits, escrow, free] {
            treasury.supply = treasury.supply.checked_add(amount).expect("a population's money fits");
        }
        treasury.collateral.0 += collateral.0;
        treasury.sector_deposits.0 += deposits.0;
        treasury.escrow.0 += escrow.0;
    }
}

/// A block of these commands, all of which must be carried out.
fn step(network: &mut Network, commands: &[(u8, Command)]) -> Vec<Event> {
    let signed = |(index, (n, command)): (usize, &(u8, Command))| {
        let ahead = commands[..index].iter().filter(|(other, _)| other == n).count() as u64;
        network.transaction(*n, ahead, command.clone())
    };
    let transactions: Vec<_> = commands.iter().enumerate().map(signed).collect();
    let context = network.next_context();
    let outcome = network.state.apply_block(&context, &transactions, &HashVerifier).expect("the block follows");
    assert!(outcome.receipts.iter().all(|receipt| receipt.outcome == Outcome::Applied), "{:?}", outcome.receipts);
    outcome.events
}

fn wait(network: &mut Network, until: Epoch) {
    while network.state.epoch() < until {
        step(network, &[]);
    }
}

/// Account 1 orders, account 2 stores: one sector with the deal, one without, each proven once.
fn live_once(params: &LedgerParams) -> Templates {
    let mut network = Network::new(params.clone(), 2);
    let collateral = params.collateral_min.checked_mul(10).expect("small");
    let endpoint = "http://provider.test/".to_owned();
    let register = Command::RegisterProvider { sector_size: SectorSize::GIB32, collateral, endpoint };
    step(&mut network, &[(2, register)]);
    let provider = network.state.providers().next().expect("just made").0;
    let mut terms = order_terms(params, vec![piece(1, 1 << 30)], 100);
    terms.duration_epochs = (DEAL_PERIODS * params.proving_period()).min(params.deal_epochs_max);
    step(&mut network, &[(1, Command::PlaceOrder(terms))]);
    let (order, record) = network.state.orders().next().expect("just made");
    let assigned_at = record.bids_close_at;
    step(&mut network, &[(2, Command::PlaceBid { provider, order, price_per_epoch: Amount(50) })]);
    wait(&mut network, assigned_at);
    let deal = network.state.deals().next().expect("the only bid wins").0;
    let dealt = network.pre_commit(provider, 1, &[deal]);
    let idle = crate::PreCommit { expiration: dealt.expiration, ..network.pre_commit(provider, 2, &[]) };
    step(&mut network, &[(2, Command::PreCommit(dealt)), (2, Command::PreCommit(idle))]);
    let seed_epoch = network.state.sector(provider, SectorNumber(1)).expect("just made").seed_epoch;
    wait(&mut network, seed_epoch);
    let proofs = [network.prove_commit(provider, 1, &[deal]), network.prove_commit(provider, 2, &[])];
    step(&mut network, &proofs.map(|proof| (2, proof)));
    for duty in network.state.post_duties(provider) {
        wait(&mut network, duty.deadline.challenge_epoch);
        let post = network.window_post(provider, &duty);
        step(&mut network, &[(2, post)]);
    }
    let sector = |number| network.state.sector(provider, SectorNumber(number)).expect("sealed").clone();
    let (dealt, idle) = (sector(1), sector(2));
    let provider = network.state.provider(provider).expect("registered").clone();
    let (deal, order) = (network.state.deal(deal), network.state.order(order));
    let (deal, order) = (deal.expect("active").clone(), order.expect("matched").clone());
    // Two periods, so that every place in the calendar has a challenge behind it that came after the activation.
    wait(&mut network, Epoch(2 * params.proving_period() + 2 * params.post_window()));
    Templates { state: network.state, provider, idle, dealt, deal, order }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_population_keeps_every_promise_and_lives_on() {
        let params = LedgerParams { post_challenge_lead: 20, ..LedgerParams::devnet() };
        let population = Population { providers: 100, sectors: 5_003, deals: 501 };
        let state = populated(&params, &population, |index| Network::address((index % 100) as u8 + 100));
        state.check_invariants().unwrap();
        let size = state.size();
        assert!(size.entries > 6_000 && size.bytes > 1_000_000, "{size:?}");
        let live = |state: &State| (1_000..1_200).map(|id| state.sectors_of(ProviderId(id)).count()).sum::<usize>();
        assert_eq!(live(&state), 5_003 + 2);
        // Everybody misses twice, the second time for a fee, nobody panics, and the books still balance.
        let mut network = Network { state, events: Vec::new() };
        for _ in 0..2 * params.proving_period() + 30 {
            step(&mut network, &[]);
        }
        network.state.check_invariants().unwrap();
        assert!(network.state.treasury().burnt > Amount(4_000 * params.fault_fee.0));
    }
}
