//! The `.meta` file beside a key: `{"sector_size":2048}`, without a line break.

use std::path::Path;

use cairn_protocol::SectorSize;
use serde::{Deserialize, Serialize};

use super::error::{KeyFileError, KeyFileRejection};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    sector_size: SectorSize,
}

/// The content for a sector size.
pub fn to_bytes(sector_size: SectorSize) -> Vec<u8> {
    serde_json::to_vec(&Meta { sector_size }).expect("a number serialises")
}

/// Reads the content of `file`.
///
/// # Errors
/// [`KeyFileError::Rejected`] if it is not such an object.
pub fn from_bytes(bytes: &[u8], file: &Path) -> Result<SectorSize, KeyFileError> {
    let meta: Meta = serde_json::from_slice(bytes).map_err(|error| {
        KeyFileRejection::Value {
            offset: 0,
            what: "content".into(),
            expected: "{\"sector_size\":BYTES}".into(),
            got: error.to_string(),
        }
        .of(file)
    })?;
    Ok(meta.sector_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_filecoins() {
        assert_eq!(to_bytes(SectorSize::KIB2), b"{\"sector_size\":2048}");
        assert_eq!(from_bytes(b"{\"sector_size\":2048}", Path::new("m")).unwrap(), SectorSize::KIB2);
        for wrong in ["", "{}", "{\"sector_size\":2049}", "{\"sector_size\":2048,\"x\":1}", "[2048", "\u{0}"] {
            let error = from_bytes(wrong.as_bytes(), Path::new("m.meta")).unwrap_err().to_string();
            assert!(error.starts_with("m.meta: byte 0, content: expected {\"sector_size\":BYTES}, got "), "{error}");
        }
    }
}
