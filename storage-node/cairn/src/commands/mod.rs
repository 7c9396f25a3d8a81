//! One module for each command of the binary. Each turns typed arguments into what the libraries need, calls them, and prints.

mod checker;
mod circuit;
mod data;
mod devnet;
mod files;
mod gateway;
mod get;
mod grant;
pub mod keys;
mod ledger;
pub mod params;
mod payments;
mod piece;
mod post;
mod proof_file;
mod prover;
mod provider_run;
mod sector;
mod sim;
mod validator;

use std::time::Instant;

use crate::cli::{Arguments, Command};

/// Runs the command that was typed.
///
/// # Errors
/// Whatever stopped it; `{:#}` of the error is one line for people.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.command {
        Command::Piece(command) => piece::run(command),
        Command::Sector(command) => sector::run(command),
        Command::Post(command) => post::run(command),
        Command::Params(command) => params::run(command),
        Command::Circuit(command) => circuit::run(command),
        Command::Get(arguments) => get::run(arguments),
        Command::Data(command) => data::run(command),
        Command::Gateway(arguments) => gateway::run(*arguments),
        Command::Grant(command) => grant::run(command),
        Command::Devnet(arguments) => devnet::run(arguments),
        Command::Wallet(command) => ledger::wallet::run(command),
        Command::Order(command) => ledger::order::run(command),
        Command::Deal(command) => ledger::deal::run(command),
        Command::Provider(command) => ledger::provider::run(command),
        Command::Rail(command) => ledger::rail::run(command),
        Command::Channel(command) => ledger::channel::run(command),
        Command::Score(command) => ledger::score::run(command),
        Command::Checker(command) => checker::run(command),
        Command::Job(command) => ledger::job::run(command),
        Command::Prover(arguments) => prover::run(arguments),
        Command::Tx(command) => ledger::transaction::run(command),
        Command::Block(command) => ledger::block::run(command),
        Command::Validator(command) => validator::run(command),
        Command::Sim(command) => sim::run(command),
    }
}

/// Seconds since `start`, to the millisecond.
fn seconds_since(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}
