//! `cairn sector`: the life of one sector on a disk, without a ledger.

mod proof_type;
mod prove;
mod record;
mod seal;
mod unseal;
mod verify;

pub use record::SectorRecord;

use crate::cli::SectorCommand;

/// Runs `cairn sector`.
pub fn run(command: SectorCommand) -> anyhow::Result<()> {
    match command {
        SectorCommand::Seal(arguments) => seal::run(arguments),
        SectorCommand::Prove(arguments) => prove::run(arguments),
        SectorCommand::Verify(arguments) => verify::run(arguments),
        SectorCommand::Unseal(arguments) => unseal::run(arguments),
    }
}
