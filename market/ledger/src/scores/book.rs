//! The scores that the ledger keeps from round to round, and the step from one to the next.
//!
//! [`ScoreBook::evaluate`], in order:
//!
//! 1. *Who votes.* Every checker with stake, one voice per owner's address however many machines it runs. One that did
//!    not reveal votes with its last opinions, so that silence does not hand a majority to the rest; after
//!    `silent_rounds_max` silent rounds it has no voice.
//! 2. *What they say.* Of a provider that a checker has too few samples of, it says what it said last; if it never said
//!    anything, it says the provider's reputation, which changes nothing. Of its own provider it says nothing.
//! 3. *Reputation* is absolute: the clip level of the opinions as they are (`yuma` step 1), averaged over rounds with
//!    `reputation_alpha`. A share would fall when other providers join; this does not.
//! 4. *Incentives* are relative: rows normalised, clipped, ranked, normalised (`yuma` steps 1 to 3).
//! 5. *Bonds and dividends* (`yuma` steps 4 and 5): whoever judged a provider early as the stake judges it later earns.
//!    If nobody has bonds, dividends go by stake.
//!
//! The work is `checkers x providers`, and `cells_max` bounds it.

use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::{Amount, ProviderId};
use serde::{Deserialize, Serialize};

use super::Fraction;
use super::yuma::{self, Grid};
use crate::ids::Address;

/// How bonds are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BondRule {
    /// Yuma-1: a provider's bonds are shared out among checkers; buying is relative to the others' stake.
    Relative,
    /// Yuma-3: each checker's bond follows its own weights; stake counts once, in the dividend.
    Individual,
}

/// The numbers of the scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreParams {
    /// Part of the stake that must agree.
    pub kappa: Fraction,
    /// Speed of reputations.
    pub reputation_alpha: Fraction,
    /// Speed of bonds.
    pub bond_alpha: Fraction,
    /// How much of a weight's clipped part is lost for bonds: `beta`.
    pub bond_penalty: Fraction,
    /// How bonds are kept.
    pub bond_rule: BondRule,
    /// Rounds without a reveal after which a checker has no voice.
    pub silent_rounds_max: u32,
    /// Most checkers times providers in a round.
    pub cells_max: u64,
}

impl Default for ScoreParams {
    /// Kappa 32,767/65,535; reputations and bonds move by a tenth; clipped weight buys nothing.
    fn default() -> Self {
        Self {
            kappa: Fraction::of(32_767, 65_535),
            reputation_alpha: Fraction::of(1, 10),
            bond_alpha: Fraction::of(1, 10),
            bond_penalty: Fraction::ONE,
            bond_rule: BondRule::Individual,
            silent_rounds_max: 3,
            cells_max: 1 << 20,
        }
    }
}

/// One checker in a round. The map key is its owner's address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoundVoter {
    /// Its bonded stake, all machines together.
    pub stake: Amount,
    /// What it revealed; `None` if nothing.
    pub opinions: Option<BTreeMap<ProviderId, u16>>,
    /// Providers of the same owner.
    pub owns: BTreeSet<ProviderId>,
}

/// All that a round brings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Round {
    /// Checkers with stake.
    pub voters: BTreeMap<Address, RoundVoter>,
    /// Providers that are judged. One that is no longer here is forgotten.
    pub providers: BTreeSet<ProviderId>,
}

/// What is kept of a checker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckerStanding {
    /// Rounds since its last reveal.
    pub silent_rounds: u32,
    /// Its last opinion of each provider.
    pub opinions: BTreeMap<ProviderId, u16>,
    /// Its bond with each provider, in levels of 1/65,535; those that are nothing are left out.
    pub bonds: BTreeMap<ProviderId, u16>,
}

/// The scores.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScoreBook {
    /// By provider; a new one begins at nothing.
    pub reputations: BTreeMap<ProviderId, Fraction>,
    /// By owner's address.
    pub checkers: BTreeMap<Address, CheckerStanding>,
}

/// What a round decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScoreOutcome {
    /// The round's quality of each provider, before averaging.
    pub clip_levels: BTreeMap<ProviderId, Fraction>,
    /// Providers' shares of the service reward, before paid volume; at most one in sum.
    pub incentives: BTreeMap<ProviderId, Fraction>,
    /// Checkers' shares of the checking reward; at most one in sum.
    pub dividends: BTreeMap<Address, Fraction>,
    /// Checkers that had no voice.
    pub voiceless: Vec<Address>,
}

