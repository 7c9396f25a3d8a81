//! `cairn score`.

use anyhow::Context;
use cairn_protocol::ProviderId;
use cairn_rpc::wire::{Audit, AuditState, BallotState, Checker, RewardRound, Round, RoundPhase, Score};
use serde::Serialize;

use super::session::{Session, first, more_line};
use super::table::{Table, facts};
use crate::cli::ScoreCommand;

/// The round of now and those before it.
#[derive(Serialize)]
struct RoundsReport {
    now: Round,
    earlier: Vec<RewardRound>,
}

/// Runs the command.
pub fn run(command: ScoreCommand) -> anyhow::Result<()> {
    match command {
        ScoreCommand::List(list) => {
            let session = Session::open(&list.ledger)?;
            let (scores, more) = first(session.client.scores(), list.limit)?;
            session.output.print_as(&scores, || format!("{}{}", table(&scores), more_line(more)))
        }
        ScoreCommand::Show(show) => {
            let session = Session::open(&show.ledger)?;
            let id = ProviderId(show.provider);
            let score = session.client.score(id)?.with_context(|| format!("the ledger has no {id}"))?;
            session.output.print_as(&score, || describe(&score))
        }
        ScoreCommand::Checkers(list) => {
            let session = Session::open(&list.ledger)?;
            let (checkers, more) = first(session.client.checkers(), list.limit)?;
            session.output.print_as(&checkers, || format!("{}{}", checkers_table(&checkers), more_line(more)))
        }
        ScoreCommand::Checker(show) => {
            let session = Session::open(&show.ledger)?;
            let checker = session.client.checker(&show.address)?;
            let checker = checker.with_context(|| format!("{} is no checker", show.address))?;
            session.output.print_as(&checker, || describe_checker(&checker))
        }
        ScoreCommand::Audits(list) => {
            let session = Session::open(&list.ledger)?;
            let round = match list.round {
                Some(round) => round,
                None => session.client.round()?.round.checked_sub(1).context("no round is over yet")?,
            };
            let (audits, more) = first(session.client.audits(round), list.limit)?;
            session.output.print_as(&audits, || format!("{}{}", audits_table(&audits), more_line(more)))
        }
        ScoreCommand::Rounds(list) => {
            let session = Session::open(&list.ledger)?;
            let now = session.client.round()?;
            let (earlier, more) = first(session.client.rounds(), list.limit)?;
            let report = RoundsReport { now, earlier };
            session.output.print_as(&report, || format!("{}{}", describe_rounds(&report), more_line(more)))
        }
    }
}

/// A level of 1/65,535 as a part of one.
fn level(level: u16) -> String {
    format!("{:.4}", f64::from(level) / f64::from(u16::MAX))
}

fn table(scores: &[Score]) -> Table {
    let mut table = Table::new(["provider", "reputation", "last quality", "in round"]);
    for score in scores {
        table.row([
            score.provider.0.to_string(),
            score.reputation.to_string(),
            score.quality.map_or(String::new(), |quality| quality.to_string()),
            score.round.map_or(String::new(), |round| round.to_string()),
        ]);
    }
    table
}

fn describe(score: &Score) -> String {
    let last = score.quality.zip(score.round).map(|(quality, round)| format!("{quality} in round {round}"));
    let mut text = facts([
        ("provider", Some(score.provider.0.to_string())),
        ("reputation", Some(score.reputation.to_string())),
        ("last quality", Some(last.unwrap_or_else(|| "never scored".to_owned()))),
    ]);
    if !score.opinions.is_empty() {
        let mut table = Table::new(["checker", "said", "bond"]);
        for opinion in &score.opinions {
            let said = opinion.level.map_or(String::new(), level);
            table.row([opinion.checker.to_string(), said, level(opinion.bond)]);
        }
        text += &format!("\n{table}");
    }
    text
}

