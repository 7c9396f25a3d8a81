//! What a request that is not answered as asked gets: one JSON object with a code that never changes meaning.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Media type of a problem.
pub const PROBLEM_TYPE: &str = "application/problem+json";
/// What `Retry-After` says, in seconds.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// Names of problems. Programs decide by them; the words beside them may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemCode {
    /// 400: a part of the path or of the query is not what it must be.
    BadParameter,
    /// 400: the body is not what it must be.
    BadBody,
    /// 404: there is no such address.
    UnknownRoute,
    /// 404: the ledger has no such thing, or forgot it.
    NotFound,
    /// 405: the address takes other methods.
    MethodNotAllowed,
    /// 408: the request took too long to arrive.
    TooSlow,
    /// 410: it is beyond the history that this node keeps.
    Forgotten,
    /// 413: the body is too large.
    BodyTooLarge,
    /// 415: the body must be `application/json`.
    UnsupportedMediaType,
    /// 422: the transaction cannot be in a block. `got` is the ledger's reason.
    TransactionRefused,
    /// 422: the ledger would refuse these terms. `got` is its reason.
    TermsRefused,
    /// 429: the sender has too many transactions waiting; try again after a block.
    SenderFull,
    /// 500: a mistake of the server.
    Internal,
    /// 503: too much to do; try again.
    Busy,
    /// 503: the pool of transactions is full; try again after a block.
    PoolFull,
    /// 503: the ledger behind this server makes no more blocks.
    LedgerStopped,
}

impl ProblemCode {
    /// The status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadParameter | Self::BadBody => StatusCode::BAD_REQUEST,
            Self::UnknownRoute | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Forgotten => StatusCode::GONE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TransactionRefused | Self::TermsRefused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::SenderFull => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy | Self::PoolFull | Self::LedgerStopped => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::SenderFull | Self::Busy | Self::PoolFull | Self::LedgerStopped | Self::TooSlow)
    }
}

/// A problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{what}{}{}{}", part(": ", .place), part(", expected ", .expected), part(", got ", .got))]
pub struct Problem {
    /// Which.
    pub code: ProblemCode,
    /// In words.
    pub what: String,
    /// Parameter, header or thing that it is about.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What was expected there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was there instead, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub got: Option<String>,
}

fn part(before: &str, text: &Option<String>) -> String {
    text.as_ref().map_or(String::new(), |text| format!("{before}{text}"))
}

/// Most characters of a request that a problem repeats.
const REPEATED_MAX: usize = 200;

impl Problem {
    /// A problem without details.
    pub fn new(code: ProblemCode, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), place: None, expected: None, got: None }
    }

    /// What it is about.
    pub fn at(self, place: impl ToString) -> Self {
        Self { place: Some(place.to_string()), ..self }
    }

    /// What was expected.
    pub fn expected(self, expected: impl ToString) -> Self {
        Self { expected: Some(expected.to_string()), ..self }
    }

    /// What was there instead.
    pub fn got(self, got: impl ToString) -> Self {
        let got = got.to_string();
        Self { got: Some(got.chars().take(REPEATED_MAX).collect()), ..self }
    }

    /// There is no such thing on the ledger.
    pub fn not_found(thing: impl ToString) -> Self {
        Self::new(ProblemCode::NotFound, "the ledger does not have it").at(thing)
    }

    /// A part of path or query is wrong.
    pub fn bad_parameter(name: &str, expected: &str, got: impl ToString) -> Self {
        Self::new(ProblemCode::BadParameter, "a parameter is not valid").at(name).expected(expected).got(got)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, transient) = (self.code.status(), self.code.is_transient());
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
        if transient {
            headers.insert(header::RETRY_AFTER, RETRY_SECONDS);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_a_sentence_and_comes_back() {
        let problem = Problem::bad_parameter("limit", "1 to 100", "x".repeat(1_000));
        let text = problem.to_string();
        assert!(text.starts_with("a parameter is not valid: limit, expected 1 to 100, got xx"), "{text}");
        assert!(text.len() < 300);
        let json = serde_json::to_string(&problem).unwrap();
        assert!(json.contains("\"code\":\"bad_parameter\"") && json.contains("\"where\":\"limit\""), "{json}");
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
    }
}
