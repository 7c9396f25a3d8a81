//! Parts of a request, with problems instead of plain text where they are wrong.

use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::{Json, RequestExt};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::problem::{Problem, ProblemCode};

/// A number in a path or query: not more than the document says, which is what other languages have room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number(pub u64);

/// What a number may be at most.
pub const NUMBER_MAX: u64 = i64::MAX as u64;

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        let refuse = || D::Error::custom(format!("{number} is not a number from 0 to {NUMBER_MAX}"));
        if number <= NUMBER_MAX { Ok(Self(number)) } else { Err(refuse()) }
    }
}

/// A typed path.
pub struct FromPath<T>(pub T);
/// A typed query; unknown names are refused if the type refuses them.
pub struct FromQuery<T>(pub T);
/// A typed JSON body.
pub struct FromBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for FromPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Path::<T>::from_request_parts(parts, state).await;
        read.map(|Path(path)| Self(path)).map_err(|rejection: PathRejection| {
            Problem::new(ProblemCode::BadParameter, "the path is not valid").got(rejection.body_text())
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for FromQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Query::<T>::from_request_parts(parts, state).await;
        read.map(|Query(query)| Self(query)).map_err(|rejection: QueryRejection| {
            Problem::new(ProblemCode::BadParameter, "the query is not valid").got(rejection.body_text())
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + 'static> FromRequest<S> for FromBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        match request.extract::<Json<T>, _>().await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(body_problem(&rejection)),
        }
    }
}

fn body_problem(rejection: &JsonRejection) -> Problem {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            Problem::new(ProblemCode::UnsupportedMediaType, "the body must be application/json").at("content-type")
        }
        JsonRejection::BytesRejection(bytes) if is_too_large(bytes) => {
            Problem::new(ProblemCode::BodyTooLarge, "the body is too large")
        }
        other => Problem::new(ProblemCode::BadBody, "the body is not valid").got(other.body_text()),
    }
}

fn is_too_large(rejection: &BytesRejection) -> bool {
    rejection.status() == StatusCode::PAYLOAD_TOO_LARGE
}
