//! Accounts, channels, stake, supply, parameters.

use axum::Json;
use axum::extract::State;
use cairn_ledger::Address;
use cairn_ledger::payments::ChannelId;
use serde_json::Value;

use super::chain::address;
use super::{PageQuery, Part};
use crate::problem::Problem;
use crate::readable;
use crate::server::Api;
use crate::server::extract::{FromPath, FromQuery, Number};
use crate::wire::{Account, Channel, Page, Params, Supply, Validator};

/// Balance and nonces of an address
///
/// Every address has an account; one that was never used has nothing.
#[utoipa::path(get, path = "/v1/accounts/{address}", tag = "money",
    params(("address" = String, Path, description = "64 hex digits")), responses((status = 200, body = Account)))]
pub async fn account(State(api): State<Api>, FromPath(text): FromPath<String>) -> Result<Json<Account>, Problem> {
    let address = address(&text)?;
    let account = api.ledger.state().account(&address);
    let next_nonce = api.ledger.next_nonce(&address);
    Ok(Json(Account { address, balance: account.balance, nonce: account.nonce, next_nonce }))
}

/// Payment channels
#[utoipa::path(get, path = "/v1/channels", tag = "money", params(PageQuery),
    responses((status = 200, body = Page<Channel>)))]
pub async fn channels(
    State(api): State<Api>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<Channel>>, Problem> {
    let part = Part::of(&api, "channels", 0, query.limit, query.cursor.as_deref())?;
    let state = api.ledger.state();
    let entries = state.channels_from(ChannelId(part.first)).map(|(id, channel)| (id.0, channel));
    Ok(Json(part.page(state.epoch(), entries, |id, channel| Some(Channel::of(ChannelId(*id), channel)))))
}

/// A payment channel
#[utoipa::path(get, path = "/v1/channels/{id}", tag = "money",
    params(("id" = u64, Path, description = "Its number")), responses((status = 200, body = Channel)))]
pub async fn channel(State(api): State<Api>, FromPath(Number(id)): FromPath<Number>) -> Result<Json<Channel>, Problem> {
    let (state, id) = (api.ledger.state(), ChannelId(id));
    state.channel(id).map(|channel| Json(Channel::of(id, channel))).ok_or_else(|| Problem::not_found(id))
}

/// Who has stake
#[utoipa::path(get, path = "/v1/validators", tag = "money", params(PageQuery),
    responses((status = 200, body = Page<Validator>)))]
pub async fn validators(
    State(api): State<Api>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<Validator>>, Problem> {
    let part = Part::of(&api, "validators", Address([0; 32]), query.limit, query.cursor.as_deref())?;
    let state = api.ledger.state();
    let entries = state.validators_from(part.first);
    Ok(Json(part.page(state.epoch(), entries, |address, validator| Some(Validator::of(*address, validator)))))
}

/// The network's numbers
#[utoipa::path(get, path = "/v1/params", tag = "money", responses((status = 200, body = Params)))]
pub async fn params(State(api): State<Api>) -> Json<Params> {
    let Value::Object(params) = readable::to_json(api.ledger.state().params()) else {
        unreachable!("a record is a map")
    };
    Json(Params { params })
}

/// Where all money is
#[utoipa::path(get, path = "/v1/supply", tag = "money", responses((status = 200, body = Supply)))]
pub async fn supply(State(api): State<Api>) -> Json<Supply> {
    Json(Supply::of(&api.ledger.state()))
}
