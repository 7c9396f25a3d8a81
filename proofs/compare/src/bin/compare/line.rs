//! A line of output: a JSON object whose keys keep the order in which they were said.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// One line. The first key is always `what`.
#[derive(Debug, Clone)]
pub struct Line {
    entries: Vec<(String, Value)>,
}

impl Line {
    /// A line about something.
    pub fn about(what: &str) -> Self {
        Self { entries: vec![("what".into(), what.into())] }
    }

    /// With one more entry.
    ///
    /// # Panics
    /// If the value is nothing that JSON can say.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Serialize) -> Self {
        self.entries.push((key.into(), serde_json::to_value(value).expect("numbers, texts, and lists of them")));
        self
    }

    /// With a figure, to four digits: more are more than any of them is worth.
    #[must_use]
    pub fn figure(self, key: impl Into<String>, value: f64) -> Self {
        self.with(key, rounded(value))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (position, (key, value)) in self.entries.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{}:{value}", Value::from(key.as_str()))?;
        }
        f.write_str("}")
    }
}

/// To four digits.
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_in_the_order_of_saying() {
        let line = Line::about("b \"quoted\"").with("z", [1, 2]).figure("a", 12.34567);
        assert_eq!(line.to_string(), r#"{"what":"b \"quoted\"","z":[1,2],"a":12.35}"#);
        assert_eq!([rounded(0.0), rounded(123_456.0), rounded(0.000_123_456)], [0.0, 123_500.0, 0.000_123_5]);
    }
}
