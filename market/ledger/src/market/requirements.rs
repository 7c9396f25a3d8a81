//! What an order asks of those who bid for it.

use serde::{Deserialize, Serialize};

use super::{Attributes, MarketRejection};
use crate::ids::Address;
use crate::rejection::Rejection;
use crate::scores::Fraction;

/// Most auditors in one list of an order.
pub const AUDITORS_MAX: usize = 8;

/// Whether copies must be in different regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RegionRule {
    /// No two copies in one region, as far as providers name theirs.
    #[default]
    Declared,
    /// The same, and only providers that name one. Auditors must vouch for it if the order has any.
    Required,
    /// Regions do not matter.
    Any,
}

/// What an order asks of those who bid for it. Nothing, by default, but regions that differ.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirements {
    /// The provider must say exactly this about itself.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
    /// Each of them must vouch for all required attributes. Ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed_by_all: Vec<Address>,
    /// One of them must vouch for all required attributes, if any is named. Ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signed_by_any: Vec<Address>,
    /// Least reputation.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reputation_min: Fraction,
    /// Whether regions must differ.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub regions: RegionRule,
}

fn is_zero(fraction: &Fraction) -> bool {
    *fraction == Fraction::ZERO
}

fn is_usual(rule: &RegionRule) -> bool {
    *rule == RegionRule::default()
}

impl Requirements {
    /// Whether nothing is asked for.
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that lists are bounded and ascending, and that named auditors have something to vouch for.
    pub(crate) fn check(&self) -> Result<(), Rejection> {
        self.attributes.check()?;
        for (what, auditors) in [("signed_by_all", &self.signed_by_all), ("signed_by_any", &self.signed_by_any)] {
            crate::apply::in_range(what, auditors.len() as u64, 0, AUDITORS_MAX as u64)?;
            crate::apply::ascending(what, auditors)?;
        }
        let auditors = !(self.signed_by_all.is_empty() && self.signed_by_any.is_empty());
        if auditors && self.attributes.is_empty() && self.regions != RegionRule::Required {
            return Err(MarketRejection::NothingToSign.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn requirements_have_one_encoding() {
        let usual = Requirements::default();
        assert_eq!(codec::encode(&usual), [0xa0], "nothing asked for is an empty map");
        let all = Requirements {
            attributes: Attributes::new([("region", "eu"), ("disk", "nvme")]),
            signed_by_all: vec![Address([1; 32])],
            signed_by_any: vec![Address([2; 32]), Address([3; 32])],
            reputation_min: Fraction::of(3, 4),
            regions: RegionRule::Required,
        };
        for wanted in [usual, all] {
            assert_eq!(codec::decode_strict::<Requirements>(&codec::encode(&wanted), 1_000).unwrap(), wanted);
            let text = serde_json::to_string(&wanted).unwrap();
            assert_eq!(serde_json::from_str::<Requirements>(&text).unwrap(), wanted);
        }
        assert!(serde_json::from_str::<Requirements>(r#"{"speed": 5}"#).is_err());
    }
}
