//! Sector updates against the reference: the new replica and its commitments, challenges, and every changed field.

mod common;

use cairn_compute::Workers;
use cairn_fixtures::{PorepVector, labelled_data};
use cairn_protocol::{CommC, CommR, CommRLast, PostRandomness, ProverId, SectorNumber, SectorSize};
use cairn_sector::post::{self, PostKind, PostSector, PostStatement};
use cairn_sector::seal::{self, PieceSource};
use cairn_sector::update::{
    self, HSelect, UpdateEncoding, UpdateProof, UpdateRejection, UpdateStatement, public_inputs,
};
use cairn_sector::{SealError, SectorFiles};
use common::{Change, changes, identity, payloads, seal_vector};
use sha2::{Digest, Sha256};

const FIXTURE_A: &str = "2KiB-v1_1-fixture-a.json";

fn workers() -> Workers {
    Workers::new(2).unwrap()
}

fn size(vector: &PorepVector) -> SectorSize {
    SectorSize::from_bytes(vector.sector_size).unwrap()
}

/// The data of the vector's update, which fills the sector.
fn new_data(vector: &PorepVector) -> Vec<u8> {
    let label = &vector.update.as_ref().unwrap().label;
    labelled_data(label, size(vector).unpadded().0 as usize)
}

/// Updates a sealed sector as the vector says, in a folder below it.
fn update_vector(vector: &PorepVector, old: &SectorFiles) -> (SectorFiles, UpdateStatement) {
    let new = SectorFiles::new(old.dir().join("update"));
    let data = new_data(vector);
    let mut reader = data.as_slice();
    let mut pieces = [PieceSource { payload_bytes: data.len() as u64, reader: &mut reader }];
    seal::add_pieces(&new, size(vector), &mut pieces, &|_, _| {}).unwrap();
    let h_select = HSelect::default_of(size(vector));
    let statement = update::update(old, &new, size(vector), h_select, &workers(), &|_, _| {}).unwrap();
    (new, statement)
}

/// Updates a sealed sector and compares everything with the vector; gives the new sector and its proof.
fn compare(vector: &PorepVector, old: &SectorFiles) -> (SectorFiles, UpdateStatement, UpdateProof) {
    let what = vector.file_name;
    let expected = vector.update.as_ref().unwrap();
    let (new, statement) = update_vector(vector, old);
    assert_eq!(statement.comm_r_old.0, vector.comm_r, "{what}");
    assert_eq!(statement.comm_d_new.0, expected.comm_d_new, "{what}");
    let sealed: [u8; 32] = Sha256::digest(std::fs::read(new.sealed()).unwrap()).into();
    assert_eq!(sealed, expected.new_sealed_sha256, "{what}");
    let p_aux = seal::read_p_aux(&new).unwrap();
    assert_eq!(p_aux, (CommC(vector.comm_c), CommRLast(expected.comm_r_last_new)), "{what}");
    assert_eq!(statement.comm_r_new.0, expected.comm_r_new, "{what}");

    read_back(old, &new, &statement, &new_data(vector));
    let proof = update::prove(old, &new, &statement, &workers()).unwrap();
    assert_eq!(update::verify(&statement, &proof), Ok(()), "{what}");
    assert_eq!(UpdateProof::from_bytes(&proof.to_bytes()).as_ref(), Ok(&proof));
    (new, statement, proof)
}

/// Ranges at the edges of quads and of the sector.
fn read_back(old: &SectorFiles, new: &SectorFiles, statement: &UpdateStatement, data: &[u8]) {
    let end = data.len() as u64;
    let read = |offset: u64, length: u64| {
        let mut out = vec![];
        let encoding = UpdateEncoding::from(statement);
        update::decode_range(old, new, &encoding, offset, length, &mut out, &workers()).map(|()| out)
    };
    assert!(read(0, end).unwrap() == data);
    for (offset, length) in [(0, 1), (126, 2), (127, 127), (end - 1, 1), (end, 0), (300, 1000)] {
        assert_eq!(read(offset, length).unwrap(), data[offset as usize..(offset + length) as usize]);
    }
    assert!(matches!(read(end, 1), Err(SealError::Range { .. })));
    assert!(matches!(read(u64::MAX, 2), Err(SealError::Range { .. })));
}

#[test]
fn every_small_vector() {
    let mut compared = 0;
    for vector in cairn_fixtures::porep_vectors().iter().filter(|vector| vector.sector_size <= 32 << 10) {
        if vector.update.is_some() {
            let (_dir, old) = seal_vector(vector);
            compare(vector, &old);
            compared += 1;
        }
    }
    assert_eq!(compared, 5);
}

