//! New money: how much an epoch brings, and who gets it.
//!
//! Rule and source: `spec/market.md` 2.4 ("adopt": halving, 50 % proven space, 30 % service, 20 % checkers and
//! validators, parameters on the ledger) and 5 (what is minted must not depend on what is burnt).
//!
//! 1. Epoch `e` brings `E(e) = first_reward >> (e / halving_epochs)`. The sum over all epochs is known from the start:
//!    less than `2 x first_reward x halving_epochs` ([`EmissionParams::scheduled_ever`]).
//! 2. `E` is split into four streams ([`EmissionParams::split`]); the parts sum to it exactly.
//! 3. Each stream is divided by its own measure ([`EmissionParams::distribute`]): *space* by proven power; *service* by
//!    incentive times paid volume, at most `service_match_bp` of a provider's paid volume; *checkers* by dividends of the
//!    scores; *validators* by stake.
//! 4. What a stream has no claim for, or the match cuts off, is not minted, ever. It does not go to the other streams:
//!    otherwise emptying one stream would fill another.
//!
//! The ledger carries these rules out round by round and provider by provider, without a walk over all (`apply::rewards`):
//! there parts are rounded down, and what that leaves is not minted. [`EmissionParams::distribute`] is the same in one step.
//!
//! # Invariants
//! - *Exact*: minted plus not minted is what the schedule says, in every epoch.
//! - *Fixed*: the schedule depends on the epoch alone, never on what anybody paid, burnt or claimed.
//!
//! # Who can profit from what
//! [`simulation`] plays ten years of it. The rules it rests on:
//! - *Paying oneself* (a provider that is its own client) gains at most `service_match_bp` and loses
//!   `settlement_burn_bp` of the volume. With `match <= burn` it never gains. With a larger match it gains whenever paid
//!   volume is small against the service stream; then the stream pays for volume, real or not.
//! - *Storing nothing useful* earns the space stream in full: a proof shows that bytes are kept, not that anybody wants
//!   them. `spec/market.md` D10 says why nobody is asked to vouch for usefulness. The service stream is the answer.
//! - *Copying opinions of the last round* costs nothing and earns what measuring earns while qualities are steady:
//!   commit and reveal hides this round's opinions, not the last one's. In the ten simulated years a copier earns 51.8
//!   units per unit of stake, an honest checker 48.9 after the cost of measuring. What would stand against it, asking
//!   for the receipts behind a revealed root and slashing who has none, is not among the rules yet.
//! - *A cartel below `kappa`* whose opinions are all clipped earns nothing; above, it takes what it likes
//!   ([`crate::scores`]).

pub mod simulation;

use std::collections::BTreeMap;

use cairn_protocol::{Amount, Epoch, ProviderId};
use serde::{Deserialize, Serialize};

use crate::ids::Address;
use crate::params::ParamsRejection;
use crate::scores::Fraction;
use crate::scores::rewards::{divided, service_rewards};

/// Basis points in the whole.
pub const WHOLE_BP: u32 = 10_000;

/// `basis_points` of an amount, rounded down; at most the whole amount.
pub fn part_of(amount: Amount, basis_points: u32) -> Amount {
    let part = u128::from(amount.0) * u128::from(basis_points.min(WHOLE_BP)) / u128::from(WHOLE_BP);
    Amount(part as u64)
}

/// Streams' parts of an epoch's emission, in basis points; they sum to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmissionSplit {
    /// To providers, by proven power.
    pub space_bp: u32,
    /// To providers, by service that is paid for and found good.
    pub service_bp: u32,
    /// To checkers, by dividends.
    pub checkers_bp: u32,
    /// To validators, by stake.
    pub validators_bp: u32,
}

/// The schedule and its split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmissionParams {
    /// Emission of each epoch before the first halving.
    pub first_reward: Amount,
    /// Epochs between halvings.
    pub halving_epochs: u64,
    /// Who gets which part.
    pub split: EmissionSplit,
    /// Most service reward, as a part of a provider's paid volume.
    pub service_match_bp: u32,
    /// Burnt of every settled payment.
    pub settlement_burn_bp: u32,
}

impl Default for EmissionParams {
    /// 50 units an epoch, halved every four years of 30 s epochs: 420 million units in all. A payment burns 2 % and is
    /// matched by at most 2 %, so that paying oneself gains nothing.
    fn default() -> Self {
        Self {
            first_reward: Amount(50_000_000),
            halving_epochs: 4 * 365 * 2_880,
            split: EmissionSplit { space_bp: 5_000, service_bp: 3_000, checkers_bp: 1_000, validators_bp: 1_000 },
            service_match_bp: 200,
            settlement_burn_bp: 200,
        }
    }
}

