//! Proofs of spacetime against the reference: challenges, its vanilla proofs, sector choice, and every changed field.

mod common;

use cairn_compute::Workers;
use cairn_fixtures::PostVector;
use cairn_protocol::{CommR, PostRandomness, ProverId, SectorNumber, SectorSize};
use cairn_sector::SectorFiles;
use cairn_sector::post::{self, PostKind, PostProof, PostRejection, PostSector, PostStatement, challenges};
use common::{Change, changes, seal_vector};
use serde_json::Value;
use tempfile::TempDir;

fn statement(vector: &PostVector) -> PostStatement {
    PostStatement {
        kind: serde_json::from_value(vector.kind.clone().into()).unwrap(),
        sector_size: SectorSize::from_bytes(vector.sector_size).unwrap(),
        prover_id: ProverId(vector.prover_id),
        randomness: PostRandomness(vector.randomness),
        sectors: vector
            .sectors
            .iter()
            .map(|sector| PostSector {
                sector_number: SectorNumber(sector.sector_number),
                comm_r: CommR(sector.comm_r),
            })
            .collect(),
    }
}

fn sealed(vector: &PostVector) -> Vec<(TempDir, SectorFiles)> {
    let file_name = |label: &str| format!("2KiB-v1_1-{label}.json");
    vector
        .sectors
        .iter()
        .map(|sector| seal_vector(&cairn_fixtures::porep_vector(&file_name(&sector.seed_label))))
        .collect()
}

#[test]
fn challenges_and_sector_choice() {
    for vector in cairn_fixtures::post_vectors() {
        let statement = statement(&vector);
        for sector in &vector.sectors {
            let leaves = challenges::leaves(&statement, SectorNumber(sector.sector_number));
            assert_eq!(leaves, sector.challenges, "{} {}", vector.kind, sector.sector_number);
        }
        for choice in &vector.winning_sector_choice {
            let index =
                challenges::winning_sector(&statement.randomness, &statement.prover_id, 0, choice.sector_set_len);
            assert_eq!(vec![index], choice.index);
        }
    }
}

#[test]
fn our_proofs_are_the_reference_s_and_both_verify() {
    for vector in cairn_fixtures::post_vectors() {
        let sectors = sealed(&vector);
        let files: Vec<SectorFiles> = sectors.iter().map(|(_, files)| files.clone()).collect();
        let statement = statement(&vector);
        let ours = post::prove(&statement, &files, &Workers::new(2).unwrap()).unwrap();
        assert_eq!(serde_json::to_value(&ours).unwrap(), Value::from(vector.vanilla_proofs.clone()), "{}", vector.kind);
        let theirs: PostProof = serde_json::from_value(vector.vanilla_proofs.clone().into()).unwrap();
        assert_eq!(post::verify(&statement, &theirs), Ok(()));
        assert_eq!(PostProof::from_bytes(&ours.to_bytes()), Ok(ours));
    }
}

#[test]
fn only_replica_and_upper_rows_are_needed() {
    let vector = cairn_fixtures::post_vectors().into_iter().find(|vector| vector.kind == "window").unwrap();
    let sectors = sealed(&vector);
    for (_, files) in &sectors {
        for layer in 1..=2 {
            std::fs::remove_file(files.layer(layer)).unwrap();
        }
        std::fs::remove_file(files.tree_d()).unwrap();
        std::fs::remove_file(files.cache_dir().join("sc-02-data-tree-c.dat")).unwrap();
        std::fs::remove_file(files.staged()).unwrap();
    }
    let files: Vec<SectorFiles> = sectors.iter().map(|(_, files)| files.clone()).collect();
    let workers = Workers::new(1).unwrap();
    assert!(post::prove(&statement(&vector), &files, &workers).is_ok());
    // A replica that lost its data cannot prove, and the error names the sector.
    std::fs::write(files[1].sealed(), vec![0u8; 2048]).unwrap();
    let error = post::prove(&statement(&vector), &files, &workers).unwrap_err().to_string();
    assert!(error.contains(&vector.sectors[1].sector_number.to_string()), "{error}");
}

#[test]
fn every_changed_field_is_refused_for_the_right_reason() {
    for vector in cairn_fixtures::post_vectors() {
        let statement = statement(&vector);
        let mut tried = 0;
        for Change { path, value } in changes(&vector.vanilla_proofs.clone().into()) {
            let parts: Vec<&str> = path.split('/').skip(1).collect();
            let Ok(proof) = serde_json::from_value::<PostProof>(value) else {
                assert!(path.ends_with("vanilla_proof/sectors"), "{path}: only the list of one has a fixed length");
                continue;
            };
            let rejection = post::verify(&statement, &proof).expect_err(&path);
            assert!(names_the_change(&statement, &parts, &rejection), "{path}: {rejection}");
            tried += 1;
        }
        assert!(tried > 300, "{}: only {tried} fields", vector.kind);
    }
}

/// Path: `/sector/{sector_id,comm_r}` or `/sector/vanilla_proof/sectors/0/{comm_c,comm_r_last,inclusion_proofs}/...`.
fn names_the_change(statement: &PostStatement, parts: &[&str], rejection: &PostRejection) -> bool {
    let Some(position) = parts.first() else { return matches!(rejection, PostRejection::Sectors { .. }) };
    let number = statement.sectors[position.parse::<usize>().unwrap()].sector_number;
    match (parts[1], parts.get(4), parts.get(5)) {
        ("sector_id", ..) => {
            matches!(rejection, PostRejection::SectorNumber { position: at, .. } if at.to_string() == *position)
        }
        ("comm_r", ..) | (_, Some(&"comm_c" | &"comm_r_last"), _) => {
            matches!(rejection, PostRejection::CommR { sector, .. } if *sector == number)
        }
        (_, Some(&"inclusion_proofs"), None) => {
            matches!(rejection, PostRejection::Openings { sector, .. } if *sector == number)
        }
        (_, Some(&"inclusion_proofs"), Some(challenge)) => matches!(
            rejection,
            PostRejection::Opening { sector, position, .. } if *sector == number && position.to_string() == **challenge
        ),
        _ => false,
    }
}

#[test]
fn statements_out_of_bounds_are_refused() {
    let vector = cairn_fixtures::post_vectors().into_iter().find(|vector| vector.kind == "window").unwrap();
    let mut statement = statement(&vector);
    let proof: PostProof = serde_json::from_value(vector.vanilla_proofs.into()).unwrap();
    statement.randomness.0[31] ^= 0x40;
    assert_eq!(post::verify(&statement, &proof), Ok(()), "the top bits do not count");
    statement.randomness.0[0] ^= 1;
    assert!(post::verify(&statement, &proof).is_err());
    statement.sectors.push(statement.sectors[0]);
    let rejection = post::verify(&statement, &proof);
    assert_eq!(rejection, Err(PostRejection::Statement { kind: "window", most: 2, got: 3 }));
    statement.kind = PostKind::Winning;
    assert!(matches!(post::verify(&statement, &proof), Err(PostRejection::Statement { most: 1, .. })));
}
