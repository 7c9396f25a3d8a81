//! Where an origin is, and what opens it. Secrets come from a file, never from a command line.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where an origin is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginAddress {
    /// A folder: `file:///absolute/path`.
    Folder(PathBuf),
    /// A part of a bucket: `s3://bucket` or `s3://bucket/prefix`.
    S3 {
        /// The bucket.
        bucket: String,
        /// What all keys begin with, without slashes around it; may be empty.
        prefix: String,
    },
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no origin: expected file:///FOLDER or s3://BUCKET[/PREFIX]")]
pub struct AddressRejection {
    /// What came.
    pub text: String,
}

impl FromStr for OriginAddress {
    type Err = AddressRejection;

    fn from_str(text: &str) -> Result<Self, AddressRejection> {
        let rejection = || AddressRejection { text: text.to_owned() };
        if let Some(path) = text.strip_prefix("file://") {
            return if path.starts_with('/') { Ok(Self::Folder(path.into())) } else { Err(rejection()) };
        }
        let rest = text.strip_prefix("s3://").ok_or_else(rejection)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let prefix = prefix.trim_end_matches('/');
        let clean = prefix.is_empty() || prefix.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if bucket.is_empty() || !bucket.bytes().all(allowed) || !clean {
            return Err(rejection());
        }
        Ok(Self::S3 { bucket: bucket.into(), prefix: prefix.into() })
    }
}

impl fmt::Display for OriginAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "file://{}", path.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// What an S3 origin needs to know. Without keys requests go unsigned.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// `http://` or `https://` address of the service; nothing for Amazon's own.
    pub endpoint: Option<String>,
    /// Region of the signatures. Default `us-east-1`.
    pub region: String,
    /// Access key and secret key.
    pub keys: Option<(String, String)>,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self { endpoint: None, region: "us-east-1".into(), keys: None }
    }
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.keys.as_ref().map(|(access, _)| access);
        let mut shown = f.debug_struct("S3Settings");
        shown.field("endpoint", &self.endpoint).field("region", &self.region).field("access_key", &key);
        shown.finish_non_exhaustive()
    }
}

/// Why a settings file is refused. Never shows a value: it may be a secret on the wrong line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsRejection {
    /// A line that is not a known name and one value.
    #[error("line {line}: expected `endpoint URL`, `region NAME`, `access-key KEY` or `secret-key KEY`")]
    Line {
        /// Number of the line, from 1.
        line: usize,
    },
    /// A name that came before.
    #[error("line {line}: {name} comes twice")]
    Twice {
        /// Number of the line, from 1.
        line: usize,
        /// The name.
        name: &'static str,
    },
    /// An endpoint that is no address.
    #[error("endpoint: expected an address that begins with http:// or https://")]
    Endpoint,
    /// One key without the other.
    #[error("access-key and secret-key go together; only one of them is here")]
    HalfKey,
}

impl S3Settings {
    /// Reads a settings file: a name, a space and a value on each line; empty lines and lines that begin with `#` count for
    /// nothing.
    ///
    /// # Errors
    /// [`SettingsRejection`] for anything else.
    pub fn parse(text: &str) -> Result<Self, SettingsRejection> {
        const NAMES: [&str; 4] = ["endpoint", "region", "access-key", "secret-key"];
        let mut values: [Option<String>; 4] = [const { None }; 4];
        for (number, line) in text.lines().enumerate() {
            let (line, text) = (number + 1, line.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let mut words = text.split_ascii_whitespace();
            let (Some(name), Some(value), None) = (words.next(), words.next(), words.next()) else {
                return Err(SettingsRejection::Line { line });
            };
            let place = NAMES.iter().position(|known| *known == name).ok_or(SettingsRejection::Line { line })?;
            if values[place].replace(value.to_owned()).is_some() {
                return Err(SettingsRejection::Twice { line, name: NAMES[place] });
            }
        }
        let [endpoint, region, access, secret] = values;
        if endpoint.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            return Err(SettingsRejection::Endpoint);
        }
        let keys = match (access, secret) {
            (Some(access), Some(secret)) => Some((access, secret)),
            (None, None) => None,
            _ => return Err(SettingsRejection::HalfKey),
        };
        Ok(Self { endpoint, region: region.unwrap_or_else(|| Self::default().region), keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_strict() {
        for text in ["file:///srv/origin", "s3://bucket", "s3://bucket/a/b"] {
            assert_eq!(text.parse::<OriginAddress>().unwrap().to_string(), text);
        }
        for text in ["", "/srv", "file://srv", "s3://", "s3:///a", "s3://b/../c", "s3://b//c", "s3://b c", "http://a/b"]
        {
            assert!(text.parse::<OriginAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn settings_are_strict_and_hide_the_secret() {
        let text = "# ours\nendpoint http://127.0.0.1:1\nregion eu\naccess-key AK\nsecret-key hush\n";
        let settings = S3Settings::parse(text).unwrap();
        assert_eq!(settings.keys, Some(("AK".into(), "hush".into())));
        assert!(!format!("{settings:?}").contains("hush"));
        assert_eq!(S3Settings::parse("").unwrap(), S3Settings::default());
        assert_eq!(S3Settings::parse("access-key A"), Err(SettingsRejection::HalfKey));
        assert_eq!(S3Settings::parse("endpoint ftp://a"), Err(SettingsRejection::Endpoint));
        assert_eq!(S3Settings::parse("region a\nregion b"), Err(SettingsRejection::Twice { line: 2, name: "region" }));
        for text in ["secret hush", "region", "region a b"] {
            let rejection = S3Settings::parse(text).unwrap_err();
            assert_eq!(rejection, SettingsRejection::Line { line: 1 });
            assert!(!rejection.to_string().contains("hush"));
        }
    }
}
