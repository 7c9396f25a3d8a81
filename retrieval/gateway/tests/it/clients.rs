//! Clients that other people wrote: Helia's and ipfs-car, through Node.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use cairn_content::CarArchive;
use cairn_fixtures::gateway_car;
use cairn_gateway::{GatewayOptions, Library};
use sha2::{Digest, Sha256};

use super::common::*;

/// Where the packages lie, if `scripts/setup.sh test` could install them and Node can run them.
fn clients() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let installed = folder.join("node_modules/@helia/unixfs").is_dir();
    let node = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    (installed && node).then_some(folder)
}

/// Reads `path` below `root` with both, and gives what was printed.
fn read(clients: &Path, server: &TestServer, folder: &Path, root: &str, path: &str) -> serde_json::Value {
    let output = Command::new("node")
        .arg(clients.join("read.mjs"))
        .args([&format!("http://{}", server.addr), &folder.display().to_string(), root, path])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn helia_and_ipfs_car_read_datasets_and_sharded_folders() {
    let Some(clients) = clients() else {
        println!(
            "check skipped: no Node packages in retrieval/gateway/tests/clients; scripts/setup.sh test installs them"
        );
        return;
    };
    let fixture = Fixture::new();
    let mut library = Library::default().with_store(fixture.store.clone());
    let hamt = CarArchive::open(&gateway_car("single-layer-hamt-with-multi-block-files")).unwrap();
    let sharded = hamt.roots()[0].to_string();
    library.add_archive(hamt);
    let server = TestServer::start(Arc::new(library), GatewayOptions::default());
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    for folder in [&one, &other] {
        std::fs::create_dir(folder).unwrap();
    }
    let read_big = read(&clients, &server, &one, &fixture.dataset.root().to_string(), BIG);
    assert_eq!(read_big["bytes"], fixture.big().len());
    assert_eq!(read_big["sha256"], hex(fixture.big()));
    assert!(std::fs::read(one.join("unpacked").join(BIG)).unwrap() == fixture.big());
    let read_sharded = read(&clients, &server, &other, &sharded, "685.txt");
    let unpacked = std::fs::read(other.join("unpacked/685.txt")).unwrap();
    assert_eq!((&read_sharded["bytes"], unpacked.len()), (&1026.into(), 1026));
    assert_eq!(read_sharded["sha256"], hex(&unpacked));
}
