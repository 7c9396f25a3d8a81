//! The fetcher: what it brings, what it refuses, and whom it blames.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_gateway::{
    FetchError, FetchOptions, FetchRejection, FetchReport, FetchRequest, Progress, SourceFault, SourceUrl,
    fetch_blocking,
};

use super::common::*;
use super::proxy::{Action, Proxy, Seen};

pub fn fetch_request(fixture: &Fixture, sources: &[SourceUrl], path: &str, target: &str) -> FetchRequest {
    FetchRequest {
        root: fixture.dataset.root(),
        path: path.into(),
        sources: sources.to_vec(),
        dest: fixture.target(target),
        options: FetchOptions {
            range_bytes: 2 << 20,
            stall: Duration::from_millis(500),
            pause: Arc::new(NoPause::default()),
            ..FetchOptions::default()
        },
        progress: None,
    }
}

fn fetch(fixture: &Fixture, sources: &[SourceUrl], path: &str) -> Result<FetchReport, FetchError> {
    fetch_blocking(&fetch_request(fixture, sources, path, "out"))
}

/// Files anywhere below a folder.
fn files_below(folder: &std::path::Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

fn is_work_file(path: &std::path::Path) -> bool {
    path.to_string_lossy().contains("/.cairn-fetch-")
}

#[test]
fn a_dataset_a_folder_and_a_file() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let total = fixture.dataset.total_bytes();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let mut request = fetch_request(&fixture, &[server.url()], "", "out");
    request.progress = Some(Arc::new(move |progress: Progress| log.lock().unwrap().push(progress)));
    let report = fetch_blocking(&request).unwrap();
    fixture.assert_complete(&fixture.target("out"));
    assert_eq!((report.bytes_total, report.bytes_fetched, report.bytes_resumed), (total, total, 0));
    assert_eq!(report.files.len(), 4);
    assert_eq!(report.sources, [(server.url(), total)]);
    assert!(report.avoided.is_empty());
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0], Progress { verified_bytes: 0, total_bytes: total });
    assert_eq!(seen.iter().map(|progress| progress.verified_bytes).max(), Some(total));

    let again = fetch_blocking(&fetch_request(&fixture, &[server.url()], "", "out")).unwrap();
    assert_eq!((again.bytes_fetched, again.files.iter().all(|file| file.kept)), (0, true));
    fixture.assert_complete(&fixture.target("out"));

    let report = fetch_blocking(&fetch_request(&fixture, &[server.url()], "shards/", "folder")).unwrap();
    assert_eq!(report.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), [BIG, "shards/exact.bin"]);
    assert!(std::fs::read(fixture.target("folder/big.tar")).unwrap() == fixture.big());
    let report = fetch_blocking(&fetch_request(&fixture, &[server.url()], "table ä.json", "new/one.json")).unwrap();
    assert_eq!((report.bytes_total, report.files.len()), (8, 1));
    assert_eq!(std::fs::read(fixture.target("new/one.json")).unwrap(), fixture.files["table ä.json"]);
    assert_eq!(files_below(&fixture.target("new")).len(), 1, "nothing stays beside the file");
    let report = fetch_blocking(&fetch_request(&fixture, &[server.url()], "empty.txt", "new/empty")).unwrap();
    assert_eq!((report.bytes_total, std::fs::read(fixture.target("new/empty")).unwrap().len()), (0, 0));
}

#[test]
fn a_dataset_that_is_one_file() {
    for length in [0, 5, MIB, 2 * MIB + 1] {
        let fixture = Fixture::new();
        let path = fixture.target("single.bin");
        std::fs::write(&path, noise(3, length)).unwrap();
        let dataset = fixture
            .store
            .import(&path, None, cairn_content::Placement::Reference, &cairn_content::ImportOptions::default())
            .unwrap();
        let server = fixture.serve();
        let mut request = fetch_request(&fixture, &[server.url()], "", "copy.bin");
        request.root = dataset.root();
        assert_eq!(fetch_blocking(&request).unwrap().bytes_total, length as u64);
        assert!(std::fs::read(fixture.target("copy.bin")).unwrap() == noise(3, length));
        request.dest = fixture.target("folder");
        request.options.into_folder = true;
        assert_eq!(fetch_blocking(&request).unwrap().bytes_total, length as u64);
        let within = fixture.target("folder").join(dataset.root().to_string());
        assert!(std::fs::read(within).unwrap() == noise(3, length));
        assert_eq!(server.get(&format!("/data/{}", dataset.root()), &[]).body.len(), length);
        assert_eq!(server.get("/data/single.bin/single.bin", &[]).body.len(), length);
    }
}

