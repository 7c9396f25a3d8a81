//! Arguments of `cairn validator`.

use std::net::SocketAddr;
use std::path::PathBuf;

use cairn_consensus::{Checkpoint, Network};
use cairn_ledger::Address;
use cairn_protocol::SectorSize;
use clap::{Args, Subcommand};

/// Decide blocks: make keys and a genesis, and run one of several validators.
#[derive(Debug, Subcommand)]
#[command(before_long_help = "Examples:
  cairn validator init --dir net --validators 4
  cairn validator run --dir net/validator-0

A network across machines: everybody makes a key, one writes the genesis from the addresses, everybody runs it:
  cairn validator key --dir v
  cairn validator genesis --out genesis.json --name lab --validator ADDRESS=100 --validator ADDRESS=100 --allocation ADDRESS=1000
  cairn validator run --dir v --genesis genesis.json --listen 10.0.0.1:7000 --peer 10.0.0.2:7000")]
pub enum ValidatorCommand {
    /// Make the folders of a development network of validators on this machine
    Init(ValidatorInitArguments),
    /// Make a validator's key and print its address
    Key(ValidatorKeyArguments),
    /// Write a genesis from addresses
    Genesis(ValidatorGenesisArguments),
    /// Run one validator until it is told to stop
    Run(Box<ValidatorRunArguments>),
}

/// Money of somebody at the start.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    /// Whose.
    pub address: Address,
    /// Whole units.
    pub units: u64,
}

fn share(text: &str) -> Result<Share, String> {
    let expected = || format!("expected ADDRESS=UNITS, got {text:?}");
    let (address, units) = text.split_once('=').ok_or_else(expected)?;
    let address = address.parse().map_err(|error| format!("{error}"))?;
    Ok(Share { address, units: units.parse().map_err(|_| expected())? })
}

fn network(text: &str) -> Result<Network, String> {
    match text {
        "development" => Ok(Network::Development),
        "production" => Ok(Network::Production),
        _ => Err(format!("expected development or production, got {text:?}")),
    }
}

/// The proofs that a network takes.
#[derive(Debug, Clone, Args)]
pub struct ProofKeyArguments {
    /// Folder of the proofs' parameters; of these, validators read the verifying keys alone. Without it the network takes no
    /// sectors
    #[arg(long, value_name = "DIR", requires = "sector_size")]
    pub params: Option<PathBuf>,
    /// Size of the sectors that the network takes
    #[arg(long, value_name = "SIZE", requires = "params")]
    pub sector_size: Option<SectorSize>,
    /// Take updates of sealed sectors too: the folder has the key of that circuit
    #[arg(long, requires = "sector_size")]
    pub updates: bool,
}

/// Arguments of `cairn validator init`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn validator init --dir net --validators 4
  cairn validator init --dir net --validators 4 --allocation ADDRESS=1000 --params params --sector-size 2KiB --json
  cairn validator init --dir net --validators 4 --host 10.0.0.1 --host 10.0.0.2 --host 10.0.0.3 --host 10.0.0.4 --port 7000

