//! What is served to nobody.
//!
//! A subset of the compact denylist format of IPIP-0383: an optional header that ends with `---`, then a rule a line,
//! comments after `#` at the beginning of a line.
//!
//! ```text
//! /ipfs/bafy..             this object; its paths and blocks stay
//! /ipfs/bafy../*           this object and everything below it
//! /ipfs/bafy../a/b*        paths below it that begin with a/b
//! //bciq.. or //Qm..       whoever knows it knows it: the SHA-256 multihash of `CID` or `CID/path`, in any multibase or
//!                          plain base58, where CID is version 1 in base32
//! !/ipfs/bafy../a          an exception: of several rules that match, the last decides
//! ```
//!
//! An object is named by its multihash, so that version and codec of a CID do not matter. Behind a rule may stand hints,
//! `name=value`; `http=451` says that the reason is a legal one, any other hint is kept for people. What is not
//! understood is refused with its line: a list that is half read protects nobody.

use std::collections::HashMap;

use cid::Cid;
use sha2::{Digest, Sha256};

const HASH_SHA256: u64 = 0x12;

/// Why an object is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// Gone: HTTP 410.
    Gone,
    /// Not available for legal reasons: HTTP 451.
    Legal,
}

/// A line that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("denylist, line {line}: {detail}: {text:?}")]
pub struct DenylistRejection {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub detail: String,
    /// The line, shortened.
    pub text: String,
}

/// Which paths of an object a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reach {
    /// The object itself.
    Itself,
    /// It, and all below.
    All,
    /// One path.
    Path(String),
    /// Paths with this beginning.
    Prefix(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    number: usize,
    reach: Reach,
    /// None: an exception.
    denial: Option<Denial>,
}

/// A denylist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Denylist {
    /// By the bytes of the multihash.
    named: HashMap<Vec<u8>, Vec<Rule>>,
    /// By the double hash.
    hidden: HashMap<[u8; 32], (usize, Option<Denial>)>,
}

impl Denylist {
    /// Reads a list.
    ///
    /// # Errors
    /// [`DenylistRejection`]: the first line that is not understood.
    pub fn parse(text: &str) -> Result<Self, DenylistRejection> {
        let mut list = Self::default();
        let body_begins = text.lines().position(|line| line.trim() == "---").map_or(0, |header| header + 1);
        for (index, line) in text.lines().enumerate().skip(body_begins) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            list.add(index, line).map_err(|detail| DenylistRejection {
                line: index + 1,
                detail,
                text: line.chars().take(120).collect(),
            })?;
        }
        Ok(list)
    }

    /// Number of rules.
    pub fn rules(&self) -> usize {
        self.named.values().map(Vec::len).sum::<usize>() + self.hidden.len()
    }

    fn add(&mut self, number: usize, line: &str) -> Result<(), String> {
        let (rule, hints) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let (exception, rule) = rule.strip_prefix('!').map_or((false, rule), |rest| (true, rest));
        let denial = if exception { None } else { Some(denial_of(hints)?) };
        if let Some(hash) = rule.strip_prefix("//") {
            self.hidden.insert(double_hash(hash)?, (number, denial));
            return Ok(());
        }
        let rest = rule.strip_prefix("/ipfs/").ok_or("expected /ipfs/CID or //HASH")?;
        let (cid, path) = rest.split_once('/').map_or((rest, None), |(cid, path)| (cid, Some(path)));
        let cid = Cid::try_from(cid).map_err(|error| format!("the CID: {error}"))?;
        let reach = match path {
            None | Some("") => Reach::Itself,
            Some("*") => Reach::All,
            Some(path) => match path.strip_suffix('*') {
                Some(prefix) => Reach::Prefix(prefix.to_owned()),
                None => Reach::Path(path.trim_end_matches('/').to_owned()),
            },
        };
        self.named.entry(cid.hash().to_bytes()).or_default().push(Rule { number, reach, denial });
        Ok(())
    }

    /// Whether an object, asked for by a root and a path below it (empty: itself), is denied. A block is asked for by its
    /// own CID.
    pub fn denies(&self, cid: &Cid, path: &str) -> Option<Denial> {
        let named = self.named.get(&cid.hash().to_bytes()).into_iter().flatten();
        let named = named.filter(|rule| rule.reach.matches(path)).map(|rule| (rule.number, rule.denial));
        let hidden = [hidden_name(cid, path), hidden_name(cid, "")];
        let hidden = hidden.iter().take(if path.is_empty() { 1 } else { 2 }).filter_map(|name| self.hidden.get(name));
        named.chain(hidden.copied()).max_by_key(|(number, _)| *number)?.1
    }
}

impl Reach {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Itself => path.is_empty(),
            Self::All => true,
            Self::Path(denied) => path == denied,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
        }
    }
}

