//! Every decoder that sees bytes from strangers, as a function of bytes.
//!
//! The same entries serve twice: `cargo fuzz` runs them for hours under coverage guidance (`fuzz/fuzz_targets`), and the
//! tests of this crate run each of them for a moment on mutated real inputs, on any Rust. An entry fails by panicking:
//! either the decoder did, or something that was accepted does not come out again as it went in.

#![forbid(unsafe_code)]

use cairn_access::{ChannelTerms, Denylist, Grant, UnixSeconds, x402};
use cairn_consensus::{DrandNetwork, DrandRound, DrandVerifier, Genesis};
use cairn_content::graph::{BlockStream, Blocks, DagFile, Scope, list_folder, resolve};
use cairn_content::{CarLimits, CarReader, DagWalk, Dataset, PbNode, RangeProof, Trailing, WalkLimits};
use cairn_encryption::{FileHeader, HEADER_BYTES, Identities, KeyFile, Layout};
use cairn_gateway::{head, path, range};
use cairn_ledger::payments::SignedVoucher;
use cairn_ledger::scores::receipts::{OpenedReceipt, SignedCheckReceipt};
use cairn_ledger::{Address, ChainId, SignedServedGroup, SignedServingKey, SignedTransaction, WrongBytes, codec};
use cairn_origin::{OriginAddress, S3Settings};
use cairn_protocol::{Amount, CommP, parse_piece_cid};
use cairn_rpc::client::SseParser;
use cairn_rpc::{EventId, Problem, page, wire};
use cairn_s3::request::RequestHead;
use cairn_s3::sigv4::{Authorization, SecretKey};
use cairn_sector::porep::PorepProof;
use cairn_sector::post::PostProof;
use cairn_sector::update::UpdateProof;
use cid::Cid;
use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue};
use multihash::Multihash;
use sha2::{Digest, Sha256};

/// Largest transaction that the entry accepts, as on a development network.
const TRANSACTION_BYTES_MAX: usize = 8 << 20;

/// A decoder and its name.
pub type Entry = (&'static str, fn(&[u8]));

/// All entries; the names are those of the fuzz targets.
pub const ENTRIES: [Entry; 20] = [
    ("porep_proof", porep_proof),
    ("post_proof", post_proof),
    ("update_proof", update_proof),
    ("transaction", transaction),
    ("genesis", genesis),
    ("dag_pb", dag_pb),
    ("dag_walk", dag_walk),
    ("car", car),
    ("piece_cid", piece_cid),
    ("http_request", http_request),
    ("signed_claim", signed_claim),
    ("drand_round", drand_round),
    ("rpc_request", rpc_request),
    ("rpc_stream", rpc_stream),
    ("range_proof", range_proof),
    ("s3_request", s3_request),
    ("s3_upload", s3_upload),
    ("access_request", access_request),
    ("encrypted_file", encrypted_file),
    ("origin", origin),
];

/// A proof of replication, in both encodings.
pub fn porep_proof(bytes: &[u8]) {
    if let Ok(proof) = PorepProof::from_bytes(bytes) {
        assert_eq!(PorepProof::from_bytes(&proof.to_bytes()), Ok(proof));
    }
    if let Ok(proof) = serde_json::from_slice::<PorepProof>(bytes) {
        assert_eq!(PorepProof::from_bytes(&proof.to_bytes()), Ok(proof));
    }
}

/// A proof of spacetime, in both encodings.
pub fn post_proof(bytes: &[u8]) {
    if let Ok(proof) = PostProof::from_bytes(bytes) {
        assert_eq!(PostProof::from_bytes(&proof.to_bytes()), Ok(proof));
    }
    if let Ok(proof) = serde_json::from_slice::<PostProof>(bytes) {
        assert_eq!(PostProof::from_bytes(&proof.to_bytes()), Ok(proof));
    }
}

/// A proof of a sector update, in both encodings.
pub fn update_proof(bytes: &[u8]) {
    if let Ok(proof) = UpdateProof::from_bytes(bytes) {
        assert_eq!(UpdateProof::from_bytes(&proof.to_bytes()), Ok(proof));
    }
    if let Ok(proof) = serde_json::from_slice::<UpdateProof>(bytes) {
        assert_eq!(UpdateProof::from_bytes(&proof.to_bytes()), Ok(proof));
    }
}

/// A signed transaction: what is accepted has exactly one encoding.
pub fn transaction(bytes: &[u8]) {
    if let Ok(transaction) = SignedTransaction::decode(bytes, TRANSACTION_BYTES_MAX) {
        assert_eq!(transaction.encode(), bytes);
    }
}

/// A genesis file.
pub fn genesis(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(genesis) = Genesis::from_json(text) {
        assert_eq!(Genesis::from_json(&genesis.to_json()).ok(), Some(genesis));
    }
}

/// An interior node of a dataset.
pub fn dag_pb(bytes: &[u8]) {
    let _ = PbNode::decode(bytes);
    foreign_block(bytes);
}

/// The only block of a graph that somebody put into an archive.
struct OnlyBlock<'a>(Cid, &'a [u8]);

