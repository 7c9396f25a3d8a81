//! The one encoding of the ledger: canonical DAG-CBOR, decoded strictly.
//!
//! A value has exactly one encoding, so hashing the encoding identifies the value. The decoder therefore encodes what
//! it read again and compares: a map in another order, a longer integer or trailing bytes are refused, not repaired.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are no canonical encoding of what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecRejection {
    /// More bytes than allowed; nothing was decoded.
    #[error("encoding of {got} bytes is over the limit of {limit} bytes")]
    TooLong {
        /// Bytes allowed.
        limit: usize,
        /// Bytes given.
        got: usize,
    },
    /// Not DAG-CBOR, or not of the expected shape.
    #[error("malformed encoding: {detail}")]
    Malformed {
        /// What the decoder said.
        detail: String,
    },
    /// Decodes, but encodes differently.
    #[error("encoding is not canonical: it differs from the canonical one at byte {offset}")]
    NotCanonical {
        /// First differing byte.
        offset: usize,
    },
}

/// The canonical encoding of `value`.
///
/// # Panics
/// Never for the types of this crate: none of them has floats, maps with other than text keys, or a failing
/// serializer.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("ledger types always encode")
}

/// Decodes at most `limit` bytes, accepting only what [`encode`] would have written.
///
/// # Errors
/// [`CodecRejection`] names the limit, the decoder's complaint or the first byte that is not canonical.
pub fn decode_strict<T: Serialize + DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, CodecRejection> {
    if bytes.len() > limit {
        return Err(CodecRejection::TooLong { limit, got: bytes.len() });
    }
    let value: T = serde_ipld_dagcbor::from_slice(bytes)
        .map_err(|error| CodecRejection::Malformed { detail: error.to_string() })?;
    let canonical = encode(&value);
    if canonical != bytes {
        let same = canonical.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(CodecRejection::NotCanonical { offset: same });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_integer_is_not_canonical() {
        assert_eq!(decode_strict::<u64>(&[0x17], 8), Ok(0x17));
        assert!(decode_strict::<u64>(&[0x18, 0x17], 8).is_err());
    }

    #[test]
    fn limits_and_trailing_bytes_are_refused() {
        assert_eq!(decode_strict::<u64>(&[0; 9], 8), Err(CodecRejection::TooLong { limit: 8, got: 9 }));
        assert!(matches!(decode_strict::<u64>(&[1, 1], 8), Err(CodecRejection::Malformed { .. })));
    }
}
