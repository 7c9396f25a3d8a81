//! A group of a piece, with the provider's signature under what is sent.
//!
//! `/piece/{cid}/signed?group=G&epoch=E&nonce=N` is the payload of group `G` (1,040,384 bytes, the last one less; see
//! `cairn_content::PieceGroups`), and in `X-Served-Group` the signed statement as hex digits. `E` is the epoch of the ledger as
//! the client knows it, `N` a number of its own; both stand in the statement. No cache may keep the answer.
//!
//! The group is read once, into memory, hashed, compared with the root that was kept when the piece came, signed, and sent from
//! there: what is signed is what is sent. One that differs is `storage_failed`.

use cairn_content::group_root;
use cairn_protocol::{CommP, Epoch, PieceInfo, piece_cid_v1};
use hyper::header::HeaderName;

use super::answer::{CACHE_NEVER, Content, Found, RequestHead, value};
use super::body::read_chunk;
use super::proofs::held_groups;
use super::rejection::RequestRejection;
use super::routes::query_value;
use crate::conditional::ETag;
use crate::gate::Subject;
use crate::signing::GroupClaim;
use crate::source::{ContentSource, Resource, SourceError};

/// Carries the statement, as hex digits.
pub(crate) const X_SERVED_GROUP: HeaderName = HeaderName::from_static("x-served-group");

/// A group and the word for it.
pub(crate) fn group(source: &dyn ContentSource, head: &RequestHead, cid: &str) -> Result<Found, RequestRejection> {
    let (comm_p, groups) = held_groups(source, cid)?;
    let number = |name: &'static str| -> Result<u64, RequestRejection> {
        let text = query_value(head, name).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = text.and_then(|text| text.parse().ok());
        number.ok_or(RequestRejection::Query { name, expected: "a number of up to 64 bits" })
    };
    let (group, epoch, nonce) = (number("group")?, Epoch(number("epoch")?), number("nonce")?);
    let shape = groups.shape();
    let piece = PieceInfo { comm_p, size: shape.padded() };
    let expected = "the number of a group of the piece, from 0";
    let kept = groups.root(group).ok_or(RequestRejection::Query { name: "group", expected })?;
    let bytes = read_group(source, &piece.comm_p, shape.payload(group))?;
    let root = group_root(shape.group_padded(), &bytes);
    if root != kept {
        let what = format!("group {group} of piece {}", piece.comm_p);
        let detail = "its bytes are not those that the piece was made of; nothing is signed".to_owned();
        return Err(SourceError::Damaged { what, detail }.into());
    }
    let claim = GroupClaim { piece, group, root: CommP(root), epoch, nonce };
    let statement = source.sign_group(&claim).ok_or(RequestRejection::Unsigned)?;
    let statement = hex::encode(statement);
    Ok(Found {
        subject: Subject::Piece(piece_cid_v1(&piece.comm_p)),
        etag: ETag::new(format!("signed-{}-{group}-{epoch}-{nonce}", CommP(root))),
        cache_control: CACHE_NEVER,
        content_type: "application/octet-stream",
        more: vec![(X_SERVED_GROUP, value(&statement))],
        content: Content::Bytes(Resource::of_bytes(bytes)),
    })
}

fn read_group(
    source: &dyn ContentSource,
    comm_p: &CommP,
    place: std::ops::Range<u64>,
) -> Result<bytes::Bytes, RequestRejection> {
    let mut held = source.piece(comm_p)?.ok_or(RequestRejection::NotFound { kind: "piece" })?;
    let len = (place.end - place.start) as usize;
    let read = read_chunk(held.resource.reader.as_mut(), place.start, len);
    read.map_err(|error| SourceError::of_read(error, format!("piece {comm_p}")).into())
}
