//! Rails, rewards, scores, checkers.

use axum::Json;
use axum::extract::State;
use cairn_ledger::Address;
use cairn_ledger::payments::RailId;
use cairn_protocol::ProviderId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::chain::address;
use super::{PageQuery, Part};
use crate::problem::Problem;
use crate::server::Api;
use crate::server::extract::{FromPath, FromQuery, Number};
use crate::wire::{
    Audit, CheckTask, Checker, Hex32, Page, ProviderRewards, Rail, RailAccount, RewardRound, Rewards, Round, Score,
};

/// Which rails.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RailsQuery {
    /// Paid by this account alone.
    #[param(value_type = Option<Hex32>)]
    pub payer: Option<Address>,
    /// Paid to this account alone.
    #[param(value_type = Option<Hex32>)]
    pub payee: Option<Address>,
    /// Most items.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// Rails that are not over
#[utoipa::path(get, path = "/v1/rails", tag = "money", params(RailsQuery), responses((status = 200, body = Page<Rail>)))]
pub async fn rails(
    State(api): State<Api>,
    FromQuery(query): FromQuery<RailsQuery>,
) -> Result<Json<Page<Rail>>, Problem> {
    let part = Part::of(&api, "rails", 0, query.limit, query.cursor.as_deref())?;
    let state = api.ledger.state();
    let entries = state.rails_from(RailId(part.first)).map(|(id, rail)| (id.0, rail));
    Ok(Json(part.page(state.epoch(), entries, |id, rail| {
        let wanted = query.payer.is_none_or(|payer| payer == rail.terms.payer)
            && query.payee.is_none_or(|payee| payee == rail.terms.payee);
        wanted.then(|| Rail::of(&state, RailId(*id), rail))
    })))
}

/// A rail
#[utoipa::path(get, path = "/v1/rails/{id}", tag = "money",
    params(("id" = u64, Path, description = "Its number")), responses((status = 200, body = Rail)))]
pub async fn rail(State(api): State<Api>, FromPath(Number(id)): FromPath<Number>) -> Result<Json<Rail>, Problem> {
    let (state, id) = (api.ledger.state(), RailId(id));
    let rail = state.rails().rail(id).ok_or_else(|| Problem::not_found(id))?;
    Ok(Json(Rail::of(&state, id, rail)))
}

/// An address's money for rails
///
/// Every address has such an account; one that was never used has nothing.
#[utoipa::path(get, path = "/v1/accounts/{address}/rails", tag = "money",
    params(("address" = String, Path, description = "64 hex digits")), responses((status = 200, body = RailAccount)))]
pub async fn rail_account(
    State(api): State<Api>,
    FromPath(text): FromPath<String>,
) -> Result<Json<RailAccount>, Problem> {
    Ok(Json(RailAccount::of(&api.ledger.state(), address(&text)?)))
}

/// An address's rewards that are not free yet
#[utoipa::path(get, path = "/v1/accounts/{address}/rewards", tag = "money",
    params(("address" = String, Path, description = "64 hex digits")), responses((status = 200, body = Rewards)))]
pub async fn rewards(State(api): State<Api>, FromPath(text): FromPath<String>) -> Result<Json<Rewards>, Problem> {
    Ok(Json(Rewards::of(&api.ledger.state(), address(&text)?)))
}

/// What a provider was not rewarded for yet
#[utoipa::path(get, path = "/v1/providers/{id}/rewards", tag = "money",
    params(("id" = u64, Path, description = "The provider")), responses((status = 200, body = ProviderRewards)))]
pub async fn provider_rewards(
    State(api): State<Api>,
    FromPath(Number(id)): FromPath<Number>,
) -> Result<Json<ProviderRewards>, Problem> {
    let (state, provider) = (api.ledger.state(), ProviderId(id));
    if state.provider(provider).is_none() {
        return Err(Problem::not_found(provider));
    }
    Ok(Json(ProviderRewards::of(&state, provider)))
}

/// The round of now
#[utoipa::path(get, path = "/v1/round", tag = "scores", responses((status = 200, body = Round)))]
pub async fn round(State(api): State<Api>) -> Json<Round> {
    Json(Round::of(&api.ledger.state()))
}

/// Rounds whose emission can still be paid, oldest first
#[utoipa::path(get, path = "/v1/rounds", tag = "scores", params(PageQuery),
    responses((status = 200, body = Page<RewardRound>)))]
