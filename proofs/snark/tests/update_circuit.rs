//! The circuit of a sector update: the reference's, term for term, and satisfied by real updates.

use cairn_compute::Workers;
use cairn_fixtures::{PorepVector, labelled_data, porep_vector, r1cs_vectors};
use cairn_protocol::{PorepId, ProverId, SealProof, SectorNumber, SectorSize, Ticket};
use cairn_sector::seal::{self, PieceSource};
use cairn_sector::update::{self, HSelect, UpdateProof, UpdateStatement};
use cairn_sector::{SectorFiles, SectorIdentity};
use cairn_snark::circuit::{CircuitKind, UpdateCircuit};
use cairn_snark::engine::Engine;
use cairn_snark::groth16::{Blinding, Circuit, KeyStore, Secrets, Trust};
use cairn_snark::mock::MockConstraintSystem;
use cairn_snark::proving::{CircuitProver, make_development_params};
use cairn_snark::terms::Column;
use cairn_snark::verifying::{Claim, StatementRejection, Verifier};
use cairn_snark::{CircuitId, Scalar, SegmentedCircuit, assign};

const FIXTURE_A: &str = "2KiB-v1_1-fixture-a.json";

/// Auxiliary variables per changed one.
const SAMPLE_EVERY: u64 = 97;

fn workers() -> Workers {
    Workers::new(2).unwrap()
}

fn add_pieces(files: &SectorFiles, size: SectorSize, pieces: &[Vec<u8>]) {
    let mut readers: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    let mut sources: Vec<PieceSource<'_>> =
        readers.iter_mut().map(|reader| PieceSource { payload_bytes: reader.len() as u64, reader }).collect();
    seal::add_pieces(files, size, &mut sources, &|_, _| {}).unwrap();
}

/// Seals the vector's sector, updates it with the vector's new data, and proves that.
fn updated(vector: &PorepVector) -> (UpdateStatement, UpdateProof) {
    let size = SectorSize::from_bytes(vector.sector_size).unwrap();
    let identity = SectorIdentity {
        sector_size: size,
        seal_proof: vector.proof_variant.parse::<SealProof>().unwrap(),
        porep_id: PorepId(vector.porep_id),
        prover_id: ProverId(vector.prover_id),
        sector_number: SectorNumber(vector.sector_number),
        ticket: Ticket(vector.ticket),
    };
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (SectorFiles::new(dir.path()), SectorFiles::new(dir.path().join("update")));
    let pieces = vector.pieces.iter().map(|piece| labelled_data(&piece.label, piece.unpadded_bytes as usize));
    add_pieces(&old, size, &pieces.collect::<Vec<_>>());
    seal::seal(&old, &identity, &workers(), &|_, _, _| {}).unwrap();
    let expected = vector.update.as_ref().unwrap();
    add_pieces(&new, size, &[labelled_data(&expected.label, size.unpadded().0 as usize)]);
    let h_select = HSelect::default_of(size);
    let statement = update::update(&old, &new, size, h_select, &workers(), &|_, _| {}).unwrap();
    assert_eq!(statement.comm_r_new.0, expected.comm_r_new);
    let proof = update::prove(&old, &new, &statement, &workers()).unwrap();
    (statement, proof)
}

fn nodes(inputs: impl Iterator<Item = Scalar>) -> Vec<[u8; 32]> {
    inputs.map(Scalar::to_node).collect()
}

fn compare(sector_size: SectorSize) {
    let name = format!("update-{}", sector_size.bytes());
    let vector = r1cs_vectors().into_iter().find(|vector| vector.circuit == name).unwrap();
    let info = CircuitId { kind: CircuitKind::Update, sector_size }.info().unwrap();
    let differing = vector.chunk_digests.iter().zip(&info.chunk_digests).position(|(expected, got)| expected != got);
    assert_eq!(differing, None, "{name}: first chunk of constraints that differs");
    assert_eq!(info.num_inputs_with_one, vector.num_inputs_with_one, "{name}: inputs");
    assert_eq!(info.num_aux, vector.num_aux, "{name}: auxiliary variables");
    assert_eq!(info.num_constraints, vector.num_constraints, "{name}: constraints");
    assert_eq!(info.nnz, vector.nnz, "{name}: terms");
    assert_eq!(info.r1cs_sha256, vector.r1cs_sha256, "{name}: digest");
}

#[test]
fn the_circuit_is_the_reference_s() {
    compare(SectorSize::KIB2);
    compare(SectorSize::KIB16);
}

#[test]
#[ignore = "slow: 10 million constraints"]
fn the_circuit_of_8_mib_is_the_reference_s() {
    compare(SectorSize::MIB8);
}

#[test]
fn the_circuit_accepts_its_proof_and_notices_every_change() {
    let (statement, proof) = updated(&porep_vector(FIXTURE_A));
    let circuits = UpdateCircuit::of_proof(&statement, &proof).unwrap();
    assert_eq!(circuits.len(), 1);
    let mut cs = MockConstraintSystem::sampling(SAMPLE_EVERY);
    circuits[0].synthesize(&mut cs).unwrap();
    assert_eq!(cs.unsatisfied(), None);
    assert_eq!(cs.constraints(), 1_705_039);
    assert_eq!(nodes(cs.inputs()), update::public_inputs(&statement)[0]);
    assert_eq!(cs.sampled(), 4 + 1_703_569usize.div_ceil(SAMPLE_EVERY as usize));
    assert_eq!(cs.unnoticed(), [].into());

    let assignment = assign(&circuits[0], &workers()).unwrap();
    assert_eq!((assignment.inputs.len(), assignment.aux.len()), (5, 1_703_569));
    assert_eq!(nodes(assignment.inputs[1..].iter().copied().map(Scalar)), update::public_inputs(&statement)[0]);
    assert!(assign(&UpdateCircuit::blank(statement.sector_size), &workers()).is_err());
}

