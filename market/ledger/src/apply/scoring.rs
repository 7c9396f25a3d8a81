//! Scores on the ledger: who serves what, whose turn it is to be checked, and the round's opinions at work.
//!
//! The rules are in [`crate::scores`]; here they are cut to the size of a block:
//!
//! 1. When the reveal phase is over the ballots are closed: who did not reveal pays. Receipts behind the others are
//!    drawn and opened (`apply::audits`); then scoring begins.
//! 2. Each block scores the next group of `group_providers` provider numbers, as a round of [`ScoreBook`] of its own:
//!    opinions are weighed against each other within a group. A group's checkers share the part of their stream that
//!    its providers are of all; a provider's incentive counts likewise.
//! 3. After the last group the round's service stream is open to claims.
//!
//! Should a round come to its close while the one before is still being scored, the rest of that one stays unscored.

use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::{Amount, Epoch, ProviderId};
use cid::Cid;

use super::Step;
use crate::economy::{NEUTRAL_REPUTATION, ProviderScore, ScoreEvent, Scoring, ServiceClaim, StoredStanding};
use crate::event::Event;
use crate::ids::{Address, DealId};
use crate::order::Deal;
use crate::scores::ballot::Ballot;
use crate::scores::checks::{Catalogue, CheckTask, task};
use crate::scores::{Fraction, Round, RoundVoter, ScoreBook, ScoreOutcome};
use crate::state::State;

