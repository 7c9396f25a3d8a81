//! Sectors, duties, tickets.

use axum::Json;
use axum::extract::State;
use cairn_protocol::{Epoch, ProviderId, SectorNumber};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{PageQuery, Part};
use crate::problem::{Problem, ProblemCode};
use crate::server::Api;
use crate::server::extract::{FromPath, FromQuery, Number};
use crate::wire::{Page, PostDuties, Sector, Ticket};

/// Sectors of a provider
#[utoipa::path(get, path = "/v1/providers/{id}/sectors", tag = "storage",
    params(("id" = u64, Path, description = "The provider"), PageQuery),
    responses((status = 200, body = Page<Sector>)))]
pub async fn sectors(
    State(api): State<Api>,
    FromPath(Number(id)): FromPath<Number>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<Sector>>, Problem> {
    let part = Part::of(&api, "sectors", 0, query.limit, query.cursor.as_deref())?;
    let (state, provider) = (api.ledger.state(), ProviderId(id));
    if state.provider(provider).is_none() {
        return Err(Problem::not_found(provider));
    }
    let entries = state.sectors_from(provider, SectorNumber(part.first)).map(|(number, sector)| (number.0, sector));
    Ok(Json(part.page(state.epoch(), entries, |number, sector| {
        Some(Sector::of(&state, provider, SectorNumber(*number), sector))
    })))
}

/// A sector, with its place among the deadlines
#[utoipa::path(get, path = "/v1/providers/{id}/sectors/{number}", tag = "storage",
    params(("id" = u64, Path, description = "The provider"), ("number" = u64, Path, description = "Its number")),
    responses((status = 200, body = Sector)))]
pub async fn sector(
    State(api): State<Api>,
    FromPath((Number(id), Number(number))): FromPath<(Number, Number)>,
) -> Result<Json<Sector>, Problem> {
    let (state, provider, number) = (api.ledger.state(), ProviderId(id), SectorNumber(number));
    let sector = state.sector(provider, number);
    let sector = sector.ok_or_else(|| Problem::not_found(format!("sector {number} of {provider}")))?;
    Ok(Json(Sector::of(&state, provider, number, sector)))
}

/// The next window PoSts of a provider, first to close first
///
/// An open one carries what must be proven.
#[utoipa::path(get, path = "/v1/providers/{id}/duties", tag = "storage",
    params(("id" = u64, Path, description = "The provider")), responses((status = 200, body = PostDuties)))]
pub async fn duties(
    State(api): State<Api>,
    FromPath(Number(id)): FromPath<Number>,
) -> Result<Json<PostDuties>, Problem> {
    let (state, provider) = (api.ledger.state(), ProviderId(id));
    if state.provider(provider).is_none() {
        return Err(Problem::not_found(provider));
    }
    Ok(Json(PostDuties::of(&state, provider, api.options.page_max)))
}

/// Which ticket.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TicketQuery {
    /// Of this epoch; by default of the last block.
    #[param(value_type = Option<u64>)]
    pub epoch: Option<Number>,
}

/// Sealing randomness of a provider
#[utoipa::path(get, path = "/v1/providers/{id}/ticket", tag = "storage",
    params(("id" = u64, Path, description = "The provider"), TicketQuery),
    responses((status = 200, body = Ticket)))]
pub async fn ticket(
    State(api): State<Api>,
    FromPath(Number(id)): FromPath<Number>,
    FromQuery(query): FromQuery<TicketQuery>,
) -> Result<Json<Ticket>, Problem> {
    let (state, provider) = (api.ledger.state(), ProviderId(id));
    let (height, epoch) = (state.epoch(), query.epoch.map_or(state.epoch(), |Number(epoch)| Epoch(epoch)));
    let Some(ticket) = state.ticket(provider, epoch) else {
        let what = format!("beacon of epoch {epoch}");
        return Err(match epoch > height {
            true => Problem::not_found(what).expected(format!("at most {height}")),
            false => Problem::new(ProblemCode::Forgotten, "the ledger keeps no beacon of that epoch").at(what),
        });
    };
    // The pre-commit enters the next block at the earliest, so its age then is what counts.
    let age = height.0.saturating_add(1).saturating_sub(epoch.0);
    let usable = age <= state.params().ticket_age_max;
    Ok(Json(Ticket { height, epoch, ticket, usable }))
}