#[test]
fn a_broken_connection_continues_at_the_first_missing_byte() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    // 300,000 bytes an answer: no leaf ever comes in one piece.
    let proxy =
        Proxy::start(server.addr, |seen| if seen.is_data() { Action::DropAfter(300_000) } else { Action::Pass });
    let mut request = fetch_request(&fixture, &[proxy.url()], BIG, "out.tar");
    request.options.parallel = 1;
    let report = fetch_blocking(&request).unwrap();
    assert!(std::fs::read(fixture.target("out.tar")).unwrap() == fixture.big());
    assert_eq!(report.bytes_fetched, fixture.big().len() as u64);
    let ranges: Vec<_> = proxy.data_requests().iter().map(|seen| seen.range.unwrap()).collect();
    for pair in ranges.windows(2).filter(|pair| pair[0].1 == pair[1].1) {
        assert_eq!(pair[1].0, pair[0].0 + 300_000, "{ranges:?}");
    }
    assert!(ranges.len() > 15);
}

#[test]
fn waits_grow_and_follow_retry_after() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let count = AtomicUsize::new(0);
    let proxy = Proxy::start(server.addr, move |seen| match seen {
        seen if !seen.is_data() => Action::Pass,
        _ => match count.fetch_add(1, Ordering::SeqCst) {
            0..3 => Action::Status(502, None),
            3 => Action::Status(503, Some(17)),
            _ => Action::Pass,
        },
    });
    let pause = Arc::new(NoPause::default());
    let mut request = fetch_request(&fixture, &[proxy.url()], "shards/exact.bin", "out.bin");
    request.options.pause = pause.clone();
    fetch_blocking(&request).unwrap();
    let millis: Vec<_> = pause.asked.lock().unwrap().iter().map(Duration::as_millis).collect();
    assert_eq!(millis, [250, 500, 1000, 17_000]);
}

#[test]
fn a_flipped_byte_names_leaf_and_source_and_leaves_nothing() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let flip = |seen: &Seen| match seen.range {
        Some((first, last)) if (first..=last).contains(&3_500_000) && seen.path.ends_with("big.tar") => {
            Action::Flip((3_500_000 - first) as usize)
        }
        _ => Action::Pass,
    };
    let bad = Proxy::start(server.addr, flip);
    let error = fetch(&fixture, &[bad.url()], BIG).unwrap_err();
    assert!(!error.retry_helps());
    let FetchError::NoSourceLeft { failures, .. } = &error else { panic!("{error}") };
    let expected_cid = fixture.dataset.file(BIG).unwrap().leaves().nth(3).unwrap();
    match &failures[..] {
        [failure] => {
            assert_eq!(failure.source, bad.url());
            let SourceFault::BadLeaf { file, leaf, expected, got } = &failure.fault else { panic!("{failure}") };
            assert_eq!((file.as_str(), *leaf, *expected), (BIG, 3, expected_cid));
            assert_ne!(got, expected);
        }
        other => panic!("{other:?}"),
    }
    let text = error.to_string();
    for part in [bad.url().to_string(), "leaf 3".into(), BIG.into(), expected_cid.to_string()] {
        assert!(text.contains(&part), "{text} lacks {part}");
    }
    assert!(!fixture.target("out").exists(), "nothing has the final name");

    // With a second source the fetch succeeds, and still tells on the first. What was verified is not fetched again.
    let report = fetch(&fixture, &[bad.url(), server.url()], BIG).unwrap();
    assert!(std::fs::read(fixture.target("out")).unwrap() == fixture.big());
    if let [failure] = &report.avoided[..] {
        assert_eq!(failure.source, bad.url());
    } else {
        assert!(report.avoided.is_empty(), "the good source may have done it all: {:?}", report.avoided);
    }
    assert_eq!(report.bytes_fetched + report.bytes_resumed, report.bytes_total);
}

#[test]
fn a_source_that_flips_every_answer_is_avoided() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let bad = Proxy::start(server.addr, |seen| if seen.is_data() { Action::Flip(5) } else { Action::Pass });
    let mut request = fetch_request(&fixture, &[bad.url(), server.url()], "", "out");
    request.options.parallel = 1;
    let report = fetch_blocking(&request).unwrap();
    fixture.assert_complete(&fixture.target("out"));
    assert_eq!(report.avoided.len(), 1);
    assert!(matches!(report.avoided[0].fault, SourceFault::BadLeaf { leaf: 0, .. }));
    assert_eq!(bad.data_requests().len(), 1, "it was asked for data once and never again");
    assert_eq!(report.sources, [(bad.url(), 0), (server.url(), report.bytes_total)]);
}