/// An amount, split into streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Streams {
    /// See [`EmissionSplit::space_bp`].
    pub space: Amount,
    /// See [`EmissionSplit::service_bp`].
    pub service: Amount,
    /// See [`EmissionSplit::checkers_bp`].
    pub checkers: Amount,
    /// See [`EmissionSplit::validators_bp`].
    pub validators: Amount,
}

/// What the streams are divided by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// Proven bytes.
    pub power: BTreeMap<ProviderId, u64>,
    /// From the scores.
    pub incentives: BTreeMap<ProviderId, Fraction>,
    /// Payments settled for service, before the burn.
    pub paid_volume: BTreeMap<ProviderId, Amount>,
    /// From the scores.
    pub dividends: BTreeMap<Address, Fraction>,
    /// Bonded stake of validators.
    pub validator_stakes: BTreeMap<Address, Amount>,
}

/// Who gets what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distribution {
    /// Space rewards.
    pub space: BTreeMap<ProviderId, Amount>,
    /// Service rewards.
    pub service: BTreeMap<ProviderId, Amount>,
    /// Checkers' rewards.
    pub checkers: BTreeMap<Address, Amount>,
    /// Validators' rewards.
    pub validators: BTreeMap<Address, Amount>,
    /// What nobody gets.
    pub not_minted: Amount,
}

impl EmissionParams {
    /// Checks that the numbers fit each other.
    ///
    /// # Errors
    /// [`ParamsRejection`] names the first that does not.
    pub fn validate(&self) -> Result<(), ParamsRejection> {
        let check = |holds, name, got, rule| if holds { Ok(()) } else { Err(ParamsRejection { name, got, rule }) };
        check(
            (1..=1 << 40).contains(&self.halving_epochs),
            "halving_epochs",
            self.halving_epochs,
            "must be at least 1 and at most 2^40",
        )?;
        check(
            self.scheduled_ever() <= u128::from(u64::MAX),
            "first_reward",
            self.first_reward.0,
            "all epochs together must fit in 64 bits of micro-units",
        )?;
        let parts = [self.split.space_bp, self.split.service_bp, self.split.checkers_bp, self.split.validators_bp];
        let sum: u64 = parts.into_iter().map(u64::from).sum();
        check(sum == u64::from(WHOLE_BP), "split", sum, "parts must sum to 10,000 basis points")?;
        let burn = self.settlement_burn_bp;
        check(burn <= WHOLE_BP, "settlement_burn_bp", burn.into(), "cannot be more than 10,000 basis points")?;
        let matched = self.service_match_bp;
        check(matched <= WHOLE_BP, "service_match_bp", matched.into(), "cannot be more than 10,000 basis points")
    }

    /// What an epoch brings.
    pub fn reward(&self, epoch: Epoch) -> Amount {
        Amount(self.first_reward.0.checked_shr((epoch.0 / self.halving_epochs).min(64) as u32).unwrap_or(0))
    }

    /// The sum of the rewards of all epochs before `epoch`.
    pub fn scheduled_before(&self, epoch: Epoch) -> u128 {
        let halvings = epoch.0 / self.halving_epochs;
        let full: u128 = (0..halvings.min(64)).map(|k| u128::from(self.first_reward.0 >> k)).sum();
        let rest = u128::from(self.reward(epoch).0) * u128::from(epoch.0 % self.halving_epochs);
        full * u128::from(self.halving_epochs) + rest
    }

    /// The sum of the rewards of all epochs.
    pub fn scheduled_ever(&self) -> u128 {
        (0..64).map(|k| u128::from(self.first_reward.0 >> k)).sum::<u128>() * u128::from(self.halving_epochs)
    }

    /// Splits an amount into streams that sum to it.
    pub fn split(&self, amount: Amount) -> Streams {
        let split = &self.split;
        let parts = [split.space_bp, split.service_bp, split.checkers_bp, split.validators_bp];
        let weights: BTreeMap<usize, u64> = parts.into_iter().map(u64::from).enumerate().collect();
        let parts = divided(amount, &weights);
        let part = |stream| parts.get(&stream).copied().unwrap_or_default();
        Streams { space: part(0), service: part(1), checkers: part(2), validators: part(3) }
    }

    /// Divides an amount: the reward of one epoch or the sum of several.
    pub fn distribute(&self, amount: Amount, claims: &Claims) -> Distribution {
        let streams = self.split(amount);
        let raw =
            |shares: &BTreeMap<Address, Fraction>| shares.iter().map(|(who, share)| (*who, share.raw())).collect();
        let stakes = claims.validator_stakes.iter().map(|(who, stake)| (*who, stake.0)).collect();
        let mut distribution = Distribution {
            space: divided(streams.space, &claims.power),
            service: service_rewards(streams.service, &claims.incentives, &claims.paid_volume),
            checkers: divided(streams.checkers, &raw(&claims.dividends)),
            validators: divided(streams.validators, &stakes),
            not_minted: Amount::ZERO,
        };
        for (provider, reward) in &mut distribution.service {
            let volume = claims.paid_volume.get(provider).copied().unwrap_or_default();
            *reward = (*reward).min(part_of(volume, self.service_match_bp));
        }
        let minted = distribution.minted();
        distribution.not_minted = amount.checked_sub(minted).expect("parts are at most the whole");
        distribution
    }
}

