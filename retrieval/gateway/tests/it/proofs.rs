//! Proofs over HTTP: of a range of a piece, and of all leaves of a file or folder.

use std::collections::BTreeMap;

use cairn_content::{BlockId, CarLimits, CarReader, CheckGroup, Codec, GROUP_BYTES, PbNode, RangeProof};
use cairn_protocol::{piece_cid_v1, piece_cid_v2};
use cid::Cid;

use super::common::*;

#[test]
fn a_client_checks_a_range_against_the_commitment() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let piece = &fixture.pieces[0].commitment;
    let v1 = piece_cid_v1(&piece.comm_p);
    let v2 = piece_cid_v2(&piece.comm_p, piece.payload_bytes, piece.padded);
    for cid in [v1, v2] {
        let first = GROUP_BYTES + 17;
        let answer = server.get(&format!("/piece/{cid}/proof?range={first}-{}", piece.payload_bytes - 1), &[]);
        assert_eq!((answer.status, answer.complete), (200, true));
        let proof = RangeProof::decode(&answer.body).unwrap();
        let bytes = proof.bytes();
        assert_eq!(answer.header("x-proof-bytes"), format!("{}-{}", bytes.start, bytes.end - 1));
        let verified = proof.verify(&piece.comm_p).unwrap();
        for group in verified.groups() {
            let place = verified.bytes(group);
            let range = format!("bytes={}-{}", place.start, place.end - 1);
            let mut part = server.get(&format!("/piece/{cid}"), &[("range", &range)]).body;
            verified.check(group, &part).unwrap();
            part[0] ^= 1;
            verified.check(group, &part).unwrap_err();
        }
    }
    let past = piece.payload_bytes;
    for query in ["", "?range=5", "?range=-5", "?range=5-4", "?range=+1-2", &format!("?range=0-{past}"), "?range=a-b"] {
        assert_eq!(server.get(&format!("/piece/{v1}/proof{query}"), &[]).status, 400, "{query}");
    }
    let other = piece_cid_v2(&piece.comm_p, piece.payload_bytes - 1, piece.padded);
    assert_eq!(server.get(&format!("/piece/{other}/proof?range=0-0"), &[]).status, 404);
}

#[test]
fn the_groups_of_a_piece_come_back_when_they_are_lost() {
    let fixture = Fixture::new();
    let piece = fixture.pieces[1].commitment;
    let kept = fixture.store.piece_groups(&piece.comm_p).unwrap().unwrap();
    assert_eq!(kept.commitment(), piece);
    let folder = fixture.dir.path().join("store/datasets").join(fixture.dataset.root().to_string());
    let path = folder.join(format!("groups-{}", piece.comm_p));
    let bytes = std::fs::read(&path).unwrap();
    for damaged in [vec![], bytes[1..].to_vec(), vec![7; bytes.len()]] {
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(fixture.store.piece_groups(&piece.comm_p).unwrap().as_ref(), Some(&kept));
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(fixture.store.piece_groups(&piece.comm_p).unwrap(), Some(kept));
    // A store that opens again finds its pieces beside them.
    let again = cairn_content::HotStore::open(&fixture.target("store")).unwrap();
    assert!(again.damaged().is_empty() && again.piece(&piece.comm_p).is_some());
}

#[test]
fn one_request_brings_what_checks_every_leaf() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let big = fixture.dataset.file(BIG).unwrap();
    let nodes = |cid: &Cid| {
        let answer = server.get(&format!("/outboard/{cid}"), &[]);
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/vnd.ipld.car"));
        let mut reader = CarReader::new(answer.body.as_slice(), CarLimits::default()).unwrap();
        assert_eq!(reader.roots(), [*cid]);
        let mut nodes = BTreeMap::new();
        while let Some(block) = reader.next_block().unwrap() {
            assert!(nodes.insert(block.cid, block.data).is_none());
        }
        nodes
    };
    let of_file = nodes(&big.cid);
    let links = PbNode::decode(&of_file[&big.cid]).unwrap().links;
    assert_eq!(links.iter().map(|link| link.cid).collect::<Vec<_>>(), big.leaves().collect::<Vec<_>>());
    let interior = fixture.dataset.blocks().filter(|(id, _)| id.codec == Codec::DagPb).map(|(id, _)| id.cid());
    assert_eq!(nodes(&fixture.dataset.root()).into_keys().collect::<Vec<_>>(), {
        let mut all: Vec<_> = interior.collect();
        all.sort();
        all
    });
    let leaf = big.leaves().next().unwrap();
    assert!(nodes(&leaf).is_empty());
    let absent = BlockId::of(Codec::DagPb, b"absent").cid();
    assert_eq!(server.get(&format!("/outboard/{absent}"), &[]).status, 404);
    assert_eq!(server.get("/outboard/nonsense", &[]).status, 400);
}