#[test]
fn interior_nodes_are_verified_too() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let bad = Proxy::start(server.addr, |_| Action::Flip(20));
    let error = fetch(&fixture, &[bad.url()], "").unwrap_err();
    let FetchError::NoSourceLeft { failures, .. } = &error else { panic!("{error}") };
    assert!(
        matches!(&failures[0].fault, SourceFault::BadBlock { expected, .. } if *expected == fixture.dataset.root())
    );
    fetch(&fixture, &[bad.url(), server.url()], "").unwrap();
    fixture.assert_complete(&fixture.target("out"));
}

#[test]
fn a_stalled_source_is_left_for_another() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let stalled = Proxy::start(server.addr, |seen| if seen.is_data() { Action::StallAfter(100) } else { Action::Pass });
    let report = fetch(&fixture, &[stalled.url(), server.url()], "").unwrap();
    fixture.assert_complete(&fixture.target("out"));
    assert!(report.avoided.is_empty(), "slow is not wrong");

    let mut request = fetch_request(&fixture, &[stalled.url()], BIG, "alone");
    request.options.retries = 1;
    let error = fetch_blocking(&request).unwrap_err();
    assert!(error.retry_helps());
    let FetchError::NoSourceLeft { failures, .. } = &error else { panic!("{error}") };
    assert!(matches!(failures[0].fault, SourceFault::Stalled { .. }), "{error}");
}

#[test]
fn answers_that_do_not_fit_the_question() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let of = |action: Action| {
        let proxy = Proxy::start(server.addr, move |seen| if seen.is_data() { action } else { Action::Pass });
        let error = fetch(&fixture, &[proxy.url()], BIG).unwrap_err();
        let FetchError::NoSourceLeft { mut failures, .. } = error else { panic!("{error}") };
        failures.remove(0).fault
    };
    assert!(matches!(of(Action::IgnoreRange), SourceFault::RangeIgnored { .. }));
    assert!(matches!(of(Action::WrongSize), SourceFault::Mismatch { .. }));
    assert!(matches!(of(Action::Encoded), SourceFault::Mismatch { .. }));
    assert!(matches!(of(Action::Status(404, None)), SourceFault::Refused { .. }));
    assert!(matches!(of(Action::Status(302, None)), SourceFault::Refused { .. }));
    assert!(matches!(of(Action::Status(503, None)), SourceFault::Busy { .. }));
    assert!(!fixture.target("out").exists());
    // A small file in one range starts at byte 0; there a 200 is as good as a 206.
    let proxy = Proxy::start(server.addr, |_| Action::IgnoreRange);
    fetch(&fixture, &[proxy.url()], "shards/exact.bin").unwrap();
    assert!(std::fs::read(fixture.target("out")).unwrap() == fixture.files["shards/exact.bin"]);
}

#[test]
fn what_was_verified_survives_a_failed_fetch() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let dying = Proxy::start(server.addr, |seen| match seen.range {
        Some((first, _)) if first >= 4 * MIB as u64 => Action::Status(500, None),
        _ => Action::Pass,
    });
    let mut request = fetch_request(&fixture, &[dying.url()], BIG, "out.tar");
    request.options = FetchOptions { parallel: 1, retries: 0, range_bytes: 1, ..request.options };
    assert!(fetch_blocking(&request).unwrap_err().retry_helps());
    assert!(!fixture.target("out.tar").exists());

    // One of the four verified leaves is damaged on disk meanwhile: the journal is not believed.
    let partials: Vec<_> = files_below(fixture.dir.path()).into_iter().filter(|path| is_work_file(path)).collect();
    let partial = partials.iter().find(|path| path.extension().is_some_and(|end| end == "partial")).unwrap();
    let file = std::fs::File::options().write(true).open(partial).unwrap();
    file.write_all_at(b"damage", MIB as u64 + 5).unwrap();

    request.sources = vec![server.url()];
    let report = fetch_blocking(&request).unwrap();
    assert!(std::fs::read(fixture.target("out.tar")).unwrap() == fixture.big());
    assert_eq!(report.bytes_resumed, 3 * MIB as u64);
    assert_eq!(report.bytes_fetched, fixture.big().len() as u64 - 3 * MIB as u64);
    assert!(!files_below(fixture.dir.path()).iter().any(|path| is_work_file(path)), "the work folder is gone");
}

