//! Inputs that must be refused, each with its own reason.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use cairn_content::{
    BlockId, CarError, CarRejection, CarWriter, Codec, DagWalk, Dataset, ImportError, ImportOptions, ImportRejection,
    IndexError, IndexRejection, PbLink, PbNode, ReadError, RestoreError, RestoreOptions, WalkLimits, WalkRejection,
    restore,
};
use cairn_protocol::UnpaddedBytes;
use cid::Cid;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::support::{sample, two_workers, write};

fn refusal(path: &std::path::Path) -> ImportRejection {
    match Dataset::import(path, &ImportOptions::default()) {
        Err(ImportError::Rejected(rejection)) => rejection,
        other => panic!("expected a rejection, got {other:?}"),
    }
}

#[test]
fn what_is_not_a_plain_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let path = dir.path().join(name);
        write(&path.join("plain"), 5, Some(1));
        path
    };
    let path = folder("link");
    std::os::unix::fs::symlink("plain", path.join("link")).unwrap();
    assert_eq!(refusal(&path), ImportRejection::Symlink { path: path.join("link") });
    assert!(matches!(refusal(&path.join("link")), ImportRejection::Symlink { .. }));

    let path = folder("socket");
    let _listener = UnixListener::bind(path.join("s")).unwrap();
    assert_eq!(refusal(&path), ImportRejection::SpecialFile { path: path.join("s"), kind: "socket" });

    let path = folder("latin");
    let name = path.join(OsStr::from_bytes(b"caf\xe9"));
    File::create(&name).unwrap();
    assert_eq!(refusal(&path), ImportRejection::NotUtf8 { path: name });

    let mut deep = folder("deep");
    let start = deep.clone();
    for _ in 0..300 {
        deep.push("d");
    }
    write(&deep.join("x"), 1, Some(1));
    assert!(matches!(refusal(&start), ImportRejection::TooDeep { .. }));

    let missing = Dataset::import(&dir.path().join("missing"), &ImportOptions::default()).unwrap_err();
    assert!(matches!(missing, ImportError::Io { .. }), "{missing}");
}

/// Wraps a body as index files are wrapped, so that only the body is at fault.
fn envelope(body: &[u8]) -> Vec<u8> {
    let mut out = b"CAIRNDAT\x01\0\0\0".to_vec();
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(&Sha256::digest(body));
    out.extend_from_slice(body);
    out
}

fn index_refusal(path: &std::path::Path) -> IndexRejection {
    match Dataset::load(path) {
        Err(IndexError::Rejected { rejection, .. }) => rejection,
        other => panic!("expected a rejection, got {other:?}"),
    }
}

#[test]
fn a_damaged_index_is_refused_with_the_place_of_the_damage() {
    let dir = tempfile::tempdir().unwrap();
    sample(&dir.path().join("files"));
    let path = dir.path().join("index");
    let dataset = Dataset::import(&dir.path().join("files"), &two_workers()).unwrap();
    dataset.save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let rejection = index_refusal(&path);
        let expected = match at {
            0..8 => matches!(rejection, IndexRejection::Magic { .. }),
            8..12 => matches!(rejection, IndexRejection::Version { expected: 1, .. }),
            12..20 => matches!(rejection, IndexRejection::Length { .. }),
            _ => rejection == IndexRejection::Checksum,
        };
        assert!(expected, "byte {at}: {rejection}");
    }
    let (body, name) = (&whole[52..], b"readme.md");
    let place = body.windows(name.len()).position(|window| window == name).unwrap();
    let mut renamed = body.to_vec();
    renamed[place] = b's';
    fs::write(&path, envelope(&renamed)).unwrap();
    assert!(matches!(index_refusal(&path), IndexRejection::Root { expected, .. } if expected == dataset.root()));
    renamed[place + 3] = b'/';
    renamed[place + 4] = b'/';
    fs::write(&path, envelope(&renamed)).unwrap();
    assert!(matches!(index_refusal(&path), IndexRejection::Path { .. }));
    let mut escaping = body.to_vec();
    escaping[place..place + 9].copy_from_slice(b"../../etc");
    fs::write(&path, envelope(&escaping)).unwrap();
    assert!(matches!(index_refusal(&path), IndexRejection::Path { .. }));
    fs::write(&path, envelope(b"\xa0")).unwrap();
    assert!(matches!(index_refusal(&path), IndexRejection::Cbor { .. }));
}

