//! Percent-encoding as S3's signatures and listings want it.
//!
//! Everything but `A-Z a-z 0-9 - . _ ~` becomes `%XX` with capital digits; a slash stays in paths and keys, not in queries.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const VALUE: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: AsciiSet = VALUE.remove(b'/');

/// Encodes one name or value of a query.
pub fn encode_value(text: &str) -> String {
    utf8_percent_encode(text, &VALUE).to_string()
}

/// Encodes a path or key; slashes stay.
pub fn encode_path(text: &str) -> String {
    utf8_percent_encode(text, &PATH).to_string()
}

/// Decodes a raw path; `None` if it is not UTF-8. A `%` without two hex digits stands for itself.
pub fn decode_path(raw: &str) -> Option<String> {
    percent_decode_str(raw).decode_utf8().ok().map(|text| text.into_owned())
}

/// Decodes a raw query into names and values in the order of the request; a `+` is a space, as forms write it.
pub fn decode_query(raw: &str) -> Option<Vec<(String, String)>> {
    let decode = |text: &str| decode_path(&text.replace('+', " "));
    let pairs = raw.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}
