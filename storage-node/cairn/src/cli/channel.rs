//! Arguments of `cairn channel`.

use std::path::PathBuf;

use cairn_ledger::Address;
use cairn_protocol::Amount;
use clap::{Args, Subcommand};

use super::ledger::{RpcArguments, SignerArguments, parse_amount, parse_number};

/// `cairn channel ...`
#[derive(Debug, Subcommand)]
#[command(before_long_help = "Examples:
  cairn channel open --to ADDRESS --deposit 5 --key reader.key
  cairn channel promise 1 --total 0.25 --key reader.key --json > voucher.json
  cairn channel redeem voucher.json --key gateway.key
  cairn channel bind 1 --provider 1000 --key gateway.key

The payer deposits once and signs vouchers, each for everything promised so far; the payee redeems the last one when it
likes. A payee that binds the channel to a provider of its own has what is redeemed counted as that provider's paid service.")]
pub enum ChannelCommand {
    /// List channels
    List(ChannelListArguments),
    /// Show a channel
    Show(ChannelShowArguments),
    /// Open a channel to somebody
    Open(ChannelOpenArguments),
    /// Add to an open channel; anyone may
    TopUp(ChannelTopUpArguments),
    /// Sign a voucher and print it; nothing is sent but the question for the chain
    Promise(ChannelPromiseArguments),
    /// Have the payee paid what a voucher promises; anyone who has it may
    Redeem(ChannelRedeemArguments),
    /// Say that a channel pays for the service of a provider of one's own, once and for all; by the payee
    Bind(ChannelBindArguments),
    /// Close a channel: the payee at once, the payer after a delay, which passes by itself
    Close(ChannelCloseArguments),
}

/// Arguments of `cairn channel list`.
#[derive(Debug, Args)]
pub struct ChannelListArguments {
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn channel show`.
#[derive(Debug, Args)]
pub struct ChannelShowArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("channel-", text))]
    pub channel: u64,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn channel open`.
#[derive(Debug, Args)]
pub struct ChannelOpenArguments {
    /// Who is paid
    #[arg(long, value_name = "ADDRESS")]
    pub to: Address,
    /// What it holds at first, in units with up to six decimals
    #[arg(long, value_name = "UNITS", value_parser = parse_amount)]
    pub deposit: Amount,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn channel top-up`.
#[derive(Debug, Args)]
pub struct ChannelTopUpArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("channel-", text))]
    pub channel: u64,
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

/// Arguments of `cairn channel promise`.
#[derive(Debug, Args)]
pub struct ChannelPromiseArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("channel-", text))]
    pub channel: u64,
    /// Everything that is promised so far, in units with up to six decimals
    #[arg(long, value_name = "UNITS", value_parser = parse_amount)]
    pub total: Amount,
    /// Key file of the payer
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn channel redeem`.
#[derive(Debug, Args)]
pub struct ChannelRedeemArguments {
    /// What `cairn channel promise` printed
    #[arg(value_name = "FILE")]
    pub voucher: PathBuf,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn channel bind`.
#[derive(Debug, Args)]
pub struct ChannelBindArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("channel-", text))]
    pub channel: u64,
    /// Whose service it pays for; the payee's own
    #[arg(long, value_name = "N")]
    pub provider: u64,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn channel close`.
#[derive(Debug, Args)]
pub struct ChannelCloseArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("channel-", text))]
    pub channel: u64,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}
