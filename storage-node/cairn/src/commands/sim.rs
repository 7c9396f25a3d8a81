//! `cairn sim`: runs [`cairn_simulation`] and prints what came of it.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use cairn_ledger::emission::simulation::EconomyOptions;
use cairn_simulation::checkers::PROMISES;
use cairn_simulation::damage::{self, DAMAGES};
use cairn_simulation::economy::{self, EconomyRun};
use cairn_simulation::run::minimise;
use cairn_simulation::scale::{Meters, ScaleOptions, ScaleRow, measure};
use cairn_simulation::{LedgerOptions, LedgerReport, actors, run_ledger};
use serde::Serialize;

use crate::cli::{EconomyArguments, LedgerArguments, ScaleArguments, SimCommand};
use crate::commands::seconds_since;
use crate::output::Output;

/// Runs the command.
pub fn run(command: SimCommand) -> anyhow::Result<()> {
    match command {
        SimCommand::Ledger(arguments) if arguments.list => list(&arguments),
        SimCommand::Ledger(arguments) => ledger(&arguments),
        SimCommand::Scale(arguments) => scale(&arguments),
        SimCommand::Economy(arguments) => economy(&arguments),
    }
}

/// Promises, actors and damages.
#[derive(Serialize)]
struct Lists {
    checkers: Vec<(&'static str, &'static str)>,
    actors: Vec<String>,
    damages: Vec<(&'static str, &'static str)>,
}

impl fmt::Display for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "checkers:")?;
        self.checkers.iter().try_for_each(|(name, text)| writeln!(f, "  {name:<26} {text}"))?;
        writeln!(f, "actors:\n  {}", self.actors.join(", "))?;
        writeln!(f, "damages, and who must notice:")?;
        self.damages.iter().try_for_each(|(name, checker)| writeln!(f, "  {name:<26} {checker}"))
    }
}

fn list(arguments: &LedgerArguments) -> anyhow::Result<()> {
    let lists = Lists {
        checkers: PROMISES.iter().map(|promise| (promise.name, promise.text)).collect(),
        actors: actors::names(),
        damages: DAMAGES.iter().map(|damage| (damage.name, damage.checker)).collect(),
    };
    Output::from_flag(arguments.json).print(&lists)
}

/// Runs that kept every promise.
#[derive(Serialize)]
struct LedgerRuns {
    seconds: f64,
    steps_per_second: u64,
    blocks_per_second: u64,
    runs: Vec<LedgerReport>,
}

impl fmt::Display for LedgerRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in &self.runs {
            let LedgerReport { seed, steps, blocks, applied, failed, refused, crimes, lag, .. } = run;
            writeln!(
                f,
                "seed {seed}: {steps} steps in {blocks} blocks: {applied} applied, {failed} failed, {refused} refused; \
                 {crimes} crimes, queue at most {lag} epochs late"
            )?;
        }
        if let [run] = self.runs.as_slice() {
            let line = |counts: &std::collections::BTreeMap<String, u64>| {
                counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
            };
            writeln!(f, "events: {}", line(&run.events))?;
            writeln!(f, "failures: {}", line(&run.rejections))?;
        }
        let checkers = self.runs.first().map_or(0, |run| run.checkers.len());
        let Self { seconds, steps_per_second, blocks_per_second, .. } = self;
        write!(
            f,
            "{checkers} checkers, no broken promise; {seconds} s, {steps_per_second} steps and {blocks_per_second} \
             blocks a second"
        )
    }
}

fn ledger(arguments: &LedgerArguments) -> anyhow::Result<()> {
    let first = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let known = |name: &String| actors::names().contains(name);
    if let Some(unknown) = arguments.without.iter().find(|name| !known(name)) {
        bail!("--without {unknown}: no such actor; --list names them");
    }
    let only = arguments.checker.as_deref().map(|name| {
        let found = PROMISES.iter().find(|promise| promise.name == name);
        found.map(|promise| promise.name).ok_or_else(|| anyhow!("--checker {name}: no such checker; --list names them"))
    });
    let damage = arguments
        .damage
        .as_deref()
        .map(|name| damage::find(name).ok_or_else(|| anyhow!("--damage {name}: no such damage; --list names them")));
    let (only, damage) = (only.transpose()?, damage.transpose()?);
    let start = Instant::now();
    let mut runs = Vec::new();
    for seed in first..first.saturating_add(arguments.runs) {
        // The seed comes first, so that it is known even if nothing else comes.
        eprintln!("seed {seed}");
        let options = LedgerOptions {
            full_every: arguments.full_every,
            without: arguments.without.clone(),
            only,
            damage,
            ..LedgerOptions::new(seed, arguments.steps)
        };
        match run_ledger(&options) {
            Ok(report) => runs.push(report),
            Err(failure) => {
                let failure = minimise(&options, &failure);
                eprintln!("{failure}");
                if arguments.json {
                    Output::Json.print(&Json(&failure))?;
                }
                bail!("seed {seed}, step {}: {} failed", failure.step, failure.checker);
            }
        }
    }
    let seconds = seconds_since(start);
    let rate = |count: u64| (count as f64 / seconds.max(0.001)) as u64;
    let steps_per_second = rate(runs.iter().map(|run| run.steps).sum());
    let blocks_per_second = rate(runs.iter().map(|run| run.blocks).sum());
    Output::from_flag(arguments.json).print(&LedgerRuns { seconds, steps_per_second, blocks_per_second, runs })
}

