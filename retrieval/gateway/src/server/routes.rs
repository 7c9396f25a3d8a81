//! The routes, from a request head to an object of the source.
//!
//! | route | names | body |
//! | --- | --- | --- |
//! | `/piece/{cid}` | PieceCID version 1 or 2 | raw unpadded bytes of the piece |
//! | `/piece/{cid}/proof?range=a-b` | the same, and bytes of it | a proof for the groups around them, see `proofs` |
//! | `/piece/{cid}/signed?group=&epoch=&nonce=` | the same, and a group of it | the group, its root signed by a provider, see `signed` |
//! | `/outboard/{cid}` | CID of a file or folder | its interior nodes as a CAR, see `proofs` |
//! | `/data/{dataset}/{path}` | root CID or registered name, then a path | a file, or a folder as JSON |
//! | `/ipfs/{cid}/{path}` | any CID, then a path | block, archive or file: see `trustless` |
//! | `/health` | | JSON |
//!
//! A folder is `{"dataset", "path", "entries": [{"name", "kind": "file", "size", "cid"} | {"name", "kind": "folder"}],
//! "next"}`, names ascending, at most 10,000 a page; `next` is null or the name to pass as `?after=` for the next page
//! (`?limit=` makes pages smaller). A dataset that is a single file is served at `/data/{dataset}` itself. A slash at the
//! end is allowed after a folder and never after a file.

use std::sync::Arc;

use cairn_protocol::{PieceCid, parse_piece_cid, piece_cid_v1, piece_cid_v2};
use cid::Cid;
use hyper::StatusCode;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::answer::{self, CACHE_IMMUTABLE, CACHE_NAMED, Content, Found, Prepared, RequestHead, Sending, value};
use super::content_type;
use super::proofs;
use super::rejection::RequestRejection;
use super::signed;
use super::trustless::{self, Answer};
use crate::conditional::ETag;
use crate::gate::{Gatekeeper, Subject};
use crate::path::{self, DecodedPath, percent_decode, percent_encode};
use crate::source::{ContentSource, DataEntry, FolderEntry, Resource};

/// Most names on one page of a folder.
const FOLDER_PAGE_MAX: usize = 10_000;

const X_PIECE_CID: HeaderName = HeaderName::from_static("x-piece-cid");
const X_CONTENT_CID: HeaderName = HeaderName::from_static("x-content-cid");

/// Answers a GET or HEAD. May block.
///
/// # Errors
/// The refusal to answer with instead.
pub(crate) fn prepare(
    source: &Arc<dyn ContentSource>,
    head: &RequestHead,
    sending: Sending,
    gate: Option<&dyn Gatekeeper>,
) -> Result<Prepared, RequestRejection> {
    let found = if let Some(rest) = head.path.strip_prefix("/piece/") {
        match rest.split_once('/') {
            Some((cid, "proof")) => proofs::piece_range(source.as_ref(), head, cid)?,
            Some((cid, "signed")) => signed::group(source.as_ref(), head, cid)?,
            _ => piece(source.as_ref(), rest)?,
        }
    } else if let Some(rest) = head.path.strip_prefix("/outboard/") {
        proofs::outboard(source.as_ref(), rest)?
    } else if let Some(rest) = head.path.strip_prefix("/data/") {
        data(source, head, rest)?
    } else if let Some(rest) = head.path.strip_prefix("/ipfs/") {
        match trustless::answer(source, head, rest)? {
            Answer::Found(found) => *found,
            Answer::Moved(location) => return Ok(answer::moved(&location)),
        }
    } else {
        return Err(RequestRejection::Route);
    };
    answer::object(head, found, sending, source.as_ref(), gate)
}

/// `/health`: what is held and how busy it is.
pub(crate) fn health(
    source: &dyn ContentSource,
    head: &RequestHead,
    uptime_seconds: u64,
    connections: usize,
    requests: usize,
) -> Prepared {
    let counts = source.counts();
    let body = json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": uptime_seconds,
        "datasets": counts.datasets,
        "pieces": counts.pieces,
        "connections": connections,
        "requests": requests,
    });
    answer::json(head, StatusCode::OK, &body)
}

/// Reads a PieceCID.
pub(crate) fn parse_piece(text: &str) -> Result<PieceCid, RequestRejection> {
    let rejected = |detail: String| RequestRejection::Cid { expected: "a PieceCID of version 1 or 2", detail };
    let cid = Cid::try_from(text).map_err(|error| rejected(error.to_string()))?;
    parse_piece_cid(&cid).map_err(|error| rejected(error.to_string()))
}

fn piece(source: &dyn ContentSource, rest: &str) -> Result<Found, RequestRejection> {
    let asked = parse_piece(rest)?;
    let held = source.piece(&asked.comm_p)?.ok_or(RequestRejection::NotFound { kind: "piece" })?;
    let other = asked.size.filter(|size| size.payload_bytes != held.resource.bytes);
    if let Some(size) = other {
        return Err(RequestRejection::PayloadLength { held: held.resource.bytes, asked: size.payload_bytes });
    }
    let canonical = piece_cid_v2(&held.comm_p, held.resource.bytes, held.padded).to_string();
    let disposition = format!("attachment; filename=\"{}.car\"", piece_cid_v1(&held.comm_p));
    Ok(Found {
        subject: Subject::Piece(piece_cid_v1(&held.comm_p)),
        etag: ETag::new(canonical.clone()),
        cache_control: CACHE_IMMUTABLE,
        content_type: "application/octet-stream",
        more: vec![(X_PIECE_CID, value(&canonical)), (CONTENT_DISPOSITION, value(&disposition))],
        content: Content::Bytes(held.resource),
    })
}

