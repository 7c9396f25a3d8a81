//! New money: what a round brings, and how it reaches those who earned it.
//!
//! The rules are in [`crate::emission`] and [`crate::payments::vesting`]; here they are kept within a block's bounds:
//!
//! 1. *While a round lasts*, proven space and paid volume are counted, each where it happens.
//! 2. *At its end* the round's emission is split into streams. Validators are paid then. Checkers and the weights of
//!    service follow with the scores (`apply::scoring`).
//! 3. *A provider's parts* are paid when it next proves, is next scored, or asks. Nothing walks over all providers.
//! 4. *A round is forgotten* after `reward_rounds_kept` rounds. What is left then (rounding, absent validators, service
//!    that nobody paid for, providers that never came back) is not minted.
//!
//! Money is made when it is paid: the free part goes to the balance, the rest into [`Pot::Vesting`].

use cairn_protocol::{Amount, Epoch, ProviderId};

use super::Step;
use crate::economy::{ClaimRejection, ProviderRewards, RewardEvent, RewardRound, RewardStream, ServiceClaim, Stream};
use crate::emission::part_of;
use crate::event::Event;
use crate::ids::Address;
use crate::payments::VestingAccount;
use crate::rejection::Rejection;
use crate::scores::ballot::RoundCalendar;
use crate::state::State;
use crate::treasury::Pot;

/// Bytes of one unit of proven space: the smallest sector.
pub(crate) const SPACE_UNIT: u64 = 2 << 10;

