//! Arguments of `cairn sim`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Play the ledger and its economy.
#[derive(Debug, Subcommand)]
pub enum SimCommand {
    /// Play random traffic, accidents and adversaries against the ledger, with one checker for each of its promises
    Ledger(LedgerArguments),
    /// Measure blocks over states of growing size: time, stored bytes, memory
    Scale(ScaleArguments),
    /// Play ten years of emission, payments and scores with honest and gaming members, as CSV and as a chart
    Economy(EconomyArguments),
}

/// What `cairn sim ledger` takes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cairn sim ledger --seed 7
  cairn sim ledger --seed 1 --runs 100 --steps 20000
  cairn sim ledger --list
  cairn sim ledger --seed 3 --damage voucher-paid-twice

A step is a transaction offered to a block. The seed is printed first. The same seed plays the same blocks to the byte, so a
failure names its seed, step, block and checker, and the command that shows it again with as few actors as possible.
--damage breaks the ledger on purpose, to see that a checker names it.")]
pub struct LedgerArguments {
    /// Names the run; drawn at random if not given
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Transactions to offer
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub steps: u64,
    /// Runs, with the seeds S, S + 1, ...
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub runs: u64,
    /// Blocks between two looks at the whole state
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..))]
    pub full_every: u64,
    /// Let one checker look alone
    #[arg(long, value_name = "NAME")]
    pub checker: Option<String>,
    /// Let an actor do nothing; may be given several times
    #[arg(long, value_name = "ACTOR")]
    pub without: Vec<String>,
    /// Break something on purpose
    #[arg(long, value_name = "NAME")]
    pub damage: Option<String>,
    /// List promises with their checkers, actors and damages, and play nothing
    #[arg(long)]
    pub list: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `cairn sim scale` takes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cairn sim scale
  cairn sim scale --to 10000000 --json

Each row has ten times the sectors of the one before, a provider for every thousand and a deal in every tenth, with the
calendar of a real network. Quiet blocks hold 200 ordinary transactions; busy ones also the window PoSts that fall due and
the deadlines that close; the burst is every PoSt that may be sent at one moment, in one block. Proofs are checked by a
stand-in: the times are the ledger's own. Ten million sectors take some 7 GB of memory.")]
pub struct ScaleArguments {
    /// Names the traffic
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Sectors of the first row
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    pub from: u64,
    /// Most sectors
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub to: u64,
    /// Blocks of each kind
    #[arg(long, value_name = "N", default_value_t = 130, value_parser = clap::value_parser!(u64).range(1..))]
    pub blocks: u64,
    /// Ordinary transactions in a block
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    pub transactions: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What `cairn sim economy` takes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cairn sim economy --seed 1 --csv economy.csv --png economy.png
  cairn sim economy --days 365 --csv - | head

Nine strategies play under the real rules of emission and scores: providers that are honest, empty, slow, their own clients,
or friends of a cartel; checkers that measure, copy, collude or stay silent. The totals go to standard output, or to standard
error if the CSV goes there.")]
pub struct EconomyArguments {
    /// Names the run
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Length in days
    #[arg(long, value_name = "N", default_value_t = 3_650)]
    pub days: u32,
    /// Write the rows here as CSV; - is standard output
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write the chart here
    #[arg(long, value_name = "FILE")]
    pub png: Option<PathBuf>,
    /// Print the totals as JSON
    #[arg(long)]
    pub json: bool,
}
