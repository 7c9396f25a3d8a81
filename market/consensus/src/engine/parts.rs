//! A proposed block in parts, and how it is put together again.
//!
//! A stream carries one block: an [`Init`], then the block's encoding in chunks, then the end. The first part is signed by
//! the proposer and names round, block and length, so a receiver knows before it collects anything whether it wants the
//! rest. Parts may come in any order and twice. A stream that breaks a rule is dropped as a whole.
//!
//! Another kind of part carries waiting transactions and belongs to no stream; see [`super::gossip`].

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use cairn_ledger::{Address, ChainId};
use serde::{Deserialize, Serialize};

use crate::block::BlockId;
use crate::commit::is_signed;
use crate::engine::context::Signature;
use crate::engine::signing::KeySigner;

/// Bytes of a block's encoding in one part.
pub(crate) const CHUNK_BYTES: usize = 128 << 10;

/// Streams that may be open at once. Each validator needs one; the rest is for rounds that follow each other quickly.
const STREAMS_MAX: usize = 32;

const TAG_INIT: &[u8] = b"cairn/proposal-stream/v1\0";

/// What a stream will bring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Init {
    pub height: u64,
    pub round: u32,
    pub valid_round: Option<u32>,
    pub proposer: Address,
    pub block: BlockId,
    /// Of the block's encoding.
    pub length: u64,
    pub signature: Signature,
}

/// One message of a stream, or a handful of transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    Init(Init),
    Chunk(#[serde(with = "serde_bytes")] Vec<u8>),
    Transactions(Vec<serde_bytes::ByteBuf>),
}

impl Init {
    fn message(&self, chain: &ChainId) -> Vec<u8> {
        let mut message = TAG_INIT.to_vec();
        message.extend(chain.0);
        message.extend(self.height.to_be_bytes());
        message.extend(self.round.to_be_bytes());
        message.extend(self.valid_round.map_or(-1, i64::from).to_be_bytes());
        message.extend(self.block.0);
        message.extend(self.length.to_be_bytes());
        message.extend(self.proposer.0);
        message
    }

    pub(crate) fn is_signed(&self, chain: &ChainId) -> bool {
        is_signed(&self.proposer, &self.message(chain), &self.signature.0)
    }
}

/// Where a block is proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub height: u64,
    pub round: u32,
    pub valid_round: Option<u32>,
}

/// The parts of a block, in order; the end of the stream is not among them.
pub(crate) fn split(signer: &KeySigner, place: Place, block: BlockId, encoding: &[u8]) -> Vec<Part> {
    let Place { height, round, valid_round } = place;
    let (length, signature) = (encoding.len() as u64, signer.sign(&[]));
    let mut init = Init { height, round, valid_round, proposer: signer.address(), block, length, signature };
    init.signature = signer.sign(&init.message(signer.chain()));
    let chunks = encoding.chunks(CHUNK_BYTES).map(|chunk| Part::Chunk(chunk.to_vec()));
    std::iter::once(Part::Init(init)).chain(chunks).collect()
}

/// Why a stream is dropped. Nobody but its sender is to blame, and the sender loses one proposal by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StreamRejection {
    #[error("part {sequence} does not belong there")]
    Misplaced { sequence: u64 },
    #[error("a block of {length} bytes is announced, {limit} are allowed")]
    TooLong { length: u64, limit: u64 },
    #[error("the announcement is not signed by the proposer it names")]
    NotSigned,
    #[error("{got} bytes came, {expected} were announced")]
    WrongLength { expected: u64, got: u64 },
}

#[derive(Debug, Default)]
struct Stream {
    init: Option<Init>,
    chunks: BTreeMap<u64, Vec<u8>>,
    end: Option<u64>,
    /// When it was opened, in streams.
    opened: u64,
}

/// Streams that are not complete.
#[derive(Debug)]
pub(crate) struct Assembler {
    chain: ChainId,
    block_bytes_max: u64,
    streams: HashMap<Vec<u8>, Stream>,
    opened: u64,
}

impl Assembler {
    pub(crate) fn new(chain: ChainId, block_bytes_max: u64) -> Self {
        Self { chain, block_bytes_max, streams: HashMap::new(), opened: 0 }
    }

    /// Forgets streams that are known to be of `height` or below.
    pub(crate) fn forget_through(&mut self, height: u64) {
        self.streams.retain(|_, stream| stream.init.as_ref().is_none_or(|init| init.height > height));
    }

    /// Takes a part, or the end if `part` is none, of the stream `id`; returns announcement and encoding of the block that
    /// it completes.
    pub(crate) fn insert(
        &mut self,
        id: &[u8],
        sequence: u64,
        part: Option<Part>,
    ) -> Result<Option<(Init, Bytes)>, StreamRejection> {
        if !self.streams.contains_key(id) {
            self.open(id);
        }
        let (chain, limit) = (self.chain, self.block_bytes_max);
        let stream = self.streams.get_mut(id).expect("just opened");
        match stream.insert(&chain, limit, sequence, part) {
            Ok(false) => Ok(None),
            Ok(true) => self.streams.remove(id).map(Stream::finish).transpose(),
            Err(rejection) => {
                self.streams.remove(id);
                Err(rejection)
            }
        }
    }

    /// Makes room by forgetting the oldest stream.
    fn open(&mut self, id: &[u8]) {
        if self.streams.len() >= STREAMS_MAX
            && let Some(oldest) = self.streams.iter().min_by_key(|(_, stream)| stream.opened).map(|(id, _)| id.clone())
        {
            self.streams.remove(&oldest);
        }
        self.opened += 1;
        self.streams.insert(id.to_vec(), Stream { opened: self.opened, ..Stream::default() });
    }
}

