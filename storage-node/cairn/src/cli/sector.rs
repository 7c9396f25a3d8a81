//! `cairn sector`.

use std::path::PathBuf;

use cairn_protocol::{PorepId, ProverId, SealProof, SectorSize, Seed, Ticket};
use clap::{Args, Subcommand};

use super::keys::{ProverArguments, TrustArguments};

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
  cairn sector prove --dir sector-7 --seed 0202020202020202020202020202020202020202020202020202020202020202 --params params --json > proof.json
  cairn sector verify proof.json --params params
  cairn sector prove --dir sector-7 --seed HEX --vanilla --json > vanilla.json && cairn sector verify vanilla.json

A Groth16 proof takes 192 bytes for each partition and is verified before it is printed. With --vanilla the openings themselves are
the proof: megabytes, but no parameters. `cairn params setup` makes parameters for development.")]
pub struct ProveArguments {
    /// Folder of a sealed sector
    #[arg(long)]
    pub dir: PathBuf,
    /// Interactive randomness: 32 bytes
    #[arg(long, value_name = "HEX")]
    pub seed: Seed,
    /// Make the vanilla proof: the openings themselves
    #[arg(long, conflicts_with_all = ["params", "cache", "published_only"])]
    pub vanilla: bool,
    /// Folder of the PoRep parameters, under Filecoin's file names; needed unless --vanilla is given
    #[arg(long, value_name = "DIR")]
    pub params: Option<PathBuf>,
    /// How to prove.
    #[command(flatten)]
    pub prover: ProverArguments,
    /// Print JSON, which `cairn sector verify` reads
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn sector verify`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn sector verify proof.json --params params
  cairn sector verify vanilla.json --json

The file is a JSON object with comm_r, comm_d, prover_id, sector_number, ticket, interactive_seed, proof, and either sector_size
(bytes, or a name like \"8MiB\") with seal_proof or porep_id, or proof_type (\"8MiB\", \"8MiB-v1\", \"8MiB-synth\", \"8MiB-ni\"): what
`cairn sector prove --json` prints, and what the reference implementation's tools exchange. A proof that is a string of hex is a
Groth16 proof, an array is a vanilla one.")]
pub struct VerifyArguments {
    /// Proof with its statement
    pub file: PathBuf,
    /// Folder of the verifying keys, under Filecoin's file names; only a vanilla proof needs none
    #[arg(long, value_name = "DIR")]
    pub params: Option<PathBuf>,
    /// Whom to trust.
    #[command(flatten)]
    pub trust: TrustArguments,
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
