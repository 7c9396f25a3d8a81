//! Who may take an order, and who of them gets it: attributes, auditors, regions, reputation.
//!
//! - A provider says about itself what it likes ([`Attributes`], `region` among them). Nobody checks that.
//! - Anyone may sign such attributes as an auditor ([`Attestation`]); a signature counts for as long as the provider says
//!   the same. Whose signatures are worth something is for the client to say, in the order.
//! - An order names what it asks for ([`Requirements`]). A bid that does not meet it is refused, and one that no longer
//!   meets it when the order is assigned is closed with its deposit returned.
//! - Of those that do, the lowest *score* wins: `price x (1 + w x (1 - reputation))` with the network's weight `w`
//!   ([`MarketParams::reputation_weight_bp`]). Winners are paid what they bid, not the score.
//! - No two copies go to one owner, nor to one region as far as providers name theirs ([`RegionRule`]).
//!
//! # Who can profit from what
//! - *Bid rigging.* Bidders who agree beforehand bid high together; sealed bids keep them from watching each other, not
//!   from agreeing. The cap of the order is the most it can cost a client, and one bidder outside the agreement undoes it.
//! - *Withheld reveals.* Who bids twice through two owners may reveal the dearer one only if the cheaper is not needed. It
//!   costs the deposit of the other bid each time.
//! - *Crowding out.* An order takes `order_bids_max` bids, first come first served, and a losing bid's deposit returns: many
//!   owners under one hand can fill an order with high bids for the price of the fees and the deposits' absence.
//! - *Many owners.* An owner costs nothing but the collateral of a provider, so "different owners" bounds accidents, not one
//!   hand with several keys. Who needs more names auditors.
//! - *Region lies.* A region is a claim. Unless the order names auditors, a liar holds several copies in one place, as one
//!   who names no region may; [`RegionRule::Required`] with auditors makes it as good as those. A region that is changed
//!   after assignment counts from then on, for replacements.
//! - *Fewer copies.* Copies are given out greedily by score. Where owners and regions overlap, a dearer choice might have
//!   filled one more copy; the money for a missing copy returns to the client.

mod attributes;
mod params;
mod rejection;
mod requirements;

use cairn_protocol::{Amount, ProviderId};
use serde::{Deserialize, Serialize};

pub use attributes::{ATTRIBUTES_MAX, Attestation, Attributes, KEY_BYTES_MAX, REGION_KEY, VALUE_BYTES_MAX};
pub use params::MarketParams;
pub use rejection::MarketRejection;
pub use requirements::{AUDITORS_MAX, RegionRule, Requirements};

use crate::emission::WHOLE_BP;
use crate::ids::Address;
use crate::scores::Fraction;
use crate::state::State;

/// What may be asked about attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum MarketCommand {
    /// What the provider says about itself, in place of what it said before. By the owner.
    SetAttributes {
        /// Who.
        provider: ProviderId,
        /// All of them; none removes the entry.
        attributes: Attributes,
    },
    /// Says as an auditor that these attributes of the provider are true, in place of what the sender said before. By
    /// anyone, for a deposit ([`MarketParams::attestation_deposit`]) that returns with the word.
    SignAttributes {
        /// About whom.
        provider: ProviderId,
        /// All that the sender vouches for; none takes the signature back.
        attributes: Attributes,
    },
}

/// What became of attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are named after what they are")]
pub enum MarketEvent {
    /// A provider says this about itself now.
    AttributesSet { provider: ProviderId, attributes: Attributes },
    /// An auditor vouches for this now.
    AttributesSigned { provider: ProviderId, auditor: Address, attributes: Attributes },
}

/// What a bid competes with: price, made dearer by a lack of reputation, without rounding. Lower is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BidScore(u128);

impl BidScore {
    /// `price x (1 + weight x (1 - reputation))`, times a constant.
    pub(crate) fn new(price: Amount, reputation: Fraction, weight_bp: u32) -> Self {
        let whole = u128::from(WHOLE_BP) * u128::from(Fraction::ONE.raw());
        let factor = whole + u128::from(weight_bp) * u128::from(reputation.complement().raw());
        Self(u128::from(price.0) * factor)
    }
}

