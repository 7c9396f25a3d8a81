//! Where piece bytes come from.
//!
//! The pipeline trusts no source: while the bytes are staged, their CommP is computed and compared with the one that was
//! agreed on. A source may be asked again at any later time, when damaged staged data must be made anew.

use std::io::{self, Read};

use cairn_protocol::CommP;

/// A piece cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PieceSourceError {
    /// The source does not have it.
    #[error("piece {comm_p} is not here")]
    Unknown {
        /// Which piece.
        comm_p: CommP,
    },
    /// The source has it but cannot read it.
    #[error("piece {comm_p} cannot be opened: {source}")]
    Io {
        /// Which piece.
        comm_p: CommP,
        /// Why.
        source: io::Error,
    },
}

/// Opens pieces by commitment.
pub trait PieceSource: Send + Sync {
    /// A reader over the piece's payload (without fr32 padding and without the zeros that fill it up), from its start
    /// to its end.
    ///
    /// # Errors
    /// [`PieceSourceError`] if the piece is not here or cannot be opened.
    fn open(&self, comm_p: &CommP) -> Result<Box<dyn Read + Send>, PieceSourceError>;
}

/// Opens its piece at the first read, so that a sector of many pieces holds one open at a time.
pub(crate) struct LazyReader<'a> {
    source: &'a dyn PieceSource,
    comm_p: CommP,
    opened: Option<Box<dyn Read + Send>>,
    ended: bool,
}

impl<'a> LazyReader<'a> {
    pub(crate) fn new(source: &'a dyn PieceSource, comm_p: CommP) -> Self {
        Self { source, comm_p, opened: None, ended: false }
    }
}

impl Read for LazyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let reader = match &mut self.opened {
            Some(reader) => reader,
            empty => empty.insert(self.source.open(&self.comm_p).map_err(io::Error::other)?),
        };
        let count = reader.read(buffer)?;
        if count == 0 {
            self.ended = true;
            self.opened = None;
        }
        Ok(count)
    }
}
