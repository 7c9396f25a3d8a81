//! Request paths, decoded strictly.
//!
//! A path comes from a stranger and ends as a lookup in an index, never as a file name; it is checked as if it were
//! one all the same. A segment must be valid percent-encoded UTF-8, not empty, not `.` or `..`, and free of `/` and NUL
//! after decoding: no file of a dataset can have such a name, so nothing that exists becomes unreachable.

/// Why a request path is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathRejection {
    /// A `%` without two hex digits.
    #[error("path segment {segment:?}: `%` must be followed by two hex digits")]
    Percent {
        /// The raw segment.
        segment: String,
    },
    /// Decoded bytes that are no UTF-8.
    #[error("path segment {segment:?}: not UTF-8 after percent-decoding")]
    Utf8 {
        /// The raw segment.
        segment: String,
    },
    /// A name that no file can have.
    #[error("path segment {segment:?}: empty, `.`, `..`, `/` and NUL are not allowed in a name")]
    Name {
        /// The raw segment.
        segment: String,
    },
}

/// A decoded path: its names, and whether it ended in a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedPath {
    /// The names from left to right.
    pub segments: Vec<String>,
    /// Whether the path ended in `/`, which only a folder may.
    pub trailing_slash: bool,
}

/// Decodes the raw part of a path after its route (`/data/` and the like).
///
/// # Errors
/// [`PathRejection`] names the first segment that is wrong.
pub fn decode(raw: &str) -> Result<DecodedPath, PathRejection> {
    if raw.is_empty() {
        return Ok(DecodedPath { segments: Vec::new(), trailing_slash: false });
    }
    let (body, trailing_slash) = match raw.strip_suffix('/') {
        Some(body) => (body, true),
        None => (raw, false),
    };
    let segments = body.split('/').map(decode_segment).collect::<Result<_, _>>()?;
    Ok(DecodedPath { segments, trailing_slash })
}

fn decode_segment(segment: &str) -> Result<String, PathRejection> {
    let named = || segment.chars().take(80).collect::<String>();
    let bytes = percent_decode(segment.as_bytes()).ok_or_else(|| PathRejection::Percent { segment: named() })?;
    let name = String::from_utf8(bytes).map_err(|_| PathRejection::Utf8 { segment: named() })?;
    if is_safe_name(&name) { Ok(name) } else { Err(PathRejection::Name { segment: named() }) }
}

/// Whether a name can be one step of a path: not empty, `.` or `..`, without `/` and NUL.
pub(crate) fn is_safe_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// Decodes `%XX`; `None` for a `%` without two hex digits.
pub(crate) fn percent_decode(raw: &[u8]) -> Option<Vec<u8>> {
    if !raw.contains(&b'%') {
        return Some(raw.to_vec());
    }
    let digit = |at: usize| raw.get(at).and_then(|&byte| (byte as char).to_digit(16));
    let mut bytes = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        if raw[at] == b'%' {
            bytes.push((digit(at + 1)? * 16 + digit(at + 2)?) as u8);
            at += 3;
        } else {
            bytes.push(raw[at]);
            at += 1;
        }
    }
    Some(bytes)
}

/// Encodes one name for use in a URL path; everything but unreserved characters becomes `%XX`.
pub(crate) fn percent_encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte as char);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decodes_names() {
        let path = decode("a%20b/%C3%A4.tar").unwrap();
        assert_eq!(path, DecodedPath { segments: vec!["a b".into(), "ä.tar".into()], trailing_slash: false });
        assert_eq!(decode("x/").unwrap(), DecodedPath { segments: vec!["x".into()], trailing_slash: true });
        assert!(decode("").unwrap().segments.is_empty());
    }

    #[test]
    fn refuses_what_no_file_is_called() {
        for raw in [".", "..", "a/../b", "a/%2e%2e/b", "%2E", "a//b", "/", "a/%2Fb", "a%00b", "//"] {
            assert!(matches!(decode(raw), Err(PathRejection::Name { .. })), "{raw}");
        }
        for raw in ["%", "%4", "%zz", "a%2", "%+1"] {
            assert!(matches!(decode(raw), Err(PathRejection::Percent { .. })), "{raw}");
        }
        assert!(matches!(decode("%ff%fe"), Err(PathRejection::Utf8 { .. })));
    }

    proptest! {
        #[test]
        fn encoding_then_decoding_gives_the_name(name in "\\PC{1,20}") {
            prop_assume!(is_safe_name(&name));
            prop_assert_eq!(decode(&percent_encode(&name)).unwrap().segments, vec![name]);
        }

        #[test]
        fn decoded_names_never_traverse(raw in "[a.%/0-9A-Fa-f]{0,30}") {
            if let Ok(path) = decode(&raw) {
                prop_assert!(path.segments.iter().all(|name| is_safe_name(name)));
            }
        }
    }
}
