//! Arguments of `cairn job`.

use cairn_ledger::Address;
use clap::{Args, Subcommand};

use super::ledger::{RpcArguments, SignerArguments, parse_number};

/// `cairn job ...`
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List proof jobs
    List(JobListArguments),
    /// Show a proof job
    Show(JobShowArguments),
    /// Take back a proof job that nobody works on
    Cancel(JobCancelArguments),
}

/// Arguments of `cairn job list`.
#[derive(Debug, Args)]
pub struct JobListArguments {
    /// Those alone that take bids or are worked on
    #[arg(long)]
    pub live: bool,
    /// Posted by this account alone
    #[arg(long, value_name = "ADDRESS")]
    pub poster: Option<Address>,
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn job show`.
#[derive(Debug, Args)]
pub struct JobShowArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("job-", text))]
    pub job: u64,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn job cancel`.
#[derive(Debug, Args)]
pub struct JobCancelArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("job-", text))]
    pub job: u64,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}
