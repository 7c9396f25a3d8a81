//! `cairn tx`.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use cairn_ledger::{SignedTransaction, Transaction, TransactionId, codec};
use cairn_rpc::client::verify::Verified;
use cairn_rpc::wire::{self, Outcome, Receipt, TransactionState, TransactionStatus};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::session::{Done, Session, Unsigned};
use super::table::facts;
use super::verify;
use crate::cli::{TxCommand, TxSendArguments, TxShowArguments, TxSignArguments};
use crate::key_file::KeyFile;
use crate::output::Output;

/// Most bytes of a file with a transaction: twice the largest as hex digits, and the words beside it.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of a transaction that is signed here.
const TRANSACTION_BYTES_MAX: usize = 256 << 10;

/// What `tx sign` prints.
#[derive(Debug, Serialize, Deserialize)]
struct Signed {
    /// The signed transaction in canonical DAG-CBOR, as hex digits.
    signed: String,
    /// Its name.
    id: TransactionId,
}

/// Runs the command.
pub fn run(command: TxCommand) -> anyhow::Result<()> {
    match command {
        TxCommand::Show(arguments) => show(&arguments),
        TxCommand::Sign(arguments) => sign(&arguments),
        TxCommand::Send(arguments) => send(&arguments),
    }
}

/// A transaction, and why it is believed.
#[derive(Serialize)]
struct TransactionReport {
    #[serde(flatten)]
    status: TransactionStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Verified>,
}

fn show(arguments: &TxShowArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let id = arguments.id;
    let report = match verify::trust(&arguments.verify)? {
        Some(trust) => {
            let found = session.client.verified_transaction(&trust, &id)?;
            let (transaction, receipt, verified) =
                found.with_context(|| format!("the ledger has no block with transaction {id}, or forgot it"))?;
            verify::note(&verified);
            let (transaction, receipt) = (Some(transaction), Some(receipt));
            let status = TransactionStatus { id, state: TransactionState::InBlock, receipt, transaction };
            TransactionReport { status, verified: Some(verified) }
        }
        None => {
            let status = session.client.transaction(&id, Duration::ZERO)?;
            let status = status.with_context(|| format!("the ledger has no transaction {id}, or forgot it"))?;
            TransactionReport { status, verified: None }
        }
    };
    session.output.print_as(&report, || describe(&report))
}

fn sign(arguments: &TxSignArguments) -> anyhow::Result<()> {
    let place = || arguments.file.display().to_string();
    let Unsigned { unsigned, grade, .. } = read(&arguments.file)?;
    let bytes = hex::decode(&unsigned).with_context(place)?;
    let transaction: Transaction = codec::decode_strict(&bytes, TRANSACTION_BYTES_MAX).with_context(place)?;
    let key = KeyFile::read(&arguments.key)?;
    key.check_for(grade)?;
    let (expected, got) = (transaction.sender, key.address());
    ensure!(expected == got, "{}: the transaction is of {expected}, the key of {got}", place());
    // Said from the bytes that are signed, not from the words beside them.
    let told = wire::Transaction::of(&transaction);
    eprintln!("cairn: note: signing {} of {}, number {}: {}", told.kind, told.sender, told.nonce, fields(&told));
    let signed = transaction.sign(&key.key);
    let signed = Signed { id: signed.id(), signed: hex::encode(signed.encode()) };
    Output::Json.print_as(&signed, String::new)
}

fn send(arguments: &TxSendArguments) -> anyhow::Result<()> {
    let place = || arguments.file.display().to_string();
    let Signed { signed, id } = read(&arguments.file)?;
    let bytes = hex::decode(&signed).with_context(place)?;
    let signed = SignedTransaction::decode(&bytes, TRANSACTION_BYTES_MAX).with_context(place)?;
    ensure!(signed.id() == id, "{}: expected transaction {id}, got {}", place(), signed.id());
    let session = Session::open(&arguments.ledger)?;
    session.client.submit(&signed)?;
    let receipt = session.client.wait_for_receipt(&id, Duration::from_secs(arguments.timeout))?;
    if let Some(refusal) = &receipt.refusal {
        bail!("the ledger refuses transaction {id}: {}", refusal.text);
    }
    session.tell(&Done { transaction: id, receipt }, "sent")
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let mut text = String::new();
    let place = || path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open {}", place()))?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).with_context(place)?;
    ensure!(text.len() as u64 <= FILE_BYTES_MAX, "{}: expected at most {FILE_BYTES_MAX} bytes", place());
    serde_json::from_str(&text).with_context(place)
}

fn fields(transaction: &wire::Transaction) -> String {
    serde_json::to_string(&transaction.fields).unwrap_or_default()
}

fn describe(report: &TransactionReport) -> String {
    let TransactionReport { status, verified } = report;
    let outcome = |receipt: &Receipt| match (receipt.outcome, &receipt.refusal) {
        (Outcome::Applied, _) => "applied".to_owned(),
        (_, Some(refusal)) => format!("refused: {}", refusal.text),
        (_, None) => "refused".to_owned(),
    };
    let (receipt, asked) = (status.receipt.as_ref(), status.transaction.as_ref());
    let mut text = facts([
        ("transaction", Some(status.id.to_string())),
        ("outcome", Some(receipt.map_or("waits for a block".to_owned(), outcome))),
        ("block", receipt.map(|receipt| format!("{}, number {} in it", receipt.height, receipt.index))),
        ("verified", verified.as_ref().map(verify::describe)),
        ("sender", asked.map(|asked| asked.sender.to_string())),
        ("nonce", asked.map(|asked| asked.nonce.to_string())),
        ("command", asked.map(|asked| format!("{} {}", asked.kind, fields(asked)))),
    ]);
    for event in receipt.into_iter().flat_map(|receipt| &receipt.events) {
        text += &super::block::event_line(&event.kind, &event.fields);
    }
    text
}
