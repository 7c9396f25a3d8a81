//! The one encoding of each message, on the network and in the engine's log: canonical DAG-CBOR of tuples, decoded
//! strictly ([`codec::decode_strict`]). Changing a tuple changes the protocol: count [`PROTOCOL`] up.

use arc_malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use arc_malachitebft_app_channel::app::types::codec::{Codec, HasEncodedLen};
use arc_malachitebft_core_consensus::{LivenessMsg, ProposedValue, SignedConsensusMsg};
use arc_malachitebft_core_types::{
    ExtendedCommitCertificate, ExtendedCommitSignature, NilOrVal, PolkaCertificate, PolkaSignature, Round,
    RoundCertificate, RoundCertificateType, RoundSignature, SignedMessage, ValidatorProof, Validity, VoteType,
};
use arc_malachitebft_peer::PeerId;
use arc_malachitebft_sync::{RawDecidedValue, Request, Response, Status, ValueRequest, ValueResponse};
use bytes::Bytes;
use cairn_ledger::{CodecRejection, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use crate::block::BlockId;
use crate::engine::context::{Context, Height, Proposal, Signature, ValidatorKey, Vote};
use crate::engine::parts::Part;

/// Names the protocol to peers; those who speak another are not talked to.
pub(crate) const PROTOCOL: &str = "/cairn/consensus/1";

/// Longest message. The transport has limits below it; this one is for what comes from elsewhere.
const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// Our [`Codec`] for all messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire;

type Rounds = Option<u32>;
type WireVote = (bool, Height, Rounds, Option<BlockId>, ValidatorKey, Signature);
type WireProposal = (Height, Rounds, BlockId, Rounds, ValidatorKey, Signature);
type WirePolka = (Height, Rounds, BlockId, Vec<(ValidatorKey, Signature)>);
type WireRound = (Height, Rounds, bool, Vec<(bool, Option<BlockId>, ValidatorKey, Signature)>);
type WireValue = (Height, Rounds, Rounds, ValidatorKey, BlockId, bool);
type WireDecided = (ByteBuf, WirePolka);

/// A vote or a proposal: exactly one is there.
type WireConsensus = (Option<WireVote>, Option<WireProposal>);
/// Exactly one is there.
type WireLiveness = (Option<WireVote>, Option<WirePolka>, Option<WireRound>);

fn malformed(detail: &str) -> CodecRejection {
    CodecRejection::Malformed { detail: detail.to_owned() }
}

fn encode<T: Serialize>(value: &T) -> Bytes {
    codec::encode(value).into()
}

fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecRejection> {
    codec::decode_strict(bytes, MESSAGE_BYTES_MAX)
}

fn round(round: Round) -> Rounds {
    round.as_u32()
}

fn block(block: &NilOrVal<BlockId>) -> Option<BlockId> {
    match block {
        NilOrVal::Nil => None,
        NilOrVal::Val(block) => Some(*block),
    }
}

fn unblock(block: Option<BlockId>) -> NilOrVal<BlockId> {
    block.map_or(NilOrVal::Nil, NilOrVal::Val)
}

fn is_precommit(kind: VoteType) -> bool {
    kind == VoteType::Precommit
}

fn vote_type(is_precommit: bool) -> VoteType {
    if is_precommit { VoteType::Precommit } else { VoteType::Prevote }
}

fn wire_vote(vote: &SignedMessage<Context, Vote>) -> WireVote {
    let Vote { kind, height, round: in_round, block: for_block, validator, extension: _ } = &vote.message;
    (is_precommit(*kind), *height, round(*in_round), block(for_block), *validator, vote.signature)
}

fn read_vote((precommit, height, in_round, for_block, validator, signature): WireVote) -> SignedMessage<Context, Vote> {
    let (kind, block) = (vote_type(precommit), unblock(for_block));
    let vote = Vote { kind, height, round: Round::from(in_round), block, validator, extension: None };
    SignedMessage::new(vote, signature)
}

fn wire_proposal(proposal: &SignedMessage<Context, Proposal>) -> WireProposal {
    let Proposal { height, round: in_round, block, valid_round, proposer } = &proposal.message;
    (*height, round(*in_round), *block, round(*valid_round), *proposer, proposal.signature)
}

fn read_proposal(wire: WireProposal) -> SignedMessage<Context, Proposal> {
    let (height, in_round, block, valid_round, proposer, signature) = wire;
    let (round, valid_round) = (Round::from(in_round), Round::from(valid_round));
    SignedMessage::new(Proposal { height, round, block, valid_round, proposer }, signature)
}

fn wire_polka(certificate: &PolkaCertificate<Context>) -> WirePolka {
    let signatures = certificate.polka_signatures.iter().map(|s| (s.address, s.signature)).collect();
    (certificate.height, round(certificate.round), certificate.value_id, signatures)
}

fn read_polka((height, in_round, value_id, signatures): WirePolka) -> PolkaCertificate<Context> {
    let signatures = signatures.into_iter().map(|(address, signature)| PolkaSignature::new(address, signature));
    PolkaCertificate { height, round: Round::from(in_round), value_id, polka_signatures: signatures.collect() }
}

fn wire_round(certificate: &RoundCertificate<Context>) -> WireRound {
    let is_precommits = certificate.cert_type == RoundCertificateType::Precommit;
    let signature =
        |s: &RoundSignature<Context>| (is_precommit(s.vote_type), block(&s.value_id), s.address, s.signature);
    let signatures = certificate.round_signatures.iter().map(signature).collect();
    (certificate.height, round(certificate.round), is_precommits, signatures)
}

fn read_round((height, in_round, is_precommits, signatures): WireRound) -> RoundCertificate<Context> {
    let cert_type = if is_precommits { RoundCertificateType::Precommit } else { RoundCertificateType::Skip };
    let signature = |(precommit, block, address, signature)| {
        RoundSignature::new(vote_type(precommit), unblock(block), address, signature)
    };
    let round_signatures = signatures.into_iter().map(signature).collect();
    RoundCertificate { height, round: Round::from(in_round), cert_type, round_signatures }
}

fn wire_decided(decided: &RawDecidedValue<Context>) -> WireDecided {
    let ExtendedCommitCertificate { height, round: in_round, value_id, commit_signatures } = &decided.certificate;
    let signatures = commit_signatures.iter().map(|s| (s.address, s.signature)).collect();
    (ByteBuf::from(decided.value_bytes.to_vec()), (*height, round(*in_round), *value_id, signatures))
}

fn read_decided((value, (height, in_round, value_id, signatures)): WireDecided) -> RawDecidedValue<Context> {
    let signature = |(address, signature)| ExtendedCommitSignature::new(address, signature, None);
    let commit_signatures = signatures.into_iter().map(signature).collect();
    let certificate = ExtendedCommitCertificate { height, round: Round::from(in_round), value_id, commit_signatures };
    RawDecidedValue::new(value.into_vec().into(), certificate)
}

/// Implements [`Codec`] for a message by a tuple that stands for it.
macro_rules! codec {
    ($message:ty, $wire:ty, $to:expr, $from:expr) => {
        impl Codec<$message> for Wire {
            type Error = CodecRejection;

            fn encode(&self, message: &$message) -> Result<Bytes, CodecRejection> {
                let to: fn(&$message) -> $wire = $to;
                Ok(encode(&to(message)))
            }

            fn decode(&self, bytes: Bytes) -> Result<$message, CodecRejection> {
                let from: fn($wire) -> Result<$message, CodecRejection> = $from;
                from(decode(&bytes)?)
            }
        }
    };
}

codec!(Part, Part, Part::clone, Ok);
codec!(
    SignedConsensusMsg<Context>,
    WireConsensus,
    |message| match message {
        SignedConsensusMsg::Vote(vote) => (Some(wire_vote(vote)), None),
        SignedConsensusMsg::Proposal(proposal) => (None, Some(wire_proposal(proposal))),
    },
    |wire| match wire {
        (Some(vote), None) => Ok(SignedConsensusMsg::Vote(read_vote(vote))),
        (None, Some(proposal)) => Ok(SignedConsensusMsg::Proposal(read_proposal(proposal))),
        _ => Err(malformed("neither a vote nor a proposal")),
    }
);
codec!(
    LivenessMsg<Context>,
    WireLiveness,
    |message| match message {
        LivenessMsg::Vote(vote) => (Some(wire_vote(vote)), None, None),
        LivenessMsg::PolkaCertificate(polka) => (None, Some(wire_polka(polka)), None),
        LivenessMsg::SkipRoundCertificate(skip) => (None, None, Some(wire_round(skip))),
    },
    |wire| match wire {
        (Some(vote), None, None) => Ok(LivenessMsg::Vote(read_vote(vote))),
        (None, Some(polka), None) => Ok(LivenessMsg::PolkaCertificate(read_polka(polka))),
        (None, None, Some(skip)) => Ok(LivenessMsg::SkipRoundCertificate(read_round(skip))),
        _ => Err(malformed("neither a vote nor a certificate")),
    }
);
codec!(PolkaCertificate<Context>, WirePolka, wire_polka, |wire| Ok(read_polka(wire)));
codec!(
    StreamMessage<Part>,
    (ByteBuf, u64, Option<Part>),
    |message| {
        let id = ByteBuf::from(message.stream_id.to_bytes().to_vec());
        (id, message.sequence, message.content.as_data().cloned())
    },
    |(id, sequence, part)| {
        let content = part.map_or(StreamContent::Fin, StreamContent::Data);
        Ok(StreamMessage::new(StreamId::new(id.into_vec().into()), sequence, content))
    }
);
codec!(
    ValidatorProof<Context>,
    (ByteBuf, ByteBuf, Signature),
    |proof| (ByteBuf::from(proof.public_key.clone()), ByteBuf::from(proof.peer_id.clone()), proof.signature),
    |(key, peer, signature)| Ok(ValidatorProof::new(key.into_vec(), peer.into_vec(), signature))
);
codec!(
    ProposedValue<Context>,
    WireValue,
    |value| {
        let rounds = (round(value.round), round(value.valid_round));
        (value.height, rounds.0, rounds.1, value.proposer, value.value, value.validity.is_valid())
    },
    |(height, in_round, valid_round, proposer, value, valid)| {
        let (round, valid_round) = (Round::from(in_round), Round::from(valid_round));
        Ok(ProposedValue { height, round, valid_round, proposer, value, validity: Validity::from_bool(valid) })
    }
);
codec!(
    Status<Context>,
    (ByteBuf, Height, Height),
    |status| (ByteBuf::from(status.peer_id.to_bytes()), status.tip_height, status.history_min_height),
    |(peer, tip_height, history_min_height)| {
        let peer_id = PeerId::from_bytes(&peer).map_err(|_| malformed("not the name of a peer"))?;
        Ok(Status { peer_id, tip_height, history_min_height })
    }
);
codec!(
    Request<Context>,
    (Height, Height),
    |request| match request {
        Request::ValueRequest(request) => (*request.range.start(), *request.range.end()),
    },
    |(first, last)| Ok(Request::ValueRequest(ValueRequest::new(first..=last)))
);
codec!(
    Response<Context>,
    (Height, Vec<WireDecided>),
    |response| match response {
        Response::ValueResponse(response) =>
            (response.start_height, response.values.iter().map(wire_decided).collect()),
    },
    |(start, values)| {
        Ok(Response::ValueResponse(ValueResponse::new(start, values.into_iter().map(read_decided).collect())))
    }
);

impl HasEncodedLen<Response<Context>> for Wire {
    fn encoded_len(&self, response: &Response<Context>) -> Result<usize, CodecRejection> {
        Ok(self.encode(response)?.len())
    }
}

#[cfg(test)]
mod tests {
    use cairn_ledger::{Address, SignatureBytes};
    use proptest::prelude::*;

    use super::*;

    const KEY: ValidatorKey = ValidatorKey(Address([1; 32]));
    const SIGNATURE: Signature = Signature(SignatureBytes([2; 64]));
    const BLOCK: BlockId = BlockId([3; 32]);

    fn vote(kind: VoteType, block: NilOrVal<BlockId>) -> SignedMessage<Context, Vote> {
        let round = Round::new(4);
        SignedMessage::new(Vote { kind, height: Height(5), round, block, validator: KEY, extension: None }, SIGNATURE)
    }

    fn round_trips<T: PartialEq + std::fmt::Debug>(message: T)
    where
        Wire: Codec<T, Error = CodecRejection>,
    {
        let bytes = Wire.encode(&message).unwrap();
        assert_eq!(Wire.decode(bytes.clone()).unwrap(), message);
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(<Wire as Codec<T>>::decode(&Wire, longer.into()).is_err());
    }

    #[test]
    fn every_message_round_trips() {
        round_trips(SignedConsensusMsg::Vote(vote(VoteType::Prevote, NilOrVal::Nil)));
        round_trips(SignedConsensusMsg::Vote(vote(VoteType::Precommit, NilOrVal::Val(BLOCK))));
        let (height, valid_round) = (Height(9), Round::Nil);
        let proposal = Proposal { height, round: Round::new(0), block: BLOCK, valid_round, proposer: KEY };
        round_trips(SignedConsensusMsg::Proposal(SignedMessage::new(proposal, SIGNATURE)));
        let polka = PolkaCertificate {
            height,
            round: Round::new(1),
            value_id: BLOCK,
            polka_signatures: vec![PolkaSignature::new(KEY, SIGNATURE)],
        };
        round_trips(polka.clone());
        round_trips(LivenessMsg::PolkaCertificate(polka));
        round_trips(LivenessMsg::Vote(vote(VoteType::Precommit, NilOrVal::Nil)));
        for cert_type in [RoundCertificateType::Skip, RoundCertificateType::Precommit] {
            let signature = RoundSignature::new(VoteType::Prevote, NilOrVal::Val(BLOCK), KEY, SIGNATURE);
            let round_signatures = vec![signature];
            let skip = RoundCertificate { height, round: Round::new(2), cert_type, round_signatures };
            round_trips(LivenessMsg::SkipRoundCertificate(skip));
        }
        let value = BLOCK;
        let rounds = (Round::new(3), Round::new(1));
        for validity in [Validity::Valid, Validity::Invalid] {
            let (round, valid_round) = rounds;
            round_trips(ProposedValue { height, round, valid_round, proposer: KEY, value, validity });
        }
    }

    #[test]
    fn every_sync_and_stream_message_round_trips() {
        let id = StreamId::new(Bytes::from_static(b"id"));
        round_trips(StreamMessage::<Part>::new(id.clone(), 7, StreamContent::Fin));
        round_trips(StreamMessage::new(id.clone(), 1, StreamContent::Data(Part::Chunk(vec![9; 300]))));
        round_trips(StreamMessage::new(id, 0, StreamContent::Data(Part::Transactions(vec![ByteBuf::from([1, 2])]))));
        round_trips(ValidatorProof::<Context>::new(vec![1; 32], vec![2; 38], SIGNATURE));
        let (tip_height, history_min_height) = (Height(10), Height(1));
        let key = arc_malachitebft_app_channel::app::types::Keypair::generate_ed25519();
        let peer_id = PeerId::from_bytes(&key.public().to_peer_id().to_bytes()).unwrap();
        round_trips(Status::<Context> { peer_id, tip_height, history_min_height });
        round_trips(Request::<Context>::ValueRequest(ValueRequest::new(Height(1)..=Height(5))));
        let certificate = ExtendedCommitCertificate {
            height: Height(1),
            round: Round::new(0),
            value_id: BLOCK,
            commit_signatures: vec![ExtendedCommitSignature::new(KEY, SIGNATURE, None)],
        };
        let decided = RawDecidedValue::new(Bytes::from_static(b"block"), certificate);
        round_trips(Response::<Context>::ValueResponse(ValueResponse::new(Height(1), vec![decided])));
    }

    fn decodes<T>(bytes: &[u8]) -> bool
    where
        Wire: Codec<T>,
    {
        <Wire as Codec<T>>::decode(&Wire, Bytes::copy_from_slice(bytes)).is_ok()
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            decodes::<Part>(&bytes);
            decodes::<SignedConsensusMsg<Context>>(&bytes);
            decodes::<LivenessMsg<Context>>(&bytes);
            decodes::<PolkaCertificate<Context>>(&bytes);
            decodes::<StreamMessage<Part>>(&bytes);
            decodes::<ValidatorProof<Context>>(&bytes);
            decodes::<ProposedValue<Context>>(&bytes);
            decodes::<Status<Context>>(&bytes);
            decodes::<Request<Context>>(&bytes);
            decodes::<Response<Context>>(&bytes);
        }
    }
}
