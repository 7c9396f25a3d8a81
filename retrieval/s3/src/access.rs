//! Who may do what: keys from a file, and whether the nameless may read.
//!
//! A line of the file is a key; blanks separate its words, lines that begin with `#` do not count:
//!
//! ```text
//! ACCESS-KEY SECRET-KEY read|write [bytes=N] [BUCKET[/PATH] ..]
//! anonymous read [BUCKET[/PATH] ..]
//! ```
//!
//! - `write` reads too. A line `anonymous read` lets requests without a signature read. With no file at all everybody may
//!   read, signed or not, since there is nothing to check a signature with.
//! - Buckets behind it are all that the key sees: whole, or the object of that path and those below it. A bucket is meant by
//!   any name it has: a root CID stands for its dataset under each name, a name for the dataset that has it now.
//! - `bytes=N` is how many bytes the key may read in all. The gatekeeper counts them; without one the limit could not be
//!   kept ([`AccessKeys::needs_count`]).

use std::collections::BTreeMap;

use crate::error::{ErrorCode, S3Rejection};
use crate::request::RequestHead;
use crate::sigv4::{Authorization, SecretKey, Verified};

/// Most keys of a file.
const KEYS_MAX: usize = 10_000;
/// Most buckets and paths of a key.
const PLACES_MAX: usize = 64;

/// A bucket, or the part of it at and below a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    bucket: String,
    /// Whole names joined by slashes; empty: everything.
    path: String,
}

/// What a key opens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Rights {
    writes: bool,
    bytes_max: Option<u64>,
    /// Empty: every bucket.
    places: Vec<Place>,
}

/// Keys, and what they open.
#[derive(Debug, Clone, Default)]
pub struct AccessKeys {
    keys: BTreeMap<String, (SecretKey, Rights)>,
    anonymous: Option<Rights>,
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

/// Who asks, as far as it was checked.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The access key; none: nobody in particular.
    pub key: Option<&'a str>,
    /// None: everything may be read.
    rights: Option<&'a Rights>,
}

impl<'a> Caller<'a> {
    /// Somebody of whom nothing is known, where nothing needs to be.
    pub fn nobody() -> Self {
        Self { key: None, rights: None }
    }

    /// Bytes that may be read in all.
    pub fn bytes_max(&self) -> Option<u64> {
        self.rights.and_then(|rights| rights.bytes_max)
    }

    /// Whether it may write at all, and so see what is being written.
    pub fn writes(&self) -> bool {
        self.rights.is_some_and(|rights| rights.writes)
    }

    /// Whether there are buckets that are not open.
    pub fn is_limited(&self) -> bool {
        self.rights.is_some_and(|rights| !rights.places.is_empty())
    }

    /// The paths of a bucket, given by all its names, that are open; none: all of it.
    pub fn paths(&self, names: &[&str]) -> Option<Vec<&'a str>> {
        let places = &self.rights?.places;
        let here: Vec<&str> =
            places.iter().filter(|place| names.contains(&place.bucket.as_str())).map(|place| &*place.path).collect();
        let whole = places.is_empty() || here.iter().any(|path| path.is_empty());
        (!whole).then_some(here)
    }

    /// Refuses a bucket of which nothing is open.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub fn check_bucket(&self, names: &[&str]) -> Result<(), S3Rejection> {
        match self.paths(names) {
            Some(paths) if paths.is_empty() => Err(outside()),
            _ => Ok(()),
        }
    }

    /// Refuses an object that is not open; the empty key stands for the bucket as a whole.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub fn check_key(&self, names: &[&str], key: &str) -> Result<(), S3Rejection> {
        let at_or_below =
            |path: &&str| key.strip_prefix(*path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match self.paths(names) {
            Some(paths) if !paths.iter().any(at_or_below) => Err(outside()),
            _ => Ok(()),
        }
    }
}

