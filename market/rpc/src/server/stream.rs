//! Events as they happen.
//!
//! A reader's task takes blocks from the store at the reader's own pace, through a short queue. So a slow reader costs a
//! slot and a few events of memory, never a growing list; it falls behind, and if it falls out of the history it is told.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use cairn_consensus::{BlockEvents, EventsError};
use cairn_protocol::Epoch;
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use utoipa::IntoParams;

use super::extract::FromQuery;
use super::{Api, Shared};
use crate::events::{BlockData, EventData, EventId};
use crate::problem::{Problem, ProblemCode};
use crate::wire::LedgerEvent;

/// Blocks read at a time.
const BLOCKS_AT_A_TIME: u64 = 16;

/// Where a stream begins.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// What follows this name: `HEIGHT:INDEX` of an event, or `HEIGHT` of a block. `Last-Event-ID` goes before it; with
    /// neither, the stream begins with the next block.
    #[param(pattern = "^[0-9]{1,19}(:[0-9]{1,9})?$")]
    pub after: Option<String>,
    /// Tell the end of every block too.
    pub blocks: Option<bool>,
}

/// Events as they happen, as server-sent events
///
/// The stream does not end by itself. Each event has a name; a reader that comes back with it loses nothing and gets
/// nothing twice. See the data of `ledger` (an event) and `block` (the end of a block, if asked for).
#[utoipa::path(get, path = "/v1/events", tag = "chain",
    params(StreamQuery, ("last-event-id" = Option<String>, Header, description = "Name of the last event seen")),
    responses((status = 200, description = "Events, for as long as the reader stays", content_type = "text/event-stream",
        body = String)))]
pub async fn events(
    State(api): State<Api>,
    FromQuery(query): FromQuery<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let seen = begin(&api, &query, &headers)?;
    let busy = || Problem::new(ProblemCode::Busy, "too many streams at a time");
    let permit = api.streams.clone().try_acquire_owned().map_err(|_| busy())?;
    if let Some(problem) = gone(&api, seen).await? {
        return Err(problem);
    }
    let (sender, receiver) = mpsc::channel(api.options.stream_queue);
    let reader = Reader { api, seen, blocks: query.blocks.unwrap_or(false), sender, _permit: permit };
    tokio::spawn(reader.run());
    let stream = unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async move {
        let chunk: Bytes = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), receiver))
    });
    let mut response = Body::from_stream(stream).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

fn begin(api: &Shared, query: &StreamQuery, headers: &HeaderMap) -> Result<EventId, Problem> {
    let expected = "HEIGHT or HEIGHT:INDEX";
    let (name, text) = match headers.get("last-event-id") {
        Some(value) => {
            ("last-event-id", Some(value.to_str().map_err(|_| Problem::bad_parameter("last-event-id", expected, "?"))?))
        }
        None => ("after", query.after.as_deref()),
    };
    match text {
        Some(text) => text.parse().map_err(|_| Problem::bad_parameter(name, expected, text)),
        None => Ok(EventId::after_block(api.ledger.head().height)),
    }
}

/// A problem if what follows `seen` is no longer kept.
async fn gone(api: &Api, seen: EventId) -> Result<Option<Problem>, Problem> {
    let (next, _) = seen.next();
    let api = api.clone();
    super::routes::blocking(move || {
        let oldest = api.ledger.oldest_block().map_err(super::routes::store_problem)?;
        if next >= oldest || next == Epoch(0) && oldest <= Epoch(1) {
            return Ok(None);
        }
        super::routes::forgotten(&api, next).map(Some)
    })
    .await
}

/// One reader's task.
struct Reader {
    api: Arc<Shared>,
    seen: EventId,
    blocks: bool,
    sender: mpsc::Sender<Bytes>,
    _permit: OwnedSemaphorePermit,
}

/// The reader went away, or was told why it gets no more.
struct Ended;

impl Reader {
    async fn run(mut self) {
        // Both ends are the same to a task without a reader.
        let Err(Ended) = self.follow().await;
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, Ended> {
        let (mut heights, mut stopping) = (self.api.heights.clone(), self.api.stopping.clone());
        loop {
            let head = *heights.borrow_and_update();
            while self.seen.next().0.0 <= head {
                self.tell_some().await?;
            }
            tokio::select! {
                changed = heights.changed() => changed.map_err(|_| Ended)?,
                () = tokio::time::sleep(self.api.options.heartbeat) => self.send(":\n\n".to_owned()).await?,
                () = self.sender.closed() => return Err(Ended),
                () = super::stopped(&mut stopping) => return Err(Ended),
            }
        }
    }

    /// Tells what the next few blocks hold.
    async fn tell_some(&mut self) -> Result<(), Ended> {
        let (next, _) = self.seen.next();
        // The genesis has no events.
        let before = Epoch(next.0.saturating_sub(1));
        let ledger = self.api.ledger.clone();
        let read = tokio::task::spawn_blocking(move || ledger.events_since(before, BLOCKS_AT_A_TIME)).await;
        match read.map_err(|_| Ended)? {
            Ok(blocks) if blocks.is_empty() => Err(Ended),
            Ok(blocks) => {
                for block in blocks {
                    self.tell(block).await?;
                }
                Ok(())
            }
            Err(EventsError::Forgotten { height }) => {
                let problem =
                    Problem::new(ProblemCode::Forgotten, "the reader was too slow; this node no longer keeps it");
                self.fail(&problem.at(format!("block {height}"))).await
            }
            Err(error) => self.fail(&super::routes::store_problem(error)).await,
        }
    }

    async fn tell(&mut self, block: BlockEvents) -> Result<(), Ended> {
        let (next, skip) = self.seen.next();
        let skip = if next == block.height { skip } else { 0 };
        let height = block.height;
        let count = u32::try_from(block.events.len()).unwrap_or(u32::MAX);
        for (index, event) in (0..count).zip(&block.events).skip(skip) {
            let data = EventData { height: height.0, index, event: LedgerEvent::of(event) };
            self.send(frame(Some(EventId { height, index: Some(index) }), "ledger", &data)).await?;
        }
        self.seen = EventId::after_block(height);
        if self.blocks {
            let data = BlockData { height: height.0, events: count };
            self.send(frame(Some(self.seen), "block", &data)).await?;
        }
        Ok(())
    }

    async fn fail(&self, problem: &Problem) -> Result<(), Ended> {
        self.send(frame(None, "problem", problem)).await?;
        Err(Ended)
    }

    async fn send(&self, text: String) -> Result<(), Ended> {
        self.sender.send(Bytes::from(text)).await.map_err(|_| Ended)
    }
}

fn frame(id: Option<EventId>, event: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("what travels is JSON");
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    format!("{id}event: {event}\ndata: {data}\n\n")
}
