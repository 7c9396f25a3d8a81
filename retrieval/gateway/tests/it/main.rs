//! The gateway over real sockets, and the fetcher against sources that misbehave.
//!
//! One binary for all of it, because each would link the same crates again. Servers listen on loopback with ports that
//! the system picks; clients are plain sockets, so that every byte of an answer is seen as it came.

mod access;
mod clients;
mod common;
mod curl;
mod fast;
mod fetching;
mod kill;
mod liar;
mod limits;
mod mounting;
mod pieces;
mod proofs;
mod proxy;
mod reporting;
mod serving;
mod signed;
mod tls;
mod trustless;