impl Blocks for OnlyBlock<'_> {
    fn block(&self, cid: &Cid) -> std::io::Result<Option<bytes::Bytes>> {
        Ok((*cid == self.0).then(|| bytes::Bytes::copy_from_slice(self.1)))
    }
}

/// What a gateway does with a block of a foreign graph: a path into it, a selection below it, bytes of the file it may be.
fn foreign_block(bytes: &[u8]) {
    let multihash = Multihash::wrap(0x12, &Sha256::digest(bytes)).expect("32 bytes fit");
    for codec in [0x70, 0x71] {
        let root = Cid::new_v1(codec, multihash);
        for path in [vec![], vec!["a".to_owned()]] {
            let Ok(path) = resolve(&OnlyBlock(root, bytes), &root, &path) else { continue };
            for scope in [Scope::All, Scope::Entity(None), Scope::Entity(Some((1, 5)))] {
                let mut stream = BlockStream::new(OnlyBlock(root, bytes), &path, scope, false);
                while let Ok(Some(_)) = stream.next_block() {}
            }
        }
        let _ = list_folder(&OnlyBlock(root, bytes), &root);
        if let Ok(Some(mut file)) = DagFile::open(OnlyBlock(root, bytes), &root) {
            let end = file.size().saturating_sub(1);
            for offset in [0, end] {
                let _ = file.read_at(offset, &mut [0; 16]);
            }
        }
    }
}

/// The root block of a dataset that a gateway sent.
pub fn dag_walk(bytes: &[u8]) {
    let multihash = Multihash::wrap(0x12, &Sha256::digest(bytes)).expect("32 bytes fit");
    let root = Cid::new_v1(0x70, multihash);
    let Ok(mut walk) = DagWalk::new(&root, WalkLimits::default()) else { return };
    let wanted = walk.next_wanted();
    if wanted == Some(root) {
        let _ = walk.supply(&root, bytes);
    }
}

/// An archive of blocks.
pub fn car(bytes: &[u8]) {
    for trailing in [Trailing::Nothing, Trailing::ZeroPadding] {
        let Ok(mut reader) = CarReader::new(bytes, CarLimits { trailing, ..CarLimits::default() }) else { continue };
        while let Ok(Some(_)) = reader.next_block() {}
    }
}

/// A CID that may name a piece, from its bytes and from text.
pub fn piece_cid(bytes: &[u8]) {
    let from_text = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Cid>().ok());
    for cid in Cid::try_from(bytes).ok().into_iter().chain(from_text) {
        let Ok(piece) = parse_piece_cid(&cid) else { continue };
        if let Some(size) = piece.size {
            let again = cairn_protocol::piece_cid_v2(&piece.comm_p, size.payload_bytes, size.padded);
            assert_eq!(again.hash().digest(), cid.hash().digest());
        }
    }
}

