//! Arguments of `cairn deal` and `cairn provider`.

use cairn_ledger::Address;
use cairn_protocol::{Amount, SectorSize};
use clap::{Args, Subcommand};

use super::ledger::{RpcArguments, SignerArguments, parse_amount, parse_attribute, parse_number};
use super::provider::ProviderRunArguments;
use super::{AccuseArguments, DelegateArguments};

/// `cairn deal ...`
#[derive(Debug, Subcommand)]
pub enum DealCommand {
    /// List deals
    List(DealListArguments),
    /// Show a deal
    Show(DealShowArguments),
    /// Pay an active deal up to the last accounted epoch; anyone may
    Settle(DealSettleArguments),
}

/// Arguments of `cairn deal list`.
#[derive(Debug, Args)]
pub struct DealListArguments {
    /// Paid by this client alone
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<Address>,
    /// With this provider alone
    #[arg(long, value_name = "N")]
    pub provider: Option<u64>,
    /// Of this order alone
    #[arg(long, value_name = "N", value_parser = |text: &str| parse_number("order-", text))]
    pub order: Option<u64>,
    /// In this state alone: assigned, bound, active, closed
    #[arg(long, value_parser = ["assigned", "bound", "active", "closed"])]
    pub state: Option<String>,
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn deal show`.
#[derive(Debug, Args)]
pub struct DealShowArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("deal-", text))]
    pub deal: u64,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn deal settle`.
#[derive(Debug, Args)]
pub struct DealSettleArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| parse_number("deal-", text))]
    pub deal: u64,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// `cairn provider ...`
#[derive(Debug, Subcommand)]
#[command(before_long_help = "Examples:
  cairn wallet new --out provider.key
  cairn provider run --key provider.key --dir provider --params params --register 100 --sector-size 32GiB --listen 0.0.0.0:8480 \\
      --endpoint http://storage.example:8480
  cairn provider show 1000")]
pub enum ProviderCommand {
    /// Register a provider
    Register(ProviderRegisterArguments),
    /// List providers
    List(ProviderListArguments),
    /// Show a provider, its sectors and its next proofs
    Show(ProviderShowArguments),
    /// Say what is true of a provider, in place of what it said before
    Set(ProviderAttributesArguments),
    /// Vouch for what a provider says about itself, as an auditor
    Attest(ProviderAttributesArguments),
    /// Lock more collateral; anyone may
    AddCollateral(ProviderCollateralArguments),
    /// Free collateral above the minimum
    WithdrawCollateral(ProviderCollateralArguments),
    /// Let a key that can do nothing else sign for what a provider's gateway sends, for some time
    Delegate(DelegateArguments),
    /// Hold a provider to its word for the bytes that it sends, and bring false ones to the ledger
    Accuse(AccuseArguments),
    /// Store for others until told to stop: bid, fetch, seal, prove, serve
    Run(Box<ProviderRunArguments>),
}

/// Arguments of `cairn provider register`.
#[derive(Debug, Args)]
#[command(before_long_help = "Example:
  cairn provider register --key provider.key --sector-size 32GiB --collateral 100 --endpoint https://storage.example")]
pub struct ProviderRegisterArguments {
    /// Size of all its sectors
    #[arg(long, value_name = "SIZE")]
    pub sector_size: SectorSize,
    /// What to lock, in units with up to six decimals
    #[arg(long, value_name = "UNITS", value_parser = parse_amount)]
    pub collateral: Amount,
    /// URL at which it serves retrievals
    #[arg(long, value_name = "URL")]
    pub endpoint: String,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn provider list`.
#[derive(Debug, Args)]
pub struct ProviderListArguments {
    /// Of this owner alone
    #[arg(long, value_name = "ADDRESS")]
    pub owner: Option<Address>,
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn provider show`.
#[derive(Debug, Args)]
pub struct ProviderShowArguments {
    /// Its number
    #[arg(value_name = "N")]
    pub provider: u64,
    /// Most sectors to list
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub sectors: usize,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn provider set` and `cairn provider attest`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn provider set 1000 region=eu-west disk=nvme --key provider.key
  cairn provider attest 1000 region=eu-west --key auditor.key
  cairn provider attest 1000 --none --key auditor.key

All attributes are named each time. `region` is the one that orders spread their copies by. What an auditor signs counts for
as long as the provider says the same; --none takes it back.")]
pub struct ProviderAttributesArguments {
    /// Its number
    #[arg(value_name = "N")]
    pub provider: u64,
    /// All attributes: keys of small letters, digits and -_./, values without spaces
    #[arg(value_name = "KEY=VALUE", value_parser = parse_attribute, required_unless_present = "none")]
    pub attributes: Vec<(String, String)>,
    /// No attributes: take back what was said
    #[arg(long, conflicts_with = "attributes")]
    pub none: bool,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of the two commands that change collateral.
#[derive(Debug, Args)]
pub struct ProviderCollateralArguments {
    /// Its number
    #[arg(value_name = "N")]
    pub provider: u64,
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
