//! Whole pieces: one stream, one commitment at the end.

use std::sync::Arc;
use std::time::Duration;

use cairn_gateway::{
    FetchError, FetchOptions, FetchRejection, PieceReport, PieceRequest, SourceFault, SourceUrl, fetch_piece_blocking,
};
use cairn_protocol::{piece_cid_v1, piece_cid_v2};
use cid::Cid;

use super::common::*;
use super::proxy::{Action, Proxy};

fn cids(fixture: &Fixture) -> (Cid, Cid) {
    let piece = fixture.pieces[1].commitment;
    (piece_cid_v1(&piece.comm_p), piece_cid_v2(&piece.comm_p, piece.payload_bytes, piece.padded))
}

fn content(fixture: &Fixture) -> Vec<u8> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut fixture.pieces[1].layout.reader(), &mut bytes).unwrap();
    bytes
}

fn fetch(fixture: &Fixture, cid: Cid, sources: &[SourceUrl]) -> Result<PieceReport, FetchError> {
    fetch_piece_blocking(&PieceRequest {
        cid,
        sources: sources.to_vec(),
        dest: fixture.target("piece.car"),
        options: FetchOptions {
            stall: Duration::from_millis(500),
            pause: Arc::new(NoPause::default()),
            retries: 2,
            ..FetchOptions::default()
        },
        progress: None,
    })
}

/// Removes the fetched piece and checks that nothing else was left.
fn clear(fixture: &Fixture) {
    std::fs::remove_file(fixture.target("piece.car")).unwrap();
    assert_eq!(partials(fixture), 0);
}

fn partials(fixture: &Fixture) -> usize {
    let names = std::fs::read_dir(fixture.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().contains(".cairn-piece-")).count()
}

#[test]
fn both_versions_and_a_second_time() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let (v1, v2) = cids(&fixture);
    for cid in [v1, v2] {
        let report = fetch(&fixture, cid, &[server.url()]).unwrap();
        assert_eq!((report.commitment, report.kept), (fixture.pieces[1].commitment, false));
        assert!(std::fs::read(fixture.target("piece.car")).unwrap() == content(&fixture));
        assert!(fetch(&fixture, cid, &[server.url()]).unwrap().kept);
        clear(&fixture);
    }
    std::fs::write(fixture.target("piece.car"), b"other").unwrap();
    let error = fetch(&fixture, v2, &[server.url()]).unwrap_err();
    let FetchError::Rejected(rejection) = error else { panic!("{error}") };
    assert!(matches!(*rejection, FetchRejection::Exists { .. }), "{rejection}");
    let error = fetch(&fixture, fixture.dataset.root(), &[server.url()]).unwrap_err();
    let FetchError::Rejected(rejection) = error else { panic!("{error}") };
    assert!(matches!(*rejection, FetchRejection::NotAPiece { .. }), "{rejection}");
}

#[test]
fn a_broken_stream_continues() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let proxy = Proxy::start(server.addr, |_| Action::DropAfter(400_000));
    for cid in [cids(&fixture).0, cids(&fixture).1] {
        let report = fetch(&fixture, cid, &[proxy.url()]).unwrap();
        assert_eq!(report.bytes_fetched, content(&fixture).len() as u64, "no byte came twice");
        assert!(std::fs::read(fixture.target("piece.car")).unwrap() == content(&fixture));
        clear(&fixture);
    }
}

#[test]
fn a_restart_continues_from_the_partial_file() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let dying = Proxy::start(server.addr, |seen| match seen.range {
        None => Action::DropAfter(700_000),
        Some(_) => Action::Status(500, None),
    });
    for cid in [cids(&fixture).0, cids(&fixture).1] {
        assert!(fetch(&fixture, cid, &[dying.url()]).unwrap_err().retry_helps());
        assert_eq!(partials(&fixture), 1);
        let report = fetch(&fixture, cid, &[server.url()]).unwrap();
        assert!(report.bytes_fetched < content(&fixture).len() as u64);
        assert!(std::fs::read(fixture.target("piece.car")).unwrap() == content(&fixture));
        clear(&fixture);
    }
}

#[test]
fn a_wrong_piece_is_blamed_on_its_only_source() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let bad = Proxy::start(server.addr, |_| Action::Flip(300_000));
    let (_, v2) = cids(&fixture);
    let error = fetch(&fixture, v2, &[bad.url()]).unwrap_err();
    let FetchError::NoSourceLeft { failures, .. } = &error else { panic!("{error}") };
    assert_eq!(failures[0].source, bad.url());
    assert!(matches!(failures[0].fault, SourceFault::BadPiece { .. }), "{error}");
    assert!(!fixture.target("piece.car").exists());
    let report = fetch(&fixture, v2, &[bad.url(), server.url()]).unwrap();
    assert_eq!((report.avoided.len(), &report.avoided[0].source), (1, &bad.url()));
    assert!(std::fs::read(fixture.target("piece.car")).unwrap() == content(&fixture));
}

#[test]
fn a_mix_of_sources_is_sorted_out() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    // Flips a byte and then breaks off; the good source completes the piece, and the sum is wrong.
    let bad = Proxy::start(server.addr, |seen| match seen.number {
        0 => Action::DropAfter(500_000),
        _ => Action::Flip(10),
    });
    let (v1, v2) = cids(&fixture);
    for cid in [v1, v2] {
        fetch(&fixture, cid, &[bad.url(), server.url()]).unwrap();
        assert!(std::fs::read(fixture.target("piece.car")).unwrap() == content(&fixture));
        clear(&fixture);
    }
    // A partial file that somebody damaged: nobody is blamed, and the piece comes right.
    let dying = Proxy::start(server.addr, |seen| match seen.range {
        None => Action::DropAfter(700_000),
        Some(_) => Action::Status(500, None),
    });
    fetch(&fixture, v2, &[dying.url()]).unwrap_err();
    let partial = std::fs::read_dir(fixture.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains(".cairn-piece-"))
        .unwrap();
    let mut bytes = std::fs::read(&partial).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&partial, bytes).unwrap();
    let report = fetch(&fixture, v2, &[server.url()]).unwrap();
    assert!(report.avoided.is_empty());
    assert!(std::fs::read(fixture.target("piece.car")).unwrap() == content(&fixture));
}

#[test]
fn sources_that_never_finish_end_the_fetch() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    // Both give wrong bytes together and then keep breaking off: the fetch must not go round for ever.
    let start = |at: usize| {
        Proxy::start(server.addr, move |seen| match (seen.number, seen.range) {
            (0, _) => Action::DropAfter(at),
            (1, _) => Action::Flip(3),
            (_, None) => Action::DropAfter(200_000),
            (_, Some(_)) => Action::Status(500, None),
        })
    };
    let (first, second) = (start(500_000), start(100_000));
    let error = fetch(&fixture, cids(&fixture).1, &[first.url(), second.url()]).unwrap_err();
    let FetchError::NoSourceLeft { failures, .. } = &error else { panic!("{error}") };
    assert_eq!(failures.len(), 2, "{error}");
    assert!(!fixture.target("piece.car").exists());
}
