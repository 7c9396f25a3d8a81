//! Accounts, channels, stake, supply, parameters.

use std::collections::BTreeMap;

use cairn_ledger::payments::{ChannelId, ChannelStatus, ChannelView};
use cairn_ledger::{Address, State};
use cairn_protocol::{Amount, Epoch, ProviderId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Hex32;
use crate::readable;

/// What an address owns freely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Its Ed25519 key.
    #[schema(value_type = Hex32)]
    pub address: Address,
    /// Free money.
    #[schema(value_type = u64)]
    pub balance: Amount,
    /// Transactions in blocks so far.
    pub nonce: u64,
    /// What the next transaction must carry: those that wait here are counted.
    pub next_nonce: u64,
}

/// Where a channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelState {
    /// Takes deposits and vouchers.
    Open,
    /// Takes vouchers until it closes.
    Closing,
    /// Empty.
    Closed,
}

/// A payment channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Channel {
    /// Its number.
    #[schema(value_type = u64)]
    pub id: ChannelId,
    /// Who pays.
    #[schema(value_type = Hex32)]
    pub payer: Address,
    /// Who is paid.
    #[schema(value_type = Hex32)]
    pub payee: Address,
    /// Still in it.
    #[schema(value_type = u64)]
    pub held: Amount,
    /// Paid out so far.
    #[schema(value_type = u64)]
    pub redeemed: Amount,
    /// Where it stands.
    pub state: ChannelState,
    /// First epoch at which anyone may close it, once it is closing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub closes_at: Option<Epoch>,
    /// Whose service it pays for, once the payee has bound it to a provider of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub provider: Option<ProviderId>,
}

impl Channel {
    pub(crate) fn of(id: ChannelId, channel: &cairn_ledger::payments::Channel) -> Self {
        let (state, closes_at) = match channel.status() {
            ChannelStatus::Open => (ChannelState::Open, None),
            ChannelStatus::Closing { until } => (ChannelState::Closing, Some(until)),
            ChannelStatus::Closed => (ChannelState::Closed, None),
        };
        let (payer, payee) = channel.parties();
        let (held, redeemed, provider) = (channel.held(), channel.redeemed(), channel.provider());
        Self { id, payer, payee, held, redeemed, state, closes_at, provider }
    }

    /// What vouchers are checked against.
    pub fn view(&self) -> ChannelView {
        let &Self { id, payer, payee, held, redeemed, state, closes_at, .. } = self;
        let status = match state {
            ChannelState::Open => ChannelStatus::Open,
            ChannelState::Closing => ChannelStatus::Closing { until: closes_at.unwrap_or(Epoch(0)) },
            ChannelState::Closed => ChannelStatus::Closed,
        };
        ChannelView { id, payer, payee, held, redeemed, status }
    }
}

/// Someone with stake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Validator {
    /// Its key and account.
    #[schema(value_type = Hex32)]
    pub address: Address,
    /// What it votes with.
    #[schema(value_type = u64)]
    pub stake: Amount,
    /// Votes.
    pub power: u64,
    /// Decisions in a row that it did not sign.
    pub missed: u32,
    /// Stake that was taken back and is not free yet.
    #[schema(value_type = u64)]
    pub leaving: Amount,
}

impl Validator {
    pub(crate) fn of(address: Address, validator: &cairn_ledger::Validator) -> Self {
        let leaving = Amount::checked_sum(validator.leaving.iter().map(|(_, amount)| *amount));
        Self {
            address,
            stake: validator.stake,
            power: validator.power(),
            missed: validator.missed,
            leaving: leaving.unwrap_or(Amount(u64::MAX)),
        }
    }
}

/// Where all money is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Supply {
    /// Height of the state that was read.
    #[schema(value_type = u64)]
    pub height: Epoch,
    /// All money there is, burnt money included.
    #[schema(value_type = u64)]
    pub supply: Amount,
    /// Free, in accounts.
    #[schema(value_type = u64)]
    pub free: Amount,
    /// Fees and lost deposits.
    #[schema(value_type = u64)]
    pub burnt: Amount,
    /// What is locked, by what it is locked for.
    pub pots: BTreeMap<String, u64>,
}

impl Supply {
    pub(crate) fn of(state: &State) -> Self {
        let treasury = state.treasury();
        let Value::Object(all) = readable::to_json(treasury) else { unreachable!("a record is a map") };
        let numbers = all.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?)));
        let pots: BTreeMap<String, u64> =
            numbers.filter(|(name, _)| !matches!(name.as_str(), "supply" | "burnt")).collect();
        let gone = pots.values().copied().map(Amount).chain([treasury.burnt]).map(|amount| u128::from(amount.0)).sum();
        let free = u128::from(treasury.supply.0).saturating_sub(gone);
        let free = Amount(u64::try_from(free).unwrap_or(u64::MAX));
        Self { height: state.epoch(), supply: treasury.supply, free, burnt: treasury.burnt, pots }
    }
}

/// The numbers that the network agreed on at genesis, under the names that the ledger uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Params {
    /// Durations in epochs, amounts in micro-units, sizes in bytes.
    #[schema(value_type = Object)]
    pub params: Map<String, Value>,
}

/// What the ledger's own audit found: whether every pot holds what its owners say, and the supply is all there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvariantReport {
    /// Height of the state that was checked; it may be some blocks old, since a check reads the whole state.
    #[schema(value_type = u64)]
    pub height: Epoch,
    /// Whether everything holds.
    pub holds: bool,
    /// The first thing that does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violation: Option<String>,
    /// How long the check took, in milliseconds.
    pub milliseconds: u64,
}
