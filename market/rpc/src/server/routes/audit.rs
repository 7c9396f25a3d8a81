//! The ledger's own audit, which reads the whole state: one at a time, and not more often than the options say.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use tokio::sync::Mutex;

use super::blocking;
use crate::problem::{Problem, ProblemCode};
use crate::server::Api;
use crate::wire::InvariantReport;

/// The last report and when it was made.
#[derive(Default)]
pub struct Audit(Arc<Mutex<Option<(Instant, InvariantReport)>>>);

/// Whether every pot holds what its owners say, and the supply is all there
///
/// The whole state is read, so a report may be some blocks old; its height says how old.
#[utoipa::path(get, path = "/v1/invariants", tag = "money", responses((status = 200, body = InvariantReport)))]
pub async fn invariants(State(api): State<Api>) -> Result<Json<InvariantReport>, Problem> {
    let busy = || Problem::new(ProblemCode::Busy, "the state is being checked for somebody else");
    let mut last = api.audit.0.clone().try_lock_owned().map_err(|_| busy())?;
    if let Some((made, report)) = last.as_ref()
        && made.elapsed() < api.options.audit_pause
    {
        return Ok(Json(report.clone()));
    }
    blocking(move || {
        let (started, state) = (Instant::now(), api.ledger.state());
        let found = state.check_invariants();
        let report = InvariantReport {
            height: state.epoch(),
            holds: found.is_ok(),
            violation: found.err().map(|violation| violation.to_string()),
            milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        *last = Some((Instant::now(), report.clone()));
        Ok(Json(report))
    })
    .await
}