/// Why a round cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScoreRejection {
    /// Too much work.
    #[error("{checkers} checkers x {providers} providers are over the limit of {limit} opinions")]
    TooManyCells {
        /// Checkers with a voice.
        checkers: usize,
        /// Providers.
        providers: usize,
        /// Most of their product.
        limit: u64,
    },
}

/// The voters of a round that have a voice, laid out as a table.
struct Table {
    names: Vec<Address>,
    stakes: Vec<Amount>,
    providers: Vec<ProviderId>,
    /// Step 2: opinions; `None` of one's own provider.
    opinions: Vec<Vec<Option<Fraction>>>,
}

impl ScoreBook {
    /// Moves the scores by one round; see the module.
    ///
    /// # Errors
    /// [`ScoreRejection`] if the round is too large; the scores are unchanged.
    pub fn evaluate(&mut self, round: &Round, params: &ScoreParams) -> Result<ScoreOutcome, ScoreRejection> {
        let (checkers, providers) = (round.voters.len(), round.providers.len());
        if checkers > yuma::CHECKERS_MAX || checkers as u64 * providers as u64 > params.cells_max {
            return Err(ScoreRejection::TooManyCells { checkers, providers, limit: params.cells_max });
        }
        let voiceless = self.record_opinions(round, params);
        let table = self.lay_out(round, &voiceless);
        let clip_levels = table.clip_levels(params.kappa);
        self.move_reputations(round, &clip_levels, params.reputation_alpha);
        let (incentives, dividends) = self.move_bonds(&table, params);
        Ok(ScoreOutcome {
            clip_levels,
            incentives: table.providers.iter().copied().zip(incentives).collect(),
            dividends: table.names.iter().copied().zip(dividends).collect(),
            voiceless: voiceless.into_iter().collect(),
        })
    }

    /// Step 1.
    fn record_opinions(&mut self, round: &Round, params: &ScoreParams) -> BTreeSet<Address> {
        self.checkers.retain(|name, _| round.voters.contains_key(name));
        let mut voiceless = BTreeSet::new();
        for (&name, voter) in &round.voters {
            let standing = self.checkers.entry(name).or_default();
            standing.opinions.retain(|provider, _| round.providers.contains(provider));
            standing.bonds.retain(|provider, _| round.providers.contains(provider));
            match &voter.opinions {
                Some(opinions) => {
                    standing.silent_rounds = 0;
                    let known = opinions.iter().filter(|(provider, _)| round.providers.contains(provider));
                    standing.opinions.extend(known.map(|(provider, level)| (*provider, *level)));
                }
                None => standing.silent_rounds = standing.silent_rounds.saturating_add(1),
            }
            if standing.silent_rounds > params.silent_rounds_max || voter.stake.is_zero() {
                voiceless.insert(name);
            }
        }
        voiceless
    }

    /// Step 2.
    fn lay_out(&self, round: &Round, voiceless: &BTreeSet<Address>) -> Table {
        let voters: Vec<_> = round.voters.iter().filter(|(name, _)| !voiceless.contains(name)).collect();
        let providers: Vec<ProviderId> = round.providers.iter().copied().collect();
        let reputation = |provider| self.reputations.get(&provider).copied().unwrap_or_default();
        let opinion = |name: &Address, voter: &RoundVoter, provider: ProviderId| {
            let said = self.checkers[name].opinions.get(&provider).map(|level| Fraction::from_u16(*level));
            (!voter.owns.contains(&provider)).then(|| said.unwrap_or_else(|| reputation(provider)))
        };
        Table {
            names: voters.iter().map(|(name, _)| **name).collect(),
            stakes: voters.iter().map(|(_, voter)| voter.stake).collect(),
            opinions: voters
                .iter()
                .map(|(name, voter)| providers.iter().map(|provider| opinion(name, voter, *provider)).collect())
                .collect(),
            providers,
        }
    }

    /// Step 3.
    fn move_reputations(&mut self, round: &Round, levels: &BTreeMap<ProviderId, Fraction>, alpha: Fraction) {
        self.reputations.retain(|provider, _| round.providers.contains(provider));
        for (&provider, &level) in levels {
            let reputation = self.reputations.entry(provider).or_default();
            *reputation = reputation.moved_towards(level, alpha);
        }
    }

