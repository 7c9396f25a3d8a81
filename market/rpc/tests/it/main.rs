//! The server and the client over real sockets, on a ledger whose proofs are hashes.

mod document;
mod economy;
mod limits;
mod reading;
mod streaming;
mod submitting;
mod support;
mod verifying;