fn denial_of(hints: &str) -> Result<Denial, String> {
    let mut denial = Denial::Gone;
    for hint in hints.split_whitespace() {
        let (name, value) = hint.split_once('=').ok_or("expected hints as name=value")?;
        match (name, value) {
            ("http", "410") => denial = Denial::Gone,
            ("http", "451") => denial = Denial::Legal,
            ("http", _) => return Err("expected http=410 or http=451".to_owned()),
            _ => {}
        }
    }
    Ok(denial)
}

fn double_hash(text: &str) -> Result<[u8; 32], String> {
    let bytes = match text.starts_with("Qm") {
        true => bs58::decode(text).into_vec().map_err(|error| error.to_string())?,
        false => cid::multibase::decode(text).map_err(|error| error.to_string())?.1,
    };
    let hash = multihash::Multihash::<64>::from_bytes(&bytes).map_err(|error| error.to_string())?;
    match (hash.code(), hash.digest().try_into()) {
        (HASH_SHA256, Ok(digest)) => Ok(digest),
        (code, _) => Err(format!("expected a SHA-256 multihash, got code {code:#x}")),
    }
}

/// What a hidden rule hashes: the CID as version 1 in base32, and the path, if any.
fn hidden_name(cid: &Cid, path: &str) -> [u8; 32] {
    // A CID of version 0 says that it is dag-pb.
    let name = Cid::new_v1(cid.codec(), *cid.hash()).to_string();
    let name = if path.is_empty() { name } else { format!("{name}/{path}") };
    Sha256::digest(name.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CID: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    const OTHER: &str = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

    fn cid(text: &str) -> Cid {
        text.parse().unwrap()
    }

    #[test]
    fn rules_reach_as_far_as_they_say() {
        let text = format!("version: 1\nname: x\n---\n# none\n/ipfs/{CID}/a/b* http=451\n/ipfs/{OTHER}/*\n");
        let list = Denylist::parse(&text).unwrap();
        assert_eq!(list.rules(), 2);
        for (root, path, denial) in [
            (CID, "a/b", Some(Denial::Legal)),
            (CID, "a/bc/d", Some(Denial::Legal)),
            (CID, "a", None),
            (CID, "", None),
            (OTHER, "", Some(Denial::Gone)),
            (OTHER, "any", Some(Denial::Gone)),
        ] {
            assert_eq!(list.denies(&cid(root), path), denial, "{root} {path}");
        }
        let itself = Denylist::parse(&format!("/ipfs/{CID}")).unwrap();
        assert_eq!(itself.denies(&cid(CID), ""), Some(Denial::Gone));
        assert_eq!(itself.denies(&cid(CID), "a"), None);
    }

    #[test]
    fn codec_and_version_do_not_matter() {
        let list = Denylist::parse(&format!("/ipfs/{CID}")).unwrap();
        let as_dag_pb = Cid::new_v1(0x70, *cid(CID).hash());
        let as_v0 = Cid::new_v0(*cid(CID).hash()).unwrap();
        assert_eq!(list.denies(&as_dag_pb, ""), Some(Denial::Gone));
        assert_eq!(list.denies(&as_v0, ""), Some(Denial::Gone));
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let list = Denylist::parse(&format!("/ipfs/{CID}/*\n!/ipfs/{CID}/open*\n/ipfs/{CID}/open/not")).unwrap();
        assert_eq!(list.denies(&cid(CID), "open/a"), None);
        assert_eq!(list.denies(&cid(CID), "open/not"), Some(Denial::Gone));
        assert_eq!(list.denies(&cid(CID), "closed"), Some(Denial::Gone));
    }

    #[test]
    fn hidden_rules_match_what_they_hash() {
        let hash = |name: &str| {
            let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
            let hash = multihash::Multihash::<64>::wrap(HASH_SHA256, &digest).unwrap().to_bytes();
            (bs58::encode(&hash).into_string(), cid::multibase::encode(cid::multibase::Base::Base32Lower, &hash))
        };
        let (plain, based) = (hash(CID).0, hash(&format!("{OTHER}/a")).1);
        let list = Denylist::parse(&format!("//{plain}\n//{based} http=451")).unwrap();
        assert_eq!(list.denies(&cid(CID), ""), Some(Denial::Gone));
        assert_eq!(list.denies(&cid(CID), "below"), Some(Denial::Gone), "a hidden object is hidden with its paths");
        assert_eq!(list.denies(&cid(OTHER), "a"), Some(Denial::Legal));
        assert_eq!(list.denies(&cid(OTHER), "b"), None);
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_line() {
        for bad in ["/ipns/x", "/ipfs/x", "//x", "bafy", &format!("/ipfs/{CID} http=200"), &format!("/ipfs/{CID} word")]
        {
            let text = format!("# a comment\n\n{bad}\n");
            assert_eq!(Denylist::parse(&text).unwrap_err().line, 3, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn foreign_text_never_panics(text in "\\PC{0,200}", path in "\\PC{0,20}") {
            if let Ok(list) = Denylist::parse(&text) {
                let _ = list.denies(&cid(CID), &path);
            }
        }
    }
}
