//! The pure ledger under everything we can think of, from one seed.
//!
//! A run plays clients, providers, validators, accidents and adversaries against [`cairn_ledger::State`], block by block,
//! and asks one [`checkers`] per promise after each. The same seed and options give the same blocks to the byte, so a
//! failure is repeated by its command line, and made smaller by leaving actors out ([`run::minimise`]).
//!
//! Reading order: [`run`] (the loop, what it reports), [`world`] (accounts, offers, what everybody can see), [`actors`]
//! (who does what), [`observation`] and [`checkers`] (what is promised), [`damage`] (proof that each checker can fail).
//! Beside it: [`scale`] measures blocks over states of up to ten million sectors, [`economy`] draws ten years of money.

#![forbid(unsafe_code)]

pub mod actors;
pub mod checkers;
pub mod damage;
pub mod economy;
pub mod observation;
pub mod random;
pub mod run;
pub mod scale;
pub mod world;

pub use checkers::Promise;
pub use run::{Failure, LedgerOptions, LedgerReport, run_ledger};
