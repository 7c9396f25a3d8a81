//! `/ipfs/{cid}/{path}`: blocks, archives and files of any graph that is held (the IPFS trustless gateway, and the path
//! gateway's files).
//!
//! 1. The format: `format=raw|car` in the query beats `Accept`; without either, the file itself.
//! 2. The path is followed to its end, which must be held: a name that is not there, or a block on the way, is a 404 before
//!    the first byte.
//! 3. `raw` gives the block at the end; `car` the blocks of the path and of the scope (`dag-scope`, `entity-bytes`), in
//!    depth-first order, made while they are sent. A block that turns out to be missing cuts the connection: there is no
//!    archive that looks whole and is not. A file is answered by ranges; where it lies in a plain file, from there.
//!
//! Deviations: `order=unk` is answered in depth-first order, as is everything; a folder without `index.html` is listed as
//! JSON, not HTML; `/ipns`, TAR and conversions between codecs are not served.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cairn_content::graph::{
    BlockStream, Blocks, DagFile, Entity, EntityBytes, GraphError, Resolved, Scope, entity, list_folder, resolve,
};
use cairn_content::{MAX_BLOCK_BYTES, block_section, header_section};
use cid::Cid;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LOCATION, HeaderName, HeaderValue, VARY};
use sha2::{Digest, Sha256};

use super::answer::{CACHE_IMMUTABLE, Content, Found, RequestHead, refusal_in, value};
use super::body::{ChunkSource, read_chunk};
use super::content_type;
use super::rejection::RequestRejection;
use super::routes::{disposition, file, folder, query_value};
use crate::conditional::ETag;
use crate::gate::Subject;
use crate::path::{self, percent_encode};
use crate::source::{ContentSource, DataEntry, FolderEntry, RangeReader, Resource, SourceError};

const RAW: &str = "application/vnd.ipld.raw";
const CAR: &str = "application/vnd.ipld.car";
const CAR_ONCE: &str = "application/vnd.ipld.car; version=1; order=dfs; dups=n";
const CAR_DUPLICATES: &str = "application/vnd.ipld.car; version=1; order=dfs; dups=y";
const DAG_PB: u64 = 0x70;
const DAG_CBOR: u64 = 0x71;
const HASH_IDENTITY: u64 = 0x00;

const X_IPFS_PATH: HeaderName = HeaderName::from_static("x-ipfs-path");
const X_IPFS_ROOTS: HeaderName = HeaderName::from_static("x-ipfs-roots");
/// Most CIDs in `X-Ipfs-Roots`: beyond it, the header would not fit what clients read.
const ROOTS_MAX: usize = 32;
/// Most names of a foreign folder whose sizes are looked up, one block each.
const SIZED_MAX: usize = 10_000;

/// What a request under `/ipfs` comes to.
pub(crate) enum Answer {
    Found(Box<Found>),
    /// Another place to ask, relative to this server.
    Moved(String),
}

