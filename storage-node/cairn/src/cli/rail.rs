//! Arguments of `cairn rail`.

use cairn_ledger::Address;
use cairn_protocol::Amount;
use clap::{Args, Subcommand};

use super::ledger::{RpcArguments, SignerArguments, parse_amount, parse_number};

/// `cairn rail ...`
#[derive(Debug, Subcommand)]
pub enum RailCommand {
    /// List rails that are not over
    List(RailListArguments),
    /// Show a rail: what is settled, what is not, and until when it is funded
    Show(RailShowArguments),
    /// Show what an account has for rails
    Account(RailAccountArguments),
    /// Put free money into an account for rails; anyone may, for anyone
    Deposit(RailDepositArguments),
    /// Take money out that no rail has locked
    Withdraw(RailWithdrawArguments),
    /// Stream money to somebody
    Open(RailOpenArguments),
    /// Change the rate from now on
    Rate(RailRateArguments),
    /// Pay at once, out of what the rail has locked for that
    Pay(RailPayArguments),
    /// Pay what is owed until now; anyone may
    Settle(RailOneArguments),
    /// End a rail; payer or payee may
    Terminate(RailOneArguments),
}

/// Arguments of `cairn rail list`.
#[derive(Debug, Args)]
pub struct RailListArguments {
    /// Paid by this account alone
    #[arg(long, value_name = "ADDRESS")]
    pub payer: Option<Address>,
    /// Paid to this account alone
    #[arg(long, value_name = "ADDRESS")]
    pub payee: Option<Address>,
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn rail show`.
#[derive(Debug, Args)]
pub struct RailShowArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("rail-", text))]
    pub rail: u64,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn rail account`.
#[derive(Debug, Args)]
pub struct RailAccountArguments {
    /// Whose
    #[arg(value_name = "ADDRESS")]
    pub address: Address,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn rail deposit`.
#[derive(Debug, Args)]
pub struct RailDepositArguments {
    /// How much, in units with up to six decimals
    #[arg(long, value_name = "UNITS", value_parser = parse_amount)]
    pub amount: Amount,
    /// Into whose account; by default the signer's
    #[arg(long = "for", value_name = "ADDRESS")]
    pub account: Option<Address>,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn rail withdraw`.
#[derive(Debug, Args)]
pub struct RailWithdrawArguments {
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

/// Arguments of `cairn rail open`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn rail deposit --key client.key --amount 10
  cairn rail open --key client.key --to 77c1... --rate 0.001 --lockup-period 2880
  cairn rail open --key client.key --to 77c1... --rate 0.001 --lockup-period 2880 --deal 12

rate x lockup period is locked from the start, so that the payee is paid for so long after the payer ran dry. With --deal,
or --provider and --sector, only epochs count in which that sector was proven.")]
pub struct RailOpenArguments {
    /// Who is paid
    #[arg(long, value_name = "ADDRESS")]
    pub to: Address,
    /// For each epoch that counts, in units with up to six decimals
    #[arg(long, value_name = "UNITS", value_parser = parse_amount)]
    pub rate: Amount,
    /// Epochs that are paid after it is terminated
    #[arg(long, value_name = "EPOCHS")]
    pub lockup_period: u64,
    /// Locked for payments at once
    #[arg(long, value_name = "UNITS", value_parser = parse_amount, default_value = "0")]
    pub lockup_fixed: Amount,
    /// Count the epochs in which this deal's sector was proven
    #[arg(long, value_name = "N", value_parser = |text: &str| parse_number("deal-", text), conflicts_with = "provider")]
    pub deal: Option<u64>,
    /// Count the epochs in which --sector of this provider was proven
    #[arg(long, value_name = "N", requires = "sector")]
    pub provider: Option<u64>,
    /// The sector of --provider
    #[arg(long, value_name = "N", requires = "provider")]
    pub sector: Option<u64>,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn rail rate`.
#[derive(Debug, Args)]
pub struct RailRateArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("rail-", text))]
    pub rail: u64,
    /// For each epoch that counts, in units with up to six decimals
    #[arg(long, value_name = "UNITS", value_parser = parse_amount)]
    pub rate: Amount,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn rail pay`.
#[derive(Debug, Args)]
pub struct RailPayArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("rail-", text))]
    pub rail: u64,
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

/// Arguments of `cairn rail settle` and `cairn rail terminate`.
#[derive(Debug, Args)]
pub struct RailOneArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("rail-", text))]
    pub rail: u64,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}
