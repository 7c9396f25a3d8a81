//! Arguments of `cairn provider delegate`.

use std::path::PathBuf;

use cairn_ledger::Address;
use clap::Args;

use super::ledger::RpcArguments;

/// Arguments of `cairn provider delegate`.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  cairn wallet new --out gateway.key              # where the gateway runs; say its address to the owner
  cairn provider delegate 1000 --to ADDRESS --epochs 2880 --key provider.key --out gateway.leave
  cairn gateway --store store --sign-for 1000 --sign-key gateway.key --sign-leave gateway.leave --sign-rpc http://127.0.0.1:8080

So the owner's key, which moves money, stays away from the machine that faces the network. What the gateway's key signs is the
owner's word until the leave ends, and costs the owner if it is false; it cannot be taken back before, so give it for days, not years, and
renew it. The ledger is asked who owns the provider, and for the epoch; nothing is sent to it.")]
pub struct DelegateArguments {
    /// Its number
    #[arg(value_name = "N")]
    pub provider: u64,
    /// Address of the key that is to sign
    #[arg(long, value_name = "ADDRESS")]
    pub to: Address,
    /// For so many epochs from now
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub epochs: u64,
    /// Key file of the provider's owner
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Write the leave here; never replaces a file. It is no secret
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}
