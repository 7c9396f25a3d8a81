//! Money, as a whole number of micro-units.
//!
//! Every operation is checked and every division says which way it rounds; there is no floating point anywhere near
//! a balance.

use std::fmt;
use std::iter::Sum;

use serde::{Deserialize, Serialize};

/// An amount of the network's currency, in micro-units (10^-6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Amount(pub u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// Micro-units in one unit.
    pub const MICRO_PER_UNIT: u64 = 1_000_000;

    /// Whole units; `None` if the number does not fit.
    pub const fn from_units(units: u64) -> Option<Self> {
        match units.checked_mul(Self::MICRO_PER_UNIT) {
            Some(micro) => Some(Self(micro)),
            None => None,
        }
    }

    /// Sum, or `None` on overflow.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Difference, or `None` if it would be below zero.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// Product with a count, or `None` on overflow.
    pub const fn checked_mul(self, count: u64) -> Option<Self> {
        match self.0.checked_mul(count) {
            Some(product) => Some(Self(product)),
            None => None,
        }
    }

    /// `self * numerator / denominator` rounded down, through 128 bits; `None` on overflow or a zero denominator.
    pub const fn mul_ratio(self, numerator: u64, denominator: u64) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let scaled = self.0 as u128 * numerator as u128 / denominator as u128;
        if scaled > u64::MAX as u128 { None } else { Some(Self(scaled as u64)) }
    }

    /// Sum of many, or `None` on overflow.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// Whether this is nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Sum<Amount> for u128 {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> u128 {
        amounts.map(|amount| u128::from(amount.0)).sum()
    }
}

impl fmt::Display for Amount {
    /// Units with six decimals: `1.500000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / Self::MICRO_PER_UNIT, self.0 % Self::MICRO_PER_UNIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_checked() {
        assert_eq!(Amount(1).checked_sub(Amount(2)), None);
        assert_eq!(Amount(u64::MAX).checked_add(Amount(1)), None);
        assert_eq!(Amount(u64::MAX).mul_ratio(2, 2), Some(Amount(u64::MAX)));
        assert_eq!(Amount(7).mul_ratio(1, 2), Some(Amount(3)));
        assert_eq!(Amount(7).mul_ratio(1, 0), None);
        assert_eq!(Amount(1_500_000).to_string(), "1.500000");
    }
}
