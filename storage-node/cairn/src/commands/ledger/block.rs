//! `cairn block`.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use cairn_protocol::Epoch;
use cairn_rpc::client::StreamedEvent;
use cairn_rpc::client::verify::Verified;
use cairn_rpc::wire::Block;
use serde::Serialize;
use serde_json::{Map, Value};

use super::session::{Session, first, more_line};
use super::table::{Table, facts};
use super::verify;
use crate::cli::{BlockCommand, BlockFollowArguments};
use crate::output::Output;

/// A block, and why it is believed.
#[derive(Serialize)]
struct BlockReport {
    #[serde(flatten)]
    block: Block,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<Verified>,
}

/// Runs the command.
pub fn run(command: BlockCommand) -> anyhow::Result<()> {
    match command {
        BlockCommand::Show(show) => {
            let session = Session::open(&show.ledger)?;
            let height = match show.height {
                Some(height) => Epoch(height),
                None => session.client.head()?.height,
            };
            let report = match verify::trust(&show.verify)? {
                Some(trust) => {
                    let (block, verified) = session.client.verified_block(&trust, height)?;
                    verify::note(&verified);
                    BlockReport { block, verified: Some(verified) }
                }
                None => BlockReport { block: session.client.block(height)?, verified: None },
            };
            session.output.print_as(&report, || describe(&report))
        }
        BlockCommand::List(list) => {
            let session = Session::open(&list.ledger)?;
            let (blocks, more) = first(session.client.blocks(), list.limit)?;
            session.output.print_as(&blocks, || {
                let mut table = Table::new(["block", "time, ms", "transactions", "proposer", "name"]);
                for block in &blocks {
                    let header = &block.header;
                    let (proposer, name) = (header.proposer.to_string(), header.id.to_string());
                    let count = block.transactions.to_string();
                    table.row([header.height.to_string(), header.time_ms.to_string(), count, proposer, name]);
                }
                format!("{table}{}", more_line(more))
            })
        }
        BlockCommand::Follow(arguments) => follow(&arguments),
    }
}

fn describe(report: &BlockReport) -> String {
    let BlockReport { block, verified } = report;
    let header = &block.header;
    let decided = block
        .commit
        .as_ref()
        .map(|commit| format!("in round {} by {} signature(s)", commit.round, commit.signatures.len()));
    let mut text = facts([
        ("block", Some(header.height.to_string())),
        ("name", Some(header.id.to_string())),
        ("parent", Some(header.parent.to_string())),
        ("time, ms", Some(header.time_ms.to_string())),
        ("proposer", Some(header.proposer.to_string())),
        ("decided", decided),
        ("verified", verified.as_ref().map(verify::describe)),
        ("state root", Some(header.state_root.to_string())),
        ("transactions", Some(block.transactions.len().to_string())),
    ]);
    for id in &block.transactions {
        text += &format!("  {id}\n");
    }
    text
}

/// An event in one line.
pub fn event_line(kind: &str, fields: &Map<String, Value>) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
    format!("  {kind} {}\n", fields.join(" "))
}

/// A line of `block follow --json`.
#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Event(cairn_rpc::events::EventData),
    Block(cairn_rpc::events::BlockData),
}

fn follow(arguments: &BlockFollowArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let events = session.client.events(arguments.after, arguments.blocks);
    let mut stdout = io::stdout().lock();
    for told in events.take(arguments.limit.unwrap_or(usize::MAX)) {
        let line = match told? {
            StreamedEvent::Event(data) => Line::Event(data),
            StreamedEvent::Block(data) => Line::Block(data),
        };
        let text = match (session.output, &line) {
            (Output::Json, line) => serde_json::to_string(line).context("cannot write JSON")? + "\n",
            (Output::Text, Line::Event(data)) => {
                format!("{}:{}{}", data.height, data.index, event_line(&data.event.kind, &data.event.fields))
            }
            (Output::Text, Line::Block(data)) => format!("{}  {} event(s)\n", data.height, data.events),
        };
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            // A reader that closed the pipe got what it wanted.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("cannot write to standard output")?,
        }
    }
    Ok(())
}
