//! `cairn piece`.

use std::path::PathBuf;

use clap::Subcommand;

/// Work with pieces.
#[derive(Debug, Subcommand)]
pub enum PieceCommand {
    /// Print the commitment and both CIDs of a file, whatever its length
    #[command(before_long_help = "Examples:
  cairn piece commit shard-000000.tar
  cairn piece commit --json shard-000000.tar")]
    Commit {
        /// File to commit to; zeros fill it up to the next piece size (127 * 2^k bytes)
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
