//! The addresses, and the document that lists them.
//!
//! Each handler is registered once, for answering and for the document, so the two cannot differ. What every one of them
//! may answer besides, a problem, is added to all in one place.

mod audit;
mod chain;
mod economy;
mod jobs;
mod market;
mod money;
mod storage;

use cairn_protocol::Epoch;
use serde::Deserialize;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoParams, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::audit::Audit;
pub(super) use self::chain::forgotten;
use super::{Api, Shared, stream};
use crate::page::{cursor, read_cursor};
use crate::problem::{PROBLEM_TYPE, Problem, ProblemCode};
use crate::wire::{Hex32, Page};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Cairn ledger",
        description = "Reading a Cairn ledger and handing in signed transactions.\n\nAmounts are integers in micro-units \
            (10^-6), up to 2^64 - 1: read them with 64 bits. Heights and epochs are the same numbers. Times are \
            milliseconds since 1970. 32 bytes are 64 hex digits.\n\nA list answers a page at a time: pass `next` of one \
            page as `cursor` for the following one, until there is none. What is not answered as asked gets a problem, \
            whose `code` never changes meaning."
    ),
    components(schemas(Problem, Hex32)),
    tags(
        (name = "chain", description = "Blocks, transactions, events"),
        (name = "money", description = "Accounts, channels, stake, supply"),
        (name = "market", description = "Providers, orders, bids, deals"),
        (name = "storage", description = "Sectors and their proofs"),
        (name = "jobs", description = "Proofs that somebody else makes"),
        (name = "scores", description = "Checkers, what they say of providers, and what a round brings")
    )
)]
struct Document;

/// Every address.
pub(super) fn router() -> OpenApiRouter<Api> {
    let mut router = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(document))
        .routes(routes!(chain::network))
        .routes(routes!(chain::head))
        .routes(routes!(chain::blocks))
        .routes(routes!(chain::block))
        .routes(routes!(chain::light_block))
        .routes(routes!(chain::submit))
        .routes(routes!(chain::transaction))
        .routes(routes!(chain::transaction_proof))
        .routes(routes!(stream::events))
        .routes(routes!(money::account))
        .routes(routes!(money::channels))
        .routes(routes!(money::channel))
        .routes(routes!(money::validators))
        .routes(routes!(money::params))
        .routes(routes!(money::supply))
        .routes(routes!(audit::invariants))
        .routes(routes!(market::providers))
        .routes(routes!(market::provider))
        .routes(routes!(market::attestations))
        .routes(routes!(market::wrong_bytes))
        .routes(routes!(market::orders))
        .routes(routes!(market::order))
        .routes(routes!(market::bids))
        .routes(routes!(market::quote))
        .routes(routes!(market::deals))
        .routes(routes!(market::deal))
        .routes(routes!(storage::sectors))
        .routes(routes!(storage::sector))
        .routes(routes!(storage::duties))
        .routes(routes!(storage::ticket))
        .routes(routes!(jobs::jobs))
        .routes(routes!(jobs::job))
        .routes(routes!(jobs::job_bids))
        .routes(routes!(jobs::worker))
        .routes(routes!(economy::rails))
        .routes(routes!(economy::rail))
        .routes(routes!(economy::rail_account))
        .routes(routes!(economy::rewards))
        .routes(routes!(economy::provider_rewards))
        .routes(routes!(economy::round))
        .routes(routes!(economy::rounds))
        .routes(routes!(economy::scores))
        .routes(routes!(economy::score))
        .routes(routes!(economy::checkers))
        .routes(routes!(economy::checker))
        .routes(routes!(economy::check_tasks))
        .routes(routes!(economy::audits));
    add_problems(router.get_openapi_mut());
    router
}

/// The OpenAPI document, as `/openapi.json` gives it.
///
/// # Panics
/// Never: the document is made of strings and numbers.
pub fn openapi_json() -> String {
    router().get_openapi().to_pretty_json().expect("a document of strings and numbers")
}

