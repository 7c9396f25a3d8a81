//! Pages of a sorted list of keys, with prefixes, groups and resumption.
//!
//! 1. A page is walked by seeking: each step finds the first key at or after a position, in the logarithm of the keys. A
//!    group (all keys with the same beginning up to the delimiter) is one step, however many keys it has. So a page costs
//!    what it shows and nothing else.
//! 2. Order is that of bytes, as S3 has it. `a-b` stands before `a/b`, other than in a dataset, which sorts by names of the path.
//! 3. A position is the bytes of a key that need not exist. A token is that in hexadecimal, so any gateway with the same
//!    dataset can go on where another one stopped.

use crate::error::{ErrorCode, S3Rejection};
use crate::request::{ListQuery, ListVersion};

/// A key and what a listing says about its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// The entity tag, without quotes.
    pub etag: String,
    /// Seconds since 1970.
    pub modified: u64,
}

/// Keys in the order of their bytes.
pub trait SortedKeys {
    /// The first key that is not below `position`.
    fn seek(&self, position: &[u8]) -> Option<&str>;

    /// What a listing says about a key that exists.
    fn describe(&self, key: &str) -> Listed;
}

/// The keys at and below some paths: what a caller who may not see the rest sees of a bucket.
pub struct Below<'a> {
    /// All keys.
    pub keys: &'a dyn SortedKeys,
    /// Whole names joined by slashes.
    pub paths: &'a [&'a str],
}

impl SortedKeys for Below<'_> {
    fn seek(&self, position: &[u8]) -> Option<&str> {
        let found = self.paths.iter().flat_map(|path| {
            let inside = format!("{path}/");
            let itself = self.keys.seek(position.max(path.as_bytes())).filter(|key| key == path);
            let below = self.keys.seek(position.max(inside.as_bytes())).filter(|key| key.starts_with(&inside));
            [itself, below]
        });
        found.flatten().min()
    }

    fn describe(&self, key: &str) -> Listed {
        self.keys.describe(key)
    }
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Keys that stand for themselves.
    pub contents: Vec<Listed>,
    /// Beginnings that stand for groups.
    pub common_prefixes: Vec<String>,
    /// Where the next page starts, if there is one.
    pub next_position: Option<Vec<u8>>,
    /// The last key or group on the page; version 1 continues with it.
    pub last: Option<String>,
}

/// Walks one page.
///
/// # Errors
/// A continuation token that no page has given out.
pub fn page(keys: &dyn SortedKeys, query: &ListQuery) -> Result<Page, S3Rejection> {
    let mut page = Page::default();
    let mut position = start(query)?.max(query.prefix.clone().into_bytes());
    while let Some(key) = keys.seek(&position) {
        if !key.starts_with(&query.prefix) || query.max_keys == 0 {
            break;
        }
        if page.contents.len() + page.common_prefixes.len() == query.max_keys {
            page.next_position = Some(position);
            break;
        }
        match group(key, query) {
            Some(group) => {
                page.last = Some(group.to_owned());
                page.common_prefixes.push(group.to_owned());
                match after_group(group) {
                    Some(next) => position = next,
                    None => break,
                }
            }
            None => {
                page.last = Some(key.to_owned());
                page.contents.push(keys.describe(key));
                position = after_key(key);
            }
        }
    }
    Ok(page)
}

/// The group that a key belongs to: its beginning up to the first delimiter after the prefix.
fn group<'a>(key: &'a str, query: &ListQuery) -> Option<&'a str> {
    let delimiter = query.delimiter.as_deref()?;
    let found = key[query.prefix.len()..].find(delimiter)?;
    Some(&key[..query.prefix.len() + found + delimiter.len()])
}

/// The first position after a key.
fn after_key(key: &str) -> Vec<u8> {
    let mut position = key.as_bytes().to_vec();
    position.push(0);
    position
}

/// The first position after every key that begins with `group`. UTF-8 has no byte 0xff, so the last one can grow.
fn after_group(group: &str) -> Option<Vec<u8>> {
    let mut position = group.as_bytes().to_vec();
    *position.last_mut()? += 1;
    Some(position)
}

fn start(query: &ListQuery) -> Result<Vec<u8>, S3Rejection> {
    let after = |marker: &str| if marker.is_empty() { Vec::new() } else { after_key(marker) };
    match &query.version {
        ListVersion::V2 { continuation_token: Some(token), .. } => {
            let refused = || S3Rejection::new(ErrorCode::InvalidArgument, "the continuation token is none of ours");
            let text = token.strip_prefix("at-").filter(|text| text.len() <= 2 * crate::request::KEY_BYTES_MAX + 2);
            hex::decode(text.ok_or_else(refused)?).map_err(|_| refused())
        }
        ListVersion::V2 { start_after, .. } => Ok(after(start_after)),
        // A marker that is a group is the last line of the page before: none of its keys come again.
        ListVersion::V1 { marker } => match marker.starts_with(&query.prefix).then(|| group(marker, query)).flatten() {
            Some(group) if group == marker => Ok(after_group(group).unwrap_or_default()),
            _ => Ok(after(marker)),
        },
    }
}

