//! Proofs of ours under the reference's key and under our own, and both verifiers' word on them.

mod common;
mod groth16_common;

use std::fs;

use cairn_compute::msm::CpuMsm;
use cairn_compute::ntt::CpuNtt;
use cairn_fixtures::groth16_dir;
use cairn_protocol::SectorSize;
use cairn_snark::groth16::{
    Blinding, FileKind, KeyStore, PrepareError, PreparedVerifyingKey, ProveError, Prover, ProvingKey, Secrets, Setup,
    SetupError, Trust,
};
use cairn_snark::r1cs::Matrices;
use cairn_snark::{CircuitId, CircuitKind, assign};
use common::post_circuits;
use groth16_common::*;

fn matrices(kind: CircuitKind) -> Matrices {
    Matrices::record_in_memory(CircuitId { kind, sector_size: SectorSize::KIB2 }, &workers()).unwrap()
}

fn prover(key: ProvingKey, matrices: Matrices) -> Result<Prover, PrepareError> {
    Prover::new(key, matrices, Box::new(CpuMsm::new()), Box::new(CpuNtt::new()), &workers())
}

fn blinding() -> Blinding {
    Blinding::from_bytes(&std::array::from_fn(|index| index as u8 + 1))
}

/// The reference made the parameters; its verifying key accepts our window proof, and so does nobody a changed one.
#[test]
fn a_window_proof_made_with_the_references_parameters_verifies() {
    let cache = tempfile::tempdir().unwrap();
    let store = KeyStore::new(groth16_dir(), cache.path(), Trust::Development);
    let key = store.proving_key(WINDOW, &workers(), &|_, _| {}).unwrap();
    let prover = prover(key, matrices(CircuitKind::WindowPost)).unwrap();
    let circuit = post_circuits().into_iter().nth(1).unwrap();
    let mut assignment = assign(&circuit, &workers()).unwrap();
    let proof = prover.prove(&assignment, &blinding(), &workers()).unwrap();

    let golden = golden().into_iter().find(|golden| golden.name == "window").unwrap();
    assert_eq!(prepared(WINDOW).verify(&proof, &golden.inputs), Ok(()));
    assert_ne!(proof.to_bytes()[..], golden.proof_bytes, "other blinding, other proof");
    assert_eq!(prover.prove(&assignment, &blinding(), &workers()).unwrap(), proof, "the same blinding, the same proof");

    assignment.aux[1000] += cairn_compute::Fr::from(1u64);
    let error = prover.prove(&assignment, &blinding(), &workers()).unwrap_err();
    assert!(matches!(error, ProveError::Unsatisfied { .. }), "{error}");

    let key = store.proving_key(WINDOW, &workers(), &|_, _| {}).unwrap();
    let foreign = self::prover(key, matrices(CircuitKind::WinningPost)).err().unwrap();
    assert_eq!(foreign.to_string(), "the proving key belongs to another circuit: expected 133 inputs, got 23");
}

/// Development parameters of our own: as long as the reference's, marked, and good for a proof.
#[test]
fn our_own_parameters_prove_and_verify() {
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::new(folder.path(), folder.path(), Trust::Development);
    let matrices = matrices(CircuitKind::WindowPost);
    let secrets = Secrets::from_bytes(&std::array::from_fn(|index| (index * 7 + 1) as u8));
    let zeros = Secrets::from_bytes(&[0; 320]);
    assert!(matches!(Setup::new(&matrices, zeros, &workers()), Err(SetupError::Degenerate)));
    let setup = Setup::new(&matrices, secrets, &workers()).unwrap();
    let summary = store.write_development(WINDOW, |sink| setup.send_to(sink, &workers(), &|_, _| {})).unwrap();
    assert_eq!(summary.bytes, 11_501_496);

    let key = store.proving_key(WINDOW, &workers(), &|_, _| {}).unwrap();
    let prover = prover(key, matrices).unwrap();
    let circuit = post_circuits().into_iter().nth(1).unwrap();
    let proof = prover.prove(&assign(&circuit, &workers()).unwrap(), &blinding(), &workers()).unwrap();
    let (verifying_key, _) = store.verifying_key(WINDOW, &workers()).unwrap();
    let golden = golden().into_iter().find(|golden| golden.name == "window").unwrap();
    assert_eq!(PreparedVerifyingKey::new(verifying_key).verify(&proof, &golden.inputs), Ok(()));
    assert!(prepared(WINDOW).verify(&proof, &golden.inputs).is_err(), "another key");
    assert!(fs::metadata(store.path(WINDOW, FileKind::Meta)).is_ok());
}

/// `cargo test --release -p cairn-snark --test groth16_prove porep -- --ignored --nocapture`
#[test]
#[ignore = "slow: parameters of the 2 KiB PoRep, 1.1 GB; prints how long each part takes"]
fn porep_parameters_and_a_proof() {
    use std::time::Instant;
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::new(folder.path(), folder.path(), Trust::Development);
    let timed = |what: &str, started: Instant| println!("{what}: {:.1} s", started.elapsed().as_secs_f64());

    let started = Instant::now();
    let matrices = matrices(CircuitKind::Porep);
    timed("record matrices", started);
    let started = Instant::now();
    let secrets = Secrets::from_bytes(&std::array::from_fn(|index| (index * 7 + 1) as u8));
    let setup = Setup::new(&matrices, secrets, &workers()).unwrap();
    timed("setup, numbers", started);
    let summary = store.write_development(POREP, |sink| setup.send_to(sink, &workers(), &|_, _| {})).unwrap();
    timed("setup, all", started);
    assert_eq!(summary.bytes, 1_114_707_768);
    drop(setup);
    let started = Instant::now();
    let key = store.proving_key(POREP, &workers(), &|_, _| {}).unwrap();
    timed("convert", started);

    let started = Instant::now();
    let prover = prover(key, matrices).unwrap();
    timed("prepare prover", started);
    let circuit = common::fixture_a_circuit();
    let started = Instant::now();
    let assignment = assign(&circuit, &workers()).unwrap();
    timed("witness", started);
    prover.prove(&assignment, &blinding(), &workers()).unwrap();
    timed("witness and proof", started);
}