/// Lets every operation answer a problem.
fn add_problems(document: &mut OpenApi) {
    let problem = || {
        let content = Content::new(Some(Ref::from_schema_name("Problem")));
        ResponseBuilder::new().description("A problem; see its code").content(PROBLEM_TYPE, content).build()
    };
    let add = |operation: &mut Option<Operation>| {
        if let Some(operation) = operation {
            operation.responses.responses.insert("default".to_owned(), RefOr::T(problem()));
        }
    };
    for item in document.paths.paths.values_mut() {
        add(&mut item.get);
        add(&mut item.post);
    }
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "chain", responses((status = 200, body = Object)))]
async fn document() -> axum::Json<OpenApi> {
    axum::Json(router().get_openapi().clone())
}

/// Most items that a request may ask for.
const LIMIT_MAX: u16 = 1_000;

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Most items; by default and at most as many as the server gives.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// Most parts of the items of a page together: sectors of proof jobs, 200 bytes each.
const PARTS_MAX: u64 = 10_000;

/// How much of a list a request takes.
struct Part<K> {
    list: &'static str,
    first: K,
    limit: usize,
    scan_max: usize,
}

impl<K: std::str::FromStr> Part<K> {
    /// What a request asks for; the list begins at `first`.
    fn of(
        shared: &Shared,
        list: &'static str,
        first: K,
        limit: Option<u16>,
        at: Option<&str>,
    ) -> Result<Self, Problem> {
        let most = shared.options.page_max;
        let limit = match limit {
            Some(limit @ 1..=LIMIT_MAX) => usize::from(limit).min(most),
            Some(limit) => return Err(Problem::bad_parameter("limit", "1 to 1000", limit)),
            None => most,
        };
        let first = match at {
            Some(at) => read_cursor(list, at)?,
            None => first,
        };
        Ok(Self { list, first, limit, scan_max: shared.options.scan_max })
    }
}

impl<K: std::fmt::Display> Part<K> {
    /// The page: of `entries`, which begin at the first key, what `pick` makes something of.
    fn page<V, T>(
        &self,
        height: Epoch,
        entries: impl Iterator<Item = (K, V)>,
        mut pick: impl FnMut(&K, V) -> Option<T>,
    ) -> Page<T> {
        self.page_of_parts(height, entries, |key, value| pick(key, value).map(|item| (item, 0)))
    }

    /// The same of items that are long lists: `pick` says how many parts each has, and a page of more than one item has
    /// at most [`PARTS_MAX`].
    fn page_of_parts<V, T>(
        &self,
        height: Epoch,
        entries: impl Iterator<Item = (K, V)>,
        mut pick: impl FnMut(&K, V) -> Option<(T, u64)>,
    ) -> Page<T> {
        let (mut items, mut parts) = (Vec::new(), 0u64);
        for (seen, (key, value)) in entries.enumerate() {
            if items.len() >= self.limit || seen >= self.scan_max {
                return Page { height, items, next: Some(cursor(self.list, key)) };
            }
            let Some((item, more)) = pick(&key, value) else { continue };
            parts += more;
            if parts > PARTS_MAX && !items.is_empty() {
                return Page { height, items, next: Some(cursor(self.list, key)) };
            }
            items.push(item);
        }
        Page { height, items, next: None }
    }
}

/// Runs work that reads the disk or the whole state.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => {
            tracing::error!(%error, "work for a request ended early");
            Err(Problem::new(ProblemCode::Internal, "a mistake of the server"))
        }
    }
}

/// The store failed.
pub(super) fn store_problem(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "the ledger's store cannot be read");
    Problem::new(ProblemCode::Internal, "the ledger's store cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_of_3_1_and_every_operation_may_answer_a_problem() {
        let document: serde_json::Value = serde_json::from_str(&openapi_json()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let problem = &operation["responses"]["default"]["content"][PROBLEM_TYPE]["schema"]["$ref"];
                assert_eq!(problem, "#/components/schemas/Problem", "{method} {path}");
                assert!(operation["summary"].is_string(), "{method} {path} says what it is for");
            }
        }
        let text = document.to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name} is described");
        }
    }
}
