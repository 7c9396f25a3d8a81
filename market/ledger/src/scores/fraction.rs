//! Numbers from 0 to 1 with 32 bits after the point.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// A number from 0 to 1 in units of 2^-32. Every operation rounds down unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
pub struct Fraction(u64);

impl Fraction {
    /// Bits after the point.
    pub const BITS: u32 = 32;
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The whole.
    pub const ONE: Self = Self(1 << Self::BITS);

    /// The fraction of `raw` units of 2^-32; `None` above one.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        if raw <= Self::ONE.0 { Some(Self(raw)) } else { None }
    }

    /// Units of 2^-32.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// `part / whole`; one if `part` is more than `whole`, zero if both are zero.
    pub const fn of(part: u64, whole: u64) -> Self {
        if part == 0 {
            Self::ZERO
        } else if part >= whole {
            Self::ONE
        } else {
            Self((((part as u128) << Self::BITS) / whole as u128) as u64)
        }
    }

    /// `part / whole` of two sums; the part must not exceed the whole and must be below 2^96.
    ///
    /// # Panics
    /// If it does, or is not: the caller's mistake.
    pub(crate) fn of_sums(part: u128, whole: u128) -> Self {
        assert!(part <= whole && part >> 96 == 0, "a part is in its whole, and a product of stake and fraction");
        if part == 0 { Self::ZERO } else { Self(((part << Self::BITS) / whole) as u64) }
    }

    /// From a 16-bit level, where 65,535 is one. [`Fraction::to_u16`] gives the level back.
    pub const fn from_u16(level: u16) -> Self {
        Self(((level as u64) << Self::BITS).div_ceil(u16::MAX as u64))
    }

    /// The 16-bit level at or below this.
    pub const fn to_u16(self) -> u16 {
        ((self.0 * u16::MAX as u64) >> Self::BITS) as u16
    }

    /// What is missing to one.
    pub const fn complement(self) -> Self {
        Self(Self::ONE.0 - self.0)
    }

    /// The product.
    pub const fn times(self, other: Self) -> Self {
        Self(((self.0 as u128 * other.0 as u128) >> Self::BITS) as u64)
    }

    /// The product with itself, `exponent` times; one for 0.
    pub fn power(self, exponent: u8) -> Self {
        (0..exponent).fold(Self::ONE, |product, _| product.times(self))
    }

    /// The sum, at most one.
    pub const fn plus_up_to_one(self, other: Self) -> Self {
        let sum = self.0 + other.0;
        if sum > Self::ONE.0 { Self::ONE } else { Self(sum) }
    }

    /// One step of an exponential moving average: `(1 - alpha) * self + alpha * new`, rounded once, so that an average
    /// of equal values is that value.
    pub const fn moved_towards(self, new: Self, alpha: Self) -> Self {
        let kept = self.0 as u128 * alpha.complement().0 as u128;
        Self(((kept + new.0 as u128 * alpha.0 as u128) >> Self::BITS) as u64)
    }

    /// `amount` times this.
    pub const fn of_amount(self, amount: u64) -> u64 {
        ((amount as u128 * self.0 as u128) >> Self::BITS) as u64
    }

    /// For people and charts; never an input to anything that the ledger computes.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / Self::ONE.0 as f64
    }
}

impl fmt::Display for Fraction {
    /// Six decimals: `0.250000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millionths = (u128::from(self.0) * 1_000_000) >> Self::BITS;
        write!(f, "{}.{:06}", millionths / 1_000_000, millionths % 1_000_000)
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = u64::deserialize(deserializer)?;
        Self::from_raw(raw).ok_or_else(|| serde::de::Error::custom(format!("{raw} units of 2^-32 are more than one")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arb_fraction() -> impl Strategy<Value = Fraction> {
        (0..=Fraction::ONE.raw()).prop_map(|raw| Fraction::from_raw(raw).unwrap())
    }

    #[test]
    fn ends_are_exact() {
        assert_eq!(Fraction::of(3, 4).to_string(), "0.750000");
        assert_eq!(Fraction::of(5, 4), Fraction::ONE);
        assert_eq!(Fraction::of(0, 0), Fraction::ZERO);
        assert_eq!(Fraction::of(u64::MAX - 1, u64::MAX).raw(), Fraction::ONE.raw() - 1);
        assert_eq!(Fraction::from_raw(Fraction::ONE.raw() + 1), None);
        assert_eq!(Fraction::ONE.of_amount(u64::MAX), u64::MAX);
        assert_eq!(Fraction::of_sums(u128::from(u64::MAX) << 32, u128::from(u64::MAX) << 32), Fraction::ONE);
        assert!(serde_json::from_str::<Fraction>("4294967297").is_err());
    }

    proptest! {
        #[test]
        fn levels_survive(level: u16) {
            prop_assert_eq!(Fraction::from_u16(level).to_u16(), level);
        }

        #[test]
        fn an_average_stays_between(a in arb_fraction(), b in arb_fraction(), alpha in arb_fraction()) {
            let moved = a.moved_towards(b, alpha);
            prop_assert!(a.min(b) <= moved && moved <= a.max(b));
            prop_assert_eq!(a.moved_towards(a, alpha), a);
            prop_assert!(a.times(b) <= a.min(b));
        }
    }
}