/// What a gateway takes apart in a request: its head, the path, and the Range header over a few sizes.
pub fn http_request(bytes: &[u8]) {
    if let head::Head::Plain(head) = head::parse(bytes) {
        assert!(head.bytes <= bytes.len() && head.path.starts_with('/') && bytes[..head.bytes].ends_with(b"\n"));
        assert!(!matches!(head::parse(&bytes[..head.bytes - 1]), head::Head::Plain(_)), "a head ends once");
        let _ = path::decode(&head.path);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = path::decode(text);
    }
    for size in [0, 1, 1000, u64::MAX] {
        if let range::Selection::Part(part) = range::select(bytes, size) {
            assert!((1..=size).contains(&part.len()), "{part:?} of {size}");
        }
    }
}

/// A voucher that a client sends with a request, a checker's receipt, opened or not, or a provider's word for its bytes: what is accepted has exactly one
/// encoding, and checking its signature and its place under a root never panics.
pub fn signed_claim(bytes: &[u8]) {
    let chain = ChainId([1; 32]);
    if let Ok(voucher) = codec::decode_strict::<SignedVoucher>(bytes, 1 << 10) {
        assert_eq!(codec::encode(&voucher), bytes);
        let payer = cairn_ledger::Address(Sha256::digest(bytes).into());
        assert!(!voucher.is_signed_by(chain, payer), "nobody knows the key of a hash");
    }
    if let Ok(receipt) = codec::decode_strict::<SignedCheckReceipt>(bytes, 1 << 10) {
        assert_eq!(codec::encode(&receipt), bytes);
        let _ = receipt.verify(chain);
    }
    if let Ok(opened) = codec::decode_strict::<OpenedReceipt>(bytes, 1 << 12) {
        assert_eq!(codec::encode(&opened), bytes);
        let root = Sha256::digest(bytes).into();
        assert!(!opened.is_under(&root, u32::MAX), "nobody has a path to a hash of it");
    }
    if let Ok(signed) = SignedServedGroup::decode(bytes) {
        assert_eq!(signed.encode(), bytes);
        let owner = cairn_ledger::Address(Sha256::digest(bytes).into());
        assert!(!signed.is_signed_by(chain, owner), "nobody knows the key of a hash");
    }
    if let Ok(leave) = SignedServingKey::decode(bytes) {
        assert_eq!(leave.encode(), bytes);
        let owner = cairn_ledger::Address(Sha256::digest(bytes).into());
        assert!(!leave.is_signed_by(chain, owner), "nobody knows the key of a hash");
    }
    if let Ok(evidence) = codec::decode_strict::<WrongBytes>(bytes, 1 << 11) {
        assert_eq!(codec::encode(&evidence), bytes);
        let _ = evidence.check_bytes();
    }
}

/// A round of drand as a relay sends it; and its signature, from any bytes.
pub fn drand_round(bytes: &[u8]) {
    let verifier = DrandVerifier::new(DrandNetwork::quicknet()).expect("the published key");
    if let Ok(round) = serde_json::from_slice::<DrandRound>(bytes) {
        let _ = verifier.verify(&round);
    }
    if let Some(signature) = bytes.first_chunk::<48>() {
        let _ = verifier.verify(&DrandRound { round: 1, signature: *signature });
    }
}

/// What a server of the ledger takes apart in a request: names of events, cursors, bodies.
pub fn rpc_request(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(id) = text.parse::<EventId>() {
            assert_eq!(id.to_string().parse(), Ok(id));
            let _ = id.next();
        }
        if let Ok(number) = page::read_cursor::<u64>("orders", text) {
            assert_eq!(page::read_cursor("orders", &page::cursor("orders", number)), Ok(number));
        }
    }
    if let Ok(request) = serde_json::from_slice::<wire::QuoteRequest>(bytes) {
        assert_eq!(wire::OrderTerms::of(&request.terms.to_terms()), request.terms);
    }
    if let Ok(request) = serde_json::from_slice::<wire::SubmitRequest>(bytes) {
        let _ = hex::decode(&request.transaction).map(|bytes| transaction(&bytes));
    }
}

