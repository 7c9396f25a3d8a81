//! SIGKILL inside and between all stages, and at random moments: the sector still becomes active, with the same CommR.
//!
//! The child is this test binary again, asked for one test. It seals a sector until two window PoSts are on the ledger, or puts
//! data onto an empty one until the new replica is proven twice.
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
const CHILD_WALK: &str = "CAIRN_SEALING_CRASH_WALK";
const POSTS: usize = 2;

/// What the child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    Seal,
    Update,
}

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
        PipelineEvent::UpdateAdvanced { to, .. } => format!("update is {to}"),
        PipelineEvent::Failed { failure, .. } => panic!("no stage may fail: {failure:?}"),
        PipelineEvent::UpdateFailed { cause, .. } => panic!("no update may fail: {cause}"),
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
fn walk(dir: &Path, size: SectorSize, walk: Walk, observer: Arc<dyn Observer>) {
    let options = PipelineOptions { submission_patience: 2, ..options() };
    let pipeline = open_with(dir, &dir.join("sectors"), options, observer);
    let ledger = FolderLedger::open(&dir.join("ledger"));
    match walk {
        Walk::Seal => {
            pipeline.assign(assignment_of(size)).unwrap();
            pipeline.run_until(SECTOR, Milestone::Finalized, Duration::from_secs(60)).unwrap();
        }
        Walk::Update => {
            pipeline.assign_update(SECTOR, pieces().0).unwrap();
            while pipeline.update_step(SECTOR).unwrap() != UpdateProgress::Finished {
                ledger.advance();
            }
        }
    }
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
    let asked = if std::env::var(CHILD_WALK).unwrap() == "update" { Walk::Update } else { Walk::Seal };
    let killed_at = dir.join("killed-at");
    if killed_at.exists() {
        walk(&dir, size, asked, Arc::new(KillAtNewEvents(killed_at)));
    } else {
        walk(&dir, size, asked, Arc::new(Silent));
    }
}

fn start_child(dir: &Path, size: SectorSize, walk: Walk) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .env(CHILD_SIZE, size.to_string())
        .env(CHILD_WALK, if walk == Walk::Update { "update" } else { "seal" })
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Starts children, each of which kills itself at a point of its own, until one lives to the end; names the points, and the
/// one at which nobody is killed.
fn kill_at_every_point(dir: &Path, size: SectorSize, walk: Walk, spared: &str) -> BTreeSet<String> {
    let killed_at = dir.join("killed-at");
    fs::write(&killed_at, format!("{spared}\n")).unwrap();
    let lived = (0..300).any(|_| start_child(dir, size, walk).wait().unwrap().success());
    let points: BTreeSet<_> = fs::read_to_string(&killed_at).unwrap().lines().map(str::to_owned).collect();
    assert!(lived, "killed {} times: {points:?}", points.len());
    println!("killed at {} points: {points:?}", points.len());
    fs::remove_file(killed_at).unwrap();
    points
}

/// Kills children at moments that are the same every time, as far as the machine is, and lets the last one live.
fn kill_at_moments(dir: &Path, size: SectorSize, walk: Walk) {
    let mut moment = 20_260_101u64;
    let mut kills = 0;
    while kills < 25 {
        let mut child = start_child(dir, size, walk);
        moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(5 + (moment >> 33) % 60));
        if child.try_wait().unwrap().is_some_and(|status| status.success()) {
            break;
        }
        kill(child.id());
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 0, "it ended before it was killed");
    println!("killed {kills} times");
    assert!(start_child(dir, size, walk).wait().unwrap().success());
}

/// Seals a sector of zeros, without disturbance.
fn seal_zeros(dir: &Path, size: SectorSize) {
    let house = House::open(dir);
    house.pipeline.assign(Assignment { pieces: Vec::new(), ..assignment_of(size) }).unwrap();
    house.run_until(Milestone::Finalized);
}

/// The new replica's, when nobody is killed.
fn undisturbed_update(size: SectorSize) -> CommR {
    let dir = tempfile::tempdir().unwrap();
    seal_zeros(dir.path(), size);
    walk(dir.path(), size, Walk::Update, Arc::new(Silent));
    FolderLedger::open(&dir.path().join("ledger")).comm_r(SECTOR).unwrap()
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
    check_no_temporary_files(dir, "sectors/sector-7");
}

fn check_update_end(dir: &Path, comm_r: CommR) {
    let house = House::open(dir);
    let update = house.pipeline.update(SECTOR).unwrap().unwrap();
    assert!(matches!(update.state, UpdateState::Active { .. }), "{:?}", update.state);
    assert_eq!(update.state.encoded().unwrap().statement.comm_r_new, comm_r);
    assert_eq!(house.ledger.comm_r(SECTOR), Some(comm_r));
    assert_eq!(house.ledger.handed_in("sector update"), 1, "the ledger is asked before anything is sent again");
    assert_eq!(house.pipeline.check_sector(SECTOR).unwrap(), []);
    check_no_temporary_files(dir, "sectors/sector-7");
    check_no_temporary_files(dir, "sectors/update-7");
    // Nothing that only the proof needed is left.
    let cache = house.pipeline.update_files(SECTOR).cache_dir();
    let left = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|name| name.starts_with("update-") || name.contains("tree-d")).collect();
    assert_eq!(left, Vec::<String>::new());
}

fn check_no_temporary_files(dir: &Path, folder: &str) {
    for folder in [dir.join(folder), dir.join(folder).join("cache")] {
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let temporary: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "tmp")).collect();
        assert_eq!(temporary, Vec::<PathBuf>::new());
    }
}

#[test]
fn killed_once_at_every_point_of_the_walk() {
    let size = SectorSize::KIB2;
    let dir = tempfile::tempdir().unwrap();
    let points = kill_at_every_point(dir.path(), size, Walk::Seal, "");
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
                assert!(points.contains(&format!("files of {part}")), "{part}; {points:?}");
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
}

#[test]
fn an_update_killed_once_at_every_point_of_its_walk() {
    let size = SectorSize::KIB2;
    let comm_r = undisturbed_update(size);
    // Who is killed after sending finds the update on the ledger, and never says that it is sent.
    let after_sending = "after sending sector update";
    let mut points = BTreeSet::new();
    for spared in ["", after_sending] {
        let dir = tempfile::tempdir().unwrap();
        seal_zeros(dir.path(), size);
        points.extend(kill_at_every_point(dir.path(), size, Walk::Update, spared));
        check_update_end(dir.path(), comm_r);
        assert_eq!(CarriedSnarks::made(dir.path(), "update"), 1, "what is on disk is not made again");
    }
    let encoding = ["inside replica", "end of add-pieces", "end of replica"];
    let states = ["update is encoded", "update is proven", "update is sent", "update is active"];
    for point in [&encoding[..], &states, &["before sending sector update", after_sending, "post proven"]].concat() {
        assert!(points.contains(point), "never killed {point}; {points:?}");
    }
}

#[test]
fn an_update_killed_at_random_moments() {
    let size = SectorSize::KIB32;
    let dir = tempfile::tempdir().unwrap();
    seal_zeros(dir.path(), size);
    kill_at_moments(dir.path(), size, Walk::Update);
    check_update_end(dir.path(), undisturbed_update(size));
}

#[test]
fn killed_at_random_moments() {
    let size = SectorSize::KIB32;
    let dir = tempfile::tempdir().unwrap();
    kill_at_moments(dir.path(), size, Walk::Seal);
    check_end(dir.path(), size);
}
