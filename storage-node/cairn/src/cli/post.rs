//! `cairn post`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use cairn_protocol::{PostRandomness, ProverId};
use cairn_sector::post::{ChallengeNumbering, PostKind};
use clap::{Args, Subcommand, ValueEnum};

use super::keys::{ProverArguments, TrustArguments};

/// Prove that sealed sectors are still there, and check such proofs, offline.
#[derive(Debug, Subcommand)]
pub enum PostCommand {
    /// Prove sealed sectors: a window proof of many, or a winning proof of one
    Prove(PostProveArguments),
    /// Check a proof; says what is wrong with it
    Verify(PostVerifyArguments),
}

/// Arguments of `cairn post prove`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn post prove --kind window --randomness 0303030303030303030303030303030303030303030303030303030303030303 \\
      --prover-id e807000000000000000000000000000000000000000000000000000000000000 \\
      --sector sector-7 --sector sector-8 --params params > post.json
  cairn post prove --kind winning --randomness HEX --prover-id HEX --sector sector-7 --params params --api-version 1.0.0

Prints a JSON object, with or without --json: kind, sector_size, api_version, prover_id, randomness, sectors, proof. Sectors are
proven in the order of their numbers, 192 bytes of proof for each partition (2 sectors; 2349 of 32GiB, 2300 of 64GiB).")]
pub struct PostProveArguments {
    /// Which proof: window, winning
    #[arg(long, value_name = "KIND")]
    pub kind: PostKindName,
    /// What the challenges come from: 32 bytes
    #[arg(long, value_name = "HEX")]
    pub randomness: PostRandomness,
    /// Whose sectors they are: 32 bytes
    #[arg(long, value_name = "HEX")]
    pub prover_id: ProverId,
    /// Folder of a sealed sector; repeat for more
    #[arg(long = "sector", value_name = "DIR", required = true)]
    pub sectors: Vec<PathBuf>,
    /// Folder of the parameters, under Filecoin's file names
    #[arg(long, value_name = "DIR")]
    pub params: PathBuf,
    /// Numbering of the challenges: 1.2.0 within each sector (a winning proof then shows one leaf 66 times), 1.0.0 across
    /// sectors (winning proofs on the network)
    #[arg(long, value_name = "VERSION", default_value_t = ApiVersion::V1_2_0)]
    pub api_version: ApiVersion,
    /// How to prove.
    #[command(flatten)]
    pub prover: ProverArguments,
    /// Print nothing but JSON on standard output (it is JSON anyway) and no summary on standard error
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `cairn post verify`.
#[derive(Debug, Args)]
#[command(before_long_help = "Examples:
  cairn post verify post.json --params params
  cairn post verify post.json --params /var/tmp/filecoin-proof-parameters --published-only --json

The file is what `cairn post prove` prints; the folder needs the circuit's verifying key only.")]
pub struct PostVerifyArguments {
    /// Proof with its statement
    pub file: PathBuf,
    /// Folder of the verifying keys, under Filecoin's file names
    #[arg(long, value_name = "DIR")]
    pub params: PathBuf,
    /// Whom to trust.
    #[command(flatten)]
    pub trust: TrustArguments,
    /// Print JSON: ok, and the reason when it is false
    #[arg(long)]
    pub json: bool,
}

/// A kind of proof as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PostKindName {
    /// Every sector of a partition.
    Window,
    /// One sector.
    Winning,
}

impl From<PostKindName> for PostKind {
    fn from(name: PostKindName) -> Self {
        match name {
            PostKindName::Window => Self::Window,
            PostKindName::Winning => Self::Winning,
        }
    }
}

/// The reference implementation's version of its rules; here it decides how challenges are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiVersion {
    /// Across sectors.
    V1_0_0,
    /// Across sectors.
    V1_1_0,
    /// Within each sector.
    V1_2_0,
}

impl ApiVersion {
    const ALL: [Self; 3] = [Self::V1_0_0, Self::V1_1_0, Self::V1_2_0];

    const fn name(self) -> &'static str {
        match self {
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
            Self::V1_2_0 => "1.2.0",
        }
    }

    /// How it numbers challenges.
    pub const fn numbering(self) -> ChallengeNumbering {
        match self {
            Self::V1_0_0 | Self::V1_1_0 => ChallengeNumbering::AcrossSectors,
            Self::V1_2_0 => ChallengeNumbering::WithinSector,
        }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ApiVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || format!("expected a version of {}, got {text:?}", Self::ALL.map(Self::name).join(", "));
        Self::ALL.into_iter().find(|version| version.name() == text).ok_or_else(unknown)
    }
}