/// What a client of the ledger reads: a stream of events, cut anywhere, and answers.
pub fn rpc_stream(bytes: &[u8]) {
    let read = |chunk: usize| {
        let mut parser = SseParser::new();
        bytes.chunks(chunk).map(|chunk| parser.push(chunk)).collect::<Result<Vec<_>, _>>().map(|all| all.concat())
    };
    assert_eq!(read(1), read(bytes.len().max(1)), "events do not depend on how they are cut");
    let _ = serde_json::from_slice::<Problem>(bytes).map(|problem| problem.to_string());
    let _ = serde_json::from_slice::<wire::TransactionStatus>(bytes);
    let _ = serde_json::from_slice::<wire::Page<wire::Order>>(bytes);
    let _ = serde_json::from_slice::<wire::PostDuties>(bytes);
}

/// A proof for a range of a piece: what is accepted has exactly one encoding, and leads to no commitment of a stranger.
pub fn range_proof(bytes: &[u8]) {
    if let Ok(proof) = RangeProof::decode(bytes) {
        assert_eq!(proof.encode(), bytes);
        let range = proof.bytes();
        assert!(range.start <= range.end);
        let _ = proof.verify(&CommP([0; 32]));
    }
}

/// The body of an upload by S3: in one piece as in many, and the list that completes an upload.
pub fn s3_upload(bytes: &[u8]) {
    let decode = |step: usize| {
        let (mut decoder, mut data) = (cairn_s3::chunked::Decoder::default(), Vec::new());
        let fed = bytes.chunks(step.max(1)).try_for_each(|part| {
            decoder.feed(part, &mut |piece| {
                if let cairn_s3::chunked::Piece::Data(bytes) = piece {
                    data.extend_from_slice(bytes);
                }
                Ok(())
            })
        });
        fed.is_ok().then_some((data, decoder.is_complete()))
    };
    assert_eq!(decode(bytes.len()), decode(1));
    let _ = cairn_s3::documents::parts(bytes);
    let _ = cairn_s3::documents::deletions(bytes);
    let _ = std::str::from_utf8(bytes).map(cairn_s3::AccessKeys::parse);
}

/// A request of S3: three lines that are its path, its query and its `Authorization` (and the source of a copy).
pub fn s3_request(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let (path, query, authorization) = (text(), text(), text());
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(authorization) {
        headers.insert("authorization", value);
        headers.insert("x-amz-date", HeaderValue::from_static("20130524T000000Z"));
        headers.insert("x-amz-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
    }
    let Ok(head) = RequestHead::new(Method::GET, path, Some(query), headers) else { return };
    let _ = cairn_s3::request::target(&head, "");
    if let Ok(Some(claim)) = Authorization::read(&head) {
        let verified = claim.verify(&head, &SecretKey::new("nobody has it".into()), "us-east-1", 1_369_353_600);
        assert!(verified.is_err(), "nobody has the key");
    }
    for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE] {
        let mut head = RequestHead { method, ..head.clone() };
        for key in ["", "key"] {
            let _ = cairn_s3::ingest::WriteAction::read(&head, key);
        }
        if let Ok(value) = HeaderValue::from_str(authorization) {
            head.headers.insert("x-amz-copy-source", value.clone());
            head.headers.insert("x-amz-copy-source-range", value);
            let _ = cairn_s3::ingest::WriteAction::read(&head, "key");
        }
    }
}

/// What a gateway takes apart to decide who may read: tokens, payments; and an operator's denylist.
pub fn access_request(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Grant::verify(text, &[Address([1; 32])], UnixSeconds(0));
    let _ = Grant::from_claims(text);
    let terms = ChannelTerms { price_per_mib: Amount(1), window_bytes: 1 };
    let price = x402::Price { chain: ChainId([1; 32]), payee: Address([2; 32]), terms };
    if let Ok(voucher) = price.read_payment(text) {
        assert_eq!(price.read_payment(&price.write_payment(&voucher)), Ok(voucher));
    }
    if let (Ok(list), Some(cid)) = (Denylist::parse(text), text.split('/').find_map(|part| Cid::try_from(part).ok())) {
        let _ = list.denies(&cid, text);
    }
}

