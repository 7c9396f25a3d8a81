//! What providers say about themselves, and who vouches for it.

use std::collections::BTreeMap;

use cairn_protocol::{Amount, Epoch};
use serde::{Deserialize, Serialize};

use super::MarketRejection;

/// Most attributes of a provider, of a signature, or of an order.
pub const ATTRIBUTES_MAX: usize = 16;
/// Most bytes of a key.
pub const KEY_BYTES_MAX: usize = 64;
/// Most bytes of a value.
pub const VALUE_BYTES_MAX: usize = 128;
/// The attribute that names where a provider stores.
pub const REGION_KEY: &str = "region";

/// Keys with values, by key. Keys are lowercase ASCII letters, digits and `-_./`; values are ASCII without spaces.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(BTreeMap<String, String>);

/// What one auditor says about a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// What it vouches for.
    pub attributes: Attributes,
    /// Since when.
    pub epoch: Epoch,
    /// Locked in [`crate::Pot::Attestations`] for the room it takes; back with the auditor when it takes its word back.
    pub deposit: Amount,
}

impl Attributes {
    /// These pairs; of a key that comes twice, the last.
    pub fn new<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Where the provider says it stores.
    pub fn region(&self) -> Option<&str> {
        self.get(REGION_KEY)
    }

    /// All pairs, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Checks number, lengths and characters.
    ///
    /// # Errors
    /// [`MarketRejection`] names the rule.
    pub fn check(&self) -> Result<(), MarketRejection> {
        if self.len() > ATTRIBUTES_MAX {
            return Err(MarketRejection::TooManyAttributes { limit: ATTRIBUTES_MAX as u64, got: self.len() as u64 });
        }
        let key_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_./".contains(&byte);
        let good_key = |key: &str| (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(key_byte);
        let good_value = |value: &str| {
            (1..=VALUE_BYTES_MAX).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_graphic())
        };
        match self.iter().find(|(key, value)| !good_key(key) || !good_value(value)) {
            Some((key, _)) => Err(MarketRejection::BadAttribute { key: key.chars().take(KEY_BYTES_MAX).collect() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_bounded() {
        let one = |key: &str, value: &str| Attributes::new([(key, value)]).check();
        assert_eq!(one("region", "eu-west.1"), Ok(()));
        let (longest, too_long) = ("k".repeat(KEY_BYTES_MAX), "k".repeat(KEY_BYTES_MAX + 1));
        assert_eq!(one(&longest, &"v".repeat(VALUE_BYTES_MAX)), Ok(()));
        for (key, value) in
            [("", "v"), ("Key", "v"), ("k e", "v"), (&too_long, "v"), ("k", ""), ("k", "a b"), ("k", "ä")]
        {
            assert!(matches!(one(key, value), Err(MarketRejection::BadAttribute { .. })), "{key:?} {value:?}");
        }
        assert!(matches!(one("k", &"v".repeat(VALUE_BYTES_MAX + 1)), Err(MarketRejection::BadAttribute { .. })));
        let many = |count: usize| Attributes::new((0..count).map(|n| (format!("k{n}"), "v"))).check();
        assert_eq!(many(ATTRIBUTES_MAX), Ok(()));
        assert!(matches!(many(ATTRIBUTES_MAX + 1), Err(MarketRejection::TooManyAttributes { .. })));
    }
}
