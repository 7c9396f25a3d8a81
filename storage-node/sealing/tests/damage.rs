//! One byte flipped in each kind of file: it is named, only the stage that makes it runs again, and CommR stays.

mod support;

use std::fs;

use cairn_sealing::*;
use support::carried::CarriedSnarks;
use support::*;

/// Damages `file` while the sector is at `at`, takes the next step, and returns what was told and made.
fn damaged_step(at: Milestone, file: SectorFile, offset: usize) -> (House, tempfile::TempDir, Damage, Vec<StagePart>) {
    let dir = tempfile::tempdir().unwrap();
    let house = House::at(dir.path(), at);
    let before = house.pipeline.sector(SECTOR).unwrap();
    let original = fs::read(house.path(file)).unwrap();
    house.flip(file, offset);
    house.pipeline.step(SECTOR).unwrap();
    let events = house.recorder.0.lock().unwrap().clone();
    let found: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            PipelineEvent::DamageFound { damage, .. } => Some(damage.clone()),
            _ => None,
        })
        .collect();
    let [damage] = found.as_slice() else { panic!("one damage, got {found:?}") };
    assert_eq!(fs::read(house.path(file)).unwrap(), original, "{file} is as it was");
    let after = house.pipeline.sector(SECTOR).unwrap();
    assert_eq!(after.repairs.len(), 1);
    assert!(after.state.milestone() > before.state.milestone(), "{:?}", after.state);
    assert!(after.state.failure().is_none());
    let made = house.recorder.stages_made();
    (house, dir, damage.clone(), made)
}

fn check(at: Milestone, file: SectorFile, offset: usize, made_expected: &[StagePart]) {
    let (house, _dir, damage, made) = damaged_step(at, file, offset);
    assert_eq!((damage.file, damage.offset), (file, 0), "offsets are those of the MiB");
    assert_eq!(damage.path, house.path(file));
    let DamageKind::Content { expected, got } = damage.kind else { panic!("content, got {damage}") };
    assert_ne!(expected, got);
    assert_eq!(made, made_expected, "{file} damaged at {at:?}");
    house.run_until(Milestone::Finalized);
}

#[test]
fn staged_data_before_the_tree_and_before_the_replica() {
    let again = Stage::AddPieces.whole();
    check(Milestone::TreeCBuilt, SectorFile::Staged, 100, &[again, Stage::Replica.whole()]);
    check(Milestone::SeedKnown, SectorFile::Staged, 2047, &[again]);
}

#[test]
fn layers() {
    let again = |layer| Stage::Labels.part(layer);
    check(Milestone::TreeDBuilt, SectorFile::Layer(1), 33, &[again(1), Stage::TreeC.whole()]);
    check(Milestone::TreeDBuilt, SectorFile::Layer(2), 0, &[again(2), Stage::TreeC.whole()]);
    check(Milestone::TreeCBuilt, SectorFile::Layer(2), 2000, &[again(2), Stage::Replica.whole()]);
    check(Milestone::SeedKnown, SectorFile::Layer(1), 7, &[again(1)]);
}

#[test]
fn trees_and_replica_before_the_proof() {
    check(Milestone::SeedKnown, SectorFile::TreeD, 64, &[Stage::TreeD.whole()]);
    check(Milestone::SeedKnown, SectorFile::TreeC(0), 64, &[Stage::TreeC.whole()]);
    check(Milestone::SeedKnown, SectorFile::Sealed, 640, &[Stage::Replica.whole()]);
    check(Milestone::SeedKnown, SectorFile::PAux, 63, &[Stage::Replica.whole()]);
    check(Milestone::SeedKnown, SectorFile::TreeRLast(0), 5, &[Stage::Replica.whole()]);
}

#[test]
fn the_plain_proof_before_the_snark() {
    check(Milestone::VanillaProven, SectorFile::PorepProof, 900, &[]);
}