/// Answers a GET or HEAD under `/ipfs/`.
///
/// # Errors
/// The refusal to answer with instead.
pub(crate) fn answer(
    source: &Arc<dyn ContentSource>,
    head: &RequestHead,
    rest: &str,
) -> Result<Answer, RequestRejection> {
    let (format, negotiated) = format(head)?;
    let (root, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let root = Cid::try_from(root)
        .map_err(|error| RequestRejection::Cid { expected: "the CID of a block", detail: error.to_string() })?;
    let decoded = path::decode(rest)?;
    let request = Request { source, head, root, segments: &decoded.segments };
    let mut found = match format {
        Format::Raw => request.raw()?,
        Format::Car { duplicates } => request.car(duplicates)?,
        Format::File => match request.file()? {
            Answer::Found(found) => *found,
            moved => return Ok(moved),
        },
    };
    found.more.push((X_IPFS_PATH, value(&head.path)));
    if let (Some(name), true) = (format.name(), negotiated) {
        found.more.push((CONTENT_LOCATION, value(&format!("{}?format={name}", head.path))));
    }
    found.more.push((VARY, HeaderValue::from_static("Accept")));
    Ok(Answer::Found(Box::new(found)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Raw,
    Car { duplicates: bool },
    File,
}

impl Format {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Raw => Some("raw"),
            Self::Car { .. } => Some("car"),
            Self::File => None,
        }
    }
}

/// The format, and whether it came from `Accept` alone.
fn format(head: &RequestHead) -> Result<(Format, bool), RequestRejection> {
    let accepted = accepted(head);
    let duplicates = car_parameters(head, &accepted)?;
    if let Some(format) = query_value(head, "format") {
        return match format.as_str() {
            "raw" => Ok((Format::Raw, false)),
            "car" => Ok((Format::Car { duplicates }, false)),
            _ => Err(RequestRejection::Format { format }),
        };
    }
    for item in &accepted {
        match item.media_type.as_str() {
            RAW => return Ok((Format::Raw, true)),
            CAR => return Ok((Format::Car { duplicates }, true)),
            _ => {}
        }
    }
    match accepted.into_iter().find(|item| is_other_format(&item.media_type)) {
        Some(other) => Err(RequestRejection::Format { format: other.media_type }),
        None => Ok((Format::File, false)),
    }
}

fn is_other_format(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.ipld.") || media_type.starts_with("application/vnd.ipfs.")
}

/// One item of `Accept`: its type in lower case, its parameters as they came.
struct Accepted {
    media_type: String,
    parameters: Vec<(String, String)>,
}

fn accepted(head: &RequestHead) -> Vec<Accepted> {
    let lines = head.headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let items = lines.flat_map(|line| line.split(',')).map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters = parts.filter_map(|part| part.split_once('=')).map(|(name, value)| {
            (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_ascii_lowercase())
        });
        Accepted { media_type, parameters: parameters.collect() }
    });
    items.filter(|item| !item.parameters.iter().any(|(name, value)| name == "q" && value == "0")).collect()
}

/// Whether duplicates are wanted in an archive. The query beats `Accept`, and `Accept` counts even if the query names the
/// format.
fn car_parameters(head: &RequestHead, accepted: &[Accepted]) -> Result<bool, RequestRejection> {
    let of_accept = accepted.iter().find(|item| item.media_type == CAR);
    let parameter = |name: &str| {
        let named =
            |item: &Accepted| item.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        query_value(head, &format!("car-{name}")).or_else(|| of_accept.and_then(named))
    };
    let refused = |name, expected| Err(RequestRejection::Query { name, expected });
    if parameter("version").is_some_and(|version| version != "1") {
        return refused("car-version", "1");
    }
    if parameter("order").is_some_and(|order| order != "dfs" && order != "unk") {
        return refused("car-order", "dfs or unk");
    }
    match parameter("dups").as_deref() {
        None | Some("n") => Ok(false),
        Some("y") => Ok(true),
        Some(_) => refused("car-dups", "y or n"),
    }
}

struct Request<'a> {
    source: &'a Arc<dyn ContentSource>,
    head: &'a RequestHead,
    root: Cid,
    segments: &'a [String],
}

