//! The one form of a request that both sides sign.
//!
//! ```text
//! METHOD
//! path, encoded once
//! query: names and values encoded, sorted, X-Amz-Signature left out
//! name:value                    for each signed header; values joined by commas, runs of blanks as one
//!
//! names of the signed headers, joined by semicolons
//! hash of the payload, as the request states it
//! ```

use sha2::{Digest, Sha256};

use super::Authorization;
use crate::encoding::{encode_path, encode_value};
use crate::error::{ErrorCode, S3Rejection};
use crate::request::RequestHead;

/// SHA-256 in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The canonical request.
///
/// # Errors
/// A signed header that is missing or not text.
pub fn request(head: &RequestHead, authorization: &Authorization) -> Result<String, S3Rejection> {
    let mut query: Vec<(String, String)> = head
        .query
        .iter()
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| (encode_value(name), encode_value(value)))
        .collect();
    query.sort();
    let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut headers = String::new();
    for name in &authorization.signed_headers {
        headers.push_str(&format!("{name}:{}\n", header(head, name)?));
    }
    let signed = authorization.signed_headers.join(";");
    let (method, path, query) = (&head.method, encode_path(&head.path), query.join("&"));
    Ok(format!("{method}\n{path}\n{query}\n{headers}\n{signed}\n{}", authorization.payload))
}

fn header(head: &RequestHead, name: &str) -> Result<String, S3Rejection> {
    let missing =
        || S3Rejection::new(ErrorCode::SignatureDoesNotMatch, format!("the signed header {name:?} is missing"));
    let lines: Option<Vec<&str>> = head.headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
    let lines = lines.filter(|lines| !lines.is_empty()).ok_or_else(missing)?;
    let tidy = |line: &&str| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    Ok(lines.iter().map(tidy).collect::<Vec<_>>().join(","))
}