#[test]
fn a_damaged_or_missing_piece_is_named() {
    let dir = tempfile::tempdir().unwrap();
    sample(&dir.path().join("input"));
    let dataset = Arc::new(Dataset::import(&dir.path().join("input"), &two_workers()).unwrap());
    let pieces = dataset.pieces(UnpaddedBytes(3 << 20)).unwrap();
    let archives: Vec<Vec<u8>> = pieces
        .iter()
        .map(|piece| {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut piece.reader(), &mut bytes).unwrap();
            bytes
        })
        .collect();
    let root = dataset.root();
    let mut count = 0;
    let mut attempt = |archives: &[Vec<u8>]| {
        let mut readers: Vec<_> = archives.iter().map(Cursor::new).collect();
        count += 1;
        let out = dir.path().join(format!("out-{count}"));
        restore(&root, &mut readers, &out, &RestoreOptions::default()).unwrap_err()
    };
    assert!(matches!(attempt(&archives[1..]), RestoreError::Missing { cid, pieces: 1 } if cid == root));
    assert!(matches!(attempt(&archives[..1]), RestoreError::Missing { pieces: 1, .. }));
    let mut damaged = archives.clone();
    let middle = damaged[1].len() / 2;
    damaged[1][middle] ^= 1;
    assert!(matches!(attempt(&damaged), RestoreError::Leaf { piece: 1, .. }), "{}", attempt(&damaged));
    let mut damaged = archives.clone();
    damaged[0][120] ^= 1;
    assert!(
        matches!(
            attempt(&damaged),
            RestoreError::Piece { piece: 0, error: CarError::Rejected(CarRejection::Block { .. }) }
        ),
        "{}",
        attempt(&damaged)
    );
    let mut cut = archives.clone();
    cut[1].pop();
    assert!(matches!(
        attempt(&cut),
        RestoreError::Piece { piece: 1, error: CarError::Rejected(CarRejection::Truncated { .. }) }
    ));
    let other = BlockId::of(Codec::Raw, b"other").cid();
    let mut readers: Vec<_> = archives.iter().map(Cursor::new).collect();
    let wrong = restore(&other, &mut readers, &dir.path().join("w"), &RestoreOptions::default()).unwrap_err();
    assert!(matches!(wrong, RestoreError::Root { piece: 0, .. }));
    let busy = restore(&root, &mut readers, &dir.path().join("input"), &RestoreOptions::default()).unwrap_err();
    assert!(matches!(busy, RestoreError::Destination { .. }));
}

#[test]
fn a_file_cut_while_it_is_read_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    write(&path, 2_000_000, Some(1));
    let dataset = Arc::new(Dataset::import(&path, &ImportOptions::default()).unwrap());
    let mut reader = dataset.pieces(UnpaddedBytes(127 << 20)).unwrap()[0].reader();
    reader.read_some(&mut [0; 1000]).unwrap();
    reader.read_some(&mut [0; 1000]).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(10_000).unwrap();
    let mut buffer = vec![0; 1 << 20];
    let error = loop {
        match reader.read_some(&mut buffer) {
            Ok(count) => assert_ne!(count, 0, "the end was reached"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::Truncated { got: 10_000, .. }), "{error}");
}

fn block(node: &PbNode) -> (Cid, bytes::Bytes) {
    let bytes = node.encode();
    (BlockId::of(Codec::DagPb, &bytes).cid(), bytes)
}

fn link(name: &str, cid: Cid, tsize: u64) -> PbLink {
    PbLink { cid, name: Some(name.into()), tsize: Some(tsize) }
}

fn folder(links: Vec<PbLink>) -> PbNode {
    PbNode { links, data: Some(bytes::Bytes::from_static(&[8, 1])) }
}

fn file_of(sizes: &[u64], leaf: Cid) -> PbNode {
    let mut data = vec![8, 2, 0x18];
    let mut buffer = unsigned_varint::encode::u64_buffer();
    data.extend_from_slice(unsigned_varint::encode::u64(sizes.iter().sum(), &mut buffer));
    for size in sizes {
        data.push(0x20);
        data.extend_from_slice(unsigned_varint::encode::u64(*size, &mut buffer));
    }
    PbNode { links: sizes.iter().map(|size| link("", leaf, *size)).collect(), data: Some(data.into()) }
}

#[test]
fn a_graph_that_explodes_is_stopped_by_the_limits() {
    let leaf = BlockId::of(Codec::Raw, b"x").cid();
    let mut blocks = vec![block(&folder(vec![link("x", leaf, 1)]))];
    for _ in 0..40 {
        let below = blocks.last().unwrap().0;
        blocks.push(block(&folder(vec![link("a", below, 1), link("b", below, 1)])));
    }
    let limits = WalkLimits { entries: 1000, ..WalkLimits::default() };
    let mut walk = DagWalk::new(&blocks.last().unwrap().0, limits).unwrap();
    let rejection = loop {
        let cid = walk.next_wanted().expect("the limit comes before the end");
        let bytes = &blocks.iter().find(|(name, _)| *name == cid).unwrap().1;
        if let Err(rejection) = walk.supply(&cid, bytes) {
            break rejection;
        }
    };
    assert!(matches!(rejection, WalkRejection::Limit { what: "files and folders", limit: 1000, .. }), "{rejection}");
}

