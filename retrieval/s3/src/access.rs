//! Who may do what: keys from a file, and whether the nameless may read.
//!
//! The file has one key a line: access key, secret key, and `read` or `write` (which reads too), separated by blanks; lines
//! that begin with `#` do not count. A line `anonymous read` lets requests without a signature read. With no file at all
//! everybody may read, signed or not, since there is nothing to check a signature with.

use std::collections::BTreeMap;

use crate::error::{ErrorCode, S3Rejection};
use crate::request::RequestHead;
use crate::sigv4::{Authorization, SecretKey, Verified};

/// Most keys of a file.
const KEYS_MAX: usize = 10_000;

/// Keys, and what they open.
#[derive(Debug, Clone, Default)]
pub struct AccessKeys {
    /// The secret, and whether the key may write.
    secrets: BTreeMap<String, (SecretKey, bool)>,
    anonymous_read: bool,
    open: bool,
}

/// A file of keys that is not one. The secret of the line is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct KeysRejection {
    /// Number of the line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl AccessKeys {
    /// No keys: everybody may read.
    pub fn open() -> Self {
        Self { open: true, ..Self::default() }
    }

    /// Reads a file of keys.
    ///
    /// # Errors
    /// The first line that is wrong, or a file without any key.
    pub fn parse(text: &str) -> Result<Self, KeysRejection> {
        let mut keys = Self::default();
        for (number, line) in text.lines().enumerate() {
            let refused = |what| KeysRejection { line: number + 1, what };
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                ["anonymous", "read"] => keys.anonymous_read = true,
                [access, secret, right @ ("read" | "write")] => {
                    let secret = SecretKey::new((*secret).to_owned());
                    if keys.secrets.insert((*access).to_owned(), (secret, *right == "write")).is_some() {
                        return Err(refused("this access key is there already"));
                    }
                }
                _ => return Err(refused("expected: ACCESS-KEY SECRET-KEY read (or write), or: anonymous read")),
            }
            if keys.secrets.len() > KEYS_MAX {
                return Err(refused("more than 10000 keys"));
            }
        }
        if keys.secrets.is_empty() && !keys.anonymous_read {
            return Err(KeysRejection { line: 0, what: "no key, and anonymous read is not allowed either" });
        }
        Ok(keys)
    }

    /// Lets a request that reads pass, or says why not. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// An unknown key, a wrong signature, or no signature where one is needed.
    pub fn check_read(&self, head: &RequestHead, region: &str, now: u64) -> Result<(), S3Rejection> {
        if self.open {
            return Ok(());
        }
        match Authorization::read(head)? {
            None if self.anonymous_read => Ok(()),
            None => Err(S3Rejection::new(ErrorCode::AccessDenied, "this gateway takes signed requests only")),
            Some(claim) => {
                let (secret, _) = self.secrets.get(&claim.access_key).ok_or(ErrorCode::InvalidAccessKeyId)?;
                claim.verify(head, secret, region, now).map(drop)
            }
        }
    }
}

impl AccessKeys {
    /// Whether some key may write.
    pub fn can_write(&self) -> bool {
        self.secrets.values().any(|(_, writes)| *writes)
    }

    /// Lets a request pass that writes, or that reads what is being written: never without a signature.
    ///
    /// # Errors
    /// No signature, a wrong one, or that of a key that may only read.
    pub fn check_write(&self, head: &RequestHead, region: &str, now: u64) -> Result<Verified, S3Rejection> {
        let refused = || S3Rejection::new(ErrorCode::AccessDenied, "this needs the signature of a key that may write");
        let claim = Authorization::read(head)?.ok_or_else(refused)?;
        let (secret, writes) = self.secrets.get(&claim.access_key).ok_or(ErrorCode::InvalidAccessKeyId)?;
        let verified = claim.verify(head, secret, region, now)?;
        if *writes { Ok(verified) } else { Err(refused()) }
    }
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, Method};

    use super::*;

    #[test]
    fn files_of_keys_are_read_strictly() {
        let keys = AccessKeys::parse("# ours\n\nAKIA hidden read\nanonymous read\n").unwrap();
        assert!(keys.anonymous_read && keys.secrets.len() == 1 && !format!("{keys:?}").contains("hidden"));
        let line = |text| AccessKeys::parse(text).unwrap_err().line;
        assert_eq!(line(""), 0);
        assert_eq!(line("a b"), 1);
        assert_eq!(line("a b admin"), 1);
        assert_eq!(line("a b read\na c read"), 2);
    }

    #[test]
    fn a_signature_is_needed_unless_the_file_says_otherwise() {
        let head = RequestHead::new(Method::GET, "/b", None, HeaderMap::new()).unwrap();
        let check = |keys: AccessKeys| keys.check_read(&head, "us-east-1", 0).map_err(|error| error.code);
        assert_eq!(check(AccessKeys::parse("a b read").unwrap()), Err(ErrorCode::AccessDenied));
        assert_eq!(check(AccessKeys::parse("a b read\nanonymous read").unwrap()), Ok(()));
        assert_eq!(check(AccessKeys::open()), Ok(()));
        let other = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=c%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&\
                     X-Amz-Date=20130524T000000Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature=";
        let other = format!("{other}{}", "0".repeat(64));
        let head = RequestHead::new(Method::GET, "/b", Some(&other), HeaderMap::new()).unwrap();
        let keys = AccessKeys::parse("a b read\nanonymous read").unwrap();
        assert_eq!(keys.check_read(&head, "us-east-1", 0).unwrap_err().code, ErrorCode::InvalidAccessKeyId);
    }
}
