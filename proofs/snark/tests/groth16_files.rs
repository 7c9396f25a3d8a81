//! Key files: byte for byte what the reference wrote, and refusals that say where a file is wrong.

mod groth16_common;

use std::fs;
use std::path::Path;

use cairn_fixtures::groth16_dir;
use cairn_protocol::SectorSize;
use cairn_snark::groth16::params::{Params, ParamsWriter, Section, read_params};
use cairn_snark::groth16::points::PointChecks;
use cairn_snark::groth16::store::Origin;
use cairn_snark::groth16::{
    Circuit, FileKind, KeyFileError, KeyFileRejection, KeyStore, ProvingKey, Trust, VerifyingKey, meta,
};
use groth16_common::*;
use tempfile::TempDir;

fn rejection(error: KeyFileError) -> KeyFileRejection {
    match error {
        KeyFileError::Rejected { source, .. } => source,
        other => panic!("{other}"),
    }
}

fn golden_file(circuit: Circuit, kind: FileKind) -> Vec<u8> {
    fs::read(groth16_dir().join(circuit.file_name(kind))).unwrap()
}

#[test]
fn verifying_keys_round_trip() {
    for (circuit, inputs) in [(POREP, 39), (WINDOW, 22), (WINNING, 132)] {
        let (key, origin) = store().verifying_key(circuit, &workers()).unwrap();
        assert_eq!((key.public_inputs(), origin), (inputs, Origin::Development));
        assert_eq!(key.to_bytes(), golden_file(circuit, FileKind::VerifyingKey), "{circuit}");
    }
    assert_eq!(meta::to_bytes(SectorSize::KIB2), golden_file(WINDOW, FileKind::Meta));
}

#[test]
fn a_changed_byte_of_a_verifying_key_is_found_where_it_is() {
    let good = golden_file(WINDOW, FileKind::VerifyingKey);
    let starts: Vec<usize> =
        [0, 96, 192, 384, 576, 672, 864].into_iter().chain((868..good.len()).step_by(96)).collect();
    for byte in (0..good.len()).step_by(5) {
        let mut bytes = good.clone();
        bytes[byte] ^= 1 << (byte % 8);
        let rejection = rejection(VerifyingKey::from_bytes(&bytes, Path::new("k"), &workers()).unwrap_err());
        let start = *starts.iter().rfind(|start| **start <= byte).unwrap() as u64;
        match rejection {
            KeyFileRejection::Point { offset, .. } => assert_eq!(offset, start, "byte {byte}"),
            _ if start == 864 => {}
            other => panic!("byte {byte}: {other}"),
        }
    }
}

#[test]
fn a_verifying_key_cut_short_or_with_a_tail_is_refused() {
    let good = golden_file(WINDOW, FileKind::VerifyingKey);
    for length in (0..good.len()).step_by(37) {
        let error = VerifyingKey::from_bytes(&good[..length], Path::new("k.vk"), &workers()).unwrap_err();
        assert!(matches!(rejection(error), KeyFileRejection::Truncated { .. }), "{length}");
    }
    let error = VerifyingKey::from_bytes(&good[..868 + 96 * 3 + 5], Path::new("k.vk"), &workers()).unwrap_err();
    assert_eq!(error.to_string(), "k.vk: byte 1156: expected 96 bytes of ic[3], got 5 before the end of the file");
    let long = [&good[..], &[0]].concat();
    let error = VerifyingKey::from_bytes(&long, Path::new("k.vk"), &workers()).unwrap_err();
    assert_eq!(error.to_string(), "k.vk: byte 3076: expected the end of the file after ic, got more bytes");
}

#[test]
fn the_parameter_file_round_trips() {
    let file = groth16_dir().join(WINDOW.file_name(FileKind::Params));
    let good = fs::read(&file).unwrap();
    let (params, summary) = Params::read(&good[..], &file, PointChecks::OnCurve, &workers()).unwrap();
    assert_eq!(params.verifying_key.to_bytes(), golden_file(WINDOW, FileKind::VerifyingKey));
    assert_eq!((summary.inputs, summary.counts.domain(), summary.bytes), (23, 32768, 11_501_496));
    assert_eq!(summary.counts.get(Section::BG1), summary.counts.get(Section::BG2));

    let mut written = Vec::with_capacity(good.len());
    let mut writer = ParamsWriter::new(&mut written, &file);
    params.send_to(&mut writer).unwrap();
    assert_eq!(writer.finish().unwrap(), summary);
    assert!(written == good, "the same bytes");
}

