//! Reading a file with a proof and its statement: a JSON object, field by field, so that a wrong field is named.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use cairn_protocol::SectorSize;
use cairn_snark::groth16::Origin;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{files, keys};
use crate::output::Output;

/// Above the vanilla proof of every sector size: 10 partitions of 64 GiB take about 100 MB as JSON.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The fields of such an object that nobody has asked for yet.
pub struct Fields(Map<String, Value>);

/// The answer of a command that verifies.
#[derive(Debug, Serialize)]
pub struct Verdict {
    ok: bool,
    /// What is wrong: expected and got.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Where the verifying key comes from, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Origin>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => f.write_str("ok"),
            Some(reason) => write!(f, "not ok: {reason}"),
        }
    }
}

/// Reads `path`, and hands its fields to `statement`, whose errors get the file's name.
pub fn read<T>(path: &Path, statement: impl FnOnce(&mut Fields) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let (file, bytes) = files::open(path)?;
    if bytes > FILE_BYTES_MAX {
        bail!("{}: expected at most {FILE_BYTES_MAX} bytes, got {bytes}", path.display());
    }
    let value = parse(file).with_context(|| format!("cannot read {}", path.display()))?;
    let Value::Object(fields) = value else {
        bail!("{}: expected a JSON object", path.display());
    };
    statement(&mut Fields(fields)).with_context(|| path.display().to_string())
}

fn parse(file: File) -> anyhow::Result<Value> {
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

impl Fields {
    /// A field that must be there.
    pub fn required<T: DeserializeOwned>(&mut self, name: &str) -> anyhow::Result<T> {
        self.optional(name)?.ok_or_else(|| missing(name))
    }

    /// A field that may be there.
    pub fn optional<T: DeserializeOwned>(&mut self, name: &str) -> anyhow::Result<Option<T>> {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        serde_json::from_value(value).map(Some).with_context(|| format!("field {name}"))
    }

    /// A field that may be there and is a text of some type.
    pub fn text<T>(&mut self, name: &str) -> anyhow::Result<Option<T>>
    where
        T: std::str::FromStr<Err: fmt::Display>,
    {
        let text: Option<String> = self.optional(name)?;
        text.map(|text| text.parse().map_err(|error| anyhow!("field {name}: {error}"))).transpose()
    }

    /// The field `sector_size`, in bytes or by name.
    pub fn sector_size(&mut self) -> anyhow::Result<Option<SectorSize>> {
        match self.0.get("sector_size") {
            Some(Value::String(_)) => self.text("sector_size"),
            _ => self.optional("sector_size"),
        }
    }

    /// Whether a field is a text.
    pub fn is_text(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(Value::is_string)
    }

    /// A field that must be there, with bytes in hex.
    pub fn hex(&mut self, name: &str) -> anyhow::Result<Vec<u8>> {
        let text: String = self.required(name)?;
        hex::decode(&text).map_err(|error| match error {
            hex::FromHexError::InvalidHexCharacter { c, index } => {
                anyhow!("field {name}: expected hex digits, got {c:?} at position {index}")
            }
            _ => anyhow!("field {name}: expected an even number of hex digits, got {}", text.len()),
        })
    }
}

/// The complaint about a field that is not there.
pub fn missing(name: &str) -> anyhow::Error {
    anyhow!("field {name} is missing")
}

/// Prints a verdict and says on standard error whether its key was a published one. A refused proof is an error as
/// well, so that scripts stop.
pub fn conclude<E: fmt::Display>(
    path: &Path,
    verdict: Result<(), E>,
    parameters: Option<Origin>,
    output: Output,
) -> anyhow::Result<()> {
    let Err(rejection) = verdict else {
        parameters.into_iter().for_each(keys::say_origin);
        return output.print(&Verdict { ok: true, reason: None, parameters });
    };
    let reason = rejection.to_string();
    output.print(&Verdict { ok: false, reason: Some(reason.clone()), parameters })?;
    Err(anyhow!("{}: the proof is refused: {reason}", path.display()))
}
