//! Where a list goes on.
//!
//! A cursor is the key that the next page begins with, under the name of its list, in hex digits so that nobody is
//! tempted to make one. It names a place and not a moment: what is added or forgotten between two pages appears or not,
//! and nothing is given twice.

use std::fmt::Display;
use std::str::FromStr;

use crate::problem::Problem;

/// Most bytes of a cursor.
const CURSOR_BYTES_MAX: usize = 256;

/// A cursor of `list` that stands at `key`.
pub fn cursor(list: &str, key: impl Display) -> String {
    hex::encode(format!("{list}/{key}"))
}

/// The key that a cursor of `list` stands at.
///
/// # Errors
/// [`Problem`] unless it is a cursor that [`cursor`] made for this list.
pub fn read_cursor<K: FromStr>(list: &str, text: &str) -> Result<K, Problem> {
    let bad = || Problem::bad_parameter("cursor", "what `next` of the page before says", text);
    if text.len() > CURSOR_BYTES_MAX {
        return Err(bad());
    }
    let bytes = hex::decode(text).map_err(|_| bad())?;
    let plain = String::from_utf8(bytes).map_err(|_| bad())?;
    let key = plain.strip_prefix(list).and_then(|rest| rest.strip_prefix('/')).ok_or_else(bad)?;
    key.parse().map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_is_good_for_its_list_alone() {
        assert_eq!(read_cursor::<u64>("orders", &cursor("orders", 17)).unwrap(), 17);
        for wrong in [cursor("deals", 17), "17".to_owned(), String::new(), cursor("orders", "x"), "f".repeat(1_000)] {
            assert!(read_cursor::<u64>("orders", &wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in ".{0,80}", number: u64) {
            let _ = read_cursor::<u64>("orders", &text);
            let _ = read_cursor::<u64>("orders", &hex::encode(&text));
            prop_assert_eq!(read_cursor::<u64>("orders", &cursor("orders", number)).ok(), Some(number));
        }
    }
}
