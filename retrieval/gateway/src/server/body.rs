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

type Reader = Box<dyn RangeReader>;

/// A chunk that was read, with its reader for the next one.
pub(crate) type ChunkRead = (Reader, io::Result<Bytes>);

pub(crate) struct StreamBody {
    /// First chunk, read before the status line went out.
    ready: Option<Bytes>,
    reader: Option<Reader>,
    reading: Option<JoinHandle<ChunkRead>>,
    /// Bytes still to be read by new chunks.
    unread: ByteSpan,
    /// Bytes still to be handed over.
    left: u64,
    chunk_bytes: usize,
    handed: Arc<Handed>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Offset and count; empty when all has been asked for.
#[derive(Debug, Clone, Copy)]
struct ByteSpan {
    offset: u64,
    bytes: u64,
}

impl ByteSpan {
    fn take(&mut self, bytes_max: usize) -> ByteSpan {
        let taken = ByteSpan { offset: self.offset, bytes: self.bytes.min(bytes_max as u64) };
        self.offset += taken.bytes;
        self.bytes -= taken.bytes;
        taken
    }
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
    /// A body over `range`, of which `first` are the bytes at its start.
    pub(crate) fn new(
        range: ByteRange,
        first: Bytes,
        reader: Reader,
        chunk_bytes: usize,
        handed: Arc<Handed>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let read = first.len() as u64;
        Self {
            ready: Some(first).filter(|first| !first.is_empty()),
            reader: Some(reader),
            reading: None,
            unread: ByteSpan { offset: range.first + read, bytes: range.len() - read },
            left: range.len(),
            chunk_bytes,
            handed,
            _permit: permit,
        }
    }

    fn start_reading(&mut self) {
        if self.unread.bytes == 0 || self.reading.is_some() {
            return;
        }
        let Some(mut reader) = self.reader.take() else { return };
        let span = self.unread.take(self.chunk_bytes);
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let chunk = read_chunk(reader.as_mut(), span.offset, span.bytes as usize);
            (reader, chunk)
        }));
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(chunk) = self.ready.take() {
            self.start_reading();
            return Poll::Ready(Some(Ok(chunk)));
        }
        self.start_reading();
        let Some(reading) = self.reading.as_mut() else {
            return Poll::Ready(Some(Err(io::Error::other("the reader was lost after an error"))));
        };
        let joined = ready!(Pin::new(reading).poll(cx));
        self.reading = None;
        let chunk = joined.map_err(io::Error::other).and_then(|(reader, chunk)| {
            self.reader = Some(reader);
            chunk
        });
        match &chunk {
            Ok(_) => self.start_reading(),
            Err(error) => tracing::error!(%error, "reading failed in the middle of a body; the connection is cut"),
        }
        Poll::Ready(Some(chunk))
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
                if let Some(Ok(bytes)) = &chunk {
                    stream.left -= bytes.len() as u64;
                    stream.handed.add(bytes.len());
                }
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
            GatewayBody::Stream(stream) => stream.left == 0,
            GatewayBody::Mounted { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            GatewayBody::Empty => SizeHint::with_exact(0),
            GatewayBody::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            GatewayBody::Stream(stream) => SizeHint::with_exact(stream.left),
            GatewayBody::Mounted { body, .. } => body.size_hint(),
        }
    }
}
