//! Groth16 proofs of replication through `cairn sector`: the reference's verify, in both of its shapes, and ours do.

use std::fs;
use std::path::Path;

use crate::support::{Ran, cairn, flip, seal, text};
use cairn_fixtures::{fixtures_dir, groth16_dir, porep_vector};
use serde_json::{Value, json};

fn verify(statement: &Value, params: &Path) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proof.json");
    fs::write(&file, statement.to_string()).unwrap();
    cairn(["sector", "verify", "--json", &text(&file), "--params", &text(params)])
}

fn reference_file() -> std::path::PathBuf {
    groth16_dir().join("porep-2KiB-fixture-a-proof.json")
}

fn reference_proof() -> Value {
    serde_json::from_slice(&fs::read(reference_file()).unwrap()).unwrap()
}

fn accepted() -> Value {
    json!({"ok": true, "parameters": "development"})
}

#[test]
fn the_references_proof_verifies_in_both_shapes() {
    let file = text(&reference_file());
    let ran = cairn(["sector", "verify", "--json", &file, "--params", &text(&groth16_dir())]);
    assert_eq!(ran.json(), accepted());
    assert!(ran.stderr.starts_with("cairn: note: the parameters are not the published ones"), "{}", ran.stderr);

    let long = reference_proof();
    let fields = ["comm_r", "comm_d", "prover_id", "sector_number", "ticket", "interactive_seed", "proof"];
    let mut short: Value = fields.iter().map(|field| ((*field).to_owned(), long[*field].clone())).collect();
    short["proof_type"] = json!("2KiB");
    assert_eq!(verify(&short, &groth16_dir()).json(), accepted());
    let aggregated: Value =
        serde_json::from_slice(&fs::read(fixtures_dir().join("vectors/aggregate/2KiB-four-sectors.json")).unwrap())
            .unwrap();
    for sector in aggregated["sectors"].as_array().unwrap() {
        let mut statement = sector.clone();
        statement["sector_size"] = json!("2KiB");
        assert_eq!(verify(&statement, &groth16_dir()).json(), accepted());
    }

    for place in ["/comm_r", "/comm_d", "/prover_id", "/ticket", "/interactive_seed", "/proof"] {
        let mut statement = short.clone();
        flip(statement.pointer_mut(place).unwrap());
        let ran = verify(&statement, &groth16_dir());
        assert!(ran.failure().contains("the proof is refused: proof 0"), "{place}: {}", ran.stderr);
    }
    short["proof_type"] = json!("2KiB-v1");
    assert!(verify(&short, &groth16_dir()).failure().contains("the proof is refused"), "another graph");
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let good = reference_proof();
    let with = |field: &str, value: Value| {
        let mut statement = good.clone();
        statement[field] = value;
        statement
    };
    let mut other_size = with("sector_size", json!("8MiB"));
    other_size["seal_proof"] = json!("v1_1");
    let cases = [
        (with("proof_type", json!("2KiB-v1")), "field proof_type: expected the name of 2KiB, v1, PoRep id 05"),
        (with("proof_type", json!("8MiB")), "field proof_type: expected the name of 2KiB, v1_1"),
        (with("proof_type", json!("3KiB")), "field proof_type: expected one of 2KiB, 8MiB"),
        (
            with("porep_id", json!("09".repeat(32))),
            "field porep_id: expected the registered one of a seal proof at 2KiB",
        ),
        (with("proof", json!("0g")), "field proof: expected hex digits, got 'g' at position 1"),
        (with("proof", json!("00")), "expected 192 bytes of proof (1 of 192), got 1"),
        (with("sector_size", json!("8MiB")), "field porep_id: expected the registered one of a seal proof at 8MiB"),
        (other_size, "has no verifying key of porep 8MiB: expected v28-stacked-proof"),
    ];
    for (statement, part) in cases {
        let ran = verify(&statement, &groth16_dir());
        assert!(ran.failure().contains(part), "expected {part:?} in {:?}", ran.stderr);
    }
    let file = text(&reference_file());
    let ran = cairn(["sector", "verify", &file]);
    assert!(ran.failure().contains("holds a Groth16 proof: --params DIR with its verifying key is needed"));
    let ran = cairn(["sector", "verify", &file, "--params", &text(&groth16_dir()), "--published-only"]);
    assert!(ran.failure().contains("expected the published or marked file with digest "), "{}", ran.stderr);
}

#[test]
fn proving_without_parameters_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let dir = text(&seal(&porep_vector("2KiB-v1_1-fixture-a.json"), folder.path()).0);
    let seed = "02".repeat(32);
    let prove = |more: &[&str]| cairn(["sector", "prove", "--dir", &dir, "--seed", &seed].iter().chain(more));
    let ran = prove(&[]);
    assert!(ran.failure().contains("give --params DIR, or --vanilla for the openings"), "{}", ran.stderr);
    let ran = prove(&["--params", &text(&groth16_dir()), "--cache", &text(folder.path())]);
    let expected = "has no parameters of porep 2KiB: expected v28-stacked-proof-of-replication";
    assert!(ran.failure().contains(expected), "{}", ran.stderr);
    assert!(
        ran.failure().contains("cairn params setup --circuit porep --sector-size 2KiB --params "),
        "{}",
        ran.stderr
    );
    let ran = prove(&["--vanilla", "--params", &text(&groth16_dir())]);
    assert!(ran.failure().contains("cannot be used with"), "{}", ran.stderr);
}

/// Setup, proof and verification. `CAIRN_KEEP=FOLDER` keeps parameters and proof there, for the reference to look at.
///
/// `cargo test --release -p cairn --test it porep_from_setup -- --ignored --nocapture`
#[test]
#[ignore = "slow: parameters of the 2 KiB PoRep, 1.1 GB and a minute"]
fn a_porep_from_setup_to_verification() {
    let folder = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("CAIRN_KEEP").map(std::path::PathBuf::from);
    let home = kept.as_deref().unwrap_or(folder.path());
    let params = text(&home.join("params"));
    let setup = ["params", "setup", "--circuit", "porep", "--sector-size", "2KiB", "--json", "--params", &params];
    let report = cairn(setup).json();
    println!("{report}");
    assert_eq!(report["params_bytes"], json!(1_114_707_768u64));

    let vector = porep_vector("2KiB-v1_1-fixture-a.json");
    let (dir, _) = seal(&vector, folder.path());
    let seed = hex::encode(vector.interactive_seed);
    let prove = ["sector", "prove", "--json", "--dir", &text(&dir), "--seed", &seed, "--params", &params];
    let proof = cairn(prove).json();
    fs::write(home.join("proof.json"), proof.to_string()).unwrap();
    assert_eq!((&proof["proof_type"], &proof["parameters"]), (&json!("2KiB"), &json!("development")));
    assert_eq!(proof["public_inputs"], reference_proof()["public_inputs"]);
    println!("proof: {} s", proof["seconds"]);
    assert_eq!(verify(&proof, Path::new(&params)).json(), accepted());
    assert!(verify(&proof, &groth16_dir()).failure().contains("the proof is refused"), "the reference's key");
    let mut tampered = proof;
    flip(&mut tampered["comm_r"]);
    assert!(verify(&tampered, Path::new(&params)).failure().contains("the proof is refused: proof 0: "));
}
