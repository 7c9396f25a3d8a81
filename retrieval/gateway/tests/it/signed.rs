//! A provider's word for the bytes that it sends: an honest one cannot be accused, a lying one pays on a ledger, and a disk that
//! rots makes a refusal.

use std::sync::Arc;
use std::time::Duration;

use cairn_access::{AskedGroup, ProviderSigner, Word};
use cairn_gateway::fetch::{SourceUrl, fetch_group_proof_blocking, fetch_signed_group_blocking};
use cairn_gateway::{GatewayOptions, TlsTrust};
use cairn_ledger::testing::Network;
use cairn_ledger::{Command, Event, LedgerParams, Outcome, Rejection, ServedGroup, WrongBytes, WrongBytesRejection};
use cairn_protocol::{CommP, GROUP_BYTES, PieceInfo, ProviderId, piece_cid_v1};

use super::common::*;
use super::liar::Liar;

const OWNER: u8 = 2;
const READER: u8 = 3;
const STALL: Duration = Duration::from_secs(20);

/// A ledger with a provider of account [`OWNER`], and what its gateway needs to sign.
fn ledger() -> (Network, ProviderId, GatewayOptions) {
    let mut network = Network::new(LedgerParams::devnet(), 4);
    let provider = network.register(OWNER);
    let signer = ProviderSigner::new(network.state.chain(), Network::key(OWNER));
    signer.signs_for(provider);
    (network, provider, GatewayOptions { group_signer: Some(Arc::new(signer)), ..GatewayOptions::default() })
}

/// Reads a group from a provider and holds it to its word by a proof of somebody else.
fn evidence(
    network: &Network,
    provider: ProviderId,
    accused: &SourceUrl,
    witness: &SourceUrl,
    piece: PieceInfo,
    group: u64,
) -> Option<WrongBytes> {
    let (epoch, nonce, trust) = (network.state.epoch(), 40 + group, TlsTrust::default());
    let statement = ServedGroup { provider, piece, group, root: CommP([0; 32]), epoch, nonce };
    let asked = AskedGroup { chain: network.state.chain(), owner: Network::address(OWNER), statement };
    let came = fetch_signed_group_blocking(accused, &piece.comm_p, group, epoch, nonce, &trust, STALL).unwrap();
    let (_, proof) = fetch_group_proof_blocking(witness, &piece.comm_p, group, &trust, STALL).unwrap();
    Word::read(&asked, &came).unwrap().hold(proof).unwrap()
}

fn report(evidence: WrongBytes) -> Command {
    Command::ReportWrongBytes(Box::new(evidence))
}

#[test]
fn a_provider_that_signs_for_a_flipped_byte_pays_for_it() {
    let fixture = Fixture::new();
    let (mut network, provider, options) = ledger();
    let piece = fixture.pieces[0].commitment.info();
    let at = GROUP_BYTES as usize + 77;
    let liar = TestServer::start(Arc::new(Liar { store: fixture.store.clone(), at }), options);
    let witness = fixture.serve();
    let before = network.state.provider(provider).unwrap().collateral;
    let (liar_url, witness_url) = (liar.url(), witness.url());
    assert_eq!(evidence(&network, provider, &liar_url, &witness_url, piece, 0), None, "that group is right");
    let found = evidence(&network, provider, &liar_url, &witness_url, piece, 1).expect("that one is not");
    // What the liar says in its own defence is no proof.
    let trust = TlsTrust::default();
    assert!(fetch_group_proof_blocking(&liar_url, &piece.comm_p, 1, &trust, STALL).is_err());
    let events = network.command(READER, report(found.clone()));
    let [Event::WrongBytesServed { provider: accused, group: 1, burnt, rewarded, .. }] = events.as_slice() else {
        panic!("expected a conviction, got {events:?}");
    };
    assert_eq!(*accused, provider);
    let after = network.state.provider(provider).unwrap().collateral;
    assert_eq!(after.0, before.0 - burnt.0 - rewarded.0);
    assert!(rewarded.0 > 0 && burnt > rewarded);
    let again = network.try_command(READER, report(found)).outcome;
    assert!(matches!(again, Outcome::Failed(Rejection::WrongBytes(WrongBytesRejection::PaidFor { .. }))), "{again:?}");
}

