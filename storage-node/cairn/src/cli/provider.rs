//! Arguments of `cairn provider run`.

use std::net::SocketAddr;
use std::path::PathBuf;

use cairn_protocol::{Amount, SectorSize};
use clap::Args;

use super::ledger::parse_amount;

/// What `cairn provider run` takes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cairn provider run --key provider.key --dir provider --register 100 --sector-size 8MiB
  cairn provider run --key provider.key --dir provider --rpc http://ledger.example:8440 --params params --listen 0.0.0.0:8480

Bids on orders, fetches what it won from the client, seals it, proves it once in every proving period, and serves it at
--listen. The ledger is asked over HTTP; transactions are signed here. Everything is kept under --dir: killed at any moment
and started again, it continues where it was, with the same transactions. While the ledger does not answer, what needs no
answer goes on, and the rest waits for it.

A key that has no provider registers one with --register. The parameters must be the network's, and others are refused at
the start. Collateral and deposits come from the account of --key: a deadline that is missed costs.")]
pub struct ProviderRunArguments {
    /// The ledger: what `cairn devnet --rpc` or a validator serves
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8440")]
    pub rpc: String,
    /// Key file of the provider's owner, readable by its owner alone; `cairn wallet new` makes one
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Folder of journal, sectors and hot copy; made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".provider")]
    pub dir: PathBuf,
    /// Which provider, if the key owns several
    #[arg(long, value_name = "N", conflicts_with = "register")]
    pub provider: Option<u64>,
    /// Register a provider with this collateral, in units, unless the key has one
    #[arg(long, value_name = "UNITS", value_parser = parse_amount, requires = "sector_size")]
    pub register: Option<Amount>,
    /// Size of its sectors, when it is registered
    #[arg(long, value_name = "SIZE", requires = "register")]
    pub sector_size: Option<SectorSize>,
    /// URL at which readers reach it, when it is registered [default: http:// and where it listens]
    #[arg(long, value_name = "URL", requires = "register")]
    pub endpoint: Option<String>,
    /// Where it serves what it stores; should stay the same, since readers know it from the ledger
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8480")]
    pub listen: SocketAddr,
    /// Folder of the proofs' parameters [default: $XDG_CACHE_HOME/cairn/params, or ~/.cache/cairn/params]
    #[arg(long, value_name = "DIR")]
    pub params: Option<PathBuf>,
    /// Price of each started MiB of a piece, in units per epoch
    #[arg(long, value_name = "UNITS", value_parser = parse_amount, default_value = "0.00001")]
    pub ask: Amount,
    /// Most deals that are bid for, or won and not sealed yet
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub in_hand: u32,
    /// Sectors that are worked on at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub parallel: u32,
    /// Threads for sealing; 0 means one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
}
