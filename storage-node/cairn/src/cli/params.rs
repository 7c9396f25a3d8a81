//! `cairn params`.

use std::path::PathBuf;

use cairn_protocol::SectorSize;
use cairn_snark::CircuitKind;
use cairn_snark::groth16::Circuit;
use clap::{Args, Subcommand};

use super::keys::TrustArguments;

/// Make, list and check the parameters that Groth16 proofs need.
#[derive(Debug, Subcommand)]
pub enum ParamsCommand {
    /// Make parameters for development, marked as such: whoever makes parameters can forge proofs
    Setup(ParamsSetupArguments),
    /// List the key files in a folder, without checking them
    List(ParamsListArguments),
    /// Check key files from their first byte to their last: digests, every point, and that they belong together
    Verify(ParamsVerifyArguments),
}

/// Arguments of `cairn params setup`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn params setup --circuit window-post --sector-size 2KiB --params params
  cairn params setup --circuit porep --sector-size 2KiB --params params --force --json

Writes `.params`, `.vk` and `.meta` under Filecoin's names, and a mark `.cairn-dev` beside them: a real network refuses
them. The secrets come from the operating system and are forgotten. 2KiB: window-post 12 MB, porep 1.1 GB.")]
pub struct ParamsSetupArguments {
    /// Which circuit: porep, winning-post, window-post, update
    #[arg(long, value_name = "CIRCUIT")]
    pub circuit: CircuitKind,
    /// Sector size: 2KiB, 4KiB, 16KiB, 32KiB, 8MiB, 16MiB, 512MiB, 1GiB, 32GiB, 64GiB
    #[arg(long, value_name = "SIZE")]
    pub sector_size: SectorSize,
    /// Folder for the files; made if missing
    #[arg(long, value_name = "DIR")]
    pub params: PathBuf,
    /// Folder for the recorded matrices, which proving uses again [default: cairn-cache in the folder of --params]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Replace development parameters that are there; others are never replaced
    #[arg(long)]
    pub force: bool,
    /// Threads to compute with; 0 means one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn params list`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn params list --params /var/tmp/filecoin-proof-parameters
  cairn params list --params params --json | jq -r '.[].circuit'")]
pub struct ParamsListArguments {
    /// Folder of the files
    #[arg(long, value_name = "DIR")]
    pub params: PathBuf,
    /// Folder of converted keys [default: cairn-cache in the folder of --params]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn params verify`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn params verify --params /var/tmp/filecoin-proof-parameters --published-only
  cairn params verify --circuit window-post --sector-size 2KiB --params params --json

Published files have a known digest. Others must match the mark beside them, if there is one, and their circuit's counts.
Stops at the first problem with exit code 1.")]
pub struct ParamsVerifyArguments {
    /// Folder of the files
    #[arg(long, value_name = "DIR")]
    pub params: PathBuf,
    /// Only this circuit: porep, winning-post, window-post, update, update-poseidon
    #[arg(long, value_name = "CIRCUIT")]
    pub circuit: Option<KeyCircuit>,
    /// Only this sector size
    #[arg(long, value_name = "SIZE")]
    pub sector_size: Option<SectorSize>,
    /// Whom to trust.
    #[command(flatten)]
    pub trust: TrustArguments,
    /// Threads to compute with; 0 means one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The name of a circuit that has key files, among them one that Cairn has no circuit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyCircuit {
    /// One of ours.
    Known(CircuitKind),
    /// The sector update that hashes data with Poseidon.
    UpdatePoseidon,
}

const UPDATE_POSEIDON: &str = "update-poseidon";

impl KeyCircuit {
    /// Whether this is the kind of `circuit`.
    pub fn is(self, circuit: Circuit) -> bool {
        match self {
            Self::Known(kind) => circuit.id().is_some_and(|id| id.kind == kind),
            Self::UpdatePoseidon => circuit.id().is_none(),
        }
    }

    /// The kind of `circuit`, by name.
    pub fn name_of(circuit: Circuit) -> &'static str {
        circuit.id().map_or(UPDATE_POSEIDON, |id| id.kind.name())
    }
}

impl std::str::FromStr for KeyCircuit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == UPDATE_POSEIDON {
            return Ok(Self::UpdatePoseidon);
        }
        let names = CircuitKind::ALL.map(CircuitKind::name).join(", ");
        let unknown = |_| format!("expected a circuit of {names}, {UPDATE_POSEIDON}, got {text:?}");
        text.parse().map(Self::Known).map_err(unknown)
    }
}
