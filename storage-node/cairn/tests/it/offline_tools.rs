//! The offline tools through the real binary: golden data in, the same values out, and one clear line for everything wrong.

use std::fs;
use std::path::Path;

use crate::support::{Ran, cairn, flip, seal, seal_arguments, sha256, write_pieces};
use cairn_fixtures::{PorepVector, labelled_data, porep_vector, porep_vectors};
use serde_json::{Value, json};

/// Sectors above this take seconds and have a test of their own, so that both run at once.
const SMALL_SECTOR_BYTES: u64 = 32 << 10;

fn assert_field(report: &Value, name: &str, expected: impl Into<Value>, context: &str) {
    assert_eq!(report[name], expected.into(), "{context}: {name}");
}

fn assert_seals_to(vector: &PorepVector) {
    let folder = tempfile::tempdir().unwrap();
    let (dir, report) = seal(vector, folder.path());
    let name = vector.file_name;
    let commitments = [
        ("porep_id", vector.porep_id),
        ("replica_id", vector.replica_id),
        ("comm_d", vector.comm_d),
        ("comm_c", vector.comm_c),
        ("comm_r_last", vector.comm_r_last),
        ("comm_r", vector.comm_r),
        ("sealed_sha256", vector.sealed_sha256),
        ("prover_id", vector.prover_id),
        ("ticket", vector.ticket),
    ];
    for (field, expected) in commitments {
        assert_field(&report, field, hex::encode(expected), name);
    }
    assert_field(&report, "sector_size", vector.sector_size, name);
    assert_field(&report, "sector_number", vector.sector_number, name);
    assert_eq!(report["pieces"].as_array().unwrap().len(), vector.pieces.len(), "{name}");
    for (piece, expected) in report["pieces"].as_array().unwrap().iter().zip(&vector.pieces) {
        assert_field(piece, "comm_p", hex::encode(expected.comm_p), name);
        assert_field(piece, "unpadded_bytes", expected.unpadded_bytes, name);
    }
    for part in ["add_piece", "labels", "trees"] {
        assert!(report["seconds"][part].is_f64(), "{name}: seconds of {part}");
    }
    assert_files(vector, &dir);
}