/// Links of no bytes cost the sender nothing; two small blocks could ask for millions of steps.
#[test]
fn links_to_nothing_are_counted_too() {
    let leaf = BlockId::of(Codec::Raw, b"x").cid();
    let bottom = block(&file_of(&[0; 2000], leaf));
    let middle = block(&file_of(&[0; 2000], bottom.0));
    let top = block(&file_of(&[0; 2000], middle.0));
    let limits = WalkLimits { nodes: 100_000, ..WalkLimits::default() };
    let mut walk = DagWalk::new(&top.0, limits).unwrap();
    let mut supply = |(cid, bytes): &(Cid, bytes::Bytes)| {
        assert_eq!(walk.next_wanted(), Some(*cid));
        walk.supply(cid, bytes)
    };
    supply(&top).unwrap();
    let rejection = supply(&middle).unwrap_err();
    assert!(matches!(rejection, WalkRejection::Limit { limit: 100_000, .. }), "{rejection}");
}

#[test]
fn graphs_of_another_profile_are_refused() {
    let leaf = BlockId::of(Codec::Raw, b"x").cid();
    let walk = |node: &PbNode| {
        let (cid, bytes) = block(node);
        let mut walk = DagWalk::new(&cid, WalkLimits::default()).unwrap();
        assert_eq!(walk.next_wanted(), Some(cid));
        walk.supply(&cid, &bytes)
    };
    let small = file_of(&[262_144, 262_144, 5], leaf);
    let small = walk(&small).unwrap_err();
    assert!(matches!(small, WalkRejection::LeafSize { offset: 0, expected: 524_293, got: 262_144, .. }), "{small}");
    let endless = walk(&file_of(&[1 << 50, 1 << 50], leaf)).unwrap_err();
    assert!(matches!(endless, WalkRejection::Limit { what: "bytes in files", .. }), "{endless}");
    assert!(matches!(walk(&folder(vec![link("..", leaf, 1)])).unwrap_err(), WalkRejection::Node(_)));
    let large = walk(&folder(vec![link("x", leaf, (1 << 20) + 1)])).unwrap_err();
    assert!(matches!(large, WalkRejection::LeafSize { .. }));
}

#[test]
fn a_wrong_block_leaves_the_walk_as_it_was() {
    let leaf = BlockId::of(Codec::Raw, b"x").cid();
    let (cid, bytes) = block(&folder(vec![link("x", leaf, 1)]));
    let mut walk = DagWalk::new(&cid, WalkLimits::default()).unwrap();
    assert!(matches!(walk.supply(&cid, b"something else"), Err(WalkRejection::Block(_))));
    assert!(!walk.is_complete());
    let (other, other_bytes) = block(&folder(vec![]));
    assert!(matches!(walk.supply(&other, &other_bytes), Err(WalkRejection::Unwanted { .. })));
    walk.supply(&cid, &bytes).unwrap();
    assert_eq!(walk.finish().unwrap().files.len(), 1);
    assert!(matches!(
        DagWalk::new(&cid, WalkLimits::default()).unwrap().finish(),
        Err(WalkRejection::Unfinished { wanted: 1 })
    ));
}

#[test]
fn a_folder_that_claims_a_wrong_leaf_size_is_refused_at_restore() {
    let leaf = BlockId::of(Codec::Raw, b"xyz").cid();
    let (root, bytes) = block(&folder(vec![link("x", leaf, 2)]));
    let mut car = CarWriter::new(Vec::new(), &[root]).unwrap();
    car.write(&root, &bytes).unwrap();
    car.write(&leaf, b"xyz").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut pieces = [Cursor::new(car.finish().unwrap())];
    let error = restore(&root, &mut pieces, &dir.path().join("out"), &RestoreOptions::default()).unwrap_err();
    assert!(matches!(error, RestoreError::Graph(WalkRejection::LeafSize { expected: 2, got: 3, .. })), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_index_bodies_never_panic(body: Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        fs::write(&path, envelope(&body)).unwrap();
        prop_assert!(Dataset::load(&path).is_err());
        fs::write(&path, &body).unwrap();
        prop_assert!(Dataset::load(&path).is_err());
    }

    #[test]
    fn a_damaged_index_body_under_a_good_checksum_never_panics(at: prop::sample::Index, flip in 1u8..) {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("files/a/b"), 5, Some(1));
        write(&dir.path().join("files/c"), 2_000_000, Some(2));
        let path = dir.path().join("index");
        let dataset = Dataset::import(&dir.path().join("files"), &ImportOptions::default()).unwrap();
        dataset.save(&path).unwrap();
        let mut body = fs::read(&path).unwrap()[52..].to_vec();
        let at = at.index(body.len());
        body[at] ^= flip;
        fs::write(&path, envelope(&body)).unwrap();
        if let Ok(loaded) = Dataset::load(&path) {
            prop_assert_eq!(loaded.root(), dataset.root(), "only stamps, name and base are not bound by the root");
        }
    }

    #[test]
    fn arbitrary_pieces_never_panic(bytes: Vec<u8>) {
        let root = BlockId::of(Codec::Raw, b"x").cid();
        let mut archive = CarWriter::new(Vec::new(), &[root]).unwrap().finish().unwrap();
        archive.extend_from_slice(&bytes);
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut pieces = [Cursor::new(archive)];
        prop_assert!(restore(&root, &mut pieces, &out, &RestoreOptions::default()).is_err());
    }
}
