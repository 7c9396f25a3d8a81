//! `cairn params` through the real binary.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Ran, cairn, setup_window, text};
use cairn_fixtures::groth16_dir;
use cairn_protocol::SectorSize;
use cairn_snark::groth16::{Circuit, FileKind};
use serde_json::{Value, json};

const WINDOW: Circuit = Circuit::WindowPost(SectorSize::KIB2);
const WINNING: Circuit = Circuit::WinningPost(SectorSize::KIB2);

/// Bytes of the reference's parameter file of the window PoSt at 2 KiB; ours has as many.
const WINDOW_PARAMS_BYTES: u64 = 11_501_496;

fn verify(params: &Path, more: &[&str]) -> Ran {
    let params = text(params);
    cairn(["params", "verify", "--json", "--params", &params].iter().chain(more))
}

fn list(params: &Path) -> Value {
    cairn(["params", "list", "--json", "--params", &text(params)]).json()
}

/// A folder with copies of the reference's files of the window PoSt.
fn reference_files(folder: &Path) -> [PathBuf; 3] {
    [FileKind::VerifyingKey, FileKind::Params, FileKind::Meta].map(|kind| {
        let name = WINDOW.file_name(kind);
        fs::copy(groth16_dir().join(&name), folder.join(&name)).unwrap();
        folder.join(name)
    })
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

#[test]
fn development_parameters_are_made_marked_listed_and_sound() {
    let folder = tempfile::tempdir().unwrap();
    let params = folder.path().join("deep").join("params");
    let ran = setup_window(&params, &[]);
    let report = ran.json();
    assert!(ran.stderr.contains("window-post 2KiB takes 11570108 bytes in "), "{}", ran.stderr);
    assert_eq!(report["params_bytes"], json!(WINDOW_PARAMS_BYTES));
    assert_eq!((&report["circuit"], &report["sector_size"]), (&json!("window-post"), &json!(2048)));
    assert_eq!((&report["parameters"], &report["public_inputs"]), (&json!("development"), &json!(22)));

    let files = [FileKind::Meta, FileKind::Params, FileKind::VerifyingKey].map(|kind| WINDOW.file_name(kind));
    let mark = format!("{}.cairn-dev", WINDOW.file_stem());
    let mut expected: Vec<String> = files.into_iter().chain([mark, "cairn-cache".into()]).collect();
    expected.sort();
    assert_eq!(names(&params), expected, "nothing but the files, the mark and the cache");
    assert_eq!(fs::metadata(params.join(WINDOW.file_name(FileKind::Params))).unwrap().len(), WINDOW_PARAMS_BYTES);

    let expected = json!([{
        "circuit": "window-post",
        "sector_size": 2048,
        "parameters": "development",
        "files": WINDOW.file_stem(),
        "params_bytes": WINDOW_PARAMS_BYTES,
        "verifying_key_bytes": 3076,
        "converted_key_bytes": null,
    }]);
    assert_eq!(list(&params), expected);

    let ran = verify(&params, &["--circuit", "window-post", "--sector-size", "2KiB"]);
    let checked = &ran.json()["circuits"][0];
    assert!(ran.stderr.contains("cairn: note: the parameters are not the published ones"), "{}", ran.stderr);
    assert_eq!(checked["params_digest"], report["params_digest"]);
    assert_eq!((&checked["parameters"], &checked["meta"]), (&json!("development"), &json!(true)));
    let refused = verify(&params, &["--published-only"]);
    assert!(refused.failure().contains("expected a published key, got a development key"), "{}", refused.stderr);
}

#[test]
fn only_marked_parameters_are_replaced_and_only_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let params = folder.path().join("params");
    let first = setup_window(&params, &[]).json();
    let again = setup_window(&params, &[]);
    assert!(again.failure().contains("is there: --force replaces development parameters"), "{}", again.stderr);
    let second = setup_window(&params, &["--force"]).json();
    assert_ne!(first["params_digest"], second["params_digest"], "other secrets");
    assert_eq!(verify(&params, &[]).json()["circuits"][0]["params_digest"], second["params_digest"]);

    let unmarked = folder.path().join("unmarked");
    fs::create_dir(&unmarked).unwrap();
    let [key, ..] = reference_files(&unmarked);
    let before = names(&unmarked);
    let refused = setup_window(&unmarked, &["--force"]);
    assert!(refused.failure().contains("is there and not marked as development parameters"), "{}", refused.stderr);
    assert!(refused.failure().contains(&text(&unmarked)));
    assert_eq!((names(&unmarked), fs::metadata(key).unwrap().len()), (before, 3076));
}

#[test]
fn a_setup_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    let inside = setup_window(&file.join("params"), &[]);
    assert!(inside.failure().contains("cannot create "), "{}", inside.stderr);

    // The name of the parameter file is taken by a folder: found at the very end, when everything else is made.
    let params = folder.path().join("params");
    let cache = folder.path().join("cache");
    fs::create_dir_all(params.join(format!("{}.cairn-dev", WINDOW.file_stem()))).unwrap();
    let ran = setup_window(&params, &["--cache", &text(&cache)]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.lines().last().unwrap().contains("cannot make parameters of window-post 2KiB"),
        "{}",
        ran.stderr
    );
    assert_eq!(names(&params), [format!("{}.cairn-dev", WINDOW.file_stem())]);
    assert!(!cache.exists(), "the cache folder was not there before");
}

