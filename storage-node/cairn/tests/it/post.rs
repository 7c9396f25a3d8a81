//! `cairn post` through the real binary: with the reference's parameters and with our own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Ran, cairn, flip, seal, setup_window, text};
use cairn_fixtures::{fixtures_dir, groth16_dir, porep_vector, post_vectors};
use cairn_protocol::SectorSize;
use cairn_snark::groth16::{Circuit, FileKind};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two sealed sectors of 2 KiB, `a` with a higher number than `h`, and a cache for the reference's parameters.
struct World {
    folder: TempDir,
    a: PathBuf,
    h: PathBuf,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sealed = |name: &str, file: &str| {
            let dir = folder.path().join(name);
            fs::create_dir(&dir).unwrap();
            seal(&porep_vector(file), &dir).0
        };
        let (a, h) = (sealed("a", "2KiB-v1_1-fixture-a.json"), sealed("h", "2KiB-v1_1-fixture-h.json"));
        Self { folder, a, h }
    }

    fn prove(&self, kind: &str, sectors: &[&Path], params: &Path, more: &[&str]) -> Ran {
        let vector = &post_vectors()[0];
        let (randomness, prover) = (hex::encode(vector.randomness), hex::encode(vector.prover_id));
        let cache = text(&self.folder.path().join("cache"));
        let mut arguments = vec!["post", "prove", "--kind", kind, "--randomness", &randomness, "--prover-id", &prover];
        let sectors: Vec<String> = sectors.iter().map(|sector| text(sector)).collect();
        sectors.iter().for_each(|sector| arguments.extend(["--sector", sector]));
        let params = text(params);
        arguments.extend(["--params", &params]);
        if !more.contains(&"--cache") {
            arguments.extend(["--cache", &cache]);
        }
        cairn(arguments.iter().chain(more))
    }
}

fn verify(document: &Value, params: &Path) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("post.json");
    fs::write(&file, document.to_string()).unwrap();
    verify_file(&file, params)
}

fn verify_file(file: &Path, params: &Path) -> Ran {
    cairn(["post", "verify", "--json", "--params", &text(params), &text(file)])
}

fn accepted() -> Value {
    json!({"ok": true, "parameters": "development"})
}

/// The form, the sectors, their order and their challenges are the reference's; the proof verifies under its key, and
/// no change of a field does.
#[test]
fn a_window_proof_is_the_references_in_all_but_blinding() {
    let world = World::new();
    let vector: Value =
        serde_json::from_slice(&fs::read(fixtures_dir().join("vectors/post/post-window-2048.json")).unwrap()).unwrap();
    let ran = world.prove("window", &[&world.a, &world.h], &groth16_dir(), &["--json"]);
    assert!(ran.stderr.contains("the parameters are not the published ones"), "{}", ran.stderr);
    let document = ran.json();
    for field in ["kind", "sector_size", "api_version", "prover_id", "randomness", "challenge_count", "sector_count"] {
        assert_eq!(document[field], vector[field], "{field}");
    }
    let sectors = document["sectors"].as_array().unwrap();
    assert!(sectors[0]["sector_number"].as_u64() < sectors[1]["sector_number"].as_u64(), "ascending");
    for sector in sectors {
        let number = &sector["sector_number"];
        let expected = vector["sectors"].as_array().unwrap().iter().find(|other| other["sector_number"] == *number);
        let expected = expected.unwrap_or_else(|| panic!("sector {number}"));
        assert_eq!((&sector["comm_r"], &sector["challenges"]), (&expected["comm_r"], &expected["challenges"]));
    }
    assert_eq!(document["proof"].as_str().unwrap().len(), 2 * 192);
    assert_eq!(document["parameters"], json!("development"));
    assert_eq!(verify(&document, &groth16_dir()).json(), accepted());

    // The order in the file says nothing: sectors are proven in the order of their numbers.
    let mut reversed = document.clone();
    reversed["sectors"].as_array_mut().unwrap().reverse();
    assert_eq!(verify(&reversed, &groth16_dir()).json(), accepted());

    let no_challenges = |document: &Value| {
        let mut document = document.clone();
        for sector in document["sectors"].as_array_mut().unwrap() {
            sector.as_object_mut().unwrap().remove("challenges");
        }
        document
    };
    assert_eq!(verify(&no_challenges(&document), &groth16_dir()).json(), accepted());
    for place in ["/randomness", "/sectors/0/comm_r", "/sectors/1/comm_r"] {
        let mut tampered = no_challenges(&document);
        flip(tampered.pointer_mut(place).unwrap());
        let ran = verify(&tampered, &groth16_dir());
        assert!(ran.failure().contains("the proof is refused: proof 0: "), "{place}: {}", ran.stderr);
        let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(verdict["ok"], json!(false), "{place}");
    }
}