impl Request<'_> {
    fn blocks(&self) -> SourceBlocks {
        SourceBlocks(self.source.clone())
    }

    fn refuse(&self, error: GraphError) -> RequestRejection {
        refuse(self.head, error)
    }

    fn resolve(&self) -> Result<Resolved, RequestRejection> {
        resolve(&self.blocks(), &self.root, self.segments).map_err(|error| self.refuse(error))
    }

    /// The block at the end of the path.
    fn raw(&self) -> Result<Found, RequestRejection> {
        let path = self.resolve()?;
        if !path.inside.is_empty() {
            return Err(RequestRejection::Format { format: "raw".into() });
        }
        let resource = self.block(&path.terminus)?;
        let cid = path.terminus;
        // A dag-pb node of other tools may carry file bytes itself; those of datasets never do, and only these are in a grant.
        let is_data = cid.codec() != DAG_PB;
        Ok(Found {
            subject: Subject::Block { cid, is_data },
            etag: ETag::new(format!("{cid}.raw")),
            cache_control: CACHE_IMMUTABLE,
            content_type: RAW,
            more: vec![
                (X_IPFS_ROOTS, roots(&path)),
                (CONTENT_DISPOSITION, disposition(self.head, "attachment", format!("{cid}.bin"))),
            ],
            content: Content::Bytes(resource),
        })
    }

    fn block(&self, cid: &Cid) -> Result<Resource, RequestRejection> {
        if cid.hash().code() == HASH_IDENTITY {
            return Ok(Resource::of_bytes(cid.hash().digest().to_vec()));
        }
        self.source.block(cid)?.ok_or_else(|| self.refuse(GraphError::Missing { cid: *cid }))
    }

    /// An archive of the path and the scope.
    fn car(&self, duplicates: bool) -> Result<Found, RequestRejection> {
        let asked = asked_scope(self.head)?;
        let path = self.resolve()?;
        let scope = self.scope(asked, &path)?;
        let mut hasher = Sha256::new();
        hasher.update(format!("{duplicates} {scope:?} {}", self.segments.join("/")));
        let digest = hasher.finalize()[..8].iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let (root, roots) = (self.root, roots(&path));
        let subject = Subject::Path { root, path: self.segments.join("/"), cid: Some(path.terminus) };
        let stream = BlockStream::new(self.blocks(), &path, scope, duplicates);
        Ok(Found {
            subject,
            etag: ETag::new(format!("{root}.car.{digest}")),
            cache_control: CACHE_IMMUTABLE,
            content_type: if duplicates { CAR_DUPLICATES } else { CAR_ONCE },
            more: vec![
                (X_IPFS_ROOTS, roots),
                (CONTENT_DISPOSITION, disposition(self.head, "attachment", format!("{root}.car"))),
            ],
            content: Content::Stream(Box::new(CarChunks::new(&root, stream))),
        })
    }

    /// The scope with its byte range settled; that the block at the end is held is settled with it.
    fn scope(&self, asked: AskedScope, path: &Resolved) -> Result<Scope, RequestRejection> {
        let end = entity(&self.blocks(), &path.terminus).map_err(|error| self.refuse(error))?;
        Ok(match asked {
            AskedScope::Block => Scope::Block,
            AskedScope::All => Scope::All,
            AskedScope::Entity(None) => Scope::Entity(None),
            AskedScope::Entity(Some(bytes)) => match end {
                Entity::File(0) => Scope::Entity(None),
                Entity::File(size) => match bytes.within(size) {
                    Some((0, last)) if last + 1 == size => Scope::Entity(None),
                    Some(range) => Scope::Entity(Some(range)),
                    None => {
                        let expected = "bytes that the file has, from:to with from before to";
                        return Err(RequestRejection::Query { name: "entity-bytes", expected });
                    }
                },
                // What is no file has no bytes to choose from.
                _ => Scope::Entity(None),
            },
        })
    }

    /// The file or folder itself.
    fn file(&self) -> Result<Answer, RequestRejection> {
        let missing = || self.refuse(GraphError::Missing { cid: self.root });
        match data_entry(self.source, self.head, &self.root, self.segments)?.ok_or_else(missing)? {
            DataEntry::File { name, cid, resource } => {
                let name = query_value(self.head, "filename").or(self.segments.last().cloned()).unwrap_or(name);
                let content_type = if cid.codec() == DAG_CBOR {
                    "application/vnd.ipld.dag-cbor"
                } else {
                    content_type::by_name(&name)
                };
                let subject = Subject::Path { root: self.root, path: self.segments.join("/"), cid: Some(cid) };
                let mut found = file(subject, cid, resource, content_type, CACHE_IMMUTABLE);
                if query_value(self.head, "filename").is_some() {
                    found.more.push((CONTENT_DISPOSITION, disposition(self.head, "inline", name)));
                }
                Ok(Answer::Found(Box::new(found)))
            }
            DataEntry::Folder(entries) => self.folder(&entries),
        }
    }

    /// Its `index.html`, at an address that ends in a slash so that links in it work; else its names.
    fn folder(&self, entries: &[FolderEntry]) -> Result<Answer, RequestRejection> {
        let index = "index.html";
        if !entries.iter().any(|entry| entry.name == index && entry.file.is_some()) {
            return folder(self.head, &self.root, self.segments, entries, CACHE_IMMUTABLE)
                .map(|found| Answer::Found(Box::new(found)));
        }
        if !self.head.path.ends_with('/') {
            let query = self.head.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
            let path: Vec<String> = self.segments.iter().map(|name| format!("/{}", percent_encode(name))).collect();
            return Ok(Answer::Moved(format!("/ipfs/{}{}/{query}", self.root, path.concat())));
        }
        let segments: Vec<String> = self.segments.iter().cloned().chain([index.to_owned()]).collect();
        Request { segments: &segments, ..*self }.file()
    }
}

