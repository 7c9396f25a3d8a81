//! Arguments of `cairn provider accuse`.

use std::path::PathBuf;

use clap::Args;

use super::ledger::{RpcArguments, SignerArguments};

/// What `cairn provider accuse` takes.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cairn provider accuse 1000 --piece baga... --key my.key
  cairn provider accuse 1000 --piece baga... --at 500000000 --from http://another-provider:8480 --key my.key
  cairn provider accuse 1000 --piece baga... --copy piece.bin --key my.key

Asks the provider for the 1,040,384 bytes of the piece around each place, with its signature, and compares what it signed with what
the piece has there. If that is something else, the signed statement and a proof of 1 kB go to the ledger: the provider loses a part of
its collateral (serving in the ledger's parameters), and you get a part of that. The proof comes from whoever has one: the
accused itself, a gateway of --from, or your own copy; nobody is believed, it leads to the piece's CommP or it does not.

Bytes that are right, and an answer that is not signed, are said so and cost nothing; nothing is sent then.")]
pub struct AccuseArguments {
    /// Its number
    #[arg(value_name = "N")]
    pub provider: u64,
    /// The piece: a PieceCID of version 1 or 2
    #[arg(long, value_name = "CID")]
    pub piece: String,
    /// A byte of the piece; may be given several times
    #[arg(long = "at", value_name = "BYTE", default_value = "0")]
    pub places: Vec<u64>,
    /// A gateway that can say what the piece has there; may be given several times
    #[arg(long = "from", value_name = "URL")]
    pub witnesses: Vec<String>,
    /// The piece itself, as a file of its payload
    #[arg(long, value_name = "FILE")]
    pub copy: Option<PathBuf>,
    /// Ask this gateway, instead of the one that the ledger knows for the provider
    #[arg(long, value_name = "URL")]
    pub gateway: Option<String>,
    /// The signer.
    #[command(flatten)]
    pub signer: SignerArguments,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}
