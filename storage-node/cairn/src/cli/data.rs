//! `cairn data`.

use std::path::PathBuf;

use cairn_encryption::Recipient;
use cairn_protocol::SectorSize;
use clap::{Args, Subcommand};

use super::OriginArguments;

/// Commands about datasets before and after the network has them.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Make an identity (age, X25519): who has its recipient can grant keys to you
    Identity(DataIdentityArguments),
    /// Encrypt a folder into a new one, which is then imported, stored and served like any other
    #[command(before_long_help = "Example:
  cairn data identity me.txt
  cairn data encrypt photos photos-encrypted --to age1...

Every file becomes frames of 1 MiB and 16 bytes, so that ranges and proofs work on the encrypted bytes. Names, folders and
lengths of files are not hidden. cairn-keys.json, at the top of the new folder, holds the key for each recipient.")]
    Encrypt(DataEncryptArguments),
    /// Decrypt an encrypted folder, or one file of it
    Decrypt(DataDecryptArguments),
    /// Put a dataset into a hot store, cut into the pieces that an order of it has, for `cairn gateway --store`
    #[command(before_long_help = "Examples:
  cairn data import photos --store store --sector-size 32GiB
  cairn gateway --store store

Files stay where they are. A gateway over the store serves pieces and proofs of their ranges beside the files.")]
    Import(DataImportArguments),
    /// Copy a dataset into an origin, from where any number of gateways serve it
    #[command(before_long_help = "Examples:
  cairn data publish photos --origin file:///srv/datasets
  cairn data publish photos --origin s3://datasets/ml --origin-settings origin.txt
  cairn gateway --origin s3://datasets/ml --origin-settings origin.txt

Every MiB is checked on its way. Interrupted, the same command goes on with the first file that is missing; gateways see the
dataset when all of it is there.")]
    Publish(DataPublishArguments),
    /// Add recipients to a key file; without another encryption, and for ever
    Grant(DataGrantArguments),
}

/// Arguments of `cairn data identity`.
#[derive(Debug, Args)]
pub struct DataIdentityArguments {
    /// The file to make, readable by its owner alone
    pub file: PathBuf,
}

/// Arguments of `cairn data encrypt`.
#[derive(Debug, Args)]
pub struct DataEncryptArguments {
    /// Folder to encrypt
    pub folder: PathBuf,
    /// Folder to make
    pub out: PathBuf,
    /// Recipient (age1..) who may read it; repeat for more. Yourself too: nothing else keeps the key
    #[arg(long = "to", value_name = "RECIPIENT", required = true)]
    pub recipients: Vec<Recipient>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn data decrypt`.
#[derive(Debug, Args)]
pub struct DataDecryptArguments {
    /// Encrypted folder or file
    pub source: PathBuf,
    /// Folder or file to make
    pub out: PathBuf,
    /// File of age identities, one of which was granted the key
    #[arg(long, value_name = "FILE")]
    pub identity: PathBuf,
    /// Key file [default: cairn-keys.json in the folder]
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn data import`.
#[derive(Debug, Args)]
pub struct DataImportArguments {
    /// File or folder to import
    pub source: PathBuf,
    /// The store; made if missing. Nobody else may have it open
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
    /// Pieces fill at most a sector of this size
    #[arg(long, value_name = "SIZE", default_value = "32GiB")]
    pub sector_size: SectorSize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn data publish`.
#[derive(Debug, Args)]
pub struct DataPublishArguments {
    /// File or folder to publish
    pub source: PathBuf,
    /// Where to.
    #[command(flatten)]
    pub origin: OriginArguments,
    /// Read back and compare what is there already
    #[arg(long)]
    pub recheck: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn data grant`.
#[derive(Debug, Args)]
pub struct DataGrantArguments {
    /// Key file, cairn-keys.json, to add to. The dataset's root changes with it; its other files do not
    pub keys: PathBuf,
    /// Recipient (age1..) to add; repeat for more
    #[arg(long = "to", value_name = "RECIPIENT", required = true)]
    pub recipients: Vec<Recipient>,
    /// File of age identities, one of which was granted the key
    #[arg(long, value_name = "FILE")]
    pub identity: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
