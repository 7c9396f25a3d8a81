//! Recorded matrices times a real assignment: satisfied, and the same densities as the published ones.

mod common;

use cairn_compute::{Fr, Workers};
use cairn_protocol::SectorSize;
use cairn_snark::r1cs::Matrices;
use cairn_snark::{CircuitId, CircuitKind, assign};
use common::{fixture_a_circuit, post_circuits};

fn id(kind: CircuitKind) -> CircuitId {
    CircuitId { kind, sector_size: SectorSize::KIB2 }
}

#[test]
fn the_porep_matrices_accept_the_witness_and_no_other() {
    let workers = Workers::new(2).unwrap();
    let matrices = Matrices::record_in_memory(id(CircuitKind::Porep), &workers).unwrap();
    assert!(matrices.stored_bytes() < 60_000_000, "{} bytes", matrices.stored_bytes());
    let mut assignment = assign(&fixture_a_circuit(), &workers).unwrap();
    let evaluations = matrices.evaluate(&assignment, &workers).unwrap();
    assert_eq!(evaluations.a.len(), 2_687_921 + 40);
    assert_eq!(evaluations.first_unsatisfied(), None);

    let densities = matrices.densities(&workers).unwrap();
    let count = |found: &[bool]| found.iter().filter(|found| **found).count();
    // The counts of `spec/proofs.md` 1.11: they decide how many points a parameter file holds.
    assert_eq!((count(&densities.a_aux), count(&densities.b_aux)), (2_674_908, 685_521));
    assert_eq!(densities.b_inputs.iter().position(|found| *found), Some(0));
    assert_eq!(count(&densities.b_inputs), 1);

    assignment.aux[1_000_000] += Fr::from(1u64);
    assert!(matrices.evaluate(&assignment, &workers).unwrap().first_unsatisfied().is_some());
}

#[test]
fn the_post_matrices_accept_their_witnesses() {
    let workers = Workers::new(2).unwrap();
    for (circuit, kind) in post_circuits().iter().zip([CircuitKind::WinningPost, CircuitKind::WindowPost]) {
        let matrices = Matrices::record_in_memory(id(kind), &workers).unwrap();
        let assignment = assign(circuit, &workers).unwrap();
        assert_eq!(matrices.evaluate(&assignment, &workers).unwrap().first_unsatisfied(), None);
    }
}