/// An encrypted file's header and length, its dataset's key file, and a file of identities.
pub fn encrypted_file(bytes: &[u8]) {
    if let Some(header) = bytes.first_chunk::<{ HEADER_BYTES as usize }>()
        && let Ok(read) = FileHeader::from_bytes(header, "file")
    {
        assert_eq!(read.to_bytes(), *header);
    }
    if let Ok(layout) = Layout::of_encrypted(bytes.len() as u64, "file") {
        assert_eq!(layout.encrypted_bytes(), bytes.len() as u64);
    }
    if let Ok(keys) = KeyFile::parse(bytes) {
        assert_eq!(KeyFile::parse(keys.to_json().as_bytes()), Ok(keys));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Identities::parse(text);
    }
}

/// What an operator writes about an origin, and an index that lies there.
pub fn origin(bytes: &[u8]) {
    if let Ok(dataset) = Dataset::from_published_index(bytes) {
        let again = Dataset::from_published_index(&dataset.published_index()).expect("what was accepted");
        assert_eq!(again.root(), dataset.root());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = S3Settings::parse(text);
    if let Ok(address) = text.parse::<OriginAddress>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_content::{ImportOptions, PieceGroups};
    use cairn_encryption::{KeyId, Salt};
    use cairn_ledger::payments::{ChannelId, Voucher};
    use cairn_ledger::{Command, ServedGroup, ServingKey, Transaction, address_of};
    use ed25519_consensus::SigningKey;
    use proptest::prelude::*;

    /// Real inputs, from which mutation starts.
    fn seeds() -> Vec<Vec<u8>> {
        let porep = cairn_fixtures::porep_vector("2KiB-v1_1-fixture-a.json").vanilla_proofs.unwrap();
        let post = serde_json::Value::from(cairn_fixtures::post_vectors().remove(1).vanilla_proofs);
        let key = SigningKey::from([7; 32]);
        let command = Command::Transfer { to: address_of(&key), amount: cairn_protocol::Amount(5) };
        let transaction = Transaction { chain: ChainId([1; 32]), sender: address_of(&key), nonce: 0, command };
        let voucher = Voucher { channel: ChannelId(3), cumulative: cairn_protocol::Amount(9) };
        let (comm_p, size) = (CommP([3; 32]), cairn_protocol::PaddedBytes(1 << 20));
        let (provider, piece) = (cairn_protocol::ProviderId(1_000), cairn_protocol::PieceInfo { comm_p, size });
        let served = ServedGroup { provider, piece, group: 0, root: comm_p, epoch: cairn_protocol::Epoch(7), nonce: 8 };
        let leave = ServingKey { provider, key: address_of(&key), until: served.epoch }.sign(ChainId([1; 32]), &key);
        let signed = served.sign_by_leave(ChainId([1; 32]), &key, leave);
        let round = cairn_fixtures::fixtures_dir().join("vectors/published/drand-quicknet.json");
        let round: serde_json::Value = serde_json::from_slice(&std::fs::read(round).unwrap()).unwrap();
        let signature = round["rounds"][0]["signature"].as_str().unwrap();
        let encryption =
            |name| std::fs::read(cairn_fixtures::fixtures_dir().join("vectors/encryption").join(name)).unwrap();
        let dataset =
            Dataset::import(&cairn_fixtures::fixtures_dir().join("dataset"), &ImportOptions::default()).unwrap();
        vec![
            FileHeader { key: KeyId([1; 16]), salt: Salt([2; 32]) }.to_bytes().to_vec(),
            encryption("cairn-keys.json"),
            encryption("identity.txt"),
            dataset.published_index(),
            b"endpoint http://127.0.0.1:9000\nregion us-east-1\naccess-key a\nsecret-key b\n".to_vec(),
            b"s3://bucket/some/prefix".to_vec(),
            codec::encode(&voucher.sign(ChainId([1; 32]), &key)),
            served.sign(ChainId([1; 32]), &key).encode(),
            signed.encode(),
            leave.encode(),
            codec::encode(&WrongBytes { signed, proof: vec![7; 68] }),
            format!(r#"{{"round":123,"signature":"{signature}"}}"#).into_bytes(),
            serde_json::from_value::<PorepProof>(porep).unwrap().to_bytes(),
            post.to_string().into_bytes(),
            serde_json::from_value::<PostProof>(post).unwrap().to_bytes(),
            transaction.sign(&key).encode(),
            Genesis::devnet(1, [2; 32], vec![]).to_json().into_bytes(),
            b"bytes=0-99,200-,-5".to_vec(),
            b"/data/bafybeibat2cruboyjlbocfzykinmdnrgcvk3jxem42gv5ziqo7bazpla2a/a%20b/../c".to_vec(),
            b"bafkzcibcpybwiktap34inmaex4wbs6cghlq5i2j2yd2bb2zndn5ep7ralzphkdy".to_vec(),
            b"12345:67".to_vec(),
            b"GET /data/x HTTP/1.1\r\nHost: h\r\nRange: bytes=0-9\r\nConnection: close\r\n\r\n".to_vec(),
            PieceGroups::read(vec![5u8; 3_000_000].as_slice()).unwrap().unwrap().prove(0..1_100_000).unwrap().encode(),
            b"/b/a%20c\nlist-type=2&max-keys=7\nAWS4-HMAC-SHA256 Credential=a/20130524/us-east-1/s3/aws4_request, \
              SignedHeaders=host, Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
                .to_vec(),
            b"5;chunk-signature=ab\r\nhello\r\n0;chunk-signature=cd\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n".to_vec(),
            b"<Delete><Quiet>true</Quiet><Object><Key>a&amp;b</Key><ETag>&quot;t&quot;</ETag></Object></Delete>"
                .to_vec(),
            b"/b/k\npartNumber=1&uploadId=u\nb/a%20c?versionId=null".to_vec(),
            b"AKID secret write bytes=7 photos/train other\nanonymous read".to_vec(),
            br#"{"jti":"07070707070707070707070707070707","path":"a/b","bytes":9,"exp":"2030-01-01T00:00:00Z"}"#
                .to_vec(),
            b"/ipfs/bafybeibat2cruboyjlbocfzykinmdnrgcvk3jxem42gv5ziqo7bazpla2a/a/b* http=451".to_vec(),
            b"6f72646572732f3137".to_vec(),
            br#"{"code":"not_found","what":"the ledger does not have it","where":"order-7"}"#.to_vec(),
            b"id: 7:0\nevent: ledger\ndata: {\"height\":7,\"index\":0,\"kind\":\"X\",\"fields\":{}}\n\n".to_vec(),
            vec![0x12, 0x04, 0x0a, 0x00, 0x12, 0x00, 0x0a, 0x02, 0x08, 0x01],
        ]
    }

    /// A seed cut, with a few bytes changed, and something appended.
    fn arb_mutation() -> impl Strategy<Value = Vec<u8>> {
        let seed = proptest::sample::select(seeds());
        let changes = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4);
        let tail = proptest::collection::vec(any::<u8>(), 0..8);
        (seed, changes, any::<proptest::sample::Index>(), any::<bool>(), tail).prop_map(
            |(mut bytes, changes, cut, whole, tail)| {
                if !whole {
                    bytes.truncate(cut.index(bytes.len()));
                }
                bytes.extend(tail);
                if !bytes.is_empty() {
                    let length = bytes.len();
                    changes.into_iter().for_each(|(place, value)| bytes[place.index(length)] = value);
                }
                bytes
            },
        )
    }

    #[test]
    fn real_inputs_pass_every_entry() {
        for seed in seeds() {
            ENTRIES.iter().for_each(|(_, entry)| entry(&seed));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn mutated_inputs_never_panic(bytes in arb_mutation()) {
            ENTRIES.iter().for_each(|(_, entry)| entry(&bytes));
        }

        #[test]
        fn random_inputs_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            ENTRIES.iter().for_each(|(_, entry)| entry(&bytes));
        }
    }

    /// `cargo fuzz` finds targets by file; each entry must have one, and no file may lack its entry.
    #[test]
    fn every_entry_is_a_fuzz_target() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz_targets");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        let mut names: Vec<&str> = ENTRIES.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert_eq!(files, names);
        let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
        assert!(names.iter().all(|name| manifest.contains(&format!("name = \"{name}\""))));
    }
}
