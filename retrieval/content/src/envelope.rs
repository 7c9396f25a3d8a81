//! The envelope of every file this crate keeps.
//!
//! ```text
//! offset  bytes
//!      0      8  magic, says what kind of file this is
//!      8      4  version, little-endian
//!     12      8  length of the body, little-endian
//!     20     32  SHA-256 of the body
//!     52      …  body: canonical DAG-CBOR, nothing after it
//! ```
//!
//! Reading is strict: a body that is not the one canonical encoding of its content is refused, so equal content means equal
//! bytes and a damaged file is always noticed.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::index::IndexRejection;

const HEADER_BYTES: usize = 52;

/// Wraps a record.
pub(crate) fn encode<T: Serialize>(magic: &[u8; 8], version: u32, record: &T) -> Vec<u8> {
    let body = serde_ipld_dagcbor::to_vec(record).expect("records hold plain values only");
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    out.extend_from_slice(magic);
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(&Sha256::digest(&body));
    out.extend_from_slice(&body);
    out
}

/// Checks the envelope and decodes the record.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(
    magic: &[u8; 8],
    version: u32,
    bytes: &[u8],
) -> Result<T, IndexRejection> {
    let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(IndexRejection::Length { expected: HEADER_BYTES as u64, got: bytes.len() as u64 });
    };
    if header[..8] != magic[..] {
        let got = header[..8].escape_ascii().to_string();
        return Err(IndexRejection::Magic { expected: magic.escape_ascii().to_string(), got });
    }
    let got = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
    if got != version {
        return Err(IndexRejection::Version { expected: version, got });
    }
    let length = u64::from_le_bytes(header[12..20].try_into().expect("eight bytes"));
    if length != body.len() as u64 {
        return Err(IndexRejection::Length { expected: length, got: body.len() as u64 });
    }
    if Sha256::digest(body)[..] != header[20..] {
        return Err(IndexRejection::Checksum);
    }
    let record: T =
        serde_ipld_dagcbor::from_slice(body).map_err(|error| IndexRejection::Cbor { reason: error.to_string() })?;
    if serde_ipld_dagcbor::to_vec(&record).ok().as_deref() != Some(body) {
        return Err(IndexRejection::NotCanonical);
    }
    Ok(record)
}
