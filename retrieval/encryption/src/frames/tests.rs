use std::io::Cursor;

use cairn_fixtures::{fixtures_dir, labelled_data};
use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::*;

#[derive(Deserialize)]
struct Vectors {
    dataset_key: String,
    key_id: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    label: String,
    plain_bytes: u64,
    salt: String,
    encrypted_bytes: u64,
    encrypted_sha256: String,
    encrypted: Option<String>,
}

fn bytes32(text: &str) -> [u8; 32] {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn key(byte: u8) -> DatasetKey {
    DatasetKey::new(Zeroizing::new([byte; 32]))
}

fn sealed(key: &DatasetKey, salt: u8, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let layout = encrypt(&mut &*plain, plain.len() as u64, &mut out, key, Salt([salt; 32])).unwrap().unwrap();
    assert_eq!((layout.encrypted_bytes(), layout.plain_bytes()), (out.len() as u64, plain.len() as u64));
    out
}

fn opened(key: &DatasetKey, encrypted: &[u8]) -> Result<Vec<u8>, EncryptionRejection> {
    let mut out = Vec::new();
    let mut reader = FrameReader::open(Cursor::new(encrypted), key, "a.bin").unwrap()?;
    reader.read_all(&mut out).unwrap()?;
    Ok(out)
}

/// What another implementation, in another language and over another library, wrote.
#[test]
fn files_are_what_the_other_implementation_made() {
    let text = std::fs::read(fixtures_dir().join("vectors/encryption/frames.json")).unwrap();
    let vectors: Vectors = serde_json::from_slice(&text).unwrap();
    let key = DatasetKey::new(Zeroizing::new(bytes32(&vectors.dataset_key)));
    assert_eq!(key.id().to_string(), vectors.key_id);
    assert!(vectors.cases.len() >= 7);
    for case in vectors.cases {
        let plain = labelled_data(&case.label, case.plain_bytes as usize);
        let mut encrypted = Vec::new();
        let salt = Salt(bytes32(&case.salt));
        encrypt(&mut &*plain, case.plain_bytes, &mut encrypted, &key, salt).unwrap().unwrap();
        assert_eq!(encrypted.len() as u64, case.encrypted_bytes, "{}", case.label);
        assert_eq!(hex::encode(Sha256::digest(&encrypted)), case.encrypted_sha256, "{}", case.label);
        assert!(case.encrypted.is_none_or(|expected| expected == hex::encode(&encrypted)));
        assert!(opened(&key, &encrypted).unwrap() == plain, "{}", case.label);
    }
}

const FRAME: usize = FRAME_BYTES as usize;
const SEALED: usize = SEALED_BYTES as usize;
const HEADER: usize = HEADER_BYTES as usize;

fn frame_of(result: Result<Vec<u8>, EncryptionRejection>) -> u64 {
    match result {
        Err(EncryptionRejection::Frame { frame, .. }) => frame,
        other => panic!("expected a frame that does not open, got {:?}", other.map(|bytes| bytes.len())),
    }
}

/// Frames that are moved, doubled, left out, cut off, appended or taken from another file name the first wrong one.
#[test]
fn frames_stay_in_their_place() {
    let key = key(1);
    let plain = labelled_data("frames", 3 * FRAME);
    let good = sealed(&key, 1, &plain);
    let other = sealed(&key, 2, &plain);
    let frame = |file: &[u8], index: usize| file[HEADER + index * SEALED..][..SEALED].to_vec();
    let file = |frames: &[Vec<u8>]| [good[..HEADER].to_vec(), frames.concat()].concat();
    let [a, b, c] = [0, 1, 2].map(|index| frame(&good, index));
    assert!(opened(&key, &file(&[a.clone(), b.clone(), c.clone()])).unwrap() == plain);
    assert_eq!(frame_of(opened(&key, &file(&[b.clone(), a.clone(), c.clone()]))), 0, "swapped");
    assert_eq!(frame_of(opened(&key, &file(&[a.clone(), a.clone(), c.clone()]))), 1, "doubled");
    assert_eq!(frame_of(opened(&key, &file(&[a.clone(), b.clone()]))), 1, "the last left out");
    assert_eq!(frame_of(opened(&key, &file(&[a.clone(), c.clone()]))), 1, "one left out");
    assert_eq!(frame_of(opened(&key, &file(&[a.clone(), b.clone(), c.clone(), c.clone()]))), 2, "one appended");
    assert_eq!(frame_of(opened(&key, &file(&[a, frame(&other, 1), c]))), 1, "of another file");
    let mut renewed = good.clone();
    renewed[..HEADER].copy_from_slice(&other[..HEADER]);
    assert_eq!(frame_of(opened(&key, &renewed)), 0, "under another header");
}

#[test]
fn every_byte_counts() {
    let key = key(1);
    let good = sealed(&key, 1, b"hundred");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let rejection = opened(&key, &bad).unwrap_err();
        let fits = match at {
            0..15 => matches!(rejection, EncryptionRejection::NotEncrypted { .. }),
            15 => matches!(rejection, EncryptionRejection::Version { expected: 1, got: 0, .. }),
            16..32 => matches!(rejection, EncryptionRejection::WrongKey { .. }),
            _ => matches!(rejection, EncryptionRejection::Frame { frame: 0, frames: 1, .. }),
        };
        assert!(fits, "byte {at}: {rejection}");
    }
    for cut in 0..good.len() {
        opened(&key, &good[..cut]).unwrap_err();
    }
    let told = opened(&super::tests::key(2), &good).unwrap_err().to_string();
    assert!(told.contains("a.bin") && told.contains(&key.id().to_string()), "{told}");
}

