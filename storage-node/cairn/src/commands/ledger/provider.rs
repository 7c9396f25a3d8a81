//! `cairn provider`.

use anyhow::{Context, ensure};
use cairn_ledger::{Attributes, Command, MarketCommand};
use cairn_protocol::ProviderId;
use cairn_rpc::wire::{Attestation, PostDuty, Provider, ProviderRewards, Sector, WrongGroup};
use serde::Serialize;

use super::session::{Session, first, more_line};
use super::table::{Table, facts};
use super::{accuse, delegate};
use crate::cli::{ProviderAttributesArguments, ProviderCommand, ProviderShowArguments};
use crate::commands::provider_run;

/// Most auditors that are shown; anybody may be one.
const ATTESTATIONS_MAX: usize = 20;
/// Most wrong bytes that are shown.
const WRONG_MAX: usize = 20;

/// A provider with what it has to do.
#[derive(Serialize)]
struct ProviderReport {
    provider: Provider,
    attestations: Vec<Attestation>,
    rewards: ProviderRewards,
    wrong_bytes: Vec<WrongGroup>,
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
        ProviderCommand::Set(set) => {
            let (provider, attributes) = (ProviderId(set.provider), attributes(&set));
            let command = Command::Market(MarketCommand::SetAttributes { provider, attributes });
            let what = format!("{provider} says {} about itself", said(&set));
            Session::open(&set.ledger)?.act_and_tell(&set.signer, command, &what)
        }
        ProviderCommand::Attest(attest) => {
            let (provider, attributes) = (ProviderId(attest.provider), attributes(&attest));
            let command = Command::Market(MarketCommand::SignAttributes { provider, attributes });
            let what = format!("you vouch for {} of {provider}", said(&attest));
            Session::open(&attest.ledger)?.act_and_tell(&attest.signer, command, &what)
        }
        ProviderCommand::Delegate(arguments) => delegate::run(&arguments),
        ProviderCommand::Accuse(arguments) => accuse::run(&arguments),
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
        ProviderCommand::Run(arguments) => provider_run::run(*arguments),
    }
}

fn attributes(arguments: &ProviderAttributesArguments) -> Attributes {
    Attributes::new(arguments.attributes.iter().cloned())
}

fn said(arguments: &ProviderAttributesArguments) -> String {
    if arguments.none { "nothing".to_owned() } else { pairs(&attributes(arguments)) }
}

fn pairs(attributes: &Attributes) -> String {
    attributes.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

fn table(providers: &[Provider]) -> Table {
    let mut table =
        Table::new(["provider", "sectors of", "collateral", "reputation", "region", "obligations", "endpoint"]);
    for provider in providers {
        table.row([
            provider.id.0.to_string(),
            provider.sector_size.to_string(),
            provider.collateral.to_string(),
            provider.reputation.to_string(),
            provider.attributes.region().unwrap_or_default().to_owned(),
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
    let attestations = session.client.attestations(id).take(ATTESTATIONS_MAX).collect::<Result<Vec<_>, _>>()?;
    let wrong_bytes = session.client.wrong_bytes(id).take(WRONG_MAX).collect::<Result<Vec<_>, _>>()?;
    let rewards = session.client.provider_rewards(id)?.with_context(|| format!("the ledger has no {id}"))?;
    let report = ProviderReport { provider, attestations, rewards, wrong_bytes, sectors, more_sectors, duties };
    session.output.print_as(&report, || describe(&report))
}

/// What the next proof, score or claim may be paid for.
fn unrewarded(rewards: &ProviderRewards) -> String {
    let space = (rewards.space > 0)
        .then(|| format!("{} epochs of 2 KiB proven in round {}", rewards.space, rewards.space_round));
    let service = rewards.service.map(|claim| format!("{} units paid in round {}", claim.volume, claim.round));
    space.into_iter().chain(service).collect::<Vec<_>>().join(", ")
}

fn describe(report: &ProviderReport) -> String {
    let ProviderReport { provider, attestations, rewards, wrong_bytes, sectors, more_sectors, duties } = report;
    let scored = provider.scored_round.map_or("never scored".to_owned(), |round| format!("scored in round {round}"));
    let some = |text: String| (!text.is_empty()).then_some(text);
    let mut text = facts([
        ("provider", Some(provider.id.0.to_string())),
        ("owner", Some(provider.owner.to_string())),
        ("sectors of", Some(provider.sector_size.to_string())),
        ("collateral", Some(format!("{} units", provider.collateral))),
        ("obligations", Some(provider.obligations.to_string())),
        ("endpoint", Some(provider.endpoint.clone())),
        ("reputation", Some(format!("{}, {scored}", provider.reputation))),
        ("attributes", some(pairs(&provider.attributes))),
        ("to be rewarded", some(unrewarded(rewards))),
    ]);
    if !attestations.is_empty() {
        let mut table = Table::new(["auditor", "vouches for", "since"]);
        for entry in attestations {
            table.row([entry.auditor.to_string(), pairs(&entry.attributes), entry.since.to_string()]);
        }
        text += &format!("\n{table}");
    }
    if !wrong_bytes.is_empty() {
        let mut table = Table::new(["wrong bytes of", "group", "paid", "at"]);
        for entry in wrong_bytes {
            let (group, at) = (entry.group.to_string(), entry.at.to_string());
            table.row([entry.piece.to_string(), group, entry.taken.to_string(), at]);
        }
        text += &format!("\n{table}");
    }
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
