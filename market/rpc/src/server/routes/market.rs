//! Providers, orders, bids, deals.

use std::fmt;
use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use cairn_ledger::served::PaidGroup;
use cairn_ledger::{Address, DealId, OrderId};
use cairn_protocol::{CommP, ProviderId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{PageQuery, Part};
use crate::problem::{Problem, ProblemCode};
use crate::server::Api;
use crate::server::extract::{FromBody, FromPath, FromQuery, Number};
use crate::wire::{
    Attestation, Bid, Deal, DealState, Hex32, Order, OrderState, Page, Provider, Quote, QuoteRequest, Refusal,
    WrongGroup,
};

/// Which providers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProvidersQuery {
    /// Of this owner alone.
    #[param(value_type = Option<Hex32>)]
    pub owner: Option<Address>,
    /// Most items.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// Providers
#[utoipa::path(get, path = "/v1/providers", tag = "market", params(ProvidersQuery),
    responses((status = 200, body = Page<Provider>)))]
pub async fn providers(
    State(api): State<Api>,
    FromQuery(query): FromQuery<ProvidersQuery>,
) -> Result<Json<Page<Provider>>, Problem> {
    let part = Part::of(&api, "providers", 0, query.limit, query.cursor.as_deref())?;
    let state = api.ledger.state();
    let entries = state.providers_from(ProviderId(part.first)).map(|(id, provider)| (id.0, provider));
    Ok(Json(part.page(state.epoch(), entries, |id, provider| {
        let wanted = query.owner.is_none_or(|owner| owner == provider.owner);
        wanted.then(|| Provider::of(&state, ProviderId(*id), provider))
    })))
}

/// A provider
#[utoipa::path(get, path = "/v1/providers/{id}", tag = "market",
    params(("id" = u64, Path, description = "Its number")), responses((status = 200, body = Provider)))]
pub async fn provider(
    State(api): State<Api>,
    FromPath(Number(id)): FromPath<Number>,
) -> Result<Json<Provider>, Problem> {
    let (state, id) = (api.ledger.state(), ProviderId(id));
    state.provider(id).map(|provider| Json(Provider::of(&state, id, provider))).ok_or_else(|| Problem::not_found(id))
}

/// What auditors vouch for about a provider
#[utoipa::path(get, path = "/v1/providers/{id}/attestations", tag = "market",
    params(("id" = u64, Path, description = "The provider"), PageQuery),
    responses((status = 200, body = Page<Attestation>)))]
pub async fn attestations(
    State(api): State<Api>,
    FromPath(Number(id)): FromPath<Number>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<Attestation>>, Problem> {
    let part = Part::of(&api, "attestations", Address([0; 32]), query.limit, query.cursor.as_deref())?;
    let (state, provider) = (api.ledger.state(), ProviderId(id));
    if state.provider(provider).is_none() {
        return Err(Problem::not_found(provider));
    }
    let entries = state.attestations_from(provider, part.first);
    Ok(Json(part.page(state.epoch(), entries, |auditor, entry| {
        Some(Attestation { auditor: *auditor, attributes: entry.attributes.clone(), since: entry.epoch })
    })))
}

/// A group of a piece, in cursors.
struct GroupPlace(CommP, u64);

impl fmt::Display for GroupPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for GroupPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (piece, group) = text.split_once('-').ok_or(())?;
        Ok(Self(piece.parse().map_err(drop)?, group.parse().map_err(drop)?))
    }
}

/// Wrong bytes that a provider signed for and paid for
///
/// Kept for as long as statements about them could come again (`serving.statement_epochs` in the parameters).
#[utoipa::path(get, path = "/v1/providers/{id}/wrong-bytes", tag = "market",
    params(("id" = u64, Path, description = "The provider"), PageQuery),
    responses((status = 200, body = Page<WrongGroup>)))]
pub async fn wrong_bytes(
    State(api): State<Api>,
    FromPath(Number(id)): FromPath<Number>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<WrongGroup>>, Problem> {
    let first = GroupPlace(CommP([0; 32]), 0);
    let part = Part::of(&api, "wrong-bytes", first, query.limit, query.cursor.as_deref())?;
    let (state, provider) = (api.ledger.state(), ProviderId(id));
    if state.provider(provider).is_none() {
        return Err(Problem::not_found(provider));
    }
    let entries = state.paid_groups_from(provider, (part.first.0, part.first.1));
    let entries = entries.map(|((piece, group), paid)| (GroupPlace(piece, group), paid));
    Ok(Json(part.page(state.epoch(), entries, |GroupPlace(piece, group), paid| {
        let PaidGroup { at, reporter, taken } = *paid;
        Some(WrongGroup { piece: *piece, group: *group, at, reporter, taken })
    })))
}

/// Which orders.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OrdersQuery {
    /// Of this client alone.
    #[param(value_type = Option<Hex32>)]
    pub client: Option<Address>,
    /// In this state alone.
    pub state: Option<OrderState>,
    /// Most items.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// Orders that are not forgotten
#[utoipa::path(get, path = "/v1/orders", tag = "market", params(OrdersQuery),
    responses((status = 200, body = Page<Order>)))]
