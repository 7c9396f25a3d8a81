//! `cairn get`: a dataset, or a file or folder of it, from one or more gateways, with every byte verified.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use cairn_encryption::{Identities, KEY_FILE, decrypt_file, decrypt_folder};
use cairn_gateway::TlsTrust;
use cairn_gateway::fetch::{FetchOptions, FetchReport, FetchRequest, SourceUrl, fetch_blocking};
use cid::Cid;
use serde::Serialize;

use super::{data, seconds_since};
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
    let sealed = match &arguments.identity {
        Some(identity) => Some(Sealed::new(&arguments.out, identity)?),
        None => None,
    };
    let request = FetchRequest {
        root,
        path,
        sources,
        dest: sealed.as_ref().map_or(arguments.out, |sealed| sealed.dest.clone()),
        options,
        progress: Some(Arc::new(move |progress| shown.report(progress.verified_bytes, progress.total_bytes))),
    };
    let start = Instant::now();
    let report = fetch_blocking(&request)?;
    if let Some(sealed) = &sealed {
        sealed.decrypt(&request)?;
    }
    let seconds = seconds_since(start);
    drop(request);
    drop(stage);
    let mut report = GetReport::new(&root, report, seconds);
    if let Some(sealed) = &sealed {
        sealed.rename(&mut report);
    }
    Output::from_flag(arguments.json).print(&report)
}

/// A fetch whose bytes are decrypted. The encrypted ones lie beside the destination until then, so that an interrupted
/// fetch continues.
struct Sealed {
    identities: Identities,
    out: PathBuf,
    /// Where the encrypted bytes go.
    dest: PathBuf,
    /// Where the key file goes if `dest` is a part of the dataset, which need not hold it.
    keys: PathBuf,
}

impl Sealed {
    fn new(out: &Path, identity: &Path) -> anyhow::Result<Self> {
        let identities = data::read_identities(identity)?;
        ensure!(out.symlink_metadata().is_err(), "{}: something is there already", out.display());
        let name = out.file_name().with_context(|| format!("--out: {} names no file", out.display()))?;
        let beside = |end: &str| {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(end);
            out.with_file_name(hidden)
        };
        let (dest, keys) = (beside(".cairn-encrypted"), beside(".cairn-keys.json"));
        Ok(Self { identities, out: out.to_owned(), dest, keys })
    }

    fn decrypt(&self, request: &FetchRequest) -> anyhow::Result<()> {
        let whole = request.path.trim_matches('/').is_empty();
        let keys = if whole { self.dest.join(KEY_FILE) } else { self.keys.clone() };
        if !whole {
            let options = FetchOptions { overwrite: true, ..request.options.clone() };
            let request = FetchRequest {
                root: request.root,
                path: KEY_FILE.to_owned(),
                sources: request.sources.clone(),
                dest: keys.clone(),
                options,
                progress: None,
            };
            fetch_blocking(&request).context("the dataset's key file")?;
        }
        let key = data::read_keys(&keys)?.unlock(&self.identities)?;
        if self.dest.is_dir() {
            decrypt_folder(&self.dest, &self.out, &key)?;
            fs::remove_dir_all(&self.dest).with_context(|| format!("cannot remove {}", self.dest.display()))?;
        } else {
            decrypt_file(&self.dest, &self.out, &key)?;
            fs::remove_file(&self.dest).with_context(|| format!("cannot remove {}", self.dest.display()))?;
        }
        if !whole {
            fs::remove_file(&keys).with_context(|| format!("cannot remove {}", keys.display()))?;
        }
        Ok(())
    }

    /// Tells the files by the names that they have now.
    fn rename(&self, report: &mut GetReport) {
        report.files.retain(|file| file.destination != self.dest.join(KEY_FILE));
        for file in &mut report.files {
            file.destination = match file.destination.strip_prefix(&self.dest) {
                Ok(inner) if !inner.as_os_str().is_empty() => self.out.join(inner),
                _ => self.out.clone(),
            };
        }
    }
}