Makes DIR/validator-0, DIR/validator-1 and so on, each with its key, the genesis, and where the others are. Copy a folder to
the machine that it is for. All keys were made in one place, and the beacon can be predicted: development grade.")]
pub struct ValidatorInitArguments {
    /// Folder of the network; made, and must not hold one
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub validators: u32,
    /// A name for people
    #[arg(long, value_name = "NAME", default_value = "development")]
    pub name: String,
    /// Stake of each, in whole units
    #[arg(long, value_name = "UNITS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub stake: u64,
    /// Money at the start; may be given several times
    #[arg(long, value_name = "ADDRESS=UNITS", value_parser = share)]
    pub allocation: Vec<Share>,
    /// Where each validator is, once for each; without it all are on loopback
    #[arg(long, value_name = "IP")]
    pub host: Vec<std::net::IpAddr>,
    /// First of two ports of each validator, for peers and for snapshots; each further one on the same host has the next two.
    /// 0: free ports of this machine
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// The proofs that it takes.
    #[command(flatten)]
    pub proofs: ProofKeyArguments,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn validator key`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn validator key --dir v

Writes DIR/validator.key, readable by its owner alone, and prints the address. Whoever has the key can vote, and lose the
stake by voting twice: it must never be in use on two machines.")]
pub struct ValidatorKeyArguments {
    /// Folder of the validator; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn validator genesis`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn validator genesis --out genesis.json --name lab --validator ADDRESS=100 --allocation ADDRESS=1000
  cairn validator genesis --out genesis.json --name main --network production --validator ADDRESS=1000000

A production network has drand's quicknet as its beacon and mainnet's parameters; it takes published parameters of proofs
alone, and no keys that `cairn validator init` made.")]
pub struct ValidatorGenesisArguments {
    /// File to write; must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// A name for people
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// development or production
    #[arg(long, value_name = "GRADE", default_value = "development", value_parser = network)]
    pub network: Network,
    /// A validator and its stake; at least one
    #[arg(long, value_name = "ADDRESS=UNITS", value_parser = share, required = true)]
    pub validator: Vec<Share>,
    /// Money at the start; may be given several times
    #[arg(long, value_name = "ADDRESS=UNITS", value_parser = share)]
    pub allocation: Vec<Share>,
    /// The proofs that it takes.
    #[command(flatten)]
    pub proofs: ProofKeyArguments,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn validator run`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn validator run --dir net/validator-0
  cairn validator run --dir v --genesis genesis.json --listen 10.0.0.1:7000 --peer 10.0.0.2:7000 --peer 10.0.0.3:7000
  cairn validator run --dir late --genesis genesis.json --peer 10.0.0.2:7000 --observe \\
      --checkpoint 12800:BLOCK --snapshot-from 10.0.0.2:7001

Blocks and state are kept under DIR/ledger; killed at any moment and started again, it goes on where it was. One that was
away for so long that nobody has the blocks it needs takes a snapshot, or says which checkpoint it needs. From time to
time it prints a checkpoint, HEIGHT:BLOCK: whoever joins later and trusts you starts from there with --checkpoint.")]
pub struct ValidatorRunArguments {
    /// Folder of the validator
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The network's genesis [default: genesis.json in --dir]
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// Where peers connect [default: as `init` wrote it; else a port of the system's choice if there are peers]
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Another validator; may be given several times [default: as `init` wrote them]
    #[arg(long, value_name = "IP:PORT")]
    pub peer: Vec<SocketAddr>,
    /// Serve the ledger over HTTP there, for `cairn wallet`, `cairn order` and the like; without TLS
    #[arg(long, value_name = "IP:PORT")]
    pub rpc: Option<SocketAddr>,
    /// Where late nodes may take snapshots [default: as `init` wrote it; else nowhere]
    #[arg(long, value_name = "IP:PORT")]
    pub snapshots: Option<SocketAddr>,
    /// Follow without a key and without a vote
    #[arg(long)]
    pub observe: bool,
    /// What to believe when blocks are no longer to be had: HEIGHT:BLOCK or validators:ROOT, from somebody you trust. Without
    /// it, the own last block is believed while the stake of those who decided it is locked for sure
    #[arg(long, value_name = "CHECKPOINT")]
    pub checkpoint: Option<Checkpoint>,
    /// Where to take a snapshot; may be given several times [default: the others, as `init` wrote them]
    #[arg(long, value_name = "IP:PORT")]
    pub snapshot_from: Vec<SocketAddr>,
    /// Folder of the proofs' parameters, if the network takes proofs
    #[arg(long, value_name = "DIR")]
    pub params: Option<PathBuf>,
    /// A relay of drand, for a network whose beacon is drand; may be given several times [default: the public relays, unless
    /// it only observes]
    #[arg(long, value_name = "URL", conflicts_with = "drand_rounds")]
    pub drand_url: Vec<String>,
    /// Certificates of authorities (PEM) to believe about https relays, instead of those that browsers believe
    #[arg(long, value_name = "FILE", requires = "drand_url")]
    pub drand_ca: Option<PathBuf>,
    /// Recorded rounds of drand, as JSON, instead of a relay
    #[arg(long, value_name = "FILE")]
    pub drand_rounds: Option<PathBuf>,
    /// Milliseconds between blocks, on a development network alone; validators should agree on it [default: as the genesis
    /// says: 100 for development, 30 000 for production]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=600_000))]
    pub block_ms: Option<u64>,
    /// Blocks to keep, beside the state
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub history_blocks: u64,
    /// Mebibytes of blocks to keep at most
    #[arg(long, value_name = "MIB", default_value_t = 16_384, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub history_mib: u64,
    /// Offer the state of every so manyth block
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..))]
    pub snapshot_every: u64,
}
