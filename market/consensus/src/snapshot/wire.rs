//! Questions and answers. A frame is its length, u32 BE, and that many bytes of canonical DAG-CBOR.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use cairn_ledger::sync::{Place, StateTop};
use cairn_ledger::table::TreeNode;
use cairn_ledger::{ChainId, StateRoot, codec};
use cairn_protocol::Epoch;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::store::LightBlock;

/// Longest question.
pub const QUESTION_BYTES_MAX: usize = 64 << 10;
/// Nodes of a state in one answer, in bytes; the last one may exceed it.
pub const NODES_BYTES: usize = 1 << 20;

/// A question, about one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Version of the protocol and the chain: whoever is of another does not answer.
    pub chain: (u16, ChainId),
    /// What is asked.
    pub what: Ask,
}

/// Version of the protocol.
pub const VERSION: u16 = 1;

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// What the server has.
    Status,
    /// The header of a height and why it is final.
    Light(Epoch),
    /// The block of a height.
    Block(Epoch),
    /// The top of a state.
    Top(StateRoot),
    /// Nodes of a state's tables.
    Nodes(StateRoot, Vec<Place>),
}

/// What a server has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Its last block.
    pub head: Epoch,
    /// The oldest block that it has.
    pub oldest: Epoch,
    /// Blocks whose state it has, ascending.
    pub snapshots: Vec<Epoch>,
    /// Heights that are multiples of this are kept as light blocks for longer.
    pub every: u64,
}

/// An answer. None: the server does not have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// To [`Ask::Status`].
    Status(Status),
    /// To [`Ask::Light`].
    Light(Option<Box<LightBlock>>),
    /// To [`Ask::Block`]: its encoding.
    Block(Option<ByteBuf>),
    /// To [`Ask::Top`].
    Top(Option<StateTop>),
    /// To [`Ask::Nodes`].
    Nodes(Option<Vec<TreeNode>>),
}

/// A frame around a message.
pub fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let body = codec::encode(message);
    let length = u32::try_from(body.len()).expect("messages are shorter than 4 GiB");
    [&length.to_be_bytes()[..], &body].concat()
}

/// A connection that gives up in time.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    answer_timeout: Duration,
}

impl Connection {
    pub(super) fn open(server: SocketAddr, answer_timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, answer_timeout)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer_timeout })
    }

    /// Asks, and returns the body of the answer, of at most `limit` bytes. However slowly it comes, it takes no longer
    /// than the timeout.
    pub(super) fn ask(&mut self, question: &Question, limit: usize) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + self.answer_timeout;
        self.stream.set_write_timeout(Some(self.answer_timeout))?;
        self.stream.write_all(&frame(question))?;
        let mut length = [0; 4];
        self.read(&mut length, deadline)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > limit {
            let text = format!("an answer of {length} bytes, at most {limit} are taken");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        // Grown as bytes come, so that a length alone takes no memory.
        let (mut body, mut chunk) = (Vec::new(), vec![0; length.min(64 << 10)]);
        while body.len() < length {
            let next = chunk.len().min(length - body.len());
            self.read(&mut chunk[..next], deadline)?;
            body.extend_from_slice(&chunk[..next]);
        }
        Ok(body)
    }

    fn read(&mut self, mut into: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !into.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no whole answer in time"));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(into) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => into = &mut into[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
