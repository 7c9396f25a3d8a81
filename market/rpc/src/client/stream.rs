//! Events as they happen, through interruptions.

use std::collections::VecDeque;
use std::io::Read;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::sse::{Frame, SseParser};
use super::{ClientError, RpcClient};
use crate::events::{BlockData, EventData, EventId};
use crate::problem::Problem;

/// Pauses between attempts to come back: doubled each time, up to the second one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Attempts to come back, one after the other, before the stream ends with an error.
const ATTEMPTS_MAX: u32 = 20;

/// What a stream tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamedEvent {
    /// Something happened.
    Event(EventData),
    /// Everything of a block was told.
    Block(BlockData),
}

/// An endless iterator over what happens; ends after an error that coming back does not mend.
///
/// After an interruption it comes back with the name of the last event that it gave, so nothing is lost and nothing
/// comes twice. What the server no longer keeps is an error, and so is a server that stays away.
pub struct EventStream {
    client: RpcClient,
    seen: Option<EventId>,
    blocks: bool,
    connected: Option<Connection>,
    waiting: VecDeque<Frame>,
    failures: u32,
    ended: bool,
}

struct Connection {
    reader: Box<dyn Read + Send>,
    parser: SseParser,
}

impl EventStream {
    pub(super) fn new(client: RpcClient, seen: Option<EventId>, blocks: bool) -> Self {
        Self { client, seen, blocks, connected: None, waiting: VecDeque::new(), failures: 0, ended: false }
    }

    /// How far it is: what a later stream begins after.
    pub fn seen(&self) -> Option<EventId> {
        self.seen
    }

    fn connect(&mut self) -> Result<(), ClientError> {
        // Without a beginning, an interruption before the first event would lose what happened meanwhile.
        if self.seen.is_none() {
            self.seen = Some(EventId::after_block(self.client.head()?.height));
        }
        let path = format!("/v1/events?blocks={}", self.blocks);
        let options = self.client.options;
        let mut request = self.client.agent.get(format!("{}{path}", self.client.base));
        if let Some(seen) = &self.seen {
            request = request.header("last-event-id", seen.to_string());
        }
        let request = request
            .config()
            .timeout_recv_response(Some(options.timeout))
            .timeout_per_read(Some(options.stream_silence))
            .build();
        let answer = request.call().map_err(|error| self.client.unreachable(&path, &error))?;
        if !answer.status().is_success() {
            return Err(self.client.problem(&path, answer));
        }
        let reader = answer.into_body().into_with_config().limit(u64::MAX).reader();
        self.connected = Some(Connection { reader: Box::new(reader), parser: SseParser::new() });
        Ok(())
    }

    /// Reads until there is something to tell.
    fn fill(&mut self) -> Result<(), ClientError> {
        let mut buffer = [0; 8 << 10];
        while self.waiting.is_empty() {
            if self.connected.is_none() {
                self.connect()?;
            }
            let Some(connection) = &mut self.connected else { continue };
            let failed = match connection.reader.read(&mut buffer) {
                Ok(0) => "the stream ended".to_owned(),
                Ok(count) => match connection.parser.push(&buffer[..count]) {
                    Ok(frames) => {
                        self.waiting.extend(frames);
                        continue;
                    }
                    Err(rejection) => rejection.to_string(),
                },
                Err(error) => error.to_string(),
            };
            self.connected = None;
            return Err(ClientError::Unreachable { url: format!("{}/v1/events", self.client.base), detail: failed });
        }
        Ok(())
    }

    /// What a frame tells; nothing if it is of a kind that later versions added.
    fn take(&mut self, frame: Frame) -> Result<Option<StreamedEvent>, ClientError> {
        let told = match frame.event.as_str() {
            "ledger" => StreamedEvent::Event(self.data(&frame)?),
            "block" => StreamedEvent::Block(self.data(&frame)?),
            "problem" => return Err(ClientError::Problem(Box::new(self.data::<Problem>(&frame)?))),
            _ => return Ok(None),
        };
        if let Some(id) = frame.id.as_deref().and_then(|id| id.parse().ok()) {
            self.seen = Some(id);
        }
        Ok(Some(told))
    }

    fn data<T: DeserializeOwned>(&self, frame: &Frame) -> Result<T, ClientError> {
        serde_json::from_str(&frame.data).map_err(|error| ClientError::BadAnswer {
            url: format!("{}/v1/events", self.client.base),
            status: 200,
            detail: error.to_string(),
        })
    }
}

impl Iterator for EventStream {
    type Item = Result<StreamedEvent, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            if let Some(frame) = self.waiting.pop_front() {
                self.failures = 0;
                match self.take(frame) {
                    Ok(None) => continue,
                    Ok(Some(told)) => return Some(Ok(told)),
                    Err(error) => {
                        self.ended = true;
                        return Some(Err(error));
                    }
                }
            }
            match self.fill() {
                Ok(()) => {}
                Err(error) if error.is_transient() && self.failures < ATTEMPTS_MAX => {
                    let pause = PAUSES.0 * 2u32.saturating_pow(self.failures.min(10));
                    self.failures += 1;
                    std::thread::sleep(pause.min(PAUSES.1));
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