/// Sealed without tree C, which an update never reads: its root is in p_aux.
#[test]
fn eight_mib() {
    let vector = cairn_fixtures::porep_vector("8MiB-v1_1-fixture-b.json");
    let identity = identity(&vector);
    let dir = tempfile::tempdir().unwrap();
    let old = SectorFiles::new(dir.path());
    let payloads = payloads(&vector);
    let mut readers: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let mut pieces: Vec<PieceSource<'_>> =
        readers.iter_mut().map(|reader| PieceSource { payload_bytes: reader.len() as u64, reader }).collect();
    seal::add_pieces(&old, identity.sector_size, &mut pieces, &|_, _| {}).unwrap();
    let comm_d = seal::build_tree_d(&old, identity.sector_size, &workers(), &|_, _| {}).unwrap();
    for layer in 1..=identity.params().layers {
        seal::label_layer(&old, &identity, &comm_d, layer, &workers(), &|_, _| {}).unwrap();
    }
    let comm_r_last = seal::build_replica(&old, &identity.params(), &workers(), &|_, _| {}).unwrap();
    seal::finish(&old, &CommC(vector.comm_c), &comm_r_last).unwrap();
    let (new, statement, proof) = compare(&vector, &old);
    other_choices_of_h(&old, &new, &statement, &proof, &new_data(&vector));
}

/// Every choice of h makes another replica, which is read back with that choice and which no proof for another shows.
fn other_choices_of_h(
    old: &SectorFiles,
    new: &SectorFiles,
    statement: &UpdateStatement,
    proof: &UpdateProof,
    data: &[u8],
) {
    let before = std::fs::read(new.sealed()).unwrap();
    for choice in (0..6).filter(|choice| *choice != u8::from(statement.h_select)) {
        let other = UpdateStatement { h_select: HSelect::try_from(choice).unwrap(), ..*statement };
        let rejection = update::verify(&other, proof).unwrap_err().to_string();
        assert!(rejection.contains("encoding"), "{rejection}");
        update::encode(old, new, &UpdateEncoding::from(&other), &workers(), &|_, _| {}).unwrap();
        assert!(std::fs::read(new.sealed()).unwrap() != before);
        read_back(old, new, &other, data);
    }
}

#[test]
fn public_inputs_name_partition_and_choice() {
    let statement = UpdateStatement {
        sector_size: SectorSize::MIB8,
        h_select: HSelect::default_of(SectorSize::MIB8),
        comm_r_old: CommR([1; 32]),
        comm_d_new: [2; 32].into(),
        comm_r_new: CommR([3; 32]),
    };
    let inputs = public_inputs(&statement);
    assert_eq!(inputs.len(), 4);
    for (partition, inputs) in inputs.iter().enumerate() {
        let mut first = [0u8; 32];
        first[0] = partition as u8 | 8 << 2;
        assert_eq!(*inputs, [first, [1; 32], [2; 32], [3; 32]]);
    }
}

/// All fields of a small proof, and every seventh of one with two partitions and tall trees.
#[test]
fn every_changed_field_is_refused_for_the_right_reason() {
    for (file, every) in [(FIXTURE_A, 1), ("16KiB-v1_1-fixture-d.json", 7)] {
        let vector = cairn_fixtures::porep_vector(file);
        let (_dir, old) = seal_vector(&vector);
        let (new, statement) = update_vector(&vector, &old);
        let proof = serde_json::to_value(update::prove(&old, &new, &statement, &workers()).unwrap()).unwrap();
        let mut tried = 0;
        for Change { path, value } in changes(&proof).into_iter().step_by(every) {
            let proof = serde_json::from_value::<UpdateProof>(value).expect("a changed value still parses");
            let rejection = update::verify(&statement, &proof).expect_err(&path);
            assert!(names_the_change(&path, &rejection), "{path}: {rejection}");
            tried += 1;
        }
        assert!(tried > 300, "{file}: only {tried} fields");
    }
}

/// Path: `/partition/{comm_c, apex_leaves, challenge_proofs}/...`. The roots of a partition's first challenge are what
/// its CommR is checked against.
fn names_the_change(path: &str, rejection: &UpdateRejection) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let here = |partition: usize| parts[0] == partition.to_string();
    match (rejection, parts.len()) {
        (UpdateRejection::Partitions { .. }, 0) => true,
        (UpdateRejection::ApexLeaves { partition, .. }, 2) => here(*partition) && parts[1] == "apex_leaves",
        (UpdateRejection::Challenges { partition, .. }, 2) => here(*partition) && parts[1] == "challenge_proofs",
        (UpdateRejection::ApexRoot { partition, .. }, 3) => here(*partition) && parts[1] == "apex_leaves",
        (UpdateRejection::CommR { partition, replica, .. } | UpdateRejection::Roots { partition, replica, .. }, _) => {
            let root = format!("/{partition}/challenge_proofs/0/proof_r_{replica}/data/");
            here(*partition) && (parts[1] == "comm_c" || path.starts_with(&root) && path.ends_with("/root"))
        }
        (UpdateRejection::Opening { partition, position, opening, .. }, _) => {
            let opening = match opening.to_string().as_str() {
                "old replica in tree R-last" => "proof_r_old",
                "new replica in tree R-last" => "proof_r_new",
                "new data in tree D" => "proof_d_new",
                _ => return false,
            };
            here(*partition) && parts[2] == position.to_string() && parts[3] == opening
        }
        _ => false,
    }
}

