//! Arguments of `cairn devnet`.

use std::net::SocketAddr;
use std::path::PathBuf;

use cairn_protocol::SectorSize;
use clap::{Args, ValueEnum};

use super::ledger::DEFAULT_RPC;

/// Who makes the proofs of replication of a development network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SnarkSource {
    /// The provider itself
    Local,
    /// Whoever takes the job that the provider posts on the ledger; a worker with an account of its own runs beside it
    Market,
    /// The same, but nobody here takes the jobs: `cairn prover` may, with --rpc
    Posted,
}

/// What `cairn devnet` takes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cairn devnet --dir ~/cairn-devnet
  cairn devnet --dir ~/cairn-devnet --store ~/datasets/photos
  cairn devnet --dir ~/cairn-devnet --rpc
  cairn devnet --dir ~/cairn-devnet --checker
  cairn devnet --dir demo --demo --exit --dataset fixtures/dataset/data

A network on one machine: ledger, one provider and its gateway, and a client that orders storage. Everything is kept under
--dir; started again, it continues where it was. Its keys and its randomness are of development grade.

Proofs need parameters, made on first use: for 8MiB sectors some 90 seconds on two cores and 3 GB under --params, where
every network of that sector size finds them from then on.")]
pub struct DevnetArguments {
    /// Folder of the network; made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".devnet")]
    pub dir: PathBuf,
    /// Sector size of the provider, decided when the network is made
    #[arg(long, value_name = "SIZE", default_value = "8MiB")]
    pub sector_size: SectorSize,
    /// Take updates of sealed sectors too, decided when the network is made; needs parameters of a third circuit (for 2KiB
    /// sectors 0.7 GB)
    #[arg(long)]
    pub updates: bool,
    /// Folder of the proofs' parameters, made on first use [default: $XDG_CACHE_HOME/cairn/params, or ~/.cache/cairn/params]
    #[arg(long, value_name = "DIR")]
    pub params: Option<PathBuf>,
    /// A file or folder to store, ordered at the start unless it was before; may be given several times
    #[arg(long, value_name = "PATH")]
    pub store: Vec<PathBuf>,
    /// Answer questions about the ledger here, and take signed transactions: `cairn order`, `cairn block` and the others ask
    /// it [default without a value: 127.0.0.1:8440]
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = DEFAULT_RPC)]
    pub rpc: Option<SocketAddr>,
    /// Threads for sealing; 0 means one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Who makes the proofs of replication
    #[arg(long, value_name = "SOURCE", value_enum, default_value = "local")]
    pub snarks: SnarkSource,
    /// No provider here: those of `cairn provider run` take the orders, with --rpc
    #[arg(long, requires = "rpc", conflicts_with_all = ["demo", "snarks"])]
    pub no_provider: bool,
    /// Run a checker beside the network: it stakes, fetches what the beacon assigns, and votes on how well it was served
    #[arg(long)]
    pub checker: bool,
    /// Store a dataset, prove it through two window PoSts, fetch it back, compare, and print what happened
    #[arg(long)]
    pub demo: bool,
    /// Leave when the demo is done; exit code 0 means that every step succeeded
    #[arg(long, requires = "demo")]
    pub exit: bool,
    /// The dataset of the demo
    #[arg(long, value_name = "PATH", default_value = "fixtures/dataset/data", requires = "demo")]
    pub dataset: PathBuf,
    /// Print the demo's table as JSON
    #[arg(long, requires = "demo")]
    pub json: bool,
}
