//! Dividing an amount so that the parts sum to it exactly.
//!
//! Largest remainders: everybody gets the floor of the exact part; the micro-units that are left go one each to the
//! largest remainders, equal ones to the smaller name first. So a larger weight never gets less than a smaller one, equal
//! weights differ by at most one micro-unit, and the order in which weights are named does not matter.

use std::collections::BTreeMap;

use cairn_protocol::{Amount, ProviderId};

use super::Fraction;

/// Divides `amount` by `weights`; nobody gets anything if all weights are zero, otherwise the parts sum to `amount`.
/// Names without a part are left out.
pub fn divided<K: Ord + Copy>(amount: Amount, weights: &BTreeMap<K, u64>) -> BTreeMap<K, Amount> {
    let all: u128 = weights.values().map(|weight| u128::from(*weight)).sum();
    if all == 0 || amount.is_zero() {
        return BTreeMap::new();
    }
    let mut parts = BTreeMap::new();
    let mut remainders = Vec::with_capacity(weights.len());
    let mut left = amount.0;
    for (&name, &weight) in weights {
        let exact = u128::from(amount.0) * u128::from(weight);
        let floor = (exact / all) as u64;
        left -= floor;
        parts.insert(name, Amount(floor));
        remainders.push((exact % all, name));
    }
    // Largest remainder first; the sort is stable, so equal ones stay in the order of their names.
    remainders.sort_by_key(|(remainder, _)| std::cmp::Reverse(*remainder));
    for (_, name) in remainders.into_iter().take(left as usize) {
        parts.entry(name).and_modify(|part| part.0 += 1);
    }
    parts.retain(|_, part| !part.is_zero());
    parts
}

/// Divides the service reward: each provider weighs `incentive x paid volume`, so a good score earns nothing without
/// clients who pay, and paid volume earns nothing without service that checkers find good.
pub fn service_rewards(
    amount: Amount,
    incentives: &BTreeMap<ProviderId, Fraction>,
    paid_volume: &BTreeMap<ProviderId, Amount>,
) -> BTreeMap<ProviderId, Amount> {
    let weights = incentives
        .iter()
        .filter_map(|(provider, share)| paid_volume.get(provider).map(|volume| (*provider, share.of_amount(volume.0))))
        .collect();
    divided(amount, &weights)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_sum_exactly_and_keep_the_order(
            amount: u64,
            weights in prop::collection::vec(prop_oneof![0u64..5, any::<u64>()], 1..40),
        ) {
            let named: BTreeMap<usize, u64> = weights.iter().copied().enumerate().collect();
            let parts = divided(Amount(amount), &named);
            let sum: u128 = parts.values().copied().sum();
            let paid = weights.iter().any(|weight| *weight > 0);
            prop_assert_eq!(sum, if paid { u128::from(amount) } else { 0 });
            let part = |name| parts.get(&name).copied().unwrap_or(Amount::ZERO).0;
            for a in 0..weights.len() {
                for b in 0..weights.len() {
                    if weights[a] > weights[b] {
                        prop_assert!(part(a) >= part(b));
                    }
                    if weights[a] == weights[b] {
                        prop_assert!(part(a).abs_diff(part(b)) <= 1);
                    }
                }
            }
        }

        #[test]
        fn raising_a_weight_never_lowers_its_part_by_more_than_rounding(
            amount in 0u64..1 << 50,
            weights in prop::collection::vec(0u64..1 << 40, 1..20),
            more in 0u64..1 << 40,
        ) {
            let mut named: BTreeMap<usize, u64> = weights.iter().copied().enumerate().collect();
            let before = divided(Amount(amount), &named).get(&0).copied().unwrap_or_default();
            *named.get_mut(&0).unwrap() += more;
            let after = divided(Amount(amount), &named).get(&0).copied().unwrap_or_default();
            prop_assert!(after.0 + 1 >= before.0);
        }
    }

    #[test]
    fn service_needs_both_score_and_clients() {
        let half = Fraction::of(1, 2);
        let incentives = [(ProviderId(1), half), (ProviderId(2), half), (ProviderId(3), Fraction::ZERO)].into();
        let volume = [(ProviderId(1), Amount(10)), (ProviderId(3), Amount(1_000)), (ProviderId(4), Amount(9))].into();
        assert_eq!(service_rewards(Amount(7), &incentives, &volume), [(ProviderId(1), Amount(7))].into());
        assert!(service_rewards(Amount(7), &incentives, &BTreeMap::new()).is_empty());
    }
}
