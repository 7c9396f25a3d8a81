//! `cairn sector`.

use std::path::PathBuf;

use cairn_protocol::{PorepId, ProverId, SealProof, SectorSize, Seed, Ticket};
use clap::{Args, Subcommand};

/// Seal, prove, verify and unseal a sector, offline.
#[derive(Debug, Subcommand)]
pub enum SectorCommand {
    /// Seal files into a sector: data, layers, trees, replica and commitments
    Seal(SealArguments),
    /// Prove that a sealed sector holds its replica
    Prove(ProveArguments),
    /// Check a proof; says which challenge, layer or opening is wrong
    Verify(VerifyArguments),
    /// Give bytes of the original data back from the replica
    Unseal(UnsealArguments),
}

/// Arguments of `cairn sector seal`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn sector seal --size 8MiB --seal-proof v1_1 --prover-id e807000000000000000000000000000000000000000000000000000000000000 \\
      --sector-number 7 --ticket 0101010101010101010101010101010101010101010101010101010101010101 \\
      --piece shard-000000.tar --piece table.parquet --dir sector-7
  cairn sector seal ... --json | jq -r .comm_r

The folder then holds `staged`, `sealed`, `cache/` with Filecoin's file names, and `sector.json` with what is printed.")]
pub struct SealArguments {
    /// Sector size: 2KiB, 4KiB, 16KiB, 32KiB, 8MiB, 16MiB, 512MiB, 1GiB, 32GiB, 64GiB
    #[arg(long, value_name = "SIZE")]
    pub size: SectorSize,
    /// How to seal: v1, v1_1, synthetic, non-interactive
    #[arg(long, value_name = "PROOF")]
    pub seal_proof: SealProof,
    /// Who seals: 32 bytes
    #[arg(long, value_name = "HEX")]
    pub prover_id: ProverId,
    /// The prover's number for the sector
    #[arg(long, value_name = "N")]
    pub sector_number: u64,
    /// Sealing randomness: 32 bytes
    #[arg(long, value_name = "HEX")]
    pub ticket: Ticket,
    /// File to put into the sector; repeat for more, in order. None seals an empty sector
    #[arg(long = "piece", value_name = "FILE")]
    pub pieces: Vec<PathBuf>,
    /// Folder for the sector; made if missing, must not hold a sealed one
    #[arg(long)]
    pub dir: PathBuf,
    /// Domain separation of the graph: 32 bytes [default: the registered number of size and proof; sizes without one use the 2KiB number]
    #[arg(long, value_name = "HEX")]
    pub porep_id: Option<PorepId>,
    /// Threads to compute with; 0 means one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn sector prove`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn sector prove --dir sector-7 --seed 0202020202020202020202020202020202020202020202020202020202020202 --vanilla
  cairn sector prove --dir sector-7 --seed HEX --vanilla --json > proof.json && cairn sector verify proof.json")]
pub struct ProveArguments {
    /// Folder of a sealed sector
    #[arg(long)]
    pub dir: PathBuf,
    /// Interactive randomness: 32 bytes
    #[arg(long, value_name = "HEX")]
    pub seed: Seed,
    /// Make the vanilla proof: the openings themselves
    #[arg(long, required = true)]
    pub vanilla: bool,
    /// Threads to compute with; 0 means one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Print JSON, which `cairn sector verify` reads
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn sector verify`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn sector verify proof.json
  cairn sector verify --json proof.json

The file is a JSON object with sector_size (bytes, or a name like \"8MiB\"), seal_proof, comm_r, comm_d, prover_id, sector_number, ticket,
interactive_seed, proof, and optionally porep_id: what `cairn sector prove --json` prints.")]
pub struct VerifyArguments {
    /// Proof with its statement
    pub file: PathBuf,
    /// Print JSON: ok, and the reason when it is false
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn sector unseal`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn sector unseal --dir sector-7 --offset 0 --length 1000000 --out first-megabyte")]
pub struct UnsealArguments {
    /// Folder of a sealed sector
    #[arg(long)]
    pub dir: PathBuf,
    /// First byte, counted in original (unpadded) bytes of the sector
    #[arg(long, value_name = "BYTES")]
    pub offset: u64,
    /// Number of bytes
    #[arg(long, value_name = "BYTES")]
    pub length: u64,
    /// File to write; an existing one is replaced when everything is there
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Threads to compute with; 0 means one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
