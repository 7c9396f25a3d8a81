//! `cairn circuit`.

use cairn_protocol::SectorSize;
use cairn_snark::CircuitKind;
use clap::Subcommand;

/// Look at the circuits behind the proofs.
#[derive(Debug, Subcommand)]
pub enum CircuitCommand {
    /// Count and digest every constraint of a circuit, so that two implementations can be compared
    #[command(before_long_help = "Examples:
  cairn circuit info --circuit porep --sector-size 2KiB
  cairn circuit info --circuit window-post --sector-size 32GiB --json
  cairn circuit info --circuit porep --sector-size 8MiB --chunks --json > circuit.json

The circuit streams through in constant memory; the largest, of 130 million constraints, takes minutes.")]
    Info {
        /// Which circuit: porep, winning-post, window-post, update
        #[arg(long, value_name = "CIRCUIT")]
        circuit: CircuitKind,
        /// Sector size: 2KiB, 4KiB, 16KiB, 32KiB, 8MiB, 16MiB, 512MiB, 1GiB, 32GiB, 64GiB
        #[arg(long, value_name = "SIZE")]
        sector_size: SectorSize,
        /// Print the digest of every 16,384 constraints too, and where parts of the circuit begin
        #[arg(long)]
        chunks: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
