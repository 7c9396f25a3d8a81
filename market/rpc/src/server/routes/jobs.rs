//! Proof jobs.

use axum::Json;
use axum::extract::State;
use cairn_ledger::{Address, JobId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::chain::address;
use super::{PageQuery, Part};
use crate::problem::Problem;
use crate::server::Api;
use crate::server::extract::{FromPath, FromQuery, Number};
use crate::wire::{Hex32, Job, JobBid, Page, Worker};

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobsQuery {
    /// Those alone that take bids or are worked on.
    pub live: Option<bool>,
    /// Posted by this account alone.
    #[param(value_type = Option<Hex32>)]
    pub poster: Option<Address>,
    /// Most items.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// Proof jobs that are not forgotten
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(JobsQuery), responses((status = 200, body = Page<Job>)))]
pub async fn jobs(State(api): State<Api>, FromQuery(query): FromQuery<JobsQuery>) -> Result<Json<Page<Job>>, Problem> {
    let part = Part::of(&api, "jobs", 0, query.limit, query.cursor.as_deref())?;
    let state = api.ledger.state();
    let pick = |id: &u64, job: &cairn_ledger::Job| {
        let asked = query.poster.is_none_or(|poster| poster == job.poster);
        asked.then(|| (Job::of(JobId(*id), job), job.terms.statement.listed_sectors()))
    };
    let first = JobId(part.first);
    Ok(Json(match query.live.unwrap_or(false) {
        true => part.page_of_parts(state.epoch(), state.live_jobs_from(first).map(|(id, job)| (id.0, job)), pick),
        false => part.page_of_parts(state.epoch(), state.jobs_from(first).map(|(id, job)| (id.0, job)), pick),
    }))
}

/// A proof job
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs",
    params(("id" = u64, Path, description = "Its number")), responses((status = 200, body = Job)))]
pub async fn job(State(api): State<Api>, FromPath(Number(id)): FromPath<Number>) -> Result<Json<Job>, Problem> {
    let (state, id) = (api.ledger.state(), JobId(id));
    state.job(id).map(|job| Json(Job::of(id, job))).ok_or_else(|| Problem::not_found(id))
}

/// Bids on an open proof job
#[utoipa::path(get, path = "/v1/jobs/{id}/bids", tag = "jobs",
    params(("id" = u64, Path, description = "The job"), PageQuery), responses((status = 200, body = Page<JobBid>)))]
pub async fn job_bids(
    State(api): State<Api>,
    FromPath(Number(id)): FromPath<Number>,
    FromQuery(query): FromQuery<PageQuery>,
) -> Result<Json<Page<JobBid>>, Problem> {
    let part = Part::of(&api, "job-bids", Address([0; 32]), query.limit, query.cursor.as_deref())?;
    let (state, job) = (api.ledger.state(), JobId(id));
    if state.job(job).is_none() {
        return Err(Problem::not_found(job));
    }
    // A job has a bounded number of bids.
    let entries = state.job_bids_on(job).filter(|(worker, _)| *worker >= part.first);
    Ok(Json(part.page(state.epoch(), entries, |worker, bid| {
        Some(JobBid { worker: *worker, price_per_million: bid.price_per_million, bond: bid.bond })
    })))
}

/// What an account proved for others
#[utoipa::path(get, path = "/v1/workers/{address}", tag = "jobs",
    params(("address" = String, Path, description = "64 hex digits")), responses((status = 200, body = Worker)))]
pub async fn worker(State(api): State<Api>, FromPath(text): FromPath<String>) -> Result<Json<Worker>, Problem> {
    let address = address(&text)?;
    let state = api.ledger.state();
    let record = state.worker(address);
    Ok(Json(Worker {
        address,
        proven: record.proven,
        refused: record.refused,
        late: record.late,
        constraints: record.constraints,
        tier: record.tier(&state.params().jobs.tiers),
    }))
}
