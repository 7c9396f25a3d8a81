//! `cairn job`.

use anyhow::Context;
use cairn_ledger::{Command, JobId};
use cairn_rpc::wire::{Job, JobState};

use super::session::{Session, first, more_line};
use super::table::{Table, facts};
use crate::cli::JobCommand;

/// Runs the command.
pub fn run(command: JobCommand) -> anyhow::Result<()> {
    match command {
        JobCommand::List(list) => {
            let session = Session::open(&list.ledger)?;
            let jobs = session.client.jobs(0, list.live, list.poster.as_ref());
            let (jobs, more) = first(jobs, list.limit)?;
            session.output.print_as(&jobs, || format!("{}{}", table(&jobs), more_line(more)))
        }
        JobCommand::Show(show) => {
            let session = Session::open(&show.ledger)?;
            let job = session.client.job(show.job)?;
            let job = job.with_context(|| format!("the ledger has no job-{}, or forgot it", show.job))?;
            session.output.print_as(&job, || describe(&job))
        }
        JobCommand::Cancel(cancel) => {
            let command = cairn_ledger::JobCommand::Cancel { job: JobId(cancel.job) };
            let what = format!("job-{} is cancelled; its escrow is free", cancel.job);
            Session::open(&cancel.ledger)?.act_and_tell(&cancel.signer, Command::Job(command), &what)
        }
    }
}

fn state_name(state: JobState) -> &'static str {
    match state {
        JobState::Open => "open",
        JobState::Assigned => "assigned",
        JobState::Proven => "proven",
        JobState::Closed => "closed",
    }
}

fn table(jobs: &[Job]) -> Table {
    let mut table = Table::new(["job", "state", "proof", "constraints", "bids", "price", "escrow", "deadline"]);
    for job in jobs {
        table.row([
            job.id.to_string(),
            state_name(job.state).to_owned(),
            job.kind.clone(),
            job.work.to_string(),
            job.bids.to_string(),
            job.price.map_or(String::new(), |price| price.to_string()),
            job.escrow.to_string(),
            job.deadline.to_string(),
        ]);
    }
    table
}

fn describe(job: &Job) -> String {
    let why = job.closure.as_ref();
    facts([
        ("job", Some(job.id.to_string())),
        ("state", Some(state_name(job.state).to_owned())),
        ("why", why.map(|closure| format!("{} {} (epoch {})", closure.code, closure.text, closure.epoch))),
        ("poster", Some(job.poster.to_string())),
        ("proof", Some(job.kind.clone())),
        ("constraints", Some(job.work.to_string())),
        ("plain proof", Some(format!("{} ({} bytes) at {}", job.witness, job.witness_bytes, job.source_url))),
        ("price cap", Some(format!("{} units for a million constraints", job.price_per_million_max))),
        ("escrow", Some(format!("{} units", job.escrow))),
        ("worker", job.worker.map(|worker| worker.to_string())),
        ("price", job.price.map(|price| format!("{price} units"))),
        ("due", job.due.map(|epoch| format!("epoch {epoch}"))),
        ("deadline", Some(format!("epoch {}", job.deadline))),
        ("failed by", (!job.failed.is_empty()).then(|| job.failed.len().to_string())),
    ])
}