fn roots(path: &Resolved) -> HeaderValue {
    let shown: Vec<String> = path.roots.iter().take(ROOTS_MAX).map(Cid::to_string).collect();
    value(&shown.join(","))
}

#[derive(Debug, Clone, Copy)]
enum AskedScope {
    Block,
    Entity(Option<EntityBytes>),
    All,
}

fn asked_scope(head: &RequestHead) -> Result<AskedScope, RequestRejection> {
    let bytes = match query_value(head, "entity-bytes") {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| RequestRejection::Query {
            name: "entity-bytes",
            expected: "from:to, where to may be * and both may be negative",
        })?),
    };
    match query_value(head, "dag-scope").as_deref() {
        None if bytes.is_some() => Ok(AskedScope::Entity(bytes)),
        None | Some("all") => Ok(AskedScope::All),
        Some("entity") => Ok(AskedScope::Entity(bytes)),
        Some("block") => Ok(AskedScope::Block),
        Some(_) => Err(RequestRejection::Query { name: "dag-scope", expected: "block, entity or all" }),
    }
}

/// What a path leads to: as the source says, or else by following the graph of the root.
///
/// # Errors
/// A block on the way is missing or unreadable. A root that is not held at all gives nothing.
pub(crate) fn data_entry(
    source: &Arc<dyn ContentSource>,
    head: &RequestHead,
    root: &Cid,
    segments: &[String],
) -> Result<Option<DataEntry>, RequestRejection> {
    if let Some(entry) = source.data(root, segments)? {
        return Ok(Some(entry));
    }
    let blocks = SourceBlocks(source.clone());
    let refused = |error| refuse(head, error);
    let path = match resolve(&blocks, root, segments) {
        Err(GraphError::Missing { cid }) if cid == *root => return Ok(None),
        resolved => resolved.map_err(refused)?,
    };
    if !path.inside.is_empty() {
        return Err(RequestRejection::NotFound { kind: "file (the path ends inside a document)" });
    }
    let cid = path.terminus;
    match entity(&blocks, &cid) {
        Err(GraphError::Missing { cid }) if cid == *root => Ok(None),
        Err(error) => Err(refused(error)),
        Ok(Entity::File(_)) => {
            let file = DagFile::open(blocks, &cid).map_err(refused)?.expect("the entity is a file");
            let name = segments.last().cloned().unwrap_or_default();
            let resource = Resource { bytes: file.size(), reader: Box::new(GraphReader(file)) };
            Ok(Some(DataEntry::File { name, cid, resource }))
        }
        Ok(Entity::Folder) => {
            let names = list_folder(&blocks, &cid).map_err(refused)?.unwrap_or_default();
            let sized = names.len() <= SIZED_MAX;
            let file = |cid: Cid| match entity(&blocks, &cid) {
                Ok(Entity::File(bytes)) if sized => Some((cid, bytes)),
                _ => None,
            };
            let entries = names.into_iter().map(|(name, cid)| FolderEntry { name, file: file(cid) });
            Ok(Some(DataEntry::Folder(entries.collect())))
        }
        Ok(Entity::Symlink) => Err(RequestRejection::NotFound { kind: "file (a symbolic link is not followed)" }),
        Ok(Entity::Other) => {
            let resource = match source.block(&cid)? {
                Some(resource) => resource,
                None => Resource::of_bytes(cid.hash().digest().to_vec()),
            };
            Ok(Some(DataEntry::File { name: String::new(), cid, resource }))
        }
    }
}

fn refuse(head: &RequestHead, error: GraphError) -> RequestRejection {
    match error {
        GraphError::Missing { .. } if only_if_cached(head) => RequestRejection::NotCached { kind: "block" },
        GraphError::Missing { .. } => RequestRejection::NotFound { kind: "block" },
        GraphError::NoSuchName { .. } => RequestRejection::NotFound { kind: "path" },
        GraphError::Read { cid, error } => match refusal_in(&error) {
            Some(refusal) => RequestRejection::Refused(refusal),
            None => RequestRejection::Store(SourceError::of_read(error, format!("block {cid}"))),
        },
        other => RequestRejection::Graph { reason: other.to_string() },
    }
}