fn ballot(checker: &Checker) -> String {
    let Some(ballot) = &checker.ballot else { return String::new() };
    let state = match ballot.state {
        BallotState::None => return String::new(),
        BallotState::Committed => "committed",
        BallotState::Revealed => "revealed",
    };
    format!("round {}: {state}", ballot.round)
}

fn checkers_table(checkers: &[Checker]) -> Table {
    let mut table = Table::new(["checker", "stake", "since round", "silent rounds", "ballot"]);
    for checker in checkers {
        table.row([
            checker.address.to_string(),
            checker.stake.to_string(),
            checker.since_round.to_string(),
            checker.silent_rounds.to_string(),
            ballot(checker),
        ]);
    }
    table
}

fn audits_table(audits: &[Audit]) -> Table {
    let mut table = Table::new(["checker", "about provider", "state", "shows", "others say otherwise"]);
    for audit in audits {
        let state = match audit.state {
            AuditState::Waiting => "waiting",
            AuditState::Opened => "opened",
            AuditState::Refuted => "refuted",
        };
        let shows = audit.exhibit.as_ref().map(|exhibit| format!("task {} of {}", exhibit.slot, exhibit.root));
        table.row([
            audit.checker.to_string(),
            audit.provider.0.to_string(),
            state.to_owned(),
            shows.unwrap_or_default(),
            audit.refutations.len().to_string(),
        ]);
    }
    table
}

/// What a checker must account for, in words.
fn accounts_for(audit: &Audit) -> String {
    let state = match audit.state {
        AuditState::Waiting => "must be opened",
        AuditState::Opened => "are opened",
        AuditState::Refuted => "are refuted",
    };
    format!("round {}: receipts about provider {} {state}", audit.round, audit.provider.0)
}

fn describe_checker(checker: &Checker) -> String {
    let ballot = Some(ballot(checker)).filter(|text| !text.is_empty());
    let mut text = facts([
        ("checker", Some(checker.address.to_string())),
        ("stake", Some(format!("{} units", checker.stake))),
        ("since round", Some(checker.since_round.to_string())),
        ("silent rounds", Some(checker.silent_rounds.to_string())),
        ("ballot", ballot),
        ("audit", checker.audit.as_ref().map(accounts_for)),
    ]);
    for leaving in &checker.leaving {
        text += &format!("{} units leave at epoch {}\n", leaving.amount, leaving.epoch);
    }
    let opinions = checker.ballot.as_ref().map_or(&[][..], |ballot| &ballot.opinions);
    if !opinions.is_empty() {
        let mut table = Table::new(["provider", "said"]);
        for opinion in opinions {
            table.row([opinion.provider.0.to_string(), level(opinion.level)]);
        }
        text += &format!("\n{table}");
    }
    text
}

fn describe_rounds(report: &RoundsReport) -> String {
    let now = &report.now;
    let phase = match now.phase {
        RoundPhase::Commit => "commitments",
        RoundPhase::Reveal => "reveals",
        RoundPhase::Open => "openings of receipts",
        RoundPhase::Quiet => "nothing",
    };
    let mut text = facts([
        ("round", Some(format!("{} until epoch {}, now {}", now.round, now.ends_at, now.height))),
        ("taken now", Some(format!("{phase} about the round before"))),
        ("scoring", now.scoring.map(|round| format!("round {round}"))),
        ("minted", Some(format!("{} units; {} never will be", now.minted, now.not_minted))),
    ]);
    let mut table = Table::new(["round", "scored", "space", "service", "checkers", "validators", "left"]);
    for round in &report.earlier {
        let streams = [round.space, round.service, round.checkers, round.validators];
        let left = cairn_protocol::Amount::checked_sum(streams.iter().map(|stream| stream.left));
        table.row([
            round.round.to_string(),
            if round.scored { "yes" } else { "no" }.to_owned(),
            round.space.amount.to_string(),
            round.service.amount.to_string(),
            round.checkers.amount.to_string(),
            round.validators.amount.to_string(),
            left.map_or(String::new(), |left| left.to_string()),
        ]);
    }
    text += &format!("\n{table}");
    text
}
