//! Circuits accept the golden plain proofs, with the right public inputs, and nothing that differs in one variable.

mod common;

use cairn_compute::Workers;
use cairn_fixtures::post_vectors;
use cairn_sector::porep;
use cairn_snark::circuit::{PorepCircuit, PostCircuit};
use cairn_snark::mock::MockConstraintSystem;
use cairn_snark::terms::Column;
use cairn_snark::{Scalar, SegmentedCircuit, assign};
use common::{fixture_a, fixture_a_circuit, post_circuits, posts};

/// Auxiliary variables per changed one in the large circuit.
const SAMPLE_EVERY: u64 = 97;

fn nodes(inputs: impl Iterator<Item = Scalar>) -> Vec<[u8; 32]> {
    inputs.map(Scalar::to_node).collect()
}

/// Public inputs of the PoSt circuits: CommR before the challenges of every sector, and before every single challenge of
/// a winning proof.
fn post_inputs() -> Vec<Vec<[u8; 32]>> {
    let of_vector = |vector: cairn_fixtures::PostVector| {
        let together = if vector.kind == "winning" { 1 } else { vector.challenge_count };
        let mut inputs = vec![];
        for sector in &vector.sectors {
            for leaves in sector.challenges.chunks(together) {
                inputs.push(sector.comm_r);
                inputs.extend(leaves.iter().map(|leaf| Scalar::from(*leaf).to_node()));
            }
        }
        inputs
    };
    post_vectors().into_iter().map(of_vector).collect()
}

#[test]
fn the_porep_circuit_accepts_its_proof_and_notices_every_change() {
    let (statement, _) = fixture_a();
    let mut cs = MockConstraintSystem::sampling(SAMPLE_EVERY);
    fixture_a_circuit().synthesize(&mut cs).unwrap();
    assert_eq!(cs.unsatisfied(), None);
    assert_eq!(cs.constraints(), 2_687_921);
    assert_eq!(nodes(cs.inputs()), porep::public_inputs(&statement)[0]);
    assert_eq!(cs.sampled(), 39 + 2_685_673usize.div_ceil(SAMPLE_EVERY as usize));
    assert_eq!(cs.unnoticed(), [].into());
    assert_eq!(cs.noticed_at(Column::input(2)), Some("comm_d_input/enforce input is correct"));
}

#[test]
fn post_circuits_accept_their_proofs_and_notice_every_change() {
    for (circuit, inputs) in post_circuits().iter().zip(post_inputs()) {
        let mut cs = MockConstraintSystem::sampling(1);
        circuit.synthesize(&mut cs).unwrap();
        assert_eq!(cs.unsatisfied(), None);
        assert_eq!(nodes(cs.inputs()), inputs);
        assert_eq!(cs.unnoticed(), [].into());
    }
}

/// A short partition repeats its last sector, in the circuit as in the public inputs.
#[test]
fn a_window_circuit_takes_fewer_sectors() {
    let (mut statement, mut proof) = posts().remove(1);
    statement.sectors.truncate(1);
    proof.sectors.truncate(1);
    let mut cs = MockConstraintSystem::sampling(1_000);
    PostCircuit::of_proof(&statement, &proof).unwrap().synthesize(&mut cs).unwrap();
    assert_eq!(cs.unsatisfied(), None);
    let inputs = post_inputs().remove(1);
    assert_eq!(nodes(cs.inputs()), [&inputs[..11], &inputs[..11]].concat());
}

#[test]
fn the_first_broken_constraint_is_named() {
    let circuit = &post_circuits()[1];
    for (column, path) in [
        (Column::input(1), "sector_0/comm_r_input/enforce input is correct"),
        (Column::aux(1), "sector_0/H_comm_c_comm_r_last/round 0/s-box 0/x^2 constraint"),
        (Column::aux(314), "sector_0/challenge_inclusion_0/level 0/children/child 1 choice 0/choice"),
    ] {
        let mut cs = MockConstraintSystem::sampling(u64::MAX);
        cs.plant(column, Scalar::from(12_345));
        circuit.synthesize(&mut cs).unwrap();
        assert_eq!(cs.unsatisfied().map(|found| found.path.as_str()), Some(path), "{column}");
    }
}

#[test]
fn a_proof_of_something_else_is_no_witness() {
    let (mut statement, proof) = fixture_a();
    statement.seed.0[0] ^= 1;
    assert!(PorepCircuit::of_proof(&statement, &proof).is_err());
    let (mut statement, proof) = posts().remove(0);
    statement.randomness.0[0] ^= 1;
    assert!(PostCircuit::of_proof(&statement, &proof).is_err());
}

/// Segments put together are the whole: the assignment that a prover gets has the right values in the right places.
#[test]
fn assignments_are_those_of_the_whole_circuit() {
    let workers = Workers::new(2).unwrap();
    let circuit = fixture_a_circuit();
    let assignment = assign(&circuit, &workers).unwrap();
    let public: Vec<_> = assignment.inputs[1..].iter().map(|input| Scalar(*input).to_node()).collect();
    assert_eq!(public, porep::public_inputs(&fixture_a().0)[0]);
    assert_eq!((assignment.inputs.len(), assignment.aux.len()), (40, 2_685_673));
    let one_thread = assign(&circuit, &Workers::new(1).unwrap()).unwrap();
    assert!(assignment == one_thread);
    assert!(assign(&PorepCircuit::blank(cairn_protocol::SectorSize::KIB2), &workers).is_err());
}