/// Reading.
impl State {
    /// What a provider says about itself.
    pub fn attributes_of(&self, provider: ProviderId) -> Attributes {
        self.attributes.get(&provider).cloned().unwrap_or_default()
    }

    /// The region that a provider names, if it names one.
    pub fn region_of(&self, provider: ProviderId) -> Option<String> {
        self.attributes.get(&provider).and_then(|attributes| attributes.region()).map(str::to_owned)
    }

    /// Who vouches for what about a provider, by auditor.
    pub fn attestations_of(&self, provider: ProviderId) -> impl Iterator<Item = (Address, &Attestation)> {
        self.attestations_from(provider, Address([0; 32]))
    }

    /// Whether a provider may take an order that asks for this, as far as the provider alone decides.
    ///
    /// # Errors
    /// [`MarketRejection`] names the first thing that is missing.
    pub fn check_requirements(&self, wanted: &Requirements, provider: ProviderId) -> Result<(), MarketRejection> {
        let got = self.reputation_of(provider);
        if got < wanted.reputation_min {
            return Err(MarketRejection::ReputationTooLow { provider, needed: wanted.reputation_min, got });
        }
        let none = Attributes::default();
        let own = self.attributes.get(&provider).unwrap_or(&none);
        if let Some((key, value)) = wanted.attributes.iter().find(|(key, value)| own.get(key) != Some(value)) {
            let (key, wanted, got) = (key.to_owned(), value.to_owned(), own.get(key).map(str::to_owned));
            return Err(MarketRejection::AttributeMissing { provider, key, wanted, got });
        }
        if wanted.regions == RegionRule::Required && own.region().is_none() {
            return Err(MarketRejection::RegionMissing { provider });
        }
        self.check_auditors(wanted, provider, own)
    }

    /// Every named auditor of one list, and one of the other, vouches for all that is required.
    fn check_auditors(
        &self,
        wanted: &Requirements,
        provider: ProviderId,
        own: &Attributes,
    ) -> Result<(), MarketRejection> {
        let region = own.region().filter(|_| wanted.regions == RegionRule::Required).map(|region| (REGION_KEY, region));
        let vouches = |auditor: &Address| {
            let signed = self.attestations.get(&(provider, *auditor));
            let covers = |(key, value): (&str, &str)| signed.is_some_and(|s| s.attributes.get(key) == Some(value));
            wanted.attributes.iter().chain(region).all(covers)
        };
        if let Some(auditor) = wanted.signed_by_all.iter().find(|auditor| !vouches(auditor)) {
            return Err(MarketRejection::NotSigned { provider, auditor: *auditor });
        }
        if !wanted.signed_by_any.is_empty() && !wanted.signed_by_any.iter().any(vouches) {
            return Err(MarketRejection::SignedByNone { provider });
        }
        Ok(())
    }

    /// Records what the network holds of a provider.
    #[cfg(any(test, feature = "testing"))]
    pub fn set_reputation(&mut self, provider: ProviderId, reputation: Fraction) {
        let score = crate::economy::ProviderScore { reputation, quality: reputation, round: 0 };
        self.scores.insert(provider, score);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_exact_and_do_not_overflow() {
        let score = |price, reputation, weight| BidScore::new(Amount(price), reputation, weight);
        let (none, half, full) = (Fraction::ZERO, crate::economy::NEUTRAL_REPUTATION, Fraction::ONE);
        assert_eq!(half.to_string(), "0.500000");
        // With weight 1 a price of 150 with full reputation is as good as 100 with half of it, or 75 with none.
        assert_eq!(score(150, full, WHOLE_BP), score(100, half, WHOLE_BP));
        assert_eq!(score(150, full, WHOLE_BP), score(75, none, WHOLE_BP));
        assert!(score(149, full, WHOLE_BP) < score(100, half, WHOLE_BP));
        assert!(score(151, full, WHOLE_BP) > score(100, half, WHOLE_BP));
        // Without weight price alone decides.
        assert_eq!(score(7, none, 0), score(7, full, 0));
        let most = MarketParams::REPUTATION_WEIGHT_BP_MAX;
        assert!(score(u64::MAX, none, most) > score(u64::MAX - 1, none, most));
    }
}
