//! Proofs beside the data: of a range of a piece, and of all leaves of a file or folder at once.
//!
//! - `/piece/{cid}/proof?range=a-b` (both ends included, as in a `Range`) is a `cairn_content::RangeProof` in bytes, for the
//!   groups of 1,040,384 bytes around the range. `X-Proof-Bytes: first-last` names the bytes that it is about; they come by an
//!   ordinary range of `/piece/{cid}`. It is made from roots that are kept; the piece itself is not read.
//! - `/outboard/{cid}` is a CAR of the interior nodes below a UnixFS file or folder, depth first, each once, its leaves left
//!   out: 0.005 % of the data. With it a client checks every leaf of every range that it reads. At most [`OUTBOARD_BYTES_MAX`].

use std::collections::HashSet;

use cairn_content::{BlockId, CarWriter, Codec, MAX_BLOCK_BYTES, PbNode, PieceGroups, verify_block};
use cairn_protocol::{CommP, piece_cid_v1, piece_cid_v2};
use cid::Cid;
use hyper::header::HeaderName;

use super::answer::{CACHE_IMMUTABLE, Content, Found, RequestHead, value};
use super::body::read_chunk;
use super::rejection::RequestRejection;
use super::routes::{parse_piece, query_value};
use crate::conditional::ETag;
use crate::gate::Subject;
use crate::source::{ContentSource, Resource, SourceError};

/// Most bytes of an outboard: the nodes of about 1.3 TB in files of 1 GB.
const OUTBOARD_BYTES_MAX: usize = 64 << 20;

const IN_MEMORY: &str = "writing to memory does not fail";

const X_PROOF_BYTES: HeaderName = HeaderName::from_static("x-proof-bytes");

/// The groups of the piece that a PieceCID names.
pub(crate) fn held_groups(source: &dyn ContentSource, cid: &str) -> Result<(CommP, PieceGroups), RequestRejection> {
    let asked = parse_piece(cid)?;
    let groups = source.piece_groups(&asked.comm_p)?.ok_or(RequestRejection::NotFound { kind: "piece" })?;
    let held = groups.shape().payload_bytes();
    match asked.size.filter(|size| size.payload_bytes != held) {
        Some(size) => Err(RequestRejection::PayloadLength { held, asked: size.payload_bytes }),
        None => Ok((asked.comm_p, groups)),
    }
}

/// The proof for a range of a piece.
pub(crate) fn piece_range(
    source: &dyn ContentSource,
    head: &RequestHead,
    cid: &str,
) -> Result<Found, RequestRejection> {
    let (_, groups) = held_groups(source, cid)?;
    let commitment = groups.commitment();
    let text = query_value(head, "range");
    let rejected = RequestRejection::Query { name: "range", expected: "first-last, two numbers within the piece" };
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let ends = text.as_deref().and_then(|text| text.split_once('-'));
    let ends = ends.and_then(|(first, last)| Some((number(first)?, number(last)?.checked_add(1)?)));
    let proof = ends.and_then(|(first, end)| groups.prove(first..end)).ok_or(rejected)?;
    let bytes = proof.bytes();
    let proven = format!("{}-{}", bytes.start, bytes.end - 1);
    let canonical = piece_cid_v2(&commitment.comm_p, commitment.payload_bytes, commitment.padded);
    Ok(Found {
        subject: Subject::Piece(piece_cid_v1(&commitment.comm_p)),
        etag: ETag::new(format!("proof-{canonical}-{proven}")),
        cache_control: CACHE_IMMUTABLE,
        content_type: "application/octet-stream",
        more: vec![(X_PROOF_BYTES, value(&proven))],
        content: Content::Bytes(Resource::of_bytes(proof.encode())),
    })
}

/// The interior nodes below a CID.
pub(crate) fn outboard(source: &dyn ContentSource, text: &str) -> Result<Found, RequestRejection> {
    let rejected = |detail: String| RequestRejection::Cid { expected: "the CID of a file or folder", detail };
    let root = Cid::try_from(text).map_err(|error| rejected(error.to_string()))?;
    let id = BlockId::try_from(&root).map_err(|error| rejected(error.to_string()))?;
    if source.block(&root)?.is_none() {
        return Err(RequestRejection::NotFound { kind: "block" });
    }
    let mut archive = CarWriter::new(Vec::new(), &[root]).expect(IN_MEMORY);
    let mut bytes = 0;
    let mut seen = HashSet::new();
    let mut waiting = if id.codec == Codec::DagPb { vec![root] } else { Vec::new() };
    while let Some(cid) = waiting.pop() {
        if !seen.insert(cid) {
            continue;
        }
        let node = read_node(source, &cid)?;
        bytes += node.len();
        if bytes > OUTBOARD_BYTES_MAX {
            return Err(RequestRejection::OutboardTooLarge { max: OUTBOARD_BYTES_MAX });
        }
        archive.write(&cid, &node).expect(IN_MEMORY);
        let damaged = |detail: String| SourceError::Damaged { what: cid.to_string(), detail };
        let links = PbNode::decode(&node).map_err(|error| damaged(error.to_string()))?.links;
        // From the last to the first, since the last one pushed is the next one taken. Leaves, and what is no dag-pb, stay out.
        let interior = |cid: &Cid| BlockId::try_from(cid).is_ok_and(|id| id.codec == Codec::DagPb);
        waiting.extend(links.into_iter().rev().map(|link| link.cid).filter(interior));
    }
    let archive = archive.finish().expect(IN_MEMORY);
    Ok(Found {
        subject: Subject::Block { cid: root, is_data: false },
        etag: ETag::new(format!("outboard-{root}")),
        cache_control: CACHE_IMMUTABLE,
        content_type: "application/vnd.ipld.car",
        more: Vec::new(),
        content: Content::Bytes(Resource::of_bytes(archive)),
    })
}

fn read_node(source: &dyn ContentSource, cid: &Cid) -> Result<bytes::Bytes, SourceError> {
    let damaged = |detail: String| SourceError::Damaged { what: cid.to_string(), detail };
    let mut held = source.block(cid)?.ok_or_else(|| damaged("the block is not held, its parent is".into()))?;
    let len = usize::try_from(held.bytes).ok().filter(|len| *len <= MAX_BLOCK_BYTES);
    let len = len.ok_or_else(|| damaged(format!("expected at most {MAX_BLOCK_BYTES} bytes, got {}", held.bytes)))?;
    let node = read_chunk(held.reader.as_mut(), 0, len).map_err(|error| damaged(error.to_string()))?;
    verify_block(cid, &node).map_err(|error| damaged(error.to_string()))?;
    Ok(node)
}
