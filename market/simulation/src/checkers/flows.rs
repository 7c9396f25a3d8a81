//! Money as the events tell it.

use std::collections::{BTreeMap, BTreeSet};

use cairn_ledger::emission::part_of;
use cairn_ledger::payments::ChannelId;
use cairn_ledger::state::columns;
use cairn_ledger::{
    Address, CheckCommand, CloseReason, Command, DealId, Event, JobEvent, JobId, JobParams, MarketEvent, OrderId,
    Outcome, RailEvent, RewardEvent, ScoreEvent, SectorEvent, State,
};
use cairn_protocol::{Amount, ProviderId};

use super::Checker;
use crate::observation::Observation;

/// Free money and who is paid back, from events, receipts and commands; see [`super::PROMISES`].
pub struct MoneyFollowsEvents {
    free: BTreeMap<Address, i128>,
    owners: BTreeMap<ProviderId, Address>,
    collateral: BTreeMap<ProviderId, i128>,
    clients: BTreeMap<OrderId, Address>,
    deal_parties: BTreeMap<DealId, (Address, ProviderId)>,
    channels: BTreeMap<ChannelId, (Address, Address)>,
    /// Channels that pay for a provider's service.
    bound: BTreeSet<ChannelId>,
    /// Posters and work of jobs.
    jobs: BTreeMap<JobId, (Address, u64)>,
    /// Bonds of jobs that are worked on.
    job_bonds: BTreeMap<JobId, i128>,
    job_params: JobParams,
    /// Who vouches for whom.
    attested: BTreeSet<(ProviderId, Address)>,
    attestation_deposit: i128,
    bid_deposit: i128,
    sector_deposit: i128,
    fee: i128,
    settlement_burn_bp: u32,
}

fn signed(amount: Amount) -> i128 {
    i128::from(amount.0)
}

impl MoneyFollowsEvents {
    pub(super) fn new(state: &State) -> Self {
        let params = state.params();
        Self {
            free: state.accounts().map(|(address, account)| (address, signed(account.balance))).collect(),
            owners: BTreeMap::new(),
            collateral: BTreeMap::new(),
            clients: BTreeMap::new(),
            deal_parties: BTreeMap::new(),
            channels: BTreeMap::new(),
            bound: BTreeSet::new(),
            jobs: BTreeMap::new(),
            job_bonds: BTreeMap::new(),
            job_params: params.jobs.clone(),
            attested: BTreeSet::new(),
            attestation_deposit: signed(params.market.attestation_deposit),
            bid_deposit: signed(params.bid_deposit),
            sector_deposit: signed(params.sector_deposit),
            fee: signed(params.transaction_fee),
            settlement_burn_bp: params.economy.emission.settlement_burn_bp,
        }
    }

    fn pay(&mut self, to: Address, amount: i128) {
        *self.free.entry(to).or_default() += amount;
    }

    fn pay_owner(&mut self, provider: ProviderId, amount: i128) {
        let owner = self.owners[&provider];
        self.pay(owner, amount);
    }

    /// Events in order; `command` is what the sender asked for, if they belong to a transaction.
    fn read(&mut self, events: &[Event], command: Option<(Address, &Command)>) {
        for (index, event) in events.iter().enumerate() {
            let ordered_again = matches!(events.get(index + 1), Some(Event::DealReplaced { .. }));
            self.read_deal(event, ordered_again);
            self.read_provider(event, command);
            self.read_account(event, command);
            if let Event::Job(event) = event {
                self.read_job(event);
            }
            self.read_economy(event, command);
        }
    }

    fn read_deal(&mut self, event: &Event, ordered_again: bool) {
        match *event {
            Event::OrderPlaced { order, client, deposit, .. } => {
                self.clients.insert(order, client);
                // A replacement is paid by the escrow of what it replaces.
                if !ordered_again {
                    self.pay(client, -signed(deposit));
                }
            }
            Event::OrderMatched { order, refunded, .. } | Event::OrderClosed { order, refunded, .. } => {
                self.pay(self.clients[&order], signed(refunded));
            }
            Event::BidPlaced { provider, .. } | Event::BidSealed { provider, .. } => {
                self.pay_owner(provider, -self.bid_deposit);
            }
            Event::BidClosed { provider, burnt, .. } => self.pay_owner(provider, self.bid_deposit - signed(burnt)),
            Event::DealAssigned { deal, order, provider, .. } => {
                self.deal_parties.insert(deal, (self.clients[&order], provider));
            }
            Event::DealSettled { deal, paid, .. } => {
                let kept = signed(paid) - signed(part_of(paid, self.settlement_burn_bp));
                self.pay_owner(self.deal_parties[&deal].1, kept);
            }
            Event::DealClosed { deal, refunded, .. } => {
                let (client, _) = self.deal_parties.remove(&deal).expect("assigned before");
                self.pay(client, signed(refunded));
            }
            _ => {}
        }
    }

