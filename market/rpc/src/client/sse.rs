//! Server-sent events out of bytes, as they come.
//!
//! What the HTML standard says about the format, for lines that end with LF or CRLF: fields `id`, `event` and `data`,
//! comments that begin with a colon, a blank line that ends an event. Other fields are ignored. An event is bounded.

/// Most bytes of one event.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// Its name, if it has one.
    pub id: Option<String>,
    /// Its kind; empty if none was said.
    pub event: String,
    /// Its data; lines are joined by LF.
    pub data: String,
}

/// Bytes that are no stream of events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SseRejection {
    /// An event that does not end.
    #[error("an event has more than {EVENT_BYTES_MAX} bytes")]
    TooLong,
    /// Bytes that are no text.
    #[error("a line is not UTF-8")]
    NotText,
}

/// Takes bytes, gives events.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    frame: Frame,
    /// Bytes of the event so far.
    bytes: usize,
    /// Whether the event has data lines.
    has_data: bool,
}

impl SseParser {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more bytes; gives the events that they complete.
    ///
    /// # Errors
    /// [`SseRejection`]; the stream cannot be read any further.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, SseRejection> {
        let mut frames = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                let text = std::str::from_utf8(&line).map_err(|_| SseRejection::NotText)?;
                frames.extend(self.take_line(text.strip_suffix('\r').unwrap_or(text)));
                continue;
            }
            self.bytes += 1;
            if self.bytes > EVENT_BYTES_MAX {
                return Err(SseRejection::TooLong);
            }
            self.line.push(byte);
        }
        Ok(frames)
    }

    fn take_line(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            self.bytes = 0;
            let frame = std::mem::take(&mut self.frame);
            return std::mem::take(&mut self.has_data).then_some(frame);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.frame.id = Some(value.to_owned()),
            "event" => self.frame.event = value.to_owned(),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str =
        ":\n\nid: 7:0\nevent: ledger\ndata: {\"a\":1}\n\nretry: 5\ndata: x\r\ndata: y\r\n\r\nid: 9\n\n";

    fn all(chunks: impl IntoIterator<Item = Vec<u8>>) -> Result<Vec<Frame>, SseRejection> {
        let mut parser = SseParser::new();
        chunks.into_iter().try_fold(vec![], |mut frames, chunk| {
            frames.extend(parser.push(&chunk)?);
            Ok(frames)
        })
    }

    #[test]
    fn events_are_read_however_they_are_cut() {
        let whole = all([STREAM.as_bytes().to_vec()]).unwrap();
        let first = Frame { id: Some("7:0".into()), event: "ledger".into(), data: "{\"a\":1}".into() };
        let second = Frame { id: None, event: String::new(), data: "x\ny".into() };
        assert_eq!(whole, [first, second], "a comment and an event without data are none");
        assert_eq!(all(STREAM.bytes().map(|byte| vec![byte])).unwrap(), whole);
    }

    #[test]
    fn an_event_that_does_not_end_is_refused() {
        assert_eq!(all([vec![b'x'; EVENT_BYTES_MAX + 1]]), Err(SseRejection::TooLong));
        let lines = std::iter::repeat_n(b"data: 0123456789\n".to_vec(), EVENT_BYTES_MAX / 10);
        assert_eq!(all(lines), Err(SseRejection::TooLong));
        assert_eq!(all([vec![0xff, b'\n']]), Err(SseRejection::NotText));
    }

    proptest! {
        #[test]
        fn reading_never_panics(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10)) {
            let _ = all(chunks);
        }
    }
}
