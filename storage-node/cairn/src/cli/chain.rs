//! Arguments of `cairn tx` and `cairn block`.

use std::path::PathBuf;

use cairn_ledger::TransactionId;
use cairn_rpc::EventId;
use clap::{Args, Subcommand};

use super::ledger::RpcArguments;

/// `cairn tx ...`
#[derive(Debug, Subcommand)]
pub enum TxCommand {
    /// Show a transaction and what became of it
    Show(TxShowArguments),
    /// Sign a transaction, without any network
    Sign(TxSignArguments),
    /// Hand in a signed transaction
    Send(TxSendArguments),
}

/// Arguments of `cairn tx show`.
#[derive(Debug, Args)]
pub struct TxShowArguments {
    /// Its name, a CID
    #[arg(value_name = "CID")]
    pub id: TransactionId,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn tx sign`.
#[derive(Debug, Args)]
#[command(before_long_help = "Example:
  cairn wallet send --unsigned-for 0f3a... --to 77c1... --amount 2.5 --json > unsigned.json    # a machine with a network
  cairn tx sign unsigned.json --key client.key > signed.json                                   # a machine without
  cairn tx send signed.json                                                                    # the first again

What is signed is printed on standard error in words, from the bytes themselves.")]
pub struct TxSignArguments {
    /// What a command with --unsigned-for and --json printed
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Key file to sign with
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// Arguments of `cairn tx send`.
#[derive(Debug, Args)]
pub struct TxSendArguments {
    /// What `cairn tx sign` printed
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Longest wait for the transaction to be in a block, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// `cairn block ...`
#[derive(Debug, Subcommand)]
pub enum BlockCommand {
    /// Show a block, the decision for it and its transactions
    Show(BlockShowArguments),
    /// List blocks, newest first
    List(BlockListArguments),
    /// Print what happens, block by block, until Ctrl-C
    Follow(BlockFollowArguments),
}

/// Arguments of `cairn block show`.
#[derive(Debug, Args)]
pub struct BlockShowArguments {
    /// Its height; by default the last one
    #[arg(value_name = "HEIGHT")]
    pub height: Option<u64>,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn block list`.
#[derive(Debug, Args)]
pub struct BlockListArguments {
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn block follow`.
#[derive(Debug, Args)]
#[command(before_long_help = "Example:
  cairn block follow --after 1200:3 --json

Each line names its place; --after with the last name that was seen goes on there, and nothing is lost or told twice.")]
pub struct BlockFollowArguments {
    /// Begin after this: HEIGHT of a block, or HEIGHT:INDEX of an event; by default with the next block
    #[arg(long, value_name = "PLACE")]
    pub after: Option<EventId>,
    /// Print blocks without events too
    #[arg(long)]
    pub blocks: bool,
    /// Stop after this many lines
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// The ledger; with --json each line is a JSON object.
    #[command(flatten)]
    pub ledger: RpcArguments,
}
