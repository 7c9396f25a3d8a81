//! `cairn`: one binary for every role.
//!
//! `main` parses what was typed ([`cli`]), hands it to one function of [`commands`], and turns the outcome into an exit code:
//! 0 for success, 1 for anything else, always with exactly one line on standard error that says what, where, expected and got.
//! Lines that begin with `cairn: note:` may come before it, or beside a result: what a reader must know and a program need not.

#![forbid(unsafe_code)]

mod cli;
mod commands;
mod dataset;
mod devnet;
mod key_file;
mod memory;
mod output;
mod progress;
mod provider;
mod secret_file;
mod serving_key_file;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

fn main() -> ExitCode {
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => return explain(&answer),
    };
    match commands::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}")),
    }
}

/// Answers a command line that names no work: help and version where they were asked for, help as well where nothing was
/// typed, one line otherwise.
fn explain(answer: &clap::Error) -> ExitCode {
    match answer.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A reader that went away (`cairn --help | head`) is no failure.
            let _ = answer.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = answer.print();
            ExitCode::FAILURE
        }
        _ => fail(&cli::one_line(answer)),
    }
}

fn fail(reason: &str) -> ExitCode {
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("cairn: {line}");
    ExitCode::FAILURE
}
