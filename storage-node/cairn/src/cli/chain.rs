//! Arguments of `cairn tx` and `cairn block`.

use std::path::PathBuf;

use cairn_consensus::Checkpoint;
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

/// What is believed instead of the server.
#[derive(Debug, Clone, Args)]
pub struct BeliefArguments {
    /// Believe no server: check signatures of validators, from --genesis or --checkpoint on, and hashes below them
    #[arg(long, requires = "genesis")]
    pub verify: bool,
    /// Genesis of the network, or the devnet.json of a development network
    #[arg(long, value_name = "FILE", requires = "verify")]
    pub genesis: Option<PathBuf>,
    /// A recent block to begin with instead, or who decides blocks now: HEIGHT:BLOCK or validators:ROOT
    #[arg(long, value_name = "CHECKPOINT", requires = "verify")]
    pub checkpoint: Option<Checkpoint>,
}

/// Arguments of `cairn tx show`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn tx show bafyrei...
  cairn tx show bafyrei... --verify --genesis genesis.json

With --verify what is shown is what validators signed: the transaction, its receipt, and the block that holds both.")]
pub struct TxShowArguments {
    /// Its name, a CID
    #[arg(value_name = "CID")]
    pub id: TransactionId,
    /// What is believed.
    #[command(flatten)]
    pub verify: BeliefArguments,
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
#[command(before_long_help = "Examples:
  cairn block show 1200
  cairn block show 1200 --verify --genesis genesis.json
  cairn block show --verify --genesis genesis.json --checkpoint 900:5d0c...

With --verify the block must follow from the genesis, or from the checkpoint, by signatures of validators with two thirds of
the votes, and its transactions from its header. Whether there are newer blocks, only the server can say.")]
pub struct BlockShowArguments {
    /// Its height; by default the last one
    #[arg(value_name = "HEIGHT")]
    pub height: Option<u64>,
    /// What is believed.
    #[command(flatten)]
    pub verify: BeliefArguments,
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