fn data(source: &Arc<dyn ContentSource>, head: &RequestHead, rest: &str) -> Result<Found, RequestRejection> {
    let DecodedPath { mut segments, trailing_slash } = path::decode(rest)?;
    if segments.is_empty() {
        return Err(RequestRejection::Route);
    }
    let dataset = segments.remove(0);
    let (root, cache_control) = match Cid::try_from(dataset.as_str()) {
        Ok(root) => (root, CACHE_IMMUTABLE),
        Err(_) => {
            let named = source.dataset_by_name(&dataset)?;
            (named.ok_or(RequestRejection::NotFound { kind: "dataset" })?, CACHE_NAMED)
        }
    };
    let not_found = RequestRejection::NotFound { kind: "path in the dataset" };
    match trustless::data_entry(source, head, &root, &segments)?.ok_or(not_found)? {
        DataEntry::File { .. } if trailing_slash && !segments.is_empty() => {
            Err(RequestRejection::NotFound { kind: "folder (a file has this name)" })
        }
        DataEntry::File { name, cid, resource } => {
            let subject = Subject::Path { root, path: segments.join("/"), cid: Some(cid) };
            Ok(file(subject, cid, resource, content_type::by_name(&name), cache_control))
        }
        DataEntry::Folder(entries) => folder(head, &root, &segments, &entries, cache_control),
    }
}

pub(crate) fn file(
    subject: Subject,
    cid: Cid,
    resource: Resource,
    content_type: &'static str,
    cache_control: &'static str,
) -> Found {
    let cid = cid.to_string();
    Found {
        subject,
        etag: ETag::new(cid.clone()),
        cache_control,
        content_type,
        // Datasets are foreign content: a browser may show them, but runs nothing in them.
        more: vec![
            (X_CONTENT_CID, value(&cid)),
            (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
        ],
        content: Content::Bytes(resource),
    }
}

pub(crate) fn folder(
    head: &RequestHead,
    root: &Cid,
    segments: &[String],
    entries: &[FolderEntry],
    cache_control: &'static str,
) -> Result<Found, RequestRejection> {
    let limit_rejected = RequestRejection::Query { name: "limit", expected: "a number from 1 to 10000" };
    let limit = match query_value(head, "limit") {
        None => FOLDER_PAGE_MAX,
        Some(text) => match text.parse() {
            Ok(limit @ 1..=FOLDER_PAGE_MAX) => limit,
            _ => return Err(limit_rejected),
        },
    };
    let after = query_value(head, "after");
    let start = after.map_or(0, |after| entries.partition_point(|entry| entry.name <= after));
    let page = &entries[start..entries.len().min(start + limit)];
    let more = start + page.len() < entries.len();
    let body = json!({
        "dataset": root.to_string(),
        "path": segments.join("/"),
        "entries": page.iter().map(entry_json).collect::<Vec<_>>(),
        "next": page.last().filter(|_| more).map(|entry| &entry.name),
    });
    let text = body.to_string().into_bytes();
    let digest: String = Sha256::digest(&text)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Found {
        subject: Subject::Path { root: *root, path: segments.join("/"), cid: None },
        etag: ETag::new(format!("folder-{digest}")),
        cache_control,
        content_type: "application/json",
        more: Vec::new(),
        content: Content::Bytes(Resource::of_bytes(text)),
    })
}

fn entry_json(entry: &FolderEntry) -> serde_json::Value {
    match &entry.file {
        Some((cid, size)) => json!({ "name": entry.name, "kind": "file", "size": size, "cid": cid.to_string() }),
        None => json!({ "name": entry.name, "kind": "folder" }),
    }
}

/// A disposition of `kind` with the name from `?filename=`, or the other one.
pub(crate) fn disposition(head: &RequestHead, kind: &str, name: String) -> HeaderValue {
    let name = query_value(head, "filename").unwrap_or(name);
    let name: String = name.chars().take(200).collect();
    let plain: String =
        name.chars().map(|c| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '_' }).collect();
    if plain == name {
        return value(&format!("{kind}; filename=\"{plain}\""));
    }
    value(&format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{}", percent_encode(&name)))
}

/// The first value of a query parameter, percent-decoded; one that does not decode counts as absent.
pub(crate) fn query_value(head: &RequestHead, name: &str) -> Option<String> {
    let pairs = head.query.as_deref()?.split('&').filter_map(|pair| pair.split_once('='));
    let (_, raw) = pairs.into_iter().find(|(key, _)| *key == name)?;
    String::from_utf8(percent_decode(raw.as_bytes())?).ok()
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, Method};

    use super::*;

    #[test]
    fn file_names_are_quoted_safely() {
        let name = |query: &str| {
            let query = Some(query.to_owned());
            let head = RequestHead { method: Method::GET, path: "/ipfs/x".into(), query, headers: HeaderMap::new() };
            disposition(&head, "attachment", "bafkqaaa.bin".into()).to_str().unwrap().to_owned()
        };
        assert_eq!(name(""), "attachment; filename=\"bafkqaaa.bin\"");
        assert_eq!(name("filename=foobar.bin"), "attachment; filename=\"foobar.bin\"");
        assert_eq!(name("filename=%22a%0d%0ab"), "attachment; filename=\"_a__b\"; filename*=UTF-8''%22a%0D%0Ab");
        assert_eq!(name("filename=%D1%82.bin"), "attachment; filename=\"_.bin\"; filename*=UTF-8''%D1%82.bin");
        assert_eq!(name("filename=%zz"), "attachment; filename=\"bafkqaaa.bin\"");
    }
}
