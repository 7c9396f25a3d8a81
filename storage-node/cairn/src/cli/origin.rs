//! Which origin a command means: a folder or bucket that gateways share.

use std::path::PathBuf;

use cairn_origin::OriginAddress;
use clap::Args;

/// An origin, and what opens it.
#[derive(Debug, Args)]
pub struct OriginArguments {
    /// Folder or bucket that gateways share: file:///FOLDER or s3://BUCKET[/PREFIX]
    #[arg(long, value_name = "URL")]
    pub origin: Option<OriginAddress>,
    /// Settings of an S3 origin, one a line: endpoint URL, region NAME, access-key KEY, secret-key KEY. Nobody else may be able
    /// to read the file
    #[arg(long, value_name = "FILE", requires = "origin")]
    pub origin_settings: Option<PathBuf>,
}
