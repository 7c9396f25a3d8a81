//! SIGKILL inside and between all stages, and at random moments: the sector still becomes active, with the same CommR.
//!
//! The child is this test binary again, asked for one test. It seals a sector until two window PoSts are on the ledger.
//! In the first walk it kills itself at every event that it has not been killed at before; the names of those lie in a
//! file. In the second the parent kills it at random moments.

mod support;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cairn_protocol::{CommR, SectorSize};
use cairn_sealing::*;
use support::carried::CarriedSnarks;
use support::*;

const CHILD_DIR: &str = "CAIRN_SEALING_CRASH_DIR";
const CHILD_SIZE: &str = "CAIRN_SEALING_CRASH_SIZE";
const POSTS: usize = 2;

/// Kills this process at each event whose name is not in the file yet.
struct KillAtNewEvents(PathBuf);

/// An event's place in the walk: what happened, in which stage, for which file.
fn name(event: &PipelineEvent) -> String {
    match event {
        PipelineEvent::Progress { part, progress, .. } if progress.done == progress.total => format!("end of {part}"),
        PipelineEvent::Progress { part, .. } => format!("inside {part}"),
        PipelineEvent::StageStarted { part, .. } => format!("before {part}"),
        PipelineEvent::StageFinished { part, .. } => format!("after {part}"),
        PipelineEvent::InputsChecked { part, .. } => format!("inputs of {part}"),
        PipelineEvent::FilesWritten { part, .. } => format!("files of {part}"),
        PipelineEvent::Submitting { kind, .. } => format!("before sending {kind}"),
        PipelineEvent::Submitted { kind, .. } => format!("after sending {kind}"),
        PipelineEvent::FileRemoved { file, .. } => format!("removed {file}"),
        PipelineEvent::Waiting { part, .. } => format!("waiting in {part}"),
        PipelineEvent::PostProven { .. } => "post proven".to_owned(),
        PipelineEvent::PostSubmitting { .. } => "post before sending".to_owned(),
        PipelineEvent::PostSubmitted { .. } => "post after sending".to_owned(),
        PipelineEvent::PostConfirmed { .. } => "post confirmed".to_owned(),
        PipelineEvent::Failed { failure, .. } => panic!("no stage may fail: {failure:?}"),
        other => format!("{other:?}"),
    }
}

impl Observer for KillAtNewEvents {
    fn observe(&self, event: &PipelineEvent) {
        let name = name(event);
        let seen = fs::read_to_string(&self.0).unwrap_or_default();
        if seen.lines().any(|line| line == name) {
            return;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0).unwrap();
        writeln!(file, "{name}").unwrap();
        kill(std::process::id());
    }
}

fn kill(process: u32) {
    let process = rustix::process::Pid::from_raw(process as i32).unwrap();
    let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
}

/// The walk of the child: from assignment to the second window PoSt, from wherever it was.
fn walk(dir: &Path, size: SectorSize, observer: Arc<dyn Observer>) {
    let options = PipelineOptions { submission_patience: 2, ..options() };
    let pipeline = open_with(dir, &dir.join("sectors"), options, observer);
    let ledger = FolderLedger::open(&dir.join("ledger"));
    pipeline.assign(assignment_of(size)).unwrap();
    pipeline.run_until(SECTOR, Milestone::Finalized, Duration::from_secs(60)).unwrap();
    while ledger.posts(SECTOR).len() < POSTS || !all_confirmed(&pipeline) {
        pipeline.post_step().unwrap();
        ledger.advance();
    }
}

fn all_confirmed(pipeline: &Pipeline) -> bool {
    let posts = pipeline.posts().unwrap();
    posts.iter().filter(|(_, record)| matches!(record.state, PostState::Confirmed { .. })).count() >= POSTS
}

#[test]
#[ignore = "the child of the other tests in this file"]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else { return };
    let size = std::env::var(CHILD_SIZE).unwrap().parse().unwrap();
    let killed_at = dir.join("killed-at");
    if killed_at.exists() {
        walk(&dir, size, Arc::new(KillAtNewEvents(killed_at)));
    } else {
        walk(&dir, size, Arc::new(Silent));
    }
}

