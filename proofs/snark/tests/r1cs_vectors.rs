//! Our circuits are the reference's: every constraint, term for term, in order.

use cairn_fixtures::{R1csVector, r1cs_vectors};
use cairn_protocol::SectorSize;
use cairn_snark::{CircuitId, CircuitInfo, CircuitKind};

fn id(vector: &R1csVector) -> Option<CircuitId> {
    let (kind, bytes) = vector.circuit.rsplit_once('-').unwrap();
    let sector_size = SectorSize::from_bytes(bytes.parse().unwrap()).unwrap();
    Some(CircuitId { kind: kind.parse::<CircuitKind>().ok()?, sector_size })
}

/// A difference is named by the first chunk of constraints that differs, and the last mark before it.
fn compare(vector: &R1csVector, info: &CircuitInfo) {
    let name = vector.file_name;
    let differing = vector.chunk_digests.iter().zip(&info.chunk_digests).position(|(expected, got)| expected != got);
    if let Some(chunk) = differing {
        let first = chunk as u64 * vector.chunk;
        let before = vector.marks.iter().rev().find(|(constraint, ..)| *constraint <= first);
        panic!("{name}: first difference in constraints {first}.. ; the last mark before them is {before:?}");
    }
    assert_eq!(info.num_inputs_with_one, vector.num_inputs_with_one, "{name}: inputs");
    assert_eq!(info.num_aux, vector.num_aux, "{name}: auxiliary variables");
    assert_eq!(info.num_constraints, vector.num_constraints, "{name}: constraints");
    assert_eq!(info.nnz, vector.nnz, "{name}: terms");
    assert_eq!(info.r1cs_sha256, vector.r1cs_sha256, "{name}: digest");
    compare_inputs(vector, info);
}

/// Every input is made at the same constraint.
fn compare_inputs(vector: &R1csVector, info: &CircuitInfo) {
    let inputs = |marks: &[(u64, u64, String)]| {
        let inputs = marks.iter().filter(|(.., name)| name.starts_with("input "));
        inputs.map(|(constraint, aux, _)| (*constraint, *aux)).collect::<Vec<_>>()
    };
    let (expected, got) = (inputs(&vector.marks), inputs(&info.marks));
    let common = expected.len().min(got.len());
    assert_eq!(expected[..common], got[..common], "{}: places of inputs", vector.file_name);
}

fn compare_all(kind: CircuitKind, sizes: impl Fn(SectorSize) -> bool) -> usize {
    let mut compared = 0;
    for vector in r1cs_vectors() {
        if let Some(id) = id(&vector).filter(|id| id.kind == kind && sizes(id.sector_size)) {
            compare(&vector, &id.info().unwrap());
            compared += 1;
        }
    }
    compared
}

#[test]
fn porep_circuits() {
    assert_eq!(compare_all(CircuitKind::Porep, |size| size < SectorSize::GIB32), 5);
}

#[test]
fn winning_post_circuits() {
    assert_eq!(compare_all(CircuitKind::WinningPost, |_| true), 3);
}

#[test]
fn window_post_circuits() {
    assert_eq!(compare_all(CircuitKind::WindowPost, |size| size < SectorSize::GIB32), 3);
}

#[test]
#[ignore = "slow: 130 million constraints, minutes"]
fn porep_circuit_of_32_gib() {
    assert_eq!(compare_all(CircuitKind::Porep, |size| size == SectorSize::GIB32), 1);
}

#[test]
#[ignore = "slow: 125 million constraints, minutes"]
fn window_post_circuit_of_32_gib() {
    assert_eq!(compare_all(CircuitKind::WindowPost, |size| size == SectorSize::GIB32), 1);
}