#[test]
fn an_empty_file_is_proven_empty() {
    let key = key(1);
    let good = sealed(&key, 1, b"");
    assert_eq!(good.len(), HEADER + 16);
    assert_eq!(opened(&key, &good).unwrap(), b"");
    let mut bad = good.clone();
    bad[HEADER] ^= 1;
    assert_eq!(frame_of(opened(&key, &bad)), 0);
}

/// The same file, encrypted again, shares nothing with the first but the first 32 bytes.
#[test]
fn nothing_repeats() {
    let (first, second) = (sealed(&key(1), 1, &[0; 64]), sealed(&key(1), 2, &[0; 64]));
    let same = first.iter().zip(&second).skip(32).filter(|(a, b)| a == b).count();
    assert!(same < 20, "{same} of {} bytes are the same", first.len() - 32);
}

#[test]
fn a_source_that_shrinks_or_grows_is_an_error() {
    for (given, said) in [(5, 6), (6, 5)] {
        let plain = vec![0; given];
        assert!(encrypt(&mut &*plain, said, &mut Vec::new(), &key(1), Salt([0; 32])).is_err());
    }
    assert!(matches!(Layout::of_plain(u64::MAX - 64), Err(EncryptionRejection::TooLong { .. })));
}

/// Only the frames that a range touches are opened.
#[test]
fn ranges_are_exact_and_open_no_other_frame() {
    let key = key(1);
    let plain = labelled_data("ranges", 2 * FRAME + 10);
    let mut encrypted = sealed(&key, 1, &plain);
    encrypted[HEADER + 2 * SEALED] ^= 1;
    let mut reader = FrameReader::open(Cursor::new(&encrypted), &key, "a.bin").unwrap().unwrap();
    let end = 2 * FRAME as u64;
    for range in [0..0, 0..1, 5..end, end - 1..end, FRAME_BYTES - 1..FRAME_BYTES + 1, end + 10..end + 10] {
        let mut out = Vec::new();
        reader.read_range(range.clone(), &mut out).unwrap().unwrap();
        assert!(out == plain[range.start as usize..range.end as usize], "{range:?}");
    }
    let rejection = reader.read_range(end - 1..end + 1, &mut Vec::new()).unwrap().unwrap_err();
    assert!(matches!(rejection, EncryptionRejection::Frame { frame: 2, frames: 3, .. }), "{rejection}");
    let rejection = reader.read_range(0..end + 11, &mut Vec::new()).unwrap().unwrap_err();
    assert!(matches!(rejection, EncryptionRejection::Range { .. }), "{rejection}");
}

proptest! {
    /// Lengths map both ways, and no two plain lengths share an encrypted one.
    #[test]
    fn lengths_map_both_ways(plain in prop_oneof![0..5 * FRAME_BYTES, 0..u64::MAX / 2]) {
        let layout = Layout::of_plain(plain).unwrap();
        prop_assert_eq!(Layout::of_encrypted(layout.encrypted_bytes(), "f").unwrap(), layout);
        let last = layout.frames() - 1;
        prop_assert_eq!(layout.encrypted_of(last).end, layout.encrypted_bytes());
        prop_assert_eq!(layout.plain_of(last).end, plain);
    }

    #[test]
    fn lawful_lengths_come_from_plain_ones(encrypted in prop_oneof![0..5 * FRAME_BYTES, any::<u64>()]) {
        if let Ok(layout) = Layout::of_encrypted(encrypted, "f") {
            prop_assert_eq!(layout.encrypted_bytes(), encrypted);
            prop_assert_eq!(Layout::of_plain(layout.plain_bytes()).unwrap(), layout);
        }
    }
}
