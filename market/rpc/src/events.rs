//! Names of events in a stream, and what a stream says.
//!
//! The stream is of server-sent events (the `text/event-stream` of HTML):
//!
//! ```text
//! id: 120:0                                          height, and position among the events of that block
//! event: ledger
//! data: {"height":120,"index":0,"kind":"OrderPlaced","fields":{...}}
//!
//! id: 120                                            only if asked for: everything of block 120 was told
//! event: block
//! data: {"height":120,"events":1}
//! ```
//!
//! A reader that comes back says the last name that it saw, in `Last-Event-ID` or as `after`, and gets what follows it,
//! each event once. What is beyond the history of the node cannot be told: the answer is the problem `forgotten`.

use std::fmt;
use std::str::FromStr;

use cairn_protocol::Epoch;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::wire::LedgerEvent;

/// Most bytes of an event's name.
const ID_BYTES_MAX: usize = 40;

/// How far a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    /// Block.
    pub height: Epoch,
    /// Last event seen of it; `None` if all of the block was seen.
    pub index: Option<u32>,
}

impl EventId {
    /// Everything up to and including this block was seen.
    pub fn after_block(height: Epoch) -> Self {
        Self { height, index: None }
    }

    /// The block that holds the next event, and how many of its events were seen.
    pub fn next(&self) -> (Epoch, usize) {
        match self.index {
            Some(index) => (self.height, index as usize + 1),
            None => (Epoch(self.height.0.saturating_add(1)), 0),
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}:{index}", self.height.0),
            None => write!(f, "{}", self.height.0),
        }
    }
}

/// A text that names no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected HEIGHT or HEIGHT:INDEX, got {text:?}")]
pub struct ParseEventIdError {
    /// What was given, shortened.
    pub text: String,
}

impl FromStr for EventId {
    type Err = ParseEventIdError;

    fn from_str(text: &str) -> Result<Self, ParseEventIdError> {
        let bad = || ParseEventIdError { text: text.chars().take(ID_BYTES_MAX).collect() };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (height, index) = text.split_once(':').map_or((text, None), |(height, index)| (height, Some(index)));
        if text.len() > ID_BYTES_MAX || !digits(height) || !index.is_none_or(digits) {
            return Err(bad());
        }
        let index = index.map(str::parse).transpose().map_err(|_| bad())?;
        Ok(Self { height: Epoch(height.parse().map_err(|_| bad())?), index })
    }
}

/// Data of an event in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventData {
    /// The block.
    pub height: u64,
    /// Position among its events.
    pub index: u32,
    /// What happened.
    #[serde(flatten)]
    pub event: LedgerEvent,
}

/// Data of the end of a block in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockData {
    /// The block.
    pub height: u64,
    /// How many events it had.
    pub events: u32,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_say_what_comes_next() {
        assert_eq!("12:3".parse::<EventId>().unwrap().next(), (Epoch(12), 4));
        assert_eq!("12".parse::<EventId>().unwrap().next(), (Epoch(13), 0));
        for wrong in ["", ":", "12:", ":3", "+1", "1:2:3", "99999999999999999999", "1:4294967296", " 1"] {
            assert!(wrong.parse::<EventId>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn names_come_back_and_nothing_panics(height: u64, index: Option<u32>, text in ".{0,50}") {
            let id = EventId { height: Epoch(height), index };
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            let _ = text.parse::<EventId>().map(|id| id.next());
        }
    }
}
