//! What the economy promises, checked by walking over everything; part of [`State::check_invariants`].

use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::ProviderId;

use crate::invariants::{InvariantViolation, dangling};
use crate::order::DealStatus;
use crate::payments::RailBinding;
use crate::queue::Due;
use crate::state::State;

impl State {
    /// Checks rails, rewards and scores.
    pub(crate) fn check_economy(&self) -> Result<(), InvariantViolation> {
        self.check_schedule()?;
        self.check_rewards()?;
        self.check_rails()?;
        self.check_checkers()?;
        self.check_serving()
    }

    /// Minted, not minted and still to be paid are what the schedule brought.
    fn check_schedule(&self) -> Result<(), InvariantViolation> {
        let (minted, not_minted) = self.emitted();
        let left: u128 = self.reward_rounds.iter().map(|(_, round)| round.left()).sum();
        let got = u128::from(minted.0) + u128::from(not_minted.0) + left;
        let economy = &self.params().economy;
        let until = economy.rounds.first_epoch(self.round_at(self.epoch())).expect("an epoch that was");
        let expected = economy.emission.scheduled_before(until);
        if got == expected { Ok(()) } else { Err(InvariantViolation::Schedule { expected, got }) }
    }

    /// What providers may claim of a round is what the round counted, or less once some is paid.
    fn check_rewards(&self) -> Result<(), InvariantViolation> {
        let now = self.round_at(self.epoch());
        let (mut space, mut service): (BTreeMap<u64, u64>, BTreeMap<u64, u64>) = Default::default();
        for (_, record) in self.rewards.iter() {
            *space.entry(record.space.0).or_default() += record.space.1;
            if let Some(claim) = record.service {
                *service.entry(claim.round).or_default() += claim.weight;
            }
        }
        if space.get(&now).copied().unwrap_or(0) != self.meta.economy.space_weight {
            return Err(dangling("the space proven in this round is not what its providers proved".to_owned()));
        }
        for (round, record) in self.reward_rounds.iter() {
            let claimed = |weights: &BTreeMap<u64, u64>| weights.get(round).copied().unwrap_or(0);
            if claimed(&space) > record.space.weight || claimed(&service) > record.service.weight {
                return Err(dangling(format!("more is claimed of round {round} than was counted")));
            }
        }
        Ok(())
    }

    fn check_rails(&self) -> Result<(), InvariantViolation> {
        self.rails.check_invariants().map_err(dangling)?;
        let mut bound = BTreeSet::new();
        for (id, rail) in self.rails.rails() {
            if let Some(ends_at) = rail.ends_at
                && ends_at > self.epoch()
            {
                self.queued(ends_at.0, Due::RailEnd(id))?;
            }
            if let RailBinding::Sector { provider, sector, .. } = rail.terms.binding {
                bound.insert((provider, sector, id));
            }
        }
        let waiting: BTreeSet<Due> = self.queue.iter().map(|((_, due), ())| *due).collect();
        let mut ending = self.rails.rails().filter(|(_, rail)| rail.ends_at.is_some());
        if let Some((id, _)) = ending.find(|(id, _)| !waiting.contains(&Due::RailEnd(*id))) {
            return Err(InvariantViolation::NotQueued { what: id.to_string(), epoch: self.epoch().0 });
        }
        let indexed: BTreeSet<_> = self.sector_rails.iter().map(|(key, ())| *key).collect();
        if bound == indexed { Ok(()) } else { Err(dangling("the index of bound rails is wrong".to_owned())) }
    }

    fn check_checkers(&self) -> Result<(), InvariantViolation> {
        let seats = self.params().economy.checkers.checkers_max as usize;
        if self.checkers.len() > seats {
            return Err(dangling(format!("{} checkers sit on {seats} seats", self.checkers.len())));
        }
        if let Some(((round, checker, _), _)) =
            self.refutations.iter().find(|((round, checker, _), _)| !self.audits.contains(&(*round, *checker)))
        {
            return Err(dangling(format!("{checker} is refuted in round {round} and was not audited")));
        }
        self.checker_exits.iter().try_for_each(|((checker, until), _)| self.queued(until.0, Due::CheckerExit(*checker)))
    }

    /// What must be served is what active deals are for.
    fn check_serving(&self) -> Result<(), InvariantViolation> {
        let mut counts: BTreeMap<ProviderId, u64> = BTreeMap::new();
        for ((provider, deal), _) in self.serving.iter() {
            let active = |record: &crate::Deal| matches!(record.status, DealStatus::Active { .. });
            if !self.deal(*deal).is_some_and(|record| record.provider == *provider && active(record)) {
                return Err(dangling(format!("{deal} is to be served by {provider} and is not active there")));
            }
            *counts.entry(*provider).or_default() += 1;
        }
        let active = self.deals().filter(|(_, deal)| matches!(deal.status, DealStatus::Active { .. })).count();
        let counted: BTreeMap<ProviderId, u64> =
            self.shelves.iter().map(|(provider, count)| (*provider, *count)).collect();
        if counts == counted && active == self.serving.len() {
            Ok(())
        } else {
            Err(dangling("the number of deals to be served is wrong".to_owned()))
        }
    }

    /// Sum of what checkers have staked and not got back.
    pub(crate) fn checker_stakes(&self) -> u128 {
        let staked: u128 = self.checkers.iter().map(|(_, record)| record.stake).sum();
        let leaving: u128 = self.checker_exits.iter().map(|(_, amount)| *amount).sum();
        staked + leaving
    }
}
