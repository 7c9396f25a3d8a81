//! `cairn provider`.

use anyhow::{Context, ensure};
use cairn_ledger::Command;
use cairn_protocol::ProviderId;
use cairn_rpc::wire::{PostDuty, Provider, Sector};
use serde::Serialize;

use super::session::{Session, first, more_line};
use super::table::{Table, facts};
use crate::cli::{ProviderCommand, ProviderShowArguments};

/// A provider with what it has to do.
#[derive(Serialize)]
struct ProviderReport {
    provider: Provider,
    sectors: Vec<Sector>,
    more_sectors: bool,
    duties: Vec<PostDuty>,
}

/// Runs the command.
pub fn run(command: ProviderCommand) -> anyhow::Result<()> {
    match command {
        ProviderCommand::Register(register) => {
            let session = Session::open(&register.ledger)?;
            let command = Command::RegisterProvider {
                sector_size: register.sector_size,
                collateral: register.collateral,
                endpoint: register.endpoint,
            };
            let Some(done) = session.act(&register.signer, command)? else { return Ok(()) };
            let number = done.receipt.number("ProviderRegistered", "provider");
            let number = number.context("the ledger took the registration but named no provider")?;
            session.tell(&done, &format!("provider {number} is registered"))
        }
        ProviderCommand::List(list) => {
            let session = Session::open(&list.ledger)?;
            let (providers, more) = first(session.client.providers(list.owner.as_ref()), list.limit)?;
            session.output.print_as(&providers, || format!("{}{}", table(&providers), more_line(more)))
        }
        ProviderCommand::Show(arguments) => show(&arguments),
        ProviderCommand::AddCollateral(change) => {
            let (provider, amount) = (ProviderId(change.provider), change.amount);
            let command = Command::AddCollateral { provider, amount };
            let what = format!("{amount} units more collateral for {provider}");
            Session::open(&change.ledger)?.act_and_tell(&change.signer, command, &what)
        }
        ProviderCommand::WithdrawCollateral(change) => {
            let (provider, amount) = (ProviderId(change.provider), change.amount);
            let command = Command::WithdrawCollateral { provider, amount };
            let what = format!("{amount} units of collateral of {provider} are free");
            Session::open(&change.ledger)?.act_and_tell(&change.signer, command, &what)
        }
    }
}

fn table(providers: &[Provider]) -> Table {
    let mut table = Table::new(["provider", "sectors of", "collateral", "obligations", "endpoint"]);
    for provider in providers {
        table.row([
            provider.id.0.to_string(),
            provider.sector_size.to_string(),
            provider.collateral.to_string(),
            provider.obligations.to_string(),
            provider.endpoint.clone(),
        ]);
    }
    table
}

fn show(arguments: &ProviderShowArguments) -> anyhow::Result<()> {
    let session = Session::open(&arguments.ledger)?;
    let id = ProviderId(arguments.provider);
    let provider = session.client.provider(id)?.with_context(|| format!("the ledger has no {id}"))?;
    ensure!(arguments.sectors > 0, "--sectors: expected at least 1, got 0");
    let (sectors, more_sectors) = first(session.client.sectors(id), arguments.sectors)?;
    let duties = session.client.duties(id)?.duties;
    let report = ProviderReport { provider, sectors, more_sectors, duties };
    session.output.print_as(&report, || describe(&report))
}

fn describe(report: &ProviderReport) -> String {
    let ProviderReport { provider, sectors, more_sectors, duties } = report;
    let mut text = facts([
        ("provider", Some(provider.id.0.to_string())),
        ("owner", Some(provider.owner.to_string())),
        ("sectors of", Some(provider.sector_size.to_string())),
        ("collateral", Some(format!("{} units", provider.collateral))),
        ("obligations", Some(provider.obligations.to_string())),
        ("endpoint", Some(provider.endpoint.clone())),
    ]);
    if !sectors.is_empty() {
        let mut table = Table::new(["sector", "state", "deals", "deadline", "proofs", "missed", "expires"]);
        for sector in sectors {
            table.row([
                sector.number.to_string(),
                format!("{:?}", sector.state).to_lowercase(),
                sector.deals.len().to_string(),
                sector.deadline.map_or(String::new(), |deadline| deadline.to_string()),
                sector.posts_accepted.to_string(),
                sector.missed.to_string(),
                sector.expiration.to_string(),
            ]);
        }
        text += &format!("\n{table}");
        if *more_sectors {
            text += "... and more: --sectors shows them\n";
        }
    }
    if !duties.is_empty() {
        let mut table = Table::new(["deadline", "partition", "sectors", "state", "opens", "closes"]);
        for duty in duties {
            table.row([
                duty.deadline.to_string(),
                duty.partition.to_string(),
                duty.sectors.len().to_string(),
                format!("{:?}", duty.state).to_lowercase(),
                duty.opens_at.to_string(),
                duty.closes_at.to_string(),
            ]);
        }
        text += &format!("\n{table}");
    }
    text
}