impl Distribution {
    /// What everybody gets together.
    pub fn minted(&self) -> Amount {
        let providers = self.space.values().chain(self.service.values());
        let all = providers.chain(self.checkers.values()).chain(self.validators.values());
        Amount::checked_sum(all.copied()).expect("parts of one amount")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arb_params() -> impl Strategy<Value = EmissionParams> {
        (0u64..1 << 24, 1u64..500, 0u32..=5_000, 0u32..=2_500, 0u32..=2_500, 0u32..=10_000).prop_map(
            |(first, halving_epochs, space_bp, service_bp, checkers_bp, service_match_bp)| EmissionParams {
                first_reward: Amount(first),
                halving_epochs,
                split: EmissionSplit {
                    space_bp,
                    service_bp,
                    checkers_bp,
                    validators_bp: WHOLE_BP - space_bp - service_bp - checkers_bp,
                },
                service_match_bp,
                settlement_burn_bp: 200,
            },
        )
    }

    fn arb_claims() -> impl Strategy<Value = Claims> {
        let number = || prop_oneof![Just(0u64), 1u64..1_000, any::<u64>()];
        let row = (number(), 0u64..=1 << 32, number(), 0u64..=1 << 32, number());
        prop::collection::vec(row, 0..8).prop_map(|rows| {
            let mut claims = Claims::default();
            for (n, (power, incentive, volume, dividend, stake)) in rows.into_iter().enumerate() {
                let (provider, who) = (ProviderId(1_000 + n as u64), Address([n as u8; 32]));
                claims.power.insert(provider, power);
                claims.incentives.insert(provider, Fraction::from_raw(incentive).unwrap());
                claims.paid_volume.insert(provider, Amount(volume));
                claims.dividends.insert(who, Fraction::from_raw(dividend).unwrap());
                claims.validator_stakes.insert(who, Amount(stake));
            }
            claims
        })
    }

    proptest! {
        #[test]
        fn what_is_minted_and_what_is_not_is_the_schedule(
            params in arb_params(),
            claims in arb_claims(),
            epochs in 1u64..1_500,
        ) {
            prop_assert_eq!(params.validate(), Ok(()));
            let mut scheduled = 0u128;
            for epoch in 0..epochs {
                prop_assert_eq!(params.scheduled_before(Epoch(epoch)), scheduled);
                scheduled += u128::from(params.reward(Epoch(epoch)).0);
            }
            prop_assert!(scheduled <= params.scheduled_ever());
            let amount = params.reward(Epoch(epochs - 1));
            let streams = params.split(amount);
            let sum: u128 = [streams.space, streams.service, streams.checkers, streams.validators].into_iter().sum();
            prop_assert_eq!(sum, u128::from(amount.0));
            let distribution = params.distribute(amount, &claims);
            prop_assert_eq!(distribution.minted().checked_add(distribution.not_minted), Some(amount));
            for (provider, reward) in &distribution.service {
                prop_assert!(*reward <= part_of(claims.paid_volume[provider], params.service_match_bp));
            }
        }
    }

    #[test]
    fn the_default_schedule_is_as_documented() {
        let params = EmissionParams::default();
        assert_eq!(params.validate(), Ok(()));
        assert_eq!(params.reward(Epoch(0)), Amount(50_000_000));
        assert_eq!(params.reward(Epoch(params.halving_epochs)), Amount(25_000_000));
        assert_eq!(params.reward(Epoch(u64::MAX)), Amount::ZERO);
        assert_eq!(params.scheduled_ever() / 1_000_000_000_000, 420);
        assert_eq!(params.scheduled_before(Epoch(u64::MAX)), params.scheduled_ever());
        let text = serde_json::to_string(&params).unwrap();
        assert_eq!(serde_json::from_str::<EmissionParams>(&text).unwrap(), params);
    }

    #[test]
    fn parameters_that_do_not_fit_are_named() {
        let broken = |change: fn(&mut EmissionParams)| {
            let mut params = EmissionParams::default();
            change(&mut params);
            params.validate().unwrap_err().name
        };
        assert_eq!(broken(|p| p.halving_epochs = 0), "halving_epochs");
        assert_eq!(broken(|p| p.first_reward = Amount(u64::MAX)), "first_reward");
        assert_eq!(broken(|p| p.split.space_bp += 1), "split");
        assert_eq!(broken(|p| p.settlement_burn_bp = 10_001), "settlement_burn_bp");
        assert_eq!(broken(|p| p.service_match_bp = 10_001), "service_match_bp");
    }
}
