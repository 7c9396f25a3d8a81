//! Rewards that become free over time; `apply::rewards` grants and releases them.
//!
//! Source: `spec/market.md` 2.4: of a reward, 25 % is free at once and 75 % vests linearly over 180 days. Rewards of
//! one `bucket_epochs` vest together, from the bucket's end, so that an account has a bounded number of entries however
//! often it is rewarded.
//!
//! # Invariants
//! - *Conservation*: everything granted is free, released, taken or still locked.
//! - *Bounded*: at most `duration / bucket + 2` entries.

use cairn_protocol::{Amount, Epoch};
use serde::{Deserialize, Serialize};

use crate::emission::{WHOLE_BP, part_of};

/// How rewards vest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VestingRule {
    /// Free at once, in basis points.
    pub free_bp: u32,
    /// Epochs over which the rest becomes free.
    pub duration_epochs: u64,
    /// Epochs whose rewards vest together.
    pub bucket_epochs: u64,
}

impl Default for VestingRule {
    /// A quarter at once, the rest over 180 days of 2,880 epochs, by the day.
    fn default() -> Self {
        Self { free_bp: 2_500, duration_epochs: 180 * 2_880, bucket_epochs: 2_880 }
    }
}

impl VestingRule {
    /// Whether the numbers make sense: durations from 1 to 2^40 epochs, at most the whole free.
    pub const fn is_valid(&self) -> bool {
        const EPOCHS_MAX: u64 = 1 << 40;
        self.free_bp <= WHOLE_BP
            && self.duration_epochs >= 1
            && self.duration_epochs <= EPOCHS_MAX
            && self.bucket_epochs >= 1
            && self.bucket_epochs <= self.duration_epochs
    }
}

/// One bucket's rewards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Bucket {
    /// Granted in it, without what was free at once.
    granted: Amount,
    /// Released or taken of that.
    gone: Amount,
}

/// What one account waits for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VestingAccount {
    /// By the epoch at which vesting starts, ascending.
    buckets: Vec<(Epoch, Bucket)>,
}

impl VestingAccount {
    /// Adds a reward; returns the part that is free at once. `None`, and no change, if what waits would not fit.
    pub fn grant(&mut self, now: Epoch, reward: Amount, rule: &VestingRule) -> Option<Amount> {
        let free = part_of(reward, rule.free_bp);
        let locked = reward.checked_sub(free)?;
        self.locked().checked_add(locked)?;
        if locked.is_zero() {
            return Some(free);
        }
        let start = Epoch((now.0 / rule.bucket_epochs).checked_add(1)?.checked_mul(rule.bucket_epochs)?);
        let at = self.buckets.partition_point(|(other, _)| *other < start);
        match self.buckets.get_mut(at).filter(|(other, _)| *other == start) {
            // What is gone of a bucket still counts in it.
            Some((_, bucket)) => bucket.granted = bucket.granted.checked_add(locked)?,
            None => self.buckets.insert(at, (start, Bucket { granted: locked, gone: Amount::ZERO })),
        }
        Some(free)
    }

    /// Takes out what has vested by `now`.
    pub fn release(&mut self, now: Epoch, rule: &VestingRule) -> Amount {
        let mut released = Amount::ZERO;
        for (start, bucket) in &mut self.buckets {
            let elapsed = now.0.saturating_sub(start.0).min(rule.duration_epochs);
            let vested = bucket.granted.mul_ratio(elapsed, rule.duration_epochs).expect("a part of the grant");
            // Less than is gone, if some was taken ahead of time.
            if let Some(due) = vested.checked_sub(bucket.gone) {
                bucket.gone = vested;
                released = released.checked_add(due).expect("parts of what is locked");
            }
        }
        self.buckets.retain(|(_, bucket)| bucket.gone < bucket.granted);
        released
    }

    /// What [`VestingAccount::release`] would take out.
    pub fn vested(&self, now: Epoch, rule: &VestingRule) -> Amount {
        self.clone().release(now, rule)
    }