/// Where each section's number of points lies in the window PoSt's parameter file, from the file's own numbers.
fn section_starts(file: &[u8]) -> Vec<(Section, usize, u32)> {
    let mut at = 3076;
    Section::ALL
        .into_iter()
        .map(|section| {
            let count = u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
            let start = at;
            at += 4 + count as usize * section.point_bytes() as usize;
            (section, start, count)
        })
        .collect()
}

struct Ignore;

impl cairn_snark::groth16::params::ParamsSink for Ignore {
    fn verifying_key(&mut self, _: &VerifyingKey) -> Result<(), KeyFileError> {
        Ok(())
    }
    fn section(&mut self, _: Section, _: u64) -> Result<(), KeyFileError> {
        Ok(())
    }
    fn g1(&mut self, _: Section, _: &[cairn_snark::groth16::curve::G1Affine]) -> Result<(), KeyFileError> {
        Ok(())
    }
    fn g2(&mut self, _: &[cairn_snark::groth16::curve::G2Affine]) -> Result<(), KeyFileError> {
        Ok(())
    }
}

fn read_error(bytes: &[u8]) -> String {
    read_params(bytes, Path::new("p"), PointChecks::OnCurve, &workers(), &mut Ignore).unwrap_err().to_string()
}

#[test]
fn a_damaged_parameter_file_is_refused_and_says_where() {
    let good = golden_file(WINDOW, FileKind::Params);
    let starts = section_starts(&good);
    for (section, start, count) in &starts {
        let (name, size) = (section.name(), section.point_bytes() as usize);
        let point = start + 4 + 5000 * size;
        let mut bytes = good.clone();
        bytes[point + 40] ^= 4;
        let message = read_error(&bytes);
        assert!(message.starts_with(&format!("p: byte {point}, {name}[5000]: expected a ")), "{message}");

        let message = read_error(&good[..point + 7]);
        assert_eq!(
            message,
            format!("p: byte {point}: expected {size} bytes of {name}[5000], got 7 before the end of the file")
        );
        let message = read_error(&good[..start + 2]);
        let what = format!("byte {start}: expected 4 bytes of the number of points in {name}, got 2");
        assert!(message.contains(&what), "{message}");

        bytes = good.clone();
        bytes[*start..start + 4].copy_from_slice(&(count + 1).to_be_bytes());
        assert!(!read_error(&bytes).is_empty());
    }
    let (_, h, _) = starts[0];
    let mut bytes = good.clone();
    bytes[h..h + 4].copy_from_slice(&32768u32.to_be_bytes());
    let expected = format!("p: byte {h}, number of points in h: expected a power of two less one, got 32768");
    assert_eq!(read_error(&bytes), expected);
    let long = [&good[..], &[0]].concat();
    assert_eq!(read_error(&long), "p: byte 11501496: expected the end of the file after b_g2, got more bytes");
}

/// The vectors' keys have published names, but were not made by the ceremony.
#[test]
fn a_real_network_refuses_keys_that_are_not_published() {
    let store = KeyStore::new(groth16_dir(), "/nonexistent", Trust::Published);
    for circuit in [POREP, WINDOW, WINNING] {
        let error = store.verifying_key(circuit, &workers()).unwrap_err();
        assert!(matches!(rejection(error), KeyFileRejection::Digest { .. }));
    }
    let unpublished = Circuit::Porep(SectorSize::KIB4);
    let folder = tempfile::tempdir().unwrap();
    let name = unpublished.file_name(FileKind::VerifyingKey);
    fs::write(folder.path().join(name), golden_file(POREP, FileKind::VerifyingKey)).unwrap();
    let store = KeyStore::new(folder.path(), folder.path(), Trust::Published);
    let error = store.verifying_key(unpublished, &workers()).unwrap_err();
    assert_eq!(rejection(error), KeyFileRejection::Unpublished);
    let error = store.verifying_key(POREP, &workers()).unwrap_err();
    assert!(matches!(error, KeyFileError::Io { operation: "open", .. }), "{error}");
}

fn golden_params() -> Params {
    let file = groth16_dir().join(WINDOW.file_name(FileKind::Params));
    Params::read(fs::File::open(&file).unwrap(), &file, PointChecks::OnCurve, &workers()).unwrap().0
}

/// A folder with the golden parameters as if they were made here, and stores over it.
fn development() -> (TempDir, KeyStore, KeyStore, Params) {
    let folder = tempfile::tempdir().unwrap();
    let store = |trust| KeyStore::new(folder.path(), folder.path(), trust);
    let (development, real, params) = (store(Trust::Development), store(Trust::Published), golden_params());
    development.write_development(WINDOW, |sink| params.send_to(sink)).unwrap();
    (folder, development, real, params)
}

