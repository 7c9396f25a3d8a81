//! What providers say about themselves, and who vouches for it.
//!
//! A provider has one entry, under its collateral. Anyone may vouch for any provider, so each entry of an auditor carries a
//! deposit, which returns when it takes its word back.

use cairn_protocol::ProviderId;

use super::Step;
use crate::event::Event;
use crate::market::{Attestation, Attributes, MarketCommand, MarketEvent, MarketRejection};
use crate::rejection::Rejection;
use crate::treasury::Pot;

impl Step<'_> {
    pub(super) fn market_command(&mut self, command: &MarketCommand) -> Result<(), Rejection> {
        match command {
            MarketCommand::SetAttributes { provider, attributes } => self.set_attributes(*provider, attributes),
            MarketCommand::SignAttributes { provider, attributes } => self.sign_attributes(*provider, attributes),
        }
    }

    fn set_attributes(&mut self, provider: ProviderId, attributes: &Attributes) -> Result<(), Rejection> {
        self.owned_provider(provider)?;
        attributes.check()?;
        if attributes.is_empty() {
            self.state.attributes.remove(&provider);
        } else {
            self.state.attributes.insert(provider, attributes.clone());
        }
        self.emit(Event::Market(MarketEvent::AttributesSet { provider, attributes: attributes.clone() }));
        Ok(())
    }

    fn sign_attributes(&mut self, provider: ProviderId, attributes: &Attributes) -> Result<(), Rejection> {
        if self.state.provider(provider).is_none() {
            return Err(Rejection::UnknownProvider { provider });
        }
        attributes.check()?;
        let (auditor, epoch) = (self.sender, self.now());
        let before = self.state.attestations.get(&(provider, auditor)).map(|entry| entry.deposit);
        match (before, attributes.is_empty()) {
            (None, true) => return Err(MarketRejection::NothingSigned { provider, auditor }.into()),
            (Some(deposit), true) => {
                self.state.attestations.remove(&(provider, auditor));
                self.state.release(Pot::Attestations, auditor, deposit);
            }
            (before, false) => {
                let deposit = match before {
                    Some(deposit) => deposit,
                    None => {
                        let deposit = self.state.meta.params.market.attestation_deposit;
                        self.state.lock(auditor, Pot::Attestations, deposit)?;
                        deposit
                    }
                };
                let entry = Attestation { attributes: attributes.clone(), epoch, deposit };
                self.state.attestations.insert((provider, auditor), entry);
            }
        }
        let attributes = attributes.clone();
        self.emit(Event::Market(MarketEvent::AttributesSigned { provider, auditor, attributes }));
        Ok(())
    }
}