    fn read_provider(&mut self, event: &Event, command: Option<(Address, &Command)>) {
        match *event {
            Event::ProviderRegistered { provider, owner } => {
                self.owners.insert(provider, owner);
                if let Some((_, Command::RegisterProvider { collateral, .. })) = command {
                    self.collateral.insert(provider, signed(*collateral));
                    self.pay(owner, -signed(*collateral));
                }
            }
            Event::CollateralChanged { provider, collateral } => {
                let before = self.collateral.insert(provider, signed(collateral)).unwrap_or_default();
                match (signed(collateral) - before, command) {
                    (more, Some((sender, _))) if more > 0 => self.pay(sender, -more),
                    (less, _) => self.pay_owner(provider, -less),
                }
            }
            Event::SectorFaulted { provider, fee, .. } => {
                *self.collateral.entry(provider).or_default() -= signed(fee);
            }
            Event::Sector(SectorEvent::CollateralBurnt { provider, amount, .. }) => {
                *self.collateral.entry(provider).or_default() -= signed(amount);
            }
            Event::WrongBytesServed { provider, reporter, burnt, rewarded, .. } => {
                *self.collateral.entry(provider).or_default() -= signed(burnt) + signed(rewarded);
                self.pay(reporter, signed(rewarded));
            }
            Event::SectorPreCommitted { provider, .. } => self.pay_owner(provider, -self.sector_deposit),
            Event::SectorClosed { provider, burnt, .. } => {
                self.pay_owner(provider, self.sector_deposit - signed(burnt));
            }
            _ => {}
        }
    }

    fn read_account(&mut self, event: &Event, command: Option<(Address, &Command)>) {
        match *event {
            Event::Transferred { from, to, amount } => {
                self.pay(from, -signed(amount));
                self.pay(to, signed(amount));
            }
            Event::StakeChanged { validator, .. } => {
                if let Some((_, Command::Bond { amount })) = command {
                    self.pay(validator, -signed(*amount));
                }
            }
            Event::StakeReleased { validator, amount } => self.pay(validator, signed(amount)),
            Event::Reward(RewardEvent::Rewarded { to, free, .. }) => self.pay(to, signed(free)),
            Event::Reward(RewardEvent::Vested { to, amount }) => self.pay(to, signed(amount)),
            Event::ChannelOpened { channel, payer, payee, deposit } => {
                self.channels.insert(channel, (payer, payee));
                self.pay(payer, -signed(deposit));
            }
            Event::ChannelToppedUp { amount, .. } => {
                if let Some((sender, _)) = command {
                    self.pay(sender, -signed(amount));
                }
            }
            Event::ChannelBound { channel, .. } => {
                self.bound.insert(channel);
            }
            Event::VoucherRedeemed { channel, paid, .. } => {
                let burn_bp = if self.bound.contains(&channel) { self.settlement_burn_bp } else { 0 };
                self.pay(self.channels[&channel].1, signed(paid) - signed(part_of(paid, burn_bp)));
            }
            Event::ChannelClosed { channel, returned, .. } => self.pay(self.channels[&channel].0, signed(returned)),
            _ => {}
        }
    }

    fn read_economy(&mut self, event: &Event, command: Option<(Address, &Command)>) {
        match (event, command) {
            (Event::Rail(RailEvent::Deposited { amount, .. }), Some((sender, _))) => self.pay(sender, -signed(*amount)),
            (Event::Rail(RailEvent::Withdrawn { account, amount }), _) => self.pay(*account, signed(*amount)),
            (
                Event::Score(ScoreEvent::StakeChanged { checker, .. }),
                Some((_, Command::Check(CheckCommand::Stake { amount }))),
            ) => self.pay(*checker, -signed(*amount)),
            (Event::Market(MarketEvent::AttributesSigned { provider, auditor, attributes }), _) => {
                match attributes.is_empty() {
                    true if self.attested.remove(&(*provider, *auditor)) => {
                        self.pay(*auditor, self.attestation_deposit)
                    }
                    false if self.attested.insert((*provider, *auditor)) => {
                        self.pay(*auditor, -self.attestation_deposit)
                    }
                    _ => {}
                }
            }
            (Event::Score(ScoreEvent::StakeReleased { checker, amount }), _) => self.pay(*checker, signed(*amount)),
            (Event::Score(ScoreEvent::Contradicted { reporter, rewarded, .. }), _) => {
                self.pay(*reporter, signed(*rewarded));
            }
            _ => {}
        }
    }

