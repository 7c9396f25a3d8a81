//! The `Range` header (RFC 9110 section 14), reduced to the one question a file server asks: which bytes go out?
//!
//! 1. A header that does not follow the grammar (another unit, a range that runs backwards, stray characters) is
//!    ignored, as RFC 9110 14.2 demands: the whole representation goes out with 200.
//! 2. Positions past the end are clamped; numbers too large for 64 bits count as past the end.
//! 3. A range that starts past the end, or the suffix `-0`, cannot be satisfied: 416.
//! 4. Of several ranges the first one that can be satisfied is answered, alone, as a plain 206. RFC 9110 lets a server
//!    send a subset, the `Content-Range` says which, no data loader asks for more than one, and the alternatives are worse:
//!    the whole object would multiply the bytes moved, and a multipart body cannot be resumed.
//! 5. A suffix of an empty object selects the whole (empty) object, which only a 200 can express.

/// Most ranges read from one header; a header with more is ignored.
const RANGES_MAX: usize = 1024;

/// Bytes of an object, both ends included; `first <= last` always holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte.
    pub last: u64,
}

impl ByteRange {
    /// Bytes in the range, at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// What a request's `Range` means for an object of known size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// No usable range: the whole object, status 200.
    Whole,
    /// One part, status 206.
    Part(ByteRange),
    /// Valid, but nothing of it exists: status 416.
    Unsatisfiable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RangeSpec {
    Closed { first: u64, last: u64 },
    Open { first: u64 },
    Suffix { bytes: u64 },
}

/// Selects the bytes that a `Range` header asks for in an object of `size` bytes.
///
/// Any bytes are accepted as the header; none make it fail.
pub fn select(header: &[u8], size: u64) -> Selection {
    let Some(specs) = parse(header) else { return Selection::Whole };
    for spec in &specs {
        match spec.resolve(size) {
            Selection::Unsatisfiable => continue,
            found => return found,
        }
    }
    Selection::Unsatisfiable
}

impl RangeSpec {
    fn resolve(self, size: u64) -> Selection {
        let (first, last) = match self {
            RangeSpec::Closed { first, last } => (first, last),
            RangeSpec::Open { first } => (first, u64::MAX),
            RangeSpec::Suffix { bytes: 0 } => return Selection::Unsatisfiable,
            RangeSpec::Suffix { .. } if size == 0 => return Selection::Whole,
            RangeSpec::Suffix { bytes } => (size.saturating_sub(bytes), u64::MAX),
        };
        if first >= size {
            return Selection::Unsatisfiable;
        }
        Selection::Part(ByteRange { first, last: last.min(size - 1) })
    }
}

/// The ranges of a well-formed header; `None` if it must be ignored.
fn parse(header: &[u8]) -> Option<Vec<RangeSpec>> {
    let text = std::str::from_utf8(header).ok()?;
    let (unit, set) = text.split_once('=')?;
    if !unit.trim_matches([' ', '\t']).eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for element in set.split(',') {
        let element = element.trim_matches([' ', '\t']);
        if element.is_empty() {
            continue;
        }
        if specs.len() == RANGES_MAX {
            return None;
        }
        specs.push(parse_spec(element)?);
    }
    (!specs.is_empty()).then_some(specs)
}

fn parse_spec(element: &str) -> Option<RangeSpec> {
    let (first, last) = element.split_once('-')?;
    match (first, last) {
        ("", suffix) => Some(RangeSpec::Suffix { bytes: parse_position(suffix)? }),
        (first, "") => Some(RangeSpec::Open { first: parse_position(first)? }),
        (first, last) => {
            let (first, last) = (parse_position(first)?, parse_position(last)?);
            (first <= last).then_some(RangeSpec::Closed { first, last })
        }
    }
}

/// One or more digits; a number beyond 64 bits lies past every end, so it saturates.
fn parse_position(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.bytes().fold(0u64, |value, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

/// Reads a `Content-Range` of one part: `bytes first-last/size`. `None` if it says anything else.
pub(crate) fn parse_content_range(header: &[u8]) -> Option<(ByteRange, u64)> {
    let text = std::str::from_utf8(header).ok()?;
    let (range, size) = text.strip_prefix("bytes ")?.trim_matches(' ').split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size) = (parse_position(first)?, parse_position(last)?, parse_position(size)?);
    (first <= last && last < size).then_some((ByteRange { first, last }, size))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(first: u64, last: u64) -> Selection {
        Selection::Part(ByteRange { first, last })
    }

    #[test]
    fn grammar_table() {
        let cases: &[(&str, u64, Selection)] = &[
            ("bytes=0-9", 100, part(0, 9)),
            ("bytes=10-", 100, part(10, 99)),
            ("bytes=-10", 100, part(90, 99)),
            ("bytes=0-0", 1, part(0, 0)),
            ("bytes=99-99", 100, part(99, 99)),
            ("BYTES=1-2", 100, part(1, 2)),
            // Past the end.
            ("bytes=90-1000", 100, part(90, 99)),
            ("bytes=-1000", 100, part(0, 99)),
            ("bytes=0-99999999999999999999999999", 100, part(0, 99)),
            ("bytes=-99999999999999999999999999", 100, part(0, 99)),
            ("bytes=100-", 100, Selection::Unsatisfiable),
            ("bytes=100-200", 100, Selection::Unsatisfiable),
            ("bytes=99999999999999999999999999-", 100, Selection::Unsatisfiable),
            ("bytes=-0", 100, Selection::Unsatisfiable),
            // Empty objects.
            ("bytes=0-", 0, Selection::Unsatisfiable),
            ("bytes=0-0", 0, Selection::Unsatisfiable),
            ("bytes=-5", 0, Selection::Whole),
            ("bytes=-0", 0, Selection::Unsatisfiable),
            // Several: the first that exists.
            ("bytes=0-0,5-6", 100, part(0, 0)),
            ("bytes=200-300, 5-6", 100, part(5, 6)),
            ("bytes=-0 ,\t, 7-", 100, part(7, 99)),
            ("bytes=200-,300-", 100, Selection::Unsatisfiable),
            // Malformed: ignored.
            ("", 100, Selection::Whole),
            ("bytes", 100, Selection::Whole),
            ("bytes=", 100, Selection::Whole),
            ("bytes=,", 100, Selection::Whole),
            ("bytes=-", 100, Selection::Whole),
            ("bytes=5", 100, Selection::Whole),
            ("bytes=5-4", 100, Selection::Whole),
            ("bytes=a-b", 100, Selection::Whole),
            ("bytes=1 - 2", 100, Selection::Whole),
            ("bytes=+1-2", 100, Selection::Whole),
            ("bytes=1--2", 100, Selection::Whole),
            ("bytes=--2", 100, Selection::Whole),
            ("bytes=0-1,x", 100, Selection::Whole),
            ("bytes=0x0-0x1", 100, Selection::Whole),
            ("items=0-1", 100, Selection::Whole),
            ("0-1", 100, Selection::Whole),
        ];
        for (header, size, expected) in cases {
            assert_eq!(select(header.as_bytes(), *size), *expected, "{header:?} of {size}");
        }
    }

    #[test]
    fn too_many_ranges_are_ignored() {
        let many = format!("bytes={}", "0-0,".repeat(RANGES_MAX + 1));
        assert_eq!(select(many.as_bytes(), 10), Selection::Whole);
    }

    #[test]
    fn content_range() {
        let range = ByteRange { first: 1, last: 3 };
        assert_eq!(parse_content_range(b"bytes 1-3/10"), Some((range, 10)));
        for bad in ["bytes 1-3/*", "bytes */10", "bytes 3-1/10", "bytes 1-10/10", "1-3/10", "bytes 1-3"] {
            assert_eq!(parse_content_range(bad.as_bytes()), None, "{bad}");
        }
    }

    /// Marks each byte of a small object that the range text covers, by counting, without clamping arithmetic.
    fn naive(first: Option<u64>, last: Option<u64>, size: u64) -> Vec<u64> {
        (0..size)
            .filter(|&at| match (first, last) {
                (Some(first), Some(last)) => at >= first && at <= last,
                (Some(first), None) => at >= first,
                (None, Some(suffix)) => size - at <= suffix,
                (None, None) => unreachable!("not generated"),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn never_panics(header in proptest::collection::vec(any::<u8>(), 0..64), size: u64) {
            select(&header, size);
            parse_content_range(&header);
        }

        #[test]
        fn range_like_text_never_panics(header in "bytes=[0-9,\\- ]{0,40}", size: u64) {
            if let Selection::Part(range) = select(header.as_bytes(), size) {
                prop_assert!(range.first <= range.last && range.last < size);
            }
        }

        #[test]
        fn agrees_with_the_naive_model(first in proptest::option::of(0u64..80), last in proptest::option::of(0u64..80), size in 1u64..60) {
            prop_assume!(first.is_some() || last.is_some());
            let text = |position: Option<u64>| position.map_or(String::new(), |position| position.to_string());
            let header = format!("bytes={}-{}", text(first), text(last));
            let expected = naive(first, last, size);
            let backwards = matches!((first, last), (Some(first), Some(last)) if first > last);
            match select(header.as_bytes(), size) {
                Selection::Whole => prop_assert!(backwards),
                Selection::Unsatisfiable => prop_assert!(!backwards && expected.is_empty()),
                Selection::Part(range) => prop_assert_eq!((range.first..=range.last).collect::<Vec<_>>(), expected),
            }
        }
    }
}