impl Step<'_> {
    /// A deal is active: its provider must serve the dataset.
    pub(super) fn shelve(&mut self, deal: DealId, record: &Deal) {
        // The first order of a chain is there for as long as somebody holds a copy of it.
        let Some(root) = self.state.order(record.group).map(|order| order.terms.root) else { return };
        let provider = record.provider;
        if !self.state.serving.contains(&(provider, deal)) {
            self.state.serving.insert((provider, deal), root);
            self.state.meta.economy.catalogue_changed = self.now();
            let count = self.state.shelves.get(&provider).copied().unwrap_or(0);
            self.state.shelves.insert(provider, count + 1);
        }
    }

    /// A deal is over.
    pub(super) fn unshelve(&mut self, deal: DealId, provider: ProviderId) {
        if self.state.serving.remove(&(provider, deal)) {
            self.state.meta.economy.catalogue_changed = self.now();
            match self.state.shelves.get(&provider).copied().expect("counted when shelved") {
                1 => {
                    self.state.shelves.remove(&provider);
                }
                count => self.state.shelves.insert(provider, count - 1),
            }
        }
    }

    /// Step 1.
    pub(super) fn close_ballots(&mut self, round: u64) {
        if let Some(scoring) = self.state.meta.economy.scoring.take() {
            self.end_scoring(scoring.round, false);
        }
        let checkers: Vec<Address> = self.state.checkers.iter().map(|(address, _)| *address).collect();
        for checker in checkers {
            let revealed = match self.state.ballots.get(&(round, checker)) {
                Some(Ballot::Revealed(_)) => true,
                Some(Ballot::Committed(_)) => {
                    self.punish_silence(checker, round);
                    false
                }
                None => false,
            };
            self.state.checkers.update(&checker, |record| {
                record.silent_rounds = if revealed { 0 } else { record.silent_rounds.saturating_add(1) };
            });
        }
        self.draw_audits(round);
    }

    /// Step 1, after what was drawn is opened.
    pub(super) fn begin_scoring(&mut self, round: u64) {
        let judged = self.state.shelves.len() as u64;
        self.state.meta.economy.scoring = Some(Scoring { round, next: ProviderId(0), judged });
    }

    /// Step 2: the next group, if there is one.
    pub(super) fn score_group(&mut self) {
        let Some(mut scoring) = self.state.meta.economy.scoring.clone() else { return };
        let first = self.state.shelves.iter_from(&scoring.next).next().map(|(provider, _)| *provider);
        let Some(first) = first.filter(|_| !self.state.checkers.is_empty()) else {
            self.state.meta.economy.scoring = None;
            self.end_scoring(scoring.round, true);
            return;
        };
        let size = u64::from(self.state.meta.params.economy.group_providers);
        let group = first.0 / size;
        let until = ProviderId((group + 1).saturating_mul(size));
        let judged = self.state.shelves.iter_from(&first).map(|(provider, _)| *provider);
        let judged: BTreeSet<ProviderId> = judged.take_while(|provider| *provider < until).collect();
        let (round, providers, checkers) = (scoring.round, judged.len() as u32, self.state.checkers.len() as u32);
        self.evaluate(group, &scoring, judged);
        self.emit(Event::Score(ScoreEvent::GroupScored { round, first, until, providers, checkers }));
        scoring.next = until;
        self.state.meta.economy.scoring = Some(scoring);
    }

    /// Step 3.
    fn end_scoring(&mut self, round: u64, complete: bool) {
        self.state.reward_rounds.update(&round, |record| record.scored = true);
        let ballots = self.state.ballots.iter().map(|(key, _)| *key);
        for key in ballots.take_while(|(of, _)| *of <= round).collect::<Vec<_>>() {
            self.state.ballots.remove(&key);
        }
        self.emit(Event::Score(ScoreEvent::RoundScored { round, complete }));
    }

    fn evaluate(&mut self, group: u64, scoring: &Scoring, judged: BTreeSet<ProviderId>) {
        let params = self.state.meta.params.economy.scores.clone();
        let (mut book, before) = self.load_book(group, &judged);
        let part = Fraction::of(judged.len() as u64, scoring.judged);
        let round = Round { voters: self.voters(scoring.round, &judged), providers: judged };
        let outcome = book.evaluate(&round, &params).expect("checkers_max x group_providers is within cells_max");
        self.keep_standings(group, &book, before);
        self.keep_scores(scoring.round, &book, &outcome);
        self.share_out(scoring.round, part, &outcome);
    }

    /// The scores of a group's providers, and the checkers that have a standing with it.
    fn load_book(&self, group: u64, judged: &BTreeSet<ProviderId>) -> (ScoreBook, Vec<Address>) {
        let reputations = judged.iter().map(|provider| (*provider, self.state.reputation_of(*provider))).collect();
        let stored = self.state.standings.iter_from(&(group, Address([0; 32])));
        let stored: Vec<_> = stored.take_while(|((of, _), _)| *of == group).collect();
        let standing = |((_, checker), stored): &(&(u64, Address), &StoredStanding)| {
            // The round's own silence is counted by the book.
            let silent = self.state.checkers.get(checker).map_or(0, |record| record.silent_rounds.saturating_sub(1));
            (*checker, stored.standing(silent))
        };
        let mut checkers: BTreeMap<_, _> = stored.iter().map(standing).collect();
        for (address, record) in self.state.checkers.iter() {
            let silent = record.silent_rounds.saturating_sub(1);
            checkers.entry(*address).or_insert_with(|| StoredStanding::default().standing(silent));
        }
        let before = stored.iter().map(|((_, checker), _)| *checker).collect();
        (ScoreBook { reputations, checkers }, before)
    }

    fn voters(&self, round: u64, judged: &BTreeSet<ProviderId>) -> BTreeMap<Address, RoundVoter> {
        let mut owned: BTreeMap<Address, BTreeSet<ProviderId>> = BTreeMap::new();
        for provider in judged {
            owned.entry(self.owner_of(*provider)).or_default().insert(*provider);
        }
        let voter = |(address, record): (&Address, &crate::economy::Checker)| {
            let opinions = match self.state.ballots.get(&(round, *address)) {
                Some(Ballot::Revealed(opinions)) => Some(opinions.levels.iter().copied().collect()),
                _ => None,
            };
            let owns = owned.get(address).cloned().unwrap_or_default();
            (*address, RoundVoter { stake: record.stake, opinions, owns })
        };
        self.state.checkers.iter().map(voter).collect()
    }

    fn keep_standings(&mut self, group: u64, book: &ScoreBook, before: Vec<Address>) {
        for gone in before.into_iter().filter(|checker| !book.checkers.contains_key(checker)) {
            self.state.standings.remove(&(group, gone));
        }
        for (checker, standing) in &book.checkers {
            self.state.standings.insert((group, *checker), StoredStanding::of(standing));
        }
    }

    fn keep_scores(&mut self, round: u64, book: &ScoreBook, outcome: &ScoreOutcome) {
        for (provider, quality) in &outcome.clip_levels {
            let score = ProviderScore { reputation: book.reputations[provider], quality: *quality, round };
            self.state.scores.insert(*provider, score);
        }
    }

    /// Pays the checkers that showed their opinions, and notes what the providers may claim. `part` is what the group is of the round.
    fn share_out(&mut self, round: u64, part: Fraction, outcome: &ScoreOutcome) {
        let stream = self.state.reward_round(round).map_or(Amount::ZERO, |record| record.checkers.amount);
        let stream = part.of_amount(stream.0);
        let revealed =
            |checker: &Address| matches!(self.state.ballots.get(&(round, *checker)), Some(Ballot::Revealed(_)));
        let dividends: Vec<_> = outcome.dividends.iter().filter(|(checker, _)| revealed(checker)).collect();
        for (checker, dividend) in dividends {
            self.pay_checker(*checker, round, Amount(dividend.of_amount(stream)));
        }
        for (provider, incentive) in &outcome.incentives {
            let volume = self.state.provider_rewards(*provider).volume_of(round);
            let weight = part.times(*incentive).of_amount(volume.0);
            if weight > 0 {
                self.claim_service(*provider, ServiceClaim { round, weight, volume });
            }
        }
    }
}