#[test]
fn a_changed_statement_is_refused() {
    let vector = cairn_fixtures::porep_vector(FIXTURE_A);
    let (_dir, old) = seal_vector(&vector);
    let (new, good) = update_vector(&vector, &old);
    let proof = update::prove(&old, &new, &good, &workers()).unwrap();
    let mut changed = [good; 6];
    changed[0].comm_r_old.0[3] ^= 1;
    changed[1].comm_d_new.0[3] ^= 1;
    changed[2].comm_r_new.0[3] ^= 1;
    changed[3].comm_r_old.0 = [0xff; 32];
    changed[4].comm_d_new.0 = [0xff; 32];
    changed[5].comm_r_new.0 = [0xff; 32];
    for (index, statement) in changed.iter().enumerate() {
        let rejection = update::verify(statement, &proof).unwrap_err();
        assert_eq!(
            matches!(rejection, UpdateRejection::Statement { .. }),
            index >= 3,
            "statement {index}: {rejection}"
        );
        assert!(update::prove(&old, &new, statement, &workers()).is_err(), "statement {index}");
    }
}

/// The new folder is a sector like any other to a proof of spacetime, once the old one is gone.
#[test]
fn an_updated_sector_proves_spacetime() {
    let vector = cairn_fixtures::porep_vector(FIXTURE_A);
    let (_dir, old) = seal_vector(&vector);
    let (new, updated) = update_vector(&vector, &old);
    for path in [old.sealed(), old.p_aux(), new.staged(), new.tree_d()] {
        std::fs::remove_file(path).unwrap();
    }
    let statement = PostStatement {
        kind: PostKind::Window,
        sector_size: updated.sector_size,
        prover_id: ProverId(vector.prover_id),
        randomness: PostRandomness([4; 32]),
        sectors: vec![PostSector { sector_number: SectorNumber(vector.sector_number), comm_r: updated.comm_r_new }],
    };
    let proof = post::prove(&statement, &[new], &workers()).unwrap();
    assert_eq!(post::verify(&statement, &proof), Ok(()));
}

/// Data and replica that do not belong together, though each is what its commitment says.
#[test]
fn a_wrong_encoding_is_refused() {
    let vector = cairn_fixtures::porep_vector(FIXTURE_A);
    let (_dir, old) = seal_vector(&vector);
    let (new, mut statement) = update_vector(&vector, &old);
    let other = UpdateEncoding { comm_r_old: CommR([9; 32]), ..UpdateEncoding::from(&statement) };
    update::encode(&old, &new, &other, &workers(), &|_, _| {}).unwrap();
    let params = statement.params().sector;
    let comm_r_last = seal::build_tree_r_last(&new, &params, &workers(), &|_, _| {}).unwrap();
    statement.comm_r_new = seal::finish(&new, &CommC(vector.comm_c), &comm_r_last).unwrap();
    let error = update::prove(&old, &new, &statement, &workers()).unwrap_err().to_string();
    assert!(error.contains("do not prove the statement") && error.contains("encoding"), "{error}");
}

#[test]
fn damaged_files_are_named() {
    let vector = cairn_fixtures::porep_vector(FIXTURE_A);
    let (_dir, old) = seal_vector(&vector);
    let (new, statement) = update_vector(&vector, &old);
    let again = || {
        update::update(&old, &new, statement.sector_size, statement.h_select, &workers(), &|_, _| {})
            .map_err(|error| error.to_string())
    };
    assert_eq!(again(), Ok(statement), "an update may be run again");
    for (path, byte) in [(old.p_aux(), 32), (old.sealed(), 64), (new.staged(), 96)] {
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[byte..byte + 32].fill(0xff);
        std::fs::write(&path, &bad).unwrap();
        let error = again().unwrap_err();
        assert!(error.contains(&format!("{}, byte {byte}: expected a field element", path.display())), "{error}");
        std::fs::write(&path, &good[1..]).unwrap();
        let error = again().unwrap_err();
        assert!(error.contains(&format!("{}: expected {} bytes", path.display(), good.len())), "{error}");
        std::fs::write(&path, &good).unwrap();
    }
}