pub async fn rounds(
    State(api): State<Api>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<RewardRound>>, Problem> {
    let part = Part::of(&api, "rounds", 0, query.limit, query.cursor.as_deref())?;
    let state = api.ledger.state();
    let entries = state.reward_rounds_from(part.first);
    Ok(Json(part.page(state.epoch(), entries, |round, record| Some(RewardRound::of(*round, record)))))
}

/// Scores of providers that were ever scored
#[utoipa::path(get, path = "/v1/scores", tag = "scores", params(PageQuery),
    responses((status = 200, body = Page<Score>)))]
pub async fn scores(
    State(api): State<Api>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<Score>>, Problem> {
    let part = Part::of(&api, "scores", 0, query.limit, query.cursor.as_deref())?;
    let state = api.ledger.state();
    let entries = state.scores_from(ProviderId(part.first)).map(|(id, score)| (id.0, score));
    Ok(Json(part.page(state.epoch(), entries, |id, score| Some(Score::of(ProviderId(*id), score)))))
}

/// A provider's score, and what each checker last said of it
#[utoipa::path(get, path = "/v1/scores/{provider}", tag = "scores",
    params(("provider" = u64, Path, description = "Its number")), responses((status = 200, body = Score)))]
pub async fn score(State(api): State<Api>, FromPath(Number(id)): FromPath<Number>) -> Result<Json<Score>, Problem> {
    let (state, provider) = (api.ledger.state(), ProviderId(id));
    if state.provider(provider).is_none() {
        return Err(Problem::not_found(provider));
    }
    Ok(Json(Score::in_full(&state, provider)))
}

/// Who checks
#[utoipa::path(get, path = "/v1/checkers", tag = "scores", params(PageQuery),
    responses((status = 200, body = Page<Checker>)))]
pub async fn checkers(
    State(api): State<Api>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<Checker>>, Problem> {
    let part = Part::of(&api, "checkers", Address([0; 32]), query.limit, query.cursor.as_deref())?;
    let state = api.ledger.state();
    let entries = state.checkers_from(part.first);
    Ok(Json(part.page(state.epoch(), entries, |address, _| Checker::of(&state, *address))))
}

/// A checker, its stake and its ballot
#[utoipa::path(get, path = "/v1/checkers/{address}", tag = "scores",
    params(("address" = String, Path, description = "64 hex digits")), responses((status = 200, body = Checker)))]
pub async fn checker(State(api): State<Api>, FromPath(text): FromPath<String>) -> Result<Json<Checker>, Problem> {
    let address = address(&text)?;
    let checker = Checker::of(&api.ledger.state(), address);
    checker.map(Json).ok_or_else(|| Problem::not_found(format!("checker {address}")))
}

/// Receipts that were drawn behind the opinions about a round, by checker
///
/// They are there from the end of the reveals about it to the end of those about the next round.
#[utoipa::path(get, path = "/v1/rounds/{round}/audits", tag = "scores",
    params(("round" = u64, Path, description = "The round that was measured"), PageQuery),
    responses((status = 200, body = Page<Audit>)))]
pub async fn audits(
    State(api): State<Api>,
    FromPath(Number(round)): FromPath<Number>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<Audit>>, Problem> {
    let part = Part::of(&api, "audits", Address([0; 32]), query.limit, query.cursor.as_deref())?;
    let state = api.ledger.state();
    let entries = state.audits_from(round, part.first);
    Ok(Json(part.page(state.epoch(), entries, |checker, audit| Some(Audit::of(&state, round, *checker, audit)))))
}

/// What a checker shall fetch in the round of now
///
/// Nothing unless it had stake when the round began. Ask early in the round: deals that come or go move the draws of others; `catalogue_changed`
/// of the round tells whether one did.
#[utoipa::path(get, path = "/v1/checkers/{address}/tasks", tag = "scores",
    params(("address" = String, Path, description = "64 hex digits"), PageQuery),
    responses((status = 200, body = Page<CheckTask>)))]
pub async fn check_tasks(
    State(api): State<Api>,
    FromPath(text): FromPath<String>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<CheckTask>>, Problem> {
    let part = Part::of(&api, "check-tasks", 0, query.limit, query.cursor.as_deref())?;
    let (state, address) = (api.ledger.state(), address(&text)?);
    let slots = state.check_slots_from(address, part.first);
    Ok(Json(part.page(state.epoch(), slots, |_, task| task.map(|task| CheckTask::of(&state, &task)))))
}
