//! Entity tags and conditional requests (RFC 9110 sections 8.8.3 and 13).
//!
//! Every tag of this gateway is strong and made from a content identifier, so it never changes for the same bytes and
//! never repeats for others. There is no `Last-Modified`: content has no date. Hence the date conditions
//! (`If-Modified-Since`, `If-Unmodified-Since`) are ignored, as the RFC asks of a resource without one, and an `If-Range`
//! with a date never matches. The order of evaluation is that of section 13.2.2:
//!
//! 1. `If-Match` (strong comparison): no match gives 412.
//! 2. `If-None-Match` (weak comparison): a match gives 304.
//! 3. `If-Range` (strong comparison): no match ignores the `Range`.
//!
//! A list that does not follow the grammar matches nothing: `If-Match` then refuses and `If-None-Match` sends the bytes.

use std::fmt;

use hyper::HeaderMap;
use hyper::header::{HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE};

/// A strong entity tag, kept without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// Makes a tag of text.
    ///
    /// # Panics
    /// If a character may not stand in a tag: tags are made from identifiers, never from foreign text.
    pub fn new(text: String) -> Self {
        assert!(text.bytes().all(is_tag_byte), "not an entity tag: {text:?}");
        Self(text)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// What the preconditions of a request decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Answer as if there were none.
    Proceed,
    /// The client has these bytes: 304.
    NotModified,
    /// The client insists on other bytes: 412.
    Failed,
}

/// Evaluates `If-Match` and `If-None-Match` of a GET or HEAD for a resource that exists.
pub fn evaluate(headers: &HeaderMap, etag: &ETag) -> Precondition {
    if TagList::read(headers, &IF_MATCH).is_some_and(|list| !list.matches_strongly(etag)) {
        return Precondition::Failed;
    }
    match TagList::read(headers, &IF_NONE_MATCH) {
        Some(list) if list.matches_weakly(etag) => Precondition::NotModified,
        _ => Precondition::Proceed,
    }
}

