//! One command's talk with a ledger: asked over HTTP, signed here.

use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use cairn_ledger::{Address, Command, Transaction, TransactionId, codec};
use cairn_rpc::wire::{self, NetworkGrade, Receipt};
use cairn_rpc::{ClientError, ClientOptions, RpcClient};
use serde::{Deserialize, Serialize};

use super::table::facts;
use crate::cli::{RpcArguments, SignerArguments};
use crate::key_file::KeyFile;
use crate::output::Output;

/// See the module.
pub struct Session {
    /// Asks.
    pub client: RpcClient,
    /// Prints.
    pub output: Output,
}

/// A transaction that somebody else shall sign.
#[derive(Debug, Serialize, Deserialize)]
pub struct Unsigned {
    /// The transaction in canonical DAG-CBOR, as hex digits. Everything else says the same in words.
    pub unsigned: String,
    /// What the network is for, as the ledger said.
    pub grade: NetworkGrade,
    /// What is asked.
    pub transaction: wire::Transaction,
}

/// What became of a command.
#[derive(Debug, Serialize)]
pub struct Done {
    /// The transaction.
    pub transaction: TransactionId,
    /// Its record.
    pub receipt: Receipt,
}

impl Session {
    /// Asks nothing yet.
    pub fn open(arguments: &RpcArguments) -> anyhow::Result<Self> {
        let client = RpcClient::new(&arguments.rpc, ClientOptions::default()).context("--rpc")?;
        Ok(Self { client, output: Output::from_flag(arguments.json) })
    }

    /// The key of a signer, if it may sign for this ledger's network.
    pub fn key(&self, signer: &SignerArguments) -> anyhow::Result<Option<KeyFile>> {
        let Some(path) = &signer.key else { return Ok(None) };
        let key = KeyFile::read(path)?;
        key.check_for(self.client.network()?.grade)?;
        Ok(Some(key))
    }

    /// Whose transactions a signer makes.
    ///
    /// # Errors
    /// A key file that cannot be read, or may not sign here.
    pub fn signer(&self, signer: &SignerArguments) -> anyhow::Result<Address> {
        match (self.key(signer)?, signer.unsigned_for) {
            (Some(key), _) => Ok(key.address()),
            (None, Some(address)) => Ok(address),
            (None, None) => Err(anyhow!("expected --key or --unsigned-for")),
        }
    }

    /// Signs, hands in and waits; or prints the unsigned transaction and gives nothing.
    ///
    /// # Errors
    /// The ledger's reason, or that it cannot be asked.
    pub fn act(&self, signer: &SignerArguments, command: Command) -> anyhow::Result<Option<Done>> {
        let network = self.client.network()?;
        match self.key(signer)? {
            Some(KeyFile { key, .. }) => {
                let timeout = Duration::from_secs(signer.timeout);
                let (transaction, receipt) = self.client.carry_out(network.chain, &key, &command, timeout)?;
                Ok(Some(Done { transaction, receipt }))
            }
            None => {
                let sender = signer.unsigned_for.context("--key or --unsigned-for says whose transaction it is")?;
                let nonce = self.client.account(&sender)?.next_nonce;
                let transaction = Transaction { chain: network.chain, sender, nonce, command };
                let unsigned = Unsigned {
                    unsigned: hex::encode(codec::encode(&transaction)),
                    grade: network.grade,
                    transaction: wire::Transaction::of(&transaction),
                };
                self.output.print_as(&unsigned, || unsigned.unsigned.clone())?;
                Ok(None)
            }
        }
    }

    /// Acts, and prints the receipt.
    ///
    /// # Errors
    /// As [`Session::act`].
    pub fn act_and_tell(&self, signer: &SignerArguments, command: Command, what: &str) -> anyhow::Result<()> {
        match self.act(signer, command)? {
            Some(done) => self.tell(&done, what),
            None => Ok(()),
        }
    }

    /// Prints what became of a command; `what` says it in words.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn tell(&self, done: &Done, what: &str) -> anyhow::Result<()> {
        self.output.print_as(done, || {
            let place = format!("{} in block {}", done.transaction, done.receipt.height);
            facts([("done", Some(what.to_owned())), ("transaction", Some(place))])
        })
    }
}

/// The first items of a list, and whether there are more.
pub fn first<T>(items: impl Iterator<Item = Result<T, ClientError>>, limit: usize) -> anyhow::Result<(Vec<T>, bool)> {
    ensure!(limit > 0, "--limit: expected at least 1, got 0");
    let mut some = items.take(limit.saturating_add(1)).collect::<Result<Vec<_>, _>>()?;
    let more = some.len() > limit;
    some.truncate(limit);
    Ok((some, more))
}

/// Says that a list was cut.
pub fn more_line(more: bool) -> &'static str {
    if more { "... and more: --limit shows them\n" } else { "" }
}