    /// Steps 4 and 5.
    fn move_bonds(&mut self, table: &Table, params: &ScoreParams) -> (Vec<Fraction>, Vec<Fraction>) {
        let (rows, columns) = (table.names.len(), table.providers.len());
        let said = Grid::from_fn(rows, columns, |i, j| table.opinions[i][j].unwrap_or_default());
        let weights = yuma::rows_normalised(&said);
        let clipped = yuma::clipped(&weights, &yuma::clip_levels(&table.stakes, &weights, params.kappa));
        let incentives = yuma::normalised(&yuma::ranks(&table.stakes, &clipped));
        let buying = yuma::bond_weights(&weights, &clipped, params.bond_penalty);
        let previous = Grid::from_fn(rows, columns, |i, j| {
            let level = self.checkers[&table.names[i]].bonds.get(&table.providers[j]);
            Fraction::from_u16(level.copied().unwrap_or(0))
        });
        let (bonds, levels, mut dividends);
        match params.bond_rule {
            BondRule::Relative => {
                bonds = yuma::relative_bonds(&table.stakes, &buying, &previous, params.bond_alpha);
                levels = yuma::upscaled_levels(&bonds);
                dividends = yuma::relative_dividends(&bonds, &incentives);
            }
            BondRule::Individual => {
                bonds = yuma::individual_bonds(&buying, &previous, params.bond_alpha);
                levels = (0..rows).map(|i| bonds.row(i).iter().map(|bond| bond.to_u16()).collect()).collect();
                dividends = yuma::individual_dividends(&table.stakes, &bonds, &incentives);
            }
        }
        if dividends.iter().all(|part| *part == Fraction::ZERO) {
            let all = table.stakes.iter().copied().sum();
            dividends = table.stakes.iter().map(|stake| Fraction::of_sums(stake.0.into(), all)).collect();
        }
        for (name, row) in table.names.iter().zip(levels) {
            let kept = table.providers.iter().copied().zip(row).filter(|(_, level)| *level > 0).collect();
            self.checkers.entry(*name).or_default().bonds = kept;
        }
        (incentives, dividends)
    }
}

