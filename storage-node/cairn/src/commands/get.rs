//! `cairn get`: a dataset, or a file or folder of it, from one or more gateways, with every byte verified.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use cairn_gateway::TlsTrust;
use cairn_gateway::fetch::{FetchOptions, FetchReport, FetchRequest, SourceUrl, fetch_blocking};
use cid::Cid;
use serde::Serialize;

use super::seconds_since;
use crate::cli::GetArguments;
use crate::output::Output;
use crate::progress::Stage;

/// What came, and from where.
#[derive(Debug, Serialize)]
struct GetReport {
    root: String,
    bytes_total: u64,
    /// Bytes that came over the network in this run.
    bytes_fetched: u64,
    /// Verified bytes that an interrupted run had left.
    bytes_resumed: u64,
    files: Vec<FileReport>,
    sources: Vec<SourceReport>,
    /// Sources that sent something wrong, each with what it was.
    avoided: Vec<String>,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct FileReport {
    path: String,
    destination: PathBuf,
    cid: String,
    bytes: u64,
    /// Whether it was there already, complete and correct.
    kept: bool,
}

#[derive(Debug, Serialize)]
struct SourceReport {
    url: String,
    bytes: u64,
}

impl GetReport {
    fn new(root: &Cid, report: FetchReport, seconds: f64) -> Self {
        let files = report.files.into_iter().map(|file| FileReport {
            path: file.path,
            destination: file.destination,
            cid: file.cid.to_string(),
            bytes: file.bytes,
            kept: file.kept,
        });
        Self {
            root: root.to_string(),
            bytes_total: report.bytes_total,
            bytes_fetched: report.bytes_fetched,
            bytes_resumed: report.bytes_resumed,
            files: files.collect(),
            sources: report
                .sources
                .into_iter()
                .map(|(url, bytes)| SourceReport { url: url.to_string(), bytes })
                .collect(),
            avoided: report.avoided.iter().map(ToString::to_string).collect(),
            seconds,
        }
    }
}

impl fmt::Display for GetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            let note = if file.kept { "  (was there)" } else { "" };
            writeln!(f, "{:>12}  {}{note}", file.bytes, file.destination.display())?;
        }
        for source in &self.sources {
            writeln!(f, "{:>12}  from {}", source.bytes, source.url)?;
        }
        for failure in &self.avoided {
            writeln!(f, "avoided: {failure}")?;
        }
        let Self { bytes_total, bytes_fetched, bytes_resumed, seconds, .. } = self;
        writeln!(f, "{bytes_total} bytes verified: {bytes_fetched} fetched, {bytes_resumed} resumed, in {seconds} s")
    }
}

/// Splits `CID/PATH`.
fn parse_what(what: &str) -> anyhow::Result<(Cid, String)> {
    let (root, path) = what.split_once('/').unwrap_or((what, ""));
    let root = root.parse().with_context(|| format!("{root:?} is no CID"))?;
    Ok((root, path.to_owned()))
}

/// Runs the command.
pub fn run(arguments: GetArguments) -> anyhow::Result<()> {
    let (root, path) = parse_what(&arguments.what)?;
    let sources: Vec<SourceUrl> =
        arguments.sources.iter().map(|url| url.parse()).collect::<Result<_, _>>().context("--from")?;
    let defaults = FetchOptions::default();
    let trust = match &arguments.ca {
        None => defaults.trust.clone(),
        Some(path) => {
            let named = || format!("--ca {}", path.display());
            TlsTrust::from_pem(&std::fs::read(path).with_context(named)?).with_context(named)?
        }
    };
    let options = FetchOptions {
        trust,
        parallel: arguments.parallel.unwrap_or(defaults.parallel),
        retries: arguments.retries.unwrap_or(defaults.retries),
        overwrite: arguments.replace,
        ..defaults
    };
    let stage = Arc::new(Stage::begin("fetch"));
    let shown = stage.clone();
    let request = FetchRequest {
        root,
        path,
        sources,
        dest: arguments.out,
        options,
        progress: Some(Arc::new(move |progress| shown.report(progress.verified_bytes, progress.total_bytes))),
    };
    let start = Instant::now();
    let report = fetch_blocking(&request)?;
    let seconds = seconds_since(start);
    drop(request);
    drop(stage);
    Output::from_flag(arguments.json).print(&GetReport::new(&root, report, seconds))
}