/// The new one is blinded otherwise, so it cannot be the same file; the journal follows.
#[test]
fn the_snark_before_it_is_sent_is_replaced_by_another() {
    for lost in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let house = House::at(dir.path(), Milestone::SnarkProven);
        if lost {
            house.ledger.mischief.lock().unwrap().lose = 1;
            house.run_until(Milestone::ProveCommitSent);
        }
        let original = fs::read(house.path(SectorFile::PorepSnark)).unwrap();
        house.flip(SectorFile::PorepSnark, 900);
        if lost {
            house.pipeline.repair_sector(SECTOR).unwrap();
        }
        house.run_until(Milestone::ProveCommitSent);
        let events = house.recorder.take();
        let damaged = |event: &&PipelineEvent| matches!(event, PipelineEvent::DamageFound { .. });
        assert_eq!(events.iter().filter(damaged).count(), 1, "{events:?}");
        assert_ne!(fs::read(house.path(SectorFile::PorepSnark)).unwrap(), original);
        assert_eq!(house.pipeline.check_sector(SECTOR).unwrap(), []);
        house.run_until(Milestone::Finalized);
        assert_eq!(CarriedSnarks::made(dir.path(), "porep"), 2);
    }
}

#[test]
fn a_layer_damaged_after_half_of_labelling_is_made_again_first() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::at(dir.path(), Milestone::PiecesAdded);
    let clean = {
        let dir = tempfile::tempdir().unwrap();
        let record = House::at(dir.path(), Milestone::TreesBuilt).pipeline.sector(SECTOR).unwrap();
        record.state.sealed().unwrap().comm_r
    };
    house.pipeline.step(SECTOR).unwrap();
    house.pipeline.step(SECTOR).unwrap();
    house.flip(SectorFile::Layer(1), 1000);
    house.recorder.take();
    house.pipeline.step(SECTOR).unwrap();
    assert_eq!(house.recorder.stages_made(), [Stage::Labels.part(1), Stage::Labels.part(2)]);
    let record = house.run_until(Milestone::TreesBuilt);
    assert_eq!(record.state.sealed().unwrap().comm_r, clean);
}

#[test]
fn two_damaged_layers_are_made_again_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::at(dir.path(), Milestone::SeedKnown);
    house.flip(SectorFile::Layer(1), 1);
    house.flip(SectorFile::Layer(2), 1);
    fs::remove_file(house.path(SectorFile::Staged)).unwrap();
    house.pipeline.step(SECTOR).unwrap();
    let again = [Stage::AddPieces.whole(), Stage::Labels.part(1), Stage::Labels.part(2)];
    assert_eq!(house.recorder.stages_made(), again);
    house.run_until(Milestone::Finalized);
}

#[test]
fn a_file_that_breaks_again_and_again_waits_for_an_operator() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::at(dir.path(), Milestone::TreeDBuilt);
    for _ in 0..options().repairs_max {
        house.flip(SectorFile::Layer(2), 1);
        house.pipeline.repair_sector(SECTOR).unwrap();
    }
    house.flip(SectorFile::Layer(2), 1);
    let Progress::Failed(failure) = house.pipeline.step(SECTOR).unwrap() else { panic!("fails") };
    assert_eq!(failure.kind, FailureKind::Damaged);
    assert!(failure.cause.contains("made again 3 times before"), "{}", failure.cause);
    house.pipeline.retry(SECTOR).unwrap();
    house.run_until(Milestone::Finalized);
}

#[test]
fn a_finalized_sector_is_sealed_again_from_its_pieces() {
    for file in [SectorFile::Sealed, SectorFile::TreeRLast(0), SectorFile::PAux] {
        let dir = tempfile::tempdir().unwrap();
        let house = House::at(dir.path(), Milestone::Finalized);
        let original = fs::read(house.path(file)).unwrap();
        house.flip(file, 11);
        let damage = house.pipeline.check_sector(SECTOR).unwrap();
        assert_eq!(damage.iter().map(|damage| damage.file).collect::<Vec<_>>(), [file]);
        house.pipeline.repair_sector(SECTOR).unwrap();
        assert_eq!(fs::read(house.path(file)).unwrap(), original);
        assert_eq!(house.pipeline.check_sector(SECTOR).unwrap(), []);
        assert!(!house.path(SectorFile::Layer(1)).exists(), "what is not needed is gone again");
    }
}

#[test]
fn damage_without_its_pieces_is_told_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::at(dir.path(), Milestone::Finalized);
    house.flip(SectorFile::Sealed, 11);
    house.pieces.0.lock().unwrap().clear();
    let error = house.pipeline.repair_sector(SECTOR).unwrap_err().to_string();
    assert!(error.contains("is not here"), "{error}");
    assert_eq!(house.pipeline.check_sector(SECTOR).unwrap().len(), 1);
}