impl Catalogue for State {
    fn providers(&self) -> u64 {
        self.shelves.len() as u64
    }

    fn provider(&self, place: u64) -> (ProviderId, Address, u64) {
        let (provider, deals) = self.shelves.nth(place as usize).expect("a place below the number of providers");
        (*provider, self.providers.get(provider).expect("providers are never removed").owner, *deals)
    }

    fn dataset(&self, provider: ProviderId, place: u64) -> Cid {
        let before = self.serving.rank(&(provider, DealId(0)));
        *self.serving.nth(before + place as usize).expect("a place below the number of deals").1
    }
}

/// Reading scores.
impl State {
    /// A provider's reputation, 0 to 1; the neutral one until it is scored. The one number that other rules go by.
    pub fn reputation_of(&self, provider: ProviderId) -> Fraction {
        self.scores.get(&provider).map_or(NEUTRAL_REPUTATION, |score| score.reputation)
    }

    /// A provider's score, once it has one.
    pub fn score_of(&self, provider: ProviderId) -> Option<&ProviderScore> {
        self.scores.get(&provider)
    }

    /// What a checker shall fetch in the current round: drawn from the beacon of the round's first epoch among the deals
    /// that are active now. Ask in that epoch: deals that come or go later move the places of others. Nothing if the
    /// address has no stake, or came in this round: whoever notes at its beginning what all are told must have seen it.
    pub fn check_tasks(&self, checker: Address) -> Vec<CheckTask> {
        self.check_slots_from(checker, 0).filter_map(|(_, task)| task).collect()
    }

    /// The epoch of the last block in which a deal came into the catalogue, or left it. Whoever reads tasks is sure of them
    /// if this is not after the first epoch of their round: an auditor looks at them then.
    pub fn catalogue_changed(&self) -> Epoch {
        self.meta.economy.catalogue_changed
    }

    /// The same slot by slot, from one on; some stay empty.
    pub fn check_slots_from(&self, checker: Address, first: u32) -> impl Iterator<Item = (u32, Option<CheckTask>)> {
        let economy = &self.meta.params.economy;
        let round = economy.rounds.round_at(self.meta.epoch);
        let beacon = economy.rounds.first_epoch(round).and_then(|epoch| self.beacon(epoch));
        let beacon = beacon.filter(|_| self.checkers.get(&checker).is_some_and(|record| record.since_round < round));
        let slots = if beacon.is_some() { first..economy.checks.slots() } else { 0..0 };
        slots.map(move |slot| {
            let beacon = beacon.expect("there are no slots without one");
            (slot, task(self, beacon, round, checker, slot, &economy.checks))
        })
    }
}
