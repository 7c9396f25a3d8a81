//! Arguments of `cairn score`.

use cairn_ledger::Address;
use clap::{Args, Subcommand};

use super::ledger::RpcArguments;

/// `cairn score ...`
#[derive(Debug, Subcommand)]
pub enum ScoreCommand {
    /// List the scores of providers that checkers have judged
    List(ScoreListArguments),
    /// Show a provider's score, and what each checker last said of it
    Show(ScoreShowArguments),
    /// List checkers: stake, silence, and where their ballots stand
    Checkers(ScoreListArguments),
    /// Show a checker, its ballot and its stake that leaves
    Checker(ScoreCheckerArguments),
    /// List the audits of a round: whose receipts were drawn, whether they are opened, and what others say of them
    Audits(ScoreAuditsArguments),
    /// Show the round of now, and what earlier rounds still pay
    Rounds(ScoreListArguments),
}

/// Arguments of `cairn score list`, `cairn score checkers` and `cairn score rounds`.
#[derive(Debug, Args)]
pub struct ScoreListArguments {
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn score audits`.
#[derive(Debug, Args)]
pub struct ScoreAuditsArguments {
    /// The round that was measured; the one before this one if it is not given
    #[arg(long, value_name = "N")]
    pub round: Option<u64>,
    /// Most rows
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn score show`.
#[derive(Debug, Args)]
pub struct ScoreShowArguments {
    /// The provider's number
    #[arg(value_name = "PROVIDER")]
    pub provider: u64,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}

/// Arguments of `cairn score checker`.
#[derive(Debug, Args)]
pub struct ScoreCheckerArguments {
    /// The checker
    #[arg(value_name = "ADDRESS")]
    pub address: Address,
    /// The ledger.
    #[command(flatten)]
    pub ledger: RpcArguments,
}
