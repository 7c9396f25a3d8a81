//! Arguments of `cairn checker`.

use std::path::PathBuf;

use cairn_protocol::Amount;
use clap::{Args, Subcommand};

use super::ledger::{RpcArguments, SignerArguments, parse_amount};

/// `cairn checker ...`
#[derive(Debug, Subcommand)]
pub enum CheckerCommand {
    /// Stake free money, and have a voice from the next round on
    Stake(CheckerStakeArguments),
    /// Take stake back; it is free after a while
    Unstake(CheckerStakeArguments),
    /// Fetch what the ledger's beacon assigns from providers' gateways, and vote on what was seen
    Run(CheckerRunArguments),
}

/// Arguments of `cairn checker stake` and `cairn checker unstake`.
#[derive(Debug, Args)]
#[command(before_long_help = "Example:
  cairn checker stake --amount 10 --key checker.key

Stake is what an opinion weighs. A commitment that is not revealed burns a part of it, as do receipts that are drawn and not
opened, or that most of the stake finds made up; two receipts that contradict each
other cost all of it. The whole stake must reach the network's least; so must what is left, unless nothing is.")]
pub struct CheckerStakeArguments {
    /// How much, in units with up to six decimals
    #[arg(long, value_name = "UNITS", value_parser = parse_amount)]
    pub amount: Amount,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn checker run`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn wallet new --out checker.key
  cairn checker stake --rpc http://ledger.example:8440 --key checker.key --amount 1000
  cairn checker run --rpc http://ledger.example:8440 --key checker.key --dir .checker

Each round it fetches the byte ranges that it is assigned, as any reader would, verifies them, and signs receipts; in the
next one it commits to what it thinks of each provider, reveals it, and opens the receipts that the beacon draws; then it
fetches what others opened, and says so if that is made up. Receipts are kept under --dir: killed at any moment and started
again, nothing is signed twice, and all that is asked for is opened. Losing --dir, or being away, between commitment and
opening costs stake; two processes with one key can cost all of it. A round in which deals came or went before it had its
list of ranges is left out.")]
pub struct CheckerRunArguments {
    /// The ledger: what `cairn devnet --rpc` or a validator serves
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8440")]
    pub rpc: String,
    /// Key file of the account that has the stake; `cairn wallet new` makes one
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Folder of the receipts; made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".checker")]
    pub dir: PathBuf,
    /// Ranges to fetch at a time; more than a few measure one's own line
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub parallel: usize,
    /// Leave when this many rounds are answered for: revealed, and opened what was drawn of their receipts
    #[arg(long, value_name = "N")]
    pub rounds: Option<u64>,
}
