//! A TCP socket, in the clear or with TLS by the kernel: alike to whoever reads and writes, and different at the end.
//!
//! The end of a session is said, and the peer's own end is read first: a socket that closes with unread bytes takes back what it
//! has not sent yet.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kernel_tls::{SESSION_BYTES_MAX, close_notify};

/// Longest wait for the peer's last word.
const LINGER: Duration = Duration::from_secs(5);
/// Bytes of one read of what nobody asked for.
const UNHEARD_BYTES: usize = 512;

/// A socket, and what is to be said on it before it closes.
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    /// The kernel encrypts.
    encrypted: bool,
    /// The peer was told that nothing more comes.
    ended: bool,
}

impl Socket {
    /// One in the clear.
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self { stream, encrypted: false, ended: false }
    }

    /// One that the kernel encrypts.
    pub(crate) fn encrypting(stream: TcpStream) -> Self {
        Self { stream, encrypted: true, ended: false }
    }

    /// Bytes after which it gives its last answer.
    pub(crate) fn bytes_max(&self) -> u64 {
        if self.encrypted { SESSION_BYTES_MAX } else { u64::MAX }
    }

    /// Ends a session, and hears the peer out.
    pub(crate) async fn end_session(&mut self) {
        if self.encrypted {
            let _ = self.shutdown().await;
            let hearing = async { while matches!(self.read(&mut [0; UNHEARD_BYTES]).await, Ok(1..)) {} };
            let _ = timeout(LINGER, hearing).await;
        }
    }

    /// Tells the peer that nothing was cut off.
    fn say_end(&mut self) {
        let said = std::mem::replace(&mut self.ended, true);
        if self.encrypted
            && !said
            && let Err(error) = close_notify(self.stream.as_fd())
        {
            tracing::debug!(%error, "the end of a TLS session was not said");
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            // A record that is not data: the end of the session, or what ends it.
            Poll::Ready(Err(error)) if self.encrypted && error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                Poll::Ready(Ok(()))
            }
            read => read,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.say_end();
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        // Without waiting: the library closes at once.
        if self.encrypted {
            let _ = self.stream.try_read(&mut [0; UNHEARD_BYTES]);
        }
        shut
    }
}
