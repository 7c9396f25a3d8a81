//! Arguments of `cairn wallet`.

use std::path::PathBuf;

use cairn_ledger::Address;
use cairn_protocol::Amount;
use clap::{Args, Subcommand, ValueEnum};

use super::ledger::{RpcArguments, SignerArguments, parse_amount};

/// `cairn wallet ...`
#[derive(Debug, Subcommand)]
pub enum WalletCommand {
    /// Make a key
    New(WalletNewArguments),
    /// Take a key out of a development network's settings
    Import(WalletImportArguments),
    /// Say which account a key file is for
    Show(WalletShowArguments),
    /// Ask the ledger what an account has
    Balance(WalletBalanceArguments),
    /// Send free money
    Send(WalletSendArguments),
    /// Set free what has vested of one's rewards, and collect what a provider of one's own has earned
    Claim(WalletClaimArguments),
}

/// Arguments of `cairn wallet new`.
#[derive(Debug, Args)]
#[command(before_long_help = "Example:
  cairn wallet new --out client.key")]
pub struct WalletNewArguments {
    /// File to make; never replaced
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Mark the key as good for development networks alone
    #[arg(long)]
    pub development: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Who has a key in a development network's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DevnetRole {
    /// Pays.
    Client,
    /// Stores.
    Provider,
    /// Proves for money.
    Worker,
}

/// Arguments of `cairn wallet import`.
#[derive(Debug, Args)]
#[command(before_long_help = "Example:
  cairn wallet import --devnet my-net --role client --out client.key")]
pub struct WalletImportArguments {
    /// Folder of the development network
    #[arg(long, value_name = "DIR")]
    pub devnet: PathBuf,
    /// Whose key
    #[arg(long)]
    pub role: DevnetRole,
    /// File to make; never replaced
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn wallet show`.
#[derive(Debug, Args)]
pub struct WalletShowArguments {
    /// The key file
    #[arg(value_name = "FILE")]
    pub key: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn wallet balance`.
#[derive(Debug, Args)]
pub struct WalletBalanceArguments {
    /// The account
    #[arg(value_name = "ADDRESS", required_unless_present = "key")]
    pub address: Option<Address>,
    /// The account of this key file
    #[arg(long, value_name = "FILE", conflicts_with = "address")]
    pub key: Option<PathBuf>,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn wallet claim`.
#[derive(Debug, Args)]
pub struct WalletClaimArguments {
    /// Collect for this provider too; that happens by itself when it proves
    #[arg(long, value_name = "N")]
    pub provider: Option<u64>,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn wallet send`.
#[derive(Debug, Args)]
#[command(before_long_help = "Example:
  cairn wallet send --key client.key --to 0f3a... --amount 2.5")]
pub struct WalletSendArguments {
    /// Who gets it
    #[arg(long, value_name = "ADDRESS")]
    pub to: Address,
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
