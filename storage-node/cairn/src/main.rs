//! `cairn`: one binary for every role.
//!
//! `main` parses what was typed ([`cli`]), hands it to one function of [`commands`], and turns the outcome into an exit code:
//! 0 for success, 1 for anything else, always with exactly one line on standard error that says what, where, expected and got.

#![forbid(unsafe_code)]

mod cli;
mod commands;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return fail(&cli::one_line(&error)),
        Err(help) => {
            // Help and version are what was asked for; a reader that went away (`cairn --help | head`) is no failure.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    match commands::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn fail(reason: &str) -> ExitCode {
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("cairn: {line}");
    ExitCode::FAILURE
}