/// Whether a `Range` may be honoured: there is no `If-Range`, or it names exactly this tag.
pub fn range_is_current(headers: &HeaderMap, etag: &ETag) -> bool {
    let mut values = headers.get_all(IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => value.as_bytes().trim_ascii() == etag.to_string().as_bytes(),
        (Some(_), Some(_)) => false,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum TagList {
    Any,
    Tags(Vec<ListedTag>),
    Malformed,
}

#[derive(Debug, PartialEq, Eq)]
struct ListedTag {
    weak: bool,
    opaque: Vec<u8>,
}

impl TagList {
    fn read(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut lines = headers.get_all(name).iter().peekable();
        lines.peek()?;
        let joined = lines.map(|line| line.as_bytes()).collect::<Vec<_>>().join(&b","[..]);
        Some(Self::parse(&joined))
    }

    fn parse(list: &[u8]) -> Self {
        let mut rest = list.trim_ascii();
        if rest == b"*" {
            return Self::Any;
        }
        let mut tags = Vec::new();
        loop {
            while let [b',' | b' ' | b'\t', tail @ ..] = rest {
                rest = tail;
            }
            if rest.is_empty() {
                return if tags.is_empty() { Self::Malformed } else { Self::Tags(tags) };
            }
            let Some((tag, tail)) = parse_tag(rest) else { return Self::Malformed };
            tags.push(tag);
            rest = tail.trim_ascii_start();
            if !rest.is_empty() && rest[0] != b',' {
                return Self::Malformed;
            }
        }
    }

    fn matches_strongly(&self, etag: &ETag) -> bool {
        self.matches(|tag| !tag.weak && tag.opaque == etag.0.as_bytes())
    }

    fn matches_weakly(&self, etag: &ETag) -> bool {
        self.matches(|tag| tag.opaque == etag.0.as_bytes())
    }

    fn matches(&self, accept: impl Fn(&ListedTag) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(accept),
            Self::Malformed => false,
        }
    }
}

/// Reads `[W/]"opaque"` from the front; gives the tag and what follows it.
fn parse_tag(text: &[u8]) -> Option<(ListedTag, &[u8])> {
    let (weak, quoted) = match text.strip_prefix(b"W/") {
        Some(quoted) => (true, quoted),
        None => (false, text),
    };
    let quoted = quoted.strip_prefix(b"\"")?;
    let end = quoted.iter().position(|&byte| byte == b'"')?;
    let opaque = &quoted[..end];
    opaque
        .iter()
        .all(|&byte| is_tag_byte(byte))
        .then(|| (ListedTag { weak, opaque: opaque.to_vec() }, &quoted[end + 1..]))
}

/// `etagc` of RFC 9110 8.8.3.
fn is_tag_byte(byte: u8) -> bool {
    byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::Precondition::*;
    use super::*;

    fn headers(lines: &[(&HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn precondition_table() {
        let etag = ETag::new("abc".into());
        let cases: &[(&[(&HeaderName, &str)], Precondition)] = &[
            (&[], Proceed),
            (&[(&IF_NONE_MATCH, "\"abc\"")], NotModified),
            (&[(&IF_NONE_MATCH, "W/\"abc\"")], NotModified),
            (&[(&IF_NONE_MATCH, "*")], NotModified),
            (&[(&IF_NONE_MATCH, "\"x\", \"abc\"")], NotModified),
            (&[(&IF_NONE_MATCH, "\"x,y\" ,, W/\"abc\"")], NotModified),
            (&[(&IF_NONE_MATCH, "\"x\""), (&IF_NONE_MATCH, "\"abc\"")], NotModified),
            (&[(&IF_NONE_MATCH, "\"x\"")], Proceed),
            (&[(&IF_NONE_MATCH, "abc")], Proceed),
            (&[(&IF_NONE_MATCH, "\"abc")], Proceed),
            (&[(&IF_NONE_MATCH, "\"x\" \"abc\"")], Proceed),
            (&[(&IF_NONE_MATCH, "w/\"abc\"")], Proceed),
            (&[(&IF_NONE_MATCH, "")], Proceed),
            (&[(&IF_MATCH, "\"abc\"")], Proceed),
            (&[(&IF_MATCH, "*")], Proceed),
            (&[(&IF_MATCH, "\"x\", \"abc\"")], Proceed),
            (&[(&IF_MATCH, "W/\"abc\"")], Failed),
            (&[(&IF_MATCH, "\"x\"")], Failed),
            (&[(&IF_MATCH, "abc")], Failed),
            (&[(&IF_MATCH, "\"x\""), (&IF_NONE_MATCH, "\"abc\"")], Failed),
            (&[(&IF_MATCH, "\"abc\""), (&IF_NONE_MATCH, "\"abc\"")], NotModified),
        ];
        for (lines, expected) in cases {
            assert_eq!(evaluate(&headers(lines), &etag), *expected, "{lines:?}");
        }
    }

    #[test]
    fn if_range_table() {
        let etag = ETag::new("abc".into());
        let cases = [
            ("\"abc\"", true),
            ("W/\"abc\"", false),
            ("\"x\"", false),
            ("*", false),
            ("abc", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", false),
            ("\"abc\", \"x\"", false),
        ];
        assert!(range_is_current(&HeaderMap::new(), &etag));
        for (value, expected) in cases {
            assert_eq!(range_is_current(&headers(&[(&IF_RANGE, value)]), &etag), expected, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(list in proptest::collection::vec(any::<u8>(), 0..64)) {
            TagList::parse(&list);
        }

        #[test]
        fn own_tag_is_found_in_any_list(others in proptest::collection::vec("[a-z,!#]{0,6}", 0..5), at in 0usize..6) {
            let mut tags: Vec<String> = others.iter().map(|tag| format!("\"{tag}\"")).collect();
            tags.insert(at.min(tags.len()), "\"own-tag\"".into());
            let list = TagList::parse(tags.join(", ").as_bytes());
            prop_assert!(list.matches_strongly(&ETag::new("own-tag".into())));
        }
    }
}
