//! XML that clients send: the parts of an upload, the keys to delete.
//!
//! Both are lists of items with fields, whose texts are all that matters: namespaces and order are ignored, as S3 does.
//! Entities are the five of XML and characters by number; a document type is refused, and so is what has more items than
//! the request may have. Nothing is kept but the items.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

use crate::error::{ErrorCode, S3Rejection};
use crate::ingest::PARTS_MAX;

/// Most keys of one request to delete, as in S3.
pub const DELETIONS_MAX: usize = 1000;
/// Deepest element of a document.
const DEPTH_MAX: usize = 8;

fn malformed() -> S3Rejection {
    ErrorCode::MalformedXML.into()
}

/// Takes the text of an element, by the names that lead to it.
type TakeText<'a> = &'a mut dyn FnMut(&[String], &str) -> Result<(), S3Rejection>;

/// Hands over the text of each element when it ends.
fn read(document: &[u8], take: TakeText<'_>) -> Result<(), S3Rejection> {
    let document = std::str::from_utf8(document).map_err(|_| malformed())?;
    let mut reader = quick_xml::Reader::from_str(document);
    let (mut names, mut text, mut seen) = (Vec::new(), String::new(), false);
    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Start(start) => {
                text.clear();
                names.push(start.local_name().as_ref().to_owned());
                if names.len() > DEPTH_MAX || (names.len() == 1 && std::mem::replace(&mut seen, true)) {
                    return Err(malformed());
                }
            }
            Event::Text(more) => text.push_str(&more),
            Event::CData(more) => text.push_str(&more),
            Event::GeneralRef(entity) => match entity.resolve_char_ref().map_err(|_| malformed())? {
                Some(character) => text.push(character),
                None => text.push_str(resolve_predefined_entity(&entity).ok_or_else(malformed)?),
            },
            // As if it were written in two.
            Event::Empty(empty) => {
                names.push(empty.local_name().as_ref().to_owned());
                take(&names, "")?;
                names.pop();
                text.clear();
            }
            Event::End(_) => {
                take(&names, &text)?;
                names.pop();
                text.clear();
            }
            Event::Eof if names.is_empty() && seen => return Ok(()),
            Event::Eof | Event::DocType(_) => return Err(malformed()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
}

/// The list of parts that completes an upload: numbers and entity tags without quotes.
///
/// # Errors
/// `MalformedXML`.
pub fn parts(document: &[u8]) -> Result<Vec<(u32, String)>, S3Rejection> {
    let (mut parts, mut number, mut etag) = (Vec::new(), None, None);
    read(document, &mut |names, text| {
        match names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [_, "Part", "PartNumber"] => number = text.trim().parse().ok(),
            [_, "Part", "ETag"] => etag = Some(text.trim().trim_matches('"').to_owned()),
            [_, "Part"] => parts.push(number.take().zip(etag.take()).ok_or_else(malformed)?),
            _ => {}
        }
        if parts.len() > PARTS_MAX as usize { Err(malformed()) } else { Ok(()) }
    })?;
    Ok(parts)
}

/// An object to delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deletion {
    /// Its key.
    pub key: String,
    /// The version that is meant.
    pub version: Option<String>,
    /// The entity tag that it must have, without quotes.
    pub etag: Option<String>,
    /// Whether there is a condition that is not understood here.
    pub has_other_condition: bool,
}

/// The list of keys to delete, and whether only failures are to be told.
///
/// # Errors
/// `MalformedXML`.
pub fn deletions(document: &[u8]) -> Result<(Vec<Deletion>, bool), S3Rejection> {
    let (mut list, mut one, mut quiet) = (Vec::new(), Deletion::default(), false);
    read(document, &mut |names, text| {
        match names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["Delete", "Quiet"] => quiet = text.trim() == "true",
            ["Delete", "Object", "Key"] => one.key = text.to_owned(),
            ["Delete", "Object", "VersionId"] => one.version = Some(text.trim().to_owned()),
            ["Delete", "Object", "ETag"] => one.etag = Some(text.trim().trim_matches('"').to_owned()),
            ["Delete", "Object", _] => one.has_other_condition = true,
            ["Delete", "Object"] => list.push(std::mem::take(&mut one)),
            ["Delete"] => {}
            _ => return Err(malformed()),
        }
        let bad = list.last().is_some_and(|deletion: &Deletion| deletion.key.is_empty());
        if bad || list.len() > DELETIONS_MAX { Err(malformed()) } else { Ok(()) }
    })?;
    if list.is_empty() { Err(malformed()) } else { Ok((list, quiet)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_read_as_clients_write_them() {
        let text = "<?xml version=\"1.0\"?><CompleteMultipartUpload xmlns=\"x\">\n <Part><ETag>&quot;ab&#34;</ETag>\
                    <PartNumber> 1 </PartNumber><ChecksumCRC32>AAAA</ChecksumCRC32></Part><Part><PartNumber>2</PartNumber>\
                    <ETag>cd</ETag></Part></CompleteMultipartUpload>";
        assert_eq!(parts(text.as_bytes()).unwrap(), [(1, "ab".to_owned()), (2, "cd".to_owned())]);
        for bad in ["", "<a>", "<a><Part><ETag>x</ETag></Part></a>", "<a><Part/></a>", "<a/><a/>", "<!DOCTYPE a><a/>"] {
            assert!(parts(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn deletions_are_read_with_what_they_depend_on() {
        let text = "<Delete><Quiet>true</Quiet><Object><Key>a&amp;b &#x3c;</Key></Object><Object><Key><![CDATA[c<d]]></Key>\
                    <VersionId>null</VersionId><ETag>&quot;t&quot;</ETag><Size>1</Size></Object></Delete>";
        let (list, quiet) = deletions(text.as_bytes()).unwrap();
        assert!(quiet);
        assert_eq!(list[0], Deletion { key: "a&b <".into(), ..Deletion::default() });
        let (version, etag) = (Some("null".into()), Some("t".into()));
        assert_eq!(list[1], Deletion { key: "c<d".into(), version, etag, has_other_condition: true });
        let many = format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(DELETIONS_MAX + 1));
        for bad in [
            "<Delete></Delete>",
            "<Delete><Object/></Delete>",
            "<Other><Object><Key>a</Key></Object></Other>",
            "<Delete><Object><Key>&unknown;</Key></Object></Delete>",
            "<Delete><Object><Key>a</Key>",
            &many,
        ] {
            assert!(deletions(bad.as_bytes()).is_err(), "{bad:.80}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "(<|>|/|&|;|#|Delete|Object|Key|Part|a|\"|!\\[CDATA\\[|\\]\\]){0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (parts(text.as_bytes()), deletions(text.as_bytes()), parts(&bytes), deletions(&bytes));
        }
    }
}
