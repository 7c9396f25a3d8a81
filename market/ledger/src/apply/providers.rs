//! Transfers, registration, collateral.

use cairn_protocol::{Amount, ProviderId, SectorSize};

use super::Step;
use crate::calendar::DEADLINES;
use crate::event::Event;
use crate::ids::Address;
use crate::provider::{Provider, URL_BYTES_MAX};
use crate::rejection::Rejection;
use crate::treasury::Pot;

impl Step<'_> {
    pub(super) fn transfer(&mut self, to: Address, amount: Amount) -> Result<(), Rejection> {
        positive("amount", amount)?;
        self.state.transfer(self.sender, to, amount)?;
        self.emit(Event::Transferred { from: self.sender, to, amount });
        Ok(())
    }

    pub(super) fn register_provider(
        &mut self,
        sector_size: SectorSize,
        collateral: Amount,
        endpoint: &str,
    ) -> Result<(), Rejection> {
        check_url("endpoint", endpoint)?;
        let provider = ProviderId(self.state.meta.next_provider);
        let needed = self.state.meta.params.collateral_min;
        if collateral < needed {
            return Err(Rejection::CollateralTooLow { provider, needed, got: collateral });
        }
        self.state.lock(self.sender, Pot::Collateral, collateral)?;
        self.state.meta.next_provider += 1;
        let record = Provider {
            owner: self.sender,
            sector_size,
            collateral,
            endpoint: endpoint.to_owned(),
            obligations: 0,
            partition_counts: vec![0; DEADLINES as usize],
        };
        self.state.providers.insert(provider, record);
        self.emit(Event::ProviderRegistered { provider, owner: self.sender });
        Ok(())
    }

    pub(super) fn add_collateral(&mut self, provider: ProviderId, amount: Amount) -> Result<(), Rejection> {
        positive("amount", amount)?;
        if self.state.provider(provider).is_none() {
            return Err(Rejection::UnknownProvider { provider });
        }
        self.state.lock(self.sender, Pot::Collateral, amount)?;
        let change = |p: &mut Provider| {
            p.collateral = p.collateral.checked_add(amount).expect("locked money is within the supply");
            p.collateral
        };
        let collateral = self.state.providers.update(&provider, change).expect("found above");
        self.emit(Event::CollateralChanged { provider, collateral });
        Ok(())
    }

    pub(super) fn withdraw_collateral(&mut self, provider: ProviderId, amount: Amount) -> Result<(), Rejection> {
        positive("amount", amount)?;
        let record = self.owned_provider(provider)?;
        let Some(rest) = record.collateral.checked_sub(amount) else {
            let (needed, available) = (amount, record.collateral);
            return Err(Rejection::InsufficientFunds { account: self.sender, needed, available });
        };
        let needed = if record.obligations > 0 { self.state.meta.params.collateral_min } else { Amount::ZERO };
        if rest < needed {
            return Err(Rejection::CollateralTooLow { provider, needed, got: rest });
        }
        self.state.providers.update(&provider, |p| p.collateral = rest);
        self.state.release(Pot::Collateral, record.owner, amount);
        self.emit(Event::CollateralChanged { provider, collateral: rest });
        Ok(())
    }
}

pub(super) fn positive(what: &str, amount: Amount) -> Result<(), Rejection> {
    if amount.is_zero() { Err(Rejection::ZeroAmount { what: what.to_owned() }) } else { Ok(()) }
}

pub(super) fn check_url(what: &str, url: &str) -> Result<(), Rejection> {
    let known = url.starts_with("http://") || url.starts_with("https://");
    let plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    if known && plain && url.len() <= URL_BYTES_MAX { Ok(()) } else { Err(Rejection::BadUrl { what: what.to_owned() }) }
}
