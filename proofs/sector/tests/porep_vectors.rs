//! Proofs of replication against the reference: public inputs of every seal, at real sizes too; the reference's own
//! vanilla proofs, which ours must equal; and every field of a proof, changed, which must be refused for the right
//! reason.

mod common;

use cairn_compute::Workers;
use cairn_protocol::{CommD, CommR, PorepId, ProverId, SealProof, SectorNumber, SectorSize, Seed, Ticket};
use cairn_sector::SectorIdentity;
use cairn_sector::porep::{self, PorepProof, PorepRejection, PorepStatement};
use common::{Change, changes, seal_vector, statement};
use sha2::{Digest, Sha256};

const FIXTURE_A: &str = "2KiB-v1_1-fixture-a.json";

#[test]
fn public_inputs_of_every_seal() {
    for vector in cairn_fixtures::porep_vectors() {
        assert_eq!(porep::public_inputs(&statement(&vector)), vector.public_inputs, "{}", vector.file_name);
    }
}

#[test]
fn public_inputs_at_32_and_64_gib() {
    for vector in cairn_fixtures::public_inputs_real_sizes() {
        let sector_size = SectorSize::from_bytes(vector.sector_size).unwrap();
        let porep_id = PorepId(vector.porep_id);
        let seal_proof =
            SealProof::ALL.into_iter().find(|proof| proof.porep_id(sector_size) == porep_id).expect("a real number");
        let statement = PorepStatement {
            identity: SectorIdentity {
                sector_size,
                seal_proof,
                porep_id,
                prover_id: ProverId(vector.prover_id),
                sector_number: SectorNumber(vector.sector_number),
                ticket: Ticket(vector.ticket),
            },
            comm_d: CommD(vector.comm_d),
            comm_r: CommR(vector.comm_r),
            seed: Seed(vector.interactive_seed),
        };
        let inputs = porep::public_inputs(&statement);
        assert_eq!(inputs.len(), vector.partitions, "{sector_size} {seal_proof}");
        assert!(inputs.iter().all(|partition| partition.len() == vector.inputs_per_partition));
        let mut digest = Sha256::new();
        inputs.iter().flatten().for_each(|input| digest.update(input));
        assert_eq!(<[u8; 32]>::from(digest.finalize()), vector.all_inputs_sha256, "{sector_size} {seal_proof}");
    }
}

#[test]
fn our_proof_is_the_reference_s_and_both_verify() {
    let vector = cairn_fixtures::porep_vector(FIXTURE_A);
    let (_dir, files) = seal_vector(&vector);
    let statement = statement(&vector);
    let ours = porep::prove(&files, &statement, &Workers::new(2).unwrap()).unwrap();
    let theirs: PorepProof = serde_json::from_value(vector.vanilla_proofs.clone().unwrap()).unwrap();
    assert_eq!(ours, theirs);
    assert_eq!(serde_json::to_value(&ours).unwrap(), vector.vanilla_proofs.unwrap());
    assert_eq!(porep::verify(&statement, &theirs), Ok(()));
    assert_eq!(PorepProof::from_bytes(&ours.to_bytes()), Ok(ours));
}

#[test]
fn every_variant_and_tree_shape_proves_and_verifies() {
    let workers = Workers::new(2).unwrap();
    for vector in cairn_fixtures::porep_vectors().iter().filter(|vector| vector.sector_size <= 32 << 10) {
        let (_dir, files) = seal_vector(vector);
        let statement = statement(vector);
        let proof = porep::prove(&files, &statement, &workers).unwrap();
        let json = serde_json::to_string(&proof).unwrap();
        assert_eq!(serde_json::from_str::<PorepProof>(&json).unwrap(), proof, "{}", vector.file_name);
        assert_eq!(porep::verify(&statement, &proof), Ok(()), "{}", vector.file_name);
        let mut other = statement;
        other.comm_r = CommR([1; 32]);
        assert!(porep::verify(&other, &proof).is_err(), "{}", vector.file_name);
    }
}