/// The token for a position.
pub fn token(position: &[u8]) -> String {
    format!("at-{}", hex::encode(position))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    struct Keys(BTreeSet<String>);

    impl SortedKeys for Keys {
        fn seek(&self, position: &[u8]) -> Option<&str> {
            self.0.iter().map(String::as_str).find(|key| key.as_bytes() >= position)
        }

        fn describe(&self, key: &str) -> Listed {
            Listed { key: key.into(), size: 0, etag: String::new(), modified: 0 }
        }
    }

    fn keys(names: &[&str]) -> Keys {
        Keys(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn query(prefix: &str, delimiter: &str, max_keys: usize) -> ListQuery {
        let version = ListVersion::V2 { start_after: String::new(), continuation_token: None };
        let delimiter = (!delimiter.is_empty()).then(|| delimiter.to_owned());
        ListQuery { version, prefix: prefix.into(), delimiter, max_keys, encode_url: false }
    }

    fn names(page: &Page) -> (Vec<&str>, Vec<&str>) {
        let contents = page.contents.iter().map(|listed| listed.key.as_str()).collect();
        (contents, page.common_prefixes.iter().map(String::as_str).collect())
    }

    #[test]
    fn groups_are_one_line() {
        let keys = keys(&["a-b", "a/b", "a/c", "b", "b/x/y", "c"]);
        let all = page(&keys, &query("", "/", 1000)).unwrap();
        assert_eq!(names(&all), (vec!["a-b", "b", "c"], vec!["a/", "b/"]));
        assert_eq!(all.next_position, None);
        let inside = page(&keys, &query("b/", "/", 1000)).unwrap();
        assert_eq!(names(&inside), (vec![], vec!["b/x/"]));
        let inside = page(&keys, &query("b", "", 1000)).unwrap();
        assert_eq!(names(&inside), (vec!["b", "b/x/y"], vec![]));
        assert_eq!(page(&keys, &query("zz", "/", 1000)).unwrap(), Page::default());
        assert_eq!(page(&keys, &query("", "/", 0)).unwrap(), Page::default());
    }

    #[test]
    fn exactly_the_last_key_is_not_truncated() {
        let keys = keys(&["a", "b"]);
        assert_eq!(page(&keys, &query("", "", 2)).unwrap().next_position, None);
        assert!(page(&keys, &query("", "", 1)).unwrap().next_position.is_some());
    }

    #[test]
    fn a_marker_that_is_a_group_skips_the_group() {
        let keys = keys(&["a/b", "a/c", "b"]);
        let from = |marker: &str| {
            let version = ListVersion::V1 { marker: marker.into() };
            page(&keys, &ListQuery { version, ..query("", "/", 1000) }).unwrap()
        };
        assert_eq!(names(&from("a/")), (vec!["b"], vec![]));
        assert_eq!(names(&from("a/b")), (vec!["b"], vec!["a/"]));
        assert_eq!(names(&from("b")), (vec![], vec![]));
    }

    #[test]
    fn foreign_tokens_are_refused() {
        for token in ["", "at", "xx-00", "at-0", "at-zz", &format!("at-{}", "00".repeat(2000))] {
            let version = ListVersion::V2 { start_after: String::new(), continuation_token: Some(token.into()) };
            assert!(
                page(&keys(&["a"]), &ListQuery { version, ..query("", "", 1) }).is_err() || token == "at-",
                "{token}"
            );
        }
    }

    /// All keys at once, grouped by counting, without positions.
    fn naive(keys: &Keys, prefix: &str, delimiter: &str) -> BTreeMap<String, bool> {
        let lines = keys.0.iter().filter_map(|key| {
            let rest = key.strip_prefix(prefix)?;
            Some(match (delimiter.is_empty(), rest.find(delimiter)) {
                (false, Some(at)) => (format!("{prefix}{}{delimiter}", &rest[..at]), true),
                _ => (key.clone(), false),
            })
        });
        lines.collect()
    }

    #[test]
    fn a_limited_caller_sees_its_paths_alone() {
        let keys = keys(&["a", "a-b", "a/b", "a/b-c", "a/b/c", "a/b/d/e", "b", "c/d"]);
        let listed = |paths: &[&str], prefix: &str, delimiter: &str| {
            let page = page(&Below { keys: &keys, paths }, &query(prefix, delimiter, 1000)).unwrap();
            let (contents, groups) = names(&page);
            contents.into_iter().chain(groups).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(listed(&["a/b"], "", ""), ["a/b", "a/b/c", "a/b/d/e"]);
        assert_eq!(listed(&["c", "a/b/d", "b"], "", ""), ["a/b/d/e", "b", "c/d"]);
        assert_eq!(listed(&["a/b/d", "c"], "", "/"), ["a/", "c/"]);
        assert_eq!(listed(&["a/b"], "c", ""), Vec::<String>::new());
        assert_eq!(listed(&[], "", ""), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn pages_together_are_the_whole(
            names in proptest::collection::btree_set("[ab/é-]{1,5}", 0..20),
            prefix in "[ab/]{0,2}",
            delimiter in "(/|a|b/|é)?",
            max_keys in 1usize..4,
            first_version: bool,
        ) {
            let keys = Keys(names);
            let mut seen = BTreeMap::new();
            let mut query = query(&prefix, &delimiter, max_keys);
            if first_version {
                query.version = ListVersion::V1 { marker: String::new() };
            }
            for _ in 0..100 {
                let page = page(&keys, &query).unwrap();
                prop_assert!(page.contents.len() + page.common_prefixes.len() <= max_keys);
                for line in page.contents.iter().map(|listed| (listed.key.clone(), false))
                    .chain(page.common_prefixes.iter().map(|group| (group.clone(), true))) {
                    prop_assert!(seen.insert(line.0, line.1).is_none(), "a line came twice");
                }
                let Some(position) = page.next_position else { break };
                query.version = if first_version {
                    ListVersion::V1 { marker: page.last.unwrap() }
                } else {
                    ListVersion::V2 { start_after: "zzz".into(), continuation_token: Some(token(&position)) }
                };
            }
            prop_assert_eq!(seen, naive(&keys, &prefix, &delimiter));
        }
    }
}