#[test]
fn an_honest_provider_cannot_be_accused() {
    let fixture = Fixture::new();
    let (mut network, provider, options) = ledger();
    let server = TestServer::start(fixture.store.clone(), options);
    let url = server.url();
    for piece in &fixture.pieces {
        let info = piece.commitment.info();
        for group in 0..piece.commitment.payload_bytes.div_ceil(GROUP_BYTES) {
            assert_eq!(evidence(&network, provider, &url, &url, info, group), None);
        }
    }
    let piece = fixture.pieces[0].commitment.info();
    let epoch = network.state.epoch();
    let trust = TlsTrust::default();
    let came = fetch_signed_group_blocking(&url, &piece.comm_p, 0, epoch, 1, &trust, STALL).unwrap();
    let (_, proof) = fetch_group_proof_blocking(&url, &piece.comm_p, 0, &trust, STALL).unwrap();
    let signed = cairn_ledger::SignedServedGroup::decode(&came.statement).unwrap();
    let rejection = network.rejection(READER, report(WrongBytes { signed, proof }));
    assert_eq!(rejection, Rejection::WrongBytes(WrongBytesRejection::BytesAreRight { provider }));
}

#[test]
fn a_disk_that_rots_makes_a_refusal_and_no_false_word() {
    let fixture = Fixture::new();
    let (_, _, options) = ledger();
    let server = TestServer::start(fixture.store.clone(), options);
    let piece = fixture.pieces[0].commitment;
    let cid = piece_cid_v1(&piece.comm_p);
    let right = server.get(&format!("/piece/{cid}"), &[]).body;
    // A byte of the file changes, and nothing else about it.
    let path = fixture.source_path(BIG);
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    let wrong = server.get(&format!("/piece/{cid}"), &[]).body;
    let place = (0..right.len()).find(|&at| right[at] != wrong[at]).expect("plain ranges trust the disk");
    let group = place as u64 / GROUP_BYTES;
    let signed = |group: u64| server.get(&format!("/piece/{cid}/signed?group={group}&epoch=5&nonce=6"), &[]);
    let refused = signed(group);
    assert_eq!((refused.status, refused.header("x-served-group")), (500, ""));
    assert_eq!(refused.json()["error"], "storage_failed");
    let other = if group == 0 { 1 } else { 0 };
    assert_eq!(signed(other).status, 200, "the rest is signed for");
}

#[test]
fn what_is_asked_for_is_read_strictly() {
    let fixture = Fixture::new();
    let (_, _, options) = ledger();
    let server = TestServer::start(fixture.store.clone(), options);
    let piece = fixture.pieces[0].commitment;
    let cid = piece_cid_v1(&piece.comm_p);
    let groups = piece.payload_bytes.div_ceil(GROUP_BYTES);
    let path = |query: &str| format!("/piece/{cid}/signed{query}");
    for query in [
        "",
        "?group=0",
        "?group=0&epoch=1",
        "?group=-1&epoch=1&nonce=1",
        "?group=+0&epoch=1&nonce=1",
        "?group=0&epoch=1&nonce=18446744073709551616",
        &format!("?group={groups}&epoch=1&nonce=1"),
        "?group=18446744073709551615&epoch=1&nonce=1",
    ] {
        assert_eq!(server.get(&path(query), &[]).status, 400, "{query}");
    }
    let good = path("?group=0&epoch=1&nonce=1");
    let answer = server.get(&good, &[]);
    assert_eq!((answer.status, answer.body.len() as u64), (200, GROUP_BYTES));
    assert_eq!(answer.header("cache-control"), "no-store");
    let head = server.head(&good, &[]);
    assert_eq!((head.status, head.header("x-served-group")), (200, answer.header("x-served-group")));
    let absent = piece_cid_v1(&CommP([1; 32]));
    assert_eq!(server.get(&format!("/piece/{absent}/signed?group=0&epoch=1&nonce=1"), &[]).status, 404);
    let silent = fixture.serve().get(&good, &[]);
    assert_eq!((silent.status, silent.json()["error"].as_str()), (404, Some("not_signed")));
}
