//! Arguments of `cairn prover`.

use std::path::PathBuf;

use cairn_protocol::{Amount, SectorSize};
use clap::Args;

use super::ledger::parse_amount;

/// What `cairn prover` takes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cairn wallet new --out prover.key
  cairn prover --rpc http://ledger.example:8440 --key prover.key --params params --sector-size 32GiB --price 0.002
  cairn prover --key prover.key --sector-size 8MiB --jobs 1

Takes proof jobs from a ledger and proves them on this machine, one after the other. A job is bid on only after its plain
proof was fetched and verified; a bid locks a bond from the account of --key. The ledger verifies the proof and pays in the
same step. Jobs are about replication, spacetime and, if the folder has parameters of that circuit too, sector updates. What is
in hand is kept under --dir: killed at any moment and started again, no proof is made twice.

The parameters must be the network's, and others are refused at the start. A machine that is too slow costs a quarter of the
bond: --epochs says how many epochs one proof may take here, and jobs that give less are left
to others.")]
pub struct ProveJobsArguments {
    /// The ledger: what `cairn devnet --rpc` or a validator serves
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8440")]
    pub rpc: String,
    /// Key file of the account that stakes bonds and is paid; `cairn wallet new` makes one
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Folder of the jobs in hand; made if it is not there
    #[arg(long, value_name = "DIR", default_value = ".prover")]
    pub dir: PathBuf,
    /// Sectors of this size alone
    #[arg(long, value_name = "SIZE", default_value = "8MiB")]
    pub sector_size: SectorSize,
    /// Folder of the proofs' parameters [default: $XDG_CACHE_HOME/cairn/params, or ~/.cache/cairn/params]
    #[arg(long, value_name = "DIR")]
    pub params: Option<PathBuf>,
    /// Asked for a million constraints, in units
    #[arg(long, value_name = "UNITS", default_value = "0.001", value_parser = parse_amount)]
    pub price: Amount,
    /// Highest bond for one job, in units
    #[arg(long, value_name = "UNITS", default_value = "1000", value_parser = parse_amount)]
    pub bond_max: Amount,
    /// Epochs that one proof may take on this machine
    #[arg(long, value_name = "N", default_value_t = 600)]
    pub epochs: u64,
    /// Jobs in hand at a time, bids included
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub in_hand: usize,
    /// Largest plain proof to fetch, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20)]
    pub witness_bytes_max: u64,
    /// Leave when this many jobs are paid
    #[arg(long, value_name = "N")]
    pub jobs: Option<u64>,
    /// Threads to prove with; 0 means one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
}