#[test]
fn a_damaged_journal_costs_a_new_fetch_and_nothing_else() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let dying = Proxy::start(server.addr, |seen| match seen.range {
        Some((first, _)) if first >= 4 * MIB as u64 => Action::Status(500, None),
        _ => Action::Pass,
    });
    let mut request = fetch_request(&fixture, &[dying.url()], BIG, "out.tar");
    request.options = FetchOptions { parallel: 1, retries: 0, range_bytes: 1, ..request.options };
    fetch_blocking(&request).unwrap_err();
    for path in files_below(fixture.dir.path()).iter().filter(|path| is_work_file(path)) {
        if path.extension().is_some_and(|end| end == "journal") {
            std::fs::write(path, b"garbage").unwrap();
        }
    }
    request.sources = vec![server.url()];
    assert_eq!(fetch_blocking(&request).unwrap().bytes_resumed, 0);
    assert!(std::fs::read(fixture.target("out.tar")).unwrap() == fixture.big());
}

#[test]
fn existing_files_are_respected() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    std::fs::create_dir_all(fixture.target("out/shards")).unwrap();
    let mut other = fixture.files["shards/exact.bin"].clone();
    other[77] ^= 1;
    std::fs::write(fixture.target("out/shards/exact.bin"), &other).unwrap();
    let error = fetch(&fixture, &[server.url()], "").unwrap_err();
    let FetchError::Rejected(rejection) = &error else { panic!("{error}") };
    let FetchRejection::Exists { path, difference } = &**rejection else { panic!("{error}") };
    assert!(path.ends_with("shards/exact.bin") && difference.contains("leaf 0"), "{error}");
    assert!(std::fs::read(fixture.target("out/shards/exact.bin")).unwrap() == other, "untouched");
    assert_eq!(files_below(&fixture.target("out")).len(), 1, "nothing was fetched");

    let mut request = fetch_request(&fixture, &[server.url()], "", "out");
    request.options.overwrite = true;
    let report = fetch_blocking(&request).unwrap();
    assert!(report.files.iter().all(|file| !file.kept));
    fixture.assert_complete(&fixture.target("out"));
}

#[test]
fn requests_that_cannot_be_fulfilled() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let rejection = |change: &dyn Fn(&mut FetchRequest)| {
        let mut request = fetch_request(&fixture, &[server.url()], "", "out");
        change(&mut request);
        match fetch_blocking(&request).unwrap_err() {
            FetchError::Rejected(rejection) => *rejection,
            other => panic!("{other}"),
        }
    };
    assert!(matches!(rejection(&|request| request.sources.clear()), FetchRejection::NoSources));
    assert!(matches!(rejection(&|request| request.options.parallel = 0), FetchRejection::Option { .. }));
    assert!(matches!(rejection(&|request| request.path = "shards/../x".into()), FetchRejection::Path { .. }));
    assert!(matches!(rejection(&|request| request.path = "shards/none".into()), FetchRejection::NotInDataset { .. }));
    assert!(matches!(rejection(&|request| request.root = "bafkqaaa".parse().unwrap()), FetchRejection::Dataset { .. }));
    assert!(matches!(rejection(&|request| request.options.bytes_max = 1000), FetchRejection::TooLarge { .. }));
    let nobody: SourceUrl = "http://127.0.0.1:1".parse().unwrap();
    let error = fetch(&fixture, &[nobody], "").unwrap_err();
    assert!(error.retry_helps() && error.to_string().contains("http://127.0.0.1:1"), "{error}");
    assert!(!fixture.target("out").exists());
}

#[test]
fn a_disk_that_refuses_is_named() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    std::fs::write(fixture.target("file"), b"in the way").unwrap();
    let error = fetch_blocking(&fetch_request(&fixture, &[server.url()], BIG, "file/below")).unwrap_err();
    assert!(matches!(error, FetchError::Disk { .. }) && error.to_string().contains("file"), "{error}");
    assert_eq!(std::fs::read(fixture.target("file")).unwrap(), b"in the way");
}

#[test]
fn connections_are_used_again() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let mut request = fetch_request(&fixture, &[server.url()], "", "out");
    request.options.parallel = 1;
    fetch_blocking(&request).unwrap();
    let mut peers: Vec<_> = server.served.lock().unwrap().iter().map(|request| request.peer).collect();
    assert!(peers.len() > 5);
    peers.dedup();
    assert_eq!(peers.len(), 1, "one worker needs one connection");
}

#[test]
fn a_source_that_hangs_costs_one_wait_not_one_per_range() {
    let fixture = Fixture::new();
    let server = fixture.serve();
    let hanging = Proxy::start(server.addr, |seen| if seen.is_data() { Action::StallAfter(0) } else { Action::Pass });
    let mut request = fetch_request(&fixture, &[hanging.url(), server.url()], BIG, "out");
    request.options = FetchOptions { parallel: 1, range_bytes: 1, ..request.options };
    fetch_blocking(&request).unwrap();
    assert_eq!(hanging.data_requests().len(), 1, "six ranges, one of them tried there");
}
