//! `cairn channel`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use cairn_ledger::Command;
use cairn_ledger::payments::{ChannelId, SignedVoucher, Voucher};
use cairn_protocol::ProviderId;
use cairn_rpc::wire::{Channel, ChannelState};

use super::session::{Session, first, more_line};
use super::table::{Table, facts};
use crate::cli::{ChannelCloseArguments, ChannelCommand, ChannelPromiseArguments};
use crate::key_file::KeyFile;

/// Nothing longer is a voucher.
const VOUCHER_BYTES_MAX: u64 = 4096;

/// Runs the command.
pub fn run(command: ChannelCommand) -> anyhow::Result<()> {
    match command {
        ChannelCommand::List(list) => {
            let session = Session::open(&list.ledger)?;
            let (channels, more) = first(session.client.channels(), list.limit)?;
            session.output.print_as(&channels, || format!("{}{}", table(&channels), more_line(more)))
        }
        ChannelCommand::Show(show) => {
            let session = Session::open(&show.ledger)?;
            let channel = known(&session, show.channel)?;
            session.output.print_as(&channel, || describe(&channel))
        }
        ChannelCommand::Open(open) => {
            let session = Session::open(&open.ledger)?;
            let command = Command::OpenChannel { payee: open.to, deposit: open.deposit };
            let Some(done) = session.act(&open.signer, command)? else { return Ok(()) };
            let number = done.receipt.number("ChannelOpened", "channel");
            let number = number.context("the ledger opened the channel but named none")?;
            session.tell(&done, &format!("channel-{number} holds {} units for {}", open.deposit, open.to))
        }
        ChannelCommand::TopUp(more) => {
            let (channel, amount) = (ChannelId(more.channel), more.amount);
            let what = format!("{amount} units more in {channel}");
            let command = Command::TopUpChannel { channel, amount };
            Session::open(&more.ledger)?.act_and_tell(&more.signer, command, &what)
        }
        ChannelCommand::Promise(promise) => self::promise(&promise),
        ChannelCommand::Redeem(redeem) => {
            let signed = read_voucher(&redeem.voucher)?;
            let what = format!("{} has paid {} units in all", signed.voucher.channel, signed.voucher.cumulative);
            let command = Command::RedeemVoucher(signed);
            Session::open(&redeem.ledger)?.act_and_tell(&redeem.signer, command, &what)
        }
        ChannelCommand::Bind(bind) => {
            let (channel, provider) = (ChannelId(bind.channel), ProviderId(bind.provider));
            let what = format!("{channel} pays for the service of {provider}");
            let command = Command::BindChannel { channel, provider };
            Session::open(&bind.ledger)?.act_and_tell(&bind.signer, command, &what)
        }
        ChannelCommand::Close(close) => self::close(&close),
    }
}

fn known(session: &Session, channel: u64) -> anyhow::Result<Channel> {
    let known = session.client.channel(channel)?;
    known.with_context(|| format!("the ledger has no channel-{channel}, or forgot it"))
}

/// The payee's wish is done at once, the payer's takes a delay.
fn close(arguments: &ChannelCloseArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let id = ChannelId(arguments.channel);
    let (own, known) = (session.signer(&arguments.signer)?, known(&session, id.0)?);
    let (command, what) = match own == known.payer && known.state == ChannelState::Open {
        true => (Command::StartCloseChannel { channel: id }, format!("{id} closes by itself after the delay")),
        false => (Command::CloseChannel { channel: id }, format!("{id} is closed; the rest is with {}", known.payer)),
    };
    session.act_and_tell(&arguments.signer, command, &what)
}

fn promise(arguments: &ChannelPromiseArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let key = KeyFile::read(&arguments.key)?;
    let network = session.client.network()?;
    key.check_for(network.grade)?;
    let known = known(&session, arguments.channel)?;
    ensure!(known.payer == key.address(), "{} is paid by {}, the key is of {}", known.id, known.payer, key.address());
    let voucher = Voucher { channel: known.id, cumulative: arguments.total };
    let signed = voucher.sign(network.chain, &key.key);
    session.output.print_as(&signed, || serde_json::to_string(&signed).expect("numbers and hex digits"))
}

fn read_voucher(path: &Path) -> anyhow::Result<SignedVoucher> {
    let place = || path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open {}", place()))?;
    let mut bytes = Vec::new();
    file.take(VOUCHER_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(place)?;
    ensure!(bytes.len() as u64 <= VOUCHER_BYTES_MAX, "{}: expected at most {VOUCHER_BYTES_MAX} bytes", place());
    serde_json::from_slice(&bytes).with_context(place)
}

fn table(channels: &[Channel]) -> Table {
    let mut table = Table::new(["channel", "state", "held", "redeemed", "provider", "payer", "payee"]);
    for channel in channels {
        table.row([
            channel.id.to_string(),
            state_name(channel.state).to_owned(),
            channel.held.to_string(),
            channel.redeemed.to_string(),
            channel.provider.map_or(String::new(), |provider| provider.0.to_string()),
            channel.payer.to_string(),
            channel.payee.to_string(),
        ]);
    }
    table
}

fn describe(channel: &Channel) -> String {
    facts([
        ("channel", Some(channel.id.to_string())),
        ("payer", Some(channel.payer.to_string())),
        ("payee", Some(channel.payee.to_string())),
        ("held", Some(format!("{} units", channel.held))),
        ("redeemed", Some(format!("{} units", channel.redeemed))),
        ("pays for", channel.provider.map(|provider| format!("the service of {provider}"))),
        ("state", Some(state_name(channel.state).to_owned())),
        ("closes at", channel.closes_at.map(|epoch| format!("epoch {epoch}"))),
    ])
}

fn state_name(state: ChannelState) -> &'static str {
    match state {
        ChannelState::Open => "open",
        ChannelState::Closing => "closing",
        ChannelState::Closed => "closed",
    }
}
