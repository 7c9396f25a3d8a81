//! Unsigned LEB128 numbers of at most 64 bits, in their shortest form.

use unsigned_varint::{decode, encode};

/// Bytes of the longest number.
pub(crate) const MAX_BYTES: usize = 10;

/// Appends a number.
pub(crate) fn put(out: &mut Vec<u8>, value: u64) {
    let mut buffer = encode::u64_buffer();
    out.extend_from_slice(encode::u64(value, &mut buffer));
}

/// Bytes that a number takes.
pub(crate) fn len(value: u64) -> u64 {
    let mut buffer = encode::u64_buffer();
    encode::u64(value, &mut buffer).len() as u64
}

/// The number at the front and the rest, or nothing if it is cut off, too long, or not in its shortest form.
pub(crate) fn take(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (value, rest) = decode::u64(bytes).ok()?;
    // The decoder lets the tenth byte carry bits beyond the 64th and drops them: two encodings of one number.
    let taken = bytes.len() - rest.len();
    let overflows = taken == MAX_BYTES && bytes[MAX_BYTES - 1] > 1;
    (!overflows).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_has_one_encoding(value: u64, rest: Vec<u8>) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(bytes.len() as u64, len(value));
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(take(&bytes), Some((value, &rest[..])));
        }

        #[test]
        fn what_is_taken_is_put_back(bytes: Vec<u8>) {
            if let Some((value, rest)) = take(&bytes) {
                let mut again = Vec::new();
                put(&mut again, value);
                again.extend_from_slice(rest);
                prop_assert_eq!(again, bytes);
            }
        }
    }

    #[test]
    fn bits_beyond_the_64th_are_refused() {
        let mut bytes = [0x80; MAX_BYTES];
        bytes[9] = 1;
        assert_eq!(take(&bytes), Some((1 << 63, &[][..])));
        bytes[9] = 3;
        assert_eq!(take(&bytes), None);
        assert_eq!(take(&[0x80, 0]), None, "not the shortest form");
        assert_eq!(take(&[0x80]), None, "cut off");
    }
}