fn outside() -> S3Rejection {
    S3Rejection::new(ErrorCode::AccessDenied, "the key does not open this bucket or path")
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
            keys.line(line).map_err(|what| KeysRejection { line: number + 1, what })?;
        }
        if keys.keys.is_empty() && keys.anonymous.is_none() {
            return Err(KeysRejection { line: 0, what: "no key, and anonymous read is not allowed either" });
        }
        Ok(keys)
    }

    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["anonymous", "read", limits @ ..] => {
                let rights = rights(false, limits)?;
                if rights.bytes_max.is_some() {
                    return Err("bytes= belongs to a key: the nameless are not counted apart");
                }
                if self.anonymous.replace(rights).is_some() {
                    return Err("anonymous read is there already");
                }
            }
            [access, secret, right @ ("read" | "write"), limits @ ..] => {
                let key = (SecretKey::new((*secret).to_owned()), rights(*right == "write", limits)?);
                if self.keys.insert((*access).to_owned(), key).is_some() {
                    return Err("this access key is there already");
                }
            }
            _ => return Err("expected: ACCESS-KEY SECRET-KEY read (or write), or: anonymous read"),
        }
        if self.keys.len() > KEYS_MAX { Err("more than 10000 keys") } else { Ok(()) }
    }

    /// Whether some key may write.
    pub fn can_write(&self) -> bool {
        self.keys.values().any(|(_, rights)| rights.writes)
    }

    /// Whether some key has a limit that only a gatekeeper can keep.
    pub fn needs_count(&self) -> bool {
        self.keys.values().any(|(_, rights)| rights.bytes_max.is_some())
    }

    /// Whether answers are the same for everybody: a cache that others share may keep them.
    pub fn is_public(&self) -> bool {
        self.open || self.anonymous.as_ref().is_some_and(|rights| rights.places.is_empty())
    }

    /// Says who wants to read, or why that is not allowed. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// An unknown key, a wrong signature, or no signature where one is needed.
    pub fn check_read(&self, head: &RequestHead, region: &str, now: u64) -> Result<Caller<'_>, S3Rejection> {
        if self.open {
            return Ok(Caller::nobody());
        }
        match (Authorization::read(head)?, &self.anonymous) {
            (Some(claim), _) => self.verified(&claim, head, region, now).map(|(_, caller)| caller),
            (None, Some(rights)) => Ok(Caller { key: None, rights: Some(rights) }),
            (None, None) => Err(S3Rejection::new(ErrorCode::AccessDenied, "this gateway takes signed requests only")),
        }
    }

    /// Lets a request pass that writes, or that reads what is being written: never without a signature.
    ///
    /// # Errors
    /// No signature, a wrong one, or that of a key that may only read.
    pub fn check_write(
        &self,
        head: &RequestHead,
        region: &str,
        now: u64,
    ) -> Result<(Verified, Caller<'_>), S3Rejection> {
        let refused = || S3Rejection::new(ErrorCode::AccessDenied, "this needs the signature of a key that may write");
        let claim = Authorization::read(head)?.ok_or_else(refused)?;
        let (verified, caller) = self.verified(&claim, head, region, now)?;
        if caller.writes() { Ok((verified, caller)) } else { Err(refused()) }
    }

    fn verified(
        &self,
        claim: &Authorization,
        head: &RequestHead,
        region: &str,
        now: u64,
    ) -> Result<(Verified, Caller<'_>), S3Rejection> {
        let known = self.keys.get_key_value(&claim.access_key);
        let (name, (secret, rights)) = known.ok_or(ErrorCode::InvalidAccessKeyId)?;
        let verified = claim.verify(head, secret, region, now)?;
        Ok((verified, Caller { key: Some(name), rights: Some(rights) }))
    }
}

fn rights(writes: bool, limits: &[&str]) -> Result<Rights, &'static str> {
    let mut rights = Rights { writes, ..Rights::default() };
    for word in limits {
        if let Some(number) = word.strip_prefix("bytes=") {
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse().ok().filter(|_| digits && rights.bytes_max.is_none());
            rights.bytes_max = Some(number.ok_or("expected bytes=NUMBER once")?);
            continue;
        }
        let (bucket, path) = word.split_once('/').unwrap_or((word, ""));
        let is_path = !word.ends_with('/') && path.split('/').all(|name| !name.is_empty() || path.is_empty());
        if bucket.is_empty() || bucket.contains('=') || !is_path {
            return Err("expected BUCKET or BUCKET/PATH, without a slash at the end");
        }
        rights.places.push(Place { bucket: bucket.to_owned(), path: path.to_owned() });
    }
    if rights.places.len() > PLACES_MAX { Err("more than 64 buckets and paths of one key") } else { Ok(rights) }
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, Method};

    use super::*;

    #[test]
    fn files_of_keys_are_read_strictly() {
        let keys = AccessKeys::parse("# ours\n\nAKIA hidden read\nanonymous read\n").unwrap();
        assert!(keys.anonymous.is_some() && keys.keys.len() == 1 && !format!("{keys:?}").contains("hidden"));
        let line = |text: &str| AccessKeys::parse(text).unwrap_err().line;
        assert_eq!(line(""), 0);
        assert_eq!(line("a b"), 1);
        assert_eq!(line("a b admin"), 1);
        assert_eq!(line("a b read\na c read"), 2);
        assert_eq!(line("anonymous read\nanonymous read"), 2);
        for limit in ["/a", "a/", "a//b", "bytes=", "bytes=-1", "bytes=1 bytes=2", "Bytes=1", &"a ".repeat(65)] {
            assert_eq!(line(&format!("a b read {limit}")), 1, "{limit}");
        }
        assert_eq!(line("anonymous read bytes=1"), 1);
    }

    #[test]
    fn a_key_opens_what_its_line_names() {
        let keys = AccessKeys::parse("a b read bytes=7 photos/train root other\nc d write").unwrap();
        assert!(keys.needs_count() && keys.can_write() && !keys.is_public());
        let caller = |name: &str| Caller { key: None, rights: Some(&keys.keys[name].1) };
        let limited = caller("a");
        assert_eq!((limited.bytes_max(), limited.writes(), caller("c").writes()), (Some(7), false, true));
        for (names, key, open) in [
            (["photos", "cid"], "train", true),
            (["photos", "cid"], "train/a/b", true),
            (["photos", "cid"], "training", false),
            (["photos", "cid"], "", false),
            (["alias", "root"], "anything", true),
            (["alias", "root"], "", true),
            (["alias", "cid"], "train", false),
        ] {
            assert_eq!(limited.check_key(&names, key).is_ok(), open, "{names:?} {key}");
            assert!(caller("c").check_key(&names, key).is_ok());
        }
        assert!(limited.check_bucket(&["photos"]).is_ok() && limited.check_bucket(&["alias"]).is_err());
        assert_eq!(limited.paths(&["photos"]), Some(vec!["train"]));
        assert_eq!((limited.paths(&["other"]), caller("c").paths(&["photos"])), (None, None));
    }

    #[test]
    fn a_signature_is_needed_unless_the_file_says_otherwise() {
        let head = RequestHead::new(Method::GET, "/b", None, HeaderMap::new()).unwrap();
        let check = |keys: AccessKeys| keys.check_read(&head, "us-east-1", 0).map(drop).map_err(|error| error.code);
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
