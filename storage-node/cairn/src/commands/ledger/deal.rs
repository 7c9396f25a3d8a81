//! `cairn deal`.

use anyhow::{Context, anyhow};
use cairn_ledger::{Command, DealId};
use cairn_rpc::client::DealFilter;
use cairn_rpc::wire::{Deal, DealState};

use super::session::{Session, first, more_line};
use super::table::{Table, facts};
use crate::cli::{DealCommand, DealListArguments};

/// Runs the command.
pub fn run(command: DealCommand) -> anyhow::Result<()> {
    match command {
        DealCommand::List(arguments) => list(&arguments),
        DealCommand::Show(show) => {
            let session = Session::open(&show.ledger)?;
            let deal = session.client.deal(show.deal)?;
            let deal = deal.with_context(|| format!("the ledger has no deal-{}, or forgot it", show.deal))?;
            session.output.print_as(&deal, || describe(&deal))
        }
        DealCommand::Settle(settle) => {
            let command = Command::Settle { deal: DealId(settle.deal) };
            let session = Session::open(&settle.ledger)?;
            let Some(done) = session.act(&settle.signer, command)? else { return Ok(()) };
            let paid = done.receipt.number("DealSettled", "paid").map(cairn_protocol::Amount);
            let paid = paid.map_or(String::new(), |paid| format!(": {paid} units paid"));
            session.tell(&done, &format!("deal-{} settled{paid}", settle.deal))
        }
    }
}

fn list(arguments: &DealListArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let state = arguments.state.as_deref().map(|state| match state {
        "assigned" => Ok(DealState::Assigned),
        "bound" => Ok(DealState::Bound),
        "active" => Ok(DealState::Active),
        "closed" => Ok(DealState::Closed),
        other => Err(anyhow!("--state: {other:?}")),
    });
    let filter = DealFilter {
        client: arguments.client,
        provider: arguments.provider,
        order: arguments.order,
        state: state.transpose()?,
    };
    let (deals, more) = first(session.client.deals(&filter), arguments.limit)?;
    session.output.print_as(&deals, || format!("{}{}", table(&deals), more_line(more)))
}

/// Deals as rows.
pub fn table(deals: &[Deal]) -> Table {
    let mut table = Table::new(["deal", "order", "provider", "state", "rate", "paid", "escrow", "until"]);
    for deal in deals {
        let until = deal.end.or(deal.activate_by).or(deal.closure.as_ref().map(|closure| closure.epoch));
        table.row([
            deal.id.to_string(),
            deal.order.to_string(),
            deal.provider.0.to_string(),
            state_name(deal.state).to_owned(),
            deal.rate.to_string(),
            deal.paid.to_string(),
            deal.escrow.to_string(),
            until.map_or(String::new(), |until| until.to_string()),
        ]);
    }
    table
}

fn state_name(state: DealState) -> &'static str {
    match state {
        DealState::Assigned => "assigned",
        DealState::Bound => "bound",
        DealState::Active => "active",
        DealState::Closed => "closed",
    }
}

fn describe(deal: &Deal) -> String {
    facts([
        ("deal", Some(deal.id.to_string())),
        ("state", Some(state_name(deal.state).to_owned())),
        (
            "why",
            deal.closure.as_ref().map(|closure| format!("{} {} (epoch {})", closure.code, closure.text, closure.epoch)),
        ),
        ("order", Some(format!("{}, piece {}", deal.order, deal.piece_index))),
        ("client", Some(deal.client.to_string())),
        ("provider", Some(deal.provider.to_string())),
        ("sector", deal.sector.map(|sector| sector.to_string())),
        ("piece", Some(deal.piece.comm_p.to_string())),
        ("payload bytes", Some(deal.piece.payload_bytes.to_string())),
        ("rate", Some(format!("{} units an epoch", deal.rate))),
        ("paid", Some(format!("{} units", deal.paid))),
        ("escrow", Some(format!("{} units", deal.escrow))),
        ("active by", deal.activate_by.map(|epoch| format!("epoch {epoch}, or it closes"))),
        ("runs", deal.start.zip(deal.end).map(|(start, end)| format!("epoch {start} to {end}"))),
        ("settled until", deal.settled_until.map(|epoch| format!("epoch {epoch}"))),
    ])
}
