//! Arguments that every command with Groth16 keys takes.

use std::path::PathBuf;

use cairn_snark::Engine;
use clap::Args;

/// Whom to trust with keys.
#[derive(Debug, Clone, Copy, Args)]
pub struct TrustArguments {
    /// Refuse parameters other than the published ones; without it others are used, and said to be so
    #[arg(long)]
    pub published_only: bool,
}

/// How to make Groth16 proofs.
#[derive(Debug, Clone, Args)]
pub struct ProverArguments {
    /// Folder for converted keys and recorded matrices, made on first use [default: cairn-cache in the folder of --params]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Arithmetic: auto, ark, cpu
    #[arg(long, value_name = "BACKEND", default_value_t = Engine::Auto)]
    pub backend: Engine,
    /// Whom to trust.
    #[command(flatten)]
    pub trust: TrustArguments,
    /// Threads to compute with; 0 means one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
}
