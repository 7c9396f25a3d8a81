//! `cairn post`: proofs of spacetime over sealed folders, without a ledger.

mod document;
mod prove;
mod verify;

use crate::cli::PostCommand;

/// Runs `cairn post`.
pub fn run(command: PostCommand) -> anyhow::Result<()> {
    match command {
        PostCommand::Prove(arguments) => prove::run(arguments),
        PostCommand::Verify(arguments) => verify::run(arguments),
    }
}