pub async fn orders(
    State(api): State<Api>,
    FromQuery(query): FromQuery<OrdersQuery>,
) -> Result<Json<Page<Order>>, Problem> {
    let part = Part::of(&api, "orders", 0, query.limit, query.cursor.as_deref())?;
    let state = api.ledger.state();
    let entries = state.orders_from(OrderId(part.first)).map(|(id, order)| (id.0, order));
    Ok(Json(part.page(state.epoch(), entries, |id, order| {
        let wanted = query.client.is_none_or(|client| client == order.client)
            && query.state.is_none_or(|wanted| wanted == OrderState::of(&order.status));
        wanted.then(|| Order::of(OrderId(*id), order))
    })))
}

/// An order
#[utoipa::path(get, path = "/v1/orders/{id}", tag = "market",
    params(("id" = u64, Path, description = "Its number")), responses((status = 200, body = Order)))]
pub async fn order(State(api): State<Api>, FromPath(Number(id)): FromPath<Number>) -> Result<Json<Order>, Problem> {
    let (state, id) = (api.ledger.state(), OrderId(id));
    state.order(id).map(|order| Json(Order::of(id, order))).ok_or_else(|| Problem::not_found(id))
}

/// Bids on an order
#[utoipa::path(get, path = "/v1/orders/{id}/bids", tag = "market",
    params(("id" = u64, Path, description = "The order"), PageQuery), responses((status = 200, body = Page<Bid>)))]
pub async fn bids(
    State(api): State<Api>,
    FromPath(Number(id)): FromPath<Number>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<Bid>>, Problem> {
    let part = Part::of(&api, "bids", 0, query.limit, query.cursor.as_deref())?;
    let (state, order) = (api.ledger.state(), OrderId(id));
    if state.order(order).is_none() {
        return Err(Problem::not_found(order));
    }
    let entries = state.bids_from(order, ProviderId(part.first)).map(|(id, bid)| (id.0, bid));
    Ok(Json(part.page(state.epoch(), entries, |id, bid| Some(Bid::of(order, ProviderId(*id), bid)))))
}

/// What an order would take, before anything is locked
///
/// Exact to the micro-unit if the order enters the next block.
#[utoipa::path(post, path = "/v1/quotes", tag = "market", request_body = QuoteRequest,
    responses((status = 200, body = Quote)))]
pub async fn quote(State(api): State<Api>, FromBody(request): FromBody<QuoteRequest>) -> Result<Json<Quote>, Problem> {
    let state = api.ledger.state();
    match state.quote_order(&request.client, &request.terms.to_terms()) {
        Ok(quote) => Ok(Json(Quote::of(&quote))),
        Err(rejection) => {
            let Refusal { kind, text, .. } = Refusal::of(&rejection);
            Err(Problem::new(ProblemCode::TermsRefused, text).at("terms").got(kind))
        }
    }
}

/// Which deals.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DealsQuery {
    /// Paid by this client alone.
    #[param(value_type = Option<Hex32>)]
    pub client: Option<Address>,
    /// With this provider alone.
    #[param(value_type = Option<u64>)]
    pub provider: Option<Number>,
    /// Of this order alone.
    #[param(value_type = Option<u64>)]
    pub order: Option<Number>,
    /// In this state alone.
    pub state: Option<DealState>,
    /// Most items.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

impl DealsQuery {
    fn takes(&self, deal: &cairn_ledger::Deal) -> bool {
        self.client.is_none_or(|client| client == deal.client)
            && self.provider.is_none_or(|Number(provider)| provider == deal.provider.0)
            && self.order.is_none_or(|Number(order)| order == deal.order.0)
            && self.state.is_none_or(|state| state == DealState::of(&deal.status))
    }
}

/// Deals that are not forgotten
#[utoipa::path(get, path = "/v1/deals", tag = "market", params(DealsQuery),
    responses((status = 200, body = Page<Deal>)))]
pub async fn deals(
    State(api): State<Api>,
    FromQuery(query): FromQuery<DealsQuery>,
) -> Result<Json<Page<Deal>>, Problem> {
    let part = Part::of(&api, "deals", 0, query.limit, query.cursor.as_deref())?;
    let state = api.ledger.state();
    let entries = state.deals_from(DealId(part.first)).map(|(id, deal)| (id.0, deal));
    Ok(Json(part.page(state.epoch(), entries, |id, deal| query.takes(deal).then(|| Deal::of(DealId(*id), deal)))))
}

/// A deal
#[utoipa::path(get, path = "/v1/deals/{id}", tag = "market",
    params(("id" = u64, Path, description = "Its number")), responses((status = 200, body = Deal)))]
pub async fn deal(State(api): State<Api>, FromPath(Number(id)): FromPath<Number>) -> Result<Json<Deal>, Problem> {
    let (state, id) = (api.ledger.state(), DealId(id));
    state.deal(id).map(|deal| Json(Deal::of(id, deal))).ok_or_else(|| Problem::not_found(id))
}