impl Table {
    /// The clip level of each provider that anybody with stake says something about.
    fn clip_levels(&self, kappa: Fraction) -> BTreeMap<ProviderId, Fraction> {
        let level = |(j, provider): (usize, &ProviderId)| {
            let votes = self.opinions.iter().zip(&self.stakes);
            let mut votes: Vec<_> = votes.filter_map(|(row, stake)| row[j].map(|said| (said, *stake))).collect();
            (!votes.is_empty()).then(|| (*provider, yuma::clip_level(&mut votes, kappa)))
        };
        self.providers.iter().enumerate().filter_map(level).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(n: usize) -> Address {
        Address([n as u8; 32])
    }

    fn provider(n: usize) -> ProviderId {
        ProviderId(1_000 + n as u64)
    }

    /// Stakes, and rows of levels; `None` where a checker has no opinion.
    type Votes = (Vec<u64>, Vec<Vec<Option<u16>>>);

    fn arb_votes() -> impl Strategy<Value = Votes> {
        (1usize..7, 1usize..6).prop_flat_map(|(rows, columns)| {
            let stake = prop_oneof![0u64..5, Just(u64::MAX), any::<u64>()];
            let level = prop_oneof![Just(None), Just(Some(0)), Just(Some(u16::MAX)), any::<u16>().prop_map(Some)];
            (prop::collection::vec(stake, rows), prop::collection::vec(prop::collection::vec(level, columns), rows))
        })
    }

    fn round((stakes, levels): &Votes) -> Round {
        let voter = |(stake, row): (&u64, &Vec<Option<u16>>)| RoundVoter {
            stake: Amount(*stake),
            opinions: Some(row.iter().enumerate().filter_map(|(j, l)| l.map(|l| (provider(j), l))).collect()),
            owns: BTreeSet::new(),
        };
        Round {
            voters: stakes.iter().zip(levels).map(voter).enumerate().map(|(i, v)| (name(i), v)).collect(),
            providers: (0..levels[0].len()).map(provider).collect(),
        }
    }

    fn params(rule: BondRule) -> ScoreParams {
        ScoreParams { bond_rule: rule, ..ScoreParams::default() }
    }

    proptest! {
        #[test]
        fn any_stakes_and_opinions_make_shares(votes in arb_votes(), rule in 0u8..2) {
            let params = params(if rule == 0 { BondRule::Relative } else { BondRule::Individual });
            let mut book = ScoreBook::default();
            for _ in 0..3 {
                let outcome = book.evaluate(&round(&votes), &params).unwrap();
                let sum = |parts: Vec<&Fraction>| parts.into_iter().map(|part| part.raw()).sum::<u64>();
                prop_assert!(sum(outcome.incentives.values().collect()) <= Fraction::ONE.raw());
                prop_assert!(sum(outcome.dividends.values().collect()) <= Fraction::ONE.raw());
                for level in outcome.clip_levels.values() {
                    prop_assert!(*level <= Fraction::ONE);
                }
            }
        }

        /// Renaming checkers and providers renames the result and changes nothing else.
        #[test]
        fn names_do_not_matter(votes in arb_votes()) {
            let mirrored = |votes: &Votes| -> Votes {
                let rows = votes.1.iter().rev().map(|row| row.iter().rev().copied().collect()).collect();
                (votes.0.iter().rev().copied().collect(), rows)
            };
            let (mut book, mut mirror) = (ScoreBook::default(), ScoreBook::default());
            for _ in 0..2 {
                let outcome = book.evaluate(&round(&votes), &params(BondRule::Individual)).unwrap();
                let other = mirror.evaluate(&round(&mirrored(&votes)), &params(BondRule::Individual)).unwrap();
                let turned = |values: Vec<Fraction>| values.into_iter().rev().collect::<Vec<_>>();
                let same = |a: Vec<Fraction>, b: Vec<Fraction>| a == turned(b);
                prop_assert!(same(
                    outcome.clip_levels.into_values().collect(),
                    other.clip_levels.into_values().collect()
                ));
                prop_assert!(same(
                    outcome.incentives.into_values().collect(),
                    other.incentives.into_values().collect()
                ));
                prop_assert!(same(
                    outcome.dividends.into_values().collect(),
                    other.dividends.into_values().collect()
                ));
            }
        }

        #[test]
        fn a_better_opinion_never_hurts(votes in arb_votes(), i in 0usize..7, j in 0usize..6, better: u16) {
            let (i, j) = (i % votes.0.len(), j % votes.1[0].len());
            let mut praised = votes.clone();
            let before = praised.1[i][j].unwrap_or(0);
            praised.1[i][j] = Some(before.max(better));
            let level = |votes: &Votes| {
                let outcome = ScoreBook::default().evaluate(&round(votes), &ScoreParams::default()).unwrap();
                outcome.clip_levels.get(&provider(j)).copied().unwrap_or_default()
            };
            prop_assert!(level(&praised) >= level(&votes));
        }
    }

    #[test]
    fn silence_keeps_the_voice_for_a_while_and_then_loses_it() {
        let mut book = ScoreBook::default();
        let mut said = round(&(vec![10, 9], vec![vec![Some(u16::MAX)], vec![Some(0)]]));
        let first = book.evaluate(&said, &ScoreParams::default()).unwrap();
        assert_eq!(first.clip_levels[&provider(0)], Fraction::ONE);
        said.voters.get_mut(&name(0)).unwrap().opinions = None;
        for _ in 0..3 {
            let outcome = book.evaluate(&said, &ScoreParams::default()).unwrap();
            assert_eq!((outcome.clip_levels[&provider(0)], outcome.voiceless), (Fraction::ONE, vec![]));
        }
        let outcome = book.evaluate(&said, &ScoreParams::default()).unwrap();
        assert_eq!((outcome.clip_levels[&provider(0)], outcome.voiceless), (Fraction::ZERO, vec![name(0)]));
    }

    #[test]
    fn nobody_judges_its_own_provider() {
        let mut own = round(&(vec![90, 10], vec![vec![Some(u16::MAX)], vec![Some(100)]]));
        own.voters.get_mut(&name(0)).unwrap().owns = [provider(0)].into();
        let outcome = ScoreBook::default().evaluate(&own, &ScoreParams::default()).unwrap();
        assert_eq!(outcome.clip_levels[&provider(0)].to_u16(), 100);
    }

    #[test]
    fn without_bonds_stake_earns_and_too_much_is_refused() {
        let nothing = round(&(vec![3, 1], vec![vec![None], vec![None]]));
        let outcome = ScoreBook::default().evaluate(&nothing, &ScoreParams::default()).unwrap();
        assert_eq!(outcome.dividends[&name(0)], Fraction::of(3, 4));
        let small = ScoreParams { cells_max: 1, ..ScoreParams::default() };
        let refused = ScoreBook::default().evaluate(&nothing, &small);
        assert_eq!(refused, Err(ScoreRejection::TooManyCells { checkers: 2, providers: 1, limit: 1 }));
    }
}
