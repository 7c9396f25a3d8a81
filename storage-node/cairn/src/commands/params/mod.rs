//! `cairn params`: the files that Groth16 proofs need.

mod list;
mod new_files;
pub mod setup;
mod verify;

use crate::cli::ParamsCommand;

/// Runs `cairn params`.
pub fn run(command: ParamsCommand) -> anyhow::Result<()> {
    match command {
        ParamsCommand::Setup(arguments) => setup::run(arguments),
        ParamsCommand::List(arguments) => list::run(arguments),
        ParamsCommand::Verify(arguments) => verify::run(arguments),
    }
}
