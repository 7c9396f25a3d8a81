//! Where a source is: `http://host[:port][/prefix]`, or `https`.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// Base address of a gateway.
///
/// Plain HTTP is enough for integrity: every block and piece is verified against its own name, so a transport can delay
/// bytes but not change them. `https` hides from others what is fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceUrl {
    tls: bool,
    /// Host and port as they stand in `Host`.
    authority: String,
    host: String,
    port: u16,
    /// Path before `/piece`, `/data` and `/ipfs`, without a slash at its end.
    prefix: String,
}

/// Why a text is no source address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is no source address: expected http[s]://host[:port][/prefix], {problem}")]
pub struct SourceUrlRejection {
    /// The text.
    pub url: String,
    /// What is wrong with it.
    pub problem: String,
}

impl SourceUrl {
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls
    }

    /// The request target for a path that starts with a slash.
    pub(crate) fn target(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.prefix)
    }
}

impl FromStr for SourceUrl {
    type Err = SourceUrlRejection;

    fn from_str(text: &str) -> Result<Self, SourceUrlRejection> {
        let reject =
            |problem: &str| SourceUrlRejection { url: text.chars().take(200).collect(), problem: problem.into() };
        let uri = Uri::from_str(text).map_err(|error| reject(&error.to_string()))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) => return Err(reject("another scheme")),
            None => return Err(reject("no scheme")),
        };
        let authority = uri.authority().ok_or_else(|| reject("no host"))?;
        if authority.as_str().contains('@') {
            return Err(reject("user names are not sent"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(reject("query or fragment"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(reject("no host"));
        }
        let port = match authority.port() {
            Some(_) => authority.port_u16().filter(|&port| port != 0).ok_or_else(|| reject("a bad port"))?,
            None if tls => 443,
            None => 80,
        };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { tls, authority: authority.as_str().to_owned(), host, port, prefix })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts() {
        let url: SourceUrl = "http://127.0.0.1:8080/a/".parse().unwrap();
        assert_eq!((url.address(), url.target("/x")), (("127.0.0.1", 8080), "/a/x".to_owned()));
        assert_eq!(url.to_string(), "http://127.0.0.1:8080/a");
        let url: SourceUrl = "https://x/a".parse().unwrap();
        assert_eq!((url.address(), url.is_tls(), url.to_string().as_str()), (("x", 443), true, "https://x/a"));
        let url: SourceUrl = "http://[::1]".parse().unwrap();
        assert_eq!((url.address(), url.authority()), (("::1", 80), "[::1]"));
    }

    #[test]
    fn refusals_say_why() {
        let bad = [
            ("ftp://x", "scheme"),
            ("x:80", "scheme"),
            ("http://u@x", "user"),
            ("http://x?y", "query"),
            ("http://x/#y", "fragment"),
            ("/x", "no scheme"),
            ("http://x:0", "port"),
        ];
        for (text, expected) in bad {
            let error = SourceUrl::from_str(text).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_never_panics(text in "\\PC{0,40}") {
            if let Ok(url) = SourceUrl::from_str(&text) {
                prop_assert_eq!(SourceUrl::from_str(&url.to_string()), Ok(url));
            }
        }
    }
}