#[test]
fn the_references_own_proofs_verify() {
    for name in ["post-window-2048.json", "post-winning-2048.json"] {
        let file = fixtures_dir().join("vectors/post").join(name);
        assert_eq!(verify_file(&file, &groth16_dir()).json(), accepted(), "{name}");
        let mut document: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        flip(&mut document["proof"]);
        let ran = verify(&document, &groth16_dir());
        assert!(ran.failure().contains("the proof is refused: proof 0, point C: "), "{name}: {}", ran.stderr);
        document["proof"] = json!("aa");
        let ran = verify(&document, &groth16_dir());
        assert!(ran.failure().contains("expected 192 bytes of proof (1 of 192), got 1"), "{name}: {}", ran.stderr);
    }
    // The winning vector numbers challenges within the sector: by the network's rules it proves nothing.
    let file = fixtures_dir().join("vectors/post/post-winning-2048.json");
    let mut document: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    document["api_version"] = json!("1.0.0");
    assert!(verify(&document, &groth16_dir()).failure().contains("the proof is refused"));
}

/// As the command lines are written: parameters made here, then used without another word.
#[test]
fn parameters_made_here_prove_and_verify() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let params = folder.path().join("params");
    setup_window(&params, &[]).json();
    let cache = text(&params.join("cairn-cache"));
    let ran = world.prove("window", &[&world.h], &params, &["--cache", &cache]);
    let document = ran.json();
    assert!(ran.stderr.contains("cairn: note: 192 bytes of proof, verified, "), "{}", ran.stderr);
    assert_eq!(verify(&document, &params).json(), accepted());
    let other_key = verify(&document, &groth16_dir());
    assert!(other_key.failure().contains("the proof is refused: proof 0: "), "{}", other_key.stderr);
    let refused = world.prove("window", &[&world.h], &params, &["--cache", &cache, "--published-only"]);
    assert!(refused.failure().contains("expected a published key, got a development key"), "{}", refused.stderr);
    let oracle = world.prove("window", &[&world.h], &params, &["--cache", &cache, "--backend", "ark", "--json"]);
    assert_eq!(verify(&oracle.json(), &params).json(), accepted());
}

/// Three sectors are two partitions: two proofs, the second of one sector.
#[test]
fn more_sectors_than_a_partition_take_a_proof_for_each() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let third = seal(&porep_vector("2KiB-v1-fixture-a.json"), folder.path()).0;
    // The vector of the first graph has the number of fixture `a`; a sector's number is not in its replica's files.
    let record = third.join("sector.json");
    let mut fields: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    fields["sector_number"] = json!(u64::MAX);
    fs::write(&record, fields.to_string()).unwrap();

    let document = world.prove("window", &[&third, &world.a, &world.h], &groth16_dir(), &["--json"]).json();
    assert_eq!(document["proof"].as_str().unwrap().len(), 2 * 2 * 192);
    assert_eq!(document["sectors"][2]["sector_number"], json!(u64::MAX));
    assert_eq!(verify(&document, &groth16_dir()).json(), accepted());

    let proof = document["proof"].as_str().unwrap();
    let mut swapped = document.clone();
    swapped["proof"] = json!(format!("{}{}", &proof[384..], &proof[..384]));
    assert!(verify(&swapped, &groth16_dir()).failure().contains("the proof is refused: proof 0: "));
    let mut short = document.clone();
    short["proof"] = json!(&proof[..384]);
    assert!(verify(&short, &groth16_dir()).failure().contains("expected 384 bytes of proof (2 of 192), got 192"));
    let mut old = document;
    old["api_version"] = json!("1.0.0");
    let ran = verify(&old, &groth16_dir());
    assert!(ran.failure().contains("challenges") || ran.failure().contains("expected one partition"), "{}", ran.stderr);
}

/// `cargo test --release -p cairn --test it winning -- --ignored`
#[test]
#[ignore = "slow: parameters of the winning PoSt, about 60 MB"]
fn winning_proofs_in_both_numberings() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let params = folder.path().join("params");
    let circuit = ["params", "setup", "--circuit", "winning-post", "--sector-size", "2KiB", "--json"];
    cairn(circuit.iter().copied().chain(["--params", &text(&params)])).json();
    let cache = text(&params.join("cairn-cache"));
    let ran = world.prove("winning", &[&world.a], &params, &["--cache", &cache]);
    assert!(ran.stderr.contains("shows one leaf 66 times"), "{}", ran.stderr);
    let mut document = ran.json();
    assert_eq!(verify(&document, &params).json(), accepted());
    document["api_version"] = json!("1.0.0");
    assert!(verify(&document, &params).failure().contains("the proof is refused"));

    let ran = world.prove("winning", &[&world.a], &params, &["--cache", &cache, "--api-version", "1.0.0"]);
    assert!(!ran.stderr.contains("66 times"), "{}", ran.stderr);
    let document = ran.json();
    assert_eq!(document["api_version"], json!("1.0.0"));
    assert_eq!(verify(&document, &params).json(), accepted());
}

