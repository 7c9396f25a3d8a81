//! `cairn grant`.

use std::path::PathBuf;

use cairn_ledger::Address;
use cid::Cid;
use clap::{Args, Subcommand};

/// Give and look at leave to read from a gateway.
#[derive(Debug, Subcommand)]
pub enum GrantCommand {
    /// Sign a token: what its bearer may read, how much, until when
    #[command(before_long_help = "Examples:
  cairn grant issue --key issuer.key --dataset bafy... --path train --bytes 500000000000 --days 30
  cairn grant issue --key issuer.key --dataset bafy... --days 1 --url https://gateway.example/data/bafy.../train/0.tar

A gateway takes it if its policy names the key's address (cairn gateway --access). Readers send it as
`Authorization: Bearer TOKEN`; programs that take a URL and nothing else get it in the URL, which --url prints.")]
    Issue(GrantIssueArguments),
    /// Check a token and print what it grants
    #[command(before_long_help = "Examples:
  cairn grant show v4.public.eyJ... --issuer 0f3a...")]
    Show {
        /// The token
        token: String,
        /// Address that must have signed it
        #[arg(long, value_name = "ADDRESS")]
        issuer: Address,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// What `cairn grant issue` takes.
#[derive(Debug, Args)]
pub struct GrantIssueArguments {
    /// Key file to sign with; `cairn wallet new` makes one
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Root CID of the dataset; without it, all that the gateway has
    #[arg(long, value_name = "CID")]
    pub dataset: Option<Cid>,
    /// File or folder in the dataset, with all below it; without it, the whole dataset
    #[arg(long, value_name = "PATH", requires = "dataset")]
    pub path: Option<String>,
    /// Most bytes that may be read with it in all; without it, as many as one likes
    #[arg(long, value_name = "N")]
    pub bytes: Option<u64>,
    /// Days until it is void
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub days: u64,
    /// Print this URL with the token in its query
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