impl Stream {
    /// Returns whether all parts are there.
    fn insert(
        &mut self,
        chain: &ChainId,
        limit: u64,
        sequence: u64,
        part: Option<Part>,
    ) -> Result<bool, StreamRejection> {
        let chunks_max = limit.div_ceil(CHUNK_BYTES as u64);
        match part {
            Some(Part::Init(init)) if sequence == 0 => {
                if init.length > limit {
                    return Err(StreamRejection::TooLong { length: init.length, limit });
                }
                if !init.is_signed(chain) {
                    return Err(StreamRejection::NotSigned);
                }
                self.init = Some(init);
            }
            Some(Part::Chunk(chunk)) if (1..=chunks_max).contains(&sequence) && chunk.len() <= CHUNK_BYTES => {
                self.chunks.insert(sequence, chunk);
            }
            None if (1..=chunks_max + 1).contains(&sequence) => self.end = Some(sequence),
            _ => return Err(StreamRejection::Misplaced { sequence }),
        }
        // Sequences 1 to end - 1 are chunks; one beyond the end makes the count too large and the stream never complete.
        Ok(self.init.is_some() && self.end.is_some_and(|end| self.chunks.len() as u64 + 1 == end))
    }

    fn finish(self) -> Result<(Init, Bytes), StreamRejection> {
        let init = self.init.expect("a complete stream has an announcement");
        let encoding: Vec<u8> = self.chunks.into_values().flatten().collect();
        if encoding.len() as u64 != init.length {
            return Err(StreamRejection::WrongLength { expected: init.length, got: encoding.len() as u64 });
        }
        Ok((init, encoding.into()))
    }
}

#[cfg(test)]
mod tests {
    use ed25519_consensus::SigningKey;
    use proptest::prelude::*;

    use super::*;

    const CHAIN: ChainId = ChainId([1; 32]);
    const LIMIT: u64 = 4 * CHUNK_BYTES as u64;

    fn signer() -> KeySigner {
        KeySigner::new(CHAIN, SigningKey::from([7; 32]))
    }

    /// A stream with its end.
    fn stream(length: usize) -> (Vec<u8>, Vec<Option<Part>>) {
        let encoding: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let place = Place { height: 4, round: 1, valid_round: Some(0) };
        let parts = split(&signer(), place, BlockId([3; 32]), &encoding);
        (encoding, parts.into_iter().map(Some).chain([None]).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_order_gives_the_block(length in 0usize..4 * CHUNK_BYTES, order in any::<u64>()) {
            let (encoding, parts) = stream(length);
            let mut numbered: Vec<(u64, Option<Part>)> = (0..).zip(parts).collect();
            let count = numbered.len() as u64;
            numbered.sort_by_key(|(sequence, _)| (sequence.wrapping_mul(order | 1) ^ order) % (count + 1));
            let mut assembler = Assembler::new(CHAIN, LIMIT);
            let mut complete = None;
            for (sequence, part) in numbered {
                prop_assert!(complete.is_none());
                complete = assembler.insert(b"s", sequence, part).unwrap();
            }
            let (init, bytes) = complete.unwrap();
            prop_assert_eq!((init.height, init.round, init.valid_round), (4, 1, Some(0)));
            prop_assert_eq!(&bytes[..], &encoding[..]);
            prop_assert!(assembler.streams.is_empty());
        }
    }

    #[test]
    fn a_stream_that_breaks_a_rule_is_dropped() {
        let (_, parts) = stream(CHUNK_BYTES + 1);
        let mut assembler = Assembler::new(CHAIN, LIMIT);
        let mut refused = |sequence, part| assembler.insert(b"s", sequence, part).unwrap_err();
        assert_eq!(refused(1, parts[0].clone()), StreamRejection::Misplaced { sequence: 1 });
        assert_eq!(refused(0, parts[1].clone()), StreamRejection::Misplaced { sequence: 0 });
        assert_eq!(refused(0, None), StreamRejection::Misplaced { sequence: 0 });
        assert_eq!(refused(5, parts[1].clone()), StreamRejection::Misplaced { sequence: 5 });
        assert_eq!(refused(1, Some(Part::Transactions(vec![]))), StreamRejection::Misplaced { sequence: 1 });
        let Some(Some(Part::Init(init))) = parts.first().cloned() else { unreachable!() };
        let long = Init { length: LIMIT + 1, ..init.clone() };
        assert!(matches!(refused(0, Some(Part::Init(long))), StreamRejection::TooLong { .. }));
        let forged = Init { round: 2, ..init };
        assert_eq!(refused(0, Some(Part::Init(forged))), StreamRejection::NotSigned);
        assembler.insert(b"s", 0, parts[0].clone()).unwrap();
        assembler.insert(b"s", 1, parts[1].clone()).unwrap();
        assert!(matches!(assembler.insert(b"s", 2, None), Err(StreamRejection::WrongLength { .. })));
        assert!(assembler.streams.is_empty());
    }

    #[test]
    fn streams_are_bounded_and_the_oldest_goes() {
        let (_, parts) = stream(10);
        let mut assembler = Assembler::new(CHAIN, LIMIT);
        for id in 0..=STREAMS_MAX as u8 {
            assembler.insert(&[id], 0, parts[0].clone()).unwrap();
        }
        assert_eq!(assembler.streams.len(), STREAMS_MAX);
        assert!(!assembler.streams.contains_key(&[0][..]));
        assembler.forget_through(3);
        assert_eq!(assembler.streams.len(), STREAMS_MAX);
        assembler.forget_through(4);
        assert!(assembler.streams.is_empty());
    }
}