/// Kind, sectors, parameters, more arguments, and what must be said.
type Case<'a> = (&'a str, &'a [&'a Path], &'a Path, &'a [&'a str], &'a str);

#[test]
fn bad_input_is_one_clear_line() {
    let world = World::new();
    let empty = tempfile::tempdir().unwrap();
    let missing = empty.path().join("missing");
    let larger = tempfile::tempdir().unwrap();
    let larger_sector = seal(&porep_vector("4KiB-v1_1-fixture-c.json"), larger.path()).0;
    let (one, two): (&[&Path], &[&Path]) = (&[&world.a], &[&world.a, &world.h]);
    let golden = groth16_dir();
    let winning = Circuit::WinningPost(SectorSize::KIB2).file_name(FileKind::Params);
    let cases: [Case<'_>; 10] = [
        ("window", &[&missing], &golden, &[], "holds no sealed sector"),
        ("window", &[&world.a, &world.a], &golden, &[], "expected every sector once, got sector 1253503680123 twice"),
        ("window", &[&world.a, &larger_sector], &golden, &[], "got one of "),
        ("window", one, &missing, &[], "No such file"),
        ("window", one, empty.path(), &[], "has no parameters of window-post 2KiB: expected v28-proof-of-spacetime"),
        ("window", one, &golden, &["--api-version", "1.0.0"], "expected 1.2.0 for a window proof, got 1.0.0"),
        ("window", one, &golden, &["--api-version", "2"], "1.0.0, 1.1.0, 1.2.0"),
        ("window", one, &golden, &["--backend", "gpu"], "auto, ark, cpu"),
        ("winning", two, &golden, &[], "expected one --sector, got 2"),
        ("winning", one, &golden, &[], &winning),
    ];
    for (kind, sectors, params, more, part) in cases {
        let ran = world.prove(kind, sectors, params, more);
        assert!(ran.failure().contains(part), "expected {part:?} in {:?}", ran.stderr);
    }
    let published = world.prove("window", one, &golden, &["--published-only"]);
    assert!(published.failure().contains("expected the published or marked file with digest "), "{}", published.stderr);
}

#[test]
fn a_damaged_file_names_its_field() {
    let file = fixtures_dir().join("vectors/post/post-window-2048.json");
    let good: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let number = good["sectors"][0]["sector_number"].clone();
    let cases = [
        ("/kind", json!("lucky"), "field kind"),
        ("/sector_size", json!(2049), "field sector_size: expected a sector size of 2KiB"),
        ("/api_version", json!("9"), "field api_version: expected a version of 1.0.0, 1.1.0, 1.2.0, got \"9\""),
        ("/prover_id", json!("ab"), "field prover_id"),
        ("/randomness", json!(7), "field randomness"),
        ("/sectors", json!([]), "expected at least one sector"),
        ("/sectors/0/comm_r", json!("zz"), "field sectors"),
        ("/sectors/1/sector_number", number, "twice"),
        (
            "/sectors/0/challenges",
            json!([1, 2]),
            "expected challenges [57, 27, 31, 23, 8, 48, 57, 62, 57, 24], got [1, 2]",
        ),
        ("/proof", json!("xy"), "field proof: expected hex digits, got 'x' at position 0"),
        ("/proof", json!("abc"), "field proof: expected an even number of hex digits, got 3"),
    ];
    for (place, value, part) in cases {
        let mut document = good.clone();
        *document.pointer_mut(place).unwrap() = value;
        let ran = verify(&document, &groth16_dir());
        assert!(ran.failure().contains(part), "{place}: expected {part:?} in {:?}", ran.stderr);
    }
    for field in ["kind", "sector_size", "api_version", "prover_id", "randomness", "sectors", "proof"] {
        let mut document = good.clone();
        document.as_object_mut().unwrap().remove(field);
        let ran = verify(&document, &groth16_dir());
        assert!(ran.failure().contains(&format!("field {field} is missing")), "{}", ran.stderr);
    }
    let empty = tempfile::tempdir().unwrap();
    let ran = verify(&good, empty.path());
    assert!(ran.failure().contains("has no verifying key of window-post 2KiB"), "{}", ran.stderr);
}
