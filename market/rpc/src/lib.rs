//! The ledger over HTTP: a server beside a node, and a client that needs no node.
//!
//! - [`serve`] answers from a [`cairn_consensus::LedgerHandle`]: JSON under `/v1`, events as a stream, and an OpenAPI 3.1
//!   document at `/openapi.json` that is made from the types of [`wire`].
//! - [`RpcClient`] asks such a server, signs, hands in, waits for receipts, and follows events through interruptions.
//!
//! # Promises
//! - Every answer is bounded: a page looks at a bounded part of a list, a block lists names, a stream has a short queue.
//! - A request that is not answered as asked gets a [`Problem`] with a stable code. Foreign bytes never stop the server.
//! - Handing in the same transaction again is no error: the answer is its name.
//! - Nothing here can sign for anybody: keys stay with the client.
//!
//! The server speaks HTTP/1.1 without TLS, is meant to listen on loopback, and answers no page of another origin. A
//! ledger for strangers stands behind a proxy that adds TLS.

#![forbid(unsafe_code)]

pub mod client;
pub mod events;
pub mod page;
mod problem;
pub mod readable;
pub mod server;
pub mod wire;

pub use client::{ClientError, ClientOptions, RpcClient};
pub use events::EventId;
pub use problem::{PROBLEM_TYPE, Problem, ProblemCode};
pub use server::{OptionsRejection, ServerOptions, openapi_json, serve};