    /// Takes up to `amount` of what has not vested, latest first: how a penalty reaches rewards.
    pub fn take(&mut self, amount: Amount) -> Amount {
        let mut left = amount;
        for (_, bucket) in self.buckets.iter_mut().rev() {
            let taken = Amount(bucket.granted.0 - bucket.gone.0).min(left);
            bucket.gone.0 += taken.0;
            left.0 -= taken.0;
        }
        self.buckets.retain(|(_, bucket)| bucket.gone < bucket.granted);
        Amount(amount.0 - left.0)
    }

    /// What is still locked.
    pub fn locked(&self) -> Amount {
        let waiting = self.buckets.iter().map(|(_, bucket)| Amount(bucket.granted.0 - bucket.gone.0));
        Amount::checked_sum(waiting).expect("grants are refused before this overflows")
    }

    /// Number of entries.
    pub fn entries(&self) -> usize {
        self.buckets.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reward_vests_in_a_line() {
        let rule = VestingRule { free_bp: 2_500, duration_epochs: 100, bucket_epochs: 10 };
        let mut account = VestingAccount::default();
        assert_eq!(account.grant(Epoch(7), Amount(400), &rule), Some(Amount(100)));
        assert_eq!(account.release(Epoch(10), &rule), Amount(0));
        assert_eq!(account.release(Epoch(11), &rule), Amount(3));
        assert_eq!(account.release(Epoch(60), &rule), Amount(147));
        assert_eq!((account.take(Amount(100)), account.locked()), (Amount(100), Amount(50)));
        assert_eq!(account.release(Epoch(70), &rule), Amount(0), "the penalty took what would have vested");
        assert_eq!(account.release(Epoch(u64::MAX), &rule), Amount(50));
        assert_eq!((account.locked(), account.entries()), (Amount(0), 0));
        assert!(VestingRule::default().is_valid() && !VestingRule { bucket_epochs: 0, ..rule }.is_valid());
    }

    #[test]
    fn what_does_not_fit_into_a_bucket_is_refused() {
        let rule = VestingRule { free_bp: 0, duration_epochs: 100, bucket_epochs: 10 };
        let mut account = VestingAccount::default();
        assert_eq!(account.grant(Epoch(1), Amount(u64::MAX), &rule), Some(Amount::ZERO));
        assert_eq!(account.take(Amount(u64::MAX - 1)), Amount(u64::MAX - 1));
        assert_eq!(account.grant(Epoch(2), Amount(1), &rule), None, "the bucket counts what is gone");
        assert_eq!((account.locked(), account.grant(Epoch(12), Amount(1), &rule)), (Amount(1), Some(Amount::ZERO)));
    }

    proptest! {
        #[test]
        fn nothing_is_lost(
            steps in prop::collection::vec((0u8..3, 0u64..60, prop_oneof![0u64..1_000, any::<u64>()]), 1..80),
            free_bp in 0u32..=10_000,
        ) {
            let rule = VestingRule { free_bp, duration_epochs: 100, bucket_epochs: 10 };
            let mut account = VestingAccount::default();
            let (mut now, mut granted, mut out) = (0u64, 0u128, 0u128);
            for (what, later, amount) in steps {
                now += later;
                match what {
                    0 => if let Some(free) = account.grant(Epoch(now), Amount(amount), &rule) {
                        granted += u128::from(amount);
                        out += u128::from(free.0);
                    },
                    1 => out += u128::from(account.release(Epoch(now), &rule).0),
                    _ => out += u128::from(account.take(Amount(amount)).0),
                }
                prop_assert_eq!(granted, out + u128::from(account.locked().0));
            }
            out += u128::from(account.release(Epoch(now + 111), &rule).0);
            prop_assert_eq!(granted, out);
        }

        #[test]
        fn entries_are_bounded(epochs in prop::collection::vec(0u64..5, 1..300)) {
            let rule = VestingRule { free_bp: 0, duration_epochs: 50, bucket_epochs: 10 };
            let mut account = VestingAccount::default();
            let mut now = 0;
            for later in epochs {
                now += later;
                account.grant(Epoch(now), Amount(1_000_000), &rule);
                account.release(Epoch(now), &rule);
                prop_assert!(account.entries() <= 7);
            }
        }
    }
}