fn assert_files(vector: &PorepVector, dir: &Path) {
    let name = vector.file_name;
    assert_eq!(sha256(&dir.join("sealed")), vector.sealed_sha256, "{name}: sealed");
    assert_eq!(sha256(&dir.join("staged")), vector.staged_sha256, "{name}: staged");
    let mut expected: Vec<String> = vector.cache_files.iter().map(|file| file.file.clone()).collect();
    for file in &vector.cache_files {
        let path = dir.join("cache").join(&file.file);
        assert_eq!(fs::metadata(&path).unwrap().len(), file.bytes, "{name}: {}", file.file);
        assert_eq!(sha256(&path), file.sha256, "{name}: {}", file.file);
    }
    expected.push("p_aux".to_owned());
    expected.sort();
    let mut present: Vec<String> = fs::read_dir(dir.join("cache"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    present.sort();
    assert_eq!(present, expected, "{name}: files of the cache");
}

#[test]
fn every_small_vector_seals_to_the_reference_values() {
    let vectors = porep_vectors();
    let small: Vec<_> = vectors.iter().filter(|vector| vector.sector_size <= SMALL_SECTOR_BYTES).collect();
    assert_eq!(small.len(), 8);
    small.into_iter().for_each(assert_seals_to);
}

#[test]
fn the_8_mib_vector_seals_to_the_reference_values() {
    assert_seals_to(&porep_vector("8MiB-v1_1-fixture-b.json"));
}

/// An empty sector of provider t01000, sealed by another implementation and published with its CommR.
#[test]
fn the_seal_published_by_lotus_comes_out() {
    let lotus = cairn_fixtures::lotus_2kib();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("sector").display().to_string();
    let prover_id = format!("e807{}", "00".repeat(30));
    let (number, ticket) = (lotus.sector_number.to_string(), hex::encode(lotus.ticket));
    let who = ["--prover-id", &prover_id, "--sector-number", &number, "--ticket", &ticket, "--dir", &dir, "--json"];
    let what = ["sector", "seal", "--size", "2KiB", "--seal-proof", &lotus.proof_variant];
    let report = cairn(what.iter().chain(&who)).json();
    assert_field(&report, "comm_d", hex::encode(lotus.comm_d), "lotus");
    assert_field(&report, "comm_r", hex::encode(lotus.comm_r), "lotus");
}

#[test]
fn pieces_commit_to_the_reference_values() {
    let folder = tempfile::tempdir().unwrap();
    for vector in cairn_fixtures::pieces().pieces {
        let path = folder.path().join("payload");
        fs::write(&path, labelled_data(&vector.label, vector.unpadded_bytes as usize)).unwrap();
        let report = cairn(["piece".as_ref(), "commit".as_ref(), "--json".as_ref(), path.as_os_str()]).json();
        let name = format!("{} {}", vector.label, vector.unpadded_bytes);
        assert_field(&report, "comm_p", hex::encode(vector.comm_p), &name);
        assert_field(&report, "unpadded_bytes", vector.unpadded_bytes, &name);
        assert_field(&report, "padded_bytes", vector.padded_bytes, &name);
    }
}

/// FRC-0069 publishes this piece: 127 bytes each of 0, 1, 2, 3.
#[test]
fn piece_cids_are_the_published_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("payload");
    fs::write(&path, (0..4u8).flat_map(|byte| [byte; 127]).collect::<Vec<_>>()).unwrap();
    let report = cairn(["piece".as_ref(), "commit".as_ref(), "--json".as_ref(), path.as_os_str()]).json();
    assert_field(
        &report,
        "piece_cid_v2",
        "bafkzcibcaaces3nobte6ezpp4wqan2age2s5yxcatzotcvobhgcmv5wi2xh5mbi",
        "four quads",
    );
    assert_field(
        &report,
        "piece_cid_v1",
        "baga6ea4seaqes3nobte6ezpp4wqan2age2s5yxcatzotcvobhgcmv5wi2xh5mbi",
        "four quads",
    );
    let text = cairn(["piece".as_ref(), "commit".as_ref(), path.as_os_str()]);
    assert!(text.stdout.contains("piece CID v2    bafkzcibcaaces3n"), "{}", text.stdout);
}

fn prove(dir: &Path, vector: &PorepVector) -> Ran {
    let seed = hex::encode(vector.interactive_seed);
    cairn(["sector", "prove", "--json", "--vanilla", "--seed", &seed, "--dir", &dir.display().to_string()])
}

fn verify(folder: &Path, statement: &Value) -> Ran {
    let path = folder.join("proof.json");
    fs::write(&path, statement.to_string()).unwrap();
    cairn(["sector", "verify", "--json", &path.display().to_string()])
}

#[test]
fn proofs_equal_the_reference_and_verify() {
    for name in
        ["2KiB-v1-fixture-a.json", "2KiB-v1_1-fixture-a.json", "2KiB-synth-fixture-f.json", "2KiB-ni-fixture-g.json"]
    {
        let vector = porep_vector(name);
        let folder = tempfile::tempdir().unwrap();
        let (dir, _) = seal(&vector, folder.path());
        let report = prove(&dir, &vector).json();
        let inputs: Vec<Vec<String>> =
            vector.public_inputs.iter().map(|p| p.iter().map(hex::encode).collect()).collect();
        assert_field(&report, "public_inputs", json!(inputs), name);
        if let Some(reference) = &vector.vanilla_proofs {
            assert_eq!(report["proof"], *reference, "{name}: proof");
        }
        assert_eq!(verify(folder.path(), &report).json(), json!({"ok": true}), "{name}");
    }
}

/// The file may hold no more than the issue of a proof needs: no identity of ours, the size by name.
#[test]
fn the_reference_proof_verifies_as_published() {
    let vector = porep_vector("2KiB-v1_1-fixture-a.json");
    let folder = tempfile::tempdir().unwrap();
    let mut statement = reference_statement(&vector);
    assert_eq!(verify(folder.path(), &statement).json(), json!({"ok": true}));
    statement["sector_size"] = json!("2KiB");
    assert_eq!(verify(folder.path(), &statement).json(), json!({"ok": true}));
}

fn reference_statement(vector: &PorepVector) -> Value {
    json!({
        "sector_size": vector.sector_size,
        "seal_proof": vector.proof_variant,
        "comm_r": hex::encode(vector.comm_r),
        "comm_d": hex::encode(vector.comm_d),
        "prover_id": hex::encode(vector.prover_id),
        "sector_number": vector.sector_number,
        "ticket": hex::encode(vector.ticket),
        "interactive_seed": hex::encode(vector.interactive_seed),
        "proof": vector.vanilla_proofs,
    })
}

#[test]
fn a_flipped_statement_or_proof_is_refused_with_a_reason() {
    let vector = porep_vector("2KiB-v1_1-fixture-a.json");
    let folder = tempfile::tempdir().unwrap();
    let places = [
        "/comm_r",
        "/comm_d",
        "/prover_id",
        "/ticket",
        "/interactive_seed",
        "/proof/0/0/comm_d_proofs/data/Single/leaf",
        "/proof/0/1/comm_r_last_proof/data/Single/path/path/0/hashes/0",
        "/proof/0/0/replica_column_proofs/c_x/column/rows/0",
        "/proof/0/0/labeling_proofs/0/parents/3",
        "/proof/0/1/encoding_proof/parents/36",
    ];
    for place in places {
        let mut statement = reference_statement(&vector);
        flip(statement.pointer_mut(place).unwrap_or_else(|| panic!("{place} is not there")));
        let ran = verify(folder.path(), &statement);
        assert!(ran.failure().contains("the proof is refused: "), "{place}: {}", ran.stderr);
        let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(verdict["ok"], json!(false), "{place}");
        assert!(verdict["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{place}");
    }
}

#[test]
fn unsealing_gives_the_original_bytes() {
    let vector = porep_vector("16KiB-v1_1-fixture-d.json");
    let folder = tempfile::tempdir().unwrap();
    let (dir, _) = seal(&vector, folder.path());
    let original: Vec<u8> =
        vector.pieces.iter().flat_map(|piece| labelled_data(&piece.label, piece.unpadded_bytes as usize)).collect();
    let out = folder.path().join("out");
    for stored in [true, false] {
        if !stored {
            // Without its layers the sector computes them again.
            for file in fs::read_dir(dir.join("cache")).unwrap().map(|entry| entry.unwrap().path()) {
                if file.to_string_lossy().contains("layer") {
                    fs::remove_file(file).unwrap();
                }
            }
        }
        for (offset, length) in [(0, original.len()), (0, 1), (126, 2), (1000, 5000), (original.len() - 1, 1), (77, 0)]
        {
            let ran = unseal(&dir, offset as u64, length as u64, &out);
            assert_field(&ran.json(), "length", length, "unseal");
            assert_eq!(
                fs::read(&out).unwrap(),
                original[offset..offset + length],
                "{offset}+{length}, layers stored: {stored}"
            );
        }
    }
    let past_the_end = unseal(&dir, 1, original.len() as u64, &folder.path().join("other"));
    assert!(past_the_end.failure().contains("16256 unpadded bytes"), "{}", past_the_end.stderr);
    assert!(!folder.path().join("other").exists() && !folder.path().join("other.part").exists());
}

#[test]
fn a_damaged_sector_names_its_file() {
    let vector = porep_vector("2KiB-v1_1-fixture-a.json");
    let folder = tempfile::tempdir().unwrap();
    let (dir, _) = seal(&vector, folder.path());
    let layer = dir.join("cache/sc-02-data-layer-1.dat");
    let whole = fs::read(&layer).unwrap();
    fs::write(&layer, &whole[..2000]).unwrap();
    let short = prove(&dir, &vector);
    assert!(short.failure().contains("sc-02-data-layer-1.dat: expected 2048 bytes, got 2000"), "{}", short.stderr);
    fs::remove_file(&layer).unwrap();
    assert!(prove(&dir, &vector).failure().contains("sc-02-data-layer-1.dat: No such file"));
    fs::write(&layer, whole).unwrap();
    prove(&dir, &vector).json();
    fs::write(dir.join("sector.json"), "{").unwrap();
    assert!(prove(&dir, &vector).failure().contains("sector.json is damaged"));
}

fn unseal(dir: &Path, offset: u64, length: u64, out: &Path) -> Ran {
    let numbers = [offset.to_string(), length.to_string()];
    let arguments = ["sector", "unseal", "--json", "--offset", &numbers[0], "--length", &numbers[1], "--dir"];
    cairn(arguments.map(str::to_owned).into_iter().chain([
        dir.display().to_string(),
        "--out".to_owned(),
        out.display().to_string(),
    ]))
}

/// Replaces the value after `flag`.
fn with(arguments: &[String], flag: &str, value: &str) -> Vec<String> {
    let mut changed = arguments.to_vec();
    let position = changed.iter().position(|argument| argument == flag).unwrap();
    changed[position + 1] = value.to_owned();
    changed
}

#[test]
fn bad_input_to_seal_is_one_clear_line() {
    let vector = porep_vector("2KiB-v1_1-fixture-a.json");
    let folder = tempfile::tempdir().unwrap();
    let pieces = write_pieces(&vector, folder.path());
    let good = seal_arguments(&vector, &pieces, &folder.path().join("sector"));
    let big = folder.path().join("big");
    fs::write(&big, [0; 4000]).unwrap();
    let big = big.display().to_string();
    let zz = "zz".repeat(32);
    let missing = folder.path().join("missing").display().to_string();
    let folder_itself = folder.path().display().to_string();
    let cases: [(&str, &str, &[&str]); 10] = [
        ("--prover-id", "abcd", &["--prover-id", "expected 64 hex digits (32 bytes), got 4 characters"]),
        ("--prover-id", &zz, &["--prover-id", "expected hex digits, got 'z' at position 0"]),
        ("--ticket", "", &["--ticket", "64 hex digits", "got 0"]),
        ("--size", "3MiB", &["--size", "2KiB, 4KiB, 16KiB", "3MiB"]),
        ("--seal-proof", "v3", &["--seal-proof", "v1, v1_1, synthetic, non-interactive", "v3"]),
        ("--sector-number", "-1", &["-1"]),
        ("--piece", &missing, &[&missing, "No such file"]),
        ("--piece", &folder_itself, &[&folder_itself, "expected a plain file"]),
        ("--piece", &big, &[&big, "piece 0", "2048"]),
        ("--dir", &big, &[&big]),
    ];
    for (flag, value, parts) in cases {
        let ran = cairn(with(&good, flag, value));
        for part in parts {
            assert!(ran.failure().contains(part), "{flag} {value}: expected {part:?} in {:?}", ran.stderr);
        }
        assert_eq!(ran.stdout, "", "{flag} {value}");
    }
}

#[test]
fn sealing_never_overwrites_a_sealed_sector() {
    let vector = porep_vector("2KiB-v1_1-fixture-a.json");
    let folder = tempfile::tempdir().unwrap();
    let (dir, _) = seal(&vector, folder.path());
    let again = cairn(seal_arguments(&vector, &write_pieces(&vector, folder.path()), &dir));
    assert!(again.failure().contains("already holds a sealed sector"), "{}", again.stderr);
    assert_files(&vector, &dir);

    // Without its record the folder is what an interrupted seal left: it is sealed anew.
    fs::remove_file(dir.join("sector.json")).unwrap();
    fs::remove_file(dir.join("cache/p_aux")).unwrap();
    cairn(seal_arguments(&vector, &write_pieces(&vector, folder.path()), &dir)).json();
    assert_files(&vector, &dir);
}

#[test]
fn bad_input_to_the_other_tools_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().display().to_string();
    let missing = folder.path().join("missing").display().to_string();
    let zeros = "00".repeat(32);
    let cases: [(&[&str], &str); 10] = [
        (&["piece", "commit", &missing], "No such file"),
        (&["piece", "commit", &empty], "expected a plain file"),
        (&["piece", "commit"], "<FILE>"),
        (&["sector", "prove", "--dir", &empty, "--seed", &zeros, "--vanilla"], "holds no sealed sector"),
        (&["sector", "prove", "--dir", &empty, "--seed", &zeros], "--vanilla"),
        (&["sector", "prove", "--dir", &empty, "--seed", "00", "--vanilla"], "--seed"),
        (&["sector", "verify", &missing], "No such file"),
        (
            &["sector", "unseal", "--dir", &empty, "--offset", "0", "--length", "1", "--out", &missing],
            "holds no sealed sector",
        ),
        (&["sector", "unseal", "--dir", &empty, "--offset", "x", "--length", "1", "--out", &missing], "--offset"),
        (&["no-such-command"], "no-such-command"),
    ];
    for (arguments, part) in cases {
        let ran = cairn(arguments);
        assert!(ran.failure().contains(part), "expected {part:?} in {:?}", ran.stderr);
    }
}

#[test]
fn a_damaged_proof_file_names_its_field() {
    let vector = porep_vector("2KiB-v1_1-fixture-a.json");
    let folder = tempfile::tempdir().unwrap();
    let good = reference_statement(&vector);
    let cases = [
        ("comm_r", json!("abc"), "field comm_r: expected 64 hex digits (32 bytes), got 3 characters"),
        ("prover_id", json!(7), "field prover_id"),
        ("sector_size", json!(3000), "field sector_size: expected a sector size of 2KiB"),
        ("sector_size", json!("3KiB"), "field sector_size: expected a sector size of 2KiB"),
        ("seal_proof", json!("v9"), "field seal_proof"),
        ("sector_number", json!(-4), "field sector_number"),
        ("proof", json!([[{}]]), "field proof"),
        ("proof", json!("x"), "field proof"),
    ];
    for (field, value, part) in cases {
        let mut statement = good.clone();
        statement[field] = value;
        let ran = verify(folder.path(), &statement);
        assert!(ran.failure().contains(part), "expected {part:?} in {:?}", ran.stderr);
    }
    for field in ["comm_d", "interactive_seed", "ticket", "proof", "seal_proof"] {
        let mut statement = good.clone();
        statement.as_object_mut().unwrap().remove(field);
        let ran = verify(folder.path(), &statement);
        assert!(ran.failure().contains(&format!("field {field} is missing")), "{}", ran.stderr);
    }
    assert!(verify(folder.path(), &json!([])).failure().contains("expected a JSON object"));
    let path = folder.path().join("text");
    fs::write(&path, "no JSON").unwrap();
    assert!(cairn(["sector", "verify", &path.display().to_string()]).failure().contains("cannot read"));
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let commands = [
        "",
        "piece commit",
        "sector seal",
        "sector prove",
        "sector verify",
        "sector unseal",
        "post prove",
        "post verify",
        "params setup",
        "params list",
        "params verify",
        "circuit info",
        "get",
        "gateway",
        "grant issue",
        "grant show",
        "devnet",
    ];
    for command in commands {
        let ran = cairn(command.split_whitespace().chain(["--help"]));
        assert_eq!(ran.code, Some(0), "cairn {command} --help: {}", ran.stderr);
        assert!(ran.stdout.contains("Examples:\n  cairn "), "cairn {command} --help: {}", ran.stdout);
    }
}