/// Something that is only printed as JSON.
#[derive(Serialize)]
#[serde(transparent)]
struct Json<'a, T>(&'a T);

impl<T> fmt::Display for Json<'_, T> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Bytes of this process in memory now.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn scale(arguments: &ScaleArguments) -> anyhow::Result<()> {
    let start = Instant::now();
    let note = |text: &str| eprintln!("{:8.1} s  {text}", start.elapsed().as_secs_f64());
    let clock = || start.elapsed().as_secs_f64();
    let meters = Meters { clock: &clock, resident: &resident_bytes, note: &note };
    if !arguments.json {
        println!("{}", ScaleRow::HEAD);
    }
    let mut sectors = arguments.from;
    while sectors <= arguments.to {
        let options = ScaleOptions {
            transactions: arguments.transactions,
            blocks: arguments.blocks,
            ..ScaleOptions::of_sectors(arguments.seed, sectors)
        };
        Output::from_flag(arguments.json).print(&measure(&options, &meters))?;
        sectors = sectors.saturating_mul(10);
    }
    Ok(())
}

/// What a run of the economy came to.
#[derive(Serialize)]
struct EconomyTotals {
    seed: u64,
    days: u32,
    seconds: f64,
    profit_per_member_units: Vec<(&'static str, i128)>,
    minted_units: u128,
    not_minted_units: u128,
    burnt_units: u128,
    supply_units: u128,
}

const MICRO: u128 = 1_000_000;

impl EconomyTotals {
    fn new(arguments: &EconomyArguments, run: &EconomyRun, seconds: f64) -> Self {
        let each = |row: &cairn_ledger::emission::simulation::EconomyRow| {
            (row.strategy.name(), row.profit() / i128::from(row.members.max(1)) / MICRO as i128)
        };
        Self {
            seed: arguments.seed,
            days: arguments.days,
            seconds,
            profit_per_member_units: run.summary.totals.iter().map(each).collect(),
            minted_units: run.summary.minted / MICRO,
            not_minted_units: run.summary.not_minted / MICRO,
            burnt_units: run.summary.burnt / MICRO,
            supply_units: run.summary.supply / MICRO,
        }
    }
}

impl fmt::Display for EconomyTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} days in {} s; profit of a member, in units:", self.seed, self.days, self.seconds)?;
        self.profit_per_member_units.iter().try_for_each(|(name, each)| writeln!(f, "{name:>18} {each:>12}"))?;
        let Self { minted_units, not_minted_units, burnt_units, supply_units, .. } = self;
        write!(f, "minted {minted_units}, not minted {not_minted_units}, burnt {burnt_units}, supply {supply_units}")
    }
}

fn economy(arguments: &EconomyArguments) -> anyhow::Result<()> {
    let start = Instant::now();
    let options = EconomyOptions { days: arguments.days, ..EconomyOptions::ten_years(arguments.seed) };
    let run = economy::run(&options)?;
    let totals = EconomyTotals::new(arguments, &run, seconds_since(start));
    if let Some(path) = &arguments.png {
        let title = format!("{} days of nine strategies, seed {}", arguments.days, arguments.seed);
        write(path, &run.png(&title)?)?;
    }
    match &arguments.csv {
        Some(path) if path == Path::new("-") => {
            eprintln!("{totals}");
            return Output::Text.print(&run.csv());
        }
        Some(path) => write(path, run.csv().as_bytes())?,
        None => {}
    }
    Output::from_flag(arguments.json).print(&totals)
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
