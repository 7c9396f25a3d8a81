//! The window-PoSt schedule: once per deadline, over restarts, with damage.

mod support;

use std::fs;

use cairn_sealing::*;
use support::*;

fn proven(house: &House) -> usize {
    let events = house.recorder.take();
    events.iter().filter(|event| matches!(event, PipelineEvent::PostProven { .. })).count()
}

/// Turns of the schedule, one per epoch.
fn turn(house: &House, epochs: u64) -> PostProgress {
    let mut sum = PostProgress::default();
    for _ in 0..epochs {
        let turn = house.pipeline.post_step().unwrap();
        sum.proven += turn.proven;
        sum.sent += turn.sent;
        sum.confirmed += turn.confirmed;
        house.ledger.advance();
    }
    sum
}

/// Moves the ledger to an epoch of its period of 12: challenges are drawn at 0 and answered before 6.
fn advance_to(house: &House, epoch: u64) {
    while house.ledger.head().unwrap().0 % 12 != epoch {
        house.ledger.advance();
    }
}

#[test]
fn every_deadline_is_answered_once() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::at(dir.path(), Milestone::Finalized);
    let sum = turn(&house, 36);
    let posts = house.ledger.posts(SECTOR).len();
    assert!(posts >= 2, "{posts}");
    assert_eq!((sum.proven, sum.sent, sum.confirmed), (posts, posts, posts));
    assert_eq!(house.ledger.handed_in("window-post"), posts);
    let records = house.pipeline.posts().unwrap();
    assert_eq!(records.len(), posts);
    assert!(records.iter().all(|(_, record)| matches!(record.state, PostState::Confirmed { .. })));
    let left = fs::read_dir(dir.path().join("sectors/posts")).unwrap().count();
    assert_eq!(left, 0, "confirmed proofs are removed");
}

#[test]
fn a_lost_proof_is_sent_again_and_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = PipelineOptions { submission_patience: 1, ..options() };
    let house = House::at(dir.path(), Milestone::Finalized);
    drop(house);
    let house = House::open_at(dir.path(), &dir.path().join("sectors"), options);
    advance_to(&house, 0);
    house.ledger.mischief.lock().unwrap().lose = 1;
    let sum = turn(&house, 6);
    assert_eq!((sum.proven, sum.sent, sum.confirmed), (1, 2, 1));
}

#[test]
fn a_restart_inside_the_window_sends_the_proof_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::at(dir.path(), Milestone::Finalized);
    advance_to(&house, 0);
    house.ledger.mischief.lock().unwrap().lose = 1;
    house.pipeline.post_step().unwrap();
    assert_eq!(proven(&house), 1);
    drop(house);
    let house = House::open_at(
        dir.path(),
        &dir.path().join("sectors"),
        PipelineOptions { submission_patience: 0, ..options() },
    );
    house.ledger.advance();
    let sum = turn(&house, 3);
    assert_eq!((sum.proven, sum.confirmed), (0, 1));
}

#[test]
fn a_damaged_proof_file_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::at(dir.path(), Milestone::Finalized);
    advance_to(&house, 0);
    house.ledger.mischief.lock().unwrap().lose = 1;
    house.pipeline.post_step().unwrap();
    let file = fs::read_dir(dir.path().join("sectors/posts")).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, b"junk").unwrap();
    let sum = turn(&house, 3);
    assert_eq!((sum.proven, sum.confirmed), (1, 1));
}

