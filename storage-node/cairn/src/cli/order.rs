//! Arguments of `cairn order`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use cairn_ledger::scores::Fraction;
use cairn_ledger::{Address, Attributes, RegionRule, Requirements};
use cairn_protocol::{Amount, SectorSize};
use clap::{Args, Subcommand, ValueEnum};

use super::ledger::{RpcArguments, SignerArguments, parse_amount, parse_attribute, parse_fraction};

/// `cairn order ...`
#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// Say exactly what storing a dataset would take, before anything is locked
    Quote(OrderQuoteArguments),
    /// Order storage for a dataset and hand it to the providers
    Place(OrderPlaceArguments),
    /// List orders
    List(OrderListArguments),
    /// Show an order, its bids and its deals
    Show(OrderShowArguments),
    /// Take an open order back
    Cancel(OrderCancelArguments),
}

/// What to store, and for what price.
#[derive(Debug, Clone, Args)]
pub struct TermsArguments {
    /// The file or folder to store
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Sector size of the providers, which bounds the pieces
    #[arg(long, value_name = "SIZE", default_value = "8MiB")]
    pub sector_size: SectorSize,
    /// Length of the deals, in epochs from when they are active
    #[arg(long, value_name = "EPOCHS")]
    pub duration: u64,
    /// Most that one copy may cost per epoch, in units with up to six decimals
    #[arg(long, value_name = "UNITS", value_parser = parse_amount)]
    pub price_max: Amount,
    /// Copies, each with another owner
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub copies: u32,
    /// Only providers that say this about themselves; can be given again
    #[arg(long = "attribute", value_name = "KEY=VALUE", value_parser = parse_attribute)]
    pub attributes: Vec<(String, String)>,
    /// Only if this auditor vouches for every --attribute; can be given again, and then all must
    #[arg(long = "signed-by-all", value_name = "ADDRESS")]
    pub signed_by_all: Vec<Address>,
    /// Only if one of these auditors vouches for every --attribute; can be given again
    #[arg(long = "signed-by-any", value_name = "ADDRESS")]
    pub signed_by_any: Vec<Address>,
    /// Least reputation, from 0 to 1; who was never checked has 0.5
    #[arg(long, value_name = "PART", value_parser = parse_fraction, default_value = "0")]
    pub reputation_min: Fraction,
    /// Whether copies must be in different regions: declared (as far as providers name theirs), required (only who names
    /// one; auditors must vouch for it, if there are any), any (no matter)
    #[arg(long, value_name = "RULE", default_value = "declared")]
    pub regions: Regions,
}

/// Whether copies must be in different regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Regions {
    /// As far as providers name theirs.
    Declared,
    /// And only providers that name one.
    Required,
    /// They do not matter.
    Any,
}

impl TermsArguments {
    /// What is asked of those who bid.
    pub fn requirements(&self) -> Requirements {
        let sorted = |auditors: &[Address]| auditors.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        Requirements {
            attributes: Attributes::new(self.attributes.iter().cloned()),
            signed_by_all: sorted(&self.signed_by_all),
            signed_by_any: sorted(&self.signed_by_any),
            reputation_min: self.reputation_min,
            regions: match self.regions {
                Regions::Declared => RegionRule::Declared,
                Regions::Required => RegionRule::Required,
                Regions::Any => RegionRule::Any,
            },
        }
    }
}

/// Arguments of `cairn order quote`.
#[derive(Debug, Args)]
#[command(before_long_help = "Example:
  cairn order quote ~/datasets/photos --duration 100000 --price-max 0.001 --key client.key
  cairn order quote ~/datasets/photos --duration 100000 --price-max 0.001 --copies 3 --regions required --reputation-min 0.7 \\
    --attribute disk=nvme --signed-by-any 77c1... --key client.key

The total is exact to the micro-unit if the order enters the next block, and nothing has to be topped up later.")]
pub struct OrderQuoteArguments {
    /// What to store.
    #[command(flatten)]
    pub terms: TermsArguments,
    /// Who would pay
    #[arg(long = "for", value_name = "ADDRESS", required_unless_present = "key")]
    pub payer: Option<Address>,
    /// Who would pay: the account of this key file
    #[arg(long, value_name = "FILE", conflicts_with = "payer")]
    pub key: Option<PathBuf>,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn order place`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn order place ~/datasets/photos --duration 100000 --price-max 0.001 --key client.key --store .cairn-client
  cairn order place ~/datasets/photos --duration 100000 --price-max 0.001 --key client.key --transfer-url http://data.example:8080

The first form serves the dataset itself until every copy is active, because providers fetch it; the second leaves that to a
gateway that has it already. An order for the same dataset that is still open, or has become deals, is taken up again instead
of being placed twice.")]
pub struct OrderPlaceArguments {
    /// What to store.
    #[command(flatten)]
    pub terms: TermsArguments,
    /// Folder that remembers datasets by reference, to serve them from where they are
    #[arg(long, value_name = "DIR", default_value = ".cairn-client", conflicts_with = "transfer_url")]
    pub store: PathBuf,
    /// Where to serve the dataset; port 0 is one of the system's choice
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0", conflicts_with = "transfer_url")]
    pub listen: SocketAddr,
    /// A gateway that serves the dataset already
    #[arg(long, value_name = "URL")]
    pub transfer_url: Option<String>,
    /// Longest wait for all copies to be active, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub active_within: u64,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn order list`.
#[derive(Debug, Args)]
pub struct OrderListArguments {
    /// Of this client alone
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<Address>,
    /// In this state alone: open, matched, closed
    #[arg(long, value_parser = ["open", "matched", "closed"])]
    pub state: Option<String>,
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn order show`.
#[derive(Debug, Args)]
pub struct OrderShowArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| super::ledger::parse_number("order-", text))]
    pub order: u64,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn order cancel`.
#[derive(Debug, Args)]
pub struct OrderCancelArguments {
    /// Its number
    #[arg(value_name = "N", value_parser = |text: &str| super::ledger::parse_number("order-", text))]
    pub order: u64,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}
