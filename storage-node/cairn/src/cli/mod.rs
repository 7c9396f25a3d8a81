//! What can be typed. Values are parsed into protocol types here, so that a wrong one is named with its flag; what a command needs
//! beyond that (defaults that depend on other flags, files to open) is settled in [`crate::commands`].

mod accuse;
mod chain;
mod channel;
mod checker;
mod circuit;
mod data;
mod delegate;
mod devnet;
mod gateway;
mod get;
mod grant;
mod job;
mod keys;
mod ledger;
mod market;
mod order;
mod origin;
mod params;
mod piece;
mod post;
mod prover;
mod provider;
mod rail;
mod score;
mod sector;
mod sim;
mod validator;
mod wallet;

use clap::{Parser, Subcommand};

pub use accuse::AccuseArguments;
pub use chain::{
    BeliefArguments, BlockCommand, BlockFollowArguments, TxCommand, TxSendArguments, TxShowArguments, TxSignArguments,
};
pub use channel::{ChannelCloseArguments, ChannelCommand, ChannelVoucherArguments};
pub use checker::{CheckerCommand, CheckerRunArguments};
pub use circuit::CircuitCommand;
pub use data::{
    DataCommand, DataDecryptArguments, DataEncryptArguments, DataGrantArguments, DataIdentityArguments,
    DataImportArguments, DataPublishArguments,
};
pub use delegate::DelegateArguments;
pub use devnet::{DevnetArguments, SnarkSource};
pub use gateway::GatewayArguments;
pub use get::GetArguments;
pub use grant::{GrantCommand, GrantIssueArguments};
pub use job::JobCommand;
pub use keys::{ProverArguments, TrustArguments};
pub use ledger::{RpcArguments, SignerArguments};
pub use market::{DealCommand, DealListArguments, ProviderAttributesArguments, ProviderCommand, ProviderShowArguments};
pub use order::{
    OrderCommand, OrderListArguments, OrderPlaceArguments, OrderQuoteArguments, OrderShowArguments, TermsArguments,
};
pub use origin::OriginArguments;
pub use params::{KeyCircuit, ParamsCommand, ParamsListArguments, ParamsSetupArguments, ParamsVerifyArguments};
pub use piece::PieceCommand;
pub use post::{ApiVersion, PostCommand, PostProveArguments, PostVerifyArguments};
pub use prover::ProveJobsArguments;
pub use provider::ProviderRunArguments;
pub use rail::{RailCommand, RailListArguments, RailOpenArguments};
pub use score::ScoreCommand;
pub use sector::{ProveArguments, SealArguments, SectorCommand, UnsealArguments, VerifyArguments};
pub use sim::{EconomyArguments, LedgerArguments, ScaleArguments, SimCommand};
pub use validator::{
    ProofKeyArguments, Share, ValidatorCommand, ValidatorGenesisArguments, ValidatorInitArguments,
    ValidatorKeyArguments, ValidatorRunArguments,
};
pub use wallet::{DevnetRole, WalletBalanceArguments, WalletCommand};

/// Decentralised storage for AI data: seal it, prove it, serve it.
#[derive(Debug, Parser)]
#[command(
    name = "cairn",
    version,
    before_long_help = "Examples:
  cairn piece commit shard-000000.tar
  cairn sector seal --size 8MiB --seal-proof v1_1 --prover-id HEX --sector-number 7 --ticket HEX --piece shard-000000.tar --dir sector-7
  cairn params setup --circuit porep --sector-size 8MiB --params params
  cairn sector prove --dir sector-7 --seed HEX --params params --json > proof.json
  cairn sector verify proof.json --params params
  cairn gateway --data ~/datasets/photos"
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The roles and tools of the binary.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Work with pieces: what a client's payload is called on the network
    #[command(subcommand)]
    Piece(PieceCommand),
    /// Seal, prove, verify and unseal a sector, offline
    #[command(subcommand)]
    Sector(SectorCommand),
    /// Prove that sealed sectors are still there, and check such proofs, offline
    #[command(subcommand)]
    Post(PostCommand),
    /// Make, list and check the parameters that Groth16 proofs need
    #[command(subcommand)]
    Params(ParamsCommand),
    /// Look at the circuits behind the proofs
    #[command(subcommand)]
    Circuit(CircuitCommand),
    /// Fetch a dataset or one of its files, verifying every block
    Get(GetArguments),
    /// Encrypt datasets before they leave this machine, and grant others the key
    #[command(subcommand)]
    Data(DataCommand),
    /// Serve folders, files and CAR archives over HTTP, without a ledger
    Gateway(Box<GatewayArguments>),
    /// Give and look at leave to read from a gateway
    #[command(subcommand)]
    Grant(GrantCommand),
    /// Run a whole network on this machine, for development
    Devnet(DevnetArguments),
    /// Make keys, ask what an account has, send money
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// Order storage
    #[command(subcommand)]
    Order(OrderCommand),
    /// Look at deals, and settle them
    #[command(subcommand)]
    Deal(DealCommand),
    /// Look at providers, register one, and be one
    #[command(subcommand)]
    Provider(ProviderCommand),
    /// Stream money to somebody, for storage that is proven or for anything else
    #[command(subcommand)]
    Rail(RailCommand),
    /// Pay somebody for each request, with vouchers that the ledger need not see
    #[command(subcommand)]
    Channel(ChannelCommand),
    /// Look at how well providers serve, and at those who check it
    #[command(subcommand)]
    Score(ScoreCommand),
    /// Check how well providers serve, for a part of what is minted
    #[command(subcommand)]
    Checker(CheckerCommand),
    /// Look at proof jobs, and take one's own back
    #[command(subcommand)]
    Job(JobCommand),
    /// Take proof jobs from a ledger and prove them on this machine, for money
    Prover(ProveJobsArguments),
    /// Look at transactions, sign and send them
    #[command(subcommand)]
    Tx(TxCommand),
    /// Look at blocks, and follow what happens
    #[command(subcommand)]
    Block(BlockCommand),
    /// Decide blocks: make keys and a genesis, and run one of several validators
    #[command(subcommand)]
    Validator(ValidatorCommand),
    /// Play the ledger and its economy from a seed: promises under attack, blocks over large states, ten years of money
    #[command(subcommand)]
    Sim(SimCommand),
}

/// A usage error as one line: clap's message without its usage and hints.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let message = text.split("\n\n").next().unwrap_or_default();
    message.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_wrong_value_is_named_with_its_flag_in_one_line() {
        let error = Arguments::try_parse_from(["cairn", "sector", "prove", "--dir", "d", "--seed", "abc", "--vanilla"])
            .unwrap_err();
        let expected = "invalid value 'abc' for '--seed <HEX>': expected 64 hex digits (32 bytes), got 3 characters";
        assert_eq!(one_line(&error), expected);
    }
}
