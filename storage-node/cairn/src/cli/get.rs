//! `cairn get`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `cairn get`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn get bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi --from http://127.0.0.1:8080 --out photos
  cairn get bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi/images/photos-000000.tar \\
      --from http://127.0.0.1:8080 --from http://127.0.0.1:8081 --out photos-000000.tar

A fetch that was interrupted continues when the same command runs again. Every MiB is checked against its CID before it counts.")]
pub struct GetArguments {
    /// What to fetch: the root CID of a dataset, and optionally a path in it
    #[arg(value_name = "CID[/PATH]")]
    pub what: String,
    /// Gateway to fetch from; repeat for more, which then share the work
    #[arg(long = "from", value_name = "URL", required = true)]
    pub sources: Vec<String>,
    /// Authorities to believe about the names of https gateways, in PEM form [default: those that browsers believe]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Where to put it: the folder or file to make
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Ranges in flight at once
    #[arg(long, value_name = "N")]
    pub parallel: Option<usize>,
    /// Failures in a row, per gateway, after which it is given up
    #[arg(long, value_name = "N")]
    pub retries: Option<u32>,
    /// Replace files that are there and different
    #[arg(long)]
    pub replace: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
