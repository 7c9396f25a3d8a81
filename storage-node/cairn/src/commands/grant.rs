//! `cairn grant issue` and `cairn grant show`: tokens that a gateway takes.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use cairn_access::{Grant, GrantId, UnixSeconds};
use rand::Rng;
use serde::Serialize;

use crate::cli::{GrantCommand, GrantIssueArguments};
use crate::key_file::KeyFile;
use crate::output::Output;

const DAY_SECONDS: u64 = 24 * 3600;

/// What a token says.
#[derive(Debug, Serialize)]
struct GrantReport {
    id: String,
    dataset: Option<String>,
    path: String,
    bytes: Option<u64>,
    /// Seconds since 1970 at which it is void.
    expires: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl GrantReport {
    fn of(grant: &Grant) -> Self {
        Self {
            id: grant.id.to_string(),
            dataset: grant.dataset.map(|root| root.to_string()),
            path: grant.path_prefix.clone(),
            bytes: grant.bytes_max,
            expires: grant.expires.0,
            token: None,
            url: None,
        }
    }
}

impl fmt::Display for GrantReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "grant    {}", self.id)?;
        writeln!(f, "dataset  {}", self.dataset.as_deref().unwrap_or("all"))?;
        writeln!(f, "path     {}", if self.path.is_empty() { "all" } else { &self.path })?;
        writeln!(f, "bytes    {}", self.bytes.map_or("no limit".to_owned(), |bytes| bytes.to_string()))?;
        writeln!(f, "expires  {} (seconds since 1970)", self.expires)?;
        if let Some(token) = &self.token {
            writeln!(f, "token    {token}")?;
        }
        if let Some(url) = &self.url {
            writeln!(f, "url      {url}")?;
        }
        Ok(())
    }
}

fn now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?.as_secs())
}

fn issue(arguments: &GrantIssueArguments) -> anyhow::Result<GrantReport> {
    let key = KeyFile::read(&arguments.key)?;
    let mut id = [0; 16];
    rand::rng().fill_bytes(&mut id);
    let grant = Grant {
        id: GrantId(id),
        dataset: arguments.dataset,
        path_prefix: arguments.path.clone().unwrap_or_default(),
        bytes_max: arguments.bytes,
        channel: None,
        expires: UnixSeconds(now()? + arguments.days * DAY_SECONDS),
    };
    let token = grant.sign(&key.key)?;
    let url = arguments.url.as_ref().map(|url| {
        ensure!(!url.contains('#'), "--url {url}: expected a URL without #");
        let joint = if url.contains('?') { '&' } else { '?' };
        Ok(format!("{url}{joint}token={token}"))
    });
    Ok(GrantReport { url: url.transpose()?, token: Some(token), ..GrantReport::of(&grant) })
}

/// Runs `cairn grant`.
pub fn run(command: GrantCommand) -> anyhow::Result<()> {
    match command {
        GrantCommand::Issue(arguments) => Output::from_flag(arguments.json).print(&issue(&arguments)?),
        GrantCommand::Show { token, issuer, json } => {
            let grant = Grant::verify(&token, &[issuer], UnixSeconds(now()?))?;
            Output::from_flag(json).print(&GrantReport::of(&grant))
        }
    }
}