impl Step<'_> {
    fn rounds(&self) -> RoundCalendar {
        self.state.meta.params.economy.rounds
    }

    /// The round of this block.
    pub(super) fn round(&self) -> u64 {
        self.rounds().round_at(self.now())
    }

    /// What the calendar of rounds asks of this block; before anything else in it.
    pub(super) fn turn_rounds(&mut self) {
        let (now, rounds) = (self.now(), self.rounds());
        let Some(before) = rounds.round_at(now).checked_sub(1) else { return };
        let into = now.0 % rounds.round_epochs;
        if into == 0 {
            self.close_reward_round(before);
        } else if into == rounds.commit_epochs + rounds.reveal_epochs {
            self.close_ballots(before);
        } else if into == rounds.commit_epochs + rounds.reveal_epochs + rounds.open_epochs {
            self.close_audits(before);
        } else {
            self.score_group();
        }
    }

    /// Step 2.
    fn close_reward_round(&mut self, round: u64) {
        let economy = &self.state.meta.params.economy;
        let (emission, kept) = (economy.emission, economy.reward_rounds_kept);
        let start = economy.rounds.first_epoch(round).expect("rounds of epochs that were");
        let scheduled = emission.scheduled_before(self.now()) - emission.scheduled_before(start);
        let scheduled = Amount(u64::try_from(scheduled).expect("the whole schedule fits in 64 bits"));
        let streams = emission.split(scheduled);
        let weight = std::mem::take(&mut self.state.meta.economy.space_weight);
        let stakes = self.state.validators.iter().map(|(_, v)| v.stake.0).fold(0, u64::saturating_add);
        let mut record = RewardRound {
            space: Stream::new(streams.space, weight),
            service: Stream::new(streams.service, 0),
            checkers: Stream::new(streams.checkers, 0),
            validators: Stream::new(streams.validators, stakes),
            scored: false,
        };
        let present = self.state.validators.iter().filter(|(_, v)| !v.is_absent() && v.power() > 0);
        let present: Vec<(Address, u64)> = present.map(|(address, v)| (*address, v.stake.0)).collect();
        for (address, stake) in present {
            let reward = record.validators.take(stake, Amount(u64::MAX));
            self.reward(address, RewardStream::Validating, round, reward);
        }
        self.state.reward_rounds.insert(round, record);
        self.emit(Event::Reward(RewardEvent::RoundClosed { round, scheduled }));
        if let Some(old) = round.checked_sub(kept) {
            self.forget_reward_round(old);
        }
    }

    /// Step 4.
    fn forget_reward_round(&mut self, round: u64) {
        let Some(record) = self.state.reward_rounds.get(&round) else { return };
        let not_minted = record.left();
        let total = self.state.meta.economy.not_minted.checked_add(not_minted);
        self.state.meta.economy.not_minted = total.expect("a part of the schedule, which fits");
        self.state.reward_rounds.remove(&round);
        self.emit(Event::Reward(RewardEvent::RoundForgotten { round, not_minted }));
    }

    /// Makes money for `to`, and lets go what has vested for it.
    pub(super) fn reward(&mut self, to: Address, stream: RewardStream, round: u64, amount: Amount) {
        if amount.is_zero() {
            return;
        }
        let (now, rule) = (self.now(), self.state.meta.params.economy.vesting);
        self.release_vested(to);
        let mut account = self.state.vesting(&to);
        let free = account.grant(now, amount, &rule).expect("all rewards together fit in 64 bits");
        self.state.mint(to, free, amount);
        self.put_vesting(to, account);
        self.emit(Event::Reward(RewardEvent::Rewarded { to, stream, round, amount, free }));
    }

    fn put_vesting(&mut self, to: Address, account: VestingAccount) {
        if account.locked().is_zero() {
            self.state.vesting.remove(&to);
        } else {
            self.state.vesting.insert(to, account);
        }
    }

    /// Says whether there was anything.
    fn release_vested(&mut self, to: Address) -> bool {
        let (now, rule) = (self.now(), self.state.meta.params.economy.vesting);
        let mut account = self.state.vesting(&to);
        let amount = account.release(now, &rule);
        if amount.is_zero() {
            return false;
        }
        self.state.release(Pot::Vesting, to, amount);
        self.put_vesting(to, account);
        self.emit(Event::Reward(RewardEvent::Vested { to, amount }));
        true
    }

    pub(super) fn claim_rewards(&mut self, provider: Option<ProviderId>) -> Result<(), Rejection> {
        let mut anything = false;
        if let Some(provider) = provider {
            self.owned_provider(provider)?;
            anything = self.pay_provider(provider);
        }
        anything |= self.release_vested(self.sender);
        if anything { Ok(()) } else { Err(ClaimRejection.into()) }
    }

    fn change_rewards(&mut self, provider: ProviderId, change: impl FnOnce(&mut ProviderRewards)) {
        let mut record = self.state.rewards.get(&provider).copied().unwrap_or_default();
        change(&mut record);
        self.state.rewards.insert(provider, record);
    }

    /// Step 3: pays a provider's parts of closed rounds; says whether there was any.
    pub(super) fn pay_provider(&mut self, provider: ProviderId) -> bool {
        let paid = self.pay_space(provider);
        self.pay_service(provider) || paid
    }

    fn pay_space(&mut self, provider: ProviderId) -> bool {
        let Some(record) = self.state.rewards.get(&provider).copied() else { return false };
        let (round, weight) = record.space;
        if weight == 0 || round >= self.round() {
            return false;
        }
        self.change_rewards(provider, |record| record.space = (round, 0));
        self.pay_from(provider, RewardStream::Space, round, weight, Amount(u64::MAX))
    }

    fn pay_service(&mut self, provider: ProviderId) -> bool {
        let Some(ServiceClaim { round, weight, volume }) = self.state.rewards.get(&provider).and_then(|r| r.service)
        else {
            return false;
        };
        if self.state.reward_rounds.get(&round).is_some_and(|record| !record.scored) {
            return false;
        }
        self.change_rewards(provider, |record| record.service = None);
        let most = part_of(volume, self.state.meta.params.economy.emission.service_match_bp);
        self.pay_from(provider, RewardStream::Service, round, weight, most)
    }

    fn pay_from(&mut self, provider: ProviderId, stream: RewardStream, round: u64, weight: u64, most: Amount) -> bool {
        let take = |record: &mut RewardRound| match stream {
            RewardStream::Space => record.space.take(weight, most),
            RewardStream::Service => record.service.take(weight, most),
            RewardStream::Checking => record.checkers.take(weight, most),
            RewardStream::Validating => record.validators.take(weight, most),
        };
        let reward = self.state.reward_rounds.update(&round, take).unwrap_or_default();
        self.reward(self.owner_of(provider), stream, round, reward);
        !reward.is_zero()
    }

    /// Step 1: `epochs` of a sector of `bytes` were proven just now.
    pub(super) fn count_proven_space(&mut self, provider: ProviderId, sector_epochs: u64, bytes: u64) {
        self.pay_provider(provider);
        let (round, weight) = (self.round(), sector_epochs.saturating_mul(bytes / SPACE_UNIT));
        // Past 2^64 epochs of 2 KiB in a round, more is not counted, here and there alike.
        let total = self.state.meta.economy.space_weight;
        let weight = weight.min(u64::MAX - total);
        self.state.meta.economy.space_weight = total + weight;
        self.change_rewards(provider, |record| {
            let before = if record.space.0 == round { record.space.1 } else { 0 };
            record.space = (round, before + weight);
        });
    }

    /// Step 1: `amount` was paid for a provider's proven service, before the burn.
    pub(super) fn count_paid_volume(&mut self, provider: ProviderId, amount: Amount) {
        if amount.is_zero() {
            return;
        }
        let round = self.round();
        self.change_rewards(provider, |record| {
            if record.volume.0 != round {
                record.volume_before = std::mem::replace(&mut record.volume, (round, Amount::ZERO));
            }
            record.volume.1 = record.volume.1.checked_add(amount).unwrap_or(Amount(u64::MAX));
        });
    }

    /// Notes what a provider may claim of a round's service stream.
    pub(super) fn claim_service(&mut self, provider: ProviderId, claim: ServiceClaim) {
        self.pay_provider(provider);
        self.change_rewards(provider, |record| record.service = Some(claim));
        self.state.reward_rounds.update(&claim.round, |record| {
            record.service.weight = record.service.weight.saturating_add(claim.weight);
        });
    }

    /// Pays a checker its share of a round.
    pub(super) fn pay_checker(&mut self, checker: Address, round: u64, amount: Amount) {
        let take = |record: &mut RewardRound| {
            let paid = amount.min(record.checkers.left);
            record.checkers.left = record.checkers.left.checked_sub(paid).expect("a minimum of both");
            paid
        };
        let paid = self.state.reward_rounds.update(&round, take).unwrap_or_default();
        self.reward(checker, RewardStream::Checking, round, paid);
    }
}

/// Reading rewards.
impl State {
    /// What an address waits for.
    pub fn vesting(&self, address: &Address) -> VestingAccount {
        self.vesting.get(address).cloned().unwrap_or_default()
    }

    /// What [`crate::Command::ClaimRewards`] would set free of it now.
    pub fn vested(&self, address: &Address) -> Amount {
        self.vesting(address).vested(self.meta.epoch, &self.meta.params.economy.vesting)
    }

    /// What a provider did that is not rewarded yet.
    pub fn provider_rewards(&self, provider: ProviderId) -> ProviderRewards {
        self.rewards.get(&provider).copied().unwrap_or_default()
    }

    /// The emission of a round that can still be paid.
    pub fn reward_round(&self, round: u64) -> Option<&RewardRound> {
        self.reward_rounds.get(&round)
    }

    /// Everything that was ever minted, and what the schedule brought and nobody will ever get.
    pub fn emitted(&self) -> (Amount, Amount) {
        (self.meta.economy.minted, self.meta.economy.not_minted)
    }

    /// The round that an epoch is in.
    pub fn round_at(&self, epoch: Epoch) -> u64 {
        self.meta.params.economy.rounds.round_at(epoch)
    }
}
