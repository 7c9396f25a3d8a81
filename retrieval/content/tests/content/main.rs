//! Tests of the crate as its users see it: golden roots, round trips, the hot store, and inputs that must be refused.

#![allow(clippy::result_large_err)] // as in the crate itself

mod golden;
mod refused;
mod round_trip;
mod store;
mod support;