#[test]
fn every_changed_field_is_refused_for_the_right_reason() {
    let vector = cairn_fixtures::porep_vector(FIXTURE_A);
    let statement = statement(&vector);
    let proof = vector.vanilla_proofs.unwrap();
    let mut tried = 0;
    for Change { path, value } in changes(&proof) {
        let Ok(proof) = serde_json::from_value::<PorepProof>(value) else {
            // Only a list of fixed length can make a proof unreadable, and none of a PoRep's lists is.
            panic!("{path}: a changed value must still parse");
        };
        let rejection = porep::verify(&statement, &proof).expect_err(&path);
        assert!(names_the_change(&path, &rejection), "{path}: {rejection}");
        tried += 1;
    }
    assert!(tried > 1000, "only {tried} fields");
}

/// Whether the rejection points at the part of the proof that was changed. The path reads
/// `/partition/challenge/field/...`. Two fields can be refused earlier than where they stand: the roots that CommR is
/// checked against, which the first challenge names, and labels in a parent's column, whose hash is checked first.
fn names_the_change(path: &str, rejection: &PorepRejection) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    if parts.is_empty() {
        return matches!(rejection, PorepRejection::Partitions { .. });
    }
    if parts.len() == 1 {
        return matches!(rejection, PorepRejection::Challenges { partition, .. } if partition.to_string() == parts[0]);
    }
    let first_roots =
        ["/0/0/comm_r_last_proof/data/Single/root", "/0/0/replica_column_proofs/c_x/inclusion_proof/data/Single/root"];
    if first_roots.contains(&path) {
        return matches!(rejection, PorepRejection::CommR { .. } | PorepRejection::Roots(_));
    }
    let PorepRejection::Opening { partition, position, opening, .. } = rejection else { return false };
    if partition.to_string() != parts[0] || position.to_string() != parts[1] {
        return false;
    }
    let opening = opening.to_string();
    let counted = |list: &str| parts.len() == 4 && parts[3] == list;
    match parts[2] {
        "comm_d_proofs" => opening == "data in tree D",
        "comm_r_last_proof" => opening == "replica in tree R-last",
        "encoding_proof" => opening == "encoding",
        "labeling_proofs" => match parts.get(3) {
            None => opening == "label of layer 1",
            Some(layer) => opening == format!("label of layer {}", layer.parse::<usize>().unwrap() + 1),
        },
        "replica_column_proofs" => match parts[3] {
            "c_x" => opening == "column of the node",
            "drg_parents" if counted("drg_parents") => opening == "column of base parent 0",
            "drg_parents" => opening == format!("column of base parent {}", parts[4]),
            "exp_parents" if counted("exp_parents") => opening == "column of expander parent 0",
            _ => opening == format!("column of expander parent {}", parts[4]),
        },
        _ => false,
    }
}

#[test]
fn a_changed_statement_is_refused() {
    let vector = cairn_fixtures::porep_vector(FIXTURE_A);
    let good = statement(&vector);
    let proof: PorepProof = serde_json::from_value(vector.vanilla_proofs.unwrap()).unwrap();
    let mut changed = vec![good; 7];
    changed[0].comm_d.0[3] ^= 1;
    changed[1].comm_r.0[3] ^= 1;
    changed[2].seed.0[3] ^= 1;
    changed[3].identity.ticket.0[3] ^= 1;
    changed[4].identity.prover_id.0[3] ^= 1;
    changed[5].identity.sector_number.0 ^= 1;
    changed[6].identity.porep_id.0[3] ^= 1;
    for (index, statement) in changed.iter().enumerate() {
        assert!(porep::verify(statement, &proof).is_err(), "statement {index}");
    }
}

#[test]
fn damaged_files_are_named_or_refused() {
    let vector = cairn_fixtures::porep_vector(FIXTURE_A);
    let (_dir, files) = seal_vector(&vector);
    let workers = Workers::new(1).unwrap();
    let layer = files.layer(2);
    let mut bytes = std::fs::read(&layer).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 1);
    std::fs::write(&layer, &bytes).unwrap();
    let error = porep::prove(&files, &statement(&vector), &workers).unwrap_err();
    assert!(error.to_string().contains("do not prove the statement"), "{error}");
    std::fs::write(&layer, &bytes[1..]).unwrap();
    let error = porep::prove(&files, &statement(&vector), &workers).unwrap_err().to_string();
    assert!(error.contains("sc-02-data-layer-2.dat: expected 2048 bytes, got 2047"), "{error}");
}
