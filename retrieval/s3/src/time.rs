//! The three ways in which S3 writes a moment.
//!
//! A moment is whole seconds since 1970, UTC. Signatures carry `20130524T000000Z`, listings `2013-05-24T00:00:00.000Z`,
//! headers the date of HTTP, which `httpdate` reads and writes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Seconds since 1970 of a time that a caller gives; times before that count as 1970.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Reads `YYYYMMDDTHHMMSSZ`, years 1970 to 9999.
pub fn parse_basic(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        bytes[range]
            .iter()
            .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    let in_range = year >= 1970 && (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(days_since_1970(year, month, day) * DAY + hour * 3600 + minute * 60 + second)
}

/// Writes `YYYY-MM-DDTHH:MM:SS.000Z`.
pub fn iso8601(moment: u64) -> String {
    let (year, month, day) = civil(moment / DAY);
    let (hour, minute, second) = (moment / 3600 % 24, moment / 60 % 60, moment % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

/// Writes a date as HTTP headers have it.
pub fn http_date(moment: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(moment.min(LAST)))
}

/// Reads a date of HTTP, in any of its three forms.
pub fn parse_http_date(text: &str) -> Option<u64> {
    httpdate::parse_http_date(text).ok().map(seconds)
}

/// The last second of the year 9999, beyond which dates have no form.
const LAST: u64 = 253_402_300_799;

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // Leap days before a year: every fourth, without the centuries, with the fourth of them.
    let leaps = |year: u64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let years = (year - 1970) * 365 + leaps(year) - leaps(1970);
    let months: u64 = (1..month).map(|month| days_of_month(year, month)).sum();
    years + months + day - 1
}

fn civil(days: u64) -> (u64, u64, u64) {
    // Never too late, and at most one year too early per four centuries.
    let mut year = (1970 + days / 366).min(9999);
    while year < 9999 && days_since_1970(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut left = days - days_since_1970(year, 1, 1);
    let mut month = 1;
    while month < 12 && left >= days_of_month(year, month) {
        left -= days_of_month(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_agree_with_the_library_that_writes_dates_of_http() {
        for moment in [0, 1, 951_782_400, 951_868_799, 951_868_800, 1_369_353_600, 4_107_542_399, 4_107_542_400, LAST] {
            let text = iso8601(moment);
            let basic: String = text.replace(['-', ':'], "").replace(".000", "");
            assert_eq!(parse_basic(&basic), Some(moment), "{text}");
            assert_eq!(parse_http_date(&http_date(moment)), Some(moment), "{text}");
            let http = http_date(moment);
            assert!(http.contains(&text[11..19]) && http.contains(&text[..4]), "{text} and {http}");
        }
        assert_eq!(iso8601(1_369_353_600), "2013-05-24T00:00:00.000Z");
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "20130524T000000",
            "20130524t000000Z",
            "20131324T000000Z",
            "20130230T000000Z",
            "20130524T240000Z",
            "19691231T235959Z",
            "2013052AT000000Z",
            "20130524T00000\u{e9}",
        ] {
            assert_eq!(parse_basic(text), None, "{text}");
        }
    }
}