fn start_child(dir: &Path, size: SectorSize) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env(CHILD_SIZE, size.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn undisturbed_comm_r(size: SectorSize) -> CommR {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(dir.path());
    house.pipeline.assign(assignment_of(size)).unwrap();
    house.run_until(Milestone::TreesBuilt).state.sealed().unwrap().comm_r
}

fn check_end(dir: &Path, size: SectorSize) {
    let house = House::open(dir);
    let record = house.pipeline.sector(SECTOR).unwrap();
    assert_eq!(record.state.milestone(), Milestone::Finalized);
    let comm_r = undisturbed_comm_r(size);
    assert_eq!(record.state.sealed().unwrap().comm_r, comm_r);
    assert_eq!(house.ledger.comm_r(SECTOR), Some(comm_r));
    assert_eq!(house.pipeline.check_sector(SECTOR).unwrap(), []);
    for folder in ["sectors/sector-7", "sectors/sector-7/cache"] {
        let files = fs::read_dir(dir.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let temporary: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "tmp")).collect();
        assert_eq!(temporary, Vec::<PathBuf>::new());
    }
}

#[test]
fn killed_once_at_every_point_of_the_walk() {
    let size = SectorSize::KIB2;
    let dir = tempfile::tempdir().unwrap();
    let killed_at = dir.path().join("killed-at");
    fs::write(&killed_at, "").unwrap();
    for _ in 0..300 {
        if start_child(dir.path(), size).wait().unwrap().success() {
            break;
        }
    }
    let points = fs::read_to_string(&killed_at).unwrap();
    let points: BTreeSet<_> = points.lines().collect();
    for stage in Stage::ALL {
        let parts = match stage {
            Stage::Labels => vec![stage.part(1), stage.part(2)],
            _ => vec![stage.whole()],
        };
        for part in parts {
            for point in [format!("before {part}"), format!("after {part}")] {
                assert!(points.contains(point.as_str()), "never killed {point}; {points:?}");
            }
            if !part.writes(&assignment().params()).is_empty() {
                assert!(points.contains(format!("files of {part}").as_str()), "{part}; {points:?}");
                if !matches!(stage, Stage::VanillaProof | Stage::Snark) {
                    assert!(points.contains(format!("end of {part}").as_str()), "{part}; {points:?}");
                }
            }
        }
    }
    for point in ["before sending pre-commit", "after sending prove-commit", "post proven", "post after sending"] {
        assert!(points.contains(point), "never killed {point}; {points:?}");
    }
    check_end(dir.path(), size);
    let ledger = FolderLedger::open(&dir.path().join("ledger"));
    assert_eq!(ledger.handed_in("pre-commit"), 1, "the ledger is asked before anything is sent again");
    assert_eq!(ledger.handed_in("prove-commit"), 1);
    assert_eq!(ledger.handed_in("window-post"), ledger.posts(SECTOR).len());
    // Killed when the SNARK was on disk and the journal did not know, and when it knew: it was made once.
    assert_eq!(CarriedSnarks::made(dir.path(), "porep"), 1);
    assert_eq!(CarriedSnarks::made(dir.path(), "window-post"), ledger.posts(SECTOR).len());
    println!("killed at {} points: {points:?}", points.len());
}

#[test]
fn killed_at_random_moments() {
    let size = SectorSize::KIB32;
    let dir = tempfile::tempdir().unwrap();
    let mut moment = 20_260_101u64;
    let mut kills = 0;
    while kills < 25 {
        let mut child = start_child(dir.path(), size);
        moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(5 + (moment >> 33) % 60));
        if child.try_wait().unwrap().is_some_and(|status| status.success()) {
            break;
        }
        kill(child.id());
        child.wait().unwrap();
        kills += 1;
    }
    println!("killed {kills} times");
    assert!(start_child(dir.path(), size).wait().unwrap().success());
    check_end(dir.path(), size);
}
