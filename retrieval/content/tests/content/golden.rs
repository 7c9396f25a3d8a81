//! Root CIDs against `ipfs-car pack --no-wrap`; see `tests/vectors/regenerate.sh`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cairn_content::{Dataset, DatasetKind, ImportOptions, Selection, SkipReason};
use serde::Deserialize;

use crate::support::{two_workers, write};

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    #[serde(default)]
    hidden: bool,
    file: Option<Content>,
    #[serde(default)]
    folder: Vec<Content>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    path: String,
    bytes: u64,
    seed: Option<u32>,
    count: Option<u32>,
}

#[derive(Deserialize)]
struct Roots {
    roots: BTreeMap<String, String>,
}

/// Makes the input of a case, as `regenerate.mjs` does.
fn make(input: &Path, case: &Case) {
    if let Some(file) = &case.file {
        return write(input, file.bytes, file.seed);
    }
    fs::create_dir_all(input).unwrap();
    for entry in &case.folder {
        match entry.count {
            _ if entry.path.ends_with('/') => fs::create_dir_all(input.join(&entry.path)).unwrap(),
            None => write(&input.join(&entry.path), entry.bytes, entry.seed),
            Some(count) => {
                for number in 0..count {
                    let path = input.join(entry.path.replace('%', &number.to_string()));
                    write(&path, entry.bytes, entry.seed.map(|seed| seed + number));
                }
            }
        }
    }
}

#[test]
fn roots_equal_those_of_ipfs_car() {
    let cases: Cases = serde_json::from_str(include_str!("../vectors/cases.json")).unwrap();
    let roots: Roots = serde_json::from_str(include_str!("../vectors/roots.json")).unwrap();
    assert_eq!(cases.cases.len(), roots.roots.len());
    for case in &cases.cases {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("input");
        make(&input, case);
        let options = ImportOptions { selection: Selection::IpfsCar { hidden: case.hidden }, ..two_workers() };
        let dataset = Dataset::import(&input, &options).unwrap();
        assert_eq!(dataset.root().to_string(), roots.roots[&case.name], "{}", case.name);
    }
}

#[test]
fn what_is_left_out_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a"), 1, Some(1));
    write(&dir.path().join("b"), 1, Some(2));
    write(&dir.path().join(".cache/x"), 1, Some(3));
    fs::create_dir_all(dir.path().join("c/d")).unwrap();
    let dataset = Dataset::import(dir.path(), &ImportOptions::default()).unwrap();
    let skipped: Vec<_> = dataset.skipped().iter().map(|skipped| (skipped.path.as_str(), skipped.reason)).collect();
    let expected = [(".cache", SkipReason::Hidden), ("c", SkipReason::EmptyFolder), ("c/d", SkipReason::EmptyFolder)];
    assert_eq!(skipped, expected);
    let exact = ImportOptions { selection: Selection::Exact, ..ImportOptions::default() };
    let exact = Dataset::import(dir.path(), &exact).unwrap();
    assert_eq!(exact.skipped(), []);
    assert_eq!(exact.files().len(), 3);
    assert_eq!(exact.empty_folders(), ["c/d"]);
    assert_ne!(exact.root(), dataset.root());
}

#[test]
fn a_folder_of_one_file_is_that_file() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("deep/only.bin"), 10, Some(1));
    let dataset = Dataset::import(dir.path(), &ImportOptions::default()).unwrap();
    assert_eq!(dataset.kind(), DatasetKind::File);
    assert_eq!(dataset.files()[0].path, "only.bin");
    assert_eq!(dataset.file(""), dataset.file("only.bin"));
    let file = Dataset::import(&dir.path().join("deep/only.bin"), &ImportOptions::default()).unwrap();
    assert_eq!(file.root(), dataset.root());
}

#[test]
fn one_thread_and_many_agree() {
    let dir = tempfile::tempdir().unwrap();
    crate::support::sample(dir.path());
    let one = Dataset::import(dir.path(), &ImportOptions::default()).unwrap();
    let workers = std::num::NonZeroUsize::new(7).unwrap();
    let many = Dataset::import(dir.path(), &ImportOptions { workers, ..ImportOptions::default() }).unwrap();
    assert_eq!(one.root(), many.root());
    assert_eq!(one.files(), many.files());
}