#[test]
fn the_first_broken_constraint_is_named() {
    let (statement, proof) = updated(&porep_vector(FIXTURE_A));
    let circuit = UpdateCircuit::of_proof(&statement, &proof).unwrap().remove(0);
    for (column, path) in [
        (Column::input(1), "k_and_h_select_input/enforce input is correct"),
        (Column::aux(322), "comm_r_old_calc/hash/round 0/s-box 0/x^2 constraint"),
        (Column::aux(325), "apex/apex row 0 node 0/left bits/unpacking constraint"),
        (Column::aux(319_164), "challenge_0/leaf_d_new * rho/multiplication constraint"),
    ] {
        let mut cs = MockConstraintSystem::sampling(u64::MAX);
        cs.plant(column, Scalar::from(12_345));
        circuit.synthesize(&mut cs).unwrap();
        assert_eq!(cs.unsatisfied().map(|found| found.path.as_str()), Some(path), "{column}");
    }
}

fn every_partition_is_satisfied(file: &str) {
    let (statement, proof) = updated(&porep_vector(file));
    let circuits = UpdateCircuit::of_proof(&statement, &proof).unwrap();
    let inputs = update::public_inputs(&statement);
    assert_eq!(circuits.len(), inputs.len());
    for (circuit, inputs) in circuits.iter().zip(inputs).rev() {
        let mut cs = MockConstraintSystem::sampling(1 << 20);
        circuit.synthesize(&mut cs).unwrap();
        assert_eq!(cs.unsatisfied(), None);
        assert_eq!(cs.unnoticed(), [].into());
        assert_eq!(nodes(cs.inputs()), inputs);
    }
}

#[test]
#[ignore = "slow: two partitions of 6 million constraints, a sub tree"]
fn both_partitions_of_16_kib() {
    every_partition_is_satisfied("16KiB-v1_1-fixture-d.json");
}

#[test]
#[ignore = "slow: two partitions of 6 million constraints, a sub and a top tree"]
fn both_partitions_of_32_kib() {
    every_partition_is_satisfied("32KiB-v1_1-fixture-e.json");
}

#[test]
#[ignore = "slow: four partitions of 10 million constraints, h = 10"]
fn all_partitions_of_8_mib() {
    every_partition_is_satisfied("8MiB-v1_1-fixture-b.json");
}

/// What a ledger is sent and checks: parameters of our own, a proof, and statements that it is not for.
#[test]
#[ignore = "slow: sets up and proves 1.7 million constraints"]
fn an_update_is_proven_in_192_bytes_and_verified() {
    let (statement, plain) = updated(&porep_vector(FIXTURE_A));
    let (folder, workers) = (tempfile::tempdir().unwrap(), workers());
    let (store, circuit) =
        (KeyStore::new(folder.path(), folder.path(), Trust::Development), Circuit::Update(statement.sector_size));
    let secrets = Secrets::from_bytes(&std::array::from_fn(|index| (index * 7 + 1) as u8));
    make_development_params(&store, circuit, secrets, &workers, &|_, _| {}).unwrap();
    let prover = CircuitProver::open(&store, circuit, Engine::Auto, &workers, &|_, _| {}).unwrap();
    let blinding = &mut || Blinding::from_bytes(&[9; 128]);
    let proof = prover.prove_update(&statement, &plain, blinding, &workers).unwrap();
    assert_eq!(proof.len(), 192);
    let verifier = Verifier::open(&store, [circuit], &workers).unwrap();
    assert_eq!(verifier.verify(&Claim::Update { statement: &statement, proof: &proof }), Ok(()));
    let change = |change: fn(&mut UpdateStatement)| {
        let mut other = statement;
        change(&mut other);
        other
    };
    let others = [
        change(|s| s.comm_r_old.0[0] ^= 1),
        change(|s| s.comm_d_new.0[0] ^= 1),
        change(|s| s.comm_r_new.0[0] ^= 1),
        change(|s| s.h_select = HSelect::try_from(1).unwrap()),
    ];
    let claims: Vec<_> = others.iter().map(|statement| Claim::Update { statement, proof: &proof }).collect();
    let verdicts = verifier.verify_batch(&claims, [1; 32], &workers);
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Err(StatementRejection::Proof { partition: 0, .. }))));
}

#[test]
fn claims_of_updates_need_their_key_and_a_proof_for_each_partition() {
    let size = SectorSize::KIB2;
    let (comm_r_old, comm_d_new, comm_r_new) = Default::default();
    let h_select = HSelect::default_of(size);
    let statement = UpdateStatement { sector_size: size, h_select, comm_r_old, comm_d_new, comm_r_new };
    let claim = Claim::Update { statement: &statement, proof: &[0; 192] };
    let refused = Verifier::default().verify(&claim).unwrap_err();
    assert_eq!(refused, StatementRejection::NoKey(Circuit::Update(size)));
}

#[test]
fn a_proof_of_something_else_is_no_witness() {
    let (mut statement, proof) = updated(&porep_vector(FIXTURE_A));
    statement.comm_r_old.0[0] ^= 1;
    assert!(UpdateCircuit::of_proof(&statement, &proof).is_err());
}