#[test]
fn development_keys_are_marked_converted_once_and_refused_by_a_real_network() {
    let (folder, development, real, params) = development();
    for kind in [FileKind::Params, FileKind::VerifyingKey, FileKind::Meta] {
        assert!(fs::read(development.path(WINDOW, kind)).unwrap() == golden_file(WINDOW, kind), "{kind:?}");
    }
    let mark = development.mark_path(WINDOW).file_name().unwrap().to_str().unwrap().to_owned();
    let marked = KeyFileRejection::Development { mark };
    assert_eq!(rejection(real.verifying_key(WINDOW, &workers()).unwrap_err()), marked);
    assert_eq!(rejection(real.proving_key(WINDOW, &workers(), &|_, _| {}).unwrap_err()), marked);
    assert!(!real.key_path(WINDOW).exists(), "nothing was converted");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "no leftovers");

    let key = development.proving_key(WINDOW, &workers(), &|_, _| {}).unwrap();
    assert_eq!(key.verifying_key(), &params.verifying_key);
    let sections =
        [(Section::H, &params.h), (Section::L, &params.l), (Section::A, &params.a), (Section::BG1, &params.b_g1)];
    for (section, points) in sections {
        assert!(key.g1(section) == &points[..], "{}", section.name());
    }
    assert!(key.b_g2() == &params.b_g2[..]);
    key.release(Section::A, 3..5000);
    assert!(key.g1(Section::A) == &params.a[..], "released memory comes back as it was");
    key.check_sections(&workers()).unwrap();
    assert_eq!(rejection(real.proving_key(WINDOW, &workers(), &|_, _| {}).unwrap_err()), marked);

    let again = |_, _| panic!("converted a second time");
    let listed = development.list();
    assert_eq!((listed.len(), listed[0].circuit, listed[0].marked), (1, WINDOW, true));
    assert_eq!((listed[0].params_bytes, listed[0].verifying_key_bytes), (Some(11_501_496), Some(3076)));

    let second = development.proving_key(WINDOW, &workers(), &again).unwrap();
    assert_eq!(second.params_digest(), key.params_digest());
    let (summary, origin) = development.check_params(WINDOW, &workers(), &|_, _| {}).unwrap();
    assert_eq!((summary.digest, origin), (key.params_digest(), Origin::Development));
}

#[test]
fn a_marked_file_that_changed_is_refused_everywhere() {
    let (_folder, development, ..) = development();
    let file = development.path(WINDOW, FileKind::VerifyingKey);
    fs::write(&file, golden_file(POREP, FileKind::VerifyingKey)).unwrap();
    let error = development.verifying_key(WINDOW, &workers()).unwrap_err();
    assert!(matches!(rejection(error), KeyFileRejection::Digest { .. }));
    let error = development.proving_key(WINDOW, &workers(), &|_, _| {}).unwrap_err();
    assert!(matches!(rejection(error), KeyFileRejection::Digest { .. }), "key and parameters differ");
    fs::write(development.mark_path(WINDOW), b"{}").unwrap();
    let error = development.verifying_key(WINDOW, &workers()).unwrap_err().to_string();
    assert!(error.contains("expected an object with note, params and vk, got missing field"), "{error}");
}

#[test]
fn a_damaged_proving_key_is_refused() {
    let (_folder, store, ..) = development();
    let file = store.key_path(WINDOW);
    drop(store.proving_key(WINDOW, &workers(), &|_, _| {}).unwrap());
    let good = fs::read(&file).unwrap();
    let open = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        ProvingKey::open(&file, &workers())
    };
    for byte in (0..4096).step_by(31).chain([4096, 5000, 7171]) {
        let mut bytes = good.clone();
        bytes[byte] ^= 0x10;
        rejection(open(&bytes).unwrap_err());
    }
    for length in [1, 4095, 4096, 8000, 8192, good.len() / 2, good.len() - 1] {
        let rejection = rejection(open(&good[..length]).unwrap_err());
        assert!(matches!(rejection, KeyFileRejection::Truncated { .. }), "{length}: {rejection}");
    }
    let rejection = rejection(open(&[&good[..], &[0]].concat()).unwrap_err());
    assert!(matches!(rejection, KeyFileRejection::Trailing { .. }), "{rejection}");
    let mut bytes = good.clone();
    *bytes.last_mut().unwrap() ^= 1;
    let message = open(&bytes).unwrap().check_sections(&workers()).unwrap_err().to_string();
    assert!(message.contains("digest of section b_g2: expected "), "{message}");
    // A damaged conversion is simply made again.
    fs::write(&file, &good[..5000]).unwrap();
    store.proving_key(WINDOW, &workers(), &|_, _| {}).unwrap().check_sections(&workers()).unwrap();
}