fn only_if_cached(head: &RequestHead) -> bool {
    head.headers.get_all(CACHE_CONTROL).iter().any(|line| {
        line.to_str().is_ok_and(|text| text.split(',').any(|item| item.trim().eq_ignore_ascii_case("only-if-cached")))
    })
}

/// Blocks of a source, read whole.
struct SourceBlocks(Arc<dyn ContentSource>);

impl Blocks for SourceBlocks {
    fn block(&self, cid: &Cid) -> io::Result<Option<Bytes>> {
        let Some(mut resource) = self.0.block(cid).map_err(io::Error::other)? else { return Ok(None) };
        if resource.bytes > MAX_BLOCK_BYTES as u64 {
            return Err(io::Error::other(format!("a block of {} bytes", resource.bytes)));
        }
        read_chunk(resource.reader.as_mut(), 0, resource.bytes as usize).map(Some)
    }
}

struct GraphReader(DagFile<SourceBlocks>);

impl RangeReader for GraphReader {
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer).map_err(io::Error::other)
    }
}

/// An archive, made while it is sent. Small blocks travel together.
struct CarChunks {
    header: Option<Vec<u8>>,
    blocks: BlockStream<SourceBlocks>,
    /// What ended the blocks early; told after the blocks before it are out.
    failed: Option<GraphError>,
    ended: bool,
}

impl CarChunks {
    /// Small blocks are collected up to so many bytes.
    const TOGETHER: usize = 64 << 10;

    fn new(root: &Cid, blocks: BlockStream<SourceBlocks>) -> Self {
        Self { header: Some(header_section(root)), blocks, failed: None, ended: false }
    }
}

impl ChunkSource for CarChunks {
    fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(error) = self.failed.take() {
            self.ended = true;
            return Err(io::Error::other(error));
        }
        let mut chunk = self.header.take().unwrap_or_default();
        while !self.ended && chunk.len() < Self::TOGETHER {
            match self.blocks.next_block() {
                Ok(Some((cid, data))) => chunk.extend(block_section(&cid, &data)),
                Ok(None) => self.ended = true,
                Err(error) if chunk.is_empty() => return Err(io::Error::other(error)),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Ok((!chunk.is_empty()).then(|| chunk.into()))
    }
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, Method};

    use super::*;

    fn head(query: &str, accept: Option<&str>) -> RequestHead {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(ACCEPT, value(accept));
        }
        RequestHead { method: Method::GET, path: "/ipfs/x".into(), query: Some(query.into()), headers }
    }

    #[test]
    fn the_query_beats_accept() {
        let of = |query: &str, accept: Option<&str>| format(&head(query, accept)).ok();
        let car = |duplicates| Format::Car { duplicates };
        assert_eq!(of("format=raw", Some(CAR)), Some((Format::Raw, false)));
        assert_eq!(of("format=car", Some(RAW)), Some((car(false), false)));
        assert_eq!(of("", Some("text/html, Application/vnd.ipld.raw;q=0.5")), Some((Format::Raw, true)));
        assert_eq!(of("", Some("application/vnd.ipld.car; version=1; dups=y")), Some((car(true), true)));
        assert_eq!(of("format=car", Some("application/vnd.ipld.car;dups=y")), Some((car(true), false)));
        assert_eq!(of("format=car&car-dups=n", Some("application/vnd.ipld.car;dups=y")), Some((car(false), false)));
        for accept in [None, Some("*/*"), Some("text/html")] {
            assert_eq!(of("", accept), Some((Format::File, false)));
        }
        for (query, accept) in [
            ("format=tar", None),
            ("", Some("application/vnd.ipfs.ipns-record")),
            ("format=car&car-version=2", None),
            ("format=car&car-dups=maybe", None),
            ("format=car&car-order=bfs", None),
        ] {
            assert_eq!(of(query, accept), None, "{query}");
        }
    }

    #[test]
    fn entity_bytes_mean_an_entity() {
        let of = |query: &str| asked_scope(&head(query, None));
        assert!(matches!(of(""), Ok(AskedScope::All)));
        assert!(matches!(of("entity-bytes=0:*"), Ok(AskedScope::Entity(Some(_)))));
        assert!(matches!(of("dag-scope=block&entity-bytes=0:1"), Ok(AskedScope::Block)));
        assert!(of("dag-scope=some").is_err() && of("entity-bytes=a").is_err());
    }
}
