//! Who may take an order.

use std::collections::{BTreeMap, BTreeSet};

use cairn_ledger::market::REGION_KEY;
use cairn_ledger::{Address, Attributes, Event, MarketEvent, OrderId, RegionRule, State};
use cairn_protocol::ProviderId;

use super::Checker;
use crate::observation::Observation;

/// What everybody says, from events alone; see [`super::PROMISES`].
pub struct RequirementsKept {
    said: BTreeMap<ProviderId, Attributes>,
    signed: BTreeMap<(ProviderId, Address), Attributes>,
}

impl RequirementsKept {
    pub(super) fn new(_: &State) -> Self {
        Self { said: BTreeMap::new(), signed: BTreeMap::new() }
    }

    fn assigned(&self, order: OrderId, provider: ProviderId, seen: &Observation) -> Result<(), String> {
        let Some(record) = seen.after.order(order).or(seen.before.order(order)) else {
            return Err(format!("{order} is assigned and not there"));
        };
        let (wanted, nothing) = (&record.terms.requirements, Attributes::default());
        let own = self.said.get(&provider).unwrap_or(&nothing);
        let region = own.get(REGION_KEY).filter(|_| wanted.regions == RegionRule::Required);
        if wanted.regions == RegionRule::Required && region.is_none() {
            return Err(format!("{order} went to {provider}, which names no region"));
        }
        let asked: Vec<(&str, &str)> =
            wanted.attributes.iter().chain(region.map(|region| (REGION_KEY, region))).collect();
        if let Some((key, value)) = asked.iter().find(|(key, value)| own.get(key) != Some(value)) {
            return Err(format!("{order} went to {provider}, which does not say that its {key} is {value}"));
        }
        let vouches = |auditor: &Address| {
            let signed = self.signed.get(&(provider, *auditor));
            asked.iter().all(|(key, value)| signed.is_some_and(|signed| signed.get(key) == Some(value)))
        };
        let all = wanted.signed_by_all.iter().all(vouches);
        if !all || !(wanted.signed_by_any.is_empty() || wanted.signed_by_any.iter().any(vouches)) {
            return Err(format!("{order} went to {provider}, for which its auditors do not vouch"));
        }
        Ok(())
    }

    /// Bids are an owner's: its deals of one order share a region, those of others must not.
    fn copies(&self, order: OrderId, seen: &Observation) -> Result<(), String> {
        let Some(record) = seen.after.order(order) else { return Ok(()) };
        if record.terms.requirements.regions == RegionRule::Any {
            return Ok(());
        }
        let winners =
            seen.after.bids_on(order).filter(|(_, bid)| matches!(bid.status, cairn_ledger::BidStatus::Won { .. }));
        let mut taken = BTreeSet::new();
        for (provider, _) in winners {
            let region = self.said.get(&provider).and_then(|own| own.get(REGION_KEY));
            if region.is_some_and(|region| !taken.insert(region.to_owned())) {
                return Err(format!("two copies of {order} are in the region of {provider}"));
            }
        }
        Ok(())
    }
}

impl Checker for RequirementsKept {
    fn check(&mut self, seen: &Observation) -> Result<(), String> {
        for event in &seen.outcome.events {
            match event {
                Event::Market(MarketEvent::AttributesSet { provider, attributes }) => {
                    self.said.insert(*provider, attributes.clone());
                }
                Event::Market(MarketEvent::AttributesSigned { provider, auditor, attributes }) => {
                    self.signed.insert((*provider, *auditor), attributes.clone());
                }
                Event::DealAssigned { order, provider, .. } => self.assigned(*order, *provider, seen)?,
                Event::OrderMatched { order, .. } => self.copies(*order, seen)?,
                _ => {}
            }
        }
        Ok(())
    }
}
