//! Response bodies: nothing, a small text, a stream of file bytes in constant memory, or what a mounted handler gives.
//!
//! A stream reads one chunk on the blocking pool while the chunk before it is being sent, so a transfer holds at most
//! three chunks: one being read, one waiting, one in the connection's buffer. A read that fails or ends early becomes an
//! error of the body, and hyper then cuts the connection: the client sees a broken transfer, never a short 200.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use super::mount::MountedBody;
use crate::range::ByteRange;
use crate::source::RangeReader;

/// Body of every answer.
pub(crate) enum GatewayBody {
    Empty,
    Text(Option<Bytes>),
    Stream(StreamBody),
    Mounted { body: MountedBody, handed: Arc<Handed>, _permit: OwnedSemaphorePermit },
}

/// What is shared with the connection: how many body bytes were handed to it.
#[derive(Debug, Default)]
pub(crate) struct Handed(AtomicU64);

impl Handed {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// What a body is read from, chunk by chunk, on the blocking pool.
pub(crate) trait ChunkSource: Send {
    /// The next chunk, never empty; nothing at the end.
    fn next_chunk(&mut self) -> io::Result<Option<Bytes>>;
}

type Source = Box<dyn ChunkSource>;

/// A chunk that was read, with its source for the next one.
type ChunkRead = (Source, io::Result<Option<Bytes>>);

/// A range of an object, in chunks of equal size.
pub(crate) struct RangeChunks {
    reader: Box<dyn RangeReader>,
    offset: u64,
    left: u64,
    chunk_bytes: usize,
}

impl RangeChunks {
    pub(crate) fn new(mut reader: Box<dyn RangeReader>, range: ByteRange, chunk_bytes: usize) -> Self {
        reader.expect(range.first..range.first + range.len());
        Self { reader, offset: range.first, left: range.len(), chunk_bytes }
    }
}

impl ChunkSource for RangeChunks {
    fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let count = self.left.min(self.chunk_bytes as u64);
        if count == 0 {
            return Ok(None);
        }
        let chunk = read_chunk(self.reader.as_mut(), self.offset, count as usize)?;
        self.offset += count;
        self.left -= count;
        Ok(Some(chunk))
    }
}

/// A body whose chunks are read while those before them are sent.
pub(crate) struct StreamBody {
    /// First chunk, read before the status line went out.
    ready: Option<Bytes>,
    source: Option<Source>,
    reading: Option<JoinHandle<ChunkRead>>,
    /// Bytes still to be handed over, where that is known before the end.
    left: Option<u64>,
    ended: bool,
    handed: Arc<Handed>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Reads exactly `bytes` bytes at `offset`.
///
/// # Errors
/// Those of the reader; `UnexpectedEof` if the object ends before.
pub(crate) fn read_chunk(reader: &mut dyn RangeReader, offset: u64, bytes: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        match reader.read_at(offset + filled as u64, &mut buffer[filled..]) {
            Ok(0) => {
                let at = offset + filled as u64;
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("the object ends at byte {at}, {} bytes before the end of the request", bytes - filled),
                ));
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.into())
}

impl StreamBody {
    /// A body of `length` bytes (unknown, if nothing is said), of which `first` are the ones at its start.
    pub(crate) fn new(
        length: Option<u64>,
        first: Option<Bytes>,
        source: Source,
        handed: Arc<Handed>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let ended = length == Some(0);
        Self { ready: first, source: Some(source), reading: None, left: length, ended, handed, _permit: permit }
    }

    fn start_reading(&mut self) {
        let all_read = self.left == Some(0);
        if let Some(mut source) = if all_read { None } else { self.source.take() } {
            self.reading = Some(tokio::task::spawn_blocking(move || {
                let chunk = source.next_chunk();
                (source, chunk)
            }));
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let chunk = match self.ready.take() {
            Some(chunk) => Ok(Some(chunk)),
            None => {
                self.start_reading();
                let Some(reading) = self.reading.as_mut() else {
                    return Poll::Ready(Some(Err(io::Error::other("the source was lost after an error"))));
                };
                let joined = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                joined.map_err(io::Error::other).and_then(|(source, chunk)| {
                    self.source = Some(source);
                    chunk
                })
            }
        };
        match &chunk {
            Ok(Some(bytes)) => {
                self.handed.add(bytes.len());
                self.left = self.left.map(|left| left - bytes.len() as u64);
                self.ended = self.left == Some(0);
                self.start_reading();
            }
            Ok(None) => self.ended = true,
            Err(error) => {
                self.source = None;
                tracing::error!(%error, "reading failed in the middle of a body; the connection is cut");
            }
        }
        Poll::Ready(chunk.transpose())
    }
}

impl Body for GatewayBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            GatewayBody::Empty => Poll::Ready(None),
            GatewayBody::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            GatewayBody::Stream(stream) => {
                let chunk = ready!(stream.poll_chunk(cx));
                Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
            }
            GatewayBody::Mounted { body, handed, .. } => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                if let Some(Ok(bytes)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
                    handed.add(bytes.map_or(0, Bytes::len));
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            GatewayBody::Empty => true,
            GatewayBody::Text(text) => text.is_none(),
            GatewayBody::Stream(stream) => stream.ended,
            GatewayBody::Mounted { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            GatewayBody::Empty => SizeHint::with_exact(0),
            GatewayBody::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            GatewayBody::Stream(stream) => stream.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            GatewayBody::Mounted { body, .. } => body.size_hint(),
        }
    }
}
