//! `cairn rail`.

use anyhow::Context;
use cairn_ledger::payments::RailId;
use cairn_ledger::{Command, DealId, RailCommand as Asked, RailTarget};
use cairn_protocol::{ProviderId, SectorNumber};
use cairn_rpc::client::RailFilter;
use cairn_rpc::wire::{Rail, RailAccount, RailState};

use super::session::{Session, first, more_line};
use super::table::{Table, facts};
use crate::cli::{RailCommand, RailListArguments, RailOpenArguments};

/// Runs the command.
pub fn run(command: RailCommand) -> anyhow::Result<()> {
    match command {
        RailCommand::List(arguments) => list(&arguments),
        RailCommand::Show(show) => {
            let session = Session::open(&show.ledger)?;
            let rail = session.client.rail(show.rail)?;
            let rail = rail.with_context(|| format!("the ledger has no rail-{}, or it is over", show.rail))?;
            session.output.print_as(&rail, || describe(&rail))
        }
        RailCommand::Account(account) => {
            let session = Session::open(&account.ledger)?;
            let account = session.client.rail_account(&account.address)?;
            session.output.print_as(&account, || describe_account(&account))
        }
        RailCommand::Deposit(deposit) => {
            let session = Session::open(&deposit.ledger)?;
            let account = match deposit.account {
                Some(account) => account,
                None => session.signer(&deposit.signer)?,
            };
            let what = format!("{} units for the rails of {account}", deposit.amount);
            session.act_and_tell(&deposit.signer, rails(Asked::Deposit { account, amount: deposit.amount }), &what)
        }
        RailCommand::Withdraw(withdraw) => {
            let what = format!("{} units are free", withdraw.amount);
            let command = rails(Asked::Withdraw { amount: withdraw.amount });
            Session::open(&withdraw.ledger)?.act_and_tell(&withdraw.signer, command, &what)
        }
        RailCommand::Open(open) => self::open(&open),
        RailCommand::Rate(change) => {
            let (rail, rate) = (RailId(change.rail), change.rate);
            let what = format!("{rail} streams {rate} units an epoch");
            Session::open(&change.ledger)?.act_and_tell(&change.signer, rails(Asked::ChangeRate { rail, rate }), &what)
        }
        RailCommand::Pay(pay) => {
            let (rail, amount) = (RailId(pay.rail), pay.amount);
            let what = format!("{rail} paid {amount} units at once");
            Session::open(&pay.ledger)?.act_and_tell(&pay.signer, rails(Asked::PayOnce { rail, amount }), &what)
        }
        RailCommand::Settle(one) => {
            let rail = RailId(one.rail);
            let what = format!("{rail} is settled");
            Session::open(&one.ledger)?.act_and_tell(&one.signer, rails(Asked::Settle { rail }), &what)
        }
        RailCommand::Terminate(one) => {
            let rail = RailId(one.rail);
            let what = format!("{rail} streams no more");
            Session::open(&one.ledger)?.act_and_tell(&one.signer, rails(Asked::Terminate { rail }), &what)
        }
    }
}

fn rails(command: Asked) -> Command {
    Command::Rail(command)
}

fn open(arguments: &RailOpenArguments) -> anyhow::Result<()> {
    let target = match (arguments.deal, arguments.provider, arguments.sector) {
        (Some(deal), _, _) => RailTarget::Deal(DealId(deal)),
        (None, Some(provider), Some(sector)) => {
            RailTarget::Sector { provider: ProviderId(provider), sector: SectorNumber(sector) }
        }
        _ => RailTarget::Nothing,
    };
    let command = rails(Asked::Open {
        payee: arguments.to,
        rate: arguments.rate,
        lockup_period: arguments.lockup_period,
        lockup_fixed: arguments.lockup_fixed,
        target,
    });
    let session = Session::open(&arguments.ledger)?;
    let Some(done) = session.act(&arguments.signer, command)? else { return Ok(()) };
    let number = done.receipt.number("Rail.Opened", "rail");
    let number = number.context("the ledger opened the rail but named none")?;
    session.tell(&done, &format!("rail-{number} streams {} units an epoch to {}", arguments.rate, arguments.to))
}

fn list(arguments: &RailListArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let filter = RailFilter { payer: arguments.payer, payee: arguments.payee };
    let (rails, more) = first(session.client.rails(&filter), arguments.limit)?;
    session.output.print_as(&rails, || {
        let mut table =
            Table::new(["rail", "state", "rate", "settled until", "unsettled", "funded until", "payer", "payee"]);
        for rail in &rails {
            table.row([
                rail.id.to_string(),
                state_name(rail.state).to_owned(),
                rail.rate.to_string(),
                rail.settled_until.to_string(),
                rail.unsettled.to_string(),
                rail.funded_until.or(rail.ends_at).map_or(String::new(), |epoch| epoch.to_string()),
                rail.payer.to_string(),
                rail.payee.to_string(),
            ]);
        }
        format!("{table}{}", more_line(more))
    })
}

fn state_name(state: RailState) -> &'static str {
    match state {
        RailState::Streaming => "streaming",
        RailState::Dry => "dry",
        RailState::Ending => "ending",
    }
}

fn describe(rail: &Rail) -> String {
    let bound = rail.provider.zip(rail.sector).map(|(provider, sector)| {
        let until = rail.counts_until.map_or(String::new(), |epoch| format!(", before epoch {epoch}"));
        format!("epochs in which sector {sector} of {provider} is proven{until}")
    });
    facts([
        ("rail", Some(rail.id.to_string())),
        ("state", Some(state_name(rail.state).to_owned())),
        ("payer", Some(rail.payer.to_string())),
        ("payee", Some(rail.payee.to_string())),
        ("rate", Some(format!("{} units an epoch", rail.rate))),
        ("counts", Some(bound.unwrap_or_else(|| "every epoch".to_owned()))),
        ("settled until", Some(format!("epoch {}", rail.settled_until))),
        ("unsettled", Some(format!("{} units", rail.unsettled))),
        ("funded until", rail.funded_until.map(|epoch| format!("epoch {epoch}, with all rails as they are"))),
        ("ends at", rail.ends_at.map(|epoch| format!("epoch {epoch}"))),
        ("locked", Some(format!("{} epochs of the rate, and {} units", rail.lockup_period, rail.lockup_fixed))),
    ])
}

fn describe_account(account: &RailAccount) -> String {
    facts([
        ("address", Some(account.address.to_string())),
        ("funds", Some(format!("{} units", account.funds))),
        ("locked", Some(format!("{} units", account.lockup))),
        ("free", Some(format!("{} units", account.free))),
        ("streams", Some(format!("{} units an epoch", account.rate))),
        ("funded until", account.funded_until.map(|epoch| format!("epoch {epoch}"))),
    ])
}