#[test]
fn damage_inside_the_window_is_named_repaired_and_the_deadline_met() {
    for file in [SectorFile::TreeRLast(0), SectorFile::Sealed] {
        let dir = tempfile::tempdir().unwrap();
        let house = House::at(dir.path(), Milestone::Finalized);
        advance_to(&house, 0);
        // Every node, so that a challenge is sure to meet the damage.
        let bytes: Vec<u8> = fs::read(house.path(file)).unwrap().iter().map(|byte| byte ^ 1).collect();
        fs::write(house.path(file), bytes).unwrap();
        let turn_with_damage = house.pipeline.post_step().unwrap();
        assert_eq!((turn_with_damage.proven, turn_with_damage.open), (0, 1));
        let events = house.recorder.take();
        assert!(
            events
                .iter()
                .any(|event| matches!(event, PipelineEvent::DamageFound { damage, .. } if damage.file == file)),
            "{events:?}"
        );
        assert_eq!(house.pipeline.repair_wanted(), [SECTOR]);
        house.pipeline.repair_sector(SECTOR).unwrap();
        assert_eq!(house.pipeline.repair_wanted(), []);
        let sum = turn(&house, 3);
        assert_eq!((sum.proven, sum.confirmed), (1, 1));
    }
}

#[test]
fn damage_before_the_challenge_is_declared_and_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::at(dir.path(), Milestone::Finalized);
    turn(&house, 12);
    let answered = house.ledger.posts(SECTOR).len();
    // Past the window: the next challenge is not drawn yet.
    advance_to(&house, 8);
    house.flip(SectorFile::TreeRLast(0), 0);
    house.pipeline.post_step().unwrap();
    assert_eq!(house.ledger.handed_in("faults"), 1);
    house.pipeline.post_step().unwrap();
    assert_eq!(house.ledger.handed_in("faults"), 1, "one declaration is enough");
    house.pipeline.repair_sector(SECTOR).unwrap();
    turn(&house, 20);
    assert_eq!(house.ledger.handed_in("recovery"), 1);
    assert!(house.ledger.posts(SECTOR).len() > answered);
}

#[test]
fn the_threads_repair_what_the_schedule_finds() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::at(dir.path(), Milestone::Finalized);
    let original = fs::read(house.path(SectorFile::Sealed)).unwrap();
    fs::write(house.path(SectorFile::Sealed), vec![1; 2048]).unwrap();
    fs::remove_file(house.path(SectorFile::PAux)).unwrap();
    let running = house.pipeline.start().unwrap();
    let started = std::time::Instant::now();
    while house.ledger.posts(SECTOR).len() < 2 {
        assert!(started.elapsed().as_secs() < 60, "{:?}", house.recorder.take());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.stop();
    assert_eq!(fs::read(house.path(SectorFile::Sealed)).unwrap(), original);
}

#[test]
fn a_repair_that_fails_is_in_the_journal_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::at(dir.path(), Milestone::Finalized);
    house.flip(SectorFile::Sealed, 11);
    let held = std::mem::take(&mut *house.pieces.0.lock().unwrap());
    house.pipeline.repair_sector(SECTOR).unwrap_err();
    let record = house.pipeline.sector(SECTOR).unwrap();
    assert_eq!(record.state.failure().unwrap().kind, FailureKind::PieceUnavailable);
    assert_eq!(record.state.milestone(), Milestone::Finalized);
    *house.pieces.0.lock().unwrap() = held;
    house.pipeline.repair_sector(SECTOR).unwrap();
    assert_eq!(house.pipeline.sector(SECTOR).unwrap().state.failure(), None);
}

#[test]
fn what_became_of_a_proof_is_found_out_after_its_deadline() {
    let past_the_window = |mischief: u32| {
        let dir = tempfile::tempdir().unwrap();
        let house = House::at(dir.path(), Milestone::Finalized);
        advance_to(&house, 0);
        house.ledger.mischief.lock().unwrap().lose = mischief;
        house.pipeline.post_step().unwrap();
        drop(house);
        let house = House::open(dir.path());
        for _ in 0..12 {
            house.ledger.advance();
        }
        house.pipeline.post_step().unwrap();
        house.pipeline.posts().unwrap()[0].1.state
    };
    assert!(matches!(past_the_window(0), PostState::Confirmed { .. }));
    assert!(matches!(past_the_window(1), PostState::Missed { .. }));
}