    fn read_job(&mut self, event: &JobEvent) {
        match *event {
            JobEvent::Posted { job, poster, work, escrow } => {
                self.jobs.insert(job, (poster, work));
                self.pay(poster, -signed(escrow));
            }
            JobEvent::BidPlaced { job, worker, .. } => {
                let bond = self.job_params.bond_of(self.jobs[&job].1);
                self.pay(worker, -signed(bond));
            }
            JobEvent::BidReturned { worker, bond, .. } => self.pay(worker, signed(bond)),
            JobEvent::Assigned { job, bond, .. } => drop(self.job_bonds.insert(job, signed(bond))),
            JobEvent::Proven { job, worker, paid, refunded, .. } => {
                let bond = self.job_bonds.remove(&job).expect("assigned before");
                self.pay(worker, bond + signed(paid));
                self.pay(self.jobs[&job].0, signed(refunded));
            }
            JobEvent::WorkerFailed { worker, returned, .. } => self.pay(worker, signed(returned)),
            JobEvent::Closed { job, refunded, .. } => self.pay(self.jobs[&job].0, signed(refunded)),
            _ => {}
        }
    }

    fn compare(&self, state: &State, address: &Address) -> Result<(), String> {
        let (told, got) = (self.free.get(address).copied().unwrap_or(0), state.account(address).balance.0);
        if told == i128::from(got) { Ok(()) } else { Err(format!("events leave {address} {told}, it has {got}")) }
    }
}

impl Checker for MoneyFollowsEvents {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        self.read(seen.due_events(), None);
        for (offer, receipt) in seen.paying() {
            let sender = offer.signed.transaction.sender;
            self.pay(sender, -self.fee);
            if receipt.outcome == Outcome::Applied {
                self.read(&receipt.events, Some((sender, &offer.signed.transaction.command)));
            }
        }
        if seen.full {
            return seen.after.accounts().try_for_each(|(address, _)| self.compare(&seen.after, &address));
        }
        seen.touched::<Address>(columns::ACCOUNTS).try_for_each(|(address, _)| self.compare(&seen.after, &address))
    }
}

/// See [`super::PROMISES`].
pub struct BurnsHaveCauses {
    /// Channels that pay for a provider's service.
    bound: BTreeSet<ChannelId>,
}

impl BurnsHaveCauses {
    pub(super) fn new(_: &State) -> Self {
        Self { bound: BTreeSet::new() }
    }
}

/// What an event burns, and whether its reason allows that.
fn burnt_by(event: &Event, settlement_burn_bp: u32) -> (Amount, bool) {
    use CloseReason::{
        CollateralExhausted, DealNotActivated, FaultyTooLong, NotRevealed, PreCommitExpired, TerminatedByOwner,
    };
    match event {
        Event::SectorFaulted { fee, .. } | Event::Job(JobEvent::Proven { fee, .. }) => (*fee, true),
        Event::Job(JobEvent::WorkerFailed { slashed, .. }) => (*slashed, true),
        Event::Rail(RailEvent::PaidOnce { burnt, .. }) => (*burnt, true),
        Event::Rail(RailEvent::Settled { settlement, .. }) => (settlement.burnt, true),
        Event::Score(
            ScoreEvent::NotRevealed { burnt, .. }
            | ScoreEvent::NotOpened { burnt, .. }
            | ScoreEvent::Refuted { burnt, .. }
            | ScoreEvent::Contradicted { burnt, .. },
        ) => (*burnt, true),
        Event::Sector(SectorEvent::CollateralBurnt { amount, .. }) => (*amount, true),
        Event::Slashed { burnt, .. } | Event::WrongBytesServed { burnt, .. } => (*burnt, true),
        Event::DealSettled { paid, .. } => (part_of(*paid, settlement_burn_bp), true),
        Event::BidClosed { burnt, closure, .. } => {
            (*burnt, matches!(closure.reason, NotRevealed | DealNotActivated) != burnt.is_zero())
        }
        Event::SectorClosed { burnt, closure, .. } => {
            let early = matches!(closure.reason, FaultyTooLong | CollateralExhausted | TerminatedByOwner);
            let guilty = early || closure.reason == PreCommitExpired;
            (*burnt, guilty != burnt.is_zero())
        }
        _ => (Amount::ZERO, true),
    }
}

impl Checker for BurnsHaveCauses {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        let fee = u128::from(seen.after.params().transaction_fee.0);
        let mut caused = fee * seen.paying().count() as u128;
        for event in &seen.outcome.events {
            let (mut burnt, allowed) = burnt_by(event, seen.after.params().economy.emission.settlement_burn_bp);
            match event {
                Event::ChannelBound { channel, .. } => {
                    self.bound.insert(*channel);
                }
                Event::VoucherRedeemed { channel, paid, .. } if self.bound.contains(channel) => {
                    burnt = part_of(*paid, seen.after.params().economy.emission.settlement_burn_bp);
                }
                _ => {}
            }
            if !allowed {
                return Err(format!("the reason does not go with what is burnt: {event:?}"));
            }
            caused += u128::from(burnt.0);
        }
        let burnt = u128::from(seen.after.treasury().burnt.0) - u128::from(seen.before.treasury().burnt.0);
        if burnt == caused { Ok(()) } else { Err(format!("{burnt} is burnt, events and fees cause {caused}")) }
    }
}