/// The reference's files carry no mark and are not Filecoin's: sound, but nobody's ceremony vouches for them.
#[test]
fn files_of_others_are_checked_and_said_to_be_unmarked() {
    let ran = verify(&groth16_dir(), &[]);
    let report = ran.json();
    let circuits = report["circuits"].as_array().unwrap();
    let kinds: Vec<&str> = circuits.iter().map(|circuit| circuit["circuit"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["porep", "winning-post", "window-post"]);
    assert!(circuits.iter().all(|circuit| circuit["parameters"] == "development"), "{report}");
    assert_eq!(circuits[2]["params_bytes"], json!(WINDOW_PARAMS_BYTES));
    let looks: Vec<Value> =
        list(&groth16_dir()).as_array().unwrap().iter().map(|entry| entry["parameters"].clone()).collect();
    assert_eq!(looks, ["unmarked"; 3]);
    let refused = verify(&groth16_dir(), &["--published-only"]);
    assert!(refused.failure().contains("expected the published or marked file with digest "), "{}", refused.stderr);

    let text = cairn(["params", "verify", "--params", &text(&groth16_dir()), "--circuit", "winning-post"]);
    assert!(
        text.stdout.contains("winning-post       2KiB  development  no .params, .vk, 132 public inputs"),
        "{}",
        text.stdout
    );
}

#[test]
fn damaged_truncated_and_foreign_files_are_named_with_what_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let [key, params, meta] = reference_files(folder.path());
    let expect = |part: &str, file: &Path| {
        let ran = verify(folder.path(), &[]);
        for part in [part, &text(file)] {
            assert!(ran.failure().contains(part), "expected {part:?} in {:?}", ran.stderr);
        }
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(report["ok"], json!(false));
        assert!(report["reason"].as_str().unwrap().contains(part), "{report}");
    };
    let whole = fs::read(&params).unwrap();
    let mut flipped = whole.clone();
    // In the first coordinate of h[17]; the verifying key and the number of points come before it.
    flipped[3076 + 4 + 17 * 96 + 40] ^= 1;
    fs::write(&params, &flipped).unwrap();
    expect("byte 4712, h[17]: ", &params);
    fs::write(&params, &whole[..whole.len() - 100]).unwrap();
    expect("expected 192 bytes of b_g2[", &params);
    fs::write(&params, [&whole[..], b"x"].concat()).unwrap();
    expect("expected the end of the file after b_g2, got more bytes", &params);
    fs::write(&params, &whole).unwrap();

    fs::write(&meta, "{\"sector_size\":8388608}").unwrap();
    expect("expected sector size 2KiB, got 8MiB", &meta);
    fs::remove_file(&meta).unwrap();

    let sound = fs::read(&key).unwrap();
    fs::copy(groth16_dir().join(WINNING.file_name(FileKind::VerifyingKey)), &key).unwrap();
    expect("expected the published or marked file with digest ", &key);
    fs::remove_file(&params).unwrap();
    expect("expected 23 inputs with ONE as window-post 2KiB has, got 133", &key);
    fs::write(&key, &sound[..1000]).unwrap();
    expect("byte 964: expected 96 bytes of ic[1], got 36", &key);
}

#[test]
fn a_marked_file_that_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let params = folder.path().join("params");
    setup_window(&params, &[]).json();
    reference_files(&params);
    let ran = verify(&params, &[]);
    assert!(ran.failure().contains(".vk: expected the published or marked file with digest "), "{}", ran.stderr);
}

#[test]
fn bad_input_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let empty = text(folder.path());
    let missing = text(&folder.path().join("missing"));
    let cases: [(&[&str], &str); 8] = [
        (&["list", "--params", &missing], "No such file"),
        (&["verify", "--params", &missing], "No such file"),
        (&["verify", "--params", &empty], "has nothing to verify: expected files under Filecoin's names"),
        (
            &["verify", "--params", &empty, "--circuit", "window-post", "--sector-size", "2KiB"],
            "expected v28-proof-of-spacetime-fallback-merkletree-poseidon_hasher-8-0-0-0170db1f394b35d995252228ee359194b13199d259380541dc529fb0099096b0.vk",
        ),
        (
            &["verify", "--params", &empty, "--circuit", "x"],
            "porep, winning-post, window-post, update, update-poseidon",
        ),
        (&["setup", "--circuit", "porep", "--params", &empty], "--sector-size"),
        (&["setup", "--circuit", "update-poseidon", "--sector-size", "2KiB", "--params", &empty], "--circuit"),
        (&["setup", "--circuit", "porep", "--sector-size", "3KiB", "--params", &empty], "--sector-size"),
    ];
    for (arguments, part) in cases {
        let ran = cairn(["params"].iter().chain(arguments));
        assert!(ran.failure().contains(part), "expected {part:?} in {:?}", ran.stderr);
    }
    assert_eq!(cairn(["params", "list", "--params", &empty]).stdout, "no key files\n");
    assert_eq!(list(folder.path()), json!([]));
}
